use std::sync::Arc;

use actix_web::http::Method;
use actix_web::{App, test};
use chappe_proto::mesh::uplink::Secret;
use chappe_proto::registry::{AppPolicy, Command, Note};
use serde_json::{Value, json};

use super::*;
use crate::memory::{Memory, ask, refused};

async fn memory() -> Arc<Memory> {
    let memory = Arc::new(Memory::default());
    for name in ["bank", "shop"] {
        let (app, name, policy) = (AppId::new(name).unwrap(), name.to_owned(), AppPolicy::default());
        let note = Note { who: "test".to_owned(), what: "founded".to_owned(), from: String::new() };
        drop(memory.change(Command::AppAdd { app, name, policy }, note).await);
    }
    memory
}

async fn added(memory: &Arc<Memory>) -> String {
    let wish = json!({ "url": "https://hooks.example.org/key-in-path", "label": "billing" });
    let (status, told) = ask(memory, Method::POST, "/apps/bank/webhooks", wish).await;
    assert_eq!(status, 201, "{told}");
    assert!(told["secret"].as_str().unwrap().starts_with("whsec_"));
    format!("/apps/bank/webhooks/{}", told["id"].as_str().unwrap())
}

#[actix_rt::test]
async fn a_webhook_is_made_shown_changed_and_removed() {
    let memory = memory().await;
    let path = added(&memory).await;
    let (status, shown) = ask(&memory, Method::GET, &path, Value::Null).await;
    assert_eq!((status, &shown["url"]), (200, &json!("https://hooks.example.org/key-in-path")));
    assert_eq!((&shown["events"], &shown["secrets"], &shown["gone"]), (&json!([]), &json!(1), &json!(false)));
    assert!(!shown.to_string().contains("whsec"), "the secret is told once");
    let (_, all) = ask(&memory, Method::GET, "/apps/bank/webhooks", Value::Null).await;
    assert_eq!(all, json!([shown]));
    assert_eq!(ask(&memory, Method::GET, "/apps/shop/webhooks", Value::Null).await, (200, json!([])));

    let change = json!({ "events": ["peer_away", "peer_left"], "disabled": true });
    assert_eq!(ask(&memory, Method::PATCH, &path, change).await.0, 204);
    let (_, shown) = ask(&memory, Method::GET, &path, Value::Null).await;
    assert_eq!((&shown["disabled"], &shown["label"]), (&json!(true), &json!("billing")));
    assert_eq!(shown["events"], json!(["peer_left", "peer_away"]));

    let secret = format!("{path}/secret");
    let (status, told) = ask(&memory, Method::POST, &secret, Value::Null).await;
    assert!(status == 200 && told["secret"].as_str().unwrap().starts_with("whsec_"), "{status} {told}");
    assert_eq!(ask(&memory, Method::GET, &path, Value::Null).await.1["secrets"], 2);
    assert_eq!(ask(&memory, Method::DELETE, &secret, Value::Null).await.0, 204);
    assert_eq!(ask(&memory, Method::GET, &path, Value::Null).await.1["secrets"], 1);
    let (_, tested) = ask(&memory, Method::POST, &format!("{path}/test"), Value::Null).await;
    assert_eq!(tested, json!({ "taken": true, "status": 204, "took_ms": 7, "said": "" }));

    assert_eq!(ask(&memory, Method::DELETE, &path, Value::Null).await.0, 204);
    assert_eq!(ask(&memory, Method::GET, &path, Value::Null).await.0, 404);
    memory.with(|state| {
        let kept: Vec<_> = state.audit().skip(2).map(|line| line.note.what.clone()).collect();
        assert_eq!(kept[0], "added a webhook of bank to hooks.example.org", "not the key in its path");
        assert!(kept[1].starts_with("disabled the webhook w_") && kept.len() == 6, "{kept:?}");
        assert!(kept[4].starts_with("tested the webhook w_"), "{kept:?}");
        assert!(!kept.concat().contains("whsec"));
    });
}

#[actix_rt::test]
async fn deliveries_are_paged_filtered_and_sent_again() {
    let memory = memory().await;
    let path = format!("{}/deliveries", added(&memory).await);
    let get = async |query: &str| ask(&memory, Method::GET, &format!("{path}{query}"), Value::Null).await.1;
    let rooms = |page: &Value| -> Vec<String> {
        let all = page["deliveries"].as_array().unwrap().iter();
        all.map(|one| one["room"].as_str().unwrap().to_owned()).collect()
    };
    let whole = get("").await;
    assert_eq!(
        (rooms(&whole), &whole["next"]),
        (["room-3", "room-2", "room-1"].map(str::to_owned).into(), &Value::Null)
    );
    assert_eq!(whole["deliveries"][0]["attempts"][0]["status"], 500);
    assert_eq!((&whole["counts"]["delivered"], &whole["counts"]["failed"]), (&json!(2), &json!(1)));
    let first = get("?limit=2").await;
    assert_eq!(rooms(&first), ["room-3", "room-2"]);
    let rest = get(&format!("?limit=2&cursor={}", first["next"].as_str().unwrap())).await;
    assert_eq!((rooms(&rest), &rest["next"]), (vec!["room-1".to_owned()], &Value::Null));
    assert_eq!(rooms(&get("?state=expired").await), ["room-2"]);
    assert_eq!(rooms(&get("?type=room_started").await), ["room-1"]);
    assert_eq!(rooms(&get("?room=room-3&state=delivered").await), ["room-3"]);

    let event = whole["deliveries"][1]["id"].as_str().unwrap();
    let resend = |event: &str| format!("{path}/{event}/resend");
    assert_eq!(ask(&memory, Method::POST, &resend(event), Value::Null).await.0, 202);
    let other = EventId::from_random([9; 15]).to_string();
    let said = refused(&memory, Method::POST, &resend(&other), Value::Null).await;
    assert_eq!(said, "404 there is no such delivery");
}

#[actix_rt::test]
async fn what_is_wrong_is_told_with_its_fix() {
    let memory = memory().await;
    let path = added(&memory).await;
    let wish = |url: &str| json!({ "url": url });
    let all = "/apps/bank/webhooks";
    let deliveries = |query: &str| format!("{path}/deliveries{query}");
    let none = format!("/apps/shop{}", path.strip_prefix("/apps/bank").unwrap());
    for (method, path, body, told) in [
        (Method::POST, all, wish("http://example.org/"), "400 url: a URL begins with https://"),
        (Method::POST, all, wish("https://a@example.org/"), "400 url: a URL here has neither a user"),
        (Method::POST, all, json!({}), "400 body"),
        (Method::POST, all, json!({ "url": "https://a/", "secret": "x" }), "400 body"),
        (
            Method::POST,
            all,
            json!({ "url": "https://a/", "events": ["ping"] }),
            "400 events: no `ping`: there are room_started",
        ),
        (
            Method::POST,
            all,
            json!({ "url": "https://a/", "label": "x".repeat(129) }),
            "400 label: at most 128",
        ),
        (Method::POST, "/apps/none/webhooks", wish("https://a/"), "404 there is no such app"),
        (Method::GET, "/apps/none/webhooks", Value::Null, "404 there is no such app"),
        (Method::POST, "/apps/a%20b/webhooks", wish("https://a/"), "400 app"),
        (Method::PATCH, &path, json!({ "url": "x" }), "400 url"),
        (Method::PATCH, &path, json!({ "gone": false }), "400 body"),
        (Method::GET, "/apps/bank/webhooks/x", Value::Null, "400 webhook: w_"),
        // Another app's webhook is not there.
        (Method::GET, &none, Value::Null, "404 there is no such webhook"),
        (Method::PATCH, &none, json!({ "disabled": true }), "404 there is no such webhook"),
        (Method::DELETE, &none, Value::Null, "404 there is no such webhook"),
        (Method::POST, &format!("{none}/secret"), Value::Null, "404 there is no such webhook"),
        (Method::DELETE, &format!("{none}/secret"), Value::Null, "404 there is no such webhook"),
        (Method::POST, &format!("{none}/test"), Value::Null, "404 there is no such webhook"),
        (Method::GET, &format!("{none}/deliveries"), Value::Null, "404 there is no such webhook"),
        (Method::GET, &deliveries("?state=lost"), Value::Null, "400 state: waiting, sending"),
        (Method::GET, &deliveries("?type=ping"), Value::Null, "400 type"),
        (Method::GET, &deliveries("?room=a%20b"), Value::Null, "400 room"),
        (Method::GET, &deliveries("?cursor=3"), Value::Null, "400 cursor"),
        (Method::GET, &deliveries("?limit=101"), Value::Null, "400 limit: 1 to 100"),
        (Method::POST, &deliveries("/x/resend"), Value::Null, "400 delivery: e_"),
    ] {
        let said = refused(&memory, method, path, body).await;
        assert!(said.starts_with(told), "{path}: {said}, not {told}");
    }
    for _ in 1..16 {
        assert_eq!(ask(&memory, Method::POST, all, wish("https://a/")).await.0, 201);
    }
    let said = refused(&memory, Method::POST, all, wish("https://a/")).await;
    assert_eq!(said, "409 no more than 16 of webhook are kept: remove some first");
}

#[actix_rt::test]
async fn nobody_else_may() {
    let memory = memory().await;
    let path = added(&memory).await;
    let mount = Mount::new(memory, Secret(b"right".to_vec()));
    let app = test::init_service(App::new().configure(|config| mount.configure(config))).await;
    for (method, below) in [
        (Method::GET, ""),
        (Method::PATCH, ""),
        (Method::DELETE, ""),
        (Method::POST, "/secret"),
        (Method::DELETE, "/secret"),
        (Method::POST, "/test"),
        (Method::GET, "/deliveries"),
        (Method::POST, "/deliveries/e_000000000000000000000000/resend"),
    ] {
        let uri = format!("/admin/api/v1{path}{below}");
        let request = test::TestRequest::with_uri(&uri).method(method.clone()).to_request();
        assert_eq!(test::call_service(&app, request).await.status(), 401, "{method} {uri}");
    }
    for method in [Method::GET, Method::POST] {
        let request = test::TestRequest::with_uri("/admin/api/v1/apps/bank/webhooks").method(method);
        assert_eq!(test::call_service(&app, request.to_request()).await.status(), 401);
    }
}
