//! Who comes into a room, who stays and who comes back.

use std::collections::BTreeMap;

use super::super::age::Began;
use super::super::code::{ErrorCode, LeaveReason, Refusal};
use super::super::frame::GoneReason;
use super::super::member::{Member, Withheld};
use super::super::route::{Entry, ProxyInput, RoomChange};
use super::{Output, Present, Revoked, Room, lobby};
use crate::id::{Attach, Change, PeerId};
use crate::limits;
use crate::time::Now;

const EXPIRED: &str = "the time of this room is over";

impl Room {
    pub(super) fn announce(
        &mut self,
        now: Now,
        entry: Entry,
        attached: Began,
        marks: BTreeMap<PeerId, u64>,
        revoked: Revoked<'_>,
        out: &mut Vec<Output>,
    ) {
        let Entry { gateway: from, member, .. } = &entry;
        let (from, peer, attach, presented) = (*from, member.seat.peer, member.attach, entry.presented);
        let gone =
            |reason| Output::To(from, ProxyInput::Gone { peer, attach, presented, reason, tie: false });
        let refused = |refusal| Output::To(from, ProxyInput::NotAdmitted { peer, refusal });
        let returns = member.admitted.is_some();
        let began = Began::ago_ms(now.mono, entry.age_ms);
        if revoked(member.seat.session, member.profile.identity.as_ref()) {
            self.remove(peer, LeaveReason::Kicked, out);
            self.stops_waiting(peer, out);
            let refusal = Refusal::new(ErrorCode::Banned, "an admin removed you from this room");
            out.push(if returns { gone(GoneReason::Revoked) } else { refused(refusal) });
        } else if self.present.contains_key(&peer) {
            self.refresh(now, entry, attached, marks, out);
        } else if let Some(reason) = self.left_for(peer) {
            out.push(gone(reason.into()));
        } else if self.policy.rules.has_expired(now.unix) {
            let refusal = Refusal::new(ErrorCode::RoomClosed, EXPIRED);
            out.push(if returns { gone(GoneReason::Closed) } else { refused(refusal) });
        } else if returns && self.settled {
            out.push(gone(GoneReason::Expired)); // a settled room knows all who may come back
            // Others have been told that there is no such peer: the next owner must not have it back either.
            self.remember_left(peer, LeaveReason::Lost);
            self.change(RoomChange::Left { peer, reason: LeaveReason::Lost }, out);
        } else if !returns && !self.expected.is_empty() {
            // `open` asks for it again
        } else if let Some(refusal) = self.bars(member) {
            out.push(refused(refusal));
        } else if self.waits(member) {
            self.keep_waiting(now, entry, attached, out);
        } else if let Some(refusal) = self.has_no_place_for(member) {
            out.push(refused(refusal));
        } else if let Some(withheld) = self.claim(member, began, out) {
            self.admit(now, entry, withheld, (began, attached), out);
        } else {
            out.push(gone(GoneReason::Replaced));
        }
    }

    /// Why a newcomer would not be let in now, as far as the room itself decides.
    #[must_use]
    pub fn would_refuse(&self, now: Now, member: &Member) -> Option<Refusal> {
        if self.policy.rules.has_expired(now.unix) {
            return Some(Refusal::new(ErrorCode::RoomClosed, EXPIRED));
        }
        self.bars(member).or_else(|| self.has_no_place_for(member))
    }

    /// Whether a peer of its identity is here.
    pub(super) fn replaces(&self, member: &Member) -> bool {
        member.profile.identity.as_ref().is_some_and(|identity| self.identities.contains_key(identity))
    }

    /// Why a newcomer may not come in, nor wait to be let in.
    fn bars(&self, member: &Member) -> Option<Refusal> {
        if member.admitted.is_some() {
            return None;
        }
        if self.policy.rules.locked && !member.seat.grants.admin && !self.replaces(member) {
            return Some(lobby::locked());
        }
        let nobody = self.present.is_empty() && !member.seat.grants.create && !self.waits(member);
        nobody.then(|| Refusal::new(ErrorCode::NoRoom, "nobody is here, and the token lacks `create`"))
    }

    /// Why a newcomer does not fit in. One that a room let in before (this one's former owner did)
    /// is never refused for want of room.
    pub(super) fn has_no_place_for(&self, member: &Member) -> Option<Refusal> {
        if member.admitted.is_some() {
            return None;
        }
        let seen = self.present.values().filter(|p| !p.entry.member.seat.grants.hidden).count();
        let capacity = self.policy.capacity_for(member.seat.capacity) as usize;
        if !self.replaces(member) && !member.seat.grants.hidden && seen >= capacity {
            let message = format!("{seen} of {capacity} are here");
            return Some(Refusal::new(ErrorCode::RoomFull, message));
        }
        (self.present.len() >= limits::ROOM_CAPACITY_MAX)
            .then(|| Refusal::new(ErrorCode::RoomFull, "a room holds no more than this"))
    }

    /// An identity belongs to the peer that joined last; a former one makes place, and what was taken away from it is
    /// taken away from the next: that is the answer. None where
    /// `member` is a former one itself: it comes back, or its join waited on its way. Of two joins at
    /// almost the same time it belongs to the one that was let in last.
    pub(super) fn claim(&mut self, member: &Member, began: Began, out: &mut Vec<Output>) -> Option<Withheld> {
        let mut withheld = member.withheld;
        let Some(identity) = &member.profile.identity else { return Some(withheld) };
        if let Some(other) = self.identities.get(identity).and_then(|other| self.present.get(other)) {
            let known = &other.entry.member;
            let let_in_before = member.admitted.is_some() && member.admitted < known.admitted;
            if began.is_before(other.began).unwrap_or(let_in_before) {
                return None;
            }
            if known.withheld.n > withheld.n {
                withheld = known.withheld;
            }
            self.remove(known.seat.peer, LeaveReason::Replaced, out);
        }
        self.identities.insert(identity.clone(), member.seat.peer);
        Some(withheld)
    }

    pub(super) fn admit(
        &mut self,
        now: Now,
        mut entry: Entry,
        withheld: Withheld,
        (began, attached): (Began, Began),
        out: &mut Vec<Output>,
    ) {
        let (n, member) = (Change(self.n.0 + 1), &mut entry.member);
        member.withheld = withheld;
        member.admitted = member.admitted.or(Some((self.epoch, n)));
        let absent_since = member.away.then_some(now.mono);
        let attached = Some(attached);
        let (gateway, peer, answers) = (entry.gateway, member.seat.peer, member.seat.grants.admin);
        self.stops_waiting(peer, out);
        let present = Present { entry: entry.clone(), began, attached, absent_since };
        self.present.insert(peer, present);
        if answers {
            self.tell_lobby_to(gateway, out); // before it is welcomed
        }
        self.change(RoomChange::Joined(entry), out);
    }

    /// A session that is present says how it is now. Of two gateways the one has the peer that was
    /// shown the newer token; of the same token, which means that a welcome was
    /// lost, the one that was shown it last.
    fn refresh(
        &mut self,
        now: Now,
        mut entry: Entry,
        attached: Began,
        marks: BTreeMap<PeerId, u64>,
        out: &mut Vec<Output>,
    ) {
        let (from, peer, attach) = (entry.gateway, entry.member.seat.peer, entry.member.attach);
        let Some(present) = self.present.get_mut(&peer) else { return };
        present.began = present.began.min(Began::ago_ms(now.mono, entry.age_ms));
        let was_shown_before = present.attached.and_then(|last| attached.is_before(last)).unwrap_or(false);
        let (known, last) = (&present.entry, present.entry.member.attach);
        if known.gateway == from {
            if attach < last {
                return self.here(now, from, out); // out of date: it is told how things are
            }
        } else if entry.presented > known.presented
            || (entry.presented == known.presented && !entry.member.away && !was_shown_before)
        {
            entry.member.attach = attach.max(Attach(last.0 + 1));
        } else if entry.member.away {
            // Its gateway sees who has it. It may have come back there since, perhaps with a newer token.
            return self.here(now, from, out);
        } else {
            let (tie, presented) = (entry.presented == known.presented, entry.presented);
            let body = ProxyInput::Gone { peer, attach, presented, reason: GoneReason::Replaced, tie };
            return out.push(Output::To(from, body));
        }
        if !self.take(now, entry, Some(attached), marks, out) {
            self.here(now, from, out); // a repetition: its answer was lost
        }
    }

    /// A present peer is as this says, and at this gateway. False where that changes nothing.
    pub(super) fn take(
        &mut self,
        now: Now,
        entry: Entry,
        attached: Option<Began>,
        marks: BTreeMap<PeerId, u64>,
        out: &mut Vec<Output>,
    ) -> bool {
        let Entry { gateway, member, presented, .. } = entry;
        let (peer, attach, away) = (member.seat.peer, member.attach, member.away);
        let withheld = self.hear_withheld(peer, member.withheld, out);
        let Some(present) = self.present.get_mut(&peer) else { return false };
        let moved = attach > present.entry.member.attach || present.entry.gateway != gateway;
        (present.entry.gateway, present.entry.presented) = (gateway, presented);
        present.attached = attached.or(present.attached.filter(|_| !moved));
        present.absent_since = away.then(|| present.absent_since.unwrap_or(now.mono));
        let known = &mut present.entry.member;
        let newer_profile = member.version > known.version && member.profile != known.profile;
        let change = if away {
            (!known.away || moved).then_some(RoomChange::Away { peer, attach, gateway })
        } else {
            (known.away || moved).then_some(RoomChange::Back { peer, attach, gateway, marks, presented })
        };
        (known.attach, known.away) = (attach, away);
        if newer_profile {
            known.version = member.version;
            known.profile = member.profile.clone();
        }
        let changed = change.is_some() || newer_profile || withheld;
        if moved && present.entry.member.seat.grants.admin {
            self.tell_lobby_to(gateway, out);
        }
        if let Some(change) = change {
            self.change(change, out);
        }
        if newer_profile {
            let (profile, version) = (member.profile, member.version);
            self.change(RoomChange::Updated { peer, profile, version }, out);
        }
        changed
    }
}
