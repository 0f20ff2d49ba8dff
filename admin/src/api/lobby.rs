//! `/admin/api/v1/apps/{app}/rooms/{room}/waiting`: who waits to be let into a room.

#![allow(unused_qualifications, reason = "`utoipa` writes them")]

use actix_web::HttpResponse;
use actix_web::web::{self, Bytes, Data, Json, Path, ServiceConfig};
use chappe_proto::limits::DENY_REASON_MAX;
use chappe_proto::signal::frame::deny_reason;
use chappe_proto::signal::lobby::Verdict;
use serde::Deserialize;
use utoipa::{OpenApi, ToSchema};

use crate::Mount;
use crate::access::OfApp;
use crate::api::peers::peer_id;
use crate::api::problem::Problem;
use crate::api::rooms::key;
use crate::api::turn::read;
use crate::rooms::Waiting;

pub(crate) fn routes(config: &mut ServiceConfig) {
    config
        .route("/apps/{app}/rooms/{room}/waiting", web::get().to(list))
        .route("/apps/{app}/rooms/{room}/waiting/{peer}/admit", web::post().to(admit))
        .route("/apps/{app}/rooms/{room}/waiting/{peer}/deny", web::post().to(deny));
}

/// What is described of it.
#[derive(OpenApi)]
#[openapi(paths(list, admit, deny))]
pub(crate) struct Part;

/// Who waits to be let into a room, who has waited longest first.
#[utoipa::path(
    get, path = "/apps/{app}/rooms/{room}/waiting", tag = "peers",
    params(("app" = String, Path), ("room" = String, Path)),
    responses((status = 200, body = Vec<Waiting>), (status = 404, description = "no such room"))
)]
async fn list(
    _: OfApp,
    mount: Data<Mount>,
    path: Path<(String, String)>,
) -> Result<Json<Vec<Waiting>>, Problem> {
    Ok(Json(mount.cluster.room(key(&path.0, &path.1)?).await?.waiting))
}

/// Lets somebody in who waits.
#[utoipa::path(
    post, path = "/apps/{app}/rooms/{room}/waiting/{peer}/admit", tag = "peers",
    params(("app" = String, Path), ("room" = String, Path), ("peer" = String, Path)),
    responses(
        (status = 204), (status = 404, description = "nobody of that id waits for that room"),
        (status = 409, description = "the room is full: it waits on")
    )
)]
async fn admit(
    operator: OfApp,
    mount: Data<Mount>,
    path: Path<(String, String, String)>,
) -> Result<HttpResponse, Problem> {
    let (key, peer) = (key(&path.0, &path.1)?, peer_id(&path.2)?);
    let note = operator.note(&format!("let {peer} into the room {key}"));
    mount.cluster.judge(key, peer, Verdict::Admit, note).await?;
    Ok(HttpResponse::NoContent().finish())
}

/// Why somebody is not let in.
#[derive(Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct Denial {
    /// What it is told: 256 bytes at most.
    #[serde(default)]
    reason: Option<String>,
}

/// Turns somebody away who waits.
#[utoipa::path(
    post, path = "/apps/{app}/rooms/{room}/waiting/{peer}/deny", tag = "peers", request_body = Option<Denial>,
    params(("app" = String, Path), ("room" = String, Path), ("peer" = String, Path)),
    responses((status = 204), (status = 404, description = "nobody of that id waits for that room"))
)]
async fn deny(
    operator: OfApp,
    mount: Data<Mount>,
    path: Path<(String, String, String)>,
    body: Bytes,
) -> Result<HttpResponse, Problem> {
    let (key, peer) = (key(&path.0, &path.1)?, peer_id(&path.2)?);
    let Denial { reason } = if body.is_empty() { Denial::default() } else { read(&body)? };
    let reason = deny_reason(reason.as_deref())
        .map_err(|_| Problem::Field { field: "reason", fix: format!("{DENY_REASON_MAX} bytes at most") })?;
    let note = operator.note(&format!("turned {peer} away from the room {key}"));
    mount.cluster.judge(key, peer, Verdict::Deny { reason }, note).await?;
    Ok(HttpResponse::NoContent().finish())
}
