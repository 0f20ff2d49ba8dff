//! `…/edges/{edge}/logs`: what an edge has logged lately, as of a node. An edge that does not answer, or is of a build
//! that does not tell, is a 503 with the reason.

#![allow(unused_qualifications, reason = "utoipa writes them for parameters")]

use actix_web::HttpResponse;
use actix_web::web::{self, Bytes, Data, Json, Path, Query, ServiceConfig};
use utoipa::OpenApi;

use super::{Asked, Form, LogLevel, LogView, export_of, live_of, page_of, reset_level_of, set_level_of};
use crate::access::Operator;
use crate::api::edges::edge_id;
use crate::api::events::LastId;
use crate::api::problem::Problem;
use crate::operation::Process;
use crate::{Mount, schema};

pub(super) fn routes(config: &mut ServiceConfig) {
    config
        .route("/edges/{edge}/logs", web::get().to(page))
        .route("/edges/{edge}/logs/stream", web::get().to(live))
        .route("/edges/{edge}/logs/export", web::get().to(export))
        .route("/edges/{edge}/logs/level", web::put().to(set_level))
        .route("/edges/{edge}/logs/level", web::delete().to(reset_level));
}

/// What is described of it.
#[derive(OpenApi)]
#[openapi(paths(page, live, export, set_level, reset_level))]
pub(crate) struct Part;

fn named(path: &str) -> Result<Process, Problem> {
    edge_id(path).map(Process::Edge)
}

/// Shows what an edge has logged lately.
///
/// 503 where it does not answer, or is of a build that does not tell.
#[utoipa::path(
    get, path = "/edges/{edge}/logs", tag = "logs",
    params(("edge" = schema::EdgeName, Path), Asked), responses((status = 200, body = LogView))
)]
async fn page(
    _: Operator,
    mount: Data<Mount>,
    path: Path<String>,
    asked: Query<Asked>,
) -> Result<Json<LogView>, Problem> {
    page_of(&mount, named(&path)?, &asked).await
}

/// The same as server-sent events, as of a node.
#[utoipa::path(
    get, path = "/edges/{edge}/logs/stream", tag = "logs",
    params(("edge" = schema::EdgeName, Path), Asked),
    responses((status = 200, content_type = "text/event-stream", body = String))
)]
async fn live(
    who: Operator,
    mount: Data<Mount>,
    path: Path<String>,
    asked: Query<Asked>,
    last: LastId,
) -> Result<HttpResponse, Problem> {
    live_of(&mount, who, named(&path)?, &asked, &last).await
}

/// All that an edge holds, a line each.
#[utoipa::path(
    get, path = "/edges/{edge}/logs/export", tag = "logs",
    params(("edge" = schema::EdgeName, Path), Asked, Form),
    responses((status = 200, content(
        (String = "text/plain"),
        (String = "application/x-ndjson"),
    )))
)]
async fn export(
    _: Operator,
    mount: Data<Mount>,
    path: Path<String>,
    asked: Query<Asked>,
    form: Query<Form>,
) -> Result<HttpResponse, Problem> {
    export_of(&mount, named(&path)?, &asked, &form).await
}

/// Has an edge log more, or less, for a while.
#[utoipa::path(
    put, path = "/edges/{edge}/logs/level", tag = "logs",
    params(("edge" = schema::EdgeName, Path)),
    request_body = LogLevel, responses((status = 204, description = "It does"))
)]
async fn set_level(
    operator: Operator,
    mount: Data<Mount>,
    path: Path<String>,
    body: Bytes,
) -> Result<HttpResponse, Problem> {
    set_level_of(&mount, &operator, named(&path)?, &body).await
}

/// Has an edge log again as it was told at its start.
#[utoipa::path(
    delete, path = "/edges/{edge}/logs/level", tag = "logs",
    params(("edge" = schema::EdgeName, Path)), responses((status = 204, description = "It does"))
)]
async fn reset_level(
    operator: Operator,
    mount: Data<Mount>,
    path: Path<String>,
) -> Result<HttpResponse, Problem> {
    reset_level_of(&mount, &operator, named(&path)?).await
}
