//! What a node knows of the edges, from those that report to it and from the other nodes: who is alive, and
//! how loaded. An edge reports to two nodes, and those spread what they hear (DESIGN.md 6).

use std::collections::BTreeMap;

use super::EdgeStatus;
use super::ice::turn_urls;
use crate::id::{EdgeId, NodeId};
use crate::limits::{EDGE_LOST_AFTER, EDGE_REPORTS_BYTES, EDGES_MAX};
use crate::mesh::node::EdgeReport;
use crate::mesh::uplink::{EdgeHello, Health};
use crate::time::{Mono, Now};
use crate::wire;

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

/// The edges, by who hears them.
#[derive(Debug, Default)]
pub struct Fleet {
    edges: BTreeMap<EdgeId, Seen>,
    /// What other nodes said last of each edge, and when.
    elsewhere: BTreeMap<NodeId, BTreeMap<EdgeId, (Mono, EdgeReport)>>,
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

    /// What another node hears, or a piece of it. Edges that it says nothing of any more it does not hear.
    pub fn handle_reports(&mut self, now: Now, from: NodeId, reports: Vec<EdgeReport>) {
        let held = self.elsewhere.entry(from).or_default();
        for report in reports {
            let edge = &report.hello.edge;
            if held.len() < EDGES_MAX || held.contains_key(edge) {
                held.insert(edge.clone(), (now.mono, report));
            }
        }
    }

    /// Edges that are no more: `stays` says what the registry has.
    pub fn forget(&mut self, stays: impl Fn(&EdgeId) -> bool) {
        self.edges.retain(|edge, _| stays(edge));
        for held in self.elsewhere.values_mut() {
            held.retain(|edge, _| stays(edge));
        }
    }

    /// What other nodes are told: the edges that report here.
    #[must_use]
    pub fn reports(&self) -> Vec<EdgeReport> {
        let report = |seen: &Seen| EdgeReport {
            hello: seen.hello.clone(),
            health: seen.health.clone(),
            alive: seen.alive,
            rtt_us: None,
            outside: Vec::new(),
        };
        self.edges.values().map(report).collect()
    }

    /// The same in pieces, each written in [`EDGE_REPORTS_BYTES`] unless one report alone is longer.
    #[must_use]
    pub fn pieces(&self) -> Vec<Vec<EdgeReport>> {
        let (mut pieces, mut bytes) = (Vec::<Vec<EdgeReport>>::new(), usize::MAX);
        for report in self.reports() {
            let len = wire::encode(&report).map_or(0, |bytes| bytes.len());
            match pieces.last_mut().filter(|_| len.saturating_add(bytes) <= EDGE_REPORTS_BYTES) {
                Some(piece) => {
                    piece.push(report);
                    bytes += len;
                }
                None => {
                    pieces.push(vec![report]);
                    bytes = len;
                }
            }
        }
        pieces
    }

    /// Counts those as lost that were not heard for [`EDGE_LOST_AFTER`], and forgets what other nodes have not
    /// said again for that long.
    pub fn handle_timeout(&mut self, now: Now) {
        for seen in self.edges.values_mut() {
            seen.alive &= now.mono.since(seen.heard) < EDGE_LOST_AFTER;
        }
        self.elsewhere.retain(|_, held| {
            held.retain(|_, (heard, _)| now.mono.since(*heard) < EDGE_LOST_AFTER);
            !held.is_empty()
        });
    }

    /// When [`Self::handle_timeout`] has something to do.
    #[must_use]
    pub fn poll_timeout(&self) -> Mono {
        let alive = self.edges.values().filter(|seen| seen.alive).map(|seen| seen.heard);
        let elsewhere = self.elsewhere.values().flat_map(BTreeMap::values).map(|(heard, _)| *heard);
        let heard = alive.chain(elsewhere).min();
        heard.map_or(Mono::NEVER, |heard| heard + EDGE_LOST_AFTER)
    }

    /// All edges ever heard here, and those that other nodes hear now, by id: each as the node has it that
    /// hears it best.
    #[must_use]
    pub fn edges(&self) -> BTreeMap<EdgeId, Seen> {
        let mut all = self.edges.clone();
        for (heard, report) in self.elsewhere.values().flat_map(BTreeMap::values) {
            let (hello, health, alive) = (report.hello.clone(), report.health.clone(), report.alive);
            let theirs = Seen { hello, health, heard: *heard, alive, link: 0 };
            let known = all.entry(report.hello.edge.clone()).or_insert_with(|| theirs.clone());
            if theirs.alive && !known.alive {
                *known = theirs;
            }
        }
        all
    }

    /// The edges as far as choosing goes. `admitted` says what operators decided.
    pub fn statuses(&self, admitted: impl Fn(&EdgeId) -> bool) -> Vec<EdgeStatus> {
        let status = |(edge, seen): (EdgeId, Seen)| {
            let failed = seen.health.as_ref().map_or(&[][..], |health| &health.failed_listeners);
            let works = |listener: &&crate::mesh::uplink::Listener| !failed.contains(listener);
            let allocations = seen.health.as_ref().map_or(0, |health| health.allocations);
            let listeners: Vec<_> = seen.hello.listeners.iter().filter(works).cloned().collect();
            EdgeStatus {
                region: seen.hello.region.clone(),
                available: seen.alive && !turn_urls(&listeners).is_empty() && admitted(&edge),
                listeners,
                load: f64::from(allocations) / f64::from(seen.hello.capacity.max(1)),
                edge,
            }
        };
        self.edges().into_iter().map(status).collect()
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
    fn an_edge_that_another_node_hears_is_there() {
        let mut now = Now { mono: Mono::default(), unix: Unix::default() };
        let (mut here, mut there) = (Fleet::default(), Fleet::default());
        there.handle_hello(now, 1, hello());
        here.handle_reports(now, NodeId(2), there.reports());
        let available = |fleet: &Fleet| fleet.statuses(|_| true).first().is_some_and(|edge| edge.available);
        assert!(available(&here));

        // Its uplink here ends; the other node hears it still.
        here.handle_hello(now, 1, hello());
        here.handle_end(1, &hello().edge, true);
        assert!(available(&here));

        // A node that says nothing any more hears nobody.
        now = now.after(EDGE_LOST_AFTER);
        assert_eq!(here.poll_timeout(), now.mono);
        here.handle_timeout(now);
        assert!(!available(&here));
        there.handle_timeout(now);
        here.handle_reports(now, NodeId(2), there.reports());
        assert!(!available(&here), "lost there too");
    }

    #[test]
    fn many_edges_are_told_in_pieces() {
        let mut now = Now { mono: Mono::default(), unix: Unix::default() };
        let (mut here, mut there) = (Fleet::default(), Fleet::default());
        assert!(there.pieces().is_empty());
        for n in 0..1000 {
            let edge = EdgeId::new(&format!("e{n}")).unwrap();
            let build = "b".repeat(n % 64);
            there.handle_hello(now, n as u64, EdgeHello { edge, build, ..hello() });
        }
        let pieces = there.pieces();
        assert!(pieces.len() > 2);
        let len = |piece: &Vec<EdgeReport>| wire::encode(piece).unwrap().len();
        assert!(pieces.iter().all(|piece| len(piece) <= EDGE_REPORTS_BYTES + 8), "and a list's own head");
        assert_eq!(pieces.concat(), there.reports());

        for piece in &pieces {
            now = now.after(Duration::from_millis(1));
            here.handle_reports(now, NodeId(2), piece.clone());
        }
        assert_eq!(here.edges().len(), 1000);
        // A piece is lost, again and again: its edges alone are not heard any more.
        now = now.after(EDGE_LOST_AFTER / 2);
        pieces.iter().skip(1).for_each(|piece| here.handle_reports(now, NodeId(2), piece.clone()));
        now = now.after(EDGE_LOST_AFTER / 2);
        here.handle_timeout(now);
        assert_eq!(here.edges().len(), 1000 - pieces[0].len());
    }

    #[test]
    fn removed_edges_are_forgotten() {
        let now = Now { mono: Mono::default(), unix: Unix::default() };
        let (mut here, mut there) = (Fleet::default(), Fleet::default());
        there.handle_hello(now, 1, hello());
        here.handle_hello(now, 2, EdgeHello { edge: EdgeId::new("e2").unwrap(), ..hello() });
        here.handle_reports(now, NodeId(2), there.reports());
        here.forget(|_| true);
        assert_eq!(here.edges().len(), 2);
        here.forget(|edge| *edge != hello().edge);
        assert_eq!(here.edges().len(), 1, "one that another node hears");
        here.forget(|_| false);
        assert!(here.edges().is_empty() && here.reports().is_empty());
        assert_eq!(here.poll_timeout(), Mono::NEVER);
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
