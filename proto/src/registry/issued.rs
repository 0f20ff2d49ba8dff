//! TURN credentials that operators and apps' servers issue, and the life of the secrets that make them.
//!
//! An issued credential is an ordinary time-limited one, whose name is the id of a session that nobody else has: so
//! revocation, usage and what edges do by sessions are the same for it. What is kept here says who has which; its
//! password is kept nowhere, since it follows from the secret.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::{Outcome, Refusal, State, Thing};
use crate::id::{AppId, SessionId};
use crate::limits::{
    AUDIT_TEXT_MAX, CLOCK_SKEW, ISSUED_LABEL_MAX, ISSUED_MAX, ISSUED_PER_APP, ISSUED_TTL_MAX, LIFETIME_MAX,
    SECRET_BYTES, SECRET_OVERLAP,
};
use crate::mesh::uplink::Secret;
use crate::time::Unix;

/// An issued credential, without its password.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Issued {
    /// What its issuer calls it: [`ISSUED_LABEL_MAX`] bytes at most.
    pub label: String,
    /// The app that it is for, where it is for one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub app: Option<AppId>,
    /// When it was issued.
    pub created: Unix,
    /// Until when allocations may be made by it.
    pub until: Unix,
    /// Who issued it.
    pub by: String,
    /// The number of the secret by which it was made: with that it ends too.
    pub secret: u64,
    /// When it was revoked, where it was.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub revoked: Option<Unix>,
}

impl Issued {
    /// Whether allocations may be made by it at `now`, as long as its secret is there.
    #[must_use]
    pub fn is_in_force(&self, now: Unix) -> bool {
        self.revoked.is_none() && self.until > now
    }

    /// Until when it must be remembered that it is revoked: an edge that hears of it late may still have its
    /// allocations.
    fn dead_until(&self, now: Unix) -> Unix {
        self.until.max(now + LIFETIME_MAX)
    }
}

/// The life of a shared secret.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct SecretLife {
    /// When it began.
    pub since: Unix,
    /// When it ends, where another one has taken its place.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub until: Option<Unix>,
}

/// Whether a text is a label: some bytes, none of them controls.
#[must_use]
pub fn is_label(text: &str) -> bool {
    (1..=ISSUED_LABEL_MAX).contains(&text.len()) && !text.chars().any(char::is_control)
}

impl State {
    /// An issued credential; expired ones too, until they are swept.
    #[must_use]
    pub fn issued(&self, id: &SessionId) -> Option<&Issued> {
        self.issued.get(id)
    }

    /// All issued credentials, by id.
    pub fn all_issued(&self) -> impl Iterator<Item = (&SessionId, &Issued)> {
        self.issued.iter()
    }

    /// Those that rely on the secret of this number, and can still be used at `now`.
    pub fn relying_on(&self, secret: u64, now: Unix) -> impl Iterator<Item = (&SessionId, &Issued)> {
        self.issued.iter().filter(move |(_, held)| held.secret == secret && held.is_in_force(now))
    }

    /// When a shared secret began, and when it is to end.
    #[must_use]
    pub fn turn_secret_life(&self, number: u64) -> Option<SecretLife> {
        self.turn.get(number)?;
        Some(self.turn_lives.get(&number).copied().unwrap_or_default())
    }

    /// The shared secret whose time is over, if one's is ([`super::Command::TurnSecretRemove`]).
    #[must_use]
    pub fn turn_secret_due(&self, now: Unix) -> Option<u64> {
        let newest = self.turn.newest()?.0;
        let is_over = |life: &SecretLife| life.until.is_some_and(|until| until <= now);
        let over = self.turn_lives.iter().find(|(number, life)| **number != newest && is_over(life));
        over.map(|(number, _)| *number)
    }

    pub(super) fn turn_secret_add(&mut self, number: u64, secret: Secret) -> Result<Outcome, Refusal> {
        if !SECRET_BYTES.contains(&secret.0.len()) {
            return Err(Refusal::Invalid(Thing::Secret));
        }
        let added = Arc::make_mut(&mut self.turn).add(Thing::TurnSecret, number, secret)?;
        let life = SecretLife { since: self.now, until: None };
        Arc::make_mut(&mut self.turn_lives).insert(number, life);
        Ok(added)
    }

    pub(super) fn turn_secret_remove(&mut self, number: u64) -> Result<Outcome, Refusal> {
        let removed = Arc::make_mut(&mut self.turn).remove(Thing::TurnSecret, number)?;
        Arc::make_mut(&mut self.turn_lives).remove(&number);
        Ok(removed)
    }

    /// A secret begins, and those before it are to end: at `until`, else once nothing that was made by them is
    /// good.
    pub(super) fn turn_secret_rotate(
        &mut self,
        number: u64,
        secret: Secret,
        until: Option<Unix>,
    ) -> Result<Outcome, Refusal> {
        if until.is_some_and(|until| until > self.now + ISSUED_TTL_MAX + CLOCK_SKEW) {
            return Err(Refusal::Invalid(Thing::Lifetime));
        }
        let before: Vec<u64> = self.turn.all().keys().copied().collect();
        let done = self.turn_secret_add(number, secret)?;
        for old in before {
            let last = self.relying_on(old, self.now).map(|(_, held)| held.until).max().unwrap_or_default();
            let end = until.unwrap_or_else(|| last.max(self.now + SECRET_OVERLAP));
            let life = Arc::make_mut(&mut self.turn_lives).entry(old).or_default();
            life.until = Some(life.until.map_or(end, |held| held.min(end)));
        }
        Ok(done)
    }

    pub(super) fn issued_add(
        &mut self,
        id: SessionId,
        label: String,
        app: Option<AppId>,
        until: Unix,
        by: String,
        secret: u64,
    ) -> Result<Outcome, Refusal> {
        if !is_label(&label) {
            return Err(Refusal::Invalid(Thing::Label));
        }
        if by.len() > AUDIT_TEXT_MAX {
            return Err(Refusal::Invalid(Thing::Name));
        }
        // Whoever asks goes by its own clock.
        if until > self.now + ISSUED_TTL_MAX + CLOCK_SKEW || until <= self.now {
            return Err(Refusal::Invalid(Thing::Lifetime));
        }
        if app.as_ref().is_some_and(|app| !self.apps.contains_key(app)) {
            return Err(Refusal::Unknown(Thing::App));
        }
        // Another one issues by now: what was made by the old one would not last.
        if self.turn.newest().is_none_or(|(newest, _)| newest != secret) {
            return Err(Refusal::Unknown(Thing::TurnSecret));
        }
        if self.issued.get(&id).is_some() || self.revocations.sessions.get(&id).is_some() {
            return Err(Refusal::Exists(Thing::Issued));
        }
        if self.issued.len() >= ISSUED_MAX {
            self.sweep_issued();
        }
        let of_app = |held: &Issued| app.is_some() && held.app == app;
        let (all, own) = (self.issued.len(), self.issued.iter().filter(|(_, held)| of_app(held)).count());
        for (held, max) in [(all, ISSUED_MAX), (own, ISSUED_PER_APP)] {
            if held >= max {
                return Err(Refusal::Full { thing: Thing::Issued, max: max as u64 });
            }
        }
        let created = self.now;
        self.issued.insert(id, Issued { label, app, created, until, by, secret, revoked: None });
        Ok(Outcome::Done)
    }

    /// A credential and its allocations die now; again is the same.
    pub(super) fn issued_revoke(&mut self, id: &SessionId) -> Result<Outcome, Refusal> {
        let mut held = self.issued.get(id).cloned().ok_or(Refusal::Unknown(Thing::Issued))?;
        if held.revoked.is_none() {
            self.revoke_each(&[(*id, held.dead_until(self.now))])?;
            held.revoked = Some(self.now);
            self.issued.insert(*id, held);
        }
        Ok(Outcome::Done)
    }

    /// The credentials of an app that ends die with it.
    pub(super) fn issued_end(&mut self, app: &AppId) -> Result<(), Refusal> {
        let now = self.now;
        let of_app = self.issued.iter().filter(|(_, held)| held.app.as_ref() == Some(app));
        let alive = of_app.filter(|(_, held)| held.revoked.is_none());
        let dead: Vec<_> = alive.map(|(id, held)| (*id, held.dead_until(now))).collect();
        self.revoke_each(&dead)?;
        self.issued.retain(|_, held| held.app.as_ref() != Some(app));
        Ok(())
    }

    /// What has expired goes.
    pub(super) fn sweep_issued(&mut self) {
        let now = self.now;
        self.issued.retain(|_, held| held.until > now);
    }
}

/// The lives of secrets, by number.
pub(super) type Lives = Arc<BTreeMap<u64, SecretLife>>;
