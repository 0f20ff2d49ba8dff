//! `/admin/api/v1/me`: who asks, and its own password.

use actix_web::web::{self, Bytes, Data, Json, ServiceConfig};
use actix_web::{HttpRequest, HttpResponse};
use chappe_proto::id::{AppId, LoginId, OperatorName};
use chappe_proto::registry::access::{AccessChange, Role};
use serde::{Deserialize, Serialize};
use utoipa::{OpenApi, ToSchema};

use crate::Mount;
use crate::access::{Means, Principal};
use crate::api::logins::{Beginning, told};
use crate::api::problem::Problem;
use crate::api::turn::read;

pub(crate) fn routes(config: &mut ServiceConfig) {
    config.route("/me", web::get().to(me)).route("/me/password", web::put().to(set_password));
}

/// What is described of it.
#[derive(OpenApi)]
#[openapi(paths(me, set_password))]
pub(crate) struct Part;

/// Who asks.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub(crate) struct Me {
    /// As the audit log has it.
    who: String,
    /// The operator; none where the cluster's own token asks, or an app's API key.
    #[schema(value_type = Option<String>)]
    operator: Option<OperatorName>,
    /// What it may do: `viewer`, `operator`, `owner`.
    #[schema(value_type = String)]
    role: Role,
    /// The only app that it may see and touch, where an app's API key asks.
    #[schema(value_type = Option<String>)]
    app: Option<AppId>,
    /// By what it was known: `login`, `access-token`, `cluster-token`, `api-key`.
    by: &'static str,
    /// The login, where it is one.
    #[schema(value_type = Option<String>)]
    login: Option<LoginId>,
    /// What requests that change something carry in the header `Chappe-Csrf`, where a cookie makes them.
    csrf: Option<String>,
}

impl Me {
    pub(crate) fn of(who: Principal) -> Self {
        let (by, login) = match who.by {
            Means::Cluster => ("cluster-token", None),
            Means::Login(id) => ("login", Some(id)),
            Means::Token(_) => ("access-token", None),
            Means::Key(_) => ("api-key", None),
        };
        let Principal { who, operator, role, app, csrf, .. } = who;
        Self { who, operator, role, app, by, login, csrf }
    }
}

/// Who asks, what it may do, and what its requests must carry.
#[utoipa::path(get, path = "/me", tag = "access", responses((status = 200, body = Me), (status = 401)))]
pub(crate) async fn me(who: Principal) -> Json<Me> {
    Json(Me::of(who))
}

/// Another password.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct NewPassword {
    /// The one until now.
    old: String,
    /// The new one: 8 to 128 characters, 15 and more are advised.
    new: String,
}

/// Another password for oneself. All logins end; this one goes on as a new one, by the cookie of the answer.
#[utoipa::path(
    put, path = "/me/password", tag = "access", request_body = NewPassword,
    responses((status = 200, body = Me), (status = 400), (status = 401), (status = 403), (status = 429))
)]
pub(crate) async fn set_password(
    who: Principal,
    request: HttpRequest,
    mount: Data<Mount>,
    body: Bytes,
) -> Result<HttpResponse, Problem> {
    let NewPassword { old, new } = read(&body)?;
    let (Means::Login(login), Some(name)) = (&who.by, who.operator.clone()) else {
        return Err(Problem::Forbidden("a password is changed by whoever is logged in with it".to_owned()));
    };
    crate::access::check_password(&new).map_err(|problem| match problem {
        Problem::Field { fix, .. } => Problem::Field { field: "new", fix },
        other => other,
    })?;
    let held = mount.cluster.access().operator(&name).cloned().ok_or(Problem::Unauthorized)?;
    if held.external.is_some() {
        return Err(Problem::Forbidden(
            "you log in by the identity provider and have no password here".to_owned(),
        ));
    }
    let (since, held) = (held.changed, held.password);
    if !mount.gate.verify(&*mount.cluster, &request, &name, old, held).await? {
        return Err(Problem::Field { field: "old", fix: "this is not your password".to_owned() });
    }
    let password = mount.gate.hash(new).await?;
    let change = AccessChange::OperatorPassword { name: name.clone(), password, since };
    mount.cluster.access_set(change, who.note("set their own password")).await.map_err(told)?;
    let since = mount.cluster.access().operator(&name).ok_or(Problem::Unauthorized)?.changed;
    Beginning { mount: &mount, request: &request, name, since, replaces: Some(*login) }.login(200).await
}
