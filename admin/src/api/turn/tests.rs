use std::sync::Arc;

use actix_web::http::StatusCode;
use actix_web::{App, test};
use serde_json::{Value, json};

use crate::Mount;
use crate::memory::Memory;
use chappe_proto::mesh::uplink::{Secret, TurnUser};

/// Asks with the operator's token: status and body.
async fn ask(cluster: &Arc<Memory>, method: &str, path: &str, body: Value) -> (u16, Value) {
    let mount = Mount::new(Arc::clone(cluster) as Arc<dyn crate::Cluster>, Secret(b"right".to_vec()));
    let app = test::init_service(App::new().configure(|config| mount.configure(config))).await;
    let request = test::TestRequest::with_uri(&format!("/admin/api/v1/turn{path}"))
        .method(method.parse().unwrap())
        .peer_addr("192.0.2.7:5000".parse().unwrap())
        .insert_header(("Authorization", "Bearer right"))
        .set_payload(body.to_string());
    let response = test::call_service(&app, request.to_request()).await;
    let status = response.status().as_u16();
    (status, serde_json::from_slice(&test::read_body(response).await).unwrap_or(Value::Null))
}

#[actix_rt::test]
async fn users_are_set_listed_without_their_keys_and_removed() {
    let cluster = Arc::new(Memory::default());
    let put = async |path: &str, body| ask(&cluster, "PUT", path, body).await;
    assert_eq!(put("/realms/r/users/ada", json!({ "password": "x" })).await, (204, Value::Null));
    let md5 = "0xE7689b73e913479d2a40be88f22bca68";
    assert_eq!(put("/realms/r/users/a", json!({ "md5": md5 })).await.0, 204);
    assert_eq!(put("/realms/q%20q/users/a%2Fb%20%25%C3%BC%3A", json!({ "password": "x" })).await.0, 204);
    let (_, all) = ask(&cluster, "GET", "/users", Value::Null).await;
    let both = json!(["md5", "sha256"]);
    let a = json!({ "realm": "r", "name": "a", "keys": ["md5"] });
    let ada = json!({ "realm": "r", "name": "ada", "keys": both });
    assert_eq!(all, json!([{ "realm": "q q", "name": "a/b %ü:", "keys": both }, a, ada]));
    let (_, some) = ask(&cluster, "GET", "/users?realm=r", Value::Null).await;
    assert_eq!(some, json!([a, ada]));
    cluster.with(|state| {
        assert_eq!(state.turn_user("r", "ada"), Some(TurnUser::of_password("r", "ada", "x")));
        let a = TurnUser::of_password("r", "a", "p");
        assert_eq!(state.turn_user("r", "a"), Some(TurnUser { sha256: None, ..a }));
    });
    assert_eq!(ask(&cluster, "DELETE", "/realms/r/users/ada", Value::Null).await.0, 204);
    let (status, problem) = ask(&cluster, "DELETE", "/realms/r/users/ada", Value::Null).await;
    assert_eq!((status, &problem["detail"]), (404, &json!("there is no such user in that realm")));
    // Who did what from where; never with what.
    let notes: Vec<_> = cluster.with(|state| state.audit().map(|line| line.note.clone()).collect());
    assert_eq!(notes[0].what, "set the TURN user \"ada\" of \"r\"");
    assert_eq!((&*notes[0].who, &*notes[0].from), ("operator", "192.0.2.7"));
    assert_eq!(notes[3].what, "removed the TURN user \"ada\" of \"r\"");
    assert!(notes.iter().all(|note| !note.what.contains("e7689b") && !note.what.contains("0xE7")));
}

#[actix_rt::test]
async fn what_is_wrong_is_named_with_its_fix() {
    let cluster = Arc::new(Memory::default());
    let path = "/realms/r/users/a";
    for (path, body, field, fix) in [
        (path, json!({}), "password", "chappe turn key"),
        (path, json!({ "password": "" }), "password", "not empty"),
        (path, json!({ "password": "x", "md5": "00" }), "password", "beside keys"),
        (path, json!({ "md5": "zz" }), "md5", "32 hexadecimal digits"),
        (path, json!({ "md5": "00" }), "md5", "32 hexadecimal digits"),
        (path, json!({ "sha256": "00" }), "sha256", "64 hexadecimal digits"),
        (path, json!({ "passwort": "x" }), "body", "unknown field `passwort`"),
        (path, json!([]), "body", "JSON object"),
        ("/realms/a%22b/users/a", json!({ "password": "x" }), "realm", "a realm has 1 to 127"),
        ("/realms/r/users/a%0Ab", json!({ "password": "x" }), "name", "control characters"),
        ("/origins", json!({ "https://a": "" }), "realm", "https://a"),
        ("/origins", json!({ "a.example.org": "r" }), "origin", "https://meet.example.org"),
    ] {
        let (status, problem) = ask(&cluster, "PUT", path, body.clone()).await;
        assert_eq!((status, problem["field"].as_str()), (400, Some(field)), "{path} {body} {problem}");
        assert!(problem["detail"].as_str().unwrap().contains(fix), "{problem}");
    }
    assert_eq!(cluster.with(|state| state.turn_users().count()), 0);
}

#[actix_rt::test]
async fn origins_are_set_as_a_whole() {
    let cluster = Arc::new(Memory::default());
    let origins = json!({ "https://meet.example.org": "example.org" });
    assert_eq!(ask(&cluster, "PUT", "/origins", origins.clone()).await.0, 204);
    assert_eq!(ask(&cluster, "GET", "/origins", Value::Null).await, (200, origins));
    assert_eq!(ask(&cluster, "PUT", "/origins", json!({})).await.0, 204);
    assert_eq!(ask(&cluster, "GET", "/origins", Value::Null).await, (200, json!({})));
}

#[actix_rt::test]
async fn a_secret_is_added_once_and_shown_nowhere() {
    let cluster = Arc::new(Memory::default());
    let post = async |secret: &str| ask(&cluster, "POST", "/secrets", json!({ "secret": secret })).await;
    let (status, problem) = post("north").await;
    assert_eq!((status, &problem["field"]), (400, &json!("secret")), "{problem}");
    for _ in 0..2 {
        assert_eq!(post("correct horse battery staple").await.0, 204);
    }
    assert_eq!(cluster.with(|state| state.turn_secrets().all().len()), 1);
    let note = cluster.with(|state| state.audit().next().map(|line| line.note.what.clone()));
    assert_eq!(note.as_deref(), Some("added a shared secret of TURN credentials"));
}

#[actix_rt::test]
async fn peers_are_set_as_a_whole() {
    let cluster = Arc::new(Memory::default());
    let peers = json!({ "allow": ["10.0.0.0/8"], "deny": ["2001:db8::/32"] });
    assert_eq!(ask(&cluster, "PUT", "/peers", peers.clone()).await.0, 204);
    assert_eq!(ask(&cluster, "GET", "/peers", Value::Null).await, (200, peers));
    let (status, problem) =
        ask(&cluster, "PUT", "/peers", json!({ "allow": ["10.0.0.0"], "deny": [] })).await;
    assert_eq!((status, &problem["field"]), (400, &json!("body")), "{problem}");
}

#[actix_rt::test]
async fn nobody_else_is_answered() {
    let mount = Mount::new(Arc::new(Memory::default()), Secret(b"right".to_vec()));
    let app = test::init_service(App::new().configure(|config| mount.configure(config))).await;
    for (method, path) in [
        ("GET", "/users"),
        ("PUT", "/realms/r/users/a"),
        ("DELETE", "/realms/r/users/a"),
        ("GET", "/origins"),
        ("POST", "/secrets"),
        ("PUT", "/peers"),
    ] {
        let request = test::TestRequest::with_uri(&format!("/admin/api/v1/turn{path}"));
        let request = request.method(method.parse().unwrap()).to_request();
        assert_eq!(test::call_service(&app, request).await.status(), StatusCode::UNAUTHORIZED, "{path}");
    }
}
