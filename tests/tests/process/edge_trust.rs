//! Who is no edge of this cluster, or not the one that it says, is refused, and operators are told why.

use std::fs;
use std::path::Path;

use chappe_tests::nodes::Node;
use chappe_tests::process::{WITHIN, until};
use serde_json::{Value, json};
use tokio::task::block_in_place;

use super::edge_join::{Edge, edges, is_up, until_edges};

/// An edge of that cluster, which has served it.
async fn joined(node: &Node, data: &Path, name: &str) {
    let token = node.invite(&["--edge", name]);
    let mut edge = block_in_place(|| Edge::start(data, &["--join", &token, "--region", "a"]));
    until_edges(node, "it reports", |all| all.iter().any(|edge| is_up(edge, name))).await;
    block_in_place(|| edge.process.terminate());
}

/// Changes `edge.json`.
fn edit(data: &Path, change: impl FnOnce(&mut Value)) {
    let file = data.join("edge.json");
    let mut identity = serde_json::from_slice(&fs::read(&file).unwrap()).unwrap();
    change(&mut identity);
    fs::write(&file, identity.to_string()).unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn an_edge_that_lies_or_is_another_clusters_is_refused() {
    let tmp = tempfile::tempdir().unwrap();
    let path = |name: &str| tmp.path().join(name);
    let (node, foreign) = block_in_place(|| (Node::found(&path("1"), "a"), Node::found(&path("2"), "a")));
    joined(&node, &path("own"), "own").await;
    joined(&foreign, &path("other"), "other").await;

    // It calls itself what another one might be called; the certificate does not.
    edit(&path("own"), |identity| identity["edge"] = "better".into());
    let liar = block_in_place(|| Edge::start(&path("own"), &["--region", "a"]));
    let told = "an uplink of the edge own: its certificate is of own, and it calls itself better";
    let known = async || block_in_place(|| node.told(&["events"])).contains(told);
    until("the liar is refused, and that is told", WITHIN, known).await;
    let _ = liar.process.stderr.until("its certificate is of own, and it calls itself better");

    // It finds the other cluster's node in the place of its own; neither has a certificate that the other believes.
    edit(&path("other"), |identity| identity["nodes"] = json!([node.mesh]));
    fs::remove_file(path("other").join("nodes.json")).unwrap();
    let stranger = block_in_place(|| Edge::start(&path("other"), &["--region", "a"]));
    let _ = stranger.process.stderr.until("uplink down");
    // Even with that cluster's id and authorities it has no certificate of them.
    drop(stranger);
    let own: Value = serde_json::from_slice(&fs::read(path("own").join("edge.json")).unwrap()).unwrap();
    edit(&path("other"), |identity| identity["cluster"] = own["cluster"].clone());
    fs::copy(path("own").join("authorities.pem"), path("other").join("authorities.pem")).unwrap();
    let _stranger = block_in_place(|| Edge::start(&path("other"), &["--region", "a"]));
    let told = "its certificate is not one of this cluster's authority";
    let known = async || block_in_place(|| node.told(&["events"])).contains(told);
    until("the stranger is refused, and that is told", WITHIN, known).await;

    block_in_place(|| {
        let all = edges(&node);
        assert_eq!(all.as_array().unwrap().len(), 1, "nobody else is an edge here: {all}");
        assert_eq!(all[0]["edge"], "own");
    });
    until_edges(&node, "nobody speaks for it", |all| all[0]["alive"] == false).await;
}
