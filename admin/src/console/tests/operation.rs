//! Pages of how nodes and edges run.

use std::sync::{Arc, PoisonError};

use actix_web::http::StatusCode;
use chappe_proto::id::EdgeId;
use chappe_proto::mesh::probe::Prober;

use super::{get, get_to_look, seen};
use crate::memory::Memory;
use crate::memory::operation::round_trip;

/// What stands under a heading, up to the next one.
fn under<'a>(page: &'a str, heading: &str) -> &'a str {
    let (_, rest) = page.split_once(&format!("id=\"{heading}\"")).unwrap();
    rest.split("<h2").next().unwrap()
}

#[actix_rt::test]
async fn where_nodes_differ_and_should_not_is_on_top() {
    let memory = Arc::new(Memory::default());
    let page = get_to_look(&memory, "/admin/configuration").await;
    assert!(page.contains("do not answer: <a href=\"/admin/nodes/3\">"), "{page}");
    let wrong = under(&page, "wrong");
    assert!(wrong.contains("--workers") && wrong.contains("--geoip") && !wrong.contains("--http"), "{wrong}");
    assert!(wrong.contains("environment, <a href=\"/admin/nodes/2\">node 2</a>"), "{wrong}");
    assert!(under(&page, "own").contains("--http") && !page.contains("drain-within"));
    assert!(under(&page, "set").contains("--join") && under(&page, "set").contains("all nodes"));
    assert!(under(&page, "agreed").contains("timers") && under(&page, "agreed").contains("default"));
}

#[actix_rt::test]
async fn edges_are_compared_below_the_nodes_and_who_does_not_tell_is_named() {
    let memory = Arc::new(Memory::default());
    let page = get_to_look(&memory, "/admin/configuration").await;
    assert!(under(&page, "edges").contains("run with the defaults"), "{page}");
    memory.edge_joins("edge-us", true);
    memory.edge_joins("edge-old", true);
    let page = get_to_look(&memory, "/admin/configuration").await;
    let edges = under(&page, "edges");
    let (quota, listen) = (edges.find("--user-quota").unwrap(), edges.find("--listen").unwrap());
    assert!(quota < listen && edges.contains("<a href=\"/admin/edges/edge-us\">edge-us</a>"), "{edges}");
    assert_eq!(edges.matches(">differs<").count(), 1, "{edges}");
    assert!(edges.contains("edge-old</a> is not compared: edge edge-old does not tell"), "{edges}");
    assert!(!under(&page, "wrong").contains("--user-quota"), "{page}");
    assert!(get(&memory, "/admin/edges/edge-us").await.1.contains("href=\"/admin/logs?edge=edge-us\""));
}

#[actix_rt::test]
async fn a_node_shows_its_options_where_it_tells_them() {
    let memory = Arc::new(Memory::default());
    let (_, page) = get(&memory, "/admin/nodes/2").await;
    assert!(page.contains("Configuration in force") && page.contains("--drain-within"), "{page}");
    assert!(page.contains("href=\"/admin/logs?node=2\""));
    let (status, page) = get(&memory, "/admin/nodes/3").await;
    assert!(status == StatusCode::OK && !page.contains("Configuration in force"));
}

#[actix_rt::test]
async fn logs_are_for_operators() {
    let memory = Arc::new(Memory::default());
    let (_, page) = seen(&memory, "/admin/logs?node=2").await;
    assert!(
        page.contains("/admin/ui/logs.js") && page.contains("<option value=\"nodes/2\" selected>Node 2, us<"),
        "{page}"
    );
    let (_, page) = seen(&memory, "/admin/logs?edge=edge-eu").await;
    assert!(page.contains("<option value=\"edges/edge-eu\" selected>edge-eu, eu<"), "{page}");
    assert!(page.contains("PUT /admin/api/v1/edges/edge-eu/logs/level"), "{page}");
    for nobody in ["node=9", "edge=nobody"] {
        assert_eq!(seen(&memory, &format!("/admin/logs?{nobody}")).await.0, StatusCode::NOT_FOUND);
    }
    let page = get_to_look(&memory, "/admin/logs").await;
    assert!(page.contains("For operators") && !page.contains("/admin/ui/logs.js"), "{page}");
}

#[actix_rt::test]
async fn edges_show_how_far_they_are_from_each_other() {
    let memory = Arc::new(Memory::default());
    assert!(get(&memory, "/admin/edges").await.1.contains("Not measured yet"));
    let from = Prober::Edge(EdgeId::new("edge-us").unwrap());
    let times = [
        round_trip(Prober::Node(chappe_proto::id::NodeId(1)), "edge-eu", 4.2),
        round_trip(from, "edge-eu", 91.0),
    ];
    *memory.operation.round_trips.lock().unwrap_or_else(PoisonError::into_inner) = times.to_vec();
    let (_, page) = get(&memory, "/admin/edges").await;
    let matrix = under(&page, "matrix");
    assert!(
        matrix.contains("<th scope=\"col\">edge-eu</th>")
            && matrix.contains("title=\"node 1 to edge edge-eu\""),
        "{matrix}"
    );
    assert!(matrix.contains("class=\"near\"") && matrix.contains("An empty cell"), "{matrix}");
    // The nodes' own matrix is made by the same part.
    assert!(under(&get(&memory, "/admin/nodes").await.1, "matrix").contains("no link"));
}
