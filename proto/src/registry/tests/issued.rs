//! Issued credentials, and the life of the secrets that made them.

use proptest::prelude::*;

use super::*;
use crate::limits::{CLOCK_SKEW, ISSUED_MAX, ISSUED_PER_APP, ISSUED_TTL_MAX, LIFETIME_MAX, SECRET_OVERLAP};

/// A registry with a secret and two apps.
fn log() -> Log {
    let mut log = Log::default();
    log.does(Command::TurnSecretAdd { number: 1, secret: secret(1) });
    for name in ["a", "b"] {
        log.does(Command::AppAdd { app: app(name), name: name.into(), policy: AppPolicy::default() });
    }
    log
}

fn id(n: u16) -> SessionId {
    let mut bytes = [9; 15];
    bytes[..2].copy_from_slice(&n.to_be_bytes());
    SessionId::from_random(bytes)
}

fn add(log: &Log, n: u16, app: Option<&str>, secs: u64) -> Command {
    let (until, app) = (Unix::from_secs(log.0.now().secs() + secs), app.map(super::app));
    Command::IssuedAdd { id: id(n), label: "camera 3".into(), app, until, by: "ada".into(), secret: 1 }
}

pub(super) fn some_command() -> impl Strategy<Value = Command> {
    let secs = || (0u64..100).prop_map(Unix::from_secs);
    let apps = || prop::option::of(prop::sample::select(vec!["a", "b", "c"]).prop_map(app));
    prop_oneof![
        (0u64..5, prop::option::of(secs())).prop_map(|(number, until)| Command::TurnSecretRotate {
            number,
            secret: secret(4),
            until
        }),
        (0u8..6, apps(), secs(), 0u64..5).prop_map(|(n, app, until, secret)| Command::IssuedAdd {
            id: session(n),
            label: "l".into(),
            app,
            until,
            by: "w".into(),
            secret
        }),
        (0u8..6).prop_map(|n| Command::IssuedRevoke { id: session(n) }),
    ]
}

fn seconds(time: Duration) -> u64 {
    time.as_secs()
}

#[test]
fn one_is_issued_revoked_in_one_command_and_swept() {
    let mut log = log();
    let (one, other) = (add(&log, 1, Some("a"), 60), add(&log, 2, None, 5000));
    log.does(one.clone());
    log.does(other);
    assert_eq!(log.says(one), Outcome::Refused(Refusal::Exists(Thing::Issued)));
    let held = log.0.issued(&id(1)).unwrap().clone();
    assert_eq!((&*held.label, held.app, &*held.by, held.secret), ("camera 3", Some(app("a")), "ada", 1));
    assert_eq!((held.created.secs(), held.until.secs(), held.revoked), (4, 63, None));

    let before = log.0.clone();
    log.does(Command::IssuedRevoke { id: id(1) });
    let edge = EdgeId::new("e").unwrap();
    let dead = Unix::from_secs(log.0.now().secs() + seconds(LIFETIME_MAX));
    let told = vec![EdgeChange::Revoked { session: id(1), until: dead }];
    assert_eq!(State::edge_changes(&before, &log.0, &edge), told, "edges hear of it by that entry");
    let held = log.0.issued(&id(1)).unwrap();
    assert_eq!((held.revoked, held.is_in_force(log.0.now())), (Some(log.0.now()), false));
    assert_eq!(log.0.revoked(&id(1), log.0.now()), Some(dead));
    // Again is the same, and keeps the time.
    let revoked = held.revoked;
    log.does(Command::IssuedRevoke { id: id(1) });
    assert_eq!(log.0.issued(&id(1)).unwrap().revoked, revoked);
    let unknown = Outcome::Refused(Refusal::Unknown(Thing::Issued));
    assert_eq!(log.says(Command::IssuedRevoke { id: id(7) }), unknown);
    // What is revoked does not come back under its name.
    log.0.issued.remove(&id(1));
    let again = add(&log, 1, None, 60);
    assert_eq!(log.says(again), Outcome::Refused(Refusal::Exists(Thing::Issued)));

    for _ in 0..1100 {
        log.does(Command::Note);
    }
    assert_eq!(log.0.all_issued().map(|(id, _)| *id).collect::<Vec<_>>(), [id(2)]);
    let read = State::decode(&log.0.encode().unwrap()).unwrap();
    assert_eq!(read, log.0);
}

#[test]
fn what_is_wrong_is_refused() {
    let mut log = log();
    let mut refuses = |command, refusal| assert_eq!(log.says(command), Outcome::Refused(refusal));
    let fine = |label: &str, secs, app: Option<&str>, secret| Command::IssuedAdd {
        id: id(1),
        label: label.into(),
        app: app.map(super::app),
        until: Unix::from_secs(secs),
        by: "ada".into(),
        secret,
    };
    refuses(fine("", 60, None, 1), Refusal::Invalid(Thing::Label));
    refuses(fine("a\nb", 60, None, 1), Refusal::Invalid(Thing::Label));
    refuses(fine(&"a".repeat(129), 60, None, 1), Refusal::Invalid(Thing::Label));
    refuses(fine("l", 1, None, 1), Refusal::Invalid(Thing::Lifetime));
    refuses(fine("l", 60 + seconds(ISSUED_TTL_MAX + CLOCK_SKEW), None, 1), Refusal::Invalid(Thing::Lifetime));
    refuses(fine("l", 60, Some("c"), 1), Refusal::Unknown(Thing::App));
    refuses(fine("l", 60, None, 2), Refusal::Unknown(Thing::TurnSecret));
    assert_eq!(log.0.all_issued().count(), 0);
}

#[test]
fn no_app_takes_the_place_of_the_others_and_the_expired_make_room() {
    let mut log = log();
    let per_app = u16::try_from(ISSUED_PER_APP).unwrap();
    for n in 0..per_app {
        let command = add(&log, n, Some("a"), 20_000);
        log.does(command);
    }
    let full = |max: usize| Outcome::Refused(Refusal::Full { thing: Thing::Issued, max: max as u64 });
    let more = add(&log, 60_000, Some("a"), 60);
    assert_eq!(log.says(more), full(ISSUED_PER_APP));
    // The others' expire, long before they are swept by themselves.
    for n in per_app..u16::try_from(ISSUED_MAX).unwrap() {
        let command = add(&log, n, None, 30_000);
        log.does(command);
    }
    let more = add(&log, 60_000, Some("b"), 60);
    assert_eq!(log.says(more), full(ISSUED_MAX));
    let (index, at) = (Index(log.0.index().0 + 1), Unix::from_secs(log.0.now().secs() + 15_000));
    log.0.apply(index, Entry { at, by: None, note: None, command: Command::Note });
    let more = add(&log, 60_000, Some("b"), 60);
    log.does(more);
    assert_eq!(log.0.all_issued().count(), ISSUED_MAX - ISSUED_PER_APP + 1);
}

#[test]
fn an_app_takes_its_credentials_with_it() {
    let mut log = log();
    for (n, app) in [(1, Some("a")), (2, Some("b")), (3, None)] {
        let command = add(&log, n, app, 60);
        log.does(command);
    }
    log.does(Command::AppRemove { app: app("a") });
    let now = log.0.now();
    assert_eq!(log.0.all_issued().map(|(id, _)| *id).collect::<Vec<_>>(), [id(2), id(3)]);
    assert!(log.0.revoked(&id(1), now).is_some() && log.0.revoked(&id(2), now).is_none());
}

#[test]
fn a_secret_stays_until_nothing_that_it_made_is_good() {
    let mut log = log();
    let long = add(&log, 1, None, 200_000);
    log.does(long);
    log.does(Command::TurnSecretRotate { number: 2, secret: secret(2), until: None });
    let now = log.0.now();
    assert_eq!(log.0.turn_secrets().newest().unwrap().0, 2);
    assert_eq!(log.0.relying_on(1, now).count(), 1);
    let life = |log: &Log, number| log.0.turn_secret_life(number).map(|life| life.until.map(Unix::secs));
    assert_eq!((life(&log, 1), life(&log, 2)), (Some(Some(200_003)), Some(None)));
    // A shorter time may be said; a later rotation does not make it longer.
    let soon = Unix::from_secs(now.secs() + 100);
    log.does(Command::TurnSecretRotate { number: 3, secret: secret(3), until: Some(soon) });
    log.does(Command::TurnSecretRotate { number: 4, secret: secret(4), until: None });
    let overlap = log.0.now().secs() + seconds(SECRET_OVERLAP);
    assert_eq!([life(&log, 1), life(&log, 2)], [Some(Some(soon.secs())); 2]);
    assert_eq!(life(&log, 3), Some(Some(overlap)), "what sessions were given lasts so long");
    assert_eq!(log.0.turn_secret_due(now), None);
    assert_eq!(log.0.turn_secret_due(soon), Some(1));
    log.does(Command::TurnSecretRemove { number: 1 });
    assert_eq!((log.0.turn_secret_due(soon), life(&log, 1)), (Some(2), None));
    let far = Unix::from_secs(log.0.now().secs() + 60 + seconds(ISSUED_TTL_MAX + CLOCK_SKEW));
    let too_far = Command::TurnSecretRotate { number: 5, secret: secret(5), until: Some(far) };
    assert_eq!(log.says(too_far), Outcome::Refused(Refusal::Invalid(Thing::Lifetime)));
    // What was issued by the old one is told from what is in force by its secret.
    let old = Command::IssuedAdd {
        id: id(2),
        label: "l".into(),
        app: None,
        until: soon,
        by: String::new(),
        secret: 3,
    };
    assert_eq!(log.says(old), Outcome::Refused(Refusal::Unknown(Thing::TurnSecret)));
}
