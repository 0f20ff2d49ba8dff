//! What comes on the streams of a link: parcels for this node, and those that it passes on.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use bytes::Bytes;
use chappe_proto::id::NodeId;
use chappe_proto::limits::MESH_FRAME_MAX;
use chappe_proto::mesh::node::{Answer, Body, Failure, Lane, Opening, Parcel};
use chappe_proto::wire::{self, WireError};
use quinn::{RecvStream, VarInt};
use serde::Deserialize;
use serde::de::IgnoredAny;

use super::frame::{FrameError, Frames, framed};
use super::handle::{Inner, Unsent};
use super::hello;
use super::link::Link;
use super::raft;

/// The code with which a stream of an unknown lane is stopped.
const UNKNOWN_LANE: VarInt = VarInt::from_u32(1);

/// A stream that the other side has opened.
pub(crate) async fn stream(
    mesh: &Arc<Inner>,
    link: &Arc<Link>,
    stream: RecvStream,
) -> Result<(), FrameError> {
    let mut frames = Frames::new(stream);
    let lane = match frames.read::<Opening>().await {
        Ok(Some(opening)) => opening.lane,
        Ok(None) => return Ok(()),
        Err(FrameError::Wire(WireError::Malformed(_))) => {
            // A lane that a newer release knows.
            mesh.skipped.fetch_add(1, Ordering::Relaxed);
            frames.stop(UNKNOWN_LANE);
            return Ok(());
        }
        Err(error) => return Err(error),
    };
    match lane {
        Lane::Control | Lane::Rooms(_) => parcels(mesh, link, lane, frames).await,
        Lane::Raft => raft::messages(mesh, link, frames).await,
        Lane::Snapshot => raft::snapshot(mesh, link, frames).await,
        Lane::Feed => Ok(()), // it has a bidirectional stream: a mistake of the other side
    }
}

/// Reads parcels until the stream or the link ends.
pub(crate) async fn parcels(
    mesh: &Arc<Inner>,
    link: &Arc<Link>,
    lane: Lane,
    mut frames: Frames,
) -> Result<(), FrameError> {
    while let Some(bytes) = frames.next(MESH_FRAME_MAX).await? {
        parcel(mesh, link, lane, &bytes);
        tokio::task::consume_budget().await;
    }
    Ok(())
}

fn parcel(mesh: &Arc<Inner>, link: &Arc<Link>, lane: Lane, bytes: &Bytes) {
    match wire::decode::<Parcel>(bytes, MESH_FRAME_MAX) {
        Ok(parcel) if parcel.to == mesh.node => take(mesh, link, parcel),
        Ok(parcel) => pass_on(mesh, link, lane, parcel.from, parcel.to, bytes),
        Err(_) => unread(mesh, link, lane, bytes),
    }
}

/// A parcel for this node.
fn take(mesh: &Arc<Inner>, link: &Arc<Link>, parcel: Parcel) {
    let Parcel { from, body, .. } = parcel;
    if from != link.peer && hello::is_removed(&mesh.state(), from) {
        mesh.skipped.fetch_add(1, Ordering::Relaxed);
        return;
    }
    match body {
        Body::Request { id, ask } => mesh.asked(link, from, id, ask),
        Body::Answer { id, answer } => mesh.requests.settle(from, id, answer),
        Body::Reaches(nodes) if from == link.peer => mesh.table.heard(link, nodes),
        Body::Reaches(_) => {}
        body => {
            if let Some(running) = mesh.running() {
                running.handler.handle(from, body);
            }
        }
    }
}

/// A parcel for another node: passed on if it comes from its sender, and this node has a link with its
/// receiver. So none goes more than one hop, and none in circles.
fn pass_on(mesh: &Inner, link: &Link, lane: Lane, from: NodeId, to: NodeId, bytes: &Bytes) {
    if from == link.peer && mesh.hand_on(to, lane, bytes).is_ok() {
        return;
    }
    mesh.skipped.fetch_add(1, Ordering::Relaxed);
}

impl Inner {
    /// Writes a frame as it came to the link with a node, if there is one.
    pub(crate) fn hand_on(&self, to: NodeId, lane: Lane, bytes: &[u8]) -> Result<(), Unsent> {
        let links = self.table.now();
        let link = links.link(to).ok_or(Unsent::NoWay(to))?;
        let frame = framed(bytes, MESH_FRAME_MAX).map_err(|_| Unsent::TooLong)?;
        link.lanes.send(lane, frame).map_err(|_| Unsent::Full(to))
    }
}

/// A parcel as far as every release can read it.
#[derive(Deserialize)]
struct Cover {
    from: NodeId,
    to: NodeId,
    #[serde(default)]
    body: Question,
}

/// A question whose content this release does not know.
#[derive(Default, Deserialize)]
struct Question {
    #[serde(default)]
    request: Option<Asked>,
}

#[derive(Deserialize)]
struct Asked {
    id: u64,
}

/// The same without its body, which need not be a map.
#[derive(Deserialize)]
struct Address {
    from: NodeId,
    to: NodeId,
    #[serde(rename = "body")]
    _body: IgnoredAny,
}

/// A parcel of a newer release: passed on as it is, a question answered, anything else skipped.
fn unread(mesh: &Arc<Inner>, link: &Arc<Link>, lane: Lane, bytes: &Bytes) {
    let address = wire::decode::<Address>(bytes, MESH_FRAME_MAX);
    if let Ok(Address { from, to, .. }) = address
        && to != mesh.node
    {
        return pass_on(mesh, link, lane, from, to, bytes);
    }
    mesh.skipped.fetch_add(1, Ordering::Relaxed);
    if let Ok(Cover { from, to, body: Question { request: Some(Asked { id }) } }) =
        wire::decode::<Cover>(bytes, MESH_FRAME_MAX)
        && to == mesh.node
    {
        let why = "this node's release does not know the question: upgrade it";
        mesh.reply(from, id, Answer::Failed(Failure::Other(why.to_owned())));
    }
}
