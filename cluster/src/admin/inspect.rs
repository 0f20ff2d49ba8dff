//! What passes rooms, and who looks at it.

use chappe_admin::control::Fault;
use chappe_admin::inspect::{Inspect, SignalsAsk};
use chappe_admin::{Answer, Changed};
use chappe_proto::id::RoomKey;
use chappe_proto::inspect::SignalsPage;
use chappe_proto::mesh::node::{Answer as Reply, Ask, Failure};
use chappe_proto::registry::{Command, Note};

use super::Admin;

impl Inspect for Admin {
    fn signals(&self, room: RoomKey, ask: SignalsAsk) -> Answer<'_, Result<SignalsPage, Fault>> {
        Box::pin(async move {
            let SignalsAsk { after, filter, limit, plain, by_app } = ask;
            let ask = Ask::Watch { room: room.clone(), after, filter, limit, plain, by_app };
            match self.of_owner(&room, ask).await {
                Ok(Reply::Watched(page)) => Ok(page),
                Ok(Reply::NotThere) => Err(Fault::NotThere("room")),
                Ok(Reply::Failed(Failure::Busy)) => Err(Fault::Unavailable(
                    "the room's node watches as many rooms as it may, or is busy: close another inspector"
                        .to_owned(),
                )),
                Ok(_) | Err(()) => {
                    Err(Fault::Unavailable("the room's node does not answer right now; try again".to_owned()))
                }
            }
        })
    }

    fn looked(&self, note: Note) -> Answer<'_, Result<(), Fault>> {
        Box::pin(async move {
            match self.change(Command::Note, note).await {
                Changed::Done => Ok(()),
                Changed::Refused(refusal) => Err(refusal.into()),
                Changed::Unavailable => Err(Fault::Unavailable(
                    "the registry cannot commit right now, and this must be in the audit log: try again"
                        .to_owned(),
                )),
            }
        })
    }
}
