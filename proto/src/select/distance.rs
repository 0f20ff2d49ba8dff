//! How far each region is from a client: as it has measured, else as can be said of where it is.

use super::catalog::{Catalog, Site};
use super::draw::unit;
use super::geo::{Point, estimated_ms, least_ms};
use super::policy::{Rule, Verdict, verdict};
use super::rank::{By, Client};

/// A round trip to another region of which nothing is known, in milliseconds: farther than most of what is known.
const UNKNOWN_MS: f64 = 150.0;

/// A client is not where it is said to be when the nearest that it has measured is this much farther than estimated,
/// in milliseconds: slow access networks take less, half a continent takes more.
const REFUTED_MS: f64 = 60.0;

/// A region as one client sees it.
#[derive(Debug, Clone, Copy)]
pub(super) struct Near<'a> {
    pub(super) site: &'a Site,
    pub(super) ms: f64,
    pub(super) by: By,
    /// What it takes at least, in milliseconds, by the speed of light.
    pub(super) least: f64,
    pub(super) preferred: bool,
}

/// Where a client is taken to be, and what is added to estimates from there.
pub(super) struct Belief {
    base: Option<Point>,
    /// It is measured to be far from where it was said to be, or nothing was said.
    pub(super) is_lost: bool,
    /// How far from `base` it may be, in milliseconds.
    blur: f64,
    access: f64,
}

impl Catalog {
    pub(super) fn belief(&self, client: &Client<'_>, measured: &[Option<f64>]) -> Belief {
        let base = self.base(client.place);
        let known = client.place.region.is_some() || client.place.coordinates.is_some();
        let sites = || self.sites.iter().zip(measured).filter_map(|(site, ms)| Some((site, (*ms)?)));
        let nearest = sites().min_by(|(_, a), (_, b)| a.total_cmp(b));
        let far = |base: Option<Point>, site: &Site| Some(estimated_ms(base?.km(site.at?)));
        let access = |base| {
            let over = sites().filter_map(|(site, ms)| Some(ms - far(base, site)?));
            over.min_by(f64::total_cmp).unwrap_or(0.0).max(0.0)
        };
        let is_refuted = |(site, ms): (&Site, f64)| far(base, site).is_some_and(|far| ms - far > REFUTED_MS);
        let is_lost = !known || nearest.is_some_and(is_refuted);
        match nearest.filter(|(site, _)| is_lost && site.at.is_some()) {
            // It is somewhere around what it has measured to be nearest: as far from it as that is, at most.
            Some((site, ms)) => Belief { base: site.at, is_lost, blur: ms, access: ms },
            None => {
                let blur = if is_lost { UNKNOWN_MS } else { 0.0 };
                Belief { base, is_lost, blur, access: access(base) }
            }
        }
    }

    /// The regions that this client may use, the nearest first.
    pub(super) fn order<'a>(
        &'a self,
        client: &Client<'_>,
        measured: &[Option<f64>],
        belief: &Belief,
    ) -> Vec<Near<'a>> {
        let known = client.place.region.is_some() || client.place.coordinates.is_some();
        let region = if known { client.place.region.as_ref() } else { self.own.as_ref() };
        let rules: Vec<&Rule> = self.policy.rules_for(region, client.app);
        let near = |(site, measured): (&'a Site, &Option<f64>)| {
            let preferred = match verdict(&rules, &site.region) {
                Verdict::Denied => return None,
                verdict => verdict == Verdict::Preferred,
            };
            let km = belief.base.zip(site.at).map(|(base, at)| base.km(at));
            let (ms, by) = if let Some(ms) = measured {
                (*ms, By::Measured)
            } else if let Some(ms) = site.uplink_ms.filter(|_| !known) {
                (ms + belief.access, By::Uplink)
            } else if let Some(km) = km {
                (estimated_ms(km) + belief.access, By::Geography)
            } else if region == Some(&site.region) {
                (belief.access, By::Region)
            } else {
                (UNKNOWN_MS, By::Nothing)
            };
            let least = (km.map_or(0.0, least_ms) - belief.blur).max(0.0);
            Some(Near { site, ms, by, least, preferred })
        };
        let mut nears: Vec<Near<'a>> = self.sites.iter().zip(measured).filter_map(near).collect();
        nears.sort_by(|a, b| {
            let tie = |near: &Near<'_>| unit(client.draw, near.site.hash);
            b.preferred.cmp(&a.preferred).then(a.ms.total_cmp(&b.ms)).then_with(|| tie(a).total_cmp(&tie(b)))
        });
        nears
    }
}
