//! `/admin/api/v1/apps/{app}/keys`: the API keys by which an app's server signs join tokens.

use actix_web::HttpResponse;
use actix_web::web::{self, Data, Json, Path, ServiceConfig};
use chappe_proto::id::KeyId;
use serde::Serialize;
use utoipa::{OpenApi, ToSchema};

use crate::Mount;
use crate::access::{Owner, Principal, Viewer};
use crate::api::problem::Problem;
use crate::api::rooms::app_id;
use crate::apps::ShownKey;

pub(crate) fn routes(config: &mut ServiceConfig) {
    config
        .route("/apps/{app}/keys", web::get().to(keys))
        .route("/apps/{app}/keys", web::post().to(add))
        .route("/apps/{app}/keys/{key}", web::delete().to(remove))
        .route("/apps/{app}/keys/{key}/disable", web::post().to(disable))
        .route("/apps/{app}/keys/{key}/enable", web::post().to(enable));
}

/// What is described of it.
#[derive(OpenApi)]
#[openapi(paths(keys, add, disable, enable, remove))]
pub(crate) struct Part;

pub(crate) fn key_id(text: &str) -> Result<KeyId, Problem> {
    text.parse().map_err(|_| Problem::Field { field: "key", fix: "k_ and 24 characters".to_owned() })
}

/// The API keys of an app, the oldest first, without their secrets.
#[utoipa::path(
    get, path = "/apps/{app}/keys", tag = "apps", params(("app" = String, Path)),
    responses((status = 200, body = Vec<ShownKey>), (status = 404, description = "no such app"))
)]
async fn keys(_: Viewer, mount: Data<Mount>, path: Path<String>) -> Result<Json<Vec<ShownKey>>, Problem> {
    Ok(Json(mount.cluster.keys(app_id(&path)?).await?))
}

/// A new key, with the secret that is told once.
#[derive(Serialize, ToSchema)]
struct Added {
    /// Its public half: a token's `iss`.
    key: String,
    /// Its secret half, which signs tokens (HS256). It is not shown again.
    secret: String,
}

/// Adds an API key to an app: the only time that its secret is told.
#[utoipa::path(
    post, path = "/apps/{app}/keys", tag = "apps", params(("app" = String, Path)),
    responses(
        (status = 201, body = Added), (status = 404, description = "no such app"),
        (status = 409, description = "it has 16 keys")
    )
)]
async fn add(operator: Owner, mount: Data<Mount>, path: Path<String>) -> Result<HttpResponse, Problem> {
    let app = app_id(&path)?;
    mount.cluster.keys(app.clone()).await?;
    let added = mount
        .cluster
        .key_add(app.clone(), operator.note(&format!("added an API key to the app {app}")))
        .await?;
    let secret = String::from_utf8_lossy(&added.secret.0).into_owned();
    let body = Added { key: added.key.to_string(), secret };
    Ok(HttpResponse::Created().insert_header(("Cache-Control", "no-store")).json(body))
}

async fn set(
    operator: &Principal,
    mount: &Mount,
    path: &(String, String),
    disabled: bool,
) -> Result<HttpResponse, Problem> {
    let (app, key) = (app_id(&path.0)?, key_id(&path.1)?);
    let what = if disabled { "disabled" } else { "enabled" };
    let note = operator.note(&format!("{what} the API key {key} of the app {app}"));
    mount.cluster.key_set(app, key, disabled, note).await?;
    Ok(HttpResponse::NoContent().finish())
}

/// Refuses an API key, and the tokens that it signed, from now on.
#[utoipa::path(
    post, path = "/apps/{app}/keys/{key}/disable", tag = "apps", params(("app" = String, Path), ("key" = String, Path)),
    responses((status = 204), (status = 404, description = "no such key of that app"))
)]
async fn disable(
    operator: Owner,
    mount: Data<Mount>,
    path: Path<(String, String)>,
) -> Result<HttpResponse, Problem> {
    set(&operator, &mount, &path, true).await
}

/// Accepts an API key again.
#[utoipa::path(
    post, path = "/apps/{app}/keys/{key}/enable", tag = "apps", params(("app" = String, Path), ("key" = String, Path)),
    responses((status = 204), (status = 404, description = "no such key of that app"))
)]
async fn enable(
    operator: Owner,
    mount: Data<Mount>,
    path: Path<(String, String)>,
) -> Result<HttpResponse, Problem> {
    set(&operator, &mount, &path, false).await
}

/// Removes an API key: nothing that it signed opens a room any more.
#[utoipa::path(
    delete, path = "/apps/{app}/keys/{key}", tag = "apps", params(("app" = String, Path), ("key" = String, Path)),
    responses((status = 204), (status = 404, description = "no such key of that app"))
)]
async fn remove(
    operator: Owner,
    mount: Data<Mount>,
    path: Path<(String, String)>,
) -> Result<HttpResponse, Problem> {
    let (app, key) = (app_id(&path.0)?, key_id(&path.1)?);
    let note = operator.note(&format!("removed the API key {key} of the app {app}"));
    mount.cluster.key_remove(app, key, note).await?;
    Ok(HttpResponse::NoContent().finish())
}

#[cfg(test)]
mod tests {
    use actix_web::http::Method;
    use serde_json::{Value, json};

    use crate::memory::{ask, refused, with_dev};

    #[actix_rt::test]
    async fn a_secret_is_told_once_and_a_key_is_its_apps_alone() {
        let memory = with_dev().await;
        assert_eq!(ask(&memory, Method::POST, "/apps", json!({ "app": "shop" })).await.0, 201);
        let (status, added) = ask(&memory, Method::POST, "/apps/dev/keys", Value::Null).await;
        let (key, secret) = (added["key"].as_str().unwrap(), added["secret"].as_str().unwrap());
        assert_eq!((status, secret.len()), (201, 43));
        let (_, all) = ask(&memory, Method::GET, "/apps/dev/keys", Value::Null).await;
        assert_eq!(all, json!([{ "key": key, "created": 1000, "disabled": false }]));
        assert!(!all.to_string().contains(secret));

        let (mine, others) = (format!("/apps/dev/keys/{key}"), format!("/apps/shop/keys/{key}"));
        for what in ["/disable", "/enable"] {
            let said = refused(&memory, Method::POST, &format!("{others}{what}"), Value::Null).await;
            assert!(said.contains("API key of that app"), "{said}");
            assert_eq!(ask(&memory, Method::POST, &format!("{mine}{what}"), Value::Null).await.0, 204);
            let (_, all) = ask(&memory, Method::GET, "/apps/dev/keys", Value::Null).await;
            assert_eq!(all[0]["disabled"], what == "/disable");
        }
        assert!(refused(&memory, Method::DELETE, &others, Value::Null).await.starts_with("404"));
        assert_eq!(ask(&memory, Method::DELETE, &mine, Value::Null).await.0, 204);
        assert!(refused(&memory, Method::DELETE, &mine, Value::Null).await.starts_with("404"));
        assert!(refused(&memory, Method::DELETE, "/apps/dev/keys/x", Value::Null).await.contains("key: k_"));
        assert!(refused(&memory, Method::POST, "/apps/none/keys", Value::Null).await.contains("no such app"));
        memory.with(|state| assert!(state.audit().all(|line| !line.note.what.contains(secret))));
    }
}
