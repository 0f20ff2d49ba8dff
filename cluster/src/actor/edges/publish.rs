//! What follows from how the edges are: what sessions choose by and are told, where edges send plain TURN clients, and
//! what the log says.

use std::sync::Arc;

use chappe_proto::id::EdgeId;
use chappe_proto::limits;
use chappe_proto::registry::{EdgeState, State};
use chappe_proto::select::condition::{Condition, Decided};
use chappe_proto::select::standing::News;
use chappe_proto::select::{Catalog, EdgeStatus, alternates};
use chappe_proto::signal::session::World;
use chappe_proto::time::Mono;

use super::super::session::EdgesChanged;
use super::EdgesActor;
use crate::clock;
use crate::node::Node;

impl EdgesActor {
    /// Publishes what sessions need to know, and tells them which edges came and went.
    pub(super) fn publish(&mut self) {
        let Some(node) = self.node.clone() else { return };
        let state = node.registry.state();
        self.fleet.forget(|edge| state.edge(edge).is_some_and(|edge| edge.state != EdgeState::Removed));
        let edges = self.statuses(&state);
        for status in &edges {
            tell(self.conditions.get(&status.edge), status);
        }
        self.conditions =
            edges.iter().map(|status| (status.edge.clone(), status.condition.clone())).collect();
        let own = state.node(node.id).map(|node| node.region.clone());
        let news = self.told.handle_edges(&edges, node.sessions.len());
        let displaced = self.displaced.handle_edges(clock::mono(), &edges);
        let catalog = Catalog::new(edges, Arc::clone(state.selection()), own).displacing(displaced);
        self.tell_alternates(&catalog);
        node.publish(World {
            sealing: Arc::new(Node::sealing_keys(&state)),
            secret: state.turn_secrets().newest().map(|(_, secret)| secret.clone()),
            edges: catalog,
            draining: self.told.draining().take(limits::DRAINING_TOLD).cloned().collect(),
            nodes: node.urls(&state),
        });
        if news.is_empty() {
            return;
        }
        self.spread_at = Mono::default();
        tell_sessions(&node, &news);
    }

    /// The edges as far as choosing goes.
    fn statuses(&mut self, state: &State) -> Vec<EdgeStatus> {
        let decided = |edge: &EdgeId| match state.edge(edge).map(|edge| edge.state) {
            Some(EdgeState::Admitted) => Decided::Admitted,
            Some(EdgeState::Draining) => Decided::Draining,
            Some(EdgeState::Removed) | None => Decided::Removed,
        };
        let mut edges = self.fleet.statuses(clock::now(), decided);
        for status in &mut edges {
            status.weight = state.edge(&status.edge).map_or(status.weight, |edge| edge.weight);
        }
        let now = clock::mono();
        self.failures.mark(now, &mut edges);
        self.newcomers.mark(now, &mut edges);
        edges
    }

    /// Tells edges that drain or are full where plain TURN clients go.
    fn tell_alternates(&mut self, catalog: &Catalog) {
        self.alternates.retain(|_, told| !told.is_closed());
        for (edge, told) in &self.alternates {
            let others = catalog.edge(edge).map(|edge| alternates(catalog, edge)).unwrap_or_default();
            told.send_if_modified(|told| {
                let changed = told.as_ref() != Some(&others); // the first one is told even if it is empty
                *told = Some(others);
                changed
            });
        }
    }
}

/// Tells all sessions of a node.
fn tell_sessions(node: &Node, news: &[News]) {
    for changed in news {
        match changed {
            News::Up(edge) => tracing::info!(%edge, "edge is up"),
            News::Lost(edge) => tracing::warn!(%edge, "edge is lost"),
            News::Draining(edge, _) => tracing::info!(%edge, "edge drains"),
        }
        for (_, session) in node.sessions.all() {
            // One whose mailbox is full asks for `ice` itself when its path fails.
            let _ = session.try_send(EdgesChanged(changed.clone()));
        }
    }
}

/// Says in the log how an edge is, where that is not as it was, with what to do about it.
fn tell(was: Option<&Condition>, status: &EdgeStatus) {
    let (is, edge) = (&status.condition, &status.edge);
    if was.is_some_and(|was| !was.differs(is)) || (was.is_none() && is.reasons.is_empty()) {
        return;
    }
    let state = is.state.name();
    tracing::info!(%edge, state, "edge's condition");
    for reason in &is.reasons {
        tracing::warn!(%edge, state, %reason, "edge");
    }
}
