//! The thread that owns the member: one loop that takes inputs, lets time pass, and carries out what
//! the machine says. Writes go to the disk's thread, one at a time and as much in each as has gathered
//! meanwhile; snapshots are encoded by a thread of their own.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender};
use std::thread;

use chappe_proto::id::{Index, NodeId};
use chappe_proto::limits::REGISTRY_QUEUE;
use chappe_proto::registry::State;
use raft::eraftpb::{ConfChangeV2, Message, MessageType};
use tokio::sync::{oneshot, watch};

use super::disk::DiskError;
use super::handle::Flags;
use super::member::{Build, Member, Output, Snap, Write};
use super::published::Published;
use super::types::{
    Applied, FatalError, OnRefused, Proposal, ProposeError, ReadError, Status, Ticket, TransferError,
    Transport,
};
use crate::clock;

/// Where an answer goes.
pub(super) type Reply<T, E> = oneshot::Sender<Result<T, E>>;

/// What comes into the loop.
pub(super) enum Input {
    Propose(Box<Proposal>, Reply<Applied, ProposeError>),
    Change(ConfChangeV2, Reply<Applied, ProposeError>),
    Read(Reply<Arc<State>, ReadError>),
    ReadIndex(Reply<Index, ReadError>),
    Transfer(NodeId, Reply<(), TransferError>),
    Message(Box<Message>),
    Unreachable(NodeId),
    SnapshotSent(NodeId, bool),
    /// All up to this number is durable.
    Synced(Result<u64, DiskError>),
    Built(Option<Snap>),
    Panicked(String),
}

/// Who waits for an answer.
enum Waiting {
    Proposal(Reply<Applied, ProposeError>),
    Read(Reply<Arc<State>, ReadError>),
    ReadIndex(Reply<Index, ReadError>),
    Transfer(Reply<(), TransferError>),
}

/// What goes out of the loop.
pub(super) struct Outlets {
    pub(super) published: Arc<Published>,
    pub(super) status: watch::Sender<Status>,
    pub(super) writes: SyncSender<Write>,
    /// The loop's own input, for whoever works for it.
    pub(super) back: SyncSender<Input>,
    pub(super) flags: Arc<Flags>,
    pub(super) transport: Box<dyn Transport>,
    /// Hears of refused snapshots.
    pub(super) refused: OnRefused,
}

/// The loop's state.
pub(super) struct Driver {
    member: Member,
    out: Outlets,
    waiting: HashMap<Ticket, Waiting>,
    next: u64,
}

impl Driver {
    pub(super) fn new(member: Member, out: Outlets) -> Self {
        Self { member, out, waiting: HashMap::new(), next: 0 }
    }

    /// Runs until it is told to stop and all is durable, or until it can't go on.
    pub(super) fn run(mut self, inputs: &Receiver<Input>) -> Result<(), FatalError> {
        let mut outputs = Vec::new();
        loop {
            // Inputs before time: nobody is judged silent whose message is waiting here.
            match inputs.recv_timeout(self.member.poll_timeout().until(clock::mono())) {
                Ok(input) => self.take(input)?,
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => return Ok(()),
            }
            for input in inputs.try_iter().take(REGISTRY_QUEUE) {
                self.take(input)?;
            }
            self.member.handle_disk_low(self.out.flags.disk_low.load(Ordering::Relaxed));
            self.member.handle_timeout(clock::now());
            self.member.settle(clock::now(), &mut outputs)?;
            for output in outputs.drain(..) {
                self.carry_out(output)?;
            }
            self.publish();
            if self.out.flags.stopping.load(Ordering::Relaxed) && self.member.is_idle() {
                return Ok(());
            }
        }
    }

    fn take(&mut self, input: Input) -> Result<(), FatalError> {
        let now = clock::now();
        match input {
            Input::Propose(proposal, reply) => {
                let ticket = self.ticket(Waiting::Proposal(reply));
                self.member.handle_propose(now, ticket, *proposal);
            }
            Input::Change(change, reply) => {
                let ticket = self.ticket(Waiting::Proposal(reply));
                self.member.handle_change(ticket, &change);
            }
            Input::Read(reply) => {
                let ticket = self.ticket(Waiting::Read(reply));
                self.member.handle_read(now, ticket, true);
            }
            Input::ReadIndex(reply) => {
                let ticket = self.ticket(Waiting::ReadIndex(reply));
                self.member.handle_read(now, ticket, false);
            }
            Input::Transfer(to, reply) => {
                let ticket = self.ticket(Waiting::Transfer(reply));
                self.member.handle_transfer(ticket, to);
            }
            Input::Message(message) => self.member.handle_message(now, *message)?,
            Input::Unreachable(member) => self.member.handle_unreachable(member),
            Input::SnapshotSent(member, arrived) => self.member.handle_snapshot_sent(member, arrived),
            Input::Synced(number) => self.member.handle_synced(number?),
            Input::Built(snap) => self.member.handle_built(snap),
            Input::Panicked(text) => return Err(FatalError::Panicked(text)),
        }
        Ok(())
    }

    fn ticket(&mut self, waiting: Waiting) -> Ticket {
        self.next += 1;
        self.waiting.insert(Ticket(self.next), waiting);
        Ticket(self.next)
    }

    fn carry_out(&mut self, output: Output) -> Result<(), FatalError> {
        match output {
            Output::Send(message) => self.send(message),
            Output::Write(write) => {
                // One is under way at most, so there is room; else the thread is gone, and says why before.
                let gone = |_| FatalError::Panicked("the disk's thread is gone".into());
                self.out.writes.try_send(write).map_err(gone)?;
            }
            Output::Build(build) => self.build(build),
            Output::Applied { state, entries } => self.out.published.applied(&state, entries),
            Output::Installed(state) => self.out.published.installed(&state),
            Output::Proposed(ticket, mut result) => {
                if let Err(ProposeError::NoLeader { leader }) = &mut result {
                    *leader = leader.or(self.out.published.leader().and_then(|(_, leader)| leader));
                }
                if let Some(Waiting::Proposal(reply)) = self.waiting.remove(&ticket) {
                    // Whoever asked may have gone.
                    let _ = reply.send(result);
                }
            }
            Output::Read(ticket, result) => match self.waiting.remove(&ticket) {
                Some(Waiting::Read(reply)) => {
                    let _ = reply.send(result.map(|_| Arc::clone(self.member.state())));
                }
                Some(Waiting::ReadIndex(reply)) => drop(reply.send(result)),
                _ => {}
            },
            Output::Transferred(ticket, result) => {
                if let Some(Waiting::Transfer(reply)) = self.waiting.remove(&ticket) {
                    let _ = reply.send(result);
                }
            }
            // It is in the log already.
            Output::Refused(from, why) => (self.out.refused)(from, &why),
        }
        Ok(())
    }

    fn send(&mut self, message: Message) {
        let (to, snapshot) = (NodeId(message.to), message.get_msg_type() == MessageType::MsgSnapshot);
        if self.out.transport.send(message).is_err() {
            self.member.handle_unreachable(to);
            if snapshot {
                self.member.handle_snapshot_sent(to, false);
            }
        }
    }

    fn build(&mut self, build: Build) {
        let back = self.out.back.clone();
        let encode = move || {
            // The loop reads its inputs to its end.
            let _ = back.send(Input::Built(build.encode()));
        };
        if thread::Builder::new().name("registry-snapshot".into()).spawn(encode).is_err() {
            self.member.handle_built(None);
        }
    }

    fn publish(&self) {
        let mut next = self.member.status(clock::mono());
        if let Some((term, leader)) = self.out.published.leader()
            && next.wants_feed
            && next.leader.is_none()
            && term >= next.term
        {
            (next.term, next.leader) = (term, leader);
        }
        self.out.status.send_if_modified(|status| {
            if (next.role, next.term) != (status.role, status.term) {
                tracing::info!(term = next.term, role = ?next.role, leader = ?next.leader, "registry");
            }
            let changed = next != *status;
            *status = next;
            changed
        });
    }
}
