//! Which edges a session's client is offered, and when again.

use std::time::Duration;

use rand_chacha::rand_core::Rng;

use super::super::frame::{IceFailure, IceReason, ServerFrame};
use super::{Output, Phase, Session, World};
use crate::id::EdgeId;
use crate::limits;
use crate::mesh::uplink::Secret;
use crate::select::ice::IceOffer;
use crate::select::{EdgeStatus, rank};
use crate::time::{Mono, Now};

impl Session {
    /// The edges changed; `lost` names one that was there before.
    pub fn handle_edges(&mut self, now: Now, world: &World, lost: Option<&EdgeId>, out: &mut Vec<Output>) {
        if self.phase != Phase::Present || self.socket.is_none() {
            return;
        }
        match lost {
            Some(edge) if self.offered.contains(edge) => {
                self.offer_ice(now, world, IceReason::EdgeLost, Some(edge), out);
            }
            None if self.offered.is_empty() && !self.ranked(world).is_empty() => {
                self.offer_ice(now, world, IceReason::EdgeUp, None, out);
            }
            _ => {}
        }
    }

    /// After a measurement: offers again where another edge is nearer than the one offered first.
    pub(super) fn offer_closer(&mut self, now: Now, world: &World, out: &mut Vec<Output>) {
        let best = self.ranked(world).first().map(|edge| edge.edge.clone());
        if best.is_some() && best.as_ref() != self.offered.first() {
            self.offer_ice(now, world, IceReason::Closer, None, out);
        }
    }

    /// The edges to offer, best first; none without a secret to issue credentials with.
    fn ranked<'a>(&self, world: &'a World) -> Vec<&'a EdgeStatus> {
        if world.secret.is_none() {
            return Vec::new();
        }
        rank(&world.edges, self.member.seat.region.as_deref(), &self.probes, self.offered.first())
    }

    pub(super) fn fresh_offer(&mut self, now: Now, world: &World) -> IceOffer {
        let none = Secret(Vec::new());
        let secret = world.secret.as_ref().unwrap_or(&none);
        let ttl = self.policy.credential_ttl;
        let offer = IceOffer::new(&self.ranked(world), secret, self.member.seat.session, now.unix + ttl);
        self.offered = offer.edges.iter().map(|edge| edge.edge.clone()).collect();
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
            let part = u32::try_from(self.rng.next_u64() >> 48).unwrap_or(0);
            self.tell_draining_at = self.tell_draining_at.min(now.mono + within / 0x1_0000 * part);
        }
    }

    /// It is this client's turn to be told, unless the drain is over or its welcome has told it meanwhile.
    pub(super) fn tell_draining(&mut self, now: Now, world: &World, out: &mut Vec<Output>) {
        self.tell_draining_at = Mono::NEVER;
        // One without a socket is told by its next welcome.
        if self.socket.is_some() && world.draining.iter().any(|edge| self.may_use(edge)) {
            self.offer_ice(now, world, IceReason::Draining, None, out);
        }
    }

    /// The client says that ICE did not work over an edge; of one that it was never handed it knows nothing.
    pub(super) fn ice_failed(&mut self, now: Now, edge: EdgeId, kind: IceFailure, out: &mut Vec<Output>) {
        if self.may_use(&edge) && self.ice_failures.take(now.mono).is_ok() {
            out.push(Output::IceFailed { edge, kind });
        }
    }

    /// Whether the client may have a connection over an edge: it was handed it here, or may have been elsewhere.
    fn may_use(&self, edge: &EdgeId) -> bool {
        self.came_from_elsewhere || self.handed.contains(edge)
    }

    fn remember_handed(&mut self) {
        for edge in &self.offered {
            self.handed.retain(|held| held != edge);
            self.handed.push_back(edge.clone());
        }
        while self.handed.len() > limits::EDGES_HANDED {
            self.handed.pop_front();
        }
    }
}
