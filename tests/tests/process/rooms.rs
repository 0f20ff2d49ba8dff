//! What is decided of a room through one node holds at every other, and outlasts the node that ran it.

use std::time::Duration;

use chappe_tests::client::ByHand;
use chappe_tests::cluster::Cluster;
use chappe_tests::process::until;
use serde_json::{Value, json};

/// A lost owner is evicted, and its rooms are rebuilt, within this; a debug build takes its time.
const REBUILT_WITHIN: Duration = Duration::from_secs(20);

async fn joined(all: &Cluster, node: u64, room: &str, identity: &str) -> (ByHand, Value) {
    let mut socket = ByHand::open(all.at(node)).await;
    let welcome = socket.join(json!({ "room": room, "identity": identity })).await;
    assert_eq!(welcome["type"], "welcome", "{welcome}");
    (socket, welcome)
}

/// Whether one who is new is refused as this says.
async fn refused(all: &Cluster, room: &str, code: &str) -> bool {
    let mut socket = ByHand::open(all.at(1)).await;
    let answer = socket.join(json!({ "room": room, "identity": "eve" })).await;
    if answer["type"] == "welcome" {
        socket.say(json!({ "type": "leave" })).await;
        socket.hear_a("closed").await;
    }
    answer["code"] == code
}

#[tokio::test]
async fn a_room_is_locked_muted_and_closed_from_anywhere_and_its_owners_death_changes_none_of_it() {
    let mut all = Cluster::on_loopback(3);
    let room = &all.room_of(3);
    let path = format!("/apps/default/rooms/{room}");
    let (mut ada, _) = joined(&all, 1, room, "ada").await;
    let (mut ben, bens) = joined(&all, 2, room, "ben").await;
    all.nodes[1].call("PATCH", &path, &json!({ "locked": true }));
    until("it is locked", REBUILT_WITHIN, async || refused(&all, room, "locked").await).await;
    let locked = all.nodes[0].call("GET", "/rooms?locked=true", &Value::Null);
    let line = json!({
        "app": "default", "room": room, "node": 3, "peers": 2, "made": true, "locked": true, "lobby": false,
        "capacity": null, "region": null, "expires": null,
    });
    assert_eq!(locked, json!({ "rooms": [line] }));
    let overview = all.nodes[1].call("GET", "/overview", &Value::Null);
    assert_eq!((&overview["rooms"], &overview["peers"]), (&json!(1), &json!(2)));

    let peer = bens["peer"].as_str().unwrap();
    all.nodes[0].call("POST", &format!("{path}/peers/{peer}/mute"), &Value::Null);
    for socket in [&mut ada, &mut ben] {
        let muted = loop {
            let news = socket.hear_a("peer_updated").await;
            if news["change"] == "withheld" {
                break news;
            }
        };
        assert_eq!((&muted["peer"], &muted["withheld"]), (&bens["peer"], &json!(["publish"])));
    }

    all.node(3).kill();
    // Nothing was said to him of another token since.
    let (mut ben, back) = {
        let mut socket = ByHand::open(all.at(1)).await;
        let back = socket.join(json!({ "room": room, "resume": bens["resume"], "marks": {} })).await;
        (socket, if back["type"] == "error" { Value::Null } else { back })
    };
    let back = if back.is_null() { ben.hear_one_of(&["resumed", "rebuilt"]).await } else { back };
    assert_eq!((&back["peer"], &back["withheld"]), (&bens["peer"], &json!(["publish"])), "{back}");
    let said = async || {
        let body = json!({ "payload": { "text": "ten minutes left" } });
        all.nodes[1].ask("POST", &format!("{path}/message"), &body).is_some()
    };
    until("the new owner says something to all", REBUILT_WITHIN, said).await;
    for socket in [&mut ada, &mut ben] {
        let word = socket.hear_a("broadcast").await;
        assert_eq!(word["payload"]["text"], "ten minutes left");
        assert!(word.get("from").is_none(), "{word}");
    }
    assert!(refused(&all, room, "locked").await, "it is locked still");

    all.nodes[1].call("DELETE", &path, &Value::Null);
    for socket in [&mut ada, &mut ben] {
        let closed = socket.hear_a("closed").await;
        assert_eq!((&closed["code"], &closed["resume"]), (&json!("room_closed"), &json!(false)));
        assert_eq!(socket.hear().await["code"], 4013);
    }
    let room = all.nodes[0].call("GET", &path, &Value::Null);
    assert_eq!((&room["peers"], &room["policy"]["locked"]), (&json!([]), &json!(true)));
}
