//! The small native API beside signaling: health, the CA of a LAN.

use actix_web::web::{self, ServiceConfig};
use actix_web::{HttpResponse, Responder};
use serde::Serialize;

use super::{Shared, get};
use crate::consensus::Role;

pub(super) fn routes(config: &mut ServiceConfig) {
    config
        .route("/healthz", get().to(alive))
        .route("/readyz", get().to(ready))
        .route("/.well-known/acme-challenge/{token}", get().to(challenge))
        .route("/v1/lan", get().to(lan))
        .route("/ca.crt", get().to(ca));
}

/// The process answers.
async fn alive() -> impl Responder {
    HttpResponse::Ok().content_type("text/plain").body("ok\n")
}

#[derive(Serialize)]
struct Ready {
    ready: bool,
    lease: bool,
    draining: bool,
    registry: &'static str,
    applied: u64,
    edges: usize,
    sessions: usize,
    rooms: usize,
    /// What is wrong with the certificate that an authority is to give, with the fix.
    #[serde(skip_serializing_if = "Option::is_none")]
    certificate: Option<String>,
}

/// Whether clients should be sent here: the node holds its lease, and is not about to send them away.
async fn ready(shared: web::Data<Shared>) -> impl Responder {
    let status = shared.node.registry.status();
    let registry = match (status.role, status.leader) {
        (Role::Leader, _) => "leads",
        (_, Some(_)) => "follows",
        (_, None) => "has no leader",
    };
    let lease = shared.node.lease.holds();
    let state = shared.node.registry.state();
    let draining = state.node(shared.node.id).is_some_and(chappe_proto::registry::Node::drains);
    let body = Ready {
        ready: lease && !draining,
        lease,
        draining,
        registry,
        applied: status.applied,
        edges: shared.node.world().edges.edges().iter().filter(|edge| edge.available).count(),
        sessions: shared.node.sessions.len(),
        rooms: shared.node.rooms.len(),
        certificate: shared.acme.as_ref().and_then(|acme| acme.trouble()),
    };
    if body.ready { HttpResponse::Ok().json(body) } else { HttpResponse::ServiceUnavailable().json(body) }
}

/// Answers an authority that has asked whether a name is this node's (HTTP-01, RFC 8555 section 8.3).
async fn challenge(shared: web::Data<Shared>, token: web::Path<String>) -> impl Responder {
    match shared.acme.as_ref().and_then(|acme| acme.answer(&token)) {
        Some(answer) => HttpResponse::Ok().content_type("application/octet-stream").body(answer),
        None => HttpResponse::NotFound().finish(),
    }
}

/// Where phones on the LAN find the secure page.
async fn lan(shared: web::Data<Shared>) -> impl Responder {
    match &shared.lan {
        Some(lan) => HttpResponse::Ok().json(serde_json::json!({ "url": lan.url })),
        None => HttpResponse::NotFound().finish(),
    }
}

/// The CA certificate that a phone on the LAN must trust before it opens the call page.
async fn ca(shared: web::Data<Shared>) -> impl Responder {
    match &shared.lan {
        Some(lan) => HttpResponse::Ok()
            .content_type("application/x-x509-ca-cert")
            .insert_header(("Content-Disposition", "attachment; filename=\"chappe-ca.crt\""))
            .body(lan.ca_pem.clone()),
        None => HttpResponse::NotFound().content_type("text/plain").body("no CA: this node is not `--lan`\n"),
    }
}
