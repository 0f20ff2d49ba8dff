//! Who may operate the cluster: operators, one-time links, logins at the console, access tokens for programs.
//!
//! Links, cookies and tokens are an id, which is no secret, and a secret of 256 random bits, of which the registry
//! holds the SHA-256: whoever reads a backup logs in nowhere. The node that is shown one checks it ([`is_opened_by`]).

mod links;
mod logins;
mod operators;
mod provider;
#[cfg(test)]
mod tests;
mod tokens;

use std::collections::BTreeMap;
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;

pub use links::{Link, LinkFor};
pub use logins::{Login, NewLogin};
pub use operators::{Operator, Role};
pub use provider::{External, Provider, ProviderPlan};
pub use tokens::AccessToken;

use super::cow::Map;
use super::{Outcome, Refusal, State, Thing};
use crate::id::{AccessTokenId, LinkId, LoginId, OperatorName};
use crate::limits::{ACCESS_HASH_BYTES, SWEEP_EVERY};
use crate::mesh::uplink::Secret;
use crate::time::Unix;

/// What the registry keeps of a secret.
#[must_use]
pub fn hash(secret: &[u8]) -> Secret {
    Secret(Sha256::digest(secret).to_vec())
}

/// Whether `secret` is the one of this hash, in constant time.
#[must_use]
pub fn is_opened_by(held: &Secret, secret: &[u8]) -> bool {
    hash(secret).0.ct_eq(&held.0).into()
}

fn check_hash(hash: &Secret) -> Result<(), Refusal> {
    if hash.0.len() == ACCESS_HASH_BYTES { Ok(()) } else { Err(Refusal::Invalid(Thing::Secret)) }
}

/// What changes of who may do what.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum AccessChange {
    /// What an owner decides of an operator; another role, or being disabled, ends its logins, and what makes it
    /// less than an owner the links that it made.
    OperatorSet {
        /// Who.
        name: OperatorName,
        /// What it may do.
        role: Role,
        /// Whether it may not log in.
        disabled: bool,
        /// When it changed last, as the one who decides saw it: refused where it has changed since. Whatever is there
        /// is changed without it.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        since: Option<crate::id::Index>,
    },
    /// An operator ends, with its logins, links and access tokens.
    OperatorRemove {
        /// Who.
        name: OperatorName,
    },
    /// An operator has another password; its logins end.
    OperatorPassword {
        /// Who.
        name: OperatorName,
        /// Its argon2id hash, as a PHC string.
        password: Secret,
        /// When the operator changed last, as the one who checked the old password saw it.
        since: crate::id::Index,
    },
    /// A one-time link begins.
    LinkAdd {
        /// Its id.
        id: LinkId,
        /// SHA-256 of its secret.
        hash: Secret,
        /// What it is for.
        of: LinkFor,
        /// Until when: [`crate::limits::LINK_TTL_MAX`] ahead at most.
        until: Unix,
        /// The owner who makes it: it ends when they are removed, disabled or made less than an owner.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        by: Option<OperatorName>,
    },
    /// A link is taken back.
    LinkRemove {
        /// Which.
        id: LinkId,
    },
    /// A link, whose secret was checked by the node that asks for this, is used up: a new operator is there, or has
    /// another password.
    LinkUse {
        /// Which.
        id: LinkId,
        /// Who.
        name: OperatorName,
        /// The argon2id hash of the password, as a PHC string.
        password: Secret,
    },
    /// An operator has logged in.
    LoginAdd {
        /// Its id.
        id: LoginId,
        /// Whose, and from where.
        login: NewLogin,
        /// When the operator changed last, as the one who checked the password saw it.
        since: crate::id::Index,
        /// The login that was there before in that browser, which ends.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        replaces: Option<LoginId>,
    },
    /// A login is in use.
    LoginSeen {
        /// Which.
        id: LoginId,
    },
    /// A login ends.
    LoginRemove {
        /// Which.
        id: LoginId,
    },
    /// All logins of an operator end.
    LoginsEnd {
        /// Whose.
        operator: OperatorName,
    },
    /// An access token for a program begins.
    TokenAdd {
        /// Its id.
        id: AccessTokenId,
        /// SHA-256 of its secret.
        hash: Secret,
        /// What it is for, in words.
        label: String,
        /// What it may do: no more than its owner.
        role: Role,
        /// Whose it is, and with whom it ends; of nobody where the cluster's own token made it.
        owner: Option<OperatorName>,
        /// Until when: [`crate::limits::ACCESS_TOKEN_TTL_MAX`] ahead at most.
        until: Unix,
    },
    /// An access token is refused, or taken again.
    TokenSet {
        /// Which.
        id: AccessTokenId,
        /// Whether it is refused.
        disabled: bool,
    },
    /// An access token ends.
    TokenRemove {
        /// Which.
        id: AccessTokenId,
    },
    /// Operators may log in by this OpenID provider.
    ProviderSet {
        /// How it is.
        plan: ProviderPlan,
        /// By which this console is known to it; as before where it is left out, of the same issuer and client.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        secret: Option<Secret>,
        /// Seals what browsers keep: [`crate::limits::PROVIDER_SEAL_BYTES`] random bytes.
        seal: Secret,
    },
    /// Nobody may any more. Who came by it stays, logged in until that ends.
    ProviderRemove,
    /// Somebody whom the provider vouches for, as the node has checked that asks for this, is logged in: as a new
    /// operator, or as the one who came so before, with the role that they have now.
    ProviderLogin {
        /// Its id: drawn when they were sent to the provider, so that they come back once.
        id: LoginId,
        /// As whom, and from where.
        login: NewLogin,
        /// What the provider calls them.
        subject: String,
        /// What they may do.
        role: Role,
        /// When the provider's settings changed last, as the one who judged by them saw it.
        since: crate::id::Index,
        /// The login that was there before in that browser, which ends.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        replaces: Option<LoginId>,
    },
}

/// Who may operate. Cheap to clone.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Access {
    operators: Arc<BTreeMap<OperatorName, Operator>>,
    links: Arc<BTreeMap<LinkId, Link>>,
    logins: Map<LoginId, Login>,
    tokens: Arc<BTreeMap<AccessTokenId, AccessToken>>,
    provider: Option<Arc<Provider>>,
}

impl Access {
    /// Ends every login: of a registry whose history breaks off.
    pub(super) fn end_logins(&mut self) {
        self.logins = Map::default();
    }

    /// Takes back every link: of a registry that is another cluster's from now on.
    pub(super) fn end_links(&mut self) {
        self.links = Arc::default();
    }
}

impl State {
    /// Who may operate.
    #[must_use]
    pub const fn access(&self) -> &Access {
        &self.access
    }

    pub(super) fn access_change(&mut self, change: AccessChange) -> Result<Outcome, Refusal> {
        let (index, now) = (self.index, self.now);
        let access = &mut self.access;
        match change {
            AccessChange::OperatorSet { name, role, disabled, since } => {
                access.operator_set(&name, role, disabled, since, index)
            }
            AccessChange::OperatorRemove { name } => access.operator_remove(&name),
            AccessChange::OperatorPassword { name, password, since } => {
                access.operator_password(&name, password, since, index, now)
            }
            AccessChange::LinkAdd { id, hash, of, until, by } => {
                access.link_add(id, Link { hash, of, until, by }, now)
            }
            AccessChange::LinkRemove { id } => access.link_remove(id),
            AccessChange::LinkUse { id, name, password } => access.link_use(id, name, password, index, now),
            AccessChange::LoginAdd { id, login, since, replaces } => {
                access.login_add(id, login, since, replaces, now)
            }
            AccessChange::LoginSeen { id } => access.login_seen(id, now),
            AccessChange::LoginRemove { id } => access.login_remove(id),
            AccessChange::LoginsEnd { operator } => access.logins_end(&operator),
            AccessChange::TokenAdd { id, hash, label, role, owner, until } => {
                let token = AccessToken { hash, label, role, owner, created: now, until, disabled: false };
                access.token_add(id, token, now)
            }
            AccessChange::TokenSet { id, disabled } => access.token_set(id, disabled),
            AccessChange::TokenRemove { id } => access.token_remove(id),
            AccessChange::ProviderSet { plan, secret, seal } => {
                access.provider_set(plan, secret, seal, index, now)
            }
            AccessChange::ProviderRemove => access.provider_remove(),
            AccessChange::ProviderLogin { id, login, subject, role, since, replaces } => {
                let arrival = provider::Arrival { id, login, subject, role, since, replaces };
                access.provider_login(arrival, index, now)
            }
        }?;
        Ok(Outcome::Done)
    }

    /// Once in [`SWEEP_EVERY`] entries, what has expired goes.
    pub(super) fn sweep_access(&mut self) {
        if self.index.0.is_multiple_of(SWEEP_EVERY) {
            let now = self.now;
            self.access.sweep_links(now);
            self.access.logins.retain(|_, login| login.holds(now));
            self.access.sweep_tokens(now);
        }
    }
}
