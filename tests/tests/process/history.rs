//! Figures over the last hours are the cluster's, whichever node is asked, and say whose are missing.

use std::time::Duration;

use chappe_tests::client::Client;
use chappe_tests::nodes::Node;
use chappe_tests::process::until;
use serde_json::{Value, json};

/// Nodes sample every ten seconds; and a busy machine is slow.
const SAMPLED: Duration = Duration::from_secs(60);

async fn history(node: &Node, query: &str) -> Value {
    let token = std::fs::read_to_string(node.data.join("admin-token")).unwrap();
    let path = format!("/admin/api/v1/history?series=sessions,nodes&since=600{query}");
    let (status, body) = chappe_tests::http::request(node.http, "GET", &path, Some(token.trim())).await;
    assert_eq!(status, 200, "{body}");
    serde_json::from_str(&body).unwrap()
}

/// The newest point of a figure; none where there is none.
fn newest(told: &Value, name: &str) -> Option<(u64, f64)> {
    let point = told["series"][name].as_array()?.last()?;
    Some((point["at"].as_u64()?, point["mean"].as_f64()?))
}

#[tokio::test(flavor = "multi_thread")]
async fn two_nodes_have_one_history_and_what_one_forgets_is_a_gap() {
    let tmp = tempfile::tempdir().unwrap();
    let (one, mut two) = tokio::task::block_in_place(|| {
        let one = Node::found(&tmp.path().join("1"), "a");
        let token = one.invite(&["--region", "b"]);
        let two = Node::join(&tmp.path().join("2"), &token, "b");
        (one, two)
    });
    let _ada = Client::join(one.http, json!({ "room": "room", "identity": "ada" })).await;
    let ben = Client::join(two.http, json!({ "room": "room", "identity": "ben" })).await;
    for node in [&one, &two] {
        let is_sum =
            async || newest(&history(node, "").await, "sessions").is_some_and(|(_, mean)| mean == 2.0);
        until("both nodes' people are in it", SAMPLED, is_sum).await;
        let there = async |query: &str| newest(&history(node, query).await, "sessions").map(|(_, mean)| mean);
        assert_eq!((there("&region=b").await, there("&node=1").await), (Some(1.0), Some(1.0)));
    }
    let told = history(&one, "").await;
    let (last, _) = newest(&told, "sessions").unwrap();
    assert!(told["nodes"].as_array().unwrap().iter().all(|node| node["since"].is_u64()), "{told}");

    drop(ben);
    tokio::task::block_in_place(|| two.process().kill());
    let is_silent =
        async || history(&one, "").await["nodes"][1] == json!({ "node": 2, "region": "b", "since": null });
    until("who does not answer is named", SAMPLED, is_silent).await;
    let told = history(&one, "").await;
    let had = |point: &Value| point["at"].as_u64() == Some(last);
    let gap = |told: &Value, name: &str| !told["series"][name].as_array().unwrap().iter().any(had);
    assert!(gap(&told, "sessions"), "what one of them had is no sum: {told}");
    assert!(!gap(&told, "nodes"), "what both had is told: {told}");

    let two = tokio::task::block_in_place(|| two.again());
    let is_back = async || newest(&history(&two, "").await, "sessions").is_some_and(|(at, _)| at > last);
    until("there is a sum again", SAMPLED, is_back).await;
    assert!(gap(&history(&two, "").await, "sessions"), "it has forgotten what it had");
    assert!(!gap(&history(&two, "").await, "nodes"), "the other one has not");
}
