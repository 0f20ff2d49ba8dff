//! A probe of one listener as a client of it: Binding, Allocate, a permission for the prober's own address, a
//! datagram from there to the relayed address, which must come out at the client's end, and the allocation given
//! back. Without its sockets: the shell has one to the server, and one of the same address that sends to the relayed
//! address.

use std::net::SocketAddr;
use std::time::Duration;

use super::api::Transport;
use super::client::{Client, ClientEvent};
use crate::limits::PROBE_TEXT_MAX;
use crate::mesh::probe::{Cause, Fault, Found, RelayFound, Step};
use crate::mesh::uplink::{Listener, RelayRange};
use crate::stun::attributes::Family;
use crate::stun::{Code, Method};
use crate::time::Mono;

/// From one datagram to the relayed address to the next: any of them may be lost.
const AGAIN: Duration = Duration::from_millis(150);
/// How long one of them is waited for.
const RELAY_WITHIN: Duration = Duration::from_millis(1500);
/// How long an allocation is given back; it ends by itself otherwise.
const RELEASE_WITHIN: Duration = Duration::from_millis(500);

/// How far a probe goes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Reach {
    /// A Binding.
    Binding,
    /// And an allocation by these credentials.
    Allocation {
        /// The username.
        username: String,
        /// Its password.
        password: String,
    },
    /// And a datagram through it.
    Relay {
        /// The username.
        username: String,
        /// Its password.
        password: String,
        /// Where relayed addresses may be; others are not sent to.
        relays: Vec<RelayRange>,
    },
}

/// What the shell is to send.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ProbeOutput {
    /// To the server.
    Server(Vec<u8>),
    /// From the other socket to the relayed address.
    Relay(SocketAddr, Vec<u8>),
}

/// Where it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stage {
    Binding,
    Allocate,
    Permission,
    Relay { since: Mono, next: Mono },
    Release { until: Mono },
    Done,
}

/// A probe of one listener.
pub struct Probing {
    client: Client,
    listener: Listener,
    relays: Option<Vec<RelayRange>>,
    allocates: bool,
    stage: Stage,
    since: Mono,
    mark: [u8; 16],
    mapped: Option<SocketAddr>,
    answered: Option<Duration>,
    relayed: Option<SocketAddr>,
    heard: Option<Duration>,
    fault: Option<Fault>,
}

impl Probing {
    /// Begins with a Binding request. `seed` makes transaction ids and the datagram's contents.
    #[must_use]
    pub fn new(now: Mono, listener: Listener, reach: Reach, seed: [u8; 32]) -> Self {
        let (username, password, relays) = match reach {
            Reach::Binding => (None, String::new(), None),
            Reach::Allocation { username, password } => (Some(username), password, None),
            Reach::Relay { username, password, relays } => (Some(username), password, Some(relays)),
        };
        let transport: Transport = listener.transport;
        let mut client = Client::new(username.as_deref().unwrap_or_default(), &password, transport, seed);
        client.binding(now);
        let mut mark = [0; 16];
        mark.copy_from_slice(&seed[16..]);
        Self {
            client,
            listener,
            relays,
            allocates: username.is_some(),
            stage: Stage::Binding,
            since: now,
            mark,
            mapped: None,
            answered: None,
            relayed: None,
            heard: None,
            fault: None,
        }
    }

    /// Takes one datagram, or one framed message of a stream, from the server.
    pub fn handle_input(&mut self, now: Mono, packet: &[u8]) {
        if let Some((_, body)) = self.client.handle_input(now, packet)
            && packet.get(body) == Some(&self.mark[..])
            && let Stage::Relay { since, .. } = self.stage
        {
            self.heard = Some(now.since(since));
            self.release(now);
        }
        while let Some(event) = self.client.poll_event() {
            self.event(now, &event);
        }
    }

    /// Does what is due.
    pub fn handle_timeout(&mut self, now: Mono) {
        match self.stage {
            Stage::Relay { since, .. } if now.since(since) >= RELAY_WITHIN => {
                self.fail(Step::Relay, Cause::Silent, None, "");
                self.release(now);
            }
            Stage::Release { until } if until <= now => self.stage = Stage::Done,
            _ => {}
        }
        self.client.handle_timeout(now);
        while let Some(event) = self.client.poll_event() {
            self.event(now, &event);
        }
    }

    /// When [`Self::handle_timeout`] is due, or there is something to send.
    #[must_use]
    pub fn poll_timeout(&self) -> Mono {
        let own = match self.stage {
            Stage::Relay { since, next } => next.min(since + RELAY_WITHIN),
            Stage::Release { until } => until,
            _ => Mono::NEVER,
        };
        self.client.poll_timeout().unwrap_or(Mono::NEVER).min(own)
    }

    /// The next to send; to be asked until `None` after each input.
    pub fn poll_output(&mut self, now: Mono) -> Option<ProbeOutput> {
        if let Some(message) = self.client.poll_transmit() {
            return Some(ProbeOutput::Server(message));
        }
        let Stage::Relay { since, next } = self.stage else { return None };
        let relayed = self.relayed.filter(|_| next <= now)?;
        self.stage = Stage::Relay { since, next: now + AGAIN };
        Some(ProbeOutput::Relay(relayed, self.mark.to_vec()))
    }

    /// Whether there is nothing more to do.
    #[must_use]
    pub fn is_done(&self) -> bool {
        self.stage == Stage::Done
    }

    /// What was found: where it is not done, its present step has not been answered, or failed as the shell says.
    #[must_use]
    pub fn finish(mut self, cause: Option<(Cause, &str)>) -> Found {
        let step = match self.stage {
            Stage::Binding if cause.is_some() => Some(Step::Connect),
            Stage::Binding => Some(Step::Binding),
            Stage::Allocate => Some(Step::Allocate),
            Stage::Permission => Some(Step::Permission),
            Stage::Relay { .. } => Some(Step::Relay),
            Stage::Release { .. } | Stage::Done => None,
        };
        if let Some(step) = step {
            let (cause, text) = cause.unwrap_or((Cause::Silent, ""));
            self.fail(step, cause, None, text);
        }
        let micros = |time: Duration| u32::try_from(time.as_micros()).unwrap_or(u32::MAX);
        let heard_us = self.heard.map(micros);
        Found {
            listener: self.listener,
            answered_us: self.answered.map(micros),
            fault: self.fault,
            relay: self.relayed.map(|address| RelayFound { address, heard_us }),
        }
    }

    fn event(&mut self, now: Mono, event: &ClientEvent) {
        match *event {
            ClientEvent::Mapped(mapped) => {
                (self.mapped, self.answered) = (Some(mapped), Some(now.since(self.since)));
                if self.allocates {
                    self.stage = Stage::Allocate;
                    let v6 = self.listener.address.is_ipv6() && mapped.is_ipv6();
                    self.client.allocate(now, v6.then_some(Family::V6), None);
                } else {
                    self.stage = Stage::Done;
                }
            }
            ClientEvent::Allocated { relayed, mapped, .. } => self.allocated(now, relayed, mapped),
            ClientEvent::Permitted(_) => self.stage = Stage::Relay { since: now, next: now },
            ClientEvent::Refreshed { .. } => self.stage = Stage::Done,
            // It sends clients elsewhere, has as many as it takes, or has no IPv6 relay: it answers, which is
            // what it was asked for.
            ClientEvent::Redirected(_) => self.stage = Stage::Done,
            ClientEvent::Refused { method: Method::ALLOCATE, code } if excused(code) => {
                self.stage = Stage::Done;
            }
            ClientEvent::Refused { method, code } => self.refused(now, method, code),
            ClientEvent::TimedOut(method) => {
                self.fail(step(method), Cause::Silent, None, "");
                self.end(now, method);
            }
            ClientEvent::Bound { .. } => {}
        }
    }

    fn allocated(&mut self, now: Mono, relayed: SocketAddr, mapped: SocketAddr) {
        self.relayed = Some(relayed);
        let Some(relays) = &self.relays else { return self.release(now) };
        if !relays.iter().any(|range| range.contains(relayed)) {
            let text = format!("{relayed} is none of its relay ports");
            self.fail(Step::Relay, Cause::Garbage, None, &text);
            return self.release(now);
        }
        if mapped.is_ipv4() != relayed.is_ipv4() {
            return self.release(now); // there is no way for this prober to send there
        }
        self.stage = Stage::Permission;
        self.client.permit(now, &[mapped]);
    }

    fn refused(&mut self, now: Mono, method: Method, code: Code) {
        self.fail(step(method), Cause::Code, Some(code.0), "");
        self.end(now, method);
    }

    /// A request came to nothing: what there is is given back.
    fn end(&mut self, now: Mono, method: Method) {
        match method {
            Method::CREATE_PERMISSION => self.release(now),
            _ => self.stage = Stage::Done,
        }
    }

    fn release(&mut self, now: Mono) {
        self.stage = Stage::Release { until: now + RELEASE_WITHIN };
        self.client.refresh(now, Some(0));
    }

    /// The first fault is the one that is told.
    fn fail(&mut self, step: Step, cause: Cause, code: Option<u16>, text: &str) {
        let end = text.floor_char_boundary(PROBE_TEXT_MAX);
        let text = text.get(..end).unwrap_or_default().to_owned();
        self.fault.get_or_insert(Fault { step, cause, code, text });
    }
}

/// The step of a request.
fn step(method: Method) -> Step {
    match method {
        Method::BINDING => Step::Binding,
        Method::ALLOCATE => Step::Allocate,
        Method::CREATE_PERMISSION => Step::Permission,
        _ => Step::Unknown,
    }
}

/// Whether an Allocate may be refused so by a server in which nothing is broken: it is full, drains, or is asked
/// for a family that it has no relay of.
fn excused(code: Code) -> bool {
    [Code::ALLOCATION_QUOTA_REACHED, Code::ADDRESS_FAMILY_NOT_SUPPORTED].contains(&code)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::id::Index;
    use crate::mesh::uplink::{EdgeView, PeerPolicy, Secret};
    use crate::time::{Now, Unix};
    use crate::turn::{Config, FiveTuple, Forward, Output, PROBE_USER, RelayAddress, Server, Via, password};

    const CLIENT: &str = "198.51.100.9:4000";
    const PEER: &str = "198.51.100.9:4001";

    struct World {
        now: Now,
        server: Server,
        relay: Option<(crate::turn::RelayId, SocketAddr)>,
        /// Whether datagrams to relayed addresses come through.
        open: bool,
    }

    impl World {
        fn new(change: impl FnOnce(&mut Config, &mut EdgeView)) -> Self {
            let now = Now { mono: Mono(Duration::from_secs(9)), unix: Unix::from_secs(1_700_000_000) };
            let ip = "203.0.113.7".parse().unwrap();
            let relay = RelayAddress { bind: ip, advertised: ip, first: 50000, last: 50999 };
            let mut config = Config::new("chappe", vec![relay]);
            config.listeners = vec![listener().address];
            let secrets = [(1, Secret(b"secret".to_vec()))].into();
            // A probe's own address is let through whatever is denied.
            let peers = PeerPolicy { allow: vec![], deny: vec!["198.51.100.0/24".parse().unwrap()] };
            let mut view = EdgeView { index: Index(1), secrets, peers, ..EdgeView::default() };
            change(&mut config, &mut view);
            let mut server = Server::new(config, [7; 32], now);
            server.set_view(now, &view);
            Self { now, server, relay: None, open: true }
        }

        /// Runs a probe to its end; how long it took.
        fn run(&mut self, reach: Reach) -> (Found, Duration) {
            let begin = self.now;
            let mut probe = Probing::new(self.now.mono, listener(), reach, [9; 32]);
            while !probe.is_done() && self.now.mono.since(begin.mono) < Duration::from_secs(60) {
                while let Some(output) = probe.poll_output(self.now.mono) {
                    match output {
                        ProbeOutput::Server(bytes) => self.request(&mut probe, &bytes),
                        ProbeOutput::Relay(to, bytes) => self.datagram(&mut probe, to, &bytes),
                    }
                }
                if !probe.is_done() {
                    let step = probe.poll_timeout().until(self.now.mono).max(Duration::from_millis(1));
                    self.now = self.now.after(step);
                    probe.handle_timeout(self.now.mono);
                }
            }
            (probe.finish(None), self.now.mono.since(begin.mono))
        }

        fn request(&mut self, probe: &mut Probing, bytes: &[u8]) {
            let (client, server) = (CLIENT.parse().unwrap(), listener().address);
            let from = FiveTuple { transport: Transport::Udp, client, server };
            self.server.handle_client(self.now, &from, Via(0), bytes);
            while let Some(output) = self.server.poll_output() {
                match output {
                    Output::Send { bytes, .. } => probe.handle_input(self.now.mono, &bytes),
                    Output::BindRelay { relay, ip, ports } => {
                        let bound = SocketAddr::new(ip, ports[0]);
                        self.relay = Some((relay, bound));
                        self.server.handle_bound(self.now, relay, Ok(bound));
                    }
                    _ => {}
                }
            }
        }

        fn datagram(&mut self, probe: &mut Probing, to: SocketAddr, bytes: &[u8]) {
            let (relay, address) = self.relay.unwrap();
            assert_eq!(to, address);
            if !self.open {
                return;
            }
            let forward = self.server.handle_peer(self.now, relay, PEER.parse().unwrap(), bytes);
            let Forward::ToClient { head, body, pad, .. } = forward else { panic!("not let through") };
            let mut packet = head.as_slice().to_vec();
            packet.extend(&bytes[body]);
            packet.resize(packet.len() + usize::from(pad), 0);
            probe.handle_input(self.now.mono, &packet);
        }
    }

    fn listener() -> Listener {
        let address = "203.0.113.7:3478".parse().unwrap();
        Listener { transport: Transport::Udp, address, hostname: None }
    }

    fn reach(secret: &[u8]) -> Reach {
        let username = format!("1700000100:{PROBE_USER}");
        let password = password(&Secret(secret.to_vec()), &username);
        let address = listener().address.ip();
        Reach::Relay { username, password, relays: vec![RelayRange { address, first: 50000, last: 50999 }] }
    }

    #[test]
    fn from_binding_to_a_datagram_and_back_again() {
        let mut world = World::new(|_, _| {});
        let (found, took) = world.run(reach(b"secret"));
        assert_eq!(found.fault, None);
        assert!(found.answered_us.is_some() && found.relay.as_ref().unwrap().heard_us.is_some(), "{found:?}");
        assert!(took < Duration::from_millis(10));
        assert_eq!(world.server.list(world.now).count(), 0, "given back");
        assert_eq!(world.server.counters().allocated, 0, "it is in no figure of use");
    }

    #[test]
    fn closed_relay_ports_are_found_and_the_allocation_is_given_back() {
        let mut world = World::new(|_, _| {});
        world.open = false;
        let (found, took) = world.run(reach(b"secret"));
        let fault = found.fault.unwrap();
        assert_eq!((fault.step, fault.cause), (Step::Relay, Cause::Silent));
        assert_eq!(found.relay.unwrap().heard_us, None);
        assert!(took < Duration::from_secs(2), "{took:?}");
        assert_eq!(world.server.list(world.now).count(), 0);
    }

    #[test]
    fn a_wrong_password_is_told() {
        let (found, _) = World::new(|_, _| {}).run(reach(b"another"));
        let fault = found.fault.unwrap();
        assert_eq!((fault.step, fault.code), (Step::Allocate, Some(401)));
        assert!(found.answered_us.is_some());
    }

    #[test]
    fn an_edge_that_is_full_or_drains_answers() {
        let full = |config: &mut Config, _: &mut EdgeView| config.quotas.allocations = 0;
        assert_eq!(World::new(full).run(reach(b"secret")).0.fault, None);
        let drains = |_: &mut Config, view: &mut EdgeView| view.draining = true;
        assert_eq!(World::new(drains).run(reach(b"secret")).0.fault, None);
        // One with few ports keeps them for people.
        let few = |config: &mut Config, _: &mut EdgeView| config.relays[0].last = 50010;
        let mut world = World::new(few);
        assert_eq!(world.run(reach(b"secret")).0.fault, None);
        assert_eq!(world.relay, None);
    }

    #[test]
    fn nothing_is_sent_outside_of_the_relay_ranges_that_were_told() {
        let Reach::Relay { username, password, mut relays } = reach(b"secret") else { panic!() };
        relays[0].last = 50000 - 1;
        let mut world = World::new(|_, _| {});
        let (found, _) = world.run(Reach::Relay { username, password, relays });
        assert_eq!(found.fault.unwrap().cause, Cause::Garbage);
        assert_eq!(world.server.list(world.now).count(), 0);
    }

    #[test]
    fn silence_is_of_the_step_that_it_meets() {
        let probe = || Probing::new(Mono::default(), listener(), reach(b"secret"), [9; 32]);
        let fault = probe().finish(None).fault.unwrap();
        assert_eq!((fault.step, fault.cause), (Step::Binding, Cause::Silent));
        let fault = probe().finish(Some((Cause::Refused, "connection refused"))).fault.unwrap();
        assert_eq!((fault.step, fault.text.as_str()), (Step::Connect, "connection refused"));
        let long = "é".repeat(PROBE_TEXT_MAX);
        assert_eq!(probe().finish(Some((Cause::Other, &long))).fault.unwrap().text.len(), PROBE_TEXT_MAX);
    }
}
