//! Judges a round by its clients' log and nothing else: what was lost, doubled, out of order, and how
//! long each room, session and join went without an answer.

use std::collections::{BTreeMap, HashMap, HashSet, VecDeque};
use std::time::Duration;

use anyhow::{Result, bail};
use serde::{Deserialize, Serialize};

use super::log::{Event, How, Line};

/// The rate through the victims is that of so long before the fault, in microseconds.
const RATE_OVER: u64 = 1_000_000;

/// What a log says. A gap that never ended is none.
#[derive(Debug, Default, Clone, PartialEq, Serialize, Deserialize)]
pub(super) struct Verdict {
    /// Signals that applications gave to their clients.
    pub(super) sent: u64,
    /// What must not be, in words, each kind with its count: empty for a good round.
    pub(super) faults: BTreeMap<String, u64>,
    /// Signals a second that passed a victim, before the fault.
    pub(super) rate: f64,
    /// Of each room between clients on nodes that live on: from the fault until the first signal that
    /// was sent after it is acknowledged.
    #[serde(with = "micros")]
    pub(super) present: Vec<Option<Duration>>,
    /// The same of rooms of which a client was on a victim.
    #[serde(with = "micros")]
    pub(super) through_gateway: Vec<Option<Duration>>,
    /// From the fault until a session that was on a victim is resumed.
    #[serde(with = "micros")]
    pub(super) resumed: Vec<Option<Duration>>,
    /// Of those, how many were made anew from their tokens.
    pub(super) rebuilt: u64,
    /// Of each room between clients on nodes that live on: the longest that any signal took.
    #[serde(with = "micros")]
    pub(super) longest: Vec<Option<Duration>>,
    /// From asking to join until the welcome, of those who asked right after the fault.
    #[serde(with = "micros")]
    pub(super) joined: Vec<Option<Duration>>,
}

/// Gaps in microseconds, in a file.
mod micros {
    use std::time::Duration;

    use serde::{Deserialize, Deserializer, Serializer};

    pub(super) fn serialize<S: Serializer>(gaps: &[Option<Duration>], to: S) -> Result<S::Ok, S::Error> {
        let micros = |gap: Duration| u64::try_from(gap.as_micros()).unwrap_or(u64::MAX);
        to.collect_seq(gaps.iter().map(|gap| gap.map(micros)))
    }

    pub(super) fn deserialize<'a, D: Deserializer<'a>>(from: D) -> Result<Vec<Option<Duration>>, D::Error> {
        let gaps = Vec::<Option<u64>>::deserialize(from)?;
        Ok(gaps.into_iter().map(|gap| gap.map(Duration::from_micros)).collect())
    }
}

/// One direction between two sessions.
#[derive(Default)]
struct Flow {
    sent: u64,
    took: u64,
    undelivered: u64,
    /// The first one that was sent after the fault.
    first: Option<u64>,
    /// When those were sent that are on their way.
    on_the_way: VecDeque<u64>,
}

#[derive(Default)]
struct Client {
    room: u32,
    /// The node that it is on, at the fault the one that it was on.
    node: u64,
    /// It was on a victim when the fault came, and has not resumed since.
    struck: bool,
    was_struck: bool,
}

#[derive(Default)]
struct Checker {
    verdict: Verdict,
    fault: Option<u64>,
    victims: Vec<u64>,
    rooms: HashMap<u32, bool>,
    clients: HashMap<u32, Client>,
    /// Rooms of clients that were on a victim and are told that their sessions are no more.
    forgotten: HashSet<u32>,
    /// Peer ids and whose they are.
    peers: HashMap<String, u32>,
    flows: HashMap<(u32, String, String), Flow>,
    ids: HashMap<u32, String>,
    /// When each room took the first signal sent after the fault.
    answered: HashMap<u32, Option<u64>>,
    asked: BTreeMap<u32, (u64, Option<u64>)>,
    /// The longest that a signal of each room took.
    longest: HashMap<u32, u64>,
    /// When signals passed a victim, before the fault.
    passed: Vec<u64>,
    ended: bool,
}

/// Judges a log.
pub(super) fn check(lines: &[Line]) -> Result<Verdict> {
    let mut checker = Checker::default();
    for line in lines {
        checker.line(line);
    }
    if !checker.ended {
        bail!("the log has no end: it is not whole");
    }
    Ok(checker.finish())
}

impl Checker {
    fn wrong(&mut self, what: &'static str) {
        self.count(what, 1);
    }

    fn count(&mut self, what: &'static str, count: u64) {
        if count > 0 {
            *self.verdict.faults.entry(what.to_owned()).or_default() += count;
        }
    }

    fn line(&mut self, Line { t, event }: &Line) {
        match event {
            Event::Room { room, through } => {
                self.rooms.insert(*room, *through);
            }
            Event::In { client, room, peer, node, how } => {
                self.entered(*t, *client, *room, peer, *node, *how);
            }
            Event::Lost { client } => self.lost(*client),
            Event::Gone { client } => {
                self.wrong("sessions forgotten");
                self.gone(*client);
            }
            Event::Ended { .. } => self.wrong("clients refused for good"),
            Event::Left { peer, .. } if self.peers.contains_key(peer) => {
                self.wrong("peer_left of somebody present");
            }
            Event::Left { .. } => {}
            Event::Sent { client, to, n } => self.sent(*t, *client, to, *n),
            Event::Took { client, from, n } => self.took(*t, *client, from, *n),
            Event::Delivered { client, to, n } => self.delivered(*client, to, *n),
            Event::Undelivered { client, to, n, .. } => self.undelivered(*client, to, *n),
            Event::Fault { victims } => self.struck(*t, victims),
            Event::Asked { client } => {
                self.asked.insert(*client, (*t, None));
            }
            Event::End => self.ended = true,
        }
    }

    fn entered(&mut self, t: u64, number: u32, room: u32, peer: &str, node: u64, how: How) {
        if let Some((_, answered)) = self.asked.get_mut(&number) {
            answered.get_or_insert(t);
            return;
        }
        self.peers.insert(peer.to_owned(), number);
        if how != How::Welcome && self.ids.get(&number).is_some_and(|held| held != peer) {
            self.wrong("resumes as somebody else");
        }
        self.ids.insert(number, peer.to_owned());
        let fault = self.fault;
        let client = self.clients.entry(number).or_default();
        (client.room, client.node) = (room, node);
        if std::mem::take(&mut client.struck) {
            let gap = fault.map(|fault| Duration::from_micros(t.saturating_sub(fault)));
            self.verdict.resumed.push(gap);
            self.verdict.rebuilt += u64::from(how == How::Rebuilt);
        }
    }

    fn lost(&mut self, number: u32) {
        let Some(client) = self.clients.get(&number) else { return };
        // One that was on a victim, or has moved since, may lose its socket.
        if self.fault.is_none() || !client.was_struck && !self.victims.contains(&client.node) {
            self.wrong("sockets lost to nodes that live");
        }
    }

    /// Of a session on a victim that is forgotten nothing resumes, and what comes after it is another.
    fn gone(&mut self, number: u32) {
        let Some(client) = self.clients.remove(&number) else { return };
        if client.struck {
            self.verdict.resumed.push(None);
        }
        if client.was_struck {
            self.forgotten.insert(client.room);
        }
    }

    fn struck(&mut self, t: u64, victims: &[u64]) {
        self.fault = Some(t);
        self.victims = victims.to_vec();
        for client in self.clients.values_mut() {
            client.struck = victims.contains(&client.node);
            client.was_struck = client.struck;
        }
    }

    fn flow(&mut self, room: u32, from: &str, to: &str) -> &mut Flow {
        self.flows.entry((room, from.to_owned(), to.to_owned())).or_default()
    }

    fn sent(&mut self, t: u64, number: u32, to: &str, n: u64) {
        self.verdict.sent += 1;
        let (Some(client), Some(me)) = (self.clients.get(&number), self.ids.get(&number).cloned()) else {
            return;
        };
        let (room, fault) = (client.room, self.fault.is_some_and(|fault| fault <= t));
        let flow = self.flow(room, &me, to);
        flow.sent = flow.sent.max(n);
        flow.on_the_way.push_back(t);
        if fault && flow.first.is_none() {
            flow.first = Some(n);
            self.answered.entry(room).or_insert(None);
        }
    }

    fn took(&mut self, t: u64, number: u32, from: &str, n: u64) {
        let (Some(client), Some(me)) = (self.clients.get(&number), self.ids.get(&number).cloned()) else {
            return;
        };
        let room = client.room;
        if self.rooms.get(&room) == Some(&true) && self.fault.is_none() {
            self.passed.push(t);
        }
        let flow = self.flow(room, from, &me);
        let (before, first) = (flow.took, flow.first);
        flow.took = before.max(n);
        let mut slowest = 0;
        for _ in before..n {
            slowest = slowest.max(flow.on_the_way.pop_front().map_or(0, |sent| t.saturating_sub(sent)));
        }
        let sent = flow.sent;
        let longest = self.longest.entry(room).or_default();
        *longest = slowest.max(*longest);
        if n > sent {
            self.wrong("taken, and never sent");
        } else if n <= before {
            self.wrong("doubled or out of order");
        } else if n > before + 1 {
            self.count("passed over", n - before - 1);
        }
        if first.is_some_and(|first| before < first && first <= n) {
            self.answered.entry(room).or_insert(None).get_or_insert(t);
        }
    }

    fn delivered(&mut self, number: u32, to: &str, n: u64) {
        let (Some(client), Some(me)) = (self.clients.get(&number), self.ids.get(&number).cloned()) else {
            return;
        };
        let room = client.room;
        if self.flow(room, &me, to).took < n {
            self.wrong("said to be delivered, and never taken");
        }
    }

    fn undelivered(&mut self, number: u32, to: &str, n: u64) {
        let (Some(client), Some(me)) = (self.clients.get(&number), self.ids.get(&number).cloned()) else {
            return;
        };
        let room = client.room;
        let flow = self.flow(room, &me, to);
        flow.undelivered = flow.undelivered.max(n);
    }

    fn finish(mut self) -> Verdict {
        let (mut lost, mut told) = (0, 0);
        for flow in self.flows.values() {
            let missing = flow.sent.saturating_sub(flow.took);
            let known = flow.undelivered.saturating_sub(flow.took).min(missing);
            told += known;
            lost += missing - known;
        }
        self.count("lost", lost);
        self.count("undelivered", told);
        let never = self.clients.values().filter(|client| client.struck).count();
        self.verdict.resumed.extend(std::iter::repeat_n(None, never));
        let fault = self.fault.unwrap_or(0);
        let mut struck = std::mem::take(&mut self.forgotten);
        struck.extend(self.clients.values().filter(|client| client.was_struck).map(|client| client.room));
        let untaken =
            |room: &u32| self.flows.iter().any(|((of, ..), flow)| of == room && flow.took < flow.sent);
        let longest = self.longest.iter().filter(|(room, _)| !struck.contains(room));
        self.verdict.longest = longest
            .map(|(room, longest)| (!untaken(room)).then_some(Duration::from_micros(*longest)))
            .collect();
        for (room, at) in &self.answered {
            let gap = at.map(|at| Duration::from_micros(at.saturating_sub(fault)));
            let gaps = if struck.contains(room) {
                &mut self.verdict.through_gateway
            } else {
                &mut self.verdict.present
            };
            gaps.push(gap);
        }
        self.verdict.joined = self
            .asked
            .values()
            .map(|(asked, at)| at.map(|at| Duration::from_micros(at.saturating_sub(*asked))))
            .collect();
        let within = self.passed.iter().filter(|t| *t + RATE_OVER >= fault).count();
        #[allow(clippy::cast_precision_loss, reason = "far below 2^52")]
        let rate = within as f64 * 1e6 / RATE_OVER as f64;
        self.verdict.rate = rate;
        self.verdict
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A log of two rooms: the clients of the first are on nodes 1 and 2, those of the second on 3 and 1.
    /// Signals go from the even client to the odd one; node 3 dies at 10 s.
    struct Forged(Vec<Line>);

    impl Forged {
        fn new() -> Self {
            let mut log = Self(Vec::new());
            for (room, nodes) in [(0, [1, 2]), (1, [3, 1])] {
                log.at(0, Event::Room { room, through: room == 1 });
                for (side, node) in (0..).zip(nodes) {
                    log.enter(0, 2 * room + side, node, How::Welcome);
                }
            }
            for n in 1..=3 {
                log.pass(9000 + n, 0, n);
                log.pass(9000 + n, 1, n);
            }
            log.at(10_000, Event::Fault { victims: vec![3] });
            log
        }

        fn at(&mut self, ms: u64, event: Event) {
            self.0.push(Line { t: ms * 1000, event });
        }

        fn enter(&mut self, ms: u64, client: u32, node: u64, how: How) {
            self.at(ms, Event::In { client, room: client / 2, peer: format!("p{client}"), node, how });
        }

        fn send(&mut self, ms: u64, room: u32, n: u64) {
            self.at(ms, Event::Sent { client: 2 * room, to: format!("p{}", 2 * room + 1), n });
        }

        fn take(&mut self, ms: u64, room: u32, n: u64) {
            self.at(ms, Event::Took { client: 2 * room + 1, from: format!("p{}", 2 * room), n });
        }

        fn pass(&mut self, ms: u64, room: u32, n: u64) {
            self.send(ms, room, n);
            self.take(ms, room, n);
        }

        fn judge(&mut self) -> Verdict {
            self.at(60_000, Event::End);
            check(&self.0).unwrap()
        }

        /// The only thing that is wrong.
        fn fault(&mut self) -> (String, u64) {
            let faults = self.judge().faults;
            assert_eq!(faults.len(), 1, "{faults:?}");
            faults.into_iter().next().unwrap()
        }
    }

    /// A good ending: both rooms go on, and the client that was on node 3 resumes.
    fn good() -> Forged {
        let mut log = Forged::new();
        log.at(10_001, Event::Lost { client: 2 });
        for room in [0, 1] {
            log.send(10_100, room, 4);
        }
        log.take(10_200, 0, 4);
        log.enter(10_700, 2, 2, How::Resumed);
        log.take(10_900, 1, 4);
        log
    }

    fn ms(ms: u64) -> Option<Duration> {
        Some(Duration::from_millis(ms))
    }

    #[test]
    fn gaps_run_from_the_fault_to_the_first_signal_sent_after_it() {
        let verdict = good().judge();
        assert_eq!(verdict.faults, BTreeMap::new());
        assert_eq!((verdict.present, verdict.through_gateway), (vec![ms(200)], vec![ms(900)]));
        assert_eq!((verdict.resumed, verdict.rebuilt, verdict.sent), (vec![ms(700)], 0, 8));
        assert_eq!(verdict.longest, [ms(100)]);
        assert!((verdict.rate - 3.0).abs() < 1e-9);
    }

    #[test]
    fn a_signal_from_before_the_fault_ends_no_gap() {
        let mut log = Forged::new();
        log.send(9999, 0, 4);
        log.take(10_050, 0, 4);
        log.send(10_100, 0, 5);
        log.take(10_300, 0, 5);
        assert_eq!(log.judge().present, [ms(300)]);
    }

    #[test]
    fn never_is_no_gap_but_counts() {
        let mut log = Forged::new();
        log.send(10_100, 0, 4);
        let verdict = log.judge();
        assert_eq!((verdict.present, verdict.resumed), (vec![None], vec![None]));
        assert_eq!(verdict.faults, BTreeMap::from([("lost".to_owned(), 1)]));
    }

    #[test]
    fn a_lost_signal_is_found() {
        let mut log = good();
        log.send(11_000, 0, 5);
        assert_eq!(log.fault(), ("lost".to_owned(), 1));
        // In the middle too.
        let mut log = good();
        log.send(11_000, 0, 5);
        log.send(11_000, 0, 6);
        log.take(11_100, 0, 6);
        assert_eq!(log.fault(), ("passed over".to_owned(), 1));
    }

    #[test]
    fn one_that_is_told_to_be_undelivered_is_told_apart() {
        let mut log = good();
        log.send(11_000, 0, 5);
        let gone = Event::Undelivered { client: 0, to: "p1".to_owned(), n: 5, reason: "gone".to_owned() };
        log.at(11_000, gone);
        assert_eq!(log.fault(), ("undelivered".to_owned(), 1));
    }

    #[test]
    fn a_double_and_one_out_of_order_are_found() {
        let mut log = good();
        log.take(11_000, 0, 4);
        assert_eq!(log.fault(), ("doubled or out of order".to_owned(), 1));
        let mut log = good();
        log.send(11_000, 0, 5);
        log.send(11_000, 0, 6);
        log.take(11_100, 0, 6);
        log.take(11_101, 0, 5);
        let both = ["doubled or out of order", "passed over"].map(|what| (what.to_owned(), 1));
        assert_eq!(log.judge().faults, BTreeMap::from(both));
    }

    #[test]
    fn what_was_never_sent_or_never_taken_is_found() {
        let mut log = good();
        log.take(11_000, 0, 5);
        assert_eq!(log.fault(), ("taken, and never sent".to_owned(), 1));
        let mut log = good();
        log.send(11_000, 0, 5);
        log.at(11_100, Event::Delivered { client: 0, to: "p1".to_owned(), n: 5 });
        log.take(11_200, 0, 5);
        assert_eq!(log.fault(), ("said to be delivered, and never taken".to_owned(), 1));
    }

    #[test]
    fn sessions_and_peers_that_are_thrown_out_are_found() {
        let mut log = good();
        log.at(11_000, Event::Left { client: 1, peer: "p0".to_owned(), reason: "lost".to_owned() });
        assert_eq!(log.fault(), ("peer_left of somebody present".to_owned(), 1));
        let mut log = good();
        log.at(11_000, Event::Gone { client: 1 });
        assert_eq!(log.fault(), ("sessions forgotten".to_owned(), 1));
        let mut log = good();
        log.at(11_000, Event::Lost { client: 0 });
        assert_eq!(log.fault(), ("sockets lost to nodes that live".to_owned(), 1));
    }

    #[test]
    fn a_struck_session_that_is_forgotten_never_resumes() {
        let mut log = Forged::new();
        log.at(10_001, Event::Lost { client: 2 });
        log.send(10_100, 1, 4);
        log.at(10_600, Event::Gone { client: 2 });
        log.enter(10_700, 2, 2, How::Welcome);
        let verdict = log.judge();
        assert_eq!((verdict.resumed, verdict.through_gateway), (vec![None], vec![None]));
        assert_eq!(
            (verdict.present, verdict.longest.len()),
            (vec![], 1),
            "its room is no room of those present"
        );
        // One that has resumed before has its gap already.
        let mut log = good();
        log.at(11_000, Event::Gone { client: 2 });
        let verdict = log.judge();
        assert_eq!((verdict.resumed, verdict.through_gateway), (vec![ms(700)], vec![ms(900)]));
    }

    #[test]
    fn joins_count_from_when_they_were_asked_for() {
        let mut log = good();
        log.at(10_010, Event::Asked { client: 90 });
        log.at(10_020, Event::Asked { client: 91 });
        log.enter(10_500, 90, 1, How::Welcome);
        assert_eq!(log.judge().joined, [ms(490), None]);
    }

    #[test]
    fn a_log_without_its_end_is_no_log() {
        assert!(check(&good().0).is_err());
    }
}
