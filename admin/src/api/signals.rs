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
mod tests {
    use actix_web::body::MessageBody;
    use actix_web::http::Method;
    use actix_web::test::{self, TestRequest};
    use actix_web::{App, dev::ServiceResponse};
    use chappe_proto::mesh::uplink::Secret;
    use chappe_proto::signal::json::Json as Text;
    use chappe_proto::signal::route::{Content, Signal};

    use super::*;
    use crate::memory::{Memory, ask, bytes, refused};

    const SIGNALS: &str = "/apps/dev/rooms/tower/signals";

    fn signal(id: u64, kind: &str, payload: &Value) -> Signal {
        let [from, to] = [1, 2].map(|n| PeerId::from_random([n; 15]));
        let payload = Text::parse(&payload.to_string()).unwrap();
        Signal {
            from,
            to,
            id,
            settled: 0,
            content: Content { connection: None, kind: kind.to_owned().into(), payload },
        }
    }

    fn call() -> Arc<Memory> {
        let memory = Arc::new(Memory::default());
        memory.live.begin(true);
        memory.live.signal(signal(
            1,
            "offer",
            &json!({ "sdp": "m=audio 9 RTP/AVP 0\r\na=ice-pwd:hidden\r\n" }),
        ));
        memory.live.signal(signal(2, "candidate", &json!("candidate:1 1 udp 1 192.0.2.77 1 typ host")));
        memory
    }

    async fn get(memory: &Arc<Memory>, query: &str) -> Value {
        let (status, answer) = ask(memory, Method::GET, &format!("{SIGNALS}{query}"), Value::Null).await;
        assert_eq!(status, 200, "{answer}");
        answer
    }

    #[actix_rt::test]
    async fn what_passes_a_room_is_told_redacted_page_by_page() {
        let memory = call();
        let first = get(&memory, "?limit=1").await;
        assert_eq!((first["signals"].as_array().unwrap().len(), &first["more"]), (1, &json!(true)));
        let offer = &first["signals"][0];
        assert_eq!(
            (&offer["what"], &offer["kind"], &offer["fate"]),
            (&json!("signal"), &json!("offer"), &json!("relayed"))
        );
        assert_eq!(offer["payload"]["sdp"]["media"][0]["media"], "audio");
        let second = get(&memory, &format!("?after={}", first["next"])).await;
        assert_eq!(second["signals"][0]["payload"]["candidate"]["network"], "192.0.2.0/24");
        assert_eq!(second["more"], false);
        assert!(!format!("{first}{second}").contains("hidden"));
        let kinds = get(&memory, "?kind=candidate&peer=").await;
        assert_eq!(kinds["signals"].as_array().unwrap().len(), 1);
        assert!(memory.with(|state| state.audit().count()) == 0);
    }

    #[actix_rt::test]
    async fn who_sees_all_is_in_the_audit_log() {
        let memory = call();
        let plain = get(&memory, "?plain=true").await;
        assert!(plain.to_string().contains("hidden"));
        let audited = memory.with(|state| state.audit().last().map(|entry| format!("{entry:?}"))).unwrap();
        assert!(audited.contains("looked at the signals of room tower of app dev in full"), "{audited}");
    }

    #[actix_rt::test]
    async fn all_that_is_held_is_exported_a_line_each() {
        let memory = call();
        for id in 3..=1_200 {
            memory.live.signal(signal(id, "chat", &json!({ "text": "hidden" })));
        }
        let (status, body) =
            bytes(&memory, Method::GET, &format!("{SIGNALS}/export?kind=chat"), Value::Null).await;
        let text = String::from_utf8(body.to_vec()).unwrap();
        assert_eq!((status.as_u16(), text.lines().count()), (200, 1_198));
        assert!(
            text.lines().all(|line| serde_json::from_str::<Value>(line).is_ok()) && !text.contains("hidden")
        );
    }

    #[actix_rt::test]
    async fn each_refusal_names_what_to_mend() {
        let memory = call();
        for (query, words) in [
            ("?after=x", "400 after: give a whole number"),
            ("?limit=0", "400 limit: 1 to 500"),
            ("?limit=501", "400 limit: 1 to 500"),
            ("?peer=x", "400 peer: p_ and 24 characters"),
            ("?plain=yes", "400 plain: `true` or `false`"),
        ] {
            assert_eq!(refused(&memory, Method::GET, &format!("{SIGNALS}{query}"), Value::Null).await, words);
        }
        let long = format!("{SIGNALS}?kind={}", "k".repeat(65));
        assert_eq!(refused(&memory, Method::GET, &long, Value::Null).await, "400 kind: at most 64 bytes");
        for path in ["/apps/other/rooms/tower/signals", "/apps/dev/rooms/none/signals/export"] {
            assert_eq!(refused(&memory, Method::GET, path, Value::Null).await, "404 there is no such room");
        }
    }

    async fn open(
        memory: &Arc<Memory>,
        path: &str,
        last: Option<&str>,
        token: &str,
    ) -> (ServiceResponse, Mount) {
        let mount = Mount::new(Arc::clone(memory) as Arc<dyn Cluster>, Secret(b"right".to_vec()));
        let app = test::init_service(App::new().configure(|config| mount.configure(config))).await;
        let mut request = TestRequest::with_uri(&format!("/admin/api/v1{SIGNALS}{path}"))
            .insert_header(("Authorization", format!("Bearer {token}")));
        if let Some(last) = last {
            request = request.insert_header(("Last-Event-ID", last));
        }
        (test::call_service(&app, request.to_request()).await, mount)
    }

    #[actix_rt::test]
    async fn a_stream_tells_each_signal_and_goes_on_where_it_was() {
        let memory = call();
        let first = get(&memory, "?limit=1").await["next"].as_u64().unwrap();
        let (answer, mount) = open(&memory, "/events", Some(&first.to_string()), "right").await;
        assert_eq!(answer.status(), 200);
        let mut body = Box::pin(answer.into_body());
        let mut next = async || {
            let piece = std::future::poll_fn(|cx| body.as_mut().poll_next(cx)).await.unwrap().ok().unwrap();
            String::from_utf8(piece.to_vec()).unwrap()
        };
        assert!(next().await.starts_with("retry: "));
        assert_eq!(next().await, "event: watching\ndata: {}\n\n");
        let told = next().await;
        assert!(told.starts_with(&format!("id: {}\nevent: signal\ndata: {{\"n\":", first + 1)), "{told}");
        assert!(told.contains("192.0.2.0/24") && told.ends_with("}\n\n"), "{told}");
        memory.live.begin(false);
        assert_eq!(next().await, "event: absent\ndata: {}\n\n");
        memory.live.begin(true);
        memory.live.signal(signal(1, "chat", &json!(1)));
        // The room's clock stands still here: the watch after has the numbers of the one before.
        assert_eq!(next().await, "event: watching\ndata: {}\n\n");
        let told = next().await;
        assert!(told.starts_with("event: gap\ndata: {\"anew\":true,\"missed\":0}"), "{told}");
        assert!(next().await.contains("chat"));
        assert_eq!(mount.streams.len(), 1);
        drop(body);
        assert_eq!(mount.streams.len(), 0);
    }

    #[actix_rt::test]
    async fn all_is_for_owners_alone() {
        let memory = call();
        for role in ["viewer", "operator"] {
            let wish = json!({ "label": role, "role": role });
            let (status, made) = ask(&memory, Method::POST, "/access-tokens", wish).await;
            assert_eq!(status, 201, "{made}");
            let token = made["token"].as_str().unwrap();
            assert_eq!(open(&memory, "", None, token).await.0.status(), 200);
            for path in ["?plain=true", "/events?plain=true", "/export?plain=true"] {
                assert_eq!(open(&memory, path, None, token).await.0.status(), 403, "{role} {path}");
            }
        }
        assert_eq!(open(&memory, "?plain=true", None, "right").await.0.status(), 200);
    }

    #[actix_rt::test]
    async fn a_stream_ends_with_what_it_was_opened_by() {
        let memory = call();
        let wish = json!({ "label": "ci", "role": "viewer" });
        let made = ask(&memory, Method::POST, "/access-tokens", wish).await.1;
        let (answer, _) = open(&memory, "/events", None, made["token"].as_str().unwrap()).await;
        let mut body = Box::pin(answer.into_body());
        let mut next = async || {
            let piece = std::future::poll_fn(|cx| body.as_mut().poll_next(cx)).await?;
            Some(String::from_utf8(piece.ok().unwrap().to_vec()).unwrap())
        };
        assert!(next().await.unwrap().starts_with("retry: "));
        assert_eq!(next().await.unwrap(), "event: watching\ndata: {}\n\n");
        let path = format!("/access-tokens/{}", made["id"].as_str().unwrap());
        assert_eq!(ask(&memory, Method::DELETE, &path, Value::Null).await.0, 204);
        assert_eq!(next().await, None, "two signals wait for it");
    }

    #[actix_rt::test]
    async fn nobody_else_is_told() {
        let memory = call();
        for path in ["", "/events", "/export"] {
            assert_eq!(open(&memory, path, None, "wrong").await.0.status(), 401, "{path}");
        }
    }
}
