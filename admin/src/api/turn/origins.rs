//! `/turn/origins`: the realms of clients on pages of these origins.

use std::collections::BTreeMap;

use actix_web::HttpResponse;
use actix_web::web::{self, Bytes, Data, Json, ServiceConfig};
use chappe_proto::mesh::user::check_origin_realm;

use super::{answer, read};
use crate::Mount;
use crate::access::{Operator, Viewer};
use crate::api::problem::Problem;

pub(super) fn routes(config: &mut ServiceConfig) {
    config.route("/turn/origins", web::get().to(origins)).route("/turn/origins", web::put().to(set_origins));
}

/// Realms by origins.
#[utoipa::path(
    get,
    path = "/turn/origins",
    tag = "turn",
    responses((status = 200, body = BTreeMap<String, String>))
)]
async fn origins(_: Viewer, mount: Data<Mount>) -> Result<Json<BTreeMap<String, String>>, Problem> {
    Ok(Json(mount.cluster.turn_origins().await?))
}

/// Replaces all of them.
#[utoipa::path(
    put,
    path = "/turn/origins",
    tag = "turn",
    request_body = BTreeMap<String, String>,
    responses((status = 204))
)]
async fn set_origins(operator: Operator, mount: Data<Mount>, body: Bytes) -> Result<HttpResponse, Problem> {
    let origins: BTreeMap<String, String> = read(&body)?;
    for (origin, realm) in &origins {
        check_origin_realm(realm)
            .map_err(|bad| Problem::Field { field: "realm", fix: format!("of {origin:?}: {bad}") })?;
    }
    let note = operator.note(&format!("set the realms of {} origins", origins.len()));
    answer(mount.cluster.turn_origins_set(origins, note).await).map_err(|problem| match problem {
        Problem::Field { .. } => Problem::Field {
            field: "origin",
            fix: "scheme and host as browsers write them, in lower case and without a path: \
                  https://meet.example.org"
                .to_owned(),
        },
        other => other,
    })
}
