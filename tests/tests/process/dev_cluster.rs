//! `chappe dev` as it is: three nodes and two edges, in one process or each in its own.

use std::path::Path;
use std::time::{Duration, Instant};

use chappe_proto::id::{AppId, RoomKey, RoomName};
use chappe_tests::client::Client;
use chappe_tests::http;
use chappe_tests::process::{Chappe, WITHIN, binary, run, until};
use serde_json::{Value, json};

/// The cluster's status, asked of the first node.
fn status(dev: &Chappe) -> Value {
    let (node, token) = (format!("http://{}", dev.http), dev.data().join("admin-token"));
    let words = ["cluster", "--node", &node, "--token-file", token.to_str().unwrap(), "--json", "status"];
    let (ok, out, error) = run(binary(), &words);
    assert!(ok, "{error}");
    serde_json::from_str(&out).unwrap()
}

fn all<'a>(status: &'a Value, field: &str) -> Vec<&'a Value> {
    status["members"].as_array().unwrap().iter().map(|member| &member[field]).collect()
}

/// What the banner says of each node: its address, and its process where it has one.
fn nodes(dev: &mut Chappe) -> Vec<(std::net::SocketAddr, Option<u32>)> {
    let text = dev.process().stdout.text();
    let node = |line: &str| {
        let http = line.trim().strip_prefix("node ")?.split_once("http://")?.1;
        let pid =
            http.split_once("pid ").map(|(_, pid)| pid.split([',', ' ']).next().unwrap().parse().unwrap());
        Some((http.split('/').next()?.parse().unwrap(), pid))
    };
    text.lines().filter_map(node).collect()
}

/// A room is where its people are within this: regions have their shards, and it may move again.
const HOMED: Duration = Duration::from_secs(60);

/// Where a room runs.
async fn runs_it(dev: &Chappe, room: &str) -> Option<u64> {
    let path = format!("/admin/api/v1/rooms?people=true&q={room}");
    let (_, body) = http::request(dev.http, "GET", &path, Some(&dev.admin_token())).await;
    let page: Value = serde_json::from_str(&body).unwrap();
    page["rooms"].as_array().unwrap().iter().find(|held| held["room"] == room)?["node"].as_u64()
}

/// A room whose name leads to another node than that.
async fn far_from(dev: &Chappe, node: u64) -> String {
    let (_, body) =
        http::request(dev.http, "GET", "/admin/api/v1/cluster/shards", Some(&dev.admin_token())).await;
    let shards: Value = serde_json::from_str(&body).unwrap();
    let app = AppId::new(&dev.api_key().app).unwrap();
    let owner = |name: &String| {
        let key = RoomKey { app: app.clone(), room: RoomName::new(name).unwrap() };
        shards["owners"][usize::from(key.anchor().0)].as_u64().unwrap()
    };
    (0..1000).map(|n| format!("room-{n}")).find(|name| owner(name) != node).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_room_runs_where_its_people_are_and_follows_them() {
    let dir = tempfile::tempdir().unwrap();
    let mut dev = tokio::task::block_in_place(|| Chappe::dev_as(dir.path(), &[]));
    let there = nodes(&mut dev);
    let (east, west, east_too) = (there[0].0, there[1].0, there[2].0);
    let room = &far_from(&dev, 2).await;
    let mut ada = Client::join(west, json!({ "room": room, "identity": "ada" })).await;
    until("the room is in the west", HOMED, async || runs_it(&dev, room).await == Some(2)).await;

    let mut ben = Client::join(east, json!({ "room": room, "identity": "ben" })).await;
    let cleo = Client::join(east_too, json!({ "room": room, "identity": "cleo" })).await;
    let (mut said, begin) = (0_usize, Instant::now());
    while runs_it(&dev, room).await == Some(2) && begin.elapsed() < HOMED {
        ada.signal(&ben.peer, said).await;
        said += 1;
        assert_eq!(ben.signals(&ada.peer, 1).await, [json!(said - 1)]);
    }
    until("the room is in the east", HOMED, async || matches!(runs_it(&dev, room).await, Some(1 | 3))).await;
    ada.signal(&cleo.peer, "still here").await;
    ada.signal(&ben.peer, "still here").await;
    assert_eq!(ben.signals(&ada.peer, 1).await, [json!("still here")]);
    ben.signal(&ada.peer, "and so am I").await;
    loop {
        let event = ada.hear().await;
        assert!(
            !["peer_left", "undelivered", "rebuilt"].contains(&event["type"].as_str().unwrap()),
            "{event}"
        );
        if event["payload"] == "and so am I" {
            break;
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn one_command_is_a_cluster_and_is_again_after_a_restart() {
    let dir = tempfile::tempdir().unwrap();
    let mut dev = tokio::task::block_in_place(|| Chappe::dev_as(dir.path(), &[]));
    let begin = Instant::now();
    let well = tokio::task::block_in_place(|| status(&dev));
    assert_eq!(well["healthy"], true, "{well}");
    assert_eq!(all(&well, "region"), ["east", "west", "east"]);
    assert!(all(&well, "role").iter().all(|role| *role == "leader" || *role == "voter"), "{well}");
    let there = nodes(&mut dev);
    assert_eq!(there.len(), 3, "{}", dev.process().stdout.text());
    // Whatever node one reaches, one is in the room; and each has both edges to give.
    let ada = Client::join(there[1].0, json!({ "room": "room", "identity": "ada" })).await;
    let mut ben = Client::join(there[2].0, json!({ "room": "room", "identity": "ben" })).await;
    ada.signal(&ben.peer, "hello").await;
    assert_eq!(ben.signals(&ada.peer, 1).await, [json!("hello")]);
    assert_eq!(ada.welcome["edges"].as_array().unwrap().len(), 2, "{}", ada.welcome);
    assert!(begin.elapsed() < WITHIN);
    drop((ada, ben));
    tokio::task::block_in_place(|| {
        dev.restart();
        let again = status(&dev);
        assert_eq!(all(&again, "generation"), [2, 2, 2], "{again}");
        dev.process().terminate();
        let fewer =
            ["dev", "--http", "0", "--turn", "0", "--nodes", "2", "--data", dir.path().to_str().unwrap()];
        let (ok, _, error) = run(binary(), &fewer);
        assert!(!ok && error.contains("a cluster of 3 nodes"), "{error}");
    });
}

fn runs(pid: u32) -> bool {
    // One that has ended and was not waited for is none.
    let stat = std::fs::read_to_string(Path::new("/proc").join(pid.to_string()).join("stat"));
    stat.is_ok_and(|stat| !stat.rsplit(')').next().unwrap_or_default().trim_start().starts_with('Z'))
}

#[tokio::test(flavor = "multi_thread")]
async fn as_processes_one_may_be_killed_and_none_outlives_the_command() {
    let dir = tempfile::tempdir().unwrap();
    let mut dev = tokio::task::block_in_place(|| Chappe::dev_as(dir.path(), &["--processes"]));
    let there = nodes(&mut dev);
    let pids: Vec<u32> = there.iter().filter_map(|(_, pid)| *pid).collect();
    assert_eq!(pids.len(), 3, "{}", dev.process().stdout.text());
    assert!(pids.iter().all(|pid| runs(*pid)));
    let ada = Client::join(there[0].0, json!({ "room": "room", "identity": "ada" })).await;
    let mut ben = Client::join(there[2].0, json!({ "room": "room", "identity": "ben" })).await;
    ada.signal(&ben.peer, 1).await;
    assert_eq!(ben.signals(&ada.peer, 1).await, [json!(1)]);
    // Ben's node dies; Ben goes on elsewhere.
    let killed = run("kill", &["-9", &pids[2].to_string()]);
    assert!(killed.0, "{}", killed.2);
    ada.signal(&ben.peer, 2).await;
    assert_eq!(ben.signals(&ada.peer, 1).await, [json!(2)]);
    let _ = dev.process().stdout.until("has ended: signal 9");
    until("node 3 is down", WITHIN, async || {
        let now = tokio::task::block_in_place(|| status(&dev));
        now["members"][2]["state"] == "down"
    })
    .await;
    // However the command itself ends, the others end with it.
    let text = dev.process().stdout.text();
    let words: Vec<&str> = text.split([' ', ',', '\n']).collect();
    let mut all: Vec<u32> =
        words.windows(2).filter(|pair| pair[0] == "pid").map(|pair| pair[1].parse().unwrap_or(0)).collect();
    all.retain(|pid| runs(*pid));
    assert_eq!(all.len(), 4, "two nodes and two edges are left: {text}");
    dev.process().kill();
    until("all have ended", Duration::from_secs(10), async || !all.iter().any(|pid| runs(*pid))).await;
}
