//! Edges that count, lose their links and restart, and nodes that hear them.

use std::time::Duration;

use proptest::prelude::*;
use rand_chacha::ChaCha12Rng;
use rand_chacha::rand_core::SeedableRng;

use super::*;
use crate::id::SessionId;
use crate::mesh::uplink::Traffic;
use crate::usage::{Ledger, UsageOf};

const NODES: usize = 3;

fn user(n: u8) -> User {
    match n {
        3 => User::Name("ada".into()),
        4 => User::long_term("realm", "bob"),
        n => User::Session(SessionId::from_random([n; 15])),
    }
}

fn relayed(packets: u64) -> Relayed {
    let both = Traffic { packets, bytes: packets * 1000 };
    Relayed { sent: both, received: Traffic { bytes: packets, ..both } }
}

fn tallies(most: usize) -> Tallies {
    let mut tallies = Tallies::new(RandomState::with_seeds(1, 2, 3, 4), most);
    tallies.on = true;
    tallies
}

fn at(secs: u64) -> Mono {
    Mono(Duration::from_secs(secs))
}

#[derive(Debug, Clone)]
enum Step {
    Begin(u8),
    Relay(usize, u64),
    End(usize),
    /// It says what it has, to this node, which may not hear it, or tell only some others of it, or not be heard.
    Say {
        to: usize,
        heard: bool,
        spread: [bool; NODES],
        answered: bool,
    },
    /// A frame of before comes to this node once more.
    Late(usize, usize),
    Wait(u64),
    Restart,
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        3 => (0..5u8).prop_map(Step::Begin),
        6 => (0..8usize, 0..100u64).prop_map(|(nth, packets)| Step::Relay(nth, packets)),
        2 => (0..8usize).prop_map(Step::End),
        6 => (0..NODES, any::<bool>(), any::<[bool; NODES]>(), any::<bool>())
            .prop_map(|(to, heard, spread, answered)| Step::Say { to, heard, spread, answered }),
        2 => (0..NODES, 0..20usize).prop_map(|(node, back)| Step::Late(node, back)),
        3 => (1..200u64).prop_map(Step::Wait),
        1 => Just(Step::Restart),
    ]
}

/// An edge and the nodes.
struct World {
    tallies: Tallies,
    /// Its allocations.
    held: Vec<u64>,
    rng: ChaCha12Rng,
    now: u64,
    nodes: [Ledger; NODES],
    /// What was said, and when.
    frames: Vec<(u64, Vec<Usage>)>,
    /// What was relayed at all; and what the edge believes to be known, in this life and those before.
    relayed: Relayed,
    known: Relayed,
}

impl World {
    fn new(seed: u8) -> Self {
        Self {
            tallies: tallies(100),
            held: Vec::new(),
            rng: ChaCha12Rng::from_seed([seed; 32]),
            now: 0,
            nodes: Default::default(),
            frames: Vec::new(),
            relayed: Relayed::default(),
            known: Relayed::default(),
        }
    }

    fn total(&self, node: usize) -> Relayed {
        self.nodes[node].page(&UsageOf::Apps, None).relayed.relayed
    }

    fn say(&mut self, to: usize, heard: bool, spread: [bool; NODES], answered: bool) -> bool {
        let Some((number, usage)) = self.tallies.offer(at(self.now), &mut self.rng) else { return false };
        self.frames.push((self.now, usage.clone()));
        for (node, ledger) in self.nodes.iter_mut().enumerate() {
            if heard && (node == to || spread[node]) {
                ledger.handle_usage(at(self.now), &usage);
            }
        }
        if heard && answered {
            self.tallies.taken(number);
        }
        true
    }

    fn step(&mut self, step: &Step) {
        match *step {
            Step::Begin(n) if self.held.len() < 8 => {
                let number = self.tallies.begin(&user(n)).unwrap();
                self.held.push(number);
            }
            Step::Relay(nth, packets) if nth < self.held.len() => {
                self.relayed = self.relayed.plus(relayed(packets));
                self.tallies.count(self.held[nth], relayed(packets));
            }
            Step::End(nth) if nth < self.held.len() => {
                let number = self.held.swap_remove(nth);
                self.tallies.end(number);
            }
            Step::Say { to, heard, spread, answered } => {
                self.say(to, heard, spread, answered);
            }
            Step::Late(node, back) => {
                // A frame is not on its way for longer than this.
                let recent = |(at, _): &&(u64, Vec<Usage>)| self.now - at < 60;
                if let Some((_, usage)) = self.frames.iter().rev().filter(recent).nth(back) {
                    self.nodes[node].handle_usage(at(self.now), usage);
                }
            }
            Step::Wait(secs) => {
                self.now += secs;
                for ledger in &mut self.nodes {
                    ledger.handle_timeout(at(self.now), |_| true, |_| false);
                }
            }
            Step::Restart => {
                self.known = self.known.plus(self.taken());
                (self.tallies, self.held) = (tallies(100), Vec::new());
            }
            _ => {}
        }
    }

    /// What it believes to be known.
    fn taken(&self) -> Relayed {
        self.tallies.tallies.values().fold(Relayed::default(), |sum, tally| sum.plus(tally.taken))
    }
}

fn is_at_most(one: Relayed, other: Relayed) -> bool {
    one.max(other) == other
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 100, ..ProptestConfig::default() })]

    /// Whatever is lost, doubled, late or told to several nodes, before and after restarts.
    #[test]
    fn nothing_is_ever_counted_twice(seed: u8, steps in prop::collection::vec(step(), 0..120)) {
        let mut world = World::new(seed);
        for step in steps {
            world.step(&step);
            for node in 0..NODES {
                prop_assert!(is_at_most(world.total(node), world.relayed));
            }
        }
    }

    /// A link that stands within the time of a series: everything comes to be known, once, by every node that
    /// hears all, whatever was lost before; and an edge keeps nothing of who has gone.
    #[test]
    fn nothing_is_lost(seed: u8, steps in prop::collection::vec(step(), 0..120)) {
        let mut world = World::new(seed);
        for step in steps {
            match step {
                Step::Restart => continue,
                // All nodes hear what one does, and hear it late or twice or without an answer.
                Step::Say { to, heard, answered, .. } => {
                    world.say(to, heard, [true; NODES], answered);
                }
                Step::Wait(secs) => {
                    world.step(&Step::Wait(secs));
                    while world.say(0, true, [true; NODES], true) {}
                }
                step => world.step(&step),
            }
        }
        while world.say(1, true, [true; NODES], true) {}
        for node in 0..NODES {
            prop_assert_eq!(world.total(node), world.relayed);
        }
        for number in std::mem::take(&mut world.held) {
            world.tallies.end(number);
        }
        let Tallies { tallies, users, gone, waiting, offered, .. } = &world.tallies;
        prop_assert!(tallies.is_empty() && users.is_empty() && gone.is_empty());
        prop_assert!(waiting.is_empty() && offered.is_empty());
    }
}

#[test]
fn a_user_is_one_in_all_of_its_allocations_and_goes_when_the_last_count_is_taken() {
    let (mut tallies, mut rng) = (tallies(9), ChaCha12Rng::from_seed([1; 32]));
    let (one, two) = (tallies.begin(&user(1)).unwrap(), tallies.begin(&user(1)).unwrap());
    assert_eq!(one, two);
    tallies.count(one, relayed(3));
    tallies.end(one);
    tallies.count(two, relayed(4));
    let (number, usage) = tallies.offer(at(1), &mut rng).unwrap();
    assert_eq!((usage.len(), Relayed::from(&usage[0])), (1, relayed(7)));
    // It relays on before the answer comes, and ends.
    tallies.count(two, relayed(1));
    tallies.end(two);
    tallies.taken(number);
    let (number, again) = tallies.offer(at(2), &mut rng).unwrap();
    assert_eq!((again[0].series, Relayed::from(&again[0])), (usage[0].series, relayed(8)));
    tallies.taken(number - 1);
    assert!(!tallies.tallies.is_empty(), "that was said before");
    tallies.taken(number);
    assert!(tallies.tallies.is_empty() && tallies.offer(at(3), &mut rng).is_none());
    let number = tallies.begin(&user(1)).unwrap();
    tallies.count(number, relayed(1));
    assert_ne!(tallies.offer(at(4), &mut rng).unwrap().1[0].series, usage[0].series);
}

#[test]
fn a_series_ends_in_time() {
    let (mut tallies, mut rng) = (tallies(9), ChaCha12Rng::from_seed([1; 32]));
    let number = tallies.begin(&user(1)).unwrap();
    let over = limits::USAGE_SERIES_FOR.as_secs();
    let mut say = |at_secs, packets, answered| {
        tallies.count(number, relayed(packets));
        let (offer, usage) = tallies.offer(at(at_secs), &mut rng).unwrap();
        if answered {
            tallies.taken(offer);
        }
        (usage[0].series, Relayed::from(&usage[0]))
    };
    let (first, _) = say(0, 1, true);
    assert_eq!(say(over - 1, 1, true), (first, relayed(2)));
    let (second, told) = say(over, 1, false);
    assert!(second != first && told == relayed(1));
    assert_eq!(say(2 * over, 1, false), (second, relayed(2)), "it may have been heard");
    assert_eq!(say(3 * over - 1, 1, false), (second, relayed(3)));
    // Who heard it may forget it soon, and would count all of it anew.
    let (third, told) = say(3 * over, 1, true);
    assert!(third != second && told == relayed(1));
}

#[test]
fn of_too_many_users_those_that_have_gone_make_room() {
    let (mut tallies, mut rng) = (tallies(2), ChaCha12Rng::from_seed([1; 32]));
    for n in [0, 1] {
        let number = tallies.begin(&user(n)).unwrap();
        tallies.count(number, relayed(1));
        if n == 0 {
            tallies.end(number);
        }
    }
    assert!(tallies.begin(&user(2)).is_some());
    assert!(tallies.begin(&user(3)).is_none(), "nobody has gone");
    let (_, usage) = tallies.offer(at(1), &mut rng).unwrap();
    assert_eq!(usage.len(), 1);
    assert!(tallies.begin(&User::Probe).is_none());
}

#[test]
fn what_is_said_at_once_has_a_limit_and_nobody_waits_for_ever() {
    let (mut tallies, mut rng) = (tallies(2000), ChaCha12Rng::from_seed([1; 32]));
    let name = |n: usize| User::Name(n.to_string().into());
    let all: Vec<_> = (0..1100).map(|n| tallies.begin(&name(n)).unwrap()).collect();
    let mut sizes = Vec::new();
    for number in &all {
        tallies.count(*number, relayed(1));
    }
    while let Some((offer, usage)) = tallies.offer(at(1), &mut rng) {
        sizes.push(usage.len());
        // Who relays without a pause does not hold up the others.
        tallies.taken(offer);
        if sizes.len() < 3 {
            tallies.count(all[0], relayed(1));
        }
    }
    assert_eq!(sizes, [512, 512, 77]);
}
