//! DTLS: datagrams of associations in and out.

use std::collections::HashSet;
use std::ops::Range;

use chappe_proto::time::Now;
use chappe_proto::turn::{FiveTuple, Limit};

use super::Driver;
use crate::listener::{Effects, Overdue, RECORD_MAX, dtls_via};

/// Which of the driver's [`Effects`] is whose.
const INWARD: usize = 0;
const OUTWARD: usize = 1;

impl Driver {
    /// Takes a datagram of a DTLS listener, which lies in a slot.
    pub(super) fn dtls_datagram(
        &mut self,
        now: Now,
        listener: usize,
        client: &FiveTuple,
        slot: usize,
        start: usize,
        end: usize,
    ) {
        let Some(certificate) = self.udp.get(listener).and_then(|listener| listener.certificate()) else {
            return;
        };
        let mut effects = std::mem::take(&mut self.effects[INWARD]);
        let datagram = &self.inbox.bytes(slot, end)[start..];
        let received =
            self.associations.receive(now.mono, listener, certificate, client, datagram, &mut effects);
        if received.displaced {
            self.counters.half_open_displaced += 1;
            self.limited(now, Limit::HalfOpen, 1, client.client.ip());
        }
        if let Some(limit) = received.limited {
            self.counters.refused_associations += 1;
            self.limited(now, limit, 1, client.client.ip());
        }
        self.dtls_packets(listener, client, 0, &effects);
        if let Some(index) = received.index {
            self.dtls_messages(now, index, client, &effects, slot, start, end);
        }
        self.dtls_ended(now, &received.ended);
        if self.associations.len() > 0 {
            self.sweep_soon(now);
        }
        effects.clear();
        self.effects[INWARD] = effects;
    }

    /// Handles the messages that a datagram in a slot held: each takes the place of its record, which is
    /// longer.
    #[allow(clippy::too_many_arguments, reason = "where it lies is three of them")]
    fn dtls_messages(
        &mut self,
        now: Now,
        index: usize,
        client: &FiveTuple,
        effects: &Effects,
        slot: usize,
        start: usize,
        end: usize,
    ) {
        let mut at = start;
        for message in effects.data() {
            // What came before the handshake was done, and waited for its end in another datagram's place,
            // may be longer than this one. It is lost, as any datagram may be.
            if message.len() > end - at {
                return;
            }
            self.inbox.replace(slot, at, message);
            self.client_message(now, client, dtls_via(index), slot, at, at + message.len());
            at += message.len();
        }
    }

    /// Sends datagrams to a client.
    fn dtls_packets(&mut self, listener: usize, client: &FiveTuple, tos: u8, effects: &Effects) {
        for packet in effects.packets() {
            let Some(mut target) = self.udp_target(listener, client) else { return };
            target.tos = tos;
            if self.outbox.is_full() {
                self.send_queued();
            }
            self.outbox.push_copy(target, packet);
        }
    }

    /// Ends the allocations of associations that have ended.
    fn dtls_ended(&mut self, now: Now, ended: &[FiveTuple]) {
        for client in ended {
            self.server.handle_closed(now, client);
            self.outputs(now);
        }
    }

    /// Sends a message to a client by its association: `head`, and the part of a slot that is the `body`.
    pub(super) fn dtls_send(
        &mut self,
        index: usize,
        client: &FiveTuple,
        head: &[u8],
        body: Option<(usize, Range<usize>)>,
        pad: u8,
    ) {
        let Some((of, listener)) = self.associations.of(index) else { return };
        if of != *client {
            return;
        }
        let body_len = body.as_ref().map_or(0, |(_, body)| body.len());
        if head.len() + body_len + usize::from(pad) > RECORD_MAX {
            self.counters.too_long += 1;
            return;
        }
        let mut effects = std::mem::take(&mut self.effects[OUTWARD]);
        // RFC 8656 section 14: DSCP and ECN stay as they are.
        let tos = body.as_ref().map_or(0, |(slot, _)| self.inbox.tos(*slot));
        let body = body.map_or(&[][..], |(slot, body)| &self.inbox.bytes(slot, body.end)[body.start..]);
        let ended = self.associations.send(index, [head, body], pad, &mut effects);
        self.dtls_packets(listener, client, tos, &effects);
        effects.clear();
        self.effects[OUTWARD] = effects;
        // Whoever sends is in the midst of something: its allocation ends with this turn.
        self.dead.extend(ended);
    }

    /// Says goodbye to an association's client.
    pub(super) fn dtls_close(&mut self, now: Now, index: usize) {
        let Some((client, listener)) = self.associations.of(index) else { return };
        let mut effects = Effects::default();
        let ended = self.associations.close(index, &mut effects);
        self.dtls_packets(listener, &client, 0, &effects);
        self.dtls_ended(now, ended.as_slice());
    }

    /// Sends again what clients have not acknowledged.
    pub(super) fn dtls_timeouts(&mut self, now: Now) {
        while let Some(client) = self.dead.pop() {
            self.dtls_ended(now, &[client]);
        }
        while let Some(index) = self.associations.due(now.mono) {
            let Some((client, listener)) = self.associations.of(index) else { return };
            let mut effects = Effects::default();
            let ended = self.associations.handle_timeout(now.mono, index, &mut effects);
            self.dtls_packets(listener, &client, 0, &effects);
            self.dtls_ended(now, ended.as_slice());
        }
    }

    /// Closes associations that have kept silent for too long; not those with an allocation.
    pub(super) fn sweep_dtls(&mut self, now: Now) {
        let overdue: Vec<(usize, Overdue)> = self.associations.overdue(now.mono).collect();
        if overdue.is_empty() {
            return;
        }
        let holders: HashSet<FiveTuple> =
            self.server.list(now).map(|allocation| *allocation.client).collect();
        for (index, why) in overdue {
            let client = self.associations.of(index).map(|(client, _)| client);
            if why == Overdue::Idle && client.is_some_and(|client| holders.contains(&client)) {
                self.associations.excuse(index, now.mono);
            } else {
                self.dtls_close(now, index);
            }
        }
    }
}
