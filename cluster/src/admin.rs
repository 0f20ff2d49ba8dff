//! What the admin API sees and does of this node.

mod access;
mod apps;
mod connection;
mod control;
mod history;
mod hooks;
mod inspect;
mod moves;
mod operation;
mod path;
mod peers;
mod role;
mod rooms;
mod turn;
mod usage;
mod web;

use std::sync::Arc;
use std::time::Duration;

use chappe_admin::asked;
use chappe_admin::rooms::{RoomCount, Rooms};
use chappe_admin::{Answer, Changed, Cluster, Edge, Overview, Registry, Unavailable, UsageReport};
use chappe_proto::id::{AppId, Index, RoomKey};
use chappe_proto::mesh::node::{Answer as Reply, Ask};
use chappe_proto::registry::{App, AppPolicy, Command, Note, Prices, State};
use chappe_proto::select::Policy;
use chappe_proto::usage::UsageOf;
use tokio_rustls::TlsConnector;

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
    /// Speaks TLS to servers elsewhere.
    pub(crate) tls: TlsConnector,
}

impl Admin {
    /// Commits a change and puts it into the audit log.
    async fn change(&self, command: Command, note: Note) -> Changed {
        let by = asked::request_id(&command);
        let proposal = Proposal { command, by, note: Some(note) };
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

    /// All that was committed anywhere before the call.
    async fn state(&self) -> Result<Arc<State>, Unavailable> {
        self.node.proposals.linearizable(REGISTRY_WITHIN).await.map_err(|_| Unavailable)
    }
}

impl Cluster for Admin {
    fn overview(&self) -> Answer<'_, Overview> {
        Box::pin(async {
            let counts = self.room_counts().await;
            let sum = |of: fn(&RoomCount) -> u32| counts.iter().map(of).fold(0, u32::saturating_add);
            let (rooms, peers) = (sum(|count| count.rooms), sum(|count| count.peers));
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
                peers,
                counts,
                edges: edges.collect(),
                registry: Registry {
                    term: status.term,
                    applied: status.applied,
                    leads: status.role == Role::Leader,
                },
            }
        })
    }

    fn usage(&self, of: UsageOf) -> Answer<'_, Option<UsageReport>> {
        Box::pin(async move { self.usage_of(&of).await })
    }

    fn apps(&self) -> Answer<'_, Result<Vec<(AppId, App)>, Unavailable>> {
        Box::pin(async {
            let state = self.state().await?;
            Ok(state.apps().map(|(id, app)| (id.clone(), app.clone())).collect())
        })
    }

    fn app_set(
        &self,
        app: AppId,
        name: String,
        policy: AppPolicy,
        since: Index,
        note: Note,
    ) -> Answer<'_, Changed> {
        Box::pin(self.change(Command::AppSet { app, name, policy, since: Some(since) }, note))
    }

    fn selection(&self) -> Answer<'_, Result<Policy, Unavailable>> {
        Box::pin(async { Ok(self.state().await?.selection().as_ref().clone()) })
    }

    fn selection_set(&self, policy: Policy, note: Note) -> Answer<'_, Changed> {
        Box::pin(self.change(Command::SelectionSet(policy), note))
    }

    fn prices(&self) -> Answer<'_, Result<Prices, Unavailable>> {
        Box::pin(async { Ok(self.state().await?.prices().as_ref().clone()) })
    }

    fn prices_set(&self, prices: Prices, note: Note) -> Answer<'_, Changed> {
        Box::pin(self.change(Command::PricesSet(prices), note))
    }
}
