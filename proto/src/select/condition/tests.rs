use std::time::Duration;

use super::*;
use crate::id::{EdgeId, Region};
use crate::mesh::probe::{Cause, Fault, Step};
use crate::mesh::uplink::{Listener, RelayRange};
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
        relays: vec![RelayRange { address: "192.0.2.1".parse().unwrap(), first: 50000, last: 50999 }],
        capacity: 100,
        feed: None,
        proven: vec![],
        timed: false,
    }
}

/// An edge that reports once a second.
struct World {
    now: Now,
    watch: Watch,
    health: Health,
}

impl World {
    fn new() -> Self {
        let now = Now { mono: Mono(Duration::from_secs(1000)), unix: Unix::from_secs(1_700_000_000) };
        let health = Health {
            cores: 4,
            files: 100,
            files_limit: 1000,
            memory_limit: Some(1 << 30),
            bandwidth: 8_000_000,
            ..Health::default()
        };
        Self { now, watch: Watch::default(), health }
    }

    /// Reports for so many seconds, `change` applied before each; the states, where they change.
    fn pass(&mut self, seconds: u64, change: impl Fn(&mut Health)) -> Vec<(u64, State)> {
        let mut seen: Vec<(u64, State)> = Vec::new();
        for second in 1..=seconds {
            self.now = self.now.after(Duration::from_secs(1));
            self.health.seq += 1;
            self.health.uptime_ms += 1000;
            change(&mut self.health);
            self.watch.handle_health(self.now.mono, &hello(), &self.health);
            let state = self.condition().state;
            if seen.last().is_none_or(|(_, last)| *last != state) {
                seen.push((second, state));
            }
        }
        seen
    }

    fn condition(&self) -> Condition {
        self.condition_as(Heard::Yes, Decided::Admitted)
    }

    fn condition_as(&self, heard: Heard, decided: Decided) -> Condition {
        let (hello, outside) = (hello(), Verdict::default());
        let signs = Signs { hello: &hello, health: Some(&self.health), heard, decided, outside: &outside };
        self.watch.condition(self.now, &signs)
    }

    fn names(&self) -> Vec<&'static str> {
        self.condition().reasons.iter().map(Reason::name).collect()
    }
}

#[test]
fn a_full_edge_is_overloaded_after_a_while_and_until_it_has_clearly_room() {
    let mut world = World::new();
    assert_eq!(world.pass(10, |health| health.allocations = 89), [(1, State::Up)]);
    // A burst is not yet a state.
    assert_eq!(world.pass(3, |health| health.allocations = 95), [(1, State::Up)]);
    assert_eq!(world.pass(5, |health| health.allocations = 85), [(1, State::Up)]);
    let first = world.pass(10, |health| health.allocations = 95);
    assert_eq!(first, [(1, State::Up), (5, State::Overloaded)]);
    assert_eq!(world.condition().reasons, [Reason::Full { allocations: 95, capacity: 100 }]);
    assert!(!world.condition().takes_new());
    // Less, but not clearly less: it stays.
    assert_eq!(world.pass(60, |health| health.allocations = 85), [(1, State::Overloaded)]);
    // Clearly less, but for a moment only.
    world.pass(10, |health| health.allocations = 70);
    assert_eq!(world.pass(10, |health| health.allocations = 85), [(1, State::Overloaded)]);
    let last = world.pass(20, |health| health.allocations = 70);
    assert_eq!(last, [(1, State::Overloaded), (16, State::Up)]);
}

#[test]
fn a_figure_that_sways_about_its_threshold_sways_nobody() {
    let mut world = World::new();
    world.pass(10, |health| health.allocations = 95);
    let swaying = world.pass(300, |health| health.allocations = if health.seq % 2 == 0 { 91 } else { 88 });
    assert_eq!(swaying, [(1, State::Overloaded)]);
}

#[test]
fn each_figure_has_its_reason() {
    type Change = fn(&mut Health);
    let cases: [(&str, Change); 6] = [
        ("busy", |health| health.loop_cpu_ms += 900),
        ("slow", |health| health.loop_lag_us = 150_000),
        ("receive_drops", |health| {
            health.sent.packets += 1000;
            health.receive_drops += 20;
        }),
        ("files", |health| health.files = 950),
        ("memory", |health| health.rss = 1 << 30),
        ("bandwidth", |health| {
            health.received.bytes += 950_000;
            health.received.packets += 800;
        }),
    ];
    for (name, change) in cases {
        let mut world = World::new();
        assert_eq!(world.pass(5, |_| {}), [(1, State::Up)], "{name}");
        world.pass(10, change);
        assert_eq!(world.names(), [name]);
        assert_eq!(world.condition().state, State::Overloaded);
        let quiet = |health: &mut Health| (health.loop_lag_us, health.files, health.rss) = (0, 100, 0);
        assert_eq!(world.pass(20, quiet), [(1, State::Overloaded), (16, State::Up)], "{name}");
    }
}

#[test]
fn one_of_many_cores_that_is_full_is_enough() {
    let mut world = World::new();
    // The process uses three cores; the thread that relays a half of one.
    world.pass(10, |health| {
        (health.cpu_ms, health.loop_cpu_ms) = (health.cpu_ms + 3000, health.loop_cpu_ms + 500);
    });
    assert_eq!(world.condition().state, State::Up);
    let rates = world.watch.rates().unwrap();
    assert!((rates.cpu - 3.0).abs() < 1e-9 && (rates.busy - 0.5).abs() < 1e-9, "{rates:?}");
}

#[test]
fn reports_by_way_of_two_nodes_count_once_and_a_restart_counts_anew() {
    let mut world = World::new();
    world.pass(3, |health| health.loop_cpu_ms += 500);
    let late = Health { uptime_ms: 2000, loop_cpu_ms: 0, ..world.health.clone() };
    let before = world.watch.rates();
    world.watch.handle_health(world.now.mono, &hello(), &late);
    assert_eq!(world.watch.rates(), before);
    let soon = Health { uptime_ms: world.health.uptime_ms + 20, loop_cpu_ms: 9000, ..world.health.clone() };
    world.watch.handle_health(world.now.mono, &hello(), &soon);
    assert_eq!(world.watch.rates(), before);

    world.pass(60, |_| {});
    let anew = Health { uptime_ms: 500, loop_cpu_ms: 10, ..Health::default() };
    world.watch.handle_health(world.now.mono, &hello(), &anew);
    assert_eq!(world.watch.rates(), None, "of two processes no rate is made");
}

#[test]
fn an_older_release_tells_no_time_and_is_judged_by_what_it_tells() {
    let mut world = World::new();
    let old = |health: &mut Health| {
        *health =
            Health { seq: health.seq, allocations: 95, cpu_ms: health.cpu_ms + 5000, ..Health::default() };
    };
    world.pass(10, old);
    assert_eq!(world.names(), ["full"]);
}

#[test]
fn silence_and_operators_outweigh_figures() {
    let mut world = World::new();
    world.pass(10, |health| health.allocations = 95);
    let state = |heard, decided| world.condition_as(heard, decided).state;
    assert_eq!(state(Heard::Yes, Decided::Draining), State::Draining);
    assert_eq!(state(Heard::No, Decided::Draining), State::Lost);
    assert_eq!(state(Heard::Stopped, Decided::Admitted), State::Lost);
    assert_eq!(state(Heard::Yes, Decided::Removed), State::Lost);
    assert_eq!(state(Heard::CutOff, Decided::Admitted), State::Overloaded);
    let draining = world.condition_as(Heard::Yes, Decided::Draining);
    assert_eq!(draining.reasons[0], Reason::Draining { allocations: 95 });
    assert_eq!(draining.reasons[1].name(), "full");
    assert!(!draining.takes_new());

    world.pass(30, |health| health.allocations = 0);
    assert_eq!(world.condition_as(Heard::CutOff, Decided::Admitted).state, State::Degraded);
    assert!(world.condition_as(Heard::CutOff, Decided::Admitted).takes_new());
}

#[test]
fn failed_listeners_and_certificates_that_end_degrade() {
    let mut world = World::new();
    let fault = Fault { step: Step::Allocate, cause: Cause::Code, code: Some(508), text: String::new() };
    world.pass(1, |health| {
        health.failed_listeners = hello().listeners;
        health.faults.insert(0, fault.clone());
    });
    let listener = hello().listeners.remove(0);
    assert_eq!(world.condition().reasons, [Reason::Listener { listener, fault: Some(fault.clone()) }]);
    assert_eq!(world.condition().state, State::Degraded);
    assert!(world.condition().reasons[0].to_string().contains("508"));

    let ends = world.now.unix + Duration::from_secs(100 * 3600);
    world.pass(1, |health| (health.failed_listeners, health.certificate_until) = (vec![], Some(ends)));
    assert_eq!(world.condition(), Condition::default());
    let ends = world.now.unix + Duration::from_secs(10 * 3600);
    world.pass(1, |health| health.certificate_until = Some(ends));
    assert_eq!(world.condition().reasons, [Reason::Certificate { hours: 10 }]);
    world.pass(1, |health| health.certificate_until = Some(Unix::from_secs(1)));
    assert_eq!(world.condition().reasons, [Reason::Certificate { hours: 0 }]);
}

#[test]
fn figures_alone_make_no_difference() {
    let of = |percent| Condition { state: State::Overloaded, reasons: vec![Reason::Busy { percent }] };
    assert!(!of(90).differs(&of(95)));
    assert!(of(90).differs(&Condition::default()));
}
