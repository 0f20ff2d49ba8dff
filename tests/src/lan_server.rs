//! `chappe dev` in a namespace of a [`Lan`], and what its admin API says.

use std::fs;
use std::io::{Read as _, Write as _};
use std::net::{Ipv4Addr, TcpStream};
use std::path::Path;
use std::time::Duration;

use serde_json::Value;
use tempfile::TempDir;

use crate::netns::{Lan, NAME, Namespace, SERVER, wait};
use crate::process::{self, Process};

/// The port of its web page and signaling: free, since the namespace is its own.
pub const HTTP: u16 = 8080;
/// The port of its HTTPS, with `--lan`.
pub const HTTPS: u16 = 8443;
/// The port that HTTPS and TURN over TLS share, with a certificate given.
pub const SHARED: u16 = 443;
/// The port of STUN and TURN.
pub const TURN: u16 = 3478;

/// A debug build on a busy machine is up within this.
const UP_WITHIN: Duration = Duration::from_secs(30);
/// An answer of the API comes within this.
const ANSWER_WITHIN: Duration = Duration::from_secs(5);

/// A server; killed when it is dropped.
pub struct LanServer<'a> {
    namespace: &'a Namespace,
    address: Ipv4Addr,
    /// What the addresses of pages begin with.
    origin: String,
    options: Vec<String>,
    directory: TempDir,
    process: Process,
}

impl<'a> LanServer<'a> {
    /// Starts one for all of the network, and waits until it has an edge.
    pub fn start(lan: &'a Lan) -> Self {
        Self::start_at(lan.server(), SERVER, &["--bind", &SERVER.to_string()])
    }

    /// Starts one with `--lan`, which serves HTTPS too.
    pub fn start_for_phones(lan: &'a Lan) -> Self {
        let https = HTTPS.to_string();
        Self::start_at(lan.server(), SERVER, &["--lan", "--lan-ip", &SERVER.to_string(), "--https", &https])
    }

    /// Starts one that shares port 443 between HTTPS and TURN over TLS, by that certificate for
    /// [`NAME`].
    pub fn start_shared(lan: &'a Lan, chain: &Path, key: &Path) -> Self {
        let (https, path) =
            (SHARED.to_string(), |path: &Path| path.to_str().expect("a plain path").to_owned());
        let (chain, key) = (path(chain), path(key));
        let address = SERVER.to_string();
        let options = ["--bind", &address, "--https", &https, "--hostname", NAME, "--trust-certificate"];
        let all = [&options[..], &["--certificate", &chain, "--key", &key]].concat();
        let mut server = Self::start_at(lan.server(), SERVER, &all);
        server.origin = format!("https://{NAME}");
        server
    }

    /// Starts one as on a developer's own machine: on loopback, for that namespace alone.
    pub fn start_on_loopback(namespace: &'a Namespace) -> Self {
        Self::start_at(namespace, Ipv4Addr::LOCALHOST, &[])
    }

    /// The same of three nodes and two edges.
    pub fn start_cluster_on_loopback(namespace: &'a Namespace) -> Self {
        Self::start_at(namespace, Ipv4Addr::LOCALHOST, &["--nodes", "3", "--edges", "2"])
    }

    /// The one-time link for the console's first owner, as it is printed.
    pub fn owner_link(&self) -> String {
        let text = self.process.stdout.until("once, for its first owner");
        let line = text.lines().find(|line| line.ends_with("once, for its first owner"));
        line.and_then(|line| line.split_whitespace().nth(1)).expect("a link").to_owned()
    }

    /// Where its nodes' pages are.
    pub fn nodes(&self) -> Vec<String> {
        let text = self.process.stdout.until("stops it.");
        let nodes = text.lines().filter(|line| line.trim_start().starts_with("node "));
        let origin =
            |line: &str| line.split_whitespace().find(|word| word.starts_with("http://")).map(str::to_owned);
        nodes.filter_map(origin).map(|url| url.trim_end_matches('/').to_owned()).collect()
    }

    fn start_at(namespace: &'a Namespace, address: Ipv4Addr, options: &[&str]) -> Self {
        let options: Vec<String> = options.iter().map(|&option| option.to_owned()).collect();
        let directory = TempDir::new().expect("a directory for its data");
        let process = spawn(namespace, &options, &directory);
        let origin = format!("http://{address}:{HTTP}");
        let mut server = Self { namespace, address, origin, options, directory, process };
        server.until_up();
        server
    }

    /// `kill -9`, and again on the same ports with the same data.
    pub fn restart(&mut self) {
        self.process.kill();
        self.process = spawn(self.namespace, &self.options, &self.directory);
        self.until_up();
    }

    /// The address of a page.
    pub fn url(&self, path: &str) -> String {
        format!("{}{path}", self.origin)
    }

    /// A token for that room, as an app's server makes it.
    pub fn token(&self, room: &str, grants: &[&str]) -> String {
        let key = self.directory.path().join("data/api-key.json");
        let mut arguments = vec!["token", room, "--key", key.to_str().expect("a plain path")];
        arguments.extend(grants.iter().flat_map(|grant| ["--grant", grant]));
        let (ok, token, error) = process::run(process::binary(), &arguments);
        assert!(ok, "{error}");
        token.trim().to_owned()
    }

    /// What opens its admin API.
    pub fn admin_token(&self) -> String {
        let file = self.directory.path().join("data/admin-token");
        fs::read_to_string(file).expect("the admin token").trim().to_owned()
    }

    /// `GET /admin/api/v1/overview`.
    pub fn overview(&self) -> Value {
        let header = format!("Authorization: Bearer {}\r\n", self.admin_token());
        self.get("/admin/api/v1/overview", &header).expect("an overview")
    }

    /// How many bytes its edge has relayed.
    pub fn relayed_bytes(&self) -> u64 {
        self.overview()["edges"][0]["relayed_bytes"].as_u64().expect("a count")
    }

    /// How many allocations its edge has.
    pub fn allocations(&self) -> u64 {
        self.overview()["edges"][0]["allocations"].as_u64().expect("a count")
    }

    fn get(&self, path: &str, headers: &str) -> Option<Value> {
        let at = (self.address, HTTP);
        let request = format!("GET {path} HTTP/1.0\r\nHost: {}\r\n{headers}\r\n", self.address);
        let answer = self.namespace.within(move || -> std::io::Result<String> {
            let mut stream = TcpStream::connect(at)?;
            stream.set_read_timeout(Some(ANSWER_WITHIN))?;
            stream.write_all(request.as_bytes())?;
            let mut answer = String::new();
            stream.read_to_string(&mut answer)?;
            Ok(answer)
        });
        let answer = answer.ok()?;
        let (head, body) = answer.split_once("\r\n\r\n")?;
        assert!(head.contains(" 200 ") || head.contains(" 503 "), "{path}: {head}");
        serde_json::from_str(body).ok()
    }

    fn until_up(&mut self) {
        wait("chappe dev to be up, with its edge", UP_WITHIN, || {
            if let Some(status) = self.process.ended() {
                panic!("chappe dev ended with {status}");
            }
            let ready = self.get("/readyz", "")?;
            (ready["ready"] == true && ready["edges"].as_u64() > Some(0)).then_some(())
        });
    }
}

impl Drop for LanServer<'_> {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("---- chappe dev said:\n{}{}", self.process.stdout.text(), self.process.stderr.text());
        }
    }
}

fn spawn(namespace: &Namespace, options: &[String], directory: &TempDir) -> Process {
    let mut command = namespace.command(process::binary());
    command.args(["dev", "--http", &HTTP.to_string(), "--turn", &TURN.to_string()]);
    if !options.iter().any(|option| option == "--nodes") {
        command.args(["--nodes", "1", "--edges", "1"]);
    }
    command.arg("--data").arg(directory.path().join("data")).args(options);
    Process::start(&mut command)
}
