//! What crosses the mesh: between a gateway's proxy and a room's owner, and between two proxies around it.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::super::code::{ErrorCode, LeaveReason, Refusal};
use super::super::frame::GoneReason;
use super::super::json::Json;
use super::super::lobby::{Knock, Verdict};
use super::super::member::{Gateway, Member, Muting};
use super::{Ack, Entry, Home, RoomChange, Signal, Since};
use crate::id::{Attach, Change, Epoch, PeerId, RoomKey, Shard};
use crate::limits;

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
        /// [`super::super::follow::digest`] of it.
        digest: u64,
        /// [`super::super::lobby::digest`] of those who wait to be let in, where a session of mine may answer.
        #[serde(default)]
        lobby: Option<u64>,
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
    /// Take grants of a peer away, or give them back; the sender's seat has the grant.
    Mute {
        /// Who asks.
        by: PeerId,
        /// Whose.
        peer: PeerId,
        /// Which.
        muting: Muting,
    },
    /// Answer one who waits to be let in; the sender's seat has the grant.
    Judge {
        /// Who answers.
        by: PeerId,
        /// Whom.
        peer: PeerId,
        /// How.
        verdict: Verdict,
    },
}

impl RoomInput {
    /// The attachment of a gateway that holds nothing of a former owner's room, and was not told since when it is
    /// there.
    #[must_use]
    pub fn attach() -> Self {
        Self::Attach { held: None, since: Since::default() }
    }

    /// Who is to hear of it, and what, where it does not reach the room: nobody says again a broadcast, a kick,
    /// a mute or an answer to a knock, as all else is until it is answered.
    #[must_use]
    pub fn unheard(&self) -> Option<(PeerId, Refusal)> {
        let (Self::Broadcast { from: peer, .. }
        | Self::Kick { by: peer, .. }
        | Self::Mute { by: peer, .. }
        | Self::Judge { by: peer, .. }) = self
        else {
            return None;
        };
        let refusal = Refusal::new(ErrorCode::Unavailable, "the room cannot be reached right now");
        Some((*peer, refusal.retry_after(limits::BUSY_RETRY)))
    }

    /// It has waited so long before it is heard: the ages that it says are of when it came.
    pub(in crate::signal) fn grow_old(&mut self, by: Duration) {
        let Self::Attach { held: Some(held), .. } = self else { return };
        let by = u64::try_from(by.as_millis()).unwrap_or(u64::MAX);
        for entry in &mut held.roster {
            entry.age_ms = entry.age_ms.saturating_add(by);
        }
        for back in &mut held.returns {
            back.age_ms = back.age_ms.saturating_add(by);
            back.attached_ms = back.attached_ms.saturating_add(by);
        }
    }
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
    /// (custody).
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
        /// The sender; none where it is an operator's word.
        #[serde(default)]
        from: Option<PeerId>,
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
    /// An announced session waits to be let in. Said with each repetition of the announcement: by it the room knows that
    /// it still waits.
    Waits {
        /// Its peer.
        peer: PeerId,
        /// How many do before it, and itself.
        position: u32,
    },
    /// All who wait to be let in, for a gateway at which one who may answer comes in, or that has missed something.
    Lobby {
        /// They, who has waited longest first.
        waiting: Vec<Knock>,
    },
    /// One more does.
    Knock(Knock),
    /// One does no more.
    KnockGone {
        /// Its peer.
        peer: PeerId,
    },
}

/// What one gateway's proxy says to another's around the room's owner, which has not taken
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
