//! Which edges a session's client is offered and asked to measure, and when again.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::time::Duration;

use rand_chacha::rand_core::Rng;

use super::super::frame::{IceFailure, IceReason, ServerFrame};
use super::{Output, Phase, Session, World};
use crate::id::EdgeId;
use crate::inspect::EdgeWay;
use crate::limits;
use crate::mesh::uplink::Secret;
use crate::select::ice::IceOffer;
use crate::select::quarantine::{WINDOW, network};
use crate::select::{Choice, Client, EdgeStatus, Measured, Place, draw_of};
use crate::time::{Mono, Now};

/// What a session knows of its client's ways to the edges.
#[derive(Debug, Clone, Default)]
pub(super) struct Ways {
    place: Place,
    /// What its socket came from last.
    network: Option<IpAddr>,
    measured: Measured,
    /// What it was offered, best first.
    pub(super) offered: Vec<EdgeId>,
    shunned: BTreeSet<EdgeId>,
    /// Of which it was heard whether they work, and when, within [`WINDOW`].
    said: Vec<(EdgeId, Mono)>,
    /// How often it was asked to measure more since its credentials were renewed.
    rounds: u32,
}

impl Ways {
    pub(super) fn from(place: Place) -> Self {
        Self { place, ..Self::default() }
    }

    /// What was measured elsewhere, and what failed there, says nothing here.
    fn forget(&mut self) {
        self.measured.forget();
        self.shunned.clear();
        self.said.clear();
        self.rounds = 0;
    }
}

impl Session {
    /// An edge that was there is lost.
    pub fn handle_edge_lost(&mut self, now: Now, world: &World, edge: &EdgeId, out: &mut Vec<Output>) {
        if self.phase == Phase::Present && self.socket.is_some() && self.may_use(edge) {
            self.offer_ice(now, world, IceReason::EdgeLost, Some(edge), out);
        }
    }

    /// An edge is there that was not. Who has none is told soon. Who has one may have it for want of a nearer one that
    /// came back later: it is asked to measure, later still. Each session is told at a time of its own.
    pub fn handle_edge_up(&mut self, now: Now) {
        if self.phase == Phase::Present {
            let (first, last) = (*limits::EDGE_UP_MEASURE.start(), *limits::EDGE_UP_MEASURE.end());
            let after = match self.ways.offered.is_empty() {
                true => self.some_of(limits::EDGE_UP_WITHIN),
                false => first + self.some_of(last - first),
            };
            self.tell_up_at = self.tell_up_at.min(now.mono + after);
        }
    }

    /// It is this client's turn to be told, where that is worth a frame still.
    pub(super) fn tell_up(&mut self, now: Now, world: &World, out: &mut Vec<Output>) {
        self.tell_up_at = Mono::NEVER;
        let choice = self.chosen(now.mono, world);
        self.tell_later(now, choice.later);
        if self.phase != Phase::Present || self.socket.is_none() || choice.best.is_empty() {
            return; // its next welcome tells it, or the next edge
        }
        let reason = match (self.ways.offered.first(), choice.best.first()) {
            (None, _) => IceReason::EdgeUp,
            (Some(first), Some(best)) if best.edge.edge != *first => IceReason::Closer,
            (Some(first), _) if choice.unsure || self.ways.measured.of(now.mono, first).is_none() => {
                IceReason::Measure
            }
            _ => return,
        };
        self.ways.rounds = 0;
        self.offer_ice(now, world, reason, None, out);
    }

    /// A nearer region whose edges are new takes this client too after that long: it is told then, since nothing else
    /// would tell it before its credentials are renewed.
    fn tell_later(&mut self, now: Now, later: Option<Duration>) {
        if let Some(later) = later {
            let after = later + self.some_of(limits::EDGE_UP_WITHIN);
            self.tell_up_at = self.tell_up_at.min(now.mono + after);
        }
    }

    /// Where the client is, as far as is known, and the address that its socket comes from: what it measured where it
    /// was before, or on another network, is forgotten.
    pub fn handle_source(&mut self, ip: IpAddr, place: Place) {
        let network = network(ip);
        let same = self.ways.network.replace(network).is_none_or(|former| former == network);
        if !same || self.ways.place != place {
            self.ways.place = place;
            self.ways.forget();
        }
    }

    pub(super) fn place(&self) -> Place {
        self.ways.place.clone()
    }

    /// After a measurement: offers again where another edge is nearer than the one offered first, or where one that
    /// was not measured yet could be.
    pub(super) fn handle_probes(
        &mut self,
        now: Now,
        world: &World,
        probes: BTreeMap<EdgeId, f64>,
        out: &mut Vec<Output>,
    ) {
        self.report_worked(now, world, probes.keys(), out);
        self.ways.measured.add(now.mono, probes);
        let choice = self.chosen(now.mono, world);
        let (best, unsure) = (choice.best.first().map(|best| best.edge.edge.clone()), choice.unsure);
        self.tell_later(now, choice.later);
        if best.is_some() && best.as_ref() != self.ways.offered.first() {
            self.offer_ice(now, world, IceReason::Closer, None, out);
        } else if unsure && self.ways.rounds < limits::MEASURE_ROUNDS {
            self.offer_ice(now, world, IceReason::Measure, None, out);
        }
    }

    /// Edges that the client has reached: each is said once in the time that a word counts for, however often it measures,
    /// and not while a failure counts, which the answer to a Binding request does not refute.
    fn report_worked<'a>(
        &mut self,
        now: Now,
        world: &World,
        reached: impl Iterator<Item = &'a EdgeId>,
        out: &mut Vec<Output>,
    ) {
        self.ways.said.retain(|(_, at)| now.mono.since(*at) < WINDOW);
        for edge in reached.filter(|edge| world.edges.edge(edge).is_some()) {
            let said = self.ways.said.iter().any(|(of, _)| of == edge);
            if !said && self.may_use(edge) && self.ways.said.len() < limits::EDGES_HANDED {
                self.ways.said.push((edge.clone(), now.mono));
                out.push(Output::IceReport { edge: edge.clone(), failure: None });
            }
        }
    }

    /// The edges to offer; none without a secret to issue credentials with.
    fn chosen<'a>(&self, now: Mono, world: &'a World) -> Choice<'a> {
        if world.secret.is_none() {
            return Choice::default();
        }
        let ways = &self.ways;
        let client = Client {
            place: &ways.place,
            app: Some(&self.room.app),
            draw: draw_of(&self.member.seat.session.to_string()),
            measured: &ways.measured,
            offered: &ways.offered,
            shunned: &ways.shunned,
        };
        world.edges.choose(now, &client)
    }

    pub(super) fn fresh_offer(&mut self, now: Now, world: &World) -> IceOffer {
        let none = Secret(Vec::new());
        let secret = world.secret.as_ref().unwrap_or(&none);
        let ttl = self.policy.credential_ttl;
        let choice = self.chosen(now.mono, world);
        let best: Vec<&EdgeStatus> = choice.best.iter().map(|best| best.edge).collect();
        let session = self.member.seat.session;
        let offer = IceOffer::new(&best, &choice.measure, secret, session, now.unix + ttl);
        self.seen.credential_until = Some(now.unix + ttl).filter(|_| !best.is_empty());
        self.tell_later(now, choice.later);
        self.ways.rounds += u32::from(choice.unsure);
        self.ways.offered = best.iter().map(|edge| edge.edge.clone()).collect();
        self.remember_handed();
        self.refresh_ice_at = now.mono + ttl * limits::CREDENTIAL_REFRESH_AT / 100;
        offer
    }

    pub(super) fn offer_ice(
        &mut self,
        now: Now,
        world: &World,
        reason: IceReason,
        lost: Option<&EdgeId>,
        out: &mut Vec<Output>,
    ) {
        if reason == IceReason::Expiring {
            (self.ways.rounds, self.ways.shunned) = (0, BTreeSet::new());
        }
        let offer = self.fresh_offer(now, world);
        let (ice_servers, edges) = (&offer.servers[..], &offer.edges[..]);
        let (ice_ttl_ms, draining) = (self.ice_ttl_ms(), &world.draining[..]);
        self.tell(&ServerFrame::IceServers { ice_servers, ice_ttl_ms, edges, reason, lost, draining }, out);
    }

    pub(super) fn ice_ttl_ms(&self) -> u64 {
        u64::try_from(self.policy.credential_ttl.as_millis()).unwrap_or(u64::MAX)
    }

    /// An edge is being emptied. A client that may be using it is told some time `within`: each session of the node
    /// at another one, so that not all of them restart ICE at once.
    pub fn handle_draining(&mut self, now: Now, edge: &EdgeId, within: Duration) {
        if self.phase == Phase::Present && self.may_use(edge) {
            let after = self.some_of(within);
            self.tell_draining_at = self.tell_draining_at.min(now.mono + after);
        }
    }

    /// A part of that time, drawn by lot.
    fn some_of(&mut self, time: Duration) -> Duration {
        time / 0x1_0000 * u32::try_from(self.rng.next_u64() >> 48).unwrap_or(0)
    }

    /// It is this client's turn to be told, unless the drain is over or its welcome has told it meanwhile.
    pub(super) fn tell_draining(&mut self, now: Now, world: &World, out: &mut Vec<Output>) {
        self.tell_draining_at = Mono::NEVER;
        // One without a socket is told by its next welcome.
        if self.socket.is_some() && world.draining.iter().any(|edge| self.may_use(edge)) {
            self.offer_ice(now, world, IceReason::Draining, None, out);
        }
    }

    /// The client says that ICE did not work over an edge; of one that it was never handed, or that is none, it knows
    /// nothing.
    pub(super) fn ice_failed(
        &mut self,
        now: Now,
        world: &World,
        edge: EdgeId,
        kind: IceFailure,
        out: &mut Vec<Output>,
    ) {
        let known = world.edges.edge(&edge).is_some();
        if known && self.may_use(&edge) && self.ice_failures.take(now.mono).is_ok() {
            self.ways.said.retain(|(of, _)| *of != edge);
            if self.ways.said.len() < limits::EDGES_HANDED {
                self.ways.said.push((edge.clone(), now.mono));
            }
            // It is offered others from now on, while there are any.
            if self.ways.shunned.len() < limits::SHUNNED_MAX {
                self.ways.shunned.insert(edge.clone());
            }
            self.seen.counts.ice_failures += 1;
            out.push(Output::IceReport { edge, failure: Some(kind) });
        }
    }

    /// Whether the client may have a connection over an edge: it was handed it here, or may have been elsewhere.
    fn may_use(&self, edge: &EdgeId) -> bool {
        self.came_from_elsewhere || self.handed.contains(edge)
    }

    /// The edges as an operator sees them: what was offered, best first, then what was measured besides.
    pub(super) fn ways_seen(&self, now: Mono) -> Vec<EdgeWay> {
        let way = |edge: &EdgeId, place: Option<usize>| EdgeWay {
            edge: edge.clone(),
            place: place.and_then(|place| u8::try_from(place + 1).ok()),
            rtt_ms: self.ways.measured.of(now, edge),
            failed: self.ways.shunned.contains(edge),
        };
        let offered = self.ways.offered.iter().enumerate().map(|(place, edge)| way(edge, Some(place)));
        let others = self.ways.measured.all(now).map(|(edge, _)| edge);
        let others = others.filter(|edge| !self.ways.offered.contains(edge));
        offered.chain(others.map(|edge| way(edge, None))).collect()
    }

    fn remember_handed(&mut self) {
        for edge in &self.ways.offered {
            self.handed.retain(|held| held != edge);
            self.handed.push_back(edge.clone());
        }
        while self.handed.len() > limits::EDGES_HANDED {
            self.handed.pop_front();
        }
    }
}
