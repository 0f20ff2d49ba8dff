//! What the leader tells operators of, for logs and the list of the cluster's events.

use std::fmt;
use std::time::Duration;

use super::voters::Step;
use crate::id::{Generation, NodeId};

/// Something that the leader did, or waits for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event {
    /// A silent node is declared gone.
    Evicted {
        /// Which.
        node: NodeId,
        /// Which life of it.
        generation: Generation,
        /// For how long nothing was heard of it.
        silent: Duration,
        /// Its shards, which go to others.
        shards: usize,
    },
    /// So many are silent at once that the fault may be the leader's, or the network's.
    MassSilence {
        /// Who.
        silent: Vec<NodeId>,
        /// Of how many nodes.
        of: usize,
    },
    /// The leader's own process stood still: whom it did not hear may have spoken.
    StoodStill {
        /// For how long.
        gap: Duration,
    },
    /// A silent node keeps its shards, since there is nobody to take them.
    NobodyLeft {
        /// Which.
        node: NodeId,
    },
    /// Shards of nodes that drain, or that were to own fewer, have moved: as many as the plan had, or as were
    /// moved when something came between.
    Moved {
        /// How many.
        shards: usize,
        /// Whether a node drains.
        drain: bool,
    },
    /// A node that was to leave has left.
    Removed {
        /// Which.
        node: NodeId,
    },
    /// Raft's members are to change.
    Members(Vec<Step>),
    /// The leadership is to go to another, since this node drains, leaves or is to vote no more.
    HandsOver {
        /// To whom.
        to: NodeId,
    },
    /// Every node understands a newer cluster version, which is raised.
    VersionRaised {
        /// To which.
        to: u32,
    },
}

impl fmt::Display for Event {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Evicted { node, generation, silent, shards } => write!(
                f,
                "node {node} (generation {generation}) is gone: silent for {} ms; {shards} shards go to others",
                silent.as_millis()
            ),
            Self::MassSilence { silent, of } => {
                f.write_str("nodes ")?;
                for (i, node) in silent.iter().enumerate() {
                    write!(f, "{}{node}", if i == 0 { "" } else { ", " })?;
                }
                write!(f, " of {of} fell silent together: nobody is evicted before one more wait")
            }
            Self::StoodStill { gap } => {
                write!(
                    f,
                    "the leader stood still for {} ms: nobody is evicted before one more wait",
                    gap.as_millis()
                )
            }
            Self::NobodyLeft { node } => {
                write!(f, "node {node} is silent and keeps its shards: no other node can take them")
            }
            Self::Moved { shards, drain: true } => write!(f, "{shards} shards have moved off draining nodes"),
            Self::Moved { shards, drain: false } => {
                write!(f, "{shards} shards have moved to balance the nodes")
            }
            Self::Removed { node } => write!(f, "node {node} has left the cluster"),
            Self::Members(steps) => {
                f.write_str("members of Raft change")?;
                for (nth, step) in steps.iter().enumerate() {
                    f.write_str(if nth == 0 { ": " } else { "; " })?;
                    match step {
                        Step::Voter(node) => write!(f, "node {node} votes")?,
                        Step::Learner(node) => write!(f, "node {node} stands by")?,
                        Step::Remove(node) => write!(f, "node {node} goes")?,
                    }
                }
                Ok(())
            }
            Self::HandsOver { to } => write!(f, "the leadership goes to node {to}"),
            Self::VersionRaised { to } => write!(f, "every node understands cluster version {to}: raised"),
        }
    }
}
