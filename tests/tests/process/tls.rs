//! HTTPS, WSS and TURN over TLS on one port, by a certificate that is replaced on disk while people are
//! connected.

use std::fs;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use chappe_tests::netns::wait;
use chappe_tests::process::Chappe;
use rcgen::{CertifiedKey, KeyPair, generate_simple_self_signed};
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, ClientConnection, RootCertStore, StreamOwned};
use serde_json::{Value, json};
use tokio_tungstenite::tungstenite::{Message, WebSocket, client};

type Stream = StreamOwned<ClientConnection, TcpStream>;

/// New files are looked at every two seconds.
const SEEN_WITHIN: Duration = Duration::from_secs(20);

fn certificate() -> CertifiedKey<KeyPair> {
    generate_simple_self_signed(["localhost".to_owned()]).unwrap()
}

/// Opens a TLS connection, trusting these alone.
fn connect(at: SocketAddr, trusted: &[&CertifiedKey<KeyPair>]) -> std::io::Result<Stream> {
    let mut roots = RootCertStore::empty();
    for one in trusted {
        roots.add(one.cert.der().clone()).unwrap();
    }
    let config = ClientConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    let mut tls =
        ClientConnection::new(Arc::new(config), ServerName::try_from("localhost").unwrap()).unwrap();
    let mut tcp = TcpStream::connect(at)?;
    tcp.set_read_timeout(Some(Duration::from_secs(30)))?;
    tls.complete_io(&mut tcp)?;
    Ok(StreamOwned::new(tls, tcp))
}

fn shown(stream: &Stream) -> CertificateDer<'static> {
    stream.conn.peer_certificates().unwrap()[0].clone().into_owned()
}

struct Joined {
    socket: WebSocket<Stream>,
    welcome: Value,
}

impl Joined {
    fn over(stream: Stream) -> Self {
        let (socket, _) = client("wss://localhost/v1/signal", stream).unwrap();
        let mut this = Self { socket, welcome: Value::Null };
        this.say(&json!({ "type": "join", "room": "room" }));
        this.welcome = this.hear_a("welcome");
        this
    }

    fn say(&mut self, frame: &Value) {
        self.socket.send(Message::text(frame.to_string())).unwrap();
    }

    fn hear_a(&mut self, kind: &str) -> Value {
        loop {
            if let Message::Text(text) = self.socket.read().unwrap() {
                let frame: Value = serde_json::from_str(&text).unwrap();
                if frame["type"] == kind {
                    return frame;
                }
            }
        }
    }

    /// The URLs that it is handed now.
    fn urls(&mut self) -> Vec<Value> {
        self.say(&json!({ "type": "ice" }));
        self.hear_a("ice_servers")["ice_servers"][0]["urls"].as_array().unwrap().clone()
    }

    fn lives(&mut self, t: u64) {
        self.say(&json!({ "type": "ping", "t": t }));
        assert_eq!(self.hear_a("pong")["t"], t);
    }
}

fn write(dir: &Path, one: &CertifiedKey<KeyPair>) {
    fs::write(dir.join("key.pem"), one.signing_key.serialize_pem()).unwrap();
    fs::write(dir.join("certificate.pem"), one.cert.pem()).unwrap();
}

#[test]
fn a_certificate_is_replaced_and_nobody_is_dropped() {
    let dir = tempfile::tempdir().unwrap();
    let (old, new) = (certificate(), certificate());
    write(dir.path(), &old);
    let path = |name: &str| dir.path().join(name).to_str().unwrap().to_owned();
    let (pem, key) = (path("certificate.pem"), path("key.pem"));
    let options = ["--https", "0", "--certificate", &pem, "--key", &key, "--log", "warn,chappe_edge=info"];
    let mut node = Chappe::dev_with(&dir.path().join("data"), &options);
    let at = node.https();

    let mut first = connect(at, &[&old]).unwrap();
    first.write_all(b"GET /healthz HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n").unwrap();
    let mut answer = String::new();
    let _ = first.read_to_string(&mut answer); // a missing close_notify is no concern of this test
    assert!(answer.starts_with("HTTP/1.1 200") && answer.ends_with("ok\n"), "{answer}");
    connect(at, &[&new]).expect_err("trusted by whom?");
    let mut ada = Joined::over(connect(at, &[&old]).unwrap());

    write(dir.path(), &new);
    let begin = Instant::now();
    let log = node.process().stderr.clone();
    log.until_times("certificate reloaded", 1);
    assert!(begin.elapsed() < SEEN_WITHIN, "the new certificate is not served");
    assert_eq!(shown(&connect(at, &[&old, &new]).unwrap()), *new.cert.der());
    ada.lives(1);
    let mut ben = Joined::over(connect(at, &[&new]).unwrap());
    assert_eq!(ada.hear_a("peer_joined")["type"], "peer_joined");

    // What is no certificate changes nothing, and is told; nor does a key that is another's.
    let pairs = [
        ("-----BEGIN CERTIFICATE-----\nnonsense\n".to_owned(), new.signing_key.serialize_pem()),
        (new.cert.pem(), old.signing_key.serialize_pem()),
    ];
    for (certificate, wrong) in pairs {
        let (told, begin) = (log.text().matches("the old one stays").count(), Instant::now());
        fs::write(&key, wrong).unwrap();
        fs::write(&pem, certificate).unwrap();
        log.until_times("the old one stays", told + 1);
        assert!(begin.elapsed() < SEEN_WITHIN, "a bad file is not told");
        assert_eq!(shown(&connect(at, &[&old, &new]).unwrap()), *new.cert.der());
    }
    ada.lives(2);
    ben.lives(3);

    // The end is told through the port that the edge has, and no other way.
    assert!(node.process().terminate().success());
    for mut one in [ada, ben] {
        assert_eq!(one.hear_a("closed")["resume"], true);
    }
}

#[test]
fn turns_is_handed_out_where_browsers_trust_its_certificate() {
    let dir = tempfile::tempdir().unwrap();
    let one = certificate();
    write(dir.path(), &one);
    let path = |name: &str| dir.path().join(name).to_str().unwrap().to_owned();
    let (pem, key) = (path("certificate.pem"), path("key.pem"));
    let options = ["--https", "0", "--certificate", &pem, "--key", &key];

    // Nobody's browser trusts what its own key has signed, so its URL would only fail: it is never handed out.
    let node = Chappe::dev_with(&dir.path().join("data"), &options);
    let mut ada = Joined::over(connect(node.https(), &[&one]).unwrap());
    assert_eq!(ada.welcome["ice_servers"][0]["urls"].as_array().unwrap().len(), 2);
    assert_eq!(ada.urls().len(), 2);
    drop(node);

    // Unless the operator says that they do.
    let node =
        Chappe::dev_with(&dir.path().join("other"), &[&options[..], &["--trust-certificate"]].concat());
    let at = node.https();
    let mut ada = Joined::over(connect(at, &[&one]).unwrap());
    let urls = [
        format!("turn:{}?transport=udp", node.turn_udp),
        format!("turn:{}?transport=tcp", node.turn_tcp),
        format!("turns:{at}?transport=tcp"),
    ];
    wait("all of its URLs", SEEN_WITHIN, || (ada.urls() == urls).then_some(()));
    assert_eq!(ada.welcome["edges"][0]["urls"], json!([format!("stun:{}", node.turn_udp)]));
}

#[test]
fn a_certificate_that_is_none_is_told_at_once() {
    let dir = tempfile::tempdir().unwrap();
    let one = certificate();
    write(dir.path(), &one);
    fs::write(dir.path().join("key.pem"), certificate().signing_key.serialize_pem()).unwrap();
    let path = |name: &str| dir.path().join(name).to_str().unwrap().to_owned();
    let (pem, key, data) = (path("certificate.pem"), path("key.pem"), path("data"));
    let args = ["dev", "--http", "0", "--turn", "0", "--data", &data, "--certificate", &pem, "--key", &key];
    let all = [&args[..], &["--https", "0"]].concat();
    let (ok, _, error) = chappe_tests::process::run(chappe_tests::process::binary(), &all);
    assert!(!ok && error.contains(&key) && error.contains("not the private key"), "{error}");

    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = taken.local_addr().unwrap().port().to_string();
    let (ok, _, error) = chappe_tests::process::run(
        chappe_tests::process::binary(),
        &[&args[..], &["--https", &port]].concat(),
    );
    assert!(!ok && error.contains(&port) && error.contains("in use") && error.contains("--https"), "{error}");
}
