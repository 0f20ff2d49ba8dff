//! Raft's members, as they should be.

use std::collections::BTreeSet;

use proptest::prelude::*;

use super::*;
use crate::limits::STANDBYS_MAX;
use crate::registry::voters::{Members, Plan, Step, plan};

fn ids(ids: &[u64]) -> BTreeSet<NodeId> {
    ids.iter().copied().map(NodeId).collect()
}

/// Nodes 1 to n, each in the region that its letter names, all up.
fn nodes(regions: &str) -> Log {
    let mut log = Log::default();
    for (i, region) in regions.chars().enumerate() {
        let node = NodeId(i as u64 + 1);
        log.does(Command::NodeAdd { node, region: Region::new(&region.to_string()).unwrap() });
        log.does(up(node));
    }
    log
}

/// All of them heard, with the whole log.
fn members(voters: &[u64], learners: &[u64]) -> Members {
    let all: Vec<_> = voters.iter().chain(learners).copied().collect();
    Members {
        voters: ids(voters),
        learners: ids(learners),
        outgoing: BTreeSet::new(),
        caught_up: ids(&all),
        recent: ids(&all),
    }
}

fn next(log: &Log, members: &Members, lost: &[u64]) -> Option<Plan> {
    plan(&log.0, NodeId(1), members, &ids(lost))
}

fn change(steps: &[Step]) -> Option<Plan> {
    Some(Plan::Change(steps.to_vec()))
}

const fn voter(node: u64) -> Step {
    Step::Voter(NodeId(node))
}

const fn learner(node: u64) -> Step {
    Step::Learner(NodeId(node))
}

const fn remove(node: u64) -> Step {
    Step::Remove(NodeId(node))
}

/// What the members become when every step is taken; stand-bys catch up at once.
fn settle(log: &Log, mut now: Members, lost: &[u64]) -> Members {
    for _ in 0..20 {
        match next(log, &now, lost) {
            Some(Plan::Change(steps)) => {
                take(&mut now, &steps);
                let all: Vec<_> = now.voters.iter().chain(&now.learners).copied().collect();
                let alive = all.into_iter().filter(|node| log.0.is_up(*node));
                now.caught_up = alive.collect();
                now.recent = now.caught_up.clone();
            }
            Some(Plan::Transfer(_)) | None => return now,
        }
    }
    panic!("it never rests: {now:?}");
}

fn take(members: &mut Members, steps: &[Step]) {
    for step in steps {
        match *step {
            Step::Voter(node) => {
                members.learners.remove(&node);
                members.voters.insert(node);
            }
            Step::Learner(node) => {
                members.voters.remove(&node);
                members.learners.insert(node);
            }
            Step::Remove(node) => {
                members.voters.remove(&node);
                members.learners.remove(&node);
            }
        }
    }
}

#[test]
fn a_cluster_grows_from_one_voter_to_three_by_one_joint_change() {
    let log = nodes("aaa");
    assert_eq!(next(&log, &members(&[1], &[]), &[]), change(&[learner(2)]));
    assert_eq!(next(&log, &members(&[1], &[2]), &[]), change(&[learner(3)]), "two voters are worse than one");
    assert_eq!(next(&log, &members(&[1], &[2, 3]), &[]), change(&[voter(2), voter(3)]));
    assert_eq!(next(&log, &members(&[1, 2, 3], &[]), &[]), None);
    let two = nodes("aa");
    assert_eq!(next(&two, &members(&[1], &[2]), &[]), None, "a second node stands by");
}

#[test]
fn nobody_votes_before_it_is_caught_up_and_heard() {
    let log = nodes("aaa");
    let ready = members(&[1], &[2, 3]);
    let behind = Members { caught_up: ids(&[1, 3]), ..ready.clone() };
    assert_eq!(next(&log, &behind, &[]), None);
    let unheard = Members { recent: ids(&[1, 3]), ..ready };
    assert_eq!(next(&log, &unheard, &[]), None);
}

#[test]
fn one_change_at_a_time() {
    let log = nodes("aaa");
    let joint = Members { outgoing: ids(&[1]), ..members(&[1, 2], &[3]) };
    assert_eq!(next(&log, &joint, &[]), None);
    assert_eq!(next(&log, &Members::default(), &[]), None, "nothing is known yet");
}

#[test]
fn at_most_two_stand_by() {
    let log = nodes("aaaaaaa");
    let end = settle(&log, members(&[1], &[]), &[]);
    assert_eq!((end.voters.len(), end.learners.len()), (3, STANDBYS_MAX));
    let mut log = nodes("aaaaaaa");
    log.does(Command::VotersSet { wanted: 5 });
    let end = settle(&log, end, &[]);
    assert_eq!((end.voters.len(), end.learners.len()), (5, STANDBYS_MAX));
    log.does(Command::VotersSet { wanted: 3 });
    let end = settle(&log, end, &[]);
    assert_eq!((end.voters.len(), end.learners.len()), (3, STANDBYS_MAX));
}

#[test]
fn voters_are_an_odd_number() {
    for (nodes_there, voters) in [("a", 1), ("aa", 1), ("aaa", 3), ("aaaa", 3), ("aaaaa", 5), ("aaaaaa", 5)] {
        let mut log = nodes(nodes_there);
        log.does(Command::VotersSet { wanted: 5 });
        assert_eq!(settle(&log, members(&[1], &[]), &[]).voters.len(), voters, "{nodes_there}");
    }
}

#[test]
fn a_regions_loss_leaves_a_majority_where_that_can_be() {
    for (nodes_there, wanted, most) in [
        ("aabbcc", 3, 1),
        ("aaaaabc", 3, 1),
        ("aabb", 3, 2),
        ("aaabbc", 5, 2),
        ("aaaabbbbc", 5, 2),
        ("abcde", 5, 1),
        ("aaaa", 3, 3),
    ] {
        let mut log = nodes(nodes_there);
        log.does(Command::VotersSet { wanted });
        let end = settle(&log, members(&[1], &[]), &[]);
        let crowd = |region: char| {
            end.voters
                .iter()
                .filter(|id| nodes_there.chars().nth(usize::try_from(id.0).unwrap() - 1) == Some(region))
                .count()
        };
        assert_eq!(end.voters.len(), usize::from(wanted));
        assert_eq!(('a'..='e').map(crowd).max(), Some(most), "{nodes_there}: {:?}", end.voters);
    }
}

#[test]
fn a_witness_that_owns_nothing_votes() {
    let mut log = nodes("abc");
    log.does(Command::NodeSet { node: NodeId(3), weight: 0, draining: false });
    assert_eq!(settle(&log, members(&[1], &[]), &[]).voters, ids(&[1, 2, 3]));
}

#[test]
fn a_voter_moves_to_a_region_that_had_none() {
    let log = nodes("aab");
    let spread = nodes("aabc");
    let now = members(&[1, 2, 3], &[]);
    assert_eq!(next(&log, &now, &[]), None);
    assert_eq!(next(&spread, &now, &[]), change(&[learner(4)]));
    let now = members(&[1, 2, 3], &[4]);
    assert_eq!(next(&spread, &now, &[]), change(&[voter(4), learner(2)]), "and the leader stays");
}

#[test]
fn a_stand_by_is_dropped_for_one_that_is_to_vote() {
    let log = nodes("aaaaab");
    let now = members(&[1, 2, 3], &[4, 5]);
    assert_eq!(next(&log, &now, &[]), change(&[remove(5)]));
    let now = members(&[1, 2, 3], &[4]);
    assert_eq!(next(&log, &now, &[]), change(&[learner(6)]));
}

#[test]
fn a_dead_voter_is_replaced_when_a_stand_by_is_ready_and_kept_until_then() {
    let mut log = nodes("aaaa");
    log.does(Command::NodeDown { node: NodeId(3), generation: Generation(1), moves: vec![] });
    let mut now = members(&[1, 2, 3], &[4]);
    now.recent.remove(&NodeId(3));
    assert_eq!(next(&log, &now, &[]), None, "it may be back in a moment");
    assert_eq!(next(&log, &now, &[3]), change(&[voter(4), remove(3)]));
    now.caught_up.remove(&NodeId(4));
    assert_eq!(next(&log, &now, &[3]), None);
    let alone = Members { recent: ids(&[1, 2]), ..members(&[1, 2, 3], &[]) };
    assert_eq!(next(&log, &alone, &[3]), change(&[learner(4)]));
    let mut three = nodes("aaa");
    three.does(Command::NodeDown { node: NodeId(3), generation: Generation(1), moves: vec![] });
    assert_eq!(next(&three, &alone, &[3]), None, "of three, the third is kept: it may come back");
}

#[test]
fn no_change_loses_the_quorum_of_those_that_are_heard() {
    let mut log = nodes("aaaaa");
    log.does(Command::VotersSet { wanted: 5 });
    // One voter of three is heard: nothing could be committed.
    let mut now = members(&[1, 2, 3], &[4, 5]);
    now.recent = ids(&[1, 4, 5]);
    assert_eq!(next(&log, &now, &[]), None);
    now.recent = ids(&[1, 2, 4, 5]);
    assert_eq!(next(&log, &now, &[]), change(&[voter(4), voter(5)]));
    // To leave is no reason either.
    let mut log = nodes("aaa");
    log.does(Command::NodeLeave { node: NodeId(3) });
    let mut now = members(&[1, 2, 3], &[]);
    now.recent = ids(&[2, 3]);
    assert_eq!(next(&log, &now, &[]), None, "node 1 would be the only voter, and is not heard");
}

#[test]
fn one_that_leaves_votes_no_more_and_another_takes_its_place() {
    let mut log = nodes("aaaa");
    log.does(Command::NodeLeave { node: NodeId(2) });
    assert_eq!(next(&log, &members(&[1, 2, 3], &[4]), &[]), change(&[voter(4), remove(2)]));
    assert_eq!(settle(&log, members(&[1, 2, 3], &[]), &[]).voters, ids(&[1, 3, 4]));
    // Of three the two that are left are one voter and one that stands by.
    let mut log = nodes("aaa");
    log.does(Command::NodeLeave { node: NodeId(2) });
    assert_eq!(next(&log, &members(&[1, 2, 3], &[]), &[]), change(&[remove(2), learner(3)]));
    // One that was removed already, or never was.
    let log = nodes("aaa");
    assert_eq!(next(&log, &members(&[1, 2, 3], &[9]), &[]), change(&[remove(9)]));
}

#[test]
fn a_leader_that_leaves_or_drains_hands_over() {
    let mut log = nodes("aaaa");
    log.does(Command::NodeLeave { node: NodeId(1) });
    let now = members(&[1, 2, 3], &[4]);
    assert_eq!(next(&log, &now, &[]), Some(Plan::Transfer(NodeId(2))));
    let deaf = Members { recent: ids(&[1, 3, 4]), ..now };
    assert_eq!(next(&log, &deaf, &[]), Some(Plan::Transfer(NodeId(3))));
    let mut log = nodes("aaaa");
    log.does(Command::NodeSet { node: NodeId(1), weight: 1, draining: true });
    log.does(Command::NodeSet { node: NodeId(2), weight: 1, draining: true });
    let now = members(&[1, 2, 3], &[4]);
    assert_eq!(next(&log, &now, &[]), Some(Plan::Transfer(NodeId(3))), "to one that stays");
    log.does(Command::NodeSet { node: NodeId(3), weight: 1, draining: true });
    assert_eq!(next(&log, &now, &[]), None, "all drain: it stays");
}

#[test]
fn the_only_voter_leaves_when_another_votes() {
    let mut log = nodes("aa");
    log.does(Command::NodeLeave { node: NodeId(1) });
    assert_eq!(next(&log, &members(&[1], &[2]), &[]), change(&[voter(2)]));
    assert_eq!(next(&log, &members(&[1, 2], &[]), &[]), Some(Plan::Transfer(NodeId(2))));
    let led_by_two = plan(&log.0, NodeId(2), &members(&[1, 2], &[]), &ids(&[]));
    assert_eq!(led_by_two, change(&[remove(1)]));
}

#[test]
fn one_that_drains_neither_begins_to_vote_nor_stops() {
    let mut log = nodes("aaaa");
    log.does(Command::NodeSet { node: NodeId(4), weight: 1, draining: true });
    log.does(Command::NodeSet { node: NodeId(2), weight: 1, draining: true });
    assert_eq!(next(&log, &members(&[1, 2, 3], &[]), &[]), None);
    assert_eq!(next(&log, &members(&[1, 2, 3], &[4]), &[]), None, "nor to stand by");
}

proptest! {
    /// Whatever comes and goes, each step keeps what is heard a majority, and it comes to rest.
    #[test]
    fn it_comes_to_rest_and_every_step_keeps_the_quorum(
        regions in "[a-c]{1,8}",
        wanted in prop::sample::select(vec![3u8, 5]),
        rounds in prop::collection::vec((1u64..9, 0u8..5), 0..12),
    ) {
        let mut log = nodes(&regions);
        log.does(Command::VotersSet { wanted });
        let mut now = members(&[1], &[]);
        let mut leader = NodeId(1);
        let mut lost = BTreeSet::new();
        for (node, what) in rounds.into_iter().chain([(1, 9)]) {
            let node = NodeId(node);
            if let Some(held) = log.0.node(node).cloned() {
                let drain = |draining| Command::NodeSet { node, weight: 1, draining };
                let down = Command::NodeDown { node, generation: held.generation, moves: vec![] };
                match what {
                    // No more die than a majority of those who vote can bear.
                    0 if node != leader => {
                        let mut alive = now.voters.clone();
                        alive.retain(|id| *id != node && !lost.contains(id));
                        if 2 * alive.len() > now.voters.len() {
                            log.does(down);
                            lost.insert(node);
                        }
                    }
                    1 => {
                        log.does(up(node));
                        lost.remove(&node);
                    }
                    2 => log.does(drain(true)),
                    3 => log.does(drain(false)),
                    4 => drop(log.says(Command::NodeLeave { node })),
                    _ => {}
                }
            }
            let mut steps = 0;
            loop {
                now.recent = now.voters.union(&now.learners).copied().filter(|id| !lost.contains(id)).collect();
                now.caught_up = now.recent.clone();
                match plan(&log.0, leader, &now, &lost) {
                    None => break,
                    Some(Plan::Transfer(to)) => {
                        prop_assert!(now.voters.contains(&to) && now.recent.contains(&to) && to != leader);
                        leader = to;
                    }
                    Some(Plan::Change(change)) => {
                        prop_assert!(!change.is_empty());
                        take(&mut now, &change);
                        prop_assert!(now.voters.contains(&leader), "a leader never votes itself out");
                        let heard = now.voters.iter().filter(|id| !lost.contains(id)).count();
                        prop_assert!(2 * heard > now.voters.len(), "{now:?} after {change:?}");
                        prop_assert!(now.voters.is_disjoint(&now.learners));
                    }
                }
                steps += 1;
                prop_assert!(steps < 40, "it never rests");
            }
            prop_assert!(now.learners.len() <= STANDBYS_MAX && now.voters.len() <= usize::from(wanted));
            let stays = |id: &&NodeId| log.0.node(**id).is_some_and(|node| !node.leaving);
            let staying = now.voters.iter().filter(stays).count();
            prop_assert!(
                now.voters.len() % 2 == 1 || staying < now.voters.len(),
                "{:?} is an even number", now.voters
            );
        }
    }
}
