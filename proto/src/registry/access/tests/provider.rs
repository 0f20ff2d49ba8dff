//! Logins by an OpenID provider.

use super::*;
use crate::registry::access::{External, ProviderPlan};

fn plan() -> ProviderPlan {
    let roles = [("admins", Role::Owner), ("staff", Role::Viewer)];
    ProviderPlan {
        issuer: "https://id.example".to_owned(),
        client: "chappe".to_owned(),
        label: "Example".to_owned(),
        console: "https://chappe.example".to_owned(),
        scopes: vec!["email".to_owned()],
        claim: "groups".to_owned(),
        roles: roles.map(|(value, role)| (value.to_owned(), role)).into(),
        everybody: None,
        domain: None,
    }
}

impl Log {
    fn provider(&mut self, plan: ProviderPlan, secret: Option<&[u8]>) -> Result<(), Refusal> {
        let secret = secret.map(|secret| Secret(secret.to_vec()));
        self.says(AccessChange::ProviderSet { plan, secret, seal: Secret(vec![7; 32]) })
    }

    fn changed(&self) -> Index {
        self.0.access().provider().map_or(Index(0), |held| held.changed)
    }

    fn comes(&mut self, n: u8, name: &str, subject: &str, role: Role) -> Result<(), Refusal> {
        let since = self.changed();
        self.comes_since(n, name, subject, role, since)
    }

    fn comes_since(
        &mut self,
        n: u8,
        name: &str,
        subject: &str,
        role: Role,
        since: Index,
    ) -> Result<(), Refusal> {
        // As it is read, reserved or not.
        let operator = serde_json::from_str(&format!("{name:?}")).unwrap();
        let login = NewLogin { hash: hash(&[n]), operator, from: "::1".into(), agent: "Firefox".into() };
        let (id, subject) = (login_id(n), subject.to_owned());
        self.says(AccessChange::ProviderLogin { id, login, subject, role, since, replaces: None })
    }
}

#[test]
fn a_provider_is_of_its_form() {
    type Change = fn(&mut ProviderPlan);
    let wrong: [(&str, Change); 13] = [
        ("issuer", |plan| plan.issuer = "http://id.example".to_owned()),
        ("issuer", |plan| plan.issuer.push_str("/?a=b")),
        ("console_url", |plan| plan.console.push_str("/admin")),
        ("console_url", |plan| plan.console = "http://chappe.example".to_owned()),
        ("client_id", |plan| plan.client.clear()),
        ("client_id", |plan| plan.client = "a\nb".to_owned()),
        ("label", |plan| plan.label = "x".repeat(PROVIDER_LABEL_MAX + 1)),
        ("roles_claim", |plan| plan.claim.clear()),
        ("scopes", |plan| plan.scopes = vec!["a b".to_owned()]),
        ("scopes", |plan| plan.scopes = vec!["a".to_owned(); PROVIDER_SCOPES_MAX + 1]),
        ("roles", |plan| plan.roles.clear()),
        ("roles", |plan| {
            plan.roles = (0..=PROVIDER_RULES_MAX).map(|n| (n.to_string(), Role::Viewer)).collect();
        }),
        ("email_domain", |plan| plan.domain = Some("Example.org".to_owned())),
    ];
    assert_eq!(plan().check(), Ok(()));
    let mut log = Log::new();
    for (field, change) in wrong {
        let mut plan = plan();
        change(&mut plan);
        assert_eq!(plan.check().unwrap_err().0, field);
        assert_eq!(log.provider(plan, Some(b"s3cret")), Err(Refusal::Invalid(Thing::Provider)));
    }
    let here = ProviderPlan { issuer: "http://127.0.0.1:8080/realms/x".to_owned(), ..plan() };
    let here = ProviderPlan { console: "http://localhost:8080".to_owned(), ..here };
    assert_eq!(here.check(), Ok(()), "a provider for trying it out is on this machine");
    assert_eq!(here.redirect(), "http://localhost:8080/admin/login/callback");
}

#[test]
fn the_highest_role_counts_and_everybody_else_has_one_or_none() {
    let plan = plan();
    assert_eq!(plan.role_of(["staff", "admins", "x"]), Some(Role::Owner));
    assert_eq!(plan.role_of(["Staff"]), None);
    let open = ProviderPlan { everybody: Some(Role::Viewer), ..plan };
    assert_eq!((open.role_of([]), open.role_of(["admins"])), (Some(Role::Viewer), Some(Role::Owner)));
}

#[test]
fn a_secret_is_kept_for_its_provider_alone_and_told_to_nobody() {
    let mut log = Log::new();
    let none = Err(Refusal::Invalid(Thing::Secret));
    assert_eq!(log.provider(plan(), None), none);
    assert_eq!(log.provider(plan(), Some(b"")), none);
    assert_eq!(log.provider(plan(), Some(&[b'x'; PROVIDER_SECRET_MAX + 1])), none);
    log.provider(plan(), Some(b"s3cret")).unwrap();
    log.1 = log.1 + Duration::from_secs(5);
    log.provider(ProviderPlan { label: "Other".to_owned(), ..plan() }, None).unwrap();
    assert_eq!(log.0.access().provider().unwrap().secret.0, b"s3cret");
    for other in [
        ProviderPlan { issuer: "https://evil.example".to_owned(), ..plan() },
        ProviderPlan { client: "evil".to_owned(), ..plan() },
    ] {
        assert_eq!(log.provider(other, None), none);
    }
    log.says(AccessChange::ProviderRemove).unwrap();
    assert_eq!(log.says(AccessChange::ProviderRemove), Err(Refusal::Unknown(Thing::Provider)));
    let lines: Vec<_> = log.0.audit().map(|line| format!("{line:?}")).collect();
    assert!(lines.iter().all(|line| !line.contains("s3cret")), "{lines:?}");
    assert_eq!(log.0.audit().filter(|line| line.refused.is_none()).count(), 3);
    let line = log.0.audit().find(|line| line.before.is_some()).unwrap();
    let told = "https://id.example: client \"chappe\", secret of 1000000, \"Example\"";
    assert!(line.before.as_ref().unwrap().starts_with(told), "{line:?}");
    assert!(line.after.as_ref().unwrap().contains("secret of 1000000, \"Other\""), "{line:?}");
    verify(log.0.audit(), log.0.audit_begins()).unwrap();
}

#[test]
fn somebody_comes_by_the_provider_and_comes_again() {
    let mut log = Log::new();
    assert_eq!(log.comes(1, "ada", "1", Role::Owner), Err(Refusal::Unknown(Thing::Provider)));
    log.provider(plan(), Some(b"s3cret")).unwrap();
    log.comes(1, "ada", "1", Role::Operator).unwrap();
    let external = External { issuer: plan().issuer, subject: "1".to_owned() };
    assert_eq!(log.0.access().operator_of(&external), Some(&who("ada")));
    let held = log.0.access().operator(&who("ada")).unwrap();
    assert_eq!((held.role, held.password.as_ref()), (Role::Operator, None));
    assert!(log.0.access().login(&login_id(1)).unwrap().provider);
    // Once by one way there; again by another.
    assert_eq!(log.comes(1, "ada", "1", Role::Operator), Err(Refusal::Exists(Thing::Login)));
    log.comes(2, "ada", "1", Role::Operator).unwrap();
    assert_eq!(log.logins(), 2);
    // Nobody is taken for somebody else.
    assert_eq!(log.comes(3, "ada", "2", Role::Viewer), Err(Refusal::Exists(Thing::Operator)));
    assert_eq!(log.comes(3, "bob", "1", Role::Viewer), Err(Refusal::Changed(Thing::Operator)));
    assert_eq!(log.comes(3, "operator", "3", Role::Viewer), Err(Refusal::Invalid(Thing::Name)));
    for subject in ["", &"x".repeat(PROVIDER_SUBJECT_MAX + 1)] {
        assert_eq!(log.comes(3, "eve", subject, Role::Viewer), Err(Refusal::Invalid(Thing::Login)));
    }
    assert_eq!(log.0.access().operators().count(), 1);
    log.provider(ProviderPlan { issuer: "https://other.example".to_owned(), ..plan() }, Some(b"x")).unwrap();
    assert_eq!(log.comes(4, "ada", "1", Role::Owner), Err(Refusal::Exists(Thing::Operator)));
}

#[test]
fn a_role_is_what_the_provider_gives_now() {
    let mut log = Log::new();
    log.provider(plan(), Some(b"s3cret")).unwrap();
    log.comes(1, "ada", "1", Role::Owner).unwrap();
    let demoted = log.comes(2, "ada", "1", Role::Viewer);
    assert_eq!(demoted, Err(Refusal::Last(Thing::Owner)), "or nobody could give a role again");
    log.comes(3, "bob", "2", Role::Owner).unwrap();
    log.comes(4, "ada", "1", Role::Viewer).unwrap();
    assert_eq!(log.0.access().operator(&who("ada")).unwrap().role, Role::Viewer);
    let left: Vec<_> = log.0.access().logins(log.1).map(|(id, _)| *id).collect();
    assert!(!left.contains(&login_id(1)) && left.contains(&login_id(4)), "the logins of the other role end");
    let line = log.0.audit().next_back().unwrap();
    let told = (line.before.as_deref().unwrap(), line.after.as_deref().unwrap());
    assert_eq!(told.0, "owner, enabled, by https://id.example");
    assert_eq!(told.1, "viewer, enabled, by https://id.example");
    log.set("ada", Role::Viewer, true).unwrap();
    assert_eq!(log.comes(5, "ada", "1", Role::Owner), Err(Refusal::Changed(Thing::Operator)), "disabled");
}

#[test]
fn who_was_judged_by_other_settings_begins_again() {
    let mut log = Log::new();
    log.provider(plan(), Some(b"s3cret")).unwrap();
    let before = log.changed();
    log.provider(ProviderPlan { domain: Some("example.org".to_owned()), ..plan() }, None).unwrap();
    let late = log.comes_since(1, "ada", "1", Role::Owner, before);
    assert_eq!(late, Err(Refusal::Changed(Thing::Provider)));
    assert_eq!(log.0.access().operators().count(), 0);
}

#[test]
fn who_comes_by_a_provider_has_no_password() {
    let mut log = Log::new();
    log.provider(plan(), Some(b"s3cret")).unwrap();
    log.comes(1, "ada", "1", Role::Owner).unwrap();
    let link = log.invite(1, LinkFor::Password { name: who("ada") });
    assert_eq!(link, Err(Refusal::Invalid(Thing::Link)));
    let since = log.0.access().operator(&who("ada")).unwrap().changed;
    let set = log.says(AccessChange::OperatorPassword { name: who("ada"), password: password(), since });
    assert_eq!(set, Err(Refusal::Invalid(Thing::Password)));
    let state = State::decode(&log.0.encode().unwrap()).unwrap();
    assert_eq!(state.access(), log.0.access());
}
