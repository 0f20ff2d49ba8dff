//! What Raft wants done, in the order that keeps its promises: the leader's messages at once, since
//! followers may write while it does; whatever a member promises (votes, acknowledgements) only when
//! what it promises about is durable; entries applied only when committed and durable here.

use std::sync::Arc;

use bytes::Bytes;
use chappe_proto::id::{Index, NodeId};
use chappe_proto::limits::{SNAPSHOT_EVERY, SNAPSHOT_EVERY_BYTES};
use chappe_proto::registry::{Entry as Command, Outcome, SnapshotError, State};
use chappe_proto::time::Now;
use protobuf::Message as _;
use raft::Ready;
use raft::eraftpb::{ConfChange, ConfChangeV2, ConfState, Entry, EntryType, Message, Snapshot};

use super::member::{Held, Member};
use super::storage::{At, Snap, Write};
use super::types::{Applied, FatalError, ProposeError, ReadError, Ticket, TransferError};

/// What is to be done, in this order.
#[derive(Debug)]
#[allow(clippy::large_enum_variant)]
pub enum Output {
    /// To `message.to`. One that can't be sent is answered by [`Member::handle_unreachable`], and a
    /// snapshot always by [`Member::handle_snapshot_sent`].
    Send(Message),
    /// To the disk, which says [`Member::handle_synced`] when it is durable. No other one comes before.
    Write(Write),
    /// A snapshot is to be encoded, for [`Member::handle_built`].
    Build(Build),
    /// Entries were applied: each with its index, empty for one of Raft's own.
    Applied {
        /// With all of them.
        state: Arc<State>,
        /// As they came.
        entries: Vec<(Index, Bytes)>,
    },
    /// The leader's snapshot has taken the place of the state.
    Installed(Arc<State>),
    /// The outcome of a proposal or of a change of members; the state with it came before.
    Proposed(Ticket, Result<Applied, ProposeError>),
    /// The index at which a read is linearizable.
    Read(Ticket, Result<Index, ReadError>),
    /// A transfer is over.
    Transferred(Ticket, Result<(), TransferError>),
    /// A snapshot that a member sent was refused, and why.
    Refused(NodeId, String),
}

/// A snapshot to be encoded, which takes its time.
#[derive(Debug)]
pub struct Build {
    at: At,
    members: ConfState,
    state: Arc<State>,
}

impl Build {
    /// The snapshot; none when the state is longer than one may be.
    #[must_use]
    pub fn encode(self) -> Option<Snap> {
        let Self { at, members, state } = self;
        let encoded = state.encode();
        if let Err(error) = &encoded {
            tracing::error!(%error, "no snapshot of the registry");
        }
        encoded.ok().map(|data| Snap { at, members, data: data.into() })
    }
}

type Answers = Vec<(Ticket, Result<Applied, ProposeError>)>;

impl Member {
    /// Carries out all that Raft has ready, and what becomes ready by it.
    ///
    /// # Errors
    /// [`FatalError`]: this member can't go on.
    pub fn settle(&mut self, now: Now, out: &mut Vec<Output>) -> Result<(), FatalError> {
        if let Some(context) = self.reads.ask(now.mono) {
            self.node.read_index(context);
        }
        self.release();
        while self.node.has_ready() {
            let ready = self.node.ready();
            self.carry_out(ready)?;
            self.resign();
            self.release();
        }
        for (ticket, answer) in self.reads.answers(self.state.index().0) {
            self.out.push(Output::Read(ticket, answer));
        }
        self.settle_transfer();
        self.build_snapshot();
        if !self.writing
            && let Some(write) = self.node.mut_store().take_write()
        {
            self.writing = true;
            self.out.push(Output::Write(write));
        }
        out.append(&mut self.out);
        Ok(())
    }

    /// Whether nothing waits for the disk or for an encoding.
    #[must_use]
    pub const fn is_idle(&self) -> bool {
        !self.writing && !self.building
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
        self.out.extend(messages.into_iter().map(Output::Send));
    }

    /// Whether a leader's snapshot is one of this cluster, and whole. Raft never sees another.
    pub(super) fn examine(&mut self, message: &Message) -> Result<bool, FatalError> {
        let why = match State::decode(message.get_snapshot().get_data()) {
            Ok(state) => {
                let (theirs, ours) = (state.cluster(), self.state.cluster());
                let index = message.get_snapshot().get_metadata().index;
                if ours.is_some() && theirs.map(|cluster| cluster.id) != ours.map(|cluster| cluster.id) {
                    "it is of another cluster".to_owned()
                } else if state.index().0 != index {
                    format!("it is of entry {}, not {index}", state.index())
                } else {
                    self.arrived = Some(state);
                    return Ok(true);
                }
            }
            Err(error @ SnapshotError::TooNew { .. }) => {
                return Err(FatalError::Snapshot(error.to_string()));
            }
            Err(error) => error.to_string(),
        };
        tracing::warn!(from = message.from, why, "a member's snapshot of the registry is refused");
        self.out.push(Output::Refused(NodeId(message.from), why));
        Ok(false)
    }

    /// The leader's snapshot takes the place of our log and state.
    fn install(&mut self, snapshot: &Snapshot, number: u64) -> Result<(), FatalError> {
        let meta = snapshot.get_metadata();
        let state = match self.arrived.take() {
            Some(state) if state.index().0 == meta.index => state,
            _ => {
                State::decode(snapshot.get_data()).map_err(|error| FatalError::Snapshot(error.to_string()))?
            }
        };
        tracing::info!(index = meta.index, "installing the leader's snapshot");
        let at = At { index: meta.index, term: meta.term };
        let members = meta.get_conf_state().clone();
        self.node.mut_store().install(Arc::new(Snap { at, members, data: snapshot.data.clone() }));
        self.state = Arc::new(state);
        self.timer.set_profile(self.state.profile());
        self.installed = Some((number, meta.index));
        self.grown = 0;
        self.out.push(Output::Installed(Arc::clone(&self.state)));
        let rest = self.proposed.split_off(&(meta.index + 1));
        for (_, (_, ticket)) in std::mem::replace(&mut self.proposed, rest) {
            self.out.push(Output::Proposed(ticket, Err(ProposeError::Unknown)));
        }
        Ok(())
    }

    fn apply(&mut self, entries: Vec<Entry>) -> Result<(), FatalError> {
        if entries.is_empty() {
            return Ok(());
        }
        let (mut answers, mut applied) = (Answers::new(), Vec::with_capacity(entries.len()));
        for entry in entries {
            self.grown += entry.data.len();
            let index = Index(entry.index);
            let (outcome, data) = match entry.get_entry_type() {
                EntryType::EntryNormal => (self.apply_command(&entry)?, entry.data.clone()),
                EntryType::EntryConfChange | EntryType::EntryConfChangeV2 => {
                    (self.apply_change(&entry)?, Bytes::new())
                }
            };
            applied.push((index, data));
            while let Some(held) = self.proposed.first_entry()
                && *held.key() <= entry.index
            {
                let mine = *held.key() == entry.index;
                let (term, ticket) = held.remove();
                let answer = match &outcome {
                    Some(outcome) if mine && term == entry.term => {
                        Ok(Applied { index, outcome: outcome.clone() })
                    }
                    _ => Err(ProposeError::Replaced),
                };
                answers.push((ticket, answer));
            }
        }
        self.timer.set_profile(self.state.profile());
        // Whoever has an answer finds it in the state.
        self.out.push(Output::Applied { state: Arc::clone(&self.state), entries: applied });
        self.out.extend(answers.into_iter().map(|(ticket, answer)| Output::Proposed(ticket, answer)));
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

    /// Begins a snapshot when the log has grown, or when a member needs one.
    fn build_snapshot(&mut self) {
        let store = self.node.store();
        let behind = self.state.index().0.saturating_sub(store.snap().at.index);
        let grown = behind >= SNAPSHOT_EVERY || (behind > 0 && self.grown >= SNAPSHOT_EVERY_BYTES);
        if self.building || self.installed.is_some() || !(grown || store.take_wanted()) {
            return;
        }
        let index = self.state.index().0;
        let Ok(term) = self.node.raft.raft_log.term(index) else { return };
        let (state, members) = (Arc::clone(&self.state), store.members().clone());
        self.out.push(Output::Build(Build { at: At { index, term }, members, state }));
        self.building = true;
        self.grown = 0;
    }
}
