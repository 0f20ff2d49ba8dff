//! What probes from outside found of an edge. One prober may be broken itself: two have to agree, and nobody may
//! say otherwise, before a listener counts as closed.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::Duration;

use super::reason::Reason;
use crate::limits::{OUTSIDE_FRESH, PROBE_TEXT_MAX, ROUND_TRIP_FRESH, ROUND_TRIPS_KEPT};
use crate::mesh::probe::{Fault, Found, Outside, Prober, Step};
use crate::mesh::uplink::{EdgeHello, Listener, RelayRange};
use crate::time::Mono;
use crate::turn::Transport;

/// What each prober found last.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Verdict {
    probers: BTreeMap<Prober, (Mono, Vec<Found>)>,
    /// The round trips of each prober's last probes in microseconds, the newest last, and when that was.
    times: BTreeMap<Prober, (Mono, VecDeque<u32>)>,
}

impl Verdict {
    /// A prober is done: what failed of what it probed, of each listener what it says first.
    pub fn handle_found(&mut self, now: Mono, prober: Prober, found: Vec<Found>) {
        if let Some(rtt_us) = round_trip(&found) {
            let (at, times) = self.times.entry(prober.clone()).or_default();
            *at = now;
            times.push_back(rtt_us);
            times.drain(..times.len().saturating_sub(ROUND_TRIPS_KEPT));
        }
        let mut said = BTreeSet::new();
        let mut failed = Vec::new();
        for mut found in found {
            let Listener { transport, address, hostname } = &found.listener;
            if said.insert((transport.name(), *address, hostname.clone())) && !found.is_fine() {
                found.fault.iter_mut().for_each(|fault| cut(&mut fault.text));
                failed.push(found);
            }
        }
        self.probers.insert(prober, (now, failed));
    }

    /// What another node says of its probes: it stands where it is newer.
    pub fn handle_told(&mut self, now: Mono, outside: &Outside) {
        let at = now - Duration::from_millis(outside.age_ms.into());
        if let Some(rtt_us) = outside.rtt_us
            && self.times.get(&outside.prober).is_none_or(|(known, _)| *known < at)
        {
            self.times.insert(outside.prober.clone(), (at, VecDeque::from([rtt_us])));
        }
        let known = self.probers.get(&outside.prober).is_some_and(|(known, _)| *known >= at);
        if !known {
            self.probers.insert(outside.prober.clone(), (at, outside.failed.clone()));
        }
    }

    /// Forgets what is too old to be true.
    pub fn handle_timeout(&mut self, now: Mono) {
        self.probers.retain(|_, (at, _)| now.since(*at) < OUTSIDE_FRESH);
        self.times.retain(|_, (at, _)| now.since(*at) < ROUND_TRIP_FRESH);
    }

    /// What other nodes are told.
    #[must_use]
    pub fn told(&self, now: Mono) -> Vec<Outside> {
        let told = |(prober, (at, failed)): (&Prober, &(Mono, Vec<Found>))| Outside {
            prober: prober.clone(),
            age_ms: u32::try_from(now.since(*at).as_millis()).unwrap_or(u32::MAX),
            failed: failed.clone(),
            rtt_us: self.times.get(prober).map(|(_, times)| median(times)),
        };
        self.probers.iter().map(told).collect()
    }

    /// The round trip of each prober in microseconds, and when it was measured last.
    pub fn round_trips(&self) -> impl Iterator<Item = (&Prober, Mono, u32)> {
        self.times.iter().map(|(prober, (at, times))| (prober, *at, median(times)))
    }

    /// This one and another, of each prober what is newer.
    #[must_use]
    pub fn and(mut self, other: &Self) -> Self {
        for (prober, (at, failed)) in &other.probers {
            if self.probers.get(prober).is_none_or(|(known, _)| known < at) {
                self.probers.insert(prober.clone(), (*at, failed.clone()));
            }
        }
        for (prober, (at, times)) in &other.times {
            if self.times.get(prober).is_none_or(|(known, _)| known < at) {
                self.times.insert(prober.clone(), (*at, times.clone()));
            }
        }
        self
    }

    /// Whether the last one found a fault that another one has yet to confirm or deny.
    #[must_use]
    pub fn is_open(&self) -> bool {
        let Some((_, last)) = self.probers.values().max_by_key(|(at, _)| *at) else { return false };
        let fault = |found: &Found| found.fault.as_ref().is_some_and(|fault| !fault.is_local());
        last.iter().filter(|found| fault(found)).any(|failed| {
            // Those who say something of it, and whether it is a fault.
            let says = |(_, said): &(Mono, Vec<Found>)| match said
                .iter()
                .find(|found| found.listener == failed.listener)
            {
                Some(found) if !fault(found) => None,
                found => Some(found.is_some()),
            };
            let said: Vec<bool> = self.probers.values().filter_map(says).collect();
            said.len() == 1 || said.contains(&false)
        })
    }

    /// Listeners that are closed for certain: nothing comes through to them. One that answers otherwise than it
    /// should is named, but not taken away: the edge itself knows better, and its probers may be mistaken in the
    /// same way.
    #[must_use]
    pub fn closed(&self, hello: &EdgeHello) -> Vec<Listener> {
        let closed = |reason| match reason {
            Reason::Outside { listener, fault, certain: true, .. } if fault.is_firewall() => Some(listener),
            _ => None,
        };
        self.reasons(hello).into_iter().filter_map(closed).collect()
    }

    /// What is wrong, with those who say so.
    #[must_use]
    pub fn reasons(&self, hello: &EdgeHello) -> Vec<Reason> {
        let listeners = hello.listeners.iter().filter_map(|listener| self.listener(listener));
        let relays = hello.relays.iter().filter_map(|relay| self.relay(hello, relay));
        listeners.chain(relays).collect()
    }

    fn listener(&self, listener: &Listener) -> Option<Reason> {
        let of = |failed: &[Found]| -> Option<Fault> {
            let found = failed.iter().find(|found| found.listener == *listener)?;
            // One whose relayed address alone fails answers.
            found.fault.clone().filter(|fault| !matches!(fault.step, Step::Permission | Step::Relay))
        };
        let said = self.probers.iter().map(|(prober, (_, failed))| (prober, of(failed)));
        // One that could not ask has no say.
        let said = said.filter(|(_, fault)| !fault.as_ref().is_some_and(Fault::is_local));
        let asked = said.clone().count();
        let faults: Vec<(&Prober, Fault)> =
            said.filter_map(|(prober, fault)| Some((prober, fault?))).collect();
        let fault = faults.first()?.1.clone();
        let certain = faults.len() >= 2 && faults.len() == asked;
        let probers = faults.into_iter().map(|(prober, _)| prober.clone()).collect();
        Some(Reason::Outside { listener: listener.clone(), fault, probers, certain })
    }

    fn relay(&self, hello: &EdgeHello, relay: &RelayRange) -> Option<Reason> {
        let closed = |found: &Found| {
            let silent =
                found.fault.as_ref().is_some_and(|fault| fault.step == Step::Relay && !fault.is_local());
            silent && found.relay.as_ref().is_some_and(|given| relay.contains(given.address))
        };
        let mut asked = 0;
        let mut probers = Vec::new();
        for (prober, (_, failed)) in &self.probers {
            // One that came to no relayed address at all says nothing of it.
            let sent =
                |found: &Found| found.relay.is_some() && !found.fault.as_ref().is_some_and(Fault::is_local);
            let came = failed.iter().any(sent) || failed.len() < hello.listeners.len();
            asked += usize::from(came);
            if failed.iter().any(closed) {
                probers.push(prober.clone());
            }
        }
        let certain = probers.len() >= 2 && probers.len() == asked;
        (!probers.is_empty()).then(|| Reason::Relay { relay: relay.clone(), probers, certain })
    }
}

/// The round trip of a probe in microseconds: that of UDP, which has none for a connection; where it did not answer,
/// the least of the others.
fn round_trip(found: &[Found]) -> Option<u32> {
    let of = |udp: bool| {
        let meant = found.iter().filter(|found| (found.listener.transport == Transport::Udp) == udp);
        meant.filter_map(|found| found.answered_us).min()
    };
    of(true).or_else(|| of(false))
}

/// The one in the middle; of two the lesser. Nothing but what never was is 0.
fn median(times: &VecDeque<u32>) -> u32 {
    let mut sorted: Vec<u32> = times.iter().copied().collect();
    sorted.sort_unstable();
    sorted.get(sorted.len().saturating_sub(1) / 2).copied().unwrap_or_default()
}

/// Words that a prober says, for the log: of a bounded length, and no control characters.
fn cut(text: &mut String) {
    text.retain(|c| !c.is_control());
    let mut end = text.len().min(PROBE_TEXT_MAX);
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    text.truncate(end);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::id::{EdgeId, Region};
    use crate::mesh::probe::{Cause, RelayFound};

    fn hello() -> EdgeHello {
        let listener = |transport, port: u16| Listener {
            transport,
            address: ([192, 0, 2, 1], port).into(),
            hostname: None,
        };
        EdgeHello {
            edge: EdgeId::new("e1").unwrap(),
            build: String::new(),
            region: Region::new("eu").unwrap(),
            coordinates: None,
            listeners: vec![listener(Transport::Udp, 3478), listener(Transport::Tcp, 3478)],
            relays: vec![RelayRange { address: "192.0.2.1".parse().unwrap(), first: 50000, last: 50999 }],
            capacity: 100,
            feed: None,
            proven: vec![],
            timed: false,
        }
    }

    fn prober(name: &str) -> Prober {
        Prober::Edge(EdgeId::new(name).unwrap())
    }

    fn found(listener: usize, step: Option<Step>) -> Found {
        let fault = |step| Fault { step, cause: Cause::Silent, code: None, text: String::new() };
        let relay = RelayFound { address: "192.0.2.1:50001".parse().unwrap(), heard_us: None };
        Found {
            listener: hello().listeners.remove(listener),
            answered_us: None,
            fault: step.map(fault),
            relay: step.is_none_or(|step| step >= Step::Permission).then_some(relay),
        }
    }

    #[test]
    fn two_have_to_agree() {
        let mut verdict = Verdict::default();
        let at = Mono(Duration::from_secs(1000));
        let failed = || vec![found(0, Some(Step::Binding)), found(1, None)];
        verdict.handle_found(at, prober("a"), failed());
        let certain = |verdict: &Verdict| match &verdict.reasons(&hello())[..] {
            [Reason::Outside { probers, certain, .. }] => Some((probers.len(), *certain)),
            [] => None,
            other => panic!("{other:?}"),
        };
        assert_eq!(certain(&verdict), Some((1, false)));
        assert!(verdict.is_open() && verdict.closed(&hello()).is_empty());
        verdict.handle_found(at, prober("b"), failed());
        assert_eq!(certain(&verdict), Some((2, true)));
        assert_eq!(verdict.closed(&hello()), hello().listeners[..1]);
        assert!(!verdict.is_open());
        // A third one reaches it: then it is open, at least for some.
        verdict.handle_found(at, prober("c"), vec![]);
        assert_eq!(certain(&verdict), Some((2, false)));
        assert!(verdict.closed(&hello()).is_empty());
        for name in ["a", "b"] {
            verdict.handle_found(at, prober(name), vec![]);
        }
        assert_eq!(certain(&verdict), None);
    }

    #[test]
    fn closed_relay_ports_close_no_listener() {
        let mut verdict = Verdict::default();
        for name in ["a", "b"] {
            verdict.handle_found(
                Mono::default(),
                prober(name),
                vec![found(0, Some(Step::Relay)), found(1, None)],
            );
        }
        let relay = hello().relays.remove(0);
        let probers = vec![prober("a"), prober("b")];
        assert_eq!(verdict.reasons(&hello()), [Reason::Relay { relay, probers, certain: true }]);
        assert!(verdict.closed(&hello()).is_empty());
        // One to which every listener is closed says nothing of the relay.
        let all = vec![found(0, Some(Step::Binding)), found(1, Some(Step::Connect))];
        verdict.handle_found(Mono::default(), prober("b"), all);
        assert!(matches!(
            verdict.reasons(&hello()).last(),
            Some(Reason::Relay { probers, certain: false, .. }) if probers.len() == 1
        ));
    }

    #[test]
    fn what_others_say_stands_where_it_is_newer_and_is_forgotten() {
        let now = Mono(Duration::from_secs(1000));
        let (mut here, mut there) = (Verdict::default(), Verdict::default());
        there.handle_found(now, prober("a"), vec![found(0, Some(Step::Binding))]);
        let told = there.told(now + Duration::from_secs(2));
        here.handle_told(now + Duration::from_secs(2), &told[0]);
        assert_eq!(here, there);
        here.handle_found(now + Duration::from_secs(3), prober("a"), vec![]);
        here.handle_told(now + Duration::from_secs(4), &there.told(now + Duration::from_secs(4))[0]);
        assert!(here.reasons(&hello()).is_empty(), "what it says is older");
        here.handle_timeout(now + Duration::from_secs(3) + OUTSIDE_FRESH);
        assert!(here.told(now).is_empty());
    }

    #[test]
    fn round_trips_are_medians_and_outlive_what_was_found() {
        let answered = |listener, us| Found { answered_us: Some(us), ..found(listener, None) };
        let times = |verdict: &Verdict| verdict.round_trips().map(|(_, _, us)| us).collect::<Vec<_>>();
        let mut verdict = Verdict::default();
        let mut now = Mono(Duration::from_secs(1000));
        // By UDP, whatever a connection took; one that was sent again is outvoted.
        for us in [10, 500_000, 30, 20] {
            verdict.handle_found(now, prober("a"), vec![answered(0, us), answered(1, 5)]);
            now = now + Duration::from_secs(1);
        }
        assert_eq!(times(&verdict), [20]);
        let told = verdict.told(now);
        assert_eq!(told[0].rtt_us, Some(20));
        // What was measured long ago counts no more.
        for _ in 0..ROUND_TRIPS_KEPT {
            verdict.handle_found(now, prober("a"), vec![answered(0, 7)]);
        }
        assert_eq!(times(&verdict), [7]);
        // Where UDP is closed, the fastest of the others.
        let closed = vec![found(0, Some(Step::Binding)), answered(1, 40)];
        verdict.handle_found(now, prober("b"), closed);
        assert_eq!(times(&verdict), [7, 40]);
        // One that could not ask has measured nothing.
        verdict.handle_found(
            now,
            prober("c"),
            vec![found(0, Some(Step::Binding)), found(1, Some(Step::Connect))],
        );
        assert_eq!(times(&verdict).len(), 2);

        // Others keep what they were told longer than it is told.
        let mut here = Verdict::default();
        here.handle_told(now, &told[0]);
        assert_eq!(times(&here.clone().and(&verdict)), [7, 40], "what is newer stands");
        here.handle_timeout(now + OUTSIDE_FRESH);
        assert_eq!((here.told(now).len(), times(&here)), (0, vec![20]));
        here.handle_timeout(now + ROUND_TRIP_FRESH);
        assert!(times(&here).is_empty());
    }

    #[test]
    fn one_that_cannot_ask_has_no_say() {
        let now = Mono::default();
        let certain = |verdict: &Verdict| match &verdict.reasons(&hello())[..] {
            [Reason::Outside { probers, certain, .. }] => Some((probers.len(), *certain)),
            [] => None,
            other => panic!("{other:?}"),
        };
        let local = |listener, step| Found {
            fault: Some(Fault { step, cause: Cause::Local, code: None, text: String::new() }),
            ..found(listener, Some(step))
        };
        // Without IPv6, say: two of them condemn nobody, and nobody is asked to confirm it.
        let mut verdict = Verdict::default();
        for name in ["a", "b"] {
            let said = vec![local(0, Step::Connect), Found::unasked(hello().listeners.remove(1))];
            verdict.handle_found(now, prober(name), said);
        }
        assert_eq!(certain(&verdict), None);
        assert!(!verdict.is_open() && verdict.closed(&hello()).is_empty());
        // Nor do they contradict those who can.
        verdict.handle_found(now + Duration::from_secs(1), prober("c"), vec![found(0, Some(Step::Binding))]);
        assert_eq!(certain(&verdict), Some((1, false)));
        assert!(verdict.is_open());
        verdict.handle_found(now + Duration::from_secs(2), prober("d"), vec![found(0, Some(Step::Binding))]);
        assert_eq!(certain(&verdict), Some((2, true)));
        assert!(!verdict.is_open());
        // One whose own firewall lets nothing to relayed addresses has been answered.
        let mut verdict = Verdict::default();
        for name in ["a", "b"] {
            verdict.handle_found(now, prober(name), vec![local(0, Step::Relay), local(1, Step::Relay)]);
        }
        assert_eq!(certain(&verdict), None);
        verdict.handle_found(
            now,
            prober("c"),
            vec![found(0, Some(Step::Relay)), found(1, Some(Step::Relay))],
        );
        assert!(matches!(&verdict.reasons(&hello())[..], [Reason::Relay { certain: false, .. }]));
        verdict.handle_found(
            now,
            prober("d"),
            vec![found(0, Some(Step::Relay)), found(1, Some(Step::Relay))],
        );
        assert!(matches!(&verdict.reasons(&hello())[..], [Reason::Relay { certain: true, .. }]));
    }

    #[test]
    fn the_words_of_a_prober_are_cut_and_what_it_says_first_stands() {
        let mut long = found(0, Some(Step::Binding));
        if let Some(fault) = &mut long.fault {
            fault.text = format!("line\n\x1b[31m{}", "\u{e9}".repeat(PROBE_TEXT_MAX));
        }
        let mut verdict = Verdict::default();
        verdict.handle_found(
            Mono::default(),
            prober("a"),
            vec![long, found(0, Some(Step::Allocate)), found(1, None)],
        );
        let told = verdict.told(Mono::default()).remove(0).failed;
        let fault = told[0].fault.clone().unwrap();
        assert_eq!((told.len(), fault.step), (1, Step::Binding));
        assert!(fault.text.starts_with("line[31m\u{e9}") && fault.text.len() <= PROBE_TEXT_MAX, "{fault}");
        // That it failed later is nothing against what it said first.
        let twice = vec![found(0, None), found(0, Some(Step::Binding))];
        verdict.handle_found(Mono::default(), prober("a"), twice);
        assert!(verdict.reasons(&hello()).is_empty());
    }
}
