//! One peer: what its room knows of it, and its gateway.

use chappe_admin::Answer;
use chappe_admin::control::Fault;
use chappe_admin::peers::{PeerDetails, Peers};
use chappe_proto::id::{PeerId, RoomKey};
use chappe_proto::mesh::node::{Answer as Reply, Ask};
use chappe_proto::usage::UsageOf;
use futures_util::future::join3;

use super::{Admin, NODE_WITHIN};

impl Peers for Admin {
    fn peer(&self, room: RoomKey, peer: PeerId, plain: bool) -> Answer<'_, Result<PeerDetails, Fault>> {
        Box::pin(async move {
            let entries = match self.of_owner(&room, Ask::Peers { room: room.clone() }).await {
                Ok(Reply::Peers(entries)) => entries.unwrap_or_default(),
                _ => {
                    let words = "the room's node does not answer right now; try again";
                    return Err(Fault::Unavailable(words.to_owned()));
                }
            };
            let found = entries.into_iter().find(|entry| entry.member.seat.peer == peer);
            let entry = found.ok_or(Fault::NotThere("peer in that room"))?;
            let (gateway, session) = (entry.gateway.node, entry.member.seat.session);
            let of_room = UsageOf::Room(room);
            let (asked, usage, path) = join3(
                self.node.mesh.request(gateway, Ask::Session { session, plain }, NODE_WITHIN),
                self.usage_of(&of_room),
                self.path_of(session),
            )
            .await;
            let details = match asked {
                Ok(Reply::Session(details)) => Some(*details),
                _ => None,
            };
            let usage = usage.unwrap_or_default();
            let member = entry.member;
            Ok(PeerDetails {
                peer,
                region: member.seat.region().map(ToString::to_string),
                identity: member.profile.identity.map(|identity| identity.to_string()),
                name: member.profile.name,
                away: member.away,
                grants: member.seat.grants.names(),
                gateway,
                relayed: usage.parts.get(&session.to_string()).map(|tally| tally.relayed).unwrap_or_default(),
                session: details,
                path,
            })
        })
    }
}
