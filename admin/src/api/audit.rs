//! `/admin/api/v1/audit`: who changed what, from where, when.
#![allow(unused_qualifications, reason = "in what utoipa makes of `params`")]

use actix_web::HttpResponse;
use actix_web::web::{self, Data, Json, Query, ServiceConfig};
use chappe_proto::id::Index;
use chappe_proto::registry::{Audit, Chain, verify};
use chappe_proto::time::Unix;
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, OpenApi, ToSchema};

use crate::Mount;
use crate::access::Viewer;
use crate::api::problem::Problem;
use crate::cluster::AuditLog;

/// Lines of a page unless said otherwise,
const PAGE: usize = 100;
/// and at most: under half a megabyte.
const PAGE_MAX: usize = 1_000;

pub(crate) fn routes(config: &mut ServiceConfig) {
    config
        .route("/audit", web::get().to(audit))
        .route("/audit/export", web::get().to(export))
        .route("/audit/verify", web::get().to(check));
}

/// What is described of it.
#[derive(OpenApi)]
#[openapi(paths(audit, export, check))]
pub(crate) struct Part;

/// Which lines.
#[derive(Debug, Clone, Default, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Filter {
    /// Of whom, exactly.
    pub(crate) who: Option<String>,
    /// With this text anywhere, whatever its case.
    pub(crate) text: Option<String>,
    /// From then on, in milliseconds since 1970.
    #[param(value_type = Option<u64>)]
    pub(crate) since: Option<Unix>,
    /// Before then.
    #[param(value_type = Option<u64>)]
    pub(crate) until: Option<Unix>,
    /// Only what was refused, or only what was not.
    pub(crate) refused: Option<bool>,
    /// Those before this one: `next` of the page before.
    #[param(value_type = Option<u64>)]
    pub(crate) after: Option<Index>,
    /// How many: 1 to 1000; 100 where it is left out.
    pub(crate) limit: Option<usize>,
}

impl Filter {
    fn takes(&self, line: &Audit) -> bool {
        let Audit { index, at, note, .. } = line;
        let has = |text: &str| {
            let found = |held: &str| held.to_lowercase().contains(text);
            [&note.who, &note.what, &note.from]
                .into_iter()
                .chain(&line.before)
                .chain(&line.after)
                .any(|t| found(t))
        };
        self.who.as_ref().is_none_or(|who| *who == note.who)
            && self.since.is_none_or(|since| *at >= since)
            && self.until.is_none_or(|until| *at < until)
            && self.refused.is_none_or(|refused| refused == line.refused.is_some())
            && self.after.is_none_or(|after| *index < after)
            && self.text.as_ref().is_none_or(|text| has(&text.to_lowercase()))
    }
}

/// A line of the audit log.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub(crate) struct AuditLine {
    /// The entry of the registry that it came with; no two lines have the same.
    #[schema(value_type = u64)]
    pub(crate) index: Index,
    /// When, in milliseconds since 1970.
    #[schema(value_type = u64)]
    pub(crate) at: Unix,
    /// Who.
    pub(crate) who: String,
    /// What they did.
    pub(crate) what: String,
    /// From which address, or node.
    pub(crate) from: String,
    /// Why it was refused, in words.
    pub(crate) refused: Option<String>,
    /// How it was, where something changed that can be told shortly.
    pub(crate) before: Option<String>,
    /// How it is since.
    pub(crate) after: Option<String>,
}

impl AuditLine {
    fn of(line: &Audit) -> Self {
        let Audit { index, at, note, refused, before, after, .. } = line.clone();
        let refused = refused.map(|refusal| refusal.to_string());
        Self { index, at, who: note.who, what: note.what, from: note.from, refused, before, after }
    }
}

/// A page of lines, newest first.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub(crate) struct AuditPage {
    /// The lines.
    pub(crate) lines: Vec<AuditLine>,
    /// What `after` is for the next page; none where this is the last.
    #[schema(value_type = Option<u64>)]
    pub(crate) next: Option<Index>,
}

/// The audit log, newest first.
#[utoipa::path(
    get, path = "/audit", tag = "audit", params(Filter),
    responses((status = 200, body = AuditPage), (status = 400), (status = 401), (status = 403))
)]
pub(crate) async fn audit(
    _: Viewer,
    mount: Data<Mount>,
    filter: Query<Filter>,
) -> Result<Json<AuditPage>, Problem> {
    page_of(&mount.cluster.audit(), &filter).map(Json)
}

/// The lines that a filter asks for.
pub(crate) fn page_of(log: &AuditLog, filter: &Filter) -> Result<AuditPage, Problem> {
    let limit = filter.limit.unwrap_or(PAGE);
    if !(1..=PAGE_MAX).contains(&limit) {
        return Err(Problem::Field { field: "limit", fix: format!("1 to {PAGE_MAX}") });
    }
    let mut taken = log.lines.iter().rev().filter(|line| filter.takes(line));
    let lines: Vec<_> = taken.by_ref().take(limit).map(AuditLine::of).collect();
    let next = taken.next().and(lines.last().map(|line| line.index));
    Ok(AuditPage { lines, next })
}

/// A line as it is exported: with all by which its place in the chain is checked.
#[derive(Serialize)]
struct Exported<'a> {
    index: Index,
    at: Unix,
    who: &'a str,
    what: &'a str,
    from: &'a str,
    refused: Option<String>,
    before: Option<&'a str>,
    after: Option<&'a str>,
    previous: String,
    hash: String,
}

/// All lines that are kept, oldest first, as JSON lines, each with its hash and that of the line before.
///
/// A hash is SHA-256 over
/// the previous hash's 32 bytes and index, at, who, what, from, refused, before, after, each as a netstring, a hyphen
/// for what is null.
#[utoipa::path(
    get, path = "/audit/export", tag = "audit",
    responses((status = 200, content_type = "application/x-ndjson", body = String), (status = 401), (status = 403))
)]
pub(crate) async fn export(_: Viewer, mount: Data<Mount>) -> Result<HttpResponse, Problem> {
    let log = mount.cluster.audit();
    let (mut text, mut previous) = (String::new(), log.begins);
    for line in &log.lines {
        let exported = Exported {
            index: line.index,
            at: line.at,
            who: &line.note.who,
            what: &line.note.what,
            from: &line.note.from,
            refused: line.refusal(),
            before: line.before.as_deref(),
            after: line.after.as_deref(),
            previous: previous.to_string(),
            hash: line.hash.to_string(),
        };
        let written = serde_json::to_string(&exported);
        text += &written.map_err(|error| Problem::NotNow(format!("a line cannot be written: {error}")))?;
        text.push('\n');
        previous = line.hash;
    }
    Ok(HttpResponse::Ok()
        .content_type("application/x-ndjson")
        .insert_header(("Content-Disposition", "attachment; filename=\"chappe-audit.jsonl\""))
        .insert_header(("Cache-Control", "no-store"))
        .body(text))
}

/// Whether the lines that are kept are those that were written.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub(crate) struct Verified {
    /// Whether they are.
    intact: bool,
    /// How many there are.
    lines: usize,
    /// The hash that the oldest follows, in hexadecimal digits.
    begins: String,
    /// The hash of the newest. Keep it elsewhere: by it you know later that nothing before was changed.
    ends: String,
    /// The first line that is another one, or follows one that is missing.
    #[schema(value_type = Option<u64>)]
    broken: Option<Index>,
}

/// Checks the chain of the lines that are kept.
#[utoipa::path(
    get, path = "/audit/verify", tag = "audit",
    responses((status = 200, body = Verified), (status = 401), (status = 403))
)]
pub(crate) async fn check(_: Viewer, mount: Data<Mount>) -> Json<Verified> {
    let log = mount.cluster.audit();
    let broken = verify(&log.lines, log.begins).err().map(|broken| broken.0);
    let ends: Chain = log.lines.last().map_or(log.begins, |line| line.hash);
    Json(Verified {
        intact: broken.is_none(),
        lines: log.lines.len(),
        begins: log.begins.to_string(),
        ends: ends.to_string(),
        broken,
    })
}
