//! A TCP socket that clients connect to, and what its connections are to bring before the first message.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use chappe_proto::turn::Transport;
use ipnet::IpNet;
use mio::{Interest, Registry, Token};
use rustls::ServerConfig;

use super::certificate::Certificates;
use super::open;
use crate::StartError;
use crate::config::{Backend, ListenAt, Sealed, Web};
use crate::error::CertificateError;

/// A TCP socket that clients connect to, for TCP or for TLS.
pub(crate) struct TcpListener {
    pub(super) socket: mio::net::TcpListener,
    local: SocketAddr,
    pub(super) transport: Transport,
    pub(super) tls: Option<Arc<ServerConfig>>,
    /// Whose PROXY headers are believed; each connection needs one where this is not empty.
    proxy_from: Vec<IpNet>,
    web: Web,
}

impl TcpListener {
    pub(crate) fn bind(listen: &ListenAt, certificates: &mut Certificates) -> Result<Self, StartError> {
        let transport = listen.transport;
        let mut web = listen.web.clone().unwrap_or_default();
        for name in web.sealed.iter_mut().flat_map(|sealed| &mut sealed.names) {
            name.make_ascii_lowercase();
        }
        let refused = |source| StartError::Certificate { transport, address: listen.bind, source };
        let tls = match &listen.certificate {
            Some(files) if transport == Transport::Tls => {
                let certificate = certificates.get(files, false, listen.acme.as_ref());
                let server = certificate.and_then(|it| it.server());
                Some(server.map_err(refused)?)
            }
            None if transport == Transport::Tls => {
                return Err(refused(CertificateError::Refused("no certificate".to_owned())));
            }
            _ => None,
        };
        let (fd, local) = open(transport, listen.bind)?;
        let socket = mio::net::TcpListener::from_std(fd.into());
        Ok(Self { socket, local, transport, tls, proxy_from: listen.proxy_from.clone(), web })
    }

    pub(crate) fn register(&mut self, registry: &Registry, token: Token) -> io::Result<()> {
        registry.register(&mut self.socket, token, Interest::READABLE)
    }

    /// The address that it is bound to.
    pub(crate) fn local(&self) -> SocketAddr {
        self.local
    }

    /// Whether connections begin with a PROXY header.
    pub(super) fn expects_header(&self) -> bool {
        !self.proxy_from.is_empty()
    }

    /// Whether what `ip` says in a PROXY header is believed.
    pub(super) fn believes(&self, ip: IpAddr) -> bool {
        self.proxy_from.iter().any(|net| net.contains(&ip.to_canonical()))
    }

    /// Whether HTTP may come, which it does through TLS alone.
    pub(crate) fn takes_http(&self) -> bool {
        self.tls.is_some()
    }

    /// Where HTTP goes that comes through TLS, but for what the edge answers itself.
    pub(crate) fn plain_web(&self) -> Option<Backend> {
        self.web.plain
    }

    /// Where TLS goes that asks for certain names.
    pub(super) fn sealed_web(&self) -> Option<&Sealed> {
        self.web.sealed.as_ref()
    }
}
