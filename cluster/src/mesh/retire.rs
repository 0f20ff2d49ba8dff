//! The end of a rotation: an authority that certifies no more ends when nobody is certified by it any more.
//!
//! Nodes take a certificate of the newest by themselves; edges are given theirs. The node with the lowest id
//! asks all the others, and proposes the end.

use std::collections::BTreeSet;
use std::sync::{Arc, PoisonError};
use std::time::Duration;

use chappe_proto::id::EdgeId;
use chappe_proto::limits::{AUTHORITY_LOOK_EVERY, CLOCK_SKEW};
use chappe_proto::mesh::node::{Answer, Ask};
use chappe_proto::registry::{Command, EdgeState, NodeState, State};
use rustls::pki_types::CertificateDer;

use super::handle::{Inner, Mesh};
use super::pki;
use crate::clock;

/// A node must answer within this.
const WITHIN: Duration = Duration::from_secs(5);

/// Runs until the node stops.
pub(crate) async fn keep(mesh: Arc<Inner>) {
    let Some(running) = mesh.running() else { return };
    let mut states = running.states.clone();
    loop {
        if states.wait_for(|state| state.authorities().all().len() > 1).await.is_err() {
            return;
        }
        let state = mesh.state();
        let first = state.nodes().find(|(_, node)| node.state == NodeState::Up).map(|(node, _)| node);
        if first == Some(mesh.node) && has_rested(&mesh, &state) && is_over(&mesh, &state).await {
            let newest = state.authorities().newest().map(|(number, _)| number);
            for number in state.authorities().all().keys().filter(|number| Some(**number) != newest) {
                let ended = running.handler.propose(Command::AuthorityRemove { number: *number }).await;
                tracing::info!(authority = number, ?ended, "nobody is certified by a former authority");
            }
        }
        tokio::time::sleep(AUTHORITY_LOOK_EVERY.min(mesh.authority_rest)).await;
    }
}

/// Whether the newest authority was made long enough ago.
fn has_rested(mesh: &Inner, state: &State) -> bool {
    let newest = state.authorities().newest();
    let from = newest.map(|(_, held)| pki::validity(&CertificateDer::from(&held.certificate.0[..])));
    let Some(Ok((from, _))) = from else { return false };
    clock::unix() >= from + CLOCK_SKEW + mesh.authority_rest
}

/// Whether every node and every edge was seen with a certificate of the newest authority.
async fn is_over(mesh: &Arc<Inner>, state: &State) -> bool {
    let Some((newest, _)) = state.authorities().newest() else { return false };
    let mut edges: BTreeSet<&EdgeId> =
        state.edges().filter_map(|(edge, held)| (held.state != EdgeState::Removed).then_some(edge)).collect();
    let handle = Mesh(Arc::clone(mesh));
    for (node, _) in state.nodes() {
        match handle.request(node, Ask::Certified, WITHIN).await {
            Ok(Answer::Certified { node: by, edges: reporting })
                if by == newest && reporting.iter().all(|(_, by)| *by == newest) =>
            {
                edges.retain(|edge| !reporting.iter().any(|(seen, _)| seen == *edge));
            }
            other => {
                tracing::debug!(%node, ?other, "not all there have certificates of the newest authority");
                return false;
            }
        }
    }
    edges.is_empty()
}

impl Inner {
    /// By which authorities this node and its edges are certified.
    pub(crate) fn certified(&self) -> Answer {
        let state = self.state();
        let all: Vec<_> = state
            .authorities()
            .all()
            .iter()
            .map(|(number, held)| (*number, CertificateDer::from(held.certificate.0.clone())))
            .collect();
        let by = |certificate: &CertificateDer<'_>| {
            all.iter()
                .find(|(_, authority)| pki::is_signed_by(certificate, authority))
                .map_or(0, |(number, _)| *number)
        };
        let node = by(&self.credentials.borrow().certificate);
        let uplinks = self.uplinks.lock().unwrap_or_else(PoisonError::into_inner);
        Answer::Certified {
            node,
            edges: uplinks.values().map(|(edge, certificate)| (edge.clone(), by(certificate))).collect(),
        }
    }
}
