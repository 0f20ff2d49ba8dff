//! What becomes of a session's socket: another takes it over, it is lost, or the node lets go of it.

use std::collections::BTreeMap;
use std::time::Duration;

use super::super::code::{CloseCode, LeaveReason};
use super::super::frame::{GoneReason, ServerFrame};
use super::super::outbox::Inbox;
use super::super::resume::Presented;
use super::{Entering, Output, Phase, Session, Socket};
use crate::id::{Attach, PeerId};
use crate::limits;
use crate::time::{Mono, Now};

impl Session {
    /// Another socket takes the session over, with this token. The shell closes the former socket as
    /// [`CloseCode::Replaced`]. The last two tokens that the client is known to have are good, and any
    /// newer one: so lost welcomes cost nothing, however many. One that was issued on another gateway
    /// shows that the client was there in the meantime: it is answered as `rebuilt`.
    ///
    /// # Errors
    /// [`GoneReason::Replaced`] for an older token.
    pub fn handle_resume(
        &mut self,
        now: Now,
        presented: Presented,
        marks: BTreeMap<PeerId, u64>,
        out: &mut Vec<Output>,
    ) -> Result<(), GoneReason> {
        let current = self.member.attach.0;
        if self.is_over() || presented.attach.0 + 1 < self.confirmed.0 {
            return Err(GoneReason::Replaced);
        }
        let lived_elsewhere = presented.issuer != self.issuer && presented != self.presented;
        self.phase = Phase::Entering(match self.phase {
            Phase::Entering(Entering::New) => Entering::New,
            _ if lived_elsewhere => Entering::Rebuilt,
            Phase::Entering(Entering::Rebuilt) => Entering::Rebuilt,
            _ => Entering::Resumed,
        });
        if lived_elsewhere {
            // What this one holds and counts is out of date; the client's own is not.
            self.outboxes.clear();
            self.unacked_bytes = 0;
            self.trusts_counters = true;
        }
        self.presented = presented;
        self.confirmed = self.confirmed.max(presented.attach);
        self.member.attach = Attach(presented.attach.0.max(current) + 1);
        self.member.away = false;
        self.away_since = Mono::NEVER;
        self.unavailable_at = now.mono + limits::WELCOME_WITHIN;
        self.socket = Some(Socket { heard: now.mono, pinged: false });
        self.seen.resumed(now);
        (self.strikes, self.acks_due) = (0, 0);
        self.inboxes = marks.iter().map(|(peer, mark)| (*peer, Inbox::since(*mark))).collect();
        self.announce(now, marks, out);
        Ok(())
    }

    /// The present socket is gone.
    pub fn handle_socket_lost(&mut self, now: Now, out: &mut Vec<Output>) {
        if self.socket.take().is_none() || self.is_over() {
            return;
        }
        if self.member.admitted.is_none() {
            self.leave(LeaveReason::Left, out); // nobody has seen it yet
            return;
        }
        self.member.away = true;
        self.away_since = now.mono;
        self.announce(now, BTreeMap::new(), out);
    }

    /// More waits for the present socket than it may: its client does not read.
    pub fn handle_overflow(&mut self, now: Now, out: &mut Vec<Output>) {
        self.close(now, CloseCode::Slow, out);
    }

    /// The node stops: the client resumes elsewhere.
    pub fn handle_shutdown(&mut self, now: Now, out: &mut Vec<Output>) {
        self.close(now, CloseCode::Shutdown, out);
    }

    /// The node wants to be rid of the session: it drains, or holds no lease. The
    /// client is to resume at one of these URLs of other nodes, in the order given (where there are none,
    /// at another that it knows), and keeps its socket until that has worked. The session goes on as before;
    /// where the node stops, its shell ends `within` by [`Self::handle_shutdown`], after which the client
    /// resumes all the same. A client that waits for an answer to its join is told after that, and one that comes back
    /// to this node before the end of `within` is told again.
    pub fn handle_moving(&mut self, now: Now, to: &[String], within: Duration, out: &mut Vec<Output>) {
        self.moving = Some((to.to_vec(), now.mono + within));
        if self.is_answered() {
            self.tell_moving(now, out);
        }
    }

    /// The node keeps the session after all: nobody who comes back is told any more that it is to move.
    pub fn handle_staying(&mut self) {
        self.moving = None;
    }

    /// Says [`ServerFrame::Moving`] where the node wants to be rid of the session still.
    pub(super) fn tell_moving(&self, now: Now, out: &mut Vec<Output>) {
        if let Some((to, until)) = self.moving.as_ref().filter(|(_, until)| *until > now.mono) {
            let within_ms = u64::try_from(until.until(now.mono).as_millis()).unwrap_or(u64::MAX);
            self.tell(&ServerFrame::Moving { to, within_ms }, out);
        }
    }

    /// Binary frames, or a stream that is no WebSocket any more.
    pub fn handle_violation(&mut self, now: Now, out: &mut Vec<Output>) {
        self.close(now, CloseCode::Protocol, out);
    }

    pub(super) fn close(&mut self, now: Now, code: CloseCode, out: &mut Vec<Output>) {
        if self.socket.is_some() {
            self.tell(&ServerFrame::closed(code), out);
            out.push(Output::Close(code));
            self.handle_socket_lost(now, out);
        }
    }
}
