//! Waiting to be let into a room: what moderators see of who does, and what they answer.

use std::fmt::Write;

use serde::{Deserialize, Serialize};

use super::follow::Fnv;
use super::member::Profile;
use crate::id::PeerId;
use crate::time::Unix;

/// Somebody who waits to be let in, as those see it who may answer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Knock {
    /// The peer that it is going to be: it is answered by this id.
    pub peer: PeerId,
    /// What others will see of it.
    pub profile: Profile,
    /// Since when it waits.
    pub since: Unix,
}

/// A number for all who wait, by which owner and proxy notice that their lists differ, whatever their order: the same on
/// every node and in every release.
#[must_use]
pub fn digest<'a>(waiting: impl Iterator<Item = &'a PeerId>) -> u64 {
    waiting.fold(0, |sum, peer| {
        let mut one = Fnv::default();
        let _ = write!(one, "{peer}"); // writing into a number cannot fail
        sum.wrapping_add(one.0)
    })
}

/// The answer to a knock.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Verdict {
    /// It comes in.
    Admit,
    /// It does not.
    Deny {
        /// What it is told, [`crate::limits::DENY_REASON_MAX`] bytes at most.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        reason: Option<String>,
    },
}
