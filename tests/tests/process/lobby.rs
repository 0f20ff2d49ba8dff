//! A room with a lobby: who waits learns nothing of it, whoever answers and wherever, and the death of the room's owner is
//! no answer.

use std::time::Duration;

use chappe_tests::client::ByHand;
use chappe_tests::cluster::Cluster;
use chappe_tests::process::until;
use serde_json::{Value, json};

/// A lost owner is evicted, and who waits has knocked at the next, within this; a debug build takes its time.
const KNOCKED_WITHIN: Duration = Duration::from_secs(20);

/// One who waits, and all that it was told so far.
async fn waiting(all: &Cluster, node: u64, room: &str, identity: &str) -> (ByHand, Value) {
    let mut socket = ByHand::open(all.at(node)).await;
    let said = socket.join(json!({ "room": room, "identity": identity })).await;
    assert_eq!(said["type"], "waiting", "{said}");
    (socket, said)
}

/// Whether nothing but its wait was told: not who is there, no credentials, no resume token.
fn says_nothing(said: &Value) {
    let fields: Vec<_> = said.as_object().unwrap().keys().map(String::as_str).collect();
    assert_eq!(fields, ["nodes", "position", "type"], "{said}");
}

#[tokio::test]
async fn who_waits_is_let_in_or_turned_away_by_an_operator_and_outlasts_the_rooms_owner() {
    let mut all = Cluster::on_loopback(3);
    let room = &all.room_of(3);
    let path = format!("/apps/default/rooms/{room}");
    let mut ada = ByHand::open(all.at(1)).await;
    let welcome = ada.join(json!({ "room": room, "identity": "ada" })).await;
    assert_eq!(welcome["type"], "welcome", "{welcome}");
    all.nodes[1].call("PATCH", &path, &json!({ "lobby": true }));
    let has_lobby = async || all.nodes[2].call("GET", &path, &Value::Null)["policy"]["lobby"] == true;
    until("all know of the lobby", KNOCKED_WITHIN, has_lobby).await;

    let (mut ben, said) = waiting(&all, 2, room, "ben").await;
    says_nothing(&said);
    let (mut cat, said) = waiting(&all, 1, room, "cat").await;
    says_nothing(&said);
    cat.say(json!({ "type": "broadcast", "payload": 1 })).await;
    assert_eq!(cat.hear().await["code"], "not_joined");
    let who = |node: usize| -> Vec<(Value, Value)> {
        let all = all.nodes[node].call("GET", &format!("{path}/waiting"), &Value::Null);
        all.as_array().unwrap().iter().map(|it| (it["identity"].clone(), it["peer"].clone())).collect()
    };
    let listed = who(0);
    let names: Vec<_> = listed.iter().map(|(identity, _)| identity.clone()).collect();
    assert_eq!(names, [json!("ben"), json!("cat")]);
    let at = |n: usize, act: &str| format!("{path}/waiting/{}/{act}", listed[n].1.as_str().unwrap());

    let reason = json!({ "reason": "members only" });
    all.nodes[0].call("POST", &at(1, "deny"), &reason);
    let denied = cat.hear_a("error").await;
    assert_eq!((&denied["code"], &denied["message"]), (&json!("denied"), &json!("members only")));
    assert_eq!(cat.hear_a("closed").await["resume"], false);

    all.node(3).kill();
    let heard = async || {
        let seen = all.nodes[0].ask("GET", &format!("{path}/waiting"), &Value::Null);
        seen.is_some_and(|seen| seen[0]["identity"] == "ben")
    };
    until("the new owner knows who waits", KNOCKED_WITHIN, heard).await;
    all.nodes[0].call("POST", &at(0, "admit"), &Value::Null);
    // All that it was told until then were its place and pings.
    let welcome = loop {
        let said = ben.hear().await;
        match said["type"].as_str() {
            Some("waiting") => says_nothing(&said),
            Some("ping") => {}
            _ => break said,
        }
    };
    assert_eq!((&welcome["type"], &welcome["roster"][0]["identity"]), (&json!("welcome"), &json!("ada")));
    assert_eq!(welcome["peer"], listed[0].1);
    assert_eq!(ada.hear_a("peer_joined").await["identity"], "ben");
    let told = all.nodes[0].call("GET", "/audit?limit=20", &Value::Null).to_string();
    assert!(told.contains("turned p_") && told.contains("let p_"), "{told}");
}
