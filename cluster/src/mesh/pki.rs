//! The cluster's own certificate authority (ECDSA P-256), and who a certificate says one is.
//!
//! A certificate names its holder by a URI, `chappe://CLUSTER/node/1` or `chappe://CLUSTER/edge/NAME`,
//! since an edge's name does not fit a DNS label (RFC 1035 section 2.3.4: 63 octets, and none of
//! `_~:@`; all of them are plain in a URI's path, RFC 3986 section 3.3). TLS checks DNS names of
//! servers; those are `node-1.CLUSTER.chappe` and, for whoever will take any node,
//! `node.CLUSTER.chappe`; an edge's is `edge.CLUSTER.chappe`. CLUSTER is the cluster's id without its
//! prefix. The authority may name nothing else (RFC 5280 section 4.2.1.10).

mod authority;

use std::fmt;
use std::fs::{self, DirBuilder, File};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use chappe_proto::id::{ClusterId, EdgeId, NodeId};
use chappe_proto::limits::CERTIFICATE_RENEW_AT;
use chappe_proto::time::Unix;
use data_encoding::BASE64;
use ring::digest::{SHA256, digest};
use rustls::RootCertStore;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use x509_parser::extensions::GeneralName;
use x509_parser::prelude::{FromDer, X509Certificate};

pub use self::authority::Authority;

/// Who a certificate says its holder is.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Holder {
    /// A node.
    Node(NodeId),
    /// An edge.
    Edge(EdgeId),
}

impl fmt::Display for Holder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Node(id) => write!(f, "node {id}"),
            Self::Edge(name) => write!(f, "edge {name}"),
        }
    }
}

/// What went wrong with a certificate or a key.
#[derive(Debug, thiserror::Error)]
pub enum PkiError {
    /// A file can't be read or written.
    #[error("{path}: {source}")]
    File {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// A file holds something else.
    #[error("{path} is damaged: restore it from a backup")]
    Damaged {
        /// The file.
        path: PathBuf,
    },
    /// The certificate is another cluster's, or names nobody of ours.
    #[error("the certificate names nobody of this cluster")]
    Stranger,
    /// Not an X.509 certificate.
    #[error("not a certificate")]
    Malformed,
    /// A certificate or a directory cannot be used.
    #[error("it cannot be used: {0}")]
    Unusable(io::Error),
    /// rcgen's: a bug of ours, or a public key of a kind that is not known.
    #[error("no certificate could be made: {0}")]
    Make(#[from] rcgen::Error),
}

/// A private key with the certificate of its public half, and the authority that says so.
#[derive(Debug)]
pub struct Issued {
    /// The holder's certificate.
    pub certificate: CertificateDer<'static>,
    /// The authority's.
    pub authority: CertificateDer<'static>,
    /// The holder's private key.
    pub key: PrivateKeyDer<'static>,
}

impl Issued {
    /// What a TLS endpoint presents: the authority is known to whoever checks.
    #[must_use]
    pub fn chain(&self) -> Vec<CertificateDer<'static>> {
        vec![self.certificate.clone()]
    }

    /// Whom such an endpoint trusts.
    ///
    /// # Errors
    /// [`PkiError::Malformed`] when the authority's certificate is none.
    pub fn roots(&self) -> Result<RootCertStore, PkiError> {
        roots(&self.authority)
    }
}

/// A store that trusts one authority.
fn roots(authority: &CertificateDer<'static>) -> Result<RootCertStore, PkiError> {
    let mut store = RootCertStore::empty();
    store.add(authority.clone()).map_err(|_| PkiError::Malformed)?;
    Ok(store)
}

/// The cluster's id in names: without its prefix, whose underscore is not for hosts.
fn label(cluster: &ClusterId) -> String {
    cluster.to_string().split_off(2)
}

/// The name by which TLS checks a server: this node, or with none any node.
///
/// # Errors
/// Never in practice: every such name is a valid one.
pub fn server_name(cluster: &ClusterId, node: Option<NodeId>) -> Result<ServerName<'static>, PkiError> {
    let host = node.map_or_else(|| "node".to_owned(), |id| format!("node-{id}"));
    ServerName::try_from(format!("{host}.{}.chappe", label(cluster))).map_err(|_| PkiError::Malformed)
}

/// Whom a certificate names. Its signature must have been verified (TLS has, with [`Issued::roots`]).
///
/// # Errors
/// [`PkiError::Malformed`], and [`PkiError::Stranger`] when it names nobody, several, or somebody of
/// another cluster.
pub fn holder(certificate: &CertificateDer<'_>, cluster: &ClusterId) -> Result<Holder, PkiError> {
    let (_, parsed) = X509Certificate::from_der(certificate).map_err(|_| PkiError::Malformed)?;
    let names =
        parsed.subject_alternative_name().map_err(|_| PkiError::Malformed)?.ok_or(PkiError::Stranger)?;
    let mut uris = names.value.general_names.iter().filter_map(|name| match name {
        GeneralName::URI(uri) => Some(*uri),
        _ => None,
    });
    let (Some(uri), None) = (uris.next(), uris.next()) else { return Err(PkiError::Stranger) };
    let prefix = format!("chappe://{}/", label(cluster));
    let (kind, name) =
        uri.strip_prefix(&prefix).and_then(|path| path.split_once('/')).ok_or(PkiError::Stranger)?;
    match kind {
        // Written back, so that each node has one name: not `+1`, not `01`.
        "node" => name.parse().map(NodeId).ok().filter(|id| id.to_string() == name).map(Holder::Node),
        "edge" => name.parse().map(Holder::Edge).ok(),
        _ => None,
    }
    .ok_or(PkiError::Stranger)
}

/// SHA-256 of a certificate's SubjectPublicKeyInfo (RFC 5280 section 4.1.2.7): names its key.
///
/// # Errors
/// [`PkiError::Malformed`].
pub fn key_hash(certificate: &CertificateDer<'_>) -> Result<Vec<u8>, PkiError> {
    let (_, parsed) = X509Certificate::from_der(certificate).map_err(|_| PkiError::Malformed)?;
    Ok(digest(&SHA256, parsed.public_key().raw).as_ref().to_vec())
}

/// From when to when a certificate is valid.
///
/// # Errors
/// [`PkiError::Malformed`].
pub fn validity(certificate: &CertificateDer<'_>) -> Result<(Unix, Unix), PkiError> {
    let (_, parsed) = X509Certificate::from_der(certificate).map_err(|_| PkiError::Malformed)?;
    let at = |secs: i64| u64::try_from(secs).map(Unix::from_secs).map_err(|_| PkiError::Malformed);
    let validity = parsed.validity();
    Ok((at(validity.not_before.timestamp())?, at(validity.not_after.timestamp())?))
}

/// Whether an authority has signed a certificate.
#[must_use]
pub fn is_signed_by(certificate: &CertificateDer<'_>, authority: &CertificateDer<'_>) -> bool {
    let (Ok((_, certificate)), Ok((_, authority))) =
        (X509Certificate::from_der(certificate), X509Certificate::from_der(authority))
    else {
        return false;
    };
    certificate.verify_signature(Some(authority.public_key())).is_ok()
}

/// From when on a certificate is to be renewed.
///
/// # Errors
/// [`PkiError::Malformed`].
pub fn due(certificate: &CertificateDer<'_>) -> Result<Unix, PkiError> {
    let (from, to) = validity(certificate)?;
    Ok(Unix(from.0 + (to.0.saturating_sub(from.0)) * CERTIFICATE_RENEW_AT / 100))
}

/// The text form of DER (RFC 7468 section 2).
#[must_use]
pub fn pem(label: &str, der: &[u8]) -> String {
    let text = BASE64.encode(der);
    let lines: String =
        text.as_bytes().chunks(64).flat_map(|line| [line, b"\n"]).flatten().map(|b| char::from(*b)).collect();
    format!("-----BEGIN {label}-----\n{lines}-----END {label}-----\n")
}

pub(crate) fn read(path: &Path) -> Result<Option<String>, PkiError> {
    match fs::read_to_string(path) {
        Ok(text) => Ok(Some(text)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(source) => Err(PkiError::File { path: path.into(), source }),
    }
}

/// Writes a file that only its owner may read, whole or not at all.
pub(crate) fn write_private(path: &Path, text: &str) -> Result<(), PkiError> {
    let write = || {
        let dir = path.parent().unwrap_or(Path::new("."));
        DirBuilder::new().recursive(true).mode(0o700).create(dir)?;
        let fresh = path.with_extension("new");
        match fs::remove_file(&fresh) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        let mut file = File::options().write(true).create_new(true).mode(0o600).open(&fresh)?;
        file.write_all(text.as_bytes())?;
        file.sync_all()?;
        fs::rename(&fresh, path)?;
        File::open(dir)?.sync_all()
    };
    write().map_err(|source| PkiError::File { path: path.into(), source })
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::time::Duration;

    use chappe_proto::limits::{CERTIFICATE_TTL, CLOCK_SKEW};
    use rcgen::{CertificateParams, KeyPair, PublicKeyData as _, SanType};
    use rustls::pki_types::PrivatePkcs8KeyDer;
    use rustls::server::WebPkiClientVerifier;
    use rustls::{ClientConfig, ClientConnection, ServerConfig, ServerConnection};

    use super::authority::lasts;
    use super::*;

    const NOW: Unix = Unix::from_secs(1_800_000_000);

    fn cluster(n: u8) -> ClusterId {
        ClusterId::from_random([n; 15])
    }

    fn edge(name: &str) -> Holder {
        Holder::Edge(EdgeId::new(name).unwrap())
    }

    fn day(n: u64) -> Unix {
        NOW + Duration::from_secs(n * 86_400)
    }

    #[test]
    fn an_authority_is_its_certificate_and_its_key() {
        let first = Authority::make(cluster(1), NOW).unwrap();
        let again = Authority::of(cluster(1), first.certificate(), &first.key()).unwrap();
        let issued = again.issue(&edge("e"), NOW).unwrap();
        handshake(&issued, &first.issue(&Holder::Node(NodeId(1)), NOW).unwrap(), None).unwrap();
        let of = |cluster, key: &[u8]| Authority::of(cluster, first.certificate(), key).err();
        assert!(matches!(of(cluster(2), &first.key()), Some(PkiError::Stranger)));
        let other = Authority::make(cluster(1), NOW).unwrap();
        assert!(matches!(of(cluster(1), &other.key()), Some(PkiError::Malformed)));
        assert!(matches!(of(cluster(1), b"no key"), Some(PkiError::Make(_))));
    }

    #[test]
    fn a_former_authority_vouches_for_the_next() {
        let (former, next) =
            (Authority::make(cluster(1), NOW).unwrap(), Authority::make(cluster(1), NOW).unwrap());
        let issued = next.issue(&edge("e"), NOW).unwrap();
        assert!(is_signed_by(&issued.certificate, next.certificate()));
        assert!(!is_signed_by(&issued.certificate, former.certificate()));
        let cross = former.vouch_for(&next, NOW).unwrap();
        assert!(is_signed_by(&cross, former.certificate()) && is_signed_by(&issued.certificate, &cross));
    }

    #[test]
    fn a_certificate_names_its_holder_and_nobody_elses() {
        let authority = Authority::make(cluster(1), NOW).unwrap();
        let longest = "Ab-_.~:@".repeat(8);
        for who in [Holder::Node(NodeId(1)), Holder::Node(NodeId(u64::MAX)), edge("e"), edge(&longest)] {
            let issued = authority.issue(&who, NOW).unwrap();
            assert_eq!(holder(&issued.certificate, &cluster(1)).unwrap(), who);
            assert!(matches!(holder(&issued.certificate, &cluster(2)), Err(PkiError::Stranger)));
        }
        assert!(matches!(holder(authority.certificate(), &cluster(1)), Err(PkiError::Stranger)));
        assert!(matches!(
            holder(&CertificateDer::from(vec![1, 2, 3]), &cluster(1)),
            Err(PkiError::Malformed)
        ));
    }

    #[test]
    fn names_that_are_almost_ours_are_strangers() {
        let key = KeyPair::generate().unwrap();
        let label = label(&cluster(1));
        let signed = |uris: &[String]| {
            let mut params = CertificateParams::new(Vec::new()).unwrap();
            let uri = |uri: &String| SanType::URI(uri.clone().try_into().unwrap());
            params.subject_alt_names.extend(uris.iter().map(uri));
            params.self_signed(&key).unwrap().der().clone()
        };
        let ours = format!("chappe://{label}/node/1");
        assert!(holder(&signed(std::slice::from_ref(&ours)), &cluster(1)).is_ok());
        assert!(holder(&signed(&[ours, format!("chappe://{label}/edge/e")]), &cluster(1)).is_err());
        for tail in
            ["node/01", "node/+1", "node/", "node/1/", "edge/", "edge/a/b", "edge/%41", "peer/1", "node"]
        {
            let text = format!("chappe://{label}/{tail}");
            assert!(holder(&signed(std::slice::from_ref(&text)), &cluster(1)).is_err(), "{text}");
        }
    }

    #[test]
    fn a_certificate_is_renewed_a_month_before_it_ends() {
        let authority = Authority::make(cluster(1), NOW).unwrap();
        let issued = authority.issue(&edge("e"), NOW).unwrap();
        assert_eq!(validity(&issued.certificate).unwrap().1, day(90));
        let due = due(&issued.certificate).unwrap();
        assert!(day(59) < due && due < day(60));
    }

    #[test]
    fn a_key_that_never_left_its_edge_is_certified() {
        let authority = Authority::make(cluster(1), NOW).unwrap();
        let key = KeyPair::generate().unwrap();
        let certificate = authority.certify(&edge("e"), &key.subject_public_key_info(), NOW).unwrap();
        let issued = Issued {
            certificate,
            authority: authority.certificate().clone(),
            key: PrivatePkcs8KeyDer::from(key.serialize_der()).into(),
        };
        handshake(&issued, &authority.issue(&Holder::Node(NodeId(1)), NOW).unwrap(), None).unwrap();
        assert!(authority.certify(&edge("e"), b"no key", NOW).is_err());
    }

    /// A mutual TLS handshake in memory at the certificates' own time, with any node or with one.
    fn handshake(
        client: &Issued,
        server: &Issued,
        node: Option<NodeId>,
    ) -> Result<(Holder, Holder), rustls::Error> {
        #[derive(Debug)]
        struct At(Unix);
        impl rustls::time_provider::TimeProvider for At {
            fn current_time(&self) -> Option<rustls::pki_types::UnixTime> {
                Some(rustls::pki_types::UnixTime::since_unix_epoch(self.0.0))
            }
        }
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let verifier = WebPkiClientVerifier::builder_with_provider(
            Arc::new(server.roots().unwrap()),
            Arc::clone(&provider),
        )
        .build()
        .unwrap();
        let accept = ServerConfig::builder_with_details(Arc::clone(&provider), Arc::new(At(NOW)))
            .with_safe_default_protocol_versions()?
            .with_client_cert_verifier(verifier)
            .with_single_cert(server.chain(), server.key.clone_key())?;
        let connect = ClientConfig::builder_with_details(provider, Arc::new(At(NOW)))
            .with_safe_default_protocol_versions()?
            .with_root_certificates(client.roots().unwrap())
            .with_client_auth_cert(client.chain(), client.key.clone_key())?;
        let name = server_name(&cluster(1), node).unwrap();
        let mut client = ClientConnection::new(Arc::new(connect), name)?;
        let mut server = ServerConnection::new(Arc::new(accept))?;
        while client.is_handshaking() || server.is_handshaking() {
            let mut bytes = Vec::new();
            while client.wants_write() {
                client.write_tls(&mut bytes).unwrap();
            }
            server.read_tls(&mut bytes.as_slice()).unwrap();
            server.process_new_packets()?;
            let mut bytes = Vec::new();
            while server.wants_write() {
                server.write_tls(&mut bytes).unwrap();
            }
            client.read_tls(&mut bytes.as_slice()).unwrap();
            client.process_new_packets()?;
        }
        let who = |certificates: Option<&[CertificateDer<'_>]>| {
            holder(&certificates.unwrap()[0], &cluster(1)).unwrap()
        };
        Ok((who(server.peer_certificates()), who(client.peer_certificates())))
    }

    #[test]
    fn both_sides_of_a_link_know_each_other_and_no_stranger_gets_one() {
        let authority = Authority::make(cluster(1), NOW).unwrap();
        let (one, two) = (Holder::Node(NodeId(1)), Holder::Node(NodeId(2)));
        let server = authority.issue(&one, NOW).unwrap();
        let client = authority.issue(&edge("a_b"), NOW).unwrap();
        assert_eq!(handshake(&client, &server, None).unwrap(), (edge("a_b"), one.clone()));
        assert_eq!(handshake(&client, &server, Some(NodeId(1))).unwrap(), (edge("a_b"), one.clone()));
        assert!(handshake(&client, &server, Some(NodeId(2))).is_err(), "another node than asked for");
        assert!(
            handshake(&client, &authority.issue(&edge("e"), NOW).unwrap(), None).is_err(),
            "an edge is no node"
        );
        // Another authority that gives itself our cluster's name.
        let stranger = Authority::make(cluster(1), NOW).unwrap();
        assert!(handshake(&stranger.issue(&two, NOW).unwrap(), &server, None).is_err());
        assert!(handshake(&client, &stranger.issue(&one, NOW).unwrap(), None).is_err());
        let expired = authority.issue(&two, Unix(NOW.0 - CERTIFICATE_TTL - CLOCK_SKEW)).unwrap();
        assert!(handshake(&expired, &server, None).is_err());
    }

    #[test]
    fn the_authority_may_name_nothing_outside_its_cluster() {
        let authority = Authority::make(cluster(1), NOW).unwrap();
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::new(vec!["bank.example".to_owned()]).unwrap();
        params
            .subject_alt_names
            .push(SanType::DnsName(format!("node.{}.chappe", label(&cluster(1))).try_into().unwrap()));
        lasts(&mut params, NOW, CERTIFICATE_TTL);
        let certificate = params.signed_by(&key, &authority.issuer).unwrap().der().clone();
        let key = PrivatePkcs8KeyDer::from(key.serialize_der()).into();
        let bad = Issued { certificate, authority: authority.certificate().clone(), key };
        let client = authority.issue(&edge("e"), NOW).unwrap();
        assert!(handshake(&client, &bad, None).is_err());
    }
}
