//! What every answer of the API and of the console says of itself.

use std::sync::Arc;

use actix_web::body::MessageBody;
use actix_web::dev::{ServiceRequest, ServiceResponse};
use actix_web::error::InternalError;
use actix_web::http::header::{self, HeaderMap, HeaderName, HeaderValue};
use actix_web::middleware::Next;

use crate::access::gate::Gate;

/// A browser that came by HTTPS comes by nothing else for a year (RFC 6797).
const HTTPS_ALONE: &str = "max-age=31536000";

/// The Content Security Policy, with what else a page connects to.
macro_rules! policy {
    ($connects:literal) => {
        concat!(
            "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'",
            $connects,
            "; form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
        )
    };
}

/// What an answer says where it says nothing else itself. Nothing is kept by whoever passes it on. Of a page nothing is
/// inline, nothing is from elsewhere, and it is in nobody's frame (OWASP ASVS 5.0, 3.4.3 to 3.4.8).
const ALWAYS: [(&str, &str); 6] = [
    ("cache-control", "no-store"),
    ("content-security-policy", policy!("")),
    ("x-content-type-options", "nosniff"),
    ("referrer-policy", "same-origin"),
    ("cross-origin-opener-policy", "same-origin"),
    ("cross-origin-resource-policy", "same-origin"),
];

/// The policy of a page that connects to these sources, too.
pub(crate) fn policy(connects: &[String]) -> String {
    let connects: String = connects.iter().map(|source| format!(" {source}")).collect();
    format!(policy!("{}"), connects)
}

/// Puts that on an answer; and who came by HTTPS stays there.
///
/// # Errors
/// Those of the handler, as answers.
pub(crate) async fn always<B: MessageBody + 'static>(
    gate: Arc<Gate>,
    request: ServiceRequest,
    next: Next<B>,
) -> Result<ServiceResponse<B>, actix_web::Error> {
    let secure = gate.asker(request.request()).secure;
    match next.call(request).await {
        Ok(mut answered) => {
            put(answered.headers_mut(), secure);
            Ok(answered)
        }
        Err(error) => {
            let mut response = error.error_response();
            put(response.headers_mut(), secure);
            Err(InternalError::from_response(error, response).into())
        }
    }
}

fn put(headers: &mut HeaderMap, secure: bool) {
    for (name, value) in ALWAYS {
        if !headers.contains_key(name) {
            headers.insert(HeaderName::from_static(name), HeaderValue::from_static(value));
        }
    }
    if secure {
        headers.insert(header::STRICT_TRANSPORT_SECURITY, HeaderValue::from_static(HTTPS_ALONE));
    }
}

#[cfg(test)]
mod tests {
    use std::net::{IpAddr, Ipv4Addr};

    use actix_web::{App, test};
    use chappe_proto::mesh::uplink::Secret;

    use super::*;
    use crate::memory::Memory;
    use crate::{Asker, Mount};

    #[actix_rt::test]
    async fn every_answer_is_guarded_and_https_is_stayed_with() {
        for secure in [false, true] {
            let mount = Mount::new(Arc::new(Memory::default()), Secret(b"right".to_vec()));
            let mount = mount.asked_by(move |_| Asker { ip: IpAddr::V4(Ipv4Addr::LOCALHOST), secure });
            let app = test::init_service(App::new().configure(|config| mount.configure(config))).await;
            for (path, token, status) in [
                ("/api/v1/cluster", "right", 200),
                ("/api/v1/cluster", "wrong", 401),
                ("/api/v1/nowhere", "right", 404),
                ("/api/v1/rooms?limit=x", "right", 400),
                ("", "right", 200),
                ("", "wrong", 303),
                ("/nodes/99", "right", 404),
                ("/nowhere", "right", 404),
                ("/search?q=node", "right", 200),
                ("/login", "wrong", 200),
                ("/link/x", "wrong", 404),
                ("/ui/console.css", "wrong", 200),
                ("/ui/none.css", "wrong", 404),
            ] {
                let request = test::TestRequest::with_uri(&format!("/admin{path}"))
                    .insert_header(("Authorization", format!("Bearer {token}")));
                let answer = test::call_service(&app, request.to_request()).await;
                let said = |name: &str| answer.headers().get(name).map(|value| value.to_str().unwrap());
                // What is the same for everybody is asked for again, by its tag.
                let kept = if path == "/ui/console.css" { "no-cache" } else { "no-store" };
                assert_eq!((answer.status().as_u16(), said("cache-control")), (status, Some(kept)), "{path}");
                let guards = said("content-security-policy").unwrap();
                assert!(
                    guards.starts_with("default-src 'none'; ") && guards.contains("frame-ancestors 'none'"),
                    "{path}: {guards}"
                );
                assert_eq!(said("x-content-type-options"), Some("nosniff"), "{path}");
                assert_eq!(said("referrer-policy"), Some("same-origin"), "{path}");
                assert_eq!(said("cross-origin-opener-policy"), Some("same-origin"), "{path}");
                assert_eq!(said("strict-transport-security"), secure.then_some(HTTPS_ALONE), "{path}");
            }
        }
    }
}
