//! What clients relay, and for whom it is counted: sessions, their rooms and apps, and other users of the relays.
//!
//! An edge counts for each user ([`crate::turn::Server::offer_usage`]) and says totals of a *series*
//! ([`crate::mesh::uplink::Usage`]) every [`crate::limits::USAGE_EVERY`], to one node, until that has taken them.
//! The node tells the others, and each adds up what it hears ([`Ledger`]). Nothing of it is written down: a node
//! counts from its start.

mod ledger;

pub use ledger::{Ledger, SWEEP_EVERY};

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::id::{AppId, Region, RoomKey, SessionId};
use crate::limits::USAGE_REGIONS_MAX;
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

    /// Bytes, both ways: each of them an edge has sent out once, to a peer or to its client.
    #[must_use]
    pub const fn bytes(&self) -> u64 {
        self.sent.bytes.saturating_add(self.received.bytes)
    }
}

/// What was relayed, and how much of it by the edges of each region.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Tally {
    /// All of it.
    #[serde(flatten)]
    pub relayed: Relayed,
    /// Bytes, both ways, by the region of the edge, [`USAGE_REGIONS_MAX`] at most: less than all where it is not known.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub regions: BTreeMap<Region, u64>,
}

impl Tally {
    /// More was relayed, by an edge in that region.
    pub fn add(&mut self, more: Relayed, region: Option<&Region>) {
        self.relayed = self.relayed.plus(more);
        self.count(region.into_iter().map(|region| (region, more.bytes())), u64::saturating_add);
    }

    /// All that the other has is in it too.
    pub fn join(&mut self, other: &Self) {
        self.relayed = self.relayed.plus(other.relayed);
        self.count(other.by_region(), u64::saturating_add);
    }

    /// Of each figure it has the greater one.
    pub fn raise(&mut self, other: &Self) {
        self.relayed = self.relayed.max(other.relayed);
        self.count(other.by_region(), u64::max);
    }

    /// Bytes, both ways.
    #[must_use]
    pub const fn bytes(&self) -> u64 {
        self.relayed.bytes()
    }

    /// Bytes, both ways, of edges whose region is not known.
    #[must_use]
    pub fn elsewhere(&self) -> u64 {
        let known = self.regions.values().fold(0, |sum: u64, bytes| sum.saturating_add(*bytes));
        self.relayed.bytes().saturating_sub(known)
    }

    fn by_region(&self) -> impl Iterator<Item = (&Region, u64)> {
        self.regions.iter().map(|(region, bytes)| (region, *bytes))
    }

    fn count<'a>(&mut self, regions: impl Iterator<Item = (&'a Region, u64)>, with: fn(u64, u64) -> u64) {
        for (region, bytes) in regions {
            if let Some(held) = self.regions.get_mut(region) {
                *held = with(*held, bytes);
            } else if self.regions.len() < USAGE_REGIONS_MAX {
                self.regions.insert(region.clone(), bytes);
            }
        }
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
    /// Everybody's, by edges.
    Edges,
    /// Everybody's, by rooms as `app/room`: of all apps those that relayed most, [`crate::limits::USAGE_PAGE`] at most.
    Rooms,
}

/// A part of an answer to that.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct UsagePage {
    /// All of it.
    pub relayed: Tally,
    /// Of what, by name; fewer than [`crate::limits::USAGE_PAGE`] are the last ones.
    pub parts: Vec<(String, Tally)>,
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
