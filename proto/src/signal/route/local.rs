//! What stays on one node: between a session and its gateway's proxy.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use bytestring::ByteString;

use super::super::code::{LeaveReason, Refusal};
use super::super::frame::GoneReason;
use super::super::json::Json;
use super::super::lobby::{Knock, Verdict};
use super::super::member::{Member, Muting, Profile, Withheld};
use super::{Ack, RoomChange, Signal};
use crate::id::{Attach, Change, Epoch, PeerId};

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
    /// Take grants of a peer away, or give them back.
    Mute {
        /// Who asks.
        by: PeerId,
        /// Whose.
        peer: PeerId,
        /// Which.
        muting: Muting,
    },
    /// Answer one who waits to be let in.
    Judge {
        /// Who answers.
        by: PeerId,
        /// Whom.
        peer: PeerId,
        /// How.
        verdict: Verdict,
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
        /// What is withheld from it.
        withheld: Withheld,
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
    /// It waits to be let in.
    Waiting {
        /// How many do before it, and itself.
        position: u32,
    },
    /// Everybody who waits, where it may answer.
    Lobby(Arc<Vec<Knock>>),
}

/// A change of a room, with the frame that tells clients of it, written once for all of them.
#[derive(Debug)]
pub struct ChangeNews {
    /// What changed.
    pub change: RoomChange,
    /// What clients other than the peer's own are told; none where it is hidden.
    pub text: Option<ByteString>,
}
