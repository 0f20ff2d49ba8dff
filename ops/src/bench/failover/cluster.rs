//! The nodes of a bench: processes of this very program on loopback, each with a directory of its own.

use std::collections::HashMap;
use std::fs;
use std::net::{Ipv4Addr, SocketAddr, TcpListener, UdpSocket};
use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use chappe_admin::{ClusterReport, Owners};
use chappe_cluster::clock;
use chappe_proto::id::AppId;
use chappe_proto::registry::NodeState;
use serde_json::{Value, json};

use super::client::signal_url;
use super::net::{Net, Place};
use super::roles::View;
use crate::api::Api;
use crate::bench::child::Child;
use crate::bench::files::Files;
use crate::bench::process::Process;
use crate::bench::report::progress;

/// A cluster is whole within this of a node's start.
const WELL_WITHIN: Duration = Duration::from_secs(90);
/// The time between two looks at it.
const LOOK: Duration = Duration::from_millis(100);
/// Shards that a node may have more or less than its part, in a cluster at rest.
const UNEVEN: usize = 64;

/// A node: its addresses, and its process while it runs.
struct Node {
    id: u64,
    place: Place,
    dir: PathBuf,
    child: Option<Child>,
}

/// The nodes, and what is between them.
pub(in crate::bench) struct Cluster {
    nodes: Vec<Node>,
    net: Option<Net>,
    /// Where what they say is kept.
    logs: Option<PathBuf>,
    files: Files,
}

/// What is to be started.
pub(in crate::bench) struct Wish {
    pub(in crate::bench) nodes: usize,
    pub(in crate::bench) regions: usize,
    /// Whether the network is to be between, to swallow what passes.
    pub(in crate::bench) net: bool,
    /// Between regions, each way.
    pub(in crate::bench) delay: Duration,
    pub(in crate::bench) profile: &'static str,
    /// Where what the nodes say is kept.
    pub(in crate::bench) logs: Option<PathBuf>,
}

impl Cluster {
    /// Founds a cluster, lets all nodes join one after another, and waits until it is well.
    pub(in crate::bench) async fn start(wish: &Wish) -> Result<Self> {
        let files = Files::new()?;
        let mut nodes = Vec::new();
        for index in 0..wish.nodes {
            let place =
                Place { http: free()?, mesh: free()?, region: format!("r{}", index % wish.regions.max(1)) };
            let id = u64::try_from(index)? + 1;
            nodes.push(Node { id, place, dir: files.join(&format!("node-{id}")), child: None });
        }
        let places = nodes.iter().map(|node| node.place.clone()).collect();
        let net = (wish.net || !wish.delay.is_zero()).then(|| Net::start(places, wish.delay)).transpose()?;
        let mut cluster = Self { nodes, net, logs: wish.logs.clone(), files };
        cluster.launch(0, &["--found", "bench"]).context("the first node")?;
        cluster.first().await?;
        for index in 1..wish.nodes {
            let region = json!({ "region": cluster.nodes[index].place.region });
            let invitation = cluster.ask(1, "POST", "/cluster/invitations", region).await?;
            let token = invitation["token"].as_str().context("an invitation without a token")?;
            let file = cluster.files.join(&format!("join-{index}"));
            fs::write(&file, token)?;
            cluster.launch(index, &["--join-file", file.to_str().context("a path that is no text")?])?;
            cluster.until_up(index + 1).await?;
        }
        if wish.profile != "lan" {
            cluster.ask(1, "PUT", "/cluster/profile", json!({ "profile": wish.profile })).await?;
        }
        cluster.until_well().await?;
        Ok(cluster)
    }

    fn launch(&mut self, index: usize, how: &[&str]) -> Result<()> {
        let node = &self.nodes[index];
        let Place { http, mesh, region } = &node.place;
        let front = self.net.as_ref().map(|net| net.fronts[index]);
        let (public, advertised) = front.map_or((*http, *mesh), |front| (front.http, front.mesh));
        let dir = node.dir.to_str().context("a path that is no text")?.to_owned();
        let mut arguments = vec!["node".to_owned(), "--data".to_owned(), dir];
        arguments.extend(how.iter().map(|word| (*word).to_owned()));
        for (option, value) in [
            ("--region", region.clone()),
            ("--workers", "1".to_owned()),
            ("--http", http.to_string()),
            ("--mesh", mesh.to_string()),
            ("--advertise", advertised.to_string()),
            ("--public", format!("http://{public}")),
        ] {
            arguments.extend([option.to_owned(), value]);
        }
        let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
        let log = self.logs.as_ref().map(|logs| logs.join(format!("node-{}.log", self.nodes[index].id)));
        let child = match log {
            Some(log) => Child::start_self_logged(&arguments, &log)?,
            None => Child::start_self(&arguments, None)?,
        };
        self.nodes[index].child = Some(child);
        Ok(())
    }

    async fn first(&self) -> Result<()> {
        // The API key is the last that a first node leaves.
        let key = self.nodes[0].dir.join("api-key.json");
        let there = async {
            while !key.exists() {
                tokio::time::sleep(LOOK).await;
            }
        };
        tokio::time::timeout(WELL_WITHIN, there).await.context("the first node does not start")?;
        self.until_up(1).await
    }

    /// Asks a node's admin API.
    pub(in crate::bench) async fn ask(
        &self,
        node: u64,
        method: &'static str,
        path: &str,
        body: Value,
    ) -> Result<Value> {
        let node = self.node(node)?;
        let token = fs::read_to_string(node.dir.join("admin-token"))?;
        let (url, path) = (format!("http://{}", node.place.http), path.to_owned());
        tokio::task::spawn_blocking(move || {
            Api::new(&url, token.trim(), std::path::Path::new(""))?.call(method, &path, &body)
        })
        .await?
    }

    fn index(&self, id: u64) -> Result<usize> {
        self.nodes.iter().position(|node| node.id == id).with_context(|| format!("there is no node {id}"))
    }

    fn node(&self, id: u64) -> Result<&Node> {
        Ok(&self.nodes[self.index(id)?])
    }

    /// The nodes that run and are none of these.
    fn running(&self, except: &[u64]) -> Vec<u64> {
        let running = self.nodes.iter().filter(|node| node.child.is_some() && !except.contains(&node.id));
        running.map(|node| node.id).collect()
    }

    /// The cluster as a node sees it.
    async fn view(&self, id: u64) -> Result<View> {
        let report: ClusterReport =
            serde_json::from_value(self.ask(id, "GET", "/cluster", Value::Null).await?)?;
        let shards: Owners =
            serde_json::from_value(self.ask(id, "GET", "/cluster/shards", Value::Null).await?)?;
        let up =
            report.status.members.iter().filter(|member| member.state == NodeState::Up && member.reachable);
        Ok(View {
            leader: report.status.leader.map_or(0, |leader| leader.0),
            voters: report.status.voters().map(|voter| voter.node.0).collect(),
            up: up.map(|member| member.node.0).collect(),
            owners: shards.owners.into_iter().map(|owner| owner.map(|owner| owner.0)).collect(),
        })
    }

    async fn until_up(&self, count: usize) -> Result<()> {
        let holds = |view: &View| view.leader != 0 && view.up.len() >= count;
        self.until(self.running(&[]).get(..1).unwrap_or_default(), holds)
            .await
            .context("a node does not get in")
            .map(drop)
    }

    /// Waits until every node is up, there are as many voters as there can be, and shards are spread evenly; and
    /// until every node says so, since one that was away remembers a cluster that was well.
    pub(super) async fn until_well(&self) -> Result<View> {
        let count = self.nodes.len();
        let holds = |view: &View| {
            let each = view.owners.len() / count;
            let even = view.up.iter().all(|node| {
                let owned = view.owners.iter().filter(|owner| **owner == Some(*node)).count();
                owned.abs_diff(each) <= UNEVEN
            });
            view.up.len() == count && view.leader != 0 && view.voters.len() >= count.min(3) && even
        };
        self.until(&self.running(&[]), holds).await.context("the cluster does not get well")
    }

    /// Waits until the others have shared out what these ran.
    pub(super) async fn until_without(&self, gone: &[u64]) -> Result<()> {
        let holds = |view: &View| {
            let lives = |node: &u64| !gone.contains(node);
            lives(&view.leader) && view.leader != 0 && view.owners.iter().all(|owner| owner.iter().any(lives))
        };
        let left = self.running(gone);
        self.until(&left, holds).await.context("nobody takes over from a lost node").map(drop)
    }

    /// Waits until it holds as each of these nodes sees it, one asked after another; answers how the last one does.
    async fn until(&self, asked: &[u64], holds: impl Fn(&View) -> bool) -> Result<View> {
        let mut last = None;
        let look = async {
            'looks: loop {
                let mut found = None;
                for node in asked {
                    match self.view(*node).await {
                        Ok(view) if holds(&view) => found = Some(view),
                        Ok(View { leader, voters, up, .. }) => {
                            last =
                                Some(format!("node {node}: leader {leader}, voters {voters:?}, up {up:?}"));
                            found = None;
                        }
                        Err(error) => {
                            last = Some(format!("node {node}: {error:#}"));
                            found = None;
                        }
                    }
                    if found.is_none() {
                        tokio::time::sleep(LOOK).await;
                        continue 'looks;
                    }
                }
                return found.context("no node runs");
            }
        };
        match tokio::time::timeout(WELL_WITHIN, look).await {
            Ok(found) => found,
            Err(_) => bail!("not within {} s: {}", WELL_WITHIN.as_secs(), last.unwrap_or_default()),
        }
    }

    /// Where clients find the nodes: the id by the address.
    pub(super) fn urls(&self) -> HashMap<String, u64> {
        self.nodes.iter().map(|node| (self.url(node), node.id)).collect()
    }

    fn url(&self, node: &Node) -> String {
        let index = self.nodes.iter().position(|other| other.id == node.id);
        let front = self.net.as_ref().zip(index).map(|(net, index)| net.fronts[index].http);
        signal_url(&format!("http://{}", front.unwrap_or(node.place.http)))
    }

    /// Its process id.
    pub(in crate::bench) fn pid(&self, id: u64) -> Result<u32> {
        Ok(self.node(id)?.child.as_ref().context("that node does not run")?.id())
    }

    /// SIGKILL.
    pub(super) fn kill(&mut self, id: u64) -> Result<()> {
        let index = self.index(id)?;
        self.nodes[index].child = None;
        Ok(())
    }

    /// Waits for a process to end by itself.
    pub(super) async fn until_ended(&mut self, id: u64) -> Result<()> {
        let index = self.index(id)?;
        let ended = async {
            while self.nodes[index].child.as_mut().is_some_and(Child::runs) {
                tokio::time::sleep(LOOK).await;
            }
        };
        tokio::time::timeout(WELL_WITHIN, ended).await.with_context(|| format!("node {id} does not end"))?;
        self.nodes[index].child = None;
        Ok(())
    }

    /// A node that was killed starts again, where it was.
    pub(super) fn restart(&mut self, id: u64) -> Result<()> {
        progress(&format!("node {id} starts again"));
        self.launch(self.index(id)?, &[])
    }

    /// Nothing reaches that node, or comes from it, any more; or everything does again.
    pub(super) fn hole(&self, id: u64, begins: bool) -> Result<()> {
        let index = self.index(id)?;
        self.net.as_ref().context("a black hole needs the network between")?.hole(index, begins);
        Ok(())
    }

    /// Nothing passes any more between the nodes and the process of an edge; or everything does again.
    pub(in crate::bench) fn cut(&self, edge: Option<Process>) -> Result<()> {
        let ports = edge.map(Process::udp_ports).transpose()?;
        self.net.as_ref().context("a cut needs the network between")?.cut(ports);
        Ok(())
    }

    /// The admin API of the first node.
    pub(in crate::bench) fn api(&self) -> Result<Api> {
        let (at, token) = self.console()?;
        Api::new(&format!("http://{at}"), &token, std::path::Path::new(""))
    }

    /// Where the first node's console is, and the token that opens it.
    pub(in crate::bench) fn console(&self) -> Result<(SocketAddr, String)> {
        let node = &self.nodes[0];
        Ok((node.place.http, fs::read_to_string(node.dir.join("admin-token"))?.trim().to_owned()))
    }

    /// Where clients find a node.
    pub(in crate::bench) fn signals(&self, id: u64) -> Result<String> {
        Ok(self.url(self.node(id)?))
    }

    /// Where clients of a region find a node.
    pub(in crate::bench) fn near(&self, region: &str) -> Result<String> {
        let node = self.nodes.iter().find(|node| node.place.region == region);
        Ok(self.url(node.context("no node in that region")?))
    }

    /// The ids of all nodes.
    pub(in crate::bench) fn ids(&self) -> impl Iterator<Item = u64> {
        self.nodes.iter().map(|node| node.id)
    }

    /// A file or directory that lasts as long as the cluster.
    pub(in crate::bench) fn file(&self, name: &str) -> PathBuf {
        self.files.join(name)
    }

    /// A token for all rooms.
    pub(in crate::bench) fn token(&self, region: &str, grants: &[&str]) -> Result<String> {
        let key: crate::token::ApiKey =
            serde_json::from_str(&fs::read_to_string(self.nodes[0].dir.join("api-key.json"))?)?;
        let claims = json!({
            "iss": key.key,
            "aud": chappe_proto::signal::token::AUDIENCE,
            "exp": clock::unix().secs() + 86_400,
            "room": "*",
            "region": region,
            "grants": grants,
        });
        Ok(chappe_cluster::token::sign(&claims, key.secret.as_bytes())?)
    }

    /// The app that the rooms are in.
    pub(in crate::bench) fn app(&self) -> Result<AppId> {
        let file = self.nodes[0].dir.join("api-key.json");
        let key: crate::token::ApiKey = serde_json::from_str(&fs::read_to_string(file)?)?;
        Ok(AppId::new(&key.app)?)
    }

    /// Where a node stands.
    pub(super) fn region(&self, node: u64) -> Option<&str> {
        self.nodes.iter().find(|held| held.id == node).map(|held| held.place.region.as_str())
    }
}

/// An address of loopback, of those ports that systems do not hand out by themselves: it is free for the node
/// again when it starts again.
fn free() -> Result<SocketAddr> {
    for _ in 0..1000 {
        let port = 20_000 + u16::from_le_bytes(clock::random()) % 12_000;
        let at = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
        if TcpListener::bind(at).is_ok() && UdpSocket::bind(at).is_ok() {
            return Ok(at);
        }
    }
    bail!("no free port on loopback")
}
