//! What went wrong in other TURN servers, tried on ours (tests/SECURITY.md has the list). Here are the
//! cases that take more than a line of a transcript.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::cast_possible_truncation,
    reason = "a test fails by panic, and makes small numbers of its own"
)]

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;

use chappe_proto::limits::{BINDINGS_PER_CHALLENGE, CHALLENGES_BURST, CHALLENGES_PER_SEC};
use chappe_proto::mesh::uplink::{EdgeView, Secret};
use chappe_proto::stun::attributes::{self, Family};
use chappe_proto::stun::{Class, Code, Key, Message, Method, TransactionId, Writer};
use chappe_proto::time::{Mono, Now, Unix};
use chappe_proto::turn::{
    Config, Drop, FiveTuple, Forward, Output, RelayAddress, RelayId, Server, Transport, Via, password,
};

const REALM: &str = "chappe";
const NAME: &str = "1800000000:alice";
const NOW: Now =
    Now { mono: Mono(Duration::from_secs(1_000_000)), unix: Unix(Duration::from_secs(1_700_000_000)) };

/// A server as it is by default, with nothing allowed, and a client that has an allocation of both
/// families.
struct World {
    server: Server,
    nonce: String,
    requests: u32,
}

fn tuple(client: &str) -> FiveTuple {
    let server = "203.0.113.5:3478".parse().unwrap();
    FiveTuple { transport: Transport::Udp, client: client.parse().unwrap(), server }
}

fn alice() -> FiveTuple {
    tuple("192.0.2.1:5000")
}

fn secret() -> Secret {
    Secret(b"secret".to_vec())
}

impl World {
    fn new() -> Self {
        let relay = |ip: &str| {
            let ip = ip.parse().unwrap();
            RelayAddress { bind: ip, advertised: ip, first: 50000, last: 50099 }
        };
        let mut config = Config::new(REALM, vec![relay("9.0.0.5"), relay("2a00::5")]);
        config.listeners = vec!["9.0.0.5:3478".parse().unwrap()];
        let mut server = Server::new(config, [7; 32], NOW);
        server.set_view(NOW, &EdgeView { secrets: [(1, secret())].into(), ..EdgeView::default() });
        Self { server, nonce: String::new(), requests: 0 }
    }

    fn allocated() -> Self {
        let mut world = Self::new();
        let both = |writer: Writer| {
            let writer = writer.requested_transport(17);
            writer.family(attributes::ADDITIONAL_ADDRESS_FAMILY, Family::V6)
        };
        world.request(Method::ALLOCATE, both).unwrap_err(); // the challenge
        world.request(Method::ALLOCATE, both).unwrap();
        world
    }

    fn transaction(&mut self) -> TransactionId {
        self.requests += 1;
        let mut transaction = [0; 12];
        transaction[..4].copy_from_slice(&self.requests.to_be_bytes());
        TransactionId(transaction)
    }

    /// Sends a packet and answers what comes back, sockets bound on the way.
    fn packet(&mut self, from: &FiveTuple, bytes: &[u8]) -> Option<Vec<u8>> {
        let forward = self.server.handle_client(NOW, from, Via(0), bytes);
        assert!(matches!(forward, Forward::None), "relayed");
        let mut answer = None;
        while let Some(output) = self.server.poll_output() {
            match output {
                Output::BindRelay { relay, ip, ports } => {
                    self.server.handle_bound(NOW, relay, Ok(SocketAddr::new(ip, ports[0])));
                }
                Output::Send { bytes, .. } => answer = Some(bytes),
                _ => {}
            }
        }
        answer
    }

    fn request(&mut self, method: Method, fill: impl Fn(Writer) -> Writer) -> Result<(), Code> {
        let writer = fill(Writer::new(Class::Request, method, self.transaction()));
        let writer = writer
            .attribute(attributes::USERNAME, NAME.as_bytes())
            .attribute(attributes::REALM, REALM.as_bytes())
            .attribute(attributes::NONCE, self.nonce.as_bytes());
        let key = Key::long_term(NAME, REALM, &password(&secret(), NAME));
        let answer = self.packet(&alice(), &writer.integrity(key.as_slice()).finish()).expect("an answer");
        let message = Message::parse(&answer).unwrap();
        if let Some(nonce) = message.nonce().unwrap() {
            nonce.clone_into(&mut self.nonce);
        }
        message.error_code().unwrap().map_or(Ok(()), Err)
    }

    fn permit(&mut self, peers: &[IpAddr]) -> Result<(), Code> {
        self.request(Method::CREATE_PERMISSION, |mut writer| {
            for peer in peers {
                writer = writer.xor_address(attributes::XOR_PEER_ADDRESS, SocketAddr::new(*peer, 80));
            }
            writer
        })
    }

    fn bind(&mut self, number: u16, peer: IpAddr) -> Result<(), Code> {
        self.request(Method::CHANNEL_BIND, |writer| {
            let writer = writer.channel_number(number);
            writer.xor_address(attributes::XOR_PEER_ADDRESS, SocketAddr::new(peer, 80))
        })
    }

    fn dropped(&self, cause: Drop) -> u64 {
        self.server.counters().drops[cause as usize]
    }
}

/// Every way to write an IPv4 address as another: plain, IPv4-mapped, -compatible and -translated (RFC
/// 4291, RFC 2765), 6to4 (RFC 3056), NAT64 by the well-known prefix and by the local-use one at each
/// length of prefix (RFC 6052, RFC 8215), Teredo's server and its obscured client (RFC 4380).
fn dressed(v4: Ipv4Addr) -> Vec<IpAddr> {
    let bits = v4.to_bits();
    let [a, b, c, d] = v4.octets();
    let (high, low) = ((bits >> 16) as u16, bits as u16);
    let wide = |head: u128| Ipv6Addr::from_bits(head | u128::from(bits));
    let local = |tail: [u8; 10]| {
        let mut bytes = [0, 0x64, 0xFF, 0x9B, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];
        bytes[6..].copy_from_slice(&tail);
        Ipv6Addr::from(bytes)
    };
    let six = [
        v4.to_ipv6_mapped(),
        wide(0),
        wide(0xFFFF << 48),
        wide(0xFFFF_0000 << 32),
        wide(0x0064_FF9B << 96),
        Ipv6Addr::new(0x2002, high, low, 0, 0, 0, 0, 1),
        Ipv6Addr::new(0x2002, high, low, 0xFFFF, 1, 2, 3, 4),
        Ipv6Addr::new(0x2001, 0, high, low, 0, 0, !0x0808, !0x0808),
        Ipv6Addr::new(0x2001, 0, 0x0808, 0x0808, 0x8000, 1234, !high, !low),
        // /48, /56, /64 and /96 of the local-use prefix; byte 8 is zero (RFC 6052 section 2.2).
        local([a, b, 0, c, d, 0, 0, 0, 0, 0]),
        local([0, a, 0, b, c, d, 0, 0, 0, 0]),
        local([0, 0, 0, a, b, c, d, 0, 0, 0]),
        local([0, 0, 0, 0, 0, 0, a, b, c, d]),
    ];
    std::iter::once(IpAddr::V4(v4)).chain(six.into_iter().map(IpAddr::V6)).collect()
}

/// One of each range that nobody should reach: loopback, unspecified, private, shared, link-local and
/// cloud metadata, multicast, broadcast.
const INSIDE: [[u8; 4]; 12] = [
    [127, 0, 0, 1],
    [127, 255, 255, 254],
    [0, 0, 0, 0],
    [10, 0, 0, 1],
    [172, 16, 0, 1],
    [192, 168, 1, 1],
    [100, 64, 0, 1],
    [169, 254, 169, 254],
    [198, 18, 0, 1],
    [224, 0, 0, 1],
    [240, 0, 0, 1],
    [255, 255, 255, 255],
];

/// The relay as a proxy into its operator's network (Slack 2018, CVE-2020-26262, CVE-2026-27624 and
/// what its first fix left open, coturn #1945): not by CreatePermission, ChannelBind, Send or from
/// inside, in no dress.
#[test]
fn nothing_inside_is_reached_in_any_dress_by_any_way() {
    let mut world = World::allocated();
    let good: IpAddr = "8.8.8.8".parse().unwrap();
    let mut tried = 0;
    for inside in INSIDE {
        for ip in dressed(inside.into()) {
            tried += 1;
            assert_eq!(world.permit(&[ip]), Err(Code::FORBIDDEN), "{ip}");
            assert_eq!(world.permit(&[good, ip]), Err(Code::FORBIDDEN), "{ip}");
            assert_eq!(world.bind(0x4000, ip), Err(Code::FORBIDDEN), "{ip}");
            let peer = SocketAddr::new(ip, 80);
            let send = Writer::new(Class::Indication, Method::SEND, world.transaction());
            let send =
                send.xor_address(attributes::XOR_PEER_ADDRESS, peer).attribute(attributes::DATA, b"GET");
            assert_eq!(world.packet(&alice(), &send.finish()), None);
            for relay in [RelayId(0), RelayId(1)] {
                let forward = world.server.handle_peer(NOW, relay, peer, b"hello");
                assert!(matches!(forward, Forward::None), "{ip} comes in");
            }
        }
    }
    assert_eq!(tried, INSIDE.len() * 14);
    let it = world.server.list(NOW).next().unwrap();
    assert_eq!((it.permissions, it.channels, it.sent.packets, it.received.packets), (0, 0, 0, 0));
    // It is the address that is refused, not its form: what is outside may be reached by NAT64.
    assert_eq!(world.permit(&[good, "64:ff9b::808:808".parse().unwrap()]), Ok(()));
    // IPv4 within IPv6 is nobody's address but NAT64's, even of one that is outside.
    for ip in dressed("8.8.8.8".parse().unwrap()).into_iter().skip(1) {
        let nat64 = ip == "64:ff9b::808:808".parse::<IpAddr>().unwrap();
        assert_eq!(world.permit(&[ip]), if nat64 { Ok(()) } else { Err(Code::FORBIDDEN) }, "{ip}");
    }
}

/// IPv6's own special addresses.
#[test]
fn nothing_special_of_ipv6_is_reached() {
    let mut world = World::allocated();
    for ip in [
        "::",
        "::1",
        "100::1",
        "fc00::1",
        "fdff::1",
        "fe80::1",
        "febf::1",
        "fec0::1",
        "ff02::1",
        "ff0e::1",
        "2001:db8::1",
        "3fff::1",
        "5f00::1",
        "64:ff9b:1::1",
        "4000::1",
        "2001:2::1",
        "2001:10::1",
    ] {
        let ip: IpAddr = ip.parse().unwrap();
        assert_eq!(world.permit(&[ip]), Err(Code::FORBIDDEN), "{ip}");
        assert_eq!(world.bind(0x4000, ip), Err(Code::FORBIDDEN), "{ip}");
    }
    assert_eq!(world.permit(&["2a00::1".parse().unwrap()]), Ok(()));
}

/// The server's own ports: its listener, and whatever else lives at its address.
#[test]
fn the_server_relays_to_no_port_of_its_own_but_relay_ports() {
    let mut world = World::allocated();
    assert_eq!(world.bind(0x4000, "9.0.0.5".parse().unwrap()), Err(Code::FORBIDDEN));
    // Two relayed people reach each other by a permission for the address; the port is checked on data.
    assert_eq!(world.permit(&["9.0.0.5".parse().unwrap()]), Ok(()));
    for port in [22, 80, 443, 3478, 49_999, 50_100] {
        let send = Writer::new(Class::Indication, Method::SEND, world.transaction());
        let peer = SocketAddr::new("9.0.0.5".parse().unwrap(), port);
        let send = send.xor_address(attributes::XOR_PEER_ADDRESS, peer).attribute(attributes::DATA, b"GET");
        assert_eq!(world.packet(&alice(), &send.finish()), None, "{port}");
    }
    assert_eq!(world.dropped(Drop::DeniedPeer), 6);
}

/// State for each spoofed datagram (coturn #1641, c6cd2106): before an echoed nonce there is none,
/// whatever is asked, from however many sources.
#[test]
fn a_storm_of_spoofed_sources_leaves_nothing_behind() {
    let mut world = World::new();
    let mut answered = 0;
    for n in 0..100_000_u32 {
        let ip = Ipv4Addr::from_bits(0x0B00_0000 + n);
        let from = tuple(&format!("{ip}:{}", 1024 + n % 60_000));
        let bytes = match n % 5 {
            0 => Writer::new(Class::Request, Method::ALLOCATE, world.transaction()).requested_transport(17),
            1 => Writer::new(Class::Request, Method::REFRESH, world.transaction()),
            2 => Writer::new(Class::Request, Method::BINDING, world.transaction()),
            3 => Writer::new(Class::Indication, Method::SEND, world.transaction())
                .xor_address(attributes::XOR_PEER_ADDRESS, "8.8.8.8:9".parse().unwrap())
                .attribute(attributes::DATA, b"x"),
            _ => Writer::new(Class::Request, Method::ALLOCATE, world.transaction())
                .requested_transport(17)
                .attribute(attributes::USERNAME, NAME.as_bytes())
                .attribute(attributes::REALM, REALM.as_bytes())
                .attribute(attributes::NONCE, b"obMatJos2AAABQDx0Z4Ub1x1k6jfd")
                .integrity(b"guess"),
        };
        answered += u32::from(world.packet(&from, &bytes.finish()).is_some());
    }
    assert_eq!(answered, 80_000, "each source is answered: none of them is over its rate");
    assert_eq!(world.server.allocations(), 0);
    assert_eq!(world.server.poll_timeout(), None, "nothing to be done later");
    assert_eq!(world.server.free_ports(NOW), 200);
}

/// Multi-XOR-PEER floods: one request with as many addresses as a datagram holds.
#[test]
fn a_request_with_thousands_of_peers_installs_none_of_them() {
    let mut world = World::allocated();
    let peers: Vec<IpAddr> = (0..5000_u32).map(|n| Ipv4Addr::from_bits(0x0800_0000 + n).into()).collect();
    assert_eq!(world.permit(&peers), Err(Code::INSUFFICIENT_CAPACITY));
    let permissions = |world: &World| world.server.list(NOW).next().unwrap().permissions;
    assert_eq!(permissions(&world), 0);
    // One after the other they end at the limit.
    for (n, peer) in peers.iter().enumerate() {
        let expected = n < chappe_proto::limits::PERMISSIONS_MAX;
        assert_eq!(world.permit(&[*peer]).is_ok(), expected, "{n}");
    }
    assert_eq!(permissions(&world), chappe_proto::limits::PERMISSIONS_MAX);
}

/// EVEN-PORT with R = 0 lost a port each time (coturn 4adbd82e).
#[test]
fn even_ports_come_back() {
    let mut world = World::new();
    // Each round takes two of the fifty even ports.
    for round in 0..25 {
        for reserve in [false, true] {
            let even =
                |writer: Writer| writer.requested_transport(17).even_port(attributes::EvenPort { reserve });
            if world.request(Method::ALLOCATE, even).is_err() {
                world.request(Method::ALLOCATE, even).unwrap_or_else(|code| panic!("{round}: {code}"));
            }
            world.request(Method::REFRESH, |writer| writer.lifetime(0)).unwrap();
        }
    }
    // Ports rest for two minutes, and reservations end before.
    let later = NOW.after(Duration::from_secs(150));
    world.server.handle_timeout(later);
    assert_eq!(world.server.free_ports(later), 200);
}

/// Bytes of padding are zero, whatever was in memory before (CVE-2020-4067).
#[test]
fn padding_is_zero_after_longer_messages() {
    let mut world = World::new();
    for length in (0..64).rev().chain(0..64) {
        let noise = Writer::new(Class::Request, Method::BINDING, world.transaction());
        world.packet(&alice(), &noise.attribute(attributes::SOFTWARE, &vec![0xAB; length]).finish());
        let unknown: Vec<u16> = (0..length as u16 % 9).map(|n| 0x7A00 + n).collect();
        let mut request = Writer::new(Class::Request, Method::BINDING, world.transaction());
        for kind in &unknown {
            request = request.attribute(*kind, &[0xCD; 3]);
        }
        let answer = world.packet(&alice(), &request.finish()).unwrap();
        let message = Message::parse(&answer).unwrap();
        assert_eq!(message.unknown_attributes(), unknown);
        for (_, value) in message.attributes() {
            assert!(answer[value.end..value.end.next_multiple_of(4)].iter().all(|byte| *byte == 0));
        }
    }
}

/// Every test that tests/SECURITY.md names exists.
#[test]
fn what_the_list_names_exists() {
    let root = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let list = std::fs::read_to_string(root.join("tests/SECURITY.md")).unwrap();
    let mut named = 0;
    for line in list.lines().filter(|line| line.starts_with("| ")).skip(1) {
        let proofs = line.trim_end_matches('|').rsplit(" | ").next().unwrap();
        let mut file = String::new();
        for word in proofs.split('`').skip(1).step_by(2) {
            if word.contains('/') {
                let path = root.join(word);
                file = std::fs::read_to_string(path).unwrap_or_else(|_| panic!("no {word}: {line}"));
            } else {
                assert!(file.contains(&format!("fn {word}(")), "no {word}: {line}");
            }
            named += 1;
        }
    }
    assert!(named > 40, "{named}");
}

/// A Binding answer is longer than its request by little, and who spoofs its source has a victim hear it a
/// bounded number of times; over a stream the source has proved itself.
#[test]
fn binding_answers_to_one_source_are_limited() {
    let mut world = World::new();
    let request =
        |n: u32| Writer::new(Class::Request, Method::BINDING, TransactionId([n as u8; 12])).finish();
    let mut answered = |now: Now, from: &FiveTuple, count: u32| {
        for n in 0..count {
            world.server.handle_client(now, from, Via(0), &request(n));
        }
        let outputs = std::iter::from_fn(|| world.server.poll_output());
        outputs.filter(|output| matches!(output, Output::Send { .. })).count() as u32
    };
    let (burst, each_second) = (CHALLENGES_BURST * BINDINGS_PER_CHALLENGE, 1000);
    assert_eq!(each_second, CHALLENGES_PER_SEC * BINDINGS_PER_CHALLENGE);
    assert_eq!(answered(NOW, &alice(), burst + 500), burst);
    assert_eq!(answered(NOW.after(Duration::from_secs(1)), &tuple("192.0.2.1:77"), 5000), each_second);
    assert_eq!(answered(NOW, &tuple("192.0.2.2:5000"), 10), 10, "another source");
    let stream = FiveTuple { transport: Transport::Tcp, ..alice() };
    assert_eq!(answered(NOW, &stream, burst + 500), burst + 500);
    assert_eq!(world.server.counters().drops[Drop::RateLimited as usize], u64::from(500 + 4000_u32));
}
