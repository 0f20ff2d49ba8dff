//! A node that says on a link whatever it likes.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;

use chappe_cluster::clock;
use chappe_cluster::mesh::frame;
use chappe_cluster::mesh::pki::{Authority, Holder, server_name};
use chappe_proto::id::NodeId;
use chappe_proto::mesh::node::{ALPN, Hello, Lane, Opening};
use chappe_proto::wire;
use quinn::crypto::rustls::QuicClientConfig;
use quinn::{Connection, ConnectionError, Endpoint, RecvStream, SendStream};
use serde::Serialize;

use crate::common::cluster;

pub(crate) struct Raw {
    pub(crate) node: NodeId,
    pub(crate) connection: Connection,
    /// Its control lane, opened.
    pub(crate) control: SendStream,
    /// The other side's.
    pub(crate) theirs: RecvStream,
    _endpoint: Endpoint,
}

pub(crate) fn hello(node: NodeId) -> Hello {
    Hello {
        cluster: cluster(),
        node,
        build: "9.9.9".into(),
        wire: 1,
        oldest: 1,
        life: 1,
        speaks: 1,
        reaches: Vec::new(),
        loss: None,
    }
}

impl Raw {
    /// Connects to node `to` with this hello; why not, where that closes the connection.
    pub(crate) async fn dial(
        authority: &Authority,
        hello: Hello,
        to: NodeId,
        address: SocketAddr,
    ) -> Result<Self, ConnectionError> {
        let node = hello.node;
        let (endpoint, connection) = connect(authority, node, to, address, ALPN).await;
        let mut control = connection.open_uni().await.unwrap();
        frame::write(&mut control, &Opening { lane: Lane::Control, hello }).await.unwrap();
        let theirs = connection.accept_uni().await?;
        Ok(Self { node, connection, control, theirs, _endpoint: endpoint })
    }

    /// A stream of another lane.
    pub(crate) async fn open(&self, lane: Lane) -> SendStream {
        let mut stream = self.connection.open_uni().await.unwrap();
        frame::write(&mut stream, &Opening { lane, hello: hello(self.node) }).await.unwrap();
        stream
    }
}

/// Connects with a certificate of this authority, to speak that protocol.
pub(crate) async fn connect(
    authority: &Authority,
    node: NodeId,
    to: NodeId,
    address: SocketAddr,
    alpn: &[u8],
) -> (Endpoint, Connection) {
    let issued = authority.issue(&Holder::Node(node), clock::unix()).unwrap();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let mut tls = rustls::ClientConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&rustls::version::TLS13])
        .unwrap()
        .with_root_certificates(issued.roots().unwrap())
        .with_client_auth_cert(issued.chain(), issued.key.clone_key())
        .unwrap();
    tls.alpn_protocols = vec![alpn.to_vec()];
    let config = quinn::ClientConfig::new(Arc::new(QuicClientConfig::try_from(tls).unwrap()));
    let endpoint = Endpoint::client((Ipv4Addr::LOCALHOST, 0).into()).unwrap();
    let name = server_name(&cluster(), Some(to)).unwrap();
    let connection = endpoint.connect_with(config, address, &name.to_str()).unwrap().await.unwrap();
    (endpoint, connection)
}

/// Bytes with their length.
pub(crate) async fn write_bytes(stream: &mut SendStream, bytes: &[u8]) {
    let len = u32::try_from(bytes.len()).unwrap().to_be_bytes();
    stream.write_all(&[&len[..], bytes].concat()).await.unwrap();
}

/// A frame of any form.
pub(crate) async fn write(stream: &mut SendStream, value: &impl Serialize) {
    write_bytes(stream, &wire::encode(value).unwrap()).await;
}
