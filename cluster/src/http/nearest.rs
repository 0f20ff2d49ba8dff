//! `GET /v1/edges/nearest`: the edges and nodes near whoever asks, for clients that are not in a room (yet): gateways,
//! phones that open no WebSocket, health checks of an operator's own.
//!
//! Anybody may ask, from any page, so often as [`chappe_proto::limits::NEAREST_PER_SEC`] says. Who brings a join token
//! (`Authorization: Bearer`) is given servers with a credential too: one for all tokens of an identity, so that its
//! quota at the edges is one, good no longer than the token.

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::time::Duration;

use actix_web::http::StatusCode;
use actix_web::http::header::{self, HeaderValue};
use actix_web::web::{self, ServiceConfig};
use actix_web::{HttpRequest, HttpResponse, HttpResponseBuilder};
use chappe_proto::id::{AppId, Region, RoomKey, RoomName, SessionId};
use chappe_proto::limits;
use chappe_proto::registry::State;
use chappe_proto::select::ice::{credential, stun_urls, turn_urls};
use chappe_proto::select::{By, Client, Coordinates, Measured, Place, Ranked, draw_of};
use chappe_proto::signal::code::{ErrorCode, Refusal};
use chappe_proto::signal::frame::IceServer;
use chappe_proto::signal::session::World;
use chappe_proto::time::{Now, Unix};
use ring::digest;
use serde::{Deserialize, Serialize};

use super::{Shared, get, source};
use crate::actor::gateway::{check_origin, is_revoked, without_lease};
use crate::node::Node;
use crate::{clock, token};

pub(super) fn routes(config: &mut ServiceConfig) {
    config
        .route("/v1/edges/nearest", get().to(nearest))
        .route("/v1/edges/nearest", web::method(actix_web::http::Method::OPTIONS).to(preflight));
}

/// What may be said of where one is, instead of what the address says.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct Query {
    /// A region's name.
    region: Option<Region>,
    /// Degrees; both or neither.
    latitude: Option<f64>,
    longitude: Option<f64>,
    /// With a token: the room that it is for, where it is for more than one.
    room: Option<RoomName>,
}

#[derive(Serialize)]
struct Answer {
    #[serde(skip_serializing_if = "Option::is_none")]
    region: Option<Region>,
    edges: Vec<Edge>,
    nodes: Vec<NodeAt>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    ice_servers: Vec<IceServer>,
    #[serde(skip_serializing_if = "Option::is_none")]
    ice_ttl_ms: Option<u64>,
}

#[derive(Serialize)]
struct Edge {
    edge: String,
    region: String,
    /// Its `stun:` URLs, which need no credential.
    urls: Vec<String>,
    /// How far it is taken to be, in milliseconds, and by what.
    #[serde(skip_serializing_if = "Option::is_none")]
    rtt_ms: Option<f64>,
    by: &'static str,
}

#[derive(Serialize)]
struct NodeAt {
    url: String,
    region: Region,
}

/// For whom a credential is.
struct Holder {
    app: AppId,
    /// What names it at the edges.
    session: SessionId,
    until: Unix,
    /// How long its app's credentials last.
    ttl: Duration,
    place: Place,
}

async fn preflight() -> HttpResponse {
    open(StatusCode::NO_CONTENT)
        .insert_header((header::ACCESS_CONTROL_ALLOW_METHODS, "GET, HEAD"))
        .insert_header((header::ACCESS_CONTROL_ALLOW_HEADERS, "authorization"))
        .insert_header((header::ACCESS_CONTROL_MAX_AGE, "86400"))
        .finish()
}

/// An answer that pages of any origin may read, and nobody keeps.
fn open(status: StatusCode) -> HttpResponseBuilder {
    let mut answer = HttpResponse::build(status);
    answer.insert_header((header::ACCESS_CONTROL_ALLOW_ORIGIN, HeaderValue::from_static("*")));
    answer.insert_header((header::CACHE_CONTROL, HeaderValue::from_static("no-store")));
    answer
}

fn refused(status: StatusCode, refusal: &Refusal) -> HttpResponse {
    let mut answer = open(status);
    if let Some(wait) = refusal.retry_after_ms {
        answer.insert_header((header::RETRY_AFTER, wait.div_ceil(1000).to_string()));
    }
    answer.json(refusal)
}

async fn nearest(request: HttpRequest, shared: web::Data<Shared>) -> HttpResponse {
    let (node, now) = (&shared.node, clock::now());
    let ip = source::client_ip(&request, &shared.trusted_proxies);
    if let Err(wait) = node.nearest.take(now.mono, ip) {
        let refusal = Refusal::new(ErrorCode::Busy, "too many questions from this address").retry_after(wait);
        return refused(StatusCode::TOO_MANY_REQUESTS, &refusal);
    }
    let query = match query(request.query_string()) {
        Ok(query) => query,
        Err(message) => {
            return refused(StatusCode::BAD_REQUEST, &Refusal::new(ErrorCode::Malformed, message));
        }
    };
    let (asked, room) = query;
    let asks = request.headers().get(header::AUTHORIZATION).map(|bearer| Asks {
        bearer: bearer.to_str().ok(),
        origin: request.headers().get(header::ORIGIN).and_then(|origin| origin.to_str().ok()),
        room,
    });
    // Like a join: what this node holds may be behind what was decided of who asks.
    let admitted =
        |asks| if node.admits() { holder(&node.registry.state(), now, asks) } else { Err(without_lease()) };
    let holder = match asks.map(admitted).transpose() {
        Ok(holder) => holder,
        Err(refusal) => return refused(status_of(refusal.code), &refusal),
    };
    open(StatusCode::OK).json(answer(node, now, ip, &asked, holder.as_ref()))
}

/// Where the question says that one is, and the room that its token is for.
fn query(text: &str) -> Result<(Place, Option<RoomName>), String> {
    let query: Query = web::Query::from_query(text)
        .map(web::Query::into_inner)
        .map_err(|error| format!("the query takes `region`, `latitude` and `longitude`, `room`: {error}"))?;
    let coordinates = match (query.latitude, query.longitude) {
        (None, None) => None,
        (Some(latitude), Some(longitude)) => {
            Some(Coordinates::new(latitude, longitude).map_err(|error| error.to_string())?)
        }
        _ => return Err("`latitude` and `longitude` go together".to_owned()),
    };
    Ok((Place { region: query.region, coordinates }, query.room))
}

const fn status_of(code: ErrorCode) -> StatusCode {
    match code {
        ErrorCode::Forbidden | ErrorCode::Banned => StatusCode::FORBIDDEN,
        ErrorCode::Unavailable => StatusCode::SERVICE_UNAVAILABLE,
        _ => StatusCode::UNAUTHORIZED,
    }
}

/// What comes with a token.
struct Asks<'a> {
    bearer: Option<&'a str>,
    origin: Option<&'a str>,
    room: Option<RoomName>,
}

/// Who holds the token, where that would let it into a room.
fn holder(state: &State, now: Now, asks: Asks<'_>) -> Result<Holder, Refusal> {
    let invalid = |why: &str| Refusal::new(ErrorCode::TokenInvalid, why);
    let text = asks.bearer.and_then(|text| text.strip_prefix("Bearer "));
    let text = text.filter(|text| text.len() <= limits::TOKEN_MAX);
    let text = text.ok_or_else(|| invalid("Authorization: `Bearer` and a join token"))?;
    let claims = token::verify(text, state)?;
    let room = match asks.room {
        Some(room) => room,
        None => claims
            .only_room()
            .ok_or_else(|| invalid("the token is for more than one room: name one by `room`"))?,
    };
    claims.check(&room, now.unix)?;
    let key = state.key(&claims.iss).ok_or_else(|| invalid("iss: no such API key"))?;
    let app = state.app(&key.app).ok_or_else(|| invalid("no such app"))?;
    check_origin(app, asks.origin)?;
    let session = session_of(&key.app, claims.sub.as_ref().map_or(text, |identity| identity.as_str()));
    let (until, room) = (claims.until(), RoomKey { app: key.app.clone(), room });
    if is_revoked(state, now, &room, session, claims.sub.as_ref()) {
        return Err(Refusal::new(ErrorCode::Banned, "an admin removed you from this room"));
    }
    let place = Place { region: claims.region, coordinates: claims.coordinates };
    let ttl = app.policy.credential_ttl();
    Ok(Holder { app: room.app, session, until, ttl, place })
}

/// The name at the edges of an identity of an app, or of a token without one.
fn session_of(app: &AppId, who: &str) -> SessionId {
    let mut hash = digest::Context::new(&digest::SHA256);
    for part in ["nearest", app.as_str(), who] {
        hash.update(part.as_bytes());
        hash.update(&[0]);
    }
    let mut bytes = [0; 15];
    bytes.copy_from_slice(&hash.finish().as_ref()[..15]);
    SessionId::from_random(bytes)
}

fn answer(node: &Node, now: Now, ip: IpAddr, asked: &Place, holder: Option<&Holder>) -> Answer {
    let world = node.world();
    let place = node.place(said(asked, holder), ip);
    // The same whenever one asks: who has no session is who comes from this address.
    let draw = holder.map_or_else(|| draw_of(&ip.to_string()), |holder| draw_of(&holder.session.to_string()));
    let client = Client {
        place: &place,
        app: holder.map(|holder| &holder.app),
        draw,
        measured: &Measured::default(),
        offered: &[],
        shunned: &BTreeSet::new(),
    };
    let choice = world.edges.choose(now.mono, &client);
    let servers = holder.map_or_else(Vec::new, |holder| servers(&world, now, &choice.best, holder));
    let ttl = holder.filter(|_| !servers.is_empty()).map(|holder| good_for(now, holder));
    let nodes = world.nearest_nodes(&place, &world.nodes).into_iter();
    let nodes = nodes.map(|(url, region)| NodeAt { url: url.clone(), region: region.clone() });
    Answer {
        edges: choice.best.iter().map(edge).collect(),
        nodes: nodes.collect(),
        ice_servers: servers,
        ice_ttl_ms: ttl.map(|ttl| u64::try_from(ttl.as_millis()).unwrap_or(u64::MAX)),
        region: place.region,
    }
}

/// A token's word of where its holder is counts before the question's: an app's rules are about it.
fn said<'a>(asked: &'a Place, holder: Option<&'a Holder>) -> &'a Place {
    let by_token = holder.map(|holder| &holder.place).filter(|place| **place != Place::default());
    by_token.unwrap_or(asked)
}

fn edge(ranked: &Ranked<'_>) -> Edge {
    let by = match ranked.by {
        By::Measured => "measured",
        By::Geography => "geography",
        By::Region => "region",
        By::Uplink => "uplink",
        By::Nothing => "nothing",
    };
    Edge {
        edge: ranked.edge.edge.to_string(),
        region: ranked.edge.region.to_string(),
        urls: stun_urls(&ranked.edge.listeners),
        rtt_ms: (ranked.by != By::Nothing).then_some((ranked.ms * 10.0).round() / 10.0),
        by,
    }
}

fn good_for(now: Now, holder: &Holder) -> Duration {
    holder.until.since(now.unix).min(holder.ttl)
}

fn servers(world: &World, now: Now, best: &[Ranked<'_>], holder: &Holder) -> Vec<IceServer> {
    let Some(secret) = &world.secret else { return Vec::new() };
    let (username, password) =
        credential(secret, &holder.session.to_string(), now.unix + good_for(now, holder));
    let server = |ranked: &Ranked<'_>| IceServer {
        urls: turn_urls(&ranked.edge.listeners),
        username: Some(username.clone()),
        credential: Some(password.clone()),
    };
    best.iter().map(server).collect()
}

#[cfg(test)]
mod tests {
    use chappe_proto::id::{Index, KeyId};
    use chappe_proto::mesh::uplink::Secret;
    use chappe_proto::registry::{AppPolicy, Command, Entry};
    use chappe_proto::time::Mono;
    use serde_json::json;

    use super::*;

    const SECRET: &[u8] = b"a secret of thirty-two characters";

    /// What somebody with these claims, on a page of that origin, is taken for by an app with pages of one.
    fn held(claims: &serde_json::Value, origin: Option<&str>) -> Result<Holder, Refusal> {
        let (app, key, at) = (AppId::new("app").unwrap(), KeyId::from_random([1; 15]), Unix::from_secs(1));
        let policy = AppPolicy { origins: vec!["https://app.example".to_owned()], ..AppPolicy::default() };
        let mut state = State::default();
        for command in [
            Command::AppAdd { app: app.clone(), name: "App".to_owned(), policy },
            Command::KeyAdd { app, key, secret: Secret(SECRET.to_vec()) },
        ] {
            let index = Index(state.index().0 + 1);
            state.apply(index, Entry { at, by: None, note: None, command }).accepted().unwrap();
        }
        let mut all = json!({"iss": key, "aud": "chappe", "exp": 4_000_000_000_u64, "room": "tower"});
        all["grants"] = json!(["join"]);
        all.as_object_mut().unwrap().extend(claims.as_object().unwrap().clone());
        let bearer = format!("Bearer {}", token::sign(&all, SECRET).unwrap());
        let asks = Asks { bearer: Some(&bearer), origin, room: None };
        holder(&state, Now { mono: Mono::default(), unix: at }, asks)
    }

    #[test]
    fn pages_that_may_not_join_are_given_no_credential() {
        let code = |origin| held(&json!({}), origin).map(|_| ()).map_err(|refusal| refusal.code);
        assert_eq!((code(None), code(Some("https://app.example"))), (Ok(()), Ok(())));
        assert_eq!(code(Some("https://other.example")), Err(ErrorCode::Forbidden));
        assert_eq!(status_of(ErrorCode::Forbidden), StatusCode::FORBIDDEN);
        assert_eq!(status_of(without_lease().code), StatusCode::SERVICE_UNAVAILABLE);
    }

    #[test]
    fn the_token_says_where_its_holder_is() {
        let asked = query("region=us").unwrap().0;
        for claims in [json!({"region": "eu"}), json!({"coordinates": [50.0, 8.5]})] {
            let holder = held(&claims, None).unwrap();
            assert_eq!(said(&asked, Some(&holder)), &holder.place);
        }
        let holder = held(&json!({}), None).unwrap();
        assert_eq!((said(&asked, Some(&holder)), said(&asked, None)), (&asked, &asked));
    }

    #[test]
    fn what_is_asked_is_read_or_refused_in_words() {
        let (place, room) = query("region=eu&room=tower").unwrap();
        assert_eq!((place.region.unwrap().as_str(), room.unwrap().as_str()), ("eu", "tower"));
        assert!(query("latitude=50&longitude=8.5").unwrap().0.coordinates.is_some());
        assert_eq!(query("").unwrap().0, Place::default());
        for (bad, told) in [
            ("latitude=50", "go together"),
            ("latitude=91&longitude=0", "-90 to 90"),
            ("latitude=x&longitude=0", "the query takes"),
            ("region=a/b", "the query takes"),
            ("regoin=eu", "the query takes"),
        ] {
            let said = query(bad).unwrap_err();
            assert!(said.contains(told), "{bad}: {said}");
        }
    }

    #[test]
    fn an_identity_is_one_user_at_the_edges_whatever_token_it_brings() {
        let (a, b) = (AppId::new("a").unwrap(), AppId::new("b").unwrap());
        assert_eq!(session_of(&a, "ada"), session_of(&a, "ada"));
        assert_ne!(session_of(&a, "ada"), session_of(&b, "ada"));
        assert_ne!(session_of(&a, "ada"), session_of(&a, "bob"));
    }
}
