//! Operators: who may log in at the console, and what each may do.

use std::fmt;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::{Access, External, LinkFor};
use crate::id::{Index, OperatorName};
use crate::limits::{OPERATORS_MAX, PASSWORD_HASH_MAX};
use crate::mesh::uplink::Secret;
use crate::registry::outcome::unchanged;
use crate::registry::{Refusal, Thing};
use crate::time::Unix;

/// What one may do; each may what those before it may.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Role {
    /// Look.
    Viewer,
    /// Act on rooms, users, edges, nodes.
    Operator,
    /// Decide who may do what, and handle keys and secrets.
    Owner,
}

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Viewer => "viewer",
            Self::Operator => "operator",
            Self::Owner => "owner",
        })
    }
}

/// An operator.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Operator {
    /// What it may do.
    pub role: Role,
    /// The argon2id hash of its password, as a PHC string; none where it logs in by other means.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub password: Option<Secret>,
    /// Since when it has it.
    #[serde(default)]
    pub password_since: Unix,
    /// Whom the provider knows it as, where it logs in by one: it has no password then.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub external: Option<External>,
    /// When it was added.
    pub created: Unix,
    /// Whether it may not log in.
    #[serde(default)]
    pub disabled: bool,
    /// The entry that changed role, password or this last: what was checked before it counts no more.
    pub changed: Index,
}

/// By what somebody new is known.
pub(super) enum Means {
    Password(Secret),
    External(External),
}

pub(super) fn check_password(password: &Secret) -> Result<(), Refusal> {
    // Parsed where it was made; what counts here is that it is a text of its size.
    let fine = password.0.len() <= PASSWORD_HASH_MAX && password.0.starts_with(b"$argon2id$");
    if fine { Ok(()) } else { Err(Refusal::Invalid(Thing::Password)) }
}

impl Access {
    /// An operator, disabled ones included.
    #[must_use]
    pub fn operator(&self, name: &OperatorName) -> Option<&Operator> {
        self.operators.get(name)
    }

    /// All operators, by name.
    pub fn operators(&self) -> impl Iterator<Item = (&OperatorName, &Operator)> {
        self.operators.iter()
    }

    /// Whether somebody has this name and the others have no owner who may log in.
    fn is_last_owner(&self, name: &OperatorName) -> bool {
        // By a provider that is there no more nobody logs in.
        let logs_in = |held: &Operator| {
            held.external.as_ref().is_none_or(|external| {
                self.provider().is_some_and(|provider| provider.plan.issuer == external.issuer)
            })
        };
        let owns = |held: &Operator| held.role == Role::Owner && !held.disabled && logs_in(held);
        self.operator(name).is_some_and(owns)
            && !self.operators.iter().any(|(other, held)| other != name && owns(held))
    }

    pub(super) fn operator_set(
        &mut self,
        name: &OperatorName,
        role: Role,
        disabled: bool,
        since: Option<Index>,
        index: Index,
    ) -> Result<(), Refusal> {
        let held = self.operator(name).ok_or(Refusal::Unknown(Thing::Operator))?;
        unchanged(Thing::Operator, since, held.changed)?;
        if (held.role, held.disabled) == (role, disabled) {
            return Ok(());
        }
        if (role < Role::Owner || disabled) && self.is_last_owner(name) {
            return Err(Refusal::Last(Thing::Owner));
        }
        if let Some(held) = Arc::make_mut(&mut self.operators).get_mut(name) {
            (held.role, held.disabled, held.changed) = (role, disabled, index);
        }
        if role < Role::Owner || disabled {
            self.links_end(|link| link.by.as_ref() == Some(name));
        }
        self.logins_end(name)
    }

    pub(super) fn operator_remove(&mut self, name: &OperatorName) -> Result<(), Refusal> {
        if self.operator(name).is_none() {
            return Err(Refusal::Unknown(Thing::Operator));
        }
        if self.is_last_owner(name) {
            return Err(Refusal::Last(Thing::Owner));
        }
        Arc::make_mut(&mut self.operators).remove(name);
        self.links_end(|link| {
            let resets = matches!(&link.of, LinkFor::Password { name: held } if held == name);
            resets || link.by.as_ref() == Some(name)
        });
        if self.tokens.values().any(|token| token.owner.as_ref() == Some(name)) {
            Arc::make_mut(&mut self.tokens).retain(|_, token| token.owner.as_ref() != Some(name));
        }
        self.logins_end(name)
    }

    pub(super) fn operator_password(
        &mut self,
        name: &OperatorName,
        password: Secret,
        since: Index,
        index: Index,
        now: Unix,
    ) -> Result<(), Refusal> {
        check_password(&password)?;
        let held = self.operator(name).ok_or(Refusal::Unknown(Thing::Operator))?;
        if held.changed != since {
            return Err(Refusal::Changed(Thing::Operator));
        }
        self.set_password(name, password, index, now)
    }

    /// Also ends the logins: whoever knew the old password may have one.
    pub(super) fn set_password(
        &mut self,
        name: &OperatorName,
        password: Secret,
        index: Index,
        now: Unix,
    ) -> Result<(), Refusal> {
        if self.operator(name).is_some_and(|held| held.external.is_some()) {
            return Err(Refusal::Invalid(Thing::Password));
        }
        if let Some(held) = Arc::make_mut(&mut self.operators).get_mut(name) {
            (held.password, held.password_since, held.changed) = (Some(password), now, index);
        }
        self.logins_end(name)
    }

    pub(super) fn operator_add(
        &mut self,
        name: OperatorName,
        role: Role,
        means: Means,
        index: Index,
        now: Unix,
    ) -> Result<(), Refusal> {
        if name.is_reserved() {
            return Err(Refusal::Invalid(Thing::Name));
        }
        if self.operator(&name).is_some() {
            return Err(Refusal::Exists(Thing::Operator));
        }
        if self.operators.len() >= OPERATORS_MAX {
            return Err(Refusal::Full { thing: Thing::Operator, max: OPERATORS_MAX as u64 });
        }
        let (password, external) = match means {
            Means::Password(password) => (Some(password), None),
            Means::External(external) => (None, Some(external)),
        };
        let fresh = Operator {
            role,
            password_since: if password.is_some() { now } else { Unix::default() },
            password,
            external,
            created: now,
            disabled: false,
            changed: index,
        };
        Arc::make_mut(&mut self.operators).insert(name, fresh);
        Ok(())
    }
}
