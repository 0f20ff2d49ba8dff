//! Webhooks: an app's server hears of its rooms, signed and in order, whatever its endpoint does meanwhile.

use std::time::Duration;

use chappe_proto::hooks::sign::{SECRET_PREFIX, signatures};
use chappe_proto::mesh::uplink::Secret;
use chappe_tests::client::ByHand;
use chappe_tests::http;
use chappe_tests::process::{Chappe, until};
use chappe_tests::webhooks::{Got, Receiver};
use data_encoding::BASE64;
use serde_json::{Value, json};

const WITHIN: Duration = Duration::from_secs(10);

async fn api(node: &Chappe, method: &str, path: &str, body: Value) -> (u16, Value) {
    let body = if body.is_null() { String::new() } else { body.to_string() };
    let path = format!("/admin/api/v1/apps/dev/webhooks{path}");
    let (status, said) = http::send(node.http, method, &path, Some(&node.admin_token()), &body).await;
    (status, serde_json::from_str(&said).unwrap_or(Value::Null))
}

fn secret(told: &Value) -> Secret {
    let text = told["secret"].as_str().unwrap().strip_prefix(SECRET_PREFIX).unwrap();
    Secret(BASE64.decode(text.as_bytes()).unwrap())
}

/// Checks a request's signature as its receiver does.
fn check(got: &Got, secrets: &[Secret]) {
    let secs = got.header("webhook-timestamp").parse().unwrap();
    let expected = signatures(secrets, got.header("webhook-id"), secs, &got.body);
    assert_eq!(got.header("webhook-signature"), expected);
}

fn person(name: &str) -> [String; 6] {
    ["--identity", name, "--grant", "join", "--grant", "create"].map(str::to_owned)
}

async fn joined(node: &Chappe, name: &str) -> (ByHand, Value) {
    let mut socket = ByHand::open(node.http).await;
    let options = person(name);
    let token = node.token("room", &options.each_ref().map(String::as_str));
    let welcome = socket.join(json!({ "room": "room", "token": token })).await;
    assert_eq!(welcome["type"], "welcome", "{welcome}");
    (socket, welcome)
}

#[tokio::test]
async fn events_arrive_signed_and_in_order_though_the_endpoint_fails() {
    let dir = tempfile::tempdir().unwrap();
    let node = Chappe::dev(dir.path());
    let mut server = Receiver::start().await;
    let url = format!("http://{}/hook?of=chappe", server.at);
    let (status, told) = api(&node, "POST", "", json!({ "url": url })).await;
    assert_eq!(status, 201, "{told}");
    let (hook, first) = (format!("/{}", told["id"].as_str().unwrap()), secret(&told));

    let (_, tested) = api(&node, "POST", &format!("{hook}/test"), Value::Null).await;
    assert_eq!((&tested["taken"], &tested["status"]), (&json!(true), &json!(204)), "{tested}");
    let ping = server.got().await;
    check(&ping, std::slice::from_ref(&first));
    assert_eq!(
        (ping.kind().as_str(), ping.head.lines().next()),
        ("ping", Some("POST /hook?of=chappe HTTP/1.1"))
    );

    // It fails twice. The second time it is tried again because somebody asks for it.
    server.answer(&[500, 503]);
    let (mut ada, welcome) = joined(&node, "ada").await;
    let (mut ben, _) = joined(&node, "ben").await;
    ben.say(json!({ "type": "leave" })).await;
    let failed = server.got().await;
    let again = server.got().await;
    assert_eq!((failed.status, again.status), (500, 503));
    assert_eq!((failed.header("webhook-id"), &failed.body), (again.header("webhook-id"), &again.body));
    let deliveries = format!("{hook}/deliveries");
    let waiting = format!("{deliveries}?state=waiting");
    let tried = async || {
        let (_, page) = api(&node, "GET", &waiting, Value::Null).await;
        let all = page["deliveries"].as_array().unwrap();
        all.iter().any(|one| one["tries"] == 2 && one["attempts"][1]["said"] == "said")
    };
    until("the delivery to be told of with its attempts", WITHIN, tried).await;
    let resend = format!("{deliveries}/{}/resend", failed.header("webhook-id"));
    assert_eq!(api(&node, "POST", &resend, Value::Null).await.0, 202);

    ada.say(json!({ "type": "leave" })).await;
    let mut told = Vec::new();
    while told.len() < 6 {
        let got = server.got().await;
        check(&got, std::slice::from_ref(&first));
        told.push(got);
    }
    let kinds: Vec<_> = told.iter().map(Got::kind).collect();
    let all = ["room_started", "peer_joined", "peer_joined", "peer_left", "peer_left", "room_ended"];
    assert_eq!(kinds, all);
    assert_eq!(told[0].header("webhook-id"), failed.header("webhook-id"));
    let data = |n: usize| told[n].json()["data"].clone();
    assert_eq!((&data(1)["identity"], &data(1)["peer"]), (&json!("ada"), &welcome["peer"]));
    assert_eq!((&data(2)["identity"], &data(3)["identity"]), (&json!("ben"), &json!("ben")));
    assert_eq!((&data(3)["reason"], &data(4)["room"]), (&json!("left"), &json!("room")));

    // Both secrets sign until the former one is ended.
    let (_, rotated) = api(&node, "POST", &format!("{hook}/secret"), Value::Null).await;
    let both = [first, secret(&rotated)];
    let (_ada, _) = joined(&node, "ada").await;
    check(&server.got().await, &both);
    check(&server.got().await, &both);

    // One that is gone is not sent to any more.
    server.answer(&[410]);
    let (_ben, _) = joined(&node, "ben").await;
    assert_eq!(server.got().await.status, 410);
    until("the webhook to be gone", WITHIN, async || {
        api(&node, "GET", &hook, Value::Null).await.1["gone"] == true
    })
    .await;
    let (_, page) = api(&node, "GET", &format!("{deliveries}?state=gone"), Value::Null).await;
    assert_eq!(page["deliveries"].as_array().unwrap().len(), 1, "{page}");
}
