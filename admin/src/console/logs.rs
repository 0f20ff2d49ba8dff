//! What nodes and edges log, live. Lines come by the API's own events.

use askama::Template;
use chappe_proto::id::{EdgeId, NodeId};
use chappe_proto::registry::EdgeState;
use serde::Deserialize;

use super::frame::Frame;
use super::view::View;
use super::visitor::Visitor;
use crate::Mount;
use crate::control::Fault;
use crate::operation::Process;

/// The log of a node or an edge.
#[derive(Template)]
#[template(path = "logs.html", blocks = ["live"])]
pub(crate) struct Logs {
    frame: Frame,
    acts: bool,
    nodes: Vec<Choice>,
    edges: Vec<Choice>,
    /// Where the API has that of the chosen one, behind its `v1`.
    path: String,
}

/// One whose log can be shown.
struct Choice {
    path: String,
    name: String,
    chosen: bool,
}

impl Choice {
    fn new(of: &Process, name: String, chosen: &Process) -> Self {
        Self { path: path(of), name, chosen: of == chosen }
    }
}

fn path(of: &Process) -> String {
    match of {
        Process::Node(node) => format!("nodes/{node}"),
        Process::Edge(edge) => format!("edges/{edge}"),
    }
}

/// Whose, as a link asks: the node's that answers, unless it says so.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub(crate) struct Ask {
    node: Option<u64>,
    edge: Option<EdgeId>,
}

impl View for Logs {
    type Place = ();
    type Ask = Ask;

    async fn load(mount: &Mount, visitor: &Visitor, (): (), ask: Ask) -> Result<Self, Fault> {
        let (status, edges) = (mount.cluster.status().await, mount.cluster.edges().await);
        let of = match ask.edge {
            Some(edge) => Process::Edge(edge),
            None => Process::Node(ask.node.map_or(status.node, NodeId)),
        };
        let node = |of: &NodeId, region| (Process::Node(*of), format!("Node {of}, {region}"));
        let nodes = status.members.iter().map(|one| node(&one.node, &one.region));
        let edges = edges.iter().filter(|one| one.state != EdgeState::Removed);
        let edges =
            edges.map(|one| (Process::Edge(one.edge.clone()), format!("{}, {}", one.edge, one.region)));
        let choice = |(one, name): (Process, String)| Choice::new(&one, name, &of);
        let (nodes, edges): (Vec<_>, Vec<_>) = (nodes.map(choice).collect(), edges.map(choice).collect());
        if !nodes.iter().chain(&edges).any(|one| one.chosen) {
            let what = if matches!(of, Process::Edge(_)) { "edge" } else { "node" };
            return Err(Fault::NotThere(what));
        }
        let frame = Frame::of(visitor, "/admin/logs", "Logs");
        Ok(Self { frame, acts: visitor.acts, nodes, edges, path: path(&of) })
    }

    fn live(&self) -> askama::Result<String> {
        self.as_live().render()
    }
}
