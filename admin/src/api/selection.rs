//! `/admin/api/v1/selection`: where regions and networks are, and which edges are for whom.

use actix_web::HttpResponse;
use actix_web::web::{self, Bytes, Data, Json, PayloadConfig, ServiceConfig};
use chappe_proto::limits::ENTRY_MAX;
use chappe_proto::select::Policy;
use serde_json::Value;
use utoipa::OpenApi;

use crate::Mount;
use crate::access::{Operator, Viewer};
use crate::api::problem::Problem;
use crate::api::turn::{answer, read};
use crate::schema;

pub(crate) fn routes(config: &mut ServiceConfig) {
    config.service(
        web::resource("/selection")
            .app_data(PayloadConfig::new(ENTRY_MAX))
            .route(web::get().to(show))
            .route(web::put().to(set)),
    );
}

/// What is described of it.
#[derive(OpenApi)]
#[openapi(paths(show, set))]
pub(crate) struct Part;

/// Shows where regions and networks are, and which edges are for whom.
#[utoipa::path(
    get, path = "/selection", tag = "selection",
    responses((status = 200, description = "All of it", body = schema::Selection))
)]
async fn show(_: Viewer, mount: Data<Mount>) -> Result<Json<Policy>, Problem> {
    Ok(Json(mount.cluster.selection().await?))
}

/// What a policy has, and a rule of it: the registry skips what it does not know, an operator's slip is told.
const KNOWN: [&str; 3] = ["regions", "networks", "rules"];
const KNOWN_OF_RULE: [&str; 5] = ["region", "app", "prefer", "never", "only"];

/// The first field that is none.
fn unknown(whole: &Value) -> Option<&str> {
    let top = whole.as_object()?;
    let rules = top.get("rules").and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
    let of_rules = rules.iter().filter_map(Value::as_object).flat_map(|rule| rule.keys());
    let strange = |known: &'static [&str]| move |key: &&String| !known.contains(&key.as_str());
    let found = top.keys().find(strange(&KNOWN)).or_else(|| of_rules.clone().find(strange(&KNOWN_OF_RULE)));
    found.map(String::as_str)
}

/// Replaces where regions and networks are, and which edges are for whom.
#[utoipa::path(
    put, path = "/selection", tag = "selection", request_body = schema::Selection,
    responses((status = 204, description = "All of it is this"))
)]
async fn set(operator: Operator, mount: Data<Mount>, body: Bytes) -> Result<HttpResponse, Problem> {
    let whole: Value = read(&body)?;
    if let Some(unknown) = unknown(&whole) {
        let fix = format!(
            "unknown field `{unknown}`: it has {}; a rule {}",
            KNOWN.join(", "),
            KNOWN_OF_RULE.join(", ")
        );
        return Err(Problem::Field { field: "selection", fix });
    }
    let policy: Policy = read(&body)?;
    policy.check().map_err(|bad| Problem::Field { field: "selection", fix: bad.to_string() })?;
    let (regions, networks, rules) = (policy.regions.len(), policy.networks.len(), policy.rules.len());
    let note =
        operator.note(&format!("set the selection: {regions} regions, {networks} networks, {rules} rules"));
    answer(mount.cluster.selection_set(policy, note).await)
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use actix_web::http::{Method, StatusCode};
    use actix_web::{App, test};
    use chappe_proto::mesh::uplink::Secret;
    use serde_json::json;

    use super::*;
    use crate::memory::Memory;

    async fn ask(memory: &Arc<Memory>, token: &str, body: Option<Value>) -> (StatusCode, Value) {
        let mount = Mount::new(Arc::clone(memory) as Arc<dyn crate::Cluster>, Secret(b"right".to_vec()));
        let app = test::init_service(App::new().configure(|config| mount.configure(config))).await;
        let mut request = test::TestRequest::with_uri("/admin/api/v1/selection")
            .insert_header(("Authorization", format!("Bearer {token}")));
        if let Some(body) = body {
            request = request.method(Method::PUT).set_json(body);
        }
        let answer = test::call_service(&app, request.to_request()).await;
        (answer.status(), serde_json::from_slice(&test::read_body(answer).await).unwrap_or(Value::Null))
    }

    #[actix_rt::test]
    async fn the_whole_is_set_shown_and_refused_in_words() {
        let memory = Arc::new(Memory::default());
        assert_eq!(ask(&memory, "right", None).await, (StatusCode::OK, json!({})));
        let policy = json!({
            "regions": { "eu": [50.1, 8.7] },
            "networks": { "10.0.0.0/8": "eu" },
            "rules": [{ "app": "bank", "only": ["eu"] }],
        });
        assert_eq!(ask(&memory, "right", Some(policy.clone())).await.0, StatusCode::NO_CONTENT);
        assert_eq!(ask(&memory, "right", None).await.1, policy);
        for (bad, told) in [
            (json!({ "regions": { "eu": [500, 8.7] } }), "latitude"),
            (json!({ "networks": { "10.0.0.0": "eu" } }), "body"),
            (json!({ "rules": [{ "region": "eu" }] }), "`prefer`, `never` or `only`"),
            (json!({ "weights": {} }), "unknown field `weights`"),
            (json!({ "rules": [{ "nevr": ["eu"] }] }), "unknown field `nevr`"),
        ] {
            let (status, answer) = ask(&memory, "right", Some(bad)).await;
            let detail = answer["detail"].as_str().unwrap();
            assert!(status == StatusCode::BAD_REQUEST && detail.contains(told), "{status} {detail}");
        }
        assert_eq!(ask(&memory, "right", None).await.1, policy, "nothing changed");
        assert_eq!(ask(&memory, "wrong", None).await.0, StatusCode::UNAUTHORIZED);
        assert_eq!(ask(&memory, "wrong", Some(policy)).await.0, StatusCode::UNAUTHORIZED);
    }
}
