//! The disks of members: what is flushed stays, what is not is lost with a crash, or was written after all
//! (a batch is whole or not there: `cluster::consensus::disk`). A flush takes its time, at times a long one.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use chappe_cluster::consensus::member::{Durable, Write};
use chappe_proto::id::NodeId;
use chappe_proto::registry::State;

use super::dice::{Dice, ms};

pub(crate) struct Disk {
    durable: Durable,
    /// The state that it was founded on, for its first start: later ones read what is written.
    founded: Option<Arc<State>>,
    /// What the disk was given and has not flushed.
    pending: VecDeque<Write>,
    /// Each flush takes up to this long.
    pub(crate) slow: Duration,
}

impl Disk {
    pub(crate) const fn new(durable: Durable, founded: Arc<State>) -> Self {
        Self { durable, founded: Some(founded), pending: VecDeque::new(), slow: ms(4) }
    }

    /// Of a node that has joined: its Raft waits to be added.
    pub(crate) fn empty(node: NodeId) -> Self {
        let durable = Durable::found(node, &[]).unwrap();
        Self { durable, founded: None, pending: VecDeque::new(), slow: ms(4) }
    }

    /// Takes a write; says how long its flush will take.
    pub(crate) fn begin(&mut self, dice: &mut Dice, write: Write) -> Duration {
        self.pending.push_back(write);
        dice.between(Duration::from_micros(200), self.slow)
    }

    /// The oldest write is flushed.
    pub(crate) fn flushed(&mut self) -> Option<u64> {
        let write = self.pending.pop_front()?;
        self.durable.write(&write);
        Some(write.number())
    }

    /// The process is gone; `power`, too. What was not flushed is there or is not, each write whole.
    pub(crate) fn crash(&mut self, dice: &mut Dice) {
        while let Some(write) = self.pending.pop_front() {
            if !dice.one_in(3) {
                self.pending.clear();
                return;
            }
            self.durable.write(&write);
        }
    }

    /// What a start finds.
    pub(crate) fn read(&mut self) -> (Durable, Arc<State>) {
        let founded = self.founded.take();
        (self.durable.clone(), founded.unwrap_or_else(|| Arc::new(self.durable.state().unwrap())))
    }
}
