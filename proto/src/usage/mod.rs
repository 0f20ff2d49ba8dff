//! What clients relay, and for whom it is counted: sessions, their rooms and apps, and other users of the relays.
//!
//! An edge counts for each user ([`crate::turn::Server::offer_usage`]) and says totals of a *series*
//! ([`crate::mesh::uplink::Usage`]) every [`crate::limits::USAGE_EVERY`], to one node, until that has taken them.
//! The node tells the others, and each adds up what it hears ([`Ledger`]). Nothing of it is written down: a node
//! counts from its start.

mod ledger;

pub use ledger::{Ledger, SWEEP_EVERY};

use serde::{Deserialize, Serialize};

use crate::id::{AppId, RoomKey, SessionId};
use crate::mesh::uplink::{Traffic, Usage};
use crate::wire;

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
    /// That of one session, or of one issued credential, which has no parts.
    Session(SessionId),
}

/// A part of an answer to that.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct UsagePage {
    /// All of it.
    pub relayed: Relayed,
    /// Of what, by name; fewer than [`crate::limits::USAGE_PAGE`] are the last ones.
    pub parts: Vec<(String, Relayed)>,
}

/// In pieces, each written in so many bytes unless one thing alone is longer.
#[must_use]
pub fn pieces<T: Serialize>(all: Vec<T>, most: usize) -> Vec<Vec<T>> {
    let (mut pieces, mut bytes) = (Vec::<Vec<T>>::new(), 0_usize);
    for one in all {
        let len = wire::encode(&one).map_or(0, |bytes| bytes.len());
        match pieces.last_mut().filter(|_| bytes.saturating_add(len) <= most) {
            Some(piece) => {
                piece.push(one);
                bytes += len;
            }
            None => {
                pieces.push(vec![one]);
                bytes = len;
            }
        }
    }
    pieces
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pieces_are_short_and_nothing_is_lost() {
        let text = |len: usize| "x".repeat(len);
        let all = vec![text(10), text(10), text(200), text(10), text(10), text(10)];
        let pieces = pieces(all.clone(), 24);
        assert_eq!(pieces.iter().map(Vec::len).collect::<Vec<_>>(), [2, 1, 2, 1]);
        assert_eq!(pieces.concat(), all);
    }
}
