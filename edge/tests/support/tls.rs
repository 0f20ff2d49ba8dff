//! Certificates in files, and clients over TLS that trust them.

use std::fs;
use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;
use std::time::Duration;

use chappe_edge::{CertificateFiles, ListenAt};
use chappe_proto::turn::Transport;
use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair, SignatureAlgorithm};
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, ClientConnection, RootCertStore, StreamOwned};
use tempfile::TempDir;

/// The hostname of the tests' edges.
pub const HOST: &str = "turn.chappe.test";

/// A stream of a client.
pub type TlsStream = StreamOwned<ClientConnection, TcpStream>;

/// An authority, and a certificate that it signed, in files.
pub struct Authority {
    directory: TempDir,
    root: CertificateDer<'static>,
    issuer: Issuer<'static, KeyPair>,
}

impl Authority {
    pub fn new() -> Self {
        let mut authority = CertificateParams::new(Vec::new()).unwrap();
        authority.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let key = KeyPair::generate().unwrap();
        let root = authority.self_signed(&key).unwrap().der().clone();
        let new = Self { directory: tempfile::tempdir().unwrap(), root, issuer: Issuer::new(authority, key) };
        new.renew(&rcgen::PKCS_ECDSA_P256_SHA256);
        new
    }

    /// Where the certificate is.
    pub fn files(&self) -> CertificateFiles {
        let at = |name| self.directory.path().join(name);
        CertificateFiles { chain: at("chain.pem"), key: at("key.pem") }
    }

    /// Writes another certificate, and answers with it.
    pub fn renew(&self, kind: &'static SignatureAlgorithm) -> CertificateDer<'static> {
        let key = KeyPair::generate_for(kind).unwrap();
        let params = CertificateParams::new(vec![HOST.to_owned()]).unwrap();
        let certificate = params.signed_by(&key, &self.issuer).unwrap();
        fs::write(self.files().key, key.serialize_pem()).unwrap();
        fs::write(self.files().chain, certificate.pem()).unwrap();
        certificate.der().clone()
    }

    /// A listener with that certificate on a free port, which clients are said to trust.
    pub fn listener(&self, transport: Transport, ip: &str) -> ListenAt {
        ListenAt {
            hostname: Some(HOST.to_owned()),
            certificate: Some(self.files()),
            trusted: true,
            ..ListenAt::new(transport, SocketAddr::new(ip.parse().unwrap(), 0))
        }
    }

    /// A client's configuration, with these names of ALPN.
    pub fn client(&self, alpn: &[&str]) -> Arc<ClientConfig> {
        let mut roots = RootCertStore::empty();
        roots.add(self.root.clone()).unwrap();
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let mut config = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_root_certificates(roots)
            .with_no_client_auth();
        config.alpn_protocols = alpn.iter().map(|name| name.as_bytes().to_vec()).collect();
        Arc::new(config)
    }

    /// Connects, asking for `name`.
    pub fn connect(&self, to: SocketAddr, name: &str, alpn: &[&str]) -> TlsStream {
        self.over(connect(to), name, alpn)
    }

    /// Speaks TLS over a connection that stands, asking for `name`.
    pub fn over(&self, stream: TcpStream, name: &str, alpn: &[&str]) -> TlsStream {
        let name = ServerName::try_from(name.to_owned()).unwrap();
        let connection = ClientConnection::new(self.client(alpn), name).unwrap();
        StreamOwned::new(connection, stream)
    }
}

/// A TCP connection with a test's patience.
pub fn connect(to: SocketAddr) -> TcpStream {
    let stream = TcpStream::connect(to).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(8))).unwrap();
    stream.set_nodelay(true).unwrap();
    stream
}

/// Whether the other side closes the connection, whatever it says before.
pub fn is_closed(stream: &mut impl Read) -> bool {
    loop {
        match stream.read(&mut [0; 512]) {
            Ok(0) => return true,
            Ok(_) => {}
            Err(error) => {
                return !matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut);
            }
        }
    }
}

/// Finishes the handshake, and answers with the certificate that the server showed.
pub fn handshake(stream: &mut TlsStream) -> CertificateDer<'static> {
    stream.flush().unwrap();
    while stream.conn.is_handshaking() {
        stream.conn.complete_io(&mut stream.sock).unwrap();
    }
    stream.conn.peer_certificates().unwrap()[0].clone()
}
