use std::net::{IpAddr, UdpSocket};
use std::ops::Range;
use std::os::fd::AsFd;
use std::time::Duration;

use super::*;

fn socket(address: &str) -> UdpSocket {
    let socket = UdpSocket::bind(address).unwrap();
    socket.set_read_timeout(Some(Duration::from_secs(5))).unwrap();
    socket
}

/// Receives until `packets` packets, trains counted by their segments, have come; as `(slot, range)`.
fn receive(inbox: &mut Inbox, socket: &UdpSocket, packets: usize) -> Vec<(usize, Range<usize>)> {
    let mut all = Vec::new();
    while all.len() < packets {
        wait(socket);
        let first = SLOTS - inbox.free();
        let count = inbox.receive(socket.as_fd(), SLOTS).unwrap();
        for slot in first..first + count {
            let packet = inbox.packet(slot);
            let mut start = 0;
            while start < packet.len {
                let end = (start + packet.segment).min(packet.len);
                all.push((slot, start..end));
                start = end;
            }
        }
    }
    all
}

/// Waits until something can be read.
fn wait(socket: &UdpSocket) {
    socket.peek_from(&mut [0]).unwrap();
}

fn target(to: &UdpSocket) -> Target {
    Target::new(7, to.local_addr().unwrap(), None)
}

#[test]
fn a_train_is_received_as_one_forwarded_as_one_and_arrives_whole() {
    for ip in ["127.0.0.1:0", "[::1]:0"] {
        let (sender, relay, receiver) = (socket(ip), socket(ip), socket(ip));
        enable_gro(relay.as_fd()).unwrap();
        enable_gro(receiver.as_fd()).unwrap();
        let mut inbox = Inbox::new();
        let mut outbox = Outbox::new();
        let mut refusals = Refusals::default();
        let packets: Vec<Vec<u8>> = (0..8u8).map(|n| vec![n; if n == 7 { 500 } else { 1000 }]).collect();
        for packet in &packets {
            assert!(outbox.push_copy(target(&relay), packet));
        }
        assert_eq!(outbox.shape().0, 1);
        outbox.flush(&inbox, |_| Some(sender.as_fd()), &mut refusals);

        let segments = receive(&mut inbox, &relay, 8);
        assert!(segments.iter().all(|(slot, _)| *slot == 0), "one buffer holds the train");
        assert_eq!(inbox.packet(0).from, sender.local_addr().unwrap());
        for (slot, range) in &segments {
            let body = range.start + 4..range.end;
            let part = Part { head: b"head", body, pad: 0 };
            assert!(outbox.push(&mut inbox, target(&receiver), *slot, range, &part));
        }
        assert_eq!(outbox.shape(), (1, 1), "heads written in place");
        outbox.flush(&inbox, |_| Some(relay.as_fd()), &mut refusals);
        inbox.clear();

        let segments = receive(&mut inbox, &receiver, 8);
        for ((slot, range), sent) in segments.iter().zip(&packets) {
            let got = &inbox.bytes(*slot, range.end)[range.clone()];
            assert_eq!((&got[..4], &got[4..]), (&b"head"[..], &sent[4..]));
        }
        assert_eq!(refusals, Refusals::default());
    }
}

#[test]
fn a_longer_head_than_what_it_replaces_goes_beside_the_packet() {
    let (sender, relay, receiver) = (socket("127.0.0.1:0"), socket("127.0.0.1:0"), socket("127.0.0.1:0"));
    enable_gro(relay.as_fd()).unwrap();
    let (mut inbox, mut outbox) = (Inbox::new(), Outbox::new());
    let mut refusals = Refusals::default();
    for n in 0..3u8 {
        outbox.push_copy(target(&relay), &[n; 100]);
    }
    outbox.flush(&inbox, |_| Some(sender.as_fd()), &mut refusals);
    let head = [9; 48];
    for (slot, range) in receive(&mut inbox, &relay, 3) {
        let part = Part { head: &head, body: range.clone(), pad: 2 };
        assert!(outbox.push(&mut inbox, target(&receiver), slot, &range, &part));
    }
    outbox.flush(&inbox, |_| Some(relay.as_fd()), &mut refusals);
    for n in 0..3u8 {
        let mut got = [0; 200];
        assert_eq!(receiver.recv(&mut got).unwrap(), 150);
        assert_eq!((&got[..48], &got[48..148], &got[148..150]), (&head[..], &[n; 100][..], &[0; 2][..]));
    }
}

#[test]
fn trains_of_several_senders_are_told_apart_and_keep_their_order() {
    let (sender, one, two) = (socket("127.0.0.1:0"), socket("127.0.0.1:0"), socket("127.0.0.1:0"));
    let (inbox, mut outbox) = (Inbox::new(), Outbox::new());
    // 100, 100, 50 are a train; what follows the short one is another.
    for size in [100, 100, 50, 100] {
        outbox.push_copy(target(&one), &vec![1; size]);
        outbox.push_copy(target(&two), &vec![2; size]);
    }
    outbox.push_copy(target(&one), &[]);
    assert_eq!(outbox.shape().0, 5);
    outbox.flush(&inbox, |_| Some(sender.as_fd()), &mut Refusals::default());
    for (receiver, byte) in [(&one, 1), (&two, 2)] {
        for size in [100, 100, 50, 100] {
            let mut got = [0; 200];
            assert_eq!(receiver.recv(&mut got).unwrap(), size);
            assert!(got[..size].iter().all(|b| *b == byte));
        }
    }
    assert_eq!(one.recv(&mut [0; 9]).unwrap(), 0);
}

#[test]
fn a_socket_of_all_addresses_tells_and_keeps_the_one_that_was_used() {
    for (all, address) in [("0.0.0.0:0", "127.0.0.9"), ("[::]:0", "::1")] {
        let server = socket(all);
        let v6 = server.local_addr().unwrap().is_ipv6();
        enable_pktinfo(server.as_fd(), v6).unwrap();
        let ip: IpAddr = address.parse().unwrap();
        let client = socket(if v6 { "[::1]:0" } else { "127.0.0.1:0" });
        client.send_to(b"x", (ip, server.local_addr().unwrap().port())).unwrap();
        let (mut inbox, mut outbox) = (Inbox::new(), Outbox::new());
        receive(&mut inbox, &server, 1);
        let packet = inbox.packet(0);
        assert_eq!(packet.local, Some(ip));
        let back = Target::new(0, packet.from, packet.local);
        outbox.push_copy(back, b"pong");
        outbox.push_copy(back, b"ping");
        outbox.flush(&inbox, |_| Some(server.as_fd()), &mut Refusals::default());
        assert_eq!(client.recv_from(&mut [0; 9]).unwrap().1.ip(), ip);
    }
}

#[test]
fn what_the_kernel_refuses_is_counted_and_the_rest_is_sent() {
    let (sender, receiver) = (socket("127.0.0.1:0"), socket("127.0.0.1:0"));
    let (inbox, mut outbox) = (Inbox::new(), Outbox::new());
    let mut refusals = Refusals::default();
    outbox.push_copy(target(&receiver), b"first");
    outbox.push_copy(target(&receiver), &vec![0; 65_530]);
    // A socket of one family has no way to the other.
    outbox.push_copy(Target { to: "[::1]:9".parse().unwrap(), ..target(&receiver) }, b"nowhere");
    outbox.push_copy(target(&receiver), b"last");
    outbox.flush(&inbox, |_| Some(sender.as_fd()), &mut refusals);
    for expected in [&b"first"[..], b"last"] {
        let mut got = [0; 16];
        let len = receiver.recv(&mut got).unwrap();
        assert_eq!(&got[..len], expected);
    }
    assert_eq!((refusals.too_long, refusals.other), (1, 1));
}

#[test]
fn a_train_that_the_kernel_does_not_cut_is_sent_one_by_one() {
    let (sender, receiver) = (socket("127.0.0.1:0"), socket("127.0.0.1:0"));
    // UDP_SEGMENT needs checksums: EIO without.
    set(sender.as_fd(), libc::SOL_SOCKET, libc::SO_NO_CHECK, 1).unwrap();
    let (inbox, mut outbox) = (Inbox::new(), Outbox::new());
    let mut refusals = Refusals::default();
    for size in [10, 10, 3] {
        outbox.push_copy(target(&receiver), &vec![5; size]);
    }
    outbox.flush(&inbox, |_| Some(sender.as_fd()), &mut refusals);
    for size in [10, 10, 3] {
        assert_eq!(receiver.recv(&mut [0; 16]).unwrap(), size);
    }
    assert_eq!(refusals, Refusals { untrained: 1, ..Refusals::default() });
}
