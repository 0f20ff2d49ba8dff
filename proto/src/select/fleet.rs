//! What a node sees of the edges that report to it: who is alive, and how loaded.

use std::collections::BTreeMap;

use super::EdgeStatus;
use crate::id::EdgeId;
use crate::limits::EDGE_LOST_AFTER;
use crate::mesh::uplink::{EdgeHello, Health};
use crate::time::{Mono, Now};

/// What changed for clients.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum FleetEvent {
    /// An edge is there.
    Up(EdgeId),
    /// An edge was not heard for [`EDGE_LOST_AFTER`], or said goodbye.
    Lost(EdgeId),
}

/// One edge as it was last heard.
#[derive(Debug, Clone)]
pub struct Seen {
    /// What it offers.
    pub hello: EdgeHello,
    /// Its last report, if one came.
    pub health: Option<Health>,
    /// When it was last heard.
    pub heard: Mono,
    /// Whether it is counted as alive.
    pub alive: bool,
    link: u64,
}

/// The edges that report to this node.
#[derive(Debug, Default)]
pub struct Fleet {
    edges: BTreeMap<EdgeId, Seen>,
}

impl Fleet {
    /// An edge has registered over the uplink `link`, which replaces any former one.
    pub fn handle_hello(&mut self, now: Now, link: u64, hello: EdgeHello, out: &mut Vec<FleetEvent>) {
        let edge = hello.edge.clone();
        let was_alive = self.edges.get(&edge).is_some_and(|seen| seen.alive);
        let seen = Seen { hello, health: None, heard: now.mono, alive: true, link };
        self.edges.insert(edge.clone(), seen);
        if !was_alive {
            out.push(FleetEvent::Up(edge));
        }
    }

    /// A report. One of a former uplink, or older than the last, is dropped.
    pub fn handle_health(
        &mut self,
        now: Now,
        link: u64,
        edge: &EdgeId,
        health: Health,
        out: &mut Vec<FleetEvent>,
    ) {
        let Some(seen) = self.edges.get_mut(edge).filter(|seen| seen.link == link) else { return };
        if seen.health.as_ref().is_some_and(|last| last.seq >= health.seq) {
            return;
        }
        seen.health = Some(health);
        seen.heard = now.mono;
        if !seen.alive {
            seen.alive = true;
            out.push(FleetEvent::Up(edge.clone()));
        }
    }

    /// An uplink has ended. `goodbye` says that the edge itself stops; otherwise it may be back in a
    /// moment and is waited for.
    pub fn handle_end(&mut self, link: u64, edge: &EdgeId, goodbye: bool, out: &mut Vec<FleetEvent>) {
        let Some(seen) = self.edges.get_mut(edge).filter(|seen| seen.link == link) else { return };
        if goodbye && seen.alive {
            seen.alive = false;
            out.push(FleetEvent::Lost(edge.clone()));
        }
    }

    /// Counts the silent as lost.
    pub fn handle_timeout(&mut self, now: Now, out: &mut Vec<FleetEvent>) {
        for (edge, seen) in &mut self.edges {
            if seen.alive && now.mono.since(seen.heard) >= EDGE_LOST_AFTER {
                seen.alive = false;
                out.push(FleetEvent::Lost(edge.clone()));
            }
        }
    }

    /// When [`Self::handle_timeout`] has something to do.
    #[must_use]
    pub fn poll_timeout(&self) -> Mono {
        let alive = self.edges.values().filter(|seen| seen.alive);
        alive.map(|seen| seen.heard + EDGE_LOST_AFTER).min().unwrap_or(Mono::NEVER)
    }

    /// All edges ever heard, by id.
    pub fn edges(&self) -> impl Iterator<Item = (&EdgeId, &Seen)> {
        self.edges.iter()
    }

    /// The edges as far as choosing goes. `admitted` says what operators decided.
    pub fn statuses(&self, admitted: impl Fn(&EdgeId) -> bool) -> Vec<EdgeStatus> {
        let status = |(edge, seen): (&EdgeId, &Seen)| {
            let failed = seen.health.as_ref().map_or(&[][..], |health| &health.failed_listeners);
            let works = |listener: &&crate::mesh::uplink::Listener| !failed.contains(listener);
            let allocations = seen.health.as_ref().map_or(0, |health| health.allocations);
            let listeners: Vec<_> = seen.hello.listeners.iter().filter(works).cloned().collect();
            EdgeStatus {
                edge: edge.clone(),
                region: seen.hello.region.clone(),
                available: seen.alive && !listeners.is_empty() && admitted(edge),
                listeners,
                load: f64::from(allocations) / f64::from(seen.hello.capacity.max(1)),
            }
        };
        self.edges.iter().map(status).collect()
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::id::Region;
    use crate::time::Unix;

    fn hello() -> EdgeHello {
        EdgeHello {
            edge: EdgeId::new("e1").unwrap(),
            build: String::new(),
            region: Region::new("eu").unwrap(),
            coordinates: None,
            listeners: vec![crate::mesh::uplink::Listener {
                transport: crate::turn::Transport::Udp,
                address: "192.0.2.1:3478".parse().unwrap(),
                hostname: None,
            }],
            relays: vec![],
            capacity: 100,
            feed: None,
        }
    }

    #[test]
    fn up_silent_lost_and_back() {
        let mut now = Now { mono: Mono::default(), unix: Unix::default() };
        let (mut fleet, mut out, edge) = (Fleet::default(), Vec::new(), hello().edge);
        fleet.handle_hello(now, 1, hello(), &mut out);
        assert_eq!(std::mem::take(&mut out), [FleetEvent::Up(edge.clone())]);
        assert!(fleet.statuses(|_| true)[0].available && !fleet.statuses(|_| false)[0].available);

        now = now.after(Duration::from_millis(2900));
        fleet.handle_health(now, 1, &edge, Health { seq: 1, allocations: 50, ..Health::default() }, &mut out);
        now = now.after(Duration::from_millis(2900));
        fleet.handle_timeout(now, &mut out);
        assert_eq!(out, []);
        assert!((fleet.statuses(|_| true)[0].load - 0.5).abs() < 1e-9);
        now = now.after(Duration::from_millis(100));
        assert_eq!(fleet.poll_timeout(), now.mono);
        fleet.handle_timeout(now, &mut out);
        assert_eq!(std::mem::take(&mut out), [FleetEvent::Lost(edge.clone())]);

        fleet.handle_health(now, 1, &edge, Health { seq: 1, ..Health::default() }, &mut out);
        assert_eq!(out, [], "an old report brings nobody back");
        fleet.handle_hello(now, 2, hello(), &mut out);
        assert_eq!(std::mem::take(&mut out), [FleetEvent::Up(edge.clone())]);
        fleet.handle_end(1, &edge, true, &mut out);
        assert_eq!(out, [], "a former uplink's goodbye");
        fleet.handle_end(2, &edge, true, &mut out);
        assert_eq!(out, [FleetEvent::Lost(edge)]);
    }
}
