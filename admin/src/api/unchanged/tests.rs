use std::sync::Arc;

use actix_web::http::Method;
use actix_web::{App, test};
use chappe_proto::id::{AppId, HookId, OperatorName, RoomKey, RoomName};
use chappe_proto::mesh::uplink::Secret;
use chappe_proto::registry::access::{AccessChange, LinkFor, Role};
use chappe_proto::registry::{AppPolicy, Command, HookPlan, RoomPolicy};
use chappe_proto::time::Unix;
use serde_json::{Value, json};

use super::*;
use crate::memory::{Memory, ask, refused, with_dev};
use crate::{Cluster, Mount};

fn dev() -> AppId {
    AppId::new("dev").unwrap()
}

fn hall() -> RoomKey {
    RoomKey { app: dev(), room: RoomName::new("hall").unwrap() }
}

fn hook() -> HookId {
    HookId::from_random([9; 15])
}

fn ada() -> OperatorName {
    OperatorName::new("ada").unwrap()
}

/// One with an app, a room, a webhook and an operator.
async fn memory() -> Arc<Memory> {
    let memory = with_dev().await;
    let does = |command| memory.apply(command, None).unwrap();
    let plan = HookPlan {
        url: "https://a.example/".into(),
        events: [].into(),
        label: String::new(),
        disabled: false,
    };
    does(room_set(RoomPolicy::default()));
    does(Command::HookAdd { app: dev(), hook: hook(), plan, secret: Secret(vec![1; 32]) });
    let (id, hash) = (chappe_proto::id::LinkId::from_random([1; 15]), Secret(vec![1; 32]));
    let of = LinkFor::New { role: Role::Viewer, name: Some(ada()) };
    does(Command::Access(AccessChange::LinkAdd { id, hash, of, until: Unix::from_secs(60), by: None }));
    let password = Secret(b"$argon2id$".to_vec());
    does(Command::Access(AccessChange::LinkUse { id, name: ada(), password }));
    memory
}

fn room_set(policy: RoomPolicy) -> Command {
    Command::RoomSet { room: hall(), policy, by: String::new(), since: None }
}

/// What somebody else does to each: to another field than the one that is asked for.
fn others() -> [Command; 4] {
    let plan = HookPlan {
        url: "https://a.example/".into(),
        events: [].into(),
        label: "theirs".into(),
        disabled: false,
    };
    let policy = AppPolicy { capacity: 7, ..AppPolicy::default() };
    [
        Command::AppSet { app: dev(), name: "Theirs".to_owned(), policy, since: None },
        room_set(RoomPolicy { capacity: Some(7), ..RoomPolicy::default() }),
        Command::HookSet { app: dev(), hook: hook(), plan, since: None },
        Command::Access(AccessChange::OperatorSet {
            name: ada(),
            role: Role::Operator,
            disabled: false,
            since: None,
        }),
    ]
}

/// A change of a part of each.
fn changes() -> [(Method, String, Value); 4] {
    [
        (Method::PATCH, "/apps/dev".to_owned(), json!({ "anonymous": true })),
        (Method::PATCH, "/apps/dev/rooms/hall".to_owned(), json!({ "locked": true })),
        (Method::PATCH, format!("/apps/dev/webhooks/{}", hook()), json!({ "disabled": true })),
        (Method::PUT, "/operators/ada".to_owned(), json!({ "disabled": true })),
    ]
}

#[actix_rt::test]
async fn of_two_who_change_different_parts_at_once_both_come_through() {
    let memory = memory().await;
    for (other, (method, path, change)) in others().into_iter().zip(changes()) {
        memory.overtaken_by([other]);
        let (status, told) = ask(&memory, method, &path, change).await;
        assert!(status < 300, "{path}: {status} {told}");
    }
    let (_, app) = ask(&memory, Method::GET, "/apps/dev", Value::Null).await;
    assert_eq!((&app["policy"]["capacity"], &app["policy"]["anonymous"]), (&json!(7), &json!(true)));
    let (_, room) = ask(&memory, Method::GET, "/apps/dev/rooms/hall", Value::Null).await;
    assert_eq!((&room["policy"]["capacity"], &room["policy"]["locked"]), (&json!(7), &json!(true)));
    let (_, hooks) = ask(&memory, Method::GET, "/apps/dev/webhooks", Value::Null).await;
    assert_eq!((&hooks[0]["label"], &hooks[0]["disabled"]), (&json!("theirs"), &json!(true)));
    let (_, operators) = ask(&memory, Method::GET, "/operators", Value::Null).await;
    assert_eq!((&operators[0]["role"], &operators[0]["disabled"]), (&json!("operator"), &json!(true)));
}

#[actix_rt::test]
async fn whoever_is_overtaken_each_time_is_told_to_try_again() {
    let memory = memory().await;
    let [app, ..] = others();
    memory.overtaken_by((0..CHANGE_ATTEMPTS).map(|_| app.clone()));
    let [(method, path, change), ..] = changes();
    let told = refused(&memory, method, &path, change).await;
    assert_eq!(told, "409 this app has changed since: try again");
    let (_, app) = ask(&memory, Method::GET, "/apps/dev", Value::Null).await;
    assert_eq!(app["policy"]["anonymous"], json!(false), "nothing half done");
}

#[actix_rt::test]
async fn of_two_who_make_a_room_at_once_one_is_told_that_it_is_made() {
    let memory = with_dev().await;
    memory.overtaken_by([room_set(RoomPolicy { locked: true, ..RoomPolicy::default() })]);
    let told = refused(&memory, Method::POST, "/apps/dev/rooms", json!({ "room": "hall" })).await;
    assert_eq!(told, "409 the room hall is made already: change it by PATCH");
    let (_, room) = ask(&memory, Method::GET, "/apps/dev/rooms/hall", Value::Null).await;
    assert_eq!(room["policy"]["locked"], json!(true));
}

/// Asks with `If-Match`: the status, the `ETag`, the answer.
async fn with_tag(
    memory: &Arc<Memory>,
    (method, path, body): (Method, String, Value),
    tag: Option<&str>,
) -> (u16, String, Value) {
    let mount = Mount::new(Arc::clone(memory) as Arc<dyn Cluster>, Secret(b"right".to_vec()));
    let app = test::init_service(App::new().configure(|config| mount.configure(config))).await;
    let mut request = test::TestRequest::with_uri(&format!("/admin/api/v1{path}")).method(method);
    request = request.insert_header(("Authorization", "Bearer right"));
    if let Some(tag) = tag {
        request = request.insert_header(("If-Match", tag));
    }
    if !body.is_null() {
        request = request.set_json(body);
    }
    let answer = test::call_service(&app, request.to_request()).await;
    let etag = answer.headers().get(header::ETAG).map(|tag| tag.to_str().unwrap().to_owned());
    let status = answer.status().as_u16();
    let body = serde_json::from_slice(&test::read_body(answer).await).unwrap_or(Value::Null);
    (status, etag.unwrap_or_default(), body)
}

#[actix_rt::test]
async fn what_has_changed_since_it_was_read_is_refused_by_if_match() {
    let memory = memory().await;
    for (other, (method, path, change)) in others().into_iter().zip(changes()) {
        let read = async || {
            if method == Method::PUT {
                let (_, _, all) =
                    with_tag(&memory, (Method::GET, "/operators".into(), Value::Null), None).await;
                return format!("\"{}\"", all[0]["revision"]);
            }
            with_tag(&memory, (Method::GET, path.clone(), Value::Null), None).await.1
        };
        let seen = read().await;
        assert!(seen.len() > 2, "{path}: {seen}");
        memory.apply(other.clone(), None).unwrap();
        let asked = || (method.clone(), path.clone(), change.clone());
        let (status, _, told) = with_tag(&memory, asked(), Some(&seen)).await;
        assert_eq!((status, &told["field"]), (412, &json!("If-Match")), "{path}: {told}");
        for wrong in ["", "1", "\u{fc}", "W/\"1\""] {
            assert_eq!(with_tag(&memory, asked(), Some(wrong)).await.0, 412, "{path}: {wrong}");
        }
        let now = format!("{seen}, {}", read().await);
        // One that comes between now is no reason to merge: it is not what the client has seen.
        if method == Method::PATCH {
            memory.overtaken_by([other]);
            assert_eq!(with_tag(&memory, asked(), Some(&now)).await.0, 412, "{path}");
        }
        assert!(with_tag(&memory, asked(), Some(&read().await)).await.0 < 300, "{path}");
        assert!(with_tag(&memory, asked(), Some("*")).await.0 < 300, "{path}");
    }
}
