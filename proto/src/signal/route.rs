//! Frames between session, proxy and room. On one node they are handed over as they are; between
//! nodes they cross the mesh.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use bytestring::ByteString;
use serde::{Deserialize, Serialize};

use super::code::{LeaveReason, Refusal};
use super::frame::GoneReason;
use super::json::Json;
use super::member::{Gateway, Member, Profile};
use crate::id::{Attach, Change, Epoch, PeerId, RoomKey, Shard};

/// A frame from a gateway's proxy to the room's owner.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ToRoom {
    /// The room.
    pub room: RoomKey,
    /// The shard that the sender believes it to be in.
    pub shard: Shard,
    /// That shard's epoch as the sender knows it.
    pub epoch: Epoch,
    /// Who sends.
    pub gateway: Gateway,
    /// What it says.
    pub body: RoomInput,
}

/// Since when a room is where it is: the epoch of the anchor's shard whose owner said so, and a number that
/// grows under that epoch. The later word is the true one.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Since(pub Epoch, pub u64);

/// Where a room is (CLUSTER.md 10).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Home {
    /// The shard.
    pub shard: Shard,
    /// Since when.
    pub since: Since,
}

/// What a proxy says to a room.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "t", rename_all = "snake_case")]
pub enum RoomInput {
    /// I have sessions for this room: tell me all of it, and every change from now on.
    Attach {
        /// With a new owner: what I hold of the former one's room.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        held: Option<Box<Held>>,
        /// Since when it is there, as far as I was told.
        #[serde(default)]
        since: Since,
    },
    /// The answer to [`ProxyInput::Ask`] of a proxy that follows the room in another shard, or of a node that
    /// runs it there.
    Follows {
        /// Where.
        home: Home,
    },
    /// To the owner of the anchor's shard, of a node that was asked for the room in another: is it there?
    /// Answered by [`ProxyInput::Home`], and said again until it is.
    AtHome {
        /// Where it was asked for.
        site: (Shard, Epoch),
        /// Numbers the question: later ones are higher.
        asked: u64,
        /// The leave that it holds.
        #[serde(default)]
        held: Option<Since>,
        /// Where it is to move: the site has stopped admitting.
        #[serde(default)]
        to: Option<Shard>,
    },
    /// The roster as I hold it; all of the room is the answer where that is not what it is.
    Check {
        /// The last change in it.
        n: Change,
        /// [`super::follow::digest`] of it.
        digest: u64,
    },
    /// I have none, or none any more. Also the answer of a node that has no proxy of a room to any
    /// frame about it but [`ProxyInput::Refused`], at that frame's epoch.
    Detach,
    /// One session of mine, as it is now: a join, a change, a loss or a return of its socket.
    /// Repeated until a change or a refusal answers it.
    Announce {
        /// The session.
        member: Member,
        /// With a return: the last signal that its client took of each sender.
        #[serde(default)]
        marks: BTreeMap<PeerId, u64>,
        /// The attachment whose token its client came back with.
        #[serde(default)]
        presented: Attach,
        /// How long ago the session's join reached its gateway, in milliseconds: of one identity the
        /// later join has the session, however long it was on its way.
        #[serde(default)]
        age_ms: u64,
        /// How long ago the attachment's did: of one token the later has it.
        #[serde(default)]
        attached_ms: u64,
    },
    /// A session of mine has ended. Repeated until a change answers it.
    Leave {
        /// Its peer.
        peer: PeerId,
        /// Why.
        reason: LeaveReason,
    },
    /// A directed signal.
    Signal(Signal),
    /// The receiver's client has acknowledged everything up to `id`.
    Ack(Ack),
    /// To all others.
    Broadcast {
        /// The sender.
        from: PeerId,
        /// What.
        payload: Json,
    },
    /// Remove a peer; the sender's seat has the grant.
    Kick {
        /// Who asks.
        by: PeerId,
        /// Whom to remove.
        peer: PeerId,
        /// And keep out.
        ban: bool,
    },
}

/// What a proxy holds of a former owner's room. Peer ids are never reused, so rooms are merged from
/// such lists in any order: whoever is in any roster is in the room, unless any list says that it left.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Held {
    /// Everybody.
    pub roster: Vec<Entry>,
    /// Those who left last, and why.
    pub left: Vec<(PeerId, LeaveReason)>,
    /// The number of the last broadcast.
    pub broadcasts: u64,
    /// Sessions of mine that a room let in before and that `roster` has otherwise, or not: those that came back
    /// while no owner could be heard. With them an attachment says all that a gateway has, even where it does
    /// not hear the answer.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub returns: Vec<Returned>,
}

/// A session that has come back to its gateway.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Returned {
    /// The session.
    pub member: Member,
    /// The attachment whose token its client came back with.
    #[serde(default)]
    pub presented: Attach,
    /// As in [`RoomInput::Announce`].
    #[serde(default)]
    pub age_ms: u64,
    /// As in [`RoomInput::Announce`].
    #[serde(default)]
    pub attached_ms: u64,
}

/// A frame from a room's owner to a gateway's proxy.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FromRoom {
    /// The room.
    pub room: RoomKey,
    /// The shard that it is in.
    pub shard: Shard,
    /// That shard's epoch.
    pub epoch: Epoch,
    /// What it says.
    pub body: ProxyInput,
}

/// What a room says to a proxy.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "t", rename_all = "snake_case")]
pub enum ProxyInput {
    /// The room is here, and this is all of it.
    Here {
        /// The last change in it.
        n: Change,
        /// Everybody.
        roster: Vec<Entry>,
        /// Those who left last, and why: so that its next owner learns it of any that follow this one.
        #[serde(default)]
        left: Vec<(PeerId, LeaveReason)>,
        /// The number of the last broadcast.
        broadcasts: u64,
    },
    /// The room is homed in another shard: attach there.
    Homed {
        /// Where.
        shard: Shard,
        /// That shard's epoch: those of two shards cannot be compared.
        epoch: Epoch,
        /// Since when.
        #[serde(default)]
        since: Since,
    },
    /// To the site that asked by [`RoomInput::AtHome`], where the node has it, not to its proxy.
    Home {
        /// Which site.
        site: (Shard, Epoch),
        /// The number of its question.
        asked: u64,
        /// Where the room is.
        home: Home,
    },
    /// I own the room from this epoch on: attach, or detach where you hold nothing of it.
    Ask {
        /// Since when it is here; by default I am its anchor's owner, and do not know yet whether it is.
        #[serde(default)]
        since: Since,
    },
    /// The frame named an epoch that is over, or a shard that is not here.
    Refused {
        /// The highest epoch known.
        epoch: Epoch,
    },
    /// Change `n` of the room.
    Changed {
        /// Its number, one above the last.
        n: Change,
        /// The number of the last broadcast before it.
        broadcasts: u64,
        /// What changed.
        change: RoomChange,
    },
    /// An announced session may not come in.
    NotAdmitted {
        /// Its peer.
        peer: PeerId,
        /// Why.
        refusal: Refusal,
    },
    /// A session that was let in once may not come back.
    Gone {
        /// Its peer.
        peer: PeerId,
        /// The attachment that was announced,
        attach: Attach,
        /// and the one whose token its client had come back with.
        #[serde(default)]
        presented: Attach,
        /// Why.
        reason: GoneReason,
        /// Another gateway was shown the same token, later as far as is known: a client that is still here
        /// is to come back with its newest.
        #[serde(default)]
        tie: bool,
    },
    /// A directed signal for a session of this gateway.
    Signal(Signal),
    /// The owner has a signal of a session of this gateway, and passed it on or waits for its receiver
    /// (CLUSTER.md 6: custody).
    Taken {
        /// The sender.
        from: PeerId,
        /// The receiver.
        to: PeerId,
        /// Its id.
        id: u64,
    },
    /// An acknowledgement for a session of this gateway.
    Ack(Ack),
    /// A signal of a session of this gateway can never arrive.
    Undelivered {
        /// The sender.
        from: PeerId,
        /// The receiver.
        to: PeerId,
        /// Its id.
        id: u64,
        /// Whether the receiver was here once.
        was_here: bool,
    },
    /// A broadcast, for all sessions of this gateway but the sender's.
    Broadcast {
        /// The sender.
        from: PeerId,
        /// Its number in the room.
        n: u64,
        /// What.
        payload: Json,
    },
    /// An error about something that a session of this gateway asked for.
    Error {
        /// The session's peer.
        peer: PeerId,
        /// What.
        refusal: Refusal,
    },
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
            | Self::Updated { peer, .. } => *peer,
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

/// What one gateway's proxy says to another's around the room's owner (CLUSTER.md 6), which has not taken
/// custody in time or cannot be reached. Taken only where the receiving proxy's own roster has the sender at
/// the gateway that speaks.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Direct {
    /// The room.
    pub room: RoomKey,
    /// Who sends.
    pub gateway: Gateway,
    /// What.
    pub body: DirectBody,
}

/// What goes around an owner: nothing else does.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum DirectBody {
    /// A signal for a session there.
    Signal(Signal),
    /// An acknowledgement for a session there.
    Ack(Ack),
}

/// What a session says to its proxy.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum FromSession {
    /// How it is now. The first is its join.
    Announce {
        /// All of it.
        member: Member,
        /// With a return: the last signal that its client took of each sender.
        marks: BTreeMap<PeerId, u64>,
        /// The attachment whose token its client came back with; 0 for a fresh join.
        presented: Attach,
        /// How long ago its join was.
        age: Duration,
    },
    /// It has ended.
    Leave {
        /// Its peer.
        peer: PeerId,
        /// Why.
        reason: LeaveReason,
    },
    /// A directed signal.
    Signal(Signal),
    /// One that was sent before and has not been acknowledged in time.
    Again(Signal),
    /// An acknowledgement.
    Ack(Ack),
    /// To all others.
    Broadcast {
        /// The sender.
        from: PeerId,
        /// What.
        payload: Json,
    },
    /// Remove a peer.
    Kick {
        /// Who asks.
        by: PeerId,
        /// Whom.
        peer: PeerId,
        /// And keep out.
        ban: bool,
    },
}

/// What a proxy says to a session.
#[derive(Debug, Clone)]
pub enum ToSession {
    /// The room has it: a join or a return has been answered.
    Admitted {
        /// The attachment that was answered: the one announced, or a higher one where another
        /// gateway has that already.
        attach: Attach,
        /// When it was let in.
        at: (Epoch, Change),
        /// What others see of it, and the version of that.
        profile: (Profile, u64),
        /// Everybody else who can be seen.
        others: Vec<Member>,
        /// The number of the last broadcast.
        broadcasts: u64,
    },
    /// It may not come in.
    NotAdmitted(Refusal),
    /// It may not come back: it ends without a word to the room.
    Gone(GoneReason),
    /// It lives on another gateway by now: it ends here without a word to the room.
    Elsewhere {
        /// Both gateways were shown the same token, so it is not known which of them has the client:
        /// one that is still here is to come back with its newest.
        tie: bool,
    },
    /// The room changed; what its client is told is in the text, if anything.
    Changed(Arc<ChangeNews>),
    /// A directed signal for it.
    Signal(Signal),
    /// An acknowledgement for it.
    Ack(Ack),
    /// A signal of its own can never arrive.
    Undelivered {
        /// The receiver.
        to: PeerId,
        /// Its id.
        id: u64,
        /// Whether the receiver was here once.
        was_here: bool,
    },
    /// The room has a new owner: send again what is unacknowledged.
    Resend,
    /// A text for its client, the same for all.
    Text(ByteString),
    /// An error about something that it asked for.
    Error(Refusal),
}

/// A change of a room, with the frame that tells clients of it, written once for all of them.
#[derive(Debug)]
pub struct ChangeNews {
    /// What changed.
    pub change: RoomChange,
    /// What clients other than the peer's own are told; none where it is hidden.
    pub text: Option<ByteString>,
}
