//! Connecting back: HTTP-01 (RFC 8555 section 8.3) and TLS-ALPN-01 (RFC 8737 section 3).

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use ring::digest::{SHA256, digest};
use rustls::ClientConfig;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::ring::default_provider;
use rustls::crypto::{CryptoProvider, verify_tls13_signature_with_raw_key};
use rustls::pki_types::{CertificateDer, ServerName, SubjectPublicKeyInfoDer, UnixTime};
use rustls::version::TLS13;
use rustls::{DigitallySignedStruct, Error, SignatureScheme};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use x509_parser::parse_x509_certificate;

use super::Names;

/// Whoever does not answer within this is not there.
const WITHIN: Duration = Duration::from_secs(10);

pub(super) fn problem(kind: &str, detail: impl Into<String>) -> Value {
    json!({ "type": format!("urn:ietf:params:acme:error:{kind}"), "detail": detail.into() })
}

/// What is wrong with a proof, where something is.
pub(super) async fn prove(
    names: &Names,
    name: &str,
    kind: &str,
    token: &str,
    authorization: &str,
) -> Result<(), Value> {
    let Some(at) = names.find(name, kind).await else {
        return Err(problem("dns", format!("no valid A records found for {name}")));
    };
    let refused = |error: io::Error| problem("connection", format!("fetching: {error}"));
    // What nobody listens on refuses, as a closed port does.
    let at = at.ok_or_else(|| refused(io::ErrorKind::ConnectionRefused.into()))?;
    let asked = async {
        match kind {
            "http-01" => http(at, name, token, authorization).await,
            _ => tls(at, name, authorization).await,
        }
    };
    let asked = tokio::time::timeout(WITHIN, asked).await;
    asked
        .unwrap_or_else(|_| Ok(Err(problem("connection", "no answer"))))
        .unwrap_or_else(|error| Err(refused(error)))
}

async fn http(at: SocketAddr, name: &str, token: &str, authorization: &str) -> io::Result<Result<(), Value>> {
    let mut stream = TcpStream::connect(at).await?;
    let request = format!(
        "GET /.well-known/acme-challenge/{token} HTTP/1.1\r\nHost: {name}\r\nConnection: close\r\n\r\n"
    );
    stream.write_all(request.as_bytes()).await?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await?;
    let (head, body) = answer.split_once("\r\n\r\n").unwrap_or_default();
    if head.starts_with("HTTP/1.1 200 ") && body.trim_end() == authorization {
        return Ok(Ok(()));
    }
    let line = head.lines().next().unwrap_or_default();
    Ok(Err(problem("unauthorized", format!("invalid response from http://{name}: {line}"))))
}

async fn tls(at: SocketAddr, name: &str, authorization: &str) -> io::Result<Result<(), Value>> {
    let provider = Arc::new(default_provider());
    let mut config = ClientConfig::builder_with_provider(Arc::clone(&provider))
        .with_protocol_versions(&[&TLS13])
        .unwrap()
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(Anything(provider)))
        .with_no_client_auth();
    config.alpn_protocols = vec![b"acme-tls/1".to_vec()];
    let stream = TcpStream::connect(at).await?;
    let server = ServerName::try_from(name.to_owned()).unwrap();
    let stream = match TlsConnector::from(Arc::new(config)).connect(server, stream).await {
        Ok(stream) => stream,
        Err(error) => return Ok(Err(problem("tls", error.to_string()))),
    };
    let (_, connection) = stream.get_ref();
    if connection.alpn_protocol() != Some(b"acme-tls/1") {
        return Ok(Err(problem("unauthorized", "cannot negotiate ALPN protocol \"acme-tls/1\"")));
    }
    let shown = connection.peer_certificates().unwrap_or_default();
    Ok(match shown {
        [leaf] => certificate(leaf, name, authorization).map_err(|why| problem("unauthorized", why)),
        other => Err(problem("unauthorized", format!("{} certificates", other.len()))),
    })
}

/// RFC 8737 section 3, step 4.
fn certificate(leaf: &[u8], name: &str, authorization: &str) -> Result<(), String> {
    let (_, read) = parse_x509_certificate(leaf).map_err(|error| error.to_string())?;
    read.verify_signature(None).map_err(|error| format!("it is not self-signed: {error}"))?;
    let names = read.subject_alternative_name().map_err(|error| error.to_string())?.ok_or("no name")?;
    let names = &names.value.general_names;
    if names.len() != 1 || names[0].to_string() != format!("DNSName({name})") {
        return Err(format!("it is for {names:?}"));
    }
    let mut acme = read.extensions().iter().filter(|it| it.oid.to_id_string() == "1.3.6.1.5.5.7.1.31");
    let acme = acme.next().ok_or("it has no acmeIdentifier")?;
    if !acme.critical {
        return Err("its acmeIdentifier is not critical".to_owned());
    }
    let wanted = digest(&SHA256, authorization.as_bytes());
    if acme.value != [&[4, 32][..], wanted.as_ref()].concat() {
        return Err("its acmeIdentifier is wrong".to_owned());
    }
    Ok(())
}

/// Takes any certificate: what counts is what is in it.
#[derive(Debug)]
struct Anything(Arc<CryptoProvider>);

impl ServerCertVerifier for Anything {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Err(Error::General("TLS 1.3 alone is asked for".to_owned()))
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        // By the key as such: a verifier of the web refuses the certificate for its critical extension.
        let unread = |error| Error::General(format!("{error}"));
        let (_, read) = parse_x509_certificate(certificate).map_err(unread)?;
        let key = SubjectPublicKeyInfoDer::from(read.public_key().raw);
        verify_tls13_signature_with_raw_key(message, &key, signed, &self.0.signature_verification_algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}
