//! Nodes begin, end and are gone; shards change hands.

use super::*;

#[test]
fn a_start_raises_generation_and_the_epochs_of_what_is_owned() {
    let mut log = Log::with_nodes(2);
    let (mine, others) = (log.owned(1), log.owned(2));
    assert_eq!((mine.len(), others.len()), (2048, 2048));
    assert_eq!(log.says(up(NodeId(1))), Outcome::Up { generation: Generation(2) });
    assert!(log.owned(1).iter().zip(&mine).all(|(now, before)| now.1.0 == before.1.0 + 1));
    assert_eq!(log.owned(2), others);
}

#[test]
fn a_node_that_is_gone_loses_its_shards_at_the_next_epoch() {
    let mut log = Log::with_nodes(2);
    let down = |log: &Log, generation| Command::NodeDown {
        node: NodeId(2),
        generation,
        moves: vec![Moves { to: NodeId(1), shards: log.owned(2) }],
    };
    // Computed before it began again: nothing of it holds any more.
    let stale = down(&log, Generation(1));
    log.does(up(NodeId(2)));
    assert_eq!(log.says(stale), Outcome::Refused(Refusal::OtherGeneration(Generation(2))));
    let command = down(&log, Generation(2));
    assert!(
        Entry { at: Unix(Duration::MAX), by: None, note: None, command: command.clone() }.encode().is_ok()
    );
    log.does(command);
    assert_eq!(log.owned(1).len(), 4096);
    assert_eq!(log.0.node(NodeId(2)).unwrap().state, NodeState::Down);
    log.does(Command::NodeRemove { node: NodeId(2) });
    let again = Command::NodeAdd { node: NodeId(2), region: region() };
    assert!(matches!(log.says(again), Outcome::Refused(Refusal::NotNext { next: 3, .. })), "no id is reused");
}

#[test]
fn a_life_that_ended_is_known_for_a_while() {
    let mut log = Log::with_nodes(3);
    let lately = |log: &Log| log.0.lost_any_within(log.0.now(), Duration::from_secs(10));
    assert!(!lately(&log), "a first life ends none");
    log.does(up(NodeId(1)));
    assert!(lately(&log));
    for _ in 0..9 {
        log.does(Command::Note);
    }
    assert!(lately(&log));
    log.does(Command::Note);
    assert!(!lately(&log));
    let down = |log: &Log, node, generation| Command::NodeDown {
        node: NodeId(node),
        generation: Generation(generation),
        moves: vec![Moves { to: NodeId(1), shards: log.owned(node) }],
    };
    log.does(down(&log, 2, 1));
    assert!(lately(&log));
    // An operator removes what is dead at once.
    log.does(Command::NodeRemove { node: NodeId(2) });
    assert!(lately(&log), "its clients are still on their way back");
    log.does(Command::NodeAdd { node: NodeId(4), region: region() });
    log.does(Command::NodeRemove { node: NodeId(4) });
    for _ in 0..7 {
        log.does(Command::Note);
    }
    assert!(!lately(&log), "one that never began had nobody");
}

#[test]
fn an_owner_that_is_up_is_asked_before_its_shards_move() {
    let mut log = Log::with_nodes(2);
    let (shard, epoch) = log.owned(1)[0];
    let moves = |to, epoch| vec![Moves { to: NodeId(to), shards: vec![(shard, epoch)] }];
    let refused = Outcome::Refused(Refusal::ShardMoved { shard, epoch });
    assert_eq!(log.says(Command::Moved { moves: moves(2, epoch) }), refused);
    assert_eq!(log.says(Command::Moving { moves: moves(2, Epoch(77)) }), refused);
    log.does(Command::Moving { moves: moves(2, epoch) });
    let held = *log.0.shard(shard).unwrap();
    assert_eq!((held.moving, held.since), (Some(NodeId(2)), log.0.index()));
    // Called off, then done after all.
    log.does(Command::Moving { moves: moves(1, epoch) });
    assert_eq!(log.says(Command::Moved { moves: moves(2, epoch) }), refused);
    log.does(Command::Moving { moves: moves(2, epoch) });
    log.does(Command::Moved { moves: moves(2, epoch) });
    let moved = ShardEntry { owner: Some(NodeId(2)), epoch: Epoch(epoch.0 + 1), ..ShardEntry::default() };
    assert_eq!(log.0.shard(shard), Some(&moved));
}

#[test]
fn a_move_that_is_wrong_in_one_shard_moves_none() {
    let mut log = Log::with_nodes(1);
    log.does(Command::NodeAdd { node: NodeId(2), region: region() });
    log.does(up(NodeId(2)));
    let before = log.0.clone();
    for bad in [(Shard(1), Epoch(1)), (Shard(SHARDS), Epoch(0)), (Shard(0), Epoch(1))] {
        let shards = vec![(Shard(0), Epoch(1)), bad, (Shard(2), Epoch(0))];
        let command = Command::Moving { moves: vec![Moves { to: NodeId(2), shards }] };
        assert!(matches!(log.says(command), Outcome::Refused(Refusal::ShardMoved { .. })), "{bad:?}");
        assert_eq!(log.0.shards, before.shards);
    }
}
