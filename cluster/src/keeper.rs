//! The keeper of this node's lease: renews it with whoever leads, tells what hangs on it when
//! it is lost or held again, and says which shards have been let go. One loop.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use chappe_proto::id::{Epoch, Generation, Index, NodeId, Shard};
use chappe_proto::limits;
use chappe_proto::mesh::node::{Body, Lane};
use chappe_proto::registry::lease::Lease;
use chappe_proto::registry::{Outcome, State};
use chappe_proto::time::Mono;
use tokio::sync::mpsc;

use crate::actor::room::Change;
use crate::node::Node;
use crate::steward::Steward;
use crate::{clock, drain, follow};

/// What the keeper is told.
#[derive(Debug)]
pub(crate) enum Word {
    /// Another node, or this one, renews its lease with this one as leader.
    Renewal { from: NodeId, generation: Generation, n: u64 },
    /// The leader's answer.
    Grant { generation: Generation, n: u64, index: Index },
    /// A node has let shards go, as this leader planned.
    Released { from: NodeId, shards: Vec<(Shard, Epoch)>, applied: Index },
    /// Rooms of these shards admit nothing any more.
    Frozen(Vec<(Shard, Epoch)>),
    /// A read-index of the steward's of this term has completed, or failed.
    Read { term: u64, number: u64, index: Option<Index> },
    /// What became of a proposal of the steward's of this term.
    Outcome { term: u64, number: u64, outcome: Option<Outcome> },
}

/// The loop's state.
struct Keeper {
    node: Arc<Node>,
    words: mpsc::Sender<Word>,
    lease: Lease,
    /// Whether the lease held when it was last looked.
    held: bool,
    /// Since when it does not.
    lost: Mono,
    /// When clients are to be sent elsewhere, should the lease not come back before.
    leave_at: Mono,
    /// Shards that move away and admit nothing any more, and those that are about to.
    released: BTreeMap<Shard, Epoch>,
    freezing: BTreeSet<(Shard, Epoch)>,
    say_released_at: Mono,
    steward: Steward,
}

/// Keeps the lease until the registry ends.
pub(crate) async fn run(
    node: Arc<Node>,
    steward: Steward,
    words: mpsc::Sender<Word>,
    mut told: mpsc::Receiver<Word>,
) {
    let (mut states, mut statuses) = (node.registry.watch(), node.registry.watch_status());
    let now = clock::mono();
    let lease = Lease::new(now, node.gateway().generation, node.registry.state().profile());
    let mut keeper = Keeper {
        node,
        words,
        lease,
        held: false,
        lost: now,
        leave_at: Mono::NEVER,
        released: BTreeMap::new(),
        freezing: BTreeSet::new(),
        say_released_at: Mono::NEVER,
        steward,
    };
    // It may lead already.
    keeper.steward.handle_status();
    let state = Arc::clone(&states.borrow_and_update());
    keeper.applied(&state);
    loop {
        let wait = keeper.next().until(clock::mono());
        tokio::select! {
            biased;
            word = told.recv() => match word {
                Some(word) => {
                    keeper.hear(word);
                    while let Ok(word) = told.try_recv() {
                        keeper.hear(word);
                    }
                }
                None => return,
            },
            changed = states.changed() => {
                if changed.is_err() {
                    return;
                }
                let state = Arc::clone(&states.borrow_and_update());
                keeper.applied(&state);
            }
            changed = statuses.changed() => {
                if changed.is_err() {
                    return;
                }
                statuses.borrow_and_update();
                keeper.steward.handle_status();
            }
            () = tokio::time::sleep(wait) => {}
        }
        keeper.turn();
    }
}

impl Keeper {
    fn next(&self) -> Mono {
        let now = clock::mono();
        self.lease
            .poll_timeout(now)
            .min(self.leave_at)
            .min(self.say_released_at)
            .min(self.steward.poll_timeout())
    }

    fn hear(&mut self, word: Word) {
        match word {
            Word::Renewal { from, generation, n } => self.steward.handle_renewal(from, generation, n),
            Word::Grant { generation, n, index } => self.lease.handle_grant(generation, n, index),
            Word::Released { from, shards, applied } => self.steward.handle_released(from, &shards, applied),
            Word::Frozen(shards) => {
                for (shard, epoch) in shards {
                    // Unless it stays after all.
                    if self.freezing.remove(&(shard, epoch)) {
                        self.released.insert(shard, epoch);
                    }
                }
                self.say_released_at = clock::mono();
            }
            Word::Read { term, number, index } => self.steward.handle_read(term, number, index),
            Word::Outcome { term, number, outcome } => {
                self.steward.handle_outcome(term, number, outcome.as_ref());
            }
        }
    }

    fn applied(&mut self, state: &Arc<State>) {
        let now = clock::mono();
        self.lease.set_profile(now, state.profile());
        self.lease.handle_applied(state.index());
        self.steward.handle_state();
        self.let_go(state);
    }

    /// What is due after each word.
    fn turn(&mut self) {
        let now = clock::mono();
        let generation = self.node.gateway().generation;
        if self.lease.generation() != generation {
            self.lease = Lease::new(now, generation, self.node.registry.state().profile());
            self.lease.handle_applied(self.node.registry.state().index());
            self.released.clear();
        }
        if let Some(renewal) = self.lease.handle_timeout(now) {
            self.to_leader(renewal);
        }
        self.node.lease.set(self.lease.until());
        let holds = self.lease.holds(now);
        if holds != self.held {
            self.held = holds;
            self.changed(now);
        }
        if self.leave_at <= now {
            self.leave_at = Mono::NEVER;
            self.leave();
        }
        if self.say_released_at <= now {
            let shards: Vec<_> = self.released.iter().map(|(shard, epoch)| (*shard, *epoch)).collect();
            self.say_released_at = if shards.is_empty() {
                Mono::NEVER
            } else {
                now + self.node.registry.state().profile().renewal()
            };
            if !shards.is_empty() {
                let applied = self.node.registry.state().index();
                self.to_leader(Body::Released { shards, applied });
            }
        }
        self.steward.turn();
    }

    fn to_leader(&self, body: Body) {
        if let Some(leader) = self.node.registry.status().leader {
            // What is lost is said again in a moment.
            let _ = self.node.mesh.send(leader, Lane::Control, body);
        }
    }

    /// The lease is held again, or is lost: rooms admit, or only relay.
    fn changed(&mut self, now: Mono) {
        if self.held {
            tracing::info!(generation = %self.lease.generation(), "lease held");
            self.leave_at = Mono::NEVER;
            drain::keep_all(&self.node);
            self.node.stood_still(now.since(self.lost));
        } else {
            self.lost = now;
            tracing::warn!("lease lost: no leader is heard; rooms here relay, and admit nobody");
            self.leave_at = now + limits::LEASELESS_FOR;
        }
        for (_, _, room) in self.node.rooms.all() {
            // One whose mailbox is full looks by itself with its next frame.
            let _ = room.try_send(Change::Lease);
        }
    }

    /// Without a lease for long: clients are better off elsewhere.
    fn leave(&self) {
        let to = drain::elsewhere(&self.node);
        tracing::warn!(
            nodes = to.len(),
            "no lease for {:?}: clients are sent to other nodes",
            limits::LEASELESS_FOR
        );
        drain::ask_all(&self.node, &to, limits::LEASELESS_SPREAD);
    }

    /// Freezes the rooms of shards that are to move, and says so when they are.
    fn let_go(&mut self, state: &State) {
        let me = self.node.id;
        let moving: BTreeSet<(Shard, Epoch)> = state
            .shards()
            .filter(|(_, entry)| entry.owner == Some(me) && entry.moving.is_some())
            .map(|(shard, entry)| (shard, entry.epoch))
            .collect();
        self.released.retain(|shard, epoch| moving.contains(&(*shard, *epoch)));
        self.freezing.retain(|one| moving.contains(one));
        let fresh: Vec<_> = moving
            .into_iter()
            .filter(|one| self.released.get(&one.0) != Some(&one.1) && self.freezing.insert(*one))
            .collect();
        if fresh.is_empty() {
            return;
        }
        let shards = fresh.iter().map(|(shard, _)| *shard).collect();
        let rooms = follow::rooms_of(&self.node, &shards);
        let words = self.words.clone();
        tokio::spawn(async move {
            for room in rooms {
                let _ = room.send(Change::Moving).await; // one that has ended admits nobody
            }
            let _ = words.send(Word::Frozen(fresh)).await; // the node stops
        });
    }
}
