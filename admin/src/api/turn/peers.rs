//! `/turn/peers`: what peers the operator allows and denies.

use actix_web::HttpResponse;
use actix_web::web::{self, Bytes, Data, Json, ServiceConfig};
use chappe_proto::mesh::uplink::PeerPolicy;

use super::{answer, read};
use crate::Mount;
use crate::access::{Operator, Viewer};
use crate::api::problem::Problem;

pub(super) fn routes(config: &mut ServiceConfig) {
    config.route("/turn/peers", web::get().to(peers)).route("/turn/peers", web::put().to(set_peers));
}

/// Prefixes that are allowed, and denied: `allow` and `deny`.
#[utoipa::path(get, path = "/turn/peers", tag = "turn", responses((status = 200, body = Object)))]
async fn peers(_: Viewer, mount: Data<Mount>) -> Result<Json<PeerPolicy>, Problem> {
    Ok(Json(mount.cluster.turn_peers().await?))
}

/// Replaces both.
#[utoipa::path(put, path = "/turn/peers", tag = "turn", request_body = Object, responses((status = 204)))]
async fn set_peers(operator: Operator, mount: Data<Mount>, body: Bytes) -> Result<HttpResponse, Problem> {
    let peers: PeerPolicy = read(&body)?;
    let (allowed, denied) = (peers.allow.len(), peers.deny.len());
    let note =
        operator.note(&format!("set the peers of relays: {allowed} allowed, {denied} denied prefixes"));
    answer(mount.cluster.turn_peers_set(peers, note).await)
}
