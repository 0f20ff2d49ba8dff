//! How a node is started, and why it is not.

use std::io;
use std::net::{SocketAddr, TcpListener, UdpSocket};
use std::path::PathBuf;
use std::sync::Arc;

use chappe_proto::id::{NodeId, Region};
use chappe_proto::mesh::join::Token;
use chappe_proto::mesh::node::Loss;
use chappe_proto::mesh::uplink::{PeerPolicy, Secret};
use chappe_proto::settings::Setting;
use ipnet::IpNet;

use super::FOUND_WITHIN;
use crate::consensus::{BootstrapError, FirstApp, OpenError};
use crate::geoip::GeoIp;
use crate::http;
use crate::life::LifeError;
use crate::logs::Logs;
use crate::mesh::JoinError;
use crate::mesh::pki::PkiError;
use crate::proposals::Unavailable;

/// How a node is started.
pub struct Config {
    /// Where its registry and its identity live.
    pub dir: PathBuf,
    /// How it comes into its cluster, where it has not done so before.
    pub begin: Begin,
    /// Where it stands.
    pub region: Region,
    /// Which peers relays may reach beyond the built-in rules, where this start is to say so.
    pub peers: Option<PeerPolicy>,
    /// Goes on although the disk has lost something.
    pub accept_loss: bool,
    /// Bound sockets for plain HTTP.
    pub http: Vec<TcpListener>,
    /// HTTPS, where the node speaks TLS itself.
    pub https: Option<http::Secure>,
    /// HTTPS that an edge decrypts, where it shares its port.
    pub behind: Option<http::Behind>,
    /// Where clients find this node, as `https://a.example.net`, where that is not what it listens on.
    pub public: Vec<String>,
    /// Reverse proxies whose `X-Forwarded-For` is believed.
    pub trusted_proxies: Vec<IpNet>,
    /// Where addresses are, by the operator's database.
    pub geoip: GeoIp,
    /// Special-purpose addresses, and the cluster's own, that webhooks' requests may go to.
    pub hooks_allow: Vec<IpNet>,
    /// HTTP worker threads.
    pub workers: usize,
    /// A bound socket that other nodes and edges connect to.
    pub mesh: UdpSocket,
    /// Where they find it, where that is not what it is bound to.
    pub advertise: Vec<SocketAddr>,
    /// Serving phones on the LAN.
    pub lan: Option<http::Lan>,
    /// What the admin API asks for.
    pub admin_token: Secret,
    /// The options by which all of this is so, as operators are told of them.
    pub settings: Vec<Setting>,
    /// What the process has logged.
    pub logs: Arc<Logs>,
}

/// How a node comes into a cluster. One that is in one already goes on there, whatever this says.
pub enum Begin {
    /// A new cluster begins with it.
    Found(Box<Found>),
    /// It was invited.
    Join(Box<Token>),
    /// It is in one already.
    Again,
}

/// What a new cluster begins with.
#[derive(Debug, Clone)]
pub struct Found {
    /// What operators call it.
    pub name: String,
    /// The realm of the long-term credential mechanism.
    pub realm: String,
    /// An app to begin with, with one API key.
    pub app: Option<FirstApp>,
}

/// Why a node does not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// It is in no cluster, and was not told how to come into one.
    #[error("{dir} holds no node of a cluster: found one (`--found NAME`), or join one (`--join TOKEN`)")]
    Nobody {
        /// The directory.
        dir: PathBuf,
    },
    /// It is not let in.
    #[error(transparent)]
    Join(#[from] JoinError),
    /// Its registry cannot be opened.
    #[error(transparent)]
    Open(#[from] OpenError),
    /// What this member promised is not there any more.
    #[error(
        "{dir} is gone, and with it what node {node} promised the others: it may not vote any more. Restore \
         it from this node's own disk, or remove node {node} from the cluster (`chappe cluster remove {node}`), \
         empty its data directory and let it join again as a new one"
    )]
    RegistryGone {
        /// The registry's directory.
        dir: PathBuf,
        /// This node.
        node: NodeId,
    },
    /// The registry does not begin.
    #[error("the registry does not begin: {0}")]
    Bootstrap(#[from] BootstrapError),
    /// The cluster cannot take its changes.
    #[error("the registry takes no proposals: {0}")]
    Propose(#[from] Unavailable),
    /// The cluster does not take it.
    #[error(transparent)]
    Life(#[from] LifeError),
    /// No leader in time.
    #[error("the registry has no leader after {} s", FOUND_WITHIN.as_secs())]
    NoLeader,
    /// A certificate cannot be made.
    #[error(transparent)]
    Pki(#[from] PkiError),
    /// TLS of this node's own requests cannot be made.
    #[error(transparent)]
    Tls(#[from] rustls::Error),
    /// A thread cannot be started, or a listener not used.
    #[error(transparent)]
    Io(#[from] io::Error),
}

impl StartError {
    /// What this node's disk has lost, where that is why: the others are to know.
    pub(super) const fn loss(&self) -> Option<Loss> {
        match self {
            Self::Open(OpenError::Regressed { found, pledged, .. }) => {
                Some(Loss { found: Some(*found), pledged: Some(*pledged) })
            }
            Self::Open(OpenError::NoPledge { .. }) | Self::RegistryGone { .. } => {
                Some(Loss { found: None, pledged: None })
            }
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_others_are_told_of_a_disk_that_forgot_and_of_nothing_else() {
        let dir = || PathBuf::from("registry");
        let (found, pledged, node) = (3, 5, NodeId(1));
        let regressed = OpenError::Regressed { dir: dir(), found, pledged, alone: false };
        let loss = |error: StartError| error.loss();
        assert_eq!(loss(regressed.into()), Some(Loss { found: Some(3), pledged: Some(5) }));
        assert_eq!(loss(OpenError::NoPledge { dir: dir(), alone: false }.into()), Some(Loss::default()));
        assert_eq!(loss(StartError::RegistryGone { dir: dir(), node }), Some(Loss::default()));
        assert_eq!(loss(OpenError::InUse { dir: dir() }.into()), None);
        assert_eq!(loss(StartError::NoLeader), None);
    }
}
