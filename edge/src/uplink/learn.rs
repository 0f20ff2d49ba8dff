//! What an edge learns of its cluster over its uplinks, and keeps: the nodes, the authorities, its own certificate.

use std::collections::BTreeMap;

use chappe_proto::mesh::uplink::{Certificate, NodeAt, Up};
use chappe_proto::time::Mono;
use tokio::sync::mpsc;

use super::Shared;
use super::identity::{LOOK_EVERY, RENEW_AGAIN};
use super::link::LinkError;
use crate::clock;

/// The cluster's nodes are these.
pub(super) fn learn_nodes(shared: &Shared, nodes: &[NodeAt]) {
    // Of an older release none.
    if nodes.is_empty() {
        return;
    }
    shared.nodes.borrow_mut().learn(nodes);
    shared.changed.notify_waiters();
    let nodes = nodes.to_vec();
    if let Some(keeper) = shared.keep.clone() {
        keeper.write("the nodes", move |keep| keep.nodes(&nodes));
    }
}

/// The cluster's authorities are these.
pub(super) fn learn_authorities(shared: &Shared, authorities: &BTreeMap<u64, Certificate>) {
    let trusted = shared.identity.borrow_mut().trust(authorities.values());
    match trusted {
        Ok(None) => {}
        Ok(Some(roots)) => {
            tracing::info!(authorities = roots.len(), "the cluster's authorities are others");
            shared.rests_until.set(Mono::default());
            shared.changed.notify_waiters();
            if let Some(keeper) = shared.keep.clone() {
                keeper.write("the cluster's authorities", move |keep| keep.authorities(&roots));
            }
        }
        Err(error) => {
            tracing::error!(%error, "the cluster's authorities cannot be trusted: the former ones stay");
        }
    }
}

/// The edge's certificate is this one.
pub(super) fn renewed(shared: &Shared, certificate: Certificate) {
    let taken = shared.identity.borrow_mut().renew(certificate, clock::wall());
    match taken {
        Ok((certificate, stands)) => {
            if stands {
                tracing::info!("this edge's certificate is new");
                shared.changed.notify_waiters();
            } else {
                // Another one would be no better.
                shared.rests_until.set(clock::mono() + RENEW_AGAIN);
                tracing::error!(
                    "this edge's new certificate is to be renewed at once: its clock is probably ahead (look at NTP), \
                     or the node's authority is not the newest; it is asked for again in an hour"
                );
            }
            if let Some(keeper) = shared.keep.clone() {
                keeper.write("the new certificate", move |keep| keep.certificate(&certificate));
            }
        }
        Err(error) => tracing::error!(%error, "the new certificate cannot be used: the former one stays"),
    }
}

/// Asks for a new certificate when it is time.
pub(super) async fn renew(shared: &Shared, says: &mpsc::Sender<Up>) -> LinkError {
    loop {
        let now = clock::mono();
        let was_asked = shared.asked_at.get().is_some_and(|at| now.since(at) < LOOK_EVERY / 2);
        let rests = now < shared.rests_until.get();
        let due = if was_asked || rests { None } else { shared.identity.borrow().is_due(clock::wall()) };
        if let Some(public_key) = due {
            shared.asked_at.set(Some(now));
            if says.send(Up::Certify { public_key }).await.is_err() {
                return LinkError::Loop;
            }
        }
        tokio::select! {
            () = tokio::time::sleep(LOOK_EVERY) => {}
            () = shared.changed.notified() => {}
        }
    }
}
