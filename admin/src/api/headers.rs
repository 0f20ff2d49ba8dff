//! What every answer of the API says of itself.

use actix_web::body::MessageBody;
use actix_web::dev::{ServiceRequest, ServiceResponse};
use actix_web::error::InternalError;
use actix_web::http::header::{self, HeaderMap, HeaderValue};
use actix_web::middleware::Next;
use actix_web::web::Data;

use crate::Mount;

/// A browser that came by HTTPS comes by nothing else for a year (RFC 6797).
const HTTPS_ALONE: &str = "max-age=31536000";

/// Nothing is kept by whoever passes an answer on, unless it says otherwise itself; and who came by HTTPS stays there.
pub(crate) async fn always<B: MessageBody + 'static>(
    request: ServiceRequest,
    next: Next<B>,
) -> Result<ServiceResponse<B>, actix_web::Error> {
    let mount = request.app_data::<Data<Mount>>();
    let secure = mount.is_some_and(|mount| mount.gate.asker(request.request()).secure);
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
    if !headers.contains_key(header::CACHE_CONTROL) {
        headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    }
    if secure {
        headers.insert(header::STRICT_TRANSPORT_SECURITY, HeaderValue::from_static(HTTPS_ALONE));
    }
}

#[cfg(test)]
mod tests {
    use std::net::{IpAddr, Ipv4Addr};
    use std::sync::Arc;

    use actix_web::{App, test};
    use chappe_proto::mesh::uplink::Secret;

    use super::*;
    use crate::Asker;
    use crate::memory::Memory;

    #[actix_rt::test]
    async fn no_answer_is_kept_and_https_is_stayed_with() {
        for secure in [false, true] {
            let mount = Mount::new(Arc::new(Memory::default()), Secret(b"right".to_vec()));
            let mount = mount.asked_by(move |_| Asker { ip: IpAddr::V4(Ipv4Addr::LOCALHOST), secure });
            let app = test::init_service(App::new().configure(|config| mount.configure(config))).await;
            for (path, token, status) in [
                ("/cluster", "right", 200),
                ("/cluster", "wrong", 401),
                ("/nowhere", "right", 404),
                ("/rooms?limit=x", "right", 400),
            ] {
                let request = test::TestRequest::with_uri(&format!("/admin/api/v1{path}"))
                    .insert_header(("Authorization", format!("Bearer {token}")));
                let answer = test::call_service(&app, request.to_request()).await;
                let said = |name: &str| answer.headers().get(name).map(|value| value.to_str().unwrap());
                assert_eq!(
                    (answer.status().as_u16(), said("cache-control")),
                    (status, Some("no-store")),
                    "{path}"
                );
                assert_eq!(said("strict-transport-security"), secure.then_some(HTTPS_ALONE), "{path}");
            }
        }
    }
}
