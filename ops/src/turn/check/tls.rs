//! TLS to a server, whatever its certificate: what is to be said of that is said afterwards.

use std::sync::Arc;
use std::time::Duration;

use chappe_edge::trust::{AnyCertificate, web_roots};
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, Error};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use super::certificate::Trust;
use super::fault::Fault;

/// What a handshake came to.
pub(super) struct Handshake {
    /// As in `TLS 1.3`.
    pub(super) version: &'static str,
    /// The cipher suite.
    pub(super) cipher: String,
    /// The server's own certificate and those that it sent with it.
    pub(super) chain: Vec<CertificateDer<'static>>,
}

/// Mozilla's roots, as a browser has them, and the certificates of an operator.
pub(super) fn trust(own: Vec<CertificateDer<'static>>) -> Result<Trust, Error> {
    let mut roots = web_roots();
    for certificate in &own {
        roots.add(certificate.clone())?;
    }
    Ok(Trust { roots, own })
}

/// Shakes hands over a connection. Nothing is sent over it before [`super::certificate::judge`] has looked at
/// the certificate.
pub(super) async fn connect(
    tcp: TcpStream,
    name: ServerName<'static>,
    wait: Duration,
) -> Result<(TlsStream<TcpStream>, Handshake), Fault> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = ClientConfig::builder_with_provider(provider.clone())
        .with_safe_default_protocol_versions()
        .map_err(|error| Fault::Handshake(error.to_string()))?
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(AnyCertificate(provider)))
        .with_no_client_auth();
    let connecting = TlsConnector::from(Arc::new(config)).connect(name, tcp);
    let Ok(connected) = tokio::time::timeout(wait, connecting).await else {
        return Err(Fault::HandshakeSilent(wait));
    };
    let stream = connected.map_err(fault)?;
    let (_, session) = stream.get_ref();
    let handshake = Handshake {
        version: match session.protocol_version() {
            Some(rustls::ProtocolVersion::TLSv1_3) => "TLS 1.3",
            Some(rustls::ProtocolVersion::TLSv1_2) => "TLS 1.2",
            _ => "TLS",
        },
        cipher: session.negotiated_cipher_suite().map(|suite| suite_name(suite.suite())).unwrap_or_default(),
        chain: session.peer_certificates().unwrap_or_default().to_vec(),
    };
    Ok((stream, handshake))
}

fn suite_name(suite: rustls::CipherSuite) -> String {
    format!("{suite:?}").trim_start_matches("TLS13_").trim_start_matches("TLS_").to_owned()
}

fn fault(error: std::io::Error) -> Fault {
    let tls = error.get_ref().and_then(|inner| inner.downcast_ref::<Error>());
    match tls {
        Some(Error::InvalidMessage(_) | Error::InappropriateMessage { .. }) => Fault::NotTls,
        Some(Error::AlertReceived(alert)) => Fault::Handshake(format!("alert {alert:?}")),
        Some(other) => Fault::Handshake(other.to_string()),
        None => match error.into() {
            Fault::Closed => Fault::HandshakeClosed,
            other => other,
        },
    }
}
