use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use super::*;
use crate::id::Region;
use crate::limits::{MOVES_AT_ONCE, REBALANCE_AFTER};
use crate::registry::profile::{LAN, ProfileName, WAN};
use crate::registry::tests::{Log, region, up};
use crate::registry::{Entry, Moves, NodeState};
use crate::time::Unix;

const T: Duration = LAN.eviction;
const MS: Duration = Duration::from_millis(1);

fn sorted(ids: &[u64]) -> BTreeSet<NodeId> {
    ids.iter().copied().map(NodeId).collect()
}

/// A leader's office: node 1 leads; nodes renew, reads complete and proposals are applied at once, but for
/// those that a test holds back.
struct Office {
    log: Log,
    steward: Steward,
    members: Members,
    now: Mono,
    n: u64,
    renewing: BTreeSet<NodeId>,
    reads_held: Option<Vec<u64>>,
    proposals_held: Option<Vec<(u64, Command)>>,
    grants: Vec<(NodeId, Mono)>,
    applied: Vec<(Mono, Command, Outcome)>,
    asked: Vec<Output>,
    events: Vec<Event>,
}

impl Office {
    fn of(log: Log) -> Self {
        let all: BTreeSet<_> = log.0.nodes().map(|(id, _)| id).collect();
        let now = Mono(Duration::from_secs(100));
        let members = Members {
            voters: all.iter().copied().take(if all.len() < 3 { 1 } else { 3 }).collect(),
            learners: all.iter().copied().skip(if all.len() < 3 { 1 } else { 3 }).take(2).collect(),
            caught_up: all.clone(),
            recent: all.clone(),
            outgoing: BTreeSet::new(),
        };
        Self {
            steward: Steward::begin(now, NodeId(1), &log.0),
            log,
            members,
            now,
            n: 0,
            renewing: all,
            reads_held: None,
            proposals_held: None,
            grants: Vec::new(),
            applied: Vec::new(),
            asked: Vec::new(),
            events: Vec::new(),
        }
    }

    fn with_nodes(n: u64) -> Self {
        Self::of(Log::with_nodes(n))
    }

    fn renew(&mut self, node: NodeId) {
        self.n += 1;
        let (n, mut out) = (self.n, Vec::new());
        let generation = self.log.0.node(node).map_or(Generation(0), |node| node.generation);
        self.steward.handle_renewal(self.now, node, generation, n, &mut out);
        self.carry_out(out);
    }

    fn carry_out(&mut self, out: Vec<Output>) {
        for output in out {
            match output {
                Output::Read { number } => match &mut self.reads_held {
                    Some(held) => held.push(number),
                    None => self.read(number),
                },
                Output::Propose { number, command, .. } => match &mut self.proposals_held {
                    Some(held) => held.push((number, command)),
                    None => self.apply(number, command),
                },
                Output::Grant { to, .. } => self.grants.push((to, self.now)),
                Output::Tell(event) => self.events.push(event),
                asked @ (Output::Members(_) | Output::Transfer { .. }) => self.asked.push(asked),
            }
        }
    }

    fn read(&mut self, number: u64) {
        let mut out = Vec::new();
        self.steward.handle_read(self.now, number, Some(self.log.0.index()), &mut out);
        self.carry_out(out);
    }

    fn complete_reads(&mut self) {
        for number in self.reads_held.take().unwrap_or_default() {
            self.read(number);
        }
    }

    fn apply(&mut self, number: u64, command: Command) {
        let index = Index(self.log.0.index().0 + 1);
        let entry = Entry { at: Unix::from_secs(9), by: None, note: None, command: command.clone() };
        assert!(entry.encode().is_ok(), "it is no longer than an entry may be");
        let outcome = self.log.0.apply(index, entry);
        self.applied.push((self.now, command, outcome.clone()));
        let mut out = Vec::new();
        let (state, members) = (&self.log.0, &self.members);
        self.steward.handle_outcome(self.now, number, Some(&outcome), state, members, &mut out);
        self.carry_out(out);
    }

    fn apply_held(&mut self) {
        for (number, command) in self.proposals_held.take().unwrap_or_default() {
            self.apply(number, command);
        }
    }

    /// What is decided by others.
    fn does(&mut self, command: Command) {
        self.log.does(command);
        let mut out = Vec::new();
        self.steward.handle_state(self.now, &self.log.0, &self.members, &mut out);
        self.carry_out(out);
    }

    /// Time passes: every 10 ms the loop runs, every 100 ms nodes renew.
    fn run(&mut self, step: Duration) {
        let end = self.now + step;
        while self.now < end {
            self.now = self.now + 10 * MS;
            if self.now.0.as_millis().is_multiple_of(100) {
                for node in self.renewing.clone() {
                    self.renew(node);
                }
            }
            if self.now >= self.steward.poll_timeout() {
                self.timeout();
            }
        }
    }

    fn timeout(&mut self) {
        let mut out = Vec::new();
        self.steward.handle_timeout(self.now, &self.log.0, &self.members, &mut out);
        self.carry_out(out);
    }

    fn released(&mut self, node: u64, applied: Index) {
        let moving = self.log.0.shards().filter(|(_, s)| s.owner == Some(NodeId(node)) && s.moving.is_some());
        let shards: Vec<_> = moving.map(|(shard, entry)| (shard, entry.epoch)).collect();
        let mut out = Vec::new();
        self.steward.handle_released(self.now, NodeId(node), &shards, applied, &self.log.0, &mut out);
        self.carry_out(out);
    }

    /// Releases what moves away from a node until it owns nothing.
    fn drains(&mut self, node: u64) {
        for _ in 0..100 {
            self.run(50 * MS);
            self.released(node, self.log.0.index());
            if self.log.owned(node).is_empty() {
                return;
            }
        }
        panic!("node {node} does not drain");
    }

    fn fall_silent(&mut self, node: u64) {
        assert!(self.renewing.remove(&NodeId(node)));
    }

    fn is_up(&self, node: u64) -> bool {
        self.log.0.is_up(NodeId(node))
    }

    fn last_grant(&self, node: u64) -> Mono {
        self.grants.iter().rfind(|(to, _)| *to == NodeId(node)).unwrap().1
    }

    /// What operators were told of moves, and whether a node drained.
    fn moved(&self) -> Vec<(usize, bool)> {
        let moved = |event: &Event| match event {
            Event::Moved { shards, drain } => Some((*shards, *drain)),
            _ => None,
        };
        self.events.iter().filter_map(moved).collect()
    }

    fn moving(&self) -> usize {
        self.log.0.shards().filter(|(_, shard)| shard.moving.is_some()).count()
    }

    /// When a node's removal was proposed.
    fn downs(&self) -> BTreeMap<NodeId, Mono> {
        let down = |(at, command, outcome): &(Mono, Command, Outcome)| match command {
            Command::NodeDown { node, .. } if *outcome == Outcome::Done => Some((*node, *at)),
            _ => None,
        };
        self.applied.iter().filter_map(down).collect()
    }
}

// ---------------------------------------------------------------------------------------- grants

#[test]
fn a_grant_waits_for_a_read_that_began_after_its_renewal() {
    let mut office = Office::with_nodes(3);
    office.reads_held = Some(vec![]);
    office.renew(NodeId(2));
    // While that one is read, another renews: the read that is under way is not for it.
    office.renew(NodeId(3));
    assert!(office.grants.is_empty());
    assert_eq!(office.reads_held.as_ref().unwrap().len(), 1);
    let first = office.reads_held.take().unwrap()[0];
    office.reads_held = Some(vec![]);
    office.read(first);
    assert_eq!(office.grants.iter().map(|(to, _)| to.0).collect::<Vec<_>>(), [2]);
    office.complete_reads();
    assert_eq!(office.grants.iter().map(|(to, _)| to.0).collect::<Vec<_>>(), [2, 3]);
}

#[test]
fn a_read_that_fails_grants_nothing_and_is_begun_again() {
    let mut office = Office::with_nodes(3);
    office.reads_held = Some(vec![]);
    office.renew(NodeId(2));
    let number = office.reads_held.take().unwrap()[0];
    let mut out = Vec::new();
    office.steward.handle_read(office.now, number, None, &mut out);
    office.carry_out(out);
    assert!(office.grants.is_empty());
    office.read(number);
    assert!(office.grants.is_empty(), "its time is over");
    office.timeout();
    assert_eq!(office.grants.len(), 1);
    // And one that is lost.
    office.reads_held = Some(vec![]);
    office.renew(NodeId(2));
    office.reads_held = None;
    office.now = office.now + LAN.lease / 2;
    office.timeout();
    assert_eq!(office.grants.len(), 2);
}

#[test]
fn a_life_that_the_registry_does_not_know_is_granted_nothing() {
    let mut office = Office::with_nodes(3);
    let mut out = Vec::new();
    for generation in [0, 2] {
        office.steward.handle_renewal(office.now, NodeId(2), Generation(generation), 1, &mut out);
    }
    office.steward.handle_renewal(office.now, NodeId(9), Generation(1), 1, &mut out);
    assert_eq!(out, []);
    // It began again while its renewal was read.
    office.reads_held = Some(vec![]);
    office.renew(NodeId(2));
    office.does(up(NodeId(2)));
    office.complete_reads();
    assert!(office.grants.is_empty());
}

#[test]
fn no_grant_while_a_removal_is_proposed_and_not_applied() {
    let mut office = Office::with_nodes(3);
    office.run(500 * MS);
    office.fall_silent(3);
    office.proposals_held = Some(vec![]);
    office.run(T + 200 * MS);
    assert!(matches!(office.proposals_held.as_deref(), Some([(_, Command::NodeDown { .. })])));
    // It was only slow.
    let before = office.last_grant(3);
    office.renewing.insert(NodeId(3));
    office.run(300 * MS);
    assert_eq!(office.last_grant(3), before);
    assert!(office.last_grant(2) > before, "of the others nothing is withheld");
    // However long that takes.
    office.run(PROPOSE_AGAIN * 2);
    assert_eq!(office.last_grant(3), before);
    office.apply_held();
    office.run(300 * MS);
    assert_eq!(office.last_grant(3), before, "it is gone, and begins again first");
    assert!(!office.is_up(3));
    office.does(up(NodeId(3)));
    office.run(100 * MS);
    assert!(office.last_grant(3) > before);
}

#[test]
fn a_read_begun_before_a_removal_was_proposed_grants_nothing_after_it() {
    for applied in [false, true] {
        let mut office = Office::with_nodes(3);
        office.run(500 * MS);
        office.fall_silent(3);
        office.run(400 * MS);
        let before = office.last_grant(3);
        // Its last renewal is read for long.
        office.reads_held = Some(vec![]);
        office.renew(NodeId(3));
        office.proposals_held = Some(vec![]);
        office.run(T - 200 * MS);
        assert!(matches!(office.proposals_held.as_deref(), Some([(_, Command::NodeDown { .. })])));
        if applied {
            office.apply_held();
        }
        office.complete_reads();
        office.timeout();
        assert_eq!(office.last_grant(3), before);
    }
}

#[test]
fn a_removal_that_is_refused_or_was_dropped_withholds_nothing_any_more() {
    for dropped in [false, true] {
        let mut office = Office::with_nodes(3);
        office.run(500 * MS);
        office.fall_silent(3);
        office.proposals_held = Some(vec![]);
        office.run(T + 100 * MS);
        let (number, _) = office.proposals_held.take().unwrap().remove(0);
        office.renewing.insert(NodeId(3));
        office.renew(NodeId(3));
        let refused = Outcome::Refused(crate::registry::Refusal::OtherVersion(1));
        let mut out = Vec::new();
        let outcome = (!dropped).then_some(&refused);
        let (state, members) = (&office.log.0, &office.members);
        office.steward.handle_outcome(office.now, number, outcome, state, members, &mut out);
        office.carry_out(out);
        let before = office.now;
        office.run(200 * MS);
        assert!(office.last_grant(3) > before);
        assert!(office.is_up(3));
    }
}

// --------------------------------------------------------------------------------------- silence

#[test]
fn a_silent_node_is_gone_no_sooner_than_t_after_its_last_grant_was_sent() {
    let mut office = Office::with_nodes(3);
    office.run(3 * T);
    let owned = office.log.owned(3).len();
    office.fall_silent(3);
    let last = office.last_grant(3);
    office.run(2 * T);
    let at = office.downs()[&NodeId(3)];
    assert!(at >= last + T, "{:?} after its last grant", at.since(last));
    assert!(at < last + T + 150 * MS, "and not much later: {:?}", at.since(last));
    assert!(office.log.owned(3).is_empty() && owned > 0);
    assert_eq!(office.log.owned(1).len() + office.log.owned(2).len(), 4096, "its shards went with it");
    assert!(matches!(office.events[..], [Event::Evicted { node: NodeId(3), shards, .. }] if shards == owned));
    assert_eq!(office.downs().len(), 1);
}

#[test]
fn the_last_grant_counts_although_its_read_took_long() {
    let mut office = Office::with_nodes(3);
    office.run(T);
    office.reads_held = Some(vec![]);
    office.run(100 * MS);
    office.fall_silent(3);
    office.run(150 * MS);
    let number = office.reads_held.take().unwrap()[0];
    office.read(number);
    let last = office.last_grant(3);
    assert_eq!(last, office.now);
    office.run(2 * T);
    assert!(office.downs()[&NodeId(3)] >= last + T);
}

#[test]
fn a_new_leader_counts_t_from_its_own_beginning() {
    let mut office = Office::with_nodes(3);
    let began = office.now;
    office.fall_silent(3);
    office.run(T - 10 * MS);
    assert!(office.is_up(3), "whom the leader before it granted may hold a lease still");
    office.run(150 * MS);
    assert!(office.downs()[&NodeId(3)] >= began + T);
}

#[test]
fn a_node_that_began_again_has_t_from_then() {
    let mut office = Office::with_nodes(3);
    office.run(T);
    office.fall_silent(3);
    office.run(T / 2);
    office.does(up(NodeId(3)));
    let began = office.now;
    office.run(2 * T);
    assert!(office.downs()[&NodeId(3)] >= began + T);
}

#[test]
fn the_leaders_own_node_obeys_the_same_rule() {
    let mut office = Office::with_nodes(3);
    office.run(T);
    office.fall_silent(1);
    office.run(2 * T);
    assert!(!office.is_up(1), "its member leads, but its rooms do nothing");
    assert!(office.log.owned(1).is_empty());
}

#[test]
fn when_over_a_third_fall_silent_together_one_more_t_passes_behind_a_read() {
    let mut office = Office::with_nodes(5);
    office.run(T);
    office.fall_silent(4);
    office.run(100 * MS);
    office.fall_silent(5);
    let last = office.last_grant(4);
    office.run(T);
    let wait = |event: &Event| matches!(event, Event::MassSilence { silent, of: 5 } if silent.len() == 2);
    assert!(office.events.iter().any(wait), "{:?}", office.events);
    office.run(T + 300 * MS);
    let downs = office.downs();
    assert!(downs[&NodeId(4)] >= last + 2 * T && downs[&NodeId(5)] >= last + 2 * T);
    assert!(downs[&NodeId(5)] < last + 2 * T + 300 * MS);
    assert_eq!(office.events.iter().filter(|event| wait(event)).count(), 1, "once");
    assert_eq!(office.log.owned(1).len() + office.log.owned(2).len() + office.log.owned(3).len(), 4096);
}

#[test]
fn the_one_more_t_begins_when_its_read_completes() {
    let mut office = Office::with_nodes(5);
    office.run(T);
    office.fall_silent(4);
    office.fall_silent(5);
    office.run(T / 2);
    office.reads_held = Some(vec![]);
    office.run(2 * T);
    assert!(office.downs().is_empty(), "without the read it does not begin");
    let completed = office.now;
    office.complete_reads();
    office.timeout();
    office.run(2 * T);
    assert!(office.downs()[&NodeId(4)] >= completed + T);
}

#[test]
fn a_read_that_fails_begins_no_wait() {
    let mut office = Office::with_nodes(5);
    office.run(T);
    office.fall_silent(4);
    office.fall_silent(5);
    office.run(T / 2);
    office.reads_held = Some(vec![]);
    // Each is answered by nothing: somebody else leads by now, perhaps.
    for _ in 0..30 {
        office.run(100 * MS);
        for number in office.reads_held.replace(vec![]).unwrap() {
            let mut out = Vec::new();
            office.steward.handle_read(office.now, number, None, &mut out);
            office.carry_out(out);
        }
    }
    assert!(office.downs().is_empty());
    let completed = office.now;
    office.complete_reads();
    office.run(2 * T);
    assert!(office.downs()[&NodeId(4)] >= completed + T);
}

#[test]
fn those_who_come_back_meanwhile_stay() {
    let mut office = Office::with_nodes(5);
    office.run(T);
    office.fall_silent(4);
    office.fall_silent(5);
    office.run(T + T / 2);
    office.renewing.extend([NodeId(4), NodeId(5)]);
    office.run(3 * T);
    assert!(office.downs().is_empty());
    // And what they had does not count for the next time.
    office.fall_silent(4);
    office.fall_silent(5);
    let last = office.last_grant(4);
    office.run(3 * T);
    assert!(office.downs()[&NodeId(4)] >= last + 2 * T);
}

#[test]
fn two_of_many_nodes_are_no_mass() {
    let mut office = Office::with_nodes(6);
    office.run(T);
    office.fall_silent(5);
    office.fall_silent(6);
    let last = office.last_grant(6);
    office.run(T + 200 * MS);
    assert!(office.downs()[&NodeId(6)] < last + T + 150 * MS);
}

#[test]
fn a_leader_that_stood_still_waits_one_more_t_behind_a_read() {
    let mut office = Office::with_nodes(3);
    office.run(3 * T);
    // SIGSTOP: meanwhile all renew, and none of it is handled before the clock is looked at.
    office.now = office.now + Duration::from_secs(30);
    let woke = office.now;
    office.timeout();
    assert!(office.events.iter().any(|event| matches!(event, Event::StoodStill { .. })));
    office.run(T - 10 * MS);
    assert!(office.downs().is_empty());
    office.run(3 * T);
    assert!(office.downs().is_empty(), "they were never silent");
    // One that died with it.
    office.now = office.now + Duration::from_secs(30);
    office.fall_silent(3);
    let again = office.now;
    office.timeout();
    office.run(2 * T);
    assert!(again > woke && office.downs()[&NodeId(3)] >= again + T);
}

#[test]
fn a_leader_that_nodes_are_heard_by_but_that_cannot_read_evicts_nobody() {
    let mut office = Office::with_nodes(3);
    office.run(T);
    office.reads_held = Some(vec![]);
    office.run(5 * T);
    assert!(office.proposals_held.is_none() && office.downs().is_empty());
}

#[test]
fn a_node_whose_shards_nobody_can_take_keeps_them() {
    let mut log = Log::with_nodes(2);
    log.does(Command::NodeSet { node: NodeId(1), weight: 0, draining: false });
    let mut office = Office::of(log);
    office.run(10 * T);
    // All moved to 2, since a witness owns none.
    office.released(1, office.log.0.index());
    office.run(60 * T);
    assert_eq!(office.log.owned(2).len(), 4096);
    office.fall_silent(2);
    office.run(5 * T);
    assert!(office.is_up(2) && office.downs().is_empty());
    let told = office.events.iter().filter(|e| matches!(e, Event::NobodyLeft { node: NodeId(2) })).count();
    assert_eq!(told, 1);
    // The moment somebody comes.
    office.does(Command::NodeAdd { node: NodeId(3), region: region() });
    office.renewing.insert(NodeId(3));
    office.does(up(NodeId(3)));
    office.run(300 * MS);
    assert!(!office.is_up(2));
    assert_eq!(office.log.owned(3).len(), 4096);
}

#[test]
fn a_node_that_drains_takes_what_nobody_else_can() {
    let mut log = Log::with_nodes(2);
    log.does(Command::NodeSet { node: NodeId(1), weight: 1, draining: true });
    let mut office = Office::of(log);
    office.fall_silent(2);
    office.run(2 * T);
    assert!(!office.is_up(2));
    assert_eq!(office.log.owned(1).len(), 4096);
    assert_eq!(office.moving(), 0, "and there they stay");
}

// ----------------------------------------------------------------------------------------- moves

fn drain(node: u64) -> Command {
    Command::NodeSet { node: NodeId(node), weight: 1, draining: true }
}

#[test]
fn a_draining_nodes_shards_move_when_it_has_released_them() {
    let mut office = Office::with_nodes(3);
    office.run(T);
    office.does(drain(3));
    assert_eq!(office.moving(), MOVES_AT_ONCE, "a bounded number at once, and at once");
    let owned = office.log.owned(3).len();
    office.run(200 * MS);
    assert_eq!(office.log.owned(3).len(), owned, "not before it has let go");
    let mut rounds = 0;
    while !office.log.owned(3).is_empty() {
        office.released(3, office.log.0.index());
        office.run(10 * MS);
        rounds += 1;
        assert!(rounds < 20);
    }
    assert_eq!(rounds, owned.div_ceil(MOVES_AT_ONCE));
    assert_eq!(office.moved(), [(owned, true)], "told once, when all is done");
    assert!(office.is_up(3), "it is still there, and may come back");
    office.does(Command::NodeSet { node: NodeId(3), weight: 1, draining: false });
    office.run(REBALANCE_AFTER + 2 * T);
    assert!(office.moving() > 0 || !office.log.owned(3).is_empty());
}

#[test]
fn a_move_that_is_never_released_happens_t_after_it_began() {
    let mut office = Office::with_nodes(3);
    office.run(T);
    office.does(drain(3));
    let (owned, began) = (office.log.owned(3).len(), office.now);
    office.run(T - 10 * MS);
    assert_eq!(office.log.owned(3).len(), owned);
    office.run(200 * MS);
    assert_eq!(office.log.owned(3).len(), owned - MOVES_AT_ONCE);
    let moved = office.applied.iter().find(|(_, command, _)| matches!(command, Command::Moved { .. }));
    assert!(moved.unwrap().0 >= began + T);
}

#[test]
fn a_new_leader_counts_t_for_the_moves_that_it_finds() {
    let mut log = Log::with_nodes(2);
    let shards = vec![log.owned(1)[0]];
    log.does(Command::Moving { moves: vec![Moves { to: NodeId(2), shards }] });
    let mut office = Office::of(log);
    office.run(T - 10 * MS);
    assert_eq!(office.moving(), 1);
    office.run(150 * MS);
    assert_eq!(office.moving(), 0);
    assert_eq!(office.log.owned(2).len(), 2049);
}

#[test]
fn a_release_of_a_move_that_was_called_off_counts_nothing() {
    let mut office = Office::with_nodes(4);
    office.run(T);
    let (shard, epoch) = office.log.owned(1)[0];
    let moving = |to| Command::Moving { moves: vec![Moves { to: NodeId(to), shards: vec![(shard, epoch)] }] };
    office.does(moving(4));
    let then = office.log.0.index();
    office.does(moving(1));
    office.does(moving(3));
    office.released(1, then);
    assert_eq!(office.moving(), 1, "its sender has admitted peers again since");
    office.released(1, office.log.0.index());
    assert_eq!(office.log.0.shard(shard).unwrap().owner, Some(NodeId(3)));
}

#[test]
fn only_the_owner_of_that_epoch_releases() {
    let mut office = Office::with_nodes(3);
    office.run(T);
    let (shard, epoch) = office.log.owned(1)[0];
    office.does(Command::Moving { moves: vec![Moves { to: NodeId(2), shards: vec![(shard, epoch)] }] });
    let index = office.log.0.index();
    for (from, epoch) in [(2, epoch), (1, Epoch(epoch.0 + 1)), (1, Epoch(0))] {
        let (mut out, state) = (Vec::new(), &office.log.0);
        office.steward.handle_released(office.now, NodeId(from), &[(shard, epoch)], index, state, &mut out);
        assert_eq!(out, []);
    }
}

#[test]
fn shards_are_not_moved_to_one_that_fell_silent_meanwhile() {
    let mut office = Office::with_nodes(4);
    office.run(T);
    let (shard, epoch) = office.log.owned(1)[0];
    office.does(Command::Moving { moves: vec![Moves { to: NodeId(4), shards: vec![(shard, epoch)] }] });
    office.fall_silent(4);
    office.run(T / 2 + 100 * MS);
    office.released(1, office.log.0.index());
    assert_eq!(office.moving(), 1);
    office.run(T);
    let entry = office.log.0.shard(shard).unwrap();
    assert_eq!((entry.owner, entry.moving), (Some(NodeId(1)), None), "its owner goes on");
}

#[test]
fn a_node_that_comes_gets_its_part_once_all_is_steady() {
    let mut office = Office::with_nodes(2);
    office.run(REBALANCE_AFTER * 2);
    assert_eq!(office.moving(), 0);
    office.does(Command::NodeAdd { node: NodeId(3), region: region() });
    office.renewing.insert(NodeId(3));
    office.does(up(NodeId(3)));
    office.run(REBALANCE_AFTER / 2);
    // It began again: that is not steady.
    office.does(up(NodeId(3)));
    office.run(REBALANCE_AFTER - 10 * MS);
    assert_eq!(office.moving(), 0);
    for _ in 0..100 {
        office.run(50 * MS);
        assert!(office.moving() <= MOVES_AT_ONCE);
        for node in [1, 2, 3] {
            office.released(node, office.log.0.index());
        }
    }
    let owned: Vec<_> = (1..=3).map(|node| office.log.owned(node).len()).collect();
    assert!(owned.iter().all(|n| (1365..=1366).contains(n)), "{owned:?}");
    // And that is all.
    let before = office.applied.len();
    office.run(REBALANCE_AFTER * 3);
    assert_eq!(office.applied.len(), before);
    assert_eq!(office.moved(), [(owned[2], false)], "told once, when all is done");
}

#[test]
fn nothing_moves_for_balance_while_a_node_is_silent() {
    let mut log = Log::with_nodes(3);
    log.does(Command::NodeSet { node: NodeId(2), weight: 3, draining: false });
    log.does(Command::NodeSet { node: NodeId(3), weight: 0, draining: false });
    log.does(Command::NodeDown { node: NodeId(3), generation: Generation(1), moves: vec![] });
    let mut office = Office::of(log);
    // Orphans first, at once.
    office.run(200 * MS);
    assert!(office.log.owned(3).is_empty());
    office.run(REBALANCE_AFTER - T);
    office.fall_silent(2);
    office.run(T - 100 * MS);
    office.renewing.insert(NodeId(2));
    office.run(REBALANCE_AFTER - 200 * MS);
    assert_eq!(office.moving(), 0);
    office.run(T);
    assert!(office.moving() > 0);
}

#[test]
fn shards_that_nobody_runs_are_given_at_once() {
    let mut log = Log::default();
    for node in [1, 2] {
        log.does(Command::NodeAdd { node: NodeId(node), region: region() });
        log.does(up(NodeId(node)));
    }
    let mut office = Office::of(log);
    office.run(100 * MS);
    assert_eq!((office.log.owned(1).len(), office.log.owned(2).len()), (2048, 2048));
}

// ----------------------------------------------------------------------- timers, members, leaving

#[test]
fn timers_settle_when_no_lease_of_the_former_ones_is_left() {
    let mut office = Office::with_nodes(3);
    office.run(T);
    office.does(Command::ProfileSet { profile: ProfileName::Wan });
    let at = office.now;
    office.run(WAN.eviction - 100 * MS);
    assert!(office.log.0.settling().is_some());
    office.run(500 * MS);
    assert!(office.log.0.settling().is_none());
    let settled = office.applied.iter().find(|(_, c, _)| matches!(c, Command::ProfileSettled { .. }));
    assert!(settled.unwrap().0 >= at + WAN.eviction);
}

#[test]
fn one_that_leaves_is_let_go_when_it_owns_nothing_and_is_no_member() {
    let mut office = Office::with_nodes(4);
    office.members.voters = sorted(&[1, 2, 4]);
    office.members.learners = sorted(&[3]);
    office.run(T);
    office.does(Command::NodeLeave { node: NodeId(4) });
    office.drains(4);
    office.run(3 * T);
    assert!(office.is_up(4), "it votes still");
    let change = Output::Members(vec![Step::Voter(NodeId(3)), Step::Remove(NodeId(4))]);
    assert!(office.asked.contains(&change), "{:?}", office.asked);
    assert!(office.last_grant(4) + 200 * MS > office.now, "and is granted its lease");
    office.members.voters = sorted(&[1, 2, 3]);
    office.members.learners = sorted(&[]);
    office.run(200 * MS);
    let last = office.last_grant(4);
    office.run(T - 300 * MS);
    assert!(office.is_up(4));
    assert_eq!(office.last_grant(4), last, "no more grants");
    office.run(T);
    assert!(office.downs()[&NodeId(4)] >= last + T);
    assert!(office.log.0.was_removed(NodeId(4)));
    assert!(office.events.contains(&Event::Removed { node: NodeId(4) }));
}

#[test]
fn one_that_is_kept_after_all_is_granted_again() {
    let mut office = Office::with_nodes(4);
    office.members.learners = sorted(&[]);
    office.run(T);
    office.does(Command::NodeLeave { node: NodeId(4) });
    office.drains(4);
    office.run(200 * MS);
    office.does(Command::NodeSet { node: NodeId(4), weight: 1, draining: false });
    office.run(2 * T);
    assert!(office.is_up(4) && office.last_grant(4) + 200 * MS > office.now);
}

#[test]
fn a_leader_that_drains_hands_over_first() {
    let mut office = Office::with_nodes(3);
    office.run(T);
    office.does(drain(1));
    assert_eq!(office.asked, [Output::Transfer { to: NodeId(2) }]);
    office.run(MEMBERS_AGAIN - 100 * MS);
    assert_eq!(office.asked.len(), 1);
    office.run(200 * MS);
    assert_eq!(office.asked.len(), 2, "it was lost");
}

#[test]
fn a_voter_gone_for_long_is_replaced_and_one_that_restarts_is_not() {
    let mut office = Office::with_nodes(5);
    office.run(T);
    office.fall_silent(3);
    office.members.recent.remove(&NodeId(3));
    office.run(VOTER_LOST_AFTER - T);
    assert!(!office.is_up(3));
    assert_eq!(office.asked, []);
    office.run(3 * T);
    assert_eq!(office.asked, [Output::Members(vec![Step::Voter(NodeId(4)), Step::Remove(NodeId(3))])]);
    assert_eq!(office.log.0.node(NodeId(3)).unwrap().state, NodeState::Down);
}

#[test]
fn groups_of_a_region_stay_there_when_a_node_is_evicted() {
    let there = Region::new("there").unwrap();
    let mut log = Log::default();
    for (node, region) in [(1, region()), (2, region()), (3, there.clone()), (4, there.clone())] {
        log.does(Command::NodeAdd { node: NodeId(node), region });
        log.does(up(NodeId(node)));
    }
    log.does(Command::GroupSet { group: Some(there), shards: (0..100).map(Shard).collect() });
    let mut office = Office::of(log);
    office.run(T);
    office.fall_silent(3);
    office.run(2 * T);
    assert!(!office.is_up(3));
    assert!((0..100).all(|shard| office.log.0.shard(Shard(shard)).unwrap().owner == Some(NodeId(4))));
}

#[test]
fn what_the_member_does_not_take_is_proposed_again_in_its_turn() {
    let mut office = Office::with_nodes(3);
    office.run(T);
    office.proposals_held = Some(Vec::new());
    office.does(Command::NodeSet { node: NodeId(3), weight: 1, draining: true });
    office.run(LAN.renewal());
    // While raft hands the leadership over it drops all of them, at once.
    for round in 0..5 {
        let held = office.proposals_held.replace(Vec::new()).unwrap_or_default();
        assert!(!held.is_empty(), "round {round}");
        let mut out = Vec::new();
        for (number, _) in held {
            let (state, members) = (&office.log.0, &office.members);
            office.steward.handle_outcome(office.now, number, None, state, members, &mut out);
        }
        office.carry_out(out);
        let again = office.proposals_held.as_ref().is_some_and(|held| !held.is_empty());
        let next = office.steward.poll_timeout();
        assert!(!again && next > office.now, "round {round}: it would never rest");
        office.run(LAN.renewal());
    }
}
