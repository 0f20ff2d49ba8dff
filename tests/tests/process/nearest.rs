//! `GET /v1/edges/nearest`: which edges and nodes are near whom, and what strangers are told.

use std::fs;
use std::path::Path;

use chappe_tests::http;
use chappe_tests::nodes::Node;
use chappe_tests::process::{WITHIN, binary, run, until};
use chappe_tests::turn::Turn;
use serde_json::{Value, json};
use tokio::task::block_in_place;

use super::edge_join::{Edge, until_edges};

/// Regions, where they are, and the relay ports of the edge there.
const PLACES: [(&str, &str, [&str; 2]); 2] =
    [("eu", "50.1,8.7", ["41000", "41499"]), ("us", "39.0,-77.5", ["41500", "41999"])];

/// A node and an edge in each region.
fn world(dir: &Path) -> (Vec<Node>, Vec<Edge>) {
    let first = Node::found(&dir.join("eu"), "eu");
    let second = Node::join(&dir.join("us"), &first.invite(&[]), "us");
    let edges = PLACES.map(|(region, place, [low, high])| {
        let token = first.invite(&["--edge", &format!("edge-{region}")]);
        let options = ["--join", &token, "--region", region, "--coordinates", place];
        let ports = ["--min-port", low, "--max-port", high];
        Edge::start(&dir.join(format!("edge-{region}")), &[&options[..], &ports].concat())
    });
    (vec![first, second], edges.into())
}

/// What is told whoever asks: the answer, and the names of the first edge and of the first node's region.
async fn ask(node: &Node, query: &str) -> (Value, String, String) {
    let answer: Value =
        serde_json::from_str(&http::get(node.http, &format!("/v1/edges/nearest{query}")).await).unwrap();
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let (edge, near) = (text(&answer["edges"][0]["edge"]), text(&answer["nodes"][0]["region"]));
    (answer, edge, near)
}

#[tokio::test(flavor = "multi_thread")]
async fn the_nearest_are_told_by_region_place_and_the_operators_table() {
    let tmp = tempfile::tempdir().unwrap();
    let (nodes, edges) = block_in_place(|| world(tmp.path()));
    let node = &nodes[0];
    let both = |all: &[Value]| all.iter().filter(|edge| edge["alive"] == true).count() == 2;
    until_edges(node, "both report", both).await;
    let told = async |query: &str| {
        let (_, edge, near) = ask(node, query).await;
        (edge, near)
    };
    for (query, region) in [
        ("?region=us", "us"),
        ("?region=eu", "eu"),
        ("?latitude=48.9&longitude=2.4", "eu"), // Paris
        ("?latitude=40.7&longitude=-74", "us"), // New York
    ] {
        let expected = (format!("edge-{region}"), region.to_owned());
        until(query, WITHIN, async || told(query).await == expected).await;
    }
    let (answer, ..) = ask(node, "?latitude=48.9&longitude=2.4").await;
    assert_eq!(answer["edges"][0]["by"], "geography", "{answer}");
    // From Paris to Frankfurt, not to Virginia.
    assert!(answer["edges"][0]["rtt_ms"].as_f64().is_some_and(|ms| ms < 30.0), "{answer}");
    assert_eq!(answer["edges"][0]["urls"], json!([format!("stun:{}", edges[0].udp)]), "{answer}");
    assert!(answer["ice_servers"].is_null() && answer["region"] == "eu", "{answer}");

    // Nothing says where loopback is, until the operator does.
    assert_ne!(ask(node, "").await.0["region"], "us");
    let table = tmp.path().join("selection.json");
    fs::write(&table, json!({ "networks": { "127.0.0.0/8": "us" } }).to_string()).unwrap();
    block_in_place(|| node.told(&["selection", table.to_str().unwrap()]));
    until("the table is in force", WITHIN, async || ask(node, "").await.0["region"] == "us").await;
    let (_, edge, near) = ask(node, "").await;
    assert_eq!((&*edge, &*near), ("edge-us", "us"));
    assert_eq!(ask(node, "?region=eu").await.1, "edge-eu", "what is said goes before the address");

    a_token_is_given_a_credential(node, &edges[0]).await;
    what_is_wrong_is_told(node).await;
}

fn token(node: &Node, options: &[&str]) -> String {
    let key = node.data.join("api-key.json");
    let (ok, token, error) =
        run(binary(), &[&["token", "room", "--key", key.to_str().unwrap()], options].concat());
    assert!(ok, "{error}");
    token.trim().to_owned()
}

async fn a_token_is_given_a_credential(node: &Node, edge: &Edge) {
    let token = block_in_place(|| {
        assert!(node.told(&["credential-ttl", "default", "60"]).contains("last 60 s"));
        token(node, &["--identity", "ada", "--region", "eu"])
    });
    let (status, body) = http::request(node.http, "GET", "/v1/edges/nearest", Some(&token)).await;
    let answer: Value = serde_json::from_str(&body).unwrap();
    assert_eq!(
        (status, &answer["edges"][0]["edge"]),
        (200, &json!("edge-eu")),
        "by the token's region: {answer}"
    );
    let ttl = answer["ice_ttl_ms"].as_u64().unwrap();
    assert!((50_000..=60_000).contains(&ttl), "as the app's credentials: {answer}");
    let server = &answer["ice_servers"][0];
    let text = |field: &str| server[field].as_str().unwrap().to_owned();
    let mut turn = Turn::new(edge.udp, &(text("username"), text("credential"))).await;
    turn.allocate().await.unwrap();
}

async fn what_is_wrong_is_told(node: &Node) {
    let refused = async |query: &str, bearer| {
        let (status, body) =
            http::request(node.http, "GET", &format!("/v1/edges/nearest{query}"), bearer).await;
        let body: Value = serde_json::from_str(&body).unwrap();
        let text = |field: &str| body[field].as_str().unwrap_or_default().to_owned();
        (status, text("code"), text("message"))
    };
    for (query, words) in [
        ("?latitude=91&longitude=0", "-90 to 90"),
        ("?latitude=50", "go together"),
        ("?regoin=eu", "the query takes"),
    ] {
        let (status, code, message) = refused(query, None).await;
        assert_eq!((status, &*code), (400, "malformed"), "{query}");
        assert!(message.contains(words), "{query}: {message}");
    }
    let (status, code, _) = refused("", Some("rubbish")).await;
    assert_eq!((status, &*code), (401, "token_invalid"));
    let old = block_in_place(|| token(node, &["--ttl", "1"]));
    let expired = async || refused("", Some(&old)).await.1 == "token_expired";
    until("the token has expired", WITHIN, expired).await;
    // So often and no oftener, of one address.
    let busy = async || http::request(node.http, "GET", "/v1/edges/nearest", None).await.0 == 429;
    for _ in 0..200 {
        if busy().await {
            return;
        }
    }
    panic!("200 questions at once are answered");
}
