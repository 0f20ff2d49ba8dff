//! `…/rooms/{room}/signals`: what passes a room, live.

#![allow(unused_qualifications, reason = "utoipa writes them for parameters")]

use std::sync::Arc;

use actix_web::HttpResponse;
use actix_web::web::{self, Data, Json, Path, Query, ServiceConfig};
use chappe_proto::id::{PeerId, RoomKey};
use chappe_proto::inspect::{Filter, Passed, SignalsPage};
use chappe_proto::limits::{KIND_MAX, SHOWN_TEXT_MAX, SIGNALS_EVERY, SIGNALS_PAGE};
use chappe_proto::registry::access::Role;
use chappe_proto::time::Unix;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use tokio::time::sleep;
use utoipa::{IntoParams, OpenApi, ToSchema};

use crate::access::OfApp;
use crate::api::events::{self, Event, Feed, LastId};
use crate::api::problem::Problem;
use crate::api::rooms::key;
use crate::cluster::control::Fault;
use crate::cluster::inspect::SignalsAsk;
use crate::{Cluster, Mount};

pub(crate) fn routes(config: &mut ServiceConfig) {
    config
        .route("/apps/{app}/rooms/{room}/signals", web::get().to(page))
        .route("/apps/{app}/rooms/{room}/signals/events", web::get().to(live))
        .route("/apps/{app}/rooms/{room}/signals/export", web::get().to(export));
}

/// What is described of it.
#[derive(OpenApi)]
#[openapi(paths(page, live, export))]
pub(crate) struct Part;

/// Which of it is asked for.
#[derive(Debug, Clone, Default, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(default)]
struct Wanted {
    /// The number of the last that is known (`next` of the page before); without it all that is held.
    #[param(value_type = Option<u64>)]
    after: Option<String>,
    /// Only what this peer sends or is sent: `p_…`.
    peer: Option<String>,
    /// Only signals of this kind (`offer`, `candidate`, …), or only `signal`, `ack`, `broadcast`, `join`, `refused`,
    /// `leave`, `away`, `back`, `update`, `mute`, `kick`.
    kind: Option<String>,
    /// Only what has this text in it, as it is shown.
    text: Option<String>,
    /// As many at most: 1 to 500.
    #[param(value_type = Option<u32>)]
    limit: Option<String>,
    /// `true`: payloads as they are, for owners. It is written into the audit log.
    #[param(value_type = Option<bool>)]
    plain: Option<String>,
}

fn number<T: std::str::FromStr>(field: &'static str, text: Option<&String>) -> Result<Option<T>, Problem> {
    let wrong = |_| Problem::Field { field, fix: "give a whole number".to_owned() };
    text.map(|text| text.parse()).transpose().map_err(wrong)
}

impl Wanted {
    fn ask(&self, who: &OfApp) -> Result<SignalsAsk, Problem> {
        let peer: Option<PeerId> = self
            .peer
            .as_ref()
            .filter(|peer| !peer.is_empty())
            .map(|peer| {
                peer.parse().map_err(|_| Problem::Field { field: "peer", fix: "p_ and 24 characters".into() })
            })
            .transpose()?;
        let short = |field, text: &Option<String>, most| match text {
            Some(text) if text.len() > most => {
                Err(Problem::Field { field, fix: format!("at most {most} bytes") })
            }
            text => Ok(text.clone().filter(|text| !text.is_empty())),
        };
        let limit = number("limit", self.limit.as_ref())?.unwrap_or(SIGNALS_PAGE);
        if !(1..=SIGNALS_PAGE).contains(&limit) {
            return Err(Problem::Field { field: "limit", fix: format!("1 to {SIGNALS_PAGE}") });
        }
        let plain = match self.plain.as_deref() {
            None | Some("" | "false") => false,
            Some("true") => true,
            Some(_) => return Err(Problem::Field { field: "plain", fix: "`true` or `false`".into() }),
        };
        let limit = u32::try_from(limit).unwrap_or(u32::MAX);
        let (kind, text) = (short("kind", &self.kind, KIND_MAX)?, short("text", &self.text, SHOWN_TEXT_MAX)?);
        let after = number("after", self.after.as_ref())?.unwrap_or(0);
        let by_app = who.app.is_some();
        Ok(SignalsAsk { after, filter: Filter { peer, kind, text }, limit, plain, by_app })
    }
}

/// Something that passed a room.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub(crate) struct SignalLine {
    /// Its number: a cursor. One above that of what passed before.
    n: u64,
    /// When, by the clock of the node that runs the room.
    #[schema(value_type = u64)]
    at: Unix,
    /// `signal`, `ack`, `broadcast`, `join`, `refused`, `leave`, `away`, `back`, `update`, `mute`, `kick`.
    what: &'static str,
    /// Who sent it, or whom it is about; of an acknowledgement the signals' receiver.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>)]
    from: Option<PeerId>,
    /// For whom.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>)]
    to: Option<PeerId>,
    /// A signal's id between those two; of a broadcast its number in the room.
    #[serde(skip_serializing_if = "Option::is_none")]
    id: Option<u64>,
    /// A signal's kind.
    #[serde(skip_serializing_if = "Option::is_none")]
    kind: Option<String>,
    /// A signal's connection, hidden: equal ones look equal.
    #[serde(skip_serializing_if = "Option::is_none")]
    connection: Option<String>,
    /// The payload's length in bytes.
    #[serde(skip_serializing_if = "Option::is_none")]
    size: Option<u32>,
    /// What became of a signal: `relayed`, `waits` for a receiver who has no socket right now, `undelivered`.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>)]
    fate: Option<chappe_proto::inspect::Fate>,
    /// Why: of a leave, a refusal.
    #[serde(skip_serializing_if = "Option::is_none")]
    why: Option<String>,
    /// What it says, redacted: of an SDP its media, codecs and candidates' types, of a candidate its type, of an app's
    /// own kinds the names on its top level.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<Object>)]
    payload: Option<Value>,
}

impl From<Passed> for SignalLine {
    fn from(passed: Passed) -> Self {
        let payload =
            passed.payload.map(|payload| serde_json::from_str(payload.as_str()).unwrap_or_default());
        Self {
            n: passed.n,
            at: passed.at,
            what: passed.what.name(),
            from: passed.from,
            to: passed.to,
            id: passed.id,
            kind: passed.kind,
            connection: passed.connection,
            size: passed.size,
            fate: passed.fate,
            why: passed.why,
            payload,
        }
    }
}

/// What passed a room.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub(crate) struct SignalsView {
    /// Oldest first.
    signals: Vec<SignalLine>,
    /// Ask `after` this for what follows.
    next: u64,
    /// So many passed after `after` and are held no more.
    missed: u64,
    /// Nobody had watched for a while, or the room runs elsewhere now: what passed after `after` is not known.
    anew: bool,
    /// Signals that were sent again since the watch began; each is listed once.
    again: u64,
    /// Whether more is held.
    more: bool,
}

impl From<SignalsPage> for SignalsView {
    fn from(page: SignalsPage) -> Self {
        let SignalsPage { passed, next, missed, anew, again, more } = page;
        Self { signals: passed.into_iter().map(SignalLine::from).collect(), next, missed, anew, again, more }
    }
}

/// Whoever sees all is an owner, and in the audit log first.
async fn admitted(who: &OfApp, mount: &Mount, room: &RoomKey, ask: &SignalsAsk) -> Result<(), Problem> {
    if ask.plain {
        if who.app.is_some() || who.role < Role::Owner {
            return Err(Problem::Forbidden("plain: payloads as they are take the role owner".to_owned()));
        }
        let note =
            who.note(&format!("looked at the signals of room {} of app {} in full", room.room, room.app));
        mount.cluster.looked(note).await?;
    }
    Ok(())
}

/// What passed a room. It is watched from the first question on, and for ten seconds after each.
#[utoipa::path(
    get,
    path = "/apps/{app}/rooms/{room}/signals",
    tag = "signals",
    params(("app" = String, Path), ("room" = String, Path), Wanted),
    responses((status = 200, body = SignalsView), (status = 404, description = "nobody is in that room"))
)]
async fn page(
    who: OfApp,
    mount: Data<Mount>,
    path: Path<(String, String)>,
    wanted: Query<Wanted>,
) -> Result<Json<SignalsView>, Problem> {
    let (room, ask) = (key(&path.0, &path.1)?, wanted.ask(&who)?);
    admitted(&who, &mount, &room, &ask).await?;
    Ok(Json(mount.cluster.signals(room, ask).await?.into()))
}

/// The same as server-sent events.
///
/// `signal` with one of them, `gap` with `missed` and `anew`, `watching` once the room is
/// watched, `absent` while nobody is in it, `fault` with `detail` while it cannot be asked. It follows the room wherever it moves.
#[utoipa::path(
    get,
    path = "/apps/{app}/rooms/{room}/signals/events",
    tag = "signals",
    params(("app" = String, Path), ("room" = String, Path), Wanted),
    responses((status = 200, content_type = "text/event-stream", body = String))
)]
async fn live(
    who: OfApp,
    mount: Data<Mount>,
    path: Path<(String, String)>,
    wanted: Query<Wanted>,
    last: LastId,
) -> Result<HttpResponse, Problem> {
    let (room, mut ask) = (key(&path.0, &path.1)?, wanted.ask(&who)?);
    admitted(&who, &mount, &room, &ask).await?;
    ask.after = last.number().unwrap_or(ask.after);
    let cluster = Arc::clone(&mount.cluster);
    events::stream(&mount, who.0, move |feed| follow(cluster, room, ask, feed))
}

async fn follow(cluster: Arc<dyn Cluster>, room: RoomKey, mut ask: SignalsAsk, feed: Feed) {
    let mut state = None::<Event>;
    loop {
        let asked = cluster.signals(room.clone(), ask.clone()).await;
        let now = match &asked {
            Ok(_) => Event::json("watching", &json!({})),
            Err(Fault::NotThere(_)) => Event::json("absent", &json!({})),
            Err(fault) => Event::json("fault", &json!({ "detail": fault.to_string() })),
        };
        if state.as_ref() != Some(&now) {
            feed.put(state.insert(now).clone()).await;
        }
        if let Ok(page) = asked {
            if page.missed > 0 || page.anew {
                feed.put(Event::json("gap", &json!({ "missed": page.missed, "anew": page.anew }))).await;
            }
            ask.after = page.next;
            for passed in page.passed {
                let id = passed.n.to_string();
                feed.put(Event::json("signal", &SignalLine::from(passed)).with_id(id)).await;
            }
            if page.more {
                continue;
            }
        }
        sleep(SIGNALS_EVERY).await;
    }
}

/// All that is held, a JSON text on each line.
#[utoipa::path(
    get,
    path = "/apps/{app}/rooms/{room}/signals/export",
    tag = "signals",
    params(("app" = String, Path), ("room" = String, Path), Wanted),
    responses((status = 200, content_type = "application/x-ndjson", body = String))
)]
async fn export(
    who: OfApp,
    mount: Data<Mount>,
    path: Path<(String, String)>,
    wanted: Query<Wanted>,
) -> Result<HttpResponse, Problem> {
    let (room, mut ask) = (key(&path.0, &path.1)?, wanted.ask(&who)?);
    admitted(&who, &mount, &room, &ask).await?;
    let mut lines = String::new();
    loop {
        let page = mount.cluster.signals(room.clone(), ask.clone()).await?;
        ask.after = page.next;
        for passed in page.passed {
            lines += &serde_json::to_string(&SignalLine::from(passed)).unwrap_or_default();
            lines.push('\n');
        }
        if !page.more {
            break;
        }
    }
    Ok(HttpResponse::Ok()
        .content_type("application/x-ndjson")
        .insert_header(("Content-Disposition", "attachment; filename=\"signals.ndjson\""))
        .body(lines))
}

#[cfg(test)]
#[path = "signals/tests.rs"]
mod tests;
