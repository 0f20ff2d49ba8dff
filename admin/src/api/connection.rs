//! `/admin/api/v1/connection-test`: what a browser needs to test its own connection.

use actix_web::HttpResponse;
use actix_web::http::header;
use actix_web::web::{self, Data, ServiceConfig};
use chappe_proto::registry::access::Role;
use utoipa::OpenApi;

use crate::Mount;
use crate::access::{Means, Viewer};
use crate::api::problem::Problem;
use crate::cluster::connection::ConnectionTest;

pub(crate) fn routes(config: &mut ServiceConfig) {
    config.route("/connection-test", web::post().to(begin));
}

/// What is described of it.
#[derive(OpenApi)]
#[openapi(paths(begin))]
pub(crate) struct Part;

/// Begins a test of one's connection: every edge's and every node's URLs, with a TURN credential.
///
/// It ends by itself after five minutes. It is in the audit log. Twenty at once, and one more each 15 s; viewers
/// log in for it, as their tokens begin none.
#[utoipa::path(post, path = "/connection-test", tag = "edges", responses(
    (status = 200, body = ConnectionTest),
    (status = 403, description = "a viewer's access token"),
    (status = 429, description = "too many at once"),
    (status = 503, description = "there is no TURN secret yet"),
))]
async fn begin(viewer: Viewer, mount: Data<Mount>) -> Result<HttpResponse, Problem> {
    if matches!(viewer.by, Means::Token(_)) && viewer.role < Role::Operator {
        // A credential relays: more than to look.
        let fix = "a viewer's access token begins no test: log in for that".to_owned();
        return Err(Problem::Forbidden(fix));
    }
    mount.gate.tests(&viewer, mount.cluster.now().mono)?;
    let test = mount.cluster.connection_test(viewer.note("began a test of a connection")).await?;
    Ok(HttpResponse::Ok().insert_header((header::CACHE_CONTROL, "no-store")).json(test))
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use actix_web::http::{Method, StatusCode};
    use actix_web::{App, test as web_test};
    use chappe_proto::mesh::uplink::Secret;
    use chappe_proto::registry::Command;
    use serde_json::Value;

    use super::*;
    use crate::memory::{Memory, ask, refused};

    fn with_secret() -> Arc<Memory> {
        let memory = Memory::default();
        let secret = Secret(b"shared by all of the edges, secret".to_vec());
        memory.apply(Command::TurnSecretAdd { number: 1, secret }, None).unwrap();
        Arc::new(memory)
    }

    #[actix_rt::test]
    async fn a_test_begins_with_a_fresh_credential_and_is_in_the_audit_log() {
        let memory = with_secret();
        let audited = memory.with(|state| state.audit().count());
        let (status, test) = ask(&memory, Method::POST, "/connection-test", Value::Null).await;
        assert_eq!((status, &test["edges"][0]["edge"]), (200, &"edge-eu".into()), "{test}");
        assert_eq!(test["ttl_secs"], 300);
        assert!(!test["credential"].as_str().unwrap().is_empty());
        assert!(!test.to_string().contains("shared by all"), "the secret itself stays here");
        let (_, again) = ask(&memory, Method::POST, "/connection-test", Value::Null).await;
        assert_ne!(test["username"], again["username"], "each test is a user of its own");
        assert_eq!(memory.with(|state| state.audit().count()), audited + 2);
    }

    #[actix_rt::test]
    async fn without_a_turn_secret_nothing_is_made() {
        let memory = Arc::new(Memory::default());
        let told = refused(&memory, Method::POST, "/connection-test", Value::Null).await;
        assert!(told.starts_with("503") && told.contains("TURN secret"), "{told}");
    }

    #[actix_rt::test]
    async fn nobody_else_is_given_one_and_nobody_keeps_it() {
        let mount = Mount::new(with_secret() as Arc<dyn crate::Cluster>, Secret(b"right".to_vec()));
        let app = web_test::init_service(App::new().configure(|config| mount.configure(config))).await;
        for (bearer, status) in [("Bearer right", StatusCode::OK), ("Bearer wrong", StatusCode::UNAUTHORIZED)]
        {
            let request = web_test::TestRequest::post()
                .uri("/admin/api/v1/connection-test")
                .insert_header(("Authorization", bearer));
            let answer = web_test::call_service(&app, request.to_request()).await;
            assert_eq!(answer.status(), status);
            if status == StatusCode::OK {
                assert_eq!(answer.headers().get(header::CACHE_CONTROL).unwrap(), "no-store");
            }
        }
    }
}
