//! Listeners' certificates, read again from disk when they change, without dropping anyone: they are asked
//! for at each handshake. One that an authority gives by ACME may not be there yet.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::time::{Duration, SystemTime};

use chappe_proto::time::Unix;
use dimpl::crypto::rust_crypto::default_provider as default_dtls_provider;
use rustls::crypto::ring::{Ticketer, default_provider};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;
use rustls::{ServerConfig, SignatureAlgorithm};
use tokio::sync::watch;
use x509_parser::prelude::{FromDer, X509Certificate};

use crate::config::{Acme, CertificateFiles};
use crate::error::CertificateError;

/// The files are looked at this often.
const LOOK_EVERY: Duration = Duration::from_secs(2);
/// ALPN names of what a TURN listener speaks (RFC 7443 section 3). A client need not name any.
const STUN: [&[u8]; 2] = [b"stun.turn", b"stun.nat-discovery"];
/// The ALPN name of HTTP/1.1: of timing fetches, and of a web server that shares the port.
pub(crate) const HTTP: &[u8] = b"http/1.1";
/// The ALPN name of TLS-ALPN-01 challenges (RFC 8737 section 6.2).
const ACME_TLS: &[u8] = b"acme-tls/1";

/// A certificate with its key, as both protocols want it.
#[derive(Debug)]
pub(crate) struct Loaded {
    pub(crate) certified: Arc<CertifiedKey>,
    pub(crate) key: PrivateKeyDer<'static>,
}

impl Loaded {
    /// Whether DTLS can use it.
    fn check(&self, files: &CertificateFiles) -> Result<(), CertificateError> {
        let keys = default_dtls_provider().key_provider;
        let known = keys.load_private_key(self.key.secret_der()).is_ok();
        if known && self.certified.key.algorithm() == SignatureAlgorithm::ECDSA {
            return Ok(());
        }
        Err(CertificateError::NotEcdsa(files.key.clone()))
    }
}

/// What tells that a file has changed.
type Stamp = [Option<(SystemTime, u64)>; 2];

/// The certificate of some files, as they are by now.
#[derive(Debug)]
pub(crate) struct Certificate {
    files: CertificateFiles,
    /// Whether a DTLS listener has it too.
    ecdsa: AtomicBool,
    /// Who gets it, where an authority gives it.
    acme: Option<Acme>,
    current: RwLock<Option<Arc<Loaded>>>,
    seen: Mutex<Stamp>,
}

impl Certificate {
    /// Reads the files; `ecdsa` when DTLS needs the key. With `acme` they need not be there yet.
    fn read(files: &CertificateFiles, ecdsa: bool, acme: Option<&Acme>) -> Result<Self, CertificateError> {
        let seen = stamp(files);
        let awaited = acme.is_some() && seen == Stamp::default();
        let loaded = if awaited { None } else { Some(Arc::new(load(files, ecdsa)?)) };
        Ok(Self {
            files: files.clone(),
            ecdsa: AtomicBool::new(ecdsa),
            acme: acme.cloned(),
            current: RwLock::new(loaded),
            seen: Mutex::new(seen),
        })
    }

    /// As it is by now; none while the first one is awaited.
    pub(crate) fn current(&self) -> Option<Arc<Loaded>> {
        self.current.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Why there is none, while there is none.
    pub(crate) fn missing(&self) -> Option<String> {
        if self.current().is_some() {
            return None;
        }
        let trouble = self.acme.as_ref().and_then(|acme| acme.0.trouble());
        Some(trouble.unwrap_or_else(|| "the authority has not given its first certificate yet".to_owned()))
    }

    /// When the first certificate of its chain ends, where that can be read.
    pub(crate) fn until(&self) -> Option<Unix> {
        let until = |certificate: &CertificateDer<'_>| {
            let (_, certificate) = X509Certificate::from_der(certificate).ok()?;
            u64::try_from(certificate.validity().not_after.timestamp()).ok().map(Unix::from_secs)
        };
        self.current()?.certified.cert.iter().filter_map(until).min()
    }

    /// Reads the files again where they have changed. New ones that are no good are logged, once; the old
    /// certificate stays.
    fn look(&self) {
        let stamp = stamp(&self.files);
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        if *seen == stamp {
            return;
        }
        *seen = stamp;
        match load(&self.files, self.ecdsa.load(Ordering::Relaxed)) {
            Ok(fresh) => {
                *self.current.write().unwrap_or_else(PoisonError::into_inner) = Some(Arc::new(fresh));
                tracing::info!(file = %self.files.chain.display(), "certificate reloaded");
            }
            Err(error) => tracing::error!(%error, "the new certificate is no good; the old one stays"),
        }
    }

    /// What TLS handshakes go by.
    pub(crate) fn server(self: &Arc<Self>) -> Result<Arc<ServerConfig>, CertificateError> {
        let refused = |error: rustls::Error| CertificateError::Refused(error.to_string());
        let mut config = ServerConfig::builder_with_provider(Arc::new(default_provider()))
            .with_safe_default_protocol_versions()
            .map_err(refused)?
            .with_no_client_auth()
            .with_cert_resolver(Arc::new(Resolver(self.clone())));
        let acme = self.acme.is_some().then_some(ACME_TLS);
        let protocols = STUN.iter().copied().chain([HTTP]).chain(acme);
        config.alpn_protocols = protocols.map(<[u8]>::to_vec).collect();
        config.ticketer = Ticketer::new().map_err(refused)?;
        config.send_tls13_tickets = 1;
        Ok(Arc::new(config))
    }
}

#[derive(Debug)]
struct Resolver(Arc<Certificate>);

impl ResolvesServerCert for Resolver {
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        match &self.0.acme {
            Some(acme) if is_challenge(&hello) => acme.0.resolve(hello),
            _ => Some(self.0.current()?.certified.clone()),
        }
    }
}

/// Whether it is an authority's TLS-ALPN-01 challenge: those offer that protocol alone (RFC 8737 section 3).
fn is_challenge(hello: &ClientHello<'_>) -> bool {
    hello.alpn().is_some_and(|protocols| protocols.eq([ACME_TLS]))
}

/// All certificates of an edge.
#[derive(Clone, Debug, Default)]
pub(crate) struct Certificates(BTreeMap<CertificateFiles, Arc<Certificate>>);

impl Certificates {
    /// The certificate of these files, read where no listener before had them. `ecdsa` when it is for DTLS;
    /// `acme` gets it, where an authority gives it.
    pub(crate) fn get(
        &mut self,
        files: &CertificateFiles,
        ecdsa: bool,
        acme: Option<&Acme>,
    ) -> Result<Arc<Certificate>, CertificateError> {
        if let Some(known) = self.0.get(files) {
            if ecdsa {
                known.current().map_or(Ok(()), |loaded| loaded.check(files))?;
                known.ecdsa.store(true, Ordering::Relaxed);
            }
            return Ok(known.clone());
        }
        let fresh = Arc::new(Certificate::read(files, ecdsa, acme)?);
        self.0.insert(files.clone(), fresh.clone());
        Ok(fresh)
    }

    /// The certificate of these files, where a listener has it.
    pub(crate) fn known(&self, files: &CertificateFiles) -> Option<Arc<Certificate>> {
        self.0.get(files).cloned()
    }

    /// When the first of them ends.
    pub(crate) fn until(&self) -> Option<Unix> {
        self.0.values().filter_map(|certificate| certificate.until()).min()
    }

    /// Reads again what has changed.
    fn look(&self) {
        for certificate in self.0.values() {
            certificate.look();
        }
    }

    /// Keeps them as the files are, until the edge stops.
    pub(crate) async fn follow(self, mut stop: watch::Receiver<bool>) {
        if self.0.is_empty() {
            return;
        }
        loop {
            tokio::select! {
                () = tokio::time::sleep(LOOK_EVERY) => self.look(),
                _ = stop.wait_for(|stop| *stop) => return,
            }
        }
    }
}

fn stamp(files: &CertificateFiles) -> Stamp {
    let stamp = |path: &Path| {
        let meta = fs::metadata(path).ok()?;
        Some((meta.modified().ok()?, meta.len()))
    };
    [stamp(&files.chain), stamp(&files.key)]
}

fn load(files: &CertificateFiles, ecdsa: bool) -> Result<Loaded, CertificateError> {
    let unreadable = |path: &Path| {
        let path = path.to_owned();
        move |error| CertificateError::Unreadable(path, error)
    };
    let chain = CertificateDer::pem_file_iter(&files.chain)
        .and_then(Iterator::collect::<Result<Vec<_>, _>>)
        .map_err(unreadable(&files.chain))?;
    if chain.is_empty() {
        return Err(CertificateError::Empty(files.chain.clone()));
    }
    let key = PrivateKeyDer::from_pem_file(&files.key).map_err(unreadable(&files.key))?;
    let certified = CertifiedKey::from_der(chain, key.clone_key(), &default_provider())
        .map_err(|error| CertificateError::Mismatch(files.key.clone(), error))?;
    let loaded = Loaded { certified: Arc::new(certified), key };
    if ecdsa {
        loaded.check(files)?;
    }
    Ok(loaded)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn write(files: &CertificateFiles, key: &rcgen::KeyPair) -> CertificateDer<'static> {
        let params = rcgen::CertificateParams::new(vec!["turn.test".to_owned()]).unwrap();
        let certificate = params.self_signed(key).unwrap();
        fs::write(&files.chain, certificate.pem()).unwrap();
        fs::write(&files.key, key.serialize_pem()).unwrap();
        certificate.der().clone()
    }

    fn files(directory: &tempfile::TempDir) -> CertificateFiles {
        CertificateFiles { chain: directory.path().join("chain.pem"), key: directory.path().join("key.pem") }
    }

    #[test]
    fn changed_files_are_read_again_and_bad_ones_leave_the_old_certificate() {
        let directory = tempfile::tempdir().unwrap();
        let files = files(&directory);
        let first = write(&files, &rcgen::KeyPair::generate().unwrap());
        let mut all = Certificates::default();
        let certificate = all.get(&files, true, None).unwrap();
        assert!(
            Arc::ptr_eq(&certificate, &all.get(&files, false, None).unwrap()),
            "one for all that share it"
        );
        assert_eq!(certificate.current().unwrap().certified.cert[0], first);
        fs::write(&files.key, "no key").unwrap();
        all.look();
        assert_eq!(certificate.current().unwrap().certified.cert[0], first);
        let second = write(&files, &rcgen::KeyPair::generate().unwrap());
        all.look();
        assert_eq!(certificate.current().unwrap().certified.cert[0], second);
    }

    #[test]
    fn files_that_are_no_good_say_which_and_why() {
        let directory = tempfile::tempdir().unwrap();
        let files = files(&directory);
        let error = |ecdsa| Certificates::default().get(&files, ecdsa, None).unwrap_err().to_string();
        assert!(error(false).contains("chain.pem"), "{}", error(false));
        write(&files, &rcgen::KeyPair::generate().unwrap());
        fs::write(&files.key, rcgen::KeyPair::generate().unwrap().serialize_pem()).unwrap();
        assert!(error(false).contains("key.pem is not the private key"), "{}", error(false));
        fs::write(&files.chain, "").unwrap();
        assert!(error(false).contains("holds no certificate"), "{}", error(false));
        write(&files, &rcgen::KeyPair::generate_for(&rcgen::PKCS_ED25519).unwrap());
        assert!(error(true).contains("no ECDSA key"), "{}", error(true));
    }
}
