//! `…/rooms/{room}/peers/{peer}`: one participant.

#![allow(unused_qualifications, reason = "utoipa writes them for parameters")]

use actix_web::web::{self, Data, Json, Path, Query, ServiceConfig};
use chappe_proto::id::{EdgeId, NodeId, PeerId, SessionId};
use chappe_proto::inspect::{SessionCounts, SessionDetails};
use chappe_proto::mesh::uplink::Traffic;
use chappe_proto::registry::access::Role;
use chappe_proto::signal::connection::{CandidateType, Connection, ConnectionState};
use chappe_proto::time::Unix;
use chappe_proto::usage::Relayed;
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, OpenApi, ToSchema};

use crate::Mount;
use crate::access::OfApp;
use crate::api::problem::Problem;
use crate::api::rooms::key;
use crate::cluster::path::Path as MediaPath;
use crate::cluster::peers::PeerDetails;
use crate::schema;

pub(crate) fn routes(config: &mut ServiceConfig) {
    config.route("/apps/{app}/rooms/{room}/peers/{peer}", web::get().to(peer));
}

/// What is described of it.
#[derive(OpenApi)]
#[openapi(paths(peer))]
pub(crate) struct Part;

/// Frames or packets, and their bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, ToSchema)]
pub(crate) struct Flow {
    /// So many.
    frames: u64,
    /// Their bytes.
    bytes: u64,
}

impl From<Traffic> for Flow {
    fn from(traffic: Traffic) -> Self {
        Self { frames: traffic.packets, bytes: traffic.bytes }
    }
}

/// An edge that a peer was offered, or has measured.
#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
pub(crate) struct Way {
    /// Which.
    #[schema(value_type = String)]
    edge: EdgeId,
    /// Its place in the last offer, from 1; none where it is not in it.
    place: Option<u8>,
    /// The best round trip of the last five minutes, as the client measured it, in milliseconds.
    rtt_ms: Option<f64>,
    /// Whether the client said that ICE failed over it.
    failed: bool,
}

/// A peer's media connection to another, as its client told it last.
#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
pub(crate) struct ConnectionView {
    /// To whom.
    #[schema(value_type = String)]
    peer: PeerId,
    /// How it is.
    #[schema(value_type = schema::ConnectionState)]
    state: ConnectionState,
    /// Of the selected pair the type of its own candidate; none before one was selected.
    #[schema(value_type = Option<schema::CandidateType>)]
    local: Option<CandidateType>,
    /// And of the other's.
    #[schema(value_type = Option<schema::CandidateType>)]
    remote: Option<CandidateType>,
}

/// A peer's session, as its gateway knows it.
#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
pub(crate) struct SessionView {
    /// Its id.
    #[schema(value_type = String)]
    session: SessionId,
    /// What its client speaks: `native`.
    protocol: String,
    /// Where its client comes from: a network, /24 or /48, or the whole address with `plain`.
    address: Option<String>,
    /// What its client calls itself (`User-Agent`).
    agent: Option<String>,
    /// When it joined.
    #[schema(value_type = u64)]
    joined: Unix,
    /// Since when it has its present socket; none while it has none.
    #[schema(value_type = Option<u64>)]
    connected: Option<Unix>,
    /// The round trip of its socket, by the last ping that it answered, in milliseconds. None until it was silent for
    /// ten seconds: only then it is asked.
    rtt_ms: Option<f64>,
    /// How often it came back with another socket.
    resumes: u64,
    /// Text frames of its client.
    heard: Flow,
    /// Text frames to its client.
    told: Flow,
    /// Signals that it sent.
    signals_sent: u64,
    /// Signals that it was sent, each once.
    signals_received: u64,
    /// Its signals that are not acknowledged yet.
    unacknowledged: u32,
    /// Its signals that can never arrive.
    undelivered: u64,
    /// Its frames that were refused for coming too fast.
    rate_refusals: u64,
    /// How often it said that ICE failed over an edge.
    ice_failures: u64,
    /// Edges that it was offered, best first, and others that it has measured.
    edges: Vec<Way>,
    /// When the credential that it was given last expires.
    #[schema(value_type = Option<u64>)]
    credential_until: Option<Unix>,
    /// Its media connections to the others, as its client told them last; none where its client does not tell.
    connections: Option<Vec<ConnectionView>>,
}

impl From<SessionDetails> for SessionView {
    fn from(details: SessionDetails) -> Self {
        let SessionCounts {
            heard,
            signals_sent,
            signals_received,
            undelivered,
            rate_refusals,
            ice_failures,
            resumes,
        } = details.counts;
        let way = |way: chappe_proto::inspect::EdgeWay| Way {
            edge: way.edge,
            place: way.place,
            rtt_ms: way.rtt_ms,
            failed: way.failed,
        };
        let connection =
            |(peer, Connection { state, local, remote })| ConnectionView { peer, state, local, remote };
        Self {
            session: details.session,
            protocol: details.protocol,
            address: details.address,
            agent: details.agent,
            joined: details.joined,
            connected: details.connected,
            rtt_ms: details.rtt_us.map(|us| f64::from(us) / 1000.0),
            resumes,
            heard: heard.into(),
            told: details.told.into(),
            signals_sent,
            signals_received,
            unacknowledged: details.unacknowledged,
            undelivered,
            rate_refusals,
            ice_failures,
            edges: details.edges.into_iter().map(way).collect(),
            credential_until: details.credential_until,
            connections: details.connections.map(|told| told.into_iter().map(connection).collect()),
        }
    }
}

/// A participant.
#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
pub(crate) struct PeerView {
    /// Its id.
    #[schema(value_type = String)]
    peer: PeerId,
    /// Who its token says it is.
    identity: Option<String>,
    /// The name it shows.
    name: Option<String>,
    /// Whether it has no socket right now.
    away: bool,
    /// What it may do.
    grants: Vec<&'static str>,
    /// In which region its token says it is.
    region: Option<String>,
    /// The node that holds its session.
    #[schema(value_type = u64)]
    gateway: NodeId,
    /// What it relayed, as far as that is remembered: `sent` and `received`, packets and bytes.
    #[schema(value_type = Object)]
    relayed: Relayed,
    /// Its session; none where its gateway does not answer right now.
    session: Option<SessionView>,
    /// By which edges its media goes now. What goes directly from client to client is not seen: where nothing is relayed
    /// it does, or there is none.
    path: MediaPath,
}

impl From<PeerDetails> for PeerView {
    fn from(details: PeerDetails) -> Self {
        let PeerDetails { peer, identity, name, away, grants, region, gateway, relayed, session, path } =
            details;
        let session = session.map(SessionView::from);
        Self { peer, identity, name, away, grants, region, gateway, relayed, session, path }
    }
}

#[derive(Debug, Clone, Default, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(default)]
struct Wanted {
    /// `true`: its address whole, for operators and the app's own key. It is written into the audit log.
    #[param(value_type = Option<bool>)]
    plain: Option<String>,
}

/// A participant of a room, with what its gateway knows of its session, and the edges of its media. It takes a second
/// where edges hold relays for it.
#[utoipa::path(
    get,
    path = "/apps/{app}/rooms/{room}/peers/{peer}",
    tag = "rooms",
    params(("app" = String, Path), ("room" = String, Path), ("peer" = String, Path), Wanted),
    responses((status = 200, body = PeerView), (status = 404, description = "it is not in that room"))
)]
async fn peer(
    who: OfApp,
    mount: Data<Mount>,
    path: Path<(String, String, String)>,
    wanted: Query<Wanted>,
) -> Result<Json<PeerView>, Problem> {
    let room = key(&path.0, &path.1)?;
    let peer: PeerId = path.2.parse().map_err(|_| Problem::BadName("peer: p_ and 24 characters"))?;
    let plain = match wanted.plain.as_deref() {
        None | Some("" | "false") => false,
        Some("true") => true,
        Some(_) => return Err(Problem::Field { field: "plain", fix: "`true` or `false`".into() }),
    };
    if plain {
        if who.app.is_none() && who.role < Role::Operator {
            return Err(Problem::Forbidden("plain: a whole address takes the role operator".to_owned()));
        }
        let what = format!("looked at the address of {peer} in room {} of app {}", room.room, room.app);
        mount.cluster.looked(who.note(&what)).await?;
    }
    Ok(Json(mount.cluster.peer(room, peer, plain).await?.into()))
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use actix_web::http::Method;
    use serde_json::{Value, json};

    use crate::memory::live::{ada, ben};
    use crate::memory::{Memory, ask, refused};

    #[actix_rt::test]
    async fn a_peer_is_told_with_its_session_and_its_network_alone() {
        let memory = Arc::new(Memory::default());
        let path = format!("/apps/dev/rooms/tower/peers/{}", ada());
        let (status, peer) = ask(&memory, Method::GET, &path, Value::Null).await;
        assert_eq!((status, &peer["name"], &peer["gateway"]), (200, &json!("Ada"), &json!(2)));
        let session = &peer["session"];
        assert_eq!((&session["address"], &session["rtt_ms"]), (&json!("192.0.2.0/24"), &json!(12.5)));
        assert_eq!(session["heard"], json!({ "frames": 2, "bytes": 300 }));
        assert_eq!((&session["signals_sent"], &session["resumes"]), (&json!(1), &json!(6)));
        assert_eq!(
            session["edges"],
            json!([{ "edge": "edge-eu", "place": 1, "rtt_ms": 8.5, "failed": false }])
        );
        let connection = json!({ "peer": ben(), "state": "connected", "local": "relay", "remote": "srflx" });
        assert_eq!(session["connections"], json!([connection]));
        let relay = json!({
            "edge": "edge-eu", "region": "eu", "transport": "udp", "allocations": 1, "bytes_per_s": 150_000,
            "in_use": true
        });
        assert_eq!(peer["path"], json!({ "relays": [relay], "unknown": ["edge-us"] }));
        assert!(memory.with(|state| state.audit().count()) == 0);
        let (_, silent) =
            ask(&memory, Method::GET, &path.replace(&ada().to_string(), &ben().to_string()), Value::Null)
                .await;
        assert_eq!(silent["session"]["connections"], Value::Null, "its client does not tell");

        let (_, peer) = ask(&memory, Method::GET, &format!("{path}?plain=true"), Value::Null).await;
        assert_eq!(peer["session"]["address"], "192.0.2.77");
        let what = memory.with(|state| state.audit().last().map(|entry| entry.note.what.clone())).unwrap();
        assert_eq!(what, format!("looked at the address of {} in room tower of app dev", ada()));
    }

    #[actix_rt::test]
    async fn who_is_not_there_is_not_told() {
        let memory = Arc::new(Memory::default());
        let other = "p_000000000000000000000000";
        for (path, words) in [
            (format!("/apps/dev/rooms/tower/peers/{other}"), "404 there is no such peer in that room"),
            (format!("/apps/other/rooms/tower/peers/{}", ada()), "404 there is no such peer in that room"),
            ("/apps/dev/rooms/tower/peers/x".to_owned(), "400 peer: p_ and 24 characters"),
            (format!("/apps/dev/rooms/tower/peers/{}?plain=1", ada()), "400 plain: `true` or `false`"),
        ] {
            assert_eq!(refused(&memory, Method::GET, &path, Value::Null).await, words);
        }
    }
}
