//! Asking over TLS, as a browser does.

use std::io::{self, Read, Write};
use std::sync::Arc;

use chappe_proto::mesh::uplink::Listener;
use rustls::client::Resumption;
use rustls::crypto::ring;
use rustls::pki_types::ServerName;
use rustls::{ClientConfig, ClientConnection, RootCertStore};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::trust::AnyCertificate;

/// What a listener's certificate is checked against.
#[derive(Clone, Debug)]
pub(super) struct Check {
    config: Arc<ClientConfig>,
    name: ServerName<'static>,
}

impl Check {
    /// That of a listener; `roots` are those that a browser trusts, `None` where the operator vouches for the
    /// certificate.
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
        Ok(Self { config: Arc::new(config), name })
    }
}

/// Sends `request` and waits for `answer`.
pub(super) async fn ask(
    stream: &mut TcpStream,
    check: &Check,
    request: &[u8],
    answer: &mut [u8],
) -> io::Result<()> {
    let mut tls =
        ClientConnection::new(check.config.clone(), check.name.clone()).map_err(io::Error::other)?;
    // It waits in there until the handshake is done.
    tls.writer().write_all(request)?;
    let mut filled = 0;
    loop {
        while tls.wants_write() {
            let mut out = Vec::new();
            tls.write_tls(&mut out)?;
            stream.write_all(&out).await?;
        }
        match tls.reader().read(&mut answer[filled..]) {
            Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
            Ok(count) => filled += count,
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            Err(error) => return Err(error),
        }
        if filled == answer.len() {
            return Ok(());
        }
        let mut buffer = [0; 4096];
        let count = stream.read(&mut buffer).await?;
        if count == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        let mut rest = &buffer[..count];
        while !rest.is_empty() {
            tls.read_tls(&mut rest)?;
            tls.process_new_packets().map_err(refused)?;
        }
    }
}

/// A failed handshake, in words that name the fix.
fn refused(error: rustls::Error) -> io::Error {
    match error {
        rustls::Error::InvalidCertificate(cause) => io::Error::other(format!(
            "browsers refuse its certificate ({cause}): give one of a public authority, for the hostname that \
             clients ask for, or say that clients trust this one"
        )),
        other => io::Error::other(other),
    }
}
