//! How a new node comes into a cluster: it connects to any node without a certificate, having found that the
//! other side's is of the authority that its token names, and opens one bidirectional stream. It writes one
//! [`Join`]; the answer is one [`Joined`].

use std::net::SocketAddr;

use serde::{Deserialize, Serialize};

use crate::id::{ClusterId, InvitationId, NodeId, Region};
use crate::mesh::uplink::Secret;
use crate::registry::NodeAddresses;

/// The ALPN protocol of a join.
pub const ALPN: &[u8] = b"chappe-join/1";

/// What a new node says.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Join {
    /// The cluster that it was invited to.
    pub cluster: ClusterId,
    /// Which invitation.
    pub invitation: InvitationId,
    /// The invitation's secret.
    pub secret: Secret,
    /// Where the node stands.
    pub region: Region,
    /// Where it is reached.
    pub addresses: NodeAddresses,
    /// Its public key, SubjectPublicKeyInfo in DER: the private half stays with it.
    #[serde(with = "serde_bytes")]
    pub public_key: Vec<u8>,
    /// Its build, as `chappe --version` prints it.
    pub build: String,
    /// The newest form of frames between nodes that it understands: [`super::node::WIRE`].
    pub wire: u32,
    /// The newest cluster version that it understands: [`crate::registry::VERSION`].
    pub speaks: u32,
}

/// What it is answered.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Joined {
    /// It is a node of the cluster from now on.
    Welcome {
        /// Its id.
        node: NodeId,
        /// Its certificate, DER.
        certificate: Vec<u8>,
        /// The authorities that it is to trust, DER.
        authorities: Vec<Vec<u8>>,
        /// The other nodes and where they are reached.
        peers: Vec<(NodeId, Vec<SocketAddr>)>,
    },
    /// It is not.
    Refused(JoinRefusal),
}

/// Why a node is not let in; each says what to do about it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum JoinRefusal {
    /// There is no such invitation, its secret is another, or it has been used: they are not told apart.
    #[error(
        "the token is not valid, or was used before: each is good for one node. Ask for a new one \
         (`chappe cluster invite`)"
    )]
    Invalid,
    /// The invitation has expired.
    #[error("the token has expired: ask for a new one (`chappe cluster invite`)")]
    Expired,
    /// The invitation is for a node in another region.
    #[error(
        "the token is for a node in region {invited}: start with `--region {invited}`, or ask for a new token"
    )]
    OtherRegion {
        /// Which.
        invited: Region,
    },
    /// It came to a node of another cluster.
    #[error("the token is of another cluster than the one at that address, {cluster}")]
    OtherCluster {
        /// The cluster there.
        cluster: ClusterId,
    },
    /// Its release cannot work with this cluster's.
    #[error("this release of Chappe is too old for the cluster, which runs {build}: install that one")]
    TooOld {
        /// The build of the node that was asked.
        build: String,
    },
    /// Too many attempts from its address.
    #[error("too many attempts: try again in {after_ms} ms")]
    TooMany {
        /// When it may try again, in milliseconds.
        after_ms: u64,
    },
    /// The registry cannot take the node now; the token is still good.
    #[error("the cluster cannot take a node now ({0}): try again; the token is still good")]
    NotNow(String),
    /// What it says of itself is refused.
    #[error("{0}")]
    Refused(String),
}
