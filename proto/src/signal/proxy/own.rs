//! A proxy's own sessions: what it says of them to the owner until the owner has it, and which of them live
//! elsewhere by now.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::super::frame::GoneReason;
use super::super::member::Member;
use super::super::route::{Entry, Returned, RoomInput, ToSession};
use super::{Output, Own, Pending, Proxy, REPEAT_AFTER};
use crate::id::PeerId;
use crate::time::Now;

impl Proxy {
    pub(super) fn announced(&mut self, now: Now, mut own: Own, out: &mut Vec<Output>) {
        let peer = own.member.seat.peer;
        if self.leaving.contains_key(&peer) {
            out.push(Output::Session(peer, ToSession::Gone(GoneReason::Unknown)));
            return;
        }
        if let Some(before) = self.own.remove(&peer)
            && before.member.attach == own.member.attach
        {
            own.attached = before.attached;
            if own.marks.is_empty() {
                own.marks = before.marks; // of a return that the room has not heard of yet
            }
        }
        // An owner that is not heard may hear, and must not call one unknown that is back here.
        let unheard = self.attaching.is_some_and(|attaching| attaching.wait > REPEAT_AFTER);
        let at_once = self.attaching.is_none() || (unheard && own.member.admitted.is_some());
        self.own.insert(peer, own);
        if at_once {
            self.announce(now, peer, out);
        }
    }

    /// Those who have come back, and of whom it is not known that the owner has them.
    pub(super) fn returns(&self, now: Now) -> Vec<Returned> {
        let returns = self.own.values().filter(|own| own.pending.is_some() && own.member.admitted.is_some());
        returns
            .map(|own| Returned {
                member: own.member.clone(),
                presented: own.presented,
                age_ms: own.began.age_ms(now.mono),
                attached_ms: own.attached.age_ms(now.mono),
            })
            .collect()
    }

    /// A session's actor is gone without a word: its client may have it made anew from its token.
    pub fn handle_session_lost(&mut self, now: Now, peer: PeerId, out: &mut Vec<Output>) {
        if self.disconnect(peer) {
            if self.attaching.is_none() {
                self.disown(now, peer, out);
            }
            self.tell_idle(out);
        }
    }

    /// A peer has no session here any more. False where it had none.
    pub(super) fn disconnect(&mut self, peer: PeerId) -> bool {
        self.custody.forget_session(peer);
        let had = self.own.remove(&peer).is_some();
        self.forget_lobby();
        had
    }

    /// Compares a session of this gateway with what the owner has of it: where it is the same, a
    /// session that waited to hear so is told; where it lives elsewhere by now, it ends here; otherwise
    /// the owner is told, at once or when it is time to say it `again`.
    pub(super) fn reconcile(&mut self, now: Now, peer: PeerId, again: bool, out: &mut Vec<Output>) {
        let Some(own) = self.own.get_mut(&peer) else { return };
        let known = self.roster.get(&peer);
        if let Some(Entry { gateway, member, presented, .. }) = known {
            let later = member.attach > own.member.attach;
            let elsewhere = *gateway != self.gateway;
            // The owner does not take a lost socket for a reason to have it back here.
            if elsewhere && (later || (own.member.away && *presented >= own.presented)) {
                let tie = *presented <= own.presented;
                self.disconnect(peer);
                out.push(Output::Session(peer, ToSession::Elsewhere { tie }));
                self.tell_idle(out);
                return;
            }
            if later {
                own.member.attach = member.attach; // the one announced was another gateway's
            }
        }
        let same = known.is_some_and(|Entry { gateway, member, .. }| {
            *gateway == self.gateway
                && member.attach == own.member.attach
                && member.away == own.member.away
                && (member.version >= own.member.version || member.profile == own.member.profile)
        });
        if same {
            self.answer(peer, out);
        } else if again || own.pending.is_none() {
            own.pending = Some(Pending::new(now.mono));
            self.announce(now, peer, out);
        }
    }

    /// The owner has a session as it is now: it is told, if it waited to hear so.
    fn answer(&mut self, peer: PeerId, out: &mut Vec<Output>) {
        let (Some(own), Some(entry)) = (self.own.get_mut(&peer), self.roster.get(&peer)) else { return };
        own.marks.clear();
        if own.pending.take().is_none() || own.member.away {
            return;
        }
        let known = &entry.member;
        let at = known.admitted.unwrap_or((self.epoch, self.n));
        own.member.admitted = Some(at);
        let seen = |entry: &&Entry| entry.member.seat.peer != peer && !entry.member.seat.grants.hidden;
        let others = self.roster.values().filter(seen).map(|entry| entry.member.clone()).collect();
        let (attach, profile) = (known.attach, (known.profile.clone(), known.version));
        let (withheld, broadcasts) = (known.withheld, self.broadcasts);
        own.member.withheld = withheld;
        if known.seat.grants.admin {
            out.push(Output::Session(peer, ToSession::Lobby(Arc::clone(&self.lobby))));
        }
        let admitted = ToSession::Admitted { attach, at, profile, withheld, others, broadcasts };
        out.push(Output::Session(peer, admitted));
    }

    /// The owner has a peer at this gateway that is no session of it: then nobody holds its socket.
    pub(super) fn disown(&self, now: Now, peer: PeerId, out: &mut Vec<Output>) {
        let Some(entry) = self.roster.get(&peer) else { return };
        let Entry { gateway, member, presented, .. } = entry;
        let here = *gateway == self.gateway && !self.own.contains_key(&peer);
        if here && !member.away && !self.leaving.contains_key(&peer) {
            let (member, marks) = (Member { away: true, ..member.clone() }, BTreeMap::new());
            let (presented, age_ms, attached_ms) = (*presented, self.aged(now, entry).age_ms, 0);
            out.push(Output::Room(RoomInput::Announce { member, marks, presented, age_ms, attached_ms }));
        }
    }

    pub(super) fn disown_all(&self, now: Now, out: &mut Vec<Output>) {
        for peer in self.roster.keys() {
            self.disown(now, *peer, out);
        }
    }

    pub(super) fn announce(&self, now: Now, peer: PeerId, out: &mut Vec<Output>) {
        if let Some(own) = self.own.get(&peer) {
            let (member, marks, presented) = (own.member.clone(), own.marks.clone(), own.presented);
            let (age_ms, attached_ms) = (own.began.age_ms(now.mono), own.attached.age_ms(now.mono));
            out.push(Output::Room(RoomInput::Announce { member, marks, presented, age_ms, attached_ms }));
        }
    }
}
