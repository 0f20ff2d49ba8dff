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
#[path = "cluster/tests.rs"]
mod tests;
