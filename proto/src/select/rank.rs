//! The choice: which edges a client is given, and which it is asked to measure.
//!
//! 1. Regions are ordered: those that a rule prefers first, then by latency, as measured, else as estimated.
//! 2. The nearest that takes this client is taken: one that fills up takes a part of those who come, drawn by each
//!    client for itself, and the others go to the next.
//! 3. Within the region two edges are drawn with odds by weight, capacity and age, and one of the two with odds by
//!    what each has free. (The less loaded of the two, as "the power of two choices" has it, is the same one for
//!    everybody until the next load report where there are two edges, and nearly so where there are few.)
//! 4. An edge that the client has is kept, unless another region is clearly nearer by measurement.
//! 5. The second edge is one of the next region, where that costs little, so that one failure does not take both.

use std::collections::BTreeSet;

use super::catalog::{Catalog, Place, Site};
use super::distance::Near;
use super::draw::{unit, weighted};
use super::{EDGES_PER_CLIENT, EdgeStatus, Measured, clearly_nearer};
use crate::id::{AppId, EdgeId};
use crate::time::Mono;

/// The second edge is one of another region where that is no more than this farther, in milliseconds: a call that
/// has to go over it does not become another call.
pub const SECOND_MS: f64 = 25.0;

/// A region sends on a part of those who come once it is used by this much: none of its allocations are refused
/// for want of capacity while others have any free, and what of its load was not reported yet fits into the rest.
pub const SHED_FROM: f64 = 0.8;

/// Of what a region has free those whose edge was lost are given this part in all. They choose at once, before any
/// load report tells of the others, and edges fill unevenly. Without it the simulation had an edge with 1.6 times
/// what it holds when the largest region died.
pub const REFUGE: f64 = 0.7;

/// Of two edges one is taken with odds by this power of what each has free. The simulation says why: at 1 a
/// difference of loads takes a whole life of sessions to go, at 8 it turns over with each report.
pub const FREE_POWER: i32 = 3;

/// Who is to be given edges.
#[derive(Debug, Clone, Copy)]
pub struct Client<'a> {
    /// Where it is.
    pub place: &'a Place,
    /// Its app, which rules may be about.
    pub app: Option<&'a AppId>,
    /// Of its session's name ([`super::draw_of`]): the same for the session's whole life.
    pub draw: u64,
    /// What it has measured.
    pub measured: &'a Measured,
    /// What it has been given before, best first.
    pub offered: &'a [EdgeId],
    /// Edges over which its own ICE has failed: only where there is nothing else.
    pub shunned: &'a BTreeSet<EdgeId>,
}

/// By what a latency is known.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum By {
    /// The client measured it: this edge, or another of its region.
    Measured,
    /// The distance on the globe.
    Geography,
    /// It is the client's own region.
    Region,
    /// The node's own round trip to it: the client is taken to be near the node.
    Uplink,
    /// Not at all.
    Nothing,
}

/// An edge that is given to a client.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Ranked<'a> {
    /// Which.
    pub edge: &'a EdgeStatus,
    /// How far it is taken to be: the round trip in milliseconds.
    pub ms: f64,
    /// By what.
    pub by: By,
}

/// What a client is given.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Choice<'a> {
    /// Edges to use, the best first, [`EDGES_PER_CLIENT`] at most.
    pub best: Vec<Ranked<'a>>,
    /// Edges to measure: those, and others that could be nearer, [`super::MEASURE_MAX`] in all.
    pub measure: Vec<&'a EdgeStatus>,
    /// Whether one of `measure` is of a region that could be nearer, and was not measured.
    pub unsure: bool,
}

impl Catalog {
    /// The edges for a client.
    #[must_use]
    pub fn choose(&self, now: Mono, client: &Client<'_>) -> Choice<'_> {
        let mut measured: Vec<Option<f64>> = vec![None; self.sites.len()];
        for (edge, ms) in client.measured.all(now) {
            if let Some(best) = self.place_of(edge).and_then(|(site, _)| measured.get_mut(site)) {
                *best = Some(best.map_or(ms, |best| best.min(ms)));
            }
        }
        let belief = self.belief(client, &measured);
        let nears = self.order(client, &measured, &belief);
        let Some(first) = self.first(now, client, &nears) else { return Choice::default() };
        let mut best = vec![first];
        best.extend(self.second(now, client, &nears, first));
        best.truncate(EDGES_PER_CLIENT);
        let (measure, unsure) = self.to_measure(client, &nears, &best, &measured, &belief);
        let status = |(near, nth): &(Near<'_>, usize)| {
            let edge = self.edges.get(*nth)?;
            let own = client.measured.of(now, &edge.edge);
            Some(Ranked { edge, ms: own.unwrap_or(near.ms), by: near.by })
        };
        Choice { best: best.iter().filter_map(status).collect(), measure, unsure }
    }

    /// The edge to use: the present one, the nearest that takes the client, or whatever there is.
    fn first<'a>(&'a self, now: Mono, client: &Client<'_>, nears: &[Near<'a>]) -> Option<(Near<'a>, usize)> {
        let kept = client.offered.first().and_then(|edge| self.keep(now, client, nears, edge));
        let taken = || {
            let takes = |near: &&Near<'a>| self.takes(client, near.site);
            nears.iter().filter(takes).find_map(|near| self.pick(now, client, *near, &[], true))
        };
        let any = || {
            let all = |near: &Near<'a>| self.pick(now, client, *near, &[], false);
            let left =
                |found: &(Near<'a>, usize)| self.edges.get(found.1).is_some_and(|edge| edge.load < 1.0);
            nears.iter().filter_map(all).find(left).or_else(|| nears.iter().find_map(all))
        };
        kept.or_else(taken).or_else(any)
    }

    /// The edge that the client has, where it may stay there.
    fn keep<'a>(
        &'a self,
        now: Mono,
        client: &Client<'_>,
        nears: &[Near<'a>],
        edge: &EdgeId,
    ) -> Option<(Near<'a>, usize)> {
        let (site, nth) = self.place_of(edge)?;
        let held = self.sites.get(site)?;
        let near = nears.iter().find(|near| near.site.region == held.region)?;
        let status = self.edges.get(nth).filter(|status| status.available && !status.failing)?;
        if client.shunned.contains(&status.edge) {
            return None;
        }
        let own = client.measured.of(now, edge).unwrap_or(near.ms);
        let left_for = |other: &&Near<'a>| {
            let measured = near.by == By::Measured && other.by == By::Measured;
            // Regions by their best, so that one edge's noise does not count; edges of one region by their own.
            let ms = if other.site.region == near.site.region { own } else { near.ms };
            other.preferred && !near.preferred
                || measured && other.preferred == near.preferred && clearly_nearer(other.ms, ms)
        };
        let better = nears.iter().filter(left_for);
        let takes = |other: &&Near<'a>| {
            self.takes(client, other.site) && self.pick(now, client, **other, &[], true).is_some()
        };
        if better.clone().any(|other| takes(&other)) { None } else { Some((*near, nth)) }
    }

    /// An edge that one failure hardly takes together with the first.
    fn second<'a>(
        &'a self,
        now: Mono,
        client: &Client<'_>,
        nears: &[Near<'a>],
        first: (Near<'a>, usize),
    ) -> Option<(Near<'a>, usize)> {
        let apart = |near: &&Near<'a>| near.site.region != first.0.site.region;
        let cheap =
            |near: &&Near<'a>| near.ms <= first.0.ms + SECOND_MS && near.preferred == first.0.preferred;
        let usable = |near: &&Near<'a>| apart(near) && cheap(near) && self.takes(client, near.site);
        // The one that it has stays, while that is still as good.
        let held =
            client.offered.get(1).and_then(|edge| self.place_of(edge)).filter(|(_, nth)| *nth != first.1);
        if let Some((site, nth)) = held
            && let Some(site) = self.sites.get(site)
            && let Some(near) = nears.iter().find(|near| near.site.region == site.region).filter(cheap)
            && self.edges.get(nth).is_some_and(|edge| self.is_sound(client, edge))
        {
            return Some((*near, nth));
        }
        let elsewhere = nears.iter().filter(usable).find_map(|near| self.pick(now, client, *near, &[], true));
        let same = || self.pick(now, client, first.0, &[first.1], true);
        let any = || nears.iter().filter(apart).find_map(|near| self.pick(now, client, *near, &[], false));
        elsewhere.or_else(same).or_else(any).or_else(|| self.pick(now, client, first.0, &[first.1], false))
    }

    /// Whether a region takes this client, or sends it on since it fills up, or has only newcomers.
    fn takes(&self, client: &Client<'_>, site: &Site) -> bool {
        let usable = || {
            site.edges
                .iter()
                .filter_map(|nth| self.edges.get(*nth))
                .filter(|edge| self.is_sound(client, edge))
        };
        let (load, capacity) = usable().fold((0.0, 0.0), |(load, all), edge| {
            let capacity = f64::from(edge.capacity.max(1));
            (load + edge.load.clamp(0.0, 1.0) * capacity, all + capacity)
        });
        if capacity <= 0.0 {
            return false;
        }
        let room = (1.0 - load / capacity) / (1.0 - SHED_FROM);
        let ramp = usable().map(|edge| edge.ramp).fold(0.0, f64::max);
        // Each asks a region at most once, so that no more come than it is given.
        let refuge = match self.has_lost_its_edge(client) {
            true => REFUGE * (capacity - load) / self.displaced.max(1.0),
            false => 1.0,
        };
        unit(client.draw, site.hash) <= room.min(ramp).min(refuge)
    }

    /// Whether a client is one of many, it may be, who have to go elsewhere at once.
    fn has_lost_its_edge(&self, client: &Client<'_>) -> bool {
        client.offered.first().and_then(|edge| self.edge(edge)).is_some_and(|edge| !edge.available)
    }

    /// Whether an edge is given to newcomers.
    pub(super) fn is_sound(&self, client: &Client<'_>, edge: &EdgeStatus) -> bool {
        edge.available
            && edge.condition.takes_new()
            && edge.weight > 0
            && !edge.failing
            && edge.load < 1.0
            && !client.shunned.contains(&edge.edge)
    }

    /// One of a region's edges. Those that the client has measured to be clearly farther than the region's best
    /// are not among them; unless `strict`, those that are not sound are.
    fn pick<'a>(
        &'a self,
        now: Mono,
        client: &Client<'_>,
        near: Near<'a>,
        without: &[usize],
        strict: bool,
    ) -> Option<(Near<'a>, usize)> {
        let mut two: [Option<(f64, usize)>; 2] = [None, None];
        for nth in near.site.edges.iter().filter(|nth| !without.contains(nth)) {
            let edge = self.edges.get(*nth)?;
            let far = || client.measured.of(now, &edge.edge).is_some_and(|ms| clearly_nearer(near.ms, ms));
            let usable = if strict { self.is_sound(client, edge) && !far() } else { edge.available };
            if !usable {
                continue;
            }
            let odds = f64::from(edge.weight.max(1)) * f64::from(edge.capacity.max(1)) * edge.ramp.max(1e-3);
            let key = weighted(client.draw, *self.hashes.get(*nth)?, odds);
            if two[0].is_none_or(|(least, _)| key < least) {
                two = [Some((key, *nth)), two[0]];
            } else if two[1].is_none_or(|(least, _)| key < least) {
                two[1] = Some((key, *nth));
            }
        }
        let (first, second) = (two[0]?.1, two[1].map(|(_, nth)| nth));
        let free = |nth: usize| {
            let load = self.edges.get(nth).map_or(1.0, |edge| edge.load);
            (1.0 - load).clamp(1e-3, 1.0).powi(FREE_POWER)
        };
        let taken = match second {
            Some(second)
                if unit(client.draw, near.site.hash ^ u64::MAX)
                    > free(first) / (free(first) + free(second)) =>
            {
                second
            }
            _ => first,
        };
        Some((near, taken))
    }
}

#[cfg(test)]
mod tests;
