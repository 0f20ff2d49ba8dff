//! The edge's certificate and the authorities that it trusts, as they change: the certificate is made anew in
//! time, and at once where another authority certifies (RFC 5280 has no other way to tell that one is to go).

use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use chappe_proto::limits::CERTIFICATE_RENEW_AT;
use chappe_proto::mesh::uplink::{Certificate, NodeAt};
use chappe_proto::time::Unix;
use rustls::pki_types::CertificateDer;
use x509_parser::prelude::{FromDer, X509Certificate};

use super::tls::{Tls, TlsError};

/// Where what an edge learns of its cluster is kept for its next start. Called off the edge's threads, one at a
/// time; what fails is told in the log, and the edge goes on with what it has in memory.
pub trait Keep: std::fmt::Debug + Send + Sync {
    /// The edge's certificate is this one, for the same key.
    ///
    /// # Errors
    /// Those of the disk.
    fn certificate(&self, certificate: &CertificateDer<'_>) -> std::io::Result<()>;

    /// The authorities by which nodes are known are these.
    ///
    /// # Errors
    /// Those of the disk.
    fn authorities(&self, authorities: &[CertificateDer<'_>]) -> std::io::Result<()>;

    /// The nodes are these.
    ///
    /// # Errors
    /// Those of the disk.
    fn nodes(&self, nodes: &[NodeAt]) -> std::io::Result<()>;
}

/// What the uplinks present and trust.
pub(crate) struct Identity {
    tls: Tls,
    client: quinn::ClientConfig,
    /// SubjectPublicKeyInfo of the key, in DER; none of a certificate that cannot be read.
    public_key: Option<Vec<u8>>,
    /// Counts what was presented.
    pub(super) generation: u64,
}

impl Identity {
    pub(crate) fn new(tls: Tls) -> Result<Self, TlsError> {
        let client = tls.clone().client()?;
        let own = tls.certificates.first().and_then(|der| X509Certificate::from_der(der).ok());
        let public_key = own.map(|(_, own)| own.public_key().raw.to_vec());
        Ok(Self { tls, client, public_key, generation: 0 })
    }

    pub(super) fn client(&self) -> quinn::ClientConfig {
        self.client.clone()
    }

    /// The public key that is to be certified anew, where it is time.
    pub(super) fn is_due(&self, now: Unix) -> Option<Vec<u8>> {
        let own = self.tls.certificates.first()?;
        let (_, own) = X509Certificate::from_der(own).ok()?;
        let at = |secs: i64| u64::try_from(secs).unwrap_or(0);
        let (from, to) =
            (at(own.validity().not_before.timestamp()), at(own.validity().not_after.timestamp()));
        let due = from + to.saturating_sub(from) * u64::from(CERTIFICATE_RENEW_AT) / 100;
        // The newest is the last one.
        let newest = self.tls.roots.last().and_then(|der| X509Certificate::from_der(der).ok());
        let is_current =
            newest.is_none_or(|(_, newest)| own.verify_signature(Some(newest.public_key())).is_ok());
        (now.secs() >= due || !is_current).then(|| self.public_key.clone()).flatten()
    }

    /// A new certificate, if it is one for this edge's key; and whether it stands: one that is due itself at once
    /// is kept, and presented where an uplink is made anew anyway.
    pub(super) fn renew(
        &mut self,
        certificate: Certificate,
        now: Unix,
    ) -> Result<(CertificateDer<'static>, bool), TlsError> {
        let certificate = CertificateDer::from(certificate.0);
        let tls = Tls { certificates: vec![certificate.clone()], ..self.tls.clone() };
        self.client = tls.clone().client()?;
        self.tls = tls;
        let stands = self.is_due(now).is_none();
        self.generation += u64::from(stands);
        Ok((certificate, stands))
    }

    /// The authorities are these: whether they were others, and can be trusted.
    pub(super) fn trust<'a>(
        &mut self,
        authorities: impl Iterator<Item = &'a Certificate>,
    ) -> Result<Option<Vec<CertificateDer<'static>>>, TlsError> {
        let roots: Vec<_> = authorities.map(|held| CertificateDer::from(held.0.clone())).collect();
        // An older node says none.
        if roots.is_empty() || roots == self.tls.roots {
            return Ok(None);
        }
        let tls = Tls { roots: roots.clone(), ..self.tls.clone() };
        self.client = tls.clone().client()?;
        self.tls = tls;
        Ok(Some(roots))
    }
}

/// What is learnt is written in its order, and the feed does not wait for it.
pub(super) struct Keeper {
    keep: Arc<dyn Keep>,
    turn: tokio::sync::Mutex<()>,
}

impl Keeper {
    pub(super) fn new(keep: Arc<dyn Keep>) -> Rc<Self> {
        Rc::new(Self { keep, turn: tokio::sync::Mutex::new(()) })
    }

    /// Begins to write, off the edge's threads.
    pub(super) fn write(
        self: Rc<Self>,
        what: &'static str,
        write: impl FnOnce(&dyn Keep) -> std::io::Result<()> + Send + 'static,
    ) {
        tokio::task::spawn_local(async move {
            let _turn = self.turn.lock().await;
            let keep = Arc::clone(&self.keep);
            let written = tokio::task::spawn_blocking(move || write(&*keep)).await;
            if let Err(error) = written.unwrap_or_else(|panic| Err(std::io::Error::other(panic))) {
                tracing::warn!(%error, "{what} cannot be kept: the next start begins with what was kept before");
            }
        });
    }
}

/// The clock is looked at this often at least: it may be set.
pub(super) const LOOK_EVERY: Duration = Duration::from_secs(60);

/// After a certificate that was due itself at once the next one is asked for this much later.
pub(super) const RENEW_AGAIN: Duration = Duration::from_secs(3600);

#[cfg(test)]
mod tests {
    use rcgen::{CertificateParams, KeyPair};
    use rustls::pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};

    use super::*;

    #[test]
    fn a_certificate_that_is_due_at_once_is_kept_and_makes_no_uplink_anew() {
        let (key, now) = (KeyPair::generate().unwrap(), Unix::from_secs(2_000_000_000));
        // Its own authority.
        let certified = |from: u64, to: u64| {
            let mut params = CertificateParams::new(vec!["edge".to_owned()]).unwrap();
            let at = |secs| std::time::SystemTime::UNIX_EPOCH + Duration::from_secs(secs);
            (params.not_before, params.not_after) = (at(from).into(), at(to).into());
            params.self_signed(&key).unwrap().der().clone()
        };
        let first = certified(now.secs() - 1000, now.secs() + 10);
        let private = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(key.serialize_der()));
        let tls = Tls { certificates: vec![first.clone()], key: private, roots: vec![first] };
        let mut identity = Identity::new(tls).unwrap();
        assert!(identity.is_due(now).is_some());
        // The edge's clock is far ahead of its node's.
        let behind = certified(now.secs() - 1000, now.secs() + 20);
        let (kept, stands) = identity.renew(Certificate(behind.to_vec()), now).unwrap();
        assert_eq!((kept == behind, stands, identity.generation), (true, false, 0));
        let fine = certified(now.secs() - 10, now.secs() + 1000);
        let (_, stands) = identity.renew(Certificate(fine.to_vec()), now).unwrap();
        assert_eq!((stands, identity.generation, identity.is_due(now)), (true, 1, None));
    }
}
