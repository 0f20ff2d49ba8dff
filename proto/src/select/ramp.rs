//! Newcomers: an edge that has just come up is given few sessions at first. What is wrong with it (a closed
//! firewall, a route that loses packets) then shows while few depend on it, and those of a region that comes back
//! do not all come back at once.

use std::collections::BTreeMap;
use std::time::Duration;

use super::EdgeStatus;
use crate::id::EdgeId;
use crate::time::Mono;

/// An edge is a newcomer for this long: one window of what is counted of ICE's failures ([`super::quarantine::WINDOW`]),
/// so that what is wrong with it can show before it has its whole part.
pub const RAMP: Duration = Duration::from_secs(120);

/// Its part at first, of what it is given later. At none nothing would show.
pub const RAMP_FROM: f64 = 0.05;

/// What a node that has just begun hears for the first time was there before: nobody is a newcomer to it. As long as the
/// edges of a new cluster take to be started one after the other: were some of them there before and the rest not, the
/// regions of the rest would be given a twentieth of their part.
const BEGUN: Duration = Duration::from_secs(60);

/// Since when each edge is there, as one node sees it.
#[derive(Debug, Clone, Default)]
pub struct Newcomers {
    began: Option<Mono>,
    since: BTreeMap<EdgeId, Mono>,
}

impl Newcomers {
    /// Says of each edge how much of its part it is given: [`EdgeStatus::ramp`]. One that comes out of quarantine is
    /// a newcomer too.
    pub fn mark(&mut self, now: Mono, edges: &mut [EdgeStatus]) {
        let began = *self.began.get_or_insert(now);
        let is_there = |status: &EdgeStatus| status.available && !status.failing;
        self.since.retain(|edge, _| edges.iter().any(|status| status.edge == *edge && is_there(status)));
        for status in edges.iter_mut().filter(|status| is_there(status)) {
            let fresh = if now.since(began) < BEGUN { now - RAMP } else { now };
            let since = *self.since.entry(status.edge.clone()).or_insert(fresh);
            status.ramp = ramp(now.since(since));
        }
    }
}

/// The part of an edge that has been there for so long: it grows evenly.
fn ramp(age: Duration) -> f64 {
    (RAMP_FROM + (1.0 - RAMP_FROM) * age.as_secs_f64() / RAMP.as_secs_f64()).min(1.0)
}

/// How long an edge takes to grow from one part to another.
pub(super) fn grows_within(from: f64, to: f64) -> Duration {
    RAMP.mul_f64(((to - from) / (1.0 - RAMP_FROM)).clamp(0.0, 1.0))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::id::Region;

    #[test]
    fn whoever_comes_within_a_node_s_first_minute_is_no_newcomer() {
        let edge =
            |name: &str| EdgeStatus::new(EdgeId::new(name).unwrap(), Region::new("r").unwrap(), vec![]);
        let (mut newcomers, mut edges) = (Newcomers::default(), Vec::new());
        for (secs, name) in [(0, "a"), (14, "b"), (16, "c"), (59, "d"), (61, "e")] {
            edges.push(edge(name));
            newcomers.mark(Mono(Duration::from_secs(1000 + secs)), &mut edges);
        }
        let grown: Vec<bool> = edges.iter().map(|edge| edge.ramp >= 1.0).collect();
        assert_eq!(grown, [true, true, true, true, false]);
    }

    #[test]
    fn who_comes_later_or_comes_back_begins_small() {
        let edge =
            |name: &str| EdgeStatus::new(EdgeId::new(name).unwrap(), Region::new("r").unwrap(), vec![]);
        let (mut newcomers, mut edges) = (Newcomers::default(), vec![edge("a"), edge("b")]);
        let at = |secs: u64| Mono(Duration::from_secs(1000 + secs));
        let mut ramp_of = |secs, edges: &mut Vec<EdgeStatus>, n: usize| {
            newcomers.mark(at(secs), edges);
            edges[n].ramp
        };
        assert!((ramp_of(0, &mut edges, 0) - 1.0).abs() < 1e-9, "the node has just begun");
        edges.push(edge("c"));
        assert!((ramp_of(100, &mut edges, 2) - RAMP_FROM).abs() < 1e-9);
        assert!((edges[0].ramp - 1.0).abs() < 1e-9);
        assert!((ramp_of(160, &mut edges, 2) - (1.0 + RAMP_FROM) / 2.0).abs() < 1e-9);
        assert!((ramp_of(220, &mut edges, 2) - 1.0).abs() < 1e-9);
        edges[0].available = false;
        ramp_of(230, &mut edges, 0);
        edges[0].available = true;
        assert!((ramp_of(240, &mut edges, 0) - RAMP_FROM).abs() < 1e-9);
        edges[1].failing = true;
        ramp_of(250, &mut edges, 1);
        edges[1].failing = false;
        assert!((ramp_of(260, &mut edges, 1) - RAMP_FROM).abs() < 1e-9);
    }
}
