//! A cluster of `chappe node` processes.

use std::net::{Ipv4Addr, SocketAddr, UdpSocket};
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;

use crate::netns::eventually;
use crate::process::{Process, WITHIN, binary, run};

/// A UDP port of loopback that nobody has, of those that systems do not hand out by themselves: so it is
/// free for the node again after its restart.
///
/// # Panics
/// When there is none.
#[must_use]
pub fn free_port() -> SocketAddr {
    let mut seed = [0; 2];
    for _ in 0..1000 {
        getrandom(&mut seed);
        let port = 20_000 + u16::from_le_bytes(seed) % 12_000;
        let at = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
        if UdpSocket::bind(at).is_ok() {
            return at;
        }
    }
    panic!("no free UDP port");
}

fn getrandom(bytes: &mut [u8]) {
    use std::io::Read;
    std::fs::File::open("/dev/urandom").and_then(|mut file| file.read_exact(bytes)).unwrap();
}

/// A `chappe node` process.
pub struct Node {
    process: Process,
    /// Where its pages, its signaling and its API are.
    pub http: SocketAddr,
    /// Where other nodes reach it.
    pub mesh: SocketAddr,
    /// Its data directory.
    pub data: PathBuf,
    options: Vec<String>,
}

/// How a command ended.
#[derive(Debug)]
pub struct Said {
    /// Whether it succeeded.
    pub ok: bool,
    /// Its standard output.
    pub out: String,
    /// Its standard error.
    pub error: String,
}

impl Node {
    /// Founds a cluster in a directory.
    ///
    /// # Panics
    /// When it does not come up.
    #[must_use]
    pub fn found(data: &Path, region: &str) -> Self {
        Self::start(data, &["--found", "test", "--region", region, "--anonymous"])
    }

    /// Joins a cluster.
    ///
    /// # Panics
    /// When it does not come up.
    #[must_use]
    pub fn join(data: &Path, token: &str, region: &str) -> Self {
        Self::start(data, &["--join", token, "--region", region])
    }

    /// Starts a node with these options.
    ///
    /// # Panics
    /// When it does not come up.
    #[must_use]
    pub fn start(data: &Path, options: &[&str]) -> Self {
        let options = options.iter().map(|option| (*option).to_owned()).collect();
        Self::at(data, free_port(), "127.0.0.1:0".parse().unwrap(), options).finish()
    }

    /// Starts one without waiting for it.
    fn at(data: &Path, mesh: SocketAddr, http: SocketAddr, options: Vec<String>) -> Self {
        let mut command = Command::new(binary());
        command.args(["node", "--http", &http.to_string(), "--mesh", &mesh.to_string(), "--data"]);
        command.arg(data).args(&options);
        Self { process: Process::start(&mut command), http, mesh, data: data.to_owned(), options }
    }

    /// Waits until it is there.
    ///
    /// # Panics
    /// When it does not come.
    #[must_use]
    pub fn finish(mut self) -> Self {
        if !self.process.stdout.wait_for("stops it.", WITHIN) {
            self.process.kill();
            panic!("no node:\n{}\n{}", self.process.stdout.text(), self.process.stderr.whole());
        }
        let text = self.process.stdout.text();
        let http = text.lines().find_map(|line| line.strip_prefix("http "));
        self.http = http.unwrap_or_else(|| panic!("no http in {text}")).trim().parse().unwrap();
        self
    }

    /// Starts it again where it was, once its process has ended.
    #[must_use]
    pub fn again(self) -> Self {
        self.begin_again().finish()
    }

    /// The same without waiting for it.
    #[must_use]
    pub fn begin_again(mut self) -> Self {
        self.process.wait(WITHIN);
        Self::at(&self.data, self.mesh, self.http, std::mem::take(&mut self.options))
    }

    /// Starts several again, which need each other to be there.
    #[must_use]
    pub fn all_again(nodes: Vec<Self>) -> Vec<Self> {
        let begun: Vec<_> = nodes.into_iter().map(Self::begin_again).collect();
        begun.into_iter().map(Self::finish).collect()
    }

    /// The process.
    pub fn process(&mut self) -> &mut Process {
        &mut self.process
    }

    /// `chappe cluster` with these words, asked of this node.
    #[must_use]
    pub fn cluster(&self, words: &[&str]) -> Said {
        let (node, token) = (format!("http://{}", self.http), self.data.join("admin-token"));
        let before = ["cluster", "--node", &node, "--token-file", token.to_str().unwrap()];
        let (ok, out, error) = run(binary(), &[&before, words].concat());
        Said { ok, out, error }
    }

    /// What it says where it must succeed.
    ///
    /// # Panics
    /// When it fails.
    #[must_use]
    pub fn told(&self, words: &[&str]) -> String {
        let said = self.cluster(words);
        assert!(said.ok, "{words:?}: {}\n{}", said.error, self.process.stderr.text());
        said.out
    }

    /// What it says where it must fail: one line.
    ///
    /// # Panics
    /// When it succeeds.
    #[must_use]
    pub fn refused(&self, words: &[&str]) -> String {
        let said = self.cluster(words);
        assert!(!said.ok, "{words:?}: {}", said.out);
        assert!(said.error.starts_with("chappe: ") && said.error.lines().count() == 1, "{}", said.error);
        said.error
    }

    /// The cluster's status as JSON.
    ///
    /// # Panics
    /// When there is none.
    #[must_use]
    pub fn status(&self) -> Value {
        serde_json::from_str(&self.told(&["--json", "status"])).unwrap()
    }

    /// A token for a new node.
    ///
    /// # Panics
    /// When there is none.
    #[must_use]
    pub fn invite(&self, options: &[&str]) -> String {
        let made: Value =
            serde_json::from_str(&self.told(&[&["--json", "invite"], options].concat())).unwrap();
        made["token"].as_str().unwrap().to_owned()
    }

    /// Waits until the status is so: no event tells of that.
    ///
    /// # Panics
    /// When it never is.
    pub fn until(&self, what: &str, holds: impl Fn(&Value) -> bool) -> Value {
        let mut last = None;
        let status = eventually(WITHIN, || {
            let said = last.insert(self.cluster(&["--json", "status"]));
            serde_json::from_str(&said.out).ok().filter(&holds)
        });
        status.unwrap_or_else(|| panic!("never {what}: {last:?}\n{}", self.process.stderr.text()))
    }
}

/// Three nodes in regions a, b and c, all of which vote.
///
/// # Panics
/// When they do not become that.
#[must_use]
pub fn three(dir: &Path) -> Vec<Node> {
    let mut nodes = vec![Node::found(&dir.join("1"), "a")];
    for region in ["b", "c"] {
        let token = nodes[0].invite(&["--region", region]);
        let data = dir.join((nodes.len() + 1).to_string());
        nodes.push(Node::join(&data, &token, region));
    }
    nodes[0].until("three voters and all well", |status| voters(status) == 3 && status["healthy"] == true);
    nodes
}

/// How many vote.
#[must_use]
pub fn voters(status: &Value) -> usize {
    let members = status["members"].as_array().map(Vec::as_slice).unwrap_or_default();
    members.iter().filter(|member| member["role"] == "leader" || member["role"] == "voter").count()
}

/// A second process in the same place fails: what it says.
///
/// # Panics
/// When it runs.
#[must_use]
pub fn no_node(data: &Path, options: &[&str]) -> String {
    let before = ["node", "--http", "127.0.0.1:0", "--data", data.to_str().unwrap()];
    // Where it says so itself, it is where it was.
    let mesh: &[&str] = if options.contains(&"--mesh") { &[] } else { &["--mesh", "127.0.0.1:0"] };
    let (ok, out, error) = run(binary(), &[&before, mesh, options].concat());
    assert!(!ok, "it runs: {out}");
    error
}
