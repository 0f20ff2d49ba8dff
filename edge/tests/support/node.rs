//! A node's side of the uplink, as far as an edge sees it.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use chappe_edge::{Node, Tls, Uplink};
use chappe_proto::id::NodeId;
use chappe_proto::limits::MESH_FRAME_MAX;
use chappe_proto::mesh::uplink::{ALPN, Down, EdgeHello, Health, NodeHello, Up};
use chappe_proto::wire;
use quinn::crypto::rustls::QuicServerConfig;
use quinn::{Connection, Endpoint, RecvStream, SendStream};
use rcgen::{
    BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair, SubjectPublicKeyInfo, date_time_ymd,
};
use rustls::pki_types::CertificateDer;
use rustls::server::WebPkiClientVerifier;
use tokio::time::timeout;

use super::{PATIENCE, REALM};

/// The name in the node's certificate.
const NAME: &str = "node-1.test";

/// A certificate authority and what it signed: a node's certificate and an edge's.
pub struct Certificates {
    root: CertificateDer<'static>,
    node: (Vec<CertificateDer<'static>>, KeyPair),
    edge: (Vec<CertificateDer<'static>>, KeyPair),
    issuer: Issuer<'static, KeyPair>,
}

impl Certificates {
    pub fn new() -> Self {
        let mut authority = CertificateParams::new(Vec::new()).unwrap();
        authority.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let key = KeyPair::generate().unwrap();
        let root = authority.self_signed(&key).unwrap().der().clone();
        let issuer = Issuer::new(authority, key);
        let sign = |name: &str| {
            let key = KeyPair::generate().unwrap();
            let params = CertificateParams::new(vec![name.to_owned()]).unwrap();
            (vec![params.signed_by(&key, &issuer).unwrap().der().clone()], key)
        };
        let (node, edge) = (sign(NAME), sign("edge-1.test"));
        Self { node, edge, root, issuer }
    }

    /// The same with a certificate of the edge that is due to be made anew.
    pub fn due() -> Self {
        let mut all = Self::new();
        let mut params = CertificateParams::new(vec!["edge-1.test".to_owned()]).unwrap();
        params.not_before = date_time_ymd(1975, 1, 1);
        params.not_after = date_time_ymd(2040, 1, 1);
        all.edge.0 = vec![params.signed_by(&all.edge.1, &all.issuer).unwrap().der().clone()];
        all
    }

    /// The edge's certificate made anew for this key.
    pub fn renewed(&self, public_key: &[u8]) -> CertificateDer<'static> {
        let key = SubjectPublicKeyInfo::from_der(public_key).unwrap();
        let params = CertificateParams::new(vec!["edge-1.test".to_owned()]).unwrap();
        params.signed_by(&key, &self.issuer).unwrap().der().clone()
    }

    /// What an edge is given to reach these nodes.
    pub fn uplink(&self, nodes: &[SocketAddr]) -> Uplink {
        Uplink {
            nodes: nodes.iter().map(|address| Node::at(*address, NAME.to_owned())).collect(),
            tls: Tls {
                certificates: self.edge.0.clone(),
                key: self.edge.1.serialize_der().try_into().unwrap(),
                roots: vec![self.root.clone()],
            },
            keep: None,
            process: None,
        }
    }
}

/// A node's QUIC endpoint.
pub struct Server {
    endpoint: Endpoint,
}

impl Server {
    /// Listens on `address`, for edges with certificates of this authority.
    pub fn bind(certificates: &Certificates, address: SocketAddr) -> Self {
        Self::try_bind(certificates, address).unwrap()
    }

    /// Listens again where one of before was closed: its socket is let go of a moment later.
    pub async fn bind_again(certificates: &Certificates, address: SocketAddr) -> Self {
        timeout(PATIENCE, async {
            loop {
                match Self::try_bind(certificates, address) {
                    Ok(server) => return server,
                    Err(error) => assert_eq!(error.kind(), std::io::ErrorKind::AddrInUse, "{error}"),
                }
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        })
        .await
        .unwrap()
    }

    fn try_bind(certificates: &Certificates, address: SocketAddr) -> std::io::Result<Self> {
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let mut roots = rustls::RootCertStore::empty();
        roots.add(certificates.root.clone()).unwrap();
        let verifier =
            WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider.clone()).build().unwrap();
        let (chain, key) = &certificates.node;
        let mut tls = rustls::ServerConfig::builder_with_provider(provider)
            .with_protocol_versions(&[&rustls::version::TLS13])
            .unwrap()
            .with_client_cert_verifier(verifier)
            .with_single_cert(chain.clone(), key.serialize_der().try_into().unwrap())
            .unwrap();
        tls.alpn_protocols = vec![ALPN.to_vec()];
        let crypto = QuicServerConfig::try_from(tls).unwrap();
        let config = quinn::ServerConfig::with_crypto(Arc::new(crypto));
        Ok(Self { endpoint: Endpoint::server(config, address)? })
    }

    pub fn address(&self) -> SocketAddr {
        self.endpoint.local_addr().unwrap()
    }

    /// Waits for an edge's connection, and for its hello.
    pub async fn accept(&self) -> (Link, EdgeHello) {
        timeout(PATIENCE, async {
            loop {
                let connection = match self.endpoint.accept().await.unwrap().await {
                    Ok(connection) => connection,
                    // What was under way towards an endpoint of before.
                    Err(_) => continue,
                };
                let (send, receive) = connection.accept_bi().await.unwrap();
                let mut link = Link { connection, send, receive };
                match link.read().await {
                    Up::Hello(hello) => return (link, hello),
                    other => panic!("{other:?}"),
                }
            }
        })
        .await
        .unwrap()
    }

    /// Waits for a connection, or for its failing.
    pub async fn incoming(&self) -> Result<Connection, quinn::ConnectionError> {
        self.endpoint.accept().await.unwrap().await
    }

    /// Ends like a node that is stopped.
    pub async fn close(self) {
        self.endpoint.close(0u32.into(), b"stopped");
        self.endpoint.wait_idle().await;
    }
}

/// An edge's connection.
pub struct Link {
    pub connection: Connection,
    send: SendStream,
    receive: RecvStream,
}

impl Link {
    pub async fn read(&mut self) -> Up {
        timeout(PATIENCE, async {
            let mut length = [0; 4];
            self.receive.read_exact(&mut length).await.unwrap();
            let mut bytes = vec![0; u32::from_be_bytes(length) as usize];
            self.receive.read_exact(&mut bytes).await.unwrap();
            wire::decode(&bytes, MESH_FRAME_MAX).unwrap()
        })
        .await
        .unwrap()
    }

    pub async fn write(&mut self, frame: &Down) {
        let bytes = wire::encode(frame).unwrap();
        self.send.write_all(&u32::try_from(bytes.len()).unwrap().to_be_bytes()).await.unwrap();
        self.send.write_all(&bytes).await.unwrap();
    }

    pub async fn greet(&mut self) {
        self.greet_as(7).await;
    }

    /// As the node of this id.
    pub async fn greet_as(&mut self, id: u64) {
        let hello =
            NodeHello { node: NodeId(id), build: "test".to_owned(), realm: REALM.to_owned(), life: 0 };
        self.write(&Down::Hello(hello)).await;
    }

    pub async fn health(&self) -> Health {
        let bytes = timeout(PATIENCE, self.connection.read_datagram()).await.unwrap().unwrap();
        wire::decode(&bytes, MESH_FRAME_MAX).unwrap()
    }
}
