//! What proves to an authority that names are this machine's, while it asks, and how the certificate is.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, PoisonError, RwLock};

use chappe_cluster::http::Acme;
use chappe_edge::AcmeClient;
use rcgen::{CertificateParams, CustomExtension, KeyPair};
use rustls::crypto::ring::default_provider;
use rustls::pki_types::PrivatePkcs8KeyDer;
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;

/// Bytes of a SHA-256 digest.
const DIGEST: usize = 32;

/// The answers to open challenges: at most one of each name of an order, and none once it is over.
#[derive(Default)]
pub(crate) struct Answers(RwLock<Open>);

#[derive(Default)]
struct Open {
    /// Key authorizations by their tokens.
    http: BTreeMap<String, String>,
    /// Challenge certificates by their names.
    tls: BTreeMap<String, Arc<CertifiedKey>>,
    trouble: Option<String>,
}

impl fmt::Debug for Answers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Answers")
    }
}

impl Answers {
    fn change(&self, by: impl FnOnce(&mut Open)) {
        by(&mut self.0.write().unwrap_or_else(PoisonError::into_inner));
    }

    fn see<T>(&self, what: impl FnOnce(&Open) -> T) -> T {
        what(&self.0.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// Answers an HTTP-01 challenge (RFC 8555 section 8.3).
    pub(super) fn open_http(&self, token: &str, authorization: &str) {
        self.change(|open| drop(open.http.insert(token.to_owned(), authorization.to_owned())));
    }

    /// Answers a TLS-ALPN-01 challenge, of whose key authorization this is the SHA-256 digest.
    ///
    /// # Errors
    /// When no certificate can be made of it.
    pub(super) fn open_tls(&self, name: &str, digest: &[u8]) -> Result<(), String> {
        let certified = Arc::new(challenge_certificate(name, digest)?);
        self.change(|open| drop(open.tls.insert(name.to_owned(), certified)));
        Ok(())
    }

    /// Answers nothing any more.
    pub(super) fn close(&self) {
        self.change(|open| {
            open.http.clear();
            open.tls.clear();
        });
    }

    /// Tells how the certificate is: nothing where all is well.
    pub(super) fn tell(&self, trouble: Option<String>) {
        self.change(|open| open.trouble = trouble);
    }
}

/// A self-signed certificate for one name, with the digest in a critical extension (RFC 8737 section 3).
fn challenge_certificate(name: &str, digest: &[u8]) -> Result<CertifiedKey, String> {
    if digest.len() != DIGEST {
        return Err(format!("a digest of {} bytes", digest.len()));
    }
    let made = || {
        let mut params = CertificateParams::new([name.to_owned()])?;
        params.custom_extensions = vec![CustomExtension::new_acme_identifier(digest)];
        let key = KeyPair::generate()?;
        Ok((params.self_signed(&key)?, key))
    };
    let (certificate, key) = made().map_err(|error: rcgen::Error| error.to_string())?;
    let key = PrivatePkcs8KeyDer::from(key.serialize_der()).into();
    let key = default_provider().key_provider.load_private_key(key).map_err(|error| error.to_string())?;
    // Unchecked: the critical extension is one that no verifier of the web knows, and is to refuse.
    Ok(CertifiedKey::new(vec![certificate.der().clone()], key))
}

impl ResolvesServerCert for Answers {
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        // rustls has it in lower case already.
        let name = hello.server_name()?;
        self.see(|open| open.tls.get(name).cloned())
    }
}

impl AcmeClient for Answers {
    fn trouble(&self) -> Option<String> {
        self.see(|open| open.trouble.clone())
    }
}

impl Acme for Answers {
    fn answer(&self, token: &str) -> Option<String> {
        self.see(|open| open.http.get(token).cloned())
    }

    fn trouble(&self) -> Option<String> {
        AcmeClient::trouble(self)
    }
}

#[cfg(test)]
mod tests {
    use x509_parser::parse_x509_certificate;

    use super::*;

    #[test]
    fn a_challenge_is_answered_while_it_is_open() {
        let answers = Answers::default();
        assert_eq!(answers.answer("t"), None);
        answers.open_http("t", "t.thumb");
        assert_eq!(answers.answer("t").as_deref(), Some("t.thumb"));
        assert_eq!(answers.answer("T"), None);
        answers.close();
        assert_eq!(answers.answer("t"), None);
    }

    #[test]
    fn a_tls_challenge_is_answered_by_a_critical_extension_for_the_one_name() {
        let made = challenge_certificate("a.test", &[7; 32]).unwrap();
        let (_, read) = parse_x509_certificate(&made.cert[0]).unwrap();
        let names = read.subject_alternative_name().unwrap().unwrap();
        assert_eq!(names.value.general_names.len(), 1);
        let acme = read.extensions().iter().find(|it| it.oid.to_id_string() == "1.3.6.1.5.5.7.1.31").unwrap();
        assert!(acme.critical);
        assert_eq!(acme.value, [&[4, 32][..], &[7; 32]].concat(), "an OCTET STRING of the digest");
        assert!(challenge_certificate("a.test", &[7; 31]).is_err());
    }

    #[test]
    fn what_is_open_is_not_printed() {
        let answers = Answers::default();
        answers.open_http("token", "token.thumb");
        assert!(!format!("{answers:?}").contains("token"));
    }
}
