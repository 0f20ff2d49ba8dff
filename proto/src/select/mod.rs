//! Which edges for which client.

mod alternates;
pub mod condition;
pub mod fleet;
pub mod ice;
pub mod outside;
pub mod reason;
pub mod rounds;

pub use alternates::alternates;

use std::collections::BTreeMap;

use self::condition::Condition;
use crate::id::{EdgeId, Region};
use crate::mesh::uplink::Listener;

/// Edges handed out to one client at most (DESIGN.md 6): each costs it gathering time and an
/// allocation per transport.
pub const EDGES_PER_CLIENT: usize = 2;

/// A measured edge is left only for one that is this much nearer, in milliseconds, and under
/// [`NEARER_RATIO`] of its latency (Tailscale's netcheck; DESIGN.md 6).
pub const NEARER_MS: f64 = 10.0;
/// See [`NEARER_MS`].
pub const NEARER_RATIO: f64 = 2.0 / 3.0;

/// An edge as far as choosing goes.
#[derive(Debug, Clone, PartialEq)]
pub struct EdgeStatus {
    /// Its name.
    pub edge: EdgeId,
    /// Where it stands.
    pub region: Region,
    /// What clients can reach.
    pub listeners: Vec<Listener>,
    /// Whether it may be handed out at all: alive, admitted, not draining.
    pub available: bool,
    /// Allocations over capacity, 0 to 1.
    pub load: f64,
    /// How it is, and why: one that is overloaded or draining takes no new clients
    /// ([`Condition::takes_new`]).
    pub condition: Condition,
    /// The round-trip time of its uplink to this node in milliseconds, where it has one.
    pub uplink_ms: Option<f64>,
}

impl EdgeStatus {
    /// An idle one that may be handed out, of which nothing else is known.
    #[must_use]
    pub const fn new(edge: EdgeId, region: Region, listeners: Vec<Listener>) -> Self {
        let condition = Condition { state: condition::State::Up, reasons: Vec::new() };
        Self { edge, region, listeners, available: true, load: 0.0, condition, uplink_ms: None }
    }
}

/// The edges that a client is offered, best first: by measured latency where the client has measured,
/// then its own region, then load. A client keeps `current` unless another is clearly nearer.
#[must_use]
pub fn rank<'a>(
    edges: &'a [EdgeStatus],
    region: Option<&Region>,
    probes: &BTreeMap<EdgeId, f64>,
    current: Option<&EdgeId>,
) -> Vec<&'a EdgeStatus> {
    let mut ranked: Vec<&EdgeStatus> = edges
        .iter()
        .filter(|edge| edge.available)
        .filter(|edge| edge.condition.takes_new() || current == Some(&edge.edge))
        .collect();
    if ranked.is_empty() {
        // Better one that has too much to do than none.
        ranked.extend(edges.iter().filter(|edge| edge.available));
    }
    ranked.sort_by(|a, b| {
        let rtt = |edge: &EdgeStatus| probes.get(&edge.edge).copied().unwrap_or(f64::INFINITY);
        let far = |edge: &EdgeStatus| region != Some(&edge.region);
        rtt(a)
            .total_cmp(&rtt(b))
            .then(far(a).cmp(&far(b)))
            .then(a.load.total_cmp(&b.load))
            .then(a.edge.cmp(&b.edge))
    });
    if let Some(at) = current.and_then(|current| ranked.iter().position(|edge| edge.edge == *current))
        && at > 0
        && !clearly_nearer(probes.get(&ranked[0].edge), probes.get(&ranked[at].edge))
    {
        let kept = ranked.remove(at);
        ranked.insert(0, kept);
    }
    ranked.truncate(EDGES_PER_CLIENT);
    ranked
}

fn clearly_nearer(best: Option<&f64>, current: Option<&f64>) -> bool {
    match (best, current) {
        (Some(best), Some(current)) => current - best > NEARER_MS && *best < current * NEARER_RATIO,
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn edge(name: &str, region: &str, load: f64) -> EdgeStatus {
        let (edge, region) = (EdgeId::new(name).unwrap(), Region::new(region).unwrap());
        EdgeStatus { load, ..EdgeStatus::new(edge, region, vec![]) }
    }

    fn names(ranked: &[&EdgeStatus]) -> Vec<String> {
        ranked.iter().map(|edge| edge.edge.to_string()).collect()
    }

    #[test]
    fn region_then_load_until_measured() {
        let mut edges = vec![edge("a", "us", 0.1), edge("b", "eu", 0.5), edge("c", "eu", 0.2)];
        let eu = Region::new("eu").unwrap();
        let none = BTreeMap::new();
        assert_eq!(names(&rank(&edges, Some(&eu), &none, None)), ["c", "b"]);
        let probes = BTreeMap::from([(edges[0].edge.clone(), 5.0), (edges[1].edge.clone(), 40.0)]);
        assert_eq!(names(&rank(&edges, Some(&eu), &probes, None)), ["a", "b"]);
        edges[0].available = false;
        assert_eq!(names(&rank(&edges, Some(&eu), &probes, None)), ["b", "c"]);
    }

    #[test]
    fn keeps_the_current_edge_unless_another_is_clearly_nearer() {
        let edges = vec![edge("a", "eu", 0.0), edge("b", "eu", 0.0)];
        let b = edges[1].edge.clone();
        let first = |a: f64, rtt_b: f64| {
            let probes = BTreeMap::from([(edges[0].edge.clone(), a), (b.clone(), rtt_b)]);
            names(&rank(&edges, None, &probes, Some(&b)))[0].clone()
        };
        assert_eq!(first(20.0, 29.0), "b"); // under 10 ms nearer
        assert_eq!(first(80.0, 100.0), "b"); // not under two thirds
        assert_eq!(first(20.0, 40.0), "a");
    }
}
