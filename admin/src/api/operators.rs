//! `/admin/api/v1/operators`: who may operate, and the one-time links by which they come.

use std::time::Duration;

use actix_web::HttpResponse;
use actix_web::web::{self, Bytes, Data, Json, Path, ServiceConfig};
use chappe_proto::id::{Index, LinkId, OperatorName};
use chappe_proto::limits::{LINK_TTL, LINK_TTL_MAX};
use chappe_proto::registry::access::{self, AccessChange, LinkFor, Role};
use chappe_proto::time::Unix;
use serde::{Deserialize, Serialize};
use utoipa::{OpenApi, ToSchema};

use crate::Mount;
use crate::access::secret::Bearer;
use crate::access::{Owner, Viewer};
use crate::api::logins::{ShownLink, operator_name, told};
use crate::api::problem::Problem;
use crate::api::turn::read;
use crate::api::unchanged::{IfMatch, merged};

pub(crate) fn routes(config: &mut ServiceConfig) {
    config
        .route("/operators", web::get().to(operators))
        .route("/operators/links", web::get().to(links))
        .route("/operators/links", web::post().to(invite))
        .route("/operators/links/{id}", web::delete().to(withdraw))
        .route("/operators/{name}", web::put().to(set))
        .route("/operators/{name}", web::delete().to(remove))
        .route("/operators/{name}/link", web::post().to(new_password))
        .route("/operators/{name}/logins", web::delete().to(end_logins));
}

/// What is described of it.
#[derive(OpenApi)]
#[openapi(paths(operators, links, invite, withdraw, set, remove, new_password, end_logins))]
pub(crate) struct Part;

/// An operator.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub struct ShownOperator {
    /// What it is called.
    #[schema(value_type = String)]
    pub name: OperatorName,
    /// What it may do: `viewer`, `operator`, `owner`.
    #[schema(value_type = String)]
    pub role: Role,
    /// Whether it may not log in.
    pub disabled: bool,
    /// When it came, in milliseconds since 1970.
    #[schema(value_type = u64)]
    pub created: Unix,
    /// Since when it has its password.
    #[schema(value_type = u64)]
    pub password_since: Unix,
    /// The identity provider's issuer, where it logs in by one: it has no password, and at each login the role that
    /// the provider gives it.
    #[serde(default)]
    pub provider: Option<String>,
    /// How often it is logged in now.
    pub logins: usize,
    /// What `If-Match` of a change names, in quotes: another one after each.
    #[serde(default)]
    #[schema(value_type = u64)]
    pub revision: Index,
}

/// The operators, by name.
#[utoipa::path(
    get, path = "/operators", tag = "access",
    responses((status = 200, body = [ShownOperator]), (status = 401), (status = 403))
)]
pub(crate) async fn operators(_: Viewer, mount: Data<Mount>) -> Json<Vec<ShownOperator>> {
    let (access, now) = (mount.cluster.access(), mount.cluster.now().unix);
    let shown = access.operators().map(|(name, held)| ShownOperator {
        name: name.clone(),
        role: held.role,
        disabled: held.disabled,
        created: held.created,
        password_since: held.password_since,
        provider: held.external.as_ref().map(|external| external.issuer.clone()),
        logins: access.logins(now).filter(|(_, login)| login.operator == *name).count(),
        revision: held.changed,
    });
    Json(shown.collect())
}

/// A link that nobody has used yet.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub(crate) struct OpenLink {
    /// Its id, which is no secret.
    #[schema(value_type = String)]
    id: LinkId,
    /// What it is for.
    #[serde(flatten)]
    link: ShownLink,
}

/// The links that nobody has used yet.
#[utoipa::path(
    get, path = "/operators/links", tag = "access",
    responses((status = 200, body = [OpenLink]), (status = 401), (status = 403))
)]
pub(crate) async fn links(_: Owner, mount: Data<Mount>) -> Json<Vec<OpenLink>> {
    let (access, now) = (mount.cluster.access(), mount.cluster.now().unix);
    let open = access.links().filter(|(_, held)| held.until > now);
    Json(open.map(|(id, held)| OpenLink { id: *id, link: ShownLink::of(held) }).collect())
}

/// A new link: the only time that its token is told.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub struct NewLink {
    /// Its id, by which it is withdrawn.
    #[schema(value_type = String)]
    pub id: LinkId,
    /// What opens it. Secret.
    pub token: String,
    /// Where it is opened, on any node: `/admin/link/TOKEN`.
    pub path: String,
    /// Until when, in milliseconds since 1970.
    #[schema(value_type = u64)]
    pub until: Unix,
}

async fn make(
    mount: &Mount,
    owner: &Owner,
    of: LinkFor,
    ttl: Option<u64>,
    what: &str,
) -> Result<HttpResponse, Problem> {
    let ttl = ttl.map_or(LINK_TTL, Duration::from_secs);
    if ttl.is_zero() || ttl > LINK_TTL_MAX {
        let fix = format!("1 to {} seconds", LINK_TTL_MAX.as_secs());
        return Err(Problem::Field { field: "ttl_secs", fix });
    }
    let bearer = Bearer::draw()?;
    let (id, until) = (LinkId::from_random(bearer.id), mount.cluster.now().unix + ttl);
    let change = AccessChange::LinkAdd {
        id,
        hash: access::hash(&bearer.secret),
        of,
        until,
        by: owner.operator.clone(),
    };
    mount.cluster.access_set(change, owner.note(what)).await.map_err(told)?;
    let token = bearer.text();
    let path = format!("/admin/link/{token}");
    Ok(HttpResponse::Created().insert_header(("Cache-Control", "no-store")).json(NewLink {
        id,
        token,
        path,
        until,
    }))
}

/// What one-time link is asked for.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct OperatorInvite {
    /// What the new operator may do: `viewer`, `operator`, `owner`.
    #[schema(value_type = String)]
    role: Role,
    /// What it is called; else it says so itself.
    name: Option<String>,
    /// How long the link is good: a day where it is left out, a week at most.
    ttl_secs: Option<u64>,
}

/// Makes a one-time link for a new operator.
#[utoipa::path(
    post, path = "/operators/links", tag = "access", request_body = OperatorInvite,
    responses((status = 201, body = NewLink), (status = 400), (status = 401), (status = 403), (status = 409))
)]
pub(crate) async fn invite(owner: Owner, mount: Data<Mount>, body: Bytes) -> Result<HttpResponse, Problem> {
    let OperatorInvite { role, name, ttl_secs } = read(&body)?;
    let name = name.as_deref().map(operator_name).transpose()?;
    let whom = name.as_ref().map_or_else(String::new, |name| format!(", {name}"));
    let of = LinkFor::New { role, name };
    make(&mount, &owner, of, ttl_secs, &format!("made a link for a new {role}{whom}")).await
}

/// Withdraws a link.
#[utoipa::path(
    delete, path = "/operators/links/{id}", tag = "access", params(("id" = String, Path)),
    responses((status = 204), (status = 401), (status = 403), (status = 404))
)]
pub(crate) async fn withdraw(
    owner: Owner,
    mount: Data<Mount>,
    path: Path<String>,
) -> Result<HttpResponse, Problem> {
    let id: LinkId = path.parse().map_err(|_| Problem::NotFound("link"))?;
    let note = owner.note(&format!("withdrew the link {id}"));
    mount.cluster.access_set(AccessChange::LinkRemove { id }, note).await.map_err(told)?;
    Ok(HttpResponse::NoContent().finish())
}

/// What is to change of an operator.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct NewRole {
    /// What it may do from now on; as before where it is left out.
    #[schema(value_type = Option<String>)]
    role: Option<Role>,
    /// Whether it may not log in; as before where it is left out.
    disabled: Option<bool>,
}

/// Another role, or a word on whether it may log in. Its logins end where either changes.
#[utoipa::path(
    put, path = "/operators/{name}", tag = "access", request_body = NewRole,
    params(
        ("name" = String, Path),
        ("If-Match" = Option<String>, Header, description = "the `revision` that it was read with, in quotes")
    ),
    responses(
        (status = 204), (status = 400), (status = 401), (status = 403), (status = 404), (status = 409),
        (status = 412, description = "it is not as `If-Match` says any more")
    )
)]
pub(crate) async fn set(
    owner: Owner,
    mount: Data<Mount>,
    path: Path<String>,
    seen: IfMatch,
    body: Bytes,
) -> Result<HttpResponse, Problem> {
    let name = operator_name(&path)?;
    let NewRole { role, disabled } = read(&body)?;
    merged(async || {
        let held = mount.cluster.access().operator(&name).cloned().ok_or(Problem::NotFound("operator"))?;
        seen.holds(held.changed)?;
        let (role, disabled) = (role.unwrap_or(held.role), disabled.unwrap_or(held.disabled));
        let way = if disabled { ", disabled" } else { "" };
        let note = owner.note(&format!("made {name} {role}{way}"));
        let since = Some(held.changed);
        let change = AccessChange::OperatorSet { name: name.clone(), role, disabled, since };
        mount.cluster.access_set(change, note).await.map_err(told)
    })
    .await?;
    Ok(HttpResponse::NoContent().finish())
}

/// Removes an operator, with its logins and access tokens.
#[utoipa::path(
    delete, path = "/operators/{name}", tag = "access", params(("name" = String, Path)),
    responses((status = 204), (status = 401), (status = 403), (status = 404), (status = 409))
)]
pub(crate) async fn remove(
    owner: Owner,
    mount: Data<Mount>,
    path: Path<String>,
) -> Result<HttpResponse, Problem> {
    let name = operator_name(&path)?;
    let note = owner.note(&format!("removed the operator {name}"));
    mount.cluster.access_set(AccessChange::OperatorRemove { name }, note).await.map_err(told)?;
    Ok(HttpResponse::NoContent().finish())
}

/// Makes a one-time link by which an operator sets another password.
#[utoipa::path(
    post, path = "/operators/{name}/link", tag = "access", params(("name" = String, Path)),
    responses((status = 201, body = NewLink), (status = 401), (status = 403), (status = 404))
)]
pub(crate) async fn new_password(
    owner: Owner,
    mount: Data<Mount>,
    path: Path<String>,
) -> Result<HttpResponse, Problem> {
    let name = operator_name(&path)?;
    if mount.cluster.access().operator(&name).is_some_and(|held| held.external.is_some()) {
        let fix =
            format!("{name} logs in by the identity provider and has no password: invite another operator");
        return Err(Problem::Full(fix));
    }
    let what = format!("made a link for a new password of {name}");
    make(&mount, &owner, LinkFor::Password { name }, None, &what).await
}

/// Ends all logins of an operator.
#[utoipa::path(
    delete, path = "/operators/{name}/logins", tag = "access", params(("name" = String, Path)),
    responses((status = 204), (status = 401), (status = 403), (status = 404))
)]
pub(crate) async fn end_logins(
    owner: Owner,
    mount: Data<Mount>,
    path: Path<String>,
) -> Result<HttpResponse, Problem> {
    let name = operator_name(&path)?;
    mount.cluster.access().operator(&name).ok_or(Problem::NotFound("operator"))?;
    let note = owner.note(&format!("ended all logins of {name}"));
    mount.cluster.access_set(AccessChange::LoginsEnd { operator: name }, note).await.map_err(told)?;
    Ok(HttpResponse::NoContent().finish())
}
