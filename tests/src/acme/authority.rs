//! The CA: its own certificate, the server's, and those that it gives.

use rcgen::{
    BasicConstraints, CertificateParams, CertificateSigningRequestParams, CertifiedIssuer, DnType,
    ExtendedKeyUsagePurpose, IsCa, KeyPair, KeyUsagePurpose,
};
use rustls::pki_types::{CertificateDer, CertificateSigningRequestDer, PrivateKeyDer, PrivatePkcs8KeyDer};
use x509_parser::certification_request::X509CertificationRequest;
use x509_parser::extensions::{GeneralName, ParsedExtension};
use x509_parser::prelude::FromDer;
use x509_parser::time::ASN1Time;

pub(super) struct Authority(CertifiedIssuer<'static, KeyPair>);

impl Authority {
    pub(super) fn new() -> Self {
        let mut params = CertificateParams::default();
        params.distinguished_name.push(DnType::CommonName, "Fake ACME authority");
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        Self(CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap())
    }

    pub(super) fn root(&self) -> CertificateDer<'static> {
        self.0.der().clone()
    }

    pub(super) fn root_pem(&self) -> String {
        self.0.pem()
    }

    /// The server's own certificate.
    pub(super) fn server(&self) -> (CertificateDer<'static>, PrivateKeyDer<'static>) {
        let params = CertificateParams::new(["127.0.0.1".to_owned()]).unwrap();
        let key = KeyPair::generate().unwrap();
        let certificate = params.signed_by(&key, &self.0).unwrap();
        (certificate.der().clone(), PrivatePkcs8KeyDer::from(key.serialize_der()).into())
    }

    /// A certificate by a CSR that asks for these names and no other, good from so many seconds before now until
    /// so many after: the leaf, and the chain in PEM.
    pub(super) fn issue(
        &self,
        csr: &[u8],
        names: &[String],
        (before, after): (i64, i64),
    ) -> Result<(CertificateDer<'static>, String), String> {
        let (_, read) = X509CertificationRequest::from_der(csr).map_err(|error| error.to_string())?;
        read.verify_signature().map_err(|error| format!("the CSR's signature: {error}"))?;
        let mut asked: Vec<String> = read
            .requested_extensions()
            .into_iter()
            .flatten()
            .filter_map(|extension| match extension {
                ParsedExtension::SubjectAlternativeName(names) => Some(&names.general_names),
                _ => None,
            })
            .flatten()
            .map(|name| match name {
                GeneralName::DNSName(name) => (*name).to_owned(),
                other => format!("{other:?}"),
            })
            .collect();
        let mut names = names.to_vec();
        asked.sort();
        names.sort();
        if asked != names {
            return Err(format!("the CSR asks for {asked:?}, the order for {names:?}"));
        }
        let csr = CertificateSigningRequestDer::from(csr);
        let mut request =
            CertificateSigningRequestParams::from_der(&csr).map_err(|error| error.to_string())?;
        let now = ASN1Time::now().to_datetime();
        let at =
            |seconds: i64| ASN1Time::from_timestamp(now.unix_timestamp() + seconds).unwrap().to_datetime();
        request.params.not_before = at(-before);
        request.params.not_after = at(after);
        request.params.use_authority_key_identifier_extension = true;
        request.params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        let leaf = request.signed_by(&self.0).map_err(|error| error.to_string())?;
        Ok((leaf.der().clone(), leaf.pem() + &self.0.pem()))
    }
}
