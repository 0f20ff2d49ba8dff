//! The member of Raft on this node and what is asked of it (mirrors `consensus::driver`), and the lease
//! (mirrors `cluster::keeper`).

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use chappe_cluster::consensus::member::{Member, Output, Snap, Ticket};
use chappe_cluster::consensus::{FatalError, Message, Proposal, ProposeError, Status};
use chappe_proto::id::{Index, NodeId};
use chappe_proto::mesh::node::{Answer, Ask, Body, Failure};
use chappe_proto::registry::steward::Steward;
use chappe_proto::registry::{Command, Entry, State};

use super::Node;
use crate::breaks::Break;
use crate::dice::ms;
use crate::env::{Env, Event, Packet, index_of};
use crate::invariants::Name;

/// Who waits for a member's answer.
#[derive(Debug)]
pub(super) enum Waiting {
    /// A node's question.
    Asked { from: usize, id: u64 },
    /// The steward's read.
    Read(u64),
    /// The steward's own proposal.
    Proposed(u64),
    /// Nobody: what comes of it is seen.
    Nobody,
}

pub(super) struct Registry {
    pub(super) member: Member,
    pub(super) waiting: BTreeMap<Ticket, Waiting>,
    next: u64,
    built: VecDeque<Option<Snap>>,
    /// Elected in this term, whose first entry is no later than this.
    pub(super) elected: Option<(u64, u64)>,
    pub(super) steward: Option<Steward>,
}

impl Registry {
    pub(super) fn new(member: Member) -> Self {
        let (waiting, built) = (BTreeMap::new(), VecDeque::new());
        Self { member, waiting, next: 0, built, elected: None, steward: None }
    }

    pub(super) fn ticket(&mut self, waiting: Waiting) -> Ticket {
        self.next += 1;
        self.waiting.insert(Ticket(self.next), waiting);
        Ticket(self.next)
    }
}

impl Node {
    pub(crate) fn status(&self, env: &Env) -> Status {
        self.registry.member.status(self.now(env).mono)
    }

    /// A message of another member.
    pub(crate) fn raft(&mut self, env: &mut Env, message: Message) {
        let now = self.now(env);
        let handled = self.registry.member.handle_message(now, message);
        self.must(env, handled);
        self.pump(env);
    }

    /// A write is durable.
    pub(crate) fn synced(&mut self, env: &mut Env, number: u64) {
        self.registry.member.handle_synced(number);
        self.pump(env);
    }

    /// A snapshot is encoded.
    pub(crate) fn built(&mut self, env: &mut Env) {
        if let Some(snap) = self.registry.built.pop_front() {
            self.registry.member.handle_built(snap);
        }
        self.pump(env);
    }

    fn must(&self, env: &mut Env, result: Result<(), FatalError>) {
        let result = result.map_err(|error| format!("node {} can't go on: {error}", self.id));
        env.watch.judge(Name::Runs.judge(result));
    }

    /// Does what the member says, until it says nothing.
    pub(super) fn pump(&mut self, env: &mut Env) {
        let now = self.now(env);
        let mut outputs = Vec::new();
        let settled = self.registry.member.settle(now, &mut outputs);
        self.must(env, settled);
        for output in outputs {
            self.carry_out(env, output);
        }
        self.keep_office(env);
        self.serve(env);
    }

    fn carry_out(&mut self, env: &mut Env, output: Output) {
        match output {
            Output::Send(message) => {
                let (to, snapshot) = (message.to, !message.get_snapshot().get_data().is_empty());
                let index = index_of(NodeId(to));
                let sent = env.route(self.index, index, Packet::Raft(Box::new(message)));
                if !sent {
                    self.registry.member.handle_unreachable(NodeId(to));
                }
                if snapshot {
                    self.registry.member.handle_snapshot_sent(NodeId(to), sent);
                }
            }
            Output::Write(write) => {
                let number = write.number();
                let takes = env.disks[self.index].begin(&mut env.dice, write);
                let (node, life) = (self.index, env.lives[self.index]);
                if env.broken(Break::SkipsFsync) {
                    env.later(Duration::ZERO, Event::Synced { node, life, number });
                    env.later(ms(400), Event::Flushed { node, life });
                } else {
                    env.later(takes, Event::Flushed { node, life });
                }
            }
            Output::Build(build) => {
                self.registry.built.push_back(build.encode());
                let (takes, life) = (env.dice.up_to(ms(40)), env.lives[self.index]);
                env.later(takes, Event::Built { node: self.index, life });
            }
            Output::Applied { state, entries } => {
                for (index, data) in &entries {
                    self.watch_entry(env, *index, data);
                }
                self.stands(env, &state);
                self.published.applied(&state, entries);
                self.show(env);
            }
            Output::Installed(state) => {
                self.stands(env, &state);
                self.published.installed(&state);
                self.show(env);
            }
            Output::Proposed(ticket, result) => self.proposed(env, ticket, result),
            Output::Read(ticket, result) => {
                if let Some(Waiting::Read(number)) = self.registry.waiting.remove(&ticket) {
                    self.steward_reads(env, number, result.ok());
                }
            }
            Output::Transferred(ticket, _) => {
                self.registry.waiting.remove(&ticket);
            }
            Output::Refused(from, why) => {
                let why = format!("node {}: a snapshot of {from} is refused: {why}", self.id);
                env.watch.judge(Name::Runs.judge(Err(why)));
            }
        }
    }

    pub(super) fn stands(&self, env: &mut Env, state: &Arc<State>) {
        env.watch.rebuilt.stands(env.at, &self.state, state);
        let judgement = env.watch.registries.stands(self.id, state);
        env.watch.judge(Name::Registries.judge(judgement));
    }

    pub(super) fn watch_entry(&self, env: &mut Env, index: Index, data: &Bytes) {
        let judgement = env.watch.registries.applied(self.id, index, data);
        let first = judgement == Ok(true);
        env.watch.judge(Name::Registries.judge(judgement.map(|_| ())));
        // What others apply at an index is what the first did.
        if data.is_empty() || !(first || env.log) {
            return;
        }
        let Ok(entry) = Entry::decode(data) else { return };
        env.note(|| format!("node {} applies {index} {}", self.id, brief(&entry.command)));
        if let Some(by) = entry.by {
            let judgement = env.watch.durable.applied(by, index);
            env.watch.judge(Name::Durable.judge(judgement));
        }
    }

    fn proposed(
        &mut self,
        env: &mut Env,
        ticket: Ticket,
        result: Result<chappe_cluster::consensus::Applied, ProposeError>,
    ) {
        let (from, id) = match self.registry.waiting.remove(&ticket) {
            Some(Waiting::Asked { from, id }) => (from, id),
            Some(Waiting::Proposed(number)) => {
                match result {
                    Ok(applied) => self.steward_hears(env, number, Some(&applied.outcome)),
                    // Nobody knows.
                    Err(ProposeError::Unknown | ProposeError::Stopped) => {}
                    Err(_) => self.steward_hears(env, number, None),
                }
                return;
            }
            _ => return,
        };
        let answer = match result {
            Ok(applied) => Answer::Applied { index: applied.index, outcome: applied.outcome },
            Err(ProposeError::NoLeader { leader }) => Answer::Failed(Failure::NotLeader { leader }),
            Err(ProposeError::Busy) => Answer::Failed(Failure::Busy),
            Err(_) => Answer::Failed(Failure::Lost),
        };
        self.reply(env, from, id, answer);
    }

    fn reply(&mut self, env: &mut Env, to: usize, id: u64, answer: Answer) {
        if to == self.index {
            self.front_answered(env, id, answer);
        } else {
            env.send(self.index, to, Body::Answer { id, answer });
        }
    }

    /// A question of a node, this one included.
    pub(super) fn asked(&mut self, env: &mut Env, from: usize, id: u64, ask: Ask) {
        if let Ask::Propose { command, by, note } = ask {
            let ticket = self.registry.ticket(Waiting::Asked { from, id });
            let (now, proposal) = (self.now(env), Proposal { command, by: Some(by), note });
            self.registry.member.handle_propose(now, ticket, proposal);
            self.pump(env);
        }
    }

    /// With `AppliesByWallClock`: entries get the time of whoever applies them.
    pub(crate) fn restamp(&self, env: &Env, mut message: Message) -> Message {
        for entry in message.mut_entries().iter_mut() {
            if let Ok(mut command) = Entry::decode(&entry.data) {
                command.at = self.now(env).unix;
                entry.data = command.encode().unwrap_or_default().into();
            }
        }
        message
    }

    /// A link has come or gone.
    pub(crate) fn link(&mut self, env: &mut Env, other: usize, up: bool) {
        if !up {
            self.registry.member.handle_unreachable(crate::env::id_of(other));
        }
        self.pump(env);
        self.settle(env);
    }
}

/// A command without its long parts.
pub(super) fn brief(command: &Command) -> String {
    let text = format!("{command:?}");
    let cut = text.char_indices().nth(120).map_or(text.len(), |(at, _)| at);
    text[..cut].to_owned()
}
