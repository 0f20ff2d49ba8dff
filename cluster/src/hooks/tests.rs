//! Requests to servers of this machine.

use std::collections::BTreeSet;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use chappe_proto::hooks::sign::signatures;
use chappe_proto::id::{Index, NodeId, Region};
use chappe_proto::limits::HOOK_ANSWER_MAX;
use chappe_proto::mesh::uplink::Secret;
use chappe_proto::registry::{Command, Entry, HookPlan, NodeAddresses};
use chappe_proto::time::Unix;
use rustls::ServerConfig;
use rustls::pki_types::PrivateKeyDer;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio::task::JoinHandle;
use tokio_rustls::TlsAcceptor;

use super::*;

fn hook(url: &str) -> Hook {
    let plan =
        HookPlan { url: url.to_owned(), events: BTreeSet::new(), label: String::new(), disabled: false };
    Hook {
        plan,
        secrets: vec![Secret(vec![7; 32])],
        gone: false,
        created: Unix::default(),
        changed: Index(0),
    }
}

fn event() -> Event {
    let id = EventId::from_random([3; 15]);
    Event::new(id, EventKind::Ping, None, Unix::from_secs(1), &json!({ "app": "a" }))
}

fn sender(allow: &[&str]) -> Sender {
    Sender::new(RootCertStore::empty(), allow.iter().map(|net| net.parse().unwrap()).collect()).unwrap()
}

async fn listen() -> (TcpListener, SocketAddr) {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
    let at = listener.local_addr().unwrap();
    (listener, at)
}

/// Reads one request and answers it; the request's text.
async fn answer(mut stream: impl AsyncRead + AsyncWrite + Unpin, answer: &[u8]) -> String {
    let mut text = String::new();
    while !text.contains("\r\n\r\n") || !text.ends_with('}') {
        let mut bytes = [0; 4096];
        let len = stream.read(&mut bytes).await.unwrap();
        assert!(len > 0, "cut off: {text}");
        text.push_str(std::str::from_utf8(&bytes[..len]).unwrap());
    }
    let _ = stream.write_all(answer).await; // as much as is read
    let _ = stream.shutdown().await;
    text
}

async fn served(said: &'static [u8]) -> (SocketAddr, JoinHandle<String>) {
    let (listener, at) = listen().await;
    let task = tokio::spawn(async move { answer(listener.accept().await.unwrap().0, said).await });
    (at, task)
}

#[tokio::test]
async fn a_request_is_signed_and_its_answer_remembered() {
    let (at, server) = served(b"HTTP/1.1 202 Fine\r\nContent-Length: 5\r\n\r\ntaken").await;
    let (hook, event) = (hook(&format!("http://{at}/hook?key=1")), event());
    let answered = sender(&["127.0.0.0/8"]).send(&State::default(), &hook, &event).await;
    assert_eq!((answered.status, answered.said.as_str()), (Some(202), "taken"));
    let request = server.await.unwrap();
    let (head, body) = request.split_once("\r\n\r\n").unwrap();
    assert!(head.starts_with("POST /hook?key=1 HTTP/1.1\r\n"), "{head}");
    let header = |name: &str| {
        let line = head.lines().find_map(|line| line.strip_prefix(&format!("{name}: ")));
        line.unwrap_or_else(|| panic!("no {name}: {head}"))
    };
    assert_eq!((header("host"), header("webhook-id")), (&*at.to_string(), &*event.id.to_string()));
    assert_eq!((header("content-type"), body), ("application/json", &*event.body));
    let secs = header("webhook-timestamp").parse().unwrap();
    assert_eq!(header("webhook-signature"), signatures(&hook.secrets, header("webhook-id"), secs, body));
    assert!(clock::unix().secs() - secs < 60);
}

#[tokio::test]
async fn redirects_are_answers_and_long_ones_are_cut_off() {
    let redirect =
        b"HTTP/1.1 302 Found\r\nLocation: http://127.0.0.1:1/\r\nRetry-After: 7\r\nContent-Length: 0\r\n\r\n";
    let (at, _server) = served(redirect).await;
    let answered =
        sender(&["127.0.0.1/32"]).send(&State::default(), &hook(&format!("http://{at}")), &event()).await;
    assert_eq!((answered.status, answered.retry_after), (Some(302), Some(Duration::from_secs(7))));

    let (listener, at) = listen().await;
    tokio::spawn(async move {
        let (stream, _) = listener.accept().await.unwrap();
        let mut endless = b"HTTP/1.1 500 No\r\n\r\n".to_vec();
        endless.extend(std::iter::repeat_n(b'x', 8 << 20));
        answer(stream, &endless).await
    });
    let answered =
        sender(&["127.0.0.1/32"]).send(&State::default(), &hook(&format!("http://{at}")), &event()).await;
    assert_eq!((answered.status, answered.said.len()), (Some(500), HOOK_ANSWER_MAX));

    let (at, _server) = served(b"SMTP ready\r\n").await;
    let answered =
        sender(&["127.0.0.1/32"]).send(&State::default(), &hook(&format!("http://{at}")), &event()).await;
    assert_eq!(answered.status, None);
    assert!(!answered.said.is_empty() && !answered.said.contains("SMTP"), "{}", answered.said);
}

#[tokio::test]
async fn what_is_not_allowed_is_not_connected_to() {
    let (listener, at) = listen().await;
    let port = at.port();
    let mut state = State::default();
    let command = Command::NodeAdd { node: NodeId(1), region: Region::new("eu").unwrap() };
    state.apply(Index(1), Entry { at: Unix::from_secs(1), by: None, note: None, command });
    let addresses = NodeAddresses { mesh: vec!["9.9.9.9:7900".parse().unwrap()], public: Vec::new() };
    let command = Command::NodeUp { node: NodeId(1), addresses, build: "x".to_owned(), speaks: 1 };
    state.apply(Index(2), Entry { at: Unix::from_secs(1), by: None, note: None, command });
    for host in [
        "127.0.0.1",
        "localhost",
        "0.0.0.0",
        "[::1]",
        "[::]",
        "[::ffff:127.0.0.1]",
        "[64:ff9b::7f00:1]",
        "[64:ff9b:1::7f00:1]",
        "[2002:7f00:1::]",
        "169.254.169.254",
        "10.0.0.1",
        "192.168.1.1",
        "[fd00::1]",
        // As resolvers read it.
        "0x7f.1",
        "2130706433",
        // A node of the cluster.
        "9.9.9.9",
    ] {
        let answered = sender(&[]).send(&state, &hook(&format!("https://{host}:{port}/")), &event()).await;
        assert_eq!(answered.status, None);
        assert!(answered.said.contains("--hooks-allow"), "{host}: {}", answered.said);
        assert!(answered.took < Duration::from_secs(2), "{host}");
    }
    let accepted = tokio::time::timeout(Duration::from_millis(50), listener.accept()).await;
    assert!(accepted.is_err(), "somebody came");
}

#[tokio::test]
async fn a_certificate_must_be_of_a_trusted_authority_and_of_that_name() {
    let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    let (certificate, key) = (made.cert.der().clone(), made.signing_key.serialize_der());
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = ServerConfig::builder_with_provider(provider).with_safe_default_protocol_versions().unwrap();
    let key = PrivateKeyDer::try_from(key).unwrap();
    let config = config.with_no_client_auth().with_single_cert(vec![certificate.clone()], key).unwrap();
    let acceptor = TlsAcceptor::from(Arc::new(config));
    let (listener, at) = listen().await;
    tokio::spawn(async move {
        loop {
            let (stream, _) = listener.accept().await.unwrap();
            if let Ok(stream) = acceptor.accept(stream).await {
                answer(stream, b"HTTP/1.1 204 No Content\r\n\r\n").await;
            }
        }
    });
    let mut roots = RootCertStore::empty();
    roots.add(certificate).unwrap();
    let allow = || vec!["127.0.0.0/8".parse().unwrap(), "::1/128".parse().unwrap()];
    let trusting = Sender::new(roots, allow()).unwrap();
    let url = format!("https://localhost:{}/", at.port());
    let answered = trusting.send(&State::default(), &hook(&url), &event()).await;
    assert_eq!(answered.status, Some(204), "{}", answered.said);
    for (sender, url) in
        [(&trusting, format!("https://127.0.0.1:{}/", at.port())), (&sender(&["127.0.0.0/8"]), url)]
    {
        let answered = sender.send(&State::default(), &hook(&url), &event()).await;
        assert!(answered.status.is_none() && answered.said.contains("TLS"), "{url}: {}", answered.said);
    }
}
