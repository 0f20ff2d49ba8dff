//! QUIC between processes: mutual TLS by the cluster's own CA.
//!
//! One socket serves links between nodes, edges' uplinks and joins, told apart by ALPN. [`Mesh`] is the
//! handle that the rest of the node uses; [`Handler`] is what it asks of the node.

mod carry;
mod dial;
mod endpoint;
mod feed;
pub mod frame;
mod handle;
mod handler;
mod hello;
pub mod identity;
mod incidents;
pub mod join;
mod joining;
mod lanes;
mod link;
mod links;
mod loss;
pub mod pki;
mod raft;
mod renew;
mod requests;
mod retire;
mod tls;
pub mod uplink;

pub use feed::{FeedError, FeedReader, FeedWriter};
pub use handle::{Config, Mesh, Unsent};
pub use handler::{Answering, Handler, Incident};
pub use hello::Refusal;
pub use joining::{JoinError, JoinedEdge, join_cluster, join_edge};
pub use links::Links;
pub use raft::RaftLane;
pub use requests::RequestError;
pub use tls::Credentials;
