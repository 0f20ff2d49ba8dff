//! Certificates by ACME: nodes and edges get them of an authority that connects back, renew them under people
//! who are connected, and say why where they cannot.

use std::fs;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Command;
use std::sync::Arc;
use std::time::Duration;

use chappe_tests::acme::{Behaviour, FakeAcme};
use chappe_tests::http::request;
use chappe_tests::netns::eventually;
use chappe_tests::nodes::Node;
use chappe_tests::process::{Process, WITHIN, binary};
use chappe_tests::turn::Turn;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, ClientConnection, RootCertStore, StreamOwned};
use serde_json::{Value, json};
use tokio_tungstenite::tungstenite::{Message, WebSocket, client};

use super::edge::{SECRET, Standalone, credentials};

type Stream = StreamOwned<ClientConnection, TcpStream>;

/// An hour ago until in ninety days.
const LONG: (i64, i64) = (3600, 90 * 24 * 3600);

/// What all are told of the authority.
fn options(fake: &FakeAcme, dir: &Path, name: &str, challenge: &str) -> Vec<String> {
    let root = dir.join("root.pem");
    fake.write_root(&root);
    let directory = fake.directory();
    let root = root.to_str().unwrap();
    ["--acme-hostname", name, "--acme-agree", "--acme-directory", &directory, "--acme-root", root]
        .into_iter()
        .chain(["--acme-challenge", challenge])
        .map(str::to_owned)
        .collect()
}

fn strs(options: &[String]) -> Vec<&str> {
    options.iter().map(String::as_str).collect()
}

/// Where a process that has started listens, by the word that its line begins with.
fn printed(process: &Process, word: &str) -> SocketAddr {
    let text = process.stdout.until("stops it.");
    let mut lines = text.lines().filter_map(|line| line.strip_prefix(word));
    let line = lines.next().unwrap_or_else(|| panic!("no {word} in {text}"));
    line.trim().split(',').next().unwrap().parse().unwrap()
}

/// Opens a TLS connection to a name, trusting the authority alone.
fn connect(fake: &FakeAcme, name: &str, at: SocketAddr) -> std::io::Result<Stream> {
    let mut roots = RootCertStore::empty();
    roots.add(fake.root()).unwrap();
    let config = ClientConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    let name = ServerName::try_from(name.to_owned()).unwrap();
    let mut tls = ClientConnection::new(Arc::new(config), name).unwrap();
    let mut tcp = TcpStream::connect(at)?;
    tcp.set_read_timeout(Some(WITHIN))?;
    tls.complete_io(&mut tcp)?;
    Ok(StreamOwned::new(tls, tcp))
}

/// Opens one that is shown this certificate: the files are followed, and no event tells of it.
fn shown(fake: &FakeAcme, name: &str, at: SocketAddr, wanted: &CertificateDer<'_>) -> Stream {
    let mut refused = None;
    let opened = eventually(WITHIN, || match connect(fake, name, at) {
        Ok(stream) => (stream.conn.peer_certificates().unwrap()[0] == *wanted).then_some(stream),
        Err(error) => {
            refused = Some(error);
            None
        }
    });
    opened.unwrap_or_else(|| panic!("another certificate, or none: {refused:?}"))
}

/// Somebody in a room.
struct Joined<S>(WebSocket<S>);

impl<S: Read + Write> Joined<S> {
    fn over(url: &str, stream: S) -> Self {
        let mut this = Self(client(url, stream).unwrap().0);
        this.say(&json!({ "type": "join", "room": "room" }));
        this.hear("welcome");
        this
    }

    fn say(&mut self, frame: &Value) {
        self.0.send(Message::text(frame.to_string())).unwrap();
    }

    fn hear(&mut self, kind: &str) -> Value {
        loop {
            if let Message::Text(text) = self.0.read().unwrap() {
                let frame: Value = serde_json::from_str(&text).unwrap();
                if frame["type"] == kind {
                    return frame;
                }
            }
        }
    }

    fn lives(&mut self) {
        self.say(&json!({ "type": "ping", "t": 7 }));
        assert_eq!(self.hear("pong")["t"], 7);
    }

    /// Whether it is handed a `turns:` URL now.
    fn has_turns(&mut self) -> bool {
        self.say(&json!({ "type": "ice" }));
        self.hear("ice_servers")["ice_servers"].to_string().contains("\"turns:")
    }
}

/// A Binding request over a stream, and its answer (RFC 8489 section 5).
fn binding(stream: &mut (impl Read + Write)) {
    let mut request = [7; 20];
    request[..8].copy_from_slice(&[0, 1, 0, 0, 0x21, 0x12, 0xa4, 0x42]);
    stream.write_all(&request).unwrap();
    let mut answer = [0; 20];
    stream.read_exact(&mut answer).unwrap();
    assert_eq!((&answer[..2], &answer[8..]), (&[1, 1][..], &request[8..]));
    let mut rest = vec![0; usize::from(u16::from_be_bytes([answer[2], answer[3]]))];
    stream.read_exact(&mut rest).unwrap();
}

/// Everything that is kept is its owner's alone to read, and no key was logged.
fn is_private(dir: &Path, logged: &str) {
    let mut files = 0;
    for entry in fs::read_dir(dir).unwrap() {
        let entry = entry.unwrap();
        assert_eq!(entry.metadata().unwrap().permissions().mode() & 0o777, 0o600, "{:?}", entry.path());
        for word in fs::read_to_string(entry.path()).unwrap().split(['"', '\n', ':']) {
            assert!(word.len() < 60 || !logged.contains(word), "logged: {word}");
        }
        files += 1;
    }
    assert!(files >= 3, "account, certificate, what it is of");
    assert_eq!(fs::metadata(dir).unwrap().permissions().mode() & 0o777, 0o700);
}

/// HTTP-01 on the node's own listener; renewed when the authority says so (RFC 9773).
#[tokio::test(flavor = "multi_thread")]
async fn a_node_gets_a_certificate_by_http_and_renews_it_when_it_is_told_to() {
    let dir = tempfile::tempdir().unwrap();
    // So long that of its own it would not be renewed here; an authority's word is taken after a third.
    let fake = FakeAcme::start(Behaviour {
        bad_nonces: 2,
        renewal_info: true,
        validity: (600, 9),
        ..Behaviour::default()
    });
    let asked = options(&fake, dir.path(), "node.test", "http-01");
    let how = ["--found", "test", "--region", "a", "--anonymous", "--https", "127.0.0.1:0"];
    let data = dir.path().join("data");
    let mut node =
        Node::start(&data, &[&how, &strs(&asked)[..], &["--acme-email", "ops@example.org"]].concat());
    let at = printed(node.process(), "https");
    assert!(connect(&fake, "node.test", at).is_err(), "there is no certificate yet, and none is made up");
    fake.names().set("node.test", Some(node.http), None);
    let first = fake.until("a certificate", |seen| !seen.issued.is_empty()).issued[0].clone();
    fake.behave(|behaviour| behaviour.validity = LONG);
    let mut person = Joined::over("wss://node.test/v1/signal", shown(&fake, "node.test", at, &first));
    let seen = fake.until("another one", |seen| seen.issued.len() == 2);
    drop(shown(&fake, "node.test", at, &seen.issued[1]));
    person.lives();
    assert_eq!((seen.replaced, seen.accounts), (1, 1));
    assert_eq!(seen.contacts, ["mailto:ops@example.org"]);
    assert_eq!(seen.proved, vec![("http-01".to_owned(), true); 2]);
    assert_eq!(seen.wrong, Vec::<String>::new());
    let (status, body) = request(node.http, "GET", "/.well-known/acme-challenge/none", None).await;
    assert_eq!((status, body.as_str()), (404, ""), "what is over is not answered");
    is_private(&data.join("acme"), &node.process().stderr.text());
    // What is kept is served by the next start, and nothing is asked for again.
    drop(person);
    node.process().hurry();
    let mut node = node.again();
    let at = printed(node.process(), "https");
    drop(shown(&fake, "node.test", at, &seen.issued[1]));
    assert_eq!(fake.seen().issued.len(), 2);
}

/// TLS-ALPN-01 on the node's listener of HTTPS, several names at once.
#[test]
fn a_node_gets_a_certificate_by_tls() {
    let dir = tempfile::tempdir().unwrap();
    let fake = FakeAcme::start(Behaviour { validity: LONG, ..Behaviour::default() });
    let asked = options(&fake, dir.path(), "a.test,b.test", "tls-alpn-01");
    let how = ["--found", "test", "--region", "a", "--anonymous", "--https", "127.0.0.1:0"];
    let mut node = Node::start(&dir.path().join("data"), &[&how, &strs(&asked)[..]].concat());
    let at = printed(node.process(), "https");
    for name in ["a.test", "b.test"] {
        fake.names().set(name, None, Some(at));
    }
    let seen = fake.until("a certificate", |seen| !seen.issued.is_empty());
    for name in ["a.test", "b.test"] {
        let mut stream = shown(&fake, name, at, &seen.issued[0]);
        stream.write_all(b"GET /healthz HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n").unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");
    }
    assert_eq!(seen.proved, vec![("tls-alpn-01".to_owned(), true); 2]);
    assert_eq!(seen.wrong, Vec::<String>::new());
}

/// An edge of a cluster: `turns:` is handed out once there is a certificate, which is renewed at two thirds of
/// its life while clients go on.
#[test]
fn an_edge_gets_a_certificate_by_tls_and_renews_it_under_its_clients() {
    let dir = tempfile::tempdir().unwrap();
    let node = Node::found(&dir.path().join("node"), "a");
    let identity = dir.path().join("edge");
    let identity = identity.to_str().unwrap();
    let _ = node.told(&["edge", "identity", "one", identity]);
    // Two thirds of it are over.
    let fake = FakeAcme::start(Behaviour { validity: (24, 9), ..Behaviour::default() });
    let asked = options(&fake, dir.path(), "turn.test", "tls-alpn-01");
    let mut command = Command::new(binary());
    command.args(["edge", "--identity", identity, "--region", "a", "--listen", "127.0.0.1:0"]);
    command.args(["--tls-listen", "127.0.0.1:0", "--trust-certificate"]).args(&asked);
    let edge = Process::start(&mut command);
    let at = printed(&edge, "TLS");
    let (udp, tcp) = (printed(&edge, "UDP"), printed(&edge, "TCP"));
    assert_ne!(udp, at);
    binding(&mut TcpStream::connect(tcp).unwrap());
    assert!(connect(&fake, "turn.test", at).is_err(), "there is no certificate yet");
    let told = edge.stderr.until("it has none yet");
    assert!(told.contains("a listener does not answer"), "{told}");
    let mut person =
        Joined::over(&format!("ws://{}/v1/signal", node.http), TcpStream::connect(node.http).unwrap());
    assert!(!person.has_turns(), "never before its own probe said that it works");

    fake.names().set("turn.test", None, Some(at));
    let first = fake.until("a certificate", |seen| !seen.issued.is_empty()).issued[0].clone();
    fake.behave(|behaviour| behaviour.validity = LONG);
    let mut turn = shown(&fake, "turn.test", at, &first);
    binding(&mut turn);
    let seen = fake.until("another one", |seen| seen.issued.len() == 2);
    binding(&mut shown(&fake, "turn.test", at, &seen.issued[1]));
    binding(&mut turn);
    assert_eq!(seen.proved, vec![("tls-alpn-01".to_owned(), true); 2]);
    assert_eq!((seen.accounts, seen.replaced), (1, 0));
    assert_eq!(seen.wrong, Vec::<String>::new());
    is_private(&Path::new(identity).join("acme"), &edge.stderr.text());
    let handed_out = eventually(WITHIN, || person.has_turns().then_some(()));
    assert!(handed_out.is_some(), "never handed out: {}", edge.stderr.text());
}

/// An edge of its own, with this beside its listeners.
fn standalone(dir: &Path, more: &[String]) -> Standalone {
    let (secret, data) = (dir.join("secret"), dir.join("acme"));
    fs::write(&secret, SECRET).unwrap();
    let how = ["--secret-file", secret.to_str().unwrap(), "--acme-data", data.to_str().unwrap()];
    Standalone::with(&[&how, &["--tls-listen", "127.0.0.1:0"][..], &strs(more)].concat())
}

/// HTTP-01 on a listener of its own, at an authority that is asked too often at first: it is obeyed to the
/// second.
#[test]
fn an_edge_gets_a_certificate_by_http_once_the_authority_lets_it() {
    let dir = tempfile::tempdir().unwrap();
    let fake = FakeAcme::start(Behaviour { limited: Some((1, 2)), validity: LONG, ..Behaviour::default() });
    // Port 0 would tell nobody where: another test's process may not take it meanwhile.
    let own = TcpListener::bind("127.0.0.77:0").unwrap().local_addr().unwrap();
    let mut asked = options(&fake, dir.path(), "turn.test", "http-01");
    asked.extend(["--acme-http".to_owned(), own.to_string()]);
    let edge = standalone(dir.path(), &asked);
    let at = printed(&edge.process, "TLS");
    fake.names().set("turn.test", Some(own), None);
    let seen = fake.until("a certificate", |seen| !seen.issued.is_empty());
    binding(&mut shown(&fake, "turn.test", at, &seen.issued[0]));
    assert!(seen.ordered.unwrap() - seen.limited.unwrap() >= Duration::from_secs(2), "it was not obeyed");
    let told = edge.process.stderr.until("tried again in");
    assert!(told.contains("too many certificates already issued"), "{told}");
    assert_eq!((seen.proved.as_slice(), seen.wrong.len()), (&[("http-01".to_owned(), true)][..], 0));
}

/// A limit holds across starts: a process that ends and is started again would else be refused for days.
#[test]
fn an_authority_that_limits_is_not_asked_again_by_the_next_start() {
    let dir = tempfile::tempdir().unwrap();
    let fake =
        FakeAcme::start(Behaviour { limited: Some((1, 3600)), validity: LONG, ..Behaviour::default() });
    let asked = options(&fake, dir.path(), "turn.test", "tls-alpn-01");
    let mut edge = standalone(dir.path(), &asked);
    let _ = edge.process.stderr.until("tried again in 60 min");
    edge.process.terminate();
    let edge = standalone(dir.path(), &asked);
    let _ = edge.process.stderr.until("no certificate is asked for before");
    assert!(fake.seen().ordered.is_none());
}

#[tokio::test(flavor = "multi_thread")]
async fn why_there_is_no_certificate_is_told_with_its_fix_and_the_rest_serves() {
    let dir = tempfile::tempdir().unwrap();
    let fake = FakeAcme::start(Behaviour { validity: LONG, ..Behaviour::default() });
    let told = |name: &str, challenge: &str, wanted: &str| {
        let dir = dir.path().join(name);
        fs::create_dir(&dir).unwrap();
        let edge = standalone(&dir, &options(&fake, &dir, name, challenge));
        let _ = edge.process.stderr.until("tried again in 2 min");
        let text = edge.process.stderr.text();
        assert!(text.contains(wanted), "no {wanted:?} in {text}");
        edge
    };
    let edge = told("turn.nowhere", "tls-alpn-01", "turn.nowhere does not resolve: let its A record");
    let mut turn = Turn::new(edge.udp, &credentials(SECRET, 600)).await;
    turn.allocate().await.unwrap();
    fake.names().set("closed.test", None, None);
    told("closed.test", "tls-alpn-01", "open TCP port 443 to everybody in the firewall");
    // Another server of TLS has the port: the edge's own of STUN over TCP speaks none.
    fake.names().set("other.test", None, Some(edge.tcp));
    told("other.test", "tls-alpn-01", "something else answers at port 443 of other.test");

    // A node tells it on its page of readiness, and serves by HTTP meanwhile.
    fake.names().set("node.test", None, None);
    let asked = options(&fake, dir.path(), "node.test", "http-01");
    let how = ["--found", "test", "--region", "a", "--https", "127.0.0.1:0"];
    let mut node = Node::start(&dir.path().join("data"), &[&how, &strs(&asked)[..]].concat());
    let _ = node.process().stderr.until("tried again in");
    let (status, body) = request(node.http, "GET", "/readyz", None).await;
    let body: Value = serde_json::from_str(&body).unwrap();
    let certificate = body["certificate"].as_str().unwrap();
    assert!(status == 200 && certificate.contains("node.test is not proved by http-01"), "{body}");
    assert_eq!(fake.seen().wrong, Vec::<String>::new());
}

#[test]
fn options_that_do_not_fit_are_told() {
    let dir = tempfile::tempdir().unwrap();
    let secret = dir.path().join("secret");
    fs::write(&secret, SECRET).unwrap();
    let refused = |more: &[&str]| {
        let mut command = Command::new(binary());
        command.args(["edge", "--standalone", "--listen", "127.0.0.1:0", "--secret-file"]).arg(&secret);
        let mut process = Process::start(command.args(more));
        assert!(!process.wait(WITHIN).success(), "{more:?}");
        process.stderr.whole()
    };
    let name = ["--acme-hostname", "turn.test", "--tls-listen", "127.0.0.1:0"];
    let with = |more: &[&'static str]| [&name[..], more].concat();
    assert!(refused(&name).contains("--acme-data DIRECTORY is needed"));
    let data = ["--acme-data", "/nowhere/to/be/made"];
    assert!(refused(&with(&data)).contains("--acme-agree"));
    let agreed = ["--acme-data", "/nowhere/to/be/made", "--acme-agree"];
    assert!(refused(&with(&agreed)).contains("port 443 or port 80"));
    assert!(refused(&with(&["--hostname", "other.test"])).contains("--acme-hostname other.test too"));
    assert!(refused(&["--acme-hostname", "*.test", "--acme-agree"]).contains("wildcards"));
    assert!(refused(&["--tls-listen", "127.0.0.1:0"]).contains("--certificate"));
}
