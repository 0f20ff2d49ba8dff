//! What a node's endpoint presents and whom it trusts.

use std::sync::Arc;
use std::time::Duration;

use chappe_proto::limits;
use chappe_proto::mesh::join::Token;
use chappe_proto::mesh::{join, node, uplink};
use quinn::crypto::rustls::{QuicClientConfig, QuicServerConfig};
use ring::digest::{SHA256, digest};
use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use rustls::server::WebPkiClientVerifier;
use rustls::{CertificateError, DigitallySignedStruct, RootCertStore, SignatureScheme};

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
    /// What the older ones say of the newest, while there are several.
    pub crosses: Vec<CertificateDer<'static>>,
}

impl Clone for Credentials {
    fn clone(&self) -> Self {
        Self {
            certificate: self.certificate.clone(),
            key: self.key.clone_key(),
            authorities: self.authorities.clone(),
            crosses: self.crosses.clone(),
        }
    }
}

impl From<Issued> for Credentials {
    fn from(issued: Issued) -> Self {
        Self {
            certificate: issued.certificate,
            key: issued.key,
            authorities: vec![issued.authority],
            crosses: Vec::new(),
        }
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
        std::iter::once(&self.certificate).chain(&self.crosses).chain(&self.authorities).cloned().collect()
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

/// For a node that joins: it has no certificate, and trusts who presents the authority of its token.
pub(crate) fn joiner(token: &Token) -> Result<quinn::ClientConfig, TlsError> {
    let pinned = Pinned { authority: token.authority.clone(), provider: provider() };
    let mut tls = rustls::ClientConfig::builder_with_provider(provider())
        .with_protocol_versions(&[&rustls::version::TLS13])?
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(pinned))
        .with_no_client_auth();
    tls.alpn_protocols = vec![join::ALPN.to_vec()];
    let mut config = quinn::ClientConfig::new(Arc::new(QuicClientConfig::try_from(tls)?));
    config.transport_config(Arc::new(transport(limits::LINK_KEEP_ALIVE, limits::LINK_IDLE)));
    Ok(config)
}

/// Trusts servers of one authority, known by its hash, which they present behind their own certificate.
#[derive(Debug)]
struct Pinned {
    authority: Vec<u8>,
    provider: Arc<CryptoProvider>,
}

impl ServerCertVerifier for Pinned {
    fn verify_server_cert(
        &self,
        certificate: &CertificateDer<'_>,
        chain: &[CertificateDer<'_>],
        name: &ServerName<'_>,
        ocsp: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        let of_token = |der: &&CertificateDer<'_>| digest(&SHA256, der).as_ref() == self.authority;
        let unknown = || rustls::Error::InvalidCertificate(CertificateError::UnknownIssuer);
        let authority = chain.iter().find(of_token).ok_or_else(unknown)?;
        let mut store = RootCertStore::empty();
        store.add(authority.clone().into_owned())?;
        let verifier =
            WebPkiServerVerifier::builder_with_provider(Arc::new(store), Arc::clone(&self.provider))
                .build()
                .map_err(|error| rustls::Error::General(error.to_string()))?;
        verifier.verify_server_cert(certificate, &[], name, ocsp, now)
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        verify_tls12_signature(message, certificate, signed, algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        verify_tls13_signature(message, certificate, signed, algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider.signature_verification_algorithms.supported_schemes()
    }
}
