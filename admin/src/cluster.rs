//! `/admin/api/v1/cluster` and `/admin/api/v1/nodes`: members, who may join, who leads, backups.

use std::time::Duration;

use actix_web::HttpResponse;
use actix_web::web::{self, Bytes, Data, Json, Path, ServiceConfig};
use chappe_proto::id::{InvitationId, NodeId, Region};
use chappe_proto::limits::INVITATION_TTL_MAX;
use chappe_proto::registry::profile::ProfileName;
use chappe_proto::registry::{InvitedEdge, NodeState};
use serde::{Deserialize, Serialize};

use crate::auth::Operator;
use crate::control::{
    ClusterStatus, Event, Fault, Invitation, InvitationStatus, InvitationWish, Member, NodeChange,
};
use crate::health::Health;
use crate::problem::Problem;
use crate::turn::read;
use crate::{Mount, backup};

/// How long an invitation is good unless said otherwise.
const INVITATION_TTL: Duration = Duration::from_secs(3600);

pub(crate) fn routes(config: &mut ServiceConfig) {
    config
        .route("/cluster", web::get().to(status))
        .route("/cluster/events", web::get().to(events))
        .route("/cluster/shards", web::get().to(shards))
        .route("/cluster/profile", web::put().to(set_profile))
        .route("/cluster/voters", web::put().to(set_voters))
        .route("/cluster/transfer", web::post().to(transfer))
        .route("/cluster/invitations", web::get().to(invitations))
        .route("/cluster/invitations", web::post().to(invite))
        .route("/cluster/invitations/{id}", web::delete().to(remove_invitation))
        .route("/cluster/authority/rotate", web::post().to(rotate))
        .route("/cluster/backup", web::get().to(backup::serve))
        .route("/nodes", web::get().to(nodes))
        .route("/nodes/{node}", web::get().to(node))
        .route("/nodes/{node}", web::delete().to(remove))
        .route("/nodes/{node}/drain", web::post().to(drain))
        .route("/nodes/{node}/resume", web::post().to(resume))
        .route("/nodes/{node}/weight", web::put().to(set_weight));
}

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
#[derive(Debug, Clone, Serialize, Deserialize)]
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

async fn status(_: Operator, mount: Data<Mount>) -> Json<ClusterReport> {
    let status = mount.cluster.status().await;
    let health = Health::of(&status);
    Json(ClusterReport { status, healthy: health.is_fine(), health })
}

async fn events(_: Operator, mount: Data<Mount>) -> Json<Vec<Event>> {
    Json(mount.cluster.events().await)
}

/// Who owns the shards.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Owners {
    /// The owner of each shard in order; none before its first assignment. A room's shard is
    /// [`RoomKey::anchor`](chappe_proto::id::RoomKey::anchor).
    pub owners: Vec<Option<NodeId>>,
}

async fn shards(_: Operator, mount: Data<Mount>) -> Json<Owners> {
    Json(Owners { owners: mount.cluster.shards().await })
}

async fn nodes(_: Operator, mount: Data<Mount>) -> Json<Vec<Member>> {
    Json(mount.cluster.status().await.members)
}

async fn node(_: Operator, mount: Data<Mount>, path: Path<String>) -> Result<Json<Member>, Problem> {
    let id = node_id(&path)?;
    let mut members = mount.cluster.status().await.members.into_iter();
    members.find(|member| member.node == id).map(Json).ok_or(Problem::NotFound("node"))
}

fn node_id(text: &str) -> Result<NodeId, Problem> {
    text.parse().map(NodeId).map_err(|_| Problem::Field { field: "node", fix: "its number, as 3".to_owned() })
}

/// The member that a change is about, and the cluster around it.
async fn of(mount: &Mount, id: NodeId) -> Result<(ClusterStatus, Member), Problem> {
    let status = mount.cluster.status().await;
    let member = status.member(id).cloned().ok_or(Problem::NotFound("node"))?;
    Ok((status, member))
}

/// Another node must be there to take what this one has.
fn can_spare(status: &ClusterStatus, id: NodeId) -> Result<(), Problem> {
    let takes = |member: &Member| {
        member.node != id && member.state == NodeState::Up && !member.draining && member.weight > 0
    };
    if status.members.iter().any(takes) {
        return Ok(());
    }
    Err(Problem::Full(format!("no other node could take what node {id} has: resume or add one first")))
}

async fn drain(operator: Operator, mount: Data<Mount>, path: Path<String>) -> Result<HttpResponse, Problem> {
    let id = node_id(&path)?;
    let (status, _) = of(&mount, id).await?;
    can_spare(&status, id)?;
    let change = NodeChange { draining: Some(true), ..NodeChange::default() };
    mount.cluster.node_set(id, change, operator.note(&format!("drained node {id}"))).await?;
    Ok(HttpResponse::NoContent().finish())
}

async fn resume(operator: Operator, mount: Data<Mount>, path: Path<String>) -> Result<HttpResponse, Problem> {
    let id = node_id(&path)?;
    of(&mount, id).await?;
    let change = NodeChange { draining: Some(false), ..NodeChange::default() };
    mount.cluster.node_set(id, change, operator.note(&format!("resumed node {id}"))).await?;
    Ok(HttpResponse::NoContent().finish())
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Weight {
    weight: u16,
}

async fn set_weight(
    operator: Operator,
    mount: Data<Mount>,
    path: Path<String>,
    body: Bytes,
) -> Result<HttpResponse, Problem> {
    let id = node_id(&path)?;
    let Weight { weight } = read(&body)?;
    let (status, _) = of(&mount, id).await?;
    if weight == 0 {
        can_spare(&status, id)?;
    }
    let change = NodeChange { weight: Some(weight), ..NodeChange::default() };
    mount.cluster.node_set(id, change, operator.note(&format!("gave node {id} weight {weight}"))).await?;
    Ok(HttpResponse::NoContent().finish())
}

/// 202: it leaves, once it owns nothing.
async fn remove(operator: Operator, mount: Data<Mount>, path: Path<String>) -> Result<HttpResponse, Problem> {
    let id = node_id(&path)?;
    let (status, _) = of(&mount, id).await?;
    if status.members.len() == 1 {
        return Err(Problem::Full(format!("node {id} is the last one: without it there is no cluster")));
    }
    can_spare(&status, id)?;
    mount.cluster.node_remove(id, operator.note(&format!("removed node {id}"))).await?;
    Ok(HttpResponse::Accepted().finish())
}

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct Transfer {
    to: Option<NodeId>,
}

#[derive(Serialize)]
struct Leader {
    leader: NodeId,
}

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

async fn invitations(_: Operator, mount: Data<Mount>) -> Json<Vec<InvitationStatus>> {
    Json(mount.cluster.status().await.invitations)
}

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct Wish {
    region: Option<Region>,
    /// That the token is for an edge: `{}` for any new one, `{"name": …}` for that one.
    edge: Option<InvitedEdge>,
    ttl_secs: Option<u64>,
}

async fn invite(operator: Operator, mount: Data<Mount>, body: Bytes) -> Result<HttpResponse, Problem> {
    let wish: Wish = if body.is_empty() { Wish::default() } else { read(&body)? };
    let ttl = wish.ttl_secs.map_or(INVITATION_TTL, Duration::from_secs);
    if ttl.is_zero() || ttl > INVITATION_TTL_MAX {
        let fix = format!("1 to {} seconds", INVITATION_TTL_MAX.as_secs());
        return Err(Problem::Field { field: "ttl_secs", fix });
    }
    let place = wish.region.as_ref().map_or_else(String::new, |region| format!(" in {region}"));
    let whom = match &wish.edge {
        None => "a node".to_owned(),
        Some(InvitedEdge { name: None }) => "an edge".to_owned(),
        Some(InvitedEdge { name: Some(name) }) => format!("the edge {name}"),
    };
    let note = operator.note(&format!("invited {whom}{place}"));
    let wish = InvitationWish { region: wish.region, edge: wish.edge, ttl };
    let invitation: Invitation = mount.cluster.invite(wish, note).await?;
    // Told this once, and kept by nobody on the way.
    Ok(HttpResponse::Created().insert_header(("Cache-Control", "no-store")).json(invitation))
}

async fn remove_invitation(
    operator: Operator,
    mount: Data<Mount>,
    path: Path<String>,
) -> Result<HttpResponse, Problem> {
    let id: InvitationId = path.parse().map_err(|_| Problem::Field {
        field: "invitation",
        fix: "its id, as `GET …/cluster/invitations` has it".to_owned(),
    })?;
    let note = operator.note(&format!("withdrew the invitation {id}"));
    mount.cluster.invitation_remove(id, note).await?;
    Ok(HttpResponse::NoContent().finish())
}

#[derive(Serialize)]
struct Rotated {
    authority: u64,
}

async fn rotate(operator: Operator, mount: Data<Mount>) -> Result<Json<Rotated>, Problem> {
    let note = operator.note("rotated the certificate authority");
    Ok(Json(Rotated { authority: mount.cluster.authority_rotate(note).await? }))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct NewProfile {
    profile: ProfileName,
}

async fn set_profile(operator: Operator, mount: Data<Mount>, body: Bytes) -> Result<HttpResponse, Problem> {
    let NewProfile { profile } = read(&body)?;
    let note = operator.note(&format!("set the profile of timers to {}", profile));
    mount.cluster.profile_set(profile, note).await?;
    Ok(HttpResponse::NoContent().finish())
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct NewVoters {
    voters: u8,
}

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
    use serde_json::{Value, json};

    use super::*;
    use crate::control::MemberRole;
    use crate::memory::{Memory, ask, backup_bytes, bytes, refused};

    #[actix_rt::test]
    async fn every_route_is_for_the_operator() {
        let mount = Mount::new(Arc::new(Memory::default()), Secret(b"right".to_vec()));
        let app = test::init_service(App::new().configure(|config| mount.configure(config))).await;
        for (method, path) in [
            (Method::GET, "/cluster"),
            (Method::GET, "/cluster/events"),
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

    #[actix_rt::test]
    async fn owners_of_shards_are_told_in_order() {
        let memory = Arc::new(Memory::default());
        let (_, answer) = ask(&memory, Method::GET, "/cluster/shards", Value::Null).await;
        let Owners { owners } = serde_json::from_value(answer).unwrap();
        assert_eq!(owners.len(), usize::from(chappe_proto::limits::SHARDS));
        assert_eq!(owners[..3], [Some(NodeId(1)), Some(NodeId(2)), None]);
    }

    #[actix_rt::test]
    async fn a_node_drains_while_another_can_take_its_rooms() {
        let memory = Arc::new(Memory::default());
        for id in [3, 2] {
            let path = format!("/nodes/{id}/drain");
            assert_eq!(ask(&memory, Method::POST, &path, Value::Null).await.0, 204);
        }
        let told = refused(&memory, Method::POST, "/nodes/1/drain", Value::Null).await;
        assert!(told.contains("409") && told.contains("no other node could take"), "{told}");
        assert_eq!(ask(&memory, Method::POST, "/nodes/2/resume", Value::Null).await.0, 204);
        let (_, node) = ask(&memory, Method::GET, "/nodes/2", Value::Null).await;
        assert_eq!(node["draining"], false);
        let (_, nodes) = ask(&memory, Method::GET, "/nodes", Value::Null).await;
        assert_eq!(nodes[2]["draining"], true);
        for (id, told) in [("9", "404"), ("x", "400 node: its number")] {
            let refused = refused(&memory, Method::POST, &format!("/nodes/{id}/drain"), Value::Null).await;
            assert!(refused.starts_with(told), "{refused}");
        }
        // Who decided it is in the audit log.
        memory.with(|state| {
            let kept: Vec<_> = state.audit().map(|entry| entry.note.what.clone()).collect();
            assert_eq!(kept, ["drained node 3", "drained node 2", "resumed node 2"]);
        });
    }

    #[actix_rt::test]
    async fn a_witness_runs_no_rooms_and_others_must() {
        let memory = Arc::new(Memory::default());
        for id in [3, 2] {
            let path = format!("/nodes/{id}/weight");
            assert_eq!(ask(&memory, Method::PUT, &path, json!({ "weight": 0 })).await.0, 204);
        }
        let told = refused(&memory, Method::PUT, "/nodes/1/weight", json!({ "weight": 0 })).await;
        assert!(told.starts_with("409") && told.contains("no other node could take"), "{told}");
    }

    #[actix_rt::test]
    async fn a_node_that_leaves_drains_first_unless_it_is_down() {
        let memory = Arc::new(Memory::default());
        assert_eq!(ask(&memory, Method::DELETE, "/nodes/3", Value::Null).await.0, 202);
        let (_, node) = ask(&memory, Method::GET, "/nodes/3", Value::Null).await;
        assert_eq!((&node["leaving"], &node["draining"]), (&json!(true), &json!(true)));
        assert_eq!(ask(&memory, Method::POST, "/nodes/3/resume", Value::Null).await.0, 204);
        let (_, node) = ask(&memory, Method::GET, "/nodes/3", Value::Null).await;
        assert_eq!(node["leaving"], false);
        memory.members(|status| status.members[2].state = NodeState::Down);
        assert_eq!(ask(&memory, Method::DELETE, "/nodes/3", Value::Null).await.0, 202);
        assert!(refused(&memory, Method::DELETE, "/nodes/3", Value::Null).await.starts_with("404"));
        memory.members(|status| status.members[1].draining = true);
        let told = refused(&memory, Method::DELETE, "/nodes/1", Value::Null).await;
        assert!(told.contains("no other node could take"), "{told}");
        memory.members(|status| status.members.truncate(1));
        let told = refused(&memory, Method::DELETE, "/nodes/1", Value::Null).await;
        assert!(told.contains("is the last one"), "{told}");
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
    async fn an_invitation_is_told_once_and_can_be_withdrawn() {
        let memory = Arc::new(Memory::default());
        let wish = json!({ "region": "eu", "ttl_secs": 60 });
        let (status, made) = ask(&memory, Method::POST, "/cluster/invitations", wish).await;
        assert_eq!((status, &made["token"]), (201, &json!("chappe-join-secret")));
        let (_, kept) = ask(&memory, Method::GET, "/cluster/invitations", Value::Null).await;
        assert_eq!(kept, json!([{ "id": made["id"], "region": "eu", "until": 60_000 }]));
        let path = format!("/cluster/invitations/{}", made["id"].as_str().unwrap());
        assert_eq!(ask(&memory, Method::DELETE, &path, Value::Null).await.0, 204);
        assert!(refused(&memory, Method::DELETE, &path, Value::Null).await.starts_with("404"));
        let told = refused(&memory, Method::DELETE, "/cluster/invitations/x", Value::Null).await;
        assert!(told.starts_with("400 invitation: its id"), "{told}");
        let wish = json!({ "edge": { "name": "edge-eu" } });
        assert_eq!(ask(&memory, Method::POST, "/cluster/invitations", wish).await.0, 201);
        let (_, kept) = ask(&memory, Method::GET, "/cluster/invitations", Value::Null).await;
        assert_eq!(kept[0]["edge"], json!({ "name": "edge-eu" }));
        for (wish, told) in [
            (json!({ "edge": { "name": "a b" } }), "body:"),
            (json!({ "ttl_secs": 0 }), "ttl_secs: 1 to 2592000"),
            (json!({ "ttl_secs": 999_999_999 }), "ttl_secs: 1 to 2592000"),
            (json!({ "region": "a b" }), "body:"),
            (json!({ "reigon": "eu" }), "unknown field"),
        ] {
            let refused = refused(&memory, Method::POST, "/cluster/invitations", wish).await;
            assert!(refused.starts_with("400") && refused.contains(told), "{refused}");
        }
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
    async fn an_edge_gets_a_certificate_for_its_own_key() {
        let memory = Arc::new(Memory::default());
        let key = json!({ "public_key": "AQID" });
        let (status, made) = ask(&memory, Method::POST, "/edges/edge-eu/certificate", key.clone()).await;
        assert_eq!((status, &made["certificate"]), (200, &json!("edge-eu: [1, 2, 3]")));
        for (edge, body, told) in [
            ("a%20b", key, "400 edge:"),
            ("e", json!({ "public_key": "" }), "400 public_key:"),
            ("e", json!({ "public_key": "?" }), "400 public_key:"),
        ] {
            let path = format!("/edges/{edge}/certificate");
            let refused = refused(&memory, Method::POST, &path, body).await;
            assert!(refused.starts_with(told), "{refused}");
        }
    }

    #[actix_rt::test]
    async fn a_backup_comes_whole() {
        let memory = Arc::new(Memory::default());
        let (status, body) = bytes(&memory, Method::GET, "/cluster/backup", Value::Null).await;
        assert_eq!(status, StatusCode::OK);
        assert!(body == backup_bytes(), "{} bytes", body.len());
        let (_, events) = ask(&memory, Method::GET, "/cluster/events", Value::Null).await;
        assert_eq!(events[0]["text"], "joined");
    }
}
