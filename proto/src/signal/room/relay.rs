//! What passes through a room: signals, their acknowledgements, broadcasts.

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

    pub(super) fn ack(&self, from: Gateway, ack: Ack, out: &mut Vec<Output>) {
        if self.holds(from, ack.to)
            && let Some(sender) = self.present.get(&ack.from)
        {
            out.push(Output::To(sender.entry.gateway, ProxyInput::Ack(ack)));
        }
    }

    pub(super) fn broadcast(&mut self, from: Gateway, peer: PeerId, payload: Json, out: &mut Vec<Output>) {
        if !self.holds(from, peer) {
            return;
        }
        self.broadcasts += 1;
        out.push(Output::All(ProxyInput::Broadcast { from: peer, n: self.broadcasts, payload }));
    }
}
