//! What Raft wants done, in the order that keeps its promises: the leader's messages at once, since
//! followers may write while it does; whatever a member promises (votes, acknowledgements) only when
//! what it promises about is durable; entries applied only when committed and durable here.

use std::sync::Arc;
use std::thread;

use chappe_proto::id::Index;
use chappe_proto::limits::{SNAPSHOT_EVERY, SNAPSHOT_EVERY_BYTES};
use chappe_proto::registry::{Entry as Command, Outcome, State};
use protobuf::Message as _;
use raft::eraftpb::{ConfChange, ConfChangeV2, Entry, EntryType, Message, MessageType, Snapshot};
use raft::{Ready, SnapshotStatus};

use super::driver::{Driver, Held, Input, Proposer};
use super::storage::{At, Snap};
use super::types::{Applied, FatalError, ProposeError};

type Answers = Vec<(Proposer, Result<Applied, ProposeError>)>;

impl Driver {
    /// Carries out all that Raft has ready, and what becomes ready by it.
    pub(super) fn settle(&mut self) -> Result<(), FatalError> {
        self.release();
        while self.node.has_ready() {
            let ready = self.node.ready();
            self.carry_out(ready)?;
            self.release();
        }
        self.reads.answer(self.state.index().0, &self.state);
        Ok(())
    }

    fn carry_out(&mut self, mut ready: Ready) -> Result<(), FatalError> {
        let number = ready.number();
        if let Some(hard) = ready.hs() {
            let raft = self.node.store();
            if (hard.term, hard.vote) != raft.promised() {
                self.voted = number;
            }
            self.node.mut_store().set_hard(hard.clone());
        }
        let mut messages = ready.take_messages();
        // A leader elected by itself alone has voted in this very Ready: nobody may hear of its term
        // before it is durable, or a crash could make it lead the same term twice.
        if self.voted <= self.synced {
            self.send(std::mem::take(&mut messages));
        }
        messages.append(&mut ready.take_persisted_messages());
        if !ready.snapshot().is_empty() {
            self.install(ready.snapshot(), number)?;
        }
        let committed = ready.take_committed_entries();
        self.apply(committed)?;
        for read in ready.take_read_states() {
            self.reads.grant(&read.request_ctx, read.index);
        }
        self.node.mut_store().append(ready.take_entries());
        if ready.must_sync() {
            self.to_sync = number;
            self.node.mut_store().must_write(number);
        }
        self.held.push_back(Held { number, after: self.to_sync, messages });
        self.node.advance_append_async(ready);
        if self.installed.is_none() {
            self.node.advance_apply_to(self.state.index().0);
        }
        Ok(())
    }

    /// Lets go what waited for the disk.
    fn release(&mut self) {
        while let Some(held) = self.held.pop_front_if(|held| held.after <= self.synced) {
            self.node.on_persist_ready(held.number);
            self.send(held.messages);
            if let Some((_, index)) = self.installed.take_if(|(number, _)| *number <= held.number) {
                self.node.advance_apply_to(index);
            }
        }
    }

    fn send(&mut self, messages: Vec<Message>) {
        for message in messages {
            let (to, snapshot) = (message.to, message.get_msg_type() == MessageType::MsgSnapshot);
            if self.transport.send(message).is_err() {
                self.node.report_unreachable(to);
                if snapshot {
                    self.node.report_snapshot(to, SnapshotStatus::Failure);
                }
            }
        }
    }

    /// The leader's snapshot takes the place of our log and state.
    fn install(&mut self, snapshot: &Snapshot, number: u64) -> Result<(), FatalError> {
        let meta = snapshot.get_metadata();
        let state =
            State::decode(snapshot.get_data()).map_err(|error| FatalError::Snapshot(error.to_string()))?;
        tracing::info!(index = meta.index, "installing the leader's snapshot");
        let at = At { index: meta.index, term: meta.term };
        let members = meta.get_conf_state().clone();
        self.node.mut_store().install(Arc::new(Snap { at, members, data: snapshot.get_data().to_vec() }));
        self.state = Arc::new(state);
        self.installed = Some((number, meta.index));
        self.grown = 0;
        self.out.state.send_replace(Arc::clone(&self.state));
        let rest = self.proposed.split_off(&(meta.index + 1));
        for (_, (_, proposer)) in std::mem::replace(&mut self.proposed, rest) {
            let _ = proposer.send(Err(ProposeError::Unknown));
        }
        Ok(())
    }

    fn apply(&mut self, entries: Vec<Entry>) -> Result<(), FatalError> {
        if entries.is_empty() {
            return Ok(());
        }
        let mut answers = Answers::new();
        for entry in entries {
            self.grown += entry.data.len();
            let index = Index(entry.index);
            let outcome = match entry.get_entry_type() {
                EntryType::EntryNormal => self.apply_command(&entry)?,
                EntryType::EntryConfChange | EntryType::EntryConfChangeV2 => self.apply_change(&entry)?,
            };
            while let Some(held) = self.proposed.first_entry()
                && *held.key() <= entry.index
            {
                let mine = *held.key() == entry.index;
                let (term, proposer) = held.remove();
                let answer = match &outcome {
                    Some(outcome) if mine && term == entry.term => {
                        Ok(Applied { index, outcome: outcome.clone() })
                    }
                    _ => Err(ProposeError::Replaced),
                };
                answers.push((proposer, answer));
            }
        }
        // Whoever has an answer finds it in the state.
        self.out.state.send_replace(Arc::clone(&self.state));
        for (proposer, answer) in answers {
            let _ = proposer.send(answer);
        }
        Ok(())
    }

    /// A term's first entry is empty, and nothing of ours.
    fn apply_command(&mut self, entry: &Entry) -> Result<Option<Outcome>, FatalError> {
        let index = Index(entry.index);
        if entry.data.is_empty() {
            Arc::make_mut(&mut self.state).pass(index);
            return Ok(None);
        }
        let command = Command::decode(&entry.data)
            .map_err(|error| FatalError::Entry { index: entry.index, why: error.to_string() })?;
        Ok(Some(Arc::make_mut(&mut self.state).apply(index, command)))
    }

    /// Also without data: such is the entry by which Raft itself leaves a joint configuration.
    fn apply_change(&mut self, entry: &Entry) -> Result<Option<Outcome>, FatalError> {
        let unreadable =
            |error: protobuf::ProtobufError| FatalError::Entry { index: entry.index, why: error.to_string() };
        let members = if entry.get_entry_type() == EntryType::EntryConfChange {
            let change = ConfChange::parse_from_bytes(&entry.data).map_err(unreadable)?;
            self.node.apply_conf_change(&change)?
        } else {
            let change = ConfChangeV2::parse_from_bytes(&entry.data).map_err(unreadable)?;
            self.node.apply_conf_change(&change)?
        };
        tracing::info!(voters = ?members.voters, learners = ?members.learners, "members");
        self.node.mut_store().set_members(members);
        Arc::make_mut(&mut self.state).pass(Index(entry.index));
        Ok(Some(Outcome::Done))
    }

    /// Begins a snapshot when the log has grown, or when a member needs one. Encoding takes its time,
    /// so a thread does it.
    pub(super) fn build_snapshot(&mut self) {
        let store = self.node.store();
        let behind = self.state.index().0.saturating_sub(store.snap().at.index);
        let grown = behind >= SNAPSHOT_EVERY || (behind > 0 && self.grown >= SNAPSHOT_EVERY_BYTES);
        if self.building || self.installed.is_some() || !(grown || store.take_wanted()) {
            return;
        }
        let index = self.state.index().0;
        let Ok(term) = self.node.raft.raft_log.term(index) else { return };
        let (state, members) = (Arc::clone(&self.state), store.members().clone());
        let back = self.out.back.clone();
        let encode = move || {
            let snap = state.encode().map(|data| Snap { at: At { index, term }, members, data });
            if let Err(error) = &snap {
                tracing::error!(%error, "no snapshot of the registry");
            }
            // The loop reads its inputs to its end.
            let _ = back.send(Input::Built(snap.ok()));
        };
        self.building = thread::Builder::new().name("registry-snapshot".into()).spawn(encode).is_ok();
        self.grown = 0;
    }

    pub(super) fn built(&mut self, snap: Option<Snap>) {
        self.building = false;
        if let Some(snap) = snap {
            self.node.mut_store().keep(Arc::new(snap));
        }
    }
}
