//! What the machine answers, out.

use std::os::fd::AsFd;

use chappe_proto::time::Now;
use chappe_proto::turn::{FiveTuple, Forward, Output, Via};

use super::Driver;
use super::limits::tell;
use crate::listener::{Road, udp_via};
use crate::token::{Ready, token};
use crate::udp::{Part, Refusals, Target};

/// Marks the name of a UDP listener in a [`Target`]; the others are relayed sockets.
const LISTENER: u32 = 1 << 31;

impl Driver {
    /// Queues the payload of the packet at `start..end` of a slot for where it goes.
    pub(super) fn forward(&mut self, forward: Forward, slot: usize, start: usize, end: usize) {
        let (mut target, head, body, pad) = match forward {
            Forward::None => return,
            Forward::ToPeer { relay, peer, body, df } => {
                (Target { df, ..Target::new(relay.0, peer, None) }, None, body, 0)
            }
            Forward::ToClient { client, via, head, body, pad } => match Road::from(via) {
                Road::Udp(index) => match self.udp_target(index, &client) {
                    Some(target) => (target, Some(head), body, pad),
                    None => return,
                },
                Road::Stream(index) => {
                    if let Some(stream) = self.streams.get(index)
                        && stream.client() == client
                    {
                        let body = &self.inbox.bytes(slot, end)[start..][body];
                        stream.media(head.as_slice(), body, pad);
                        self.touch(index);
                    }
                    return;
                }
                Road::Dtls(index) => {
                    let body = start + body.start..start + body.end;
                    return self.dtls_send(index, &client, head.as_slice(), Some((slot, body)), pad);
                }
            },
        };
        // RFC 8656 section 14: DSCP and ECN stay as they are.
        target.tos = self.inbox.tos(slot);
        if self.outbox.is_full() {
            self.send_queued();
        }
        let body = start + body.start..start + body.end;
        let head = head.as_ref().map_or(&[][..], |head| head.as_slice());
        self.outbox.push(&mut self.inbox, target, slot, &(start..end), &Part { head, body, pad });
    }

    /// How a client of a UDP listener is reached.
    pub(super) fn udp_target(&self, index: usize, client: &FiveTuple) -> Option<Target> {
        let from = self.udp.get(index)?.leave_from(client.server);
        Some(Target::new(udp_via(index).0 | LISTENER, client.client, from))
    }

    /// Carries out what the machine asks for.
    pub(super) fn outputs(&mut self, now: Now) {
        while let Some(output) = self.server.poll_output() {
            match output {
                Output::Send { client, via, bytes } => self.answer(&client, via, &bytes),
                Output::BindRelay { relay, ip, ports } => {
                    let token = token(Ready::Relay(relay.0));
                    let bound = self.relays.bind(self.poll.registry(), token, relay, ip, &ports);
                    if let Err(error) = bound {
                        tracing::warn!(%ip, ports = ports.len(), %error, "no relayed socket");
                    }
                    self.server.handle_bound(now, relay, bound);
                }
                Output::CloseRelay(relay) => {
                    self.send_queued();
                    self.relays.close(relay);
                }
                Output::CloseClient(via) => match Road::from(via) {
                    Road::Stream(index) => self.doom(index),
                    Road::Dtls(index) => self.dtls_close(now, index),
                    Road::Udp(_) => {}
                },
                Output::Event(event) => tell(&event),
            }
        }
    }

    /// Sends a STUN message to a client.
    fn answer(&mut self, client: &FiveTuple, via: Via, bytes: &[u8]) {
        match Road::from(via) {
            Road::Udp(index) => {
                let Some(target) = self.udp_target(index, client) else { return };
                if self.outbox.is_full() {
                    self.send_queued();
                }
                self.outbox.push_copy(target, bytes);
            }
            Road::Dtls(index) => self.dtls_send(index, client, bytes, None, 0),
            Road::Stream(index) => {
                if let Some(stream) = self.streams.get(index)
                    && stream.client() == *client
                {
                    stream.control(bytes);
                    self.touch(index);
                }
            }
        }
    }

    /// Sends all that is queued.
    pub(super) fn send_queued(&mut self) {
        if self.outbox.is_empty() {
            return;
        }
        let (udp, relays) = (&self.udp, &self.relays);
        let socket = |name: u32| match name & LISTENER {
            0 => relays.get(name),
            _ => udp.get((name & !LISTENER) as usize).map(AsFd::as_fd),
        };
        let mut refusals = Refusals::default();
        self.outbox.flush(&self.inbox, socket, &mut refusals);
        self.counters.add(refusals);
        if refusals.too_long > 0 {
            self.too_long.append(&mut self.outbox.take_too_long());
        }
    }

    /// Sends all that is queued and frees all buffers.
    pub(super) fn send(&mut self) {
        self.send_queued();
        self.inbox.clear();
    }
}
