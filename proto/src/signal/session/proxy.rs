//! What a session is told by its proxy: that it is in, what others sent, what changed in the room.

use super::super::code::{CloseCode, ErrorCode};
use super::super::follow::change_frame;
use super::super::frame::{GoneReason, ServerFrame, UndeliveredReason};
use super::super::route::{ChangeNews, RoomChange, ToSession};
use super::{Entering, Output, Phase, Session, World};
use crate::id::PeerId;
use crate::time::Now;

impl Session {
    /// What its proxy says.
    pub fn handle_proxy(&mut self, now: Now, world: &World, input: ToSession, out: &mut Vec<Output>) {
        if self.is_over() {
            return;
        }
        match input {
            ToSession::Admitted { attach, at, profile, withheld, others, broadcasts } => {
                if attach >= self.member.attach {
                    self.admitted(attach, at, profile);
                    self.member.withheld = withheld;
                    if self.socket.is_some() {
                        self.welcome(now, world, at, &others, broadcasts, out);
                    }
                }
            }
            ToSession::NotAdmitted(refusal) => {
                self.refuse(&refusal, out);
                let banned = refusal.code == ErrorCode::Banned;
                self.end(if banned { CloseCode::Banned } else { CloseCode::Refused }, out);
            }
            ToSession::Elsewhere { tie: true } => self.end(CloseCode::Elsewhere, out),
            ToSession::Elsewhere { tie: false } => {
                self.gone(GoneReason::Replaced, CloseCode::Replaced, out);
            }
            ToSession::Gone(reason) => {
                let code = match reason {
                    GoneReason::Revoked => CloseCode::Kicked,
                    GoneReason::Replaced => CloseCode::Replaced,
                    GoneReason::Closed => CloseCode::RoomClosed,
                    GoneReason::Moved => CloseCode::Moved,
                    GoneReason::Unknown | GoneReason::Expired => CloseCode::Lost,
                };
                self.gone(reason, code, out);
            }
            ToSession::Changed(news) => self.changed(now, &news, out),
            ToSession::Signal(signal) => self.deliver(now, &signal, out),
            ToSession::Ack(ack) => self.acked(now, ack.to, ack.id, out),
            ToSession::Undelivered { to, id: _, was_here } => {
                let reason = if was_here { UndeliveredReason::Gone } else { UndeliveredReason::Unknown };
                self.give_up(to, reason, out);
            }
            ToSession::Resend => {
                let peers: Vec<PeerId> = self.outboxes.keys().copied().collect();
                for peer in peers {
                    self.resend_anew(now, peer, out);
                }
            }
            ToSession::Text(text) => self.pass(&text, out),
            ToSession::Error(refusal) => self.refuse(&refusal, out),
            ToSession::Waiting { position } => self.wait(now, world, position, out),
            ToSession::Lobby(waiting) => self.hear_lobby(waiting, out),
        }
    }

    /// The room has it no more. A client that waits for the answer to its `resume` is told `gone` and
    /// may join afresh on the same socket.
    pub(super) fn gone(&mut self, reason: GoneReason, code: CloseCode, out: &mut Vec<Output>) {
        if matches!(self.phase, Phase::Entering(Entering::Resumed | Entering::Rebuilt)) {
            self.tell(&ServerFrame::Gone { reason }, out);
            self.socket = None;
        }
        self.end(code, out);
    }

    fn changed(&mut self, now: Now, news: &ChangeNews, out: &mut Vec<Output>) {
        let me = self.member.seat.peer;
        if news.change.peer() == me {
            match &news.change {
                RoomChange::Left { reason, .. } => {
                    self.gone(GoneReason::from(*reason), reason.close_code(), out);
                }
                // One who is hidden sees it too, and nobody else.
                change @ (RoomChange::Updated { .. } | RoomChange::Withheld { .. }) => {
                    if let RoomChange::Withheld { withheld, .. } = change {
                        self.member.withheld = *withheld;
                    }
                    let text = news.text.clone().unwrap_or_else(|| change_frame(change).text());
                    self.pass(&text, out);
                }
                _ => {} // the answer to an announcement: `admitted` says it
            }
            return;
        }
        if let Some(text) = &news.text {
            self.pass(text, out);
        }
        match &news.change {
            RoomChange::Left { peer, .. } => {
                self.inboxes.remove(peer);
                self.seen.left(peer);
                self.give_up(*peer, UndeliveredReason::Gone, out);
            }
            RoomChange::Back { peer, marks, .. } => {
                if let Some(mark) = marks.get(&me) {
                    self.acked(now, *peer, *mark, out);
                }
                self.resend_anew(now, *peer, out);
            }
            // Back, perhaps, in a room that had forgotten it.
            RoomChange::Joined(entry) => {
                let peer = entry.member.seat.peer;
                self.not_gone(peer);
                self.resend_anew(now, peer, out);
            }
            _ => {}
        }
    }
}
