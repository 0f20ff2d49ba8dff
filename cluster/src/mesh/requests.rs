//! Questions to other nodes, and their answers.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use chappe_proto::id::NodeId;
use chappe_proto::limits::{CONTROL_FRAME_MAX, REQUESTS_PENDING};
use chappe_proto::mesh::node::{Answer, Ask, Body, Failure, Lane, Parcel, ROOM_LANES};
use tokio::sync::oneshot;

use super::frame;
use super::handle::{Inner, Mesh, Unsent};
use super::link::Link;
use super::pki::Holder;
use crate::clock;

/// Why a question has no answer. Whether it was carried out is unknown but for [`Self::Unsent`] and
/// [`Self::Busy`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum RequestError {
    /// It did not go.
    #[error(transparent)]
    Unsent(#[from] Unsent),
    /// Too many questions wait for an answer here.
    #[error("too many requests wait for an answer")]
    Busy,
    /// No answer in time.
    #[error("node {0} did not answer in time")]
    TimedOut(NodeId),
    /// There is no way to the node any more.
    #[error("the link with node {0} was lost before its answer")]
    Lost(NodeId),
}

/// Those that wait.
pub(crate) struct Requests {
    next: AtomicU64,
    pending: Mutex<HashMap<u64, (NodeId, oneshot::Sender<Answer>)>>,
}

impl Requests {
    /// Ids begin anywhere, so that an answer to a former life of this process fits no question of this one.
    pub(crate) fn new() -> Self {
        Self { next: AtomicU64::new(u64::from_be_bytes(clock::random())), pending: Mutex::default() }
    }

    fn table(&self) -> std::sync::MutexGuard<'_, HashMap<u64, (NodeId, oneshot::Sender<Answer>)>> {
        self.pending.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn begin(&self, to: NodeId) -> Option<(Waiting<'_>, oneshot::Receiver<Answer>)> {
        let id = self.next.fetch_add(1, Ordering::Relaxed);
        let (reply, answer) = oneshot::channel();
        let mut table = self.table();
        if table.len() >= REQUESTS_PENDING {
            return None;
        }
        table.insert(id, (to, reply));
        Some((Waiting { requests: self, id }, answer))
    }

    /// An answer has come.
    pub(crate) fn settle(&self, from: NodeId, id: u64, answer: Answer) {
        let mut table = self.table();
        if table.get(&id).is_some_and(|(asked, _)| *asked == from)
            && let Some((_, reply)) = table.remove(&id)
        {
            let _ = reply.send(answer); // who asked may have gone
        }
    }
}

/// A place in the table, given back however the wait ends.
struct Waiting<'a> {
    requests: &'a Requests,
    id: u64,
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.requests.table().remove(&self.id);
    }
}

impl Mesh {
    /// Asks a node, this one too, and waits for the answer.
    ///
    /// # Errors
    /// [`RequestError`]; also at once when the way to the node is lost.
    pub async fn request(&self, to: NodeId, ask: Ask, within: Duration) -> Result<Answer, RequestError> {
        let mesh = &self.0;
        if to == mesh.node {
            let answer = tokio::time::timeout(within, mesh.answer(to, ask)).await;
            return answer.map_err(|_| RequestError::TimedOut(to));
        }
        let (waiting, answer) = mesh.requests.begin(to).ok_or(RequestError::Busy)?;
        let mut links = mesh.table.watch();
        mesh.converse(to, waiting.id, Body::Request { id: waiting.id, ask })?;
        tokio::select! {
            biased;
            answer = answer => answer.map_err(|_| RequestError::Lost(to)),
            _ = links.wait_for(|links| !links.reaches(to)) => Err(RequestError::Lost(to)),
            () = tokio::time::sleep(within) => Err(RequestError::TimedOut(to)),
        }
    }
}

impl Inner {
    /// Sends a question or an answer: a long one not before the leases.
    fn converse(&self, to: NodeId, id: u64, body: Body) -> Result<(), Unsent> {
        let bytes = frame::encode(&Parcel { from: self.node, to, body }).map_err(|_| Unsent::TooLong)?;
        let rooms = Lane::Rooms(u8::try_from(id % u64::from(ROOM_LANES)).unwrap_or(0));
        self.pass(to, if bytes.len() <= CONTROL_FRAME_MAX { Lane::Control } else { rooms }, bytes)
    }

    async fn answer(&self, from: NodeId, ask: Ask) -> Answer {
        let Some(running) = self.running() else {
            return Answer::Failed(Failure::Other("the node begins".to_owned()));
        };
        match ask {
            Ask::Certify { public_key } => match self.certify(&Holder::Node(from), &public_key) {
                Ok((certificate, authorities)) => Answer::Certificate { certificate, authorities },
                Err(error) => Answer::Failed(Failure::Other(error.to_string())),
            },
            Ask::Certified => self.certified(),
            ask => running.handler.answer(from, ask).await,
        }
    }

    /// A question has come over a link.
    pub(crate) fn asked(self: &Arc<Self>, link: &Link, from: NodeId, id: u64, ask: Ask) {
        let Ok(place) = Arc::clone(&link.asks).try_acquire_owned() else {
            return self.reply(from, id, Answer::Failed(Failure::Busy));
        };
        let mesh = Arc::clone(self);
        tokio::spawn(async move {
            let answer = mesh.answer(from, ask).await;
            mesh.reply(from, id, answer);
            drop(place);
        });
    }

    /// Answers; who asked asks again where that is lost.
    pub(crate) fn reply(&self, to: NodeId, id: u64, answer: Answer) {
        let too_long = || Answer::Failed(Failure::Other("the answer is longer than a frame".to_owned()));
        if self.converse(to, id, Body::Answer { id, answer }) == Err(Unsent::TooLong) {
            let _ = self.converse(to, id, Body::Answer { id, answer: too_long() });
        }
    }
}
