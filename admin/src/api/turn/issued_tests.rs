//! Secrets, issued credentials and allocations, as programs see them.

use std::sync::Arc;

use actix_web::http::Method;
use actix_web::{App, test};
use chappe_proto::id::{AppId, EdgeId, SessionId};
use chappe_proto::mesh::uplink::Secret;
use chappe_proto::registry::{AppPolicy, Command, Note};
use chappe_proto::time::Unix;
use serde_json::{Value, json};

use crate::cluster::turn::{Allocation, Figures};
use crate::memory::{Memory, ask, refused};
use crate::{Cluster, Mount};

const GET: Method = Method::GET;
const POST: Method = Method::POST;
const DELETE: Method = Method::DELETE;

/// A cluster with a secret and two apps.
async fn cluster() -> Arc<Memory> {
    let memory = Arc::new(Memory::default());
    let note = || Note { who: "test".to_owned(), what: "founded".to_owned(), from: String::new() };
    let add = Command::TurnSecretAdd { number: 1, secret: Secret(b"correct horse battery".to_vec()) };
    drop(memory.change(add, note()).await);
    for name in ["bank", "shop"] {
        let (app, policy) = (AppId::new(name).unwrap(), AppPolicy::default());
        drop(memory.change(Command::AppAdd { app, name: name.to_owned(), policy }, note()).await);
    }
    memory
}

async fn issued(memory: &Arc<Memory>, path: &str, body: Value) -> Value {
    let (status, made) = ask(memory, POST, path, body).await;
    assert_eq!(status, 201, "{made}");
    made
}

fn wish(label: &str) -> Value {
    json!({ "label": label, "seconds": 3600 })
}

#[actix_rt::test]
async fn one_is_issued_told_once_listed_and_revoked() {
    let memory = cluster().await;
    let made =
        issued(&memory, "/turn/credentials", json!({ "label": "camera", "seconds": 3600, "region": "eu" }))
            .await;
    let id = made["id"].as_str().unwrap();
    assert_eq!(made["username"], json!(format!("3601:{id}")));
    let server = json!({
        "urls": ["turn:near-eu:3478?transport=udp"],
        "username": made["username"],
        "credential": made["credential"],
    });
    assert_eq!((&made["ice_servers"], &made["urls"]), (&json!([server]), &server["urls"]));
    let password = made["credential"].as_str().unwrap();

    let (_, all) = ask(&memory, GET, "/turn/credentials", Value::Null).await;
    let held = &all["credentials"][0];
    assert_eq!(
        (&held["id"], &held["label"], &held["state"]),
        (&made["id"], &json!("camera"), &json!("active"))
    );
    assert_eq!(
        (&held["by"], &held["secret"], &held["until"]),
        (&json!("operator"), &json!(1), &json!(3_601_000))
    );
    assert_eq!(all["next"], Value::Null);
    let path = format!("/turn/credentials/{id}");
    let (_, one) = ask(&memory, GET, &path, Value::Null).await;
    assert_eq!((&one["label"], &one["sent"]["bytes"]), (&json!("camera"), &json!(100)));
    assert!(!all.to_string().contains(password) && !one.to_string().contains(password), "told once");

    for _ in 0..2 {
        assert_eq!(ask(&memory, DELETE, &path, Value::Null).await.0, 204);
    }
    let (_, one) = ask(&memory, GET, &path, Value::Null).await;
    assert_eq!((&one["state"], &one["revoked"]), (&json!("revoked"), &json!(1000)));
    let session: SessionId = id.parse().unwrap();
    assert!(memory.with(|state| state.revoked(&session, Unix::from_secs(1)).is_some()), "edges hear of it");
    let notes: Vec<_> = memory.with(|state| state.audit().map(|line| line.note.what.clone()).collect());
    assert_eq!(notes[3], "issued the TURN credential \"camera\" of 3600 s");
    assert_eq!(notes[4], format!("revoked the TURN credential \"camera\" ({id})"));
    assert!(notes.iter().all(|note| !note.contains(password)));
}

#[actix_rt::test]
async fn it_is_kept_by_nobody_on_its_way() {
    let memory = cluster().await;
    let mount = Mount::new(Arc::clone(&memory) as Arc<dyn Cluster>, Secret(b"right".to_vec()));
    let app = test::init_service(App::new().configure(|config| mount.configure(config))).await;
    let request = test::TestRequest::post()
        .uri("/admin/api/v1/turn/credentials")
        .insert_header(("Authorization", "Bearer right"))
        .set_json(wish("a"));
    let answer = test::call_service(&app, request.to_request()).await;
    let kept = answer.headers().get("cache-control").map(|kept| kept.to_str().unwrap());
    assert_eq!((answer.status().as_u16(), kept), (201, Some("no-store")));
}

#[actix_rt::test]
async fn what_is_wrong_is_named_with_its_fix() {
    let memory = cluster().await;
    for (body, told) in [
        (json!({ "seconds": 60 }), "400 body"),
        (json!({ "label": "", "seconds": 60 }), "400 label: 1 to 128"),
        (json!({ "label": "a\nb", "seconds": 60 }), "400 label: 1 to 128"),
        (json!({ "label": "a", "seconds": 3 }), "400 seconds: 4 to 2592000"),
        (json!({ "label": "a", "seconds": 2_592_001 }), "400 seconds: 4 to 2592000"),
        (json!({ "label": "a", "seconds": 60, "latitude": 5 }), "400 latitude: give"),
        (json!({ "label": "a", "seconds": 60, "latitude": 99, "longitude": 0 }), "400 latitude: "),
        (json!({ "label": "a", "seconds": 60, "region": "eu", "edges": ["e"] }), "400 edges: name edges, or"),
        (json!({ "label": "a", "seconds": 60, "edges": [] }), "400 edges: 1 to 16"),
        (json!({ "label": "a", "seconds": 60, "app": "none" }), "404 "),
        (json!({ "label": "a", "seconds": 60, "pasword": "x" }), "400 body"),
    ] {
        let said = refused(&memory, POST, "/turn/credentials", body.clone()).await;
        assert!(said.starts_with(told), "{body}: {said}");
    }
    for path in ["/turn/credentials/s_0", "/turn/credentials/s_000000000000000000000000"] {
        for method in [GET, DELETE] {
            let said = refused(&memory, method, path, Value::Null).await;
            assert_eq!(said, "404 there is no such credential");
        }
    }
    for query in ["?limt=1", "?limit=x", "?state=gone", "?cursor=%21", "?cursor=AAAA"] {
        let said = refused(&memory, GET, &format!("/turn/credentials{query}"), Value::Null).await;
        assert!(said.starts_with("400 query") || said.starts_with("400 cursor"), "{query}: {said}");
    }
    assert_eq!(memory.with(|state| state.all_issued().count()), 0);
}

#[actix_rt::test]
async fn lists_go_on_by_cursor_and_take_filters() {
    let memory = cluster().await;
    for n in 0..5 {
        let app = if n % 2 == 0 { json!("bank") } else { Value::Null };
        let body = json!({ "label": format!("camera {n}"), "seconds": 60, "app": app });
        issued(&memory, "/turn/credentials", body).await;
    }
    let list = async |query: String| {
        let (status, page) = ask(&memory, GET, &format!("/turn/credentials{query}"), Value::Null).await;
        assert_eq!(status, 200, "{page}");
        let all = page["credentials"].as_array().unwrap();
        let labels = all.iter().map(|held| held["label"].as_str().unwrap().to_owned());
        (labels.collect::<Vec<_>>(), page["next"].clone())
    };
    let (mut seen, mut next) = (Vec::new(), Value::Null);
    for _ in 0..3 {
        let query = next.as_str().map_or_else(String::new, |next| format!("&cursor={next}"));
        let (labels, then) = list(format!("?limit=2{query}")).await;
        assert!(labels.len() <= 2);
        seen.extend(labels);
        next = then;
    }
    assert_eq!((seen.len(), next), (5, Value::Null));
    let of_bank = ["camera 0", "camera 2", "camera 4"];
    assert_eq!(list("?app=bank".to_owned()).await.0, of_bank);
    assert_eq!(list("?app=shop".to_owned()).await.0.len(), 0);
    assert_eq!(list("?label=3".to_owned()).await.0, ["camera 3"]);
    assert_eq!(list("?state=revoked".to_owned()).await.0.len(), 0);
}

#[actix_rt::test]
async fn nothing_of_one_app_is_seen_or_done_by_another() {
    let memory = cluster().await;
    let made = issued(&memory, "/apps/bank/turn/credentials", wish("vault")).await;
    let id = made["id"].as_str().unwrap();
    issued(&memory, "/turn/credentials", wish("operator's")).await;
    for (method, path, told) in [
        (GET, format!("/apps/shop/turn/credentials/{id}"), "404 there is no such credential"),
        (DELETE, format!("/apps/shop/turn/credentials/{id}"), "404 there is no such credential"),
        (GET, "/apps/none/turn/credentials".to_owned(), "404 there is no such app"),
        (GET, "/apps/shop/turn/credentials?app=bank".to_owned(), "400 app: leave it out"),
        (GET, "/apps/a%20b/turn/credentials".to_owned(), "400 app: 1 to 64"),
    ] {
        assert!(refused(&memory, method, &path, Value::Null).await.starts_with(told), "{path}");
    }
    let other = json!({ "label": "a", "seconds": 60, "app": "bank" });
    let said = refused(&memory, POST, "/apps/shop/turn/credentials", other).await;
    assert!(said.starts_with("400 app: leave it out"), "{said}");
    assert_eq!(
        ask(&memory, GET, "/apps/shop/turn/credentials", Value::Null).await.1["credentials"],
        json!([])
    );
    let (_, own) = ask(&memory, GET, "/apps/bank/turn/credentials", Value::Null).await;
    assert_eq!(own["credentials"].as_array().unwrap().len(), 1);
    let path = format!("/apps/bank/turn/credentials/{id}");
    assert_eq!(ask(&memory, GET, &path, Value::Null).await.1["app"], "bank");
    assert_eq!(ask(&memory, DELETE, &path, Value::Null).await.0, 204);
}

#[actix_rt::test]
async fn secrets_rotate_and_one_that_is_relied_on_ends_by_force_alone() {
    let memory = cluster().await;
    issued(&memory, "/turn/credentials", wish("a")).await;
    let secrets = async || ask(&memory, GET, "/turn/secrets", Value::Null).await.1;
    let one = json!([{ "number": 1, "since": 1000, "until": null, "issues": true, "relying": 1 }]);
    assert_eq!(secrets().await, one);
    let said = refused(&memory, DELETE, "/turn/secrets/1", Value::Null).await;
    assert!(said.starts_with("409 1 issued credentials rely on it"), "{said}");
    let said = refused(&memory, DELETE, "/turn/secrets/1?force=true", Value::Null).await;
    assert!(said.starts_with("409 the last TURN secret stays"), "{said}");
    for (body, told) in [
        (json!({ "overlap_s": 60 }), "400 overlap_s: what sessions were given is good for up to 86400 s"),
        (json!({ "overlap_s": 2_592_001 }), "400 overlap_s: 0 to 2592000"),
        (json!({ "overlap_s": 86_400 }), "409 1 issued credentials rely on it"),
        (json!({ "over": 1 }), "400 body"),
    ] {
        let said = refused(&memory, POST, "/turn/secret-rotations", body).await;
        assert!(said.starts_with(told), "{said}");
    }
    assert_eq!(secrets().await, one, "nothing changed");
    let (status, made) = ask(&memory, POST, "/turn/secret-rotations", Value::Null).await;
    assert_eq!((status, made), (201, json!({ "number": 2 })));
    let all = secrets().await;
    assert_eq!(
        (&all[0]["until"], &all[0]["issues"], &all[0]["relying"]),
        (&json!(86_401_000), &json!(false), &json!(1))
    );
    assert_eq!((&all[1]["until"], &all[1]["issues"]), (&Value::Null, &json!(true)));
    assert!(!all.to_string().contains("correct horse"));
    let (status, _) =
        ask(&memory, POST, "/turn/secret-rotations", json!({ "overlap_s": 60, "force": true })).await;
    assert_eq!((status, &secrets().await[0]["until"]), (201, &json!(61_000)));
    assert!(refused(&memory, DELETE, "/turn/secrets/1", Value::Null).await.starts_with("409"));
    assert_eq!(ask(&memory, DELETE, "/turn/secrets/1?force=true", Value::Null).await.0, 204);
    let (_, held) = ask(&memory, GET, "/turn/credentials", Value::Null).await;
    assert_eq!(held["credentials"][0]["state"], "secret_ended");
    assert_eq!(ask(&memory, DELETE, "/turn/secrets/2", Value::Null).await.0, 204, "nothing relies on it");
    for path in ["/turn/secrets/1", "/turn/secrets/x"] {
        assert_eq!(refused(&memory, DELETE, path, Value::Null).await, "404 there is no such secret");
    }
}

fn allocation(n: u8, edge: &str, user: Option<&str>) -> Allocation {
    let session = user.is_none().then(|| SessionId::from_random([n; 15]));
    Allocation {
        edge: EdgeId::new(edge).unwrap(),
        id: format!("{n:016x}"),
        transport: "udp".to_owned(),
        client: format!("192.0.2.{n}:5000"),
        server: "203.0.113.5:3478".to_owned(),
        relayed: vec!["203.0.113.5:50000".to_owned()],
        session,
        label: None,
        app: None,
        room: None,
        user: user.map(str::to_owned),
        realm: None,
        created: Unix::from_secs(1),
        left_ms: 600_000,
        permissions: 1,
        channels: 0,
        sent: Figures { packets: 1, bytes: 100 },
        received: Figures::default(),
    }
}

#[actix_rt::test]
async fn allocations_are_listed_by_pages_and_closed() {
    let memory = cluster().await;
    memory.relaying(|all| {
        all.extend((1..=3).map(|n| allocation(n, "edge-a", None)));
        all.extend((4..=5).map(|n| allocation(n, "edge-b", Some("ada"))));
    });
    let list = async |query: &str| {
        let (status, page) = ask(&memory, GET, &format!("/turn/allocations{query}"), Value::Null).await;
        assert_eq!(status, 200, "{page}");
        let ids: Vec<_> = page["allocations"].as_array().unwrap().iter().map(|it| it["id"].clone()).collect();
        (ids, page)
    };
    let (all, page) = list("").await;
    assert_eq!((all.len(), &page["next"], &page["missing"]), (5, &Value::Null, &json!(["edge-us"])));
    let first = &page["allocations"][0];
    assert_eq!(
        (&first["client"], &first["sent"]["bytes"], &first["left_ms"]),
        (&json!("192.0.2.1:5000"), &json!(100), &json!(600_000))
    );
    let (some, page) = list("?limit=2").await;
    let (rest, last) = list(&format!("?limit=5&cursor={}", page["next"].as_str().unwrap())).await;
    assert_eq!(([some, rest].concat(), &last["next"]), (all.clone(), &Value::Null));
    assert_eq!(list("?edge=edge-b").await.0.len(), 2);
    assert_eq!(list("?user=ada").await.0.len(), 2);
    assert_eq!(list("?client=192.0.2.3").await.0, ["0000000000000003"]);
    let session = SessionId::from_random([2; 15]);
    assert_eq!(list(&format!("?session={session}")).await.0, ["0000000000000002"]);

    for (query, told) in [
        ("?room=r", "400 room: give"),
        ("?app=bank&room=r", "404 there is no such room"),
        ("?client=x", "400 query"),
        ("?cursor=AAAA", "400 cursor"),
        ("?nobody=1", "400 query"),
    ] {
        let said = refused(&memory, GET, &format!("/turn/allocations{query}"), Value::Null).await;
        assert!(said.starts_with(told), "{query}: {said}");
    }
    let path = "/turn/allocations/edge-a/0000000000000001";
    assert_eq!(ask(&memory, DELETE, path, Value::Null).await.0, 204);
    for path in [path, "/turn/allocations/edge-a/1", "/turn/allocations/edge-a/+000000000000002"] {
        assert_eq!(refused(&memory, DELETE, path, Value::Null).await, "404 there is no such allocation");
    }
    assert_eq!(list("").await.0, all[1..]);
    for query in ["", "?realm=r", "?client=192.0.2.3", &format!("?session={session}&user=ada")] {
        let said = refused(&memory, DELETE, &format!("/turn/allocations{query}"), Value::Null).await;
        assert!(said.starts_with("400 "), "{said}");
    }
    assert_eq!(list("").await.0.len(), 4, "nobody was named, nothing was closed");
    let (status, closed) = ask(&memory, DELETE, "/turn/allocations?user=ada", Value::Null).await;
    assert_eq!((status, closed), (200, json!({ "closed": 2, "missing": [] })));
    let notes: Vec<_> = memory.with(|state| state.audit().map(|line| line.note.what.clone()).collect());
    assert_eq!(
        notes[3..],
        ["closed the allocation 0000000000000001 on the edge edge-a", "closed the allocations of \"ada\""]
    );
}

#[actix_rt::test]
async fn nobody_else_is_answered() {
    let mount = Mount::new(Arc::new(Memory::default()), Secret(b"right".to_vec()));
    let app = test::init_service(App::new().configure(|config| mount.configure(config))).await;
    let id = "s_000000000000000000000000";
    for (method, path) in [
        (GET, "/turn/secrets".to_owned()),
        (POST, "/turn/secret-rotations".to_owned()),
        (DELETE, "/turn/secrets/1".to_owned()),
        (POST, "/turn/credentials".to_owned()),
        (GET, "/turn/credentials".to_owned()),
        (GET, format!("/turn/credentials/{id}")),
        (DELETE, format!("/turn/credentials/{id}")),
        (POST, "/apps/bank/turn/credentials".to_owned()),
        (GET, "/apps/bank/turn/credentials".to_owned()),
        (GET, format!("/apps/bank/turn/credentials/{id}")),
        (DELETE, format!("/apps/bank/turn/credentials/{id}")),
        (GET, "/turn/allocations".to_owned()),
        (DELETE, "/turn/allocations?user=ada".to_owned()),
        (DELETE, "/turn/allocations/e/0000000000000001".to_owned()),
    ] {
        let request = test::TestRequest::with_uri(&format!("/admin/api/v1{path}")).method(method);
        let status = test::call_service(&app, request.to_request()).await.status().as_u16();
        assert_eq!(status, 401, "{path}");
    }
}

#[actix_rt::test]
async fn users_are_listed_by_pages() {
    let memory = Arc::new(Memory::default());
    for (realm, name) in [("q", "ada"), ("r", "ada"), ("r", "adam"), ("r", "ben")] {
        let path = format!("/turn/realms/{realm}/users/{name}");
        assert_eq!(ask(&memory, Method::PUT, &path, json!({ "password": "x" })).await.0, 204);
    }
    let names = async |query: &str| {
        let (_, all) = ask(&memory, GET, &format!("/turn/users{query}"), Value::Null).await;
        let name =
            |user: &Value| format!("{}@{}", user["name"].as_str().unwrap(), user["realm"].as_str().unwrap());
        all.as_array().unwrap().iter().map(name).collect::<Vec<_>>()
    };
    assert_eq!(names("?limit=2").await, ["ada@q", "ada@r"]);
    assert_eq!(names("?limit=2&after_realm=r&after_name=ada").await, ["adam@r", "ben@r"]);
    assert_eq!(names("?name=ada&realm=r").await, ["ada@r", "adam@r"]);
    let said = refused(&memory, GET, "/turn/users?after_realm=r", Value::Null).await;
    assert!(said.starts_with("400 after_name"), "{said}");
}
