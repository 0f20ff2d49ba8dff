//! Directed signals arrive once and in order, as the clients saw them.
//!
//! For each sender and each receiver:
//! - the receiver's client takes ids 1, 2, 3 and so on, each once, each with the payload that the
//!   sender gave it: nothing is lost in between, doubled, out of order, or another's; but those that the
//!   sender was told to be undelivered may be missing;
//! - `delivered` up to an id is said only when the client has taken it;
//! - `undelivered` is said only of a receiver that is gone for good: no client is that peer in the end.
//!   (What it took before it went, and could not acknowledge any more, may be called undelivered: nobody
//!   can know. And it may come back where no node that knew it gone is there any more.)
//! - in the end every signal of a sender that is still there is either; and taken by its receiver, if that is
//!   still there too and was never called gone.

use std::collections::{BTreeMap, BTreeSet};

use chappe_proto::id::PeerId;

use crate::client::Fact;

#[derive(Default)]
struct Pair {
    sent: Vec<u64>,
    taken: u64,
    delivered: u64,
    settled: u64,
    undelivered: BTreeSet<u64>,
}

#[derive(Default)]
pub(crate) struct Signals {
    pairs: BTreeMap<(PeerId, PeerId), Pair>,
    over: BTreeSet<PeerId>,
    /// Those who came back though they were called gone.
    risen: BTreeSet<PeerId>,
    pub(crate) taken: u64,
    pub(crate) undelivered: u64,
}

impl Signals {
    pub(crate) fn hear(&mut self, fact: &Fact) -> Result<(), String> {
        let wrong = |why: &str| Err(format!("{why}: {fact:?}"));
        match *fact {
            Fact::Became(peer) if self.over.contains(&peer) => return wrong("a peer id was used again"),
            Fact::Became(_) | Fact::Rebuilt(_) | Fact::Gone { .. } => {}
            Fact::Over(peer) => {
                self.over.insert(peer);
            }
            Fact::Astonished(_) => return wrong("a client that behaves was told"),
            Fact::Overheard(_) => {} // `apart` judges it
            Fact::Sent { from, to, id, payload } => {
                let pair = self.pairs.entry((from, to)).or_default();
                pair.sent.push(payload);
                if pair.sent.len() as u64 != id {
                    return wrong("the client miscounts");
                }
            }
            Fact::Took { from, to, id, payload } => {
                let pair = self.pairs.entry((from, to)).or_default();
                self.taken += 1;
                let missing = pair.taken + 1..id;
                if id <= pair.taken || !missing.into_iter().all(|id| pair.undelivered.contains(&id)) {
                    return wrong("taken twice, out of order or with a gap");
                }
                pair.taken = id;
                if pair.sent.get(id as usize - 1) != Some(&payload) {
                    return wrong("never sent so");
                }
            }
            Fact::Delivered { from, to, id } => {
                let pair = self.pairs.entry((from, to)).or_default();
                (pair.delivered, pair.settled) = (id, id);
                if id > pair.taken {
                    return wrong("not taken");
                }
            }
            Fact::Undelivered { from, to, id } => {
                let pair = self.pairs.entry((from, to)).or_default();
                pair.settled = id;
                pair.undelivered.insert(id);
                self.undelivered += 1;
            }
        }
        Ok(())
    }

    /// A peer is made anew, and no node knows that it had left.
    pub(crate) fn rebuilt(&mut self, peer: PeerId) {
        let called =
            |((_, to), pair): (&(PeerId, PeerId), &Pair)| *to == peer && !pair.undelivered.is_empty();
        if self.pairs.iter().any(called) {
            self.risen.insert(peer);
        }
    }

    pub(crate) fn risen(&self) -> usize {
        self.risen.len()
    }

    /// With those who are still there.
    pub(crate) fn end(&self, live: &BTreeSet<PeerId>) -> Result<(), String> {
        for ((from, to), pair) in &self.pairs {
            let sent = pair.sent.len() as u64;
            if live.contains(to) && !self.risen.contains(to) && !pair.undelivered.is_empty() {
                return Err(format!("{to} is there and was called gone to {from}"));
            }
            if live.contains(from) && pair.settled != sent {
                return Err(format!("{from} to {to}: {sent} sent, settled up to {} only", pair.settled));
            }
            let missing = (pair.taken + 1..=sent).any(|id| !pair.undelivered.contains(&id));
            if live.contains(from) && live.contains(to) && missing {
                return Err(format!("{from} to {to}: {sent} sent, {} taken", pair.taken));
            }
        }
        Ok(())
    }
}
