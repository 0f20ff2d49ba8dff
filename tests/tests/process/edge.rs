//! `chappe edge --standalone`: a relay with a secret from a file.

use std::fs;
use std::net::SocketAddr;
use std::path::Path;
use std::process::Command;
use std::time::{SystemTime, UNIX_EPOCH};

use chappe_proto::mesh::uplink::Secret;
use chappe_proto::turn::password;
use chappe_tests::http::{get, request};
use chappe_tests::process::{Process, WITHIN, binary, run, until};
use chappe_tests::turn::Turn;
use serde_json::{Value, json};

pub(crate) const SECRET: &str = "correct horse battery staple";

/// A relay that may reach loopback, on free ports.
pub(crate) struct Standalone {
    pub(crate) process: Process,
    pub(crate) udp: SocketAddr,
    pub(crate) tcp: SocketAddr,
}

impl Standalone {
    pub(crate) fn start(dir: &Path) -> Self {
        let secret = dir.join("secret");
        fs::write(&secret, format!("{SECRET}\n")).unwrap();
        Self::with(&["--secret-file", secret.to_str().unwrap()])
    }

    /// With credentials of the caller's.
    pub(crate) fn with(args: &[&str]) -> Self {
        let mut command = Command::new(binary());
        command.args(["edge", "--standalone", "--listen", "127.0.0.1:0", "--allow-peer", "127.0.0.0/8"]);
        let process = Process::start(command.args(args));
        let text = process.stdout.until("stops it.");
        let at = |transport: &str| {
            let line =
                text.lines().find(|line| line.starts_with(transport)).unwrap_or_else(|| panic!("{text}"));
            line.split([' ', ',']).nth(1).unwrap().parse().unwrap()
        };
        Self { udp: at("UDP"), tcp: at("TCP"), process }
    }
}

/// What an app's server hands out, by the REST convention.
pub(crate) fn credentials(secret: &str, from_now: i64) -> (String, String) {
    let now = i64::try_from(SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs()).unwrap();
    let username = format!("{}:somebody", now + from_now);
    let password = password(&Secret(secret.as_bytes().to_vec()), &username);
    (username, password)
}

#[tokio::test]
async fn its_secret_opens_it_and_sigterm_ends_it() {
    let dir = tempfile::tempdir().unwrap();
    let mut edge = Standalone::start(dir.path());
    let good = credentials(SECRET, 600);
    let mut turn = Turn::new(edge.udp, &good).await;
    turn.allocate().await.unwrap();
    for (username, password) in
        [credentials("another", 600), credentials(SECRET, -1), (good.0.clone(), "wrong".to_owned())]
    {
        let refused = Turn::new(edge.udp, &(username.clone(), password)).await.allocate().await;
        assert!(refused.is_err(), "{username} allocates");
    }
    assert_eq!(edge.process.terminate().code(), Some(0));
}

#[tokio::test]
async fn it_tells_people_load_balancers_and_prometheus_how_it_is() {
    let dir = tempfile::tempdir().unwrap();
    let secret = dir.path().join("secret");
    fs::write(&secret, format!("{SECRET}\n")).unwrap();
    let mut edge = Standalone::with(&["--secret-file", secret.to_str().unwrap(), "--health", "0"]);
    let said = edge.process.stdout.text();
    let at = said.lines().find_map(|line| line.strip_prefix("health http://")?.strip_suffix('/'));
    let at: SocketAddr = at.unwrap_or_else(|| panic!("{said}")).parse().unwrap();
    assert!(at.ip().is_loopback(), "{at}");
    let mut turn = Turn::new(edge.udp, &credentials(SECRET, 600)).await;
    turn.allocate().await.unwrap();
    let probed = async || {
        let shown: Value = serde_json::from_str(&get(at, "/health").await).unwrap();
        let listeners = shown["listeners"].as_array().unwrap();
        assert_eq!((&shown["edge"], &shown["allocations"]), (&json!("standalone"), &json!(1)));
        listeners.len() == 2 && listeners.iter().all(|listener| listener["works"] == true)
    };
    until("its own probes are answered", WITHIN, probed).await;
    let page = get(at, "/").await;
    for words in ["Edge standalone", "1 of 16384", "answers in", "it stands alone", &edge.udp.to_string()] {
        assert!(page.contains(words), "{words}: {page}");
    }
    assert!(get(at, "/metrics").await.lines().any(|line| line == "chappe_edge_allocations 1"));
    assert!(get(at, "/style.css").await.contains("prefers-color-scheme: dark"));
    for path in ["/", "/health", "/metrics"] {
        assert!(!get(at, path).await.contains(SECRET), "{path}");
        assert_eq!(request(at, "POST", path, None).await.0, 405, "{path}");
    }
    assert_eq!(request(at, "GET", "/other", None).await.0, 404);
    assert_eq!(edge.process.terminate().code(), Some(0));
}

/// What is not allowed is no peer: the gate is on.
#[tokio::test]
async fn private_addresses_are_no_peers_unless_they_are_allowed() {
    let dir = tempfile::tempdir().unwrap();
    let edge = Standalone::start(dir.path());
    let mut turn = Turn::new(edge.udp, &credentials(SECRET, 600)).await;
    turn.allocate().await.unwrap();
    turn.permit("127.0.0.9:9".parse().unwrap()).await.unwrap();
    assert!(turn.permit("10.1.2.3:9".parse().unwrap()).await.is_err(), "a private address is a peer");
    assert!(turn.permit("169.254.169.254:80".parse().unwrap()).await.is_err(), "and the metadata service");
}

#[test]
fn what_is_wrong_with_its_secret_is_told() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("secret");
    let file = file.to_str().unwrap();
    let start = |args: &[&str]| {
        let (ok, out, error) = run(binary(), &[&["edge"], args].concat());
        assert!(!ok, "{out}");
        error
    };
    assert!(start(&[]).contains("--standalone"));
    assert!(start(&["--standalone"]).contains("--secret-file"));
    let error = start(&["--standalone", "--secret-file", file]);
    assert!(error.contains(file) && error.contains("cannot be read"), "{error}");
    fs::write(file, "\n\n").unwrap();
    let error = start(&["--standalone", "--secret-file", file]);
    assert!(error.contains(file) && error.contains("holds no secret"), "{error}");
}
