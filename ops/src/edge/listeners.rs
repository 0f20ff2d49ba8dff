//! What `chappe edge` listens to.

use std::net::{IpAddr, SocketAddr};
use std::path::{Path, PathBuf};

use anyhow::{Result, bail};
use chappe_edge::{Acme, Backend, CertificateFiles, ListenAt, Sealed, Web};
use chappe_proto::turn::Transport;
use ipnet::IpNet;

use crate::acme;

/// What it listens to.
#[derive(Debug, clap::Args)]
pub(crate) struct Listeners {
    /// Where to listen, over UDP and TCP; may be given several times.
    #[arg(long, value_name = "IP:PORT", default_value = "127.0.0.1:3478")]
    pub(super) listen: Vec<SocketAddr>,
    /// Where to listen over TLS (`turns:`), as 0.0.0.0:443; may be given several times.
    #[arg(long, value_name = "IP:PORT", requires = "certified")]
    tls_listen: Vec<SocketAddr>,
    /// Where to listen over DTLS 1.2; may be given several times.
    #[arg(long, value_name = "IP:PORT", requires = "certified")]
    dtls_listen: Vec<SocketAddr>,
    /// The certificate chain for TLS and DTLS, in PEM, read again when it changes. DTLS takes ECDSA keys alone.
    #[arg(long, value_name = "FILE", requires = "key", group = "certified")]
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
    #[command(flatten)]
    acme: acme::Options,
    /// Where the account, the keys and the certificate of --acme-hostname are kept; `acme` in the --identity
    /// directory where it is left out.
    #[arg(
        long,
        value_name = "DIRECTORY",
        env = "CHAPPE_ACME_DATA",
        requires = "acme_hostname",
        help_heading = acme::HEADING
    )]
    acme_data: Option<PathBuf>,
}

impl Listeners {
    /// What an authority is to give, where it is asked: an edge of a cluster keeps it in the directory of its
    /// `identity`.
    pub(super) fn awaited(&self, identity: Option<&Path>) -> Result<Option<acme::Awaited>> {
        let names = &self.acme.hostnames;
        if names.is_empty() {
            return Ok(None);
        }
        if let Some(name) = self.hostname.as_ref().filter(|name| !names.contains(&name.to_ascii_lowercase()))
        {
            bail!(
                "--hostname {name} is none of the names that are asked for: give --acme-hostname {name} too"
            );
        }
        let inside = identity.map(|dir| dir.join("acme"));
        let Some(dir) = self.acme_data.clone().or(inside) else {
            bail!("--acme-data DIRECTORY is needed: where the certificate and its key are kept");
        };
        let tls = self.tls_listen.iter().map(SocketAddr::port).collect();
        self.acme.prepare(&dir, &acme::Ports { http: Vec::new(), tls })
    }

    /// The listeners, each reached by the address that `advertised` has for the one it binds; the `awaited`
    /// certificate is for those of TLS and DTLS.
    pub(super) fn all(
        &self,
        awaited: Option<&acme::Awaited>,
        advertised: impl Fn(IpAddr) -> Option<IpAddr>,
    ) -> Result<Vec<ListenAt>> {
        let certified = self.certificate.is_some() || awaited.is_some();
        if certified && self.tls_listen.is_empty() && self.dtls_listen.is_empty() {
            bail!("a certificate is for --tls-listen or --dtls-listen: give one of them too");
        }
        let plain = [(Transport::Udp, &self.listen), (Transport::Tcp, &self.listen)];
        let secure = [(Transport::Tls, &self.tls_listen), (Transport::Dtls, &self.dtls_listen)];
        let all = plain.into_iter().chain(secure);
        Ok(all
            .flat_map(|(transport, binds)| binds.iter().map(move |bind| (transport, *bind)))
            .map(|(transport, bind)| self.listener(transport, bind, awaited, advertised(bind.ip())))
            .collect())
    }

    fn listener(
        &self,
        transport: Transport,
        bind: SocketAddr,
        awaited: Option<&acme::Awaited>,
        reached: Option<IpAddr>,
    ) -> ListenAt {
        let files = self.certificate.clone().zip(self.key.clone());
        let files = files.or_else(|| awaited.map(|it| (it.file(), it.file())));
        let secure = transport.is_secure();
        // The name that a client of TLS checks; the others do without the DNS.
        let proved = self.acme.hostnames.first().filter(|_| secure);
        ListenAt {
            advertised: reached.map(|ip| SocketAddr::new(ip, bind.port())),
            hostname: self.hostname.clone().or_else(|| proved.cloned()),
            certificate: files.filter(|_| secure).map(|(chain, key)| CertificateFiles { chain, key }),
            acme: awaited.filter(|_| secure).map(|it| Acme(it.answers())),
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
