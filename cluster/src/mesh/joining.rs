//! The side that joins: a new node or edge asks any node of the cluster to let it in.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;

use chappe_proto::id::{ClusterId, EdgeId, NodeId, Region};
use chappe_proto::limits;
use chappe_proto::mesh::join::{EdgeWish, Join, JoinRefusal, Joined, Token};
use chappe_proto::mesh::node::WIRE;
use chappe_proto::mesh::uplink::NodeAt;
use chappe_proto::registry::{NodeAddresses, VERSION};
use quinn::{Endpoint, VarInt};
use rcgen::PublicKeyData;
use rustls::pki_types::{CertificateDer, PrivatePkcs8KeyDer};

use super::frame::{self, FrameError, Frames};
use super::identity::{Identity, IdentityDir};
use super::pki::{self, Holder, PkiError};
use super::tls::{self, Credentials, TlsError};
use crate::clock;

/// Whoever cannot be let in now asks again after this.
const AGAIN: Duration = Duration::from_millis(500);

/// The TLS alert of a certificate outside its time (RFC 8446 section 6.2), as QUIC has it (RFC 9001 section 4.8).
const EXPIRED: u64 = 0x100 + 45;

/// Why a node or an edge has not joined.
#[derive(Debug, thiserror::Error)]
pub enum JoinError {
    /// The cluster refuses it; the reason says what to do.
    #[error(transparent)]
    Refused(#[from] JoinRefusal),
    /// No node of the token answers: each with why.
    #[error(
        "no node of the cluster answers: {0}. Is one of them up, and is its UDP port reachable from here?"
    )]
    Unreachable(String),
    /// By this machine's clock the cluster's certificates, or the one that it was given, are not valid.
    #[error("{0}. Is this machine's clock right? It says {now} (UTC, in seconds since 1970)", now = clock::unix().secs())]
    Clock(String),
    /// The identity cannot be kept.
    #[error(transparent)]
    Pki(#[from] PkiError),
    /// A socket cannot be opened.
    #[error("cannot open a UDP socket: {0}")]
    Socket(#[from] std::io::Error),
}

/// Why one attempt came to nothing.
#[derive(Debug, thiserror::Error)]
enum Miss {
    #[error("{0}")]
    Refused(JoinRefusal),
    #[error("no answer within {} s", limits::JOIN_REQUEST_WITHIN.as_secs())]
    TimedOut,
    #[error(transparent)]
    Connect(#[from] quinn::ConnectError),
    #[error(transparent)]
    Connection(#[from] quinn::ConnectionError),
    #[error(transparent)]
    Frame(#[from] FrameError),
    #[error(transparent)]
    Tls(#[from] TlsError),
    #[error("its answer is none: {0}")]
    Answer(PkiError),
}

impl Miss {
    /// Whether TLS has refused a certificate because of its time.
    fn is_of_time(&self) -> bool {
        matches!(
            self,
            Self::Connection(quinn::ConnectionError::TransportError(error)) if u64::from(error.code) == EXPIRED
        )
    }
}

/// Joins the cluster of a token as a node in `region` that is reached at `addresses`, and keeps the identity
/// in `dir`. Nodes are asked in turn, for `within`; the same directory may be used again with the same token
/// where an answer was lost.
///
/// # Errors
/// [`JoinError`], each with what to do about it.
pub async fn join_cluster(
    token: &Token,
    region: &Region,
    addresses: &NodeAddresses,
    dir: &IdentityDir,
    within: Duration,
) -> Result<Identity, JoinError> {
    let key = dir.joining_key()?;
    let request = Join {
        cluster: token.cluster,
        invitation: token.invitation,
        secret: token.secret.clone(),
        region: region.clone(),
        addresses: addresses.clone(),
        public_key: key.subject_public_key_info(),
        build: crate::BUILD.to_owned(),
        wire: WIRE,
        speaks: VERSION,
        edge: None,
    };
    let Welcome { holder, certificate, authorities, others } = ask_all(token, &request, within).await?;
    let (Holder::Node(node), Others::Peers(peers)) = (holder, others) else {
        return Err(PkiError::Stranger.into());
    };
    let key = PrivatePkcs8KeyDer::from(key.serialize_der()).into();
    let credentials = Credentials { certificate, key, authorities, crosses: Vec::new() };
    let identity = Identity { cluster: token.cluster, node, region: region.clone(), credentials, peers };
    dir.joined(&identity)?;
    Ok(identity)
}

/// An edge that has joined.
#[derive(Debug, Clone)]
pub struct JoinedEdge {
    /// Its cluster.
    pub cluster: ClusterId,
    /// Its name.
    pub edge: EdgeId,
    /// Its certificate.
    pub certificate: CertificateDer<'static>,
    /// The authorities by which it knows nodes.
    pub authorities: Vec<CertificateDer<'static>>,
    /// Where it finds them.
    pub nodes: Vec<NodeAt>,
    /// The realm of the long-term credential mechanism.
    pub realm: String,
}

/// Joins the cluster of a token as an edge in `region`, by its public key (SubjectPublicKeyInfo in DER). Nodes are
/// asked in turn, for `within`; the same key may ask again with the same token where an answer was lost.
///
/// # Errors
/// [`JoinError`], each with what to do about it.
pub async fn join_edge(
    token: &Token,
    region: &Region,
    wish: EdgeWish,
    public_key: Vec<u8>,
    within: Duration,
) -> Result<JoinedEdge, JoinError> {
    let request = Join {
        cluster: token.cluster,
        invitation: token.invitation,
        secret: token.secret.clone(),
        region: region.clone(),
        addresses: NodeAddresses::default(),
        public_key,
        build: crate::BUILD.to_owned(),
        wire: WIRE,
        speaks: VERSION,
        edge: Some(wish),
    };
    let Welcome { holder, certificate, authorities, others } = ask_all(token, &request, within).await?;
    let (Holder::Edge(edge), Others::Cluster { nodes, realm }) = (holder, others) else {
        return Err(PkiError::Stranger.into());
    };
    let (from, until) = pki::validity(&certificate)?;
    if !(from..until).contains(&clock::unix()) {
        let times = format!("the new certificate is valid from {} to {}", from.secs(), until.secs());
        return Err(JoinError::Clock(times));
    }
    Ok(JoinedEdge { cluster: token.cluster, edge, certificate, authorities, nodes, realm })
}

/// Asks the token's nodes in turn until one of them welcomes, or refuses for good.
async fn ask_all(token: &Token, request: &Join, within: Duration) -> Result<Welcome, JoinError> {
    let mut misses = Vec::new();
    let asking = async {
        loop {
            misses.clear();
            for address in &token.addresses {
                match ask(token, request, *address).await {
                    Ok(welcome) => return Ok(welcome),
                    // The last word of any node, but for what may pass.
                    Err(Miss::Refused(refusal))
                        if !matches!(refusal, JoinRefusal::TooMany { .. } | JoinRefusal::NotNow(_)) =>
                    {
                        return Err(JoinError::Refused(refusal));
                    }
                    Err(miss) if miss.is_of_time() => {
                        return Err(JoinError::Clock(format!("{address}: {miss}")));
                    }
                    Err(miss) => misses.push(format!("{address}: {miss}")),
                }
            }
            tokio::time::sleep(AGAIN).await;
        }
    };
    match tokio::time::timeout(within, asking).await {
        Ok(answered) => answered,
        Err(_) if misses.is_empty() => Err(JoinError::Unreachable("no answer in time".to_owned())),
        Err(_) => Err(JoinError::Unreachable(misses.join("; "))),
    }
}

/// What who joins is told.
struct Welcome {
    /// Who it is now.
    holder: Holder,
    certificate: CertificateDer<'static>,
    authorities: Vec<CertificateDer<'static>>,
    others: Others,
}

/// Whom else there is.
enum Others {
    /// As a node is told.
    Peers(Vec<(NodeId, Vec<SocketAddr>)>),
    /// As an edge is.
    Cluster { nodes: Vec<NodeAt>, realm: String },
}

async fn ask(token: &Token, request: &Join, address: SocketAddr) -> Result<Welcome, Miss> {
    let any: IpAddr =
        if address.is_ipv4() { Ipv4Addr::UNSPECIFIED.into() } else { Ipv6Addr::UNSPECIFIED.into() };
    let endpoint = Endpoint::client((any, 0).into()).map_err(|_| quinn::ConnectError::EndpointStopping)?;
    let config = tls::joiner(token)?;
    let name = pki::server_name(&token.cluster, None).map_err(TlsError::Pki)?;
    let talk = async {
        let connection = endpoint.connect_with(config, address, &name.to_str())?.await?;
        let (mut send, recv) = connection.open_bi().await?;
        frame::write(&mut send, request).await?;
        let answer = Frames::new(recv).read::<Joined>().await?.ok_or(FrameError::Cut)?;
        connection.close(VarInt::from_u32(0), b"");
        Ok::<_, Miss>(answer)
    };
    let answer = tokio::time::timeout(limits::JOIN_REQUEST_WITHIN, talk).await.map_err(|_| Miss::TimedOut)?;
    endpoint.wait_idle().await;
    let (holder, certificate, authorities, others) = match answer? {
        Joined::Refused(refusal) => return Err(Miss::Refused(refusal)),
        Joined::Welcome { node, certificate, authorities, peers } => {
            (Holder::Node(node), certificate, authorities, Others::Peers(peers))
        }
        Joined::Edge { edge, certificate, authorities, nodes, realm } => {
            (Holder::Edge(edge), certificate, authorities, Others::Cluster { nodes, realm })
        }
    };
    let certificate = CertificateDer::from(certificate);
    if pki::holder(&certificate, &token.cluster).map_err(Miss::Answer)? != holder || authorities.is_empty() {
        return Err(Miss::Answer(PkiError::Stranger));
    }
    let authorities = authorities.into_iter().map(CertificateDer::from).collect();
    Ok(Welcome { holder, certificate, authorities, others })
}
