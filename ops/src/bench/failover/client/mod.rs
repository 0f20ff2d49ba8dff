//! A client of the native protocol that keeps its word through the loss of nodes: PROTOCOL.md, sections 5
//! and 6. What it sees and does goes into the log.

mod frame;
mod outbox;
pub(in crate::bench) mod socket;
mod task;

use std::cell::Cell;
use std::collections::HashMap;
use std::net::Ipv4Addr;
use std::rc::Rc;
use std::time::Duration;

use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinHandle;

pub(super) use self::frame::signal_url;
use self::task::Task;
use super::log::{Event, Log};

/// How long a node has to answer: as the browser SDK's.
const ANSWER_WITHIN: Duration = Duration::from_secs(2);
/// Signals that may wait for a client's task.
const QUEUE: usize = 4096;

/// What all clients of a bench know.
pub(super) struct Shared {
    /// Addresses of nodes, and their ids.
    pub(super) nodes: HashMap<String, u64>,
    /// What every join carries.
    pub(super) token: Option<String>,
    /// Where they write.
    pub(super) log: Log,
    /// What a payload is filled up with.
    pub(super) filler: String,
    /// Signals that nobody has confirmed.
    pub(super) waiting: Cell<u64>,
}

/// Who a client is.
pub(super) struct Who {
    /// Its number.
    pub(super) number: u32,
    /// Its room's number and name.
    pub(super) room: (u32, String),
    /// The addresses to try first.
    pub(super) urls: Vec<String>,
}

enum Say {
    Signal(Rc<str>, u64),
    Leave,
}

/// A client that runs.
pub(super) struct Client {
    number: u32,
    say: mpsc::Sender<Say>,
    task: JoinHandle<()>,
    shared: Rc<Shared>,
    sent: u64,
}

impl Client {
    /// Begins to join. Its peer id comes once it is in.
    pub(super) fn start(who: Who, shared: Rc<Shared>) -> (Self, oneshot::Receiver<String>) {
        let (say, told) = mpsc::channel(QUEUE);
        let (tell, joined) = oneshot::channel();
        let number = who.number;
        let task = tokio::task::spawn_local(Task::new(who, Rc::clone(&shared), tell).run(told));
        (Self { number, say, task, shared, sent: 0 }, joined)
    }

    /// Signals the next count to a peer.
    pub(super) fn signal(&mut self, to: &Rc<str>) {
        let n = self.sent + 1;
        // A client that has ended, or that is so far behind, has said so in the log.
        if self.say.try_send(Say::Signal(Rc::clone(to), n)).is_ok() {
            self.sent = n;
            self.shared.waiting.set(self.shared.waiting.get() + 1);
            self.shared.log.write(Event::Sent { client: self.number, to: to.to_string(), n });
        }
    }

    /// Leaves, and waits until it has.
    pub(super) async fn leave(mut self) {
        let _ = self.say.send(Say::Leave).await; // ended already
        let _ = tokio::time::timeout(ANSWER_WITHIN, &mut self.task).await; // then it is ended
    }
}

impl Drop for Client {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Who {
    /// Each client has an address of its own, since nodes limit joins by address.
    fn address(&self) -> Ipv4Addr {
        Ipv4Addr::from_bits(Ipv4Addr::new(127, 1, 0, 1).to_bits() + self.number)
    }
}
