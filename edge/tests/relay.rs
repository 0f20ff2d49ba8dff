//! The relay, by clients and peers with sockets of their own on loopback.

#![allow(clippy::unwrap_used, reason = "a failure here fails the test")]

mod support;

use std::io::Read;
use std::net::SocketAddr;

use chappe_edge::{Config, Edge, ListenAt, Source};
use chappe_proto::id::{Index, SessionId};
use chappe_proto::mesh::uplink::{Directive, Down, EdgeChange, EdgeView, Secret, Up};
use chappe_proto::time::Unix;
use chappe_proto::turn::Transport;
use support::client::{Client, Data, channel_data};
use support::node::{Certificates, Server};
use support::{SECRET, listener, loopback, peer, recv, standalone, start, until};

const BOTH: [Transport; 2] = [Transport::Udp, Transport::Tcp];

fn client(edge: &Edge, transport: Transport) -> Client {
    Client::new(transport, listener(edge, transport), SECRET, None)
}

/// RFC 3489: no magic cookie, a transaction id of 16 bytes, MAPPED-ADDRESS in the answer.
#[test]
fn a_classic_binding_request_is_answered_where_that_is_on() {
    let request = [&[0x00, 0x01, 0x00, 0x00][..], b"sixteen bytes id"].concat();
    let edge = start(Config { classic: true, ..standalone("127.0.0.1") });
    let mut client = client(&edge, Transport::Udp);
    client.send(&request);
    let answer = client.receive();
    assert_eq!(answer[..20], [&[0x01, 0x01, 0x00, 0x0C][..], b"sixteen bytes id"].concat());
    let port = client.udp().local_addr().unwrap().port().to_be_bytes();
    assert_eq!(answer[20..], [0x00, 0x01, 0x00, 0x08, 0, 1, port[0], port[1], 127, 0, 0, 1]);
    // Off, it is passed over: the next thing that the client hears is the answer to what came after it.
    let edge = start(standalone("127.0.0.1"));
    let mut client = self::client(&edge, Transport::Udp);
    client.send(&request);
    assert_eq!(client.binding(), client.udp().local_addr().unwrap());
}

#[test]
fn a_binding_request_tells_the_clients_address() {
    for ip in ["127.0.0.1", "[::1]"] {
        let edge = start(standalone(ip.trim_matches(['[', ']'])));
        for transport in BOTH {
            let mut client = client(&edge, transport);
            let local = match transport {
                Transport::Udp | Transport::Dtls => client.udp().local_addr(),
                Transport::Tcp | Transport::Tls => client.tcp().local_addr(),
            };
            assert_eq!(client.binding(), local.unwrap());
        }
    }
}

#[test]
fn an_edge_of_all_addresses_answers_from_the_one_that_was_asked() {
    let mut config = standalone("127.0.0.1");
    config.listeners = vec![ListenAt::new(Transport::Udp, "0.0.0.0:0".parse().unwrap())];
    let edge = start(config);
    let port = listener(&edge, Transport::Udp).port();
    // Its socket is connected: an answer from another address would not be received.
    let mut client = Client::new(Transport::Udp, SocketAddr::from(([127, 0, 0, 9], port)), SECRET, None);
    assert_eq!(client.binding(), client.udp().local_addr().unwrap());
}

#[test]
fn data_goes_through_both_ways_by_channel_and_by_indication() {
    for transport in BOTH {
        let edge = start(standalone("127.0.0.1"));
        let (mut client, peer) = (client(&edge, transport), peer("127.0.0.1"));
        let address = peer.local_addr().unwrap();
        let relayed = client.allocate().unwrap();
        client.permit(address).unwrap();
        // Lengths that need padding, and none at all.
        for payload in [&b"by indication"[..], b"", b"four"] {
            client.send_to(address, payload);
            assert_eq!(recv(&peer), (payload.to_vec(), relayed));
            peer.send_to(payload, relayed).unwrap();
            assert_eq!(client.data(), Data::Indication(address, payload.to_vec()));
        }
        // A number of RFC 5766, whose clients live.
        client.bind(0x7fff, address).unwrap();
        for payload in [&b"by channel"[..], b"", &[7; 1400]] {
            client.send_on(0x7fff, payload);
            assert_eq!(recv(&peer), (payload.to_vec(), relayed));
            peer.send_to(payload, relayed).unwrap();
            assert_eq!(client.data(), Data::Channel(0x7fff, payload.to_vec()));
        }
        let stats = edge.stats().unwrap();
        assert_eq!((stats.allocations, stats.turn.sent.packets, stats.turn.received.packets), (1, 6, 6));
        client.refresh(0).unwrap();
        until(&edge, |stats| stats.allocations == 0);
    }
}

#[test]
fn an_ipv6_client_and_peer() {
    let edge = start(standalone("::1"));
    let (mut client, peer) = (client(&edge, Transport::Udp), peer("[::1]"));
    let address = peer.local_addr().unwrap();
    let relayed = client.allocate_v6().unwrap();
    client.bind(0x4000, address).unwrap();
    client.send_on(0x4000, b"six");
    assert_eq!(recv(&peer), (b"six".to_vec(), relayed));
    peer.send_to(b"back", relayed).unwrap();
    assert_eq!(client.data(), Data::Channel(0x4000, b"back".to_vec()));
}

#[test]
fn a_train_of_packets_arrives_whole_and_in_order() {
    for transport in BOTH {
        let edge = start(standalone("127.0.0.1"));
        let (mut client, peer) = (client(&edge, transport), peer("127.0.0.1"));
        let address = peer.local_addr().unwrap();
        let relayed = client.allocate().unwrap();
        client.bind(0x4000, address).unwrap();
        for _ in 0..50 {
            for n in 0..8u8 {
                client.send_on(0x4000, &[n; 1200]);
            }
            for n in 0..8u8 {
                assert_eq!(recv(&peer).0, [n; 1200]);
            }
            for n in 0..8u8 {
                peer.send_to(&vec![n; if n == 7 { 500 } else { 1200 }], relayed).unwrap();
            }
            for n in 0..8u8 {
                let expected = vec![n; if n == 7 { 500 } else { 1200 }];
                assert_eq!(client.data(), Data::Channel(0x4000, expected));
            }
        }
        assert_eq!(edge.stats().unwrap().drops(), [].into());
    }
}

#[test]
fn a_stream_may_carry_messages_in_any_pieces() {
    let edge = start(standalone("127.0.0.1"));
    let (mut client, peer) = (client(&edge, Transport::Tcp), peer("127.0.0.1"));
    client.allocate().unwrap();
    client.bind(0x4000, peer.local_addr().unwrap()).unwrap();
    let mut bytes = Vec::new();
    for n in 0..20u8 {
        bytes.extend(channel_data(0x4000, &[n; 101]));
        bytes.resize(bytes.len().next_multiple_of(4), 0);
    }
    for piece in bytes.chunks(7) {
        client.send(piece);
    }
    for n in 0..20u8 {
        assert_eq!(recv(&peer).0, [n; 101]);
    }
}

#[test]
fn a_stream_of_something_else_is_closed() {
    let edge = start(standalone("127.0.0.1"));
    let mut client = client(&edge, Transport::Tcp);
    client.send(b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03");
    assert_eq!(client.tcp().read(&mut [0; 10]).unwrap(), 0);
    until(&edge, |stats| stats.streams == 0);
}

#[test]
fn a_closed_stream_ends_its_allocation() {
    let edge = start(standalone("127.0.0.1"));
    let mut client = client(&edge, Transport::Tcp);
    client.allocate().unwrap();
    assert_eq!(edge.stats().unwrap().allocations, 1);
    drop(client);
    until(&edge, |stats| (stats.allocations, stats.streams) == (0, 0));
}

#[test]
fn a_client_that_reads_nothing_loses_old_media_and_holds_nobody_up() {
    let edge = start(standalone("127.0.0.1"));
    let (mut slow, mut quick) = (client(&edge, Transport::Tcp), client(&edge, Transport::Udp));
    let peer = peer("127.0.0.1");
    let address = peer.local_addr().unwrap();
    let to_slow = slow.allocate().unwrap();
    slow.bind(0x4000, address).unwrap();
    let to_quick = quick.allocate().unwrap();
    quick.bind(0x4000, address).unwrap();
    // More than the kernel's buffers of both ends hold.
    let newest = 40_000u32;
    let send = |n: u32| peer.send_to(&[&n.to_be_bytes()[..], &[0; 1196]].concat(), to_slow).unwrap();
    let mut answers_quickly = || {
        peer.send_to(b"quick", to_quick).unwrap();
        assert_eq!(quick.data(), Data::Channel(0x4000, b"quick".to_vec()));
    };
    for n in 0..newest {
        send(n);
        if n % 100 == 0 {
            answers_quickly();
        }
    }
    // The relayed socket's own queue may have been full; each turn of the loop takes a part of it, so that
    // there is room for the newest.
    (0..20).for_each(|_| answers_quickly());
    send(newest);
    until(&edge, |stats| stats.sockets.stream_full > 0);
    let stats = edge.stats().unwrap();
    assert_eq!(stats.limits()["stream_buffer"], stats.sockets.stream_full);
    // What it gets then is whole messages, each newer than the one before, the newest last.
    let mut last = None;
    loop {
        let Data::Channel(0x4000, bytes) = slow.data() else { panic!("no channel data") };
        assert_eq!(bytes.len(), 1200);
        let n = u32::from_be_bytes(bytes[..4].try_into().unwrap());
        assert!(last < Some(n));
        last = Some(n);
        if n == newest {
            return;
        }
    }
}

#[test]
fn two_clients_of_one_edge_reach_each_other() {
    // At the second address no interface is: what goes there must be handed over inside.
    for advertised in ["127.0.0.1", "192.0.2.1"] {
        for (left, right) in [(Transport::Udp, Transport::Udp), (Transport::Udp, Transport::Tcp)] {
            let mut config = standalone("127.0.0.1");
            config.relays[0].advertised = advertised.parse().unwrap();
            let edge = start(config);
            let (mut left, mut right) = (client(&edge, left), client(&edge, right));
            let (to_left, to_right) = (left.allocate().unwrap(), right.allocate().unwrap());
            assert_eq!(to_left.ip(), advertised.parse::<std::net::IpAddr>().unwrap());
            left.bind(0x4001, to_right).unwrap();
            right.bind(0x4002, to_left).unwrap();
            for n in 0..8u8 {
                left.send_on(0x4001, &[n; 1200]);
            }
            for n in 0..8u8 {
                assert_eq!(right.data(), Data::Channel(0x4002, vec![n; 1200]));
            }
            right.send_on(0x4002, b"odd");
            assert_eq!(left.data(), Data::Channel(0x4001, b"odd".to_vec()));
        }
    }
}

/// An edge on a node's leash, with its secret.
async fn leashed(certificates: &Certificates, node: &Server) -> (Edge, support::node::Link) {
    let uplink = certificates.uplink(&[node.address()]);
    let edge = start(Config { source: Source::Uplink(uplink), ..standalone("127.0.0.1") });
    let (mut link, _) = node.accept().await;
    link.greet().await;
    let view = EdgeView {
        index: Index(1),
        secrets: [(1, Secret(SECRET.to_vec()))].into(),
        peers: loopback(),
        ..EdgeView::default()
    };
    link.write(&Down::Snapshot(view)).await;
    assert_eq!(link.read().await, Up::Applied { index: Index(1) });
    (edge, link)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_revocation_closes_the_sessions_allocations_and_its_streams() {
    let certificates = Certificates::new();
    let node = Server::bind(&certificates, "127.0.0.1:0".parse().unwrap());
    let (edge, mut link) = leashed(&certificates, &node).await;
    let (one, two) = (SessionId::from_random([1; 15]), SessionId::from_random([2; 15]));
    let at = |transport| listener(&edge, transport);
    let mut kicked = Client::new(Transport::Tcp, at(Transport::Tcp), SECRET, Some(one));
    let mut left = Client::new(Transport::Udp, at(Transport::Udp), SECRET, Some(two));
    let mut stays = Client::new(Transport::Udp, at(Transport::Udp), SECRET, None);
    for client in [&mut kicked, &mut left, &mut stays] {
        client.allocate().unwrap();
    }
    let until = Unix::from_secs(2_000_000_000);
    let changes = vec![EdgeChange::Revoked { session: one, until }];
    link.write(&Down::Delta { index: Index(2), changes }).await;
    assert_eq!(link.read().await, Up::Applied { index: Index(2) });
    assert_eq!(kicked.tcp().read(&mut [0; 10]).unwrap(), 0, "its stream is closed");
    link.write(&Down::Directive { seq: 1, body: Directive::End { session: two } }).await;
    assert_eq!(link.read().await, Up::Done { seq: 1 });
    assert_eq!(left.refresh(600), Err(437));
    assert_eq!(stays.refresh(600), Ok(()));
    assert_eq!(edge.stats().unwrap().allocations, 1);
    assert!(Client::new(Transport::Udp, at(Transport::Udp), SECRET, Some(one)).allocate().is_err());
    let health = loop {
        let health = link.health().await;
        if health.allocations == 1 {
            break health;
        }
    };
    assert_eq!(health.failed_listeners, []);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_edge_that_is_cut_off_goes_on_relaying() {
    let certificates = Certificates::new();
    let node = Server::bind(&certificates, "127.0.0.1:0".parse().unwrap());
    let (edge, link) = leashed(&certificates, &node).await;
    let (mut client, peer) = (client(&edge, Transport::Udp), peer("127.0.0.1"));
    client.allocate().unwrap();
    node.close().await;
    drop(link);
    client.bind(0x4000, peer.local_addr().unwrap()).unwrap();
    client.send_on(0x4000, b"still here");
    assert_eq!(recv(&peer).0, b"still here");
    let mut newcomer = self::client(&edge, Transport::Udp);
    newcomer.allocate().unwrap();
}
