//! What a client has said, and nobody has confirmed.

use std::time::Duration;

use chappe_proto::id::PeerId;
use chappe_proto::time::Mono;
use serde_json::json;

use super::super::dice::ms;
use super::{Client, Fact, State, Want};

/// What a client holds unsettled for one receiver at most: below `unacked_max`.
const HELD_MAX: usize = 60;

/// The signals to one receiver that are not settled: `held[0]` has the id `base + 1`.
#[derive(Debug, Default)]
pub(super) struct Outbox {
    pub(super) base: u64,
    pub(super) sent: u64,
    pub(super) held: Vec<u64>,
    pub(super) paused_until: Duration,
}

impl Client {
    /// Hands a signal over, if it fits. It goes with the next [`Self::pump`].
    pub(crate) fn signal(&mut self, to: PeerId) {
        let Some(from) = self.peer else { return };
        let outbox = self.outboxes.entry(to).or_default();
        if outbox.held.len() >= HELD_MAX {
            return;
        }
        self.payloads += 1;
        outbox.held.push(self.payloads);
        let id = outbox.base + outbox.held.len() as u64;
        self.facts.push(Fact::Sent { from, to, id, payload: self.payloads });
    }

    pub(super) fn pump(&mut self, now: Duration, wants: &mut Vec<Want>) {
        let Some(socket) = self.socket.filter(|_| self.state == State::Live) else { return };
        while self.acks_at <= now
            && let Some(from) = self.acks.pop_first()
        {
            if self.bucket.take(Mono(now)).is_err() {
                self.acks.insert(from);
                self.acks_at = now + ms(100);
                break;
            }
            let mark = self.marks.get(&from).copied().unwrap_or_default();
            let ack = json!({"type": "ack", "from": from.to_string(), "id": mark});
            wants.push(Want::Say(socket, ack.to_string()));
        }
        for (to, outbox) in &mut self.outboxes {
            while outbox.paused_until <= now && outbox.sent < outbox.base + outbox.held.len() as u64 {
                if self.bucket.take(Mono(now)).is_err() {
                    outbox.paused_until = now + ms(100);
                    return;
                }
                outbox.sent += 1;
                let payload = outbox.held[(outbox.sent - outbox.base - 1) as usize];
                let payload = json!([self.who.room.to_string(), payload]);
                let (id, to) = (outbox.sent, to.to_string());
                let frame =
                    json!({"type": "signal", "to": to, "id": id, "kind": "candidate", "payload": payload});
                wants.push(Want::Say(socket, frame.to_string()));
            }
        }
    }

    /// Whether nothing of it waits for an answer.
    pub(crate) fn is_settled(&self) -> bool {
        self.outboxes.values().all(|outbox| outbox.held.is_empty())
    }

    pub(super) fn settle(&mut self, to: PeerId, upto: u64, delivered: bool) {
        let Some(from) = self.peer else { return };
        let Some(outbox) = self.outboxes.get_mut(&to) else { return };
        while outbox.base < upto && !outbox.held.is_empty() {
            outbox.base += 1;
            outbox.held.remove(0);
            let id = outbox.base;
            self.facts.push(if delivered {
                Fact::Delivered { from, to, id }
            } else {
                Fact::Undelivered { from, to, id }
            });
        }
        outbox.sent = outbox.sent.max(outbox.base);
    }
}
