//! Moving somebody to another room of the same app.

use chappe_admin::control::Fault;
use chappe_proto::id::{PeerId, RoomKey, RoomName};
use chappe_proto::mesh::node::{Answer as Reply, Ask};
use chappe_proto::registry::{Command, Note};
use chappe_proto::signal::code::{ErrorCode, Refusal};
use chappe_proto::signal::member::Member;

use super::{Admin, NODE_WITHIN};
use crate::actor::gateway::is_revoked;
use crate::clock;

impl Admin {
    /// Puts into the audit log that a peer is moved to `to`, where that would let it in as far as is known, and asks the
    /// peer's gateway to send its client there.
    pub(super) async fn move_peer(
        &self,
        room: RoomKey,
        peer: PeerId,
        to: RoomName,
        note: Note,
    ) -> Result<(), Fault> {
        let Ok(Reply::Peers(entries)) = self.of_owner(&room, Ask::Peers { room: room.clone() }).await else {
            return Err(unasked("runs the room"));
        };
        let found = entries.into_iter().flatten().find(|entry| entry.member.seat.peer == peer);
        let entry = found.ok_or(Fault::NotThere("peer in that room"))?;
        if entry.member.away {
            let words = "it has no connection right now, so it cannot be told: move it once it is back";
            return Err(Fault::Conflict(words.to_owned()));
        }
        let target = RoomKey { app: room.app, room: to.clone() };
        if let Some(refusal) = self.refused_at(&target, &entry.member).await? {
            let words = format!("{to} would not let it in: {}", refusal.message);
            return Err(Fault::Conflict(words));
        }
        let ask = Ask::Move { session: entry.member.seat.session, to };
        self.commit(Command::Note, note.clone()).await?;
        let done = match self.node.mesh.request(entry.gateway.node, ask, NODE_WITHIN).await {
            Ok(Reply::Done) => Ok(()),
            Ok(Reply::NotThere) => {
                let words = "it has just left or lost its connection: look again whether it is there";
                Err(Fault::Conflict(words.to_owned()))
            }
            Ok(_) | Err(_) => Err(unasked("holds its connection")),
        };
        if let Err(fault) = &done {
            self.undone(note, fault).await;
        }
        done
    }

    /// Why a room would not let a member of another one in.
    async fn refused_at(&self, target: &RoomKey, member: &Member) -> Result<Option<Refusal>, Fault> {
        let (state, now) = (self.node.registry.state(), clock::now());
        let (session, identity) = (member.seat.session, member.profile.identity.as_ref());
        if is_revoked(&state, now, target, session, identity) {
            return Ok(Some(Refusal::new(ErrorCode::Banned, "it is banned there")));
        }
        let member = Box::new(Member { admitted: None, ..member.clone() });
        match self.of_owner(target, Ask::Admits { room: target.clone(), member }).await {
            Ok(Reply::Admits(refusal)) => Ok(refusal),
            Ok(_) | Err(()) => Err(unasked("runs the room to which it is to go")),
        }
    }
}

fn unasked(which: &str) -> Fault {
    Fault::Unavailable(format!("the node that {which} cannot be asked; try again"))
}
