//! Debian's `turnutils_uclient` through our relays: its own pass criterion is that everything it sent
//! came back.

use std::net::SocketAddr;
use std::process::Command;
use std::time::Duration;

use chappe_tests::client::ByHand;
use chappe_tests::http;
use chappe_tests::process::{Chappe, Process};
use chappe_tests::turn::credentials;
use serde_json::Value;

use crate::edge::{SECRET, Standalone};

/// `-c`: no RTCP pair. Each of `-m` clients sends `-n` messages to the other one of its pair (`-y`) or
/// to `turnutils_peer`.
fn uclient(server: SocketAddr, options: &[&str], user: &str, password: &str) -> String {
    let mut command = Command::new("turnutils_uclient");
    command.args(["-c", "-y", "-n", "100", "-m", "4", "-l", "400", "-u", user, "-w", password]);
    command.args(options).args(["-p", &server.port().to_string(), &server.ip().to_string()]);
    let mut process = Process::start(&mut command);
    let status = process.wait(Duration::from_secs(120));
    let text = process.stdout.whole() + &process.stderr.whole();
    assert!(status.success(), "{status}: {text}");
    text
}

/// The last number after a word.
fn count(text: &str, word: &str) -> u64 {
    let (_, rest) = text.rsplit_once(word).unwrap_or_else(|| panic!("no {word} in {text}"));
    let digits: String =
        rest.trim_start_matches([' ', '=', ':']).chars().take_while(char::is_ascii_digit).collect();
    digits.parse().unwrap_or_else(|_| panic!("no number after {word} in {text}"))
}

fn passed(text: &str) {
    let (sent, received) = (count(text, "tot_send_msgs"), count(text, "tot_recv_msgs"));
    assert!(sent >= 400, "{text}");
    assert_eq!(received, sent, "{text}");
    assert!(text.contains("Total lost packets 0 "), "{text}");
}

/// `-W` has it make the credentials of the secret itself, by its own reading of the REST convention.
#[test]
fn coturn_client_over_udp() {
    let dir = tempfile::tempdir().unwrap();
    let edge = Standalone::start(dir.path());
    passed(&uclient(edge.udp, &["-W", SECRET], "someone", ""));
    // Send indications in place of channels.
    passed(&uclient(edge.udp, &["-s", "-W", SECRET], "someone", ""));
}

#[test]
fn coturn_client_over_tcp() {
    let dir = tempfile::tempdir().unwrap();
    let edge = Standalone::start(dir.path());
    passed(&uclient(edge.tcp, &["-t", "-W", SECRET], "someone", ""));
    passed(&uclient(edge.tcp, &["-t", "-s", "-W", SECRET], "someone", ""));
}

/// `-g`: DONT-FRAGMENT in Allocate and in each Send.
#[test]
fn coturn_client_with_df() {
    let dir = tempfile::tempdir().unwrap();
    let edge = Standalone::start(dir.path());
    passed(&uclient(edge.udp, &["-g", "-W", SECRET], "someone", ""));
    passed(&uclient(edge.udp, &["-g", "-s", "-W", SECRET], "someone", ""));
}

/// The secret of another: nothing is relayed.
#[test]
fn coturn_client_with_a_wrong_secret() {
    let dir = tempfile::tempdir().unwrap();
    let edge = Standalone::start(dir.path());
    let server = edge.udp;
    let mut command = Command::new("turnutils_uclient");
    command.args(["-c", "-y", "-n", "10", "-u", "someone", "-W", "wrong"]);
    command.args(["-p", &server.port().to_string(), &server.ip().to_string()]);
    let mut process = Process::start(&mut command);
    let status = process.wait(Duration::from_secs(120));
    assert!(!status.success(), "{}", process.stdout.text());
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
    for (server, options) in [(node.turn_udp, &[][..]), (node.turn_tcp, &["-t"][..])] {
        let (user, password) = (user.clone(), password.clone());
        let text =
            tokio::task::spawn_blocking(move || uclient(server, options, &user, &password)).await.unwrap();
        passed(&text);
    }
    // 2 runs of 4 clients with 100 messages of 400 bytes, said by the edge once a second.
    chappe_tests::process::until("the counters grow", Duration::from_secs(5), async || {
        relayed_bytes(&node).await >= before + 2 * 4 * 100 * 400
    })
    .await;
}
