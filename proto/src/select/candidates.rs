//! Which edges a client is asked to measure.

use super::catalog::{Catalog, Site};
use super::distance::{Belief, Near};
use super::draw::unit;
use super::geo::{Point, estimated_ms};
use super::rank::{By, Client};
use super::{EdgeStatus, MEASURE_MAX};

/// What the way from a client to its provider and back takes, typically, in milliseconds.
const ACCESS_MS: f64 = 15.0;

impl Catalog {
    /// What to measure: what the client is given and has, and of the other regions those that could be nearer, the
    /// likeliest first; where nobody knows where it is, some all over the globe.
    pub(super) fn to_measure<'a>(
        &'a self,
        client: &Client<'_>,
        nears: &[Near<'a>],
        best: &[(Near<'a>, usize)],
        measured: &[Option<f64>],
        belief: &Belief,
    ) -> (Vec<&'a EdgeStatus>, bool) {
        let mut chosen: Vec<usize> = best.iter().map(|(_, nth)| *nth).collect();
        // What it uses, always: a client that leaves its own edge out comes and goes (Tailscale's #13969).
        let held = client.offered.first().and_then(|edge| self.place_of(edge)).map(|(_, nth)| nth);
        let site_of = |nth: &usize| self.edges.get(*nth).map(|edge| &edge.region);
        let is_there_still = |nth: &usize| {
            let allowed = || nears.iter().any(|near| site_of(nth) == Some(&near.site.region));
            self.edges.get(*nth).is_some_and(|edge| edge.available) && allowed()
        };
        chosen.extend(held.filter(is_there_still).filter(|nth| !chosen.contains(nth)));
        let is_there =
            |chosen: &[usize], site: &Site| chosen.iter().any(|nth| site_of(nth) == Some(&site.region));
        let least_measured =
            measured.iter().flatten().copied().min_by(f64::total_cmp).unwrap_or(f64::INFINITY);
        let representative = |near: &Near<'a>| {
            let alive = near
                .site
                .edges
                .iter()
                .filter(|nth| self.edges.get(**nth).is_some_and(|edge| self.is_sound(client, edge)));
            let key = |nth: &usize| unit(client.draw, self.hashes.get(*nth).copied().unwrap_or_default());
            alive.copied().min_by(|a, b| key(a).total_cmp(&key(b)))
        };
        let could = |near: &&Near<'a>| near.by != By::Measured && near.least < least_measured;
        let mut others: Vec<&Near<'a>> = nears.iter().filter(could).collect();
        let nowhere = belief.is_lost && least_measured.is_infinite();
        if belief.is_lost && !nowhere {
            let misfit = |near: &Near<'_>| self.misfit(near.site, measured);
            others.sort_by(|a, b| misfit(a).total_cmp(&misfit(b)));
        }
        let mut unsure = chosen
            .iter()
            .any(|nth| nears.iter().filter(could).any(|near| site_of(nth) == Some(&near.site.region)));
        while chosen.len() < MEASURE_MAX && !others.is_empty() {
            let next = if nowhere { self.farthest(&others, &chosen) } else { 0 };
            let near = others.remove(next);
            if is_there(&chosen, near.site) {
                continue;
            }
            if let Some(nth) = representative(near) {
                chosen.push(nth);
                unsure = true;
            }
        }
        chosen.truncate(MEASURE_MAX);
        (chosen.iter().filter_map(|nth| self.edges.get(*nth)).collect(), unsure)
    }

    /// How badly what a client has measured fits its standing at a site, in milliseconds: what its round trips to the
    /// others would take from there, with a usual access network, against what they take.
    fn misfit(&self, site: &Site, measured: &[Option<f64>]) -> f64 {
        let Some(at) = site.at else { return f64::INFINITY };
        let there = self.sites.iter().zip(measured).filter_map(|(other, ms)| Some((other.at?, (*ms)?)));
        there.map(|(other, ms)| (ms - ACCESS_MS - estimated_ms(at.km(other))).abs()).sum()
    }

    /// Of several regions the one that lies farthest from all that are chosen.
    fn farthest(&self, others: &[&Near<'_>], chosen: &[usize]) -> usize {
        let sites =
            chosen.iter().filter_map(|nth| self.place_of(&self.edges.get(*nth)?.edge)).map(|(site, _)| site);
        let points: Vec<Point> = sites.filter_map(|site| self.sites.get(site)?.at).collect();
        let away = |near: &Near<'_>| {
            let at = near.site.at?;
            points.iter().map(|point| point.km(at)).min_by(f64::total_cmp)
        };
        let all = others.iter().enumerate().map(|(nth, near)| (nth, away(near).unwrap_or(0.0)));
        all.max_by(|(_, a), (_, b)| a.total_cmp(b)).map_or(0, |(nth, _)| nth)
    }
}
