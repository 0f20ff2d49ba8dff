//! Signals and broadcasts of a session, out and in.

use super::super::code::{ErrorCode, Refusal};
use super::super::frame::{ServerFrame, UndeliveredReason};
use super::super::json::Json;
use super::super::outbox::{Arrival, Inbox, Offer, Outbox};
use super::super::route::{Ack, Content, FromSession, Signal};
use super::{Output, Phase, Session};
use crate::id::{Attach, PeerId};
use crate::limits;
use crate::time::Now;

/// Receivers that are remembered as gone, so that a late signal is told so at once.
const GONE_REMEMBERED: usize = 64;

impl Session {
    pub(super) fn send(&mut self, now: Now, to: PeerId, id: u64, content: Content, out: &mut Vec<Output>) {
        if to == self.member.seat.peer {
            let refusal = Refusal::new(ErrorCode::BadPeer, "to: that is yourself").about(to, id);
            return self.refuse(&refusal, out);
        }
        if let Some((_, reason)) = self.gone.iter().find(|(peer, _)| *peer == to) {
            return self.tell(&ServerFrame::Undelivered { to, id, reason: *reason }, out);
        }
        let busy =
            |message| Refusal::new(ErrorCode::Busy, message).retry_after(limits::BUSY_RETRY).about(to, id);
        self.note_counter(to, id);
        if self.unacked_bytes + content.len() > limits::SESSION_UNACKED_BYTES_MAX
            || (self.outboxes.len() >= limits::OUTBOXES_MAX && !self.outboxes.contains_key(&to))
        {
            return self.refuse(&busy("too much is unacknowledged"), out);
        }
        let outbox = self.outboxes.entry(to).or_insert_with(|| Outbox::new(0));
        match outbox.offer(now.mono, id, &content) {
            Offer::Taken => {
                self.unacked_bytes += content.len();
                self.seen.counts.signals_sent += 1;
                let settled = outbox.acked();
                let signal = Signal { from: self.member.seat.peer, to, id, settled, content };
                out.push(Output::Proxy(FromSession::Signal(signal)));
            }
            Offer::Held => {}
            Offer::Delivered(id) => self.tell(&ServerFrame::Delivered { to, id }, out),
            Offer::Busy => self.refuse(&busy("too much is unacknowledged for this receiver"), out),
            Offer::Gap(expected) => {
                let message = format!("id: {expected} is next for this receiver");
                self.refuse(&Refusal::new(ErrorCode::BadId, message).about(to, id), out);
            }
        }
    }

    /// The first signal that a client sends to a receiver of whom nothing is known any more says what
    /// was delivered before it, even if it cannot be taken itself: a later one must not be taken for
    /// the first.
    pub(super) fn note_counter(&mut self, to: PeerId, id: u64) {
        let known = self.outboxes.contains_key(&to) || self.gone.iter().any(|(peer, _)| *peer == to);
        if self.trusts_counters && !known && self.outboxes.len() < limits::OUTBOXES_MAX {
            self.outboxes.insert(to, Outbox::new(id.saturating_sub(1)));
        }
    }

    pub(super) fn broadcast(&mut self, payload: Json, out: &mut Vec<Output>) {
        if self.member.withheld.broadcast {
            let refusal = Refusal::new(ErrorCode::Forbidden, "`broadcast` was taken away from you");
            self.refuse(&refusal, out);
        } else if self.member.seat.grants.broadcast {
            let from = self.member.seat.peer;
            out.push(Output::Proxy(FromSession::Broadcast { from, payload }));
        } else {
            self.refuse(&Refusal::new(ErrorCode::Forbidden, "grants: `broadcast` is missing"), out);
        }
    }

    pub(super) fn acknowledge(&mut self, from: PeerId, id: u64, out: &mut Vec<Output>) {
        let Some(inbox) = self.inboxes.get_mut(&from) else { return };
        if inbox.ack(id) {
            out.push(Output::Proxy(FromSession::Ack(Ack { from, to: self.member.seat.peer, id })));
        } else {
            self.refuse(&Refusal::new(ErrorCode::BadId, "id: nothing with this id was sent to you"), out);
        }
    }

    pub(super) fn deliver(&mut self, now: Now, signal: &Signal, out: &mut Vec<Output>) {
        if self.socket.is_none() || self.phase != Phase::Present {
            return; // its sender's gateway sends it again when this client is back
        }
        if self.gone.iter().any(|(peer, _)| *peer == signal.from) {
            return; // overtaken by the news that its sender has left
        }
        if self.inboxes.len() >= limits::INBOXES_MAX && !self.inboxes.contains_key(&signal.from) {
            return;
        }
        let knows_none = self.presented.attach == Attach(0) && !self.trusts_counters;
        let fresh = if knows_none { Inbox::NEW } else { Inbox::since(0) };
        let inbox = self.inboxes.entry(signal.from).or_insert(fresh);
        match inbox.arrive(now.mono, signal.id, signal.settled) {
            Arrival::Next => {
                let content = &signal.content;
                let frame = ServerFrame::Signal {
                    from: signal.from,
                    id: signal.id,
                    settled: inbox.settled(),
                    connection: content.connection.as_ref(),
                    kind: &content.kind,
                    payload: &content.payload,
                };
                self.tell(&frame, out);
                self.seen.counts.signals_received += 1;
                self.acks_due = (self.acks_due + 1).min(limits::ACKS_DUE_MAX);
            }
            Arrival::Acked(id) => {
                let ack = Ack { from: signal.from, to: self.member.seat.peer, id };
                out.push(Output::Proxy(FromSession::Ack(ack)));
            }
            Arrival::Skip => {}
        }
    }

    pub(super) fn acked(&mut self, now: Now, to: PeerId, id: u64, out: &mut Vec<Output>) {
        let Some(outbox) = self.outboxes.get_mut(&to) else { return };
        let before = outbox.bytes();
        if outbox.ack(now.mono, id) {
            self.unacked_bytes -= before - outbox.bytes();
            let id = outbox.acked();
            self.tell_present(&ServerFrame::Delivered { to, id }, out);
        }
    }

    pub(super) fn give_up(&mut self, to: PeerId, reason: UndeliveredReason, out: &mut Vec<Output>) {
        if let Some(outbox) = self.outboxes.remove(&to) {
            self.unacked_bytes -= outbox.bytes();
            for id in outbox.into_undelivered() {
                self.seen.counts.undelivered += 1;
                self.tell_present(&ServerFrame::Undelivered { to, id, reason }, out);
            }
        }
        if self.gone.iter().any(|(peer, _)| *peer == to) {
            return;
        }
        if self.gone.len() == GONE_REMEMBERED {
            self.gone.pop_front();
            self.trusts_counters = true;
        }
        self.gone.push_back((to, reason));
    }

    /// Somebody came in: one who was called gone, where all who knew that are gone themselves.
    pub(super) fn not_gone(&mut self, peer: PeerId) {
        if let Some(at) = self.gone.iter().position(|(gone, _)| *gone == peer) {
            self.gone.remove(at);
            self.trusts_counters = true;
        }
    }

    /// What a client that waits for its welcome is told when it sends again what it still holds.
    fn tell_present(&self, frame: &ServerFrame<'_>, out: &mut Vec<Output>) {
        if self.phase == Phase::Present {
            self.tell(frame, out);
        }
    }

    /// What was not acknowledged in time.
    pub(super) fn resend_overdue(&mut self, now: Now, to: PeerId, out: &mut Vec<Output>) {
        self.resend(now, to, FromSession::Again, out);
    }

    /// The receiver is back, or the way to it is another.
    pub(super) fn resend_anew(&mut self, now: Now, to: PeerId, out: &mut Vec<Output>) {
        if let Some(outbox) = self.outboxes.get_mut(&to) {
            outbox.restart();
        }
        self.resend(now, to, FromSession::Signal, out);
    }

    fn resend(&mut self, now: Now, to: PeerId, how: fn(Signal) -> FromSession, out: &mut Vec<Output>) {
        let from = self.member.seat.peer;
        if let Some(outbox) = self.outboxes.get_mut(&to) {
            let settled = outbox.acked();
            out.extend(outbox.resend(now.mono).map(|(id, content)| {
                Output::Proxy(how(Signal { from, to, id, settled, content: content.clone() }))
            }));
        }
    }
}
