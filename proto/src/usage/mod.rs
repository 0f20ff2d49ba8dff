//! What clients relay, and for whom it is counted: sessions, their rooms and apps, and other users of the relays.
//!
//! An edge counts for each user ([`crate::turn::Server::offer_usage`]) and says totals of a *series*
//! ([`crate::mesh::uplink::Usage`]) every [`crate::limits::USAGE_EVERY`], to one node, until that has taken them.
//! The node tells the others, and each adds up what it hears ([`Ledger`]). Nothing of it is written down: a node
//! counts from its start.

mod ledger;

pub use ledger::{Ledger, SWEEP_EVERY};

use serde::{Deserialize, Serialize};

use crate::id::{AppId, RoomKey};
use crate::mesh::uplink::{Traffic, Usage};

/// Payload that was relayed, both ways.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Relayed {
    /// From clients to peers.
    pub sent: Traffic,
    /// From peers to clients.
    pub received: Traffic,
}

impl Relayed {
    /// Both together.
    #[must_use]
    pub const fn plus(self, other: Self) -> Self {
        Self { sent: self.sent.plus(other.sent), received: self.received.plus(other.received) }
    }

    /// What was added since `earlier`; nothing where that is more.
    #[must_use]
    pub const fn minus(self, earlier: Self) -> Self {
        Self { sent: self.sent.minus(earlier.sent), received: self.received.minus(earlier.received) }
    }

    /// The greater of each count.
    #[must_use]
    pub fn max(self, other: Self) -> Self {
        Self { sent: self.sent.max(other.sent), received: self.received.max(other.received) }
    }

    /// Whether nothing was relayed.
    #[must_use]
    pub fn is_none(&self) -> bool {
        *self == Self::default()
    }
}

impl From<&Usage> for Relayed {
    fn from(usage: &Usage) -> Self {
        Self { sent: usage.sent, received: usage.received }
    }
}

/// Whose usage is asked for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum UsageOf {
    /// Everybody's, by apps.
    Apps,
    /// An app's, by its rooms.
    App(AppId),
    /// A room's, by the sessions that relayed lately.
    Room(RoomKey),
    /// That of users who are no sessions: long-term ones and those of TURN REST credentials. By their names, those
    /// who relayed lately.
    Names,
}

/// A part of an answer to that.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct UsagePage {
    /// All of it.
    pub relayed: Relayed,
    /// Of what, by name; fewer than [`crate::limits::USAGE_PAGE`] are the last ones.
    pub parts: Vec<(String, Relayed)>,
}
