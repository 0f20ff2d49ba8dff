//! How a new node or edge comes into a cluster: it connects to any node without a certificate, having found that the
//! other side's is of the authority that its token names, and opens one bidirectional stream. It writes one
//! [`Join`]; the answer is one [`Joined`].

use std::fmt;
use std::net::SocketAddr;
use std::str::FromStr;

use data_encoding::BASE64URL_NOPAD;
use serde::{Deserialize, Serialize};

use crate::id::{ClusterId, EdgeId, InvitationId, NodeId, Region};
use crate::limits::JOIN_TOKEN_MAX;
use crate::mesh::uplink::{NodeAt, Secret};
use crate::registry::NodeAddresses;
use crate::wire;

/// The ALPN protocol of a join.
pub const ALPN: &[u8] = b"chappe-join/1";

/// What a join token begins with.
pub const PREFIX: &str = "chappe-join-";

/// A join token: all that a new node or edge needs to know, and the one secret that lets it in, once. Its text is
/// [`PREFIX`] and base64url.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Token {
    /// Where the cluster's nodes are reached.
    #[serde(rename = "a", with = "wire::texts")]
    pub addresses: Vec<SocketAddr>,
    /// Its id.
    #[serde(rename = "c")]
    pub cluster: ClusterId,
    /// SHA-256 of its authority's certificate: the joiner tells its secret to nobody else.
    #[serde(rename = "f", with = "serde_bytes")]
    pub authority: Vec<u8>,
    /// Which invitation.
    #[serde(rename = "i")]
    pub invitation: InvitationId,
    /// The invitation's secret.
    #[serde(rename = "s")]
    pub secret: Secret,
}

/// Why a text is no join token.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum BadToken {
    /// It is something else.
    #[error("a join token begins with `{PREFIX}`: copy all of what `chappe cluster invite` printed")]
    NoToken,
    /// A part of it is missing or changed.
    #[error("the join token is damaged: copy all of what `chappe cluster invite` printed")]
    Damaged,
}

impl fmt::Display for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let bytes = wire::encode(self).map_err(|_| fmt::Error)?;
        write!(f, "{PREFIX}{}", BASE64URL_NOPAD.encode(&bytes))
    }
}

impl FromStr for Token {
    type Err = BadToken;

    fn from_str(text: &str) -> Result<Self, BadToken> {
        let text = text.trim().strip_prefix(PREFIX).ok_or(BadToken::NoToken)?;
        let bytes = BASE64URL_NOPAD.decode(text.as_bytes()).map_err(|_| BadToken::Damaged)?;
        let token: Self = wire::decode(&bytes, JOIN_TOKEN_MAX).map_err(|_| BadToken::Damaged)?;
        if token.addresses.is_empty() || token.authority.len() != 32 {
            Err(BadToken::Damaged)
        } else {
            Ok(token)
        }
    }
}

/// What a new node or edge says.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Join {
    /// The cluster that it was invited to.
    pub cluster: ClusterId,
    /// Which invitation.
    pub invitation: InvitationId,
    /// The invitation's secret.
    pub secret: Secret,
    /// Where it stands.
    pub region: Region,
    /// Where it is reached; an edge says so later, over its uplink.
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
    /// That it is an edge, and which it would be.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub edge: Option<EdgeWish>,
}

/// What an edge that joins says of itself.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct EdgeWish {
    /// The name that its operator has given it; without one the invitation's, else [`Self::host`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<EdgeId>,
    /// Its machine's name, where that may name an edge.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub host: Option<EdgeId>,
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
        #[serde(with = "serde_bytes")]
        certificate: Vec<u8>,
        /// The authorities that it is to trust, DER.
        authorities: Vec<Vec<u8>>,
        /// The other nodes and where they are reached.
        peers: Vec<(NodeId, Vec<SocketAddr>)>,
    },
    /// It is an edge of the cluster from now on.
    Edge {
        /// Its name.
        edge: EdgeId,
        /// Its certificate, DER.
        #[serde(with = "serde_bytes")]
        certificate: Vec<u8>,
        /// The authorities that it is to trust, DER.
        authorities: Vec<Vec<u8>>,
        /// Where it finds the nodes.
        nodes: Vec<NodeAt>,
        /// The realm of the long-term credential mechanism.
        realm: String,
    },
    /// It is not.
    Refused(JoinRefusal),
}

/// Why a node or an edge is not let in; each says what to do about it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum JoinRefusal {
    /// There is no such invitation, or its secret is another: they are not told apart.
    #[error("the token is not valid here: ask for a new one (`chappe cluster invite`)")]
    Invalid,
    /// Another node has joined by it.
    #[error(
        "node {node} joined with this token, and each is good for one node: ask for a new one \
         (`chappe cluster invite`)"
    )]
    Used {
        /// Which.
        node: NodeId,
    },
    /// An edge has joined by it.
    #[error(
        "the edge {edge} joined with this token, and each is good for one edge: ask for a new one \
         (`chappe cluster invite --edge`)"
    )]
    UsedByEdge {
        /// Which.
        edge: EdgeId,
    },
    /// The invitation is for a node, and an edge asks.
    #[error(
        "the token is for a node (`chappe node`): an edge joins with one of `chappe cluster invite --edge`"
    )]
    ForNode,
    /// The invitation is for an edge, and a node asks.
    #[error("the token is for an edge (`chappe edge`): a node joins with one of `chappe cluster invite`")]
    ForEdge,
    /// The invitation is for another edge.
    #[error("the token is for the edge {edge}: leave `--name` out, or ask for a new token")]
    OtherEdge {
        /// Which.
        edge: EdgeId,
    },
    /// Nobody has said the edge's name.
    #[error("this machine's name cannot name an edge: give one by `--name NAME`")]
    Nameless,
    /// There is an edge of that name.
    #[error(
        "there is an edge {edge} already: give another name by `--name NAME`, or, to put this one in its place, \
         ask for a token of its name (`chappe cluster invite --edge {edge}`)"
    )]
    NameTaken {
        /// Which.
        edge: EdgeId,
    },
    /// Operators have removed the edge of that name.
    #[error(
        "the edge {edge} was removed: give another name by `--name NAME`, or free this one by \
         `chappe cluster edge forget {edge}`"
    )]
    EdgeRemoved {
        /// Which.
        edge: EdgeId,
    },
    /// The invitation has expired.
    #[error("the token has expired: ask for a new one (`chappe cluster invite`)")]
    Expired,
    /// The invitation is for another region.
    #[error("the token is for region {invited}: start with `--region {invited}`, or ask for a new token")]
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
    /// The registry cannot take it now; the token is still good.
    #[error("the cluster cannot take anybody now ({0}): try again; the token is still good")]
    NotNow(String),
    /// What it says of itself is refused.
    #[error("{0}")]
    Refused(String),
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_reads_back_and_nothing_else_does() {
        let token = Token {
            addresses: vec!["192.0.2.1:7000".parse().unwrap(), "[2001:db8::1]:7000".parse().unwrap()],
            cluster: ClusterId::from_random([1; 15]),
            authority: vec![2; 32],
            invitation: InvitationId::from_random([3; 15]),
            secret: Secret(vec![4; 32]),
        };
        let text = token.to_string();
        assert!(text.len() < 400, "{}", text.len());
        assert_eq!(format!(" {text}\n").parse(), Ok(token.clone()));
        assert_eq!("s_1".parse::<Token>(), Err(BadToken::NoToken));
        for cut in PREFIX.len()..text.len() {
            assert_eq!(text[..cut].parse::<Token>(), Err(BadToken::Damaged), "{cut}");
        }
        assert!(!format!("{token:?}").contains("4, 4"), "its secret is printed nowhere else");
    }
}
