//! What a node's endpoint presents and whom it trusts.

use std::sync::Arc;
use std::time::Duration;

use chappe_proto::limits;
use chappe_proto::mesh::{join, node, uplink};
use quinn::crypto::rustls::{QuicClientConfig, QuicServerConfig};
use rustls::RootCertStore;
use rustls::crypto::CryptoProvider;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::WebPkiClientVerifier;

use super::pki::{Issued, PkiError};

/// A node's certificate with its key, and the authorities that it trusts.
#[derive(Debug)]
pub struct Credentials {
    /// The node's certificate.
    pub certificate: CertificateDer<'static>,
    /// Its private key.
    pub key: PrivateKeyDer<'static>,
    /// The authorities, the newest last: all are trusted. They are presented too, so that who joins can
    /// compare them with its token.
    pub authorities: Vec<CertificateDer<'static>>,
}

impl Clone for Credentials {
    fn clone(&self) -> Self {
        Self {
            certificate: self.certificate.clone(),
            key: self.key.clone_key(),
            authorities: self.authorities.clone(),
        }
    }
}

impl From<Issued> for Credentials {
    fn from(issued: Issued) -> Self {
        Self { certificate: issued.certificate, key: issued.key, authorities: vec![issued.authority] }
    }
}

/// Why an endpoint cannot be set up with some credentials.
#[derive(Debug, thiserror::Error)]
pub(crate) enum TlsError {
    #[error(transparent)]
    Pki(#[from] PkiError),
    #[error(transparent)]
    Tls(#[from] rustls::Error),
    #[error("no authority to trust: {0}")]
    Verifier(#[from] rustls::server::VerifierBuilderError),
    #[error(transparent)]
    Quic(#[from] quinn::crypto::rustls::NoInitialCipherSuite),
}

pub(crate) fn provider() -> Arc<CryptoProvider> {
    Arc::new(rustls::crypto::ring::default_provider())
}

impl Credentials {
    fn roots(&self) -> Result<Arc<RootCertStore>, PkiError> {
        let mut store = RootCertStore::empty();
        for authority in &self.authorities {
            store.add(authority.clone()).map_err(|_| PkiError::Malformed)?;
        }
        Ok(Arc::new(store))
    }

    fn chain(&self) -> Vec<CertificateDer<'static>> {
        std::iter::once(&self.certificate).chain(&self.authorities).cloned().collect()
    }

    /// For whoever connects. Who joins has no certificate yet: whether one is needed, the protocol that the
    /// connection speaks decides, once it is known.
    pub(crate) fn accept(&self) -> Result<quinn::ServerConfig, TlsError> {
        let provider = provider();
        let clients = WebPkiClientVerifier::builder_with_provider(self.roots()?, Arc::clone(&provider))
            .allow_unauthenticated()
            .build()?;
        let mut tls = rustls::ServerConfig::builder_with_provider(provider)
            .with_protocol_versions(&[&rustls::version::TLS13])?
            .with_client_cert_verifier(clients)
            .with_single_cert(self.chain(), self.key.clone_key())?;
        tls.alpn_protocols = vec![node::ALPN.to_vec(), uplink::ALPN.to_vec(), join::ALPN.to_vec()];
        tls.send_tls13_tickets = 0;
        let mut config = quinn::ServerConfig::with_crypto(Arc::new(QuicServerConfig::try_from(tls)?));
        let mut transport = transport(limits::LINK_KEEP_ALIVE, limits::LINK_IDLE);
        transport.receive_window(limits::STRANGER_WINDOW.into());
        config.transport_config(Arc::new(transport));
        config.max_incoming(limits::STRANGERS_MAX);
        Ok(config)
    }

    /// For links to other nodes.
    pub(crate) fn connect(&self) -> Result<quinn::ClientConfig, TlsError> {
        let mut tls = rustls::ClientConfig::builder_with_provider(provider())
            .with_protocol_versions(&[&rustls::version::TLS13])?
            .with_root_certificates(self.roots()?)
            .with_client_auth_cert(self.chain(), self.key.clone_key())?;
        tls.alpn_protocols = vec![node::ALPN.to_vec()];
        tls.resumption = rustls::client::Resumption::disabled();
        let mut config = quinn::ClientConfig::new(Arc::new(QuicClientConfig::try_from(tls)?));
        let mut transport = transport(limits::NODE_LINK_KEEP_ALIVE, limits::NODE_LINK_IDLE);
        transport.receive_window(limits::LINK_WINDOW.into());
        config.transport_config(Arc::new(transport));
        Ok(config)
    }
}

fn transport(keep_alive: Duration, idle: Duration) -> quinn::TransportConfig {
    let mut transport = quinn::TransportConfig::default();
    transport.keep_alive_interval(Some(keep_alive));
    transport.max_idle_timeout(idle.try_into().ok());
    transport.initial_rtt(limits::LINK_FIRST_RTT);
    transport.max_concurrent_bidi_streams(u32::try_from(limits::FEEDS_PER_NODE).unwrap_or(1).into());
    transport.max_concurrent_uni_streams(limits::LINK_STREAMS.into());
    transport.stream_receive_window(limits::LINK_STREAM_WINDOW.into());
    transport.send_window(u64::from(limits::LINK_WINDOW));
    transport
}
