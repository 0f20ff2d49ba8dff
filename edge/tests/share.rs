//! A port shared by TURN over TLS and HTTPS.

#![allow(clippy::unwrap_used, reason = "a failure here fails the test")]

mod support;

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::thread::{self, JoinHandle};

use chappe_edge::{Backend, Config, Edge, ListenAt, Sealed, Web};
use chappe_proto::proxy_protocol;
use chappe_proto::turn::Transport;
use support::client::Client;
use support::tls::{Authority, HOST, TlsStream, connect, handshake, is_closed};
use support::{SECRET, listener, standalone, start, until};

const REQUEST: &[u8] = b"GET / HTTP/1.1\r\n\r\n";

/// A web server that takes one connection and does `serve`.
fn server(serve: impl FnOnce(TcpStream) + Send + 'static) -> (SocketAddr, JoinHandle<()>) {
    let socket = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = socket.local_addr().unwrap();
    (address, thread::spawn(move || serve(socket.accept().unwrap().0)))
}

/// Sends back what it gets, until the other side ends.
fn echo(mut stream: TcpStream) {
    let mut buffer = vec![0; 65_536];
    loop {
        match stream.read(&mut buffer) {
            Ok(count) if count > 0 => stream.write_all(&buffer[..count]).unwrap(),
            _ => return,
        }
    }
}

fn shared(authority: &Authority, web: Web) -> Edge {
    let listen = ListenAt { web: Some(web), ..authority.listener(Transport::Tls, "127.0.0.1") };
    start(Config { listeners: vec![listen], ..standalone("127.0.0.1") })
}

fn plain(address: SocketAddr, proxy_header: bool) -> Web {
    Web { plain: Some(Backend { address, proxy_header }), sealed: None }
}

fn at(edge: &Edge) -> SocketAddr {
    listener(edge, Transport::Tls)
}

/// The next bytes.
fn read(stream: &mut impl Read, count: usize) -> Vec<u8> {
    let mut bytes = vec![0; count];
    stream.read_exact(&mut bytes).unwrap();
    bytes
}

fn say(stream: &mut TlsStream, bytes: &[u8]) {
    stream.write_all(bytes).unwrap();
    stream.flush().unwrap();
}

#[test]
fn browsers_get_the_web_server_and_turn_clients_the_relay() {
    let authority = Authority::new();
    // As a browser's https, as another client's, and as an old client's.
    for (alpn, agreed) in
        [(&["h2", "http/1.1"][..], Some(&b"http/1.1"[..])), (&["http/1.1"], Some(b"http/1.1")), (&[], None)]
    {
        let (address, served) = server(echo);
        let edge = shared(&authority, plain(address, false));
        let mut web = authority.connect(at(&edge), HOST, alpn);
        handshake(&mut web);
        assert_eq!(web.conn.alpn_protocol(), agreed);
        say(&mut web, REQUEST);
        assert_eq!(read(&mut web, REQUEST.len()), REQUEST);
        until(&edge, |stats| (stats.web, stats.streams) == (1, 0));
        // As a browser's turns:, and as RFC 7443 has it.
        for alpn in [&[][..], &["stun.turn"]] {
            let mut turn = Client::over(authority.connect(at(&edge), HOST, alpn), SECRET);
            turn.allocate().unwrap();
        }
        say(&mut web, b"and on");
        assert_eq!(read(&mut web, 6), b"and on");
        web.conn.send_close_notify();
        web.flush().unwrap();
        let mut rest = Vec::new();
        web.read_to_end(&mut rest).unwrap();
        served.join().unwrap();
        until(&edge, |stats| stats.web == 0);
    }
}

#[test]
fn the_web_server_is_told_whose_connection_it_is() {
    let authority = Authority::new();
    let (address, served) = server(|mut stream| {
        let header = read(&mut stream, 28);
        let addresses = proxy_protocol::read(&header).unwrap().unwrap().addresses.unwrap();
        stream.write_all(format!("{:21}", addresses.source).as_bytes()).unwrap();
        echo(stream);
    });
    let edge = shared(&authority, plain(address, true));
    let mut web = authority.connect(at(&edge), HOST, &["http/1.1"]);
    say(&mut web, REQUEST);
    let told = String::from_utf8(read(&mut web, 21)).unwrap();
    assert_eq!(told.trim(), web.sock.local_addr().unwrap().to_string());
    assert_eq!(read(&mut web, REQUEST.len()), REQUEST);
    drop(web);
    served.join().unwrap();
}

#[test]
fn names_of_the_https_server_reach_it_still_encrypted() {
    let authority = Authority::new();
    let (address, served) = server(|mut stream| {
        let header = read(&mut stream, 28);
        assert!(proxy_protocol::read(&header).unwrap().unwrap().addresses.is_some());
        // A ClientHello, as the client sent it.
        let mut record = read(&mut stream, 5);
        assert_eq!(record[0], 22);
        let len = usize::from(u16::from_be_bytes([record[3], record[4]]));
        record.extend(read(&mut stream, len));
        assert!(record.windows(12).any(|bytes| bytes == b"web.test.tld"));
        stream.write_all(b"sealed").unwrap();
    });
    let backend = Backend { address, proxy_header: true };
    let sealed = Sealed { backend, names: vec!["Web.Test.tld".to_owned()] };
    let edge = shared(&authority, Web { plain: None, sealed: Some(sealed) });
    let mut web = authority.connect(at(&edge), "web.test.tld", &["h2"]);
    web.conn.write_tls(&mut web.sock).unwrap();
    assert_eq!(read(&mut web.sock, 6), b"sealed");
    served.join().unwrap();
    drop(web);
    Client::over(authority.connect(at(&edge), HOST, &[]), SECRET).binding();
    until(&edge, |stats| stats.web == 0);
}

#[test]
fn a_client_hello_may_come_in_pieces() {
    let authority = Authority::new();
    let (address, served) = server(echo);
    let sealed =
        Sealed { backend: Backend { address, proxy_header: false }, names: vec!["web.test".to_owned()] };
    let edge = shared(&authority, Web { plain: None, sealed: Some(sealed) });
    let mut web = authority.connect(at(&edge), "web.test", &[]);
    let mut hello = Vec::new();
    web.conn.write_tls(&mut hello).unwrap();
    for piece in hello.chunks(hello.len().div_ceil(10)) {
        web.sock.write_all(piece).unwrap();
    }
    assert_eq!(read(&mut web.sock, hello.len()), hello);
    drop(web);
    served.join().unwrap();
}

#[test]
fn a_side_that_stops_reading_stops_the_other_and_nothing_is_lost() {
    const MEGABYTES: u8 = 24;
    let authority = Authority::new();
    let (address, served) = server(|mut stream| {
        read(&mut stream, REQUEST.len());
        for n in 0..MEGABYTES {
            stream.write_all(&vec![n; 1 << 20]).unwrap();
        }
        // And the other way.
        for n in 0..MEGABYTES {
            assert!(read(&mut stream, 1 << 20).iter().all(|byte| *byte == n));
        }
        stream.write_all(b"done").unwrap();
    });
    let edge = shared(&authority, plain(address, false));
    let mut web = authority.connect(at(&edge), HOST, &["http/1.1"]);
    say(&mut web, REQUEST);
    // Nobody reads the answer; others are served meanwhile.
    until(&edge, |stats| stats.web == 1);
    let mut turn = Client::over(authority.connect(at(&edge), HOST, &[]), SECRET);
    turn.allocate().unwrap();
    for _ in 0..100 {
        turn.refresh(600).unwrap();
    }
    for n in 0..MEGABYTES {
        assert!(read(&mut web, 1 << 20).iter().all(|byte| *byte == n), "{n}");
    }
    for n in 0..MEGABYTES {
        say(&mut web, &vec![n; 1 << 20]);
    }
    assert_eq!(read(&mut web, 4), b"done");
    served.join().unwrap();
}

#[test]
fn an_end_is_passed_on_and_the_rest_of_the_answer_comes() {
    let authority = Authority::new();
    let (address, served) = server(|mut stream| {
        let mut all = Vec::new();
        stream.read_to_end(&mut all).unwrap();
        assert_eq!(all, REQUEST);
        stream.write_all(&vec![1; 3 << 20]).unwrap();
    });
    let edge = shared(&authority, plain(address, false));
    let mut web = authority.connect(at(&edge), HOST, &["http/1.1"]);
    say(&mut web, REQUEST);
    web.conn.send_close_notify();
    web.flush().unwrap();
    let mut all = Vec::new();
    web.read_to_end(&mut all).unwrap();
    assert_eq!(all.len(), 3 << 20);
    served.join().unwrap();
    until(&edge, |stats| stats.web == 0);
}

#[test]
fn without_its_server_a_web_connection_is_closed_and_turn_goes_on() {
    let authority = Authority::new();
    let nobody = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let edge = shared(&authority, plain(nobody, false));
    for _ in 0..3 {
        let mut web = authority.connect(at(&edge), HOST, &["http/1.1"]);
        say(&mut web, REQUEST);
        assert!(is_closed(&mut web));
    }
    Client::over(authority.connect(at(&edge), HOST, &[]), SECRET).allocate().unwrap();
    until(&edge, |stats| stats.web == 0);
}

#[test]
fn a_web_server_that_is_killed_ends_its_connections() {
    let authority = Authority::new();
    let (address, served) = server(|mut stream| drop(read(&mut stream, 3)));
    let edge = shared(&authority, plain(address, false));
    let mut web = authority.connect(at(&edge), HOST, &["http/1.1"]);
    // What it leaves unread makes the end a reset.
    say(&mut web, REQUEST);
    assert!(is_closed(&mut web));
    served.join().unwrap();
    until(&edge, |stats| stats.web == 0);
}

#[test]
fn silent_connections_to_a_shared_port_are_closed_as_others_are() {
    let authority = Authority::new();
    let (address, served) = server(echo);
    let edge = shared(&authority, plain(address, false));
    let held: Vec<TcpStream> = (0..300).map(|_| connect(at(&edge))).collect();
    until(&edge, |stats| stats.sockets.half_open_displaced >= 44);
    let mut web = authority.connect(at(&edge), HOST, &["http/1.1"]);
    say(&mut web, REQUEST);
    assert_eq!(read(&mut web, REQUEST.len()), REQUEST);
    drop((held, web));
    served.join().unwrap();
    until(&edge, |stats| (stats.web, stats.streams) == (0, 0));
}
