//! What a node sees of the edges that report to it: who is alive, and how loaded.

use std::collections::BTreeMap;

use super::EdgeStatus;
use super::ice::turn_urls;
use crate::id::EdgeId;
use crate::limits::EDGE_LOST_AFTER;
use crate::mesh::uplink::{EdgeHello, Health};
use crate::time::{Mono, Now};

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
    pub fn handle_hello(&mut self, now: Now, link: u64, hello: EdgeHello) {
        let edge = hello.edge.clone();
        self.edges.insert(edge, Seen { hello, health: None, heard: now.mono, alive: true, link });
    }

    /// A report. One of a former uplink, or older than the last, is dropped.
    pub fn handle_health(&mut self, now: Now, link: u64, edge: &EdgeId, health: Health) {
        let Some(seen) = self.edges.get_mut(edge).filter(|seen| seen.link == link) else { return };
        if seen.health.as_ref().is_none_or(|last| last.seq < health.seq) {
            (seen.health, seen.heard, seen.alive) = (Some(health), now.mono, true);
        }
    }

    /// An uplink has ended. `goodbye` says that the edge itself stops; otherwise it may be back in a
    /// moment and is waited for.
    pub fn handle_end(&mut self, link: u64, edge: &EdgeId, goodbye: bool) {
        if let Some(seen) = self.edges.get_mut(edge).filter(|seen| seen.link == link) {
            seen.alive &= !goodbye;
        }
    }

    /// Counts those as lost that were not heard for [`EDGE_LOST_AFTER`].
    pub fn handle_timeout(&mut self, now: Now) {
        for seen in self.edges.values_mut() {
            seen.alive &= now.mono.since(seen.heard) < EDGE_LOST_AFTER;
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
                available: seen.alive && !turn_urls(&listeners).is_empty() && admitted(edge),
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
        let (mut fleet, edge) = (Fleet::default(), hello().edge);
        let available = |fleet: &Fleet| fleet.statuses(|_| true)[0].available;
        fleet.handle_hello(now, 1, hello());
        assert!(available(&fleet) && !fleet.statuses(|_| false)[0].available);

        now = now.after(Duration::from_millis(2900));
        fleet.handle_health(now, 1, &edge, Health { seq: 1, allocations: 50, ..Health::default() });
        now = now.after(Duration::from_millis(2900));
        fleet.handle_timeout(now);
        assert!(available(&fleet) && (fleet.statuses(|_| true)[0].load - 0.5).abs() < 1e-9);
        now = now.after(Duration::from_millis(100));
        assert_eq!(fleet.poll_timeout(), now.mono);
        fleet.handle_timeout(now);
        assert!(!available(&fleet));

        fleet.handle_health(now, 1, &edge, Health { seq: 1, ..Health::default() });
        assert!(!available(&fleet), "an old report brings nobody back");
        fleet.handle_hello(now, 2, hello());
        assert!(available(&fleet));
        fleet.handle_end(1, &edge, true);
        assert!(available(&fleet), "a former uplink's goodbye");
        fleet.handle_end(2, &edge, false);
        assert!(available(&fleet), "it may be back in a moment");
        fleet.handle_end(2, &edge, true);
        assert!(!available(&fleet));
    }

    #[test]
    fn an_edge_whose_listeners_fail_their_probe_is_not_handed_out() {
        let now = Now { mono: Mono::default(), unix: Unix::default() };
        let (mut fleet, edge) = (Fleet::default(), hello().edge);
        fleet.handle_hello(now, 1, hello());
        let failed_listeners = hello().listeners;
        fleet.handle_health(now, 1, &edge, Health { seq: 1, failed_listeners, ..Health::default() });
        assert!(!fleet.statuses(|_| true)[0].available);
        fleet.handle_health(now, 1, &edge, Health { seq: 2, ..Health::default() });
        assert!(fleet.statuses(|_| true)[0].available);
    }
}
