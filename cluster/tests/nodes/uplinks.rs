//! An edge's uplink, on a real node.

use std::sync::Arc;

use chappe_cluster::mesh::frame;
use chappe_cluster::mesh::pki::{self, Authority, Holder, Issued, server_name};
use chappe_proto::id::EdgeId;
use chappe_proto::mesh::uplink::{ALPN, Down, EdgeChange, EdgeHello, RelayRange, Up};
use chappe_proto::registry::EdgeState;
use quinn::crypto::rustls::QuicClientConfig;
use quinn::{Connection, ConnectionError, Endpoint, RecvStream, SendStream, TransportConfig};
use rcgen::{KeyPair, PublicKeyData};
use rustls::pki_types::CertificateDer;
use x509_parser::prelude::{FromDer, X509Certificate};

use super::*;

/// An edge that says by hand what edges say.
struct Edge {
    name: EdgeId,
    connection: Connection,
    send: SendStream,
    recv: RecvStream,
    /// SubjectPublicKeyInfo in DER.
    public_key: Vec<u8>,
    _endpoint: Endpoint,
}

impl Edge {
    async fn connects(node: &Running, name: &str) -> Self {
        Self::connects_with(node, name, TransportConfig::default()).await
    }

    async fn connects_with(node: &Running, name: &str, transport: TransportConfig) -> Self {
        Self::offering(node, name, transport, |_| {}).await
    }

    /// One that says something else of itself.
    async fn offering(
        node: &Running,
        name: &str,
        transport: TransportConfig,
        offer: impl FnOnce(&mut EdgeHello),
    ) -> Self {
        let name = EdgeId::new(name).unwrap();
        let authority = Authority::newest(&node.node.registry.state()).unwrap().unwrap();
        let issued = authority.issue(&Holder::Edge(name.clone()), clock::unix()).unwrap();
        let key = pki::key_hash(&issued.certificate).unwrap();
        let enrol = Command::EdgeEnrol { edge: name.clone(), region: Region::new("here").unwrap(), key };
        // One that was removed is refused now and at its hello.
        node.node.proposals.propose(enrol, SOON).await.unwrap();
        Self::offering_by(node, name, &issued, transport, offer).await
    }

    /// One that has enrolled, with its certificate.
    async fn offering_by(
        node: &Running,
        name: EdgeId,
        issued: &Issued,
        transport: TransportConfig,
        offer: impl FnOnce(&mut EdgeHello),
    ) -> Self {
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let mut tls = rustls::ClientConfig::builder_with_provider(provider)
            .with_protocol_versions(&[&rustls::version::TLS13])
            .unwrap()
            .with_root_certificates(issued.roots().unwrap())
            .with_client_auth_cert(issued.chain(), issued.key.clone_key())
            .unwrap();
        tls.alpn_protocols = vec![ALPN.to_vec()];
        let mut config = quinn::ClientConfig::new(Arc::new(QuicClientConfig::try_from(tls).unwrap()));
        config.transport_config(Arc::new(transport));
        let endpoint = Endpoint::client((Ipv4Addr::LOCALHOST, 0).into()).unwrap();
        let at = server_name(&node.cluster, Some(node.node.id)).unwrap();
        let connection = endpoint.connect_with(config, node.mesh, &at.to_str()).unwrap().await.unwrap();
        let (mut send, recv) = connection.open_bi().await.unwrap();
        let mut hello = EdgeHello {
            edge: name.clone(),
            build: "test".into(),
            region: Region::new("here").unwrap(),
            coordinates: None,
            listeners: Vec::new(),
            relays: Vec::new(),
            capacity: 1,
            feed: None,
            proven: vec![],
            timed: false,
        };
        offer(&mut hello);
        frame::write(&mut send, &Up::Hello(hello)).await.unwrap();
        let public_key = public_key(&issued.certificate);
        Self { name, connection, send, recv, public_key, _endpoint: endpoint }
    }

    /// One that is let in.
    async fn up(node: &Running, name: &str) -> Self {
        let mut edge = Self::connects(node, name).await;
        edge.is_let_in().await;
        edge
    }

    async fn is_let_in(&mut self) {
        assert!(matches!(self.hears().await, Down::Hello(_)));
        assert!(matches!(self.hears().await, Down::Snapshot(_)));
        // Where new clients would go, though there is nowhere: what another node said may be out of date.
        let told = self.hears().await;
        assert!(matches!(told, Down::Alternates { .. } | Down::Delta { .. }), "{told:?}");
    }

    async fn hears(&mut self) -> Down {
        tokio::time::timeout(SOON, frame::read(&mut self.recv)).await.unwrap().unwrap()
    }

    /// It is told whether it drains.
    async fn drains(&mut self) -> bool {
        loop {
            let Down::Delta { index, changes } = self.hears().await else { continue };
            frame::write(&mut self.send, &Up::Applied { index }).await.unwrap();
            let drains = changes.iter().find_map(|change| match change {
                EdgeChange::Draining { draining } => Some(*draining),
                _ => None,
            });
            if let Some(drains) = drains {
                return drains;
            }
        }
    }

    /// The node closes the connection: the reason.
    async fn is_cut(&self) -> String {
        match tokio::time::timeout(SOON, self.connection.closed()).await.unwrap() {
            ConnectionError::ApplicationClosed(close) => String::from_utf8(close.reason.to_vec()).unwrap(),
            other => panic!("{other}"),
        }
    }

    async fn set(&self, by: &Running, state: EdgeState) {
        let command = Command::EdgeSet { edge: self.name.clone(), state, weight: 1 };
        by.node.proposals.propose(command, SOON).await.unwrap().outcome.accepted().unwrap();
    }
}

/// SubjectPublicKeyInfo in DER.
fn public_key(certificate: &CertificateDer<'_>) -> Vec<u8> {
    X509Certificate::from_der(certificate).unwrap().1.public_key().raw.to_vec()
}

#[actix_rt::test]
async fn a_key_that_was_replaced_or_forgotten_has_no_uplink() {
    let dir = tempfile::tempdir().unwrap();
    let node = found(dir.path()).await;
    let name = EdgeId::new("one").unwrap();
    let authority = Authority::newest(&node.node.registry.state()).unwrap().unwrap();
    let stolen = authority.issue(&Holder::Edge(name.clone()), clock::unix()).unwrap();
    let by_it = || Edge::offering_by(&node, name.clone(), &stolen, TransportConfig::default(), |_| {});
    let told = by_it().await.is_cut().await;
    assert!(told.contains("no edge one is known here"), "{told}");
    let old = Edge::up(&node, "one").await;
    let told = by_it().await.is_cut().await;
    assert!(told.contains("another machine has taken the place of the edge one"), "{told}");
    // Another machine joins by its name: the old one's uplink ends by itself.
    let mut new = Edge::up(&node, "one").await;
    assert!(old.is_cut().await.contains("another machine"));
    new.set(&node, EdgeState::Draining).await;
    assert!(new.drains().await, "the new one's goes on");
    new.set(&node, EdgeState::Removed).await;
    let forget = Command::EdgeForget { edge: name.clone() };
    node.node.proposals.propose(forget, SOON).await.unwrap().outcome.accepted().unwrap();
    assert!(by_it().await.is_cut().await.contains("no edge one is known here"));
    node.stop().await;
}

#[actix_rt::test]
async fn an_edge_that_says_too_much_at_once_is_cut() {
    let dir = tempfile::tempdir().unwrap();
    let node = found(dir.path()).await;
    let mut edge = Edge::up(&node, "one").await;
    let long = u32::try_from(chappe_proto::limits::UPLINK_FRAME_MAX + 1).unwrap();
    edge.send.write_all(&long.to_be_bytes()).await.unwrap();
    let told = edge.is_cut().await;
    assert!(told.contains(&long.to_string()), "{told}");
    node.stop().await;
}

#[actix_rt::test]
async fn an_edge_that_is_removed_loses_its_uplink_and_gets_none() {
    let dir = tempfile::tempdir().unwrap();
    let node = found(dir.path()).await;
    let (mut one, mut two) = (Edge::up(&node, "one").await, Edge::up(&node, "two").await);
    one.set(&node, EdgeState::Removed).await;
    assert!(one.drains().await, "its last word: nobody new is to come to it");
    let removed = one.is_cut().await;
    assert!(removed.contains("was removed"), "{removed}");
    let again = Edge::connects(&node, "one").await.is_cut().await;
    assert!(again.contains("removed"), "{again}");

    // The other one has lost nothing, and hears what concerns it; one that hears nothing is cut as well.
    two.set(&node, EdgeState::Draining).await;
    assert!(two.drains().await);
    two.set(&node, EdgeState::Admitted).await;
    assert!(!two.drains().await);
    two.set(&node, EdgeState::Removed).await;
    assert!(two.is_cut().await.contains("was removed"));

    one.set(&node, EdgeState::Admitted).await;
    Edge::up(&node, "one").await;
    node.stop().await;
}

#[actix_rt::test]
async fn an_edge_that_reads_nothing_is_cut_all_the_same() {
    let dir = tempfile::tempdir().unwrap();
    let node = found(dir.path()).await;
    // So little that the node cannot even begin with the body of a frame: its first one waits, or a later one.
    let narrow = || {
        let mut transport = TransportConfig::default();
        transport.stream_receive_window(4_u32.into());
        transport
    };
    let deaf = Edge::connects_with(&node, "deaf", narrow()).await;
    let mut tired = Edge::connects_with(&node, "tired", narrow()).await;
    tired.is_let_in().await;
    until(&node, |state| state.edge(&deaf.name).is_some()).await;
    for edge in [deaf, tired] {
        edge.set(&node, EdgeState::Removed).await;
        assert!(edge.is_cut().await.contains("was removed"));
    }
    node.stop().await;
}

#[actix_rt::test]
async fn an_edge_that_claims_what_is_anothers_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let node = found(dir.path()).await;
    let relays = |hello: &mut EdgeHello, first, last| {
        hello.relays = vec![RelayRange { address: "192.0.2.1".parse().unwrap(), first, last }];
    };
    let mut one =
        Edge::offering(&node, "one", TransportConfig::default(), |hello| relays(hello, 1000, 1999)).await;
    one.is_let_in().await;
    let two =
        Edge::offering(&node, "two", TransportConfig::default(), |hello| relays(hello, 1999, 2999)).await;
    let told = two.is_cut().await;
    assert!(told.contains("this relay range is the edge one's already"), "{told}");
    let mut two =
        Edge::offering(&node, "two", TransportConfig::default(), |hello| relays(hello, 2000, 2999)).await;
    two.is_let_in().await;
    // Nor does it take another's name.
    let other = EdgeId::new("one").unwrap();
    let liar = Edge::offering(&node, "liar", TransportConfig::default(), |hello| hello.edge = other).await;
    let told = liar.is_cut().await;
    assert!(told.contains("its certificate is of liar, and it calls itself one"), "{told}");
    node.stop().await;
}

#[actix_rt::test]
async fn an_edge_has_its_certificate_made_anew_over_its_uplink() {
    let dir = tempfile::tempdir().unwrap();
    let node = found(dir.path()).await;
    let mut edge = Edge::up(&node, "one").await;
    // Not for another key, which would be somebody else's.
    let public_key = KeyPair::generate().unwrap().subject_public_key_info();
    frame::write(&mut edge.send, &Up::Certify { public_key }).await.unwrap();
    let public_key = edge.public_key.clone();
    frame::write(&mut edge.send, &Up::Certify { public_key: public_key.clone() }).await.unwrap();
    let certificate = loop {
        match edge.hears().await {
            Down::Certified { certificate } => break certificate,
            Down::Alternates { .. } | Down::Delta { .. } => {}
            other => panic!("{other:?}"),
        }
    };
    let certificate = CertificateDer::from(certificate.0);
    assert_eq!(pki::holder(&certificate, &node.cluster).unwrap(), Holder::Edge(edge.name.clone()));
    let authority = Authority::newest(&node.node.registry.state()).unwrap().unwrap();
    assert!(pki::is_signed_by(&certificate, authority.certificate()));
    assert_eq!(self::public_key(&certificate), public_key);
    node.stop().await;
}
