//! How the cluster is run: options and logs of nodes and edges, and how far edges are from each other.

use std::fmt;
use std::time::Duration;

use chappe_proto::id::{EdgeId, NodeId};
use chappe_proto::logs::{Level, LogPage, Wanted};
use chappe_proto::mesh::probe::Prober;
use chappe_proto::registry::Note;
use chappe_proto::settings::Setting;

use super::Answer;
use super::control::Fault;

/// Whose options and log are meant. Nodes and edges of one process (`chappe dev`) have one of both.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Process {
    /// A node's.
    Node(NodeId),
    /// An edge's, which a node asks that it reports to.
    Edge(EdgeId),
}

impl fmt::Display for Process {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Node(node) => write!(f, "node {node}"),
            Self::Edge(edge) => write!(f, "edge {edge}"),
        }
    }
}

/// What each edge said, or why it did not.
pub type OfEdges<T> = Vec<(EdgeId, Result<T, Fault>)>;

/// What the admin API can see and do of how nodes and edges run.
pub trait Operation {
    /// The options of a process as they are in force, in the order of its command line.
    fn settings(&self, of: Process) -> Answer<'_, Result<Vec<Setting>, Fault>>;
    /// Those of all edges that are not removed, by name.
    fn edge_settings(&self) -> Answer<'_, Result<OfEdges<Vec<Setting>>, Fault>>;
    /// Lines of a process's log.
    fn logs(&self, of: Process, wanted: Wanted) -> Answer<'_, Result<LogPage, Fault>>;
    /// A process's log has lines of Chappe's own parts up to this level for so long; without a level as it was told at
    /// its start, from now on.
    fn log_level(
        &self,
        of: Process,
        level: Option<Level>,
        within: Duration,
        note: Note,
    ) -> Answer<'_, Result<(), Fault>>;
    /// How far edges are from those that probe them, as far as the node that answers has heard.
    fn round_trips(&self) -> Answer<'_, Vec<RoundTrip>>;
}

/// How far an edge is from one that probes it.
#[derive(Debug, Clone, PartialEq)]
pub struct RoundTrip {
    /// Who probes: another edge, or a node where there are fewer than two.
    pub from: Prober,
    /// The edge that is probed.
    pub to: EdgeId,
    /// The median of the last probes, in milliseconds.
    pub rtt_ms: f64,
    /// How long ago the last of them was.
    pub age: Duration,
}
