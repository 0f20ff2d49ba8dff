//! `…/nodes/{node}/logs`: what a node has logged lately, and how much it logs; [`edges`] has the same of edges. For
//! operators: lines have addresses of clients.

#![allow(unused_qualifications, reason = "utoipa writes them for parameters")]

pub(crate) mod edges;

use std::str::FromStr;
use std::sync::Arc;
use std::time::Duration;

use actix_web::HttpResponse;
use actix_web::web::{self, Bytes, Data, Json, Path, Query, ServiceConfig};
use chappe_proto::limits::{
    LEVEL_FOR_MAX, LINE_TARGET_MAX, LINES_EVERY, LINES_KEPT, LINES_PAGE, SHOWN_TEXT_MAX,
};
use chappe_proto::logs::{Level, Line, LogPage, Wanted};
use chappe_proto::registry::EdgeState;
use chappe_proto::time::Unix;
use serde::{Deserialize, Serialize};
use serde_json::json;
use tokio::time::sleep;
use utoipa::{IntoParams, OpenApi, ToSchema};

use crate::access::Operator;
use crate::api::events::{self, Event, Feed, LastId};
use crate::api::nodes::node_id;
use crate::api::problem::Problem;
use crate::api::turn::read;
use crate::operation::Process;
use crate::{Cluster, Mount, schema};

pub(crate) fn routes(config: &mut ServiceConfig) {
    config
        .route("/nodes/{node}/logs", web::get().to(page))
        .route("/nodes/{node}/logs/stream", web::get().to(live))
        .route("/nodes/{node}/logs/export", web::get().to(export))
        .route("/nodes/{node}/logs/level", web::put().to(set_level))
        .route("/nodes/{node}/logs/level", web::delete().to(reset_level))
        .configure(edges::routes);
}

/// What is described of it.
#[derive(OpenApi)]
#[openapi(paths(page, live, export, set_level, reset_level))]
pub(crate) struct Part;

/// Which lines are asked for.
#[derive(Debug, Clone, Default, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(default)]
struct Asked {
    /// The number of the last that is known (`next` of the page before); without it the last lines.
    #[param(value_type = Option<u64>)]
    after: Option<String>,
    /// Lines that are as bad or worse: `error`, `warn`, `info`, `debug`, `trace`.
    level: Option<String>,
    /// Lines of parts whose names begin with this, as `chappe_cluster::mesh`.
    target: Option<String>,
    /// Lines with this in their text, in whatever case.
    contains: Option<String>,
    /// As many at most: 1 to 500.
    #[param(value_type = Option<u32>)]
    limit: Option<String>,
}

fn given(text: Option<&String>) -> Option<&str> {
    text.map(String::as_str).filter(|text| !text.is_empty())
}

fn number<T: FromStr>(field: &'static str, text: Option<&String>) -> Result<Option<T>, Problem> {
    let wrong = |_| Problem::Field { field, fix: "give a whole number".to_owned() };
    given(text).map(|text| text.parse().map_err(wrong)).transpose()
}

fn level(text: &str) -> Result<Level, Problem> {
    let names = || Level::ALL.map(Level::name).join(", ");
    Level::named(text).ok_or_else(|| Problem::Field { field: "level", fix: format!("one of {}", names()) })
}

impl Asked {
    fn wanted(&self) -> Result<Wanted, Problem> {
        let short = |field, text: Option<&String>, most| match given(text) {
            Some(text) if text.len() > most => {
                Err(Problem::Field { field, fix: format!("at most {most} bytes") })
            }
            text => Ok(text.map(str::to_owned)),
        };
        let limit = number("limit", self.limit.as_ref())?.unwrap_or(LINES_PAGE);
        if !(1..=LINES_PAGE).contains(&limit) {
            return Err(Problem::Field { field: "limit", fix: format!("1 to {LINES_PAGE}") });
        }
        Ok(Wanted {
            after: number("after", self.after.as_ref())?,
            level: given(self.level.as_ref()).map(level).transpose()?,
            target: short("target", self.target.as_ref(), LINE_TARGET_MAX)?,
            contains: short("contains", self.contains.as_ref(), SHOWN_TEXT_MAX)?,
            limit: u32::try_from(limit).unwrap_or(u32::MAX),
        })
    }
}

/// A line of a node's or an edge's log.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub(crate) struct LogLine {
    /// Its number: a cursor. It begins anew with the process.
    n: u64,
    /// When, by the process's clock.
    #[schema(value_type = schema::Time)]
    at: Unix,
    /// `error`, `warn`, `info`, `debug`, `trace`.
    level: &'static str,
    /// The part of the program that says it.
    target: String,
    /// What, with its fields.
    text: String,
}

impl From<Line> for LogLine {
    fn from(line: Line) -> Self {
        let Line { n, at, level, target, text } = line;
        Self { n, at, level: level.name(), target, text }
    }
}

/// What a process logs, other than it was told at its start.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub(crate) struct ChangedLevel {
    /// Up to which level Chappe's own parts are heard.
    level: &'static str,
    /// Until when.
    #[schema(value_type = schema::Time)]
    until: Unix,
}

/// Lines of a node's or an edge's log.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub(crate) struct LogView {
    /// Oldest first.
    lines: Vec<LogLine>,
    /// Ask `after` this for what follows.
    next: u64,
    /// So many lines came after `after` and are held no more.
    missed: u64,
    /// Whether more is held.
    more: bool,
    /// That the process logs more or less than it was told at its start, for a while.
    changed: Option<ChangedLevel>,
}

impl From<LogPage> for LogView {
    fn from(page: LogPage) -> Self {
        let changed =
            page.changed.map(|changed| ChangedLevel { level: changed.level.name(), until: changed.until });
        let lines = page.lines.into_iter().map(LogLine::from).collect();
        Self { lines, next: page.next, missed: page.missed, more: page.more, changed }
    }
}

/// Shows what a node has logged lately.
#[utoipa::path(
    get, path = "/nodes/{node}/logs", tag = "logs", params(("node" = schema::Node, Path), Asked),
    responses((status = 200, body = LogView))
)]
async fn page(
    _: Operator,
    mount: Data<Mount>,
    path: Path<String>,
    asked: Query<Asked>,
) -> Result<Json<LogView>, Problem> {
    page_of(&mount, Process::Node(node_id(&path)?), &asked).await
}

async fn page_of(mount: &Mount, of: Process, asked: &Asked) -> Result<Json<LogView>, Problem> {
    Ok(Json(mount.cluster.logs(of, asked.wanted()?).await?.into()))
}

/// The same as server-sent events.
///
/// `line` with one of them, `gap` with how many were `missed`, `level` with what has `changed` of what it logs,
/// `watching` once the node answers, `fault` with `detail` while it does not.
#[utoipa::path(
    get, path = "/nodes/{node}/logs/stream", tag = "logs", params(("node" = schema::Node, Path), Asked),
    responses((status = 200, content_type = "text/event-stream", body = String))
)]
async fn live(
    who: Operator,
    mount: Data<Mount>,
    path: Path<String>,
    asked: Query<Asked>,
    last: LastId,
) -> Result<HttpResponse, Problem> {
    live_of(&mount, who, Process::Node(node_id(&path)?), &asked, &last).await
}

async fn live_of(
    mount: &Mount,
    who: Operator,
    of: Process,
    asked: &Asked,
    last: &LastId,
) -> Result<HttpResponse, Problem> {
    let mut wanted = asked.wanted()?;
    there(&*mount.cluster, &of).await?;
    wanted.after = last.number().or(wanted.after);
    let cluster = Arc::clone(&mount.cluster);
    events::stream(mount, who.0, move |feed| follow(cluster, of, wanted, feed))
}

/// Fails where there is no such node or edge.
async fn there(cluster: &dyn Cluster, of: &Process) -> Result<(), Problem> {
    match of {
        Process::Node(node) => {
            cluster.status().await.member(*node).map(drop).ok_or(Problem::NotFound("node"))
        }
        Process::Edge(edge) => {
            let mut edges = cluster.edges().await.into_iter();
            let held = edges.find(|held| held.edge == *edge && held.state != EdgeState::Removed);
            held.map(drop).ok_or(Problem::NotFound("edge"))
        }
    }
}

async fn follow(cluster: Arc<dyn Cluster>, of: Process, mut wanted: Wanted, feed: Feed) {
    let (mut state, mut level) = (None::<Event>, None::<Event>);
    loop {
        let page = cluster.logs(of.clone(), wanted.clone()).await.map(LogView::from);
        let now = match &page {
            Ok(_) => Event::json("watching", &json!({})),
            Err(fault) => Event::json("fault", &json!({ "detail": fault.to_string() })),
        };
        if state.as_ref() != Some(&now) {
            feed.put(state.insert(now).clone()).await;
        }
        if let Ok(page) = page {
            let changed = Event::json("level", &json!({ "changed": page.changed }));
            if level.as_ref() != Some(&changed) {
                feed.put(level.insert(changed).clone()).await;
            }
            if page.missed > 0 {
                feed.put(Event::json("gap", &json!({ "missed": page.missed }))).await;
            }
            wanted.after = Some(page.next);
            for line in page.lines {
                feed.put(Event::json("line", &line).with_id(line.n.to_string())).await;
            }
            if page.more {
                continue;
            }
        }
        sleep(LINES_EVERY).await;
    }
}

/// As which text lines are exported.
#[derive(Debug, Clone, Default, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(default)]
struct Form {
    /// `text`, which it is by default, or `json`: a JSON text on each line.
    format: Option<String>,
}

/// All that is held, a line each.
#[utoipa::path(
    get, path = "/nodes/{node}/logs/export", tag = "logs", params(("node" = schema::Node, Path), Asked, Form),
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
    export_of(&mount, Process::Node(node_id(&path)?), &asked, &form).await
}

async fn export_of(mount: &Mount, of: Process, asked: &Asked, form: &Form) -> Result<HttpResponse, Problem> {
    let mut wanted = asked.wanted()?;
    let json = match given(form.format.as_ref()) {
        None | Some("text") => false,
        Some("json") => true,
        Some(_) => return Err(Problem::Field { field: "format", fix: "`text` or `json`".to_owned() }),
    };
    wanted.after = wanted.after.or(Some(0));
    let (mut text, mut held) = (String::new(), 0);
    loop {
        let page = mount.cluster.logs(of.clone(), wanted.clone()).await?;
        wanted.after = Some(page.next);
        held += page.lines.len();
        for line in page.lines {
            text += &if json {
                serde_json::to_string(&LogLine::from(line)).unwrap_or_default()
            } else {
                let (at, level) = (crate::console::iso(line.at), line.level.name().to_uppercase());
                let (at, ms) = (at.trim_end_matches('Z'), line.at.0.subsec_millis());
                format!("{at}.{ms:03}Z {level:>5} {}: {}", line.target, line.text)
            };
            text.push('\n');
        }
        // What is said meanwhile is not exported without end.
        if !page.more || held >= LINES_KEPT {
            break;
        }
    }
    let (kind, ending) =
        if json { ("application/x-ndjson", "jsonl") } else { ("text/plain; charset=utf-8", "log") };
    let name = of.to_string().replace(' ', "-");
    Ok(HttpResponse::Ok()
        .content_type(kind)
        .insert_header(("Content-Disposition", format!("attachment; filename=\"{name}.{ending}\"")))
        .insert_header(("Cache-Control", "no-store"))
        .body(text))
}

/// How much a node or an edge is to log, for how long.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct LogLevel {
    /// `error`, `warn`, `info`, `debug`, `trace`: up to this Chappe's own parts are heard.
    level: String,
    /// For so many seconds, 1 to 3600; then it is what the process was told at its start.
    for_secs: u64,
}

/// Has a node log more, or less, for a while.
#[utoipa::path(
    put, path = "/nodes/{node}/logs/level", tag = "logs", params(("node" = schema::Node, Path)),
    request_body = LogLevel, responses((status = 204, description = "It does"))
)]
async fn set_level(
    operator: Operator,
    mount: Data<Mount>,
    path: Path<String>,
    body: Bytes,
) -> Result<HttpResponse, Problem> {
    set_level_of(&mount, &operator, Process::Node(node_id(&path)?), &body).await
}

async fn set_level_of(
    mount: &Mount,
    operator: &Operator,
    of: Process,
    body: &Bytes,
) -> Result<HttpResponse, Problem> {
    let LogLevel { level: name, for_secs } = read(body)?;
    let level = level(&name)?;
    if !(1..=LEVEL_FOR_MAX.as_secs()).contains(&for_secs) {
        return Err(Problem::Field { field: "for_secs", fix: format!("1 to {}", LEVEL_FOR_MAX.as_secs()) });
    }
    let note = operator.note(&format!("set the log of {of} to {} for {for_secs} s", level.name()));
    mount.cluster.log_level(of, Some(level), Duration::from_secs(for_secs), note).await?;
    Ok(HttpResponse::NoContent().finish())
}

/// Has a node log again as it was told at its start.
#[utoipa::path(
    delete, path = "/nodes/{node}/logs/level", tag = "logs", params(("node" = schema::Node, Path)),
    responses((status = 204, description = "It does"))
)]
async fn reset_level(
    operator: Operator,
    mount: Data<Mount>,
    path: Path<String>,
) -> Result<HttpResponse, Problem> {
    reset_level_of(&mount, &operator, Process::Node(node_id(&path)?)).await
}

async fn reset_level_of(mount: &Mount, operator: &Operator, of: Process) -> Result<HttpResponse, Problem> {
    let note = operator.note(&format!("ended the change of {of}'s log"));
    mount.cluster.log_level(of, None, Duration::ZERO, note).await?;
    Ok(HttpResponse::NoContent().finish())
}

#[cfg(test)]
mod tests;
