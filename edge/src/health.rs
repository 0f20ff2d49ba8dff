//! How the edge is: what it measures of itself, and what it tells of it.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use chappe_proto::id::Index;
use chappe_proto::limits::UPLINKS;
use chappe_proto::mesh::probe::Fault;
use chappe_proto::mesh::uplink::{self, EdgeHello, Listener};
use chappe_proto::select::condition::{Decided, Heard, Signs, Watch};
use chappe_proto::select::outside::Verdict;
use chappe_proto::time::Mono;
use chappe_proto::wire::{self, WireError};

use tokio::sync::Notify;

use crate::command::{Command, Handle};
use crate::listener::{Certificate, Certificates};
use crate::stats::Stats;
use crate::status::Status;
use crate::uplink::LinkState;
use crate::{clock, system};

/// The loop is given this long to tell its figures; a report then goes out with the last ones, and with
/// this as its lag.
const TELL_WITHIN: Duration = Duration::from_millis(500);

/// What the edge's side thread knows of its health.
#[derive(Debug)]
pub(crate) struct Health {
    hello: EdgeHello,
    certificates: Certificates,
    /// Of each listener, where it has one.
    shown: Vec<Option<Arc<Certificate>>>,
    /// Bits a second that it relays each way at most; zero is no limit.
    bandwidth: u64,
    started: Mono,
    known: Mutex<Known>,
    /// Other listeners fail than before.
    changed: Notify,
}

#[derive(Debug, Default)]
struct Known {
    stats: Stats,
    failed: Vec<Listener>,
    answered: Vec<Option<u32>>,
    faults: BTreeMap<u16, Fault>,
    links: [Option<LinkState>; UPLINKS],
    /// Since when none of them stands.
    cut_off: Option<Mono>,
    watch: Watch,
}

impl Health {
    pub(crate) fn new(
        hello: EdgeHello,
        certificates: Certificates,
        shown: Vec<Option<Arc<Certificate>>>,
        bandwidth: u64,
    ) -> Self {
        // Not before its own probe says so does a secure listener work: it may have no certificate yet.
        let failed = hello.secure().map(|(_, listener)| listener.clone()).collect();
        let known = Mutex::new(Known { failed, ..Known::default() });
        let started = clock::mono();
        Self { hello, certificates, shown, bandwidth, started, known, changed: Notify::new() }
    }

    /// What a node is told first, `feed` being the last feed number in force.
    pub(crate) fn hello(&self, feed: Option<Index>) -> EdgeHello {
        let known = self.known();
        let proven = self.hello.secure().filter(|(_, listener)| !known.failed.contains(listener));
        EdgeHello { feed, proven: proven.map(|(place, _)| place).collect(), ..self.hello.clone() }
    }

    /// Ends when listeners begin to fail, or to work.
    pub(crate) async fn changed(&self) {
        self.changed.notified().await;
    }

    fn known(&self) -> std::sync::MutexGuard<'_, Known> {
        // Nothing panics while it holds the lock; and what it guards is whole at every moment.
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Those of its hello, of which reports have the places.
    pub(crate) fn listeners(&self) -> &[Listener] {
        &self.hello.listeners
    }

    /// Notes how an uplink is.
    pub(crate) fn link(&self, slot: usize, state: LinkState) {
        let mut known = self.known();
        if let Some(link) = known.links.get_mut(slot) {
            *link = Some(state);
        }
        let stands = known.links.iter().flatten().any(|link| matches!(link, LinkState::Up { .. }));
        known.cut_off = if stands { None } else { known.cut_off.or_else(|| Some(clock::mono())) };
    }

    /// Notes what the listeners' probes came to.
    pub(crate) fn probed(
        &self,
        failed: Vec<Listener>,
        answered: Vec<Option<u32>>,
        faults: BTreeMap<u16, Fault>,
    ) {
        let mut known = self.known();
        let changed = known.failed != failed;
        (known.failed, known.answered, known.faults) = (failed, answered, faults);
        if changed {
            self.changed.notify_waiters();
        }
    }

    /// Looks at the figures, which have to be followed for a while before they mean anything.
    pub(crate) async fn look(&self, driver: &Handle) {
        let report = self.report(0, driver).await;
        self.known().watch.handle_health(clock::mono(), &self.hello, &report);
    }

    /// How the edge is, by these figures.
    pub(crate) fn status(&self, stats: &Stats) -> Status {
        let known = self.known();
        let (now, hello) = (clock::now(), &self.hello);
        let health = self.write(0, &known, stats);
        let outside = Verdict::default();
        let signs = Signs {
            hello,
            health: Some(&health),
            heard: Heard::Yes,
            decided: Decided::Admitted,
            outside: &outside,
        };
        let until = |shown: &Option<Arc<Certificate>>| shown.as_ref().and_then(|it| it.until());
        Status {
            edge: hello.edge.clone(),
            region: hello.region.clone(),
            build: hello.build.clone(),
            condition: known.watch.condition(now, &signs),
            listeners: hello.listeners.clone(),
            certificates: self.shown.iter().map(until).collect(),
            uplinks: known.links.iter().flatten().cloned().collect(),
            cut_off_ms: known.cut_off.map(|since| millis(now.mono.since(since))),
            applied: stats.applied,
            streams: stats.streams,
            capacity: hello.capacity,
            rates: known.watch.rates(),
            health,
        }
    }

    /// The report to send.
    pub(crate) async fn report(&self, seq: u64, driver: &Handle) -> uplink::Health {
        let fresh = tokio::time::timeout(TELL_WITHIN, driver.ask(Command::Stats)).await;
        let mut known = self.known();
        match fresh {
            Ok(Ok(stats)) => known.stats = stats,
            _ => known.stats.loop_lag = known.stats.loop_lag.max(TELL_WITHIN),
        }
        self.write(seq, &known, &known.stats)
    }

    fn write(&self, seq: u64, known: &Known, stats: &Stats) -> uplink::Health {
        uplink::Health {
            seq,
            allocations: stats.allocations,
            sent: stats.turn.sent,
            received: stats.turn.received,
            drops: stats.drops(),
            limits: stats.limits(),
            cpu_ms: millis(clock::cpu()),
            rss: system::rss(),
            loop_lag_us: micros(stats.loop_lag),
            failed_listeners: known.failed.clone(),
            // At least one, by which a release that tells the time is known.
            uptime_ms: millis(clock::mono().since(self.started)).max(1),
            loop_cpu_ms: millis(stats.loop_cpu),
            cores: system::cores(),
            memory_limit: system::memory_limit(),
            files: system::files(),
            files_limit: system::files_limit(),
            receive_drops: stats.receive_drops,
            bandwidth: self.bandwidth,
            certificate_until: self.certificates.until(),
            answered_us: known.answered.clone(),
            faults: known.faults.clone(),
            draining: stats.draining,
        }
    }
}

/// A report in at most `max` bytes, where that can be: how often limits were met is left out first, then drops by
/// cause, then the words of faults, then the `listeners` that failed where their faults have their places, then how
/// long the others took. A datagram takes about 1150 bytes where the path's MTU is the least, and they come to half
/// of that on an edge in trouble.
pub(crate) fn fitted(
    health: &uplink::Health,
    listeners: &[Listener],
    max: usize,
) -> Result<Option<Vec<u8>>, WireError> {
    let leave_out: [fn(&mut uplink::Health, &[Listener]); 5] = [
        |health, _| health.limits.clear(),
        |health, _| health.drops.clear(),
        |health, _| health.faults.values_mut().for_each(|fault| fault.text.clear()),
        |health, listeners| {
            let uplink::Health { failed_listeners, faults, .. } = health;
            let placed = faults.keys().filter_map(|place| listeners.get(usize::from(*place)));
            failed_listeners.retain(|failed| !placed.clone().any(|placed| placed == failed));
        },
        |health, _| health.answered_us.clear(),
    ];
    let mut bytes = wire::encode(health)?;
    if bytes.len() <= max {
        return Ok(Some(bytes));
    }
    let mut health = health.clone();
    for shorter in leave_out {
        shorter(&mut health, listeners);
        bytes = wire::encode(&health)?;
        if bytes.len() <= max {
            return Ok(Some(bytes));
        }
    }
    Ok(None)
}

/// In microseconds, as far as they fit.
fn micros(duration: Duration) -> u32 {
    u32::try_from(duration.as_micros()).unwrap_or(u32::MAX)
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::SocketAddr;

    use chappe_proto::id::{EdgeId, Region};
    use chappe_proto::limits::EDGE_LISTENERS_MAX;
    use chappe_proto::mesh::probe::{Cause, Step};
    use chappe_proto::turn::{Drop, Limit, Transport};

    #[test]
    fn a_secure_listener_fails_until_its_probe_said_that_it_works() {
        let listener =
            |transport| Listener { transport, address: ([192, 0, 2, 1], 3478).into(), hostname: None };
        let hello = EdgeHello {
            edge: EdgeId::new("e").unwrap(),
            build: String::new(),
            region: Region::new("r").unwrap(),
            coordinates: None,
            listeners: [Transport::Udp, Transport::Tls, Transport::Dtls].map(listener).into(),
            relays: vec![],
            capacity: 1,
            feed: None,
            proven: vec![],
            timed: true,
        };
        let health = Health::new(hello, Certificates::default(), vec![None; 3], 0);
        let failed = |health: &Health| health.status(&Stats::default()).health.failed_listeners;
        let secure = [Transport::Tls, Transport::Dtls].map(listener);
        assert_eq!((failed(&health), health.hello(None).proven), (secure.to_vec(), vec![]));
        health.probed(secure[..1].to_vec(), vec![Some(1), None, Some(1)], BTreeMap::new());
        let again = health.hello(Some(Index(3)));
        assert_eq!((again.proven, again.feed), (vec![2], Some(Index(3))), "as it is said after a reconnect");
        health.probed(vec![], vec![Some(1); 3], BTreeMap::new());
        assert_eq!((failed(&health), health.hello(None).proven), (vec![], vec![1, 2]));
    }

    #[test]
    fn a_report_fits_a_datagram_and_loses_the_least_first() {
        let fault = |_| Fault { step: Step::Connect, cause: Cause::Other, code: None, text: "x".repeat(160) };
        let mut full = uplink::Health {
            drops: Drop::ALL.iter().map(|cause| (cause.name().to_owned(), u64::MAX)).collect(),
            limits: Limit::ALL.iter().map(|limit| (limit.name().to_owned(), u64::MAX)).collect(),
            faults: (0..3).map(|place| (place, fault(place))).collect(),
            sent: uplink::Traffic { packets: u64::MAX, bytes: u64::MAX },
            ..uplink::Health::default()
        };
        let read = |bytes: &[u8]| wire::decode::<uplink::Health>(bytes, 65_536).unwrap();
        let fitted = |health: &uplink::Health, max| fitted(health, &[], max).unwrap().unwrap();
        assert_eq!(read(&fitted(&full, usize::MAX)), full);
        let bytes = fitted(&full, 1150);
        assert!(bytes.len() <= 1150);
        let told = read(&bytes);
        assert_eq!((told.sent, told.faults.len()), (full.sent, 3));
        assert!(told.limits.is_empty());
        full.faults.clear();
        full.limits.clear();
        assert_eq!(read(&fitted(&full, 1400)), full, "without trouble nothing is left out");
    }

    #[test]
    fn an_edge_on_which_everything_fails_says_so_in_a_datagram() {
        let listener = |n: u16| Listener {
            transport: Transport::Tls,
            address: SocketAddr::new("2001:db8:1234:5678:9abc:def0:1234:5678".parse().unwrap(), 40_000 + n),
            hostname: Some(format!("{}.edge.example.net", "h".repeat(100))),
        };
        let listeners: Vec<Listener> = (0..).map(listener).take(EDGE_LISTENERS_MAX).collect();
        let fault =
            Fault { step: Step::Connect, cause: Cause::Unreachable, code: None, text: "x".repeat(160) };
        let health = uplink::Health {
            seq: u64::MAX,
            uptime_ms: u64::MAX,
            failed_listeners: listeners.clone(),
            answered_us: vec![None; listeners.len()],
            faults: (0..).map(|place| (place, fault.clone())).take(listeners.len()).collect(),
            ..uplink::Health::default()
        };
        let bytes = fitted(&health, &listeners, 1200).unwrap().unwrap();
        let mut told: uplink::Health = wire::decode(&bytes, 65_536).unwrap();
        assert!(bytes.len() <= 1200 && told.failed_listeners.is_empty());
        told.name_failed(&listeners);
        assert_eq!(told.failed_listeners, listeners);
        // One of which nothing but its name is known stays named; what is still too long is not cut to lies.
        assert_eq!(fitted(&health, &[], 1200).unwrap(), None);
    }
}
