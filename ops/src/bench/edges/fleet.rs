//! The fleet of a bench: three nodes, and four edges in three regions, processes of this very program. Each edge
//! has an address of loopback that stands for its machine.

use std::net::{IpAddr, Ipv4Addr, SocketAddr, UdpSocket};
use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use chappe_cluster::clock;
use serde_json::Value;

use crate::bench::child::Child;
use crate::bench::failover::cluster::{Cluster, Wish};
use crate::bench::process::Process;
use crate::edge::identity::Identity;

/// The edges' regions: two choices in the first.
const REGIONS: [&str; 4] = ["r0", "r0", "r1", "r2"];
/// Allocations that an edge takes: few enough to fill one up.
const CAPACITY: u32 = 400;
/// Every node knows of a change of an edge within this.
const KNOWN_WITHIN: Duration = Duration::from_secs(30);
/// The time between two looks.
const LOOK: Duration = Duration::from_millis(100);

/// An edge, and its process while it runs.
pub(super) struct Edge {
    pub(super) name: String,
    pub(super) at: SocketAddr,
    region: &'static str,
    identity: PathBuf,
    child: Option<Child>,
}

/// Nodes and edges. All of them end when this is dropped.
pub(super) struct Fleet {
    pub(super) cluster: Cluster,
    pub(super) edges: Vec<Edge>,
}

impl Fleet {
    /// Starts all of it, and waits until everybody knows of everybody.
    pub(super) async fn start() -> Result<Self> {
        let wish =
            Wish { nodes: 3, regions: 3, net: true, delay: Duration::ZERO, profile: "lan", logs: None };
        let cluster = Cluster::start(&wish).await.context("the cluster")?;
        let mut api = cluster.api()?;
        let mut edges = Vec::new();
        for (number, region) in (1..).zip(REGIONS) {
            let name = format!("e{number}");
            let at = free(Ipv4Addr::new(127, 0, 2, number))?;
            let identity = cluster.file(&name);
            Identity::enrol(&mut api, &name.parse()?, &identity).with_context(|| name.clone())?;
            edges.push(Edge { name, at, region, identity, child: None });
        }
        let mut fleet = Self { cluster, edges };
        for edge in &mut fleet.edges {
            edge.start()?;
        }
        fleet.until_whole().await?;
        Ok(fleet)
    }

    /// An edge by its name.
    pub(super) fn edge(&mut self, name: &str) -> Result<&mut Edge> {
        self.edges.iter_mut().find(|edge| edge.name == name).with_context(|| format!("no edge {name}"))
    }

    /// Starts the edges that do not run, and waits until every node says that all live and that none of them
    /// has an allocation left.
    pub(super) async fn until_whole(&mut self) -> Result<()> {
        for edge in self.edges.iter_mut().filter(|edge| edge.child.is_none()) {
            edge.start()?;
        }
        let look = async {
            while !self.is_whole().await.unwrap_or(false) {
                tokio::time::sleep(LOOK).await;
            }
        };
        match tokio::time::timeout(KNOWN_WITHIN, look).await {
            Ok(()) => Ok(()),
            Err(_) => bail!("the nodes do not know of all edges within {} s", KNOWN_WITHIN.as_secs()),
        }
    }

    async fn is_whole(&self) -> Result<bool> {
        for node in self.cluster.ids() {
            let overview = self.cluster.ask(node, "GET", "/overview", Value::Null).await?;
            let all = overview["edges"].as_array().context("no edges")?;
            let fine = |edge: &&Value| edge["alive"] == true && edge["allocations"] == 0;
            if all.iter().filter(fine).count() != self.edges.len() {
                return Ok(false);
            }
        }
        Ok(true)
    }
}

impl Edge {
    fn start(&mut self) -> Result<()> {
        let (at, capacity) = (self.at.to_string(), CAPACITY.to_string());
        let identity = self.identity.to_str().context("a path that is no text")?;
        // Many clients of one bench are one user and one source to it.
        let arguments = [
            "edge",
            "--identity",
            identity,
            "--region",
            self.region,
            "--listen",
            &at,
            "--min-port",
            "50000",
            "--max-port",
            "59999",
            "--capacity",
            &capacity,
            "--user-quota",
            "100000",
            "--source-quota",
            "100000",
        ];
        let child = Child::start_self(&arguments, None)?;
        child.wait_for(|line| line.contains("stops it.").then_some(())).with_context(|| self.name.clone())?;
        self.child = Some(child);
        Ok(())
    }

    /// SIGKILL.
    pub(super) fn kill(&mut self) {
        self.child = None;
    }

    /// Its process.
    pub(super) fn process(&self) -> Result<Process> {
        Ok(Process(self.child.as_ref().context("that edge does not run")?.id()))
    }

    /// Its machine.
    pub(super) fn ip(&self) -> IpAddr {
        self.at.ip()
    }
}

/// A port there, of those that systems do not hand out by themselves.
fn free(ip: Ipv4Addr) -> Result<SocketAddr> {
    for _ in 0..1000 {
        let at = SocketAddr::from((ip, 20_000 + u16::from_le_bytes(clock::random()) % 12_000));
        if UdpSocket::bind(at).is_ok() && std::net::TcpListener::bind(at).is_ok() {
            return Ok(at);
        }
    }
    bail!("no free port at {ip}")
}
