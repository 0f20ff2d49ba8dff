//! Listeners behind a load balancer: the PROXY protocol, version 2.

#![allow(clippy::unwrap_used, reason = "a failure here fails the test")]

mod support;

use std::io::Write;
use std::net::{SocketAddr, TcpStream};

use chappe_edge::{Config, Edge, ListenAt};
use chappe_proto::proxy_protocol::{LOCAL_HEADER, write};
use chappe_proto::turn::Transport;
use support::client::Client;
use support::tls::{Authority, HOST, connect, is_closed};
use support::{PATIENCE, SECRET, listener, standalone, start, until};

/// Where clients say they are.
const CLIENT: &str = "203.0.113.7:4242";

fn behind(authority: &Authority, balancer: &str) -> Edge {
    let tcp = ListenAt::new(Transport::Tcp, "127.0.0.1:0".parse().unwrap());
    let listeners = [tcp, authority.listener(Transport::Tls, "127.0.0.1")];
    let from = vec![balancer.parse().unwrap()];
    let listeners = listeners.map(|listen| ListenAt { proxy_from: from.clone(), ..listen });
    start(Config { listeners: listeners.to_vec(), ..standalone("127.0.0.1") })
}

fn header(client: &str, server: SocketAddr) -> Vec<u8> {
    let mut bytes = Vec::new();
    write(client.parse().unwrap(), server, &mut bytes);
    bytes
}

fn open(edge: &Edge, transport: Transport, header: &[u8]) -> TcpStream {
    let mut stream = connect(listener(edge, transport));
    stream.write_all(header).unwrap();
    stream
}

#[test]
fn a_client_is_known_by_the_address_in_the_header() {
    let authority = Authority::new();
    let edge = behind(&authority, "127.0.0.0/8");
    for client in [CLIENT, "[2001:db8::7]:4242"] {
        let at = listener(&edge, Transport::Tcp);
        let mut over_tcp = Client::over(open(&edge, Transport::Tcp, &header(client, at)), SECRET);
        assert_eq!(over_tcp.binding(), client.parse().unwrap());
        over_tcp.allocate().unwrap();
        let stream = open(&edge, Transport::Tls, &header(client, at));
        let mut over_tls = Client::over(authority.over(stream, HOST, &[]), SECRET);
        assert_eq!(over_tls.binding(), client.parse().unwrap());
        over_tls.allocate().unwrap();
        assert_eq!(edge.stats().unwrap().allocations, 2);
        drop((over_tcp, over_tls));
        until(&edge, |stats| stats.allocations == 0);
    }
}

#[test]
fn a_header_may_come_in_pieces_with_more_behind_its_addresses() {
    let authority = Authority::new();
    let edge = behind(&authority, "127.0.0.1/32");
    let mut bytes = header(CLIENT, listener(&edge, Transport::Tcp));
    bytes[15] += 7;
    bytes.extend([0x04, 0, 4, 0, 0, 0, 0]); // PP2_TYPE_NOOP
    let mut stream = connect(listener(&edge, Transport::Tcp));
    for byte in bytes {
        stream.write_all(&[byte]).unwrap();
    }
    assert_eq!(Client::over(stream, SECRET).binding(), CLIENT.parse().unwrap());
}

#[test]
fn a_connection_of_the_balancers_own_keeps_its_address() {
    let authority = Authority::new();
    let edge = behind(&authority, "127.0.0.1/32");
    let unspecified = [&LOCAL_HEADER[..12], &[0x21, 0, 0, 0]].concat();
    for header in [&LOCAL_HEADER[..], &unspecified] {
        let stream = open(&edge, Transport::Tcp, header);
        let local = stream.local_addr().unwrap();
        assert_eq!(Client::over(stream, SECRET).binding(), local);
    }
}

#[test]
fn without_a_header_that_can_be_believed_a_connection_is_closed() {
    let authority = Authority::new();
    let edge = behind(&authority, "127.0.0.1/32");
    let v1 = b"PROXY TCP4 203.0.113.7 127.0.0.1 4242 3478\r\n";
    let binding = [0, 1, 0, 0, 0x21, 0x12, 0xA4, 0x42, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1];
    let mut long = LOCAL_HEADER;
    long[14] = 0xff;
    for bytes in [&v1[..], &binding, &long, b"\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x01_"] {
        assert!(is_closed(&mut open(&edge, Transport::Tcp, bytes)), "{bytes:?}");
    }
    let mut late = connect(listener(&edge, Transport::Tcp));
    late.set_read_timeout(Some(PATIENCE)).unwrap();
    late.write_all(&LOCAL_HEADER[..3]).unwrap();
    assert!(is_closed(&mut late), "it never comes");
    until(&edge, |stats| stats.streams == 0);

    // This host is no balancer here: it may say that a connection is its own (the edge's probe does), and
    // no more than that.
    let edge = behind(&authority, "192.0.2.0/24");
    let said = header(CLIENT, listener(&edge, Transport::Tcp));
    assert!(is_closed(&mut open(&edge, Transport::Tcp, &said)));
    Client::over(open(&edge, Transport::Tcp, &LOCAL_HEADER), SECRET).binding();
}

#[test]
fn limits_count_clients_and_not_their_balancer() {
    let authority = Authority::new();
    let edge = behind(&authority, "127.0.0.1/32");
    let at = listener(&edge, Transport::Tcp);
    let connect = |n: usize| {
        let client = format!("203.0.113.{}:{}", n % 2, 1000 + n);
        open(&edge, Transport::Tcp, &header(&client, at))
    };
    // 250 of each: below what a source may have half open, above it were they the balancer's.
    let held: Vec<TcpStream> = (0..500).map(connect).collect();
    until(&edge, |stats| stats.half_open == 500);
    assert_eq!(edge.stats().unwrap().sockets.half_open_displaced, 0);
    let more: Vec<TcpStream> = (500..520).map(connect).collect();
    until(&edge, |stats| stats.sockets.half_open_displaced == 8);
    drop((held, more));
    until(&edge, |stats| stats.streams == 0);
}
