//! The TURN server machine: what comes in is sorted here and handled in a file for each request.

use std::collections::VecDeque;
use std::net::SocketAddr;

use ahash::RandomState;
use rand_chacha::ChaCha12Rng;
use rand_chacha::rand_core::{Rng, SeedableRng};

use super::answer::{Answer, Refusal};
use super::api::{BindError, EndReason, Event, FiveTuple, Forward, IcmpError, Output, RelayId, Via};
use super::authenticate::Request;
use super::bandwidth::Bandwidth;
use super::churn::Churn;
use super::config::{Config, Quotas};
use super::counters::{AllocationView, Counters, Drop};
use super::credential::{Credentials, User};
use super::gate::Gate;
use super::limit::{Limit, LimitLog};
use super::nonce::Nonces;
use super::realm::Realms;
use super::relays::Relays;
use super::source_rates::SourceRates;
use super::table::{AllocationId, Table};
use super::usage::Tallies;
use crate::id::SessionId;
use crate::limits;
use crate::mesh::uplink::{Alternate, EdgeChange, EdgeView, RelayRange};
use crate::stun::attributes::KNOWN;
use crate::stun::{Class, Code, Message, Method};
use crate::time::{Mono, Now};

/// A TURN server (RFC 8656) without its sockets.
///
/// Addresses that it is given must be plain: an IPv4 client of a dual-stack socket is an IPv4 address,
/// and IPv6 ones have neither flow information nor scope.
pub struct Server {
    pub(super) quotas: Quotas,
    pub(super) classic: bool,
    pub(super) dont_fragment: bool,
    pub(super) draining: bool,
    pub(super) table: Table,
    pub(super) churn: Churn,
    pub(super) relays: Relays,
    pub(super) credentials: Credentials,
    pub(super) realms: Realms,
    /// Where new clients are sent: at most one of each family.
    pub(super) alternates: Vec<SocketAddr>,
    /// Where they are sent while this edge drains or is full.
    pub(super) standby: Vec<SocketAddr>,
    /// Clients of each source that are sent elsewhere because this edge is full.
    pub(super) redirects: SourceRates,
    pub(super) gate: Gate,
    pub(super) nonces: Nonces,
    pub(super) rng: ChaCha12Rng,
    pub(super) outputs: VecDeque<Output>,
    pub(super) counters: Counters,
    pub(super) limits: LimitLog,
    pub(super) usage: Tallies,
    pub(super) bandwidth: Bandwidth,
    pub(super) challenges: SourceRates,
    pub(super) bindings: SourceRates,
}

impl Server {
    /// A server without secrets: it refuses every Allocate until [`Self::set_view`]. Nonces, ports and
    /// tokens follow from `seed`, which must be random and secret.
    #[must_use]
    pub fn new(config: Config, seed: [u8; 32], _now: Now) -> Self {
        let mut rng = ChaCha12Rng::from_seed(seed);
        let mut nonce_key = [0; 64];
        rng.fill_bytes(&mut nonce_key);
        let mut hash = || {
            let [a, b, c, d] = std::array::from_fn(|_| rng.next_u64());
            RandomState::with_seeds(a, b, c, d)
        };
        debug_assert_eq!(config.check(), Ok(()), "a realm to challenge with");
        let Config { realm, listener_realms, relays, listeners, quotas, classic, dont_fragment } = config;
        let own = relays.iter().flat_map(|relay| {
            let range = |address| RelayRange { address, first: relay.first, last: relay.last };
            [range(relay.advertised), range(relay.bind)]
        });
        let (table, ports, users, gate, sources) = (hash(), hash(), hash(), hash(), hash());
        let by_user = users.clone();
        Self {
            quotas,
            classic,
            dont_fragment,
            draining: false,
            churn: Churn::new(table.clone()),
            table: Table::new(table),
            relays: Relays::new(&relays, ports),
            credentials: Credentials::new(users.clone()),
            realms: Realms::new(&realm, &listener_realms, users),
            alternates: Vec::new(),
            standby: Vec::new(),
            redirects: SourceRates::keyed(
                sources.clone(),
                limits::CHALLENGE_BUCKETS,
                limits::REDIRECTS_BURST,
                limits::REDIRECTS_PER_SEC,
            ),
            gate: Gate::new(own.collect(), listeners, gate),
            nonces: Nonces::new(nonce_key),
            challenges: SourceRates::keyed(
                sources.clone(),
                limits::CHALLENGE_BUCKETS,
                quotas.challenges_burst,
                quotas.challenges_per_sec,
            ),
            bindings: SourceRates::keyed(
                sources,
                limits::CHALLENGE_BUCKETS,
                quotas.challenges_burst.saturating_mul(limits::BINDINGS_PER_CHALLENGE),
                quotas.challenges_per_sec.saturating_mul(limits::BINDINGS_PER_CHALLENGE),
            ),
            rng,
            outputs: VecDeque::new(),
            counters: Counters::default(),
            limits: LimitLog::default(),
            usage: Tallies::new(by_user, limits::USAGE_USERS_MAX),
            bandwidth: Bandwidth::new(&quotas),
        }
    }

    /// Takes one datagram, or one framed message of a stream ([`crate::stun::frame`]).
    pub fn handle_client(&mut self, now: Now, from: &FiveTuple, via: Via, packet: &[u8]) -> Forward {
        let forward = match packet.first() {
            // RFC 5766 section 11: 0x4000 to 0x7FFF are channels, 0x8000 to 0xFFFF nothing.
            Some(0x40..=0x7F) => self.channel_data(now, from, packet),
            Some(0x00..=0x3F) => self.message(now, from, via, packet),
            _ => Err(Drop::Malformed),
        };
        self.forward(forward)
    }

    /// Takes one datagram that arrived on a relayed socket.
    pub fn handle_peer(&mut self, now: Now, relay: RelayId, peer: SocketAddr, payload: &[u8]) -> Forward {
        let forward = self.receive(now, relay, peer, payload.len());
        self.forward(forward)
    }

    /// Learns of an ICMP error that a datagram from a relayed socket to `peer` met (RFC 8656 section
    /// 11.5).
    pub fn handle_icmp(&mut self, now: Now, relay: RelayId, peer: SocketAddr, error: IcmpError) {
        if let Err(cause) = self.icmp_error(now, relay, peer, error) {
            self.dropped(cause);
        }
    }

    /// Takes the answer to an [`Output::BindRelay`]: the local address that was bound, of one of the
    /// ports that were offered.
    pub fn handle_bound(&mut self, now: Now, relay: RelayId, result: Result<SocketAddr, BindError>) {
        self.bound(now, relay, result);
    }

    /// Learns that a client's stream has closed.
    pub fn handle_closed(&mut self, now: Now, client: &FiveTuple) {
        if let Some(id) = self.table.of_client(client) {
            self.end_allocation(now, id, EndReason::Disconnected);
        }
    }

    /// Does what is due; to be called when [`Self::poll_timeout`] has come.
    pub fn handle_timeout(&mut self, now: Now) {
        while let Some(id) = self.table.expired(now.mono) {
            self.end_allocation(now, id, EndReason::Expired);
        }
    }

    /// When [`Self::handle_timeout`] is due next.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<Mono> {
        self.table.next_timer()
    }

    /// What is to be done, in order; to be asked until `None` after each input.
    pub fn poll_output(&mut self) -> Option<Output> {
        self.outputs.pop_front()
    }

    /// Takes the whole of what the edge follows of the registry. Allocations of revoked sessions end,
    /// permissions that the policy no longer gives go.
    pub fn set_view(&mut self, now: Now, view: &EdgeView) {
        self.take_view(now, view);
    }

    /// Takes one change of it.
    pub fn apply(&mut self, now: Now, change: &EdgeChange) {
        self.take_change(now, change);
    }

    /// Says where new clients go while this edge drains or has as many allocations as it takes: what a node sees
    /// alive, the nearest first. Those that the feed names go before.
    pub fn set_standby(&mut self, alternates: &[Alternate]) {
        self.standby = alternates.iter().map(|alternate| alternate.address).collect();
    }

    /// Whether it has as many allocations as it takes.
    pub(super) fn is_full(&self) -> bool {
        self.table.len() >= self.quotas.allocations as usize
    }

    /// Ends a session's allocations: a directive.
    pub fn end(&mut self, now: Now, session: SessionId, why: EndReason) {
        self.end_user(now, &User::Session(session), why);
    }

    /// Allocations now, those included whose sockets are still being bound; without those of probes.
    #[must_use]
    pub fn allocations(&self) -> usize {
        self.table.len() - self.table.of_user(&User::Probe).len()
    }

    /// A username for a probe of this server, and its password; none where it has no secret.
    #[must_use]
    pub fn probe_credential(&self, now: Now) -> Option<(String, String)> {
        self.credentials.probe(now.unix)
    }

    /// Whether it takes no new allocations.
    #[must_use]
    pub const fn is_draining(&self) -> bool {
        self.draining
    }

    /// Ports that a new allocation could have now.
    pub fn free_ports(&mut self, now: Now) -> usize {
        self.relays.free_ports(now.mono)
    }

    /// Totals since the server began.
    #[must_use]
    pub const fn counters(&self) -> &Counters {
        &self.counters
    }

    /// How often each limit was met since the server began, in the order of [`Limit::ALL`].
    #[must_use]
    pub const fn limits(&self) -> &[u64; Limit::ALL.len()] {
        self.limits.totals()
    }

    /// Every allocation whose Allocate has been answered, in no order.
    pub fn list(&self, now: Now) -> impl Iterator<Item = AllocationView<'_>> {
        self.table.iter().filter_map(move |(_, allocation)| {
            let relay = allocation.relays.iter().next()?;
            Some(AllocationView {
                client: &allocation.client,
                relayed: self.relays.addresses(relay)?.0,
                username: &allocation.username,
                session: allocation.user.session(),
                sent: allocation.sent,
                received: allocation.received,
                permissions: allocation.permissions.count(now.mono),
                channels: allocation.channels.count(now.mono),
            })
        })
    }

    /// Counts a drop.
    pub(super) const fn dropped(&mut self, cause: Drop) {
        self.counters.drops[cause as usize] += 1;
    }

    fn forward(&mut self, forward: Result<Forward, Drop>) -> Forward {
        forward.unwrap_or_else(|cause| {
            self.dropped(cause);
            Forward::None
        })
    }

    /// Sorts STUN messages (RFC 8489 section 6.3).
    fn message(&mut self, now: Now, from: &FiveTuple, via: Via, packet: &[u8]) -> Result<Forward, Drop> {
        let Ok(message) = Message::parse(packet) else {
            return self.classic_binding(now, from, via, packet);
        };
        match (message.class, message.method) {
            (Class::Indication, Method::SEND) => return self.send(now, from, &message),
            // A keep-alive (RFC 8489 section 3.4).
            (Class::Indication, Method::BINDING) => {}
            (Class::Request, Method::BINDING) => return self.binding(now, from, via, &message),
            (
                Class::Request,
                Method::ALLOCATE | Method::REFRESH | Method::CREATE_PERMISSION | Method::CHANNEL_BIND,
            ) => {
                self.handle_timeout(now);
                match self.authenticate(now, from, via, &message) {
                    Ok(request) => self.request(now, &request),
                    Err(why) => return self.unauthenticated(now, from, via, &message, &why),
                }
            }
            // Responses, unknown methods and other indications are never answered.
            _ => return Err(Drop::Unexpected),
        }
        Ok(Forward::None)
    }

    /// Handles a request whose sender is known.
    fn request(&mut self, now: Now, request: &Request<'_>) {
        let unknown = Refusal::of_unknown(request.message.unknown(&KNOWN));
        let answer = unknown.and_then(|()| match request.message.method {
            Method::ALLOCATE => self.allocate(now, request),
            Method::REFRESH => self.refresh(now, request),
            Method::CREATE_PERMISSION => self.create_permission(now, request),
            _ => self.channel_bind(now, request),
        });
        let fingerprint = request.message.fingerprint;
        match answer {
            Ok(Answer::Later) => {}
            Ok(Answer::Success(answer)) => {
                self.answer(*request.from, request.via, answer, Some(request.protection), fingerprint);
            }
            Err(refusal) => {
                let answer = refusal.response(request.message);
                self.answer(*request.from, request.via, answer, Some(request.protection), fingerprint);
                self.refused(*request.from, refusal.code);
            }
        }
    }

    /// The allocation that a request is about: none is 437, another user's, or one of
    /// another realm, 441 (RFC 8656 section 5).
    pub(super) fn own_allocation(&self, request: &Request<'_>) -> Result<AllocationId, Code> {
        let id = request.allocation.ok_or(Code::ALLOCATION_MISMATCH)?;
        let allocation = self.table.get(id).filter(|allocation| allocation.is_active());
        let allocation = allocation.ok_or(Code::ALLOCATION_MISMATCH)?;
        let own = *allocation.username == *request.username && allocation.realm == request.realm;
        if own { Ok(id) } else { Err(Code::WRONG_CREDENTIALS) }
    }

    pub(super) fn end_user(&mut self, now: Now, user: &User, why: EndReason) {
        for id in self.table.of_user(user).to_vec() {
            self.end_allocation(now, id, why);
        }
    }

    pub(super) fn end_allocation(&mut self, now: Now, id: AllocationId, why: EndReason) {
        let Some(mut allocation) = self.table.remove(id) else { return };
        if let Some((tally, more)) = allocation.used() {
            self.usage.count(tally, more);
        }
        if let Some(tally) = allocation.usage {
            self.usage.end(tally);
        }
        let relayed = allocation.relays.iter().find_map(|relay| self.relays.addresses(relay));
        for relay in allocation.relays.iter() {
            if self.relays.close(now.mono, relay) {
                self.outputs.push_back(Output::CloseRelay(relay));
            }
        }
        let client = allocation.client;
        if allocation.user != User::Probe {
            self.churn.note(now.mono, allocation.user.clone(), client.client.ip());
        }
        let unwanted = matches!(why, EndReason::Revoked | EndReason::Left | EndReason::Closed);
        if unwanted && client.transport.is_stream() {
            self.outputs.push_back(Output::CloseClient(allocation.via));
        }
        // One that was never answered has not begun for anyone.
        if let Some((relayed, _)) = relayed.filter(|_| allocation.is_active()) {
            let username = allocation.username.into();
            self.outputs.push_back(Output::Event(Event::Ended { client, relayed, username, why }));
        }
    }
}
