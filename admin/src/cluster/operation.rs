//! How the cluster is run: nodes' options, their logs, and how far edges are from each other.

use std::time::Duration;

use chappe_proto::id::{EdgeId, NodeId};
use chappe_proto::logs::{Level, LogPage, Wanted};
use chappe_proto::mesh::probe::Prober;
use chappe_proto::registry::Note;
use chappe_proto::settings::Setting;

use super::Answer;
use super::control::Fault;

/// What the admin API can see and do of how nodes and edges run.
pub trait Operation {
    /// A node's options as they are in force, in the order of its command line.
    fn settings(&self, node: NodeId) -> Answer<'_, Result<Vec<Setting>, Fault>>;
    /// Lines of a node's log.
    fn logs(&self, node: NodeId, wanted: Wanted) -> Answer<'_, Result<LogPage, Fault>>;
    /// A node's log has lines of Chappe's own parts up to this level for so long; without a level as it was told at its
    /// start, from now on.
    fn log_level(
        &self,
        node: NodeId,
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
