//! Frames between session, proxy and room. On one node they are handed over as they are; between
//! nodes they cross the mesh.

mod local;
mod mesh;

use std::collections::BTreeMap;

use bytestring::ByteString;
use serde::{Deserialize, Serialize};

use super::code::LeaveReason;
use super::json::Json;
use super::member::{Gateway, Member, Profile, Withheld};
use crate::id::{Attach, Epoch, PeerId, Shard};

pub use local::{ChangeNews, FromSession, ToSession};
pub use mesh::{Direct, DirectBody, FromRoom, Held, ProxyInput, Returned, RoomInput, ToRoom};

/// Since when a room is where it is: the epoch of the anchor's shard whose owner said so, and a number that
/// grows under that epoch. The later word is the true one.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Since(pub Epoch, pub u64);

/// Where a room is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Home {
    /// The shard.
    pub shard: Shard,
    /// Since when.
    pub since: Since,
}

/// A member and the gateway that holds its socket.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Entry {
    /// The gateway.
    pub gateway: Gateway,
    /// The member.
    pub member: Member,
    /// The attachment whose token its client came back with: by it gateways that both took the peer
    /// agree which of them has it.
    #[serde(default)]
    pub presented: Attach,
    /// How long before this was said its join reached its gateway, in milliseconds.
    #[serde(default)]
    pub age_ms: u64,
}

/// One change of a room.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "c", rename_all = "snake_case")]
pub enum RoomChange {
    /// Somebody came in.
    Joined(Entry),
    /// Somebody is gone for good.
    Left {
        /// Who.
        peer: PeerId,
        /// Why.
        reason: LeaveReason,
    },
    /// A socket was lost.
    Away {
        /// Whose.
        peer: PeerId,
        /// Which.
        attach: Attach,
        /// Where it was.
        gateway: Gateway,
    },
    /// A socket is back, perhaps on another gateway.
    Back {
        /// Whose.
        peer: PeerId,
        /// Which.
        attach: Attach,
        /// Where.
        gateway: Gateway,
        /// The last signal that its client took of each sender.
        #[serde(default)]
        marks: BTreeMap<PeerId, u64>,
        /// The attachment whose token it came back with.
        #[serde(default)]
        presented: Attach,
    },
    /// Somebody changed what others see.
    Updated {
        /// Who.
        peer: PeerId,
        /// What they see now.
        profile: Profile,
        /// The profile's version.
        version: u64,
    },
    /// Grants were taken away from somebody, or given back.
    Withheld {
        /// Who.
        peer: PeerId,
        /// What is withheld now.
        withheld: Withheld,
    },
}

impl RoomChange {
    /// Whom it is about.
    #[must_use]
    pub const fn peer(&self) -> PeerId {
        match self {
            Self::Joined(entry) => entry.member.seat.peer,
            Self::Left { peer, .. }
            | Self::Away { peer, .. }
            | Self::Back { peer, .. }
            | Self::Updated { peer, .. }
            | Self::Withheld { peer, .. } => *peer,
        }
    }
}

/// A directed signal.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Signal {
    /// The sender.
    pub from: PeerId,
    /// The receiver.
    pub to: PeerId,
    /// Counts from 1 without gaps per sender and receiver.
    pub id: u64,
    /// Everything before it up to here is settled: the sender's client knows that it was delivered, or that it
    /// never will be.
    #[serde(default)]
    pub settled: u64,
    /// What it says.
    #[serde(flatten)]
    pub content: Content,
}

/// What a directed signal says.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Content {
    /// Between which RTCPeerConnections, as the client put it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub connection: Option<Json>,
    /// `offer`, `answer`, `candidate`, `bye`, or the app's own word.
    pub kind: ByteString,
    /// Whatever it is.
    pub payload: Json,
}

impl Content {
    /// Its length as far as the limits of delivery count it, in bytes.
    #[must_use]
    pub fn len(&self) -> usize {
        self.payload.as_str().len() + self.connection.as_ref().map_or(0, |c| c.as_str().len())
    }

    /// Whether it says nothing at all (it never does: a payload is at least `null`).
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

/// The receiver's client has taken everything up to `id`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ack {
    /// The sender of the signals.
    pub from: PeerId,
    /// Their receiver, who acknowledges.
    pub to: PeerId,
    /// The last of them.
    pub id: u64,
}
