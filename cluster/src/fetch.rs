//! HTTP/1.1 requests to others: one on a connection of its own, bounded, by rustls and the web's roots.

use std::io;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::{Duration, UNIX_EPOCH};

use bytes::{Bytes, BytesMut};
use chappe_proto::time::Unix;
use http_body_util::{BodyExt, Limited};
use hyper::body::{Body, Incoming};
use hyper::client::conn::http1;
use hyper::header::RETRY_AFTER;
use hyper::http::response::Parts;
use hyper::rt::ReadBufCursor;
use hyper::{HeaderMap, Request};
use rustls::{ClientConfig, RootCertStore};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

/// Bytes read at once.
const READ: usize = 8 * 1024;

/// Why there is no answer.
pub type Failed = Box<dyn std::error::Error + Send + Sync>;

/// What the certificates of public servers are checked by.
#[must_use]
pub fn web_roots() -> RootCertStore {
    RootCertStore { roots: webpki_roots::TLS_SERVER_ROOTS.to_vec() }
}

/// TLS to servers that these roots certify.
///
/// # Errors
/// When rustls takes no such configuration: a bug of ours.
pub fn tls(roots: RootCertStore) -> Result<TlsConnector, rustls::Error> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()?
        .with_root_certificates(roots)
        .with_no_client_auth();
    Ok(TlsConnector::from(Arc::new(config)))
}

/// Connects to the first of a host's addresses that answers within that: one that is silent keeps nobody from the next.
///
/// # Errors
/// That of the last address.
pub async fn connect(host: &str, port: u16, within: Duration) -> io::Result<TcpStream> {
    let mut failed = io::Error::from(io::ErrorKind::NotFound);
    for address in tokio::net::lookup_host((host, port)).await? {
        match tokio::time::timeout(within, TcpStream::connect(address)).await {
            Ok(Ok(stream)) => return Ok(stream),
            Ok(Err(error)) => failed = error,
            Err(_) => failed = io::ErrorKind::TimedOut.into(),
        }
    }
    Err(failed)
}

/// Sends a request whose target is a path, and reads of its answer what `read` reads. The connection ends with this.
///
/// # Errors
/// Whatever keeps the answer away.
pub async fn exchange<S, B, T, F>(
    stream: S,
    request: Request<B>,
    read: impl FnOnce(Incoming) -> F,
) -> Result<(Parts, T), Failed>
where
    F: Future<Output = Result<T, Failed>>,
    S: AsyncRead + AsyncWrite + Unpin,
    B: Body + Send + 'static,
    B::Data: Send,
    B::Error: Into<Failed>,
{
    let (mut sender, connection) = http1::handshake(Io(stream)).await?;
    // Whatever comes of the connection comes of the request too.
    let mut connection = pin!(connection);
    let mut exchange = pin!(async {
        let (parts, body) = sender.send_request(request).await?.into_parts();
        Ok::<_, Failed>((parts, read(body).await?))
    });
    tokio::select! {
        biased;
        done = &mut exchange => done,
        ended = &mut connection => {
            ended?;
            exchange.await
        }
    }
}

/// The whole body.
///
/// # Errors
/// When it is longer than that.
pub async fn whole(body: Incoming, max: usize) -> Result<Bytes, Failed> {
    Ok(Limited::new(body, max).collect().await?.to_bytes())
}

/// The body's first bytes, so many at most; fewer where it breaks off.
pub async fn first(mut body: Incoming, max: usize) -> Bytes {
    let mut bytes = BytesMut::new();
    while bytes.len() < max
        && let Some(Ok(frame)) = body.frame().await
    {
        if let Some(data) = frame.data_ref() {
            bytes.extend_from_slice(&data[..data.len().min(max - bytes.len())]);
        }
    }
    bytes.freeze()
}

/// How long an answer asks to wait: seconds, or a date (RFC 9110 section 10.2.3).
#[must_use]
pub fn retry_after(headers: &HeaderMap, now: Unix) -> Option<Duration> {
    let value = headers.get(RETRY_AFTER)?.to_str().ok()?.trim();
    match value.parse() {
        Ok(seconds) => Some(Duration::from_secs(seconds)),
        Err(_) => httpdate::parse_http_date(value).ok()?.duration_since(UNIX_EPOCH + now.0).ok(),
    }
}

/// A stream of tokio's as one of hyper's.
struct Io<S>(S);

impl<S: AsyncRead + Unpin> hyper::rt::Read for Io<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
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

impl<S: AsyncWrite + Unpin> hyper::rt::Write for Io<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.0).poll_write(context, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_shutdown(context)
    }
}

#[cfg(test)]
mod tests {
    use hyper::header::HeaderValue;

    use super::*;

    #[test]
    fn a_time_to_wait_is_seconds_or_a_date() {
        let said = |value: &str| {
            let mut headers = HeaderMap::new();
            headers.insert(RETRY_AFTER, HeaderValue::from_str(value).unwrap());
            retry_after(&headers, Unix::from_secs(784_111_770))
        };
        assert_eq!(said("120"), Some(Duration::from_secs(120)));
        assert_eq!(said("Sun, 06 Nov 1994 08:49:37 GMT"), Some(Duration::from_secs(7)));
        assert_eq!(said("Sun, 06 Nov 1994 08:49:00 GMT"), None, "it is over");
        assert_eq!(said("soon"), None);
        assert_eq!(said("-1"), None);
    }
}
