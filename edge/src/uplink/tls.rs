//! The certificates of an uplink, and how its connections behave.

use std::sync::Arc;
use std::time::Duration;

use chappe_proto::limits::{EDGE_LOST_AFTER, HEALTH_EVERY};
use chappe_proto::mesh::uplink::ALPN;
use quinn::crypto::rustls::{NoInitialCipherSuite, QuicClientConfig};
use rustls::pki_types::pem::{self, PemObject};
use rustls::pki_types::{CertificateDer, PrivateKeyDer};

/// The certificates of an uplink.
pub struct Tls {
    /// The edge's own certificate, and those between it and a root.
    pub certificates: Vec<CertificateDer<'static>>,
    /// The key of the first.
    pub key: PrivateKeyDer<'static>,
    /// The cluster's certificate authorities: those that nodes are known by.
    pub roots: Vec<CertificateDer<'static>>,
}

impl Clone for Tls {
    fn clone(&self) -> Self {
        let Self { certificates, key, roots } = self;
        Self { certificates: certificates.clone(), key: key.clone_key(), roots: roots.clone() }
    }
}

impl std::fmt::Debug for Tls {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Tls(..)")
    }
}

/// Why an uplink's certificates cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// Not PEM, or not of the expected kind.
    #[error("{what} is not readable: {source}")]
    Pem {
        /// Which of the three.
        what: &'static str,
        /// What is wrong.
        source: pem::Error,
    },
    /// No certificate or no root.
    #[error("no certificate in {0}")]
    Empty(&'static str),
    /// Certificate and key do not fit, or cannot be used.
    #[error("certificate: {0}")]
    Rustls(#[from] rustls::Error),
    /// No cipher suite that QUIC starts with.
    #[error("certificate: {0}")]
    Cipher(#[from] NoInitialCipherSuite),
}

impl Tls {
    /// From PEM texts: the edge's certificate chain, its key, and the cluster's authorities.
    ///
    /// # Errors
    /// [`TlsError::Pem`] and [`TlsError::Empty`], which name the text.
    pub fn from_pem(certificates: &[u8], key: &[u8], roots: &[u8]) -> Result<Self, TlsError> {
        let chain = |what: &'static str, text: &[u8]| {
            let all: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(text).collect();
            let all = all.map_err(|source| TlsError::Pem { what, source })?;
            if all.is_empty() { Err(TlsError::Empty(what)) } else { Ok(all) }
        };
        Ok(Self {
            certificates: chain("the edge's certificate", certificates)?,
            key: PrivateKeyDer::from_pem_slice(key)
                .map_err(|source| TlsError::Pem { what: "the edge's key", source })?,
            roots: chain("the cluster's certificate authority", roots)?,
        })
    }

    /// TLS 1.3 both ways, and a connection that notices a dead node within [`EDGE_LOST_AFTER`].
    pub(crate) fn client(self) -> Result<quinn::ClientConfig, TlsError> {
        let mut roots = rustls::RootCertStore::empty();
        for root in self.roots {
            roots.add(root)?;
        }
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let mut tls = rustls::ClientConfig::builder_with_provider(provider)
            .with_protocol_versions(&[&rustls::version::TLS13])?
            .with_root_certificates(roots)
            .with_client_auth_cert(self.certificates, self.key)?;
        tls.alpn_protocols = vec![ALPN.to_vec()];
        let mut transport = quinn::TransportConfig::default();
        transport
            .max_idle_timeout(quinn::IdleTimeout::try_from(EDGE_LOST_AFTER).ok())
            .keep_alive_interval(Some(HEALTH_EVERY.min(Duration::from_secs(1))));
        let mut client = quinn::ClientConfig::new(Arc::new(QuicClientConfig::try_from(tls)?));
        client.transport_config(Arc::new(transport));
        Ok(client)
    }
}
