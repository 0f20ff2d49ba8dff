//! HTTPS to an authority: one bounded request a connection, by the web's roots or the operator's.

use std::future::Future;
use std::io;
use std::path::Path;
use std::pin::{Pin, pin};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context as Poll_, Poll};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use anyhow::{Context, Result, bail};
use bytes::Bytes;
use chappe_cluster::clock;
use chappe_edge::trust::web_roots;
use chappe_proto::limits::{ACME_ANSWER_MAX, ACME_CONNECT_WITHIN, ACME_REQUEST_WITHIN};
use http_body_util::{BodyExt, Limited};
use hyper::client::conn::http1;
use hyper::header::{HOST, HeaderValue, RETRY_AFTER};
use hyper::rt::ReadBufCursor;
use hyper::{HeaderMap, Request};
use instant_acme::{BodyWrapper, BytesResponse, Error, HttpClient};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

/// Bytes read at once.
const READ: usize = 8 * 1024;

type Failed = Box<dyn std::error::Error + Send + Sync>;

/// What an authority's own certificate is checked by: the operator's file, or the web's roots.
pub(super) fn roots(file: Option<&Path>) -> Result<RootCertStore> {
    let Some(file) = file else { return Ok(web_roots()) };
    let unusable = || format!("--acme-root {} holds no certificates (PEM) that can be read", file.display());
    let all = CertificateDer::pem_file_iter(file).with_context(unusable)?;
    let mut roots = RootCertStore::empty();
    for one in all {
        roots.add(one.with_context(unusable)?).with_context(unusable)?;
    }
    if roots.is_empty() {
        bail!(unusable());
    }
    Ok(roots)
}

/// How long an authority has said to wait, with its last answer that said so.
#[derive(Debug, Clone, Default)]
pub(super) struct Said(Arc<Mutex<Option<Duration>>>);

impl Said {
    /// It, once.
    pub(super) fn take(&self) -> Option<Duration> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).take()
    }

    fn note(&self, headers: &HeaderMap) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) =
            retry_after(headers, UNIX_EPOCH + clock::unix().0);
    }
}

/// Seconds, or a date (RFC 9110 section 10.2.3).
fn retry_after(headers: &HeaderMap, now: SystemTime) -> Option<Duration> {
    let value = headers.get(RETRY_AFTER)?.to_str().ok()?.trim();
    match value.parse() {
        Ok(seconds) => Some(Duration::from_secs(seconds)),
        Err(_) => httpdate::parse_http_date(value).ok()?.duration_since(now).ok(),
    }
}

/// A client of one authority.
pub(super) struct Https {
    tls: TlsConnector,
    said: Said,
}

impl Https {
    /// # Errors
    /// When rustls takes no such configuration: a bug of ours.
    pub(super) fn new(roots: RootCertStore, said: Said) -> Result<Self> {
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let config = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()?
            .with_root_certificates(roots)
            .with_no_client_auth();
        Ok(Self { tls: TlsConnector::from(Arc::new(config)), said })
    }
}

impl HttpClient for Https {
    fn request(
        &self,
        request: Request<BodyWrapper<Bytes>>,
    ) -> Pin<Box<dyn Future<Output = Result<BytesResponse, Error>> + Send>> {
        let (tls, said) = (self.tls.clone(), self.said.clone());
        Box::pin(async move {
            let asked = tokio::time::timeout(ACME_REQUEST_WITHIN, ask(tls, request, &said)).await;
            asked
                .unwrap_or_else(|_| {
                    Err(format!("no answer within {} s", ACME_REQUEST_WITHIN.as_secs()).into())
                })
                .map_err(Error::Other)
        })
    }
}

/// Connects to the first of a host's addresses that answers: one that is silent keeps nobody from the next.
async fn connect(host: &str, port: u16) -> io::Result<TcpStream> {
    let mut failed = io::Error::from(io::ErrorKind::NotFound);
    for address in tokio::net::lookup_host((host, port)).await? {
        match tokio::time::timeout(ACME_CONNECT_WITHIN, TcpStream::connect(address)).await {
            Ok(Ok(stream)) => return Ok(stream),
            Ok(Err(error)) => failed = error,
            Err(_) => failed = io::ErrorKind::TimedOut.into(),
        }
    }
    Err(failed)
}

async fn ask(
    tls: TlsConnector,
    mut request: Request<BodyWrapper<Bytes>>,
    said: &Said,
) -> Result<BytesResponse, Failed> {
    let uri = request.uri().clone();
    // RFC 8555 section 6.1.
    if uri.scheme_str() != Some("https") {
        return Err(format!("the authority names {uri}, which is no https:// URL").into());
    }
    let host = uri.host().ok_or("the authority names a URL without a host")?;
    let authority = uri.authority().ok_or("the authority names a URL without a host")?.as_str();
    let bare = host.trim_start_matches('[').trim_end_matches(']');
    let server = ServerName::try_from(bare.to_owned())?;
    let cannot = |error: io::Error| format!("cannot connect to {authority}: {error}");
    let stream = connect(bare, uri.port_u16().unwrap_or(443)).await.map_err(cannot)?;
    let stream = tls.connect(server, stream).await.map_err(cannot)?;
    let (mut sender, connection) = http1::handshake(Io(stream)).await?;
    request.headers_mut().insert(HOST, HeaderValue::from_str(authority)?);
    *request.uri_mut() = uri.path_and_query().map_or("/", |path| path.as_str()).parse()?;
    // Whatever comes of the connection comes of the request too; it ends with this.
    let mut connection = pin!(connection);
    let mut exchange = pin!(async {
        let (parts, body) = sender.send_request(request).await?.into_parts();
        let body = Limited::new(body, ACME_ANSWER_MAX).collect().await?.to_bytes();
        Ok::<_, Failed>((parts, body))
    });
    let (parts, body) = tokio::select! {
        biased;
        done = &mut exchange => done?,
        ended = &mut connection => {
            ended?;
            exchange.await?
        }
    };
    said.note(&parts.headers);
    Ok(BytesResponse { parts, body: Box::new(body) })
}

/// A stream of tokio's as one of hyper's.
struct Io(TlsStream<TcpStream>);

impl hyper::rt::Read for Io {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Poll_<'_>,
        mut into: ReadBufCursor<'_>,
    ) -> Poll<io::Result<()>> {
        let mut bytes = [0; READ];
        let len = into.remaining().min(READ);
        let mut read = ReadBuf::new(&mut bytes[..len]);
        let done = Pin::new(&mut self.0).poll_read(context, &mut read);
        into.put_slice(read.filled());
        done
    }
}

impl hyper::rt::Write for Io {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Poll_<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.0).poll_write(context, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Poll_<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Poll_<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_shutdown(context)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_to_wait_is_seconds_or_a_date() {
        let said = |value: &str| {
            let mut headers = HeaderMap::new();
            headers.insert(RETRY_AFTER, HeaderValue::from_str(value).unwrap());
            retry_after(&headers, UNIX_EPOCH + Duration::from_secs(784_111_770))
        };
        assert_eq!(said("120"), Some(Duration::from_secs(120)));
        assert_eq!(said("Sun, 06 Nov 1994 08:49:37 GMT"), Some(Duration::from_secs(7)));
        assert_eq!(said("Sun, 06 Nov 1994 08:49:00 GMT"), None, "it is over");
        assert_eq!(said("soon"), None);
        assert_eq!(said("-1"), None);
    }

    #[test]
    fn roots_that_are_none_are_told_by_their_option() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let told = format!("{:#}", roots(Some(file.path())).unwrap_err());
        assert!(told.contains("--acme-root") && told.contains("no certificates"), "{told}");
        assert!(roots(None).is_ok_and(|roots| roots.len() > 50));
    }
}
