//! `/admin/api/v1/edges`: the edges, and what operators decide of them.

use actix_web::HttpResponse;
use actix_web::web::{self, Bytes, Data, Json, Path, ServiceConfig};
use chappe_proto::id::EdgeId;
use chappe_proto::registry::EdgeState;
use data_encoding::BASE64;
use serde::Deserialize;

use crate::Mount;
use crate::auth::Operator;
use crate::control::{EdgeChange, EdgeIdentity, EdgeReport, Fault};
use crate::problem::Problem;
use crate::turn::read;

pub(crate) fn routes(config: &mut ServiceConfig) {
    config
        .route("/edges", web::get().to(edges))
        .route("/edges/{edge}", web::get().to(edge))
        .route("/edges/{edge}", web::delete().to(remove))
        .route("/edges/{edge}/certificate", web::post().to(certificate))
        .route("/edges/{edge}/drain", web::post().to(drain))
        .route("/edges/{edge}/resume", web::post().to(resume))
        .route("/edges/{edge}/weight", web::put().to(set_weight))
        .route("/edges/{edge}/forget", web::post().to(forget));
}

fn edge_id(text: &str) -> Result<EdgeId, Problem> {
    EdgeId::new(text).map_err(|bad| Problem::Field { field: "edge", fix: bad.to_string() })
}

async fn edges(_: Operator, mount: Data<Mount>) -> Json<Vec<EdgeReport>> {
    Json(mount.cluster.edges().await)
}

/// An edge as it is, removed ones included.
async fn of(mount: &Mount, id: &EdgeId) -> Result<EdgeReport, Problem> {
    let mut edges = mount.cluster.edges().await.into_iter();
    edges.find(|edge| edge.edge == *id).ok_or(Problem::NotFound("edge"))
}

async fn edge(_: Operator, mount: Data<Mount>, path: Path<String>) -> Result<Json<EdgeReport>, Problem> {
    Ok(Json(of(&mount, &edge_id(&path)?).await?))
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

async fn drain(operator: Operator, mount: Data<Mount>, path: Path<String>) -> Result<HttpResponse, Problem> {
    let id = edge_id(&path)?;
    if of(&mount, &id).await?.state == EdgeState::Removed {
        return Err(removed(&id));
    }
    let (change, what) = (EdgeChange::to(EdgeState::Draining), format!("drained the edge {id}"));
    set(&operator, &mount, id, change, &what).await
}

/// One that was removed may come back as well.
async fn resume(operator: Operator, mount: Data<Mount>, path: Path<String>) -> Result<HttpResponse, Problem> {
    let id = edge_id(&path)?;
    let (change, what) = (EdgeChange::to(EdgeState::Admitted), format!("admitted the edge {id} again"));
    set(&operator, &mount, id, change, &what).await
}

fn removed(id: &EdgeId) -> Problem {
    Problem::Full(format!("the edge {id} was removed: resume it first, or forget it"))
}

async fn remove(operator: Operator, mount: Data<Mount>, path: Path<String>) -> Result<HttpResponse, Problem> {
    let id = edge_id(&path)?;
    let (change, what) = (EdgeChange::to(EdgeState::Removed), format!("removed the edge {id}"));
    set(&operator, &mount, id, change, &what).await
}

async fn forget(operator: Operator, mount: Data<Mount>, path: Path<String>) -> Result<HttpResponse, Problem> {
    let id = edge_id(&path)?;
    if of(&mount, &id).await?.state != EdgeState::Removed {
        return Err(Problem::Full(format!("the edge {id} is in use: remove it first")));
    }
    let note = operator.note(&format!("forgot the edge {id}"));
    mount.cluster.edge_forget(id, note).await?;
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
    let id = edge_id(&path)?;
    let Weight { weight } = read(&body)?;
    let (change, what) = (EdgeChange::weighing(weight), format!("gave the edge {id} weight {weight}"));
    set(&operator, &mount, id, change, &what).await
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct NewKey {
    /// SubjectPublicKeyInfo in DER, in Base64.
    public_key: String,
}

/// The longest public key that is read, in bytes: RSA with 4096 bits takes 550.
const PUBLIC_KEY_MAX: usize = 1024;

async fn certificate(
    operator: Operator,
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
        assert_eq!((&all[0]["edge"], &all[0]["state"]), (&json!("edge-eu"), &json!("admitted")));
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
}
