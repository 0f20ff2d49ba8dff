//! What a node knows of the edges, from those that report to it and from the other nodes: who is alive, how loaded,
//! and what others found of them from outside. An edge reports to two nodes, and those spread what they hear.
//! Nothing of it is in the registry but what operators decide.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use super::condition::{Decided, Heard, Rates, Signs, Watch};
use super::ice::turn_urls;
use super::outside::Verdict;
use super::rounds::Candidate;
use super::{Coordinates, EdgeStatus};
use crate::id::{EdgeId, NodeId};
use crate::limits::{EDGE_LOST_AFTER, EDGE_REPORTS_BYTES, EDGES_MAX, HEALTH_EVERY, PROBE_LISTENERS_MAX};
use crate::mesh::node::EdgeReport;
use crate::mesh::probe::{Found, Prober};
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
    /// The round-trip time of its uplink, in microseconds.
    pub rtt_us: Option<u32>,
    /// It said that it stops.
    stopped: bool,
    link: u64,
}

/// Who hears an edge now, and how far it is from there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Hearing {
    /// The node; none for this one.
    pub node: Option<NodeId>,
    /// The round-trip time of the uplink there, in microseconds.
    pub rtt_us: Option<u32>,
}

/// How far an edge is from one that probes it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RoundTrip {
    /// Who probes.
    pub from: Prober,
    /// The edge that is probed.
    pub to: EdgeId,
    /// The median of the last probes, in microseconds.
    pub rtt_us: u32,
    /// How long ago the last of them was.
    pub age: Duration,
}

/// The edges, by who hears them.
#[derive(Debug, Default)]
pub struct Fleet {
    edges: BTreeMap<EdgeId, Seen>,
    /// What other nodes said last of each edge, and when.
    elsewhere: BTreeMap<NodeId, BTreeMap<EdgeId, (Mono, EdgeReport)>>,
    /// The figures of each edge, whoever hears it.
    watches: BTreeMap<EdgeId, Watch>,
    /// What probers found that this node asked.
    outside: BTreeMap<EdgeId, Verdict>,
    /// What other nodes tell of theirs.
    told: BTreeMap<EdgeId, Verdict>,
    /// Since when this node hears others, or is the only one; `None` within while it is cut off.
    touch: Touch,
}

/// Since when this node hears others.
#[derive(Debug)]
struct Touch(Option<Mono>);

impl Default for Touch {
    fn default() -> Self {
        Self(Some(Mono::default()))
    }
}

impl Fleet {
    /// An edge has registered over the uplink `link`, which replaces any former one.
    pub fn handle_hello(&mut self, now: Now, link: u64, hello: EdgeHello) {
        let edge = hello.edge.clone();
        let (heard, alive, stopped) = (now.mono, true, false);
        self.edges.insert(edge, Seen { hello, health: None, heard, alive, rtt_us: None, stopped, link });
    }

    /// A report. One of a former uplink, or older than the last, is dropped.
    pub fn handle_health(&mut self, now: Now, link: u64, edge: &EdgeId, health: Health) {
        let Some(seen) = self.edges.get_mut(edge).filter(|seen| seen.link == link) else { return };
        if seen.health.as_ref().is_none_or(|last| last.seq < health.seq) {
            self.watches.entry(edge.clone()).or_default().handle_health(now.mono, &seen.hello, &health);
            (seen.health, seen.heard, seen.alive) = (Some(health), now.mono, true);
        }
    }

    /// The round-trip time of an uplink was measured.
    pub fn handle_rtt(&mut self, link: u64, edge: &EdgeId, rtt: Duration) {
        if let Some(seen) = self.edges.get_mut(edge).filter(|seen| seen.link == link) {
            seen.rtt_us = Some(u32::try_from(rtt.as_micros()).unwrap_or(u32::MAX));
        }
    }

    /// A prober that this node asked has answered. What it says of others' listeners is nothing that was asked.
    pub fn handle_found(&mut self, now: Now, prober: Prober, edge: &EdgeId, mut found: Vec<Found>) {
        let Some(seen) = self.edges.get(edge) else { return };
        found.retain(|found| seen.hello.listeners.contains(&found.listener));
        found.truncate(PROBE_LISTENERS_MAX);
        // Of what it leaves out it says nothing.
        for listener in &seen.hello.listeners {
            if !found.iter().any(|found| found.listener == *listener) {
                found.push(Found::unasked(listener.clone()));
            }
        }
        self.outside.entry(edge.clone()).or_default().handle_found(now.mono, prober, found);
    }

    /// Whether this node hears any other node now, or is the only one. While it does not, it calls nobody lost: an
    /// edge may be heard by those that it does not hear itself.
    pub fn handle_touch(&mut self, now: Now, touch: bool) {
        match (touch, self.touch.0) {
            (true, None) => self.touch.0 = Some(now.mono),
            (false, Some(_)) => self.touch.0 = None,
            _ => {}
        }
    }

    /// An uplink has ended. `goodbye` says that the edge itself stops; otherwise it may be back in a
    /// moment and is waited for.
    pub fn handle_end(&mut self, link: u64, edge: &EdgeId, goodbye: bool) {
        if let Some(seen) = self.edges.get_mut(edge).filter(|seen| seen.link == link) {
            seen.alive &= !goodbye;
            seen.stopped |= goodbye;
        }
    }

    /// What another node hears, or a piece of it. Edges that it says nothing of any more it does not hear.
    pub fn handle_reports(&mut self, now: Now, from: NodeId, reports: Vec<EdgeReport>) {
        let held = self.elsewhere.entry(from).or_default();
        for report in reports {
            let edge = &report.hello.edge;
            if held.len() >= EDGES_MAX && !held.contains_key(edge) {
                continue;
            }
            if let Some(health) = &report.health {
                self.watches.entry(edge.clone()).or_default().handle_health(now.mono, &report.hello, health);
            }
            if !report.outside.is_empty() {
                let told = self.told.entry(edge.clone()).or_default();
                report.outside.iter().for_each(|outside| told.handle_told(now.mono, outside));
            }
            held.insert(edge.clone(), (now.mono, report));
        }
    }

    /// Edges that are no more: `stays` says what the registry has.
    pub fn forget(&mut self, stays: impl Fn(&EdgeId) -> bool) {
        self.edges.retain(|edge, _| stays(edge));
        self.watches.retain(|edge, _| stays(edge));
        self.outside.retain(|edge, _| stays(edge));
        self.told.retain(|edge, _| stays(edge));
        for held in self.elsewhere.values_mut() {
            held.retain(|edge, _| stays(edge));
        }
    }

    /// What other nodes are told: the edges that report here.
    #[must_use]
    pub fn reports(&self, now: Now) -> Vec<EdgeReport> {
        let report = |(edge, seen): (&EdgeId, &Seen)| EdgeReport {
            hello: seen.hello.clone(),
            health: seen.health.clone(),
            alive: seen.alive,
            rtt_us: seen.rtt_us,
            outside: self.outside.get(edge).map(|verdict| verdict.told(now.mono)).unwrap_or_default(),
        };
        self.edges.iter().map(report).collect()
    }

    /// The same in pieces, each written in [`EDGE_REPORTS_BYTES`] unless one report alone is longer.
    #[must_use]
    pub fn pieces(&self, now: Now) -> Vec<Vec<EdgeReport>> {
        let (mut pieces, mut bytes) = (Vec::<Vec<EdgeReport>>::new(), usize::MAX);
        for report in self.reports(now) {
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

    /// Counts those as lost that were not heard for [`EDGE_LOST_AFTER`], in which they could have reached another
    /// node and this one would have heard of it; and forgets what other nodes have not said again for that long.
    pub fn handle_timeout(&mut self, now: Now) {
        for verdict in self.outside.values_mut().chain(self.told.values_mut()) {
            verdict.handle_timeout(now.mono);
        }
        let Some(touch) = self.touch.0 else { return };
        let silent = |heard: Mono| now.mono.since(heard.max(touch)) >= EDGE_LOST_AFTER;
        for seen in self.edges.values_mut() {
            seen.alive &= !silent(seen.heard);
        }
        self.elsewhere.retain(|_, held| {
            held.retain(|_, (heard, _)| !silent(*heard));
            !held.is_empty()
        });
    }

    /// When [`Self::handle_timeout`] has an edge to count as lost.
    #[must_use]
    pub fn poll_timeout(&self) -> Mono {
        let Some(touch) = self.touch.0 else { return Mono::NEVER };
        let alive = self.edges.values().filter(|seen| seen.alive).map(|seen| seen.heard);
        let elsewhere = self.elsewhere.values().flat_map(BTreeMap::values).map(|(heard, _)| *heard);
        let heard = alive.chain(elsewhere).min();
        heard.map_or(Mono::NEVER, |heard| heard.max(touch) + EDGE_LOST_AFTER)
    }

    /// All edges ever heard here, and those that other nodes hear now, by id: each as the node has it that
    /// hears it best.
    #[must_use]
    pub fn edges(&self) -> BTreeMap<EdgeId, Seen> {
        let mut all = self.edges.clone();
        for (heard, report) in self.elsewhere.values().flat_map(BTreeMap::values) {
            let (hello, health, alive) = (report.hello.clone(), report.health.clone(), report.alive);
            let heard = *heard;
            let theirs = Seen { hello, health, heard, alive, rtt_us: None, stopped: false, link: 0 };
            let known = all.entry(report.hello.edge.clone()).or_insert_with(|| theirs.clone());
            // One whose uplink here has fallen silent may have another elsewhere.
            let fresher = heard > known.heard + 2 * HEALTH_EVERY;
            if theirs.alive && (!known.alive || fresher) {
                let rtt_us = known.rtt_us.filter(|_| known.alive);
                *known = Seen { rtt_us, ..theirs };
            }
        }
        all
    }

    /// Who hears an edge now, this node first.
    #[must_use]
    pub fn heard_by(&self, edge: &EdgeId) -> Vec<Hearing> {
        let here = self.edges.get(edge).filter(|seen| seen.alive);
        let here = here.map(|seen| Hearing { node: None, rtt_us: seen.rtt_us });
        let there = self.elsewhere.iter().filter_map(|(node, held)| {
            let (_, report) = held.get(edge).filter(|(_, report)| report.alive)?;
            Some(Hearing { node: Some(*node), rtt_us: report.rtt_us })
        });
        here.into_iter().chain(there).collect()
    }

    /// The edges that report here and are alive: who can be asked to probe, and is to be probed from here.
    #[must_use]
    pub fn candidates(&self) -> Vec<Candidate> {
        let alive = self.edges.values().filter(|seen| seen.alive);
        alive
            .map(|seen| Candidate { edge: seen.hello.edge.clone(), region: seen.hello.region.clone() })
            .collect()
    }

    /// What an edge that reports here offers.
    #[must_use]
    pub fn hello(&self, edge: &EdgeId) -> Option<&EdgeHello> {
        self.edges.get(edge).map(|seen| &seen.hello)
    }

    /// What an edge does a second, where two of its reports have come.
    #[must_use]
    pub fn rates(&self, edge: &EdgeId) -> Option<Rates> {
        self.watches.get(edge)?.rates()
    }

    /// What probers found of an edge, whoever asked them.
    #[must_use]
    pub fn verdict(&self, edge: &EdgeId) -> Verdict {
        let own = self.outside.get(edge).cloned().unwrap_or_default();
        self.told.get(edge).map_or(own.clone(), |told| own.and(told))
    }

    /// The round trips that probers of edges measured, whoever asked them.
    #[must_use]
    pub fn round_trips(&self, now: Mono) -> Vec<RoundTrip> {
        let probed: BTreeSet<&EdgeId> = self.outside.keys().chain(self.told.keys()).collect();
        let of = |to: &EdgeId| -> Vec<RoundTrip> {
            let verdict = self.verdict(to);
            let of = |(from, at, rtt_us): (&Prober, Mono, u32)| RoundTrip {
                from: from.clone(),
                to: to.clone(),
                rtt_us,
                age: now.since(at),
            };
            verdict.round_trips().map(of).collect()
        };
        probed.into_iter().flat_map(of).collect()
    }

    /// The edges as far as choosing goes. `decided` says what operators decided.
    pub fn statuses(&self, now: Now, decided: impl Fn(&EdgeId) -> Decided) -> Vec<EdgeStatus> {
        self.edges().into_values().map(|seen| self.status(now, &seen, &decided)).collect()
    }

    fn status(&self, now: Now, seen: &Seen, decided: impl Fn(&EdgeId) -> Decided) -> EdgeStatus {
        let Seen { hello, health, alive, .. } = seen;
        let (decided, outside) = (decided(&hello.edge), self.verdict(&hello.edge));
        let unheard = now.mono.since(seen.heard) >= EDGE_LOST_AFTER;
        let heard = match (alive, seen.stopped) {
            (false, true) => Heard::Stopped,
            (false, false) => Heard::No,
            (true, _) if unheard && self.touch.0.is_none() => Heard::CutOff,
            (true, _) => Heard::Yes,
        };
        let signs = Signs { hello, health: health.as_ref(), heard, decided, outside: &outside };
        let unwatched = Watch::default();
        let condition = self.watches.get(&hello.edge).unwrap_or(&unwatched).condition(now, &signs);
        let failed = hello.failed(health.as_ref());
        let closed = outside.closed(hello);
        let works: Vec<_> = hello.listeners.iter().filter(|it| !failed.contains(it)).cloned().collect();
        let open: Vec<_> = works.iter().filter(|it| !closed.contains(it)).cloned().collect();
        // Probers may all be on the wrong side of something: what they say takes no edge away, where there is no other.
        let shut = turn_urls(&open).is_empty();
        let listeners = if shut { works } else { open };
        let allocations = health.as_ref().map_or(0, |health| health.allocations);
        EdgeStatus {
            coordinates: hello.coordinates.and_then(|at| Coordinates::try_from(at).ok()),
            available: *alive && !turn_urls(&listeners).is_empty() && decided == Decided::Admitted,
            load: f64::from(allocations) / f64::from(hello.capacity.max(1)),
            capacity: hello.capacity,
            condition,
            failing: shut,
            uplink_ms: seen.rtt_us.map(|micros| f64::from(micros) / 1000.0),
            timed: hello.timed,
            ..EdgeStatus::new(hello.edge.clone(), hello.region.clone(), listeners)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::id::Region;
    use crate::limits::OUTSIDE_FRESH;
    use crate::mesh::probe::{Cause, Fault, Step};
    use crate::mesh::uplink::Listener;
    use crate::select::condition::State;
    use crate::select::reason::Reason;
    use crate::time::Unix;
    use crate::turn::Transport;

    fn hello() -> EdgeHello {
        EdgeHello {
            edge: EdgeId::new("e1").unwrap(),
            build: String::new(),
            region: Region::new("eu").unwrap(),
            coordinates: None,
            listeners: vec![Listener {
                transport: Transport::Udp,
                address: "192.0.2.1:3478".parse().unwrap(),
                hostname: None,
            }],
            relays: vec![],
            capacity: 100,
            feed: None,
            proven: vec![],
            timed: false,
        }
    }

    #[test]
    fn up_silent_lost_and_back() {
        let mut now = Now { mono: Mono::default(), unix: Unix::default() };
        let (mut fleet, edge) = (Fleet::default(), hello().edge);
        let status = |fleet: &Fleet, now| fleet.statuses(now, |_| Decided::Admitted).remove(0);
        let available = |fleet: &Fleet, now| status(fleet, now).available;
        fleet.handle_hello(now, 1, hello());
        assert!(available(&fleet, now));
        assert!(!fleet.statuses(now, |_| Decided::Draining)[0].available);

        now = now.after(Duration::from_millis(2900));
        fleet.handle_health(now, 1, &edge, Health { seq: 1, allocations: 50, ..Health::default() });
        now = now.after(Duration::from_millis(2900));
        fleet.handle_timeout(now);
        assert!(available(&fleet, now) && (status(&fleet, now).load - 0.5).abs() < 1e-9);
        now = now.after(Duration::from_millis(100));
        assert_eq!(fleet.poll_timeout(), now.mono);
        fleet.handle_timeout(now);
        assert!(!available(&fleet, now));

        fleet.handle_health(now, 1, &edge, Health { seq: 1, ..Health::default() });
        assert!(!available(&fleet, now), "an old report brings nobody back");
        fleet.handle_hello(now, 2, hello());
        assert!(available(&fleet, now));
        fleet.handle_end(1, &edge, true);
        assert!(available(&fleet, now), "a former uplink's goodbye");
        fleet.handle_end(2, &edge, false);
        assert!(available(&fleet, now), "it may be back in a moment");
        fleet.handle_end(2, &edge, true);
        assert!(!available(&fleet, now));
    }

    #[test]
    fn an_edge_that_another_node_hears_is_there() {
        let mut now = Now { mono: Mono::default(), unix: Unix::default() };
        let (mut here, mut there) = (Fleet::default(), Fleet::default());
        there.handle_hello(now, 1, hello());
        here.handle_reports(now, NodeId(2), there.reports(now));
        let available = |fleet: &Fleet, now| {
            fleet.statuses(now, |_| Decided::Admitted).first().is_some_and(|edge| edge.available)
        };
        assert!(available(&here, now));

        // Its uplink here ends; the other node hears it still.
        here.handle_hello(now, 1, hello());
        here.handle_end(1, &hello().edge, true);
        assert!(available(&here, now));

        // A node that says nothing any more hears nobody.
        now = now.after(EDGE_LOST_AFTER);
        assert_eq!(here.poll_timeout(), now.mono);
        here.handle_timeout(now);
        assert!(!available(&here, now));
        there.handle_timeout(now);
        here.handle_reports(now, NodeId(2), there.reports(now));
        assert!(!available(&here, now), "lost there too");
    }

    /// As an edge whose certificate is awaited: its UDP listener works, the other two nobody has seen work.
    fn secure() -> EdgeHello {
        let mut secure = hello();
        for transport in [Transport::Tls, Transport::Dtls] {
            secure.listeners.push(Listener { transport, ..hello().listeners.remove(0) });
        }
        secure
    }

    #[test]
    fn a_secure_listener_is_handed_out_once_its_edge_has_seen_it_work() {
        use Transport::{Dtls, Tls, Udp};
        let now = Now { mono: Mono::default(), unix: Unix::default() };
        let (mut here, mut there) = (Fleet::default(), Fleet::default());
        let of = |fleet: &Fleet| {
            let status = fleet.statuses(now, |_| Decided::Admitted).remove(0);
            status.listeners.iter().map(|listener| listener.transport).collect::<Vec<_>>()
        };
        here.handle_hello(now, 1, secure());
        assert_eq!(of(&here), [Udp]);
        there.handle_reports(now, NodeId(2), here.reports(now));
        assert_eq!(of(&there), [Udp], "at other nodes too");
        let failed_listeners = secure().listeners.split_off(1);
        let health = |seq, failed_listeners| Health { seq, failed_listeners, ..Health::default() };
        here.handle_health(now, 1, &secure().edge, health(1, failed_listeners));
        assert_eq!(of(&here), [Udp]);
        here.handle_health(now, 1, &secure().edge, health(2, vec![]));
        assert_eq!(of(&here), [Udp, Tls, Dtls]);

        // It comes back: what it has seen so far, it says at once.
        here.handle_hello(now, 2, EdgeHello { proven: vec![1, 9], ..secure() });
        assert_eq!(of(&here), [Udp, Tls]);
        here.handle_hello(now, 3, secure());
        assert_eq!(of(&here), [Udp], "started anew");
        assert_eq!(turn_urls(&secure().listeners).len(), 2, "and would be handed out");
    }

    fn state(fleet: &Fleet, now: Now) -> State {
        fleet.statuses(now, |_| Decided::Admitted).first().map_or(State::Lost, |edge| edge.condition.state)
    }

    #[test]
    fn a_node_that_is_cut_off_calls_nobody_lost() {
        let mut now = Now { mono: Mono::default(), unix: Unix::default() };
        let (mut here, mut there) = (Fleet::default(), Fleet::default());
        let far = EdgeId::new("e2").unwrap();
        here.handle_hello(now, 1, hello());
        there.handle_hello(now, 1, EdgeHello { edge: far, ..hello() });
        here.handle_reports(now, NodeId(2), there.reports(now));
        // Nobody is heard any more: neither edges nor nodes.
        now = now.after(Duration::from_secs(1));
        here.handle_touch(now, false);
        for _ in 0..60 {
            now = now.after(Duration::from_secs(1));
            here.handle_touch(now, false);
            here.handle_timeout(now);
        }
        assert_eq!(here.poll_timeout(), Mono::NEVER);
        let statuses = here.statuses(now, |_| Decided::Admitted);
        assert_eq!(statuses.len(), 2);
        for status in &statuses {
            assert!(status.available, "{status:?}");
            assert_eq!(status.condition.reasons, [Reason::CutOff]);
        }
        // The nodes are back: who is not heard within three seconds from then on is lost.
        here.handle_touch(now, true);
        now = now.after(Duration::from_millis(2900));
        here.handle_timeout(now);
        assert_eq!(here.statuses(now, |_| Decided::Admitted).len(), 2);
        here.handle_reports(now, NodeId(2), there.reports(now));
        now = now.after(Duration::from_millis(100));
        assert_eq!(here.poll_timeout(), now.mono);
        here.handle_timeout(now);
        let statuses = here.statuses(now, |_| Decided::Admitted);
        let states: Vec<State> = statuses.iter().map(|edge| edge.condition.state).collect();
        assert_eq!(states, [State::Lost, State::Up]);
        assert_eq!(statuses[0].condition.reasons, [Reason::Silent]);
    }

    #[test]
    fn an_edge_that_moves_to_another_node_is_heard_through_it() {
        let mut now = Now { mono: Mono::default(), unix: Unix::default() };
        let (mut here, mut there) = (Fleet::default(), Fleet::default());
        here.handle_hello(now, 1, hello());
        here.handle_rtt(1, &hello().edge, Duration::from_millis(20));
        let hearings = |fleet: &Fleet| {
            fleet.heard_by(&hello().edge).iter().map(|by| (by.node, by.rtt_us)).collect::<Vec<_>>()
        };
        assert_eq!(hearings(&here), [(None, Some(20_000))]);
        assert_eq!(here.statuses(now, |_| Decided::Admitted)[0].uplink_ms, Some(20.0));
        there.handle_hello(now, 1, hello());
        there.handle_rtt(1, &hello().edge, Duration::from_millis(5));
        for seq in 1..=4 {
            now = now.after(Duration::from_secs(1));
            there.handle_health(now, 1, &hello().edge, Health { seq, allocations: 7, ..Health::default() });
            here.handle_reports(now, NodeId(2), there.reports(now));
            here.handle_timeout(now);
            assert_eq!(state(&here, now), State::Up, "second {seq}");
        }
        assert_eq!(hearings(&here), [(Some(NodeId(2)), Some(5_000))]);
        assert_eq!(here.edges()[&hello().edge].health.as_ref().unwrap().allocations, 7);
    }

    #[test]
    fn every_node_knows_how_far_edges_are_from_each_other() {
        let now = Now { mono: Mono(Duration::from_secs(9)), unix: Unix::default() };
        let (mut here, mut there) = (Fleet::default(), Fleet::default());
        there.handle_hello(now, 1, hello());
        let answered = |us| Found {
            listener: hello().listeners.remove(0),
            answered_us: Some(us),
            fault: None,
            relay: None,
        };
        let by = |name| Prober::Edge(EdgeId::new(name).unwrap());
        there.handle_found(now, by("e2"), &hello().edge, vec![answered(900)]);
        there.handle_found(now, by("e3"), &EdgeId::new("none").unwrap(), vec![answered(1)]);
        here.handle_reports(now, NodeId(2), there.reports(now));
        let edge = hello().edge;
        let far = RoundTrip { from: by("e2"), to: edge.clone(), rtt_us: 900, age: Duration::ZERO };
        assert_eq!(here.round_trips(now.mono), std::slice::from_ref(&far));
        // One that this node had measured itself, later.
        here.handle_hello(now, 1, hello());
        let now = now.after(Duration::from_secs(2));
        here.handle_found(now, by("e2"), &edge, vec![answered(700)]);
        assert_eq!(here.round_trips(now.mono), [RoundTrip { rtt_us: 700, ..far }]);
        here.forget(|_| false);
        assert!(here.round_trips(now.mono).is_empty());
    }

    #[test]
    fn what_is_closed_from_outside_takes_that_url_away_alone() {
        let mut now = Now { mono: Mono::default(), unix: Unix::default() };
        let (mut here, mut there) = (Fleet::default(), Fleet::default());
        let mut hello = hello();
        let udp = hello.listeners[0].clone();
        hello.listeners.push(Listener { transport: Transport::Tcp, ..udp.clone() });
        for fleet in [&mut here, &mut there] {
            fleet.handle_hello(now, 1, hello.clone());
        }
        let found = |listener: &Listener| Found {
            listener: listener.clone(),
            answered_us: None,
            fault: Some(Fault { step: Step::Binding, cause: Cause::Silent, code: None, text: String::new() }),
            relay: None,
        };
        let prober = |name| Prober::Edge(EdgeId::new(name).unwrap());
        here.handle_found(now, prober("e2"), &hello.edge, vec![found(&udp)]);
        let one = here.statuses(now, |_| Decided::Admitted).remove(0);
        assert_eq!(
            (one.condition.state, one.listeners.len()),
            (State::Degraded, 2),
            "one prober condemns nobody"
        );
        // Another node's prober says the same.
        now = now.after(Duration::from_secs(1));
        there.handle_found(now, prober("e3"), &hello.edge, vec![found(&udp)]);
        here.handle_reports(now, NodeId(2), there.reports(now));
        let two = here.statuses(now, |_| Decided::Admitted).remove(0);
        assert_eq!(two.listeners, hello.listeners[1..]);
        assert!(two.available && two.condition.takes_new());
        let text = two.condition.reasons[0].to_string();
        assert!(text.ends_with("open UDP from anywhere to 192.0.2.1 port 3478"), "{text}");
        // Nobody tells of a probe what another node has told it: it would never grow old.
        assert_eq!(here.reports(now)[0].outside.len(), 1);
        // All of its listeners: it is handed out only where there is no other.
        let all = || hello.listeners.iter().map(found).collect::<Vec<_>>();
        here.handle_found(now, prober("e2"), &hello.edge, all());
        here.handle_found(now, prober("e3"), &hello.edge, all());
        let shut = here.statuses(now, |_| Decided::Admitted).remove(0);
        assert_eq!((shut.available, shut.failing, shut.listeners), (true, true, hello.listeners.clone()));
        here.handle_found(now, prober("e3"), &hello.edge, vec![]);
        assert!(!here.statuses(now, |_| Decided::Admitted)[0].failing);
        // One that answers, but not as it should, is named and not taken away.
        let odd = Fault { step: Step::Allocate, cause: Cause::Code, code: Some(508), text: String::new() };
        for name in ["e2", "e3"] {
            let odd = Found { fault: Some(odd.clone()), ..found(&udp) };
            here.handle_found(now, prober(name), &hello.edge, vec![odd]);
        }
        let odd = here.statuses(now, |_| Decided::Admitted).remove(0);
        assert_eq!((odd.listeners.len(), odd.condition.state), (2, State::Degraded));
        // What a prober leaves out it says nothing of: as nodes do of DTLS.
        here.handle_found(now, prober("e2"), &hello.edge, all());
        here.handle_found(now, prober("e3"), &hello.edge, vec![found(&udp)]);
        assert_eq!(here.statuses(now, |_| Decided::Admitted)[0].listeners, hello.listeners[1..]);
        // And what was found is true for a while only.
        now = now.after(OUTSIDE_FRESH);
        here.handle_hello(now, 1, hello.clone());
        here.handle_timeout(now);
        assert_eq!(here.statuses(now, |_| Decided::Admitted)[0].condition.state, State::Up);
    }

    #[test]
    fn many_edges_are_told_in_pieces() {
        let mut now = Now { mono: Mono::default(), unix: Unix::default() };
        let (mut here, mut there) = (Fleet::default(), Fleet::default());
        assert!(there.pieces(now).is_empty());
        for n in 0..1000 {
            let edge = EdgeId::new(&format!("e{n}")).unwrap();
            let build = "b".repeat(n % 64);
            there.handle_hello(now, n as u64, EdgeHello { edge, build, ..hello() });
        }
        let pieces = there.pieces(now);
        assert!(pieces.len() > 2);
        let len = |piece: &Vec<EdgeReport>| wire::encode(piece).unwrap().len();
        assert!(pieces.iter().all(|piece| len(piece) <= EDGE_REPORTS_BYTES + 8), "and a list's own head");
        assert_eq!(pieces.concat(), there.reports(now));

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
        here.handle_reports(now, NodeId(2), there.reports(now));
        here.forget(|_| true);
        assert_eq!(here.edges().len(), 2);
        here.forget(|edge| *edge != hello().edge);
        assert_eq!(here.edges().len(), 1, "one that another node hears");
        here.forget(|_| false);
        assert!(here.edges().is_empty() && here.reports(now).is_empty());
        assert_eq!(here.poll_timeout(), Mono::NEVER);
    }

    #[test]
    fn an_edge_whose_listeners_fail_their_probe_is_not_handed_out() {
        let now = Now { mono: Mono::default(), unix: Unix::default() };
        let (mut fleet, edge) = (Fleet::default(), hello().edge);
        fleet.handle_hello(now, 1, hello());
        let failed_listeners = hello().listeners;
        fleet.handle_health(now, 1, &edge, Health { seq: 1, failed_listeners, ..Health::default() });
        assert!(!fleet.statuses(now, |_| Decided::Admitted)[0].available);
        fleet.handle_health(now, 1, &edge, Health { seq: 2, ..Health::default() });
        assert!(fleet.statuses(now, |_| Decided::Admitted)[0].available);
    }
}
