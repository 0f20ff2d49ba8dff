//! The registry's feed between nodes: served to whoever asks, and followed for as long as
//! this node's own Raft does not bring the registry here.

use std::time::Duration;

use chappe_proto::id::{ClusterId, Index, NodeId};
use chappe_proto::mesh::node::Feed;

use crate::consensus::{FatalError, FeedError, Registry};
use crate::mesh::{FeedWriter, Mesh};

/// Between the end of one feed and the beginning of another.
const AGAIN: Duration = Duration::from_millis(100);

/// Serves the feed to a node until one side ends it.
pub(crate) async fn serve(registry: &Registry, after: Index, mut feed: FeedWriter) {
    let mut frames = registry.feed(after);
    while let Some(frame) = frames.next().await {
        if feed.send(&frame).await.is_err() {
            return;
        }
    }
}

/// Follows other nodes' feeds whenever the registry wants one.
///
/// # Errors
/// When this release cannot go on: the process must exit.
pub(crate) async fn follow(registry: Registry, mesh: Mesh, cluster: ClusterId) -> Result<(), FatalError> {
    let mut statuses = registry.watch_status();
    for turn in 0_usize.. {
        if statuses.wait_for(|status| status.wants_feed).await.is_err() {
            return Ok(()); // the registry has ended
        }
        let next = mesh.links().borrow().any(turn);
        if let Some(node) = next {
            let mut own = registry.watch_status();
            let ended = tokio::select! {
                ended = follow_one(&registry, &mesh, node, cluster) => ended,
                _ = own.wait_for(|status| !status.wants_feed) => continue,
            };
            match ended {
                Ok(()) => {}
                Err(FeedError::Fatal(error)) => return Err(error),
                Err(error) => tracing::info!(%node, %error, "the registry's feed has ended"),
            }
        }
        tokio::time::sleep(AGAIN).await; // nothing tells of it when the other side is better
    }
    Ok(())
}

async fn follow_one(
    registry: &Registry,
    mesh: &Mesh,
    node: NodeId,
    cluster: ClusterId,
) -> Result<(), FeedError> {
    let mut follower = registry.follow(cluster);
    let Feed::Follow { after } = follower.opening() else { return Ok(()) };
    let mut feed = match mesh.follow(node, after).await {
        Ok(feed) => feed,
        Err(error) => {
            tracing::debug!(%node, %error, "no feed there");
            return Ok(());
        }
    };
    loop {
        match feed.next().await {
            Ok(frame) => follower.handle(frame).await?,
            Err(error) => {
                tracing::debug!(%node, %error, "the feed has ended");
                return Ok(());
            }
        }
    }
}
