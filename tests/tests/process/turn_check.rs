//! `chappe turn check` against our own relay, against coturn, and against what is broken.

use std::fs;
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use chappe_proto::stun::attributes::XOR_MAPPED_ADDRESS;
use chappe_proto::stun::{Class, Code, Message, Method, TransactionId, Writer};
use chappe_tests::netns::{Lan, SERVER};
use chappe_tests::process::{Process, WITHIN, binary, until};
use rcgen::generate_simple_self_signed;
use serde_json::Value;

use crate::edge::{SECRET, Standalone, credentials};

/// Runs a check and returns its exit code and its report.
fn check(args: &[&str]) -> (i32, Value) {
    report(Command::new(binary()).args(["turn", "check", "--json"]).args(args))
}

/// Runs a command and returns its exit code and what it printed.
fn report(command: &mut Command) -> (i32, Value) {
    let mut process = Process::start(command);
    let code = process.wait(WITHIN).code().unwrap();
    let text = process.stdout.whole();
    let report = serde_json::from_str(&text)
        .unwrap_or_else(|error| panic!("{error}: {text}\n{}", process.stderr.whole()));
    (code, report)
}

/// The steps of one section of the only URL.
fn steps(report: &Value, section: usize) -> &[Value] {
    report["checks"][0]["sections"][section]["steps"].as_array().unwrap_or_else(|| panic!("{report:#}"))
}

/// A step by its name, in the first section that has it.
fn step<'a>(report: &'a Value, name: &str) -> &'a Value {
    let sections = report["checks"][0]["sections"].as_array().unwrap();
    let all = sections.iter().flat_map(|section| section["steps"].as_array().unwrap());
    all.clone().find(|step| step["name"] == name).unwrap_or_else(|| panic!("no {name} in {report:#}"))
}

/// The one step that failed.
fn failed(report: &Value) -> &Value {
    let all = steps(report, 0).iter().filter(|step| step["outcome"] == "failed");
    let failed: Vec<_> = all.collect();
    assert_eq!(failed.len(), 1, "{report:#}");
    failed[0]
}

fn text<'a>(step: &'a Value, field: &str) -> &'a str {
    step[field].as_str().unwrap_or_else(|| panic!("no {field} in {step:#}"))
}

fn secret(dir: &Path) -> String {
    let file = dir.join("secret");
    fs::write(&file, SECRET).unwrap();
    file.to_str().unwrap().to_owned()
}

/// A packet of each size came each way, by both ways of sending.
fn relayed(report: &Value) {
    for name in ["Send and Data", "ChannelData"] {
        let step = step(report, name);
        assert_eq!(step["outcome"], "ok", "{step:#}");
        let packets = step["facts"]["packets"].as_array().unwrap();
        let came: Vec<_> = packets.iter().map(|of| (of["bytes"].clone(), of["received"].clone())).collect();
        assert_eq!(came, [(100.into(), 10.into()), (1200.into(), 10.into())], "{step:#}");
    }
}

#[test]
fn our_own_relay_passes_over_udp_and_tcp() {
    let dir = tempfile::tempdir().unwrap();
    let edge = Standalone::start(dir.path());
    let secret = secret(dir.path());
    for url in [format!("turn:{}", edge.udp), format!("turn:{}?transport=tcp", edge.tcp)] {
        let (code, report) = check(&[&url, "--secret-file", &secret]);
        assert_eq!((code, &report["ok"]), (0, &true.into()), "{report:#}");
        relayed(&report);
        assert_eq!(step(&report, "Binding")["facts"]["nat"], false);
        assert_eq!(step(&report, "Without a password")["facts"]["realm"], "chappe");
        assert_eq!(step(&report, "Allocate")["facts"]["lifetime"], 600);
        assert_eq!(step(&report, "Allocate")["facts"]["algorithm"], "SHA-256");
        // UDP and TCP are on ports of their own here, and STUN over UDP tells where the peer is.
        let outside = if url.ends_with("tcp") { "skipped" } else { "ok" };
        assert_eq!(step(&report, "Outside peer")["outcome"], outside);
        assert_eq!(step(&report, "IPv6 relay")["facts"]["available"], false);
        let peers = step(&report, "Private peers");
        assert_eq!(peers["outcome"], "ok", "{peers:#}");
        assert_eq!(peers["facts"]["allowed"], serde_json::json!(["127.0.0.1"]), "the test allows it itself");
        assert!(text(step(&report, "Delete"), "text").contains("437"));
    }
}

#[test]
fn our_own_relay_passes_over_tls_and_dtls() {
    let dir = tempfile::tempdir().unwrap();
    let own = generate_simple_self_signed(["127.0.0.1".to_owned()]).unwrap();
    let write = |name: &str, text: &str| {
        let path = dir.path().join(name);
        fs::write(&path, text).unwrap();
        path.to_str().unwrap().to_owned()
    };
    let (chain, key) =
        (write("cert.pem", &own.cert.pem()), write("key.pem", &own.signing_key.serialize_pem()));
    let secret = secret(dir.path());
    let files = ["--secret-file", &secret, "--certificate", &chain, "--key", &key, "--trust-certificate"];
    let listen = ["--tls-listen", "127.0.0.1:0", "--dtls-listen", "127.0.0.1:0"];
    let edge = Standalone::with(&[&files[..], &listen].concat());
    let text = edge.process.stdout.text();
    for (listener, transport) in [("TLS ", "tcp"), ("DTLS ", "udp")] {
        let line = text.lines().find(|line| line.starts_with(listener)).unwrap();
        let port = line.split([':', ',']).nth(1).unwrap();
        let url = format!("turns:127.0.0.1:{port}?transport={transport}");
        let (code, report) = check(&[&url, "--secret-file", &secret, "--ca", &chain]);
        assert_eq!((code, &report["ok"]), (0, &true.into()), "{report:#}");
        relayed(&report);
    }
}

/// What people see: 80 columns, no colours where no terminal is, and the credential's secret nowhere.
#[test]
fn the_report_is_readable() {
    let dir = tempfile::tempdir().unwrap();
    let edge = Standalone::start(dir.path());
    let secret = secret(dir.path());
    let url = format!("turn:{}", edge.udp);
    let mut command = Command::new(binary());
    let mut process = Process::start(command.args(["turn", "check", &url, "-s", &secret]));
    assert!(process.wait(WITHIN).success());
    let text = process.stdout.whole();
    assert!(
        text.starts_with(&format!("turn:{}?transport=udp\n  UDP {}\n  ✓ Binding", edge.udp, edge.udp)),
        "{text}"
    );
    assert!(text.ends_with("\n✓ Nothing failed.\n"), "{text}");
    assert!(text.lines().all(|line| line.chars().count() <= 80), "{text}");
    assert!(!text.contains('\x1b') && !text.contains(SECRET), "{text}");
}

/// An app's own configuration, whose credentials go with their URLs.
#[test]
fn an_apps_ice_servers_are_checked() {
    let dir = tempfile::tempdir().unwrap();
    let edge = Standalone::start(dir.path());
    let (username, credential) = credentials(SECRET, 600);
    let urls = [format!("stun:{}", edge.udp), format!("turn:{}", edge.udp)];
    let configuration = serde_json::json!({
        "iceServers": [{ "urls": urls, "username": username, "credential": credential }],
    });
    let file = dir.path().join("ice.json");
    fs::write(&file, configuration.to_string()).unwrap();
    let (code, report) = check(&["--ice-servers", file.to_str().unwrap()]);
    assert_eq!(code, 0, "{report:#}");
    let checks = report["checks"].as_array().unwrap();
    assert_eq!(checks.len(), 2);
    assert_eq!(checks[0]["sections"][0]["steps"].as_array().unwrap().len(), 1, "stun: Binding only");
    assert_eq!(checks[1]["username"], username.as_str());
    assert!(!report.to_string().contains(&credential), "a password is shown");
}

#[test]
fn a_credential_that_does_not_do_is_told_why() {
    let dir = tempfile::tempdir().unwrap();
    let edge = Standalone::start(dir.path());
    let url = format!("turn:{}", edge.udp);
    let password = dir.path().join("password");
    let with = |username: &str, secret: &str| {
        fs::write(&password, secret).unwrap();
        let (code, report) = check(&[&url, "-u", username, "-p", password.to_str().unwrap()]);
        assert_eq!(code, 1, "{report:#}");
        let step = failed(&report).clone();
        assert_eq!((&step["name"], &step["facts"]["code"]), (&"Allocate".into(), &401.into()), "{step:#}");
        step
    };
    let (username, good) = credentials(SECRET, -7200 * 24);
    let expired = with(&username, &good);
    assert!(text(&expired, "why").contains("expired 2 days ago"), "{expired:#}");
    let (username, _) = credentials(SECRET, 600);
    let wrong = with(&username, "wrong");
    assert!(text(&wrong, "fix").contains("HMAC-SHA1"), "{wrong:#}");
    let nobody = with("nobody", "wrong");
    assert!(text(&nobody, "fix").contains("--secret-file"), "{nobody:#}");

    let another = dir.path().join("another");
    fs::write(&another, "another secret").unwrap();
    let (code, report) = check(&[&url, "--secret-file", another.to_str().unwrap()]);
    assert_eq!(code, 1);
    assert!(text(failed(&report), "fix").contains("Compare the secret"), "{report:#}");
}

#[test]
fn nothing_there_and_nothing_said() {
    // A port that nothing listens on, as long as this is held.
    let closed = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let port = closed.local_addr().unwrap();
    let (code, report) = check(&[&format!("turn:{port}?transport=tcp")]);
    assert_eq!(code, 1);
    let refused = failed(&report);
    assert_eq!((text(refused, "name"), text(refused, "text")), ("Connect", "refused"));
    assert!(text(refused, "fix").contains("ss -ltnp"), "{refused:#}");
    // And it answers nothing, to STUN as to a ClientHello.
    let (code, report) = check(&[&format!("turn:{port}"), "--timeout", "1"]);
    assert_eq!(code, 1);
    for name in ["Binding", "Without a password"] {
        let silent = step(&report, name);
        assert_eq!(text(silent, "text"), "no answer within 1 s", "{silent:#}");
        assert!(text(silent, "fix").contains("ss -lunp"), "{silent:#}");
    }
    let (code, report) = check(&[&format!("turns:{port}?transport=udp"), "--timeout", "1"]);
    assert_eq!(code, 1);
    assert!(text(failed(&report), "why").contains("ClientHello"), "{report:#}");
}

/// `turns:` on a port of plain TURN.
#[test]
fn no_tls_is_told() {
    let dir = tempfile::tempdir().unwrap();
    let edge = Standalone::start(dir.path());
    let (code, report) = check(&[&format!("turns:{}", edge.tcp)]);
    assert_eq!(code, 1);
    let closed = failed(&report);
    assert_eq!((text(closed, "name"), text(closed, "text")), ("TLS handshake", "closed by the server"));
    assert!(text(closed, "fix").contains("?transport=tcp"), "{closed:#}");
}

#[test]
fn a_quota_is_told() {
    let dir = tempfile::tempdir().unwrap();
    let secret = secret(dir.path());
    let edge = Standalone::with(&["--secret-file", &secret, "--user-quota", "1"]);
    let (code, report) = check(&[&format!("turn:{}", edge.udp), "--secret-file", &secret]);
    assert_eq!(code, 1);
    let quota = failed(&report);
    assert_eq!((&quota["name"], &quota["facts"]["code"]), (&"Allocate another".into(), &486.into()));
    assert!(text(quota, "fix").contains("user-quota"), "{quota:#}");
    assert_eq!(step(&report, "Delete")["outcome"], "ok", "the first is given back: {report:#}");
}

#[test]
fn an_open_door_is_warned_of() {
    let dir = tempfile::tempdir().unwrap();
    let secret = secret(dir.path());
    let edge = Standalone::with(&["--secret-file", &secret, "--allow-peer", "10.0.0.0/8"]);
    let (code, report) = check(&[&format!("turn:{}", edge.udp), "--secret-file", &secret]);
    assert_eq!(code, 0, "a warning: {report:#}");
    let peers = step(&report, "Private peers");
    assert_eq!((text(peers, "outcome"), text(peers, "text")), ("warning", "allowed: 10.0.0.1"));
    assert!(text(peers, "fix").contains("--allow-peer"), "{peers:#}");
}

/// What meets no firewall from relay to relay does from outside.
#[test]
fn closed_relay_ports_are_found() {
    let Some(lan) = Lan::new() else { return };
    let dir = tempfile::tempdir().unwrap();
    let secret = secret(dir.path());
    let at = format!("{SERVER}:3478");
    let mut command = lan.server().command(binary());
    command.args(["edge", "--standalone", "--secret-file", &secret, "--listen", &at]);
    // Apart from the ports of the clients' own sockets.
    command.args(["--allow-peer", "10.77.0.0/24", "--min-port", "61000", "--max-port", "65000"]);
    let edge = Process::start(&mut command);
    assert!(edge.stdout.until("stops it.").contains(&at));
    let host = lan.host();
    let check = || {
        let mut command = host.command(binary());
        command.args(["turn", "check", "--json", &format!("turn:{at}"), "--secret-file", &secret]);
        report(&mut command)
    };
    let (code, open) = check();
    assert_eq!(code, 0, "{open:#}");
    let outside = step(&open, "Outside peer");
    assert!(text(&outside["facts"], "peer").starts_with(&host.address().to_string()), "{outside:#}");
    lan.server().drop_udp_to(61_000, 65_000);
    let (code, closed) = check();
    assert_eq!(code, 1, "{closed:#}");
    let outside = failed(&closed);
    assert_eq!(outside["name"], "Outside peer");
    assert!(text(outside, "fix").contains("--min-port"), "{outside:#}");
    relayed(&closed);
}

/// On the server's own machine the gate, not a firewall, keeps ports that are no relay's out: nothing failed.
#[test]
fn a_relay_that_nobody_has_opened_up_passes_on_its_own_machine() {
    let dir = tempfile::tempdir().unwrap();
    let secret = secret(dir.path());
    let mut command = Command::new(binary());
    command.args(["edge", "--standalone", "--secret-file", &secret, "--listen", "127.0.0.1:0"]);
    let edge = Process::start(&mut command);
    let text = edge.stdout.until("stops it.");
    let at = text.lines().find_map(|line| line.strip_prefix("UDP ")?.split(',').next()).unwrap();
    let (code, report) = check(&[&format!("turn:{at}"), "--secret-file", &secret]);
    assert_eq!(code, 0, "{report:#}");
    let outside = step(&report, "Outside peer");
    assert_eq!(outside["outcome"], "skipped", "{outside:#}");
    assert!(outside["text"].as_str().unwrap().contains("another machine"), "{outside:#}");
}

/// A server that sends everybody to another one.
#[test]
fn an_alternate_server_is_followed_once() {
    let dir = tempfile::tempdir().unwrap();
    let secret = secret(dir.path());
    let edge = Standalone::start(dir.path());
    let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let redirector = socket.local_addr().unwrap();
    let to = edge.udp;
    std::thread::spawn(move || {
        let mut buffer = [0; 1500];
        while let Ok((length, from)) = socket.recv_from(&mut buffer) {
            let request = Message::parse(&buffer[..length]).unwrap();
            let answer = |class| Writer::new(class, request.method, request.transaction);
            let answer = match request.method {
                Method::BINDING => answer(Class::Success).xor_address(XOR_MAPPED_ADDRESS, from),
                _ => answer(Class::Error).error_code(Code::TRY_ALTERNATE, "").alternate_server(to),
            };
            socket.send_to(&answer.finish(), from).unwrap();
        }
    });
    let (code, report) = check(&[&format!("turn:{redirector}"), "--secret-file", &secret]);
    assert_eq!(code, 0, "{report:#}");
    assert_eq!(steps(&report, 0)[1]["facts"]["alternate"], to.to_string());
    assert_eq!(report["checks"][0]["sections"][1]["server"], to.to_string());
    relayed(&report);
}

/// Coturn by a configuration on its command line.
struct Coturn {
    _process: Process,
    port: u16,
    tls: u16,
}

/// A port that is free for TCP and UDP.
fn free() -> u16 {
    loop {
        let tcp = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let at = tcp.local_addr().unwrap();
        if UdpSocket::bind(at).is_ok() {
            return at.port();
        }
    }
}

/// Whether a Binding request is answered.
fn answers(at: SocketAddr) -> bool {
    let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    socket.connect(at).unwrap();
    socket.set_read_timeout(Some(Duration::from_millis(100))).unwrap();
    let request = Writer::new(Class::Request, Method::BINDING, TransactionId([7; 12])).finish();
    socket.send(&request).is_ok() && socket.recv(&mut [0; 1500]).is_ok()
}

/// The report of each URL by itself.
fn each(report: &Value) -> Vec<Value> {
    let checks = report["checks"].as_array().unwrap();
    checks.iter().map(|check| serde_json::json!({ "checks": [check] })).collect()
}

impl Coturn {
    async fn start(dir: &Path, options: &[&str]) -> Self {
        let (port, tls) = (free(), free());
        let mut command = Command::new("turnserver");
        command.args(["-c", "/dev/null", "--listening-ip=127.0.0.1", "--relay-ip=127.0.0.1", "--no-cli"]);
        command.args(["--realm=example.org", "--log-file=/dev/null", "--no-stdout-log"]);
        command.args([format!("--listening-port={port}"), format!("--tls-listening-port={tls}")]);
        command.args(
            [dir.join("db"), dir.join("pid")]
                .iter()
                .zip(["userdb", "pidfile"])
                .map(|(path, name)| format!("--{name}={}", path.display())),
        );
        let process = Process::start(command.args(options));
        let at = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
        until("coturn listens", WITHIN, async || TcpStream::connect(at).is_ok() && answers(at)).await;
        Self { _process: process, port, tls }
    }
}

#[tokio::test]
async fn coturn_passes_over_every_transport() {
    let dir = tempfile::tempdir().unwrap();
    let secret = secret(dir.path());
    let certificate = generate_simple_self_signed(["127.0.0.1".to_owned()]).unwrap();
    let (chain, key) = (dir.path().join("cert.pem"), dir.path().join("key.pem"));
    fs::write(&chain, certificate.cert.pem()).unwrap();
    fs::write(&key, certificate.signing_key.serialize_pem()).unwrap();
    let options = [
        "--lt-cred-mech".to_owned(),
        "--use-auth-secret".to_owned(),
        format!("--static-auth-secret={SECRET}"),
        "--allow-loopback-peers".to_owned(),
        format!("--cert={}", chain.display()),
        format!("--pkey={}", key.display()),
    ];
    let options: Vec<_> = options.iter().map(String::as_str).collect();
    let coturn = Coturn::start(dir.path(), &options).await;
    let Coturn { port, tls, .. } = &coturn;
    let urls = [
        format!("turn:127.0.0.1:{port}"),
        format!("turn:127.0.0.1:{port}?transport=tcp"),
        format!("turns:127.0.0.1:{tls}"),
        format!("turns:127.0.0.1:{tls}?transport=udp"),
    ];
    let urls: Vec<_> = urls.iter().map(String::as_str).collect();
    let with = |urls: &[&str], more: &[&str]| check(&[urls, &["--secret-file", &secret], more].concat());
    let (code, report) = with(&urls, &["--ca", chain.to_str().unwrap()]);
    assert_eq!(code, 0, "{report:#}");
    for report in each(&report) {
        relayed(&report);
        let peers = step(&report, "Private peers");
        assert_eq!(text(peers, "text"), "allowed: 10.0.0.1, 169.254.169.254", "coturn's default");
        assert!(text(&step(&report, "Without a password")["facts"], "software").contains("oturn"));
        assert_eq!(step(&report, "Delete")["outcome"], "ok");
    }
    let (code, report) = with(&urls[2..], &[]);
    assert_eq!(code, 1);
    for report in each(&report) {
        let certificate = failed(&report);
        assert_eq!((text(certificate, "name"), text(certificate, "text")), ("Certificate", "self-signed"));
        assert!(text(certificate, "fix").contains("--ca"));
    }
    let (code, report) = with(&urls[2..], &["--insecure"]);
    assert_eq!(code, 0, "{report:#}");
    for report in each(&report) {
        assert_eq!(text(step(&report, "Certificate"), "outcome"), "warning");
        relayed(&report);
    }
}

#[tokio::test]
async fn an_open_relay_and_peers_on_loopback() {
    let dir = tempfile::tempdir().unwrap();
    let secret = secret(dir.path());
    let coturn = Coturn::start(dir.path(), &["--no-auth", "--no-tls", "--no-dtls"]).await;
    let (code, report) = check(&[&format!("turn:127.0.0.1:{}", coturn.port), "--secret-file", &secret]);
    assert_eq!(code, 1, "{report:#}");
    let open = step(&report, "Without a password");
    assert_eq!((text(open, "outcome"), &open["facts"]["open"]), ("warning", &true.into()));
    assert!(text(open, "fix").contains("no-auth"));
    let denied = failed(&report);
    assert_eq!((&denied["name"], &denied["facts"]["code"]), (&"CreatePermission".into(), &403.into()));
    assert!(text(denied, "fix").contains("allow-loopback-peers"), "{denied:#}");
}

#[test]
fn what_makes_no_sense_is_a_usage_error() {
    let dir = tempfile::tempdir().unwrap();
    let nothing = dir.path().join("nothing");
    for (args, expected) in [
        (&["turn://example.org"][..], "RFC 7065"),
        (&[][..], "<URL>"),
        (&["turn:example.org", "--secret-file", nothing.to_str().unwrap()][..], "cannot be read"),
        (&["--ice-servers", "/dev/null"][..], "is not JSON"),
        (&["turn:example.org", "--user", "alice"][..], "--password-file"),
    ] {
        let mut process = Process::start(Command::new(binary()).args(["turn", "check"]).args(args));
        let status = process.wait(Duration::from_secs(10));
        let error = process.stderr.whole();
        assert_eq!(status.code(), Some(2), "{args:?}: {error}");
        assert!(error.contains(expected), "{args:?}: {error}");
    }
}
