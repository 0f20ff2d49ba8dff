//! `/admin/api/v1/cluster`: how it is, who leads, who owns what, its settings.

use std::time::Duration;

use actix_web::HttpResponse;
use actix_web::web::{self, Bytes, Data, Json, Query, ServiceConfig};
use chappe_proto::id::NodeId;
use chappe_proto::registry::profile::ProfileName;
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, OpenApi, ToSchema};

use crate::Mount;
use crate::access::{Operator, Owner, Viewer};
use crate::api::backup;
use crate::api::events::{self as live, LastId};
use crate::api::nodes::of;
use crate::api::page::{Ask, Page, cursor};
use crate::api::problem::Problem;
use crate::api::turn::read;
use crate::control::{ClusterStatus, Event, Fault};
use crate::health::Health;
use crate::schema;

pub(crate) fn routes(config: &mut ServiceConfig) {
    config
        .route("/cluster", web::get().to(status))
        .route("/cluster/events", web::get().to(events))
        .route("/cluster/events/stream", web::get().to(stream))
        .route("/cluster/shards", web::get().to(shards))
        .route("/cluster/profile", web::put().to(set_profile))
        .route("/cluster/voters", web::put().to(set_voters))
        .route("/cluster/transfer", web::post().to(transfer))
        .route("/cluster/authority/rotate", web::post().to(rotate))
        .route("/cluster/backup", web::get().to(backup::serve));
}

/// What is described of it.
#[derive(OpenApi)]
#[openapi(paths(status, events, stream, shards, transfer, rotate, set_profile, set_voters, backup::serve))]
pub(crate) struct Part;

impl From<Fault> for Problem {
    fn from(fault: Fault) -> Self {
        match fault {
            Fault::NotThere(what) => Self::NotFound(what),
            Fault::Conflict(words) => Self::Full(words),
            Fault::Refused(refusal) => refusal.into(),
            Fault::Unavailable(words) => Self::NotNow(words),
        }
    }
}

/// The cluster, and whether it is well.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub struct ClusterReport {
    /// The cluster.
    #[serde(flatten)]
    pub status: ClusterStatus,
    /// Whether nothing is wrong.
    pub healthy: bool,
    /// What is, and what else to know.
    #[serde(flatten)]
    pub health: Health,
}

/// Shows the cluster, and whether it is well.
#[utoipa::path(
    get, path = "/cluster", tag = "cluster",
    responses((status = 200, description = "As the node that answers knows it", body = ClusterReport))
)]
async fn status(_: Viewer, mount: Data<Mount>) -> Json<ClusterReport> {
    let status = mount.cluster.status().await;
    let health = Health::of(&status);
    Json(ClusterReport { status, healthy: health.is_fine(), health })
}

/// Which events are asked for.
#[derive(Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
struct About {
    /// Those about this node.
    #[param(value_type = Option<schema::Node>)]
    node: Option<NodeId>,
}

/// Events, each with what tells it from others of the same millisecond.
fn numbered(events: Vec<Event>) -> impl Iterator<Item = ((u64, u32), Event)> {
    let mut last = (0, 0);
    events.into_iter().map(move |event| {
        // A clock that was put back moves none behind one that came before it.
        let at = event.at.millis().max(last.0);
        last = (at, if at == last.0 { last.1 + 1 } else { 1 });
        (last, event)
    })
}

/// Lists what happened to the cluster lately, as the node that answers saw it, oldest first.
#[utoipa::path(
    get, path = "/cluster/events", tag = "cluster", params(Ask, About),
    responses((status = 200, description = "A page of it", body = Page<Event>))
)]
async fn events(
    _: Viewer,
    mount: Data<Mount>,
    ask: Query<Ask>,
    about: Query<About>,
) -> Result<Json<Page<Event>>, Problem> {
    let events = numbered(mount.cluster.events().await);
    let asked = events.filter(|(_, event)| about.node.is_none() || event.node == about.node);
    let Page { items, next } = Page::of(&ask, asked, |(key, _)| *key)?;
    Ok(Json(Page { items: items.into_iter().map(|(_, event)| event).collect(), next }))
}

/// The cluster is asked this often whether something happened.
const ASKED_EVERY: Duration = Duration::from_secs(1);

/// Tells what happens to the cluster, as it happens.
///
/// Each event is named `event`, its data is one of the list's items. A client that comes back with the last one's id
/// (`Last-Event-ID`) is told what it missed; one that does not is told what happens from then on.
#[utoipa::path(
    get, path = "/cluster/events/stream", tag = "cluster",
    params(About, ("Last-Event-ID" = Option<String>, Header, description = "The id of the last event that came")),
    responses((
        status = 200, description = "Server-sent events; the stream ends now and then, and clients come back",
        content_type = "text/event-stream", body = String
    ))
)]
async fn stream(
    operator: Viewer,
    mount: Data<Mount>,
    about: Query<About>,
    last: LastId,
) -> Result<HttpResponse, Problem> {
    let newest = || async { numbered(mount.cluster.events().await).last().map(|(key, _)| key) };
    // An id that is none of ours is as none.
    let told = Ask { after: last.0, limit: None }.after::<(u64, u32)>().unwrap_or_default();
    let mut told = if told.is_some() { told } else { newest().await };
    let streams = mount.clone();
    live::stream(&streams, operator.0, async move |feed| {
        let mut ticks = tokio::time::interval(ASKED_EVERY);
        loop {
            ticks.tick().await;
            for (key, event) in numbered(mount.cluster.events().await) {
                if told.is_some_and(|told| key <= told) {
                    continue;
                }
                told = Some(key);
                if about.node.is_none() || event.node == about.node {
                    feed.put(live::Event::json("event", &event).with_id(cursor(&key))).await;
                }
            }
        }
    })
}

/// Who owns the shards.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub struct Owners {
    /// The owner of each shard in order; none before its first assignment. A room's shard is
    /// [`RoomKey::anchor`](chappe_proto::id::RoomKey::anchor).
    #[schema(value_type = Vec<Option<schema::Node>>)]
    pub owners: Vec<Option<NodeId>>,
}

/// Lists who owns each shard.
#[utoipa::path(
    get, path = "/cluster/shards", tag = "cluster",
    responses((status = 200, description = "Of each shard, in order", body = Owners))
)]
async fn shards(_: Viewer, mount: Data<Mount>) -> Json<Owners> {
    Json(Owners { owners: mount.cluster.shards().await })
}

/// Who is to lead.
#[derive(Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct Transfer {
    /// A voter; the one that is furthest unless said otherwise.
    #[schema(value_type = Option<schema::Node>)]
    to: Option<NodeId>,
}

/// Who leads.
#[derive(Serialize, ToSchema)]
struct Leader {
    /// This node.
    #[schema(value_type = schema::Node)]
    leader: NodeId,
}

/// Hands the leadership to another voter.
#[utoipa::path(
    post, path = "/cluster/transfer", tag = "cluster", request_body = Option<Transfer>,
    responses(
        (status = 200, description = "Who leads now", body = Leader),
        (status = 404, description = "There is no such node")
    )
)]
async fn transfer(operator: Operator, mount: Data<Mount>, body: Bytes) -> Result<Json<Leader>, Problem> {
    let Transfer { to } = if body.is_empty() { Transfer::default() } else { read(&body)? };
    let status = match to {
        Some(to) => {
            let (status, member) = of(&mount, to).await?;
            if status.leader == Some(to) {
                return Ok(Json(Leader { leader: to }));
            }
            if !member.role.votes() {
                let voters: Vec<_> = status.voters().map(|voter| voter.node.to_string()).collect();
                let voters = voters.join(", ");
                return Err(Problem::Full(format!("node {to} does not vote; the voters are {voters}")));
            }
            status
        }
        None => mount.cluster.status().await,
    };
    if status.voters().count() < 2 {
        return Err(Problem::Full("there is no other voter that could lead: add nodes first".to_owned()));
    }
    let whom = to.map_or_else(String::new, |to| format!(" to node {to}"));
    let note = operator.note(&format!("transferred the leadership{whom}"));
    Ok(Json(Leader { leader: mount.cluster.transfer(to, note).await? }))
}

/// The authority that issues.
#[derive(Serialize, ToSchema)]
struct Rotated {
    /// Its number.
    authority: u64,
}

/// Begins a new certificate authority; the old one is trusted until nobody holds a certificate of it.
#[utoipa::path(
    post, path = "/cluster/authority/rotate", tag = "cluster",
    responses((status = 200, description = "The new one", body = Rotated))
)]
async fn rotate(operator: Owner, mount: Data<Mount>) -> Result<Json<Rotated>, Problem> {
    let note = operator.note("rotated the certificate authority");
    Ok(Json(Rotated { authority: mount.cluster.authority_rotate(note).await? }))
}

/// Timers.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct NewProfile {
    /// Their profile.
    #[schema(value_type = schema::Timers)]
    profile: ProfileName,
}

/// Sets the profile of timers.
#[utoipa::path(
    put, path = "/cluster/profile", tag = "cluster", request_body = NewProfile,
    responses((status = 204, description = "All nodes run by it"))
)]
async fn set_profile(operator: Operator, mount: Data<Mount>, body: Bytes) -> Result<HttpResponse, Problem> {
    let NewProfile { profile } = read(&body)?;
    let note = operator.note(&format!("set the profile of timers to {}", profile));
    mount.cluster.profile_set(profile, note).await?;
    Ok(HttpResponse::NoContent().finish())
}

/// How many voters are wanted.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct NewVoters {
    /// 3, which survive the loss of one, or 5, which survive that of two.
    #[schema(minimum = 3, maximum = 5)]
    voters: u8,
}

/// Sets how many voters are wanted.
#[utoipa::path(
    put, path = "/cluster/voters", tag = "cluster", request_body = NewVoters,
    responses((status = 204, description = "So many are wanted; nodes become voters as they catch up"))
)]
async fn set_voters(operator: Operator, mount: Data<Mount>, body: Bytes) -> Result<HttpResponse, Problem> {
    let NewVoters { voters } = read(&body)?;
    if !matches!(voters, 3 | 5) {
        let fix = "3, which survive the loss of one, or 5, which survive that of two".to_owned();
        return Err(Problem::Field { field: "voters", fix });
    }
    let note = operator.note(&format!("asked for {voters} voters"));
    mount.cluster.voters_set(voters, note).await?;
    Ok(HttpResponse::NoContent().finish())
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use actix_web::http::{Method, StatusCode};
    use actix_web::{App, test};
    use chappe_proto::mesh::uplink::Secret;
    use chappe_proto::time::Unix;
    use serde_json::{Value, json};

    use super::*;
    use crate::control::{Control as _, MemberRole};
    use crate::memory::{Memory, ask, backup_bytes, bytes, refused};

    #[actix_rt::test]
    async fn every_route_is_for_the_operator() {
        let mount = Mount::new(Arc::new(Memory::default()), Secret(b"right".to_vec()));
        let app = test::init_service(App::new().configure(|config| mount.configure(config))).await;
        for (method, path) in [
            (Method::GET, "/cluster"),
            (Method::GET, "/cluster/events"),
            (Method::GET, "/cluster/events/stream"),
            (Method::GET, "/cluster/shards"),
            (Method::PUT, "/cluster/profile"),
            (Method::PUT, "/cluster/voters"),
            (Method::POST, "/cluster/transfer"),
            (Method::GET, "/cluster/invitations"),
            (Method::POST, "/cluster/invitations"),
            (Method::DELETE, "/cluster/invitations/i0"),
            (Method::POST, "/cluster/authority/rotate"),
            (Method::GET, "/cluster/backup"),
            (Method::GET, "/edges"),
            (Method::GET, "/edges/e"),
            (Method::DELETE, "/edges/e"),
            (Method::POST, "/edges/e/certificate"),
            (Method::POST, "/edges/e/drain"),
            (Method::POST, "/edges/e/resume"),
            (Method::PUT, "/edges/e/weight"),
            (Method::POST, "/edges/e/forget"),
            (Method::GET, "/nodes"),
            (Method::GET, "/nodes/1"),
            (Method::DELETE, "/nodes/1"),
            (Method::POST, "/nodes/1/drain"),
            (Method::POST, "/nodes/1/resume"),
            (Method::PUT, "/nodes/1/weight"),
        ] {
            let request = test::TestRequest::with_uri(&format!("/admin/api/v1{path}")).method(method);
            let request = request.insert_header(("Authorization", "Bearer wrong"));
            let answer = test::call_service(&app, request.to_request()).await;
            assert_eq!(answer.status(), StatusCode::UNAUTHORIZED, "{path}");
        }
    }

    #[actix_rt::test]
    async fn the_status_says_how_the_cluster_is_in_words() {
        let memory = Arc::new(Memory::default());
        let (_, answer) = ask(&memory, Method::GET, "/cluster", Value::Null).await;
        assert_eq!((&answer["healthy"], &answer["problems"]), (&json!(true), &json!([])));
        assert_eq!((&answer["leader"], &answer["members"][2]["region"]), (&json!(1), &json!("ap")));
        let report: ClusterReport = serde_json::from_value(answer).unwrap();
        assert_eq!(report.status.members[0].role, MemberRole::Leader);
        memory.members(|status| {
            status.leader = None;
            status.members[1].reachable = false;
            status.members[2].reachable = false;
        });
        let (_, answer) = ask(&memory, Method::GET, "/cluster", Value::Null).await;
        assert_eq!(answer["healthy"], false);
        let told = answer["problems"][0].as_str().unwrap();
        assert!(told.starts_with("no leader: 2 of 3 voters unreachable: node 2 (us, "), "{told}");
        // And whoever asks for a change is told the same.
        let refused = refused(&memory, Method::POST, "/nodes/2/drain", Value::Null).await;
        assert!(refused.starts_with("503 no leader: 2 of 3 voters unreachable"), "{refused}");
    }

    fn event(at: u64, text: &str) -> Event {
        Event { at: Unix::from_secs(at), node: Some(NodeId(at)), text: text.to_owned() }
    }

    #[actix_rt::test]
    async fn events_come_as_they_happen_and_again_to_whoever_missed_them() {
        let memory = Arc::new(Memory::default());
        let mount = Mount::new(Arc::clone(&memory) as Arc<dyn crate::Cluster>, Secret(b"right".to_vec()));
        let app = test::init_service(App::new().configure(|config| mount.configure(config))).await;
        let open = async |query: &str, last: Option<String>| {
            let request = test::TestRequest::with_uri(&format!("/admin/api/v1/cluster/events/stream{query}"));
            let mut request = request.insert_header(("Authorization", "Bearer right"));
            if let Some(last) = last {
                request = request.insert_header(("Last-Event-ID", last));
            }
            let answer = test::call_service(&app, request.to_request()).await;
            assert_eq!(answer.status(), StatusCode::OK);
            Box::pin(answer.into_body())
        };
        let first = cursor(&numbered(memory.events().await).next().unwrap().0);
        let mut body = open("", None).await;
        assert!(next(&mut body).await.starts_with("retry: "));
        memory.happened([event(7, "left"), event(7, "came")]);
        let told = next(&mut body).await;
        assert!(told.contains("event: event") && told.contains("left"), "{told}");
        assert!(next(&mut body).await.contains("came"));
        // One that comes back is told all that it missed, and what it does not ask for is left out.
        memory.happened([event(6, "turned its clock back")]);
        let mut body = open("", Some(first)).await;
        next(&mut body).await;
        for text in ["left", "came", "turned its clock back"] {
            let told = next(&mut body).await;
            assert!(told.contains(text), "{text}: {told}");
        }
        let mut body = open("?node=6", Some(cursor(&(0, 0)))).await;
        next(&mut body).await;
        assert!(next(&mut body).await.contains("clock"));
    }

    /// The next piece of a stream.
    async fn next(body: &mut std::pin::Pin<Box<impl actix_web::body::MessageBody>>) -> String {
        let piece = std::future::poll_fn(|cx| body.as_mut().poll_next(cx)).await;
        String::from_utf8(piece.unwrap().ok().unwrap().to_vec()).unwrap()
    }

    #[actix_rt::test]
    async fn events_of_one_moment_are_told_apart_over_pages() {
        let memory = Arc::new(Memory::default());
        memory.happened([event(7, "a"), event(7, "b"), event(7, "c"), event(8, "d")]);
        let (mut after, mut told) = (String::new(), Vec::new());
        loop {
            let path = format!("/cluster/events?limit=2{after}");
            let (_, page) = ask(&memory, Method::GET, &path, Value::Null).await;
            told.extend(page["items"].as_array().unwrap().iter().map(|event| event["text"].clone()));
            let Some(next) = page["next"].as_str() else { break };
            after = format!("&after={next}");
        }
        assert_eq!(told, ["joined", "a", "b", "c", "d"]);
        let (_, page) = ask(&memory, Method::GET, "/cluster/events?node=8", Value::Null).await;
        assert_eq!(page["items"].as_array().unwrap().len(), 1);
    }

    #[actix_rt::test]
    async fn owners_of_shards_are_told_in_order() {
        let memory = Arc::new(Memory::default());
        let (_, answer) = ask(&memory, Method::GET, "/cluster/shards", Value::Null).await;
        let Owners { owners } = serde_json::from_value(answer).unwrap();
        assert_eq!(owners.len(), usize::from(chappe_proto::limits::SHARDS));
        assert_eq!(owners[..3], [Some(NodeId(1)), Some(NodeId(2)), None]);
    }

    #[actix_rt::test]
    async fn the_leadership_goes_to_voters_alone() {
        let memory = Arc::new(Memory::default());
        memory.members(|status| status.members[2].role = MemberRole::Follower);
        let told = refused(&memory, Method::POST, "/cluster/transfer", json!({ "to": 3 })).await;
        assert!(told.contains("does not vote; the voters are 1, 2"), "{told}");
        let (_, answer) = ask(&memory, Method::POST, "/cluster/transfer", Value::Null).await;
        assert_eq!(answer["leader"], 2);
        memory.members(|status| status.members.truncate(1));
        let told = refused(&memory, Method::POST, "/cluster/transfer", Value::Null).await;
        assert!(told.contains("no other voter"), "{told}");
    }

    #[actix_rt::test]
    async fn settings_are_checked_and_taken() {
        let memory = Arc::new(Memory::default());
        assert_eq!(ask(&memory, Method::PUT, "/cluster/profile", json!({ "profile": "wan" })).await.0, 204);
        assert_eq!(ask(&memory, Method::PUT, "/cluster/voters", json!({ "voters": 5 })).await.0, 204);
        assert_eq!(ask(&memory, Method::PUT, "/nodes/2/weight", json!({ "weight": 3 })).await.0, 204);
        let (_, rotated) = ask(&memory, Method::POST, "/cluster/authority/rotate", Value::Null).await;
        assert_eq!(rotated["authority"], 2);
        memory.members(|status| {
            assert_eq!(
                (status.profile, status.voters_wanted, status.members[1].weight),
                (ProfileName::Wan, 5, 3)
            );
        });
        for (path, body, told) in [
            ("/cluster/profile", json!({ "profile": "moon" }), "`lan` or `wan`"),
            ("/cluster/voters", json!({ "voters": 4 }), "voters: 3, which survive"),
            ("/nodes/2/weight", json!({ "weight": -1 }), "body:"),
        ] {
            let refused = refused(&memory, Method::PUT, path, body).await;
            assert!(refused.starts_with("400") && refused.contains(told), "{refused}");
        }
    }

    #[actix_rt::test]
    async fn a_backup_comes_whole() {
        let memory = Arc::new(Memory::default());
        let (status, body) = bytes(&memory, Method::GET, "/cluster/backup", Value::Null).await;
        assert_eq!(status, StatusCode::OK);
        assert!(body == backup_bytes(), "{} bytes", body.len());
        let (_, events) = ask(&memory, Method::GET, "/cluster/events", Value::Null).await;
        assert_eq!(events["items"][0]["text"], "joined");
    }
}
