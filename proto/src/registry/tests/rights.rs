//! What an owner may do.

use super::*;
use crate::registry::rights::{Right, admits, right};

fn of(log: &Log, node: u64, generation: u64, lease: bool, shard: Shard) -> Right {
    right(&log.0, NodeId(node), Generation(generation), lease, shard)
}

#[test]
fn an_owner_with_a_lease_may_all_and_one_without_only_relay() {
    let log = Log::with_nodes(2);
    let (shard, _) = log.owned(1)[0];
    assert_eq!(of(&log, 1, 1, true, shard), Right::Full);
    assert_eq!(of(&log, 1, 1, false, shard), Right::Frozen);
    assert_eq!(of(&log, 2, 1, true, shard), Right::None, "another's");
    assert_eq!(of(&log, 1, 1, true, Shard(SHARDS)), Right::None);
    assert_eq!(of(&log, 9, 1, true, shard), Right::None);
}

#[test]
fn a_life_that_is_not_the_registrys_may_nothing() {
    let mut log = Log::with_nodes(2);
    let (shard, _) = log.owned(1)[0];
    assert_eq!(of(&log, 1, 2, true, shard), Right::None, "its start is not applied yet");
    assert!(!admits(&log.0, NodeId(1), Generation(2), true));
    log.does(up(NodeId(1)));
    assert_eq!(of(&log, 1, 1, true, shard), Right::None, "a new life has begun");
    assert!(!admits(&log.0, NodeId(1), Generation(1), true));
    assert_eq!(of(&log, 1, 2, true, shard), Right::Full);
    assert!(
        admits(&log.0, NodeId(1), Generation(2), true) && !admits(&log.0, NodeId(1), Generation(2), false)
    );
}

#[test]
fn from_moving_on_the_old_owner_admits_nothing() {
    let mut log = Log::with_nodes(2);
    let (shard, epoch) = log.owned(1)[0];
    let moves = |to| vec![Moves { to: NodeId(to), shards: vec![(shard, epoch)] }];
    log.does(Command::Moving { moves: moves(2) });
    assert_eq!(of(&log, 1, 1, true, shard), Right::Frozen);
    assert_eq!(of(&log, 2, 1, true, shard), Right::None, "not yet");
    log.does(Command::Moving { moves: moves(1) });
    assert_eq!(of(&log, 1, 1, true, shard), Right::Full, "it was called off");
    log.does(Command::Moving { moves: moves(2) });
    log.does(Command::Moved { moves: moves(2) });
    assert_eq!((of(&log, 1, 1, true, shard), of(&log, 2, 1, true, shard)), (Right::None, Right::Full));
}

#[test]
fn one_that_was_evicted_and_replaced_by_nobody_goes_on_relaying() {
    let mut log = Log::with_nodes(1);
    let (shard, _) = log.owned(1)[0];
    log.does(Command::NodeDown { node: NodeId(1), generation: Generation(1), moves: vec![] });
    assert_eq!(of(&log, 1, 1, true, shard), Right::Frozen);
    assert!(!admits(&log.0, NodeId(1), Generation(1), true), "nobody new comes in");
}
