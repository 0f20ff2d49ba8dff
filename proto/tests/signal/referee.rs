//! What must hold of everything that all clients sent, took and were told.
//!
//! For each sender and each receiver:
//! - the receiver's client takes ids 1, 2, 3 and so on, each once, each with the payload that the
//!   sender gave it: nothing is lost in between, doubled, out of order, or another's; but those that the
//!   sender was told to be undelivered may be missing;
//! - `delivered` up to an id is said only when the client has taken it;
//! - `undelivered` is said only of a receiver that is gone for good: no client is that peer in the end.
//!   (What it took before it went, and could not acknowledge any more, may be called undelivered: nobody
//!   can know. And where the owner and every gateway that knew it gone ended together, it may come back.)
//! - in the end every signal of a sender that is still there is either; and taken by its receiver, if that is
//!   still there too and was never called gone.

use std::collections::{BTreeMap, BTreeSet};

use chappe_proto::id::PeerId;

use super::client::Fact;

#[derive(Default)]
struct Pair {
    sent: Vec<u64>,
    taken: u64,
    delivered: u64,
    settled: u64,
    undelivered: BTreeSet<u64>,
}

#[derive(Default)]
pub(crate) struct Referee {
    pairs: BTreeMap<(PeerId, PeerId), Pair>,
    over: BTreeSet<PeerId>,
    pub(crate) taken: u64,
    pub(crate) undelivered: u64,
}

impl Referee {
    pub(crate) fn hear(&mut self, fact: &Fact) -> Result<(), String> {
        let said = format!("{fact:?}");
        let wrong = |why: &str| Err(format!("{why}: {said}"));
        match *fact {
            Fact::Became(peer) if self.over.contains(&peer) => return wrong("a peer id was used again"),
            Fact::Became(_) => {}
            Fact::Over(peer) => {
                self.over.insert(peer);
            }
            Fact::Astonished(ref _what) => return wrong("a client that behaves was told"),
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

    /// With those who are still there; of some the servers lost at once that they had left.
    pub(crate) fn end(&self, live: &BTreeSet<PeerId>, forgotten: &BTreeSet<PeerId>) -> Result<(), String> {
        for ((from, to), pair) in &self.pairs {
            let sent = pair.sent.len() as u64;
            if live.contains(to) && !forgotten.contains(to) && !pair.undelivered.is_empty() {
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
