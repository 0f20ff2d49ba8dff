//! What an edge is told at its start.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;

use chappe_proto::id::{EdgeId, Region};
use chappe_proto::mesh::uplink::{Alternate, Listener, PeerPolicy, Secret, TurnUser};
use chappe_proto::turn::{self, Quotas, RelayAddress, Transport};
use ipnet::IpNet;
use rustls::server::ResolvesServerCert;

use crate::StartError;
use crate::uplink::Uplink;

/// What an edge is told at its start.
#[derive(Debug)]
pub struct Config {
    /// Its name: the one in its certificate.
    pub id: EdgeId,
    /// The build of the program around it, as `chappe --version` prints it.
    pub build: String,
    /// Where it stands.
    pub region: Region,
    /// Latitude and longitude in degrees, where known.
    pub coordinates: Option<(f64, f64)>,
    /// What clients reach it by; at least one.
    pub listeners: Vec<ListenAt>,
    /// Where relayed addresses come from; at least one.
    pub relays: Vec<RelayAddress>,
    /// The realm of the long-term credential mechanism (RFC 8489 section 9.2).
    pub realm: String,
    /// Answers the Binding requests of RFC 3489, which have no magic cookie; else they meet silence.
    pub classic: bool,
    /// How much anyone may have; `allocations` is also the capacity that nodes are told.
    pub quotas: Quotas,
    /// Where credentials and policy come from.
    pub source: Source,
}

/// A listener.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ListenAt {
    /// Over what.
    pub transport: Transport,
    /// The address to bind. Port 0 takes a free one.
    pub bind: SocketAddr,
    /// The address that clients reach it by, where it is another one. Port 0 stands for the bound port.
    pub advertised: Option<SocketAddr>,
    /// The realm that its clients are challenged with, where it is not the edge's.
    pub realm: Option<String>,
    /// A hostname to put into URLs instead of the address. For TLS it is also the name that the edge's own
    /// probe asks for, and checks the certificate against.
    pub hostname: Option<String>,
    /// The certificate: for TLS and DTLS required, for the others unused.
    pub certificate: Option<CertificateFiles>,
    /// Who gets the certificate, where an authority gives it by ACME: the files need not be there yet, and
    /// until they are, handshakes fail and nobody is handed the listener's URL.
    pub acme: Option<Acme>,
    /// For TLS: clients trust the certificate, whatever the edge's own probe says. Else a certificate that a
    /// browser with the Mozilla roots would refuse has the listener reported as failed, and then nobody is
    /// handed its URL (browsers would refuse it without a word).
    pub trusted: bool,
    /// For TCP and TLS: the load balancers. Where there are any, each connection begins with a header of the
    /// PROXY protocol, version 2, which is believed from these addresses alone; other addresses' connections
    /// are closed.
    pub proxy_from: Vec<IpNet>,
    /// For TLS: what HTTPS clients of the same port are connected to.
    pub web: Option<Web>,
}

/// Where a certificate is. Both files are looked at every two seconds and read again when they have changed,
/// without dropping anyone; where the new ones are no good, the old certificate stays and the log says why.
/// Listeners of the same files share one certificate; one file may hold both chain and key.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct CertificateFiles {
    /// The chain, leaf first, in PEM.
    pub chain: PathBuf,
    /// Its private key, in PEM. DTLS takes ECDSA keys alone (P-256 or P-384).
    pub key: PathBuf,
}

/// What gets a certificate by ACME (RFC 8555) and answers its authority's TLS-ALPN-01 challenges (RFC 8737): as
/// a [`ResolvesServerCert`] it is asked for the challenge's certificate by those who offer `acme-tls/1` alone.
pub trait AcmeClient: ResolvesServerCert {
    /// What is wrong, with the fix; nothing where all is well.
    fn trouble(&self) -> Option<String>;
}

/// An [`AcmeClient`] of one or more listeners.
#[derive(Debug, Clone)]
pub struct Acme(pub Arc<dyn AcmeClient>);

impl PartialEq for Acme {
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }
}

impl Eq for Acme {}

/// What the HTTPS clients of a TLS listener are connected to. Clients are told apart by the server name that
/// they ask for, else by ALPN, else by the first bytes that they send inside TLS.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Web {
    /// Where connections go, decrypted: a server of plain HTTP/1.1. A client counts as one of HTTP when it
    /// negotiates `http/1.1` by ALPN, or when what it sends first is no STUN message.
    pub plain: Option<Backend>,
    /// Where connections go as they are, still encrypted: a server of HTTPS.
    pub sealed: Option<Sealed>,
}

/// A server that connections are passed on to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Backend {
    /// Its address.
    pub address: SocketAddr,
    /// Whether each connection begins with a PROXY protocol header, version 2, that tells it the client's
    /// address.
    pub proxy_header: bool,
}

/// A server of HTTPS, and the names that it serves.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sealed {
    /// The server.
    pub backend: Backend,
    /// The server names (SNI) whose connections it gets; letter case does not matter.
    pub names: Vec<String>,
}

impl ListenAt {
    /// A listener that clients reach by the address that it binds.
    #[must_use]
    pub const fn new(transport: Transport, bind: SocketAddr) -> Self {
        Self {
            transport,
            bind,
            advertised: None,
            realm: None,
            hostname: None,
            certificate: None,
            acme: None,
            trusted: false,
            proxy_from: Vec::new(),
            web: None,
        }
    }

    /// What of it contradicts itself.
    fn contradiction(&self) -> Option<&'static str> {
        let Self { transport, certificate, proxy_from, web, hostname, .. } = self;
        let sealed = web.as_ref().and_then(|web| web.sealed.as_ref());
        let is_own =
            |name: &String| hostname.as_ref().is_some_and(|hostname| hostname.eq_ignore_ascii_case(name));
        if transport.is_secure() && certificate.is_none() {
            Some("it needs a certificate and its private key")
        } else if !transport.is_stream() && !proxy_from.is_empty() {
            Some("the PROXY protocol is for TCP and TLS")
        } else if *transport != Transport::Tls && web.is_some() {
            Some("only a port of TLS can be shared with HTTPS")
        } else if sealed.is_some_and(|sealed| sealed.names.is_empty()) {
            Some("no server name is passed on to the HTTPS server: name those that it serves")
        } else if sealed.is_some_and(|sealed| sealed.names.iter().any(is_own)) {
            Some(
                "its hostname is among the names that go to the HTTPS server, which then gets the TURN clients \
                 too: pass connections on decrypted, or give TURN a name of its own",
            )
        } else {
            None
        }
    }

    /// As clients reach it, once it is bound to `local`.
    pub(crate) fn reached(&self, local: SocketAddr) -> Listener {
        let mut address = self.advertised.unwrap_or(local);
        if address.port() == 0 {
            address.set_port(local.port());
        }
        Listener { transport: self.transport, address, hostname: self.hostname.clone() }
    }
}

/// Where credentials and policy come from.
#[derive(Debug)]
pub enum Source {
    /// A cluster's nodes, by its registry's feed.
    Uplink(Uplink),
    /// Whoever starts the edge, and [`Edge::set_credentials`](crate::Edge::set_credentials) later.
    Standalone(Credentials),
}

/// What is in force on an edge that runs alone.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Credentials {
    /// Shared secrets of TURN REST credentials; any of them authenticates.
    pub secrets: Vec<Secret>,
    /// Long-term users, of any realm.
    pub users: Vec<TurnUser>,
    /// Realms besides the edge's own, by the ORIGIN of the clients that are challenged with them.
    pub origins: BTreeMap<String, String>,
    /// Peers allowed and denied beyond the built-in list.
    pub peers: PeerPolicy,
    /// Where new clients are sent instead, at most one address of each family (RFC 8489 section 10); those that
    /// have an allocation stay.
    pub alternates: Vec<Alternate>,
}

impl Config {
    /// Servers that this edge itself reaches, and its clients never by it: nodes and web servers.
    pub(crate) fn behind(&self) -> impl Iterator<Item = SocketAddr> {
        let nodes = match &self.source {
            Source::Uplink(uplink) => uplink.nodes.as_slice(),
            Source::Standalone(_) => &[],
        };
        let web = self.listeners.iter().filter_map(|listener| listener.web.as_ref()).flat_map(|web| {
            let sealed = web.sealed.as_ref().map(|sealed| sealed.backend.address);
            [web.plain.map(|plain| plain.address), sealed].into_iter().flatten()
        });
        nodes.iter().map(|node| node.address).chain(web)
    }

    /// What can be told wrong without asking the system.
    pub(crate) fn check(&self) -> Result<(), StartError> {
        if self.listeners.is_empty() {
            return Err(StartError::Missing("listener"));
        }
        if self.relays.is_empty() {
            return Err(StartError::Missing("address for relayed sockets"));
        }
        for relay in &self.relays {
            let RelayAddress { bind, advertised, first, last } = *relay;
            let problem = if advertised.is_unspecified() {
                "clients cannot reach an unspecified address: say which they reach (--relay-ip, or --advertise)"
            } else if bind.is_ipv4() != advertised.is_ipv4() {
                "the two addresses are of different families"
            } else if first > last {
                "the range of ports is empty"
            } else {
                continue;
            };
            return Err(StartError::Range { bind, advertised, first, last, problem });
        }
        let mut realms = turn::Config::new(&self.realm, Vec::new());
        let realm = |listener: &ListenAt| Some((listener.bind, listener.realm.clone()?));
        realms.listener_realms = self.listeners.iter().filter_map(realm).collect();
        realms.check()?;
        for listener in &self.listeners {
            if let Some(problem) = listener.contradiction() {
                return Err(StartError::Contradiction {
                    transport: listener.transport,
                    address: listener.bind,
                    problem,
                });
            }
        }
        let told = |listener: &&ListenAt| {
            let reached = listener.advertised.unwrap_or(listener.bind);
            matches!(self.source, Source::Uplink(_)) && reached.ip().is_unspecified()
        };
        match self.listeners.iter().find(told) {
            Some(listener) => Err(StartError::Unadvertised(listener.bind)),
            None => Ok(()),
        }
    }
}
