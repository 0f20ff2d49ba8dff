//! What must hold whatever anyone sends: nothing panics, messages read back as they were written, no
//! port and no socket is lost, and no packet leaves without a permission.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::cast_possible_truncation,
    reason = "a test fails by panic, and makes small numbers of its own"
)]

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use chappe_proto::id::SessionId;
use chappe_proto::limits::PORT_REST;
use chappe_proto::mesh::uplink::{EdgeChange, EdgeView, PeerPolicy, Secret};
use chappe_proto::stun::attributes::{self, Family};
use chappe_proto::stun::{Class, ClassicBinding, HEADER, Key, Message, Method, TransactionId, Writer, frame};
use chappe_proto::time::{Mono, Now, Unix};
use chappe_proto::turn::{
    BindError, Config, EndReason, FiveTuple, Forward, IcmpError, Output, RelayAddress, RelayId, Server,
    Transport, Via, password,
};
use proptest::prelude::*;

// ------------------------------------------------------------------------------------------- codec

fn ip() -> impl Strategy<Value = IpAddr> {
    prop_oneof![any::<[u8; 4]>().prop_map(IpAddr::from), any::<[u8; 16]>().prop_map(IpAddr::from)]
}

fn address() -> impl Strategy<Value = SocketAddr> {
    (ip(), any::<u16>()).prop_map(|(ip, port)| SocketAddr::new(ip, port))
}

fn class() -> impl Strategy<Value = Class> {
    prop_oneof![Just(Class::Request), Just(Class::Indication), Just(Class::Success), Just(Class::Error)]
}

fn touch(bytes: &[u8]) {
    let Ok(message) = Message::parse(bytes) else { return };
    for (kind, value) in message.attributes() {
        assert!(value.end <= bytes.len());
        let _ = message.xor_address(kind);
    }
    let _ = (message.username(), message.realm(), message.nonce(), message.error_code());
    let _ = (message.channel_number(), message.lifetime(), message.requested_transport());
    let _ = (message.requested_address_family(), message.additional_address_family());
    let _ = (message.even_port(), message.reservation_token(), message.mapped_address());
    let _ = (message.unknown(&[]), message.unknown_attributes(), message.verify(b"key"));
    let _ = message.peers().count();
}

proptest! {
    #[test]
    fn messages_read_back_as_they_were_written(
        class in class(),
        method in 0u16..0x1000,
        transaction: [u8; 12],
        attributes in prop::collection::vec((0x4000u16..0x8000, prop::collection::vec(any::<u8>(), 0..40)), 0..8),
        peers in prop::collection::vec(address(), 0..4),
        key in prop::option::of(any::<[u8; 16]>()),
        fingerprint: bool,
    ) {
        let mut writer = Writer::new(class, Method(method), TransactionId(transaction));
        for (kind, value) in &attributes {
            writer = writer.attribute(*kind, value);
        }
        for peer in &peers {
            writer = writer.xor_address(attributes::XOR_PEER_ADDRESS, *peer);
        }
        if let Some(key) = &key {
            writer = writer.integrity(key);
        }
        let bytes = if fingerprint { writer.fingerprint().finish() } else { writer.finish() };
        prop_assert_eq!(frame(&bytes), Ok(Some(bytes.len())));
        let message = Message::parse(&bytes).unwrap();
        prop_assert_eq!((message.class, message.method), (class, Method(method)));
        prop_assert_eq!(message.transaction, TransactionId(transaction));
        prop_assert_eq!(message.fingerprint, fingerprint);
        let read: Vec<_> = message.attributes().map(|(kind, value)| (kind, bytes[value].to_vec())).collect();
        prop_assert_eq!(&read[..attributes.len()], &attributes[..]);
        prop_assert_eq!(message.peers().collect::<Result<Vec<_>, _>>(), Ok(peers));
        if let Some(mut key) = key {
            prop_assert!(message.verify(&key));
            key[3] ^= 1;
            prop_assert!(!message.verify(&key));
        } else {
            prop_assert!(message.integrity().is_none());
        }
    }

    #[test]
    fn any_bytes_are_read_without_panic(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        touch(&bytes);
        let _ = ClassicBinding::parse(&bytes).map(|it| it.response("192.0.2.1:1".parse().unwrap()));
        if let Ok(Some(length)) = frame(&bytes) {
            prop_assert!(length <= bytes.len() && length >= 4);
        }
    }

    /// A header that is right and a body that is not.
    #[test]
    fn any_attributes_are_read_without_panic(
        kind: u16,
        body in prop::collection::vec(any::<u8>(), 0..60),
        types in prop::collection::vec(0u8..0x30, 0..8),
    ) {
        let mut body = body;
        body.resize(body.len().next_multiple_of(4), 0);
        for (at, kind) in types.into_iter().enumerate() {
            if let Some(place) = body.get_mut(at * 8..at * 8 + 4) {
                place.copy_from_slice(&[0, kind, 0, 4]);
            }
        }
        let mut bytes = (kind & 0x3FFF).to_be_bytes().to_vec();
        bytes.extend((body.len() as u16).to_be_bytes());
        bytes.extend([0x21, 0x12, 0xA4, 0x42]);
        bytes.extend([7; 12]);
        bytes.extend(body);
        touch(&bytes);
    }
}

// ------------------------------------------------------------------------------------------ server

const REALM: &str = "chappe";
const CLIENTS: usize = 4;
const PORTS: usize = 6;

/// A server and all that its shell would hold.
struct World {
    server: Server,
    now: Now,
    nonces: [String; CLIENTS],
    tokens: Vec<[u8; 8]>,
    transactions: u32,
    /// Sockets asked for and not answered.
    waiting: Vec<(RelayId, IpAddr, Vec<u16>)>,
    open: BTreeMap<RelayId, SocketAddr>,
    /// Addresses that were in use, and until when.
    used: BTreeMap<SocketAddr, Mono>,
}

#[derive(Debug, Clone)]
enum Step {
    Allocate { client: usize, even: Option<bool>, additional: bool, family: Option<bool>, lifetime: u32 },
    Token { client: usize },
    Refresh { client: usize, lifetime: u32, family: Option<bool> },
    Permit { client: usize, peers: Vec<SocketAddr> },
    Bind { client: usize, number: u16, peer: SocketAddr },
    Send { client: usize, peer: SocketAddr, length: usize },
    Data { client: usize, number: u16, length: usize },
    Peer { relay: u32, peer: SocketAddr, length: usize },
    Icmp { relay: u32, peer: SocketAddr },
    Bytes { client: usize, bytes: Vec<u8> },
    Bent { client: usize, at: usize, with: u8 },
    Bound { fails: bool },
    Wait { seconds: u64 },
    Closed { client: usize },
    End { user: usize },
    Revoke { user: usize },
    Policy { deny: bool },
    Drain { draining: bool },
}

/// Peers that mean something here: an outside one, relayed ones, denied ones, anyone.
fn peer() -> impl Strategy<Value = SocketAddr> {
    prop_oneof![
        (0u8..3, 1u16..4).prop_map(|(host, port)| SocketAddr::new([198, 51, 100, host].into(), port)),
        (0..PORTS as u16).prop_map(|port| SocketAddr::new([203, 0, 113, 5].into(), 50000 + port)),
        (0..PORTS as u16).prop_map(|port| SocketAddr::new([10, 0, 0, 5].into(), 50000 + port)),
        Just("[2001:db8:1::7]:9".parse().unwrap()),
        Just("127.0.0.1:9".parse().unwrap()),
        address(),
    ]
}

fn step() -> impl Strategy<Value = Step> {
    let client = 0..CLIENTS;
    let number = 0x3FFEu16..0x4004;
    prop_oneof![
        4 => (client.clone(), any::<Option<bool>>(), any::<bool>(), any::<Option<bool>>(), 0u32..4000).prop_map(
            |(client, even, additional, family, lifetime)| Step::Allocate { client, even, additional, family, lifetime }
        ),
        1 => client.clone().prop_map(|client| Step::Token { client }),
        2 => (client.clone(), prop_oneof![Just(0), 1u32..4000], any::<Option<bool>>())
            .prop_map(|(client, lifetime, family)| Step::Refresh { client, lifetime, family }),
        4 => (client.clone(), prop::collection::vec(peer(), 0..4))
            .prop_map(|(client, peers)| Step::Permit { client, peers }),
        4 => (client.clone(), number.clone(), peer())
            .prop_map(|(client, number, peer)| Step::Bind { client, number, peer }),
        4 => (client.clone(), peer(), 0usize..1500)
            .prop_map(|(client, peer, length)| Step::Send { client, peer, length }),
        4 => (client.clone(), number, 0usize..1500)
            .prop_map(|(client, number, length)| Step::Data { client, number, length }),
        4 => (0u32..8, peer(), 0usize..65536)
            .prop_map(|(relay, peer, length)| Step::Peer { relay, peer, length }),
        1 => (0u32..8, peer()).prop_map(|(relay, peer)| Step::Icmp { relay, peer }),
        1 => (client.clone(), prop::collection::vec(any::<u8>(), 0..80))
            .prop_map(|(client, bytes)| Step::Bytes { client, bytes }),
        2 => (client.clone(), any::<usize>(), any::<u8>())
            .prop_map(|(client, at, with)| Step::Bent { client, at, with }),
        4 => any::<bool>().prop_map(|fails| Step::Bound { fails }),
        2 => (0u64..700).prop_map(|seconds| Step::Wait { seconds }),
        1 => client.clone().prop_map(|client| Step::Closed { client }),
        1 => client.clone().prop_map(|user| Step::End { user }),
        1 => client.prop_map(|user| Step::Revoke { user }),
        1 => any::<bool>().prop_map(|deny| Step::Policy { deny }),
        1 => any::<bool>().prop_map(|draining| Step::Drain { draining }),
    ]
}

fn tuple(client: usize) -> FiveTuple {
    FiveTuple {
        transport: if client == 1 { Transport::Tcp } else { Transport::Udp },
        client: SocketAddr::new([192, 0, 2, client as u8].into(), 5000),
        server: "203.0.113.5:3478".parse().unwrap(),
    }
}

/// Two clients share a session.
fn session(client: usize) -> SessionId {
    SessionId::from_random([(client / 2) as u8; 15])
}

fn secret() -> Secret {
    Secret(b"a secret".to_vec())
}

impl World {
    fn new(seed: [u8; 32]) -> Self {
        let [bind, advertised, v6] = ["10.0.0.5", "203.0.113.5", "2001:db8::5"].map(|ip| ip.parse().unwrap());
        let last = 50000 + PORTS as u16 - 1;
        let relays = vec![
            RelayAddress { bind, advertised, first: 50000, last },
            RelayAddress { bind: v6, advertised: v6, first: 50000, last },
        ];
        let mut config = Config::new(REALM, relays);
        config.quotas.per_user = 3;
        config.quotas.channels = 3;
        config.quotas.permissions = 4;
        let now = Now { mono: Mono(Duration::from_secs(1_000_000)), unix: Unix::from_secs(1_700_000_000) };
        let mut server = Server::new(config, seed, now);
        let mut view = EdgeView { secrets: [(1, secret())].into(), ..EdgeView::default() };
        view.peers.allow = vec!["198.51.100.0/24".parse().unwrap(), "2001:db8:1::/48".parse().unwrap()];
        server.set_view(now, &view);
        let nonces = std::array::from_fn(|_| String::new());
        let (tokens, waiting, open) = (Vec::new(), Vec::new(), BTreeMap::new());
        Self { server, now, nonces, tokens, transactions: 0, waiting, open, used: BTreeMap::new() }
    }

    fn writer(&mut self, class: Class, method: Method) -> Writer {
        self.transactions += 1;
        let mut transaction = [0; 12];
        transaction[..4].copy_from_slice(&self.transactions.to_be_bytes());
        Writer::new(class, method, TransactionId(transaction))
    }

    /// An authenticated request; a client without a nonce, or with a stale one, gets one first.
    fn request(&mut self, client: usize, method: Method, fill: impl Fn(Writer) -> Writer) {
        for _ in 0..2 {
            let username = format!("1800000000:{}", session(client));
            let key = Key::long_term(&username, REALM, &password(&secret(), &username));
            let nonce = self.nonces[client].clone();
            let writer = fill(self.writer(Class::Request, method))
                .attribute(attributes::USERNAME, username.as_bytes())
                .attribute(attributes::REALM, REALM.as_bytes())
                .attribute(attributes::NONCE, nonce.as_bytes())
                .integrity(key.as_slice());
            self.packet(client, &writer.finish());
            if self.nonces[client] == nonce {
                break;
            }
        }
    }

    fn packet(&mut self, client: usize, bytes: &[u8]) {
        let forward = self.server.handle_client(self.now, &tuple(client), Via(client as u32), bytes);
        self.check(&forward, bytes.len());
        self.settle();
    }

    /// Nothing leaves but by an open socket, within the buffer, to a peer that the gate lets through.
    fn check(&self, forward: &Forward, length: usize) {
        match forward {
            Forward::None => {}
            Forward::ToPeer { relay, peer, body, .. } => {
                assert!(self.open.contains_key(relay));
                assert!(body.start <= body.end && body.end <= length);
                let outside = match peer.ip() {
                    IpAddr::V4(ip) => !ip.is_loopback() && !ip.is_unspecified() && !ip.is_multicast(),
                    IpAddr::V6(ip) => !ip.is_loopback() && !ip.is_unspecified() && !ip.is_multicast(),
                };
                assert!(outside, "{peer}");
                assert!(!(peer.ip() == tuple(0).server.ip() && peer.port() < 50000), "{peer}");
            }
            Forward::ToClient { client, head, body, pad, .. } => {
                assert!(body.start <= body.end && body.end <= length);
                let whole = head.as_slice().len() + body.len() + usize::from(*pad);
                let field = usize::from(u16::from_be_bytes([head.as_slice()[2], head.as_slice()[3]]));
                if head.as_slice()[0] & 0xC0 == 0 {
                    assert_eq!(HEADER + field, whole);
                } else {
                    assert_eq!(field, body.len());
                    assert!(client.transport == Transport::Udp || whole % 4 == 0);
                }
            }
        }
    }

    fn settle(&mut self) {
        while let Some(output) = self.server.poll_output() {
            match output {
                Output::BindRelay { relay, ip, ports } => {
                    assert!(!self.open.contains_key(&relay), "an open socket's name");
                    for address in ports.iter().map(|port| SocketAddr::new(ip, *port)) {
                        self.is_fresh(address);
                    }
                    assert!(self.waiting.iter().all(|(waiting, ..)| *waiting != relay));
                    assert!(!ports.is_empty());
                    self.waiting.push((relay, ip, ports));
                }
                Output::CloseRelay(relay) => {
                    let address = self.open.remove(&relay).expect("open");
                    self.used.insert(address, self.now.mono);
                }
                Output::Send { client, bytes, .. } => {
                    let message = Message::parse(&bytes).unwrap();
                    let index = (0..CLIENTS).find(|index| tuple(*index) == client).unwrap();
                    if let Some(nonce) = message.nonce().unwrap() {
                        self.nonces[index] = nonce.to_owned();
                    }
                    self.tokens.extend(message.reservation_token().unwrap());
                }
                Output::CloseClient(via) => assert_eq!(via, Via(1)),
                _ => {}
            }
        }
    }

    /// A port that is offered is nobody's, was nobody's for two minutes (RFC 8656 section 7.2), and is
    /// offered once.
    fn is_fresh(&self, address: SocketAddr) {
        assert!(self.open.values().all(|open| *open != address), "{address} is in use");
        let rested = self.used.get(&address).is_none_or(|used| self.now.mono.since(*used) >= PORT_REST);
        assert!(rested, "{address} was in use just now");
        let held = |(_, ip, ports): &(RelayId, IpAddr, Vec<u16>)| {
            *ip == address.ip() && ports.contains(&address.port())
        };
        assert!(!self.waiting.iter().any(held), "{address} is being bound");
    }

    fn bound(&mut self, fails: bool) {
        let Some((relay, ip, ports)) = self.waiting.pop() else { return };
        let result = if fails {
            Err(BindError::InUse)
        } else {
            let address = SocketAddr::new(ip, ports[ports.len() - 1]);
            self.open.insert(relay, address);
            Ok(address)
        };
        self.server.handle_bound(self.now, relay, result);
        self.settle();
    }

    fn wait(&mut self, seconds: u64) {
        let until = self.now.after(Duration::from_secs(seconds));
        while let Some(due) = self.server.poll_timeout().filter(|due| *due <= until.mono) {
            self.now = self.now.after(due.until(self.now.mono));
            self.server.handle_timeout(self.now);
            assert!(self.server.poll_timeout().is_none_or(|next| next > due), "a timer that stays due");
            self.settle();
        }
        self.now = until;
    }

    fn step(&mut self, step: Step) {
        match step {
            Step::Send { client, peer, length } => {
                let bytes = self
                    .writer(Class::Indication, Method::SEND)
                    .xor_address(attributes::XOR_PEER_ADDRESS, peer)
                    .attribute(attributes::DATA, &vec![7; length])
                    .finish();
                self.packet(client, &bytes);
            }
            Step::Data { client, number, length } => {
                let mut bytes = number.to_be_bytes().to_vec();
                bytes.extend((length as u16).to_be_bytes());
                bytes.resize(4 + length, 7);
                self.packet(client, &bytes);
            }
            Step::Bytes { client, bytes } => self.packet(client, &bytes),
            Step::Bent { client, at, with } => {
                let mut bytes = self
                    .writer(Class::Request, Method::ALLOCATE)
                    .requested_transport(17)
                    .attribute(attributes::USERNAME, b"1800000000:x")
                    .attribute(attributes::REALM, REALM.as_bytes())
                    .attribute(attributes::NONCE, self.nonces[client].as_bytes())
                    .integrity(b"guess")
                    .finish();
                let at = at % bytes.len();
                bytes[at] = with;
                self.packet(client, &bytes);
            }
            Step::Bound { fails } => self.bound(fails),
            Step::Wait { seconds } => self.wait(seconds),
            Step::Allocate { .. }
            | Step::Token { .. }
            | Step::Refresh { .. }
            | Step::Permit { .. }
            | Step::Bind { .. } => self.request_step(step),
            _ => self.event_step(&step),
        }
        self.settle();
        for it in self.server.list(self.now) {
            assert!(it.permissions <= 4 && it.channels <= 3);
        }
        assert!(self.server.allocations() <= CLIENTS);
    }

    /// Authenticated requests.
    fn request_step(&mut self, step: Step) {
        let family = |v6: bool| if v6 { Family::V6 } else { Family::V4 };
        match step {
            Step::Allocate { client, even, additional, family: wish, lifetime } => {
                self.request(client, Method::ALLOCATE, |mut writer| {
                    writer = writer.requested_transport(17).lifetime(lifetime);
                    if let Some(reserve) = even {
                        writer = writer.even_port(attributes::EvenPort { reserve });
                    }
                    if additional {
                        writer = writer.family(attributes::ADDITIONAL_ADDRESS_FAMILY, Family::V6);
                    } else if let Some(v6) = wish {
                        writer = writer.family(attributes::REQUESTED_ADDRESS_FAMILY, family(v6));
                    }
                    writer
                });
            }
            Step::Token { client } => {
                let token = self.tokens.pop().unwrap_or_default();
                self.request(client, Method::ALLOCATE, |writer| {
                    writer.requested_transport(17).reservation_token(token)
                });
            }
            Step::Refresh { client, lifetime, family: wish } => {
                self.request(client, Method::REFRESH, |writer| {
                    let writer = writer.lifetime(lifetime);
                    match wish {
                        Some(v6) => writer.family(attributes::REQUESTED_ADDRESS_FAMILY, family(v6)),
                        None => writer,
                    }
                });
            }
            Step::Permit { client, peers } => {
                self.request(client, Method::CREATE_PERMISSION, |mut writer| {
                    for peer in &peers {
                        writer = writer.xor_address(attributes::XOR_PEER_ADDRESS, *peer);
                    }
                    writer
                });
            }
            Step::Bind { client, number, peer } => {
                self.request(client, Method::CHANNEL_BIND, |writer| {
                    writer.channel_number(number).xor_address(attributes::XOR_PEER_ADDRESS, peer)
                });
            }
            _ => unreachable!(),
        }
    }

    /// What comes from elsewhere than clients.
    fn event_step(&mut self, step: &Step) {
        let now = self.now;
        match *step {
            Step::Peer { relay, peer, length } => {
                let payload = vec![7; length];
                let forward = self.server.handle_peer(now, RelayId(relay), peer, &payload);
                self.check(&forward, length);
            }
            Step::Icmp { relay, peer } => {
                self.server.handle_icmp(now, RelayId(relay), peer, IcmpError { kind: 3, code: 4, mtu: 1280 });
                self.settle();
            }
            Step::Closed { client } => self.server.handle_closed(now, &tuple(client)),
            Step::End { user } => self.server.end(now, session(user), EndReason::Left),
            Step::Revoke { user } => {
                let until = now.unix + Duration::from_secs(60);
                self.server.apply(now, &EdgeChange::Revoked { session: session(user), until });
                assert!(self.server.list(now).all(|it| it.session != Some(session(user))));
            }
            Step::Policy { deny } => {
                let net = "198.51.100.0/24".parse().unwrap();
                let (mut allow, mut denied) = (vec![net], Vec::new());
                if deny {
                    std::mem::swap(&mut allow, &mut denied);
                }
                self.server.apply(now, &EdgeChange::Peers(PeerPolicy { allow, deny: denied }));
            }
            Step::Drain { draining } => self.server.apply(now, &EdgeChange::Draining { draining }),
            _ => unreachable!(),
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, ..ProptestConfig::default() })]

    /// After any history, when all has ended, no socket is open and every port is free again.
    #[test]
    fn nothing_leaks(seed: [u8; 32], steps in prop::collection::vec(step(), 0..60)) {
        let mut world = World::new(seed);
        for step in steps {
            world.step(step);
        }
        while !world.waiting.is_empty() {
            world.bound(false);
        }
        world.wait(3601);
        prop_assert_eq!(world.server.allocations(), 0);
        prop_assert_eq!(&world.open, &BTreeMap::new());
        world.wait(120);
        prop_assert_eq!(world.server.free_ports(world.now), 2 * PORTS);
        prop_assert_eq!(world.server.poll_timeout(), None);
    }

    /// The same inputs make the same outputs.
    #[test]
    fn the_machine_is_deterministic(seed: [u8; 32], steps in prop::collection::vec(step(), 0..20)) {
        let run = |steps: Vec<Step>| {
            let mut world = World::new(seed);
            steps.into_iter().for_each(|step| world.step(step));
            (world.nonces, world.tokens, world.waiting, world.server.counters().clone())
        };
        prop_assert_eq!(run(steps.clone()), run(steps));
    }
}
