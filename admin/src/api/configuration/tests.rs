use std::sync::Arc;

use actix_web::http::Method;

use super::*;
use crate::memory::{Memory, ask, refused};

async fn get(memory: &Arc<Memory>, path: &str) -> Value {
    let (status, answer) = ask(memory, Method::GET, path, Value::Null).await;
    assert_eq!(status, 200, "{answer}");
    answer
}

#[actix_rt::test]
async fn a_node_tells_what_it_runs_with_and_where_that_comes_from() {
    let memory = Arc::new(Memory::default());
    let told = get(&memory, "/nodes/2/configuration").await;
    let workers = json!({
        "name": "workers", "value": "4", "default": "2", "origin": "environment", "scope": "shared",
        "variable": "CHAPPE_WORKERS",
    });
    assert_eq!(told[2], workers);
    assert_eq!(told[1]["value"], "set", "secrets are not told");
    for (node, told) in [("9", "404"), ("x", "400 node: its number"), ("3", "503 node 3 does not answer")] {
        let path = format!("/nodes/{node}/configuration");
        let refused = refused(&memory, Method::GET, &path, Value::Null).await;
        assert!(refused.starts_with(told), "{refused}");
    }
}

#[actix_rt::test]
async fn where_nodes_differ_is_told_and_whether_they_should() {
    let memory = Arc::new(Memory::default());
    let diff = get(&memory, "/configuration/diff").await;
    assert_eq!((&diff["nodes"], &diff["missing"]), (&json!([1, 2]), &json!([3])));
    let told: Vec<_> = diff["settings"].as_array().unwrap().iter().collect();
    let names: Vec<_> = told.iter().map(|one| one["name"].as_str().unwrap()).collect();
    assert_eq!(names, ["geoip", "http", "join", "workers"], "what is the default everywhere is not told");
    let flags: Vec<_> = told.iter().map(|one| (&one["differs"], &one["expected"])).collect();
    let (yes, no) = (&json!(true), &json!(false));
    // One node has forgotten `geoip`; addresses differ, and how a node joined is its own.
    assert_eq!(flags, [(yes, no), (yes, yes), (no, yes), (yes, no)]);
    let values = json!([
        { "value": "2", "origin": "default", "nodes": [1] },
        { "value": "4", "origin": "environment", "nodes": [2] },
    ]);
    assert_eq!(told[3]["values"], values);
}

#[test]
fn an_option_that_a_release_does_not_know_is_a_difference() {
    let setting = |name| crate::memory::operation::unset(name, Scope::Shared, Some("1"));
    let node = |n| Process::Node(NodeId(n));
    let said = Said::from([(node(1), vec![setting("old"), setting("new")]), (node(2), vec![setting("old")])]);
    let told = differences(&said);
    assert_eq!((told.len(), told[0].name.as_str(), told[0].values[1].origin), (1, "new", "unknown"));
    let same = Said::from([(node(1), vec![setting("old")]), (node(2), vec![setting("old")])]);
    assert!(differences(&same).is_empty());
}

#[actix_rt::test]
async fn what_the_cluster_agreed_on_is_told_beside_what_a_new_one_begins_with() {
    let memory = Arc::new(Memory::default());
    let told = get(&memory, "/configuration").await;
    assert!(told.as_array().unwrap().iter().all(|one| one["is_default"] == true), "{told}");
    let peers = json!({ "allow": ["10.0.0.0/8"], "deny": [] });
    assert_eq!(ask(&memory, Method::PUT, "/turn/peers", peers.clone()).await.0, 204);
    let told = get(&memory, "/configuration").await;
    let one = told.as_array().unwrap().iter().find(|one| one["name"] == "peers").unwrap();
    assert_eq!((&one["value"], &one["is_default"]), (&peers, &json!(false)));
    // Whoever is told how to change it can do that.
    for one in told.as_array().unwrap() {
        let (method, path) = one["set_by"].as_str().unwrap().split_once(' ').unwrap();
        let route = format!("{} {path}", method.to_lowercase());
        assert!(crate::api::written::written().contains(&route), "{route}");
    }
}

#[actix_rt::test]
async fn edges_tell_their_options_and_where_they_differ_beside_nodes() {
    let memory = Arc::new(Memory::default());
    for (name, alive) in [("edge-us", true), ("edge-old", true), ("edge-gone", false)] {
        memory.edge_joins(name, alive);
    }
    let told = get(&memory, "/edges/edge-us/configuration").await;
    assert_eq!((&told[1]["name"], &told[1]["value"]), (&json!("user-quota"), &json!("8")));
    for (edge, told) in [
        ("nobody", "404 there is no such edge"),
        ("a%20b", "400 edge:"),
        ("edge-old", "503 edge edge-old does not tell: it is of an older build"),
        ("edge-gone", "503 edge edge-gone does not answer"),
    ] {
        let path = format!("/edges/{edge}/configuration");
        let refused = refused(&memory, Method::GET, &path, Value::Null).await;
        assert!(refused.starts_with(told), "{refused}");
    }

    let diff = get(&memory, "/configuration/diff").await;
    let edges = &diff["edges"];
    assert_eq!(edges["edges"], json!(["edge-eu", "edge-us"]));
    let missing = json!([
        { "edge": "edge-old", "why": "edge edge-old does not tell: it is of an older build" },
        { "edge": "edge-gone", "why": "edge edge-gone does not answer" },
    ]);
    assert_eq!(edges["missing"], missing);
    let quota = json!({
        "name": "user-quota", "scope": "shared", "default": "64", "differs": true, "expected": false,
        "values": [
            { "value": "64", "origin": "default", "edges": ["edge-eu"] },
            { "value": "8", "origin": "flag", "edges": ["edge-us"] },
        ],
    });
    assert_eq!(edges["settings"][1], quota);
    assert_eq!(
        (&edges["settings"][0]["name"], &edges["settings"][0]["expected"]),
        (&json!("listen"), &json!(true))
    );
    assert_eq!(diff["nodes"], json!([1, 2]), "nodes are compared among themselves");
}
