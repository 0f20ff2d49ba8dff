//! What other actors ask of a room.

use actix::{Handler, Message};
use chappe_proto::id::Shard;
use chappe_proto::mesh::node::RoomSeen;
use chappe_proto::signal::code::Refusal;
use chappe_proto::signal::member::Member;
use chappe_proto::signal::route::Entry;
use chappe_proto::signal::site::Site;

use super::RoomActor;
use crate::clock;

/// Who is in the room?
#[derive(Message)]
#[rtype(result = "Vec<Entry>")]
pub struct ListPeers;

/// Where is the room? None where it is here.
#[derive(Message)]
#[rtype(result = "Option<Shard>")]
pub struct WhereIs;

/// All of the room? None where it is elsewhere.
#[derive(Message)]
#[rtype(result = "Option<RoomSeen>")]
pub struct See;

/// Would somebody be let in now, and why not?
#[derive(Message)]
#[rtype(result = "Option<Refusal>")]
pub struct WouldAdmit(pub Box<Member>);

impl Handler<ListPeers> for RoomActor {
    type Result = Vec<Entry>;

    fn handle(&mut self, _: ListPeers, _: &mut Self::Context) -> Self::Result {
        self.machine.iter().flat_map(Site::entries).cloned().collect()
    }
}

impl Handler<WhereIs> for RoomActor {
    type Result = Option<Shard>;

    fn handle(&mut self, _: WhereIs, _: &mut Self::Context) -> Self::Result {
        self.machine.as_ref().and_then(Site::homed).map(|home| home.shard)
    }
}

impl Handler<See> for RoomActor {
    type Result = Option<RoomSeen>;

    fn handle(&mut self, _: See, _: &mut Self::Context) -> Self::Result {
        let room = self.machine.as_ref()?.room()?;
        let (roster, broadcasts) = (room.entries().cloned().collect(), room.broadcasts());
        Some(RoomSeen { node: self.node.id, roster, broadcasts, waiting: room.knocks() })
    }
}

impl Handler<WouldAdmit> for RoomActor {
    type Result = Option<Refusal>;

    fn handle(&mut self, WouldAdmit(member): WouldAdmit, _: &mut Self::Context) -> Self::Result {
        self.machine.as_ref()?.room()?.would_refuse(clock::now(), &member)
    }
}
