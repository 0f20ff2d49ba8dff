//! `/admin/api/v1/nodes`: the members, and what operators decide of them.

use actix_web::HttpResponse;
use actix_web::web::{self, Bytes, Data, Json, Path, Query, ServiceConfig};
use chappe_proto::id::{NodeId, Region};
use chappe_proto::registry::NodeState;
use serde::Deserialize;
use utoipa::{IntoParams, OpenApi, ToSchema};

use crate::Mount;
use crate::access::{Operator, Viewer};
use crate::api::page::{Ask, Page};
use crate::api::problem::Problem;
use crate::api::turn::read;
use crate::control::{ClusterStatus, Member, NodeChange};
use crate::schema;

pub(crate) fn routes(config: &mut ServiceConfig) {
    config
        .route("/nodes", web::get().to(nodes))
        .route("/nodes/{node}", web::get().to(node))
        .route("/nodes/{node}", web::delete().to(remove))
        .route("/nodes/{node}/drain", web::post().to(drain))
        .route("/nodes/{node}/resume", web::post().to(resume))
        .route("/nodes/{node}/weight", web::put().to(set_weight));
}

/// What is described of it.
#[derive(OpenApi)]
#[openapi(paths(nodes, node, remove, drain, resume, set_weight))]
pub(crate) struct Part;

/// Which nodes are asked for.
#[derive(Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
struct Filter {
    /// Those in this region.
    #[param(value_type = Option<schema::Region>)]
    region: Option<Region>,
    /// Those that drain, or those that do not.
    draining: Option<bool>,
}

/// Lists the nodes by their numbers.
#[utoipa::path(
    get, path = "/nodes", tag = "nodes", params(Ask, Filter),
    responses((status = 200, description = "A page of them", body = Page<Member>))
)]
async fn nodes(
    _: Viewer,
    mount: Data<Mount>,
    ask: Query<Ask>,
    filter: Query<Filter>,
) -> Result<Json<Page<Member>>, Problem> {
    let members = mount.cluster.status().await.members.into_iter();
    let asked = members.filter(|member| {
        filter.region.as_ref().is_none_or(|region| member.region == *region)
            && filter.draining.is_none_or(|draining| member.draining == draining)
    });
    Page::of(&ask, asked, |member| member.node).map(Json)
}

/// Shows a node.
#[utoipa::path(
    get, path = "/nodes/{node}", tag = "nodes", params(("node" = schema::Node, Path)),
    responses((status = 200, description = "As the node that answers knows it", body = Member))
)]
async fn node(_: Viewer, mount: Data<Mount>, path: Path<String>) -> Result<Json<Member>, Problem> {
    let id = node_id(&path)?;
    let mut members = mount.cluster.status().await.members.into_iter();
    members.find(|member| member.node == id).map(Json).ok_or(Problem::NotFound("node"))
}

pub(super) fn node_id(text: &str) -> Result<NodeId, Problem> {
    text.parse().map(NodeId).map_err(|_| Problem::Field { field: "node", fix: "its number, as 3".to_owned() })
}

/// The member that a change is about, and the cluster around it.
pub(super) async fn of(mount: &Mount, id: NodeId) -> Result<(ClusterStatus, Member), Problem> {
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

/// Drains a node: its rooms move to others, and it takes none.
#[utoipa::path(
    post, path = "/nodes/{node}/drain", tag = "nodes", params(("node" = schema::Node, Path)),
    responses((status = 204, description = "It drains; `GET /nodes/{node}` tells how far it is"))
)]
async fn drain(operator: Operator, mount: Data<Mount>, path: Path<String>) -> Result<HttpResponse, Problem> {
    let id = node_id(&path)?;
    let (status, _) = of(&mount, id).await?;
    can_spare(&status, id)?;
    let change = NodeChange { draining: Some(true), ..NodeChange::default() };
    mount.cluster.node_set(id, change, operator.note(&format!("drained node {id}"))).await?;
    Ok(HttpResponse::NoContent().finish())
}

/// Lets a node take rooms again; one that was leaving stays.
#[utoipa::path(
    post, path = "/nodes/{node}/resume", tag = "nodes", params(("node" = schema::Node, Path)),
    responses((status = 204, description = "It takes rooms"))
)]
async fn resume(operator: Operator, mount: Data<Mount>, path: Path<String>) -> Result<HttpResponse, Problem> {
    let id = node_id(&path)?;
    of(&mount, id).await?;
    let change = NodeChange { draining: Some(false), ..NodeChange::default() };
    mount.cluster.node_set(id, change, operator.note(&format!("resumed node {id}"))).await?;
    Ok(HttpResponse::NoContent().finish())
}

/// A node's part of the shards.
#[derive(Deserialize, ToSchema)]
#[schema(as = NodeWeight)]
#[serde(deny_unknown_fields)]
struct Weight {
    /// Relative to others': 0 owns none.
    weight: u16,
}

/// Sets a node's part of the shards.
#[utoipa::path(
    put, path = "/nodes/{node}/weight", tag = "nodes", params(("node" = schema::Node, Path)), request_body = Weight,
    responses((status = 204, description = "It is so"))
)]
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

/// Removes a node for good, once it owns nothing.
#[utoipa::path(
    delete, path = "/nodes/{node}", tag = "nodes", params(("node" = schema::Node, Path)),
    responses((status = 202, description = "It is leaving; `POST /nodes/{node}/resume` calls it off"))
)]
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

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use actix_web::http::Method;
    use serde_json::{Value, json};

    use super::*;
    use crate::memory::{Memory, ask, refused};

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
        let listed = async |query: &str| {
            let (_, page) = ask(&memory, Method::GET, &format!("/nodes{query}"), Value::Null).await;
            let nodes = page["items"].as_array().unwrap().iter();
            (nodes.map(|node| node["node"].as_u64().unwrap()).collect::<Vec<_>>(), page["next"].clone())
        };
        assert_eq!(listed("?draining=true").await, (vec![3], Value::Null));
        assert_eq!(listed("?region=us").await, (vec![2], Value::Null));
        let (first, next) = listed("?limit=2").await;
        assert_eq!(first, [1, 2]);
        let rest = listed(&format!("?limit=2&after={}", next.as_str().unwrap())).await;
        assert_eq!(rest, (vec![3], Value::Null));
        for (query, told) in
            [("limit=0", "400 limit: 1 to"), ("after=x", "400 after:"), ("draining=x", "400 ")]
        {
            let refused = refused(&memory, Method::GET, &format!("/nodes?{query}"), Value::Null).await;
            assert!(refused.starts_with(told), "{refused}");
        }
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
}
