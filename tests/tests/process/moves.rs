//! An operator moves somebody to another room: from whichever node, whoever runs the rooms. And by which edges
//! somebody's media goes.

use std::time::Duration;

use chappe_tests::client::ByHand;
use chappe_tests::cluster::Cluster;
use chappe_tests::http;
use chappe_tests::process::{Chappe, until};
use chappe_tests::turn::{Turn, credentials};
use serde_json::{Value, json};
use tokio::net::UdpSocket;

/// A busy machine has a leader within this.
const LED_WITHIN: Duration = Duration::from_secs(20);

async fn joined(all: &Cluster, node: u64, room: &str, identity: &str) -> (ByHand, Value) {
    let mut inside = None;
    until("somebody is let in", LED_WITHIN, async || {
        let mut socket = ByHand::open(all.at(node)).await;
        let welcome = socket.join(json!({ "room": room, "identity": identity, "name": identity })).await;
        let is_in = welcome["type"] == "welcome";
        inside = is_in.then_some((socket, welcome));
        is_in
    })
    .await;
    inside.unwrap()
}

#[tokio::test]
async fn one_who_is_moved_goes_on_in_the_other_room_as_who_it_was() {
    let all = Cluster::on_loopback(3);
    let (room, other) = (&all.room_of(3), &all.room_of(2));
    let (mut ada, adas) = joined(&all, 1, room, "ada").await;
    let (mut ben, bens) = joined(&all, 2, room, "ben").await;
    let (mut cat, cats) = joined(&all, 1, other, "cat").await;
    let path = |room: &str, peer: &Value| {
        format!("/apps/default/rooms/{room}/peers/{}", peer["peer"].as_str().unwrap())
    };
    // What is muted stays so there.
    let done = async |what: &str, body: Value| {
        let address = format!("{}/{what}", path(room, &bens));
        until(what, LED_WITHIN, async || all.nodes[0].ask("POST", &address, &body).is_some()).await;
    };
    done("mute", Value::Null).await;
    done("move", json!({ "room": other })).await;
    let moved = ben.hear_a("moved").await;
    assert_eq!(moved["room"], **other);

    // It loses its socket before it has gone: it is told again, and goes then.
    drop(ben);
    let mut ben = ByHand::open(all.at(2)).await;
    let back = ben.join(json!({ "room": room, "resume": bens["resume"], "marks": {} })).await;
    assert_eq!(back["type"], "resumed", "{back}");
    let moved = ben.hear_a("moved").await;
    ben.say(json!({ "type": "leave" })).await;
    let closed = ben.hear_a("closed").await;
    assert_eq!((&closed["code"], &closed["resume"]), (&json!("moved"), &json!(false)));
    let left = ada.hear_a("peer_left").await;
    assert_eq!((&left["peer"], &left["reason"]), (&bens["peer"], &json!("moved")));

    let mut ben = ByHand::open(all.at(3)).await;
    let welcome = ben.join(json!({ "room": other, "token": moved["token"] })).await;
    assert_eq!((&welcome["type"], &welcome["identity"]), (&json!("welcome"), &json!("ben")), "{welcome}");
    assert_eq!((&welcome["grants"], &welcome["withheld"]), (&bens["grants"], &json!(["publish"])));
    assert_eq!((&welcome["roster"][0]["peer"], welcome["peer"] != bens["peer"]), (&cats["peer"], true));
    let came = cat.hear_a("peer_joined").await;
    assert_eq!((&came["peer"], &came["name"]), (&welcome["peer"], &json!("ben")));
    // A resume right after, elsewhere.
    drop(ben);
    let mut ben = ByHand::open(all.at(1)).await;
    let back = ben.join(json!({ "room": other, "resume": welcome["resume"], "marks": {} })).await;
    assert_eq!((&back["type"], &back["peer"]), (&json!("rebuilt"), &welcome["peer"]), "{back}");
    // The token is for that room alone, and the old one of the room it left brings nobody back.
    for (join, told) in [
        (json!({ "room": room, "token": moved["token"] }), "token_invalid"),
        (json!({ "room": room, "resume": bens["resume"], "marks": {} }), "moved"),
    ] {
        let answer = ByHand::open(all.at(2)).await.join(join).await;
        assert!(answer["code"] == *told || answer["reason"] == *told, "{answer}");
    }

    // Nobody is sent where they would not be let in.
    all.nodes[1].call("PATCH", &format!("/apps/default/rooms/{other}"), &json!({ "locked": true }));
    let refused = all.nodes[1].ask("POST", &format!("{}/move", path(room, &adas)), &json!({ "room": other }));
    assert_eq!(refused, None, "it is locked");
    let there = all.nodes[2].call("GET", &path(room, &adas), &Value::Null);
    assert_eq!((&there["away"], &there["path"]), (&json!(false), &json!({ "relays": [], "unknown": [] })));
    let audit = all.nodes[0].call("GET", "/audit", &Value::Null).to_string();
    let note =
        format!("moved {} from the room default/{room} to the room {other}", bens["peer"].as_str().unwrap());
    assert_eq!(audit.matches(&note).count(), 1, "{audit}");
}

#[tokio::test]
async fn the_edge_that_relays_somebodys_media_is_told_and_whether_it_does_so_now() {
    let dir = tempfile::tempdir().unwrap();
    let node = Chappe::dev(dir.path());
    let mut ada = ByHand::open(node.http).await;
    let welcome = ada.join(json!({ "room": "room", "token": node.token("room", &[]) })).await;
    let peer = welcome["peer"].as_str().unwrap();
    let path = async || {
        let address = format!("/admin/api/v1/apps/dev/rooms/room/peers/{peer}");
        let (status, body) = http::request(node.http, "GET", &address, Some(&node.admin_token())).await;
        assert_eq!(status, 200, "{body}");
        serde_json::from_str::<Value>(&body).unwrap()["path"].clone()
    };
    assert_eq!(path().await["relays"], json!([]));

    let mut turn = Turn::new(node.turn_udp, &credentials(&welcome)).await;
    let relayed = turn.allocate().await.unwrap();
    let remote = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    turn.permit(remote.local_addr().unwrap()).await.unwrap();
    let held = path().await["relays"][0].clone();
    assert_eq!(
        (&held["transport"], &held["allocations"], &held["in_use"]),
        (&json!("udp"), &json!(1), &json!(false)),
        "{held}"
    );
    assert!(held["edge"].is_string() && held["region"].is_string(), "{held}");

    // Some 400 kbit/s, while it is asked.
    let media = async {
        let mut every = tokio::time::interval(Duration::from_millis(20));
        loop {
            every.tick().await;
            remote.send_to(&[0; 1000], relayed).await.unwrap();
        }
    };
    let told = tokio::select! {
        told = path() => told,
        () = media => unreachable!(),
    };
    let used = &told["relays"][0];
    assert_eq!(used["in_use"], true, "{told}");
    let rate = used["bytes_per_s"].as_u64().unwrap();
    assert!((10_000..200_000).contains(&rate), "{rate} of some 50,000 bytes a second");
}
