//! HTTPS to an authority: one bounded request a connection, by the web's roots or the operator's.

use std::future::Future;
use std::io;
use std::path::Path;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use anyhow::{Context, Result, bail};
use bytes::Bytes;
use chappe_cluster::clock;
use chappe_cluster::fetch::{self, Failed, web_roots};
use chappe_proto::limits::{ACME_ANSWER_MAX, ACME_CONNECT_WITHIN, ACME_REQUEST_WITHIN};
use hyper::header::{HOST, HeaderValue};
use hyper::{HeaderMap, Request};
use instant_acme::{BodyWrapper, BytesResponse, Error, HttpClient};
use rustls::RootCertStore;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName};
use tokio_rustls::TlsConnector;

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
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = fetch::retry_after(headers, clock::unix());
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
        Ok(Self { tls: fetch::tls(roots)?, said })
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
    let stream =
        fetch::connect(bare, uri.port_u16().unwrap_or(443), ACME_CONNECT_WITHIN).await.map_err(cannot)?;
    let stream = tls.connect(server, stream).await.map_err(cannot)?;
    request.headers_mut().insert(HOST, HeaderValue::from_str(authority)?);
    *request.uri_mut() = uri.path_and_query().map_or("/", |path| path.as_str()).parse()?;
    let (parts, body) = fetch::exchange(stream, request, |body| fetch::whole(body, ACME_ANSWER_MAX)).await?;
    said.note(&parts.headers);
    Ok(BytesResponse { parts, body: Box::new(body) })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn roots_that_are_none_are_told_by_their_option() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let told = format!("{:#}", roots(Some(file.path())).unwrap_err());
        assert!(told.contains("--acme-root") && told.contains("no certificates"), "{told}");
        assert!(roots(None).is_ok_and(|roots| roots.len() > 50));
    }
}
