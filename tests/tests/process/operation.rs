//! What nodes run with and what they log, asked at another node; and how far edges are from each other.

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

#[test]
fn edges_round_trips_are_known_at_every_node() {
    let cluster = Cluster::on_loopback(3);
    let tmp = tempfile::tempdir().unwrap();
    let edge = |name: &str, ports: [&str; 2]| {
        let wish = json!({ "edge": { "name": name } });
        let invited = cluster.nodes[0].call("POST", "/cluster/invitations", &wish);
        let join = ["--join", invited["token"].as_str().unwrap(), "--region", "here"];
        let ports = ["--min-port", ports[0], "--max-port", ports[1]];
        Edge::start(&tmp.path().join(name), &[join, ports].concat())
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
