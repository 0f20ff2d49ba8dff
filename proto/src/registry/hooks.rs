//! Webhooks: where apps are told of their rooms.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::outcome::unchanged;
use super::{Outcome, Refusal, State, Thing};
use crate::hooks::event::EventKind;
use crate::hooks::url::Target;
use crate::id::{AppId, HookId, Index};
use crate::limits::{HOOK_LABEL_MAX, HOOK_SECRET_BYTES, HOOK_SECRETS, HOOKS_MAX, HOOKS_PER_APP};
use crate::mesh::uplink::Secret;
use crate::time::Unix;

/// The webhooks of each app that has any.
pub(super) type Hooks = BTreeMap<AppId, BTreeMap<HookId, Hook>>;

/// A webhook.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Hook {
    /// What an operator decides of it.
    #[serde(flatten)]
    pub plan: HookPlan,
    /// Sign, oldest first: [`HOOK_SECRETS`] at most.
    pub secrets: Vec<Secret>,
    /// Its endpoint has said that it is gone (410): nothing is sent until an operator sets it again.
    #[serde(default)]
    pub gone: bool,
    /// When it was added.
    pub created: Unix,
    /// The entry in which an operator decided of it last.
    #[serde(default)]
    pub changed: Index,
}

/// What an operator decides of a webhook.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct HookPlan {
    /// Where requests go: see [`Target::of`].
    pub url: String,
    /// What it is told of; empty for what is usual ([`EventKind::is_usual`]).
    #[serde(default)]
    pub events: BTreeSet<EventKind>,
    /// What operators call it.
    #[serde(default)]
    pub label: String,
    /// Whether nothing is sent.
    #[serde(default)]
    pub disabled: bool,
}

impl HookPlan {
    fn check(&self) -> Result<(), Refusal> {
        if Target::of(&self.url).is_err() {
            return Err(Refusal::Invalid(Thing::HookUrl));
        }
        if self.label.len() > HOOK_LABEL_MAX || self.label.chars().any(char::is_control) {
            return Err(Refusal::Invalid(Thing::Name));
        }
        if self.events.contains(&EventKind::Ping) {
            return Err(Refusal::Invalid(Thing::HookEvent));
        }
        Ok(())
    }
}

impl Hook {
    /// What the audit log says of it: of the URL host and port alone, since some have a key in their path.
    pub(super) fn text(&self) -> String {
        let HookPlan { url, events, label, disabled } = &self.plan;
        let to = Target::of(url).map_or("", |target| target.authority);
        let events: Vec<_> = events.iter().map(|kind| kind.name()).collect();
        let how = match (disabled, self.gone) {
            (true, _) => "disabled",
            (false, true) => "gone",
            (false, false) => "enabled",
        };
        let (events, secrets) = (events.join(" "), self.secrets.len());
        format!("{label:?}: to {to}, events [{events}], {how}, secrets {secrets}")
    }

    /// Whether anything is sent.
    #[must_use]
    pub const fn is_on(&self) -> bool {
        !self.plan.disabled && !self.gone
    }
}

fn check_secret(secret: &Secret) -> Result<(), Refusal> {
    let fits = HOOK_SECRET_BYTES.contains(&secret.0.len());
    if fits { Ok(()) } else { Err(Refusal::Invalid(Thing::Secret)) }
}

impl State {
    /// An app's webhooks, by id.
    pub fn hooks_of(&self, app: &AppId) -> impl Iterator<Item = (HookId, &Hook)> {
        self.hooks.get(app).into_iter().flatten().map(|(id, hook)| (*id, hook))
    }

    /// A webhook.
    #[must_use]
    pub fn hook(&self, app: &AppId, hook: HookId) -> Option<&Hook> {
        self.hooks.get(app)?.get(&hook)
    }

    /// All webhooks, by app and id.
    pub fn hooks(&self) -> impl Iterator<Item = (&AppId, HookId, &Hook)> {
        self.hooks.iter().flat_map(|(app, hooks)| hooks.iter().map(move |(id, hook)| (app, *id, hook)))
    }

    /// Whether both have the same webhooks; false where that is not known at once.
    #[must_use]
    pub fn has_hooks_of(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.hooks, &other.hooks)
    }

    pub(super) fn hook_add(
        &mut self,
        app: AppId,
        hook: HookId,
        plan: HookPlan,
        secret: Secret,
    ) -> Result<Outcome, Refusal> {
        plan.check()?;
        check_secret(&secret)?;
        if self.app(&app).is_none() {
            return Err(Refusal::Unknown(Thing::App));
        }
        if self.hooks().any(|(_, held, _)| held == hook) {
            return Err(Refusal::Exists(Thing::Hook));
        }
        let full = |max: usize| Err(Refusal::Full { thing: Thing::Hook, max: max as u64 });
        if self.hooks_of(&app).count() >= HOOKS_PER_APP {
            return full(HOOKS_PER_APP);
        }
        if self.hooks().count() >= HOOKS_MAX {
            return full(HOOKS_MAX);
        }
        let held = Hook { plan, secrets: vec![secret], gone: false, created: self.now, changed: self.index };
        Arc::make_mut(&mut self.hooks).entry(app).or_default().insert(hook, held);
        Ok(Outcome::Done)
    }

    /// It is as this says from now on, and tried again where its endpoint was gone.
    pub(super) fn hook_set(
        &mut self,
        app: &AppId,
        hook: HookId,
        plan: HookPlan,
        since: Option<Index>,
    ) -> Result<Outcome, Refusal> {
        plan.check()?;
        let index = self.index;
        let held = self.hook_mut(app, hook)?;
        unchanged(Thing::Hook, since, held.changed)?;
        (held.plan, held.gone, held.changed) = (plan, false, index);
        Ok(Outcome::Done)
    }

    /// Its endpoint is gone, where that is still its endpoint.
    pub(super) fn hook_gone(&mut self, app: &AppId, hook: HookId, url: &str) -> Result<Outcome, Refusal> {
        let held = self.hook_mut(app, hook)?;
        held.gone |= held.plan.url == url;
        Ok(Outcome::Done)
    }

    pub(super) fn hook_rotate(
        &mut self,
        app: &AppId,
        hook: HookId,
        secret: Secret,
    ) -> Result<Outcome, Refusal> {
        check_secret(&secret)?;
        let held = self.hook_mut(app, hook)?;
        held.secrets.push(secret);
        let over = held.secrets.len().saturating_sub(HOOK_SECRETS);
        held.secrets.drain(..over);
        Ok(Outcome::Done)
    }

    /// Only the newest secret signs from now on.
    pub(super) fn hook_settle(&mut self, app: &AppId, hook: HookId) -> Result<Outcome, Refusal> {
        let held = self.hook_mut(app, hook)?;
        let over = held.secrets.len().saturating_sub(1);
        held.secrets.drain(..over);
        Ok(Outcome::Done)
    }

    pub(super) fn hook_remove(&mut self, app: &AppId, hook: HookId) -> Result<Outcome, Refusal> {
        self.hook_mut(app, hook)?;
        let all = Arc::make_mut(&mut self.hooks);
        if let Some(hooks) = all.get_mut(app) {
            hooks.remove(&hook);
            if hooks.is_empty() {
                all.remove(app);
            }
        }
        Ok(Outcome::Done)
    }

    fn hook_mut(&mut self, app: &AppId, hook: HookId) -> Result<&mut Hook, Refusal> {
        if self.hook(app, hook).is_none() {
            return Err(Refusal::Unknown(Thing::Hook));
        }
        let held = Arc::make_mut(&mut self.hooks).get_mut(app).and_then(|hooks| hooks.get_mut(&hook));
        held.ok_or(Refusal::Unknown(Thing::Hook))
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::Log;
    use super::super::{AppPolicy, Command, Entry, Note};
    use super::*;

    fn app(name: &str) -> AppId {
        AppId::new(name).unwrap()
    }

    fn id(n: usize) -> HookId {
        let mut bytes = [0; 15];
        bytes[..8].copy_from_slice(&n.to_be_bytes());
        HookId::from_random(bytes)
    }

    fn plan(url: &str) -> HookPlan {
        HookPlan { url: url.to_owned(), events: BTreeSet::new(), label: String::new(), disabled: false }
    }

    fn secret(n: u8) -> Secret {
        Secret(vec![n; 32])
    }

    fn add(to: &str, n: usize) -> Command {
        Command::HookAdd { app: app(to), hook: id(n), plan: plan("https://a.example/"), secret: secret(1) }
    }

    fn with_apps(apps: usize) -> Log {
        let mut log = Log::default();
        for n in 0..apps {
            let (app, name, policy) = (app(&format!("a{n}")), "A".to_owned(), AppPolicy::default());
            log.does(Command::AppAdd { app, name, policy });
        }
        log
    }

    #[test]
    fn a_webhook_is_added_set_rotated_and_removed() {
        let mut log = with_apps(1);
        log.does(add("a0", 1));
        let secrets = |log: &Log| log.0.hook(&app("a0"), id(1)).unwrap().secrets.clone();
        let rotate = |n| Command::HookRotate { app: app("a0"), hook: id(1), secret: secret(n) };
        log.does(rotate(2));
        assert_eq!(secrets(&log), [secret(1), secret(2)]);
        log.does(rotate(3));
        assert_eq!(secrets(&log), [secret(2), secret(3)], "the newest two");
        log.does(Command::HookSettle { app: app("a0"), hook: id(1) });
        log.does(Command::HookSettle { app: app("a0"), hook: id(1) });
        assert_eq!(secrets(&log), [secret(3)]);

        let gone = |url: &str| Command::HookGone { app: app("a0"), hook: id(1), url: url.to_owned() };
        log.does(gone("https://other.example/"));
        assert!(log.0.hook(&app("a0"), id(1)).unwrap().is_on(), "that was its endpoint before");
        log.does(gone("https://a.example/"));
        assert!(!log.0.hook(&app("a0"), id(1)).unwrap().is_on());
        let events = [EventKind::PeerAway].into();
        let set = HookPlan { events, ..plan("https://b.example/") };
        log.does(Command::HookSet { app: app("a0"), hook: id(1), plan: set.clone(), since: None });
        let held = log.0.hook(&app("a0"), id(1)).unwrap();
        assert!(held.is_on() && held.plan == set);
        assert_eq!(State::decode(&log.0.encode().unwrap()).unwrap(), log.0);

        log.does(Command::HookRemove { app: app("a0"), hook: id(1) });
        assert_eq!(log.0.hooks().count(), 0);
        let unknown = Outcome::Refused(Refusal::Unknown(Thing::Hook));
        assert_eq!(log.says(rotate(4)), unknown);
        assert_eq!(log.says(Command::HookRemove { app: app("a0"), hook: id(1) }), unknown);
        assert_eq!(
            log.says(Command::HookSet { app: app("a0"), hook: id(1), plan: set, since: None }),
            unknown
        );
    }

    #[test]
    fn the_audit_log_tells_what_changed_and_no_key_of_a_url() {
        let mut log = with_apps(1);
        let mut says = |what: &str, command| {
            let note = Note { who: "ada".to_owned(), what: what.to_owned(), from: String::new() };
            let (index, at) = (Index(log.0.index().0 + 1), log.0.now());
            log.0.apply(index, Entry { at, by: None, note: Some(note), command });
            let line = log.0.audit().next_back().unwrap();
            (line.before.clone().unwrap_or_default(), line.after.clone().unwrap_or_default())
        };
        let (app, hook) = (app("a0"), id(1));
        let mut held = HookPlan { label: "billing".into(), ..plan("https://a.example:8443/secret-key") };
        let add = Command::HookAdd { app: app.clone(), hook, plan: held.clone(), secret: secret(1) };
        let (before, first) = says("added", add);
        assert_eq!(
            (before.as_str(), first.as_str()),
            ("", "\"billing\": to a.example:8443, events [], enabled, secrets 1")
        );
        held.events = [EventKind::PeerLeft, EventKind::PeerJoined].into();
        held.disabled = true;
        let (before, after) =
            says("set", Command::HookSet { app: app.clone(), hook, plan: held, since: None });
        assert_eq!(before, first);
        assert_eq!(
            after,
            "\"billing\": to a.example:8443, events [peer_joined peer_left], disabled, secrets 1"
        );
        let (before, after) = says("removed", Command::HookRemove { app, hook });
        assert!(before.contains("disabled") && after.is_empty(), "{before} {after}");
    }

    #[test]
    fn what_is_no_webhook_is_refused() {
        let mut log = with_apps(2);
        let mut refuses = |plan: HookPlan, bytes: usize, thing| {
            let secret = Secret(vec![1; bytes]);
            let command = Command::HookAdd { app: app("a0"), hook: id(1), plan, secret };
            assert_eq!(log.says(command), Outcome::Refused(Refusal::Invalid(thing)));
        };
        refuses(plan("http://example.org/"), 32, Thing::HookUrl);
        refuses(plan("https://a@example.org/"), 32, Thing::HookUrl);
        refuses(HookPlan { label: "x".repeat(129), ..plan("https://a/") }, 32, Thing::Name);
        refuses(HookPlan { label: "a\nb".into(), ..plan("https://a/") }, 32, Thing::Name);
        refuses(HookPlan { events: [EventKind::Ping].into(), ..plan("https://a/") }, 32, Thing::HookEvent);
        refuses(plan("https://a/"), 23, Thing::Secret);
        refuses(plan("https://a/"), 65, Thing::Secret);
        assert_eq!(log.says(add("none", 1)), Outcome::Refused(Refusal::Unknown(Thing::App)));
        log.does(add("a0", 1));
        assert_eq!(log.says(add("a1", 1)), Outcome::Refused(Refusal::Exists(Thing::Hook)));
        // Another app's webhook is nobody's here.
        let rotate = Command::HookRotate { app: app("a1"), hook: id(1), secret: secret(2) };
        assert_eq!(log.says(rotate), Outcome::Refused(Refusal::Unknown(Thing::Hook)));
    }

    #[test]
    fn an_app_and_a_cluster_have_so_many_and_an_app_takes_its_own_with_it() {
        let mut log = with_apps(HOOKS_MAX / HOOKS_PER_APP + 2);
        let full = |max| Outcome::Refused(Refusal::Full { thing: Thing::Hook, max });
        let mut n = 0;
        'apps: for of in 0.. {
            for _ in 0..HOOKS_PER_APP {
                if n == HOOKS_MAX {
                    assert_eq!(log.says(add(&format!("a{of}"), n)), full(HOOKS_MAX as u64));
                    break 'apps;
                }
                log.does(add(&format!("a{of}"), n));
                n += 1;
            }
            assert_eq!(log.says(add(&format!("a{of}"), n)), full(HOOKS_PER_APP as u64));
        }
        log.does(Command::AppRemove { app: app("a0") });
        assert_eq!(log.0.hooks().count(), HOOKS_MAX - HOOKS_PER_APP);
    }
}
