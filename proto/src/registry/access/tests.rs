use std::time::Duration;

use super::*;
use crate::id::Index;
use crate::limits::{
    LINK_TTL_MAX, LINKS_MAX, LOGIN_FOR, LOGIN_IDLE, LOGINS_PER_OPERATOR, PROVIDER_LABEL_MAX,
    PROVIDER_RULES_MAX, PROVIDER_SCOPES_MAX, PROVIDER_SECRET_MAX, PROVIDER_SUBJECT_MAX,
};
use crate::registry::{Command, Entry, Note, verify};

mod provider;

const PASSWORD: &[u8] = b"$argon2id$v=19$m=1,t=1,p=1$c2FsdA$aGFzaA";

/// A registry, and the clock of its leader.
struct Log(State, Unix);

impl Log {
    fn new() -> Self {
        Self(State::default(), Unix::from_secs(1_000_000))
    }

    fn says(&mut self, change: AccessChange) -> Result<(), Refusal> {
        let index = Index(self.0.index().0 + 1);
        let note = Note { who: "op".into(), what: "did".into(), from: "::1".into() };
        let entry = Entry { at: self.1, by: None, note: Some(note), command: Command::Access(change) };
        let bytes = entry.encode().unwrap();
        self.0.apply(index, Entry::decode(&bytes).unwrap()).accepted().map(drop)
    }

    fn invite(&mut self, n: u8, of: LinkFor) -> Result<(), Refusal> {
        let until = self.1 + Duration::from_secs(60);
        self.says(AccessChange::LinkAdd { id: link(n), hash: hash(&[n]), of, until, by: None })
    }

    fn takes(&mut self, n: u8, name: &str) -> Result<(), Refusal> {
        self.says(AccessChange::LinkUse { id: link(n), name: who(name), password: password() })
    }

    fn join(&mut self, n: u8, name: &str, role: Role) {
        self.invite(n, LinkFor::New { role, name: None }).unwrap();
        self.takes(n, name).unwrap();
    }

    fn set(&mut self, name: &str, role: Role, disabled: bool) -> Result<(), Refusal> {
        self.says(AccessChange::OperatorSet { name: who(name), role, disabled, since: None })
    }

    fn logs_in(&mut self, n: u8, name: &str, replaces: Option<LoginId>) -> Result<(), Refusal> {
        let since = self.0.access().operator(&who(name)).map_or(Index(0), |held| held.changed);
        let login = NewLogin {
            hash: hash(&[n]),
            operator: who(name),
            from: "::1".to_owned(),
            agent: "Firefox".to_owned(),
        };
        self.says(AccessChange::LoginAdd { id: login_id(n), login, since, replaces })
    }

    fn logins(&self) -> usize {
        self.0.access().logins(self.1).count()
    }

    fn token(&mut self, n: u8, owner: Option<&str>, role: Role) -> Result<(), Refusal> {
        let (owner, until) = (owner.map(who), self.1 + Duration::from_secs(60));
        let id = AccessTokenId::from_random([n; 15]);
        self.says(AccessChange::TokenAdd { id, hash: hash(&[n]), label: "ci".to_owned(), role, owner, until })
    }
}

fn who(name: &str) -> OperatorName {
    OperatorName::new(name).unwrap()
}

fn link(n: u8) -> LinkId {
    LinkId::from_random([n; 15])
}

fn login_id(n: u8) -> LoginId {
    LoginId::from_random([n; 15])
}

fn password() -> Secret {
    Secret(PASSWORD.to_vec())
}

fn new(role: Role) -> LinkFor {
    LinkFor::New { role, name: None }
}

#[test]
fn a_link_makes_one_operator_once() {
    let mut log = Log::new();
    log.invite(1, new(Role::Owner)).unwrap();
    let held = log.0.access().link(&link(1)).unwrap();
    assert!(is_opened_by(&held.hash, &[1]) && !is_opened_by(&held.hash, &[2]));
    log.takes(1, "ada").unwrap();
    assert_eq!(log.0.access().operator(&who("ada")).unwrap().role, Role::Owner);
    assert_eq!(log.takes(1, "eve"), Err(Refusal::Unknown(Thing::Link)));
    // A name that is taken uses nothing up.
    log.invite(2, new(Role::Viewer)).unwrap();
    assert_eq!(log.takes(2, "ada"), Err(Refusal::Exists(Thing::Operator)));
    log.takes(2, "bob").unwrap();
    // One that is for somebody is for nobody else.
    log.invite(3, LinkFor::New { role: Role::Viewer, name: Some(who("carl")) }).unwrap();
    assert_eq!(log.takes(3, "eve"), Err(Refusal::Invalid(Thing::Name)));
    let taken = LinkFor::New { role: Role::Viewer, name: Some(who("ada")) };
    assert_eq!(log.invite(4, taken), Err(Refusal::Exists(Thing::Operator)));
    log.1 = log.1 + Duration::from_secs(61);
    assert_eq!(log.takes(3, "carl"), Err(Refusal::Expired(Thing::Link)));
}

#[test]
fn links_are_bounded_in_number_and_life() {
    let mut log = Log::new();
    let add = |log: &mut Log, n: u16, ttl: Duration| {
        let mut id = [0; 15];
        id[..2].copy_from_slice(&n.to_be_bytes());
        let (id, until) = (LinkId::from_random(id), log.1 + ttl);
        log.says(AccessChange::LinkAdd { id, hash: hash(b"x"), of: new(Role::Viewer), until, by: None })
    };
    assert_eq!(
        add(&mut log, 0, LINK_TTL_MAX + Duration::from_secs(1)),
        Err(Refusal::Invalid(Thing::Lifetime))
    );
    assert_eq!(add(&mut log, 0, Duration::ZERO), Err(Refusal::Expired(Thing::Link)));
    for n in 0..u16::try_from(LINKS_MAX).unwrap() {
        add(&mut log, n, Duration::from_secs(5)).unwrap();
    }
    let full = Err(Refusal::Full { thing: Thing::Link, max: LINKS_MAX as u64 });
    assert_eq!(add(&mut log, 5_000, Duration::from_secs(5)), full);
    log.1 = log.1 + Duration::from_secs(5);
    add(&mut log, 5_000, Duration::from_secs(5)).unwrap();
    assert_eq!(log.0.access().links().count(), 1, "what has expired makes room");
    let short = AccessChange::LinkAdd {
        id: link(9),
        hash: Secret(vec![1]),
        of: new(Role::Viewer),
        until: log.1 + Duration::from_secs(1),
        by: None,
    };
    assert_eq!(log.says(short), Err(Refusal::Invalid(Thing::Secret)));
}

#[test]
fn nobody_new_has_a_reserved_name() {
    let mut log = Log::new();
    log.invite(1, new(Role::Owner)).unwrap();
    let invalid = Err(Refusal::Invalid(Thing::Name));
    for reserved in OperatorName::RESERVED {
        // As it comes in a request's body.
        let name: OperatorName = serde_json::from_str(&format!("{reserved:?}")).unwrap();
        let named = LinkFor::New { role: Role::Viewer, name: Some(name.clone()) };
        assert_eq!(log.invite(2, named), invalid, "{name}");
        assert_eq!(log.says(AccessChange::LinkUse { id: link(1), name, password: password() }), invalid);
    }
    log.takes(1, "ada").unwrap();
}

#[test]
fn links_end_with_the_owner_who_made_them() {
    let mut log = Log::new();
    log.join(1, "ada", Role::Owner);
    log.join(2, "bob", Role::Owner);
    let invites = |log: &mut Log, n, name: &str| {
        let (until, by) = (log.1 + Duration::from_secs(60), Some(who(name)));
        log.says(AccessChange::LinkAdd { id: link(n), hash: hash(&[n]), of: new(Role::Owner), until, by })
    };
    let changes: [&dyn Fn(&mut Log); 3] = [
        &|log| log.set("bob", Role::Operator, false).unwrap(),
        &|log| log.set("bob", Role::Owner, true).unwrap(),
        &|log| log.says(AccessChange::OperatorRemove { name: who("bob") }).unwrap(),
    ];
    invites(&mut log, 10, "ada").unwrap();
    for (n, change) in changes.iter().enumerate() {
        log.set("bob", Role::Owner, false).unwrap();
        invites(&mut log, 11, "bob").unwrap();
        change(&mut log);
        assert_eq!(log.takes(11, "eve"), Err(Refusal::Unknown(Thing::Link)), "{n}");
        // One that is applied after it makes none.
        let gone = if n == 2 { Refusal::Unknown(Thing::Operator) } else { Refusal::Invalid(Thing::Role) };
        assert_eq!(invites(&mut log, 11, "bob"), Err(gone), "{n}");
    }
    assert_eq!(log.0.access().links().map(|(id, _)| *id).collect::<Vec<_>>(), [link(10)], "ada's is there");
    log.takes(10, "carl").unwrap();
}

#[test]
fn the_last_owner_stays() {
    let mut log = Log::new();
    log.join(1, "ada", Role::Owner);
    log.join(2, "bob", Role::Viewer);
    let last = Err(Refusal::Last(Thing::Owner));
    assert_eq!(log.set("ada", Role::Operator, false), last);
    assert_eq!(log.set("ada", Role::Owner, true), last);
    assert_eq!(log.says(AccessChange::OperatorRemove { name: who("ada") }), last);
    log.set("bob", Role::Owner, true).unwrap();
    assert_eq!(log.set("ada", Role::Owner, true), last, "one who may not log in does not count");
    log.set("bob", Role::Owner, false).unwrap();
    log.set("ada", Role::Viewer, false).unwrap();
    assert_eq!(log.says(AccessChange::OperatorRemove { name: who("bob") }), last);
    log.says(AccessChange::OperatorRemove { name: who("ada") }).unwrap();
    assert_eq!(log.set("ada", Role::Owner, false), Err(Refusal::Unknown(Thing::Operator)));
}

#[test]
fn logins_end_with_what_they_were_given_for() {
    let mut log = Log::new();
    log.join(1, "ada", Role::Owner);
    log.join(2, "bob", Role::Viewer);
    log.logs_in(1, "ada", None).unwrap();
    let changes: [&dyn Fn(&mut Log); 5] = [
        &|log| log.set("bob", Role::Operator, false).unwrap(),
        &|log| {
            let since = log.0.access().operator(&who("bob")).unwrap().changed;
            let name = who("bob");
            log.says(AccessChange::OperatorPassword { name, password: password(), since }).unwrap();
        },
        &|log| {
            log.invite(3, LinkFor::Password { name: who("bob") }).unwrap();
            log.takes(3, "bob").unwrap();
        },
        &|log| log.says(AccessChange::LoginsEnd { operator: who("bob") }).unwrap(),
        &|log| log.set("bob", Role::Operator, true).unwrap(),
    ];
    for (n, change) in changes.iter().enumerate() {
        log.logs_in(10 + u8::try_from(n).unwrap(), "bob", None).unwrap();
        assert_eq!(log.logins(), 2, "{n}");
        change(&mut log);
        assert_eq!(log.logins(), 1, "{n}: ada's is there");
    }
    assert_eq!(log.logs_in(20, "bob", None), Err(Refusal::Changed(Thing::Operator)), "disabled");
    log.set("bob", Role::Viewer, false).unwrap();
    log.logs_in(21, "bob", None).unwrap();
    log.says(AccessChange::OperatorRemove { name: who("bob") }).unwrap();
    assert_eq!(log.logins(), 1);
}

#[test]
fn what_was_checked_before_a_change_counts_no_more() {
    let mut log = Log::new();
    log.join(1, "ada", Role::Owner);
    let since = log.0.access().operator(&who("ada")).unwrap().changed;
    let change = AccessChange::OperatorPassword { name: who("ada"), password: password(), since };
    log.says(change.clone()).unwrap();
    assert_eq!(log.says(change), Err(Refusal::Changed(Thing::Operator)));
    let login =
        NewLogin { hash: hash(b"x"), operator: who("ada"), from: String::new(), agent: String::new() };
    let late = AccessChange::LoginAdd { id: login_id(1), login, since, replaces: None };
    assert_eq!(log.says(late), Err(Refusal::Changed(Thing::Operator)));
}

#[test]
fn a_login_ends_unused_and_in_any_case() {
    let mut log = Log::new();
    log.join(1, "ada", Role::Owner);
    log.logs_in(1, "ada", None).unwrap();
    let begun = log.1;
    for _ in 0..20 {
        log.1 = log.1 + LOGIN_IDLE * 9 / 10;
        let seen = log.says(AccessChange::LoginSeen { id: login_id(1) });
        let over = log.1.since(begun) >= LOGIN_FOR;
        assert_eq!(seen, if over { Err(Refusal::Expired(Thing::Login)) } else { Ok(()) });
    }
    log.logs_in(2, "ada", Some(login_id(1))).unwrap();
    assert!(log.0.access().login(&login_id(1)).is_none(), "the one before ends");
    log.1 = log.1 + LOGIN_IDLE;
    assert_eq!(log.logins(), 0);
    for n in 0..u8::try_from(LOGINS_PER_OPERATOR).unwrap() + 3 {
        log.1 = log.1 + Duration::from_secs(1);
        log.logs_in(100 + n, "ada", None).unwrap();
    }
    assert_eq!(log.logins(), LOGINS_PER_OPERATOR);
    assert!(log.0.access().login(&login_id(102)).is_none() && log.0.access().login(&login_id(103)).is_some());
}

#[test]
fn a_token_may_no_more_than_its_owner() {
    let mut log = Log::new();
    log.join(1, "ada", Role::Owner);
    log.join(2, "bob", Role::Operator);
    assert_eq!(log.token(1, Some("bob"), Role::Owner), Err(Refusal::Invalid(Thing::Role)));
    assert_eq!(log.token(1, Some("eve"), Role::Viewer), Err(Refusal::Unknown(Thing::Operator)));
    log.token(1, Some("bob"), Role::Operator).unwrap();
    log.token(2, None, Role::Owner).unwrap();
    let role = |log: &Log, n| {
        let access = log.0.access();
        access.token(&AccessTokenId::from_random([n; 15])).and_then(|token| access.role_of(token, log.1))
    };
    assert_eq!((role(&log, 1), role(&log, 2)), (Some(Role::Operator), Some(Role::Owner)));
    log.set("bob", Role::Viewer, false).unwrap();
    assert_eq!(role(&log, 1), Some(Role::Viewer));
    log.set("bob", Role::Viewer, true).unwrap();
    assert_eq!(role(&log, 1), None);
    log.says(AccessChange::OperatorRemove { name: who("bob") }).unwrap();
    assert_eq!(log.0.access().tokens().count(), 1);
    let id = AccessTokenId::from_random([2; 15]);
    log.says(AccessChange::TokenSet { id, disabled: true }).unwrap();
    assert_eq!(role(&log, 2), None);
    log.says(AccessChange::TokenSet { id, disabled: false }).unwrap();
    log.1 = log.1 + Duration::from_secs(60);
    assert_eq!(role(&log, 2), None, "expired");
}

#[test]
fn the_audit_log_tells_before_and_after_and_cannot_be_changed_unseen() {
    let mut log = Log::new();
    log.join(1, "ada", Role::Owner);
    log.join(2, "bob", Role::Viewer);
    log.set("bob", Role::Operator, false).unwrap();
    log.set("ada", Role::Viewer, false).unwrap_err();
    let lines: Vec<_> = log.0.audit().cloned().collect();
    let last = &lines[lines.len() - 2];
    assert!(last.before.as_deref().unwrap().starts_with("viewer, enabled"), "{last:?}");
    assert!(last.after.as_deref().unwrap().starts_with("operator, enabled"), "{last:?}");
    assert_eq!(lines.last().unwrap().before, None, "nothing was changed");
    assert!(lines.iter().all(|line| !format!("{line:?}").contains("argon2")));
    let begins = log.0.audit_begins();
    assert_eq!(verify(&lines, begins), Ok(lines.last().unwrap().hash));
    for n in 0..lines.len() {
        let mut forged = lines.clone();
        forged[n].note.from = "::2".to_owned();
        assert_eq!(verify(&forged, begins).unwrap_err().0, lines[n].index);
        let mut missing = lines.clone();
        missing.remove(n);
        assert_eq!(verify(&missing, begins).is_err(), n + 1 < lines.len(), "the last may be cut off");
    }
    // What is kept verifies when older lines are gone.
    for n in 0..crate::limits::AUDIT_MAX {
        let index = Index(log.0.index().0 + 1);
        let note = Note { who: "op".into(), what: n.to_string(), from: String::new() };
        log.0.apply(index, Entry { at: log.1, by: None, note: Some(note), command: Command::Note });
    }
    let begins = log.0.audit_begins();
    assert_eq!(begins, lines.last().unwrap().hash);
    assert_eq!(verify(log.0.audit(), begins), Ok(log.0.audit().next_back().unwrap().hash));
}

#[test]
fn a_restored_registry_keeps_operators_and_neither_logins_nor_links() {
    let mut log = Log::new();
    log.join(1, "ada", Role::Owner);
    log.logs_in(1, "ada", None).unwrap();
    log.invite(2, new(Role::Owner)).unwrap();
    let note = Note { who: "op".into(), what: "restored".into(), from: String::new() };
    let mut recovered = log.0.clone();
    recovered.recover(log.1, &[], note.clone());
    let access = recovered.access();
    assert_eq!((access.operators().count(), access.logins(log.1).count(), access.links().count()), (1, 0, 1));
    log.0.restore(log.1, crate::id::ClusterId::from_random([1; 15]), note);
    let access = log.0.access();
    assert_eq!((access.operators().count(), access.logins(log.1).count(), access.links().count()), (1, 0, 0));
    assert!(verify(log.0.audit(), log.0.audit_begins()).is_ok());
}
