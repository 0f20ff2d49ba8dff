//! What operators do in a running room.

use actix::{Handler, Message};
use chappe_proto::id::PeerId;
use chappe_proto::signal::json::Json;
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
}

/// What became of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Decided {
    /// It is done.
    Done,
    /// There is no such peer, or nobody at all.
    NotThere,
    /// The room is elsewhere by now, or its owner waits for the cluster.
    NotNow,
}

impl Handler<Decide> for RoomActor {
    type Result = actix::MessageResult<Decide>;

    fn handle(&mut self, decide: Decide, ctx: &mut Self::Context) -> Self::Result {
        let done = self.run(ctx, |machine, view, out| {
            machine.decide_in(view, out, |room, out| {
                if room.is_empty() {
                    return None;
                }
                match decide {
                    Decide::Close => Some(room.close(view.now, out)),
                    Decide::Tell(payload) => Some(room.announce_to_all(payload, out)),
                    Decide::Mute(peer, muting) => room.mute(peer, muting, out),
                }
            })
        });
        actix::MessageResult(match done.flatten() {
            Some(Some(true)) => Decided::Done,
            Some(None) => Decided::NotThere,
            Some(Some(false)) | None => Decided::NotNow,
        })
    }
}
