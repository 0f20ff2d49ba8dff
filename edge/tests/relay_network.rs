//! What the relay keeps of IP on the way, over real sockets: DSCP and ECN, DF, and ICMP errors.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a failure here fails the test")]

mod support;

use std::net::{IpAddr, SocketAddr, UdpSocket};
use std::os::fd::AsFd;
use std::process::Command;
use std::time::Duration;

use chappe_edge::udp::{Inbox, enable_gro, enable_marks};
use chappe_proto::stun::Message;
use chappe_proto::stun::attributes::{DATA, ICMP, XOR_PEER_ADDRESS};
use chappe_proto::turn::Transport;
use socket2::SockRef;
use support::client::Client;
use support::{SECRET, listener, standalone, start};

const LOOPBACK: [&str; 2] = ["127.0.0.1", "::1"];

fn socket(ip: &str) -> UdpSocket {
    let socket = UdpSocket::bind(SocketAddr::new(ip.parse().unwrap(), 0)).unwrap();
    socket.set_read_timeout(Some(Duration::from_secs(5))).unwrap();
    socket
}

fn allocate(client: &mut Client, ip: &str) -> SocketAddr {
    let v6 = ip.parse::<IpAddr>().unwrap().is_ipv6();
    if v6 { client.allocate_v6().unwrap() } else { client.allocate().unwrap() }
}

/// Marks what a socket sends.
fn mark(socket: &UdpSocket, tos: u8) {
    let v6 = socket.local_addr().unwrap().is_ipv6();
    let socket = SockRef::from(socket);
    if v6 { socket.set_tclass_v6(tos.into()) } else { socket.set_tos_v4(tos.into()) }.unwrap();
}

/// The marks of the next packet, and how many trains or packets were received for `bytes` bytes.
fn marks(socket: &UdpSocket, bytes: usize) -> Vec<u8> {
    let mut inbox = Inbox::new();
    let (mut marks, mut received) = (Vec::new(), 0);
    while received < bytes {
        socket.peek_from(&mut [0]).unwrap();
        let count = inbox.receive(socket.as_fd(), 1).unwrap();
        assert_eq!(count, 1);
        let packet = inbox.packet(0);
        received += packet.len;
        marks.extend(std::iter::repeat_n(packet.tos, packet.len.div_ceil(packet.segment)));
        inbox.clear();
    }
    marks
}

/// The ICMP error that a client is told: the peer, type and code, and the MTU.
fn icmp(client: &mut Client) -> (SocketAddr, u8, u8, u32) {
    let bytes = client.receive();
    let message = Message::parse(&bytes).unwrap();
    assert_eq!(message.get(DATA), None);
    let value = message.get(ICMP).unwrap();
    // RFC 8656 section 18.13: 16 bits reserved, 7 of the type, 9 of the code.
    let both = u16::from_be_bytes([value[2], value[3]]);
    let peer = message.xor_address(XOR_PEER_ADDRESS).unwrap().unwrap();
    let mtu = u32::from_be_bytes(value[4..8].try_into().unwrap());
    (peer, u8::try_from(both >> 9).unwrap(), u8::try_from(both & 0x1ff).unwrap(), mtu)
}

#[test]
fn dscp_and_ecn_stay_as_they_are_both_ways_and_between_two_clients() {
    for ip in LOOPBACK {
        let edge = start(standalone(ip));
        let new = || Client::new(Transport::Udp, listener(&edge, Transport::Udp), SECRET, None);
        let (mut left, mut right, peer) = (new(), new(), socket(ip));
        let to_left = allocate(&mut left, ip);
        left.bind(0x4000, peer.local_addr().unwrap()).unwrap();
        for socket in [&peer, left.udp()] {
            let v6 = ip.contains(':');
            enable_marks(socket.as_fd(), v6).unwrap();
            enable_gro(socket.as_fd()).unwrap();
        }
        // Expedited forwarding, ECT(1); congestion experienced; nothing.
        for tos in [0xb9, 0x03, 0] {
            mark(left.udp(), tos);
            left.send_on(0x4000, &[7; 100]);
            assert_eq!(marks(&peer, 100), [tos]);
            mark(&peer, tos);
            peer.send_to(&[7; 100], to_left).unwrap();
            assert_eq!(marks(left.udp(), 104), [tos]);
        }
        let to_right = allocate(&mut right, ip);
        left.bind(0x4001, to_right).unwrap();
        right.bind(0x4002, to_left).unwrap();
        mark(right.udp(), 0xb8);
        right.send_on(0x4002, &[7; 100]);
        assert_eq!(marks(left.udp(), 104), [0xb8]);
        // Neighbours in one turn, each with its own mark.
        let tos = [0, 0xb8, 0xb8, 0, 0x88, 0x88, 0, 0];
        for tos in tos {
            mark(left.udp(), tos);
            left.send_on(0x4000, &[7; 100]);
        }
        let mut got = marks(&peer, 800);
        got.sort_unstable();
        assert_eq!(got, [0, 0, 0, 0, 0x88, 0x88, 0xb8, 0xb8]);
    }
}

#[test]
fn a_client_is_told_that_its_peers_port_is_closed_and_nothing_else_is_lost() {
    for (ip, kind, code) in [("127.0.0.1", 3, 3), ("::1", 1, 4)] {
        for transport in [Transport::Udp, Transport::Tcp] {
            let edge = start(standalone(ip));
            let mut client = Client::new(transport, listener(&edge, transport), SECRET, None);
            let (open, closed) = (socket(ip), socket(ip).local_addr().unwrap());
            let relayed = allocate(&mut client, ip);
            let address = open.local_addr().unwrap();
            client.permit(closed).unwrap();
            client.send_to(closed, b"anyone?");
            assert_eq!(icmp(&mut client), (closed, kind, code, 0));
            // Errors come between packets of a live peer, both ways.
            client.bind(0x4000, address).unwrap();
            let mut buffer = [0; 16];
            let (mut told, mut heard) = (0, 0);
            for n in 0..60u8 {
                client.send_to(closed, b"anyone?");
                client.send_on(0x4000, &[n]);
                assert_eq!(open.recv(&mut buffer).unwrap(), 1);
                assert_eq!(buffer[0], n);
                open.send_to(&[n], relayed).unwrap();
                while heard <= n {
                    let bytes = client.receive();
                    if bytes[0] == 0x40 {
                        assert_eq!(bytes[4], n);
                        heard += 1;
                    } else {
                        told += 1;
                    }
                }
            }
            let stats = edge.stats().unwrap();
            // Not all are told: a burst and ten a second.
            assert!((20..60).contains(&told), "{told}");
            assert!(stats.limits()["icmp_errors"] > 0);
            assert_eq!(stats.drops().into_keys().collect::<Vec<_>>(), ["rate_limited"]);
            assert_eq!(stats.sockets.receive_errors, 0);
        }
    }
}

/// Where the tests of DF run: a network of their own, whose loopback is as narrow as an Ethernet.
const NARROW: &str = "CHAPPE_TEST_NARROW";

/// Runs a test of this file in such a network; answers false there.
fn in_narrow_network(test: &str) -> bool {
    if std::env::var_os(NARROW).is_some() {
        return false;
    }
    let this = std::env::current_exe().unwrap();
    let script = "ip link set lo mtu 1500 up && exec \"$0\" --exact \"$1\" --nocapture";
    let status = Command::new("unshare")
        .args(["--map-root-user", "--net", "sh", "-c", script])
        .arg(this)
        .arg(test)
        .env(NARROW, "1")
        .status();
    assert!(status.unwrap().success(), "in a network of its own (unshare, ip)");
    true
}

#[test]
fn what_is_too_long_to_go_unfragmented_is_told_with_the_mtu() {
    if in_narrow_network("what_is_too_long_to_go_unfragmented_is_told_with_the_mtu") {
        return;
    }
    for (ip, headers, kind, code) in [("127.0.0.1", 28, 3, 4), ("::1", 48, 2, 0)] {
        let edge = start(standalone(ip));
        let mut client = Client::new(Transport::Udp, listener(&edge, Transport::Udp), SECRET, None);
        let peer = socket(ip);
        let address = peer.local_addr().unwrap();
        allocate(&mut client, ip);
        client.permit(address).unwrap();
        let mut buffer = [0; 4096];
        for (length, df, arrives) in [
            (1500 - headers, true, true),
            (1501 - headers, true, false),
            (3000, true, false),
            // Without DF it is fragmented, also right after one with.
            (3000, false, true),
            (100, true, true),
            (100, false, true),
        ] {
            client.send_unfragmented(address, &vec![7; length], df);
            if arrives {
                assert_eq!(peer.recv(&mut buffer).unwrap(), length);
            } else {
                assert_eq!(icmp(&mut client), (address, kind, code, 1500));
            }
        }
        let stats = edge.stats().unwrap();
        assert_eq!(stats.drops(), [("too_long".to_owned(), 2)].into());
    }
}

#[test]
fn the_df_bit_is_set_where_it_is_asked_for_and_only_there() {
    if in_narrow_network("the_df_bit_is_set_where_it_is_asked_for_and_only_there") {
        return;
    }
    let edge = start(standalone("127.0.0.1"));
    let mut client = Client::new(Transport::Udp, listener(&edge, Transport::Udp), SECRET, None);
    let peer = socket("127.0.0.1");
    let address = peer.local_addr().unwrap();
    allocate(&mut client, "127.0.0.1");
    client.permit(address).unwrap();
    // Sees every UDP packet with its IPv4 header.
    let raw = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::RAW, Some(socket2::Protocol::UDP));
    let raw = UdpSocket::from(raw.unwrap());
    raw.set_read_timeout(Some(Duration::from_secs(5))).unwrap();
    for df in [false, true, true, false] {
        client.send_unfragmented(address, b"with or without", df);
        peer.recv(&mut [0; 64]).unwrap();
        let bit = loop {
            let mut packet = [0; 256];
            let len = raw.recv(&mut packet).unwrap();
            let port = u16::from_be_bytes([packet[22], packet[23]]);
            if len > 28 && port == address.port() {
                break packet[6] & 0x40 != 0;
            }
        };
        assert_eq!(bit, df);
    }
}
