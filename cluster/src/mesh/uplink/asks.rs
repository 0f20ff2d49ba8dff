//! What operators ask of an edge, on its way there and back.

use std::collections::BTreeMap;

use chappe_proto::limits::EDGE_ASKS;
use chappe_proto::mesh::allocations::{EdgeAnswer, EdgeAsk};
use chappe_proto::mesh::uplink::Down;
use tokio::sync::oneshot;

/// A question, and where its answer goes. There is none where the uplink ends before it.
#[derive(Debug)]
pub struct Asked {
    /// What is asked.
    pub ask: EdgeAsk,
    /// Who waits.
    pub reply: oneshot::Sender<EdgeAnswer>,
}

/// Those that one edge has not answered yet, [`EDGE_ASKS`] at most.
#[derive(Debug, Default)]
pub(super) struct Pending {
    last: u64,
    held: BTreeMap<u64, oneshot::Sender<EdgeAnswer>>,
}

impl Pending {
    /// The frame of a question; none where the edge has too many, which whoever asks is told.
    pub(super) fn begin(&mut self, Asked { ask, reply }: Asked) -> Option<Down> {
        // Those who no longer wait: an edge of an older release answers nothing.
        self.held.retain(|_, reply| !reply.is_closed());
        if self.held.len() >= EDGE_ASKS {
            let _ = reply.send(EdgeAnswer::Busy); // nobody waits
            return None;
        }
        self.last += 1;
        self.held.insert(self.last, reply);
        Some(Down::Ask { number: self.last, body: ask })
    }

    /// An answer has come.
    pub(super) fn end(&mut self, number: u64, body: EdgeAnswer) {
        if let Some(reply) = self.held.remove(&number) {
            let _ = reply.send(body); // nobody waits any more
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn so_many_wait_and_each_gets_its_answer() {
        let mut pending = Pending::default();
        let mut ask = || {
            let (reply, answer) = oneshot::channel();
            let frame = pending.begin(Asked { ask: EdgeAsk::Close { allocation: 1 }, reply });
            (frame, answer)
        };
        let mut all: Vec<_> = (0..EDGE_ASKS).map(|_| ask()).collect();
        let (frame, mut refused) = ask();
        assert_eq!((frame, refused.try_recv()), (None, Ok(EdgeAnswer::Busy)));
        // One gives up: there is room again.
        drop(all.remove(0));
        let (frame, mut last) = ask();
        let number = EDGE_ASKS as u64 + 1;
        assert_eq!(frame, Some(Down::Ask { number, body: EdgeAsk::Close { allocation: 1 } }));
        pending.end(number, EdgeAnswer::Closed { closed: 1 });
        pending.end(number, EdgeAnswer::Closed { closed: 2 });
        pending.end(77, EdgeAnswer::Closed { closed: 3 });
        assert_eq!(last.try_recv(), Ok(EdgeAnswer::Closed { closed: 1 }));
        assert!(all[0].1.try_recv().is_err());
    }
}
