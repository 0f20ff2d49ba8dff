//! A proxy's roster: all of the room, or one change of it after the other.

use std::sync::Arc;

use super::super::age::Began;
use super::super::code::LeaveReason;
use super::super::follow::{Roster, apply, change_frame, differences};
use super::super::route::{ChangeNews, Entry, RoomChange, RoomInput, ToSession};
use super::{Output, Pending, Proxy};
use crate::id::{Change, PeerId};
use crate::limits;
use crate::time::Now;

impl Proxy {
    /// All of the room: what differs from the roster held so far is told as changes, and what the
    /// owner does not know of this gateway's sessions is said again.
    pub(super) fn here(
        &mut self,
        now: Now,
        n: Change,
        entries: Vec<Entry>,
        left: &[(PeerId, LeaveReason)],
        broadcasts: u64,
        out: &mut Vec<Output>,
    ) {
        let same_owner = self.followed.is_some() && !self.moved;
        if same_owner && n < self.n {
            return; // overtaken by the changes that followed it
        }
        let roster: Roster = entries.into_iter().map(|e| (e.member.seat.peer, e)).collect();
        let changes = differences(&self.roster, &roster, left, self.gateway);
        if same_owner && n == self.n && !changes.is_empty() {
            self.repairs += 1;
        }
        (self.n, self.broadcasts) = (n, self.broadcasts.max(broadcasts));
        (self.attaching, self.followed, self.moved) = (None, Some(self.place()), false);
        self.check_at = now.mono + limits::ROSTER_CHECK_EVERY;
        for change in changes {
            if let RoomChange::Left { peer, reason } = change {
                self.forget(peer, reason);
            }
            self.follow(change, out);
        }
        for (peer, reason) in left {
            self.remember_left(*peer, *reason);
        }
        // What was on its way for long says less than its age: of several words the earliest is the best.
        let before = std::mem::take(&mut self.began);
        let began = |(peer, entry): (&PeerId, &Entry)| {
            let said = Began::ago_ms(now.mono, entry.age_ms);
            (*peer, before.get(peer).map_or(said, |before| said.min(*before)))
        };
        self.began = roster.iter().map(began).collect();
        self.roster = roster;
        let own: Vec<PeerId> = self.own.keys().copied().collect();
        for peer in own {
            self.reconcile(now, peer, true, out);
        }
        let (roster, gateway) = (&self.roster, self.gateway);
        self.leaving.retain(|peer, _| roster.get(peer).is_some_and(|entry| entry.gateway == gateway));
        for (peer, leaving) in &mut self.leaving {
            leaving.pending = Pending::new(now.mono);
            out.push(Output::Room(RoomInput::Leave { peer: *peer, reason: leaving.reason }));
        }
        self.disown_all(now, out);
        if !same_owner {
            self.custody.begin_anew();
            out.push(Output::Sessions(ToSession::Resend, None));
        }
        self.tell_idle(out);
    }

    pub(super) fn changed(
        &mut self,
        now: Now,
        n: Change,
        broadcasts: u64,
        change: RoomChange,
        out: &mut Vec<Output>,
    ) {
        if self.attaching.is_some() || n <= self.n {
            return; // `here` will hold it, or held it
        }
        if n.0 != self.n.0 + 1 {
            self.attach(now, out); // a change was lost: ask for all of it
            return;
        }
        (self.n, self.broadcasts) = (n, self.broadcasts.max(broadcasts));
        let peer = change.peer();
        self.follow(change.clone(), out);
        match &change {
            RoomChange::Left { reason, .. } => self.forget(peer, *reason),
            RoomChange::Joined(entry) => {
                self.began.insert(peer, Began::ago_ms(now.mono, entry.age_ms));
            }
            _ => {}
        }
        apply(&mut self.roster, change);
        let Some(gateway) = self.roster.get(&peer).map(|entry| entry.gateway) else {
            self.tell_idle(out);
            return;
        };
        if gateway != self.gateway {
            self.leaving.remove(&peer); // it has come back by another gateway
        }
        self.reconcile(now, peer, false, out);
        self.disown(now, peer, out);
    }

    /// A peer has left for good.
    pub(super) fn forget(&mut self, peer: PeerId, reason: LeaveReason) {
        self.own.remove(&peer);
        self.leaving.remove(&peer);
        self.began.remove(&peer);
        self.custody.forget_peer(peer);
        self.remember_left(peer, reason);
        self.forget_lobby();
    }

    /// Its next owner is to know as well that this peer cannot come back.
    pub(super) fn remember_unknown(&mut self, peer: PeerId) {
        if self.left().any(|left| left == peer) {
            return;
        }
        if self.unknown.len() >= limits::UNKNOWN_REMEMBERED {
            self.unknown.pop_front();
        }
        self.unknown.push_back(peer);
    }

    pub(super) fn remember_left(&mut self, peer: PeerId, reason: LeaveReason) {
        if self.left.iter().any(|(left, _)| *left == peer) {
            return;
        }
        if self.left.len() >= limits::LEFT_REMEMBERED {
            self.left.pop_front();
        }
        self.left.push_back((peer, reason));
    }

    /// Tells every session of one change.
    pub(super) fn follow(&self, change: RoomChange, out: &mut Vec<Output>) {
        let hidden = match &change {
            RoomChange::Joined(entry) => entry.member.seat.grants.hidden,
            // Of one that clients have never seen they need not hear that it left.
            other => self.roster.get(&other.peer()).is_none_or(|entry| entry.member.seat.grants.hidden),
        };
        let text = (!hidden).then(|| change_frame(&change).text());
        out.push(Output::Sessions(ToSession::Changed(Arc::new(ChangeNews { change, text })), None));
    }
}
