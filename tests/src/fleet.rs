//! A cluster with its edges, spread over three regions: every process on a host of its own.

use std::fs;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

use serde_json::{Value, json};
use tempfile::TempDir;

use crate::cluster::Cluster;
use crate::netns::{Namespace, wait};
use crate::process::{Process, WITHIN, binary};
use crate::wan::{REGIONS, Wan};

/// The edges and their regions: two choices in one of them.
const EDGES: [(&str, &str); 4] = [("eu-1", "eu"), ("eu-2", "eu"), ("us-1", "us"), ("asia-1", "asia")];

/// The port of STUN and TURN.
pub const TURN: u16 = 3478;
/// The ports that edges relay from.
pub const RELAYS: (u16, u16) = (50_000, 50_999);

/// Nodes and edges know of each other's state within this.
const KNOWN_WITHIN: Duration = Duration::from_secs(20);

/// Three nodes, one in each region, and four edges.
pub struct Fleet {
    /// The nodes.
    pub cluster: Cluster,
    /// The edges.
    pub edges: Vec<FleetEdge>,
    /// What is between them, and clients' hosts.
    pub wan: Wan,
    _directory: TempDir,
}

/// An edge on a host of its own. Its process is killed when this is dropped.
pub struct FleetEdge {
    /// Its name.
    pub name: &'static str,
    /// Where it stands.
    pub region: &'static str,
    /// Its host.
    pub host: Namespace,
    /// Allocations that it takes at most, where that is not what edges take by themselves.
    pub capacity: Option<u32>,
    data: PathBuf,
    token: PathBuf,
    process: Option<Process>,
}

impl Fleet {
    /// A node in each region, and the hosts of four edges; or nothing without root's rights.
    ///
    /// # Panics
    /// When it does not come up.
    pub fn of_four() -> Option<Self> {
        Self::found(&REGIONS, &EDGES)
    }

    /// Starts a node in each of these regions, and makes the hosts of these edges, by name and region; or nothing
    /// without root's rights.
    ///
    /// # Panics
    /// When it does not come up.
    pub fn found(nodes: &[&str], edges: &[(&'static str, &'static str)]) -> Option<Self> {
        let wan = Wan::new()?;
        let cluster = Cluster::over(&wan, nodes);
        let directory = TempDir::new().expect("a directory for the edges");
        let edges = edges.iter().map(|(name, region)| {
            let (host, data) = (wan.host(region), directory.path().join(name));
            let token = directory.path().join(format!("{name}.token"));
            FleetEdge { name, region, host, data, token, capacity: None, process: None }
        });
        Some(Self { edges: edges.collect(), cluster, wan, _directory: directory })
    }

    /// Starts the edges.
    ///
    /// # Panics
    /// When they do not come up.
    pub fn launch(&mut self) {
        for index in 0..self.edges.len() {
            self.invite(index);
            self.edges[index].start();
        }
        let all: Vec<&str> = self.edges.iter().map(|edge| edge.name).collect();
        self.until_offered(&all);
    }

    /// Writes the token by which an edge joins where it is looked for.
    fn invite(&self, index: usize) {
        let edge = &self.edges[index];
        let wish = json!({ "edge": { "name": edge.name }, "region": edge.region });
        let made = self.cluster.nodes[0].call("POST", "/cluster/invitations", &wish);
        fs::write(&edge.token, made["token"].as_str().expect("a token")).expect("a file for it");
    }

    /// Waits until every node says that just these edges live.
    ///
    /// # Panics
    /// When it does not come to that.
    pub fn until_offered(&self, edges: &[&str]) {
        wait(&format!("every node to know {edges:?}"), KNOWN_WITHIN, || {
            self.cluster
                .nodes
                .iter()
                .filter(|node| node.runs())
                .all(|node| {
                    let overview = node.ask("GET", "/overview", &Value::Null).unwrap_or_default();
                    let all = overview["edges"].as_array().map(Vec::as_slice).unwrap_or_default();
                    let lives =
                        |name: &str| all.iter().any(|edge| edge["edge"] == name && edge["alive"] == true);
                    self.edges.iter().all(|edge| edges.contains(&edge.name) == lives(edge.name))
                })
                .then_some(())
        });
    }

    /// Where the nodes are.
    #[must_use]
    pub fn nodes(&self) -> Vec<Ipv4Addr> {
        self.cluster.nodes.iter().filter_map(|node| Some(node.host.as_ref()?.address())).collect()
    }

    /// How many allocations all edges but one have together that are alive, as a node knows.
    ///
    /// # Panics
    /// When the node does not say.
    #[must_use]
    pub fn allocations(&self, without: &str) -> u64 {
        let overview = self.cluster.nodes[0].call("GET", "/overview", &Value::Null);
        let all = overview["edges"].as_array().expect("edges");
        let counts = |edge: &&Value| edge["alive"] == true && edge["edge"] != without;
        all.iter().filter(counts).filter_map(|edge| edge["allocations"].as_u64()).sum()
    }

    /// An edge as `chappe cluster edges` has it.
    ///
    /// # Panics
    /// When there is none of that name.
    #[must_use]
    pub fn seen(&self, edge: &str) -> Value {
        let all: Value =
            serde_json::from_str(&self.cluster.nodes[0].told(&["--json", "edges"])).expect("JSON");
        let all = all.as_array().expect("edges");
        all.iter().find(|seen| seen["edge"] == edge).unwrap_or_else(|| panic!("no edge {edge}")).clone()
    }

    /// Waits until a node says that of an edge: its state, as `draining`, and why.
    ///
    /// # Panics
    /// When it does not come to that.
    pub fn until_said(&self, edge: &str, state: &str, advice: Option<&str>) {
        wait(&format!("{edge} to be {state}, {advice:?}"), KNOWN_WITHIN, || {
            let seen = self.seen(edge);
            let all = seen["advice"].as_array()?;
            let said = advice.is_none_or(|advice| all.iter().any(|said| said == advice));
            (seen["condition"]["state"] == state && said).then_some(())
        });
    }

    /// How many bytes an edge has relayed, as a node knows.
    #[must_use]
    pub fn relayed(&self, edge: &str) -> u64 {
        let overview = self.cluster.nodes[0].call("GET", "/overview", &Value::Null);
        let all = overview["edges"].as_array().map(Vec::as_slice).unwrap_or_default();
        all.iter()
            .find(|seen| seen["edge"] == edge)
            .and_then(|seen| seen["relayed_bytes"].as_u64())
            .unwrap_or(0)
    }

    /// An edge by its name.
    ///
    /// # Panics
    /// When there is none.
    pub fn edge(&mut self, name: &str) -> &mut FleetEdge {
        self.edges.iter_mut().find(|edge| edge.name == name).unwrap_or_else(|| panic!("no edge {name}"))
    }

    /// What the pages of a region's node begin with.
    ///
    /// # Panics
    /// When there is no such region.
    #[must_use]
    pub fn origin(&self, region: &str) -> String {
        let at = REGIONS.iter().position(|name| *name == region).expect("a region");
        format!("http://{}", self.cluster.nodes[at].http)
    }

    /// A token for that room, as an app's server makes it.
    ///
    /// # Panics
    /// When there is none.
    #[must_use]
    pub fn token(&self, room: &str, options: &[&str]) -> String {
        let key = self.cluster.nodes[0].dir().join("api-key.json");
        let key = key.to_str().expect("a plain path");
        let arguments = [&["token", room, "--key", key], options].concat();
        let (ok, token, error) = crate::process::run(binary(), &arguments);
        assert!(ok, "{error}");
        token.trim().to_owned()
    }
}

impl FleetEdge {
    /// Starts it, or starts it again.
    ///
    /// # Panics
    /// When it does not come up.
    pub fn start(&mut self) {
        let at = format!("{}:{TURN}", self.host.address());
        let (first, last) = (RELAYS.0.to_string(), RELAYS.1.to_string());
        let mut command = self.host.command(binary());
        command.args(["edge", "--region", self.region, "--listen", &at]);
        command.args(["--min-port", &first, "--max-port", &last, "--data"]).arg(&self.data);
        command.arg("--join-file").arg(&self.token);
        if let Some(capacity) = self.capacity {
            command.args(["--capacity", &capacity.to_string()]);
        }
        let process = Process::start(&mut command);
        assert!(process.stdout.wait_for("stops it.", WITHIN), "{}: {}", self.name, process.stderr.text());
        self.process = Some(process);
    }

    /// A firewall before it is closed: only its nodes reach it any more, for which it opened the way itself.
    pub fn firewall(&self) {
        self.host.close(&[(TURN, TURN), RELAYS]);
    }

    /// Where it serves STUN and TURN.
    #[must_use]
    pub fn at(&self) -> SocketAddr {
        (self.host.address(), TURN).into()
    }

    /// `kill -9`.
    pub fn kill(&mut self) {
        if let Some(mut process) = self.process.take() {
            process.kill();
        }
    }
}

impl Drop for Fleet {
    fn drop(&mut self) {
        if std::thread::panicking() {
            for edge in &self.edges {
                let Some(process) = &edge.process else { continue };
                eprintln!(
                    "---- edge {} said:\n{}{}",
                    edge.name,
                    process.stdout.text(),
                    process.stderr.text()
                );
            }
        }
    }
}
