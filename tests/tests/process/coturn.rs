//! Debian's `turnutils_uclient` through our relays: its own pass criterion is that everything it sent
//! came back.

use std::fs;
use std::net::{SocketAddr, UdpSocket};
use std::process::Command;
use std::time::Duration;

use chappe_tests::client::ByHand;
use chappe_tests::process::{Chappe, Process, binary, run, until};
use chappe_tests::turn::credentials;
use chappe_tests::{http, sockets};
use rcgen::generate_simple_self_signed;
use serde_json::Value;

use crate::edge::{SECRET, Standalone};

/// Longer than any run here takes, on a machine that is busy with others.
const WITHIN: Duration = Duration::from_secs(120);

/// An edge with relays of both families, and listeners on both loopback addresses.
struct Both {
    edge: Standalone,
    six: SocketAddr,
    six_tcp: SocketAddr,
}

impl Both {
    fn start(credentials: &[&str]) -> Self {
        let mut args = vec!["--listen", "[::1]:0", "--relay-ip", "127.0.0.1", "--relay-ip", "::1"];
        args.extend(["--allow-peer", "::1/128"]);
        args.extend(credentials);
        let edge = Standalone::with(&args);
        let mut both = Self { six: edge.udp, six_tcp: edge.tcp, edge };
        (both.six, both.six_tcp) = (both.at("UDP [::1]"), both.at("TCP [::1]"));
        both
    }

    /// The listener whose line begins so.
    fn at(&self, begin: &str) -> SocketAddr {
        let text = self.edge.process.stdout.text();
        let line = text.lines().find(|line| line.starts_with(begin)).unwrap_or_else(|| panic!("{text}"));
        line.split([' ', ',']).nth(1).unwrap().parse().unwrap()
    }

    /// With the secret that the runs here have.
    fn with_secret() -> (tempfile::TempDir, Self) {
        let dir = tempfile::tempdir().unwrap();
        let secret = dir.path().join("secret");
        fs::write(&secret, format!("{SECRET}\n")).unwrap();
        let edge = Self::start(&["--secret-file", secret.to_str().unwrap()]);
        (dir, edge)
    }
}

/// `-W` has it make the credentials of the secret itself, by its own reading of the REST convention.
const REST: [&str; 4] = ["-u", "someone", "-W", SECRET];

/// Starts a run: two clients with twenty messages each, unless the options say otherwise. `-y` has two
/// clients send to each other, `-e` to `turnutils_peer`; without `-c` each has a second allocation, for
/// RTCP, with EVEN-PORT and RESERVATION-TOKEN at random.
fn start(server: SocketAddr, options: &[&str]) -> Process {
    let mut command = Command::new("turnutils_uclient");
    command.args(["-n", "20", "-m", "2", "-z", "5", "-l", "400"]).args(options);
    Process::start(command.args(["-p", &server.port().to_string(), &server.ip().to_string()]))
}

/// Whether it says that it is content, and all that it says.
fn end(mut process: Process) -> (bool, String) {
    let status = process.wait(WITHIN);
    (status.success(), process.stdout.whole() + &process.stderr.whole())
}

/// The last number after a word.
fn count(text: &str, word: &str) -> u64 {
    let (_, rest) = text.rsplit_once(word).unwrap_or_else(|| panic!("no {word} in {text}"));
    let digits: String =
        rest.trim_start_matches([' ', '=', ':']).chars().take_while(char::is_ascii_digit).collect();
    digits.parse().unwrap_or_else(|_| panic!("no number after {word} in {text}"))
}

/// Nothing was lost.
fn passed(options: &[&str], (success, text): &(bool, String)) {
    assert!(success, "{options:?}: {text}");
    let (sent, received) = (count(text, "tot_send_msgs"), count(text, "tot_recv_msgs"));
    assert!(sent >= 40, "{options:?}: {text}");
    assert_eq!(received, sent, "{options:?}: {text}");
    assert!(text.contains("Total lost packets 0 "), "{options:?}: {text}");
}

/// All of them at once: each waits most of its time.
fn all_pass(runs: &[(SocketAddr, &[&str])], credentials: &[&str]) {
    let started: Vec<_> = runs
        .iter()
        .map(|(server, own)| {
            let options = [credentials, own].concat();
            (start(*server, &options), own)
        })
        .collect();
    for (process, options) in started {
        passed(options, &end(process));
    }
}

#[test]
fn coturn_client_over_udp() {
    let (_dir, edge) = Both::with_secret();
    let (udp, six) = (edge.edge.udp, edge.six);
    all_pass(
        &[
            (udp, &["-c", "-y", "-m", "4", "-n", "100"]),
            // Send indications in place of channels.
            (udp, &["-c", "-y", "-s"]),
            // With RTCP.
            (udp, &["-y"]),
            (six, &["-c", "-y"]),
            // IPv6 relays, for a client of either family; and both at once.
            (six, &["-c", "-y", "-x"]),
            (udp, &["-c", "-y", "-x"]),
            (udp, &["-y", "-Z"]),
            (udp, &["-c", "-y", "-X"]),
            // Padding where none is needed, superfluous requests, clients that leave early.
            (udp, &["-c", "-y", "-D"]),
            (udp, &["-c", "-y", "-G"]),
            (udp, &["-c", "-y", "-B"]),
            // DONT-FRAGMENT, of either family.
            (udp, &["-c", "-y", "-g"]),
            (udp, &["-c", "-y", "-g", "-s"]),
            (six, &["-c", "-y", "-g", "-x"]),
        ],
        &REST,
    );
}

#[test]
fn coturn_client_over_tcp() {
    let (_dir, edge) = Both::with_secret();
    let (tcp, six) = (edge.edge.tcp, edge.six_tcp);
    all_pass(
        &[
            (tcp, &["-t", "-c", "-y", "-m", "4", "-n", "100"]),
            (tcp, &["-t", "-c", "-y", "-s"]),
            (tcp, &["-t", "-y"]),
            (tcp, &["-t", "-c", "-y", "-D"]),
            (tcp, &["-t", "-c", "-y", "-G"]),
            (six, &["-t", "-c", "-y", "-x"]),
            (six, &["-t", "-y", "-Z"]),
        ],
        &REST,
    );
}

/// A real peer beyond the relay, one that is no client of it.
#[tokio::test]
async fn coturn_client_to_a_peer() {
    let (_dir, edge) = Both::with_secret();
    for (ip, server, family) in [("127.0.0.1", edge.edge.udp, "-X"), ("::1", edge.six, "-x")] {
        let port = UdpSocket::bind((ip, 0)).unwrap().local_addr().unwrap().port();
        let peer = Process::start(Command::new("turnutils_peer").args(["-L", ip, "-p", &port.to_string()]));
        until("the peer listens", Duration::from_secs(10), async || {
            sockets::of(peer.pid()).iter().any(|socket| socket.udp && socket.local.port() == port)
        })
        .await;
        let port = port.to_string();
        let (channels, indications) =
            (["-c", family, "-e", ip, "-r", &port], ["-s", "-c", family, "-e", ip, "-r", &port]);
        all_pass(&[(server, &channels), (server, &indications)], &REST);
    }
}

/// Clients that break off (`-O`) and such as send requests that are wrong (`-N`), beside one that spoils
/// its own messages at random (`-R`): that one loses some of its data on any server, and may wait for
/// it without end.
#[test]
fn coturn_client_that_misbehaves() {
    let (_dir, edge) = Both::with_secret();
    let (udp, tcp) = (edge.edge.udp, edge.edge.tcp);
    let options = |more: &[&'static str]| [&REST[..], &["-c", "-y", "-m", "10"], more].concat();
    let _spoilt = [start(udp, &options(&["-R"])), start(tcp, &options(&["-t", "-R"]))];
    let attacks =
        [start(udp, &options(&["-O"])), start(udp, &options(&["-O"])), start(tcp, &options(&["-t", "-O"]))];
    all_pass(&[(udp, &["-c", "-y", "-N"]), (tcp, &["-t", "-c", "-y", "-N"])], &REST);
    for attack in attacks {
        let _ = end(attack); // its exit status is that of one who broke off
    }
    // Nobody else is hurt, then or later.
    all_pass(&[(udp, &["-c", "-y"]), (tcp, &["-t", "-c", "-y"])], &REST);
}

/// `-g`: DONT-FRAGMENT in Allocate and in each Send.
#[test]
fn coturn_client_with_df() {
    let dir = tempfile::tempdir().unwrap();
    let edge = Standalone::start(dir.path());
    all_pass(&[(edge.udp, &["-c", "-y", "-g"]), (edge.udp, &["-c", "-y", "-g", "-s"])], &REST);
}

/// TLS over TCP, of either family. DTLS: edge/tests/dtls.rs, since Debian's client speaks only DTLS 1.0
/// and is to be taught 1.2 first.
#[test]
fn coturn_client_over_tls() {
    let dir = tempfile::tempdir().unwrap();
    let own = generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    let write = |name: &str, text: &str| {
        let path = dir.path().join(name);
        fs::write(&path, text).unwrap();
        path.to_str().unwrap().to_owned()
    };
    let (secret, certificate) = (write("secret", SECRET), write("cert.pem", &own.cert.pem()));
    let key = write("key.pem", &own.signing_key.serialize_pem());
    let edge = Both::start(&[
        "--secret-file",
        &secret,
        "--certificate",
        &certificate,
        "--key",
        &key,
        "--trust-certificate",
        "--tls-listen",
        "127.0.0.1:0",
        "--tls-listen",
        "[::1]:0",
    ]);
    let (tls, tls_six) = (edge.at("TLS 127"), edge.at("TLS [::1]"));
    all_pass(
        &[
            (tls, &["-t", "-S", "-c", "-y"]),
            (tls, &["-t", "-S", "-c", "-y", "-s"]),
            (tls, &["-t", "-S", "-y", "-Z"]),
            (tls, &["-t", "-S", "-c", "-y", "-D"]),
            (tls_six, &["-t", "-S", "-c", "-y", "-x"]),
        ],
        &REST,
    );
}

/// The secret of another: nothing is relayed.
#[test]
fn coturn_client_with_a_wrong_secret() {
    let (_dir, edge) = Both::with_secret();
    let (success, text) = end(start(edge.edge.udp, &["-c", "-y", "-u", "someone", "-W", "wrong"]));
    assert!(!success, "{text}");
}

/// Long-term users, by the keys that `chappe turn key` prints; and the realm that is of the client's
/// origin (`-o`).
#[test]
fn coturn_client_as_a_long_term_user() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("credentials.toml");
    let user = |name: &str, realm: &str, password: &str| {
        let (ok, out, error) =
            run(binary(), &["turn", "key", "-u", name, "-r", realm, "-p", password, "--toml"]);
        assert!(ok, "{error}");
        out
    };
    let origins = "[origins]\n\"https://meet.example.org\" = \"example.org\"\n";
    let users = user("ada", "chappe", "engine") + &user("ada", "example.org", "loom");
    fs::write(&file, users + origins).unwrap();
    let edge = Both::start(&["--credentials", file.to_str().unwrap()]);
    let (udp, tcp) = (edge.edge.udp, edge.edge.tcp);
    all_pass(&[(udp, &["-c", "-y"]), (tcp, &["-t", "-c", "-y"])], &["-u", "ada", "-w", "engine"]);
    let origin = ["-c", "-y", "-o", "https://meet.example.org"];
    all_pass(&[(udp, &origin)], &["-u", "ada", "-w", "loom"]);
    for wrong in [&["-u", "ada", "-w", "loom"], &["-u", "eve", "-w", "engine"]] {
        let (success, text) = end(start(udp, &[&wrong[..], &["-c", "-y"]].concat()));
        assert!(!success, "{text}");
    }
}

async fn relayed_bytes(node: &Chappe) -> u64 {
    let (status, body) =
        http::request(node.http, "GET", "/admin/api/v1/overview", Some(&node.admin_token())).await;
    assert_eq!(status, 200);
    let overview: Value = serde_json::from_str(&body).unwrap();
    overview["edges"][0]["relayed_bytes"].as_u64().unwrap()
}

/// With what a welcome hands out, through the edge of `chappe dev`, whose counters see it.
#[tokio::test(flavor = "multi_thread")]
async fn coturn_client_with_the_credentials_of_a_welcome() {
    let dir = tempfile::tempdir().unwrap();
    let node = Chappe::dev(dir.path());
    let (_socket, welcome) = ByHand::joined(node.http, "room").await;
    let (user, password) = credentials(&welcome);
    let before = relayed_bytes(&node).await;
    let (udp, tcp) = (node.turn_udp, node.turn_tcp);
    tokio::task::spawn_blocking(move || {
        all_pass(&[(udp, &["-c", "-y"]), (tcp, &["-t", "-c", "-y"])], &["-u", &user, "-w", &password]);
    })
    .await
    .unwrap();
    // 2 runs of 2 clients with 20 messages of 400 bytes, said by the edge once a second.
    until("the counters grow", Duration::from_secs(5), async || {
        relayed_bytes(&node).await >= before + 2 * 2 * 20 * 400
    })
    .await;
}
