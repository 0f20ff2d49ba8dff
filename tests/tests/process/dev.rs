//! `chappe dev`: what it says, what it opens, what it keeps to itself, how it ends.

use std::fs;
use std::net::{TcpListener, UdpSocket};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use chappe_cluster::consensus::{self, Registry};
use chappe_proto::id::NodeId;
use chappe_tests::client::{ByHand, Client};
use chappe_tests::http;
use chappe_tests::process::{self, Chappe};
use chappe_tests::sockets;
use chappe_tests::turn::{Turn, credentials};
use data_encoding::{BASE32_NOPAD, BASE64, BASE64URL_NOPAD, HEXLOWER};
use serde_json::{Value, json};

/// A second try of `chappe dev`, which fails: what it says.
fn refused(args: &[&str]) -> String {
    let begin = Instant::now();
    let all: Vec<&str> = [&["dev"], args].concat();
    let (ok, out, error) = process::run(process::binary(), &all);
    assert!(!ok, "it runs: {out}");
    assert!(begin.elapsed() < Duration::from_secs(10));
    assert!(error.starts_with("chappe: ") && error.lines().count() == 1, "{error}");
    error
}

#[tokio::test]
async fn the_printed_address_has_the_page_and_the_sdk() {
    let dir = tempfile::tempdir().unwrap();
    let node = Chappe::dev(dir.path());
    assert!(node.http.ip().is_loopback());
    assert!(http::get(node.http, "/").await.contains("<!doctype html>"));
    assert!(http::get(node.http, "/r/a-room").await.contains("<!doctype html>"));
    assert!(http::get(node.http, "/sdk/chappe.js").await.contains("export"));
    assert_eq!(http::get(node.http, "/healthz").await, "ok\n");
    let ready: Value = serde_json::from_str(&http::get(node.http, "/readyz").await).unwrap();
    assert_eq!((&ready["ready"], &ready["edges"]), (&json!(true), &json!(1)));
    let mut turn = Turn::new(node.turn_udp, &(String::new(), String::new())).await;
    assert!(turn.binding().await.ip().is_loopback());
}

#[test]
fn a_second_one_in_the_same_directory_is_told_of_the_first() {
    let dir = tempfile::tempdir().unwrap();
    let mut node = Chappe::dev(dir.path());
    let error = refused(&["--http", "0", "--turn", "0", "--data", dir.path().to_str().unwrap()]);
    let pid = node.process().pid();
    assert!(error.contains(&format!("kill {pid}")) && error.contains("--data"), "{error}");
}

#[test]
fn a_port_in_use_is_told_with_the_option_for_another() {
    let dir = tempfile::tempdir().unwrap();
    let data = dir.path().to_str().unwrap();
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = taken.local_addr().unwrap().port().to_string();
    let error = refused(&["--http", &port, "--turn", "0", "--data", data]);
    assert!(error.contains(&port) && error.contains("in use") && error.contains("--http"), "{error}");
    let error = refused(&["--http", "0", "--turn", &port, "--data", data]);
    assert!(error.contains(&port) && error.contains("in use") && error.contains("--turn"), "{error}");
    let taken = UdpSocket::bind("127.0.0.1:0").unwrap();
    let port = taken.local_addr().unwrap().port().to_string();
    let error = refused(&["--http", "0", "--turn", &port, "--data", data]);
    assert!(error.contains(&port) && error.contains("in use") && error.contains("--turn"), "{error}");
}

#[test]
fn a_directory_that_cannot_be_made_is_told() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("file");
    fs::write(&file, "").unwrap();
    let data = file.join("below");
    let error = refused(&["--http", "0", "--turn", "0", "--data", data.to_str().unwrap()]);
    assert!(error.contains(data.to_str().unwrap()) && error.contains("--data"), "{error}");
}

#[tokio::test]
async fn sigterm_tells_clients_to_resume_and_ends_in_time() {
    let dir = tempfile::tempdir().unwrap();
    let mut node = Chappe::dev(dir.path());
    let (mut ada, _) = ByHand::joined(node.http, "room").await;
    let begin = Instant::now();
    let status = node.process().terminate();
    assert_eq!(status.code(), Some(0), "{}", node.process().stderr.text());
    assert!(begin.elapsed() < Duration::from_secs(5), "{:?}", begin.elapsed());
    let closed = ada.hear_a("closed").await;
    assert_eq!((&closed["code"], &closed["resume"]), (&json!("shutdown"), &json!(true)));
    assert_eq!(ada.hear().await, json!({ "type": "end", "code": 4002 }));
}

#[tokio::test]
async fn nothing_listens_beyond_loopback() {
    let dir = tempfile::tempdir().unwrap();
    let mut node = Chappe::dev(dir.path());
    let (_ada, welcome) = ByHand::joined(node.http, "room").await;
    let mut turn = Turn::new(node.turn_udp, &credentials(&welcome)).await;
    let relayed = turn.allocate().await.unwrap();
    let open: Vec<_> =
        sockets::of(node.process().pid()).into_iter().filter(|socket| socket.udp || socket.listens).collect();
    // The list is not short of what is known to be open.
    for (udp, at) in [(false, node.http), (false, node.turn_tcp), (true, node.turn_udp), (true, relayed)] {
        assert!(open.iter().any(|socket| socket.udp == udp && socket.local == at), "no {at} in {open:?}");
    }
    assert!(open.iter().all(|socket| socket.local.ip().is_loopback()), "{open:?}");
}

fn files(dir: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().path());
    entries.flat_map(|path| if path.is_dir() { files(&path) } else { vec![path] }).collect()
}

#[test]
fn only_the_owner_reads_the_data() {
    let dir = tempfile::tempdir().unwrap();
    let data = dir.path().join("data");
    let _node = Chappe::dev(&data);
    let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode(&data), 0o700);
    for secret in ["api-key.json", "admin-token"] {
        assert_eq!(mode(&data.join(secret)), 0o600, "{secret}");
    }
    for path in files(&data).iter().filter(|path| path.extension().is_some_and(|kind| kind == "key")) {
        assert_eq!(mode(path), 0o600, "{}", path.display());
    }
}

/// The forms in which a log could hold bytes.
fn forms(secret: &[u8]) -> Vec<String> {
    let list = secret.iter().map(u8::to_string).collect::<Vec<_>>().join(", ");
    let text = String::from_utf8(secret.to_vec()).ok();
    let mut forms = vec![HEXLOWER.encode(secret), list, secret.escape_ascii().to_string()];
    // Without padding and the last digit, which depends on what follows.
    for mut text in [BASE64.encode(secret), BASE64URL_NOPAD.encode(secret), BASE32_NOPAD.encode(secret)] {
        text.truncate(text.trim_end_matches('=').len() - 1);
        forms.push(text);
    }
    forms.extend(text);
    forms
}

#[tokio::test(flavor = "multi_thread")]
async fn no_secret_is_logged() {
    let dir = tempfile::tempdir().unwrap();
    let mut node = Chappe::dev_with(dir.path(), &["--log", "trace"]);
    let token = node.token("room", &["--identity", "ada", "--grant", "join", "--grant", "create"]);
    let mut ada = Client::join(node.http, json!({ "room": "room", "token": token })).await;
    let mut ben = Client::join(node.http, json!({ "room": "room" })).await;
    ada.signal(&ben.peer, "a private word").await;
    ben.signals(&ada.peer, 1).await;
    let mut turn = Turn::new(node.turn_udp, &credentials(&ada.welcome)).await;
    turn.allocate().await.unwrap();
    ada.reset().await;
    ada.hear_a("resumed").await;
    let admin = node.admin_token();
    let (status, _) = http::request(node.http, "GET", "/admin/api/v1/overview", Some(&admin)).await;
    assert_eq!(status, 200);
    let path = format!("/admin/api/v1/apps/dev/rooms/room/peers/{}", ben.peer);
    assert_eq!(http::request(node.http, "DELETE", &path, Some(&admin)).await.0, 204);
    ben.hear_a("closed").await;
    let _ = http::request(node.http, "GET", "/admin/api/v1/overview", Some("a-guess-at-the-token")).await;
    assert!(node.process().terminate().success());

    let key = node.api_key();
    let texts = [
        ("API secret", key.secret.clone()),
        ("admin token", admin),
        ("a guess at it", "a-guess-at-the-token".to_owned()),
        ("JWT", token),
        ("resume token", ada.welcome["resume"].as_str().unwrap().to_owned()),
        ("TURN credential", credentials(&ada.welcome).1),
        ("payload", "a private word".to_owned()),
    ];
    let mut secrets: Vec<_> = texts.into_iter().map(|(what, text)| (what, text.into_bytes())).collect();
    if let Ok(raw) = BASE64URL_NOPAD.decode(key.secret.as_bytes()) {
        secrets.push(("API secret, raw", raw));
    }
    let open = consensus::Config::alone(dir.path().join("node-1/registry"), NodeId(1));
    let (registry, _ended) = tokio::task::spawn_blocking(|| Registry::open(open)).await.unwrap().unwrap();
    let mut states = registry.watch();
    let state = states.wait_for(|state| state.sealing_keys().newest().is_some()).await.unwrap().clone();
    let (_, turn_secret) = state.turn_secrets().newest().unwrap();
    let (_, sealing_key) = state.sealing_keys().newest().unwrap();
    secrets.push(("TURN secret", turn_secret.0.clone()));
    secrets.push(("sealing key", sealing_key.0.clone()));

    let log = node.process().stderr.text() + &node.process().stdout.text();
    assert!(log.contains("TRACE") && log.lines().count() > 100, "not logged at trace level:\n{log}");
    for (what, secret) in &secrets {
        for form in forms(secret) {
            let at = log.find(&form);
            assert!(
                at.is_none(),
                "{what} is logged: {}",
                at.map_or("", |at| {
                    let begin = log[..at].rfind('\n').map_or(0, |end| end + 1);
                    log[begin..].lines().next().unwrap_or_default()
                })
            );
        }
    }
}
