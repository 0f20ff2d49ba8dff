//! A cluster of `chappe node` processes: on loopback, or each in a namespace of its own.

use std::fs;
use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde_json::{Value, json};
use tempfile::TempDir;

use crate::netns::{Lan, Namespace, wait};
use crate::nodes::free_port;
use crate::process::{Process, WITHIN, binary};
use crate::wan::Wan;

/// A debug build on a busy machine is in its cluster within this.
const UP_WITHIN: Duration = Duration::from_secs(60);
/// An answer of the API comes within this.
const ANSWER_WITHIN: Duration = Duration::from_secs(10);
/// The ports of a node that has a namespace.
const HTTP: u16 = 8080;
const MESH: u16 = 7900;

/// A node. Its process is killed when this is dropped.
pub struct Member {
    /// Its id.
    pub id: u64,
    /// Where it serves HTTP and signaling.
    pub http: SocketAddr,
    /// Where it is, if not on loopback.
    pub host: Option<Namespace>,
    region: String,
    mesh: SocketAddr,
    dir: PathBuf,
    process: Option<Process>,
}

/// Where a node is to be.
struct Place {
    host: Option<Namespace>,
    http: SocketAddr,
    mesh: SocketAddr,
    region: String,
}

impl Place {
    /// A host of its own.
    fn on(host: Namespace, region: &str) -> Self {
        let (http, mesh) = ((host.address(), HTTP).into(), (host.address(), MESH).into());
        Self { host: Some(host), http, mesh, region: region.to_owned() }
    }
}

/// The nodes.
pub struct Cluster {
    /// In the order of their ids, from 1.
    pub nodes: Vec<Member>,
    directory: TempDir,
}

impl Cluster {
    /// So many on loopback, that anybody may join without a token.
    ///
    /// # Panics
    /// When they do not come up.
    #[must_use]
    pub fn on_loopback(count: usize) -> Self {
        Self::with_directories(count, |_, dir| dir)
    }

    /// So many on a network, each a host of its own.
    ///
    /// # Panics
    /// When they do not come up.
    #[must_use]
    pub fn on(lan: &Lan, count: usize) -> Self {
        Self::start((0..count).map(|_| Place::on(lan.host(), "here")).collect(), |_, dir| dir)
    }

    /// One in each of these regions, with the timers for nodes that lie far apart.
    ///
    /// # Panics
    /// When they do not come up.
    #[must_use]
    pub fn over(wan: &Wan, regions: &[&str]) -> Self {
        let places = regions.iter().map(|region| Place::on(wan.host(region), region));
        let all = Self::begin(places.collect(), |_, dir| dir);
        all.nodes[0].call("PUT", "/cluster/profile", &json!({ "profile": "wan" }));
        all.until_well();
        all
    }

    /// The same on loopback, with a directory of one's choice for some; `dir` gets a node's id and the
    /// directory that it would have.
    ///
    /// # Panics
    /// When they do not come up.
    #[must_use]
    pub fn with_directories(count: usize, dir: impl Fn(u64, PathBuf) -> PathBuf) -> Self {
        let place = |_| {
            let (http, mesh) = (free_port(), free_port());
            Place { host: None, http, mesh, region: "here".to_owned() }
        };
        Self::start((0..count).map(place).collect(), dir)
    }

    fn start(places: Vec<Place>, dir: impl Fn(u64, PathBuf) -> PathBuf) -> Self {
        let all = Self::begin(places, dir);
        all.until_well();
        all
    }

    /// Founds the cluster, and has the others join one after another.
    fn begin(places: Vec<Place>, dir: impl Fn(u64, PathBuf) -> PathBuf) -> Self {
        let directory = TempDir::new().expect("a directory for the nodes");
        let nodes = (1..).zip(places).map(|(id, Place { host, http, mesh, region })| {
            let dir = dir(id, directory.path().join(format!("node-{id}")));
            Member { id, http, host, region, mesh, dir, process: None }
        });
        let mut all = Self { nodes: nodes.collect(), directory };
        all.nodes[0].launch(&["--found", "tests", "--anonymous"]);
        all.until_up(1);
        for index in 1..all.nodes.len() {
            let token = all.nodes[0].call("POST", "/cluster/invitations", &json!({}));
            let file = all.directory.path().join(format!("join-{index}"));
            fs::write(&file, token["token"].as_str().expect("a token")).expect("a file for it");
            all.nodes[index].launch(&["--join-file", file.to_str().expect("a plain path")]);
            all.until_up(index + 1);
        }
        all
    }

    /// Where clients reach a node.
    ///
    /// # Panics
    /// When there is none of that id.
    #[must_use]
    pub fn at(&self, id: u64) -> SocketAddr {
        self.nodes.iter().find(|node| node.id == id).expect("a node of that id").http
    }

    /// A node by its id.
    ///
    /// # Panics
    /// When there is none.
    #[must_use]
    pub fn node(&mut self, id: u64) -> &mut Member {
        self.nodes.iter_mut().find(|node| node.id == id).expect("a node of that id")
    }

    /// The cluster as a node sees it that is none of these.
    ///
    /// # Panics
    /// When no other one answers.
    #[must_use]
    pub fn status(&self, except: &[u64]) -> Value {
        let seen = self.nodes.iter().filter(|node| node.runs() && !except.contains(&node.id));
        seen.filter_map(|node| node.ask("GET", "/cluster", &Value::Null)).next().expect("a node that answers")
    }

    /// Who leads, as a node knows that is none of these.
    #[must_use]
    pub fn leader(&self, except: &[u64]) -> Option<u64> {
        self.status(except)["leader"].as_u64()
    }

    /// The node that runs a room of the app `default`.
    ///
    /// # Panics
    /// When nobody runs it.
    #[must_use]
    pub fn owner(&self, room: &str) -> u64 {
        let shards = self.nodes[0].call("GET", "/cluster/shards", &Value::Null);
        let key = chappe_proto::id::RoomKey {
            app: chappe_proto::id::AppId::new("default").unwrap(),
            room: chappe_proto::id::RoomName::new(room).unwrap(),
        };
        shards["owners"][usize::from(key.anchor().0)].as_u64().expect("an owner")
    }

    /// A room that this node runs.
    ///
    /// # Panics
    /// When it owns nothing.
    #[must_use]
    pub fn room_of(&self, node: u64) -> String {
        (0..2000).map(|n| format!("room-{n}")).find(|room| self.owner(room) == node).expect("it owns a shard")
    }

    fn until_up(&self, count: usize) {
        wait("a node to be in its cluster", UP_WITHIN, || {
            let status = self.nodes[0].ask("GET", "/cluster", &Value::Null)?;
            (status["leader"].is_u64() && up(&status) >= count).then_some(())
        });
    }

    /// Waits until all are up, as many vote as can, and shards are spread over all of them.
    pub fn until_well(&self) {
        let count = self.nodes.len();
        wait("the cluster to be well", UP_WITHIN, || {
            let status = self.nodes.iter().find_map(|node| node.ask("GET", "/cluster", &Value::Null))?;
            let members = status["members"].as_array()?;
            let votes =
                members.iter().filter(|member| member["role"] == "leader" || member["role"] == "voter");
            let owns = members.iter().all(|member| member["shards"].as_u64() > Some(4096 / count as u64 / 2));
            let well = up(&status) == count && votes.count() >= count.min(3) && owns;
            (well && status["leader"].is_u64()).then_some(())
        });
    }
}

/// How many nodes are up and reached.
fn up(status: &Value) -> usize {
    let all = status["members"].as_array().map(Vec::as_slice).unwrap_or_default();
    all.iter().filter(|member| member["state"] == "up" && member["reachable"] == true).count()
}

impl Member {
    fn launch(&mut self, how: &[&str]) {
        let mut command = match &self.host {
            Some(host) => host.command(binary()),
            None => std::process::Command::new(binary()),
        };
        command.args(["node", "--region", &self.region, "--workers", "1", "--data"]).arg(&self.dir).args(how);
        command.args(["--http", &self.http.to_string(), "--mesh", &self.mesh.to_string()]);
        self.process = Some(Process::start(&mut command));
    }

    /// Whether its process is there.
    #[must_use]
    pub fn runs(&self) -> bool {
        self.process.is_some()
    }

    /// Its process.
    ///
    /// # Panics
    /// When it has none.
    pub fn process(&mut self) -> &mut Process {
        self.process.as_mut().expect("it runs")
    }

    /// `kill -9`.
    pub fn kill(&mut self) {
        self.process().kill();
        self.process = None;
    }

    /// Starts it again, where it was.
    pub fn start(&mut self) {
        self.start_with(&[]);
    }

    /// The same, with these options too.
    pub fn start_with(&mut self, options: &[&str]) {
        self.launch(options);
    }

    /// Its directory.
    #[must_use]
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// `chappe cluster` with these words, asked of it.
    ///
    /// # Panics
    /// When it fails.
    #[must_use]
    pub fn told(&self, words: &[&str]) -> String {
        let mut command = match &self.host {
            Some(host) => host.command(binary()),
            None => std::process::Command::new(binary()),
        };
        command.args(["cluster", "--node", &format!("http://{}", self.http), "--token-file"]);
        let mut process = Process::start(command.arg(self.dir.join("admin-token")).args(words));
        let status = process.wait(WITHIN);
        assert!(status.success(), "{words:?}: {}", process.stderr.whole());
        process.stdout.whole()
    }

    /// Asks its admin API.
    ///
    /// # Panics
    /// When it does not do what it is asked for.
    pub fn call(&self, method: &str, path: &str, body: &Value) -> Value {
        self.ask(method, path, body).unwrap_or_else(|| panic!("node {}: {method} {path}", self.id))
    }

    /// The same; nothing where it does not answer, or refuses.
    #[must_use]
    pub fn ask(&self, method: &str, path: &str, body: &Value) -> Option<Value> {
        let token = fs::read_to_string(self.dir.join("admin-token")).ok()?;
        let body = if body.is_null() { String::new() } else { body.to_string() };
        let request = format!(
            "{method} /admin/api/v1{path} HTTP/1.0\r\nHost: {}\r\nAuthorization: Bearer {}\r\n\
             Content-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}",
            self.http,
            token.trim(),
            body.len()
        );
        let at = self.http;
        let exchange = move || -> std::io::Result<String> {
            let mut stream = TcpStream::connect_timeout(&at, ANSWER_WITHIN)?;
            stream.set_read_timeout(Some(ANSWER_WITHIN))?;
            stream.write_all(request.as_bytes())?;
            let mut answer = String::new();
            stream.read_to_string(&mut answer)?;
            Ok(answer)
        };
        let answer = match &self.host {
            Some(host) => host.within(exchange),
            None => exchange(),
        };
        let answer = answer.ok()?;
        let (head, body) = answer.split_once("\r\n\r\n")?;
        let fine = head.split(' ').nth(1).is_some_and(|status| status.starts_with('2'));
        if !fine {
            eprintln!("node {}: {method} {path}: {head}\n{body}", self.id);
        }
        fine.then(|| serde_json::from_str(body).unwrap_or(Value::Null))
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        if std::thread::panicking() {
            for node in &self.nodes {
                let Some(process) = &node.process else { continue };
                let (out, err) = (process.stdout.text(), process.stderr.text());
                eprintln!("---- node {} said:\n{out}{err}", node.id);
            }
        }
    }
}
