//! A TURN client machine, for tests, checks and benches: one allocation, without its socket.

mod exchange;
mod login;
mod request;

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::ops::Range;
use std::time::Duration;

use rand_chacha::ChaCha12Rng;
use rand_chacha::rand_core::{Rng, SeedableRng};

use super::api::Transport;
use crate::stun::attributes::{
    DATA, Family, ORIGIN, XOR_MAPPED_ADDRESS, XOR_PEER_ADDRESS, XOR_RELAYED_ADDRESS,
};
use crate::stun::{Class, Code, Message, Method, TransactionId, Writer};
use crate::time::Mono;
pub use exchange::{Exchange, Outcome};
use login::Login;
pub use login::{Authentication, Options};
use request::Request;

/// The first retransmission over UDP comes after this, each next one after twice as long (RFC 8489
/// section 6.2.1).
const RTO: Duration = Duration::from_millis(500);
/// How often a request is sent over UDP (`Rc`).
const TRANSMISSIONS: u32 = 7;
/// How long the last transmission waits for an answer, in RTOs (`Rm`).
const LAST_WAIT: u32 = 16;
/// How long a request over a stream waits (`Ti`, RFC 8489 section 6.2.2).
const STREAM_WAIT: Duration = Duration::from_millis(39_500);
/// Exchanges that are kept for whoever asks; older ones are forgotten.
const EXCHANGES: usize = 32;
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
    /// An Allocate was answered with another server's address (300, ALTERNATE-SERVER): it is to be
    /// asked instead, by a new client (RFC 8489 section 10).
    Redirected(SocketAddr),
    /// A request was not answered.
    TimedOut(Method),
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
    /// When it was sent first.
    since: Mono,
    /// When it is sent again, or given up.
    due: Mono,
}

/// A TURN client of one allocation. Requests go out in the order of the calls and are answered by
/// events; those on an allocation are to be made when there is one. Nothing is refreshed by itself.
pub struct Client {
    username: String,
    password: String,
    transport: Transport,
    rng: ChaCha12Rng,
    options: Options,
    login: Option<Login>,
    pending: Vec<Pending>,
    /// Peers that a channel was asked for, in the order of the numbers from 0x4000.
    numbers: Vec<SocketAddr>,
    /// Channels that are bound.
    channels: Vec<(SocketAddr, u16)>,
    transmits: VecDeque<Vec<u8>>,
    events: VecDeque<ClientEvent>,
    exchanges: VecDeque<Exchange>,
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
            options: Options::default(),
            login: None,
            pending: Vec::new(),
            numbers: Vec::new(),
            channels: Vec::new(),
            transmits: VecDeque::new(),
            events: VecDeque::new(),
            exchanges: VecDeque::new(),
        }
    }

    /// The same with other choices than the defaults.
    #[must_use]
    pub fn with(mut self, options: Options) -> Self {
        self.options = options;
        self
    }

    /// The realm that the server challenged with, once it has.
    #[must_use]
    pub fn realm(&self) -> Option<&str> {
        self.login.as_ref().map(Login::realm)
    }

    /// How requests are authenticated, once the server has challenged.
    #[must_use]
    pub fn authentication(&self) -> Option<Authentication> {
        self.login.as_ref().map(Login::authentication)
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
        let (transmits, events, exchanges) = (&mut self.transmits, &mut self.events, &mut self.exchanges);
        self.pending.retain_mut(|pending| {
            if pending.due > now {
                return true;
            }
            if self.transport.is_stream() || pending.sent >= TRANSMISSIONS {
                let method = pending.request.method();
                events.push_back(ClientEvent::TimedOut(method));
                keep(exchanges, Exchange::timed_out(method, now.since(pending.since), pending.sent));
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

    /// What became of each request, the challenges on its way among them, in their order.
    pub fn poll_exchange(&mut self) -> Option<Exchange> {
        self.exchanges.pop_front()
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
        let mut writer = request.fill(Writer::new(Class::Request, request.method(), transaction));
        if let Some(origin) = &self.options.origin {
            writer = writer.attribute(ORIGIN, origin.as_bytes());
        }
        let login = self.login.as_ref().filter(|_| request != Request::Binding);
        let authenticated = login.is_some();
        let bytes = match login {
            Some(login) => login.sign(writer, &self.username).finish(),
            None => writer.finish(),
        };
        let wait = if self.transport.is_stream() { STREAM_WAIT } else { RTO };
        self.transmits.push_back(bytes.clone());
        let (since, due) = (now, now + wait);
        self.pending.push(Pending {
            request,
            transaction,
            bytes,
            sent: 1,
            authenticated,
            challenged,
            since,
            due,
        });
    }

    fn response(&mut self, now: Mono, message: &Message<'_>) {
        let Some(at) = self.pending.iter().position(|it| it.transaction == message.transaction) else {
            return;
        };
        let method = self.pending[at].request.method();
        // What is not of the server that shares the password is ignored (RFC 8489 section 9.2.5).
        let protected = message.class == Class::Success && message.method != Method::BINDING;
        let genuine = !protected || self.login.as_ref().is_none_or(|login| login.verify(message));
        if method != message.method || !genuine {
            return;
        }
        let Pending { request, challenged, authenticated, since, sent, .. } = self.pending.swap_remove(at);
        keep(&mut self.exchanges, Exchange::answered(message, now.since(since), sent));
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
            return;
        }
        self.events.push_back(match message.alternate_server() {
            Ok(Some(alternate)) if code == Code::TRY_ALTERNATE => ClientEvent::Redirected(alternate),
            _ => ClientEvent::Refused { method: message.method, code },
        });
    }

    /// Takes realm and nonce of a challenge.
    fn learn(&mut self, message: &Message<'_>) -> bool {
        let Some(login) = Login::learn(message, &self.username, &self.password, &self.options) else {
            return false;
        };
        self.login = Some(login);
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

/// Adds an exchange to those that are kept.
fn keep(exchanges: &mut VecDeque<Exchange>, exchange: Exchange) {
    if exchanges.len() == EXCHANGES {
        exchanges.pop_front();
    }
    exchanges.push_back(exchange);
}

#[cfg(test)]
mod tests;
