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
    memory.live.signal(signal(1, "offer", &json!({ "sdp": "m=audio 9 RTP/AVP 0\r\na=ice-pwd:hidden\r\n" })));
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
    assert!(text.lines().all(|line| serde_json::from_str::<Value>(line).is_ok()) && !text.contains("hidden"));
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

async fn open(memory: &Arc<Memory>, path: &str, last: Option<&str>, token: &str) -> (ServiceResponse, Mount) {
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
