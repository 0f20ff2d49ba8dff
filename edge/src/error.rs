//! Why an edge does not start.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;

use chappe_proto::turn::Transport;

/// Why files are no certificate to serve.
#[derive(Debug, thiserror::Error)]
pub enum CertificateError {
    /// Cannot be read, or is no PEM.
    #[error("{0}: {1}: give a certificate chain and its private key in PEM, readable by this user")]
    Unreadable(PathBuf, rustls::pki_types::pem::Error),
    /// Holds no certificate.
    #[error("{0} holds no certificate")]
    Empty(PathBuf),
    /// The key is not the certificate's, or of an unknown kind.
    #[error("{0} is not the private key of that certificate: {1}")]
    Mismatch(PathBuf, rustls::Error),
    /// DTLS takes no such key.
    #[error(
        "{0} is no ECDSA key on P-256 or P-384, and DTLS takes no other: get a certificate with such a key \
         (certbot: --key-type ecdsa)"
    )]
    NotEcdsa(PathBuf),
    /// A library refuses what it should not: a bug of ours.
    #[error("{0}")]
    Refused(String),
}

/// Why an edge does not start. Each says which address it is about and what to do.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// Nothing to listen to, or no address for relayed sockets.
    #[error("an edge needs at least one {0}")]
    Missing(&'static str),
    /// Clients cannot be challenged with the realm.
    #[error("{0}: give another one (--realm)")]
    Realm(#[from] chappe_proto::turn::BadRealm),
    /// A listener's address cannot be bound.
    #[error("cannot listen on {address} over {}: {}", transport.name(), cause(.source, address.port()))]
    Listener {
        /// Over what.
        transport: Transport,
        /// The address.
        address: SocketAddr,
        /// What the system said.
        source: io::Error,
    },
    /// Relayed sockets cannot be bound to an address.
    #[error(
        "cannot bind relayed sockets to {address}: {}. Give an address of this host to bind, and the public \
         one as the advertised address",
        cause(.source, 0)
    )]
    Relay {
        /// The address to bind.
        address: IpAddr,
        /// What the system said.
        source: io::Error,
    },
    /// A range of relayed ports is empty, or its two addresses are of different families.
    #[error("relayed address {bind} ({first} to {last}), advertised as {advertised}: {problem}")]
    Range {
        /// The address to bind.
        bind: IpAddr,
        /// The advertised address.
        advertised: IpAddr,
        /// The lowest port.
        first: u16,
        /// The highest port.
        last: u16,
        /// What is wrong with it.
        problem: &'static str,
    },
    /// A listener is told what does not go together.
    #[error("listener {address} over {}: {problem}", transport.name())]
    Contradiction {
        /// Over what.
        transport: Transport,
        /// The address to bind.
        address: SocketAddr,
        /// What does not.
        problem: &'static str,
    },
    /// A listener's certificate cannot be used.
    #[error("listener {address} over {}: {source}", transport.name())]
    Certificate {
        /// Over what.
        transport: Transport,
        /// The address to bind.
        address: SocketAddr,
        /// Why.
        source: CertificateError,
    },
    /// A listener of all addresses does not say by which one clients reach it.
    #[error(
        "listener {0} binds every address: give the one that clients reach it by as its advertised address"
    )]
    Unadvertised(SocketAddr),
    /// The uplink's certificate, key or roots cannot be used.
    #[error("uplink: {0}")]
    Tls(#[from] crate::uplink::TlsError),
    /// The system refuses what every edge needs: threads, polling, random numbers.
    #[error("cannot set up {what}: {source}")]
    System {
        /// What.
        what: &'static str,
        /// What the system said.
        source: io::Error,
    },
}

impl StartError {
    pub(crate) fn listener(transport: Transport, address: SocketAddr, source: io::Error) -> Self {
        Self::Listener { transport, address, source }
    }

    pub(crate) fn system(what: &'static str) -> impl FnOnce(io::Error) -> Self {
        move |source| Self::System { what, source }
    }
}

/// What the system said, in words that name the fix.
fn cause(error: &io::Error, port: u16) -> String {
    match error.kind() {
        io::ErrorKind::AddrInUse => format!(
            "port {port} is in use. Stop the other program (`ss -lnptu 'sport = :{port}'` names it) or choose \
             another port"
        ),
        io::ErrorKind::PermissionDenied => format!(
            "not permitted. Ports below 1024 need CAP_NET_BIND_SERVICE: choose a port above, or run \
             `setcap cap_net_bind_service+ep` on the program (port {port})"
        ),
        io::ErrorKind::AddrNotAvailable => {
            "no interface of this host has that address (`ip address` lists them)".to_owned()
        }
        _ => error.to_string(),
    }
}
