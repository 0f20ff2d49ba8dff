//! A credential's way from the operator who issues it to its revocation, with Debian's `turnutils_uclient` as the
//! one who was given it; and secrets that are rotated under a call.

use std::process::Command;
use std::time::Duration;

use chappe_proto::turn::ClientEvent;
use chappe_tests::http;
use chappe_tests::process::{Chappe, Process, WITHIN, until};
use chappe_tests::turn::Turn;
use serde_json::{Value, json};
use tokio::net::UdpSocket;
use tokio::task::block_in_place;
use tokio::time::Instant;

/// What is revoked is dead within this.
const DEAD_WITHIN: Duration = Duration::from_secs(1);

/// Longer than any run here takes, on a machine that is busy with others.
const RUN_WITHIN: Duration = Duration::from_secs(120);

async fn api(node: &Chappe, method: &str, path: &str, body: Value) -> (u16, Value) {
    let body = if body.is_null() { String::new() } else { body.to_string() };
    let path = format!("/admin/api/v1{path}");
    let (status, answer) = http::send(node.http, method, &path, Some(&node.admin_token()), &body).await;
    (status, serde_json::from_str(&answer).unwrap_or(Value::Null))
}

/// A credential as its holder has it.
struct Issued {
    id: String,
    credentials: (String, String),
}

async fn issue(node: &Chappe, label: &str) -> Issued {
    let wish = json!({ "label": label, "seconds": 3600, "app": "dev" });
    let (status, made) = api(node, "POST", "/turn/credentials", wish).await;
    assert_eq!(status, 201, "{made}");
    let text = |field: &str| made[field].as_str().unwrap().to_owned();
    let udp = format!("turn:{}?transport=udp", node.turn_udp);
    let servers = made["ice_servers"][0]["urls"].as_array().unwrap();
    assert!(servers.contains(&json!(udp)) && made["urls"] == json!(servers), "{made}");
    Issued { id: text("id"), credentials: (text("username"), text("credential")) }
}

/// Two clients that send to each other over their allocations, so many messages each, one in 10 ms.
fn relaying(node: &Chappe, (username, password): &(String, String), messages: u32) -> Process {
    let (messages, port) = (messages.to_string(), node.turn_udp.port().to_string());
    let mut command = Command::new("turnutils_uclient");
    command.args(["-c", "-y", "-m", "2", "-l", "400", "-z", "10", "-n", &messages]);
    command.args(["-u", username, "-w", password, "-p", &port, &node.turn_udp.ip().to_string()]);
    Process::start(&mut command)
}

/// Whether it is content and has lost nothing, and what it says.
fn end(mut process: Process) -> (bool, String) {
    let status = process.wait(RUN_WITHIN);
    let text = process.stdout.whole() + &process.stderr.whole();
    (status.success() && text.contains("Total lost packets 0 "), text)
}

async fn allocations(node: &Chappe, id: &str) -> Vec<Value> {
    let (status, page) = api(node, "GET", &format!("/turn/allocations?session={id}"), Value::Null).await;
    assert_eq!((status, &page["missing"]), (200, &json!([])), "{page}");
    page["allocations"].as_array().unwrap().clone()
}

/// Until a run's allocations relay: the one that sends, the one that receives, and a third one that the program makes
/// beforehand.
async fn until_they_relay(node: &Chappe, id: &str) -> Vec<Value> {
    let mut all = Vec::new();
    let they_do = async || {
        all = allocations(node, id).await;
        let some = |way: &str| all.iter().any(|one| one[way]["bytes"].as_u64() > Some(0));
        all.len() == 3 && some("sent") && some("received")
    };
    until("they relay", WITHIN, they_do).await;
    all
}

/// The code by which an allocation is refused.
async fn refused(node: &Chappe, credentials: &(String, String)) -> u16 {
    match Turn::new(node.turn_udp, credentials).await.allocate().await {
        Err(ClientEvent::Refused { code, .. }) => code.0,
        other => panic!("{other:?}"),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_credential_is_issued_used_seen_and_revoked() {
    let dir = tempfile::tempdir().unwrap();
    let node = block_in_place(|| Chappe::dev(dir.path()));
    let camera = issue(&node, "camera 3").await;
    let run = relaying(&node, &camera.credentials, 10_000);
    for one in until_they_relay(&node, &camera.id).await {
        assert_eq!(
            (&one["label"], &one["app"], &one["transport"]),
            (&json!("camera 3"), &json!("dev"), &json!("udp"))
        );
        assert_eq!(one["server"], json!(node.turn_udp.to_string()));
        let (packets, bytes) =
            (one["sent"]["packets"].as_u64().unwrap(), one["sent"]["bytes"].as_u64().unwrap());
        assert_eq!(bytes, packets * 400, "{one}");
    }
    let path = format!("/turn/credentials/{}", camera.id);
    let (_, held) = api(&node, "GET", &path, Value::Null).await;
    assert_eq!((&held["state"], &held["allocations"]), (&json!("active"), &json!(3)), "{held}");

    // Somebody else's goes on.
    let other = issue(&node, "other").await;
    let mut bystander = Turn::new(node.turn_udp, &other.credentials).await;
    bystander.allocate().await.unwrap();
    let begin = Instant::now();
    assert_eq!(api(&node, "DELETE", &path, Value::Null).await.0, 204);
    let gone = async || allocations(&node, &camera.id).await.is_empty();
    until("its allocations are gone", WITHIN, gone).await;
    assert!(begin.elapsed() < DEAD_WITHIN, "dead after {:?}", begin.elapsed());
    assert_eq!(refused(&node, &camera.credentials).await, 401);
    bystander.refresh().await.unwrap();
    drop(run);
    let (content, text) = block_in_place(|| end(relaying(&node, &camera.credentials, 20)));
    assert!(!content, "{text}");
    let (_, held) = api(&node, "GET", &path, Value::Null).await;
    assert_eq!((&held["state"], &held["allocations"]), (&json!("revoked"), &json!(0)));
    let told = async || {
        let (_, held) = api(&node, "GET", &path, Value::Null).await;
        held["sent"]["bytes"].as_u64() > Some(0)
    };
    until("what it relayed is told on", 2 * WITHIN, told).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rotation_ends_no_call_and_one_allocation_ends_alone() {
    let dir = tempfile::tempdir().unwrap();
    let node = block_in_place(|| Chappe::dev(dir.path()));
    let old = issue(&node, "old").await;
    let run = relaying(&node, &old.credentials, 500);
    until_they_relay(&node, &old.id).await;
    let (status, made) = api(&node, "POST", "/turn/secret-rotations", Value::Null).await;
    assert_eq!((status, &made["number"]), (201, &json!(2)), "{made}");
    let new = issue(&node, "new").await;
    let (_, secrets) = api(&node, "GET", "/turn/secrets", Value::Null).await;
    assert_eq!([&secrets[0]["relying"], &secrets[1]["relying"]], [1, 1], "{secrets}");
    // While both are in force both allocate; then the first ends, under the call.
    let mut turn = Turn::new(node.turn_udp, &old.credentials).await;
    let relayed = turn.allocate().await.unwrap();
    let (status, told) = api(&node, "DELETE", "/turn/secrets/1", Value::Null).await;
    assert_eq!(status, 409, "{told}");
    assert_eq!(api(&node, "DELETE", "/turn/secrets/1?force=true", Value::Null).await.0, 204);
    let ended = async || Turn::new(node.turn_udp, &old.credentials).await.allocate().await.is_err();
    until("the edge has heard of it", WITHIN, ended).await;
    turn.refresh().await.unwrap();
    let peer = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    turn.permit(peer.local_addr().unwrap()).await.unwrap();
    let mut second = Turn::new(node.turn_udp, &new.credentials).await;
    second.allocate().await.unwrap();

    // One allocation is closed; the others relay on.
    let all = allocations(&node, &old.id).await;
    let own = all.iter().find(|one| one["relayed"][0] == json!(relayed.to_string())).unwrap();
    let (edge, id) = (own["edge"].as_str().unwrap(), own["id"].as_str().unwrap());
    let path = format!("/turn/allocations/{edge}/{id}");
    assert_eq!(api(&node, "DELETE", &path, Value::Null).await.0, 204);
    assert!(turn.refresh().await.is_err(), "it was closed");
    assert_eq!(api(&node, "DELETE", &path, Value::Null).await.0, 404);
    second.refresh().await.unwrap();
    let (content, text) = block_in_place(|| end(run));
    assert!(content, "a rotation was noticed: {text}");
    let path = format!("/turn/allocations?session={}", new.id);
    let (_, closed) = api(&node, "DELETE", &path, Value::Null).await;
    assert_eq!(closed, json!({ "closed": 1, "missing": [] }));
    assert!(second.refresh().await.is_err());
}
