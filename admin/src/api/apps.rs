//! `/admin/api/v1/apps`: the apps, and how each treats its users.

use std::time::Duration;

use actix_web::HttpResponse;
use actix_web::web::{self, Bytes, Data, Json, Path, ServiceConfig};
use chappe_proto::id::{AppId, Index};
use chappe_proto::limits::{CREDENTIAL_TTL_MAX, CREDENTIAL_TTL_MIN, GRACE_MAX, NAME_MAX, ROOM_CAPACITY_MAX};
use chappe_proto::registry::{App, AppPolicy, Refusal, Thing};
use chappe_proto::time::Unix;
use serde::{Deserialize, Serialize};
use utoipa::{OpenApi, ToSchema};

use crate::access::{Operator, Owner, Viewer};
use crate::api::problem::Problem;
use crate::api::rooms::app_id;
use crate::api::turn::{answer, read};
use crate::api::unchanged::{IfMatch, etag, merged};
use crate::control::Fault;
use crate::{Changed, Mount};

pub(crate) fn routes(config: &mut ServiceConfig) {
    config
        .route("/apps", web::get().to(apps))
        .route("/apps", web::post().to(add))
        .route("/apps/{app}", web::get().to(app))
        .route("/apps/{app}", web::delete().to(remove))
        .route("/apps/{app}", web::patch().to(change))
        .route("/apps/{app}/credential-ttl", web::put().to(set_credential_ttl));
}

/// What is described of it.
#[derive(OpenApi)]
#[openapi(paths(apps, app, add, change, remove, set_credential_ttl))]
pub(crate) struct Part;

/// An app as it is shown.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[schema(as = App)]
pub struct Shown {
    /// Its id.
    #[schema(value_type = String)]
    pub app: AppId,
    /// What operators call it.
    pub name: String,
    /// How it treats its users.
    #[schema(value_type = crate::schema::AppPolicy)]
    pub policy: AppPolicy,
    /// When it was added, in milliseconds since 1970.
    #[schema(value_type = u64)]
    pub created: Unix,
    /// What its `ETag` is: another one after each change.
    #[serde(default)]
    #[schema(value_type = u64)]
    pub revision: Index,
}

impl Shown {
    fn of((app, App { name, policy, created, changed }): (AppId, App)) -> Self {
        Self { app, name, policy, created, revision: changed }
    }
}

/// The apps, by id.
#[utoipa::path(get, path = "/apps", tag = "apps", responses((status = 200, body = [Shown])))]
async fn apps(_: Viewer, mount: Data<Mount>) -> Result<Json<Vec<Shown>>, Problem> {
    Ok(Json(mount.cluster.apps().await?.into_iter().map(Shown::of).collect()))
}

/// The app of a path.
async fn held(mount: &Mount, app: &str) -> Result<Shown, Problem> {
    let id = app_id(app)?;
    let held = mount.cluster.apps().await?.into_iter().find(|(app, _)| *app == id);
    held.map(Shown::of).ok_or(Problem::NotFound("app"))
}

/// An app.
#[utoipa::path(
    get, path = "/apps/{app}", tag = "apps", params(("app" = String, Path)),
    responses(
        (status = 200, body = Shown, headers(("ETag" = String, description = "for `If-Match` of a change"))),
        (status = 404, description = "no such app")
    )
)]
async fn app(_: Viewer, mount: Data<Mount>, path: Path<String>) -> Result<HttpResponse, Problem> {
    let app = held(&mount, &path).await?;
    Ok(HttpResponse::Ok().insert_header(etag(app.revision)).json(app))
}

/// An app that is to be.
#[derive(Deserialize, ToSchema)]
#[schema(as = AppWish)]
#[serde(deny_unknown_fields)]
struct New {
    /// Its id: 1 to 64 of `A-Z a-z 0-9 -_.~:@`.
    app: String,
    /// What operators call it: its id unless said otherwise.
    name: Option<String>,
}

/// Adds an app, with the usual policy and no key.
#[utoipa::path(
    post, path = "/apps", tag = "apps", request_body = New,
    responses(
        (status = 201), (status = 400, description = "a field that is wrong, by name"),
        (status = 409, description = "it exists, or too many do")
    )
)]
async fn add(operator: Owner, mount: Data<Mount>, body: Bytes) -> Result<HttpResponse, Problem> {
    let New { app, name } = read(&body)?;
    let app = app_id(&app)?;
    let name = name.unwrap_or_else(|| app.to_string());
    let note = operator.note(&format!("added the app {app}"));
    mount.cluster.app_add(app, name, AppPolicy::default(), note).await.map_err(|fault| match &fault {
        Fault::Refused(refusal) => field_of(refusal).unwrap_or_else(|| fault.into()),
        _ => fault.into(),
    })?;
    Ok(HttpResponse::Created().finish())
}

/// Removes an app, with its keys and what is decided of its rooms: nobody joins any more.
///
/// Who is in a room stays until
/// they leave; close its rooms where they are not to.
#[utoipa::path(
    delete, path = "/apps/{app}", tag = "apps", params(("app" = String, Path)),
    responses((status = 204), (status = 404, description = "no such app"))
)]
async fn remove(operator: Owner, mount: Data<Mount>, path: Path<String>) -> Result<HttpResponse, Problem> {
    let app = app_id(&path)?;
    let note = operator.note(&format!("removed the app {app}"));
    mount.cluster.app_remove(app, note).await.map_err(|fault| match fault {
        Fault::Refused(Refusal::Unknown(_)) => Problem::NotFound("app"),
        fault => fault.into(),
    })?;
    Ok(HttpResponse::NoContent().finish())
}

/// What is to be different of an app: what is left out stays as it is.
#[derive(Clone, Deserialize, ToSchema)]
#[schema(as = AppChange)]
#[serde(deny_unknown_fields)]
struct Change {
    /// What operators call it.
    name: Option<String>,
    /// How long a session outlives its socket, in milliseconds: 5 minutes at most.
    grace_ms: Option<u64>,
    /// How long TURN credentials last of sessions that begin from then on, in milliseconds: 4 seconds to a day.
    credential_ttl_ms: Option<u64>,
    /// Whether one may join without a token.
    anonymous: Option<bool>,
    /// Peers of a room where neither it nor a token says another number: 1 to 10,000.
    capacity: Option<u32>,
    /// Frames that a session may send in a burst.
    frames_burst: Option<u32>,
    /// Frames a second that it may send for long.
    frames_per_sec: Option<u32>,
    /// The `Origin`s that browsers may come from: 64 at most; none for any.
    origins: Option<Vec<String>>,
}

impl Change {
    fn of(self, before: Shown) -> (String, AppPolicy) {
        let Shown { name, policy, .. } = before;
        let policy = AppPolicy {
            grace_ms: self.grace_ms.unwrap_or(policy.grace_ms),
            credential_ttl_ms: self.credential_ttl_ms.unwrap_or(policy.credential_ttl_ms),
            anonymous: self.anonymous.unwrap_or(policy.anonymous),
            capacity: self.capacity.unwrap_or(policy.capacity),
            frames_burst: self.frames_burst.unwrap_or(policy.frames_burst),
            frames_per_sec: self.frames_per_sec.unwrap_or(policy.frames_per_sec),
            origins: self.origins.unwrap_or(policy.origins),
        };
        (self.name.unwrap_or(name), policy)
    }
}

/// The registry's refusals, by the fields of a request.
fn field_of(refusal: &Refusal) -> Option<Problem> {
    let (least, most) = (CREDENTIAL_TTL_MIN.as_millis(), CREDENTIAL_TTL_MAX.as_millis());
    let (field, fix) = match refusal {
        Refusal::Invalid(Thing::Name) => ("name", format!("1 to {NAME_MAX} bytes")),
        Refusal::Invalid(Thing::Grace) => ("grace_ms", format!("{} at most", GRACE_MAX.as_millis())),
        Refusal::Invalid(Thing::Lifetime) => ("credential_ttl_ms", format!("{least} to {most}")),
        Refusal::Invalid(Thing::Capacity) => ("capacity", format!("1 to {ROOM_CAPACITY_MAX}")),
        Refusal::Invalid(Thing::Rate) => ("frames_per_sec", "1 and more, and frames_burst too".to_owned()),
        Refusal::Invalid(Thing::Origin) => (
            "origins",
            "each a scheme and a host in lower case, without a path: https://meet.example".to_owned(),
        ),
        Refusal::Full { thing: Thing::Origin, max } => ("origins", format!("{max} at most")),
        _ => return None,
    };
    Some(Problem::Field { field, fix })
}

/// Changes how an app treats its users: at once for whoever joins from then on.
#[utoipa::path(
    patch, path = "/apps/{app}", tag = "apps", request_body = Change,
    params(("app" = String, Path), ("If-Match" = Option<String>, Header, description = "the `ETag` that it was read with")),
    responses(
        (status = 204), (status = 400, description = "a field that is wrong, by name"),
        (status = 404, description = "no such app"),
        (status = 412, description = "it is not as `If-Match` says any more")
    )
)]
async fn change(
    operator: Owner,
    mount: Data<Mount>,
    path: Path<String>,
    seen: IfMatch,
    body: Bytes,
) -> Result<HttpResponse, Problem> {
    let change: Change = read(&body)?;
    merged(async || {
        let held = held(&mount, &path).await?;
        seen.holds(held.revision)?;
        let (app, revision) = (held.app.clone(), held.revision);
        let (name, policy) = change.clone().of(held);
        let note = operator.note(&format!("changed the app {app}"));
        let changed = mount.cluster.app_set(app, name, policy, revision, note).await;
        if let Changed::Refused(refusal) = &changed
            && let Some(problem) = field_of(refusal)
        {
            return Err(problem);
        }
        answer(changed)
    })
    .await
}

/// How long the TURN credentials of an app's sessions last.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct Lifetime {
    /// Seconds: a minute to a day.
    seconds: u64,
}

/// Sets how long the TURN credentials last that sessions are given from then on.
#[utoipa::path(
    put, path = "/apps/{app}/credential-ttl", tag = "apps", params(("app" = String, Path)), request_body = Lifetime,
    responses((status = 204), (status = 400), (status = 404))
)]
async fn set_credential_ttl(
    operator: Operator,
    mount: Data<Mount>,
    path: Path<String>,
    body: Bytes,
) -> Result<HttpResponse, Problem> {
    let Lifetime { seconds } = read(&body)?;
    let ttl = Duration::from_secs(seconds);
    if !(CREDENTIAL_TTL_MIN..=CREDENTIAL_TTL_MAX).contains(&ttl) {
        let (least, most) = (CREDENTIAL_TTL_MIN.as_secs(), CREDENTIAL_TTL_MAX.as_secs());
        return Err(Problem::Field { field: "seconds", fix: format!("{least} to {most}") });
    }
    merged(async || {
        let Shown { app, name, mut policy, revision, .. } = held(&mount, &path).await?;
        policy.credential_ttl_ms = seconds * 1000;
        let note = operator.note(&format!("gave the app {app} TURN credentials of {seconds} s"));
        answer(mount.cluster.app_set(app, name, policy, revision, note).await)
    })
    .await
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use actix_web::http::Method;
    use chappe_proto::registry::{Command, Note};
    use serde_json::{Value, json};

    use super::*;
    use crate::memory::{Memory, ask, refused};

    #[actix_rt::test]
    async fn an_app_is_added_and_removed() {
        let memory = Arc::new(Memory::default());
        let shop = json!({ "app": "shop", "name": "The shop" });
        assert_eq!(ask(&memory, Method::POST, "/apps", shop.clone()).await.0, 201);
        let (_, all) = ask(&memory, Method::GET, "/apps", Value::Null).await;
        assert_eq!((&all[0]["app"], &all[0]["name"]), (&json!("shop"), &json!("The shop")));
        for (body, told) in [
            (shop, "exists already"),
            (json!({ "app": "a b" }), "app: 1 to 64"),
            (json!({ "app": "a", "name": "x".repeat(2_000) }), "name: 1 to"),
            (json!({ "name": "x" }), "body"),
        ] {
            let said = refused(&memory, Method::POST, "/apps", body).await;
            assert!(said.contains(told), "{said}");
        }
        assert_eq!(ask(&memory, Method::DELETE, "/apps/shop", Value::Null).await.0, 204);
        assert!(refused(&memory, Method::DELETE, "/apps/shop", Value::Null).await.contains("no such app"));
    }

    #[actix_rt::test]
    async fn what_is_left_out_of_a_change_stays() {
        let memory = crate::memory::with_dev().await;
        let held = async || ask(&memory, Method::GET, "/apps", Value::Null).await.1[0].clone();
        let before = held().await;
        let wish = json!({ "name": "The shop", "capacity": 50, "origins": ["https://meet.example"] });
        assert_eq!(ask(&memory, Method::PATCH, "/apps/dev", wish).await.0, 204);
        let mut wanted = before;
        wanted["name"] = json!("The shop");
        wanted["policy"]["capacity"] = json!(50);
        wanted["policy"]["origins"] = json!(["https://meet.example"]);
        wanted["revision"] = held().await["revision"].clone();
        assert_eq!(held().await, wanted);
        for (path, body, told) in [
            ("/apps/dev", json!({ "name": "" }), "name: 1 to"),
            ("/apps/dev", json!({ "grace_ms": 300_001 }), "grace_ms: 300000 at most"),
            ("/apps/dev", json!({ "credential_ttl_ms": 3_999 }), "credential_ttl_ms: 4000 to 86400000"),
            ("/apps/dev", json!({ "capacity": 0 }), "capacity: 1 to 10000"),
            ("/apps/dev", json!({ "frames_burst": 0 }), "frames_per_sec: 1 and more"),
            ("/apps/dev", json!({ "origins": ["https://meet.example/"] }), "origins: each a scheme"),
            ("/apps/dev", json!({ "origins": vec!["https://a"; 65] }), "origins: 64 at most"),
            ("/apps/dev", json!({ "created": 1 }), "body"),
            ("/apps/none", json!({}), "no such app"),
        ] {
            let said = refused(&memory, Method::PATCH, path, body).await;
            assert!(said.contains(told), "{said}");
        }
        assert_eq!(held().await, wanted, "nothing half done");
    }

    #[actix_rt::test]
    async fn a_lifetime_is_set_shown_and_refused_in_words() {
        let memory = Arc::new(Memory::default());
        let (app, name) = (AppId::new("bank").unwrap(), "Bank".to_owned());
        let policy = AppPolicy { anonymous: true, ..AppPolicy::default() };
        let note = Note { who: "test".to_owned(), what: "founded".to_owned(), from: String::new() };
        drop(memory.change(Command::AppAdd { app, name, policy }, note).await);

        let path = "/apps/bank/credential-ttl";
        assert_eq!(ask(&memory, Method::PUT, path, json!({ "seconds": 10 })).await.0, 204);
        let (_, all) = ask(&memory, Method::GET, "/apps", Value::Null).await;
        assert_eq!(all[0]["app"], "bank");
        assert_eq!(
            (&all[0]["policy"]["credential_ttl_ms"], &all[0]["policy"]["anonymous"]),
            (&json!(10_000), &json!(true))
        );
        for (path, body, told) in [
            (path, json!({ "seconds": 3 }), "seconds: 4 to 86400"),
            (path, json!({ "seconds": 86_401 }), "seconds: 4 to 86400"),
            (path, json!({ "seconds": "10" }), "body"),
            (path, json!({ "ttl": 10 }), "body"),
            ("/apps/shop/credential-ttl", json!({ "seconds": 10 }), "no such app"),
        ] {
            let said = refused(&memory, Method::PUT, path, body).await;
            assert!(said.contains(told), "{said}");
        }
        memory.with(|state| {
            let kept: Vec<_> = state.audit().map(|entry| entry.note.what.clone()).collect();
            assert_eq!(kept, ["founded", "gave the app bank TURN credentials of 10 s"]);
        });
    }
}
