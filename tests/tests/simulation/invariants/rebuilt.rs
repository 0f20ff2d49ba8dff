//! Whoever was in a room and comes back within its grace is let in again, though its gateway and the room's owner
//! both died: it hears `resumed` or `rebuilt`, and never that it is unknown.

use std::collections::BTreeMap;
use std::time::Duration;

use chappe_proto::limits;
use chappe_proto::registry::{Node, NodeState, State};
use chappe_proto::signal::member::Gateway;

#[derive(Default)]
pub(crate) struct Rebuilt {
    /// When anybody first knew that a life of a node's process had ended.
    ended: BTreeMap<Gateway, Duration>,
    /// Wall clocks differ by more than is allowed for.
    skewed: bool,
}

impl Rebuilt {
    /// A node's registry stands here now, and stood there before.
    pub(crate) fn stands(&mut self, now: Duration, former: &State, state: &State) {
        for (id, before) in former.nodes() {
            let life = Gateway { node: id, generation: before.generation };
            let lives = |node: &Node| node.generation == before.generation && node.state == NodeState::Up;
            if before.state == NodeState::Up && !state.node(id).is_some_and(lives) {
                self.ended.entry(life).or_insert(now);
            }
        }
    }

    /// A wall clock is late by this: how long ago a life has ended is not known.
    pub(crate) fn clock(&mut self, late: Duration) {
        self.skewed |= late > limits::LIFE_SLACK;
    }

    /// When a life had ended, as far as anybody knows.
    pub(crate) fn ended(&self, life: Gateway) -> Option<Duration> {
        self.ended.get(&life).copied()
    }

    /// A client that was away since then, at the earliest, is told that it is gone.
    pub(crate) fn gone(
        &self,
        now: Duration,
        since: Duration,
        grace: Duration,
        who: &str,
    ) -> Result<(), String> {
        let away = now.saturating_sub(since);
        if self.skewed || away >= grace {
            return Ok(());
        }
        Err(format!("{who} was away for {away:?} of {grace:?}, and is told that it is gone"))
    }
}
