//! `/turn/secrets`: the shared secrets of TURN REST credentials, never their bytes.

use std::time::Duration;

use actix_web::HttpResponse;
use actix_web::web::{self, Bytes, Data, Json, Path, ServiceConfig};
use chappe_proto::limits::{ISSUED_TTL_MAX, SECRET_BYTES, SECRET_OVERLAP};
use chappe_proto::mesh::uplink::Secret;
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use super::{Ask, answer, read};
use crate::Mount;
use crate::access::{Owner, Viewer};
use crate::api::problem::Problem;
use crate::cluster::turn::SecretStatus;

pub(super) fn routes(config: &mut ServiceConfig) {
    config
        .route("/turn/secrets", web::get().to(secrets))
        .route("/turn/secrets", web::post().to(add_secret))
        .route("/turn/secret-rotations", web::post().to(rotate))
        .route("/turn/secrets/{number}", web::delete().to(end));
}

/// The secrets in force, oldest first: the last one issues.
#[utoipa::path(get, path = "/turn/secrets", tag = "turn", responses((status = 200, body = Vec<SecretStatus>)))]
async fn secrets(_: Viewer, mount: Data<Mount>) -> Result<Json<Vec<SecretStatus>>, Problem> {
    Ok(Json(mount.cluster.turn_secrets().await?))
}

/// A shared secret that others have too.
#[derive(Deserialize, ToSchema)]
#[schema(as = TurnSecretWish)]
#[serde(deny_unknown_fields)]
pub(super) struct NewSecret {
    /// 16 to 128 bytes.
    secret: String,
}

/// A secret that other programs have is accepted, and issues from now on.
#[utoipa::path(post, path = "/turn/secrets", tag = "turn", request_body = NewSecret, responses((status = 204)))]
async fn add_secret(owner: Owner, mount: Data<Mount>, body: Bytes) -> Result<HttpResponse, Problem> {
    let NewSecret { secret } = read(&body)?;
    if !SECRET_BYTES.contains(&secret.len()) {
        let (min, max) = (SECRET_BYTES.start(), SECRET_BYTES.end());
        let fix = format!("{min} to {max} bytes: make one by `openssl rand -hex 32`");
        return Err(Problem::Field { field: "secret", fix });
    }
    let note = owner.note("added a shared secret of TURN credentials");
    answer(mount.cluster.turn_secret_add(Secret(secret.into_bytes()), note).await)
}

/// How long the former secrets stay.
#[derive(Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Overlap {
    /// When the secrets before it end, in seconds from now; once nothing that was made by them is good any more
    /// where it is left out.
    overlap_s: Option<u64>,
    /// That credentials may end by it.
    #[serde(default)]
    force: bool,
}

/// The secret that issues from now on.
#[derive(Serialize, ToSchema)]
#[schema(as = NewSecretNumber)]
pub(super) struct Rotated {
    /// The number of the new one.
    number: u64,
}

/// Secrets on which credentials rely that end: it is said how many, and how they may end nevertheless.
fn relied_on(all: &[SecretStatus]) -> Result<(), Problem> {
    let many: usize = all.iter().map(|secret| secret.relying).sum();
    if many == 0 {
        return Ok(());
    }
    Err(Problem::Full(format!(
        "{many} issued credentials rely on it: wait until they expire, revoke them, or end it with `force`"
    )))
}

/// A new secret issues from now on, and the others end later: no call that is under way notices.
#[utoipa::path(
    post,
    path = "/turn/secret-rotations",
    tag = "turn",
    request_body = Overlap,
    responses((status = 201, body = Rotated), (status = 409))
)]
async fn rotate(owner: Owner, mount: Data<Mount>, body: Bytes) -> Result<HttpResponse, Problem> {
    let Overlap { overlap_s, force } = if body.is_empty() { Overlap::default() } else { read(&body)? };
    let overlap = overlap_s.map(Duration::from_secs);
    if overlap.is_some_and(|overlap| overlap > ISSUED_TTL_MAX) {
        let fix = format!("0 to {}", ISSUED_TTL_MAX.as_secs());
        return Err(Problem::Field { field: "overlap_s", fix });
    }
    if let Some(overlap) = overlap.filter(|_| !force) {
        if overlap < SECRET_OVERLAP {
            let fix = format!(
                "what sessions were given is good for up to {} s: give that, or `force`",
                SECRET_OVERLAP.as_secs()
            );
            return Err(Problem::Field { field: "overlap_s", fix });
        }
        relied_on(&mount.cluster.turn_secrets().await?)?;
    }
    let note = owner.note("rotated the shared secret of TURN credentials");
    let number = mount.cluster.turn_secret_rotate(overlap, note).await?;
    Ok(HttpResponse::Created().json(Rotated { number }))
}

#[derive(Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
struct Force {
    /// That credentials may end by it.
    #[serde(default)]
    force: bool,
}

/// Ends a secret that does not issue any more. Allocations go on; no new one is made by what it made.
#[utoipa::path(
    delete,
    path = "/turn/secrets/{number}",
    tag = "turn",
    params(("number" = u64, Path), Force),
    responses((status = 204), (status = 404), (status = 409))
)]
async fn end(
    owner: Owner,
    mount: Data<Mount>,
    path: Path<String>,
    force: Ask<Force>,
) -> Result<HttpResponse, Problem> {
    let number: u64 = path.parse().map_err(|_| Problem::NotFound("secret"))?;
    let all = mount.cluster.turn_secrets().await?;
    let held = all.into_iter().find(|secret| secret.number == number).ok_or(Problem::NotFound("secret"))?;
    if !force.0.force {
        relied_on(&[held])?;
    }
    let note = owner.note(&format!("ended the shared secret {number} of TURN credentials"));
    mount.cluster.turn_secret_end(number, note).await?;
    Ok(HttpResponse::NoContent().finish())
}
