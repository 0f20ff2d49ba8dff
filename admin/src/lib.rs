//! The admin API, and later the console. It knows the cluster only through [`Cluster`], the trait
//! that it defines: what cannot be said there cannot be done here.

mod api;
mod apps;
mod auth;
mod backup;
mod cluster;
pub mod control;
mod edges;
pub mod health;
#[cfg(test)]
mod memory;
mod problem;
mod selection;
mod turn;
pub mod usage;

use std::collections::BTreeMap;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;

use actix_web::web::{self, ServiceConfig};
use chappe_proto::id::{AppId, EdgeId, NodeId, PeerId, Region, RoomKey, RoomName};
use chappe_proto::mesh::uplink::{PeerPolicy, Secret, TurnUser};
use chappe_proto::registry::{App, AppPolicy, Note, Refusal};
use chappe_proto::select::Policy;
use chappe_proto::usage::{Relayed, UsageOf};
use serde::Serialize;

pub use apps::Shown as ShownApp;
pub use cluster::{ClusterReport, Owners};
pub use control::Control;
pub use usage::UsageReport;

/// An answer that is waited for on the thread that asks.
pub type Answer<'a, T> = Pin<Box<dyn Future<Output = T> + 'a>>;

/// What the admin API can see and do of a cluster.
pub trait Cluster: Control {
    /// The whole at a glance.
    fn overview(&self) -> Answer<'_, Overview>;
    /// Who is in a room; none where nobody is.
    fn room(&self, room: RoomKey) -> Answer<'_, Option<Vec<Peer>>>;
    /// What was relayed, as the nodes that answer have counted it; none for an app that there is not.
    fn usage(&self, of: UsageOf) -> Answer<'_, Option<UsageReport>>;
    /// Removes a peer, and keeps its identity out with `ban`; committed when it is answered.
    fn kick(&self, room: RoomKey, peer: PeerId, ban: bool) -> Answer<'_, Kicked>;
    /// The apps, by id.
    fn apps(&self) -> Answer<'_, Result<Vec<(AppId, App)>, Unavailable>>;
    /// An app's name and policy are these; committed when it is answered.
    fn app_set(&self, app: AppId, name: String, policy: AppPolicy, note: Note) -> Answer<'_, Changed>;
    /// The long-term users of the relays.
    fn turn_users(&self) -> Answer<'_, Result<Vec<TurnUser>, Unavailable>>;
    /// A long-term user begins, or has other keys; committed when it is answered.
    fn turn_user_set(&self, user: TurnUser, note: Note) -> Answer<'_, Changed>;
    /// A long-term user ends, and its allocations; committed when it is answered.
    fn turn_user_remove(&self, realm: String, name: String, note: Note) -> Answer<'_, Changed>;
    /// Realms by the origins whose clients are challenged with them.
    fn turn_origins(&self) -> Answer<'_, Result<BTreeMap<String, String>, Unavailable>>;
    /// The realms of origins are these; committed when it is answered.
    fn turn_origins_set(&self, origins: BTreeMap<String, String>, note: Note) -> Answer<'_, Changed>;
    /// A shared secret of TURN REST credentials is accepted, and issues from now on; one that is in
    /// force already stays as it is. Committed when it is answered.
    fn turn_secret_add(&self, secret: Secret, note: Note) -> Answer<'_, Changed>;
    /// What peers the operator allows and denies.
    fn turn_peers(&self) -> Answer<'_, Result<PeerPolicy, Unavailable>>;
    /// What peers are allowed and denied is this; committed when it is answered.
    fn turn_peers_set(&self, peers: PeerPolicy, note: Note) -> Answer<'_, Changed>;
    /// Where regions and networks are, and which edges are for whom.
    fn selection(&self) -> Answer<'_, Result<Policy, Unavailable>>;
    /// All of that is this; committed when it is answered.
    fn selection_set(&self, policy: Policy, note: Note) -> Answer<'_, Changed>;
}

/// The registry cannot be asked right now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Unavailable;

/// What became of a change.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Changed {
    /// It is in force.
    Done,
    /// Nothing changed.
    Refused(Refusal),
    /// The registry cannot commit right now.
    Unavailable,
}

/// What became of a kick.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kicked {
    /// It is gone, and its credentials are dead.
    Done,
    /// There is no such peer in that room.
    NotThere,
    /// The registry cannot commit right now.
    Unavailable,
}

/// The whole at a glance.
#[derive(Debug, Clone, Serialize)]
pub struct Overview {
    /// The build of the node that answers.
    pub build: &'static str,
    /// Sessions on the node that answers.
    pub sessions: usize,
    /// The rooms of all nodes that could be asked.
    pub rooms: Vec<Room>,
    /// The edges, as far as any node hears them.
    pub edges: Vec<Edge>,
    /// The registry, as this node sees it.
    pub registry: Registry,
}

/// A room.
#[derive(Debug, Clone, Serialize)]
pub struct Room {
    /// Its app.
    pub app: AppId,
    /// Its name.
    pub room: RoomName,
    /// The node that runs it.
    pub node: NodeId,
    /// How many are in it.
    pub peers: usize,
}

/// A participant.
#[derive(Debug, Clone, Serialize)]
pub struct Peer {
    /// Its id.
    pub peer: PeerId,
    /// Who its token says it is.
    pub identity: Option<String>,
    /// The name it shows.
    pub name: Option<String>,
    /// Whether it has no socket right now.
    pub away: bool,
    /// What it may do.
    pub grants: Vec<&'static str>,
    /// What it relayed, as far as that is remembered.
    pub relayed: Relayed,
}

/// An edge.
#[derive(Debug, Clone, Serialize)]
pub struct Edge {
    /// Its name.
    pub edge: EdgeId,
    /// Where it stands.
    pub region: Region,
    /// Its build.
    pub build: String,
    /// Whether it was heard lately.
    pub alive: bool,
    /// Allocations now.
    pub allocations: u32,
    /// Bytes relayed since it started, both ways.
    pub relayed_bytes: u64,
    /// How often each of its limits was met since it started, those that never were left out.
    pub limits: BTreeMap<String, u64>,
}

/// The registry.
#[derive(Debug, Clone, Serialize)]
pub struct Registry {
    /// The term.
    pub term: u64,
    /// The last applied entry.
    pub applied: u64,
    /// Whether this node leads.
    pub leads: bool,
}

/// The admin API, ready to be put into a server.
#[derive(Clone)]
pub struct Mount {
    cluster: Arc<dyn Cluster>,
    token: Arc<Secret>,
}

impl Mount {
    /// Of a cluster, for whoever holds `token`.
    #[must_use]
    pub fn new(cluster: Arc<dyn Cluster>, token: Secret) -> Self {
        Self { cluster, token: Arc::new(token) }
    }

    /// Adds the routes under `/admin/api/v1`.
    pub fn configure(&self, config: &mut ServiceConfig) {
        let scope = web::scope("/admin/api/v1").app_data(web::Data::new(self.clone()));
        config.service(
            scope
                .configure(api::routes)
                .configure(apps::routes)
                .configure(turn::routes)
                .configure(selection::routes)
                .configure(usage::routes)
                .configure(cluster::routes)
                .configure(edges::routes),
        );
    }
}
