//! The side that joins: a new node asks any node of the cluster to let it in.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;

use chappe_proto::id::{NodeId, Region};
use chappe_proto::limits;
use chappe_proto::mesh::join::{Join, JoinRefusal, Joined, Token};
use chappe_proto::mesh::node::WIRE;
use chappe_proto::registry::{NodeAddresses, VERSION};
use quinn::{Endpoint, VarInt};
use rcgen::PublicKeyData;
use rustls::pki_types::{CertificateDer, PrivatePkcs8KeyDer};

use super::frame::{self, FrameError, Frames};
use super::identity::{Identity, IdentityDir};
use super::pki::{self, Holder, PkiError};
use super::tls::{self, Credentials, TlsError};

/// A node that cannot be let in now asks again after this.
const AGAIN: Duration = Duration::from_millis(500);

/// Why a node has not joined.
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
    };
    let mut misses = Vec::new();
    let asking = async {
        loop {
            misses.clear();
            for address in &token.addresses {
                match ask(token, &request, *address).await {
                    Ok(welcome) => return Ok(welcome),
                    // The last word of any node, but for what may pass.
                    Err(Miss::Refused(
                        refusal @ (JoinRefusal::Invalid
                        | JoinRefusal::Used { .. }
                        | JoinRefusal::Expired
                        | JoinRefusal::OtherRegion { .. }
                        | JoinRefusal::OtherCluster { .. }
                        | JoinRefusal::TooOld { .. }
                        | JoinRefusal::Refused(_)),
                    )) => return Err(refusal),
                    Err(miss) => misses.push(format!("{address}: {miss}")),
                }
            }
            tokio::time::sleep(AGAIN).await;
        }
    };
    let welcome = match tokio::time::timeout(within, asking).await {
        Ok(answered) => answered?,
        Err(_) if misses.is_empty() => return Err(JoinError::Unreachable("no answer in time".to_owned())),
        Err(_) => return Err(JoinError::Unreachable(misses.join("; "))),
    };
    let key = PrivatePkcs8KeyDer::from(key.serialize_der()).into();
    let Welcome { node, certificate, authorities, peers } = welcome;
    let credentials = Credentials { certificate, key, authorities, crosses: Vec::new() };
    let identity = Identity { cluster: token.cluster, node, region: region.clone(), credentials, peers };
    dir.joined(&identity)?;
    Ok(identity)
}

/// What a node that joins is told.
struct Welcome {
    node: NodeId,
    certificate: CertificateDer<'static>,
    authorities: Vec<CertificateDer<'static>>,
    peers: Vec<(NodeId, Vec<SocketAddr>)>,
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
    match answer? {
        Joined::Refused(refusal) => Err(Miss::Refused(refusal)),
        Joined::Welcome { node, certificate, authorities, peers } => {
            let certificate = CertificateDer::from(certificate);
            let holder = pki::holder(&certificate, &token.cluster).map_err(Miss::Answer)?;
            if holder != Holder::Node(node) || authorities.is_empty() {
                return Err(Miss::Answer(PkiError::Stranger));
            }
            let authorities = authorities.into_iter().map(CertificateDer::from).collect();
            Ok(Welcome { node, certificate, authorities, peers })
        }
    }
}
