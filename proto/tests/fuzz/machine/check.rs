//! What must hold after each step.

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use chappe_proto::stun::{Class, HEADER, Message, Method, attributes};
use chappe_proto::turn::{Counters, Event, Forward, Output, Via};

use super::client_of;
use super::world::{CLIENTS, PORTS, World, tuple};

const PERMISSION: Duration = Duration::from_secs(300);

impl World {
    /// Carries out what the server asks for. Answers how many bytes it sent without integrity.
    pub(crate) fn settle(&mut self) -> usize {
        let mut unprotected = 0;
        while let Some(output) = self.server.poll_output() {
            match output {
                Output::BindRelay { relay, ip, ports } => {
                    assert!(!self.open.contains_key(&relay), "an open socket's name");
                    assert!(self.waiting.iter().all(|(waiting, ..)| *waiting != relay), "a waiting one's");
                    assert!(!ports.is_empty());
                    let range = self.relays.iter().find(|range| range.bind == ip).expect("our address");
                    assert!(ports.iter().all(|port| (range.first..=range.last).contains(port)));
                    self.waiting.push((relay, ip, ports));
                }
                Output::CloseRelay(relay) => assert!(self.open.remove(&relay).is_some(), "not open"),
                Output::Send { client, via, bytes } => {
                    let index = client_of(&client);
                    assert_eq!(via, Via(index as u32));
                    unprotected += self.answer(index, &bytes);
                }
                Output::CloseClient(via) => {
                    assert!(tuple(via.0 as usize).transport.is_stream());
                    self.forget(via.0 as usize);
                }
                Output::Event(Event::Ended { client, .. }) => self.forget(client_of(&client)),
                Output::Event(Event::Refused { code, .. }) => assert!((300..700).contains(&code)),
                Output::Event(_) => {}
            }
        }
        unprotected
    }

    /// A message to a client: well-formed, and remembered as its client would.
    fn answer(&mut self, client: usize, bytes: &[u8]) -> usize {
        let Ok(message) = Message::parse(bytes) else {
            assert_eq!(bytes[..2], [1, 1], "a Binding response of RFC 3489");
            return bytes.len();
        };
        for (_, value) in message.attributes() {
            let end = value.end.next_multiple_of(4);
            assert!(bytes[value.end..end].iter().all(|byte| *byte == 0), "padding is zero");
        }
        if message.class == Class::Indication {
            // The one that is sent so: an ICMP error.
            assert_eq!(message.method, Method::DATA);
            assert!(message.get(attributes::ICMP).is_some() && message.get(attributes::DATA).is_none());
            return 0;
        }
        assert!(matches!(message.class, Class::Success | Class::Error));
        assert_eq!(message.class == Class::Error, message.error_code().unwrap().is_some());
        if let Some(nonce) = message.nonce().unwrap() {
            self.clients[client].nonce = nonce.to_owned();
            self.clients[client].realm = message.realm().unwrap().expect("with a NONCE").to_owned();
            let algorithms = message.get(attributes::PASSWORD_ALGORITHMS);
            self.clients[client].algorithms = algorithms.map(<[u8]>::to_vec);
        }
        if let Some(token) = message.reservation_token().unwrap() {
            self.clients[client].token = Some(token);
        }
        let peers = self.asked.remove(&message.transaction.0).unwrap_or_default();
        if message.class == Class::Success && message.method != Method::BINDING {
            assert!(message.integrity().is_some(), "a success without integrity");
            self.succeeded(client, &message, &peers);
        }
        if message.integrity().is_none() { bytes.len() } else { 0 }
    }

    fn succeeded(&mut self, client: usize, message: &Message<'_>, peers: &[IpAddr]) {
        match message.method {
            Method::CREATE_PERMISSION | Method::CHANNEL_BIND => {
                let until = self.now.mono + PERMISSION;
                self.permitted.extend(peers.iter().map(|ip| ((client, *ip), until)));
            }
            Method::ALLOCATE => {
                let relayed = message.xor_address(attributes::XOR_RELAYED_ADDRESS).unwrap().unwrap();
                let range = self.relays.iter().find(|range| range.advertised == relayed.ip()).unwrap();
                assert!((range.first..=range.last).contains(&relayed.port()));
                assert!(self.open.values().any(|open| open.port() == relayed.port()));
            }
            _ => assert!(message.lifetime().unwrap().is_some_and(|it| it == 0 || (600..=3600).contains(&it))),
        }
    }

    /// Nothing leaves but by an open socket, within the buffer, to whom it was permitted.
    pub(crate) fn check_forward(
        &self,
        forward: &Forward,
        length: usize,
        from: Option<usize>,
        peer: Option<SocketAddr>,
    ) {
        match forward {
            Forward::None => {}
            Forward::ToPeer { relay, peer, body, .. } => {
                let client = from.expect("of a client");
                assert!(body.start <= body.end && body.end <= length);
                assert_eq!(self.open[relay].is_ipv4(), peer.is_ipv4());
                assert!(self.permits(client, peer.ip()), "{peer} without a permission");
                self.check_peer(*peer);
            }
            Forward::ToClient { client, via, head, body, pad, .. } => {
                assert!(body.start <= body.end && body.end <= length);
                let (to, head) = (client_of(client), head.as_slice());
                assert_eq!(*via, Via(to as u32));
                match peer {
                    Some(peer) => assert!(self.permits(to, peer.ip()), "{peer} without a permission"),
                    // From relay to relay; each side by one of the addresses of the other.
                    None => assert!([from.unwrap(), to].iter().all(|it| self.permits_any(*it))),
                }
                let field = usize::from(u16::from_be_bytes([head[2], head[3]]));
                if head[0] < 0x40 {
                    assert_eq!(HEADER + field, head.len() + body.len() + usize::from(*pad));
                } else {
                    assert_eq!((head.len(), field), (4, body.len()));
                    let whole = head.len() + body.len() + usize::from(*pad);
                    assert!(!client.transport.is_stream() || whole.is_multiple_of(4));
                }
            }
        }
    }

    fn permits(&self, client: usize, ip: IpAddr) -> bool {
        self.permitted.get(&(client, ip)).is_some_and(|until| *until > self.now.mono)
    }

    fn permits_any(&self, client: usize) -> bool {
        self.permitted.iter().any(|((owner, _), until)| *owner == client && *until > self.now.mono)
    }

    /// A peer that data goes to: not one of those that no policy here allows.
    fn check_peer(&self, peer: SocketAddr) {
        let (ip, port) = (peer.ip(), peer.port());
        let ours = self.relays.iter().any(|it| it.bind == ip || it.advertised == ip);
        let fleet = ours || ip == IpAddr::from([10, 9, 8, 7]);
        let relayed = fleet && (50000..50010).contains(&port);
        let allowed = self.policy.allow.iter().any(|net| net.contains(&ip));
        let global = match ip {
            IpAddr::V4(v4) => {
                let [a, b, ..] = v4.octets();
                !(v4.is_loopback() || v4.is_private() || v4.is_link_local() || v4.is_multicast())
                    && !(v4.is_documentation() || a == 0 || a >= 224 || (a == 100 && b & 0xC0 == 64))
            }
            IpAddr::V6(v6) => {
                let [a, b, ..] = v6.segments();
                // Global unicast but Teredo, 6to4 and documentation; or NAT64, of a global address.
                a & 0xE000 == 0x2000 && a != 0x2002 && !(a == 0x2001 && (b == 0 || b == 0xDB8))
                    || (a == 0x64 && b == 0xFF9B)
            }
        };
        assert!(allowed || relayed || (global && !ours), "{peer}");
        assert!(!(ip == tuple(0).server.ip() && port == 3478), "our own listener");
    }

    /// Tables, ports and figures.
    pub(crate) fn check(&mut self) {
        let allocations = self.server.allocations();
        assert!(allocations <= self.quotas.allocations as usize && allocations <= CLIENTS);
        let (mut listed, mut users, mut sources) = (0, Vec::new(), Vec::new());
        for it in self.server.list(self.now) {
            listed += 1;
            assert!(it.permissions <= self.quotas.permissions);
            assert!(it.channels <= self.quotas.channels);
            users.push(it.session.map_or_else(|| it.username.to_owned(), |session| session.to_string()));
            sources.push(it.client.client.ip());
        }
        assert!(listed <= allocations);
        let most = |of: &[String]| of.iter().map(|it| of.iter().filter(|other| *other == it).count()).max();
        assert!(most(&users).unwrap_or(0) <= self.quotas.per_user as usize);
        let sources: Vec<_> = sources.iter().map(IpAddr::to_string).collect();
        assert!(most(&sources).unwrap_or(0) <= self.quotas.per_source as usize);
        assert!(self.open.len() <= 2 * allocations, "{} sockets of {allocations}", self.open.len());
        let total = self.relays.len() * usize::from(PORTS);
        assert!(self.server.free_ports(self.now) + self.open.len() <= total);
        assert!(listed == 0 || self.server.poll_timeout().is_some(), "an allocation that never ends");
        let now = self.server.counters().clone();
        assert!(grew(&self.counters, &now));
        self.counters = now;
    }
}

/// Whether no counter went back.
fn grew(before: &Counters, now: &Counters) -> bool {
    let drops = before.drops.iter().zip(&now.drops).all(|(before, now)| before <= now);
    let sent = before.sent.packets <= now.sent.packets && before.sent.bytes <= now.sent.bytes;
    let received =
        before.received.packets <= now.received.packets && before.received.bytes <= now.received.bytes;
    drops && sent && received && before.allocated <= now.allocated && before.bindings <= now.bindings
}
