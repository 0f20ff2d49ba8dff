//! TURN over DTLS (RFC 7350), by clients with sockets of their own on loopback.

#![allow(clippy::unwrap_used, reason = "a failure here fails the test")]

mod support;

use std::net::{SocketAddr, UdpSocket};
use std::process::Command;
use std::time::Duration;

use chappe_edge::{Config, Edge, StartError};
use chappe_proto::limits::HANDSHAKES_BURST_PER_SOURCE;
use chappe_proto::turn::Transport;
use support::client::{Client, Data};
use support::dtls::DtlsClient;
use support::tls::Authority;
use support::{PATIENCE, SECRET, listener, peer, recv, standalone, start, until};

fn secure(authority: &Authority, ip: &str) -> Config {
    Config { listeners: vec![authority.listener(Transport::Dtls, ip)], ..standalone(ip) }
}

fn at(edge: &Edge) -> SocketAddr {
    listener(edge, Transport::Dtls)
}

fn client(edge: &Edge) -> Client {
    Client::over_dtls(DtlsClient::connect(at(edge)), SECRET)
}

/// The shortest ClientHello that there is (RFC 6347 section 4.2.1).
fn hello(cookie: &[u8]) -> Vec<u8> {
    let round = u8::from(!cookie.is_empty());
    let mut body = vec![0xfe, 0xfd];
    body.extend([7; 32]);
    body.extend([0, u8::try_from(cookie.len()).unwrap()]);
    body.extend(cookie);
    body.extend([0, 2, 0xcc, 0xa9, 1, 0]);
    let len = u8::try_from(body.len()).unwrap();
    let mut bytes = vec![22, 0xfe, 0xff, 0, 0, 0, 0, 0, 0, 0, round, 0, 12 + len];
    bytes.extend([1, 0, 0, len, 0, round, 0, 0, 0, 0, 0, len]);
    bytes.extend(body);
    bytes
}

#[test]
fn data_goes_through_both_ways_and_in_trains() {
    let authority = Authority::new();
    for ip in ["127.0.0.1", "::1"] {
        let edge = start(secure(&authority, ip));
        let dtls = DtlsClient::connect(at(&edge));
        let local = dtls.socket.local_addr().unwrap();
        let mut client = Client::over_dtls(dtls, SECRET);
        assert_eq!(client.binding(), local);
        let peer = peer(if ip == "::1" { "[::1]" } else { ip });
        let address = peer.local_addr().unwrap();
        let relayed = if ip == "::1" { client.allocate_v6() } else { client.allocate() }.unwrap();
        client.permit(address).unwrap();
        client.send_to(address, b"by indication");
        assert_eq!(recv(&peer), (b"by indication".to_vec(), relayed));
        client.bind(0x4000, address).unwrap();
        for round in 0..30 {
            for n in 0..20u8 {
                client.send_on(0x4000, &vec![n; if n == 19 { 77 } else { 1201 }]);
            }
            for n in 0..20u8 {
                assert_eq!(recv(&peer).0, vec![n; if n == 19 { 77 } else { 1201 }], "{round}");
            }
            for n in 0..20u8 {
                peer.send_to(&[n; 1200], relayed).unwrap();
            }
            for n in 0..20u8 {
                assert_eq!(client.data(), Data::Channel(0x4000, vec![n; 1200]));
            }
        }
        assert_eq!(edge.stats().unwrap().drops(), [].into());
        client.refresh(0).unwrap();
        until(&edge, |stats| stats.allocations == 0);
    }
}

#[test]
fn a_peers_datagram_that_no_record_holds_is_lost_and_nothing_else() {
    let authority = Authority::new();
    let edge = start(secure(&authority, "127.0.0.1"));
    let mut client = client(&edge);
    let peer = peer("127.0.0.1");
    let relayed = client.allocate().unwrap();
    client.bind(0x4000, peer.local_addr().unwrap()).unwrap();
    for len in [16_381, 20_000, 65_507] {
        peer.send_to(&vec![7; len], relayed).unwrap();
    }
    peer.send_to(b"whole", relayed).unwrap();
    assert_eq!(client.data(), Data::Channel(0x4000, b"whole".to_vec()));
    assert_eq!(edge.stats().unwrap().drops(), [("too_long".to_owned(), 3)].into());
    // The edge's own probe has one too for a moment.
    until(&edge, |stats| stats.associations == 1);
}

#[test]
fn clients_are_told_apart_and_reach_each_other() {
    let authority = Authority::new();
    let edge = start(secure(&authority, "127.0.0.1"));
    let (mut left, mut right) = (client(&edge), client(&edge));
    let (to_left, to_right) = (left.allocate().unwrap(), right.allocate().unwrap());
    left.bind(0x4001, to_right).unwrap();
    right.bind(0x4002, to_left).unwrap();
    for n in 0..8u8 {
        left.send_on(0x4001, &[n; 1200]);
    }
    for n in 0..8u8 {
        assert_eq!(right.data(), Data::Channel(0x4002, vec![n; 1200]));
    }
    assert_eq!(edge.stats().unwrap().half_open, 0);
}

#[test]
fn a_goodbye_ends_the_allocation_and_is_answered() {
    let authority = Authority::new();
    let edge = start(secure(&authority, "127.0.0.1"));
    let mut client = client(&edge);
    client.allocate().unwrap();
    client.dtls().close();
    until(&edge, |stats| stats.allocations == 0);
    let mut answer = [0; 512];
    let len = client.dtls().socket.recv(&mut answer).unwrap();
    assert_eq!((answer[0], len), (21, 13 + 2 + 16), "an alert, encrypted");
}

#[test]
fn spoofed_hellos_cost_no_memory_and_their_victims_less_than_was_sent() {
    let authority = Authority::new();
    let edge = start(secure(&authority, "127.0.0.1"));
    let hello = hello(&[]);
    for n in 0..20_000u32 {
        let source = SocketAddr::from((
            [127, 1, u8::try_from(n % 200).unwrap(), u8::try_from(n / 200 % 100).unwrap() + 1],
            0,
        ));
        if n < 2000 {
            let socket = UdpSocket::bind(source).unwrap();
            socket.set_read_timeout(Some(PATIENCE)).unwrap();
            socket.send_to(&hello, at(&edge)).unwrap();
            let mut answer = [0; 512];
            let len = socket.recv(&mut answer).unwrap();
            assert!(len < hello.len(), "{len}");
            // A cookie that another source was given.
            let other = UdpSocket::bind(SocketAddr::from(([127, 2, 0, 1], 0))).unwrap();
            other.send_to(&self::hello(&answer[28..60]), at(&edge)).unwrap();
        } else {
            let socket = UdpSocket::bind("127.3.0.1:0").unwrap();
            socket.send_to(&hello, at(&edge)).unwrap();
        }
    }
    // Those of the edge's own probe come and go.
    until(&edge, |stats| stats.associations == 0);
    let stats = edge.stats().unwrap();
    assert_eq!((stats.sockets.refused_associations, stats.sockets.half_open_displaced), (0, 0));
    client(&edge).binding();
}

/// Each of them costs a signature, and a client that starts over again and again is as dear as many.
#[test]
fn one_source_begins_so_many_handshakes_and_no_more() {
    let edge = start(secure(&Authority::new(), "127.0.0.1"));
    for _ in 0..HANDSHAKES_BURST_PER_SOURCE + 200 {
        let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
        socket.connect(at(&edge)).unwrap();
        socket.set_read_timeout(Some(PATIENCE)).unwrap();
        socket.send(&hello(&[])).unwrap();
        let mut answer = [0; 2048];
        assert_eq!(socket.recv(&mut answer).unwrap(), 60);
        socket.send(&hello(&answer[28..60])).unwrap();
    }
    until(&edge, |stats| stats.limits().get("handshakes").is_some_and(|met| *met > 10));
}

#[test]
fn a_client_that_starts_over_from_the_same_port_replaces_itself() {
    let authority = Authority::new();
    let edge = start(secure(&authority, "127.0.0.1"));
    let mut first = client(&edge);
    first.allocate().unwrap();
    let socket = first.dtls().socket.try_clone().unwrap();
    // A ClientHello without a cookie, which anybody could have sent in its name, changes nothing.
    socket.send(&hello(&[])).unwrap();
    first.refresh(600).unwrap();
    let mut second = Client::over_dtls(DtlsClient::connect_from(socket, at(&edge)), SECRET);
    assert_eq!(second.refresh(600), Err(437), "another association has no allocation");
    second.allocate().unwrap();
    assert_eq!(edge.stats().unwrap().allocations, 1);
}

#[test]
fn garbage_before_during_and_after_a_handshake_changes_nothing() {
    let authority = Authority::new();
    let edge = start(secure(&authority, "127.0.0.1"));
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    let garbage = |socket: &UdpSocket| {
        for len in [0, 1, 12, 13, 14, 25, 60, 1200, 9000] {
            for first in [0, 1, 20, 21, 22, 23, 25, 63, 64, 255] {
                let mut bytes = vec![first; len];
                socket.send_to(&bytes, at(&edge)).unwrap();
                // A record that says a length of its own.
                if len > 13 {
                    bytes[1..13].copy_from_slice(&[
                        0xfe,
                        0xfd,
                        0,
                        0,
                        0,
                        0,
                        0,
                        0,
                        0,
                        9,
                        0,
                        u8::try_from((len - 13) % 256).unwrap(),
                    ]);
                    socket.send_to(&bytes, at(&edge)).unwrap();
                    bytes[4] = 1;
                    socket.send_to(&bytes, at(&edge)).unwrap();
                }
            }
        }
    };
    garbage(&socket);
    let mut begun = DtlsClient::begin(socket.try_clone().unwrap(), at(&edge));
    // Its cookie has come, and it has been echoed.
    begun.turn();
    garbage(&socket);
    begun.finish();
    let mut client = Client::over_dtls(begun, SECRET);
    client.allocate().unwrap();
    garbage(&socket);
    client.refresh(600).unwrap();
    until(&edge, |stats| stats.associations == 1);
}

#[test]
fn who_dawdles_is_closed() {
    let authority = Authority::new();
    let edge = start(secure(&authority, "127.0.0.1"));
    // The handshake, and then nothing.
    let mut mute = DtlsClient::connect(at(&edge));
    // The cookie, and then nothing.
    let silent = UdpSocket::bind("127.0.0.1:0").unwrap();
    silent.connect(at(&edge)).unwrap();
    silent.send(&hello(&[])).unwrap();
    let mut answer = [0; 512];
    assert_eq!(silent.recv(&mut answer).unwrap(), 60);
    silent.send(&hello(&answer[28..60])).unwrap();
    // Not the edge's own probe, which comes and goes.
    until(&edge, |stats| (stats.associations, stats.half_open) == (2, 2));
    mute.wait_closed(Duration::from_secs(15));
    until(&edge, |stats| (stats.associations, stats.half_open) == (0, 0));
}

#[test]
#[allow(clippy::disallowed_methods, reason = "a test's deadline")]
fn a_new_certificate_is_shown_to_who_comes_and_drops_nobody() {
    let authority = Authority::new();
    let edge = start(secure(&authority, "127.0.0.1"));
    let mut stays = client(&edge);
    stays.allocate().unwrap();
    let renewed = authority.renew(&rcgen::PKCS_ECDSA_P384_SHA384);
    let end = std::time::Instant::now() + PATIENCE;
    while DtlsClient::connect(at(&edge)).certificate != renewed.as_ref() {
        assert!(std::time::Instant::now() < end);
        // One source may not begin them as fast as it can.
        std::thread::park_timeout(Duration::from_millis(30));
    }
    stays.refresh(600).unwrap();
    assert_eq!(edge.status().unwrap().health.failed_listeners, []);
}

#[test]
fn a_certificate_that_dtls_cannot_use_is_told_at_the_start() {
    let authority = Authority::new();
    authority.renew(&rcgen::PKCS_ED25519);
    let error = Edge::start(secure(&authority, "127.0.0.1")).unwrap_err();
    assert!(matches!(error, StartError::Certificate { transport: Transport::Dtls, .. }));
    assert!(error.to_string().contains("no ECDSA key"), "{error}");
    let mut config = secure(&authority, "127.0.0.1");
    config.listeners[0].certificate = None;
    assert!(Edge::start(config).unwrap_err().to_string().contains("needs a certificate"));
}

/// OpenSSL's DTLS 1.2, as coturn's clients speak it. That one draws lots between 1.0 and 1.2: here a copy of
/// it does what it can best, since nobody may speak 1.0 any more (RFC 8996).
#[test]
fn turnutils_uclient_loses_nothing() {
    let authority = Authority::new();
    let edge = start(secure(&authority, "127.0.0.1"));
    let directory = tempfile::tempdir().unwrap();
    let program = directory.path().join("uclient");
    let mut bytes = std::fs::read("/usr/bin/turnutils_uclient").unwrap();
    let (lots, best) = (b"DTLSv1_client_method\0", b"DTLS_client_method\0\0\0");
    let at = bytes.windows(lots.len()).position(|bytes| bytes == lots).unwrap();
    bytes[at..at + lots.len()].copy_from_slice(best);
    std::fs::write(&program, bytes).unwrap();
    std::fs::set_permissions(&program, std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
    let echo = UdpSocket::bind("127.0.0.1:0").unwrap();
    let peer = echo.local_addr().unwrap().port().to_string();
    std::thread::spawn(move || {
        let mut buffer = vec![0; 65_536];
        while let Ok((len, from)) = echo.recv_from(&mut buffer) {
            let _ = echo.send_to(&buffer[..len], from);
        }
    });
    let port = self::at(&edge).port().to_string();
    let run = &|mode: &[&str]| {
        let ran = Command::new("timeout")
            .arg("60")
            .arg(&program)
            .args(["-S", "-W", std::str::from_utf8(SECRET).unwrap(), "-u", "someone"])
            .args(["-e", "127.0.0.1", "-r", &peer, "-n", "20", "-m", "2", "-p", &port])
            .args(mode)
            .arg("127.0.0.1")
            .output()
            .unwrap();
        let text =
            [ran.stdout, ran.stderr].map(|bytes| String::from_utf8_lossy(&bytes).into_owned()).concat();
        assert!(ran.status.success() && text.contains("Total lost packets 0 (0.000000%)"), "{text}");
    };
    std::thread::scope(|scope| {
        for mode in [&["-c"][..], &["-c", "-s"], &["-c", "-y"]] {
            scope.spawn(move || run(mode));
        }
    });
    assert!(edge.stats().unwrap().turn.received.packets >= 3 * 40);
}
