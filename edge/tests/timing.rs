//! Timing fetches of an edge: what a page measures it by where STUN tells it nothing.

#![allow(clippy::unwrap_used, reason = "a failure here fails the test")]

mod support;

use std::io::{Read, Write};
use std::net::TcpListener;
use std::thread;

use chappe_edge::{Backend, Config, Edge, ListenAt, Web};
use chappe_proto::limits::{HTTP_BURST_PER_SOURCE, HTTP_HEAD_MAX, HTTP_REQUESTS_MAX};
use chappe_proto::turn::Transport;
use support::client::Client;
use support::tls::{Authority, HOST, TlsStream, handshake, is_closed};
use support::{SECRET, listener, standalone, start, until};

const FETCH: &str =
    "GET /chappe/probe HTTP/1.1\r\nHost: turn.chappe.test\r\nOrigin: https://app.test\r\n\r\n";
const OTHER: &str = "GET /other HTTP/1.1\r\nHost: turn.chappe.test\r\n\r\n";
/// What a browser's https offers.
const ALPN: &[&str] = &["h2", "http/1.1"];

fn edge(authority: &Authority, web: Option<Web>) -> Edge {
    let listen = ListenAt { web, ..authority.listener(Transport::Tls, "127.0.0.1") };
    start(Config { listeners: vec![listen], ..standalone("127.0.0.1") })
}

fn connect(authority: &Authority, edge: &Edge) -> TlsStream {
    authority.connect(listener(edge, Transport::Tls), HOST, ALPN)
}

fn say(stream: &mut TlsStream, text: &str) {
    stream.write_all(text.as_bytes()).unwrap();
    stream.flush().unwrap();
}

/// The head of the next answer: its status, and the whole of it.
fn answer(stream: &mut impl Read) -> (u16, String) {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        let mut byte = [0];
        stream.read_exact(&mut byte).unwrap();
        head.extend(byte);
    }
    let head = String::from_utf8(head).unwrap();
    (head.split(' ').nth(1).unwrap().parse().unwrap(), head)
}

/// The status of the next answer, behind which the connection ends.
fn last(stream: &mut TlsStream) -> u16 {
    let (status, head) = answer(stream);
    assert!(head.contains("\r\nConnection: close\r\n"), "{head}");
    assert!(is_closed(stream));
    status
}

#[test]
fn a_page_fetches_twice_on_one_connection_beside_turn_clients() {
    let authority = Authority::new();
    let edge = edge(&authority, None);
    let mut page = connect(&authority, &edge);
    handshake(&mut page);
    assert_eq!(page.conn.alpn_protocol(), Some(&b"http/1.1"[..]));
    for _ in 0..2 {
        say(&mut page, FETCH);
        let (status, head) = answer(&mut page);
        assert!(head.contains("\r\nTiming-Allow-Origin: *\r\n") && !head.contains("close"), "{head}");
        assert_eq!(status, 204);
    }
    say(&mut page, OTHER);
    assert_eq!(answer(&mut page).0, 404);
    for alpn in [&[][..], &["stun.turn"], &["stun.turn", "http/1.1"]] {
        let turn = authority.connect(listener(&edge, Transport::Tls), HOST, alpn);
        Client::over(turn, SECRET).allocate().unwrap();
    }
    let mut old = authority.connect(listener(&edge, Transport::Tls), HOST, &[]);
    say(&mut old, "HEAD /chappe/probe HTTP/1.0\r\n\r\n");
    assert_eq!(last(&mut old), 204);
}

#[test]
fn what_is_not_the_edges_goes_on_to_the_web_server_from_there() {
    let authority = Authority::new();
    let socket = TcpListener::bind("127.0.0.1:0").unwrap();
    let backend = Backend { address: socket.local_addr().unwrap(), proxy_header: false };
    let edge = edge(&authority, Some(Web { plain: Some(backend), sealed: None }));
    let served = thread::spawn(move || {
        let mut stream = socket.accept().unwrap().0;
        let mut all = vec![0; OTHER.len() + FETCH.len()];
        stream.read_exact(&mut all).unwrap();
        stream.write_all(b"HTTP/1.1 200 OK\r\n\r\n").unwrap();
        String::from_utf8(all).unwrap()
    });
    let mut page = connect(&authority, &edge);
    say(&mut page, FETCH);
    assert_eq!(answer(&mut page).0, 204);
    // In pieces, and with the edge's answer still on its way when the connection goes on.
    let (start, rest) = OTHER.split_at(8);
    say(&mut page, &format!("{FETCH}{start}"));
    assert_eq!(answer(&mut page).0, 204);
    say(&mut page, rest);
    say(&mut page, FETCH);
    assert_eq!(answer(&mut page).0, 200);
    // What was passed on once is the web server's from then on.
    assert_eq!(served.join().unwrap(), format!("{OTHER}{FETCH}"));
}

#[test]
fn endless_heads_garbage_and_bodies_end_the_connection() {
    let authority = Authority::new();
    let edge = edge(&authority, None);
    let long = format!("{}X: {}", FETCH.strip_suffix("\r\n").unwrap(), "x".repeat(HTTP_HEAD_MAX));
    let body = FETCH.replace("Origin", "Content-Length: 9\r\nOrigin");
    let preface = "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
    for (text, status) in [
        (long.as_str(), 431),
        (preface, 400),
        ("\u{16}garbage", 400),
        (&body, 204),
        ("GET / HTTP/1.1\r\n\r\n", 400),
    ] {
        let mut page = connect(&authority, &edge);
        say(&mut page, text);
        assert_eq!(last(&mut page), status, "{text}");
    }
    until(&edge, |stats| (stats.streams, stats.half_open) == (0, 0));
}

#[test]
fn a_connection_has_so_many_answers_and_a_source_too() {
    let authority = Authority::new();
    let edge = edge(&authority, None);
    let mut page = connect(&authority, &edge);
    say(&mut page, &FETCH.repeat(2 * HTTP_REQUESTS_MAX as usize));
    for _ in 1..HTTP_REQUESTS_MAX {
        assert_eq!(answer(&mut page).0, 204);
    }
    assert_eq!(last(&mut page), 204);

    let met = |edge: &Edge| edge.stats().unwrap().limits().get("http_requests").copied().unwrap_or(0);
    let mut statuses = Vec::new();
    // Some are given back meanwhile.
    for _ in 0..2 * HTTP_BURST_PER_SOURCE / HTTP_REQUESTS_MAX {
        if met(&edge) > 0 {
            break;
        }
        let mut page = connect(&authority, &edge);
        say(&mut page, &FETCH.repeat(HTTP_REQUESTS_MAX as usize));
        for _ in 0..HTTP_REQUESTS_MAX {
            let (status, head) = answer(&mut page);
            statuses.push(status);
            if head.contains("close") {
                break;
            }
        }
    }
    assert_eq!(statuses.last(), Some(&429), "{}", statuses.len());
    assert!(statuses.len() >= (HTTP_BURST_PER_SOURCE - HTTP_REQUESTS_MAX) as usize);
    Client::over(authority.connect(listener(&edge, Transport::Tls), HOST, &[]), SECRET).allocate().unwrap();
}
