//! `/admin/api/v1/usage` and below: what was relayed, for apps, rooms and sessions, and for other users.

use std::collections::BTreeMap;
use std::sync::Arc;

use actix_web::web::{self, Data, Json, Path, ServiceConfig};
use chappe_proto::id::{AppId, Region};
use chappe_proto::registry::{Cost, Prices};
use chappe_proto::time::Unix;
use chappe_proto::usage::{Relayed, Tally, UsageOf};
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
    pub relayed: Tally,
    /// Of what, by name.
    pub parts: BTreeMap<String, Tally>,
    /// What relayed traffic costs.
    pub prices: Arc<Prices>,
}

impl UsageReport {
    /// What a part of it, or all of it, costs.
    #[must_use]
    pub fn cost(&self, tally: &Tally) -> Cost {
        self.prices.cost(tally)
    }

    pub(super) fn figure(&self, tally: &Tally) -> Figure {
        let cost = self.cost(tally);
        Figure {
            relayed: tally.relayed,
            regions: tally.regions.clone(),
            cost: self.prices.is_set().then(|| cost.money.to_string()),
            unpriced_bytes: cost.unpriced,
        }
    }

    fn lines(&self) -> Vec<UsageLine> {
        let line = |(name, tally): (&String, _)| UsageLine { name: name.clone(), figure: self.figure(tally) };
        self.parts.iter().map(line).collect()
    }

    pub(super) fn currency(&self) -> Option<String> {
        self.prices.is_set().then(|| self.prices.currency.clone())
    }
}

/// How much was relayed, and what it costs. Each byte that is relayed is sent out by an edge once, to a peer or to its client:
/// `sent` and `received` together are what clouds bill. It is payload: IP, UDP and TURN add some 5 % to video, and more
/// than half to audio. What both of two people relay over one edge is in the figures of both.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Figure {
    /// Packets, and bytes of payload.
    #[serde(flatten)]
    #[schema(value_type = schema::Relayed)]
    pub relayed: Relayed,
    /// Bytes, both ways, by the region of the edge; less than all where it is not known.
    #[schema(value_type = BTreeMap<String, u64>)]
    pub regions: BTreeMap<Region, u64>,
    /// What it costs by today's prices, as a decimal number; none where there are no prices.
    #[schema(examples("12.345678"))]
    pub cost: Option<String>,
    /// Bytes that have no price, and are not in `cost`.
    pub unpriced_bytes: u64,
}

/// What somebody relayed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct UsageLine {
    /// Whose it is: an app, a room, a session, a user.
    pub name: String,
    /// How much.
    #[serde(flatten)]
    pub figure: Figure,
}

/// What everybody relayed.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub struct Usage {
    /// When the first of the nodes that answer began to count.
    #[schema(value_type = schema::Time)]
    pub since: Unix,
    /// What costs are in; none where there are no prices.
    pub currency: Option<String>,
    /// All of it.
    #[serde(flatten)]
    pub figure: Figure,
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
    /// What costs are in; none where there are no prices.
    pub currency: Option<String>,
    /// All of it.
    #[serde(flatten)]
    pub figure: Figure,
    /// By rooms, those included that have ended.
    pub rooms: Vec<UsageLine>,
}

/// What the sessions of a room relayed.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub struct RoomUsage {
    /// When the first of the nodes that answer began to count.
    #[schema(value_type = schema::Time)]
    pub since: Unix,
    /// What costs are in; none where there are no prices.
    pub currency: Option<String>,
    /// All of it.
    #[serde(flatten)]
    pub figure: Figure,
    /// By sessions, those that relayed lately.
    pub sessions: Vec<UsageLine>,
}

/// What everybody relayed.
#[utoipa::path(get, path = "/usage", tag = "usage", responses((status = 200, description = "By apps, and by users who are no sessions", body = Usage)))]
async fn everybody(_: Viewer, mount: Data<Mount>) -> Result<Json<Usage>, Problem> {
    let (apps, users) = (mount.cluster.usage(UsageOf::Apps).await, mount.cluster.usage(UsageOf::Names).await);
    let report = apps.unwrap_or_default();
    let users = users.unwrap_or_default().lines();
    let (currency, figure) = (report.currency(), report.figure(&report.relayed));
    Ok(Json(Usage { since: report.since, currency, figure, apps: report.lines(), users }))
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
    let (currency, figure) = (report.currency(), report.figure(&report.relayed));
    Ok(Json(AppUsage { app, since: report.since, currency, figure, rooms: report.lines() }))
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
    let report = mount.cluster.usage(of).await.ok_or(Problem::NotFound("app"))?;
    let (currency, figure) = (report.currency(), report.figure(&report.relayed));
    Ok(Json(RoomUsage { since: report.since, currency, figure, sessions: report.lines() }))
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
        let line = |name: &str| {
            let figure = json!({ "regions": { "eu": 250 }, "cost": null, "unpriced_bytes": 400 });
            let mut line = json!({ "name": name, "sent": sent, "received": received });
            line.as_object_mut().unwrap().extend(figure.as_object().unwrap().clone());
            json!([line])
        };
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
    async fn each_figure_has_its_cost_where_there_are_prices() {
        let memory = Arc::new(Memory::default());
        let prices = json!({ "currency": "EUR", "default": "1000", "regions": { "eu": "2000.5" } });
        assert_eq!(ask(&memory, Method::PUT, "/costs/prices", prices).await.0, 204);
        let cost = json!("0.00065"); // 250 bytes for 2000.5 and 150 for 1000: 0.000650125
        for (path, parts) in [
            ("/usage", "apps"),
            ("/usage", "users"),
            ("/apps/dev/usage", "rooms"),
            ("/apps/dev/rooms/room/usage", "sessions"),
        ] {
            let told = ask(&memory, Method::GET, path, Value::Null).await.1;
            let (part, whole) =
                (&told[parts][0], (&told["currency"], &told["cost"], &told["unpriced_bytes"]));
            assert_eq!(whole, (&json!("EUR"), &cost, &json!(0)), "{path}");
            assert_eq!((&part["cost"], &part["unpriced_bytes"]), (&cost, &json!(0)), "{path} {parts}");
        }
        let some = json!({ "currency": "EUR", "regions": { "eu": "2000000" } });
        assert_eq!(ask(&memory, Method::PUT, "/costs/prices", some).await.0, 400, "no such price");
        let some = json!({ "currency": "EUR", "regions": { "eu": "200000" } });
        assert_eq!(ask(&memory, Method::PUT, "/costs/prices", some).await.0, 204);
        let told = ask(&memory, Method::GET, "/usage", Value::Null).await.1;
        assert_eq!((&told["cost"], &told["unpriced_bytes"]), (&json!("0.05"), &json!(150)));
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
