//! A certificate authority for one developer's LAN: phones trust it by hand, so it is not the
//! cluster's, and makes certificates for this machine's address only.

use std::net::IpAddr;
use std::path::Path;
use std::time::{Duration, SystemTime};

use anyhow::{Context, Result};
use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer,
    KeyPair, KeyUsagePurpose, SanType,
};

use crate::files;

const DAY: Duration = Duration::from_secs(24 * 3600);
/// Phones trust it for this long at most.
const CA_LASTS: Duration = DAY.saturating_mul(365);
/// iOS refuses server certificates that last longer than 825 days; one is made at each start.
const CERTIFICATE_LASTS: Duration = DAY.saturating_mul(90);
/// Clocks may differ by this.
const SKEW: Duration = Duration::from_secs(3600);

/// The authority, with its key.
pub(super) struct LanCa {
    issuer: Issuer<'static, KeyPair>,
    /// Its certificate, in PEM.
    pub(super) pem: String,
}

impl LanCa {
    /// Reads it from `dir`, or makes it there.
    pub(super) fn open(dir: &Path) -> Result<Self> {
        let (certificate, key) = (dir.join("ca.pem"), dir.join("ca.key"));
        if !certificate.exists() {
            let (made, pair) = make()?;
            // The key first: a start that is cut short between the two makes both anew.
            files::write(&key, &pair, 0o600)?;
            files::write(&certificate, &made, 0o644)?;
        }
        let damaged = || format!("{} is damaged: remove it, and trust the new CA", dir.display());
        let pem = std::fs::read_to_string(&certificate).with_context(damaged)?;
        let pair = KeyPair::from_pem(&std::fs::read_to_string(&key).with_context(damaged)?);
        let issuer = Issuer::from_ca_cert_pem(&pem, pair.with_context(damaged)?).with_context(damaged)?;
        Ok(Self { issuer, pem })
    }

    /// A certificate for HTTPS and TURN over TLS at this address and this name, and its key, in PEM.
    pub(super) fn https(&self, address: IpAddr, hostname: Option<&str>) -> Result<(String, String)> {
        let key = KeyPair::generate()?;
        let mut params = params("Chappe", CERTIFICATE_LASTS);
        params.subject_alt_names =
            vec![SanType::IpAddress(address), SanType::DnsName("localhost".try_into()?)];
        if let Some(hostname) = hostname {
            params.subject_alt_names.push(SanType::DnsName(hostname.try_into()?));
        }
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        params.use_authority_key_identifier_extension = true;
        let certificate = params.signed_by(&key, &self.issuer)?;
        Ok((certificate.pem(), key.serialize_pem()))
    }
}

fn params(name: &str, lasts: Duration) -> CertificateParams {
    let mut params = CertificateParams::default();
    params.distinguished_name = DistinguishedName::new();
    params.distinguished_name.push(DnType::CommonName, name);
    let now = SystemTime::UNIX_EPOCH + chappe_cluster::clock::unix().0;
    params.not_before = (now - SKEW).into();
    params.not_after = (now + lasts).into();
    params
}

fn make() -> Result<(String, String)> {
    let pair = KeyPair::generate()?;
    let mut params = params("Chappe development CA", CA_LASTS);
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    Ok((params.self_signed(&pair)?.pem(), pair.serialize_pem()))
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use rustls::RootCertStore;
    use rustls::client::WebPkiServerVerifier;
    use rustls::client::danger::ServerCertVerifier as _;
    use rustls::pki_types::pem::PemObject as _;
    use rustls::pki_types::{CertificateDer, ServerName, UnixTime};

    use super::*;

    #[test]
    fn its_certificates_are_for_the_address_and_the_name_alone() {
        let dir = tempfile::tempdir().unwrap();
        let authority = LanCa::open(dir.path()).unwrap();
        let mut roots = RootCertStore::empty();
        roots.add(CertificateDer::from_pem_slice(authority.pem.as_bytes()).unwrap()).unwrap();
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let verifier =
            WebPkiServerVerifier::builder_with_provider(Arc::new(roots), provider).build().unwrap();
        let address = "192.0.2.7".parse().unwrap();
        // The same authority after a restart.
        let authority = LanCa::open(dir.path()).unwrap();
        for hostname in [None, Some("desk.example")] {
            let (pem, _) = authority.https(address, hostname).unwrap();
            let certificate = CertificateDer::from_pem_slice(pem.as_bytes()).unwrap();
            let now = UnixTime::since_unix_epoch(chappe_cluster::clock::unix().0);
            let good = |name: &str| {
                let name = ServerName::try_from(name.to_owned()).unwrap();
                verifier.verify_server_cert(&certificate, &[], &name, &[], now).is_ok()
            };
            assert!(good("192.0.2.7") && good("localhost"));
            assert_eq!(good("desk.example"), hostname.is_some());
            assert!(!good("192.0.2.8") && !good("other.example"));
        }
    }
}
