//! Which edges a session's client is offered, and when again.

use super::super::frame::{IceReason, ServerFrame};
use super::{Output, Phase, Session, World};
use crate::id::EdgeId;
use crate::limits;
use crate::mesh::uplink::Secret;
use crate::select::ice::IceOffer;
use crate::select::{EdgeStatus, rank};
use crate::time::Now;

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
        rank(&world.edges, self.region.as_ref(), &self.probes, self.offered.first())
    }

    pub(super) fn fresh_offer(&mut self, now: Now, world: &World) -> IceOffer {
        let none = Secret(Vec::new());
        let secret = world.secret.as_ref().unwrap_or(&none);
        let offer = IceOffer::new(&self.ranked(world), secret, self.member.seat.session, now.unix);
        self.offered = offer.edges.iter().map(|edge| edge.edge.clone()).collect();
        self.refresh_ice_at = now.mono + limits::CREDENTIAL_TTL * limits::CREDENTIAL_REFRESH_AT / 100;
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
        self.tell(
            &ServerFrame::IceServers { ice_servers, ice_ttl_ms: ice_ttl_ms(), edges, reason, lost },
            out,
        );
    }
}

pub(super) fn ice_ttl_ms() -> u64 {
    u64::try_from(limits::CREDENTIAL_TTL.as_millis()).unwrap_or(u64::MAX)
}
