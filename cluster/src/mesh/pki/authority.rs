//! The authority: it certifies nodes and edges, and may name nothing else.

use std::time::{Duration, SystemTime};

use chappe_proto::id::ClusterId;
use chappe_proto::limits::{AUTHORITY_TTL, CERTIFICATE_TTL, CLOCK_SKEW};
use chappe_proto::registry::State;
use chappe_proto::time::Unix;
use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, GeneralSubtree,
    IsCa, Issuer, KeyPair, KeyUsagePurpose, NameConstraints, PublicKeyData, SanType, SubjectPublicKeyInfo,
};
use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};
use x509_parser::prelude::{FromDer, X509Certificate};

use super::{Holder, Issued, PkiError, label};

/// The authority, with its private key.
pub struct Authority {
    cluster: ClusterId,
    pub(super) issuer: Issuer<'static, KeyPair>,
    certificate: CertificateDer<'static>,
    ttl: Duration,
}

impl Authority {
    /// A new one.
    ///
    /// # Errors
    /// [`PkiError::Make`].
    pub fn make(cluster: ClusterId, now: Unix) -> Result<Self, PkiError> {
        let key = KeyPair::generate()?;
        let certificate = authority(&cluster, now)?.self_signed(&key)?.der().clone();
        Self::new(cluster, certificate, key)
    }

    /// Of its certificate and its private key, PKCS #8 in DER.
    ///
    /// # Errors
    /// [`PkiError::Stranger`] when it is another cluster's, [`PkiError::Malformed`] when the key is another
    /// one's.
    pub fn of(cluster: ClusterId, certificate: &[u8], key: &[u8]) -> Result<Self, PkiError> {
        let key = KeyPair::try_from(&PrivatePkcs8KeyDer::from(key))?;
        Self::new(cluster, CertificateDer::from(certificate.to_vec()), key)
    }

    /// The one that certifies in a cluster, by its registry; none before it has begun.
    ///
    /// # Errors
    /// As [`Self::of`].
    pub fn newest(state: &State) -> Result<Option<Self>, PkiError> {
        let (Some(cluster), Some((_, newest))) = (state.cluster(), state.authorities().newest()) else {
            return Ok(None);
        };
        Self::of(cluster.id, &newest.certificate.0, &newest.key.0).map(Some)
    }

    fn new(cluster: ClusterId, certificate: CertificateDer<'static>, key: KeyPair) -> Result<Self, PkiError> {
        {
            let (_, parsed) = X509Certificate::from_der(&certificate).map_err(|_| PkiError::Malformed)?;
            if parsed.public_key().raw != key.subject_public_key_info() {
                return Err(PkiError::Malformed);
            }
            let mut names = parsed.subject().iter_common_name().filter_map(|name| name.as_str().ok());
            if names.next() != Some(&common_name(&cluster)) {
                return Err(PkiError::Stranger);
            }
        }
        let issuer = Issuer::from_ca_cert_der(&certificate, key)?;
        Ok(Self { cluster, issuer, certificate, ttl: CERTIFICATE_TTL })
    }

    /// The same, certifying for another time than [`CERTIFICATE_TTL`].
    #[must_use]
    pub fn lasting(self, ttl: Duration) -> Self {
        Self { ttl, ..self }
    }

    /// A certificate of this authority for another one: who trusts this one trusts what that certifies.
    ///
    /// # Errors
    /// [`PkiError::Make`].
    pub fn vouch_for(&self, other: &Self, now: Unix) -> Result<CertificateDer<'static>, PkiError> {
        let key = SubjectPublicKeyInfo::from_der(&other.issuer.key().subject_public_key_info())?;
        Ok(authority(&self.cluster, now)?.signed_by(&key, &self.issuer)?.der().clone())
    }

    /// Its private key, PKCS #8 in DER.
    #[must_use]
    pub fn key(&self) -> Vec<u8> {
        self.issuer.key().serialize_der()
    }

    /// The authority's certificate: what others trust.
    #[must_use]
    pub const fn certificate(&self) -> &CertificateDer<'static> {
        &self.certificate
    }

    /// A new key and its certificate.
    ///
    /// # Errors
    /// [`PkiError::Make`].
    pub fn issue(&self, holder: &Holder, now: Unix) -> Result<Issued, PkiError> {
        let key = KeyPair::generate()?;
        let certificate = self.sign(holder, &key, now)?;
        let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(key.serialize_der()));
        Ok(Issued { certificate, authority: self.certificate.clone(), key })
    }

    /// A certificate for a public key (SubjectPublicKeyInfo in DER) whose private half stays with
    /// its holder.
    ///
    /// # Errors
    /// [`PkiError::Make`] when it is no such key.
    pub fn certify(
        &self,
        holder: &Holder,
        public_key: &[u8],
        now: Unix,
    ) -> Result<CertificateDer<'static>, PkiError> {
        self.sign(holder, &SubjectPublicKeyInfo::from_der(public_key)?, now)
    }

    fn sign(
        &self,
        holder: &Holder,
        key: &impl PublicKeyData,
        now: Unix,
    ) -> Result<CertificateDer<'static>, PkiError> {
        let label = label(&self.cluster);
        let (hosts, uri) = match holder {
            Holder::Node(id) => (
                vec![format!("node-{id}.{label}.chappe"), format!("node.{label}.chappe")],
                format!("node/{id}"),
            ),
            Holder::Edge(name) => (vec![format!("edge.{label}.chappe")], format!("edge/{name}")),
        };
        let mut params = CertificateParams::new(hosts)?;
        params.subject_alt_names.push(SanType::URI(format!("chappe://{label}/{uri}").try_into()?));
        params.distinguished_name = named(&holder.to_string());
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.extended_key_usages =
            vec![ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth];
        params.use_authority_key_identifier_extension = true;
        lasts(&mut params, now, self.ttl);
        Ok(params.signed_by(key, &self.issuer)?.der().clone())
    }
}

fn common_name(cluster: &ClusterId) -> String {
    format!("{cluster} authority")
}

fn named(common_name: &str) -> DistinguishedName {
    let mut name = DistinguishedName::new();
    name.push(DnType::OrganizationName, "Chappe");
    name.push(DnType::CommonName, common_name);
    name
}

pub(super) fn lasts(params: &mut CertificateParams, now: Unix, ttl: Duration) {
    // Not longer than it lasts from now on: it would be due for its renewal at once.
    params.not_before = (SystemTime::UNIX_EPOCH + now.0.saturating_sub(CLOCK_SKEW.min(ttl))).into();
    params.not_after = (SystemTime::UNIX_EPOCH + now.0 + ttl).into();
}

fn authority(cluster: &ClusterId, now: Unix) -> Result<CertificateParams, PkiError> {
    let mut params = CertificateParams::new(Vec::new())?;
    params.distinguished_name = named(&common_name(cluster));
    // One below it: the authority that takes its place (RFC 5280 section 4.2.1.9).
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(1));
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    params.name_constraints = Some(NameConstraints {
        permitted_subtrees: vec![GeneralSubtree::DnsName(format!("{}.chappe", label(cluster)))],
        excluded_subtrees: Vec::new(),
    });
    lasts(&mut params, now, AUTHORITY_TTL);
    Ok(params)
}
