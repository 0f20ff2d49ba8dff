//! What a registry becomes where its history breaks off: after a quorum was lost for good, and when a
//! backup is restored.
//!
//! Entries may be missing then that other nodes have applied. So everything that counts goes on far
//! beyond what they may have seen ([`HISTORY_GAP`]): the index, so that none takes its own state for a
//! part of the new history, but gets all of it anew; generations and epochs, so that whatever belongs to
//! the old one is stale. All nodes are down and begin a new life; rooms are rebuilt of what their
//! gateways hold.

use std::sync::Arc;

use super::{NodeState, Note, State};
use crate::id::{ClusterId, Epoch, Generation, Index, NodeId};
use crate::limits::{HISTORY_GAP, HISTORY_NODES, HISTORY_SEALING_KEYS};
use crate::time::Unix;

impl State {
    /// The quorum is lost for good, and this state is what is left of the registry. The lost voters are
    /// removed: they never come back, not even as they were, and neither do nodes that joined by what is
    /// missing.
    pub fn recover(&mut self, now: Unix, lost: &[NodeId], note: Note) {
        Arc::make_mut(&mut self.nodes).retain(|node, _| !lost.contains(node));
        self.begin_anew(now, note);
    }

    /// The registry of another cluster, begun as that of a new one: its apps, keys, users, secrets,
    /// revocations and settings stay. Its nodes, its authorities and what was issued by them (edges'
    /// certificates as well) do not.
    pub fn restore(&mut self, now: Unix, cluster: ClusterId, note: Note) {
        if let Some(held) = &mut self.cluster {
            held.id = cluster;
        }
        (self.nodes, self.authorities, self.invitations) = (Arc::default(), Arc::default(), Arc::default());
        self.access.end_links();
        self.begin_anew(now, note);
    }

    fn begin_anew(&mut self, now: Unix, note: Note) {
        self.index = Index(self.index.0.saturating_add(HISTORY_GAP));
        self.now = self.now.max(now);
        // Ids that were given out by what is missing are not given out again.
        self.last_node = NodeId(self.last_node.0.saturating_add(HISTORY_NODES));
        // So that a token of a key that is missing is known for that, and its client joins afresh.
        Arc::make_mut(&mut self.sealing).skip(HISTORY_SEALING_KEYS);
        for node in Arc::make_mut(&mut self.nodes).values_mut() {
            node.generation = Generation(node.generation.0.saturating_add(HISTORY_GAP));
            (node.state, node.since) = (NodeState::Down, self.now);
        }
        for shard in Arc::make_mut(&mut self.shards) {
            shard.epoch = Epoch(shard.epoch.0.saturating_add(HISTORY_GAP));
            (shard.owner, shard.moving, shard.since) = (None, None, Index(0));
        }
        // What ended a login may be missing.
        self.access.end_logins();
        self.record(note, None, None, None);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::id::{Region, Shard};
    use crate::registry::{Command, Entry, Moves, NodeAddresses, Outcome, VERSION};

    fn apply(state: &mut State, command: Command) {
        let entry = Entry { at: Unix::from_secs(100), by: None, note: None, command };
        let index = Index(state.index().0 + 1);
        let outcome = state.apply(index, entry);
        assert!(!matches!(outcome, Outcome::Refused(_)), "{outcome:?}");
    }

    fn note() -> Note {
        Note { who: "operator".into(), what: "recovered".into(), from: "node 1".into() }
    }

    fn up(node: NodeId) -> Command {
        Command::NodeUp { node, addresses: NodeAddresses::default(), build: "b".into(), speaks: VERSION }
    }

    fn state() -> State {
        let mut state = State::default();
        let id = ClusterId::from_random([1; 15]);
        apply(&mut state, Command::ClusterBegin { id, name: "Test".into(), realm: "r".into() });
        for node in [1, 2, 3].map(NodeId) {
            apply(&mut state, Command::NodeAdd { node, region: Region::new("here").unwrap() });
            apply(&mut state, up(node));
        }
        let shards = vec![(Shard(7), Epoch(0))];
        apply(&mut state, Command::Moved { moves: vec![Moves { to: NodeId(2), shards }] });
        state
    }

    #[test]
    fn a_recovered_registry_has_forgotten_the_lost_and_outgrown_the_rest() {
        let before = state();
        let mut state = before.clone();
        state.recover(Unix::from_secs(200), &[NodeId(2), NodeId(3)], note());
        assert_eq!(state.cluster(), before.cluster());
        assert_eq!(state.sealing_keys().next(), before.sealing_keys().next() + HISTORY_SEALING_KEYS);
        assert_eq!(state.index().0, before.index().0 + HISTORY_GAP);
        assert!(state.node(NodeId(1)).is_some() && !state.is_up(NodeId(1)));
        assert!(state.was_removed(NodeId(2)) && state.was_removed(NodeId(3)));
        // One that joined by an entry that is missing.
        assert!(state.was_removed(NodeId(4)));
        let shard = state.shard(Shard(7)).unwrap();
        assert_eq!((shard.owner, shard.epoch), (None, Epoch(1 + HISTORY_GAP)));
        assert_eq!(state.audit().next_back().unwrap().note, note());
        // It goes on.
        apply(&mut state, up(NodeId(1)));
        assert_eq!(state.node(NodeId(1)).unwrap().generation, Generation(2 + HISTORY_GAP));
        let next = state.next_node();
        apply(&mut state, Command::NodeAdd { node: next, region: Region::new("here").unwrap() });
    }

    #[test]
    fn a_restored_registry_is_another_clusters() {
        let before = state();
        let mut state = before.clone();
        let id = ClusterId::from_random([2; 15]);
        state.restore(Unix::from_secs(200), id, note());
        let cluster = state.cluster().unwrap();
        assert_eq!((cluster.id, &cluster.name), (id, &before.cluster().unwrap().name));
        assert_eq!(state.nodes().count(), 0);
        assert!(state.shards().all(|(_, shard)| shard.owner.is_none()));
        let next = state.next_node();
        apply(&mut state, Command::NodeAdd { node: next, region: Region::new("here").unwrap() });
        apply(&mut state, up(next));
    }
}
