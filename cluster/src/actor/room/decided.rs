//! What operators do in a running room.

use actix::{Handler, Message};
use chappe_proto::id::PeerId;
use chappe_proto::signal::code::{ErrorCode, Refusal};
use chappe_proto::signal::json::Json;
use chappe_proto::signal::lobby::Verdict;
use chappe_proto::signal::member::Muting;

use super::RoomActor;

/// An operator does something in the room.
#[derive(Debug, Clone, Message)]
#[rtype(result = "Decided")]
pub enum Decide {
    /// Closes it.
    Close,
    /// Says something to all.
    Tell(Json),
    /// Takes grants of a peer away, or gives them back.
    Mute(PeerId, Muting),
    /// Answers one who waits to be let in.
    Judge(PeerId, Verdict),
}

/// What became of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Decided {
    /// It is done.
    Done,
    /// There is no such peer, or nobody at all.
    NotThere,
    /// The room is elsewhere by now, or its owner waits for the cluster.
    NotNow,
    /// The room refuses it.
    Refused(Refusal),
}

impl Decided {
    /// Whether it could be done now, of what is there.
    const fn of(done: Option<bool>) -> Self {
        match done {
            Some(true) => Self::Done,
            None => Self::NotThere,
            Some(false) => Self::NotNow,
        }
    }
}

impl From<Result<(), Refusal>> for Decided {
    fn from(judged: Result<(), Refusal>) -> Self {
        match judged {
            Ok(()) => Self::Done,
            Err(Refusal { code: ErrorCode::BadPeer, .. }) => Self::NotThere,
            Err(Refusal { code: ErrorCode::Unavailable, .. }) => Self::NotNow,
            Err(refusal) => Self::Refused(refusal),
        }
    }
}

impl Handler<Decide> for RoomActor {
    type Result = actix::MessageResult<Decide>;

    fn handle(&mut self, decide: Decide, ctx: &mut Self::Context) -> Self::Result {
        let done = self.run(ctx, |machine, view, out| {
            machine.decide_in(view, out, |room, out| match decide {
                Decide::Judge(peer, verdict) => room.judge(view.now, peer, &verdict, out).into(),
                Decide::Close if room.has_knocks() => Decided::of(Some(room.close(view.now, out))),
                _ if room.is_empty() => Decided::NotThere,
                Decide::Close => Decided::of(Some(room.close(view.now, out))),
                Decide::Tell(payload) => Decided::of(Some(room.announce_to_all(payload, out))),
                Decide::Mute(peer, muting) => Decided::of(room.mute(peer, muting, out)),
            })
        });
        actix::MessageResult(done.flatten().unwrap_or(Decided::NotNow))
    }
}
