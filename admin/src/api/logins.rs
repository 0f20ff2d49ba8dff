//! `/admin/api/v1/login`, `/logout`, `/links` and `/logins`: coming in, going out, and who is in.
#![allow(unused_qualifications, reason = "in what utoipa makes of `params`")]

use actix_web::http::StatusCode;
use actix_web::web::{self, Bytes, Data, Json, Path, Query, ServiceConfig};
use actix_web::{HttpRequest, HttpResponse};
use chappe_proto::id::{Index, LinkId, LoginId, OperatorName};
use chappe_proto::limits::{LOGIN_AGENT_MAX, LOGIN_FROM_MAX};
use chappe_proto::registry::access::{self, AccessChange, LinkFor, NewLogin, Role};
use chappe_proto::registry::{Refusal, Thing};
use chappe_proto::time::Unix;
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, OpenApi, ToSchema};

use crate::Mount;
use crate::access::asker::same_origin;
use crate::access::cookies::{self, cookie};
use crate::access::secret::Bearer;
use crate::access::{Means, Principal, Viewer, note};
use crate::api::me::Me;
use crate::api::problem::Problem;
use crate::api::turn::read;
use crate::control::Fault;

pub(crate) fn routes(config: &mut ServiceConfig) {
    config
        .route("/login", web::post().to(login))
        .route("/logout", web::post().to(logout))
        .route("/links/{token}", web::get().to(link))
        .route("/links/{token}", web::post().to(use_link))
        .route("/logins", web::get().to(logins))
        .route("/logins/{id}", web::delete().to(end));
}

/// What is described of it.
#[derive(OpenApi)]
#[openapi(paths(login, logout, link, use_link, logins, end))]
pub(crate) struct Part;

/// What a refusal of the registry means here.
pub(crate) fn told(fault: Fault) -> Problem {
    let Fault::Refused(refusal) = fault else { return fault.into() };
    match refusal {
        Refusal::Unknown(Thing::Operator) => Problem::NotFound("operator"),
        Refusal::Unknown(Thing::Login) | Refusal::Expired(Thing::Login) => Problem::NotFound("login"),
        Refusal::Unknown(Thing::AccessToken) => Problem::NotFound("access token"),
        Refusal::Unknown(Thing::Link) | Refusal::Expired(Thing::Link) => no_link(),
        Refusal::Exists(Thing::Operator) => {
            Problem::Full("there is an operator of this name already: take another one".to_owned())
        }
        refusal => refusal.into(),
    }
}

const fn no_link() -> Problem {
    Problem::NotFound("link any more: it was used, withdrawn, or has expired; ask an owner for another one")
}

pub(crate) fn operator_name(text: &str) -> Result<OperatorName, Problem> {
    OperatorName::new(text)
        .map_err(|_| Problem::Field { field: "name", fix: "1 to 64 of a-z 0-9 . _ - + @".to_owned() })
}

/// Passwords and cookies travel by HTTPS, or stay on this machine.
pub(crate) fn is_private(mount: &Mount, request: &HttpRequest) -> Result<(), Problem> {
    let asker = mount.gate.asker(request);
    if asker.secure || asker.ip.is_loopback() {
        return Ok(());
    }
    let fix =
        "passwords are taken over HTTPS alone: open the console by https://…, or on this machine itself";
    Err(Problem::Forbidden(fix.to_owned()))
}

/// A login that begins, once it is known whose.
pub(crate) struct Beginning<'a> {
    pub(crate) mount: &'a Mount,
    pub(crate) request: &'a HttpRequest,
    pub(crate) name: OperatorName,
    /// When the operator changed last, as it was when the password was read that was given: one that changed in the
    /// meantime may have another.
    pub(crate) since: Index,
    /// The one that was there before in that browser.
    pub(crate) replaces: Option<LoginId>,
}

impl Beginning<'_> {
    /// Begins it, and answers with its cookies. Whatever cookie the browser had before is worth nothing.
    pub(crate) async fn login(self, status: u16) -> Result<HttpResponse, Problem> {
        let Self { mount, request, name, since, replaces } = self;
        let held = mount.cluster.access().operator(&name).cloned().ok_or(Problem::WrongPassword)?;
        let password = held.password.ok_or(Problem::WrongPassword)?;
        let (bearer, ip) = (Bearer::draw()?, mount.gate.asker(request).ip.to_string());
        let login = new_login(mount, request, name.clone(), &bearer);
        let id = LoginId::from_random(bearer.id);
        let change = AccessChange::LoginAdd { id, login, since, replaces };
        let note = note(name.as_str(), "logged in", &ip);
        mount.cluster.access_set(change, note).await.map_err(told)?;
        let who = Principal {
            who: name.to_string(),
            role: held.role,
            by: Means::Login(id),
            app: None,
            csrf: Some(cookies::csrf(&bearer)),
            from: ip,
            operator: Some(name.clone()),
        };
        let status = StatusCode::from_u16(status).unwrap_or(StatusCode::OK);
        Ok(HttpResponse::build(status)
            .append_header(("Set-Cookie", cookies::of_login(&bearer)))
            .append_header(("Set-Cookie", cookies::of_device(&name, &password)?))
            .insert_header(("Cache-Control", "no-store"))
            .json(Me::of(who)))
    }
}

/// A login of this operator, from where the request comes.
pub(crate) fn new_login(
    mount: &Mount,
    request: &HttpRequest,
    operator: OperatorName,
    bearer: &Bearer,
) -> NewLogin {
    let agent = request.headers().get("user-agent").and_then(|value| value.to_str().ok());
    let cut = |text: &str, max| text[..text.floor_char_boundary(max)].to_owned();
    NewLogin {
        hash: access::hash(&bearer.secret),
        operator,
        from: cut(&mount.gate.asker(request).ip.to_string(), LOGIN_FROM_MAX),
        agent: cut(agent.unwrap_or_default(), LOGIN_AGENT_MAX),
    }
}

/// The login whose cookie a request carries, whether it still holds or not.
pub(crate) fn carried(mount: &Mount, request: &HttpRequest) -> Option<LoginId> {
    let bearer = cookie(request, cookies::LOGIN).and_then(Bearer::read)?;
    let (access, id) = (mount.cluster.access(), LoginId::from_random(bearer.id));
    access.login(&id).filter(|held| access::is_opened_by(&held.hash, &bearer.secret)).map(|_| id)
}

/// By what an operator logs in.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Credentials {
    /// The operator.
    name: String,
    /// Its password.
    password: String,
}

/// Logs in: the answer sets the cookie, and has in `csrf` what later requests carry.
#[utoipa::path(
    post, path = "/login", tag = "access", request_body = Credentials, security(()),
    responses((status = 200, body = Me), (status = 401), (status = 403), (status = 429), (status = 503))
)]
pub(crate) async fn login(
    request: HttpRequest,
    mount: Data<Mount>,
    body: Bytes,
) -> Result<HttpResponse, Problem> {
    same_origin(&request)?;
    is_private(&mount, &request)?;
    let Credentials { name, password } = read(&body)?;
    // A name that cannot be one is nobody's, and is told no sooner.
    let known = OperatorName::new(&name);
    let name = known.clone().or_else(|_| OperatorName::new("nobody")).map_err(|_| Problem::WrongPassword)?;
    let held = known.ok().and_then(|name| mount.cluster.access().operator(&name).cloned());
    let held = held.filter(|held| !held.disabled);
    let (since, held) = held.map_or_else(|| (Index::default(), None), |held| (held.changed, held.password));
    if !mount.gate.verify(&*mount.cluster, &request, &name, password, held).await? {
        return Err(Problem::WrongPassword);
    }
    let replaces = carried(&mount, &request);
    Beginning { mount: &mount, request: &request, name, since, replaces }.login(200).await
}

/// Logs out. The cookie is worth nothing afterwards, wherever it is shown.
#[utoipa::path(post, path = "/logout", tag = "access", responses((status = 204), (status = 401), (status = 403)))]
pub(crate) async fn logout(who: Principal, mount: Data<Mount>) -> Result<HttpResponse, Problem> {
    if let Means::Login(id) = who.by {
        let change = AccessChange::LoginRemove { id };
        mount.cluster.access_set(change, who.note("logged out")).await.map_err(told)?;
    }
    Ok(HttpResponse::NoContent()
        .insert_header(("Set-Cookie", cookies::no_login()))
        .insert_header(("Clear-Site-Data", "\"cache\", \"storage\""))
        .finish())
}

/// What a link is for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
pub(crate) struct ShownLink {
    /// What it does: `new-operator` or `new-password`.
    pub(crate) does: &'static str,
    /// The role that the new operator gets.
    #[schema(value_type = Option<String>)]
    pub(crate) role: Option<Role>,
    /// The operator; none where the new one says itself what it is called.
    #[schema(value_type = Option<String>)]
    pub(crate) name: Option<OperatorName>,
    /// Until when, in milliseconds since 1970.
    #[schema(value_type = u64)]
    pub(crate) until: Unix,
}

impl ShownLink {
    pub(crate) fn of(link: &access::Link) -> Self {
        let until = link.until;
        match link.of.clone() {
            LinkFor::New { role, name } => Self { does: "new-operator", role: Some(role), name, until },
            LinkFor::Password { name } => Self { does: "new-password", role: None, name: Some(name), until },
        }
    }
}

/// The link that a token opens.
pub(crate) fn opened(mount: &Mount, token: &str) -> Result<(LinkId, access::Link), Problem> {
    let bearer = Bearer::read(token).ok_or(no_link())?;
    let (access, id) = (mount.cluster.access(), LinkId::from_random(bearer.id));
    let held = access.link(&id).filter(|held| access::is_opened_by(&held.hash, &bearer.secret)).cloned();
    let held = held.filter(|held| held.until > mount.cluster.now().unix);
    held.map(|held| (id, held)).ok_or(no_link())
}

/// What a link is for. It stays unused.
#[utoipa::path(
    get, path = "/links/{token}", tag = "access", security(()), params(("token" = String, Path)),
    responses((status = 200, body = ShownLink), (status = 404))
)]
pub(crate) async fn link(mount: Data<Mount>, path: Path<String>) -> Result<HttpResponse, Problem> {
    let (_, held) = opened(&mount, &path)?;
    Ok(HttpResponse::Ok().insert_header(("Cache-Control", "no-store")).json(ShownLink::of(&held)))
}

/// What a one-time link is used with.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct UseLink {
    /// What the new operator is called, where the link does not say it.
    name: Option<String>,
    /// The password: 8 to 128 characters, 15 and more are advised.
    password: String,
}

/// Uses a link up: a new operator is there, or has another password, and is logged in.
#[utoipa::path(
    post, path = "/links/{token}", tag = "access", request_body = UseLink, security(()),
    params(("token" = String, Path)),
    responses((status = 201, body = Me), (status = 400), (status = 403), (status = 404), (status = 409))
)]
pub(crate) async fn use_link(
    request: HttpRequest,
    mount: Data<Mount>,
    path: Path<String>,
    body: Bytes,
) -> Result<HttpResponse, Problem> {
    same_origin(&request)?;
    is_private(&mount, &request)?;
    let (id, held) = opened(&mount, &path)?;
    let UseLink { name, password } = read(&body)?;
    let shown = ShownLink::of(&held);
    let name = match (shown.name, name) {
        (Some(held), None) => held,
        (Some(held), Some(given)) if held.as_str() == given => held,
        (Some(held), Some(_)) => {
            return Err(Problem::Field {
                field: "name",
                fix: format!("leave it out: this link is {held}'s"),
            });
        }
        (None, Some(given)) => operator_name(&given)?,
        (None, None) => {
            return Err(Problem::Field { field: "name", fix: "say what you are called".to_owned() });
        }
    };
    if name.as_str() == "operator" {
        let fix = "another one: the audit log calls the cluster's own token so".to_owned();
        return Err(Problem::Field { field: "name", fix });
    }
    let what = match &held.of {
        LinkFor::New { role, .. } => format!("became {role} by a one-time link"),
        LinkFor::Password { .. } => "set their password by a one-time link".to_owned(),
    };
    let password = mount.gate.hash(password).await?;
    let note = note(name.as_str(), &what, &mount.gate.asker(&request).ip.to_string());
    let change = AccessChange::LinkUse { id, name: name.clone(), password };
    mount.cluster.access_set(change, note).await.map_err(told)?;
    let held = mount.cluster.access().operator(&name).cloned().ok_or(no_link())?;
    if held.disabled {
        // It has its password, and still may not log in.
        return Err(Problem::Forbidden("the password is set; an owner has to enable you again".to_owned()));
    }
    let (since, replaces) = (held.changed, carried(&mount, &request));
    Beginning { mount: &mount, request: &request, name, since, replaces }.login(201).await
}

#[derive(Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub(crate) struct Whose {
    /// Of this operator, or of everybody by `*`: for owners. One's own where it is left out.
    operator: Option<String>,
}

/// A login.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub(crate) struct ShownLogin {
    /// Its id.
    #[schema(value_type = String)]
    pub(crate) id: LoginId,
    /// Whose.
    #[schema(value_type = String)]
    pub(crate) operator: OperatorName,
    /// Whether it is the one that asks.
    pub(crate) this: bool,
    /// When it began, in milliseconds since 1970.
    #[schema(value_type = u64)]
    pub(crate) created: Unix,
    /// When it was used, to within ten minutes.
    #[schema(value_type = u64)]
    pub(crate) seen: Unix,
    /// When it ends, where it is not used any more.
    #[schema(value_type = u64)]
    pub(crate) until: Unix,
    /// The address from which it began.
    pub(crate) from: String,
    /// The browser, as it names itself.
    pub(crate) agent: String,
    /// By what it began: `password` (or a one-time link), or `provider`.
    pub(crate) by: &'static str,
}

/// Who is logged in: one's own logins; for owners anybody's.
#[utoipa::path(
    get, path = "/logins", tag = "access", params(Whose),
    responses((status = 200, body = [ShownLogin]), (status = 401), (status = 403))
)]
pub(crate) async fn logins(
    viewer: Viewer,
    mount: Data<Mount>,
    whose: Query<Whose>,
) -> Result<Json<Vec<ShownLogin>>, Problem> {
    let asked = match whose.operator.as_deref() {
        Some("*") => None,
        Some(name) => Some(operator_name(name)?),
        None => match viewer.operator.clone() {
            Some(own) => Some(own),
            None => return Ok(Json(Vec::new())),
        },
    };
    if (asked.is_none() || asked != viewer.operator) && viewer.role < Role::Owner {
        return Err(Problem::Forbidden("others' logins are for owners to see".to_owned()));
    }
    let access = mount.cluster.access();
    let of = access.logins(mount.cluster.now().unix);
    let of = of.filter(|(_, held)| asked.as_ref().is_none_or(|asked| *asked == held.operator));
    let shown = of.map(|(id, held)| ShownLogin {
        id: *id,
        operator: held.operator.clone(),
        this: viewer.by == Means::Login(*id),
        created: held.created,
        seen: held.seen,
        until: held.until(),
        from: held.from.clone(),
        agent: held.agent.clone(),
        by: if held.provider { "provider" } else { "password" },
    });
    Ok(Json(shown.collect()))
}

/// Ends a login: one's own; for owners anybody's.
#[utoipa::path(
    delete, path = "/logins/{id}", tag = "access", params(("id" = String, Path)),
    responses((status = 204), (status = 401), (status = 403), (status = 404))
)]
pub(crate) async fn end(
    viewer: Viewer,
    mount: Data<Mount>,
    path: Path<String>,
) -> Result<HttpResponse, Problem> {
    let id: LoginId = path.parse().map_err(|_| Problem::NotFound("login"))?;
    let access = mount.cluster.access();
    let held = access.login(&id).ok_or(Problem::NotFound("login"))?;
    // Others' are nothing to whoever is no owner: not even that they are there.
    // Nor does a token end its operator's, which may more than it.
    let own = Some(&held.operator) == viewer.operator.as_ref() && !matches!(viewer.by, Means::Token(_));
    if !own && viewer.role < Role::Owner {
        return Err(Problem::NotFound("login"));
    }
    let note = viewer.note(&format!("ended a login of {}", held.operator));
    mount.cluster.access_set(AccessChange::LoginRemove { id }, note).await.map_err(told)?;
    Ok(HttpResponse::NoContent().finish())
}
