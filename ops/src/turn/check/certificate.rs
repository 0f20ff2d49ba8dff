//! What a browser would say of a server's certificate.

use std::fmt;
use std::net::IpAddr;

use chappe_proto::time::Unix;
use rustls::client::{verify_server_cert_signed_by_trust_anchor, verify_server_name};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::server::ParsedCertificate;
use rustls::{CertificateError, RootCertStore};
use x509_parser::prelude::{FromDer, GeneralName, X509Certificate};

use super::fault::shown;

/// Names of a certificate that are shown at most.
const NAMES: usize = 4;

/// Why a browser refuses a certificate.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum CertificateFault {
    /// None was sent, or what was sent cannot be read.
    Unreadable,
    /// Its time is over, since so many seconds.
    Expired { ago: u64 },
    /// Its time begins in so many seconds.
    NotYet { ahead: u64 },
    /// It is of other names.
    OtherNames { wanted: String, names: Vec<String> },
    /// It signed itself.
    SelfSigned,
    /// It came alone and its issuer is no root: an intermediate is missing, or the CA is private.
    Lone { issuer: String },
    /// It came with others, and no root that is trusted ends the chain.
    UnknownIssuer { issuer: String },
    /// Anything else.
    Other(String),
}

impl fmt::Display for CertificateFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unreadable => f.write_str("no certificate that can be read"),
            Self::Expired { ago } => write!(f, "expired {} ago", span(*ago)),
            Self::NotYet { ahead } => write!(f, "valid only in {}", span(*ahead)),
            Self::OtherNames { wanted, names } if names.is_empty() => {
                write!(f, "names nothing, so not {wanted}")
            }
            Self::OtherNames { wanted, names } => write!(f, "is of {}, not of {wanted}", names.join(", ")),
            Self::SelfSigned => f.write_str("self-signed"),
            Self::Lone { issuer } => write!(f, "issued by {issuer}, whose certificate is not sent"),
            Self::UnknownIssuer { issuer } => write!(f, "issued by {issuer}, which no browser knows"),
            Self::Other(error) => f.write_str(error),
        }
    }
}

/// A length of time in words.
pub(super) fn span(secs: u64) -> String {
    let (number, unit) = match secs {
        0..120 => (secs, "second"),
        120..7_200 => (secs / 60, "minute"),
        7_200..172_800 => (secs / 3600, "hour"),
        _ => (secs / 86_400, "day"),
    };
    format!("{number} {unit}{}", if number == 1 { "" } else { "s" })
}

/// What a certificate says and what is wrong with it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Verdict {
    pub(super) subject: String,
    pub(super) issuer: String,
    pub(super) names: Vec<String>,
    /// Whole days until it expires; negative after.
    pub(super) days: i64,
    /// Certificates that the server sent.
    pub(super) sent: usize,
    /// The first is what a browser would complain of.
    pub(super) faults: Vec<CertificateFault>,
}

/// Whom a client trusts.
pub(super) struct Trust {
    pub(super) roots: RootCertStore,
    /// Certificates that an operator trusts by themselves, whatever signed them.
    pub(super) own: Vec<CertificateDer<'static>>,
}

/// Judges a chain, the server's own certificate first, as a client that asked for `name`.
pub(super) fn judge(
    chain: &[CertificateDer<'_>],
    name: &ServerName<'_>,
    now: Unix,
    trust: &Trust,
) -> Verdict {
    let unreadable = Verdict {
        subject: String::new(),
        issuer: String::new(),
        names: Vec::new(),
        days: 0,
        sent: chain.len(),
        faults: vec![CertificateFault::Unreadable],
    };
    let Some((own, others)) = chain.split_first() else { return unreadable };
    let Ok((_, certificate)) = X509Certificate::from_der(own) else { return unreadable };
    let names = names(&certificate);
    let now_secs = i64::try_from(now.secs()).unwrap_or(i64::MAX);
    let (from, until) =
        (certificate.validity().not_before.timestamp(), certificate.validity().not_after.timestamp());
    let mut faults = Vec::new();
    if until < now_secs {
        faults.push(CertificateFault::Expired { ago: now_secs.abs_diff(until) });
    } else if from > now_secs {
        faults.push(CertificateFault::NotYet { ahead: from.abs_diff(now_secs) });
    }
    let issuer = distinguished(certificate.issuer());
    match ParsedCertificate::try_from(own) {
        Err(error) => faults.push(CertificateFault::Other(error.to_string())),
        Ok(parsed) => {
            if verify_server_name(&parsed, name).is_err() {
                let wanted = name.to_str().into_owned();
                faults.push(CertificateFault::OtherNames { wanted, names: names.clone() });
            }
            let self_signed = certificate.issuer() == certificate.subject();
            if !trust.own.contains(own) {
                faults.extend(untrusted(&parsed, others, now, &trust.roots, self_signed, &issuer));
            }
        }
    }
    let subject = distinguished(certificate.subject());
    let days = (until - now_secs).div_euclid(86_400);
    Verdict { subject, issuer, names, days, sent: chain.len(), faults }
}

/// What is wrong with the chain to a root, dates aside, which were looked at before.
fn untrusted(
    own: &ParsedCertificate<'_>,
    others: &[CertificateDer<'_>],
    now: Unix,
    roots: &RootCertStore,
    self_signed: bool,
    issuer: &str,
) -> Option<CertificateFault> {
    let algorithms = rustls::crypto::ring::default_provider().signature_verification_algorithms;
    let now = UnixTime::since_unix_epoch(now.0);
    let error = verify_server_cert_signed_by_trust_anchor(own, roots, others, now, algorithms.all).err()?;
    let issuer = issuer.to_owned();
    match error {
        rustls::Error::InvalidCertificate(
            CertificateError::ExpiredContext { .. } | CertificateError::NotValidYetContext { .. },
        ) => None,
        _ if self_signed => Some(CertificateFault::SelfSigned),
        rustls::Error::InvalidCertificate(CertificateError::UnknownIssuer) if others.is_empty() => {
            Some(CertificateFault::Lone { issuer })
        }
        rustls::Error::InvalidCertificate(CertificateError::UnknownIssuer) => {
            Some(CertificateFault::UnknownIssuer { issuer })
        }
        other => Some(CertificateFault::Other(other.to_string())),
    }
}

/// DNS names and addresses of the subject alternative name, the only ones that count (RFC 9525).
fn names(certificate: &X509Certificate<'_>) -> Vec<String> {
    let Ok(Some(extension)) = certificate.subject_alternative_name() else { return Vec::new() };
    let name = |name: &GeneralName<'_>| match name {
        GeneralName::DNSName(name) => Some(shown(name.as_bytes())),
        GeneralName::IPAddress(bytes) => match <[u8; 4]>::try_from(*bytes) {
            Ok(v4) => Some(IpAddr::from(v4).to_string()),
            Err(_) => <[u8; 16]>::try_from(*bytes).ok().map(|v6| IpAddr::from(v6).to_string()),
        },
        _ => None,
    };
    extension.value.general_names.iter().filter_map(name).take(NAMES).collect()
}

fn distinguished(name: &x509_parser::x509::X509Name<'_>) -> String {
    let common = name.iter_common_name().next().and_then(|name| name.as_str().ok());
    shown(common.map_or_else(|| name.to_string(), str::to_owned).as_bytes())
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair, date_time_ymd};

    use super::*;

    const NOW: Unix = Unix(Duration::from_secs(1_767_225_600)); // 2026-01-01

    struct Authority {
        issuer: Issuer<'static, KeyPair>,
        der: CertificateDer<'static>,
    }

    fn params(names: &[&str], common: &str) -> CertificateParams {
        let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
        let mut params = CertificateParams::new(names).unwrap();
        params.distinguished_name.push(rcgen::DnType::CommonName, common);
        params.not_before = date_time_ymd(2025, 12, 1);
        params.not_after = date_time_ymd(2026, 3, 1);
        params
    }

    fn authority(common: &str, above: Option<&Authority>) -> Authority {
        let key = KeyPair::generate().unwrap();
        let mut params = params(&[], common);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let der = match above {
            Some(above) => params.signed_by(&key, &above.issuer).unwrap(),
            None => params.self_signed(&key).unwrap(),
        };
        Authority { der: der.der().clone(), issuer: Issuer::new(params, key) }
    }

    fn leaf(by: &Authority, params: &CertificateParams) -> CertificateDer<'static> {
        params.signed_by(&KeyPair::generate().unwrap(), &by.issuer).unwrap().der().clone()
    }

    fn roots(root: &Authority) -> Trust {
        let mut roots = RootCertStore::empty();
        roots.add(root.der.clone()).unwrap();
        Trust { roots, own: Vec::new() }
    }

    fn nobody() -> Trust {
        Trust { roots: RootCertStore::empty(), own: Vec::new() }
    }

    fn name() -> ServerName<'static> {
        ServerName::try_from("turn.example.org").unwrap()
    }

    #[test]
    fn a_whole_chain_is_trusted_and_a_missing_intermediate_is_told() {
        let root = authority("Root", None);
        let between = authority("Between", Some(&root));
        let own = leaf(&between, &params(&["turn.example.org", "192.0.2.1"], "turn.example.org"));
        let roots = roots(&root);
        let good = judge(&[own.clone(), between.der.clone()], &name(), NOW, &roots);
        assert_eq!((good.faults, good.days, good.sent), (vec![], 59, 2));
        assert_eq!(good.names, ["turn.example.org", "192.0.2.1"]);
        assert_eq!((good.subject.as_str(), good.issuer.as_str()), ("turn.example.org", "Between"));
        let alone = judge(std::slice::from_ref(&own), &name(), NOW, &roots);
        assert_eq!(alone.faults, [CertificateFault::Lone { issuer: "Between".to_owned() }]);
        let stranger = judge(&[own, between.der], &name(), NOW, &nobody());
        assert_eq!(stranger.faults, [CertificateFault::UnknownIssuer { issuer: "Between".to_owned() }]);
    }

    #[test]
    fn time_and_names_are_looked_at_too() {
        let root = authority("Root", None);
        let own = leaf(&root, &params(&["turn.example.com"], "x"));
        let late = judge(&[own], &name(), NOW + Duration::from_secs(90 * 86_400), &roots(&root));
        let wanted = "turn.example.org".to_owned();
        assert!(matches!(late.faults[0], CertificateFault::Expired { .. }), "{late:?}");
        let other = CertificateFault::OtherNames { wanted, names: vec!["turn.example.com".to_owned()] };
        assert_eq!(late.faults[1], other);
        assert_eq!(late.faults.len(), 2, "expired is said once");
        assert!(late.days < 0);
    }

    #[test]
    fn a_certificate_that_signed_itself_and_none_at_all() {
        let key = KeyPair::generate().unwrap();
        let own = params(&["turn.example.org"], "mine").self_signed(&key).unwrap();
        let verdict = judge(&[own.der().clone()], &name(), NOW, &nobody());
        assert_eq!(verdict.faults, [CertificateFault::SelfSigned]);
        let pinned = Trust { own: vec![own.der().clone()], ..nobody() };
        assert_eq!(judge(&[own.der().clone()], &name(), NOW, &pinned).faults, [], "--ca names it");
        assert_eq!(judge(&[], &name(), NOW, &nobody()).faults, [CertificateFault::Unreadable]);
        let rubbish = CertificateDer::from(vec![1, 2, 3]);
        let verdict = judge(&[rubbish], &name(), NOW, &nobody());
        assert_eq!(verdict.faults, [CertificateFault::Unreadable]);
    }

    #[test]
    fn spans_in_words() {
        let words: Vec<_> = [1, 119, 120, 7_200, 200_000].map(span).to_vec();
        assert_eq!(words, ["1 second", "119 seconds", "2 minutes", "2 hours", "2 days"]);
    }
}
