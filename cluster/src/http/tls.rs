//! The node's certificate, read again from disk when it changes, without dropping anyone: rustls
//! asks for it at each handshake. One that an authority gives by ACME may not be there yet.

use std::path::{Path, PathBuf};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::{Duration, SystemTime};

use rustls::ServerConfig;
use rustls::crypto::CryptoProvider;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;

/// The files are looked at this often.
const LOOK_EVERY: Duration = Duration::from_secs(2);

/// The ALPN name of TLS-ALPN-01 challenges (RFC 8737 section 6.2).
const ACME_TLS: &[u8] = b"acme-tls/1";

/// Where the certificate is. One file may hold both.
#[derive(Debug, Clone)]
pub struct Files {
    /// The chain, leaf first, in PEM.
    pub certificates: PathBuf,
    /// Its private key, in PEM.
    pub key: PathBuf,
}

/// Why files are no certificate to serve.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// Cannot be read, or is no PEM.
    #[error("{0}: {1}: give a certificate chain and its private key in PEM, readable by this user")]
    Unreadable(PathBuf, rustls::pki_types::pem::Error),
    /// Holds no certificate.
    #[error("{0} holds no certificate")]
    Empty(PathBuf),
    /// The key is not the certificate's, or of an unknown kind.
    #[error("{0} is not the private key of that certificate: {1}")]
    Mismatch(PathBuf, rustls::Error),
    /// rustls refuses the configuration: a bug of ours.
    #[error(transparent)]
    Rustls(#[from] rustls::Error),
}

#[derive(Debug)]
struct Current {
    certificate: RwLock<Option<Arc<CertifiedKey>>>,
    /// What answers the authority's TLS-ALPN-01 challenges.
    challenges: Option<Arc<dyn ResolvesServerCert>>,
}

impl ResolvesServerCert for Current {
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        match &self.challenges {
            Some(challenges) if is_challenge(&hello) => challenges.resolve(hello),
            _ => self.certificate.read().unwrap_or_else(PoisonError::into_inner).clone(),
        }
    }
}

/// Whether it is an authority's TLS-ALPN-01 challenge: those offer that protocol alone (RFC 8737 section 3).
fn is_challenge(hello: &ClientHello<'_>) -> bool {
    hello.alpn().is_some_and(|protocols| protocols.eq([ACME_TLS]))
}

/// A server configuration that follows the files. Call it within a tokio runtime: a task there looks
/// at them until the configuration is dropped.
///
/// # Errors
/// [`TlsError`] for the files as they are now; later ones that are no good are logged, and the last
/// good ones stay.
pub fn follow(files: Files) -> Result<Arc<ServerConfig>, TlsError> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let loaded = load(&files, &provider)?;
    config(files, provider, Some(loaded), None)
}

/// The same for files that an ACME client writes, and that need not be there yet: until they are,
/// handshakes fail, but for those of `challenges` (TLS-ALPN-01, RFC 8737).
///
/// # Errors
/// As [`follow`], for files that are there.
pub fn await_certificate(
    files: Files,
    challenges: Arc<dyn ResolvesServerCert>,
) -> Result<Arc<ServerConfig>, TlsError> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let there = files.certificates.exists() || files.key.exists();
    let loaded = if there { Some(load(&files, &provider)?) } else { None };
    config(files, provider, loaded, Some(challenges))
}

fn config(
    files: Files,
    provider: Arc<CryptoProvider>,
    loaded: Option<CertifiedKey>,
    challenges: Option<Arc<dyn ResolvesServerCert>>,
) -> Result<Arc<ServerConfig>, TlsError> {
    let alpn = challenges.is_some().then(|| ACME_TLS.to_vec());
    let current = Arc::new(Current { certificate: RwLock::new(loaded.map(Arc::new)), challenges });
    let weak = Arc::downgrade(&current);
    let mut config = ServerConfig::builder_with_provider(Arc::clone(&provider))
        .with_safe_default_protocol_versions()?
        .with_no_client_auth()
        .with_cert_resolver(current);
    // Behind those of HTTP, which the listener puts in front.
    config.alpn_protocols.extend(alpn);
    tokio::spawn(async move {
        let mut seen = stamp(&files);
        loop {
            tokio::time::sleep(LOOK_EVERY).await;
            let Some(current) = weak.upgrade() else { return };
            let stamp = stamp(&files);
            if stamp == seen {
                continue;
            }
            seen = stamp;
            match load(&files, &provider) {
                Ok(fresh) => {
                    let fresh = Some(Arc::new(fresh));
                    *current.certificate.write().unwrap_or_else(PoisonError::into_inner) = fresh;
                    tracing::info!(file = %files.certificates.display(), "certificate reloaded");
                }
                Err(error) => tracing::error!(%error, "the new certificate is no good; the old one stays"),
            }
        }
    });
    Ok(Arc::new(config))
}

fn stamp(files: &Files) -> [Option<(SystemTime, u64)>; 2] {
    let stamp = |path: &Path| {
        let meta = std::fs::metadata(path).ok()?;
        Some((meta.modified().ok()?, meta.len()))
    };
    [stamp(&files.certificates), stamp(&files.key)]
}

fn load(files: &Files, provider: &CryptoProvider) -> Result<CertifiedKey, TlsError> {
    let unreadable = |path: &Path| {
        let path = path.to_owned();
        move |error| TlsError::Unreadable(path, error)
    };
    let chain = CertificateDer::pem_file_iter(&files.certificates)
        .and_then(Iterator::collect::<Result<Vec<_>, _>>)
        .map_err(unreadable(&files.certificates))?;
    if chain.is_empty() {
        return Err(TlsError::Empty(files.certificates.clone()));
    }
    let key = PrivateKeyDer::from_pem_file(&files.key).map_err(unreadable(&files.key))?;
    CertifiedKey::from_der(chain, key, provider).map_err(|error| TlsError::Mismatch(files.key.clone(), error))
}
