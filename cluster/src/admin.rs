//! What the admin API sees and does of this node.

mod control;
mod usage;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use chappe_admin::{
    Answer, Changed, Cluster, Edge, Kicked, Overview, Peer, Registry, Room, Unavailable, UsageReport,
};
use chappe_proto::id::{AppId, NodeId, PeerId, RoomKey, SessionId};
use chappe_proto::limits;
use chappe_proto::mesh::node::{Answer as Reply, Ask};
use chappe_proto::mesh::uplink::{PeerPolicy, Secret, TurnUser};
use chappe_proto::registry::{App, AppPolicy, Command, Note, State};
use chappe_proto::select::Policy;
use chappe_proto::usage::UsageOf;
use futures_util::future::join_all;

use crate::actor::edges::ListEdges;
use crate::consensus::{Proposal, Role};
use crate::events::Events;
use crate::node::Node;

/// The registry must have answered within this; else whoever asked is told to try again.
const REGISTRY_WITHIN: Duration = Duration::from_secs(5);

/// Another node must have answered within this; else it is left out.
const NODE_WITHIN: Duration = Duration::from_secs(2);

/// The node, as the admin API knows it.
pub(crate) struct Admin {
    pub(crate) node: Arc<Node>,
    pub(crate) events: Arc<Events>,
}

impl Admin {
    /// Commits a change and puts it into the audit log.
    async fn change(&self, command: Command, note: Note) -> Changed {
        let proposal = Proposal { note: Some(note), ..command.into() };
        match self.node.proposals.propose(proposal, REGISTRY_WITHIN).await {
            Ok(applied) => match applied.outcome.accepted() {
                Ok(_) => Changed::Done,
                Err(refusal) => Changed::Refused(refusal),
            },
            Err(missing) => {
                tracing::warn!(%missing, "a change could not be committed");
                Changed::Unavailable
            }
        }
    }

    /// Asks the node that runs a room.
    async fn of_owner(&self, room: &RoomKey, ask: Ask) -> Result<Reply, ()> {
        let state = self.node.registry.state();
        let owner = state.shard(room.anchor()).and_then(|entry| entry.owner).ok_or(())?;
        self.node.mesh.request(owner, ask, NODE_WITHIN).await.map_err(drop)
    }

    /// The rooms of one node, page by page, as far as it answers.
    async fn rooms_of(&self, node: NodeId) -> Vec<(RoomKey, u32)> {
        let mut rooms: Vec<(RoomKey, u32)> = Vec::new();
        while rooms.len() < limits::ROOMS_MAX {
            let last = rooms.last().map(|(key, _)| key.clone());
            let ask = last.map_or(Ask::Rooms, |room| Ask::RoomsAfter { room });
            let answer = self.node.mesh.request(node, ask, NODE_WITHIN).await;
            let Ok(Reply::Rooms(page)) = answer else { break };
            let last = page.len() < limits::ROOMS_PAGE;
            rooms.extend(page);
            if last {
                break;
            }
        }
        rooms
    }

    /// The rooms of all nodes that answer, by name.
    async fn rooms(&self) -> Vec<Room> {
        let nodes: Vec<_> = Node::gateways(&self.node.registry.state()).map(|gateway| gateway.node).collect();
        let answers = join_all(nodes.iter().map(|node| self.rooms_of(*node))).await;
        let room = |(node, (key, peers)): (NodeId, (RoomKey, u32))| Room {
            app: key.app,
            room: key.room,
            node,
            peers: usize::try_from(peers).unwrap_or(usize::MAX),
        };
        let answers = nodes.into_iter().zip(answers);
        let all = answers.flat_map(|(node, rooms)| rooms.into_iter().map(move |room| (node, room)));
        let mut rooms: Vec<_> = all.map(room).collect();
        rooms.sort_by(|a, b| (&a.app, &a.room).cmp(&(&b.app, &b.room)));
        rooms
    }

    /// All that was committed anywhere before the call.
    async fn state(&self) -> Result<Arc<State>, Unavailable> {
        self.node.proposals.linearizable(REGISTRY_WITHIN).await.map_err(|_| Unavailable)
    }
}

impl Cluster for Admin {
    fn overview(&self) -> Answer<'_, Overview> {
        Box::pin(async {
            let rooms = self.rooms().await;
            let edges = self.node.edges.send(ListEdges).await.unwrap_or_default().into_iter().map(|seen| {
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
            let status = self.node.registry.status();
            Overview {
                build: crate::BUILD,
                sessions: self.node.sessions.len(),
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
            let Ok(Reply::Peers(Some(entries))) =
                self.of_owner(&room, Ask::Peers { room: room.clone() }).await
            else {
                return None;
            };
            let usage = self.usage_of(&UsageOf::Room(room)).await.unwrap_or_default();
            let relayed = |session: SessionId| usage.parts.get(&session.to_string()).copied();
            let peer = |entry: chappe_proto::signal::route::Entry| Peer {
                relayed: relayed(entry.member.seat.session).unwrap_or_default(),
                peer: entry.member.seat.peer,
                identity: entry.member.profile.identity.map(|identity| identity.to_string()),
                name: entry.member.profile.name,
                away: entry.member.away,
                grants: entry.member.seat.grants.names(),
            };
            Some(entries.into_iter().map(peer).collect())
        })
    }

    fn usage(&self, of: UsageOf) -> Answer<'_, Option<UsageReport>> {
        Box::pin(async move { self.usage_of(&of).await })
    }

    fn kick(&self, room: RoomKey, peer: PeerId, ban: bool) -> Answer<'_, Kicked> {
        Box::pin(async move {
            match self.of_owner(&room, Ask::Kick { room: room.clone(), peer, ban }).await {
                Ok(Reply::Done) => Kicked::Done,
                Ok(Reply::NotThere) => Kicked::NotThere,
                Ok(_) | Err(()) => Kicked::Unavailable,
            }
        })
    }

    fn apps(&self) -> Answer<'_, Result<Vec<(AppId, App)>, Unavailable>> {
        Box::pin(async {
            let state = self.state().await?;
            Ok(state.apps().map(|(id, app)| (id.clone(), app.clone())).collect())
        })
    }

    fn app_set(&self, app: AppId, name: String, policy: AppPolicy, note: Note) -> Answer<'_, Changed> {
        Box::pin(self.change(Command::AppSet { app, name, policy }, note))
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

    fn selection(&self) -> Answer<'_, Result<Policy, Unavailable>> {
        Box::pin(async { Ok(self.state().await?.selection().as_ref().clone()) })
    }

    fn selection_set(&self, policy: Policy, note: Note) -> Answer<'_, Changed> {
        Box::pin(self.change(Command::SelectionSet(policy), note))
    }
}
