//! The room machine: the one truth about who is in a room, on its owner.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::Duration;

use super::code::{ErrorCode, LeaveReason, Refusal};
use super::json::Json;
use super::member::{Gateway, Member, Policy};
use super::route::{Entry, ProxyInput, RoomChange, RoomInput, Signal};
use crate::id::{Attach, Change, Epoch, Identity, PeerId, SessionId};
use crate::limits;
use crate::time::{Mono, Now, Unix};

/// Peers that are remembered after they left, so that a late signal to one is told `gone` and not
/// `unknown`.
const LEFT_REMEMBERED: usize = 256;

/// What a room asks of its shell.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Output {
    /// Tell one gateway.
    To(Gateway, ProxyInput),
    /// Tell every attached gateway.
    All(ProxyInput),
    /// A peer has left of its own will: its session's allocations are to end on every edge.
    End(SessionId),
    /// Commit this revocation to the registry, then answer by [`Room::handle_revoked`].
    Revoke(Revocation),
}

/// A kick or a ban to be committed before it is answered (CLUSTER.md 5).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Revocation {
    /// Who asked; none where an operator did.
    pub by: Option<PeerId>,
    /// Whom it removes.
    pub peer: PeerId,
    /// Its session: its resume tokens and TURN credentials are dead,
    pub session: SessionId,
    /// until the last of them would have expired.
    pub session_until: Unix,
    /// Its identity, where it has one: may not join this room again
    pub identity: Option<Identity>,
    /// before this.
    pub identity_until: Unix,
    /// Whether it is a ban.
    pub ban: bool,
}

/// Answers whether a session or an identity is revoked in this room, from the applied registry.
pub type Revoked<'a> = &'a dyn Fn(SessionId, Option<&Identity>) -> bool;

struct Present {
    entry: Entry,
    away_since: Option<Mono>,
}

/// A room, under one epoch of its shard.
pub struct Room {
    epoch: Epoch,
    n: Change,
    policy: Policy,
    present: BTreeMap<PeerId, Present>,
    identities: BTreeMap<Identity, PeerId>,
    gateways: BTreeSet<Gateway>,
    broadcasts: u64,
    left: VecDeque<PeerId>,
}

impl Room {
    /// An empty room.
    #[must_use]
    pub const fn new(epoch: Epoch, policy: Policy) -> Self {
        Self {
            epoch,
            n: Change(0),
            policy,
            present: BTreeMap::new(),
            identities: BTreeMap::new(),
            gateways: BTreeSet::new(),
            broadcasts: 0,
            left: VecDeque::new(),
        }
    }

    /// The epoch that it runs under.
    #[must_use]
    pub const fn epoch(&self) -> Epoch {
        self.epoch
    }

    /// Whether nobody is in it and no gateway follows it: it may be forgotten.
    #[must_use]
    pub fn is_idle(&self) -> bool {
        self.present.is_empty() && self.gateways.is_empty()
    }

    /// Everybody in it.
    pub fn entries(&self) -> impl Iterator<Item = &Entry> {
        self.present.values().map(|present| &present.entry)
    }

    /// The gateways that follow it.
    pub fn gateways(&self) -> impl Iterator<Item = Gateway> {
        self.gateways.iter().copied()
    }

    /// A frame of a gateway's proxy, at this room's epoch.
    pub fn handle(
        &mut self,
        now: Now,
        from: Gateway,
        input: RoomInput,
        revoked: Revoked<'_>,
        out: &mut Vec<Output>,
    ) {
        match input {
            RoomInput::Attach => self.attach(from, out),
            RoomInput::Detach => {
                self.gateways.remove(&from);
            }
            RoomInput::Announce { member, marks } => self.announce(now, from, member, marks, revoked, out),
            RoomInput::Leave { peer, reason } => self.leave(from, peer, reason, out),
            RoomInput::Signal(signal) => self.signal(from, signal, out),
            RoomInput::Ack(ack) => {
                if self.holds(from, ack.to)
                    && let Some(sender) = self.present.get(&ack.from)
                {
                    out.push(Output::To(sender.entry.gateway, ProxyInput::Ack(ack)));
                }
            }
            RoomInput::Broadcast { from: peer, payload } => self.broadcast(from, peer, payload, out),
            RoomInput::Kick { by, peer, ban } => self.kick(now, from, by, peer, ban, out),
        }
    }

    fn attach(&mut self, from: Gateway, out: &mut Vec<Output>) {
        // A gateway that started anew holds nothing of its former life.
        self.gateways.retain(|gateway| gateway.node != from.node || *gateway == from);
        self.gateways.insert(from);
        let roster = self.entries().cloned().collect();
        out.push(Output::To(from, ProxyInput::Here { n: self.n, roster, broadcasts: self.broadcasts }));
    }

    fn announce(
        &mut self,
        now: Now,
        from: Gateway,
        member: Member,
        marks: BTreeMap<PeerId, u64>,
        revoked: Revoked<'_>,
        out: &mut Vec<Output>,
    ) {
        let peer = member.seat.peer;
        if revoked(member.seat.session, member.profile.identity.as_ref()) {
            let refusal = Refusal::new(ErrorCode::Banned, "an admin removed you from this room");
            out.push(Output::To(from, ProxyInput::NotAdmitted { peer, refusal }));
            return;
        }
        if self.present.contains_key(&peer) {
            self.refresh(now, from, member, marks, out);
            return;
        }
        if self.left.contains(&peer) {
            let refusal = Refusal::new(ErrorCode::Unavailable, "this peer has left; join afresh");
            out.push(Output::To(from, ProxyInput::NotAdmitted { peer, refusal }));
            return;
        }
        if let Some(refusal) = self.refuses(&member) {
            out.push(Output::To(from, ProxyInput::NotAdmitted { peer, refusal }));
            return;
        }
        self.admit(now, from, member, out);
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

    fn admit(&mut self, now: Now, from: Gateway, mut member: Member, out: &mut Vec<Output>) {
        let peer = member.seat.peer;
        if let Some(identity) = member.profile.identity.clone()
            && let Some(older) = self.identities.insert(identity, peer)
        {
            self.remove(older, LeaveReason::Replaced, out);
        }
        if let Some(identity) = member.profile.identity.clone() {
            self.identities.insert(identity, peer);
        }
        let n = Change(self.n.0 + 1);
        member.admitted = member.admitted.or(Some((self.epoch, n)));
        let away_since = member.away.then_some(now.mono);
        let entry = Entry { gateway: from, member };
        self.present.insert(peer, Present { entry: entry.clone(), away_since });
        self.change(RoomChange::Joined(entry), out);
    }

    /// A session that is present says how it is now: the higher attach count wins (CLUSTER.md 5).
    fn refresh(
        &mut self,
        now: Now,
        from: Gateway,
        member: Member,
        marks: BTreeMap<PeerId, u64>,
        out: &mut Vec<Output>,
    ) {
        let (peer, attach, away) = (member.seat.peer, member.attach, member.away);
        let Some(present) = self.present.get_mut(&peer) else { return };
        let known = &mut present.entry.member;
        if attach < known.attach {
            return;
        }
        let newer_profile = member.version > known.version;
        let moved = attach > known.attach || present.entry.gateway != from;
        let change = if away {
            (!known.away || moved).then_some(RoomChange::Away { peer, attach })
        } else {
            (known.away || moved).then(|| RoomChange::Back { peer, attach, gateway: from, marks })
        };
        known.attach = attach;
        known.away = away;
        present.entry.gateway = from;
        present.away_since = away.then(|| present.away_since.unwrap_or(now.mono));
        if newer_profile {
            known.version = member.version;
            known.profile = member.profile.clone();
        }
        match (change, newer_profile) {
            (None, false) => self.attach(from, out), // a repetition: its answer was lost
            (change, newer) => {
                if let Some(change) = change {
                    self.change(change, out);
                }
                if newer {
                    let (profile, version) = (member.profile, member.version);
                    self.change(RoomChange::Updated { peer, profile, version }, out);
                }
            }
        }
    }

    fn leave(&mut self, from: Gateway, peer: PeerId, reason: LeaveReason, out: &mut Vec<Output>) {
        match self.present.get(&peer) {
            Some(present) if present.entry.gateway == from => self.remove(peer, reason, out),
            Some(_) => {}                   // it has come back by another gateway since
            None => self.attach(from, out), // a repetition: its answer was lost
        }
    }

    fn remove(&mut self, peer: PeerId, reason: LeaveReason, out: &mut Vec<Output>) {
        let Some(present) = self.present.remove(&peer) else { return };
        if let Some(identity) = &present.entry.member.profile.identity
            && self.identities.get(identity) == Some(&peer)
        {
            self.identities.remove(identity);
        }
        if self.left.len() == LEFT_REMEMBERED {
            self.left.pop_front();
        }
        self.left.push_back(peer);
        if reason == LeaveReason::Left {
            out.push(Output::End(present.entry.member.seat.session));
        }
        self.change(RoomChange::Left { peer, reason }, out);
    }

    fn change(&mut self, change: RoomChange, out: &mut Vec<Output>) {
        self.n.0 += 1;
        out.push(Output::All(ProxyInput::Changed { n: self.n, broadcasts: self.broadcasts, change }));
    }

    fn holds(&self, gateway: Gateway, peer: PeerId) -> bool {
        self.present.get(&peer).is_some_and(|present| present.entry.gateway == gateway)
    }

    fn signal(&self, from: Gateway, signal: Signal, out: &mut Vec<Output>) {
        if !self.holds(from, signal.from) {
            return; // a former gateway's; the present one sends it again
        }
        match self.present.get(&signal.to) {
            // Its sender's gateway holds it and sends it again when the receiver is back.
            Some(to) if to.entry.member.away => {}
            Some(to) => out.push(Output::To(to.entry.gateway, ProxyInput::Signal(signal))),
            None => {
                let was_here = self.left.contains(&signal.to);
                let (from_peer, to, id) = (signal.from, signal.to, signal.id);
                let body = ProxyInput::Undelivered { from: from_peer, to, id, was_here };
                out.push(Output::To(from, body));
            }
        }
    }

    fn broadcast(&mut self, from: Gateway, peer: PeerId, payload: Json, out: &mut Vec<Output>) {
        if !self.holds(from, peer) {
            return;
        }
        self.broadcasts += 1;
        out.push(Output::All(ProxyInput::Broadcast { from: peer, n: self.broadcasts, payload }));
    }

    fn kick(&self, now: Now, from: Gateway, by: PeerId, peer: PeerId, ban: bool, out: &mut Vec<Output>) {
        let admin = self
            .present
            .get(&by)
            .is_some_and(|p| p.entry.gateway == from && p.entry.member.seat.grants.admin);
        let refusal = if !admin {
            Refusal::new(ErrorCode::Forbidden, "grants: `admin` is missing")
        } else if let Some(revocation) = self.revocation(now, Some(by), peer, ban) {
            out.push(Output::Revoke(revocation));
            return;
        } else {
            Refusal::new(ErrorCode::BadPeer, "no such peer in this room")
        };
        out.push(Output::To(from, ProxyInput::Error { peer: by, refusal }));
    }

    /// What removing a peer has to commit first; none where it is not here.
    #[must_use]
    pub fn revocation(&self, now: Now, by: Option<PeerId>, peer: PeerId, ban: bool) -> Option<Revocation> {
        let member = &self.present.get(&peer)?.entry.member;
        let longest = limits::RESUME_TTL.max(limits::CREDENTIAL_TTL);
        let token_until = member.seat.token_until;
        Some(Revocation {
            by,
            peer,
            session: member.seat.session,
            session_until: now.unix + longest,
            identity: member.profile.identity.clone(),
            // The token that it came with must not bring it back; a ban outlasts even a fresh one.
            identity_until: if ban { token_until.max(now.unix + longest) } else { token_until },
            ban,
        })
    }

    /// The registry has committed a revocation, or could not.
    pub fn handle_revoked(&mut self, revocation: &Revocation, committed: bool, out: &mut Vec<Output>) {
        if committed {
            let reason = if revocation.ban { LeaveReason::Banned } else { LeaveReason::Kicked };
            self.remove(revocation.peer, reason, out);
        } else if let Some(by) = revocation.by
            && let Some(present) = self.present.get(&by)
        {
            let refusal = Refusal::new(ErrorCode::Unavailable, "the registry cannot commit right now")
                .retry_after(Duration::from_secs(1));
            out.push(Output::To(present.entry.gateway, ProxyInput::Error { peer: by, refusal }));
        }
    }

    /// Removes those whose grace is over.
    pub fn handle_timeout(&mut self, now: Now, out: &mut Vec<Output>) {
        let grace = self.policy.grace;
        let over = |present: &Present| present.away_since.is_some_and(|since| now.mono.since(since) >= grace);
        let lost: Vec<PeerId> =
            self.present.iter().filter(|(_, present)| over(present)).map(|(peer, _)| *peer).collect();
        for peer in lost {
            self.remove(peer, LeaveReason::Lost, out);
        }
    }

    /// When [`Self::handle_timeout`] has something to do.
    #[must_use]
    pub fn poll_timeout(&self) -> Mono {
        let deadlines = self.present.values().filter_map(|present| present.away_since);
        deadlines.min().map_or(Mono::NEVER, |since| since + self.policy.grace)
    }

    /// The attachment by which a peer is here.
    #[must_use]
    pub fn attach_of(&self, peer: PeerId) -> Option<Attach> {
        self.present.get(&peer).map(|present| present.entry.member.attach)
    }
}
