//! The cluster as the admin API and the console know it: what cannot be said here cannot be done there.

mod access;
pub mod apps;
pub mod connection;
pub mod control;
pub mod elsewhere;
pub mod health;
pub mod history;
pub mod hooks;
pub mod inspect;
pub mod operation;
pub mod path;
pub mod peers;
pub mod rooms;
pub mod turn;

use std::collections::BTreeMap;
use std::future::Future;
use std::pin::Pin;

use chappe_proto::id::{AppId, EdgeId, Index, NodeId, PeerId, Region};
use chappe_proto::registry::{App, AppPolicy, Note, Prices, Refusal};
use chappe_proto::select::Policy;
use chappe_proto::usage::{Relayed, UsageOf};
use serde::Serialize;
use utoipa::ToSchema;

pub use access::{AuditLog, Operators};
pub use apps::Apps;
pub use connection::Connection;
pub use control::Control;
pub use elsewhere::Web;
pub use history::Figures;
pub use hooks::Hooks;
pub use inspect::Inspect;
pub use operation::Operation;
pub use peers::Peers;
pub use rooms::{RoomCount, Rooms};
pub use turn::Relays;

use crate::api::usage::UsageReport;

/// An answer that is waited for on the thread that asks.
pub type Answer<'a, T> = Pin<Box<dyn Future<Output = T> + 'a>>;

/// What the admin API can see and do of a cluster.
pub trait Cluster:
    Control + Operators + Relays + Rooms + Apps + Connection + Hooks + Inspect + Operation + Peers + Figures + Web
{
    /// The whole at a glance.
    fn overview(&self) -> Answer<'_, Overview>;
    /// What was relayed, as the nodes that answer have counted it; none for an app that there is not.
    fn usage(&self, of: UsageOf) -> Answer<'_, Option<UsageReport>>;
    /// The apps, by id.
    fn apps(&self) -> Answer<'_, Result<Vec<(AppId, App)>, Unavailable>>;
    /// An app's name and policy are these, where it last changed at `since`; committed when it is answered.
    fn app_set(
        &self,
        app: AppId,
        name: String,
        policy: AppPolicy,
        since: Index,
        note: Note,
    ) -> Answer<'_, Changed>;
    /// Where regions and networks are, and which edges are for whom.
    fn selection(&self) -> Answer<'_, Result<Policy, Unavailable>>;
    /// All of that is this; committed when it is answered.
    fn selection_set(&self, policy: Policy, note: Note) -> Answer<'_, Changed>;
    /// What relayed traffic costs.
    fn prices(&self) -> Answer<'_, Result<Prices, Unavailable>>;
    /// It costs this; committed when it is answered.
    fn prices_set(&self, prices: Prices, note: Note) -> Answer<'_, Changed>;
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
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct Overview {
    /// The build of the node that answers.
    pub build: &'static str,
    /// Sessions on the node that answers.
    pub sessions: usize,
    /// Rooms with somebody in them, of all nodes that could be asked.
    pub rooms: u32,
    /// How many are in them.
    pub peers: u32,
    /// The same of each node and app.
    pub counts: Vec<RoomCount>,
    /// The edges, as far as any node hears them.
    pub edges: Vec<Edge>,
    /// The registry, as this node sees it.
    pub registry: Registry,
}

/// A participant.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct Peer {
    /// Its id.
    #[schema(value_type = String)]
    pub peer: PeerId,
    /// The node that holds its socket, or did last.
    #[schema(value_type = u64)]
    pub node: NodeId,
    /// Who its token says it is.
    pub identity: Option<String>,
    /// The name it shows.
    pub name: Option<String>,
    /// Whether it has no socket right now.
    pub away: bool,
    /// What its token lets it do.
    pub grants: Vec<&'static str>,
    /// What was taken away from it.
    pub withheld: Vec<&'static str>,
    /// What it relayed, as far as that is remembered.
    #[schema(value_type = Object)]
    pub relayed: Relayed,
}

/// An edge.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct Edge {
    /// Its name.
    #[schema(value_type = String)]
    pub edge: EdgeId,
    /// Where it stands.
    #[schema(value_type = String)]
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
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct Registry {
    /// The term.
    pub term: u64,
    /// The last applied entry.
    pub applied: u64,
    /// Whether this node leads.
    pub leads: bool,
}
