//! What this node asks of other servers for the API's sake.

use std::time::Duration;

use bytes::Bytes;
use chappe_admin::Answer;
use chappe_admin::elsewhere::{Web, WebAnswer, WebRequest};
use chappe_proto::hooks::url::Target;
use chappe_proto::limits::{PROVIDER_ANSWER_MAX, PROVIDER_WITHIN};
use http_body_util::Full;
use hyper::Request;
use hyper::header::{ACCEPT, AUTHORIZATION, CONTENT_TYPE, HOST, HeaderValue, USER_AGENT};
use rustls::pki_types::ServerName;
use tokio_rustls::TlsConnector;

use super::Admin;
use crate::BUILD;
use crate::fetch::{self, Failed};

/// One of several addresses must have been connected to within this.
const CONNECT_WITHIN: Duration = Duration::from_secs(3);

impl Web for Admin {
    fn web(&self, request: WebRequest) -> Answer<'_, Result<WebAnswer, String>> {
        Box::pin(async move {
            let asked = tokio::time::timeout(PROVIDER_WITHIN, ask(&self.tls, &request)).await;
            let slow = || Err(format!("no answer within {} s", PROVIDER_WITHIN.as_secs()).into());
            let told = |failed: Failed| format!("{}: {failed}", request.url);
            asked.unwrap_or_else(|_| slow()).map_err(told)
        })
    }
}

async fn ask(tls: &TlsConnector, asked: &WebRequest) -> Result<WebAnswer, Failed> {
    let target = Target::of(&asked.url)?;
    let request = request(&target, asked)?;
    let cannot = |error| format!("cannot connect to {}: {error}", target.authority);
    let stream = fetch::connect(target.host, target.port, CONNECT_WITHIN).await.map_err(cannot)?;
    let read = |body| fetch::whole(body, PROVIDER_ANSWER_MAX);
    let (parts, body) = if target.secure {
        let server = ServerName::try_from(target.host.to_owned())?;
        let stream = tls.connect(server, stream).await.map_err(|error| format!("TLS: {error}"))?;
        fetch::exchange(stream, request, read).await?
    } else {
        fetch::exchange(stream, request, read).await?
    };
    Ok(WebAnswer { status: parts.status.as_u16(), body: body.to_vec() })
}

fn request(target: &Target<'_>, asked: &WebRequest) -> Result<Request<Full<Bytes>>, Failed> {
    let slash = if target.path.starts_with('/') { "" } else { "/" };
    let mut request = Request::builder()
        .uri(format!("{slash}{}", target.path))
        .header(HOST, target.authority)
        .header(ACCEPT, "application/json")
        .header(USER_AGENT, format!("Chappe/{BUILD}"));
    let Some(form) = &asked.form else { return Ok(request.body(Full::default())?) };
    if let Some(basic) = &form.basic {
        let mut value = HeaderValue::from_bytes(&[b"Basic ".as_slice(), &basic.0].concat())?;
        value.set_sensitive(true);
        request = request.header(AUTHORIZATION, value);
    }
    let request = request.method("POST").header(CONTENT_TYPE, "application/x-www-form-urlencoded");
    Ok(request.body(Full::new(Bytes::copy_from_slice(&form.body.0)))?)
}
