//! Members as machines, in time, on a network and on disks of the test's own.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet, BinaryHeap};
use std::panic::catch_unwind;
use std::sync::Arc;
use std::time::Duration;

use chappe_cluster::consensus::Message;
use chappe_cluster::consensus::member::{Build, Durable, Member, Output, Ticket, Write};
use chappe_proto::id::{Index, NodeId};
use chappe_proto::time::{Mono, Now, Unix};
use raft::eraftpb::MessageType;

use crate::common::{mark, marked};

enum Event {
    Message(Message),
    /// A write of this life is flushed.
    Flushed(u64, u64, Write),
    Built(u64, u64, Build),
    Crash(u64),
    Start(u64),
    Propose(u64),
}

struct Node {
    disk: Durable,
    life: u64,
    member: Option<Member>,
}

struct World {
    now: Now,
    draws: u64,
    seed: u64,
    nodes: BTreeMap<u64, Node>,
    /// By time, then by number.
    queue: BinaryHeap<Reverse<(Duration, u64)>>,
    events: BTreeMap<u64, Event>,
    next: u64,
    acked: BTreeMap<u64, Index>,
    /// What happened, for comparing two runs of a seed.
    history: Vec<(Duration, u64, String)>,
    /// Disks say that they have flushed before they have.
    lies: bool,
    /// One message in so many is lost.
    loses: u64,
}

impl World {
    fn new(seed: u64) -> Self {
        let ids = [1, 2, 3];
        let founders = ids.map(NodeId);
        let disk = |id| Durable::found(NodeId(id), &founders).unwrap();
        let nodes = ids.map(|id| (id, Node { disk: disk(id), life: 0, member: None })).into();
        let now = Now { mono: Mono::default(), unix: Unix::from_secs(1_000) };
        let (queue, events) = (BinaryHeap::new(), BTreeMap::new());
        let (acked, history) = (BTreeMap::new(), Vec::new());
        let mut world = Self {
            now,
            draws: 0,
            seed,
            nodes,
            queue,
            events,
            next: 0,
            acked,
            history,
            lies: false,
            loses: 8,
        };
        ids.into_iter().for_each(|id| world.start(id));
        world
    }

    fn draw(&mut self, below: u64) -> u64 {
        self.draws += 1;
        let mut z = (self.seed ^ (self.draws << 20)).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        z = (z ^ (z >> 31)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        (z ^ (z >> 29)) % below
    }

    fn later(&mut self, millis: u64, event: Event) {
        self.next += 1;
        self.queue.push(Reverse((self.now.mono.0 + Duration::from_millis(millis), self.next)));
        self.events.insert(self.next, event);
    }

    fn start(&mut self, id: u64) {
        let (now, seed) = (self.now, self.seed);
        let node = self.nodes.get_mut(&id).unwrap();
        if node.member.is_none() {
            node.life += 1;
            let state = Arc::new(node.disk.state().unwrap());
            let seed = seed ^ (id << 8) ^ node.life;
            node.member = Some(Member::new(now, seed, node.disk.clone(), state).unwrap());
            self.settle(id);
        }
    }

    fn with(&mut self, id: u64, what: impl FnOnce(Now, &mut Member)) {
        let now = self.now;
        if let Some(member) = &mut self.nodes.get_mut(&id).unwrap().member {
            what(now, member);
            self.settle(id);
        }
    }

    fn settle(&mut self, id: u64) {
        let (now, mut outputs) = (self.now, Vec::new());
        let node = self.nodes.get_mut(&id).unwrap();
        let life = node.life;
        node.member.as_mut().unwrap().settle(now, &mut outputs).unwrap();
        for output in outputs {
            match output {
                Output::Send(message) => {
                    // Those that are not lost overtake each other.
                    let delay = 1 + self.draw(30);
                    let lost = self.draw(self.loses) == 0;
                    if message.get_msg_type() == MessageType::MsgSnapshot {
                        self.with(id, |_, member| member.handle_snapshot_sent(NodeId(message.to), !lost));
                    }
                    if !lost {
                        self.later(delay, Event::Message(message));
                    }
                }
                Output::Write(write) => {
                    let delay = self.draw(20);
                    let number = write.number();
                    self.later(delay, Event::Flushed(id, life, write));
                    if self.lies {
                        self.with(id, |_, member| member.handle_synced(number));
                    }
                }
                Output::Build(build) => self.later(5, Event::Built(id, life, build)),
                Output::Proposed(Ticket(n), Ok(applied)) => {
                    self.acked.insert(n, applied.index);
                    self.tell(id, format!("acked {n} at {}", applied.index));
                }
                Output::Applied { state, .. } => self.tell(id, format!("applied {}", state.index())),
                _ => {}
            }
        }
    }

    fn tell(&mut self, id: u64, what: String) {
        self.history.push((self.now.mono.0, id, what));
    }

    fn run(&mut self, millis: u64) {
        let end = self.now.mono + Duration::from_millis(millis);
        loop {
            let running = self.nodes.iter().filter_map(|(id, node)| Some((node.member.as_ref()?, *id)));
            let (tick, id) =
                running.map(|(member, id)| (member.poll_timeout(), id)).min().unwrap_or((Mono::NEVER, 0));
            let event = self.queue.peek().map_or(Mono::NEVER, |Reverse((at, _))| Mono(*at));
            if tick.min(event) > end {
                self.now = self.now.after(end.since(self.now.mono));
                return;
            }
            self.now = self.now.after(tick.min(event).since(self.now.mono));
            if event <= tick {
                let Reverse((_, n)) = self.queue.pop().unwrap();
                let event = self.events.remove(&n).unwrap();
                self.take(event);
            } else {
                self.with(id, |now, member| member.handle_timeout(now));
            }
        }
    }

    fn take(&mut self, event: Event) {
        match event {
            Event::Message(message) => {
                self.with(message.to, |now, member| member.handle_message(now, message).unwrap());
            }
            Event::Flushed(id, life, write) => {
                let node = self.nodes.get_mut(&id).unwrap();
                // What a crash has overtaken is lost.
                if node.life == life && node.member.is_some() {
                    node.disk.write(&write);
                    if self.lies {
                        return;
                    }
                    self.with(id, |_, member| member.handle_synced(write.number()));
                }
            }
            Event::Built(id, life, build) => {
                if self.nodes[&id].life == life {
                    self.with(id, |_, member| member.handle_built(build.encode()));
                }
            }
            Event::Crash(id) => {
                self.nodes.get_mut(&id).unwrap().member = None;
                self.tell(id, "crashed".into());
            }
            Event::Start(id) => self.start(id),
            Event::Propose(n) => {
                for id in [1, 2, 3] {
                    self.with(id, |now, member| member.handle_propose(now, Ticket(n), mark(n).into()));
                }
            }
        }
    }
}

fn run(seed: u64, lies: bool) -> World {
    let mut world = World::new(seed);
    world.lies = lies;
    for n in 0..400 {
        world.later(1_000 + 20 * n, Event::Propose(n));
    }
    for crash in 0..12 {
        let (id, down) = (1 + world.draw(3), 1 + world.draw(600));
        let at = 1_200 + 600 * crash + world.draw(300);
        world.later(at, Event::Crash(id));
        world.later(at + down, Event::Start(id));
    }
    world.run(20_000);
    world
}

/// What was acknowledged and is not in some member's state.
fn lost(world: &World) -> BTreeSet<u64> {
    let states = world.nodes.values().map(|node| node.member.as_ref().unwrap().state());
    states.flat_map(|state| world.acked.keys().filter(|n| !marked(state, **n))).copied().collect()
}

#[test]
fn what_was_acknowledged_survives_crashes_that_lose_unflushed_writes() {
    for seed in 0..20 {
        let world = run(seed, false);
        assert_eq!(lost(&world), BTreeSet::new(), "seed {seed}");
        let states = world.nodes.values().map(|node| node.member.as_ref().unwrap().state().encode().unwrap());
        assert_eq!(states.collect::<BTreeSet<_>>().len(), 1, "seed {seed}: one state");
        assert!(world.acked.len() > 100, "seed {seed}: {} were acknowledged", world.acked.len());
    }
}

#[test]
fn a_disk_that_says_too_early_that_it_has_flushed_is_caught() {
    // raft itself stops at a log that is shorter than what its member acknowledged.
    let caught = |seed| catch_unwind(|| lost(&run(seed, true))).map_or(true, |lost| !lost.is_empty());
    assert!((0..20).any(caught));
}

#[test]
fn a_seed_replays() {
    let (first, second) = (run(77, false), run(77, false));
    assert!(first.history == second.history);
    assert!(first.history != run(78, false).history);
}

#[test]
fn another_leads_within_a_second_of_the_leaders_death() {
    for seed in 0..40 {
        let mut world = World::new(seed);
        world.loses = u64::MAX;
        world.run(3_000 + seed);
        let leader = world.nodes.values().find_map(|node| node.member.as_ref()?.leader()).unwrap();
        world.take(Event::Crash(leader.0));
        let died = world.now.mono;
        for n in 0.. {
            world.take(Event::Propose(n));
            world.run(5);
            if !world.acked.is_empty() {
                break;
            }
        }
        // Under messages of up to 30 ms and writes of up to 20 ms: one election, no vote split.
        let gap = world.now.mono.since(died);
        assert!(gap < Duration::from_secs(1), "seed {seed}: {gap:?}");
    }
}
