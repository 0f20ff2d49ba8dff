//! What the admin API sees and does of this node.

use std::sync::Arc;

use chappe_admin::{Answer, Cluster, Edge, Kicked, Overview, Peer, Registry, Room};
use chappe_proto::id::{PeerId, RoomKey};

use crate::actor::edges::ListEdges;
use crate::actor::room::{ListPeers, Remove};
use crate::consensus::Role;
use crate::node::Node;

/// The node, as the admin API knows it.
pub(crate) struct Admin(pub(crate) Arc<Node>);

impl Cluster for Admin {
    fn overview(&self) -> Answer<'_, Overview> {
        Box::pin(async {
            let mut rooms = Vec::new();
            for (key, room) in self.0.rooms.all() {
                let peers = room.send(ListPeers).await.map_or(0, |peers| peers.len());
                rooms.push(Room { app: key.app, room: key.room, peers });
            }
            let edges = self.0.edges.send(ListEdges).await.unwrap_or_default().into_iter().map(|seen| {
                let health = seen.health.unwrap_or_default();
                Edge {
                    edge: seen.hello.edge,
                    region: seen.hello.region,
                    build: seen.hello.build,
                    alive: seen.alive,
                    allocations: health.allocations,
                    relayed_bytes: health.sent.bytes + health.received.bytes,
                }
            });
            let status = self.0.registry.status();
            Overview {
                build: crate::BUILD,
                sessions: self.0.sessions.len(),
                rooms,
                edges: edges.collect(),
                registry: Registry {
                    term: status.term,
                    applied: status.applied,
                    leads: status.role == Role::Leader,
                },
            }
        })
    }

    fn room(&self, room: RoomKey) -> Answer<'_, Option<Vec<Peer>>> {
        Box::pin(async move {
            let entries = self.0.rooms.get(&room)?.send(ListPeers).await.ok()?;
            let peer = |entry: chappe_proto::signal::route::Entry| Peer {
                peer: entry.member.seat.peer,
                identity: entry.member.profile.identity.map(|identity| identity.to_string()),
                name: entry.member.profile.name,
                away: entry.member.away,
                grants: entry.member.seat.grants.names(),
            };
            Some(entries.into_iter().map(peer).collect())
        })
    }

    fn kick(&self, room: RoomKey, peer: PeerId, ban: bool) -> Answer<'_, Kicked> {
        Box::pin(async move {
            let Some(room) = self.0.rooms.get(&room) else { return Kicked::NotThere };
            match room.send(Remove { peer, ban }).await {
                Ok(kicked) => kicked,
                Err(_) => Kicked::Unavailable,
            }
        })
    }
}
