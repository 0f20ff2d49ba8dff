//! `/admin/api/v1/edges`: the edges, and what operators decide of them.

use actix_web::HttpResponse;
use actix_web::web::{self, Bytes, Data, Json, Path, Query, ServiceConfig};
use chappe_proto::id::{EdgeId, Region};
use chappe_proto::mesh::probe::Prober;
use chappe_proto::registry::EdgeState;
use data_encoding::BASE64;
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, OpenApi, ToSchema};

use crate::Mount;
use crate::access::{Operator, Owner, Viewer};
use crate::api::page::{Ask, Page};
use crate::api::problem::Problem;
use crate::api::turn::read;
use crate::control::{EdgeChange, EdgeIdentity, EdgeReport, Fault};
use crate::operation::RoundTrip;
use crate::schema;

pub(crate) fn routes(config: &mut ServiceConfig) {
    config
        .route("/edges", web::get().to(edges))
        .route("/edges/latencies", web::get().to(latencies)) // before what names an edge
        .route("/edges/{edge}", web::get().to(edge))
        .route("/edges/{edge}", web::delete().to(remove))
        .route("/edges/{edge}/certificate", web::post().to(certificate))
        .route("/edges/{edge}/drain", web::post().to(drain))
        .route("/edges/{edge}/resume", web::post().to(resume))
        .route("/edges/{edge}/weight", web::put().to(set_weight))
        .route("/edges/{edge}/forget", web::post().to(forget));
}

/// What is described of it.
#[derive(OpenApi)]
#[openapi(paths(edges, latencies, edge, remove, certificate, drain, resume, set_weight, forget))]
pub(crate) struct Part;

pub(super) fn edge_id(text: &str) -> Result<EdgeId, Problem> {
    EdgeId::new(text).map_err(|bad| Problem::Field { field: "edge", fix: bad.to_string() })
}

/// Which edges are asked for.
#[derive(Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
struct Filter {
    /// Those in this region.
    #[param(value_type = Option<schema::Region>)]
    region: Option<Region>,
    /// Those of which this was decided.
    #[param(value_type = Option<schema::EdgeState>)]
    state: Option<EdgeState>,
    /// Those that are heard, or those that are not.
    alive: Option<bool>,
}

/// Lists the edges by name, removed ones included.
#[utoipa::path(
    get, path = "/edges", tag = "edges", params(Ask, Filter),
    responses((status = 200, description = "A page of them", body = Page<EdgeReport>))
)]
async fn edges(
    _: Viewer,
    mount: Data<Mount>,
    ask: Query<Ask>,
    filter: Query<Filter>,
) -> Result<Json<Page<EdgeReport>>, Problem> {
    let edges = mount.cluster.edges().await.into_iter();
    let asked = edges.filter(|edge| {
        filter.region.as_ref().is_none_or(|region| edge.region == *region)
            && filter.state.is_none_or(|state| edge.state == state)
            && filter.alive.is_none_or(|alive| edge.alive == alive)
    });
    Page::of(&ask, asked, |edge| edge.edge.clone()).map(Json)
}

/// An edge as it is, removed ones included.
async fn of(mount: &Mount, id: &EdgeId) -> Result<EdgeReport, Problem> {
    let mut edges = mount.cluster.edges().await.into_iter();
    edges.find(|edge| edge.edge == *id).ok_or(Problem::NotFound("edge"))
}

/// Shows an edge.
#[utoipa::path(
    get, path = "/edges/{edge}", tag = "edges", params(("edge" = schema::EdgeName, Path)),
    responses((status = 200, description = "As the node that answers knows it", body = EdgeReport))
)]
async fn edge(_: Viewer, mount: Data<Mount>, path: Path<String>) -> Result<Json<EdgeReport>, Problem> {
    Ok(Json(of(&mount, &edge_id(&path)?).await?))
}

/// How far an edge is from one that probes it.
#[derive(Serialize, ToSchema)]
struct Latency {
    /// Who probes: another edge, or a node where there are fewer than two.
    #[schema(value_type = schema::Prober)]
    from: Prober,
    /// The edge that is probed.
    #[schema(value_type = schema::EdgeName)]
    to: EdgeId,
    /// The round trip in milliseconds: the median of the last five probes.
    rtt_ms: f64,
    /// Milliseconds since the last of them.
    age_ms: u64,
}

/// Lists how far edges are from each other.
///
/// Edges probe each other every half a minute, in turns: those of other regions, and of their own where these are
/// fewer than two. So not every pair is measured; what was not for twenty minutes is forgotten.
#[utoipa::path(
    get, path = "/edges/latencies", tag = "edges",
    responses((status = 200, description = "As the node that answers has heard", body = Vec<Latency>))
)]
async fn latencies(_: Viewer, mount: Data<Mount>) -> Json<Vec<Latency>> {
    let shown = |one: RoundTrip| Latency {
        from: one.from,
        to: one.to,
        rtt_ms: one.rtt_ms,
        age_ms: u64::try_from(one.age.as_millis()).unwrap_or(u64::MAX),
    };
    Json(mount.cluster.round_trips().await.into_iter().map(shown).collect())
}

async fn set(
    operator: &Operator,
    mount: &Mount,
    id: EdgeId,
    change: EdgeChange,
    what: &str,
) -> Result<HttpResponse, Problem> {
    mount.cluster.edge_set(id, change, operator.note(what)).await?;
    Ok(HttpResponse::NoContent().finish())
}

/// Drains an edge: it serves whom it has, and is given to nobody new.
#[utoipa::path(
    post, path = "/edges/{edge}/drain", tag = "edges", params(("edge" = schema::EdgeName, Path)),
    responses((status = 204, description = "It drains"))
)]
async fn drain(operator: Operator, mount: Data<Mount>, path: Path<String>) -> Result<HttpResponse, Problem> {
    let id = edge_id(&path)?;
    if of(&mount, &id).await?.state == EdgeState::Removed {
        return Err(removed(&id));
    }
    let (change, what) = (EdgeChange::to(EdgeState::Draining), format!("drained the edge {id}"));
    set(&operator, &mount, id, change, &what).await
}

/// Admits an edge again: one that drains, or was removed.
#[utoipa::path(
    post, path = "/edges/{edge}/resume", tag = "edges", params(("edge" = schema::EdgeName, Path)),
    responses((status = 204, description = "It is given to clients"))
)]
async fn resume(operator: Operator, mount: Data<Mount>, path: Path<String>) -> Result<HttpResponse, Problem> {
    let id = edge_id(&path)?;
    let (change, what) = (EdgeChange::to(EdgeState::Admitted), format!("admitted the edge {id} again"));
    set(&operator, &mount, id, change, &what).await
}

fn removed(id: &EdgeId) -> Problem {
    Problem::Full(format!("the edge {id} was removed: resume it first, or forget it"))
}

/// Removes an edge: it is refused from now on.
#[utoipa::path(
    delete, path = "/edges/{edge}", tag = "edges", params(("edge" = schema::EdgeName, Path)),
    responses((status = 204, description = "It is refused"))
)]
async fn remove(operator: Operator, mount: Data<Mount>, path: Path<String>) -> Result<HttpResponse, Problem> {
    let id = edge_id(&path)?;
    let (change, what) = (EdgeChange::to(EdgeState::Removed), format!("removed the edge {id}"));
    set(&operator, &mount, id, change, &what).await
}

/// Forgets an edge that was removed: its name may come again.
#[utoipa::path(
    post, path = "/edges/{edge}/forget", tag = "edges", params(("edge" = schema::EdgeName, Path)),
    responses((status = 204, description = "It is forgotten"))
)]
async fn forget(operator: Operator, mount: Data<Mount>, path: Path<String>) -> Result<HttpResponse, Problem> {
    let id = edge_id(&path)?;
    if of(&mount, &id).await?.state != EdgeState::Removed {
        return Err(Problem::Full(format!("the edge {id} is in use: remove it first")));
    }
    let note = operator.note(&format!("forgot the edge {id}"));
    mount.cluster.edge_forget(id, note).await?;
    Ok(HttpResponse::NoContent().finish())
}

/// An edge's part of the sessions near it.
#[derive(Deserialize, ToSchema)]
#[schema(as = EdgeWeight)]
#[serde(deny_unknown_fields)]
struct Weight {
    /// Relative to others': 0 is given to nobody while there are others.
    weight: u16,
}

/// Sets an edge's part of the sessions near it.
#[utoipa::path(
    put, path = "/edges/{edge}/weight", tag = "edges", params(("edge" = schema::EdgeName, Path)), request_body = Weight,
    responses((status = 204, description = "It is so"))
)]
async fn set_weight(
    operator: Operator,
    mount: Data<Mount>,
    path: Path<String>,
    body: Bytes,
) -> Result<HttpResponse, Problem> {
    let id = edge_id(&path)?;
    let Weight { weight } = read(&body)?;
    let (change, what) = (EdgeChange::weighing(weight), format!("gave the edge {id} weight {weight}"));
    set(&operator, &mount, id, change, &what).await
}

/// An edge's own key.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct NewKey {
    /// SubjectPublicKeyInfo in DER, in Base64.
    #[schema(content_encoding = "base64")]
    public_key: String,
}

/// The longest public key that is read, in bytes: RSA with 4096 bits takes 550.
const PUBLIC_KEY_MAX: usize = 1024;

/// Issues a certificate for an edge's key, whose name it has from now on.
#[utoipa::path(
    post, path = "/edges/{edge}/certificate", tag = "edges", params(("edge" = schema::EdgeName, Path)), request_body = NewKey,
    responses((status = 200, description = "What it needs beside its private key", body = EdgeIdentity))
)]
async fn certificate(
    operator: Owner,
    mount: Data<Mount>,
    path: Path<String>,
    body: Bytes,
) -> Result<Json<EdgeIdentity>, Problem> {
    let edge = edge_id(&path)?;
    let NewKey { public_key } = read(&body)?;
    let key =
        BASE64.decode(public_key.as_bytes()).ok().filter(|key| (1..=PUBLIC_KEY_MAX).contains(&key.len()));
    let key = key.ok_or_else(|| Problem::Field {
        field: "public_key",
        fix: "the SubjectPublicKeyInfo in DER, in Base64".to_owned(),
    })?;
    let note = operator.note(&format!("issued a certificate for the edge {edge}"));
    let made = mount.cluster.edge_certify(edge.clone(), key, note).await;
    if matches!(&made, Err(Fault::Conflict(_))) {
        return Err(removed(&edge));
    }
    Ok(Json(made?))
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use actix_web::http::Method;
    use serde_json::{Value, json};

    use crate::memory::{Memory, ask, refused};

    #[actix_rt::test]
    async fn an_edge_drains_weighs_goes_and_is_forgotten() {
        let memory = Arc::new(Memory::default());
        let (_, all) = ask(&memory, Method::GET, "/edges", Value::Null).await;
        let all = &all["items"];
        assert_eq!((&all[0]["edge"], &all[0]["state"]), (&json!("edge-eu"), &json!("admitted")));
        for query in ["?alive=false", "?state=removed", "?region=us"] {
            let (_, none) = ask(&memory, Method::GET, &format!("/edges{query}"), Value::Null).await;
            assert_eq!(none, json!({ "items": [], "next": null }), "{query}");
        }
        for (method, path, state) in [
            (Method::POST, "/edges/edge-eu/drain", "draining"),
            (Method::POST, "/edges/edge-eu/resume", "admitted"),
            (Method::DELETE, "/edges/edge-eu", "removed"),
        ] {
            assert_eq!(ask(&memory, method, path, Value::Null).await.0, 204, "{path}");
            let (_, edge) = ask(&memory, Method::GET, "/edges/edge-eu", Value::Null).await;
            assert_eq!(edge["state"], state);
        }
        let told = refused(&memory, Method::POST, "/edges/edge-eu/drain", Value::Null).await;
        assert!(told.contains("was removed: resume it first"), "{told}");
        assert_eq!(ask(&memory, Method::PUT, "/edges/edge-eu/weight", json!({ "weight": 7 })).await.0, 204);
        let (_, edge) = ask(&memory, Method::GET, "/edges/edge-eu", Value::Null).await;
        assert_eq!((&edge["weight"], &edge["state"]), (&json!(7), &json!("removed")));
        assert_eq!(ask(&memory, Method::POST, "/edges/edge-eu/forget", Value::Null).await.0, 204);
        for (method, path) in [
            (Method::GET, "/edges/edge-eu"),
            (Method::POST, "/edges/edge-eu/drain"),
            (Method::POST, "/edges/edge-eu/resume"),
            (Method::DELETE, "/edges/edge-eu"),
            (Method::POST, "/edges/edge-eu/forget"),
        ] {
            let told = refused(&memory, method, path, Value::Null).await;
            assert!(told.starts_with("404"), "{path}: {told}");
        }
        memory.with(|state| {
            let kept: Vec<_> = state.audit().map(|entry| entry.note.what.clone()).collect();
            assert_eq!(
                kept,
                [
                    "drained the edge edge-eu",
                    "admitted the edge edge-eu again",
                    "removed the edge edge-eu",
                    "gave the edge edge-eu weight 7",
                    "forgot the edge edge-eu"
                ]
            );
        });
    }

    #[actix_rt::test]
    async fn what_serves_is_not_forgotten() {
        let memory = Arc::new(Memory::default());
        let told = refused(&memory, Method::POST, "/edges/edge-eu/forget", Value::Null).await;
        assert!(told.starts_with("409") && told.contains("remove it first"), "{told}");
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
}
