//! The signaling protocol where clients misbehave: whoever does is told in its own terms, and nobody
//! else notices.

use std::time::Duration;

use chappe_cluster::token;
use chappe_tests::client::{ByHand, Client, connect, typed};
use chappe_tests::http;
use chappe_tests::process::{Chappe, WITHIN, until};
use chappe_tests::sockets;
use data_encoding::BASE64URL_NOPAD;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpSocket;
use tokio::time::{Instant, timeout};

fn unix() -> u64 {
    chappe_cluster::clock::unix().secs()
}

/// The claims of a token that opens `room`.
fn claims(node: &Chappe, room: &str) -> Value {
    json!({
        "iss": node.api_key().key, "aud": "chappe", "exp": unix() + 600, "room": room,
        "grants": ["join", "create"],
    })
}

fn signed(node: &Chappe, claims: &Value) -> String {
    token::sign(claims, node.api_key().secret.as_bytes()).unwrap()
}

fn merged(claims: &Value, others: &Value) -> Value {
    let mut claims = claims.clone();
    for (field, value) in others.as_object().unwrap() {
        claims[field] = value.clone();
    }
    claims
}

async fn code(node: &Chappe, room: &str, token: &str) -> String {
    let mut socket = ByHand::open(node.http).await;
    let answer = socket.join(json!({ "room": room, "token": token })).await;
    assert!(matches!(answer["type"].as_str(), Some("error" | "welcome")), "{answer}");
    answer["code"].as_str().unwrap_or("welcome").to_owned()
}

#[tokio::test]
async fn each_wrong_token_is_refused_by_its_own_code() {
    let dir = tempfile::tempdir().unwrap();
    let node = Chappe::dev(dir.path());
    let good = claims(&node, "room");
    let with = |field: &str, value: Value| signed(&node, &merged(&good, &json!({ field: value })));
    assert_eq!(code(&node, "room", &signed(&node, &good)).await, "welcome");
    assert_eq!(code(&node, "rooms", &signed(&node, &good)).await, "token_invalid");
    assert_eq!(code(&node, "rooms", &with("room", "room*".into())).await, "welcome");
    assert_eq!(code(&node, "room", &with("exp", (unix() - 1).into())).await, "token_expired");
    assert_eq!(code(&node, "room", &with("aud", "other".into())).await, "token_invalid");
    assert_eq!(code(&node, "room", &with("iss", "k_000000000000000000000000".into())).await, "token_invalid");
    assert_eq!(code(&node, "room", &with("grants", json!(["create"]))).await, "forbidden");
    let guest = json!({ "room": "elsewhere", "grants": ["join"] });
    let guest = signed(&node, &merged(&good, &guest));
    assert_eq!(code(&node, "elsewhere", &guest).await, "no_room");
    let other = token::sign(&good, b"another secret of some length...").unwrap();
    assert_eq!(code(&node, "room", &other).await, "token_invalid");
    assert_eq!(code(&node, "room", "a.b.c").await, "token_invalid");
    // `chappe token` makes one that works, and one whose time is over.
    assert_eq!(code(&node, "room", &node.token("room", &[])).await, "welcome");
    assert_eq!(code(&node, "room", &node.token("room", &["--ttl", "0"])).await, "token_expired");
}

#[tokio::test]
async fn no_other_algorithm_is_taken() {
    let dir = tempfile::tempdir().unwrap();
    let node = Chappe::dev(dir.path());
    let claims = claims(&node, "room");
    let good = signed(&node, &claims);
    let (_, signature) = good.rsplit_once('.').unwrap();
    let part = |value: &Value| BASE64URL_NOPAD.encode(value.to_string().as_bytes());
    for algorithm in ["none", "None", "HS384", "HS512", "RS256", "ES256", "EdDSA"] {
        let head = part(&json!({ "alg": algorithm, "typ": "JWT" }));
        for signature in ["", signature] {
            let forged = format!("{head}.{}.{signature}", part(&claims));
            assert_eq!(code(&node, "room", &forged).await, "token_invalid", "{algorithm}");
        }
    }
}

#[tokio::test]
async fn a_full_room_says_so_and_has_room_again() {
    let dir = tempfile::tempdir().unwrap();
    let node = Chappe::dev(dir.path());
    let mut two = claims(&node, "room");
    two["capacity"] = 2.into();
    let token = signed(&node, &two);
    let join = json!({ "room": "room", "token": token });
    let (mut ada, mut ben) = (ByHand::open(node.http).await, ByHand::open(node.http).await);
    assert_eq!(ada.join(join.clone()).await["type"], "welcome");
    assert_eq!(ben.join(join.clone()).await["type"], "welcome");
    let mut cleo = ByHand::open(node.http).await;
    assert_eq!(cleo.join(join.clone()).await["code"], "room_full");
    ben.say(json!({ "type": "leave" })).await;
    ada.hear_a("peer_left").await;
    let mut cleo = ByHand::open(node.http).await;
    assert_eq!(cleo.join(join).await["type"], "welcome");
}

#[tokio::test]
async fn frames_too_long_are_refused_or_end_the_socket() {
    let dir = tempfile::tempdir().unwrap();
    let node = Chappe::dev(dir.path());
    let (mut ada, welcome) = ByHand::joined(node.http, "room").await;
    let most = usize::try_from(welcome["limits"]["frame_max"].as_u64().unwrap()).unwrap();
    let frame = |len: usize| {
        let around = r#"{"type":"broadcast","payload":""}"#.len();
        format!(r#"{{"type":"broadcast","payload":"{}"}}"#, "x".repeat(len - around))
    };
    ada.say_text(&frame(most + 1)).await;
    assert_eq!(ada.hear().await["code"], "too_large");
    ada.say(json!({ "type": "ping", "t": 1 })).await;
    assert_eq!(ada.hear().await, json!({ "type": "pong", "t": 1 }));
    // Beyond what can be skipped: the connection cannot go on, the session can.
    ada.say_text(&frame(4 * most)).await;
    assert_eq!(ada.hear_a("error").await["code"], "too_large");
    assert_eq!(ada.hear_a("closed").await["code"], "protocol");
}

#[tokio::test]
async fn a_binary_frame_closes() {
    let dir = tempfile::tempdir().unwrap();
    let node = Chappe::dev(dir.path());
    let (mut ada, _) = ByHand::joined(node.http, "room").await;
    ada.say_binary(b"\x00\x01").await;
    let closed = ada.hear_a("closed").await;
    assert_eq!((&closed["code"], &closed["resume"]), (&json!("protocol"), &json!(false)));
    assert_eq!(ada.hear().await, json!({ "type": "end", "code": 4020 }));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_thousand_malformed_frames_disturb_nobody() {
    const FRAMES: usize = 1000;
    let bad = ["", "{", "[]", "null", "\u{0}", r#"{"type":7}"#, r#"{"type":"signal"}"#, r#"{"type":"nope"}"#];
    let dir = tempfile::tempdir().unwrap();
    let node = Chappe::dev(dir.path());
    let mut ada = Client::join(node.http, json!({ "room": "room" })).await;
    let mut ben = Client::join(node.http, json!({ "room": "room" })).await;
    let at = node.http;
    let vandal = tokio::spawn(async move {
        let (mut sent, mut told) = (0, 0);
        while sent < FRAMES {
            let (mut socket, _) = ByHand::joined(at, "room").await;
            'socket: while sent < FRAMES {
                for text in bad {
                    socket.say_text(text).await;
                    sent += 1;
                    let answer = socket.hear_one_of(&["error", "closed"]).await;
                    match answer["type"].as_str().unwrap() {
                        "error" => told += 1,
                        "closed" | "end" => break 'socket,
                        other => panic!("{other}"),
                    }
                }
            }
        }
        told
    });
    let mut slowest = Duration::ZERO;
    let mut n = 0_u64;
    while !vandal.is_finished() || n < 50 {
        let begin = Instant::now();
        ada.signal(&ben.peer, n).await;
        assert_eq!(ben.signals(&ada.peer, 1).await, [json!(n)]);
        slowest = slowest.max(begin.elapsed());
        n += 1;
    }
    let told = vandal.await.unwrap();
    assert!(told > FRAMES / 2, "{told} errors");
    assert!(slowest < Duration::from_secs(1), "a signal took {slowest:?}");
    ada.delivered(&ben.peer, n).await;
}

#[tokio::test]
async fn a_storm_of_joins_from_one_address_waits_its_turn() {
    let dir = tempfile::tempdir().unwrap();
    let node = Chappe::dev(dir.path());
    let ada = Client::join(node.http, json!({ "room": "ada" })).await;
    let mut ben = Client::join(node.http, json!({ "room": "ada" })).await;
    let mut storm = Vec::new();
    let refused = loop {
        assert!(storm.len() < 500, "no limit");
        let mut socket = ByHand::open(node.http).await;
        let answer = socket.join(json!({ "room": format!("room-{}", storm.len()) })).await;
        storm.push(socket);
        if answer["type"] != "welcome" {
            break answer;
        }
    };
    assert_eq!((&refused["type"], &refused["code"]), (&json!("error"), &json!("busy")), "{refused}");
    assert!(storm.len() > 50, "only {} joins", storm.len());
    // Whoever is in notices nothing, and whoever waits as told gets in, on the same socket.
    ada.signal(&ben.peer, "hello").await;
    assert_eq!(ben.signals(&ada.peer, 1).await, ["hello"]);
    tokio::time::sleep(Duration::from_millis(refused["retry_after_ms"].as_u64().unwrap())).await;
    assert_eq!(storm.last_mut().unwrap().join(json!({ "room": "room" })).await["type"], "welcome");
}

#[tokio::test]
async fn a_node_that_may_open_few_files_is_full_before_it_has_none_for_operators() {
    const FILES: u32 = 220;
    let dir = tempfile::tempdir().unwrap();
    let node = Chappe::dev_within(dir.path(), FILES);
    let mut inside = Vec::new();
    loop {
        let mut socket = ByHand::open(node.http).await;
        let answer = socket.join(json!({ "room": format!("room-{}", inside.len()) })).await;
        if answer["code"] == "unavailable" {
            continue; // a slow machine's lease has run out
        }
        if answer["type"] != "welcome" {
            assert_eq!((&answer["type"], &answer["code"]), (&json!("error"), &json!("busy")), "{answer}");
            assert!(answer["message"].as_str().unwrap().contains("as many sessions as it can"), "{answer}");
            break;
        }
        inside.push(socket);
    }
    assert_eq!(inside.len(), FILES as usize / 4, "half of the files, two for each");
    // Those who only connect do not take theirs either.
    let mut idle = Vec::new();
    while let Ok(socket) = connect(node.http).await {
        idle.push(socket);
        assert!(idle.len() < FILES as usize, "no limit");
    }
    let token = node.admin_token();
    let asked = http::request(node.http, "GET", "/admin/api/v1/rooms", Some(&token)).await;
    assert_eq!(asked.0, 200, "{}", asked.1);
    // Whoever goes makes room.
    drop(idle);
    let mut leaver = inside.pop().unwrap();
    leaver.say(json!({ "type": "leave" })).await;
    let comes = async || match connect(node.http).await {
        Ok(mut socket) => socket.join(json!({ "room": "last" })).await["type"] == "welcome",
        Err(_) => false,
    };
    until("a place", WITHIN, comes).await;
}

/// A socket whose client joins and never reads again.
struct Deaf {
    stream: tokio::net::TcpStream,
    welcome: Value,
}

impl Deaf {
    /// A client that takes as little as TCP allows.
    async fn join(node: &Chappe, room: &str) -> Self {
        let socket = TcpSocket::new_v4().unwrap();
        socket.set_recv_buffer_size(4096).unwrap();
        let mut stream = socket.connect(node.http).await.unwrap();
        let head = format!(
            "GET /v1/signal HTTP/1.1\r\nHost: {}\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
             Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n",
            node.http
        );
        stream.write_all(head.as_bytes()).await.unwrap();
        while stream.read_u8().await.unwrap() != b'\r'
            || stream.read_u8().await.unwrap() != b'\n'
            || stream.read_u8().await.unwrap() != b'\r'
        {}
        stream.read_u8().await.unwrap();
        let join = json!({ "type": "join", "room": room }).to_string();
        // One masked text frame under 126 bytes, with a mask of zeros (RFC 6455 section 5.2).
        let mut frame = vec![0x81, 0x80 | u8::try_from(join.len()).unwrap(), 0, 0, 0, 0];
        frame.extend(join.as_bytes());
        stream.write_all(&frame).await.unwrap();
        let mut head = [0; 4];
        stream.read_exact(&mut head).await.unwrap();
        assert_eq!(head[..2], [0x81, 126], "a welcome of 126 to 65535 bytes");
        let mut text = vec![0; usize::from(u16::from_be_bytes([head[2], head[3]]))];
        stream.read_exact(&mut text).await.unwrap();
        let welcome: Value = serde_json::from_slice(&text).unwrap();
        assert_eq!(welcome["type"], "welcome", "{welcome}");
        Self { stream, welcome }
    }

    /// Reads what is left, up to the end of the connection.
    async fn rest(&mut self) -> u64 {
        let mut read = 0;
        let mut buffer = vec![0; 65_536];
        while let Ok(Ok(len @ 1..)) = timeout(Duration::from_secs(5), self.stream.read(&mut buffer)).await {
            read += len as u64;
        }
        read
    }
}

/// A flood that a deaf client does not read: it costs no memory and delays nobody, its socket is shut
/// down from outside, and the session resumes.
#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_stops_reading_harms_nobody() {
    const FRAME: usize = 48 * 1024;
    let dir = tempfile::tempdir().unwrap();
    let mut node = Chappe::dev(dir.path());
    let mut deaf = Deaf::join(&node, "room").await;
    let peer = deaf.welcome["peer"].as_str().unwrap().to_owned();
    let mut ada = Client::join(node.http, json!({ "room": "room" })).await;
    let mut ben = Client::join(node.http, json!({ "room": "room" })).await;
    let before = node.process().memory();
    let payload = "x".repeat(FRAME);
    let mut slowest = Duration::ZERO;
    let mut away = false;
    let mut peak = 0;
    let mut flooded = 0;
    let begin = Instant::now();
    while !away {
        assert!(begin.elapsed() < Duration::from_secs(60), "never closed, {flooded} frames");
        // A directed one as well: it must not be lost, whatever becomes of the socket.
        if flooded == 0 {
            ada.signal(&peer, "for when you listen again").await;
        }
        ada.say(typed("broadcast", json!({ "payload": payload }))).await;
        flooded += 1;
        let sent = Instant::now();
        while {
            let event = ben.hear().await;
            away |= event["type"] == "peer_updated"
                && event["change"] == "away"
                && event["peer"] == peer.as_str();
            event["type"] != "broadcast"
        } {}
        slowest = slowest.max(sent.elapsed());
        peak = peak.max(node.process().memory());
        // Within the rate of a well-behaved client.
        tokio::time::sleep(Duration::from_millis(11)).await;
    }
    assert!(slowest < Duration::from_millis(500), "another's broadcast took {slowest:?}");
    assert!(peak < before + 48 * 1024 * 1024, "memory went from {before} to {peak} bytes");
    let (pid, own) = (node.process().pid(), deaf.stream.local_addr().unwrap());
    // From outside: what is left to read ends.
    deaf.rest().await;
    until("the connection is gone", Duration::from_secs(10), async || {
        !sockets::of(pid).iter().any(|socket| socket.remote == own)
    })
    .await;

    let mut back = ByHand::open(node.http).await;
    let resume = json!({ "room": "room", "resume": deaf.welcome["resume"], "marks": {} });
    let resumed = back.join(resume).await;
    assert_eq!((&resumed["type"], &resumed["peer"]), (&json!("resumed"), &json!(peer)), "{resumed}");
    let signal = back.hear_a("signal").await;
    assert_eq!(signal["payload"], "for when you listen again");
    back.say(json!({ "type": "ack", "from": ada.peer, "id": 1 })).await;
    ada.delivered(&peer, 1).await;
}
