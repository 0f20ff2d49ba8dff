//! What the admin API sees and does of this node.

mod control;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use chappe_admin::{Answer, Changed, Cluster, Edge, Kicked, Overview, Peer, Registry, Room, Unavailable};
use chappe_proto::id::{PeerId, RoomKey};
use chappe_proto::mesh::uplink::{PeerPolicy, Secret, TurnUser};
use chappe_proto::registry::{Command, Note, State};

use crate::actor::edges::ListEdges;
use crate::actor::room::{ListPeers, Remove};
use crate::consensus::{Proposal, Role};
use crate::node::Node;

/// The registry must have answered within this; else whoever asked is told to try again.
const REGISTRY_WITHIN: Duration = Duration::from_secs(5);

/// The node, as the admin API knows it.
pub(crate) struct Admin(pub(crate) Arc<Node>);

impl Admin {
    /// Commits a change and puts it into the audit log.
    async fn change(&self, command: Command, note: Note) -> Changed {
        let proposal = Proposal { note: Some(note), ..command.into() };
        match tokio::time::timeout(REGISTRY_WITHIN, self.0.registry.propose(proposal)).await {
            Ok(Ok(applied)) => match applied.outcome.accepted() {
                Ok(_) => Changed::Done,
                Err(refusal) => Changed::Refused(refusal),
            },
            Ok(Err(error)) => {
                tracing::warn!(%error, "a change could not be committed");
                Changed::Unavailable
            }
            Err(_) => {
                tracing::warn!("a change was not committed in time");
                Changed::Unavailable
            }
        }
    }

    /// All that was committed anywhere before the call.
    async fn state(&self) -> Result<Arc<State>, Unavailable> {
        let read = tokio::time::timeout(REGISTRY_WITHIN, self.0.registry.linearizable());
        read.await.map_err(|_| Unavailable)?.map_err(|_| Unavailable)
    }
}

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
                    limits: health.limits,
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

    fn turn_users(&self) -> Answer<'_, Result<Vec<TurnUser>, Unavailable>> {
        Box::pin(async { Ok(self.state().await?.turn_users().collect()) })
    }

    fn turn_user_set(&self, user: TurnUser, note: Note) -> Answer<'_, Changed> {
        Box::pin(self.change(Command::TurnUserSet(user), note))
    }

    fn turn_user_remove(&self, realm: String, name: String, note: Note) -> Answer<'_, Changed> {
        Box::pin(self.change(Command::TurnUserRemove { realm, name }, note))
    }

    fn turn_origins(&self) -> Answer<'_, Result<BTreeMap<String, String>, Unavailable>> {
        Box::pin(async { Ok(self.state().await?.turn_origins().clone()) })
    }

    fn turn_origins_set(&self, origins: BTreeMap<String, String>, note: Note) -> Answer<'_, Changed> {
        Box::pin(self.change(Command::TurnOriginsSet { origins }, note))
    }

    fn turn_secret_add(&self, secret: Secret, note: Note) -> Answer<'_, Changed> {
        Box::pin(async move {
            let Ok(state) = self.state().await else { return Changed::Unavailable };
            let secrets = state.turn_secrets();
            if secrets.all().values().any(|held| *held == secret) {
                return Changed::Done;
            }
            // Where another one took the number in between, whoever asked is told and asks again.
            self.change(Command::TurnSecretAdd { number: secrets.next(), secret }, note).await
        })
    }

    fn turn_peers(&self) -> Answer<'_, Result<PeerPolicy, Unavailable>> {
        Box::pin(async { Ok(self.state().await?.peers().clone()) })
    }

    fn turn_peers_set(&self, peers: PeerPolicy, note: Note) -> Answer<'_, Changed> {
        Box::pin(self.change(Command::PeersSet(peers), note))
    }
}
