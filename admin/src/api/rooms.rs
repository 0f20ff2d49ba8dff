//! `/admin/api/v1/rooms` and `/admin/api/v1/apps/{app}/rooms`: rooms, and what is decided of them.

#![allow(unused_qualifications, reason = "`utoipa` writes them")]

use actix_web::HttpResponse;
use actix_web::web::{self, Bytes, Data, Json, Path, Query, ServiceConfig};
use chappe_proto::id::{AppId, Index, NodeId, Region, RoomKey, RoomName};
use chappe_proto::limits::{METADATA_MAX, PAYLOAD_MAX, ROOM_CAPACITY_MAX, ROOMS_LISTED};
use chappe_proto::registry::RoomPolicy;
use chappe_proto::signal::json;
use chappe_proto::time::Unix;
use serde::{Deserialize, Deserializer};
use serde_json::value::RawValue;
use utoipa::{IntoParams, OpenApi, ToSchema};

use crate::access::{OfApp, Viewer};
use crate::api::problem::Problem;
use crate::api::turn::read;
use crate::api::unchanged::{IfMatch, etag, merged};
use crate::control::Fault;
use crate::rooms::{RoomPage, RoomReport, RoomsWanted};
use crate::{Mount, Overview};

/// Rooms in a page unless said otherwise.
const PAGE: usize = 50;

pub(crate) fn routes(config: &mut ServiceConfig) {
    config
        .route("/overview", web::get().to(overview))
        .route("/rooms", web::get().to(list))
        .route("/apps/{app}/rooms", web::get().to(list_of))
        .route("/apps/{app}/rooms", web::post().to(create))
        .route("/apps/{app}/rooms/{room}", web::get().to(room))
        .route("/apps/{app}/rooms/{room}", web::patch().to(change))
        .route("/apps/{app}/rooms/{room}", web::delete().to(close))
        .route("/apps/{app}/rooms/{room}/message", web::post().to(message));
}

/// What is described of it.
#[derive(OpenApi)]
#[openapi(paths(overview, list, list_of, room, create, change, close, message))]
pub(crate) struct Part;

/// The whole at a glance.
#[utoipa::path(get, path = "/overview", tag = "cluster", responses((status = 200, body = Overview)))]
async fn overview(_: Viewer, mount: Data<Mount>) -> Json<Overview> {
    Json(mount.cluster.overview().await)
}

pub(crate) fn app_id(app: &str) -> Result<AppId, Problem> {
    AppId::new(app).map_err(|_| Problem::BadName("app: 1 to 64 of A-Z a-z 0-9 -_.~:@"))
}

pub(crate) fn key(app: &str, room: &str) -> Result<RoomKey, Problem> {
    let app = app_id(app)?;
    let room = RoomName::new(room).map_err(|_| Problem::BadName("room: 1 to 128 of A-Z a-z 0-9 -_.~:@"))?;
    Ok(RoomKey { app, room })
}

fn field(field: &'static str, fix: impl Into<String>) -> Problem {
    Problem::Field { field, fix: fix.into() }
}

pub(crate) fn region(name: &str) -> Result<Region, Problem> {
    Region::new(name).map_err(|bad| field("region", bad.to_string()))
}

/// Which rooms.
#[derive(Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
struct Wanted {
    /// Of this app alone.
    app: Option<String>,
    /// With this in their names, in whatever case.
    q: Option<String>,
    /// That this node runs.
    node: Option<u64>,
    /// That are to run in this region.
    region: Option<String>,
    /// That are locked, or are not.
    locked: Option<bool>,
    /// With somebody in them, or with nobody.
    people: Option<bool>,
    /// The last page's `next`.
    after: Option<String>,
    /// 1 to 200; 50 unless said otherwise.
    limit: Option<usize>,
}

/// Which rooms of an app. (`serde` can't refuse unknown fields of a flattened part: they are written out.)
#[derive(Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
struct WantedOf {
    /// With this in their names, in whatever case.
    q: Option<String>,
    /// That this node runs.
    node: Option<u64>,
    /// That are to run in this region.
    region: Option<String>,
    /// That are locked, or are not.
    locked: Option<bool>,
    /// With somebody in them, or with nobody.
    people: Option<bool>,
    /// The last page's `next`.
    after: Option<String>,
    /// 1 to 200; 50 unless said otherwise.
    limit: Option<usize>,
}

impl Wanted {
    fn read(self) -> Result<RoomsWanted, Problem> {
        let limit = self.limit.unwrap_or(PAGE);
        if !(1..=ROOMS_LISTED).contains(&limit) {
            return Err(field("limit", format!("1 to {ROOMS_LISTED}")));
        }
        let cursor = |after: String| -> Result<RoomKey, Problem> {
            let parts = after.split_once('/').and_then(|(app, room)| key(app, room).ok());
            parts.ok_or_else(|| field("after", "the `next` of the page before"))
        };
        Ok(RoomsWanted {
            app: self.app.as_deref().map(app_id).transpose()?,
            text: self.q.filter(|text| !text.is_empty()),
            node: self.node.map(NodeId),
            region: self.region.as_deref().map(region).transpose()?,
            locked: self.locked,
            people: self.people,
            after: self.after.map(cursor).transpose()?,
            limit,
        })
    }
}

/// Rooms, by app and name: those that run, and those of which something is decided.
#[utoipa::path(
    get, path = "/rooms", tag = "rooms", params(Wanted),
    responses((status = 200, body = RoomPage), (status = 400, description = "a parameter that is none"))
)]
async fn list(_: Viewer, mount: Data<Mount>, wanted: Query<Wanted>) -> Result<Json<RoomPage>, Problem> {
    Ok(Json(mount.cluster.rooms(wanted.into_inner().read()?).await?))
}

/// The rooms of one app, as of all.
#[utoipa::path(
    get, path = "/apps/{app}/rooms", tag = "rooms", params(("app" = String, Path), WantedOf),
    responses((status = 200, body = RoomPage), (status = 400, description = "a parameter that is none"))
)]
async fn list_of(
    _: OfApp,
    mount: Data<Mount>,
    path: Path<String>,
    wanted: Query<WantedOf>,
) -> Result<Json<RoomPage>, Problem> {
    let WantedOf { q, node, region, locked, people, after, limit } = wanted.into_inner();
    let wanted = Wanted { app: Some(path.into_inner()), q, node, region, locked, people, after, limit };
    Ok(Json(mount.cluster.rooms(wanted.read()?).await?))
}

/// A room: what is decided of it, where it runs, who is in it.
#[utoipa::path(
    get, path = "/apps/{app}/rooms/{room}", tag = "rooms",
    params(("app" = String, Path), ("room" = String, Path)),
    responses(
        (status = 200, body = RoomReport, headers(("ETag" = String, description = "for `If-Match` of a change"))),
        (status = 404, description = "no such room")
    )
)]
async fn room(who: OfApp, mount: Data<Mount>, path: Path<(String, String)>) -> Result<HttpResponse, Problem> {
    let room = report(&who, &mount, key(&path.0, &path.1)?).await?;
    Ok(HttpResponse::Ok().insert_header(etag(room.revision)).json(room))
}

/// A room as somebody may see it.
async fn report(who: &OfApp, mount: &Mount, key: RoomKey) -> Result<RoomReport, Problem> {
    let room = mount.cluster.room(key).await?;
    Ok(RoomReport { by: room.by.map(|by| who.shown(by)), ..room })
}

/// A field that may be left out, or be `null`: `None` says that it was left out.
#[expect(clippy::option_option, reason = "left out, `null`, and a value are three things")]
fn said<'de, T: Deserialize<'de>, D: Deserializer<'de>>(from: D) -> Result<Option<Option<T>>, D::Error> {
    Option::<T>::deserialize(from).map(Some)
}

/// What is decided of a room: what is left out stays as it is, `null` decides nothing.
#[derive(Clone, Deserialize, ToSchema)]
#[schema(as = RoomChange)]
#[serde(deny_unknown_fields)]
#[expect(clippy::option_option, reason = "left out, `null`, and a value are three things")]
struct Change {
    /// Peers that it holds, 1 to 10,000: in the place of the app's number, and no token's is higher.
    #[serde(default, deserialize_with = "said")]
    #[schema(value_type = Option<u32>)]
    capacity: Option<Option<u32>>,
    /// Whether nobody new comes in. Who is there stays and comes back; an admin's token opens it.
    #[serde(default)]
    locked: Option<bool>,
    /// The region where it is to run.
    #[serde(default, deserialize_with = "said")]
    #[schema(value_type = Option<String>)]
    region: Option<Option<String>>,
    /// When it is closed, in milliseconds of Unix time; nobody gets in after it. A year ahead at most.
    #[serde(default, deserialize_with = "said")]
    #[schema(value_type = Option<u64>)]
    expires: Option<Option<u64>>,
    /// Whatever the app's server wants to keep with it: 4 KiB of JSON at most.
    #[serde(default, deserialize_with = "said")]
    #[schema(value_type = Option<Object>)]
    metadata: Option<Option<Box<RawValue>>>,
    /// Whether newcomers wait until an admin in the room, or an operator, lets them in. Where it ends, who waits comes in.
    #[serde(default)]
    lobby: Option<bool>,
}

impl Change {
    fn of(self, mut policy: RoomPolicy) -> Result<RoomPolicy, Problem> {
        if let Some(capacity) = self.capacity {
            let most = u32::try_from(ROOM_CAPACITY_MAX).unwrap_or(u32::MAX);
            if capacity.is_some_and(|capacity| !(1..=most).contains(&capacity)) {
                return Err(field("capacity", format!("1 to {most}, or null for the app's")));
            }
            policy.capacity = capacity;
        }
        policy.locked = self.locked.unwrap_or(policy.locked);
        policy.lobby = self.lobby.unwrap_or(policy.lobby);
        if let Some(name) = self.region {
            policy.region = name.as_deref().map(region).transpose()?;
        }
        if let Some(expires) = self.expires {
            policy.expires = expires.map(Unix::from);
        }
        if let Some(metadata) = self.metadata {
            let metadata = metadata.filter(|data| data.get() != "null");
            if metadata.as_ref().is_some_and(|data| data.get().len() > METADATA_MAX) {
                return Err(field("metadata", format!("{METADATA_MAX} bytes of JSON at most")));
            }
            policy.metadata = metadata.map(|data| json::Json::from_raw(&data));
        }
        Ok(policy)
    }
}

/// A room that is made before anybody is in it. (`serde` can't refuse unknown fields of a flattened part: they are
/// written out.)
#[derive(Deserialize, ToSchema)]
#[schema(as = RoomWish)]
#[serde(deny_unknown_fields)]
struct New {
    /// Its name: 1 to 128 of `A-Z a-z 0-9 -_.~:@`.
    room: String,
    /// Peers that it holds, 1 to 10,000: in the place of the app's number, and no token's is higher.
    capacity: Option<u32>,
    /// Whether nobody new comes in.
    #[serde(default)]
    locked: bool,
    /// The region where it is to run.
    region: Option<String>,
    /// When it is closed, in milliseconds of Unix time; nobody gets in after it. A year ahead at most.
    expires: Option<u64>,
    /// Whatever the app's server wants to keep with it: 4 KiB of JSON at most.
    #[schema(value_type = Option<Object>)]
    metadata: Option<Box<RawValue>>,
    /// Whether newcomers wait until an admin in the room, or an operator, lets them in.
    #[serde(default)]
    lobby: bool,
}

/// Makes a room: decides something of it before anybody is in it.
#[utoipa::path(
    post, path = "/apps/{app}/rooms", tag = "rooms", params(("app" = String, Path)), request_body = New,
    responses(
        (status = 201, body = RoomReport), (status = 400, description = "a field that is wrong, by name"),
        (status = 404, description = "no such app"), (status = 409, description = "it is made already, or too many are")
    )
)]
async fn create(
    operator: OfApp,
    mount: Data<Mount>,
    path: Path<String>,
    body: Bytes,
) -> Result<HttpResponse, Problem> {
    let New { room, capacity, locked, region, expires, metadata, lobby } = read(&body)?;
    let key = key(&path, &room)?;
    let change = Change {
        capacity: Some(capacity),
        locked: Some(locked),
        region: Some(region),
        expires: Some(expires),
        metadata: Some(metadata),
        lobby: Some(lobby),
    };
    let policy = change.of(RoomPolicy::default())?;
    let made = set(&mount, &key, policy, Index(0), operator.note(&format!("made the room {key}"))).await;
    made.map_err(|problem| match problem {
        Problem::Overtaken(_) => {
            Problem::Full(format!("the room {room} is made already: change it by PATCH"))
        }
        problem => problem,
    })?;
    Ok(HttpResponse::Created().json(report(&operator, &mount, key).await?))
}

/// The registry's refusals, by the fields of a request.
async fn set(
    mount: &Mount,
    key: &RoomKey,
    policy: RoomPolicy,
    since: Index,
    note: chappe_proto::registry::Note,
) -> Result<(), Problem> {
    use chappe_proto::registry::{Refusal, Thing};
    mount.cluster.room_set(key.clone(), policy, since, note).await.map_err(|fault| match fault {
        Fault::Refused(Refusal::Unknown(Thing::App)) => Problem::NotFound("app"),
        Fault::Refused(Refusal::Invalid(Thing::Expiry)) => {
            field("expires", "milliseconds of Unix time, in the future and a year ahead at most")
        }
        fault => fault.into(),
    })
}

/// Decides something else of a room, whether anybody is in it or not.
#[utoipa::path(
    patch, path = "/apps/{app}/rooms/{room}", tag = "rooms", request_body = Change,
    params(
        ("app" = String, Path), ("room" = String, Path),
        ("If-Match" = Option<String>, Header, description = "the `ETag` that it was read with")
    ),
    responses(
        (status = 200, body = RoomReport), (status = 400, description = "a field that is wrong, by name"),
        (status = 404, description = "no such room"),
        (status = 412, description = "it is not as `If-Match` says any more")
    )
)]
async fn change(
    operator: OfApp,
    mount: Data<Mount>,
    path: Path<(String, String)>,
    seen: IfMatch,
    body: Bytes,
) -> Result<Json<RoomReport>, Problem> {
    let key = key(&path.0, &path.1)?;
    let change: Change = read(&body)?;
    merged(async || {
        let held = mount.cluster.room(key.clone()).await?;
        seen.holds(held.revision)?;
        let before = held.policy.unwrap_or_default();
        let policy = change.clone().of(before.clone())?;
        let note = operator.note(&format!("{} the room {key}", way(&before, &policy)));
        set(&mount, &key, policy, held.revision, note).await
    })
    .await?;
    report(&operator, &mount, key).await.map(Json)
}

/// What a change does, for the audit log.
fn way(before: &RoomPolicy, policy: &RoomPolicy) -> String {
    let mut words = Vec::new();
    if policy.locked != before.locked {
        words.push(if policy.locked { "locked" } else { "opened" });
    }
    let others = |policy: &RoomPolicy| RoomPolicy { locked: false, ..policy.clone() };
    if others(policy) != others(before) || words.is_empty() {
        words.push("changed");
    }
    words.join(" and ")
}

#[derive(Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
struct Close {
    /// And decides nothing of it any more.
    #[serde(default)]
    forget: bool,
}

/// Closes a room: everybody leaves, and their credentials end. Lock it before where nobody is to come back.
#[utoipa::path(
    delete, path = "/apps/{app}/rooms/{room}", tag = "rooms",
    params(("app" = String, Path), ("room" = String, Path), Close),
    responses((status = 204), (status = 404, description = "nobody is in it, and nothing was to be forgotten"))
)]
async fn close(
    operator: OfApp,
    mount: Data<Mount>,
    path: Path<(String, String)>,
    query: Query<Close>,
) -> Result<HttpResponse, Problem> {
    let key = key(&path.0, &path.1)?;
    let note = |what: &str| operator.note(&format!("{what} the room {key}"));
    // Closed first: who would come back to an open room is not to find one that was locked.
    let closed = match mount.cluster.room_close(key.clone(), note("closed")).await {
        Err(Fault::NotThere(_)) if query.forget => false,
        done => done.map(|()| true)?,
    };
    if query.forget {
        match mount.cluster.room_forget(key.clone(), note("forgot")).await {
            Err(Fault::NotThere(_)) if closed => {}
            done => done?,
        }
    }
    Ok(HttpResponse::NoContent().finish())
}

/// A word to all.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct Message {
    /// Any JSON, 56 KiB at most: clients get it as a `broadcast` that is nobody's.
    #[schema(value_type = Object)]
    payload: Box<RawValue>,
}

/// Says something to all who are in a room.
#[utoipa::path(
    post, path = "/apps/{app}/rooms/{room}/message", tag = "rooms", request_body = Message,
    params(("app" = String, Path), ("room" = String, Path)),
    responses((status = 204), (status = 404, description = "nobody is in that room"))
)]
async fn message(
    operator: OfApp,
    mount: Data<Mount>,
    path: Path<(String, String)>,
    body: Bytes,
) -> Result<HttpResponse, Problem> {
    let key = key(&path.0, &path.1)?;
    let Message { payload } = read(&body)?;
    if payload.get().len() > PAYLOAD_MAX {
        return Err(field("payload", format!("{PAYLOAD_MAX} bytes of JSON at most")));
    }
    let note = operator.note(&format!("said something to all in the room {key}"));
    mount.cluster.room_message(key, json::Json::from_raw(&payload), note).await?;
    Ok(HttpResponse::NoContent().finish())
}

#[cfg(test)]
#[path = "rooms/tests.rs"]
mod tests;
