//! TLS to a listener, as a browser has it.

use std::io;
use std::sync::Arc;

use chappe_proto::mesh::uplink::Listener;
use rustls::client::Resumption;
use rustls::crypto::ring;
use rustls::pki_types::ServerName;
use rustls::{ClientConfig, RootCertStore};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use crate::trust::AnyCertificate;

/// What a listener's certificate is checked against.
#[derive(Clone)]
pub(super) struct Check {
    connector: TlsConnector,
    name: ServerName<'static>,
}

impl Check {
    /// That of a listener; `roots` are those that a browser trusts, `None` where anything will do.
    pub(super) fn new(listener: &Listener, roots: Option<RootCertStore>) -> io::Result<Self> {
        let provider = Arc::new(ring::default_provider());
        let builder = ClientConfig::builder_with_provider(provider.clone())
            .with_safe_default_protocol_versions()
            .map_err(io::Error::other)?;
        let mut config = match roots {
            Some(roots) => builder.with_root_certificates(roots),
            None => builder.dangerous().with_custom_certificate_verifier(Arc::new(AnyCertificate(provider))),
        }
        .with_no_client_auth();
        // A resumed session would not show the certificate.
        config.resumption = Resumption::disabled();
        let name = match &listener.hostname {
            Some(name) => ServerName::try_from(name.clone()).map_err(io::Error::other)?,
            None => ServerName::IpAddress(listener.address.ip().into()),
        };
        Ok(Self { connector: TlsConnector::from(Arc::new(config)), name })
    }

    /// Shakes hands over a connection.
    pub(super) async fn connect(&self, tcp: TcpStream) -> io::Result<TlsStream<TcpStream>> {
        self.connector.connect(self.name.clone(), tcp).await
    }
}

/// What browsers say of the certificate, where it is that which failed: in words that name the fix.
pub(super) fn refused(error: &io::Error) -> Option<String> {
    let tls = error.get_ref()?.downcast_ref::<rustls::Error>()?;
    let rustls::Error::InvalidCertificate(cause) = tls else { return None };
    Some(format!(
        "{cause}: give one of a public authority, for the hostname that clients ask for, or say that clients \
         trust this one"
    ))
}
