//! What passes through a room: signals, their acknowledgements, broadcasts.

use super::super::code::{ErrorCode, Refusal};
use super::super::json::Json;
use super::super::member::Gateway;
use super::super::route::{Ack, ProxyInput, Signal};
use super::{Output, Room};
use crate::id::PeerId;

impl Room {
    pub(super) fn signal(&self, from: Gateway, signal: Signal, out: &mut Vec<Output>) {
        if !self.holds(from, signal.from) {
            return; // a former gateway's; the present one sends it again
        }
        let (from_peer, to, id) = (signal.from, signal.to, signal.id);
        match self.present.get(&to) {
            // Its sender's gateway holds it and sends it again when the receiver is back,
            Some(to) if to.entry.member.away => {}
            Some(to) => out.push(Output::To(to.entry.gateway, ProxyInput::Signal(signal))),
            None => {
                let was_here = self.left_for(to).is_some();
                // or has come back to this owner, who may not know all where it holds no lease.
                if was_here || (self.settled && self.frozen.is_none()) {
                    let body = ProxyInput::Undelivered { from: from_peer, to, id, was_here };
                    out.push(Output::To(from, body));
                    return;
                }
            }
        }
        if self.here != Some(from.node) {
            out.push(Output::To(from, ProxyInput::Taken { from: from_peer, to, id }));
        }
    }

    /// Whether a signal of that gateway's waits for its receiver, who has no socket right now.
    #[must_use]
    pub fn waits_for(&self, from: Gateway, signal: &Signal) -> bool {
        let away = |to: &super::Present| to.entry.member.away;
        self.holds(from, signal.from) && self.present.get(&signal.to).is_some_and(away)
    }

    pub(super) fn ack(&self, from: Gateway, ack: Ack, out: &mut Vec<Output>) {
        if self.holds(from, ack.to)
            && let Some(sender) = self.present.get(&ack.from)
        {
            out.push(Output::To(sender.entry.gateway, ProxyInput::Ack(ack)));
        }
    }

    pub(super) fn broadcast(&mut self, from: Gateway, peer: PeerId, payload: Json, out: &mut Vec<Output>) {
        let Some(present) = self.present.get(&peer).filter(|present| present.entry.gateway == from) else {
            return;
        };
        if present.entry.member.withheld.broadcast {
            let refusal = Refusal::new(ErrorCode::Forbidden, "`broadcast` was taken away from this peer");
            out.push(Output::To(from, ProxyInput::Error { peer, refusal }));
            return;
        }
        self.broadcasts += 1;
        out.push(Output::All(ProxyInput::Broadcast { from: Some(peer), n: self.broadcasts, payload }));
    }
}
