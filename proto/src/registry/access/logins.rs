//! Logins at the console. In the registry, so that they outlive their node, hold on every node, and end everywhere.

use serde::{Deserialize, Serialize};

use super::{Access, check_hash};
use crate::id::{Index, LoginId, OperatorName};
use crate::limits::{LOGIN_AGENT_MAX, LOGIN_FOR, LOGIN_FROM_MAX, LOGIN_IDLE, LOGINS_PER_OPERATOR};
use crate::mesh::uplink::Secret;
use crate::registry::{Refusal, Thing};
use crate::time::Unix;

/// A login.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Login {
    /// SHA-256 of the secret in its cookie.
    pub hash: Secret,
    /// Whose.
    pub operator: OperatorName,
    /// When it began.
    pub created: Unix,
    /// When it was used, to within [`crate::limits::LOGIN_SEEN_EVERY`].
    pub seen: Unix,
    /// From which address it began.
    pub from: String,
    /// The browser, as it names itself.
    pub agent: String,
    /// Whether the provider vouched for them, and no password.
    #[serde(default)]
    pub provider: bool,
}

impl Login {
    /// When it ends where it is not used any more.
    #[must_use]
    pub fn until(&self) -> Unix {
        (self.seen + LOGIN_IDLE).min(self.created + LOGIN_FOR)
    }

    /// Whether it holds at `now`.
    #[must_use]
    pub fn holds(&self, now: Unix) -> bool {
        now < self.until()
    }
}

/// A login that begins.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct NewLogin {
    /// SHA-256 of the secret in its cookie.
    pub hash: Secret,
    /// Whose.
    pub operator: OperatorName,
    /// From which address, [`LOGIN_FROM_MAX`] bytes at most.
    pub from: String,
    /// The browser, as it names itself, [`LOGIN_AGENT_MAX`] bytes at most.
    pub agent: String,
}

impl Access {
    /// A login, ended ones included until they are swept: ask [`Login::holds`].
    #[must_use]
    pub fn login(&self, id: &LoginId) -> Option<&Login> {
        self.logins.get(id)
    }

    /// The logins that hold at `now`, by id.
    pub fn logins(&self, now: Unix) -> impl Iterator<Item = (&LoginId, &Login)> {
        self.logins.iter().filter(move |(_, login)| login.holds(now))
    }

    pub(super) fn login_add(
        &mut self,
        id: LoginId,
        login: NewLogin,
        since: Index,
        replaces: Option<LoginId>,
        now: Unix,
    ) -> Result<(), Refusal> {
        self.login_fits(&id, &login)?;
        let held = self.operator(&login.operator).ok_or(Refusal::Unknown(Thing::Operator))?;
        if held.disabled || held.changed != since {
            return Err(Refusal::Changed(Thing::Operator));
        }
        self.login_insert(id, login, replaces, false, now);
        Ok(())
    }

    /// Whether a login is one, and new.
    pub(super) fn login_fits(&self, id: &LoginId, login: &NewLogin) -> Result<(), Refusal> {
        check_hash(&login.hash)?;
        if login.from.len() > LOGIN_FROM_MAX || login.agent.len() > LOGIN_AGENT_MAX {
            return Err(Refusal::Invalid(Thing::Login));
        }
        if self.login(id).is_some() { Err(Refusal::Exists(Thing::Login)) } else { Ok(()) }
    }

    /// Of an operator who is there.
    pub(super) fn login_insert(
        &mut self,
        id: LoginId,
        login: NewLogin,
        replaces: Option<LoginId>,
        provider: bool,
        now: Unix,
    ) {
        let NewLogin { hash, operator, from, agent } = login;
        if let Some(replaced) = replaces {
            self.logins.remove(&replaced);
        }
        let theirs = self.logins.iter().filter(|(_, held)| held.operator == operator);
        let theirs: Vec<_> = theirs.map(|(id, held)| (held.seen, *id)).collect();
        if theirs.len() >= LOGINS_PER_OPERATOR
            && let Some((_, oldest)) = theirs.iter().min()
        {
            self.logins.remove(oldest);
        }
        self.logins.insert(id, Login { hash, operator, created: now, seen: now, from, agent, provider });
    }

    pub(super) fn login_seen(&mut self, id: LoginId, now: Unix) -> Result<(), Refusal> {
        let mut held = self.login(&id).cloned().ok_or(Refusal::Unknown(Thing::Login))?;
        if !held.holds(now) {
            return Err(Refusal::Expired(Thing::Login));
        }
        held.seen = now;
        self.logins.insert(id, held);
        Ok(())
    }

    pub(super) fn login_remove(&mut self, id: LoginId) -> Result<(), Refusal> {
        self.logins.remove(&id).map(drop).ok_or(Refusal::Unknown(Thing::Login))
    }

    /// Never refused: so [`Result`] for its callers' sake.
    #[allow(clippy::unnecessary_wraps)]
    pub(super) fn logins_end(&mut self, operator: &OperatorName) -> Result<(), Refusal> {
        self.logins.retain(|_, login| login.operator != *operator);
        Ok(())
    }
}
