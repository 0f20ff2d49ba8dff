//! What `chappe edge --standalone` listens to.

use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;

use anyhow::{Result, bail};
use chappe_edge::{Backend, CertificateFiles, ListenAt, Sealed, Web};
use chappe_proto::turn::Transport;
use ipnet::IpNet;

/// What it listens to.
#[derive(Debug, clap::Args)]
pub(crate) struct Listeners {
    /// Where to listen, over UDP and TCP; may be given several times.
    #[arg(long, value_name = "IP:PORT", default_value = "127.0.0.1:3478")]
    pub(super) listen: Vec<SocketAddr>,
    /// Where to listen over TLS (`turns:`), as 0.0.0.0:443; may be given several times.
    #[arg(long, value_name = "IP:PORT", requires = "certificate")]
    tls_listen: Vec<SocketAddr>,
    /// Where to listen over DTLS 1.2; may be given several times.
    #[arg(long, value_name = "IP:PORT", requires = "certificate")]
    dtls_listen: Vec<SocketAddr>,
    /// The certificate chain for TLS and DTLS, in PEM, read again when it changes. DTLS takes ECDSA keys alone.
    #[arg(long, value_name = "FILE", requires = "key")]
    certificate: Option<PathBuf>,
    /// The certificate's private key, in PEM.
    #[arg(long, value_name = "FILE", requires = "certificate")]
    key: Option<PathBuf>,
    /// The hostname in URLs; the certificate must be for it.
    #[arg(long, value_name = "NAME")]
    hostname: Option<String>,
    /// Clients trust the certificate, though the web's authorities have not signed it.
    #[arg(long)]
    trust_certificate: bool,
    /// Load balancers in front of the TCP and TLS listeners: every connection begins with a PROXY protocol
    /// header, version 2, and is believed from these addresses alone. May be given several times.
    #[arg(long, value_name = "CIDR")]
    proxy_protocol_from: Vec<IpNet>,
    /// A server of plain HTTP/1.1 that shares the TLS ports: what is no STUN inside TLS goes there.
    #[arg(long, value_name = "IP:PORT", requires = "tls_listen")]
    web_backend: Option<SocketAddr>,
    /// A server of HTTPS that shares the TLS ports: connections that ask for a --web-host go there, still
    /// encrypted.
    #[arg(long, value_name = "IP:PORT", requires = "tls_listen", requires = "web_host")]
    web_backend_tls: Option<SocketAddr>,
    /// A server name (SNI) of --web-backend-tls; may be given several times.
    #[arg(long, value_name = "NAME", requires = "web_backend_tls")]
    web_host: Vec<String>,
    /// Web servers are told the client's address by a PROXY protocol header, version 2.
    #[arg(long)]
    web_proxy_protocol: bool,
}

impl Listeners {
    /// The listeners, each reached by the address that `advertised` has for the one it binds.
    pub(super) fn all(&self, advertised: impl Fn(IpAddr) -> Option<IpAddr>) -> Result<Vec<ListenAt>> {
        if self.certificate.is_some() && self.tls_listen.is_empty() && self.dtls_listen.is_empty() {
            bail!("a certificate is for --tls-listen or --dtls-listen: give one of them too");
        }
        let plain = [(Transport::Udp, &self.listen), (Transport::Tcp, &self.listen)];
        let secure = [(Transport::Tls, &self.tls_listen), (Transport::Dtls, &self.dtls_listen)];
        let all = plain.into_iter().chain(secure);
        Ok(all
            .flat_map(|(transport, binds)| binds.iter().map(move |bind| (transport, *bind)))
            .map(|(transport, bind)| self.listener(transport, bind, advertised(bind.ip())))
            .collect())
    }

    fn listener(&self, transport: Transport, bind: SocketAddr, reached: Option<IpAddr>) -> ListenAt {
        let files = self.certificate.clone().zip(self.key.clone());
        ListenAt {
            advertised: reached.map(|ip| SocketAddr::new(ip, bind.port())),
            hostname: self.hostname.clone(),
            certificate: files
                .filter(|_| transport.is_secure())
                .map(|(chain, key)| CertificateFiles { chain, key }),
            trusted: self.trust_certificate,
            proxy_from: if transport.is_stream() { self.proxy_protocol_from.clone() } else { Vec::new() },
            web: if transport == Transport::Tls { self.web() } else { None },
            ..ListenAt::new(transport, bind)
        }
    }

    fn web(&self) -> Option<Web> {
        let backend = |address| Backend { address, proxy_header: self.web_proxy_protocol };
        let plain = self.web_backend.map(backend);
        let sealed = self
            .web_backend_tls
            .map(|address| Sealed { backend: backend(address), names: self.web_host.clone() });
        (plain.is_some() || sealed.is_some()).then_some(Web { plain, sealed })
    }
}
