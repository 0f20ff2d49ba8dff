//! Kicks and bans: committed to the registry before they are answered.

use std::time::Duration;

use super::super::code::{ErrorCode, LeaveReason, Refusal};
use super::super::member::Gateway;
use super::super::route::ProxyInput;
use super::{Output, Present, Revocation, Revoked, Room};
use crate::id::PeerId;
use crate::limits;
use crate::time::Now;

impl Room {
    pub(super) fn kick(
        &self,
        now: Now,
        from: Gateway,
        by: PeerId,
        peer: PeerId,
        ban: bool,
        out: &mut Vec<Output>,
    ) {
        let refusal = if !self.is_admin(from, by) {
            Refusal::new(ErrorCode::Forbidden, "grants: `admin` is missing")
        } else if let Some(revocation) = self.revocation(now, Some((by, from)), peer, ban) {
            out.push(Output::Revoke(revocation));
            return;
        } else {
            Refusal::new(ErrorCode::BadPeer, "no such peer in this room")
        };
        out.push(Output::To(from, ProxyInput::Error { peer: by, refusal }));
    }

    /// What removing a peer has to commit first; none where it is not here.
    #[must_use]
    pub fn revocation(
        &self,
        now: Now,
        by: Option<(PeerId, Gateway)>,
        peer: PeerId,
        ban: bool,
    ) -> Option<Revocation> {
        let member = &self.present.get(&peer)?.entry.member;
        let longest = limits::RESUME_TTL.max(limits::CREDENTIAL_TTL_MAX);
        let token_until = member.seat.token_until;
        // The token that it came with must not bring it back; a ban outlasts even a fresh one.
        let barred = if ban { token_until.max(now.unix + longest) } else { token_until };
        Some(Revocation {
            by,
            peer,
            session: member.seat.session,
            session_until: now.unix + longest,
            identity: member.profile.identity.clone(),
            bars_identity: barred > now.unix,
            identity_until: barred,
            ban,
        })
    }

    /// The registry has committed a revocation, or could not.
    pub fn handle_revoked(&mut self, revocation: &Revocation, committed: bool, out: &mut Vec<Output>) {
        if committed && self.revoked_while_frozen(revocation) {
            // It takes effect once the lease is back, or the next owner has never heard of the peer.
        } else if committed {
            let reason = if revocation.ban { LeaveReason::Banned } else { LeaveReason::Kicked };
            self.remove(revocation.peer, reason, out);
            self.revoke_successor(revocation, out);
        } else {
            let is_at = |by: PeerId| self.present.get(&by).map(|present| present.entry.gateway);
            out.extend(revocation.failed(is_at));
        }
    }

    /// Removes those whom the registry has revoked and nobody here was told of: a former owner asked for it,
    /// and was one no more when it was committed.
    pub(super) fn expel(&mut self, revoked: Revoked<'_>, out: &mut Vec<Output>) {
        let is_so = |present: &&Present| {
            let member = &present.entry.member;
            revoked(member.seat.session, member.profile.identity.as_ref())
        };
        let all = self.present.values().filter(is_so).map(|present| present.entry.member.seat.peer);
        let all: Vec<PeerId> = all.collect();
        for peer in all {
            self.remove(peer, LeaveReason::Kicked, out);
        }
    }

    /// The same identity has joined again while its revocation was on its way: that session goes too.
    fn revoke_successor(&self, revocation: &Revocation, out: &mut Vec<Output>) {
        let Some(identity) = revocation.identity.as_ref().filter(|_| revocation.bars_identity) else {
            return;
        };
        if let Some(peer) = self.identities.get(identity)
            && let Some(present) = self.present.get(peer)
        {
            let (session, peer) = (present.entry.member.seat.session, *peer);
            // The identity is barred by now: there is no third.
            let bars_identity = false;
            out.push(Output::Revoke(Revocation { peer, session, bars_identity, ..revocation.clone() }));
        }
    }
}

impl Revocation {
    /// It could not be committed: what is said to who asked, where that peer is by now, or else where it was.
    pub(in crate::signal) fn failed(&self, is_at: impl FnOnce(PeerId) -> Option<Gateway>) -> Option<Output> {
        let (peer, was_at) = self.by?;
        let refusal = Refusal::new(ErrorCode::Unavailable, "the registry cannot commit right now")
            .retry_after(Duration::from_secs(1));
        Some(Output::To(is_at(peer).unwrap_or(was_at), ProxyInput::Error { peer, refusal }))
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::super::super::follow::digest;
    use super::super::super::member::{Grants, Member, Policy, Profile, Seat, Withheld};
    use super::super::super::route::{RoomChange, RoomInput};
    use super::*;
    use crate::id::{Attach, Epoch, Generation, Identity, NodeId, SessionId};
    use crate::time::{Mono, Unix};

    const NOW: Now = Now { mono: Mono(Duration::from_secs(9)), unix: Unix::from_secs(1_000) };
    const GATEWAY: Gateway = Gateway { node: NodeId(1), generation: Generation(1) };

    fn announce(room: &mut Room, n: u8, identity: &str, out: &mut Vec<Output>) -> PeerId {
        let peer = PeerId::from_random([n; 15]);
        let seat = Seat {
            peer,
            session: SessionId::from_random([n; 15]),
            grants: Grants { admin: true, ..Grants::ANONYMOUS },
            capacity: None,
            token_until: Unix::from_secs(2_000),
            place: None,
        };
        let identity = Some(Identity::new(identity).unwrap());
        let profile = Profile { identity, name: None, metadata: None };
        let (attach, away, admitted) = (Attach(1), false, None);
        let member = Member { seat, profile, version: 0, attach, away, admitted, withheld: Withheld::NONE };
        let (marks, presented, age_ms, attached_ms) = (BTreeMap::new(), Attach(0), 0, 0);
        let input = RoomInput::Announce { member, marks, presented, age_ms, attached_ms };
        room.handle(NOW, GATEWAY, input, &|_, _| false, out);
        peer
    }

    fn revocation(out: &[Output]) -> Revocation {
        let mut all = out.iter().filter_map(|output| match output {
            Output::Revoke(revocation) => Some(revocation.clone()),
            _ => None,
        });
        all.next_back().expect("a revocation")
    }

    #[test]
    fn who_joins_again_while_a_kick_is_committed_goes_too() {
        let (mut room, mut out) = (Room::new(Epoch(1), Policy::default()), Vec::new());
        room.handle(NOW, GATEWAY, RoomInput::attach(), &|_, _| false, &mut out);
        let ada = announce(&mut room, 1, "ada", &mut out);
        let bob = announce(&mut room, 2, "bob", &mut out);
        let kick = RoomInput::Kick { by: ada, peer: bob, ban: false };
        room.handle(NOW, GATEWAY, kick, &|_, _| false, &mut out);
        let first = revocation(&out);
        let bob_again = announce(&mut room, 3, "bob", &mut out);
        assert!(room.attach_of(bob).is_none() && room.attach_of(bob_again).is_some());

        room.handle_revoked(&first, true, &mut out);
        let second = revocation(&out);
        assert_eq!((second.peer, second.session), (bob_again, SessionId::from_random([3; 15])));
        out.clear();
        room.handle_revoked(&second, true, &mut out);
        assert!(room.attach_of(bob_again).is_none() && room.attach_of(ada).is_some());
        assert!(!out.iter().any(|output| matches!(output, Output::Revoke(_))), "there is no third");
    }

    #[test]
    fn whom_a_former_owner_had_kicked_does_not_stay() {
        let (mut room, mut out) = (Room::new(Epoch(1), Policy::default()), Vec::new());
        room.handle(NOW, GATEWAY, RoomInput::attach(), &|_, _| false, &mut out);
        let ada = announce(&mut room, 1, "ada", &mut out);
        let bob = announce(&mut room, 2, "bob", &mut out);
        out.clear();
        // The registry had it after this owner had taken bob over.
        let revoked = |session: SessionId, _: Option<&Identity>| session == SessionId::from_random([2; 15]);
        let check = RoomInput::Check { n: room.n, digest: digest(room.entries()), lobby: None };
        room.handle(NOW, GATEWAY, check, &revoked, &mut out);
        assert!(room.attach_of(bob).is_none() && room.attach_of(ada).is_some());
        let left = RoomChange::Left { peer: bob, reason: LeaveReason::Kicked };
        let told = |output: &Output| matches!(output, Output::All(ProxyInput::Changed { change, .. }) if *change == left);
        assert!(out.iter().any(told), "{out:?}");
    }
}
