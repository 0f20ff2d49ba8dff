//! Long-term users: those of a cluster, and those of a file.

use std::fs;
use std::time::Duration;

use chappe_tests::http;
use chappe_tests::process::{Chappe, binary, run, until};
use serde_json::{Value, json};
use tokio::time::Instant;

use crate::credentials::{FILE_WITHIN, allocate, replace};
use crate::edge::Standalone;

/// What an operator changes is in force on every connected edge within this.
const WITHIN: Duration = Duration::from_secs(1);

fn pair(name: &str, password: &str) -> (String, String) {
    (name.to_owned(), password.to_owned())
}

async fn admin(node: &Chappe, method: &str, path: &str, body: Value) -> (u16, String) {
    let body = if body.is_null() { String::new() } else { body.to_string() };
    let path = format!("/admin/api/v1/turn{path}");
    http::send(node.http, method, &path, Some(&node.admin_token()), &body).await
}

#[tokio::test]
async fn a_user_set_by_the_api_allocates_within_a_second_and_removed_is_gone() {
    let dir = tempfile::tempdir().unwrap();
    let mut node = Chappe::dev(dir.path());
    let who = pair("ada lovelace:ü", "correct horse");
    let path = "/realms/chappe/users/ada%20lovelace%3A%C3%BC";
    assert!(allocate(node.turn_udp, &who).await.is_err(), "nobody yet");

    assert_eq!(admin(&node, "PUT", path, json!({ "password": who.1 })).await, (204, String::new()));
    let set = Instant::now();
    let mut turn = loop {
        match allocate(node.turn_udp, &who).await {
            Ok(turn) => break turn,
            Err(event) => assert!(set.elapsed() < WITHIN, "{event:?} after {:?}", set.elapsed()),
        }
    };
    turn.refresh().await.unwrap();
    assert!(allocate(node.turn_udp, &pair(&who.0, "wrong")).await.is_err());
    let (_, listed) = admin(&node, "GET", "/users?realm=chappe", Value::Null).await;
    let shown = json!([{ "realm": "chappe", "name": who.0, "keys": ["md5", "sha256"] }]);
    assert_eq!(serde_json::from_str::<Value>(&listed).unwrap(), shown);

    // It is in the registry: a restart keeps it.
    node.kill_and_restart();
    let mut turn = allocate(node.turn_udp, &who).await.unwrap();
    let begin = Instant::now();
    assert_eq!(admin(&node, "DELETE", path, Value::Null).await.0, 204);
    while turn.refresh().await.is_ok() {
        assert!(begin.elapsed() < WITHIN, "still there after {:?}", begin.elapsed());
    }
    assert!(allocate(node.turn_udp, &who).await.is_err());
    assert_eq!(admin(&node, "DELETE", path, Value::Null).await.0, 404);
}

/// A user as `chappe turn key --toml` prints it.
fn entry(name: &str, realm: &str, password: &str) -> String {
    let (ok, out, error) = run(binary(), &["turn", "key", "--toml", "-u", name, "-r", realm, "-p", password]);
    assert!(ok, "{error}");
    out
}

#[tokio::test]
async fn users_of_a_file_come_and_go_with_it() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("credentials.toml");
    let (ada, ben) = (pair("ada", "one"), pair("ben", "two"));
    let [ada_entry, ben_entry] = [&ada, &ben].map(|(name, password)| entry(name, "example.org", password));
    fs::write(&file, format!("{ada_entry}\n{ben_entry}")).unwrap();
    let edge = Standalone::with(&["--realm", "example.org", "--credentials", file.to_str().unwrap()]);
    let mut adas = allocate(edge.udp, &ada).await.unwrap();
    let mut bens = allocate(edge.udp, &ben).await.unwrap();
    assert!(allocate(edge.udp, &pair("ada", "two")).await.is_err());

    replace(&file, &ben_entry);
    until("ada's allocation ends", FILE_WITHIN, async || adas.refresh().await.is_err()).await;
    assert!(allocate(edge.udp, &ada).await.is_err(), "ada is gone");
    bens.refresh().await.unwrap();

    // A password that changes: the old one allocates no more.
    replace(&file, &entry("ben", "example.org", "three"));
    until("ben's new password", FILE_WITHIN, async || {
        allocate(edge.udp, &pair("ben", "three")).await.is_ok()
    })
    .await;
    assert!(allocate(edge.udp, &ben).await.is_err());
}
