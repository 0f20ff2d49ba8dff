//! `/admin/api/v1/usage` and below: what was relayed, for apps, rooms and sessions, and for other users.

use std::collections::BTreeMap;

use actix_web::web::{self, Data, Json, Path, ServiceConfig};
use chappe_proto::id::AppId;
use chappe_proto::time::Unix;
use chappe_proto::usage::{Relayed, UsageOf};
use serde::{Deserialize, Serialize};
use utoipa::{OpenApi, ToSchema};

use crate::Mount;
use crate::access::{OfApp, Viewer};
use crate::api::problem::Problem;
use crate::api::rooms::{app_id, key};
use crate::schema;

pub(crate) fn routes(config: &mut ServiceConfig) {
    config
        .route("/usage", web::get().to(everybody))
        .route("/apps/{app}/usage", web::get().to(app))
        .route("/apps/{app}/rooms/{room}/usage", web::get().to(room));
}

/// What is described of it.
#[derive(OpenApi)]
#[openapi(paths(everybody, app, room), components(schemas(schema::RoomName)))]
pub(crate) struct Part;

/// What was relayed, of what is asked for.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct UsageReport {
    /// When the first of the nodes that answer began to count.
    pub since: Unix,
    /// All of it: more than its parts where some of those are not remembered one by one.
    pub relayed: Relayed,
    /// Of what, by name.
    pub parts: BTreeMap<String, Relayed>,
}

/// What somebody relayed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct UsageLine {
    /// Whose it is: an app, a room, a session, a user.
    pub name: String,
    /// How much.
    #[serde(flatten)]
    #[schema(value_type = schema::Relayed)]
    pub relayed: Relayed,
}

fn lines(parts: BTreeMap<String, Relayed>) -> Vec<UsageLine> {
    parts.into_iter().map(|(name, relayed)| UsageLine { name, relayed }).collect()
}

/// What everybody relayed.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub struct Usage {
    /// When the first of the nodes that answer began to count.
    #[schema(value_type = schema::Time)]
    pub since: Unix,
    /// All of it.
    #[serde(flatten)]
    #[schema(value_type = schema::Relayed)]
    pub relayed: Relayed,
    /// By apps.
    pub apps: Vec<UsageLine>,
    /// By users who are no sessions, those who relayed lately.
    pub users: Vec<UsageLine>,
}

/// What the sessions of an app relayed.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub struct AppUsage {
    /// Which app.
    #[schema(value_type = schema::AppId)]
    pub app: AppId,
    /// When the first of the nodes that answer began to count.
    #[schema(value_type = schema::Time)]
    pub since: Unix,
    /// All of it.
    #[serde(flatten)]
    #[schema(value_type = schema::Relayed)]
    pub relayed: Relayed,
    /// By rooms, those included that have ended.
    pub rooms: Vec<UsageLine>,
}

/// What the sessions of a room relayed.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub struct RoomUsage {
    /// When the first of the nodes that answer began to count.
    #[schema(value_type = schema::Time)]
    pub since: Unix,
    /// All of it.
    #[serde(flatten)]
    #[schema(value_type = schema::Relayed)]
    pub relayed: Relayed,
    /// By sessions, those that relayed lately.
    pub sessions: Vec<UsageLine>,
}

/// What everybody relayed.
#[utoipa::path(get, path = "/usage", tag = "usage", responses((status = 200, description = "By apps, and by users who are no sessions", body = Usage)))]
async fn everybody(_: Viewer, mount: Data<Mount>) -> Result<Json<Usage>, Problem> {
    let (apps, users) = (mount.cluster.usage(UsageOf::Apps).await, mount.cluster.usage(UsageOf::Names).await);
    let UsageReport { since, relayed, parts } = apps.unwrap_or_default();
    let users = users.unwrap_or_default().parts;
    Ok(Json(Usage { since, relayed, apps: lines(parts), users: lines(users) }))
}

/// What an app's sessions relayed.
#[utoipa::path(
    get, path = "/apps/{app}/usage", tag = "usage",
    params(("app" = schema::AppId, Path)),
    responses((status = 200, description = "By rooms", body = AppUsage))
)]
async fn app(_: OfApp, mount: Data<Mount>, path: Path<String>) -> Result<Json<AppUsage>, Problem> {
    let app = app_id(&path)?;
    let report = mount.cluster.usage(UsageOf::App(app.clone())).await.ok_or(Problem::NotFound("app"))?;
    Ok(Json(AppUsage { app, since: report.since, relayed: report.relayed, rooms: lines(report.parts) }))
}

/// What a room's sessions relayed.
#[utoipa::path(
    get, path = "/apps/{app}/rooms/{room}/usage", tag = "usage",
    params(("app" = schema::AppId, Path), ("room" = schema::RoomName, Path)),
    responses((status = 200, description = "By sessions", body = RoomUsage))
)]
async fn room(
    _: OfApp,
    mount: Data<Mount>,
    path: Path<(String, String)>,
) -> Result<Json<RoomUsage>, Problem> {
    let of = UsageOf::Room(key(&path.0, &path.1)?);
    let UsageReport { since, relayed, parts } =
        mount.cluster.usage(of).await.ok_or(Problem::NotFound("app"))?;
    Ok(Json(RoomUsage { since, relayed, sessions: lines(parts) }))
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use actix_web::http::Method;
    use actix_web::{App, test};
    use chappe_proto::mesh::uplink::Secret;
    use serde_json::{Value, json};

    use super::*;
    use crate::memory::{Memory, ask};

    async fn get(path: &str) -> (u16, Value) {
        ask(&Arc::new(Memory::default()), Method::GET, path, Value::Null).await
    }

    #[actix_rt::test]
    async fn apps_rooms_and_sessions_are_told_to_operators() {
        let (sent, received) = (json!({ "packets": 1, "bytes": 100 }), json!({ "packets": 2, "bytes": 300 }));
        let line = |name: &str| json!([{ "name": name, "sent": sent, "received": received }]);
        let whole = |key: &str, name: &str| json!({ "sent": sent, "received": received, key: line(name) });
        let told = async |path: &str, wanted: Value| {
            let (status, told) = get(path).await;
            assert_eq!(status, 200);
            for (key, value) in wanted.as_object().unwrap() {
                assert_eq!(told[key], *value, "{path} {key}");
            }
        };
        told("/usage", whole("apps", "dev")).await;
        told("/usage", whole("users", "ada")).await;
        told("/apps/dev/usage", whole("rooms", "room")).await;
        told("/apps/dev/rooms/room/usage", whole("sessions", "s_000000000000000000000000")).await;
        assert_eq!(get("/apps/none/usage").await.0, 404);
        assert_eq!(get("/apps/none/rooms/room/usage").await.0, 404);
        assert_eq!(get("/apps/a%20b/usage").await.0, 400);
    }

    #[actix_rt::test]
    async fn nobody_else_is_told() {
        let mount = Mount::new(Arc::new(Memory::default()), Secret(b"right".to_vec()));
        let app = test::init_service(App::new().configure(|config| mount.configure(config))).await;
        for path in ["/usage", "/apps/dev/usage", "/apps/dev/rooms/room/usage"] {
            let request = test::TestRequest::with_uri(&format!("/admin/api/v1{path}")).to_request();
            assert_eq!(test::call_service(&app, request).await.status(), 401, "{path}");
        }
    }
}
