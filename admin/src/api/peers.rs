//! `/admin/api/v1/apps/{app}/rooms/{room}/peers`: who is in a room, and who stays out of it.

#![allow(unused_qualifications, reason = "`utoipa` writes them")]

use actix_web::HttpResponse;
use actix_web::web::{self, Bytes, Data, Json, Path, Query, ServiceConfig};
use chappe_proto::id::{Identity, PeerId, RoomName};
use chappe_proto::signal::member::Muting;
use serde::Deserialize;
use utoipa::{IntoParams, OpenApi, ToSchema};

use crate::Mount;
use crate::access::{OfApp, Principal};
use crate::api::problem::Problem;
use crate::api::rooms::{app_id, key};
use crate::api::turn::read;
use crate::rooms::Ban;

pub(crate) fn routes(config: &mut ServiceConfig) {
    config
        .route("/apps/{app}/rooms/{room}/peers/{peer}", web::delete().to(kick))
        .route("/apps/{app}/rooms/{room}/peers/{peer}/mute", web::post().to(mute))
        .route("/apps/{app}/rooms/{room}/peers/{peer}/unmute", web::post().to(unmute))
        .route("/apps/{app}/rooms/{room}/peers/{peer}/move", web::post().to(move_to))
        .route("/apps/{app}/bans", web::get().to(bans))
        .route("/apps/{app}/rooms/{room}/bans/{identity}", web::delete().to(lift));
}

/// What is described of it.
#[derive(OpenApi)]
#[openapi(paths(kick, mute, unmute, move_to, bans, lift))]
pub(crate) struct Part;

pub(crate) fn peer_id(text: &str) -> Result<PeerId, Problem> {
    text.parse().map_err(|_| Problem::BadName("peer: p_ and 24 characters"))
}

#[derive(Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
struct Kick {
    /// And keeps its identity out.
    #[serde(default)]
    ban: bool,
}

/// Removes a peer: its credentials end, and its token does not bring it back.
#[utoipa::path(
    delete, path = "/apps/{app}/rooms/{room}/peers/{peer}", tag = "peers",
    params(("app" = String, Path), ("room" = String, Path), ("peer" = String, Path), Kick),
    responses((status = 204), (status = 404, description = "no such peer in that room"))
)]
async fn kick(
    operator: OfApp,
    mount: Data<Mount>,
    path: Path<(String, String, String)>,
    query: Query<Kick>,
) -> Result<HttpResponse, Problem> {
    let (key, peer) = (key(&path.0, &path.1)?, peer_id(&path.2)?);
    let what = if query.ban { "banned" } else { "kicked" };
    let note = operator.note(&format!("{what} {peer} from the room {key}"));
    mount.cluster.peer_kick(key, peer, query.ban, note).await?;
    Ok(HttpResponse::NoContent().finish())
}

/// Which grants.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct Grants {
    /// Of `publish` (sending media) and `broadcast`; `publish` unless said otherwise.
    #[serde(default = "publish")]
    grants: Vec<String>,
}

fn publish() -> Vec<String> {
    vec!["publish".to_owned()]
}

/// Takes grants of a peer away. Media does not go by the servers: the peer's client obeys, and the others see it.
#[utoipa::path(
    post, path = "/apps/{app}/rooms/{room}/peers/{peer}/mute", tag = "peers", request_body = Option<Grants>,
    params(("app" = String, Path), ("room" = String, Path), ("peer" = String, Path)),
    responses((status = 204), (status = 404, description = "no such peer in that room"))
)]
async fn mute(
    operator: OfApp,
    mount: Data<Mount>,
    path: Path<(String, String, String)>,
    body: Bytes,
) -> Result<HttpResponse, Problem> {
    set_muted(&operator, &mount, &path, &body, true).await
}

/// Gives grants of a peer back.
#[utoipa::path(
    post, path = "/apps/{app}/rooms/{room}/peers/{peer}/unmute", tag = "peers", request_body = Option<Grants>,
    params(("app" = String, Path), ("room" = String, Path), ("peer" = String, Path)),
    responses((status = 204), (status = 404, description = "no such peer in that room"))
)]
async fn unmute(
    operator: OfApp,
    mount: Data<Mount>,
    path: Path<(String, String, String)>,
    body: Bytes,
) -> Result<HttpResponse, Problem> {
    set_muted(&operator, &mount, &path, &body, false).await
}

async fn set_muted(
    operator: &Principal,
    mount: &Mount,
    path: &(String, String, String),
    body: &Bytes,
    on: bool,
) -> Result<HttpResponse, Problem> {
    let (key, peer) = (key(&path.0, &path.1)?, peer_id(&path.2)?);
    let Grants { grants } = if body.is_empty() { Grants { grants: publish() } } else { read(body)? };
    let muting = Muting::of_names(grants.iter().map(String::as_str), on);
    let fix = || Problem::Field { field: "grants", fix: "one or both of publish, broadcast".to_owned() };
    let muting = muting.ok_or_else(fix)?;
    let what = if on { "took" } else { "gave back" };
    let note = operator.note(&format!("{what} {} of {peer} in the room {key}", grants.join(" and ")));
    mount.cluster.peer_mute(key, peer, muting, note).await?;
    Ok(HttpResponse::NoContent().finish())
}

/// Where to.
#[derive(Deserialize, ToSchema)]
#[schema(as = MoveTo)]
#[serde(deny_unknown_fields)]
struct Move {
    /// Another room of the same app.
    room: String,
}

/// Sends a peer to another room of the same app, with the same identity, name, metadata and grants.
///
/// Answered when its client has been told, which goes by itself; one that does not is removed from the room after ten seconds. The others
/// see that it has left with the reason `moved`. Refused where the other room is known not to let it in.
#[utoipa::path(
    post, path = "/apps/{app}/rooms/{room}/peers/{peer}/move", tag = "peers", request_body = Move,
    params(("app" = String, Path), ("room" = String, Path), ("peer" = String, Path)),
    responses(
        (status = 204),
        (status = 404, description = "no such peer in that room"),
        (status = 409, description = "it has no connection, or the other room would not let it in"),
        (status = 503)
    )
)]
async fn move_to(
    operator: OfApp,
    mount: Data<Mount>,
    path: Path<(String, String, String)>,
    body: Bytes,
) -> Result<HttpResponse, Problem> {
    let (key, peer) = (key(&path.0, &path.1)?, peer_id(&path.2)?);
    let Move { room } = read(&body)?;
    let wrong = |fix: &str| Problem::Field { field: "room", fix: fix.to_owned() };
    // Of a name that no join may have nobody would ever come out again.
    let to = RoomName::new(&room).ok().filter(|room| !room.is_lost_in_paths());
    let to =
        to.ok_or_else(|| wrong("a room's name: 1 to 128 of A-Z a-z 0-9 - _ . ~ : @, neither . nor .."))?;
    if to == key.room {
        return Err(wrong("another room than the one that it is in"));
    }
    let note = operator.note(&format!("moved {peer} from the room {key} to the room {to}"));
    mount.cluster.peer_move(key, peer, to, note).await?;
    Ok(HttpResponse::NoContent().finish())
}

/// Who stays out of which of an app's rooms.
#[utoipa::path(
    get, path = "/apps/{app}/bans", tag = "peers", params(("app" = String, Path)),
    responses((status = 200, body = Vec<Ban>), (status = 404, description = "no such app"))
)]
async fn bans(_: OfApp, mount: Data<Mount>, path: Path<String>) -> Result<Json<Vec<Ban>>, Problem> {
    Ok(Json(mount.cluster.bans(app_id(&path)?).await?))
}

/// Lifts a ban.
#[utoipa::path(
    delete, path = "/apps/{app}/rooms/{room}/bans/{identity}", tag = "peers",
    params(("app" = String, Path), ("room" = String, Path), ("identity" = String, Path)),
    responses((status = 204), (status = 404, description = "no such ban"))
)]
async fn lift(
    operator: OfApp,
    mount: Data<Mount>,
    path: Path<(String, String, String)>,
) -> Result<HttpResponse, Problem> {
    let key = key(&path.0, &path.1)?;
    let bad = |_| Problem::BadName("identity: 1 to 128 of A-Z a-z 0-9 -_.~:@");
    let identity = Identity::new(&path.2).map_err(bad)?;
    let note = operator.note(&format!("let {identity} back into the room {key}"));
    mount.cluster.ban_lift(key, identity, note).await?;
    Ok(HttpResponse::NoContent().finish())
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use actix_web::http::Method;
    use serde_json::{Value, json};

    use crate::memory::rooms::peer;
    use crate::memory::{Memory, ask, refused, with_dev};

    #[actix_rt::test]
    async fn grants_are_taken_and_given_back() {
        let memory = with_dev().await;
        let of = |n: u8, what: &str| format!("/apps/dev/rooms/lobby/peers/{}{what}", peer(n));
        let withheld = async |memory: &Arc<Memory>| {
            let room = ask(memory, Method::GET, "/apps/dev/rooms/lobby", Value::Null).await.1;
            room["peers"][0]["withheld"].clone()
        };
        assert_eq!(ask(&memory, Method::POST, &of(1, "/mute"), Value::Null).await.0, 204);
        assert_eq!(withheld(&memory).await, json!(["publish"]));
        let both = json!({ "grants": ["publish", "broadcast"] });
        assert_eq!(ask(&memory, Method::POST, &of(1, "/mute"), both).await.0, 204);
        assert_eq!(withheld(&memory).await, json!(["publish", "broadcast"]));
        let one = json!({ "grants": ["broadcast"] });
        assert_eq!(ask(&memory, Method::POST, &of(1, "/unmute"), one).await.0, 204);
        assert_eq!(withheld(&memory).await, json!(["publish"]));
        for (path, body, told) in [
            (of(1, "/mute"), json!({ "grants": ["admin"] }), "grants: one or both"),
            (of(1, "/mute"), json!({ "grants": [] }), "grants: one or both"),
            (of(1, "/mute"), json!({ "of": ["publish"] }), "body"),
            (of(3, "/mute"), Value::Null, "no such peer in that room"),
            ("/apps/dev/rooms/lobby/peers/x/mute".to_owned(), Value::Null, "peer: p_"),
            (
                "/apps/dev/rooms/empty/peers/p_000000000000000000000000/mute".to_owned(),
                Value::Null,
                "no such room",
            ),
        ] {
            let said = refused(&memory, Method::POST, &path, body).await;
            assert!(said.contains(told), "{path}: {said}");
        }
    }

    #[actix_rt::test]
    async fn a_peer_is_moved_where_the_other_room_takes_it_and_it_is_audited() {
        let memory = with_dev().await;
        let of = |n: u8| format!("/apps/dev/rooms/lobby/peers/{}/move", peer(n));
        let to = |room: &str| json!({ "room": room });
        let locked = json!({ "room": "vault", "locked": true });
        assert_eq!(ask(&memory, Method::POST, "/apps/dev/rooms", locked).await.0, 201);
        for (path, body, told) in [
            (of(1), to(".."), "400 room: a room's name"),
            (of(1), to("lobby"), "400 room: another room than the one that it is in"),
            (of(1), to("not a room"), "400 room: a room's name"),
            (of(1), json!({}), "400 body"),
            (of(1), json!({ "room": "tower", "app": "other" }), "400 body"),
            (of(1), to("vault"), "409 vault would not let it in"),
            (of(9), to("tower"), "404 there is no such peer in that room"),
            ("/apps/dev/rooms/lobby/peers/x/move".to_owned(), to("tower"), "400 peer: p_"),
        ] {
            let said = refused(&memory, Method::POST, &path, body).await;
            assert!(said.starts_with(told), "{path}: {said}");
        }
        assert_eq!(ask(&memory, Method::POST, &of(1), to("tower")).await.0, 204);
        let of_room = async |room: &str| {
            let told = ask(&memory, Method::GET, &format!("/apps/dev/rooms/{room}"), Value::Null).await.1;
            told["peers"].as_array().unwrap().iter().map(|peer| peer["name"].clone()).collect::<Vec<_>>()
        };
        assert_eq!(
            (of_room("lobby").await, of_room("tower").await),
            (vec![json!("Ben")], vec![json!("Cat"), json!("Ada")])
        );
        let what = memory.with(|state| state.audit().last().map(|entry| entry.note.what.clone())).unwrap();
        assert_eq!(what, format!("moved {} from the room dev/lobby to the room tower", peer(1)));
    }

    #[actix_rt::test]
    async fn a_ban_is_listed_and_lifted() {
        let memory = with_dev().await;
        let path = format!("/apps/dev/rooms/lobby/peers/{}?ban=true", peer(2));
        assert_eq!(ask(&memory, Method::DELETE, &path, Value::Null).await.0, 204);
        let bans = ask(&memory, Method::GET, "/apps/dev/bans", Value::Null).await;
        assert_eq!(bans, (200, json!([{ "room": "lobby", "identity": "ben", "until": 99_000 }])));
        let ban = "/apps/dev/rooms/lobby/bans/ben";
        assert_eq!(ask(&memory, Method::DELETE, ban, Value::Null).await.0, 204);
        assert!(refused(&memory, Method::DELETE, ban, Value::Null).await.starts_with("404"));
        assert_eq!(ask(&memory, Method::GET, "/apps/dev/bans", Value::Null).await, (200, json!([])));
        assert!(refused(&memory, Method::GET, "/apps/none/bans", Value::Null).await.contains("no such app"));
    }
}
