//! What goes where: off nodes that drain, onto those that came.

use super::*;
use crate::id::{AppId, Region, RoomKey, RoomName};
use crate::limits::{HOME_SHARDS, MOVES_AT_ONCE, REBALANCE_AFTER};
use crate::registry::Moves;

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
fn each_region_has_shards_for_the_rooms_of_its_people() {
    let there = Region::new("there").unwrap();
    let mut log = Log::default();
    for (node, region) in [(1, region()), (2, region()), (3, there.clone())] {
        log.does(Command::NodeAdd { node: NodeId(node), region });
        log.does(up(NodeId(node)));
    }
    let mut office = Office::of(log);
    office.run(REBALANCE_AFTER + T);
    let grouped = |office: &Office, group: &Region| -> Vec<_> {
        office.log.0.groups().filter(|(_, of)| *of == group).map(|(shard, _)| shard).collect()
    };
    let owner = |office: &Office, shard: Shard| office.log.0.shard(shard).unwrap().owner.unwrap();
    for (group, nodes) in [(&region(), vec![1, 2]), (&there, vec![3])] {
        let shards = grouped(&office, group);
        assert_eq!(shards.len(), HOME_SHARDS);
        assert!(shards.iter().all(|shard| nodes.contains(&owner(&office, *shard).0)));
    }
    // A room is homed at its anchor, where that is near enough.
    for n in 0..100 {
        let room = RoomKey { app: AppId::new("a").unwrap(), room: RoomName::new(&format!("r{n}")).unwrap() };
        let home = office.log.0.home(&room, &there).unwrap();
        assert_eq!(owner(&office, home), NodeId(3));
        assert_eq!(home == room.anchor(), owner(&office, room.anchor()) == NodeId(3));
        assert_eq!(office.log.0.home(&room, &Region::new("nowhere").unwrap()), None);
    }
    // Its last node runs rooms no more.
    office.does(Command::NodeSet { node: NodeId(3), weight: 0, draining: false });
    office.run(REBALANCE_AFTER + T);
    assert_eq!(office.log.0.groups().count(), 0);
}
