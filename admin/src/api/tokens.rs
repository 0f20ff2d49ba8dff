//! `/admin/api/v1/apps/{app}/tokens`: join tokens, as an app's server signs them.

use std::time::Duration;

use actix_web::HttpResponse;
use actix_web::web::{self, Bytes, Data, Path, ServiceConfig};
use chappe_proto::id::{Identity, RoomName};
use chappe_proto::limits::{NAME_MAX, ROOM_CAPACITY_MAX, TOKEN_TTL, TOKEN_TTL_MAX};
use chappe_proto::signal::member::Grants;
use serde::{Deserialize, Serialize};
use serde_json::Map;
use utoipa::{OpenApi, ToSchema};

use crate::Mount;
use crate::access::OfApp;
use crate::api::keys::key_id;
use crate::api::problem::Problem;
use crate::api::rooms::{app_id, region};
use crate::api::turn::read;
use crate::apps::TokenWish;

pub(crate) fn routes(config: &mut ServiceConfig) {
    config.route("/apps/{app}/tokens", web::post().to(issue));
}

/// What is described of it.
#[derive(OpenApi)]
#[openapi(paths(issue))]
pub(crate) struct Part;

/// What a token is to say.
#[derive(Deserialize, ToSchema)]
#[schema(as = JoinTokenWish)]
#[serde(deny_unknown_fields)]
struct Wish {
    /// The room, or a prefix of rooms that ends in `*`.
    room: String,
    /// Who its holder is.
    identity: Option<String>,
    /// A name to show.
    name: Option<String>,
    /// Of `join`, `create`, `admin`, `hidden`, `broadcast`; `join`, `create` and `broadcast` unless said otherwise.
    grants: Option<Vec<String>>,
    /// Peers that the room may hold for its holder to come in.
    capacity: Option<u32>,
    /// Where its holder is.
    region: Option<String>,
    /// How long it lets people in, in seconds: an hour unless said otherwise, 30 days at most.
    ttl: Option<u64>,
    /// The API key that signs it: the newest that is accepted unless said otherwise.
    key: Option<String>,
}

/// A token that has just been signed.
#[derive(Serialize, ToSchema)]
struct Signed {
    /// Its text: whoever has it may join.
    token: String,
    /// The API key that signed it.
    key: String,
    /// Until when it lets people in, in milliseconds of Unix time.
    expires: u64,
}

fn field(field: &'static str, fix: impl Into<String>) -> Problem {
    Problem::Field { field, fix: fix.into() }
}

impl Wish {
    /// The claims, but for who signs and until when.
    fn claims(&self) -> Result<Map<String, serde_json::Value>, Problem> {
        let name = self.room.strip_suffix('*').unwrap_or(&self.room);
        // A prefix may be empty, for all rooms.
        // A prefix may be `.`, a room not.
        let lost = RoomName::new(&self.room).is_ok_and(|room| room.is_lost_in_paths());
        if lost || !(RoomName::new(name).is_ok() || self.room == "*") {
            return Err(field("room", "1 to 128 of A-Z a-z 0-9 -_.~:@, not . or .., or such a prefix and *"));
        }
        let usual = || ["join", "create", "broadcast"].map(str::to_owned).to_vec();
        let grants = self.grants.clone().unwrap_or_else(usual);
        let known = |name: &String| Grants::from_names([name.as_str()]) != Grants::default();
        if !grants.iter().all(known) || !grants.iter().any(|name| name == "join") {
            return Err(field("grants", "join, and any of create, admin, hidden, broadcast"));
        }
        let mut claims = Map::new();
        let mut claim = |name: &str, value: serde_json::Value| drop(claims.insert(name.to_owned(), value));
        claim("room", self.room.as_str().into());
        claim("grants", grants.into());
        if let Some(identity) = &self.identity {
            let fine = Identity::new(identity).ok().filter(|identity| !identity.is_lost_in_paths());
            fine.ok_or_else(|| field("identity", "1 to 128 of A-Z a-z 0-9 -_.~:@, not . or .."))?;
            claim("sub", identity.as_str().into());
        }
        if let Some(name) = &self.name {
            if name.len() > NAME_MAX {
                return Err(field("name", format!("{NAME_MAX} bytes at most")));
            }
            claim("name", name.as_str().into());
        }
        if let Some(capacity) = self.capacity {
            if !(1..=ROOM_CAPACITY_MAX as u64).contains(&u64::from(capacity)) {
                return Err(field("capacity", format!("1 to {ROOM_CAPACITY_MAX}")));
            }
            claim("capacity", capacity.into());
        }
        if let Some(name) = &self.region {
            claim("region", region(name)?.to_string().into());
        }
        Ok(claims)
    }

    fn ttl(&self) -> Result<Duration, Problem> {
        let ttl = self.ttl.map_or(TOKEN_TTL, Duration::from_secs);
        let most = TOKEN_TTL_MAX.as_secs();
        if ttl.is_zero() || ttl > TOKEN_TTL_MAX {
            return Err(field("ttl", format!("1 to {most} seconds")));
        }
        Ok(ttl)
    }
}

/// Signs a join token.
#[utoipa::path(
    post, path = "/apps/{app}/tokens", tag = "apps", params(("app" = String, Path)), request_body = Wish,
    responses(
        (status = 201, body = Signed), (status = 400, description = "a field that is wrong, by name"),
        (status = 404, description = "no such app or key"), (status = 409, description = "no key that is accepted")
    )
)]
async fn issue(
    operator: OfApp,
    mount: Data<Mount>,
    path: Path<String>,
    body: Bytes,
) -> Result<HttpResponse, Problem> {
    let app = app_id(&path)?;
    let wish: Wish = read(&body)?;
    let (claims, ttl) = (wish.claims()?, wish.ttl()?);
    let key = wish.key.as_deref().map(key_id).transpose()?;
    let whom = wish.identity.as_deref().unwrap_or("anybody");
    let note = operator.note(&format!("signed a token of the app {app} for {whom} in {}", wish.room));
    let issued = mount.cluster.token_issue(TokenWish { app, key, claims, ttl }, note).await?;
    let body = Signed { token: issued.token, key: issued.key.to_string(), expires: issued.expires.millis() };
    Ok(HttpResponse::Created().insert_header(("Cache-Control", "no-store")).json(body))
}

#[cfg(test)]
mod tests {
    use actix_web::http::Method;
    use chappe_proto::id::KeyId;
    use serde_json::{Value, json};

    use crate::memory::{ask, refused, with_dev};

    #[actix_rt::test]
    async fn a_token_says_what_was_asked_and_no_more() {
        let memory = with_dev().await;
        let none = refused(&memory, Method::POST, "/apps/dev/tokens", json!({ "room": "r" })).await;
        assert!(none.starts_with("409") && none.contains("add one"), "{none}");
        let mut keys = Vec::new();
        for _ in 0..2 {
            let (_, added) = ask(&memory, Method::POST, "/apps/dev/keys", Value::Null).await;
            keys.push(added["key"].as_str().unwrap().to_owned());
        }
        let wish = json!({ "room": "team-*", "identity": "ada", "grants": ["join", "admin"], "ttl": 60 });
        let (status, signed) = ask(&memory, Method::POST, "/apps/dev/tokens", wish).await;
        assert_eq!(
            (status, signed["key"].as_str(), &signed["expires"]),
            (201, Some(&*keys[1]), &json!(61_000))
        );
        let claims: Value =
            serde_json::from_str(signed["token"].as_str().unwrap().strip_suffix(".a").unwrap()).unwrap();
        assert_eq!(claims, json!({ "room": "team-*", "sub": "ada", "grants": ["join", "admin"] }));

        let disable = format!("/apps/dev/keys/{}/disable", keys[1]);
        assert_eq!(ask(&memory, Method::POST, &disable, Value::Null).await.0, 204);
        let (_, signed) = ask(&memory, Method::POST, "/apps/dev/tokens", json!({ "room": "r" })).await;
        assert_eq!(signed["key"], keys[0], "the newest that is accepted");
        for (body, told) in [
            (json!({ "room": "a b" }), "room: 1 to 128"),
            (json!({ "room": "r", "grants": ["join", "fly"] }), "grants: join, and any"),
            (json!({ "room": "r", "grants": ["admin"] }), "grants: join, and any"),
            (json!({ "room": "r", "identity": "" }), "identity: 1 to 128"),
            (json!({ "room": "r", "capacity": 0 }), "capacity: 1 to"),
            (json!({ "room": "r", "region": "" }), "region"),
            (json!({ "room": "r", "ttl": 0 }), "ttl: 1 to"),
            (json!({ "room": "r", "ttl": 9_999_999 }), "ttl: 1 to"),
            (json!({ "room": "r", "name": "x".repeat(2_000) }), "name: "),
            (json!({ "room": "r", "exp": 1 }), "body"),
            (json!({ "room": "r", "key": "x" }), "key: k_"),
            (json!({ "room": "r", "key": keys[1] }), "disabled"),
            (json!({ "room": "r", "key": KeyId::from_random([9; 15]) }), "no such API key"),
        ] {
            let said = refused(&memory, Method::POST, "/apps/dev/tokens", body).await;
            assert!(said.contains(told), "{said}");
        }
    }
}
