//! What other threads ask of the loop.

use std::sync::Arc;
use std::sync::mpsc::{Receiver, SyncSender, TrySendError, sync_channel};
use std::time::Duration;

use chappe_proto::id::Index;
use chappe_proto::limits::EDGE_COMMANDS;
use chappe_proto::mesh::allocations::{AllocationFilter, AllocationReport};
use chappe_proto::mesh::uplink::{Alternate, Directive, EdgeChange, EdgeView, Usage};
use mio::Waker;

use crate::stats::Stats;

/// Takes an answer to wherever it is awaited.
pub(crate) type Reply<T> = Box<dyn FnOnce(T) + Send>;

/// What other threads ask of the loop.
pub(crate) enum Command {
    /// Put this state in force, unless a later one is. Answered with the feed number in force.
    View(Box<EdgeView>, Reply<Index>),
    /// Put these changes in force, unless a later state is. Answered likewise.
    Changes(Index, Vec<EdgeChange>, Reply<Index>),
    /// Send new clients there while this edge drains or is full.
    Alternates(Vec<Alternate>, Reply<()>),
    /// Do this once. Answered when it is done.
    Directive(Directive, Reply<()>),
    /// Tell how it goes.
    Stats(Reply<Stats>),
    /// A username and password for a probe of this edge, where it has a secret.
    ProbeCredential(Reply<Option<(String, String)>>),
    /// Read what the next allocations have relayed. Answered with whether those were the last ones.
    ReadUsage(Reply<bool>),
    /// What of users' usage is to be said to a node, and its number.
    OfferUsage(Reply<Option<(u64, Vec<Usage>)>>),
    /// A node has taken what was offered under this number.
    UsageTaken(u64, Reply<()>),
    /// The next of these allocations from a place on, and where to go on.
    Allocations {
        /// Which.
        filter: Arc<AllocationFilter>,
        /// The place.
        from: u32,
        /// So many at most.
        limit: usize,
        /// Some of them, and where to go on; nothing after the last ones.
        reply: Reply<(Vec<AllocationReport>, Option<u32>)>,
    },
    /// End the allocation of this number. Answered with whether there was one.
    Close(u64, Reply<bool>),
    /// End the next of these allocations from a place on. Answered with how many, and where to go on.
    CloseSome {
        /// Which.
        filter: Arc<AllocationFilter>,
        /// The place.
        from: u32,
        /// How many, and where to go on; nothing after the last ones.
        reply: Reply<(u32, Option<u32>)>,
    },
    /// Close everything and return.
    Stop,
}

/// The loop has ended or does not take orders.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Unanswered;

/// The other threads' end of the loop.
#[derive(Clone, Debug)]
pub(crate) struct Handle {
    commands: SyncSender<Command>,
    waker: Arc<Waker>,
}

impl Handle {
    pub(crate) fn new(waker: Waker) -> (Self, Receiver<Command>) {
        let (commands, orders) = sync_channel(EDGE_COMMANDS);
        (Self { commands, waker: Arc::new(waker) }, orders)
    }

    /// Hands a command over; gives it back when the loop has too many already.
    fn offer(&self, command: Command) -> Result<Option<Command>, Unanswered> {
        let refused = match self.commands.try_send(command) {
            Ok(()) => None,
            Err(TrySendError::Full(command)) => Some(command),
            Err(TrySendError::Disconnected(_)) => return Err(Unanswered),
        };
        self.waker.wake().map_err(|_| Unanswered)?;
        Ok(refused)
    }

    /// Asks and awaits the answer.
    pub(crate) async fn ask<T: Send + 'static>(
        &self,
        command: impl FnOnce(Reply<T>) -> Command,
    ) -> Result<T, Unanswered> {
        let (answer, answered) = tokio::sync::oneshot::channel();
        let mut command = command(Box::new(move |value| {
            // Whoever asked may have gone.
            let _ = answer.send(value);
        }));
        while let Some(refused) = self.offer(command)? {
            command = refused;
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        answered.await.map_err(|_| Unanswered)
    }

    /// Asks from a thread without a runtime, and waits at most `within`.
    pub(crate) fn ask_blocking<T: Send + 'static>(
        &self,
        within: Duration,
        command: impl FnOnce(Reply<T>) -> Command,
    ) -> Result<T, Unanswered> {
        let (answer, answered) = sync_channel(1);
        let command = command(Box::new(move |value| {
            let _ = answer.try_send(value);
        }));
        match self.offer(command)? {
            None => answered.recv_timeout(within).map_err(|_| Unanswered),
            Some(_) => Err(Unanswered),
        }
    }

    /// Tells the loop to end; waits for a place in its queue.
    pub(crate) fn stop(&self) {
        // An error means that it has ended.
        if self.commands.send(Command::Stop).is_ok() {
            let _ = self.waker.wake();
        }
    }
}
