//! The cluster's own name and version.

use serde::{Deserialize, Serialize};

use super::{Outcome, Refusal, State, Thing};
use crate::id::ClusterId;
use crate::limits::NAME_MAX;

/// What the cluster is called.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Cluster {
    /// Its id, in every certificate of its authority.
    pub id: ClusterId,
    /// What operators call it.
    pub name: String,
    /// The realm of the long-term credential mechanism (RFC 8489 section 9.2). Fixed: browsers'
    /// keys are made of it.
    pub realm: String,
}

/// A name of something: there, and no longer than [`NAME_MAX`] bytes.
pub(super) fn check_name(name: &str) -> Result<(), Refusal> {
    let fine = !name.trim().is_empty() && name.len() <= NAME_MAX && !name.chars().any(char::is_control);
    if fine { Ok(()) } else { Err(Refusal::Invalid(Thing::Name)) }
}

impl State {
    pub(super) fn cluster_begin(
        &mut self,
        id: ClusterId,
        name: String,
        realm: String,
    ) -> Result<Outcome, Refusal> {
        if self.cluster.is_some() {
            return Err(Refusal::Exists(Thing::Cluster));
        }
        check_name(&name)?;
        // A quoted string of at most 127 characters (RFC 8489 section 14.9); of those characters
        // that need no escaping anywhere.
        let fine = |b: u8| b.is_ascii_alphanumeric() || b"-_.".contains(&b);
        if realm.is_empty() || realm.len() > 127 || !realm.bytes().all(fine) {
            return Err(Refusal::Invalid(Thing::Realm));
        }
        self.cluster = Some(Cluster { id, name, realm });
        Ok(Outcome::Done)
    }

    pub(super) fn cluster_rename(&mut self, name: String) -> Result<Outcome, Refusal> {
        check_name(&name)?;
        self.cluster.as_mut().ok_or(Refusal::Unknown(Thing::Cluster))?.name = name;
        Ok(Outcome::Done)
    }

    pub(super) fn version_raise(&mut self, from: u32, to: u32) -> Result<Outcome, Refusal> {
        if from != self.version || to < from {
            return Err(Refusal::OtherVersion(self.version));
        }
        if let Some((node, held)) = self.nodes.iter().find(|(_, node)| node.speaks < to) {
            return Err(Refusal::TooOld { node: *node, speaks: held.speaks });
        }
        self.version = to;
        Ok(Outcome::Done)
    }
}
