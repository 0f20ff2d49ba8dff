//! The shell of the leader's duties ([`chappe_proto::registry::steward`]): there is a machine for as long as
//! this node leads, from when it has applied the first entry of its own term.

use std::sync::Arc;

use chappe_proto::id::{Epoch, Generation, Index, NodeId, Shard};
use chappe_proto::mesh::node::{Body, Lane};
use chappe_proto::registry::State;
use chappe_proto::registry::steward::{Output, Steward as Machine};
use chappe_proto::registry::voters::Members;
use chappe_proto::time::Mono;
use tokio::sync::mpsc;

use crate::clock;
use crate::consensus::{Proposal, ProposeError, Registry, conf_change};
use crate::events::Events;
use crate::keeper::Word;
use crate::mesh::Mesh;

/// The leader's duties on this node.
pub(crate) struct Steward {
    registry: Registry,
    mesh: Mesh,
    words: mpsc::Sender<Word>,
    events: Arc<Events>,
    /// While this node leads: the term.
    office: Option<(u64, Box<Machine>)>,
    members: Members,
}

impl Steward {
    pub(crate) fn new(
        registry: Registry,
        mesh: Mesh,
        words: mpsc::Sender<Word>,
        events: Arc<Events>,
    ) -> Self {
        let (office, members) = (None, Members::default());
        Self { registry, mesh, words, events, office, members }
    }

    /// Raft has changed: takes office, or leaves it.
    pub(crate) fn handle_status(&mut self) {
        let status = self.registry.status();
        let term = status.in_office.then_some(status.term);
        let (me, known) = (status.member, status.members());
        let held = self.office.as_ref().map(|(term, _)| *term);
        if held == term && self.members == known {
            return;
        }
        self.members = known;
        if held != term {
            let begin = |term| (term, Box::new(Machine::begin(clock::mono(), me, &self.registry.state())));
            self.office = term.map(begin);
        }
        self.handle_state();
    }

    pub(crate) fn handle_renewal(&mut self, from: NodeId, generation: Generation, n: u64) {
        self.with(|machine, now, _, _, out| machine.handle_renewal(now, from, generation, n, out));
    }

    pub(crate) fn handle_read(&mut self, term: u64, number: u64, index: Option<Index>) {
        if self.holds(term) {
            self.with(|machine, now, _, _, out| machine.handle_read(now, number, index, out));
        }
    }

    pub(crate) fn handle_released(&mut self, from: NodeId, shards: &[(Shard, Epoch)], applied: Index) {
        self.with(|machine, now, state, _, out| {
            machine.handle_released(now, from, shards, applied, state, out);
        });
    }

    pub(crate) fn handle_outcome(
        &mut self,
        term: u64,
        number: u64,
        outcome: Option<&chappe_proto::registry::Outcome>,
    ) {
        if self.holds(term) {
            self.with(|machine, now, state, members, out| {
                machine.handle_outcome(now, number, outcome, state, members, out);
            });
        }
    }

    pub(crate) fn handle_state(&mut self) {
        self.with(|machine, now, state, members, out| machine.handle_state(now, state, members, out));
    }

    /// What is due, once all that has come in is handled.
    pub(crate) fn turn(&mut self) {
        if self.poll_timeout() <= clock::mono() {
            self.with(|machine, now, state, members, out| machine.handle_timeout(now, state, members, out));
        }
    }

    pub(crate) fn poll_timeout(&self) -> Mono {
        self.office.as_ref().map_or(Mono::NEVER, |(_, machine)| machine.poll_timeout())
    }

    fn holds(&self, term: u64) -> bool {
        self.office.as_ref().is_some_and(|(held, _)| *held == term)
    }

    fn with(&mut self, step: impl FnOnce(&mut Machine, Mono, &State, &Members, &mut Vec<Output>)) {
        let Some((term, machine)) = &mut self.office else { return };
        let (term, mut out) = (*term, Vec::new());
        step(machine, clock::mono(), &self.registry.state(), &self.members, &mut out);
        for output in out {
            self.dispatch(term, output);
        }
    }

    fn dispatch(&self, term: u64, output: Output) {
        let (registry, words) = (self.registry.clone(), self.words.clone());
        match output {
            Output::Read { number } => {
                tokio::spawn(async move {
                    let index = registry.read_index().await.ok();
                    let _ = words.send(Word::Read { term, number, index }).await; // the node stops
                });
            }
            Output::Grant { to, generation, n, index } => {
                // One that is lost is asked for again.
                let _ = self.mesh.send(to, Lane::Control, Body::Grant { generation, n, index });
            }
            Output::Propose { number, command, note } => {
                // Taken by the registry in the order of these calls.
                let proposed = registry.begin(Proposal { command, by: None, note });
                tokio::spawn(async move {
                    let outcome = match proposed.await {
                        Ok(applied) => Some(applied.outcome),
                        Err(ProposeError::NoLeader { .. } | ProposeError::Busy | ProposeError::DiskLow) => {
                            None
                        }
                        Err(error) => {
                            tracing::info!(%error, "what became of a leader's proposal is not known");
                            return;
                        }
                    };
                    let _ = words.send(Word::Outcome { term, number, outcome }).await; // the node stops
                });
            }
            Output::Members(steps) => {
                tokio::spawn(async move {
                    if let Err(error) = registry.change_members(conf_change(&steps)).await {
                        tracing::info!(%error, ?steps, "Raft's members stay as they are");
                    }
                });
            }
            Output::Transfer { to } => {
                tokio::spawn(async move {
                    if let Err(error) = registry.transfer(to).await {
                        tracing::info!(%error, %to, "the leadership stays here");
                    }
                });
            }
            Output::Tell(event) => {
                tracing::info!(%event, "cluster");
                self.events.note(None, event.to_string());
            }
        }
    }
}
