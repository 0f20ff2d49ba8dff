//! Links to the other nodes: each dials every other one that it has no link with. The one with the higher id
//! only knocks so, and the other connects; so there is one connection, and a node that begins anew is linked
//! at once.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::{Arc, PoisonError};
use std::time::Duration;

use chappe_proto::id::NodeId;
use chappe_proto::limits;
use chappe_proto::mesh::node::{Body, Lane};
use chappe_proto::registry::State;
use quinn::Connection;
use tokio::sync::Notify;
use tokio::task::{JoinHandle, JoinSet};

use super::handle::Inner;
use super::hello::{self, Refusal};
use super::link;
use super::pki;
use crate::clock;

/// A task that ends with its owner.
struct Task(JoinHandle<()>);

impl Drop for Task {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// Dials the nodes of the registry as it changes, and ends links with those that it has no more.
pub(crate) async fn follow(mesh: Arc<Inner>) {
    let Some(running) = mesh.running() else { return };
    let mut states = running.states.clone();
    let mut dialling: BTreeMap<NodeId, Task> = BTreeMap::new();
    loop {
        let state = states.borrow_and_update().clone();
        let known = state.nodes().map(|(node, _)| node).chain(mesh.peers.keys().copied());
        let wanted: Vec<_> =
            known.filter(|node| *node != mesh.node && !hello::is_removed(&state, *node)).collect();
        dialling.retain(|node, _| wanted.contains(node));
        for node in wanted {
            dialling.entry(node).or_insert_with(|| Task(tokio::spawn(keep(Arc::clone(&mesh), node))));
        }
        for link in mesh.table.now().all() {
            if hello::is_removed(&state, link.peer) {
                let refusal = Refusal::Removed { node: link.peer };
                link.connection.close(refusal.code(), refusal.to_string().as_bytes());
            }
        }
        if states.changed().await.is_err() {
            return;
        }
    }
}

/// Tells the other sides of all links whom this node reaches, whenever that changes.
pub(crate) async fn gossip(mesh: Arc<Inner>) {
    let mut links = mesh.table.watch();
    let mut told = Vec::new();
    while links.changed().await.is_ok() {
        let now = Arc::clone(&links.borrow_and_update());
        let nodes = now.nodes();
        if nodes != told {
            for node in &nodes {
                // One whose lane is full hears the next; sends around a dead link are retried anyway.
                let _ = mesh.send(*node, Lane::Control, Body::Reaches(nodes.clone()));
            }
            told = nodes;
        }
    }
}

/// Keeps a link with one node.
async fn keep(mesh: Arc<Inner>, node: NodeId) {
    let kick = mesh.kick(node);
    let mut links = mesh.table.watch();
    let mut pause = limits::DIAL_RETRY;
    loop {
        if links.wait_for(|links| !links.is_direct(node)).await.is_err() {
            return;
        }
        let linked = async {
            let _ = links.wait_for(|links| links.is_direct(node)).await; // the table outlives its tasks
        };
        tokio::select! {
            () = dial(&mesh, node, &kick) => {}
            () = linked => {
                pause = limits::DIAL_RETRY;
                continue;
            }
        }
        let linked = links.wait_for(|links| links.is_direct(node));
        tokio::select! {
            () = tokio::time::sleep(jittered(pause)) => pause = (pause * 2).min(limits::DIAL_RETRY_MAX),
            () = kick.notified() => pause = limits::DIAL_RETRY,
            _ = linked => pause = limits::DIAL_RETRY,
        }
    }
}

/// Half of it to all of it.
fn jittered(pause: Duration) -> Duration {
    let [byte] = clock::random::<1>();
    pause / 2 + pause * u32::from(byte) / 512
}

/// Where a node is reached: as the registry says, or as it was.
fn addresses(mesh: &Inner, state: &State, node: NodeId) -> Vec<SocketAddr> {
    let said = state.node(node).map(|node| node.addresses.mesh.clone()).unwrap_or_default();
    if said.is_empty() { mesh.peers.get(&node).cloned().unwrap_or_default() } else { said }
}

/// Connects to the first of a node's addresses that answers, and runs the link there until it ends.
async fn dial(mesh: &Arc<Inner>, node: NodeId, kick: &Notify) {
    let mut attempts = JoinSet::new();
    attempt(mesh, node, &mut attempts, limits::DIAL_NEXT);
    let connection = loop {
        // What was sent before is perhaps lost, and a handshake is sent again late and later.
        let again = async {
            tokio::select! {
                () = kick.notified() => {} // it is there now
                () = tokio::time::sleep(limits::DIAL_AGAIN) => {}
            }
        };
        tokio::select! {
            () = again => {
                if attempts.len() < limits::DIALS_AT_ONCE {
                    attempt(mesh, node, &mut attempts, Duration::ZERO);
                }
            }
            done = attempts.join_next() => match done {
                Some(Ok(Some(connection))) => break connection,
                Some(_) => {}
                None => return,
            },
        }
    };
    // The others are dropped before a hello: they are links for nobody.
    drop(attempts);
    // A task of its own: the dialler does not wait for the end of what it sees in the table.
    let mesh = Arc::clone(mesh);
    let link = tokio::spawn(async move {
        let ended = link::run(&mesh, connection.clone(), node).await;
        mesh.link_ended(&connection, node, ended);
    });
    let _ = link.await; // it has said what it was
}

/// Connects to the first of a node's addresses that answers.
pub(super) async fn first(mesh: &Arc<Inner>, node: NodeId) -> Option<Connection> {
    let mut attempts = JoinSet::new();
    attempt(mesh, node, &mut attempts, limits::DIAL_NEXT);
    while let Some(done) = attempts.join_next().await {
        if let Ok(Some(connection)) = done {
            return Some(connection);
        }
    }
    None
}

/// Dials each of a node's addresses, one after the other.
fn attempt(mesh: &Arc<Inner>, node: NodeId, attempts: &mut JoinSet<Option<Connection>>, after: Duration) {
    for (n, address) in (0..).zip(addresses(mesh, &mesh.state(), node)) {
        let mesh = Arc::clone(mesh);
        attempts.spawn(async move {
            tokio::time::sleep(after * n).await;
            connect(&mesh, node, address).await
        });
    }
}

async fn connect(mesh: &Arc<Inner>, node: NodeId, address: SocketAddr) -> Option<Connection> {
    let config = mesh.connect.read().unwrap_or_else(PoisonError::into_inner).clone();
    let name = pki::server_name(&mesh.cluster, Some(node)).ok()?;
    let connecting = match mesh.endpoint.connect_with(config, address, &name.to_str()) {
        Ok(connecting) => connecting,
        Err(error) => {
            tracing::debug!(%node, %address, %error, "cannot dial");
            return None;
        }
    };
    match tokio::time::timeout(limits::LINK_HELLO_WITHIN, connecting).await.ok()? {
        Ok(connection) => Some(connection),
        Err(error) => {
            if let Some(refusal) = Refusal::of(&error) {
                mesh.tell(address, Some(node), refusal, true);
            }
            tracing::debug!(%node, %address, %error, "no answer");
            None
        }
    }
}
