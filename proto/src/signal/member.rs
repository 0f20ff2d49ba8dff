//! A peer as the servers know it.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::json::Json;
use crate::id::{Attach, Change, Epoch, Generation, Identity, NodeId, PeerId, Region, SessionId};
use crate::limits;
use crate::time::Unix;

/// What a token allows.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Grants {
    /// Join a room that exists.
    pub join: bool,
    /// Make a room by joining it.
    pub create: bool,
    /// Kick and ban.
    pub admin: bool,
    /// Be in the room unseen.
    pub hidden: bool,
    /// Send broadcasts.
    pub broadcast: bool,
}

impl Grants {
    /// What an anonymous peer of a development cluster may do.
    pub const ANONYMOUS: Self =
        Self { join: true, create: true, admin: false, hidden: false, broadcast: true };

    /// The grants by the names that tokens use; unknown names are skipped.
    #[must_use]
    pub fn from_names<'a>(names: impl IntoIterator<Item = &'a str>) -> Self {
        let mut grants = Self::default();
        for name in names {
            match name {
                "join" => grants.join = true,
                "create" => grants.create = true,
                "admin" => grants.admin = true,
                "hidden" => grants.hidden = true,
                "broadcast" => grants.broadcast = true,
                _ => {}
            }
        }
        grants
    }

    /// Their names.
    #[must_use]
    pub fn names(self) -> Vec<&'static str> {
        [
            (self.join, "join"),
            (self.create, "create"),
            (self.admin, "admin"),
            (self.hidden, "hidden"),
            (self.broadcast, "broadcast"),
        ]
        .into_iter()
        .filter_map(|(granted, name)| granted.then_some(name))
        .collect()
    }
}

/// The node that holds a session's socket, in the life of its process that it does so.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Gateway {
    /// The node.
    pub node: NodeId,
    /// Its generation.
    pub generation: Generation,
}

impl Gateway {
    /// Whether it is over where `lost` is: the same life of its node, or one before.
    #[must_use]
    pub fn ended_with(self, lost: Self) -> bool {
        self.node == lost.node && self.generation <= lost.generation
    }
}

/// What others see of a peer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Profile {
    /// Who its token says it is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub identity: Option<Identity>,
    /// A name to show.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// Whatever the app put there.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub metadata: Option<Json>,
}

/// What a join brought with it and a session keeps for life.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Seat {
    /// The peer.
    pub peer: PeerId,
    /// Its session.
    pub session: SessionId,
    /// What it may do.
    pub grants: Grants,
    /// How many peers the token lets into the room.
    #[serde(default)]
    pub capacity: Option<u32>,
    /// When the token that it joined with expires.
    pub token_until: Unix,
    /// Where its token says it is. Boxed, as most have none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub region: Option<Box<Region>>,
}

/// A peer as its gateway announces it and its room holds it. An announcement is the whole truth
/// about one session: repeating it changes nothing, and after the loss of an owner the new room is
/// built from announcements alone.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Member {
    /// What it keeps for life.
    #[serde(flatten)]
    pub seat: Seat,
    /// What others see; grows a new `version` with each change.
    pub profile: Profile,
    /// Counts the changes of `profile`.
    #[serde(default)]
    pub version: u64,
    /// The socket it is attached by, or was last.
    pub attach: Attach,
    /// No socket right now.
    #[serde(default)]
    pub away: bool,
    /// When a room let it in, where one has: it is never refused for want of room again.
    #[serde(default)]
    pub admitted: Option<(Epoch, Change)>,
}

/// What an app lets its rooms and sessions do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Policy {
    /// Joins without a token.
    pub anonymous: bool,
    /// Peers of a room, where a token says nothing.
    pub capacity: u32,
    /// How long a session outlives its socket.
    pub grace: Duration,
    /// How long a TURN credential lasts.
    pub credential_ttl: Duration,
    /// Frames that a session may send in a burst.
    pub frames_burst: u32,
    /// Frames a second that it may send for long.
    pub frames_per_sec: u32,
}

impl Default for Policy {
    fn default() -> Self {
        Self {
            anonymous: false,
            capacity: u32::try_from(limits::ROOM_CAPACITY).unwrap_or(u32::MAX),
            grace: limits::GRACE,
            credential_ttl: limits::CREDENTIAL_TTL,
            frames_burst: limits::FRAMES_BURST,
            frames_per_sec: limits::FRAMES_PER_SEC,
        }
    }
}
