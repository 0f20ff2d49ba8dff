//! What nodes and edges run with and what they log, asked at another node; and how far edges are from each other.

use std::path::Path;
use std::time::Duration;

use chappe_tests::cluster::{Cluster, Member};
use chappe_tests::netns::wait;
use serde_json::{Value, json};

use crate::edge_join::Edge;
use crate::inspect::Events;

/// A debug build on a busy machine does it within this.
const SOON: Duration = Duration::from_secs(30);
/// Edges that come together are probed within ten seconds; by another edge, where the node itself was first, within
/// half a minute more.
const PROBED_WITHIN: Duration = Duration::from_secs(90);

fn get(node: &Member, path: &str) -> Value {
    node.call("GET", path, &Value::Null)
}

fn setting<'a>(all: &'a Value, name: &str) -> &'a Value {
    all.as_array().unwrap().iter().find(|one| one["name"] == name).unwrap()
}

#[test]
fn nodes_tell_what_they_run_with_and_where_they_differ() {
    let mut cluster = Cluster::on_loopback(3);
    let of_two = get(&cluster.nodes[0], "/nodes/2/configuration");
    let (workers, mesh) = (setting(&of_two, "workers"), setting(&of_two, "mesh"));
    assert_eq!(
        (&workers["value"], &workers["default"], &workers["origin"]),
        (&json!("1"), &json!("2"), &json!("flag"))
    );
    assert_eq!((&mesh["default"], &mesh["scope"]), (&json!("127.0.0.1:7900"), &json!("own")));
    assert_eq!(setting(&of_two, "drain-within")["origin"], "default");
    let file = &setting(&of_two, "join-file")["value"];
    assert!(file.as_str().unwrap().contains("join-1"), "the file's name, and not what is in it: {file}");
    let token = std::fs::read_to_string(cluster.nodes[1].dir().join("admin-token")).unwrap();
    assert!(!of_two.to_string().contains(token.trim()));

    let diff = get(&cluster.nodes[0], "/configuration/diff");
    assert_eq!((&diff["nodes"], &diff["missing"]), (&json!([1, 2, 3]), &json!([])));
    let told = setting(&diff["settings"], "workers");
    assert_eq!((&told["differs"], &told["values"][0]["nodes"]), (&json!(false), &json!([1, 2, 3])));
    let mut unexpected = diff["settings"].as_array().unwrap().clone();
    unexpected.retain(|one| one["differs"] == true && one["expected"] != true);
    assert!(unexpected.is_empty(), "{unexpected:?}");

    // One is started otherwise than the others. Where it stands it knows from its directory.
    cluster.nodes[1].kill();
    cluster.nodes[1].start_with(&["--drain-within", "7"]);
    let diff = wait("node 2 to be back", SOON, || {
        let diff = cluster.nodes[0].ask("GET", "/configuration/diff", &Value::Null)?;
        (diff["nodes"] == json!([1, 2, 3])).then_some(diff)
    });
    let drain = setting(&diff["settings"], "drain-within");
    assert_eq!((&drain["differs"], &drain["expected"]), (&json!(true), &json!(false)));
    let of_two = get(&cluster.nodes[0], "/nodes/2/configuration");
    let region = setting(&of_two, "region");
    assert_eq!((&region["value"], &region["origin"]), (&json!("here"), &json!("file")));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_nodes_log_is_read_and_followed_from_another() {
    let cluster = tokio::task::block_in_place(|| Cluster::on_loopback(3));
    let [one, two, _] = &cluster.nodes[..] else { unreachable!() };
    let call = |node: &Member, method: &str, path: &str, body: &Value| {
        tokio::task::block_in_place(|| node.call(method, path, body))
    };
    // What its terminal is not told is kept too.
    let page =
        call(one, "GET", "/nodes/2/logs?level=info&target=chappe_cluster&contains=lease", &Value::Null);
    assert!(page["lines"].as_array().unwrap().iter().any(|line| line["level"] == "info"), "{page}");
    let mut events = Events::open(&cluster, 1, "/nodes/2/logs/stream?contains=wrong").await;
    events.until("event: watching").await;
    let guess = json!({ "name": "nobody", "password": "certainly not this" });
    assert_eq!(tokio::task::block_in_place(|| two.ask("POST", "/login", &guess)), None);
    events.until("a wrong password").await;

    // More of it for a while, which is noted, and ended.
    call(one, "PUT", "/nodes/2/logs/level", &json!({ "level": "trace", "for_secs": 600 }));
    events.until("{\"changed\":{\"level\":\"trace\"").await;
    let audit = call(one, "GET", "/audit?text=log", &Value::Null);
    assert!(audit.to_string().contains("set the log of node 2 to trace for 600 s"), "{audit}");
    call(one, "DELETE", "/nodes/2/logs/level", &Value::Null);
    assert_eq!(call(one, "GET", "/nodes/2/logs", &Value::Null)["changed"], Value::Null);

    // None of the secrets that it has written, or was shown.
    let all = call(one, "GET", "/nodes/2/logs?after=0", &Value::Null).to_string();
    let token = std::fs::read_to_string(two.dir().join("admin-token")).unwrap();
    for secret in [token.trim(), "certainly not this"] {
        assert!(!all.contains(secret), "{all}");
    }
}

/// An edge of this name joins; and by which token.
fn joined(cluster: &Cluster, dir: &Path, name: &str, options: &[&str]) -> (Edge, String) {
    let wish = json!({ "edge": { "name": name } });
    let invited = cluster.nodes[0].call("POST", "/cluster/invitations", &wish);
    let token = invited["token"].as_str().unwrap();
    let join = ["--join", token, "--region", "here"];
    (Edge::start(&dir.join(name), &[&join, options].concat()), token.to_owned())
}

#[tokio::test(flavor = "multi_thread")]
async fn edges_tell_what_they_run_with_and_what_they_log_over_their_uplinks() {
    let cluster = tokio::task::block_in_place(|| Cluster::on_loopback(3));
    let tmp = tempfile::tempdir().unwrap();
    let (one, three) = (&cluster.nodes[0], &cluster.nodes[2]);
    // Asked again where the edge did not answer in its second.
    let call = |node: &Member, method: &str, path: &str, body: &Value| {
        tokio::task::block_in_place(|| wait(path, SOON, || node.ask(method, path, body)))
    };
    let ports = |low, high| ["--min-port", low, "--max-port", high];
    let ((mut edge_a, token), _edge_b) = tokio::task::block_in_place(|| {
        let quota = ["--user-quota", "7"];
        let a = joined(&cluster, tmp.path(), "edge-a", &[&ports("40200", "40299")[..], &quota].concat());
        (a, joined(&cluster, tmp.path(), "edge-b", &ports("40300", "40399")))
    });
    // Two uplinks of each: one node at least hears it by way of another.
    let diff = tokio::task::block_in_place(|| {
        wait("both edges to tell", SOON, || {
            let edges = &three.ask("GET", "/configuration/diff", &Value::Null)?["edges"];
            (edges["edges"] == json!(["edge-a", "edge-b"])).then(|| edges.clone())
        })
    });
    let quota = setting(&diff["settings"], "user-quota");
    assert_eq!((&quota["differs"], &quota["expected"]), (&json!(true), &json!(false)));
    let mut unexpected = diff["settings"].as_array().unwrap().clone();
    unexpected.retain(|one| one["expected"] != true);
    assert_eq!(unexpected.len(), 1, "{unexpected:?}");
    for node in &cluster.nodes {
        let told = call(node, "GET", "/edges/edge-a/configuration", &Value::Null);
        assert_eq!(setting(&told, "user-quota")["value"], "7");
        assert_eq!(setting(&told, "join")["value"], "set");
        assert!(!told.to_string().contains(&token));
    }

    let mut events = Events::open(&cluster, 3, "/edges/edge-a/logs/stream?contains=uplink").await;
    events.until("uplink up").await;
    call(one, "PUT", "/edges/edge-a/logs/level", &json!({ "level": "debug", "for_secs": 600 }));
    events.until("{\"changed\":{\"level\":\"debug\"").await;
    call(one, "DELETE", "/edges/edge-a/logs/level", &Value::Null);
    let page = call(one, "GET", "/edges/edge-a/logs?after=0&target=chappe_edge", &Value::Null);
    assert!(page["lines"].as_array().is_some_and(|lines| !lines.is_empty()), "{page}");
    assert!(page["changed"].is_null() && !page.to_string().contains(&token), "{page}");

    // One that does not answer is named, and the other told.
    edge_a.process.kill();
    let diff = tokio::task::block_in_place(|| {
        wait("one edge to be missing", SOON, || {
            let edges = &three.ask("GET", "/configuration/diff", &Value::Null)?["edges"];
            (edges["edges"] == json!(["edge-b"])).then(|| edges.clone())
        })
    });
    let missing = &diff["missing"][0];
    assert_eq!(missing["edge"], "edge-a");
    assert!(missing["why"].as_str().unwrap().contains("edge-a does not answer"), "{missing}");
    events.until("event: fault").await;
}

#[test]
fn edges_round_trips_are_known_at_every_node() {
    let cluster = Cluster::on_loopback(3);
    let tmp = tempfile::tempdir().unwrap();
    let edge = |name: &str, ports: [&str; 2]| {
        joined(&cluster, tmp.path(), name, &["--min-port", ports[0], "--max-port", ports[1]]).0
    };
    let _edges = [edge("edge-a", ["40000", "40099"]), edge("edge-b", ["40100", "40199"])];
    for node in &cluster.nodes {
        let known = wait("each edge to be probed by the other", PROBED_WITHIN, || {
            let all = node.ask("GET", "/edges/latencies", &Value::Null)?;
            let of = |from: &str, to: &str| {
                let meant = |one: &&Value| one["from"]["edge"] == from && one["to"] == to;
                all.as_array()?.iter().find(meant)?["rtt_ms"].as_f64()
            };
            Some([of("edge-a", "edge-b")?, of("edge-b", "edge-a")?])
        });
        assert!(known.iter().all(|ms| *ms > 0.0 && *ms < 1_000.0), "{known:?}");
    }
}
