//! Access tokens for programs.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::{Access, Role, check_hash};
use crate::id::{AccessTokenId, OperatorName};
use crate::limits::{ACCESS_TOKEN_LABEL_MAX, ACCESS_TOKEN_TTL_MAX, ACCESS_TOKENS_MAX};
use crate::mesh::uplink::Secret;
use crate::registry::{Refusal, Thing};
use crate::time::Unix;

/// An access token.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AccessToken {
    /// SHA-256 of its secret.
    pub hash: Secret,
    /// What it is for, in words.
    pub label: String,
    /// What it may do; never more than its owner may now ([`Access::role_of`]).
    pub role: Role,
    /// Whose it is; nobody's where the cluster's own token made it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub owner: Option<OperatorName>,
    /// When it was made.
    pub created: Unix,
    /// Until when.
    pub until: Unix,
    /// Whether it is refused.
    #[serde(default)]
    pub disabled: bool,
}

impl Access {
    /// An access token, disabled and expired ones included.
    #[must_use]
    pub fn token(&self, id: &AccessTokenId) -> Option<&AccessToken> {
        self.tokens.get(id)
    }

    /// All access tokens, likewise, by id.
    pub fn tokens(&self) -> impl Iterator<Item = (&AccessTokenId, &AccessToken)> {
        self.tokens.iter()
    }

    /// What whoever shows this token may do at `now`; none where it holds no more.
    #[must_use]
    pub fn role_of(&self, token: &AccessToken, now: Unix) -> Option<Role> {
        if token.disabled || token.until <= now {
            return None;
        }
        match &token.owner {
            None => Some(token.role),
            Some(owner) => {
                self.operator(owner).filter(|held| !held.disabled).map(|held| held.role.min(token.role))
            }
        }
    }

    pub(super) fn token_add(
        &mut self,
        id: AccessTokenId,
        token: AccessToken,
        now: Unix,
    ) -> Result<(), Refusal> {
        check_hash(&token.hash)?;
        let label = &token.label;
        if label.trim().is_empty()
            || label.len() > ACCESS_TOKEN_LABEL_MAX
            || label.chars().any(char::is_control)
        {
            return Err(Refusal::Invalid(Thing::Name));
        }
        if token.until <= now {
            return Err(Refusal::Expired(Thing::AccessToken));
        }
        if token.until > now + ACCESS_TOKEN_TTL_MAX {
            return Err(Refusal::Invalid(Thing::Lifetime));
        }
        if let Some(owner) = &token.owner {
            let held = self.operator(owner).ok_or(Refusal::Unknown(Thing::Operator))?;
            if held.role < token.role {
                return Err(Refusal::Invalid(Thing::Role));
            }
        }
        if self.token(&id).is_some() {
            return Err(Refusal::Exists(Thing::AccessToken));
        }
        if self.tokens.len() >= ACCESS_TOKENS_MAX {
            self.sweep_tokens(now);
        }
        if self.tokens.len() >= ACCESS_TOKENS_MAX {
            return Err(Refusal::Full { thing: Thing::AccessToken, max: ACCESS_TOKENS_MAX as u64 });
        }
        Arc::make_mut(&mut self.tokens).insert(id, token);
        Ok(())
    }

    pub(super) fn token_set(&mut self, id: AccessTokenId, disabled: bool) -> Result<(), Refusal> {
        if self.token(&id).is_none() {
            return Err(Refusal::Unknown(Thing::AccessToken));
        }
        if let Some(held) = Arc::make_mut(&mut self.tokens).get_mut(&id) {
            held.disabled = disabled;
        }
        Ok(())
    }

    pub(super) fn token_remove(&mut self, id: AccessTokenId) -> Result<(), Refusal> {
        if self.token(&id).is_none() {
            return Err(Refusal::Unknown(Thing::AccessToken));
        }
        Arc::make_mut(&mut self.tokens).remove(&id);
        Ok(())
    }

    pub(super) fn sweep_tokens(&mut self, now: Unix) {
        if self.tokens.values().any(|token| token.until <= now) {
            Arc::make_mut(&mut self.tokens).retain(|_, token| token.until > now);
        }
    }
}
