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
use std::time::Duration;

use super::catalog::{Catalog, Place, Site};
use super::distance::Near;
use super::draw::{draw_of, unit, weighted};
use super::ramp::grows_within;
use super::standing::Standing;
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
/// load report tells of the others, and a region's edges fill unevenly. Without it the simulation had an edge with 1.6 times
/// what it holds when the largest region died.
pub const REFUGE: f64 = 0.7;

/// Regions whose growth ([`EdgeStatus::ramp`]) differs by no more than this have come together: half a minute.
const SAME_AGE: f64 = 0.25;

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
    /// When a nearer region takes it too, of those that send it on only since their edges are new.
    pub later: Option<Duration>,
}

/// What an edge must be at least.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Bar {
    /// Given to newcomers.
    Sound,
    /// It serves, though it is full, busy, or meant for nobody new.
    Usable,
    /// It is there.
    Alive,
}

/// What becomes of the edge that a client has.
enum Kept<'a> {
    /// It stays there.
    Stays(Near<'a>, usize),
    /// One of these regions is better.
    Leaves(Vec<Near<'a>>),
}

/// Of those who come to a region the part that it takes, 0 to 1.
struct Part {
    /// As it fills up; above 1 where it is far from that.
    by_room: f64,
    /// As its edges are newer than others.
    by_age: f64,
    /// How far its oldest edge has grown ([`EdgeStatus::ramp`]).
    grown: f64,
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
        let nearer = nears.iter().take_while(|near| near.site.region != first.0.site.region);
        let later = nearer.filter_map(|near| self.takes_later(client, &nears, near.site)).min();
        let (measure, unsure) = self.to_measure(client, &nears, &best, &measured, &belief);
        let status = |(near, nth): &(Near<'_>, usize)| {
            let edge = self.edges.get(*nth)?;
            let own = client.measured.of(now, &edge.edge);
            Some(Ranked { edge, ms: own.unwrap_or(near.ms), by: near.by })
        };
        Choice { best: best.iter().filter_map(status).collect(), measure, unsure, later }
    }

    /// The edge to use: the present one, the nearest that takes the client, or whatever there is, the soundest first.
    fn first<'a>(&'a self, now: Mono, client: &Client<'_>, nears: &[Near<'a>]) -> Option<(Near<'a>, usize)> {
        let pick = |near: &Near<'a>, bar| self.pick(now, client, *near, &[], bar);
        let kept = || match self.keep(now, client, nears)? {
            Kept::Stays(near, nth) => Some((near, nth)),
            // Not to one that is only guessed to be nearer still.
            Kept::Leaves(better) => better.iter().find_map(|near| pick(near, Bar::Sound)),
        };
        let taken = || {
            let takes = |near: &&Near<'a>| self.takes(client, nears, near.site);
            nears.iter().filter(takes).find_map(|near| pick(near, Bar::Sound))
        };
        let any = |bar| nears.iter().find_map(|near| pick(near, bar));
        kept()
            .or_else(|| self.refuge(now, client, nears))
            .or_else(taken)
            .or_else(|| any(Bar::Sound))
            .or_else(|| any(Bar::Usable))
            .or_else(|| any(Bar::Alive))
    }

    /// What becomes of the edge that the client has; nothing where it may not stay, wherever it goes.
    fn keep<'a>(&'a self, now: Mono, client: &Client<'_>, nears: &[Near<'a>]) -> Option<Kept<'a>> {
        let edge = client.offered.first()?;
        let (site, nth) = self.place_of(edge)?;
        let held = self.sites.get(site)?;
        let near = nears.iter().find(|near| near.site.region == held.region)?;
        let status = self.edges.get(nth).filter(|status| status.available && !status.failing)?;
        if client.shunned.contains(&status.edge) {
            return None;
        }
        let ms = client.measured.of(now, edge).unwrap_or(near.ms);
        let left_for = |other: &&Near<'a>| {
            other.preferred && !near.preferred
                || other.by == By::Measured
                    && other.preferred == near.preferred
                    && clearly_nearer(other.ms, ms)
        };
        let takes = |other: &&Near<'a>| {
            self.takes(client, nears, other.site)
                && self.pick(now, client, **other, &[], Bar::Sound).is_some()
        };
        let better: Vec<Near<'a>> = nears.iter().filter(left_for).filter(takes).copied().collect();
        Some(if better.is_empty() { Kept::Stays(*near, nth) } else { Kept::Leaves(better) })
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
        let usable = |near: &&Near<'a>| apart(near) && cheap(near) && self.takes(client, nears, near.site);
        // The one that it has stays, while that is still as good.
        let held =
            client.offered.get(1).and_then(|edge| self.place_of(edge)).filter(|(_, nth)| *nth != first.1);
        let held = held.and_then(|(site, nth)| {
            let region = &self.sites.get(site)?.region;
            let near = nears.iter().find(|near| near.site.region == *region).filter(cheap)?;
            self.edges.get(nth).filter(|edge| self.is_sound(client, edge)).map(|_| (*near, nth))
        });
        let (far, near): (Option<_>, Option<_>) = match held {
            Some(held) if apart(&&held.0) => (Some(held), None),
            held => (None, held),
        };
        let pick = |near: &Near<'a>, without: &[usize], bar| self.pick(now, client, *near, without, bar);
        far.or_else(|| nears.iter().filter(usable).find_map(|near| pick(near, &[], Bar::Sound)))
            .or(near)
            .or_else(|| pick(&first.0, &[first.1], Bar::Sound))
            .or_else(|| nears.iter().filter(apart).find_map(|near| pick(near, &[], Bar::Sound)))
            .or_else(|| nears.iter().filter(apart).find_map(|near| pick(near, &[], Bar::Usable)))
            .or_else(|| pick(&first.0, &[first.1], Bar::Alive))
    }

    /// Whether a region takes this client, or sends it on since it fills up, or since its edges are newer than
    /// those of `nears`.
    fn takes(&self, client: &Client<'_>, nears: &[Near<'_>], site: &Site) -> bool {
        let part = self.part(client, nears, site);
        part.is_some_and(|part| unit(client.draw, site.hash) <= part.by_room.min(part.by_age))
    }

    /// After how long a region takes a client that it sends on only since its edges are new: each at another time,
    /// since each has drawn another lot.
    fn takes_later(&self, client: &Client<'_>, nears: &[Near<'_>], site: &Site) -> Option<Duration> {
        let (part, lot) = (self.part(client, nears, site)?, unit(client.draw, site.hash));
        // Once the others have grown up.
        (part.by_age < lot && lot <= part.by_room).then(|| grows_within(part.grown, lot.min(1.0 - SAME_AGE)))
    }

    /// Which part of those who come a region takes; nothing without a sound edge.
    fn part(&self, client: &Client<'_>, nears: &[Near<'_>], site: &Site) -> Option<Part> {
        let sound = |site: &Site| {
            let edges = site.edges.iter().filter_map(|nth| self.edges.get(*nth));
            edges.filter(|edge| self.is_sound(client, edge)).collect::<Vec<_>>()
        };
        let ramp = |edges: &[&EdgeStatus]| edges.iter().map(|edge| edge.ramp).fold(0.0, f64::max);
        let edges = sound(site);
        let (load, capacity) = edges.iter().fold((0.0, 0.0), |(load, all), edge| {
            let capacity = f64::from(edge.capacity.max(1));
            (load + edge.load.clamp(0.0, 1.0) * capacity, all + capacity)
        });
        if capacity <= 0.0 {
            return None;
        }
        let by_room = (1.0 - load / capacity) / (1.0 - SHED_FROM);
        let grown = ramp(&edges);
        // Where all are newcomers, as in a cluster that begins, none is: what counts is by how much it is newer,
        // and not by seconds.
        let by_age = if grown >= 1.0 {
            1.0
        } else {
            let oldest = nears.iter().map(|near| ramp(&sound(near.site))).fold(grown, f64::max);
            if oldest - grown <= SAME_AGE { 1.0 } else { 1.0 - (oldest - grown) }
        };
        Some(Part { by_room, by_age, grown })
    }

    /// The edge of one of those who have to go elsewhere at once: regions are filled in the order that is theirs,
    /// each up to a part of what it has free, as if all of them stood in a row by their draws.
    fn refuge<'a>(&'a self, now: Mono, client: &Client<'_>, nears: &[Near<'a>]) -> Option<(Near<'a>, usize)> {
        if self.displaced <= 0.0 || !self.has_lost_its_edge(client) {
            return None;
        }
        let free: Vec<f64> = nears.iter().map(|near| self.free(client, near.site)).collect();
        let part = (self.displaced / free.iter().sum::<f64>().max(1.0)).clamp(REFUGE, 1.0);
        let mut place = unit(client.draw, draw_of("refuge")) * self.displaced;
        nears.iter().zip(free).find_map(|(near, free)| {
            place -= part * free;
            if place <= 0.0 { self.pick(now, client, *near, &[], Bar::Sound) } else { None }
        })
    }

    /// The allocations that a region has room for.
    fn free(&self, client: &Client<'_>, site: &Site) -> f64 {
        let edges = site.edges.iter().filter_map(|nth| self.edges.get(*nth));
        let sound = edges.filter(|edge| self.is_sound(client, edge));
        sound.map(|edge| (1.0 - edge.load.clamp(0.0, 1.0)) * f64::from(edge.capacity) * edge.ramp).sum()
    }

    /// Whether a client is one of many, it may be, who have to go elsewhere at once.
    fn has_lost_its_edge(&self, client: &Client<'_>) -> bool {
        let edge = client.offered.first().and_then(|edge| self.edge(edge));
        edge.is_some_and(|edge| Standing::of(edge) == Standing::Lost)
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

    /// One of a region's edges that come up to `bar`. Those that the client has measured to be clearly farther than
    /// the region's best are not among the sound ones.
    fn pick<'a>(
        &'a self,
        now: Mono,
        client: &Client<'_>,
        near: Near<'a>,
        without: &[usize],
        bar: Bar,
    ) -> Option<(Near<'a>, usize)> {
        let mut two: [Option<(f64, usize)>; 2] = [None, None];
        for nth in near.site.edges.iter().filter(|nth| !without.contains(nth)) {
            let edge = self.edges.get(*nth)?;
            let far = || client.measured.of(now, &edge.edge).is_some_and(|ms| clearly_nearer(near.ms, ms));
            let usable = match bar {
                Bar::Sound => self.is_sound(client, edge) && !far(),
                Bar::Usable => edge.available && !edge.failing && !client.shunned.contains(&edge.edge),
                Bar::Alive => edge.available,
            };
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
