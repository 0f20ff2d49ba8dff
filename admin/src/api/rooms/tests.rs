use std::sync::Arc;

use actix_web::http::{Method, StatusCode};
use actix_web::{App, test};
use chappe_proto::mesh::uplink::Secret;
use serde_json::{Value, json};

use crate::Mount;
use crate::memory::rooms::{key, peer};
use crate::memory::{Memory, ask, refused, with_dev};

async fn status(method: &str, path: &str, token: Option<&str>) -> StatusCode {
    let mount = Mount::new(Arc::new(Memory::default()), Secret(b"right".to_vec()));
    let app = test::init_service(App::new().configure(|config| mount.configure(config))).await;
    let mut request = test::TestRequest::with_uri(&format!("/admin/api/v1{path}"));
    request = request.method(method.parse().unwrap());
    if let Some(token) = token {
        request = request.insert_header(("Authorization", format!("Bearer {token}")));
    }
    test::call_service(&app, request.to_request()).await.status()
}

#[actix_rt::test]
async fn only_the_operator_is_answered() {
    assert_eq!(status("GET", "/overview", Some("wrong")).await, StatusCode::UNAUTHORIZED);
    assert_eq!(status("GET", "/overview", Some("right")).await, StatusCode::OK);
    let peer = "/apps/a/rooms/r/peers/p_000000000000000000000000";
    assert_eq!(status("DELETE", peer, Some("right")).await, StatusCode::NOT_FOUND);
    let (mute, unmute) = (format!("{peer}/mute"), format!("{peer}/unmute"));
    let key = "/apps/a/keys/k_000000000000000000000000";
    let (disable, enable) = (format!("{key}/disable"), format!("{key}/enable"));
    for (method, path) in [
        ("GET", "/overview"),
        ("GET", "/rooms"),
        ("POST", "/apps/a/rooms"),
        ("GET", "/apps/a/rooms/r"),
        ("PATCH", "/apps/a/rooms/r"),
        ("DELETE", "/apps/a/rooms/r"),
        ("POST", "/apps/a/rooms/r/message"),
        ("DELETE", peer),
        ("POST", &mute),
        ("POST", &unmute),
        ("GET", "/apps/a/bans"),
        ("DELETE", "/apps/a/rooms/r/bans/i"),
        ("POST", "/apps"),
        ("DELETE", "/apps/a"),
        ("GET", "/apps/a/keys"),
        ("POST", "/apps/a/keys"),
        ("DELETE", key),
        ("POST", &disable),
        ("POST", &enable),
        ("POST", "/apps/a/tokens"),
    ] {
        assert_eq!(status(method, path, None).await, StatusCode::UNAUTHORIZED, "{method} {path}");
    }
}

#[actix_rt::test]
async fn bad_names_are_told() {
    assert_eq!(status("GET", "/apps/a/rooms/r", Some("right")).await, StatusCode::NOT_FOUND);
    assert_eq!(status("GET", "/apps/a/rooms/a%20b", Some("right")).await, StatusCode::BAD_REQUEST);
    assert_eq!(status("DELETE", "/apps/a/rooms/r/peers/x", Some("right")).await, StatusCode::BAD_REQUEST);
}

#[actix_rt::test]
async fn a_room_is_made_changed_closed_and_forgotten() {
    let memory = with_dev().await;
    let wish = json!({ "room": "stage", "capacity": 3, "region": "eu", "metadata": { "of": "ada" } });
    let (code, made) = ask(&memory, Method::POST, "/apps/dev/rooms", wish.clone()).await;
    assert_eq!((code, &made["room"], &made["by"]), (201, &json!("stage"), &json!("operator")));
    let policy = json!({
        "capacity": 3, "locked": false, "lobby": false, "region": "eu", "metadata": { "of": "ada" }
    });
    assert_eq!((&made["policy"], &made["peers"]), (&policy, &json!([])));
    let again = refused(&memory, Method::POST, "/apps/dev/rooms", wish).await;
    assert!(again.starts_with("409") && again.contains("PATCH"), "{again}");

    let path = "/apps/dev/rooms/stage";
    let change = json!({ "locked": true, "lobby": true, "capacity": null });
    let (code, changed) = ask(&memory, Method::PATCH, path, change).await;
    let policy = json!({ "locked": true, "lobby": true, "region": "eu", "metadata": { "of": "ada" } });
    assert_eq!((code, &changed["policy"]), (200, &policy), "what was left out stays");
    // One that runs needs no entry before.
    let (code, lobby) = ask(&memory, Method::PATCH, "/apps/dev/rooms/lobby", json!({ "locked": true })).await;
    assert_eq!((code, &lobby["policy"]["locked"], &lobby["node"]), (200, &json!(true), &json!(1)));

    assert!(refused(&memory, Method::DELETE, path, Value::Null).await.starts_with("404"), "nobody is in it");
    assert_eq!(ask(&memory, Method::DELETE, &format!("{path}?forget=true"), Value::Null).await.0, 204);
    assert!(refused(&memory, Method::GET, path, Value::Null).await.starts_with("404"));
    assert_eq!(ask(&memory, Method::DELETE, "/apps/dev/rooms/lobby", Value::Null).await.0, 204);
    let (_, lobby) = ask(&memory, Method::GET, "/apps/dev/rooms/lobby", Value::Null).await;
    assert_eq!(
        (&lobby["peers"], &lobby["policy"]["locked"]),
        (&json!([]), &json!(true)),
        "closed, and locked still"
    );
    let (_, listed) = ask(&memory, Method::GET, "/rooms?q=lobby", Value::Null).await;
    assert_eq!(
        (&listed["rooms"][0]["locked"], &listed["rooms"][0]["lobby"]),
        (&json!(true), &json!(false)),
        "{listed}"
    );
    let tower = "/apps/dev/rooms/tower";
    assert_eq!(ask(&memory, Method::PATCH, tower, json!({ "lobby": true })).await.0, 200);
    assert_eq!(ask(&memory, Method::GET, "/rooms?q=tower", Value::Null).await.1["rooms"][0]["lobby"], true);
    assert_eq!(ask(&memory, Method::DELETE, &format!("{tower}?forget=true"), Value::Null).await.0, 204);
    assert!(
        refused(&memory, Method::DELETE, &format!("{tower}?forget=true"), Value::Null)
            .await
            .starts_with("404")
    );
    memory.with(|state| {
        let kept: Vec<_> = state.audit().map(|line| line.note.what.clone()).collect();
        assert_eq!(
            &kept[1..],
            [
                "made the room dev/stage",
                "locked and changed the room dev/stage",
                "locked the room dev/lobby",
                "forgot the room dev/stage",
                "closed the room dev/lobby",
                "changed the room dev/tower",
                "closed the room dev/tower",
                "forgot the room dev/tower"
            ]
        );
    });
}

#[actix_rt::test]
async fn what_a_room_cannot_be_is_told_by_its_field() {
    let memory = with_dev().await;
    let with = |field: &str, value: Value| json!({ "room": "r", field: value });
    for (path, body, told) in [
        ("/apps/dev/rooms", json!({}), "body"),
        ("/apps/dev/rooms", json!({ "room": "a b" }), "room: 1 to 128"),
        ("/apps/dev/rooms", with("capacity", json!(0)), "capacity: 1 to 10000"),
        ("/apps/dev/rooms", with("expires", json!(1)), "expires: milliseconds"),
        ("/apps/dev/rooms", with("expires", json!(u64::MAX)), "expires: milliseconds"),
        ("/apps/dev/rooms", with("region", json!("a b")), "region"),
        ("/apps/dev/rooms", with("metadata", json!("x".repeat(5000))), "metadata: 4096 bytes"),
        ("/apps/dev/rooms", with("lobby", json!("yes")), "body"),
        ("/apps/none/rooms", json!({ "room": "r" }), "no such app"),
        ("/apps/dev/rooms/lobby/message", json!({}), "body"),
        ("/apps/dev/rooms/lobby/message", json!({ "payload": "x".repeat(60_000) }), "payload: 57344 bytes"),
        ("/apps/dev/rooms/nobody/message", json!({ "payload": 1 }), "no such room"),
    ] {
        let said = refused(&memory, Method::POST, path, body).await;
        assert!(said.contains(told), "{path}: {said}");
    }
    memory.with(|state| assert_eq!(state.made_rooms().count(), 0));
    memory.running(|running| assert!(running.said.is_empty()));
    let said = refused(&memory, Method::PATCH, "/apps/dev/rooms/none", json!({})).await;
    assert!(said.contains("no such room"), "{said}");
}

#[actix_rt::test]
async fn who_waits_is_listed_let_in_and_turned_away() {
    let memory = with_dev().await;
    for (n, name) in [(7, "Eve"), (8, "Fay"), (9, "Gus")] {
        memory.running(|running| running.knocks(&key("lobby"), n, name));
    }
    let path = "/apps/dev/rooms/lobby/waiting";
    let (code, all) = ask(&memory, Method::GET, path, Value::Null).await;
    assert_eq!((code, all.as_array().unwrap().len()), (200, 3));
    let first = json!({
        "peer": peer(7), "identity": "i7", "name": "Eve", "metadata": { "hat": "</b>" }, "since": 7_000
    });
    assert_eq!(all[0], first);
    let (_, tower) = ask(&memory, Method::GET, "/apps/dev/rooms/tower/waiting", Value::Null).await;
    assert_eq!(tower, json!([]));

    let admit = |n| format!("{path}/{}/admit", peer(n));
    let deny = |n| format!("{path}/{}/deny", peer(n));
    assert_eq!(ask(&memory, Method::POST, &admit(7), Value::Null).await.0, 204);
    let full = refused(&memory, Method::POST, &admit(8), Value::Null).await;
    assert!(full.starts_with("409") && full.contains("3 of 3"), "{full}");
    let reason = json!({ "reason": "x".repeat(257) });
    let long = refused(&memory, Method::POST, &deny(8), reason).await;
    assert!(long.starts_with("400") && long.contains("reason: 256 bytes"), "{long}");
    assert_eq!(ask(&memory, Method::POST, &deny(8), json!({ "reason": "full" })).await.0, 204);
    assert_eq!(ask(&memory, Method::POST, &deny(9), Value::Null).await.0, 204);
    let none = refused(&memory, Method::POST, &deny(9), Value::Null).await;
    assert!(none.starts_with("404") && none.contains("who waits"), "{none}");
    let bad = refused(&memory, Method::POST, &format!("{path}/x/admit"), Value::Null).await;
    assert!(bad.starts_with("400"), "{bad}");
    let (_, room) = ask(&memory, Method::GET, "/apps/dev/rooms/lobby", Value::Null).await;
    assert_eq!((&room["waiting"], &room["peers"][2]["name"]), (&json!([]), &json!("Eve")));
    memory.with(|state| {
        let last: Vec<_> = state.audit().map(|line| line.note.what.clone()).collect();
        let told = |did: &str, n, way: &str| format!("{did} {} {way} the room dev/lobby", peer(n));
        // It is told before it is done: the second found no place.
        let expected = [
            told("let", 7, "into"),
            told("let", 8, "into"),
            told("turned", 8, "away from"),
            told("turned", 9, "away from"),
        ];
        assert_eq!(last[last.len() - 4..], expected);
    });
}

#[actix_rt::test]
async fn a_word_is_said_to_all() {
    let memory = with_dev().await;
    let body = json!({ "payload": { "text": "ten minutes left" } });
    assert_eq!(ask(&memory, Method::POST, "/apps/dev/rooms/lobby/message", body).await.0, 204);
    memory.running(|running| assert_eq!(running.said, [r#"{"text":"ten minutes left"}"#]));
}

#[actix_rt::test]
async fn rooms_are_listed_by_pages_and_by_what_they_are() {
    let memory = with_dev().await;
    for n in 0..5 {
        let body = json!({ "room": format!("made-{n}"), "locked": n % 2 == 0 });
        assert_eq!(ask(&memory, Method::POST, "/apps/dev/rooms", body).await.0, 201);
    }
    let names = async |query: &str| -> (Vec<String>, Option<String>) {
        let (code, page) = ask(&memory, Method::GET, &format!("/rooms{query}"), Value::Null).await;
        assert_eq!(code, 200, "{page}");
        let name = |room: &Value| room["room"].as_str().unwrap().to_owned();
        let rooms = page["rooms"].as_array().unwrap().iter().map(name).collect();
        (rooms, page["next"].as_str().map(str::to_owned))
    };
    let all = ["lobby", "made-0", "made-1", "made-2", "made-3", "made-4", "tower"];
    assert_eq!(names("").await, (all.map(str::to_owned).to_vec(), None));
    let (mut paged, mut after) = (Vec::new(), String::new());
    loop {
        let (page, next) = names(&format!("?limit=3{after}")).await;
        assert!(page.len() <= 3);
        paged.extend(page);
        let Some(next) = next else { break };
        after = format!("&after={next}");
    }
    assert_eq!(paged, all);
    for (query, expected) in [
        ("?q=MADE-3", vec!["made-3"]),
        ("?app=none", vec![]),
        ("?locked=true", vec!["made-0", "made-2", "made-4"]),
        ("?people=true", vec!["lobby", "tower"]),
        ("?people=false&locked=false", vec!["made-1", "made-3"]),
        ("?node=2", vec!["tower"]),
        ("?region=eu", vec![]),
    ] {
        assert_eq!(names(query).await.0, expected, "{query}");
    }
    for (query, told) in [
        ("?limit=0", "limit: 1 to 200"),
        ("?limit=201", "limit: 1 to 200"),
        ("?after=x", "after: the `next`"),
        ("?app=a%20b", "app: 1 to 64"),
    ] {
        let said = refused(&memory, Method::GET, &format!("/rooms{query}"), Value::Null).await;
        assert!(said.contains(told), "{query}: {said}");
    }
}

#[actix_rt::test]
async fn what_cannot_be_written_into_the_audit_log_is_not_done() {
    let memory = with_dev().await;
    let lobby = || async { ask(&memory, Method::GET, "/apps/dev/rooms/lobby", Value::Null).await.1 };
    let before = lobby().await;
    let peer = format!("/apps/dev/rooms/lobby/peers/{}", before["peers"][0]["peer"].as_str().unwrap());
    for (method, path, body) in [
        (Method::POST, "/apps/dev/rooms/lobby/message".to_owned(), json!({ "payload": 1 })),
        (Method::POST, format!("{peer}/mute"), json!({ "grants": ["publish"] })),
        (Method::DELETE, peer, Value::Null),
        (Method::DELETE, "/apps/dev/rooms/lobby".to_owned(), Value::Null),
    ] {
        memory.lost.store(true, std::sync::atomic::Ordering::Relaxed);
        let (status, told) = ask(&memory, method, &path, body).await;
        assert_eq!(status, 503, "{path} {told}");
        assert_eq!(lobby().await, before, "{path}");
    }
    memory.running(|running| assert!(running.said.is_empty()));
}
