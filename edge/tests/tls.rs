//! TURN over TLS (RFC 8656 section 2.1, `turns:`), by clients with sockets of their own on loopback.

#![allow(clippy::unwrap_used, reason = "a failure here fails the test")]

mod support;

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};

use chappe_edge::{Config, Edge};
use chappe_proto::limits::HANDSHAKES_BURST_PER_SOURCE;
use chappe_proto::turn::Transport;
use support::client::{Client, Data, channel_data};
use support::tls::{Authority, HOST, connect, handshake, is_closed};
use support::{PATIENCE, SECRET, listener, peer, recv, standalone, start, until};

fn secure(authority: &Authority, ip: &str) -> Config {
    Config { listeners: vec![authority.listener(Transport::Tls, ip)], ..standalone(ip) }
}

fn at(edge: &Edge) -> SocketAddr {
    listener(edge, Transport::Tls)
}

fn client(authority: &Authority, edge: &Edge) -> Client {
    Client::over(authority.connect(at(edge), HOST, &[]), SECRET)
}

#[test]
fn browsers_name_no_protocol_and_others_name_stun_turn() {
    let authority = Authority::new();
    for ip in ["127.0.0.1", "::1"] {
        let edge = start(secure(&authority, ip));
        for alpn in [&[][..], &["stun.turn"], &["stun.nat-discovery"]] {
            let mut stream = authority.connect(at(&edge), HOST, alpn);
            handshake(&mut stream);
            assert_eq!(stream.conn.alpn_protocol(), alpn.first().map(|name| name.as_bytes()));
            let local = stream.sock.local_addr().unwrap();
            assert_eq!(Client::over(stream, SECRET).binding(), local);
        }
    }
}

#[test]
fn data_goes_through_both_ways_and_in_trains() {
    let authority = Authority::new();
    let edge = start(secure(&authority, "127.0.0.1"));
    let (mut client, peer) = (client(&authority, &edge), peer("127.0.0.1"));
    let address = peer.local_addr().unwrap();
    let relayed = client.allocate().unwrap();
    client.permit(address).unwrap();
    client.send_to(address, b"by indication");
    assert_eq!(recv(&peer), (b"by indication".to_vec(), relayed));
    client.bind(0x4000, address).unwrap();
    for _ in 0..30 {
        // More than a record holds, in one write.
        let mut train = Vec::new();
        for n in 0..20u8 {
            train.extend(channel_data(0x4000, &[n; 1201]));
            train.resize(train.len().next_multiple_of(4), 0);
        }
        client.send(&train);
        for n in 0..20u8 {
            assert_eq!(recv(&peer).0, [n; 1201]);
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
    drop(client);
    until(&edge, |stats| (stats.allocations, stats.streams) == (0, 0));
}

#[test]
fn the_longest_messages_come_through_in_any_pieces() {
    let authority = Authority::new();
    let edge = start(secure(&authority, "127.0.0.1"));
    let (mut client, peer) = (client(&authority, &edge), peer("127.0.0.1"));
    client.allocate().unwrap();
    client.bind(0x4000, peer.local_addr().unwrap()).unwrap();
    let longest = vec![7; 65_000];
    client.send(&[channel_data(0x4000, &longest), channel_data(0x4000, &longest)].concat());
    assert_eq!(recv(&peer).0, longest);
    assert_eq!(recv(&peer).0, longest);
    let bytes = channel_data(0x4000, &[1; 100]);
    for piece in bytes.chunks(3) {
        client.send(piece);
    }
    assert_eq!(recv(&peer).0, [1; 100]);
}

#[test]
fn a_client_that_reads_nothing_loses_old_media_and_holds_nobody_up() {
    let authority = Authority::new();
    let edge = start(secure(&authority, "127.0.0.1"));
    let (mut slow, mut quick) = (client(&authority, &edge), client(&authority, &edge));
    let peer = peer("127.0.0.1");
    let address = peer.local_addr().unwrap();
    let to_slow = slow.allocate().unwrap();
    slow.bind(0x4000, address).unwrap();
    let to_quick = quick.allocate().unwrap();
    quick.bind(0x4000, address).unwrap();
    for n in 0..20_000u32 {
        peer.send_to(&[&n.to_be_bytes()[..], &[0; 1196]].concat(), to_slow).unwrap();
        // Each of the last goes alone, so that no socket's queue overflows and the newest arrives.
        if n % 100 == 0 || n >= 19_980 {
            peer.send_to(b"quick", to_quick).unwrap();
            assert_eq!(quick.data(), Data::Channel(0x4000, b"quick".to_vec()));
        }
    }
    until(&edge, |stats| stats.sockets.stream_full > 0);
    let mut last = None;
    while last != Some(19_999) {
        let Data::Channel(0x4000, bytes) = slow.data() else { panic!("no channel data") };
        let n = u32::from_be_bytes(bytes[..4].try_into().unwrap());
        assert!(last < Some(n) && bytes.len() == 1200);
        last = Some(n);
    }
}

#[test]
#[allow(clippy::disallowed_methods, reason = "a test's deadline")]
fn a_new_certificate_is_shown_to_who_comes_and_drops_nobody() {
    let authority = Authority::new();
    let edge = start(secure(&authority, "127.0.0.1"));
    let mut stays = client(&authority, &edge);
    stays.allocate().unwrap();
    let renewed = authority.renew(&rcgen::PKCS_ECDSA_P384_SHA384);
    let end = std::time::Instant::now() + PATIENCE;
    while handshake(&mut authority.connect(at(&edge), HOST, &[])) != renewed {
        assert!(std::time::Instant::now() < end);
        // One source may not begin them as fast as it can.
        std::thread::park_timeout(std::time::Duration::from_millis(30));
    }
    stays.refresh(600).unwrap();
}

#[test]
fn one_source_begins_so_many_handshakes_and_no_more() {
    let authority = Authority::new();
    let edge = start(secure(&authority, "127.0.0.1"));
    for _ in 0..HANDSHAKES_BURST_PER_SOURCE + 200 {
        // The first byte of a record.
        connect(at(&edge)).write_all(&[22]).unwrap();
    }
    until(&edge, |stats| stats.limits().get("handshakes").is_some_and(|met| *met > 50));
    until(&edge, |stats| stats.streams == 0);
}

#[test]
fn what_is_no_tls_is_told_so_and_closed() {
    let authority = Authority::new();
    let edge = start(secure(&authority, "127.0.0.1"));
    for garbage in [&b"GET / HTTP/1.1\r\n\r\n"[..], &[0x16, 3, 1, 0, 4, 1, 2, 3, 4], &[0; 100]] {
        let mut stream = connect(at(&edge));
        stream.write_all(garbage).unwrap();
        let mut answer = Vec::new();
        let _ = stream.read_to_end(&mut answer);
        assert!(answer.is_empty() || answer[0] == 21, "an alert, if anything: {answer:?}");
    }
    // Within a connection that stands.
    let mut stream = authority.connect(at(&edge), HOST, &[]);
    handshake(&mut stream);
    stream.sock.write_all(&[23, 3, 3, 0, 4, 1, 2, 3, 4]).unwrap();
    let mut rest = Vec::new();
    let _ = stream.sock.read_to_end(&mut rest);
    // And something else than STUN inside of TLS.
    let mut stream = authority.connect(at(&edge), HOST, &[]);
    stream.write_all(b"\x80 what no message begins with").unwrap();
    assert!(is_closed(&mut stream));
    until(&edge, |stats| (stats.streams, stats.half_open) == (0, 0));
}

#[test]
fn who_dawdles_is_closed() {
    let authority = Authority::new();
    let edge = start(secure(&authority, "127.0.0.1"));
    let mut silent = connect(at(&edge));
    let mut slow = connect(at(&edge));
    let mut mute = authority.connect(at(&edge), HOST, &[]);
    handshake(&mut mute);
    let [mut head, mut idle] = [(); 2].map(|()| authority.connect(at(&edge), HOST, &["http/1.1"]));
    head.write_all(b"GET /chappe/probe HTTP/1.1\r\nHost: ").unwrap();
    idle.write_all(b"GET /chappe/probe HTTP/1.1\r\nHost: x\r\n\r\n").unwrap();
    for stream in [&silent, &slow, &mute.sock, &head.sock, &idle.sock] {
        stream.set_read_timeout(Some(PATIENCE * 2)).unwrap();
    }
    slow.write_all(&[0x16]).unwrap();
    assert!(is_closed(&mut silent) && is_closed(&mut slow) && is_closed(&mut mute));
    assert!(is_closed(&mut head) && is_closed(&mut idle), "answered or not");
    until(&edge, |stats| stats.streams == 0);
}

#[test]
fn half_open_connections_displace_their_own_oldest_and_no_client() {
    let authority = Authority::new();
    let edge = start(secure(&authority, "127.0.0.1"));
    let mut stays = client(&authority, &edge);
    stays.allocate().unwrap();
    let mut held: Vec<TcpStream> = (0..300).map(|_| connect(at(&edge))).collect();
    until(&edge, |stats| stats.sockets.half_open_displaced >= 44 && stats.half_open <= 256);
    assert!(is_closed(&mut held[0]), "the oldest");
    client(&authority, &edge).binding();
    stays.refresh(600).unwrap();
    drop(held);
    until(&edge, |stats| stats.half_open == 0);
}

#[test]
#[allow(clippy::disallowed_methods, reason = "a test's deadline")]
fn a_certificate_that_browsers_refuse_has_its_listener_fail_unless_the_operator_vouches() {
    let authority = Authority::new();
    for trusted in [false, true] {
        let mut config = secure(&authority, "127.0.0.1");
        config.listeners[0].trusted = trusted;
        let edge = start(config);
        // The probe has come by when the listener has answered it or failed.
        let end = std::time::Instant::now() + PATIENCE;
        loop {
            let status = edge.status().unwrap();
            let (failed, faults) = (status.health.failed_listeners, status.health.faults);
            if failed.is_empty() || !faults.is_empty() {
                assert_eq!((failed.is_empty(), faults.is_empty()), (trusted, trusted));
                break;
            }
            assert!(std::time::Instant::now() < end);
            std::thread::yield_now();
        }
    }
}
