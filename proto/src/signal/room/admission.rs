//! Who comes into a room, who stays and who comes back.

use std::collections::BTreeMap;

use super::super::code::{ErrorCode, LeaveReason, Refusal};
use super::super::frame::GoneReason;
use super::super::member::{Gateway, Member};
use super::super::route::{Entry, ProxyInput, RoomChange};
use super::{Output, Present, Revoked, Room};
use crate::id::{Attach, Change, PeerId};
use crate::limits;
use crate::time::Now;

impl Room {
    pub(super) fn announce(
        &mut self,
        now: Now,
        from: Gateway,
        member: Member,
        marks: BTreeMap<PeerId, u64>,
        revoked: Revoked<'_>,
        out: &mut Vec<Output>,
    ) {
        let (peer, attach) = (member.seat.peer, member.attach);
        if !self.gateways.contains(&from) {
            self.here(from, out); // it was forgotten
        }
        let gone = |reason| Output::To(from, ProxyInput::Gone { peer, attach, reason });
        let refused = |refusal| Output::To(from, ProxyInput::NotAdmitted { peer, refusal });
        let returns = member.admitted.is_some();
        if revoked(member.seat.session, member.profile.identity.as_ref()) {
            self.remove(peer, LeaveReason::Kicked, out);
            let refusal = Refusal::new(ErrorCode::Banned, "an admin removed you from this room");
            out.push(if returns { gone(GoneReason::Revoked) } else { refused(refusal) });
        } else if self.present.contains_key(&peer) {
            self.refresh(now, from, member, marks, out);
        } else if let Some(reason) = self.left_for(peer) {
            out.push(gone(reason.into()));
        } else if returns && self.settled {
            out.push(gone(GoneReason::Expired)); // a settled room knows all who may come back
        } else if !returns && !self.expected.is_empty() {
            // `open` asks for it again
        } else if let Some(refusal) = self.refuses(&member) {
            out.push(refused(refusal));
        } else if self.claim(&member, out) {
            self.admit(now, from, member, out);
        } else {
            out.push(gone(GoneReason::Replaced));
        }
    }

    /// Why a newcomer may not come in. One that a room let in before (this one's former owner did)
    /// is never refused for want of room.
    fn refuses(&self, member: &Member) -> Option<Refusal> {
        if member.admitted.is_some() {
            return None;
        }
        let replaces =
            member.profile.identity.as_ref().is_some_and(|identity| self.identities.contains_key(identity));
        let seen = self.present.values().filter(|p| !p.entry.member.seat.grants.hidden).count();
        let capacity = member.seat.capacity.unwrap_or(self.policy.capacity) as usize;
        if self.present.is_empty() && !member.seat.grants.create {
            return Some(Refusal::new(ErrorCode::NoRoom, "nobody is here, and the token lacks `create`"));
        }
        if !replaces && !member.seat.grants.hidden && seen >= capacity {
            let message = format!("{seen} of {capacity} are here");
            return Some(Refusal::new(ErrorCode::RoomFull, message));
        }
        (self.present.len() >= limits::ROOM_CAPACITY_MAX)
            .then(|| Refusal::new(ErrorCode::RoomFull, "a room holds no more than this"))
    }

    /// An identity belongs to the peer that was let in last; a former one makes place. False where
    /// `member` is a former one itself, coming back.
    pub(super) fn claim(&mut self, member: &Member, out: &mut Vec<Output>) -> bool {
        let Some(identity) = &member.profile.identity else { return true };
        if let Some(other) = self.identities.get(identity).copied() {
            let admitted = self.present.get(&other).and_then(|present| present.entry.member.admitted);
            if member.admitted.is_some() && admitted > member.admitted {
                return false;
            }
            self.remove(other, LeaveReason::Replaced, out);
        }
        self.identities.insert(identity.clone(), member.seat.peer);
        true
    }

    fn admit(&mut self, now: Now, from: Gateway, mut member: Member, out: &mut Vec<Output>) {
        let n = Change(self.n.0 + 1);
        member.admitted = member.admitted.or(Some((self.epoch, n)));
        let absent_since = member.away.then_some(now.mono);
        let entry = Entry { gateway: from, member };
        self.present.insert(entry.member.seat.peer, Present { entry: entry.clone(), absent_since });
        self.change(RoomChange::Joined(entry), out);
    }

    /// A session that is present says how it is now: the higher attach count wins (CLUSTER.md 5).
    fn refresh(
        &mut self,
        now: Now,
        from: Gateway,
        mut member: Member,
        marks: BTreeMap<PeerId, u64>,
        out: &mut Vec<Output>,
    ) {
        let (peer, attach) = (member.seat.peer, member.attach);
        let Some(Entry { gateway, member: known }) = self.present.get(&peer).map(|p| &p.entry) else {
            return;
        };
        if *gateway == from {
            if attach < known.attach {
                return self.here(from, out); // out of date: it is told how things are
            }
        } else if attach < known.attach || (attach == known.attach && member.away) {
            let reason = GoneReason::Replaced;
            return out.push(Output::To(from, ProxyInput::Gone { peer, attach, reason }));
        } else if attach == known.attach {
            // Two gateways took the same token, since the first one's welcome was lost: the later has
            // the client.
            member.attach = Attach(attach.0 + 1);
        }
        if !self.take(now, from, member, marks, out) {
            self.here(from, out); // a repetition: its answer was lost
        }
    }

    /// A present peer is as this says, and at this gateway. False where that changes nothing.
    pub(super) fn take(
        &mut self,
        now: Now,
        gateway: Gateway,
        member: Member,
        marks: BTreeMap<PeerId, u64>,
        out: &mut Vec<Output>,
    ) -> bool {
        let (peer, attach, away) = (member.seat.peer, member.attach, member.away);
        let Some(present) = self.present.get_mut(&peer) else { return false };
        let known = &mut present.entry.member;
        let newer_profile = member.version > known.version;
        let moved = attach > known.attach || present.entry.gateway != gateway;
        let change = if away {
            (!known.away || moved).then_some(RoomChange::Away { peer, attach, gateway })
        } else {
            (known.away || moved).then_some(RoomChange::Back { peer, attach, gateway, marks })
        };
        (known.attach, known.away) = (attach, away);
        present.entry.gateway = gateway;
        present.absent_since = away.then(|| present.absent_since.unwrap_or(now.mono));
        if newer_profile {
            known.version = member.version;
            known.profile = member.profile.clone();
        }
        let changed = change.is_some() || newer_profile;
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
