//! HTTPS and TURN over TLS on one port: the edge's listener has it, and hands what is HTTP to the node.

use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener};
use std::sync::Mutex;

use anyhow::Result;
use chappe_cluster::http;
use chappe_edge::{Backend, CertificateFiles, ListenAt, Web};
use chappe_proto::turn::Transport;

use super::Args;
use super::lan::Lan;
use crate::bind;
use crate::files::Dir;

/// The shared port.
pub(super) struct Https {
    /// Where it is.
    at: SocketAddr,
    /// The name in URLs, where there is one.
    hostname: Option<String>,
    certificate: CertificateFiles,
    trusted: bool,
    /// The CA that phones must trust, in PEM.
    ca_pem: Option<String>,
    /// Keeps the port until the edge takes it: what is wrong with it is told before anything starts.
    reserved: Mutex<Option<TcpListener>>,
    /// Where the node takes what the edge has decrypted.
    inside: TcpListener,
}

impl Https {
    /// What the options ask for, if they ask for HTTPS.
    pub(super) fn open(args: &Args, dir: &Dir, address: IpAddr, lan: Option<&Lan>) -> Result<Option<Self>> {
        let hostname = args.hostname.clone();
        let (certificate, ca_pem) = match (lan, &args.certificate, &args.key) {
            (Some(lan), ..) => {
                let made = lan.certificate(dir, hostname.as_deref())?;
                (made.files, Some(made.ca_pem))
            }
            (None, Some(chain), Some(key)) => {
                (CertificateFiles { chain: chain.clone(), key: key.clone() }, None)
            }
            _ => return Ok(None),
        };
        let reserved = bind::tcp(SocketAddr::new(address, args.https), "--https PORT")?;
        Ok(Some(Self {
            at: reserved.local_addr()?,
            hostname,
            certificate,
            trusted: args.trust_certificate || lan.is_some(),
            ca_pem,
            reserved: Mutex::new(Some(reserved)),
            inside: http::bind(SocketAddr::new(Ipv4Addr::LOCALHOST.into(), 0))?,
        }))
    }

    /// The page's address for browsers.
    pub(super) fn url(&self) -> String {
        let host = match (&self.hostname, self.at.ip()) {
            (Some(name), _) => name.clone(),
            (None, IpAddr::V6(v6)) => format!("[{v6}]"),
            (None, IpAddr::V4(v4)) => v4.to_string(),
        };
        match self.at.port() {
            443 => format!("https://{host}/"),
            port => format!("https://{host}:{port}/"),
        }
    }

    /// Whether browsers are said to trust the certificate.
    pub(super) fn is_trusted(&self) -> bool {
        self.trusted
    }

    /// How phones on the LAN reach it.
    pub(super) fn phones(&self) -> Option<http::Lan> {
        self.ca_pem.clone().map(|ca_pem| http::Lan { ca_pem, url: self.url() })
    }

    /// The node's side.
    pub(super) fn behind(&self) -> Result<http::Behind> {
        let urls = vec![self.url().trim_end_matches('/').to_owned()];
        Ok(http::Behind { listeners: vec![self.inside.try_clone()?], proxies: Vec::new(), urls })
    }

    /// HTTPS of the nth node, counted from 0, which has a port of its own: the next one, or a free one where
    /// somebody has that. Within a tokio runtime.
    pub(super) fn beside(&self, nth: usize) -> Result<http::Secure> {
        let next = self.at.port().saturating_add(u16::try_from(nth)?);
        let listener = match http::bind(SocketAddr::new(self.at.ip(), next)) {
            Ok(listener) => listener,
            Err(_) => bind::tcp(SocketAddr::new(self.at.ip(), 0), "--https PORT")?,
        };
        let CertificateFiles { chain, key } = &self.certificate;
        let files = http::tls::Files { certificates: chain.clone(), key: key.clone() };
        Ok(http::Secure { listeners: vec![listener], tls: http::tls::follow(files)?, acme: None })
    }

    /// The edge's side, which gives up the port for the edge to bind.
    pub(super) fn listener(&self) -> Result<ListenAt> {
        let address = self.inside.local_addr()?;
        drop(self.reserved.lock().map(|mut port| port.take()));
        Ok(ListenAt {
            certificate: Some(self.certificate.clone()),
            trusted: self.trusted,
            web: Some(Web { plain: Some(Backend { address, proxy_header: true }), sealed: None }),
            ..ListenAt::new(Transport::Tls, self.at)
        })
    }
}
