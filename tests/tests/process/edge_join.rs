//! Edges join a cluster by a token, serve it, and are seen, drained, removed.

use std::fs;
use std::net::SocketAddr;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use chappe_tests::client::Client;
use chappe_tests::http::request;
use chappe_tests::nodes::{Node, no_node};
use chappe_tests::process::{Process, WITHIN, binary, run, until};
use chappe_tests::turn::{Turn, credentials};
use serde_json::{Value, json};
use tokio::net::UdpSocket;

/// `chappe edge` of a data directory.
pub(crate) struct Edge {
    pub(crate) process: Process,
    pub(crate) udp: SocketAddr,
    /// With `--health 0`.
    health: Option<SocketAddr>,
}

fn line(data: &Path, options: &[&str]) -> Vec<String> {
    let before = ["edge", "--listen", "127.0.0.1:0", "--data", data.to_str().unwrap()];
    before.iter().chain(options).map(|word| (*word).to_owned()).collect()
}

impl Edge {
    pub(crate) fn start(data: &Path, options: &[&str]) -> Self {
        let process = Process::start(Command::new(binary()).args(line(data, options)));
        let said = process.stdout.until("stops it.");
        let udp = said.lines().find_map(|line| line.strip_prefix("UDP ")?.split(',').next());
        let udp = udp.unwrap_or_else(|| panic!("{said}")).parse().unwrap();
        let health = said.lines().find_map(|line| line.strip_prefix("health http://")?.strip_suffix('/'));
        let health = health.map(|at| at.parse().unwrap());
        Self { process, udp, health }
    }

    /// Until its health page answers this, in this state.
    async fn until_health(&self, code: u16, state: &str) {
        let there = async || {
            let (status, body) = request(self.health.unwrap(), "GET", "/health", None).await;
            let shown: Value = serde_json::from_str(&body).unwrap();
            (status, shown["state"].as_str()) == (code, Some(state))
        };
        until(state, WITHIN, there).await;
    }

    /// It ends by itself: its code, and what it says.
    fn ends(mut self) -> (Option<i32>, String) {
        let code = self.process.wait(WITHIN).code();
        (code, self.process.stderr.whole())
    }
}

/// One that does not start: what it says.
fn no_edge(data: &Path, options: &[&str]) -> String {
    let (ok, out, error) = run(binary(), &line(data, options));
    assert!(!ok, "it runs: {out}");
    error
}

pub(crate) fn edges(node: &Node) -> Value {
    serde_json::from_str(&node.told(&["--json", "edges"])).unwrap()
}

/// Until the edges are so, by name: no event tells of that.
pub(crate) async fn until_edges(node: &Node, what: &str, holds: impl Fn(&[Value]) -> bool) {
    let there = async || {
        let all = tokio::task::block_in_place(|| edges(node));
        holds(all.as_array().unwrap())
    };
    until(what, WITHIN, there).await;
}

pub(crate) fn is_up(edge: &Value, name: &str) -> bool {
    edge["edge"] == name && edge["alive"] == true
}

#[tokio::test(flavor = "multi_thread")]
async fn an_edge_joins_by_a_token_comes_back_without_one_and_is_removed() {
    let tmp = tempfile::tempdir().unwrap();
    let node = tokio::task::block_in_place(|| Node::found(&tmp.path().join("1"), "a"));
    let data = tmp.path().join("edge");
    let token = node.invite(&["--edge", "edge-a", "--region", "a"]);
    let placed = ["--coordinates", "52.5,13.4"];
    let begun = std::time::Instant::now();
    let edge = tokio::task::block_in_place(|| {
        let behind = format!("{token}@{}", node.mesh);
        Edge::start(&data, &[&["--join", &behind, "--region", "a"], &placed[..]].concat())
    });
    until_edges(&node, "the edge reports", |all| is_up(&all[0], "edge-a")).await;
    assert!(begun.elapsed() < WITHIN, "{:?}", begun.elapsed());
    for file in ["key.pem", "certificate.pem", "edge.json", "nodes.json"] {
        let mode = fs::metadata(data.join(file)).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600, "{file}");
    }
    // A node offers it from its next look at its edges on.
    let offers = async || {
        let guest = Client::join(node.http, json!({ "room": "another" })).await;
        guest.welcome["edges"].as_array().is_some_and(|edges| !edges.is_empty())
    };
    until("it is offered", WITHIN, offers).await;
    let ada = Client::join(node.http, json!({ "room": "room", "identity": "ada" })).await;
    let mut turn = Turn::new(edge.udp, &credentials(&ada.welcome)).await;
    // It reports before it has taken the secrets.
    let allocated = async || turn.allocate().await.is_ok();
    until("its secrets are there", WITHIN, allocated).await;
    tokio::task::block_in_place(|| {
        let shown = node.told(&["edge", "show", "edge-a"]);
        assert!(shown.contains("edge edge-a in a: up, weight 100"), "{shown}");
        assert!(shown.contains("52.5, 13.4") && shown.contains(&edge.udp.to_string()), "{shown}");
        assert!(node.told(&["edges"]).contains("edge-a"));
        let second = no_edge(&data, &[]);
        assert!(second.contains("another chappe runs in"), "{second}");
        let mut edge = edge;
        assert_eq!(edge.process.terminate().code(), Some(0));
    });
    // The token is used up, and not needed any more.
    let options = [&placed[..], &["--health", "0"]].concat();
    let edge = tokio::task::block_in_place(|| Edge::start(&data, &options));
    until_edges(&node, "it is back", |all| all.len() == 1 && is_up(&all[0], "edge-a")).await;
    edge.until_health(200, "up").await;
    tokio::task::block_in_place(|| {
        assert!(node.told(&["edge", "drain", "edge-a"]).contains("no new allocations"));
        assert_eq!(edges(&node)[0]["state"], "draining");
    });
    // Load balancers send it nobody.
    edge.until_health(503, "draining").await;
    tokio::task::block_in_place(|| {
        assert!(node.told(&["edge", "resume", "edge-a"]).contains("again"));
    });
    edge.until_health(200, "up").await;
    tokio::task::block_in_place(|| {
        assert!(node.told(&["edge", "weight", "edge-a", "7"]).contains("weight 7"));
        assert_eq!((&edges(&node)[0]["state"], &edges(&node)[0]["weight"]), (&json!("admitted"), &json!(7)));
        assert!(node.refused(&["edge", "forget", "edge-a"]).contains("remove it first"));
        assert!(node.told(&["edge", "remove", "edge-a"]).contains("removed"));
        let (code, said) = edge.ends();
        assert_eq!(code, Some(3), "{said}");
        assert!(said.contains("was removed from the cluster") && said.contains("resume edge-a"), "{said}");
        let (code, said) = Edge::start(&data, &[]).ends();
        assert_eq!(code, Some(3), "it is refused from now on: {said}");
        // An operator may change their mind.
        assert!(node.told(&["edge", "resume", "edge-a"]).contains("again"));
    });
    let _edge = tokio::task::block_in_place(|| Edge::start(&data, &[]));
    until_edges(&node, "it is back", |all| is_up(&all[0], "edge-a")).await;
}

#[test]
fn a_token_that_is_not_for_it_says_why_and_what_to_do() {
    let tmp = tempfile::tempdir().unwrap();
    let node = Node::found(&tmp.path().join("1"), "a");
    let dir = |name: &str| -> PathBuf { tmp.path().join(name) };
    let told = |options: &[&str]| no_edge(&dir("no"), options);

    let for_node = node.invite(&[]);
    let said = told(&["--join", &for_node, "--region", "a"]);
    assert!(said.contains("is for a node") && said.contains("invite --edge"), "{said}");
    let token = node.invite(&["--edge", "--region", "a"]);
    let said = no_node(&dir("2"), &["--join", &token, "--region", "a"]);
    assert!(said.contains("is for an edge"), "{said}");
    let said = told(&["--join", &token, "--region", "b"]);
    assert!(said.contains("start with `--region a`"), "{said}");
    let said = told(&["--join", &token]);
    assert!(said.contains("--region NAME is needed"), "{said}");
    let said = told(&[]);
    assert!(said.contains("holds no edge yet") && said.contains("invite --edge"), "{said}");

    // None of them has used it up.
    let edge = Edge::start(&dir("edge"), &["--join", &token, "--region", "a", "--name", "edge-a"]);
    let said = told(&["--join", &token, "--region", "a", "--name", "edge-b"]);
    assert!(said.contains("the edge edge-a joined with this token"), "{said}");
    let other = node.invite(&["--edge"]);
    let said = told(&["--join", &other, "--region", "a", "--name", "edge-a"]);
    assert!(said.contains("there is an edge edge-a already"), "{said}");
    let named = node.invite(&["--edge", "edge-c"]);
    let said = told(&["--join", &named, "--region", "a", "--name", "edge-d"]);
    assert!(said.contains("is for the edge edge-c"), "{said}");
    let status = node.told(&["status"]);
    assert!(status.contains("of an edge, for") && status.contains("of the edge edge-c, for"), "{status}");
    let events = node.told(&["events"]);
    assert!(events.contains("the edge edge-a joined with this token"), "{events}");
    drop(edge);
}

/// Each edge's relay ports ride on the feed, and nothing else of its address.
#[tokio::test(flavor = "multi_thread")]
async fn people_on_two_edges_of_one_machine_reach_each_other_and_nothing_beside() {
    let tmp = tempfile::tempdir().unwrap();
    let node = tokio::task::block_in_place(|| Node::found(&tmp.path().join("1"), "a"));
    // Below the ports that the system hands out by itself: the stranger's is in neither range.
    let [one, two] = [("one", "20000", "20499"), ("two", "20500", "20999")].map(|(name, first, last)| {
        tokio::task::block_in_place(|| {
            let token = node.invite(&["--edge", name]);
            let ports = ["--min-port", first, "--max-port", last];
            let join = ["--join", &token, "--region", "a"];
            Edge::start(&tmp.path().join(name), &[&join[..], &ports].concat())
        })
    });
    until_edges(&node, "both report", |all| all.len() == 2 && all.iter().all(|edge| edge["alive"] == true))
        .await;
    let ada = Client::join(node.http, json!({ "room": "room", "identity": "ada" })).await;
    let mut first = Turn::new(one.udp, &credentials(&ada.welcome)).await;
    let mut second = Turn::new(two.udp, &credentials(&ada.welcome)).await;
    let (here, there) = (first.allocate().await.unwrap(), second.allocate().await.unwrap());
    assert!((20_000..20_500).contains(&here.port()) && (20_500..21_000).contains(&there.port()));
    // The first edge hears of the second's ports by the feed, shortly after it came.
    let permitted = async || first.permit(there).await.is_ok();
    until("the fleet is known", WITHIN, permitted).await;
    second.permit(here).await.unwrap();
    let stranger = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    for round in 0..5u8 {
        first.send(stranger.local_addr().unwrap(), b"not there").await;
        first.send(there, &[round]).await;
        assert_eq!(second.data(WITHIN).await, Some((here, vec![round])));
    }
    stranger.send_to(b"nor back", here).await.unwrap();
    second.send(here, b"back").await;
    assert_eq!(first.data(WITHIN).await, Some((there, b"back".to_vec())));
    assert!(
        stranger.try_recv(&mut [0; 16]).is_err(),
        "another port of the same address is none of the fleet's"
    );
}
