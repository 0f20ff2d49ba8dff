//! What the mesh asks of the node.

use std::future::Future;
use std::net::SocketAddr;
use std::pin::Pin;

use chappe_proto::id::{Index, NodeId};
use chappe_proto::mesh::node::{Answer, Ask, Body, Failure};
use chappe_proto::registry::{Command, Outcome};
use raft::eraftpb::Message;

use super::feed::FeedWriter;
use super::hello::Refusal;

/// What is answered later.
pub type Answering<T> = Pin<Box<dyn Future<Output = T> + Send>>;

/// What the mesh asks of the node. The methods that return no future are called on the reading task of a
/// link: they hand over and return.
pub trait Handler: Send + Sync + 'static {
    /// A frame has come: anything but requests and answers, which the mesh sorts itself, and `Reaches`.
    /// Frames of one lane come in the order in which they were sent.
    fn handle(&self, from: NodeId, body: Body);

    /// A message of Raft has come, snapshots included.
    fn raft(&self, from: NodeId, message: Message);

    /// A snapshot that [`super::RaftLane`] took has reached that member, or has not.
    fn snapshot_sent(&self, to: NodeId, arrived: bool);

    /// A question has come: anything but `Certify` and `Certified`, which the mesh answers itself.
    fn answer(&self, from: NodeId, ask: Ask) -> Answering<Answer>;

    /// A node follows the registry's feed from here; the feed ends with the future.
    fn follow(&self, from: NodeId, after: Index, feed: FeedWriter) -> Answering<()>;

    /// A command is to be committed, by whoever leads: what it came to, a refusal included.
    fn propose(&self, command: Command) -> Answering<Result<Outcome, Failure>>;

    /// Something was refused, once for each time that it begins: the console shows it. It is logged already.
    fn incident(&self, incident: Incident);
}

/// Something that an operator should know.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Incident {
    /// The other side's address.
    pub address: SocketAddr,
    /// The node that its certificate names.
    pub node: Option<NodeId>,
    /// What it was.
    pub refusal: Refusal,
    /// Whether this node refused it; otherwise the other side refused this node.
    pub ours: bool,
}
