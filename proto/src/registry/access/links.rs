//! One-time links: each makes one operator, or sets one password.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::operators::{Means, check_password};
use super::{Access, Role, check_hash};
use crate::id::{Index, LinkId, OperatorName};
use crate::limits::{LINK_TTL_MAX, LINKS_MAX};
use crate::mesh::uplink::Secret;
use crate::registry::{Refusal, Thing};
use crate::time::Unix;

/// A link that nobody has used yet.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Link {
    /// SHA-256 of its secret.
    pub hash: Secret,
    /// What it is for.
    pub of: LinkFor,
    /// Until when.
    pub until: Unix,
    /// The owner who made it, and as whose it ends; nobody's where the cluster's own token made it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub by: Option<OperatorName>,
}

/// What a link is for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum LinkFor {
    /// A new operator.
    New {
        /// What it may do.
        role: Role,
        /// What it is called; else it says so itself.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        name: Option<OperatorName>,
    },
    /// A new password of an operator.
    Password {
        /// Whose.
        name: OperatorName,
    },
}

impl Access {
    /// A link, expired ones included until they are swept.
    #[must_use]
    pub fn link(&self, id: &LinkId) -> Option<&Link> {
        self.links.get(id)
    }

    /// All links, likewise, by id.
    pub fn links(&self) -> impl Iterator<Item = (&LinkId, &Link)> {
        self.links.iter()
    }

    pub(super) fn link_add(&mut self, id: LinkId, link: Link, now: Unix) -> Result<(), Refusal> {
        let Link { hash, of, until, by } = &link;
        let until = *until;
        check_hash(hash)?;
        if let Some(by) = by {
            // Whoever is an owner no more when this is applied leaves no way back in.
            let maker = self.operator(by).ok_or(Refusal::Unknown(Thing::Operator))?;
            if maker.disabled || maker.role < Role::Owner {
                return Err(Refusal::Invalid(Thing::Role));
            }
        }
        if until <= now {
            return Err(Refusal::Expired(Thing::Link));
        }
        if until > now + LINK_TTL_MAX {
            return Err(Refusal::Invalid(Thing::Lifetime));
        }
        match of {
            LinkFor::New { name: Some(name), .. } if name.is_reserved() => {
                return Err(Refusal::Invalid(Thing::Name));
            }
            LinkFor::New { name: Some(name), .. } if self.operator(name).is_some() => {
                return Err(Refusal::Exists(Thing::Operator));
            }
            LinkFor::Password { name } => {
                let held = self.operator(name).ok_or(Refusal::Unknown(Thing::Operator))?;
                if held.external.is_some() {
                    return Err(Refusal::Invalid(Thing::Link));
                }
            }
            _ => {}
        }
        if self.link(&id).is_some() {
            return Err(Refusal::Exists(Thing::Link));
        }
        if self.links.len() >= LINKS_MAX {
            self.sweep_links(now);
        }
        if self.links.len() >= LINKS_MAX {
            return Err(Refusal::Full { thing: Thing::Link, max: LINKS_MAX as u64 });
        }
        Arc::make_mut(&mut self.links).insert(id, link);
        Ok(())
    }

    /// Links that an owner made end with its being one, and those for an operator's password with the operator.
    pub(super) fn links_end(&mut self, ends: impl Fn(&Link) -> bool) {
        if self.links.values().any(&ends) {
            Arc::make_mut(&mut self.links).retain(|_, link| !ends(link));
        }
    }

    pub(super) fn link_remove(&mut self, id: LinkId) -> Result<(), Refusal> {
        if self.link(&id).is_none() {
            return Err(Refusal::Unknown(Thing::Link));
        }
        Arc::make_mut(&mut self.links).remove(&id);
        Ok(())
    }

    pub(super) fn link_use(
        &mut self,
        id: LinkId,
        name: OperatorName,
        password: Secret,
        index: Index,
        now: Unix,
    ) -> Result<(), Refusal> {
        check_password(&password)?;
        let link = self.link(&id).ok_or(Refusal::Unknown(Thing::Link))?;
        if link.until <= now {
            return Err(Refusal::Expired(Thing::Link));
        }
        match &link.of {
            LinkFor::New { name: Some(held), .. } | LinkFor::Password { name: held } if *held != name => {
                return Err(Refusal::Invalid(Thing::Name));
            }
            LinkFor::New { role, .. } => {
                self.operator_add(name, *role, Means::Password(password), index, now)?;
            }
            LinkFor::Password { .. } => {
                self.operator(&name).ok_or(Refusal::Unknown(Thing::Operator))?;
                self.set_password(&name, password, index, now)?;
            }
        }
        self.link_remove(id)
    }

    pub(super) fn sweep_links(&mut self, now: Unix) {
        if self.links.values().any(|link| link.until <= now) {
            Arc::make_mut(&mut self.links).retain(|_, link| link.until > now);
        }
    }
}
