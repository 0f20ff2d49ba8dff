//! `/admin/api/v1/access-tokens`: what programs show.

use std::time::Duration;

use actix_web::HttpResponse;
use actix_web::web::{self, Bytes, Data, Json, Path, ServiceConfig};
use chappe_proto::id::{AccessTokenId, OperatorName};
use chappe_proto::limits::{ACCESS_TOKEN_LABEL_MAX, ACCESS_TOKEN_TTL, ACCESS_TOKEN_TTL_MAX};
use chappe_proto::registry::access::{self, AccessChange, AccessToken, Role};
use chappe_proto::time::Unix;
use serde::{Deserialize, Serialize};
use utoipa::{OpenApi, ToSchema};

use crate::Mount;
use crate::access::secret::Bearer;
use crate::access::{Means, TOKEN_PREFIX, Viewer};
use crate::api::logins::told;
use crate::api::problem::Problem;
use crate::api::turn::read;

pub(crate) fn routes(config: &mut ServiceConfig) {
    config
        .route("/access-tokens", web::get().to(tokens))
        .route("/access-tokens", web::post().to(make))
        .route("/access-tokens/{id}", web::put().to(set))
        .route("/access-tokens/{id}", web::delete().to(remove));
}

/// What is described of it.
#[derive(OpenApi)]
#[openapi(paths(tokens, make, set, remove))]
pub(crate) struct Part;

/// An access token, without its secret.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub(crate) struct ShownToken {
    /// Its id, which is no secret.
    #[schema(value_type = String)]
    id: AccessTokenId,
    /// What it is for.
    label: String,
    /// What it may do; less where its owner may do less.
    #[schema(value_type = String)]
    role: Role,
    /// Whose it is; none where the cluster's own token made it.
    #[schema(value_type = Option<String>)]
    owner: Option<OperatorName>,
    /// When it was made, in milliseconds since 1970.
    #[schema(value_type = u64)]
    created: Unix,
    /// Until when.
    #[schema(value_type = u64)]
    until: Unix,
    /// Whether it is refused.
    disabled: bool,
}

/// Whether somebody may see a token, and end it: their own, and owners all; a token itself alone, as others of its
/// owner may more.
fn may(viewer: &Viewer, id: &AccessTokenId, held: &AccessToken) -> bool {
    if let Means::Token(own) = &viewer.by {
        return own == id;
    }
    viewer.role >= Role::Owner || (held.owner.is_some() && held.owner == viewer.operator)
}

/// One's own access tokens; for owners all. A token sees itself alone.
#[utoipa::path(
    get, path = "/access-tokens", tag = "access",
    responses((status = 200, body = [ShownToken]), (status = 401), (status = 403))
)]
pub(crate) async fn tokens(viewer: Viewer, mount: Data<Mount>) -> Json<Vec<ShownToken>> {
    let access = mount.cluster.access();
    let theirs = access.tokens().filter(|(id, held)| may(&viewer, id, held));
    let shown = theirs.map(|(id, held)| ShownToken {
        id: *id,
        label: held.label.clone(),
        role: held.role,
        owner: held.owner.clone(),
        created: held.created,
        until: held.until,
        disabled: held.disabled,
    });
    Json(shown.collect())
}

/// What access token is asked for.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct TokenWish {
    /// What it is for, in words.
    label: String,
    /// What it may do: no more than whoever makes it.
    #[schema(value_type = String)]
    role: Role,
    /// How long it is good: 90 days where it is left out, 366 at most.
    ttl_secs: Option<u64>,
}

/// A new access token: the only time that it is told.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub(crate) struct NewToken {
    /// Its id.
    #[schema(value_type = String)]
    id: AccessTokenId,
    /// What programs send as `Authorization: Bearer …`. Secret.
    token: String,
    /// Until when, in milliseconds since 1970.
    #[schema(value_type = u64)]
    until: Unix,
}

/// Makes an access token.
#[utoipa::path(
    post, path = "/access-tokens", tag = "access", request_body = TokenWish,
    responses((status = 201, body = NewToken), (status = 400), (status = 401), (status = 403), (status = 409))
)]
pub(crate) async fn make(viewer: Viewer, mount: Data<Mount>, body: Bytes) -> Result<HttpResponse, Problem> {
    let TokenWish { label, role, ttl_secs } = read(&body)?;
    if let Means::Token(_) = viewer.by {
        // Else whoever had one for a moment would have one for ever.
        let fix = "an access token makes no others: log in for that".to_owned();
        return Err(Problem::Forbidden(fix));
    }
    if role > viewer.role {
        let fix = format!("{} at most, as your own", viewer.role);
        return Err(Problem::Field { field: "role", fix });
    }
    let fits = (1..=ACCESS_TOKEN_LABEL_MAX).contains(&label.len());
    if !fits || label.trim().is_empty() || label.chars().any(char::is_control) {
        let fix = format!("1 to {ACCESS_TOKEN_LABEL_MAX} bytes in one line: what the token is for");
        return Err(Problem::Field { field: "label", fix });
    }
    let ttl = ttl_secs.map_or(ACCESS_TOKEN_TTL, Duration::from_secs);
    if ttl.is_zero() || ttl > ACCESS_TOKEN_TTL_MAX {
        let fix = format!("1 to {} seconds", ACCESS_TOKEN_TTL_MAX.as_secs());
        return Err(Problem::Field { field: "ttl_secs", fix });
    }
    let bearer = Bearer::draw()?;
    let (id, until) = (AccessTokenId::from_random(bearer.id), mount.cluster.now().unix + ttl);
    let note = viewer.note(&format!("made the access token {label:?} ({role})"));
    let (hash, owner) = (access::hash(&bearer.secret), viewer.operator.clone());
    let change = AccessChange::TokenAdd { id, hash, label, role, owner, until };
    mount.cluster.access_set(change, note).await.map_err(told)?;
    let token = format!("{TOKEN_PREFIX}{}", bearer.text());
    Ok(HttpResponse::Created().insert_header(("Cache-Control", "no-store")).json(NewToken {
        id,
        token,
        until,
    }))
}

/// The token, where whoever asks may see it.
fn of(mount: &Mount, viewer: &Viewer, id: &str) -> Result<(AccessTokenId, AccessToken), Problem> {
    let id: AccessTokenId = id.parse().map_err(|_| Problem::NotFound("access token"))?;
    let held = mount.cluster.access().token(&id).filter(|held| may(viewer, &id, held)).cloned();
    held.map(|held| (id, held)).ok_or(Problem::NotFound("access token"))
}

/// What is to change of an access token.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct TokenState {
    /// Whether it is refused.
    disabled: bool,
}

/// Refuses an access token, or takes it again. A token refuses itself alone, and takes none again.
#[utoipa::path(
    put, path = "/access-tokens/{id}", tag = "access", request_body = TokenState, params(("id" = String, Path)),
    responses((status = 204), (status = 400), (status = 401), (status = 403), (status = 404))
)]
pub(crate) async fn set(
    viewer: Viewer,
    mount: Data<Mount>,
    path: Path<String>,
    body: Bytes,
) -> Result<HttpResponse, Problem> {
    let (id, held) = of(&mount, &viewer, &path)?;
    let TokenState { disabled } = read(&body)?;
    if !disabled && matches!(viewer.by, Means::Token(_)) {
        let fix = "an access token enables none: log in for that".to_owned();
        return Err(Problem::Forbidden(fix));
    }
    let did = if disabled { "disabled" } else { "enabled" };
    let note = viewer.note(&format!("{did} the access token {:?}", held.label));
    mount.cluster.access_set(AccessChange::TokenSet { id, disabled }, note).await.map_err(told)?;
    Ok(HttpResponse::NoContent().finish())
}

/// Ends an access token: a token itself alone.
#[utoipa::path(
    delete, path = "/access-tokens/{id}", tag = "access", params(("id" = String, Path)),
    responses((status = 204), (status = 401), (status = 404))
)]
pub(crate) async fn remove(
    viewer: Viewer,
    mount: Data<Mount>,
    path: Path<String>,
) -> Result<HttpResponse, Problem> {
    let (id, held) = of(&mount, &viewer, &path)?;
    let note = viewer.note(&format!("removed the access token {:?}", held.label));
    mount.cluster.access_set(AccessChange::TokenRemove { id }, note).await.map_err(told)?;
    Ok(HttpResponse::NoContent().finish())
}
