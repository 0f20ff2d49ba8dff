//! The registry's feed to a node that is no member of Raft: a stream that the follower opens.

use std::sync::Arc;
use std::time::Duration;

use chappe_proto::id::{Index, NodeId};
use chappe_proto::limits;
use chappe_proto::mesh::node::{Feed, Lane, Opening};
use quinn::{RecvStream, SendStream};

use super::frame::{self, FrameError, Frames};
use super::handle::{Inner, Mesh, Unsent};
use super::lanes::{opening, priority};

/// A follower must have said from where on it follows within this.
const FOLLOW_WITHIN: Duration = limits::LINK_HELLO_WITHIN;

/// Why a feed does not begin, or has ended.
#[derive(Debug, thiserror::Error)]
pub enum FeedError {
    /// There is no link with that node.
    #[error(transparent)]
    Unsent(#[from] Unsent),
    /// The link or the stream broke.
    #[error(transparent)]
    Frame(#[from] FrameError),
    /// The other side has ended it: follow another node, or this one again later.
    #[error("the feed has ended")]
    Ended,
}

/// The writing end of a feed.
pub struct FeedWriter(SendStream);

impl FeedWriter {
    /// Writes a frame; waits while the follower is slow.
    ///
    /// # Errors
    /// When the follower, or the link with it, is gone.
    pub async fn send(&mut self, frame: &Feed) -> Result<(), FeedError> {
        Ok(frame::write(&mut self.0, frame).await?)
    }
}

/// The reading end of a feed.
pub struct FeedReader {
    frames: Frames,
    /// The stream ends with it.
    _asks: SendStream,
}

impl FeedReader {
    /// The next frame. Safe to cancel.
    ///
    /// # Errors
    /// When the feed has ended.
    pub async fn next(&mut self) -> Result<Feed, FeedError> {
        self.frames.read().await?.ok_or(FeedError::Ended)
    }
}

impl Mesh {
    /// Follows the registry's feed of a node that there is a link with, from the entry behind `after` on.
    ///
    /// # Errors
    /// [`FeedError`].
    pub async fn follow(&self, node: NodeId, after: Index) -> Result<FeedReader, FeedError> {
        let link = Arc::clone(self.0.table.now().link(node).ok_or(Unsent::NoWay(node))?);
        let opened = link.connection.open_bi().await;
        let (mut send, recv) = opened.map_err(|error| FrameError::Lost(error.into()))?;
        let first = frame::encode(&Feed::Follow { after }).map_err(FrameError::Wire)?;
        send.write_all_chunks(&mut [opening(Lane::Feed, &self.0.hello())?, first])
            .await
            .map_err(FrameError::Broke)?;
        Ok(FeedReader { frames: Frames::new(recv), _asks: send })
    }
}

/// Serves a bidirectional stream of a link.
pub(crate) async fn serve(mesh: &Inner, peer: NodeId, send: SendStream, recv: RecvStream) {
    let mut frames = Frames::new(recv);
    let asked = async {
        let Ok(Some(Opening { lane: Lane::Feed, .. })) = frames.read().await else { return None };
        match frames.read().await {
            Ok(Some(Feed::Follow { after })) => Some(after),
            _ => None,
        }
    };
    let Ok(Some(after)) = tokio::time::timeout(FOLLOW_WITHIN, asked).await else { return };
    let _ = send.set_priority(priority(Lane::Feed)); // only refused once the stream is closed
    if let Some(running) = mesh.running() {
        let stopped = send.stopped();
        tokio::select! {
            () = running.handler.follow(peer, after, FeedWriter(send)) => {}
            _ = stopped => {} // the follower has gone
        }
    }
}
