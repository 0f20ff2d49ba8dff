//! The last word of a node whose disk has forgotten something: its process is about to end, and
//! the other nodes tell operators why.
//!
//! It connects as for a link, and says of itself in its hello that it wants none. So it is judged like any other:
//! by its certificate, and a node that was removed is not believed. That the other side then refuses the link for
//! this very reason is the answer.

use std::sync::Arc;

use chappe_proto::id::NodeId;
use chappe_proto::limits;
use chappe_proto::mesh::node::{Hello, Lane, Loss, Opening};
use quinn::{ConnectionError, VarInt};
use tokio::task::JoinSet;

use super::dial;
use super::frame;
use super::handle::{Inner, Mesh};
use super::hello::{FORGETFUL, Refusal};

impl Mesh {
    /// Tells all nodes that were ever heard of what this one's disk has lost, where they were reached last, and
    /// gives those that have heard it: within [`limits::LOSS_TOLD_WITHIN`]. For a mesh that does not run, and will
    /// not; call it within its runtime.
    pub async fn tell_loss(&self, loss: Loss) -> Vec<NodeId> {
        let mut tasks = JoinSet::new();
        for node in self.0.peers.keys().copied().filter(|node| *node != self.0.node) {
            let mesh = Arc::clone(&self.0);
            tasks.spawn(async move { tell(&mesh, node, loss).await.then_some(node) });
        }
        let mut told = Vec::new();
        let telling = async {
            while let Some(done) = tasks.join_next().await {
                told.extend(done.ok().flatten());
            }
        };
        let _ = tokio::time::timeout(limits::LOSS_TOLD_WITHIN, telling).await; // the others are not there
        told
    }
}

/// Whether that node has heard it.
async fn tell(mesh: &Arc<Inner>, node: NodeId, loss: Loss) -> bool {
    let Some(connection) = dial::first(mesh, node).await else { return false };
    let said = async {
        let mut control = connection.open_uni().await.ok()?;
        let hello = Hello { loss: Some(loss), ..mesh.hello() };
        frame::write(&mut control, &Opening { lane: Lane::Control, hello }).await.ok()?;
        Some(control)
    };
    // Held: its end would be the end of a link, to a release that knows nothing of this.
    let _control = said.await;
    let ended = connection.closed().await;
    if let Some(refusal) = Refusal::of(&ended)
        && !is_heard(&ended)
    {
        mesh.tell(connection.remote_address(), Some(node), refusal, false);
    }
    is_heard(&ended)
}

fn is_heard(ended: &ConnectionError) -> bool {
    matches!(ended, ConnectionError::ApplicationClosed(close) if close.error_code == VarInt::from_u32(FORGETFUL))
}
