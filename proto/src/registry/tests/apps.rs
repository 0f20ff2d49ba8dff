//! Apps, their keys and policies; secrets that have numbers.

use super::*;

#[test]
fn numbered_secrets_grow_and_the_newest_stays() {
    let mut log = Log::default();
    let add = |number| Command::TurnSecretAdd { number, secret: secret(7) };
    log.does(add(1));
    let not_next = Refusal::NotNext { thing: Thing::TurnSecret, next: 2 };
    assert_eq!(log.says(add(1)), Outcome::Refused(not_next));
    assert_eq!(
        log.says(Command::TurnSecretRemove { number: 1 }),
        Outcome::Refused(Refusal::Last(Thing::TurnSecret))
    );
    log.does(add(2));
    log.does(Command::TurnSecretRemove { number: 1 });
    assert_eq!(log.0.turn_secrets().newest().unwrap().0, 2);
    assert_eq!(log.0.turn_secrets().next(), 3);
    for number in 3..=9 {
        log.does(add(number));
    }
    assert!(matches!(log.says(add(10)), Outcome::Refused(Refusal::Full { max: 8, .. })));
    let short = Command::SealingKeyAdd { number: 1, key: Secret(vec![0; 31]) };
    assert_eq!(log.says(short), Outcome::Refused(Refusal::Invalid(Thing::Secret)));
}

#[test]
fn an_app_takes_its_keys_with_it() {
    let mut log = Log::default();
    let key = |n| KeyId::from_random([n; 15]);
    let add = |n| Command::KeyAdd { app: app("dev"), key: key(n), secret: secret(n) };
    assert_eq!(log.says(add(1)), Outcome::Refused(Refusal::Unknown(Thing::App)));
    log.does(Command::AppAdd { app: app("dev"), name: "Dev".into(), policy: AppPolicy::default() });
    for n in 0..16 {
        log.does(add(n));
    }
    assert!(matches!(log.says(add(16)), Outcome::Refused(Refusal::Full { max: 16, .. })));
    log.does(Command::KeySet { key: key(3), disabled: true });
    assert!(log.0.key(&key(3)).unwrap().disabled);
    log.does(Command::AppRemove { app: app("dev") });
    assert!(log.0.key(&key(3)).is_none());
}

#[test]
fn policies_out_of_range_are_refused() {
    let mut log = Log::default();
    let mut refuses = |policy, thing| {
        let command = Command::AppAdd { app: app("dev"), name: "Dev".into(), policy };
        assert_eq!(log.says(command), Outcome::Refused(Refusal::Invalid(thing)));
    };
    let fine = AppPolicy::default;
    refuses(AppPolicy { grace_ms: 300_001, ..fine() }, Thing::Grace);
    refuses(AppPolicy { credential_ttl_ms: 3_999, ..fine() }, Thing::Lifetime);
    refuses(AppPolicy { credential_ttl_ms: 86_400_001, ..fine() }, Thing::Lifetime);
    refuses(AppPolicy { capacity: 0, ..fine() }, Thing::Capacity);
    for origin in ["example.com", "https://", "https://a/b", "https://A", "https://a b", "://a"] {
        refuses(AppPolicy { origins: vec![origin.into()], ..fine() }, Thing::Origin);
    }
    let policy =
        AppPolicy { origins: vec!["https://meet.example.com:8443".into(), "http://[::1]".into()], ..fine() };
    log.does(Command::AppAdd { app: app("dev"), name: "Dev".into(), policy });
}
