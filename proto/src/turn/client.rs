//! A TURN client machine, for tests, checks and benches: one allocation, without its socket.

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::ops::Range;
use std::time::Duration;

use rand_chacha::ChaCha12Rng;
use rand_chacha::rand_core::{Rng, SeedableRng};

use super::api::Transport;
use crate::stun::attributes::{
    DATA, Family, NONCE, REALM, REQUESTED_ADDRESS_FAMILY, USERNAME, XOR_MAPPED_ADDRESS, XOR_PEER_ADDRESS,
    XOR_RELAYED_ADDRESS,
};
use crate::stun::{Class, Code, Key, Message, Method, TransactionId, Writer};
use crate::time::Mono;

/// The first retransmission over UDP comes after this, each next one after twice as long (RFC 8489
/// section 6.2.1).
const RTO: Duration = Duration::from_millis(500);
/// How often a request is sent over UDP (`Rc`).
const TRANSMISSIONS: u32 = 7;
/// How long the last transmission waits for an answer, in RTOs (`Rm`).
const LAST_WAIT: u32 = 16;
/// How long a request over a stream waits (`Ti`, RFC 8489 section 6.2.2).
const STREAM_WAIT: Duration = Duration::from_millis(39_500);
/// How often a request is sent anew with another nonce.
const CHALLENGES: u8 = 3;

/// What a client did or learnt.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ClientEvent {
    /// A Binding request was answered.
    Mapped(SocketAddr),
    /// There is an allocation.
    Allocated {
        /// Its relayed transport address.
        relayed: SocketAddr,
        /// The client's address as the server sees it.
        mapped: SocketAddr,
        /// Seconds until it must be refreshed.
        lifetime: u32,
    },
    /// It was refreshed, or deleted where the lifetime is zero.
    Refreshed {
        /// Seconds until it must be refreshed again.
        lifetime: u32,
    },
    /// Permissions were installed or refreshed.
    Permitted(Vec<SocketAddr>),
    /// A channel was bound or refreshed: data to this peer goes through it from now on.
    Bound {
        /// The peer.
        peer: SocketAddr,
        /// The channel.
        number: u16,
    },
    /// A request was refused.
    Refused {
        /// Its method.
        method: Method,
        /// Why.
        code: Code,
    },
    /// A request was not answered.
    TimedOut(Method),
}

#[derive(Debug, Clone, PartialEq)]
enum Request {
    Binding,
    Allocate { family: Option<Family>, lifetime: Option<u32> },
    Refresh { lifetime: Option<u32> },
    Permit { peers: Vec<SocketAddr> },
    Bind { peer: SocketAddr, number: u16 },
}

impl Request {
    const fn method(&self) -> Method {
        match self {
            Self::Binding => Method::BINDING,
            Self::Allocate { .. } => Method::ALLOCATE,
            Self::Refresh { .. } => Method::REFRESH,
            Self::Permit { .. } => Method::CREATE_PERMISSION,
            Self::Bind { .. } => Method::CHANNEL_BIND,
        }
    }

    fn fill(&self, writer: Writer) -> Writer {
        match self {
            Self::Binding => writer,
            Self::Allocate { family, lifetime } => {
                let mut writer = writer.requested_transport(17);
                if let Some(lifetime) = lifetime {
                    writer = writer.lifetime(*lifetime);
                }
                match family {
                    Some(family) => writer.family(REQUESTED_ADDRESS_FAMILY, *family),
                    None => writer,
                }
            }
            Self::Refresh { lifetime } => match lifetime {
                Some(lifetime) => writer.lifetime(*lifetime),
                None => writer,
            },
            Self::Permit { peers } => {
                peers.iter().fold(writer, |writer, peer| writer.xor_address(XOR_PEER_ADDRESS, *peer))
            }
            Self::Bind { peer, number } => {
                writer.channel_number(*number).xor_address(XOR_PEER_ADDRESS, *peer)
            }
        }
    }
}

/// A request without an answer yet.
struct Pending {
    request: Request,
    transaction: TransactionId,
    bytes: Vec<u8>,
    /// How often it was sent.
    sent: u32,
    /// It has credentials.
    authenticated: bool,
    /// How often it was challenged.
    challenged: u8,
    /// When it is sent again, or given up.
    due: Mono,
}

/// What a 401 taught.
struct Realm {
    realm: String,
    nonce: String,
    key: Key,
}

/// A TURN client of one allocation. Requests go out in the order of the calls and are answered by
/// events; those on an allocation are to be made when there is one. Nothing is refreshed by itself.
pub struct Client {
    username: String,
    password: String,
    transport: Transport,
    rng: ChaCha12Rng,
    realm: Option<Realm>,
    pending: Vec<Pending>,
    /// Peers that a channel was asked for, in the order of the numbers from 0x4000.
    numbers: Vec<SocketAddr>,
    /// Channels that are bound.
    channels: Vec<(SocketAddr, u16)>,
    transmits: VecDeque<Vec<u8>>,
    events: VecDeque<ClientEvent>,
}

impl Client {
    /// A client with these credentials. `seed` makes its transaction ids.
    #[must_use]
    pub fn new(username: &str, password: &str, transport: Transport, seed: [u8; 32]) -> Self {
        Self {
            username: username.to_owned(),
            password: password.to_owned(),
            transport,
            rng: ChaCha12Rng::from_seed(seed),
            realm: None,
            pending: Vec::new(),
            numbers: Vec::new(),
            channels: Vec::new(),
            transmits: VecDeque::new(),
            events: VecDeque::new(),
        }
    }

    /// Asks where it is seen: [`ClientEvent::Mapped`].
    pub fn binding(&mut self, now: Mono) {
        self.start(now, Request::Binding);
    }

    /// Asks for an allocation, with credentials once the server wants them:
    /// [`ClientEvent::Allocated`]. A lifetime is in seconds.
    pub fn allocate(&mut self, now: Mono, family: Option<Family>, lifetime: Option<u32>) {
        self.start(now, Request::Allocate { family, lifetime });
    }

    /// Refreshes the allocation, or deletes it with a lifetime of zero: [`ClientEvent::Refreshed`].
    pub fn refresh(&mut self, now: Mono, lifetime: Option<u32>) {
        self.start(now, Request::Refresh { lifetime });
    }

    /// Asks for permissions: [`ClientEvent::Permitted`].
    pub fn permit(&mut self, now: Mono, peers: &[SocketAddr]) {
        self.start(now, Request::Permit { peers: peers.to_vec() });
    }

    /// Asks for a channel, the peer's own if it has one, else the next free: [`ClientEvent::Bound`].
    pub fn bind(&mut self, now: Mono, peer: SocketAddr) {
        let number = match self.numbers.iter().position(|numbered| *numbered == peer) {
            Some(at) => at,
            None => {
                self.numbers.push(peer);
                self.numbers.len() - 1
            }
        };
        let number = u16::try_from(number).unwrap_or(u16::MAX).saturating_add(0x4000);
        self.start(now, Request::Bind { peer, number });
    }

    /// Writes data for a peer to the end of `out`: as ChannelData if a channel is bound, else as a Send
    /// indication. At most 65,000 bytes.
    pub fn send(&mut self, peer: SocketAddr, payload: &[u8], out: &mut Vec<u8>) {
        let channel = self.channels.iter().find(|(bound, _)| *bound == peer);
        let Some((_, number)) = channel else {
            let transaction = self.transaction();
            let indication = Writer::new(Class::Indication, Method::SEND, transaction)
                .xor_address(XOR_PEER_ADDRESS, peer)
                .attribute(DATA, payload);
            out.extend(indication.finish());
            return;
        };
        let length = u16::try_from(payload.len()).unwrap_or(u16::MAX);
        let begin = out.len();
        out.extend(number.to_be_bytes());
        out.extend(length.to_be_bytes());
        out.extend(&payload[..usize::from(length)]);
        if self.transport.is_stream() {
            out.resize(begin + (out.len() - begin).next_multiple_of(4), 0);
        }
    }

    /// Takes one datagram, or one framed message of a stream, from the server. Returns whose data it
    /// is and where in `packet`, if it is data.
    pub fn handle_input(&mut self, now: Mono, packet: &[u8]) -> Option<(SocketAddr, Range<usize>)> {
        if let [number @ 0x40..=0x4F, low, l1, l0, ..] = *packet {
            let number = u16::from_be_bytes([number, low]);
            let (peer, _) = self.channels.iter().find(|(_, bound)| *bound == number)?;
            let body = 4..4 + usize::from(u16::from_be_bytes([l1, l0]));
            return (body.end <= packet.len()).then_some((*peer, body));
        }
        let message = Message::parse(packet).ok()?;
        match (message.class, message.method) {
            (Class::Indication, Method::DATA) => {
                Some((message.xor_address(XOR_PEER_ADDRESS).ok()??, message.range(DATA)?))
            }
            (Class::Success | Class::Error, _) => {
                self.response(now, &message);
                None
            }
            _ => None,
        }
    }

    /// Sends again what was not answered, or gives it up.
    pub fn handle_timeout(&mut self, now: Mono) {
        let (transmits, events) = (&mut self.transmits, &mut self.events);
        self.pending.retain_mut(|pending| {
            if pending.due > now {
                return true;
            }
            if self.transport.is_stream() || pending.sent >= TRANSMISSIONS {
                events.push_back(ClientEvent::TimedOut(pending.request.method()));
                return false;
            }
            transmits.push_back(pending.bytes.clone());
            pending.sent += 1;
            let last = pending.sent == TRANSMISSIONS;
            pending.due = now + RTO * if last { LAST_WAIT } else { 1 << (pending.sent - 1) };
            true
        });
    }

    /// When [`Self::handle_timeout`] is due.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<Mono> {
        self.pending.iter().map(|pending| pending.due).min()
    }

    /// The next message to send to the server.
    pub fn poll_transmit(&mut self) -> Option<Vec<u8>> {
        self.transmits.pop_front()
    }

    /// What happened.
    pub fn poll_event(&mut self) -> Option<ClientEvent> {
        self.events.pop_front()
    }

    fn transaction(&mut self) -> TransactionId {
        let mut transaction = [0; 12];
        self.rng.fill_bytes(&mut transaction);
        TransactionId(transaction)
    }

    fn start(&mut self, now: Mono, request: Request) {
        self.transmit(now, request, 0);
    }

    fn transmit(&mut self, now: Mono, request: Request, challenged: u8) {
        let transaction = self.transaction();
        let writer = request.fill(Writer::new(Class::Request, request.method(), transaction));
        let bytes = match &self.realm {
            Some(Realm { realm, nonce, key }) if request != Request::Binding => writer
                .attribute(USERNAME, self.username.as_bytes())
                .attribute(REALM, realm.as_bytes())
                .attribute(NONCE, nonce.as_bytes())
                .integrity(key.as_slice())
                .finish(),
            _ => writer.finish(),
        };
        let wait = if self.transport.is_stream() { STREAM_WAIT } else { RTO };
        self.transmits.push_back(bytes.clone());
        let authenticated = self.realm.is_some();
        let due = now + wait;
        self.pending.push(Pending { request, transaction, bytes, sent: 1, authenticated, challenged, due });
    }

    fn response(&mut self, now: Mono, message: &Message<'_>) {
        let Some(at) = self.pending.iter().position(|it| it.transaction == message.transaction) else {
            return;
        };
        let method = self.pending[at].request.method();
        // What is not of the server that shares the password is ignored (RFC 8489 section 9.2.5).
        let key = self.realm.as_ref().map(|realm| realm.key);
        let protected = message.class == Class::Success && message.method != Method::BINDING;
        let genuine = key.map_or(!protected, |key| !protected || message.verify(key.as_slice()));
        if method != message.method || !genuine {
            return;
        }
        let Pending { request, challenged, authenticated, .. } = self.pending.swap_remove(at);
        if message.class == Class::Success {
            let event = self.success(request, message);
            self.events.extend(event);
            return;
        }
        let code = message.error_code().ok().flatten().unwrap_or(Code::BAD_REQUEST);
        // A 401 to a request without credentials is the usual first step; to one with them it is final.
        let again = match code {
            Code::UNAUTHENTICATED => !authenticated,
            _ => code == Code::STALE_NONCE,
        };
        if again && challenged < CHALLENGES && self.learn(message) {
            self.transmit(now, request, challenged + 1);
        } else {
            self.events.push_back(ClientEvent::Refused { method: message.method, code });
        }
    }

    /// Takes realm and nonce of a challenge.
    fn learn(&mut self, message: &Message<'_>) -> bool {
        let (Ok(Some(realm)), Ok(Some(nonce))) = (message.realm(), message.nonce()) else { return false };
        let key = Key::long_term(&self.username, realm, &self.password);
        self.realm = Some(Realm { realm: realm.to_owned(), nonce: nonce.to_owned(), key });
        true
    }

    fn success(&mut self, request: Request, message: &Message<'_>) -> Option<ClientEvent> {
        let mapped = message.xor_address(XOR_MAPPED_ADDRESS).ok().flatten();
        let lifetime = message.lifetime().ok().flatten().unwrap_or(0);
        Some(match request {
            Request::Binding => ClientEvent::Mapped(mapped?),
            Request::Allocate { .. } => {
                let relayed = message.xor_address(XOR_RELAYED_ADDRESS).ok()??;
                ClientEvent::Allocated { relayed, mapped: mapped?, lifetime }
            }
            Request::Refresh { .. } => ClientEvent::Refreshed { lifetime },
            Request::Permit { peers } => ClientEvent::Permitted(peers),
            Request::Bind { peer, number } => {
                if !self.channels.contains(&(peer, number)) {
                    self.channels.push((peer, number));
                }
                ClientEvent::Bound { peer, number }
            }
        })
    }
}

#[cfg(test)]
mod tests {
    use super::super::{Config, FiveTuple, Forward, Output, RelayAddress, Server, Via, password};
    use super::*;
    use crate::mesh::uplink::{EdgeView, Secret};
    use crate::time::{Now, Unix};

    /// A server and two clients.
    struct Pair {
        server: Server,
        clients: [Client; 2],
        now: Now,
        got: Vec<(usize, SocketAddr, Vec<u8>)>,
    }

    fn tuple(transport: Transport, client: usize) -> FiveTuple {
        let client = SocketAddr::new([192, 0, 2, u8::try_from(client).unwrap()].into(), 5000);
        FiveTuple { transport, client, server: "203.0.113.5:3478".parse().unwrap() }
    }

    impl Pair {
        fn new(transport: Transport) -> Self {
            let ip = "203.0.113.5".parse().unwrap();
            let relays = vec![RelayAddress { bind: ip, advertised: ip, first: 50000, last: 50009 }];
            let now = Now { mono: Mono(Duration::from_secs(1000)), unix: Unix::from_secs(1_700_000_000) };
            let mut server = Server::new(Config::new("chappe", relays), [1; 32], now);
            let secret = Secret(b"secret".to_vec());
            let clients = [2, 3].map(|seed| {
                let username = format!("1700003600:user{seed}");
                Client::new(&username, &password(&secret, &username), transport, [seed; 32])
            });
            let view = EdgeView { secrets: [(1, secret)].into(), ..EdgeView::default() };
            server.set_view(now, &view);
            Self { server, clients, now, got: Vec::new() }
        }

        fn deliver(&mut self, from: usize, bytes: &[u8]) {
            let transport = self.clients[from].transport;
            let forward = self.server.handle_client(self.now, &tuple(transport, from), Via(0), bytes);
            if let Forward::ToClient { client, head, body, pad, .. } = forward {
                let mut packet = [head.as_slice(), &bytes[body]].concat();
                packet.resize(packet.len() + usize::from(pad), 0);
                self.hand_over(client, &packet);
            }
        }

        fn hand_over(&mut self, client: FiveTuple, packet: &[u8]) {
            let to = (0..2).find(|to| tuple(client.transport, *to) == client).unwrap();
            if let Some((peer, body)) = self.clients[to].handle_input(self.now.mono, packet) {
                self.got.push((to, peer, packet[body].to_vec()));
            }
        }

        fn run(&mut self) -> Vec<(usize, ClientEvent)> {
            loop {
                let sent: Vec<_> =
                    (0..2).filter_map(|from| Some((from, self.clients[from].poll_transmit()?))).collect();
                if sent.is_empty() {
                    break;
                }
                for (from, bytes) in sent {
                    self.deliver(from, &bytes);
                    while let Some(output) = self.server.poll_output() {
                        match output {
                            Output::BindRelay { relay, ip, ports } => {
                                self.server.handle_bound(self.now, relay, Ok(SocketAddr::new(ip, ports[0])));
                            }
                            Output::Send { client, bytes, .. } => self.hand_over(client, &bytes),
                            _ => {}
                        }
                    }
                }
            }
            let events = |(at, client): (usize, &mut Client)| {
                std::iter::from_fn(|| client.poll_event()).map(|event| (at, event)).collect::<Vec<_>>()
            };
            self.clients.iter_mut().enumerate().flat_map(events).collect()
        }
    }

    #[test]
    fn two_clients_talk_through_one_server() {
        for transport in [Transport::Udp, Transport::Tcp] {
            let mut pair = Pair::new(transport);
            let now = pair.now.mono;
            pair.clients.iter_mut().for_each(|client| client.allocate(now, None, None));
            let events = pair.run();
            let relayed: Vec<_> = events
                .iter()
                .map(|(_, event)| match event {
                    ClientEvent::Allocated { relayed, lifetime: 600, .. } => *relayed,
                    other => panic!("{other:?}"),
                })
                .collect();
            pair.clients[0].bind(now, relayed[1]);
            pair.clients[1].permit(now, &[relayed[0]]);
            let bound = ClientEvent::Bound { peer: relayed[1], number: 0x4000 };
            assert_eq!(pair.run(), [(0, bound), (1, ClientEvent::Permitted(vec![relayed[0]]))]);
            let (mut there, mut back) = (Vec::new(), Vec::new());
            pair.clients[0].send(relayed[1], b"hello", &mut there);
            pair.clients[1].send(relayed[0], b"hi", &mut back);
            pair.deliver(0, &there);
            pair.deliver(1, &back);
            assert_eq!(pair.got, [(1, relayed[0], b"hello".to_vec()), (0, relayed[1], b"hi".to_vec())]);
            pair.clients[0].refresh(now, Some(0));
            assert_eq!(pair.run(), [(0, ClientEvent::Refreshed { lifetime: 0 })]);
            assert_eq!(pair.server.allocations(), 1);
        }
    }

    #[test]
    fn a_stale_nonce_is_replaced_and_a_wrong_password_is_final() {
        let mut pair = Pair::new(Transport::Udp);
        pair.clients[0].allocate(pair.now.mono, None, Some(3600));
        assert!(matches!(pair.run()[..], [(0, ClientEvent::Allocated { .. })]));
        for _ in 0..2 {
            pair.now = pair.now.after(Duration::from_secs(1900));
            pair.clients[0].refresh(pair.now.mono, Some(3600));
            assert_eq!(pair.run(), [(0, ClientEvent::Refreshed { lifetime: 3600 })]);
        }
        pair.clients[1].password.push('x');
        pair.clients[1].allocate(pair.now.mono, None, None);
        let refused = ClientEvent::Refused { method: Method::ALLOCATE, code: Code::UNAUTHENTICATED };
        assert_eq!(pair.run(), [(1, refused)]);
    }

    #[test]
    fn what_is_lost_is_sent_again_and_in_the_end_given_up() {
        let mut pair = Pair::new(Transport::Udp);
        let start = pair.now.mono;
        pair.clients[0].binding(start);
        let lost = pair.clients[0].poll_transmit().unwrap();
        let mut at = Vec::new();
        let client = &mut pair.clients[0];
        while let Some(due) = client.poll_timeout() {
            client.handle_timeout(due);
            at.push(due.since(start).as_millis());
            if let Some(again) = client.poll_transmit() {
                assert_eq!(again, lost);
            }
        }
        // RFC 8489 section 6.2.1's own example.
        assert_eq!(at, [500, 1500, 3500, 7500, 15500, 31500, 39500]);
        assert_eq!(client.poll_event(), Some(ClientEvent::TimedOut(Method::BINDING)));
        pair.clients[0].binding(start);
        pair.clients[0].poll_transmit();
        pair.clients[0].handle_timeout(start + RTO);
        let mapped = "192.0.2.0:5000".parse().unwrap();
        assert_eq!(pair.run(), [(0, ClientEvent::Mapped(mapped))]);
        assert_eq!(pair.clients[0].poll_timeout(), None);
    }
}
