//! What a session's client says, and how much of it a second.

use std::collections::BTreeMap;
use std::time::Duration;

use super::super::code::{CloseCode, ErrorCode, Refusal};
use super::super::frame::{ClientFrame, IceReason, ServerFrame};
use super::super::route::FromSession;
use super::{Output, Phase, Session, Socket, World};
use crate::limits;
use crate::time::Now;

impl Session {
    /// A text frame of the present socket.
    pub fn handle_text(&mut self, now: Now, world: &World, text: &str, out: &mut Vec<Output>) {
        let Some(socket) = &mut self.socket else { return };
        *socket = Socket { heard: now.mono, pinged: false };
        self.seen.heard(text);
        if self.phase == Phase::Present {
            self.confirmed = self.member.attach;
        }
        let frame = ClientFrame::read(text);
        if self.bucket.is_full(now.mono) {
            self.strikes = 0;
        }
        if self.acks_due > 0 && matches!(frame, Ok(ClientFrame::Ack { .. })) {
            self.acks_due -= 1; // its rate is that of those who send to this client, not its own
        } else if let Err(wait) = self.bucket.take(now.mono) {
            self.over_rate(now, wait, &frame, out);
            return;
        }
        match frame {
            Err(refusal) => {
                if let (Some(to), Some(id)) = (refusal.to, refusal.id) {
                    self.note_counter(to, id);
                }
                self.refuse(&refusal, out);
            }
            Ok(ClientFrame::Ping(t)) => self.tell(&ServerFrame::Pong { t: t.as_ref() }, out),
            Ok(ClientFrame::Pong) => self.seen.answered(now),
            Ok(ClientFrame::Leave) => {
                self.leave(self.left(), out);
            }
            Ok(_) if self.phase != Phase::Present => {
                self.refuse(&Refusal::new(ErrorCode::NotJoined, "wait for the welcome"), out);
            }
            Ok(frame) => self.handle_frame(now, world, frame, out),
        }
    }

    fn handle_frame(&mut self, now: Now, world: &World, frame: ClientFrame, out: &mut Vec<Output>) {
        match frame {
            ClientFrame::Join(_) => {
                self.refuse(&Refusal::new(ErrorCode::AlreadyJoined, "one join per socket"), out);
            }
            ClientFrame::Signal { to, id, content } => self.send(now, to, id, content, out),
            ClientFrame::Ack { from, id } => self.acknowledge(from, id, out),
            ClientFrame::Broadcast(payload) => self.broadcast(payload, out),
            ClientFrame::Ice => self.offer_ice(now, world, IceReason::Requested, None, out),
            ClientFrame::Probes(probes) => self.handle_probes(now, world, probes, out),
            ClientFrame::IceFailed { edge, kind } => self.ice_failed(now, world, edge, kind, out),
            ClientFrame::Connections(connections) => self.seen.connections = Some(connections),
            ClientFrame::Update { name, metadata } => {
                let profile = &mut self.member.profile;
                profile.name = name.or_else(|| profile.name.take());
                profile.metadata = metadata.or_else(|| profile.metadata.take());
                self.member.version += 1;
                self.announce(now, BTreeMap::new(), out);
            }
            ClientFrame::Kick { peer, ban } if self.member.seat.grants.admin => {
                let by = self.member.seat.peer;
                out.push(Output::Proxy(FromSession::Kick { by, peer, ban }));
            }
            ClientFrame::Mute { peer, muting } if self.member.seat.grants.admin => {
                let by = self.member.seat.peer;
                out.push(Output::Proxy(FromSession::Mute { by, peer, muting }));
            }
            ClientFrame::Judge { peer, verdict } => self.judge(peer, verdict, out),
            ClientFrame::Kick { .. } | ClientFrame::Mute { .. } => {
                self.refuse(&Refusal::new(ErrorCode::Forbidden, "grants: `admin` is missing"), out);
            }
            ClientFrame::Ping(_) | ClientFrame::Pong | ClientFrame::Leave => {}
        }
    }

    fn over_rate(
        &mut self,
        now: Now,
        wait: Duration,
        frame: &Result<ClientFrame, Refusal>,
        out: &mut Vec<Output>,
    ) {
        self.strikes += 1;
        self.seen.counts.rate_refusals += 1;
        if self.strikes > limits::RATE_STRIKES {
            self.tell(&ServerFrame::closed(CloseCode::Rate), out);
            out.push(Output::Close(CloseCode::Rate));
            self.handle_socket_lost(now, out);
            return;
        }
        // An acknowledgement that was not taken is asked for again by the sender's gateway.
        let mut refusal = Refusal::new(ErrorCode::RateLimited, "too many frames a second")
            .retry_after(wait.max(limits::RATE_RETRY));
        let about = match frame {
            Ok(ClientFrame::Signal { to, id, .. }) => Some((*to, *id)),
            Ok(_) => None,
            Err(refusal) => refusal.to.zip(refusal.id),
        };
        if let Some((to, id)) = about {
            self.note_counter(to, id);
            refusal = refusal.about(to, id);
        }
        self.refuse(&refusal, out);
    }
}
