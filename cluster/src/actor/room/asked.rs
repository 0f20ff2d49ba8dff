//! What other actors ask of a room.

use actix::{Handler, Message};
use chappe_proto::id::Shard;
use chappe_proto::signal::route::Entry;
use chappe_proto::signal::site::Site;

use super::RoomActor;

/// Who is in the room?
#[derive(Message)]
#[rtype(result = "Vec<Entry>")]
pub struct ListPeers;

/// Where is the room? None where it is here.
#[derive(Message)]
#[rtype(result = "Option<Shard>")]
pub struct WhereIs;

/// How many are in the room? None where it is elsewhere.
#[derive(Message)]
#[rtype(result = "Option<u32>")]
pub struct CountPeers;

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

impl Handler<CountPeers> for RoomActor {
    type Result = Option<u32>;

    fn handle(&mut self, _: CountPeers, _: &mut Self::Context) -> Self::Result {
        let machine = self.machine.as_ref().filter(|machine| machine.homed().is_none())?;
        Some(u32::try_from(machine.entries().count()).unwrap_or(u32::MAX))
    }
}
