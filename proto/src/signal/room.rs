//! The room machine: the one truth about who is in a room, on its owner. Who comes in, stays and
//! returns is in [`admission`], what a new owner learns of the former one's room in [`adoption`], what
//! it may still do without a lease in [`frozen`].

mod admission;
mod adoption;
mod frozen;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::ops::Bound;
use std::time::Duration;

use super::age::Began;
use super::code::{ErrorCode, LeaveReason, Refusal};
use super::follow::digest;
use super::json::Json;
use super::member::{Gateway, Policy};
use super::route::{Ack, Entry, ProxyInput, RoomChange, RoomInput, Signal};
use crate::id::{Attach, Change, Epoch, Identity, NodeId, PeerId, SessionId};
use crate::limits;
use crate::time::{Mono, Now, Unix};
use frozen::Frozen;

/// What a room asks of its shell.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Output {
    /// Tell one gateway.
    To(Gateway, ProxyInput),
    /// Tell every attached gateway.
    All(ProxyInput),
    /// Commit this revocation to the registry, then answer by [`Room::handle_revoked`].
    Revoke(Revocation),
    /// A peer has left of its own will: its session's allocations are to end on every edge.
    End(SessionId),
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
    /// Whether that time lies ahead.
    pub bars_identity: bool,
    /// Whether it is a ban.
    pub ban: bool,
}

/// Answers whether a session or an identity is revoked in this room, from the applied registry.
pub type Revoked<'a> = &'a dyn Fn(SessionId, Option<&Identity>) -> bool;

#[derive(Debug)]
struct Present {
    entry: Entry,
    /// When its join reached its gateway,
    began: Began,
    /// and its present attachment did, where its gateway has said so here.
    attached: Option<Began>,
    /// Since when no gateway says that it holds its socket.
    absent_since: Option<Mono>,
}

/// A room, under one epoch of its shard.
#[derive(Debug)]
pub struct Room {
    epoch: Epoch,
    n: Change,
    policy: Policy,
    present: BTreeMap<PeerId, Present>,
    identities: BTreeMap<Identity, PeerId>,
    gateways: BTreeSet<Gateway>,
    broadcasts: u64,
    left: VecDeque<(PeerId, LeaveReason)>,
    /// When it began, for as long as a former owner's peers may still come back.
    settling_since: Option<Mono>,
    settled: bool,
    /// Live gateways that have not attached to this owner yet, and when to ask them again.
    expected: BTreeSet<Gateway>,
    ask_at: Mono,
    /// Gateways that have said what they hold of a former owner's room.
    heard: BTreeSet<Gateway>,
    /// The node that it runs on: that node's own gateway needs no word of custody.
    here: Option<NodeId>,
    frozen: Option<Box<Frozen>>,
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
            settling_since: None,
            settled: false,
            expected: BTreeSet::new(),
            ask_at: Mono::NEVER,
            heard: BTreeSet::new(),
            here: None,
            frozen: None,
        }
    }

    /// The node that it runs on: signals of that node's own gateway cannot be lost between, so that it is
    /// not told [`ProxyInput::Taken`].
    pub const fn set_node(&mut self, node: NodeId) {
        self.here = Some(node);
    }

    /// The epoch that it runs under.
    #[must_use]
    pub const fn epoch(&self) -> Epoch {
        self.epoch
    }

    /// Whether nobody is in it and no gateway follows it: it may be forgotten.
    #[must_use]
    pub fn is_idle(&self) -> bool {
        self.present.is_empty() && self.gateways.is_empty() && self.expected.is_empty()
    }

    /// Everybody in it.
    pub fn entries(&self) -> impl Iterator<Item = &Entry> {
        self.present.values().map(|present| &present.entry)
    }

    /// The number of its last change.
    #[must_use]
    pub const fn last_change(&self) -> Change {
        self.n
    }

    /// Those who left last.
    pub fn left(&self) -> impl Iterator<Item = PeerId> {
        self.left.iter().map(|(peer, _)| *peer)
    }

    /// The gateways that follow it.
    pub fn gateways(&self) -> impl Iterator<Item = Gateway> {
        self.gateways.iter().copied()
    }

    /// A frame of a gateway's proxy, at this room's epoch. The shell drops those of generations that
    /// the registry knows to be over.
    pub fn handle(
        &mut self,
        now: Now,
        from: Gateway,
        input: RoomInput,
        revoked: Revoked<'_>,
        out: &mut Vec<Output>,
    ) {
        self.heard_from(now, from, input, revoked, out);
        self.watch_over(now);
    }

    fn heard_from(
        &mut self,
        now: Now,
        from: Gateway,
        input: RoomInput,
        revoked: Revoked<'_>,
        out: &mut Vec<Output>,
    ) {
        let next = self.gateways.range((Bound::Excluded(from), Bound::Unbounded)).next();
        if next.is_some_and(|next| next.node == from.node) {
            return; // a frame of that node's former life
        }
        let attaches = matches!(input, RoomInput::Attach { .. } | RoomInput::Detach);
        if !attaches && !self.gateways.contains(&from) {
            // Forgotten, or faster than its attachment, which comes with what it holds.
            out.push(Output::To(from, ProxyInput::Ask));
            return;
        }
        if self.frozen.is_some() {
            return self.handle_frozen(now, from, input, out);
        }
        self.settle(now);
        match input {
            RoomInput::Attach { held } => self.attach(now, from, held.map(|held| *held), revoked, out),
            RoomInput::Detach => self.detach(now, from, out),
            RoomInput::Check { n, digest: theirs } => {
                self.expel(revoked, out);
                if n != self.n || theirs != digest(self.entries()) {
                    self.here(now, from, out);
                }
            }
            RoomInput::Announce { member, marks, presented, age_ms, attached_ms } => {
                let entry = Entry { gateway: from, member, presented, age_ms };
                let attached = Began::ago_ms(now.mono, attached_ms);
                self.announce(now, entry, attached, marks, revoked, out);
            }
            RoomInput::Leave { peer, reason } => {
                if self.holds(from, peer) {
                    self.remove(peer, reason, out);
                } else {
                    self.here(now, from, out); // a repetition, or it has come back by another gateway since
                }
            }
            RoomInput::Signal(signal) => self.signal(from, signal, out),
            RoomInput::Ack(ack) => self.ack(from, ack, out),
            RoomInput::Broadcast { from: peer, payload } => self.broadcast(from, peer, payload, out),
            RoomInput::Kick { by, peer, ban } => self.kick(now, from, by, peer, ban, out),
        }
    }

    /// All of the room, for a gateway that follows it.
    fn here(&self, now: Now, to: Gateway, out: &mut Vec<Output>) {
        let entry =
            |present: &Present| Entry { age_ms: present.began.age_ms(now.mono), ..present.entry.clone() };
        let (roster, left) =
            (self.present.values().map(entry).collect(), self.left.iter().copied().collect());
        let (n, broadcasts) = (self.n, self.broadcasts);
        out.push(Output::To(to, ProxyInput::Here { n, roster, left, broadcasts }));
    }

    fn detach(&mut self, now: Now, from: Gateway, out: &mut Vec<Output>) {
        self.gateways.remove(&from);
        self.turn_away(now, |present| present.entry.gateway == from, out);
        let waited = self.expected.remove(&from);
        self.open(now, waited, out);
    }

    /// A gateway's process has ended, or it is cut off for good: the peers there are away.
    pub fn handle_gateway_lost(&mut self, now: Now, lost: Gateway, out: &mut Vec<Output>) {
        if self.lost_while_frozen(lost) {
            return;
        }
        let of_it = |gateway: Gateway| gateway.node == lost.node && gateway.generation <= lost.generation;
        self.gateways.retain(|gateway| !of_it(*gateway));
        self.turn_away(now, |present| of_it(present.entry.gateway), out);
        let waited = !self.expected.is_empty();
        self.expected.retain(|gateway| !of_it(*gateway));
        self.open(now, waited, out);
        self.watch_over(now);
    }

    /// Those whose gateway no longer speaks for them have no socket; their grace begins.
    fn turn_away(&mut self, now: Now, is_so: impl Fn(&Present) -> bool, out: &mut Vec<Output>) {
        let mut away = Vec::new();
        for (peer, present) in &mut self.present {
            if !present.entry.member.away && is_so(present) {
                present.absent_since.get_or_insert(now.mono);
                let Entry { gateway, member, .. } = &mut present.entry;
                member.away = true;
                away.push(RoomChange::Away { peer: *peer, attach: member.attach, gateway: *gateway });
            }
        }
        for change in away {
            self.change(change, out);
        }
    }

    fn remove(&mut self, peer: PeerId, reason: LeaveReason, out: &mut Vec<Output>) {
        let Some(present) = self.present.remove(&peer) else { return };
        let member = &present.entry.member;
        if let Some(identity) = &member.profile.identity
            && self.identities.get(identity) == Some(&peer)
        {
            self.identities.remove(identity);
        }
        self.remember_left(peer, reason);
        if reason == LeaveReason::Left {
            out.push(Output::End(member.seat.session));
        }
        self.change(RoomChange::Left { peer, reason }, out);
    }

    fn remember_left(&mut self, peer: PeerId, reason: LeaveReason) {
        if self.left.len() >= limits::LEFT_REMEMBERED {
            self.left.pop_front();
        }
        self.left.push_back((peer, reason));
    }

    fn left_for(&self, peer: PeerId) -> Option<LeaveReason> {
        self.left.iter().find(|(left, _)| *left == peer).map(|(_, reason)| *reason)
    }

    fn change(&mut self, change: RoomChange, out: &mut Vec<Output>) {
        self.n.0 += 1;
        out.push(Output::All(ProxyInput::Changed { n: self.n, broadcasts: self.broadcasts, change }));
    }

    /// Removes those whom the registry has revoked and nobody here was told of: a former owner asked for it,
    /// and was one no more when it was committed.
    fn expel(&mut self, revoked: Revoked<'_>, out: &mut Vec<Output>) {
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

    fn holds(&self, gateway: Gateway, peer: PeerId) -> bool {
        self.present.get(&peer).is_some_and(|present| present.entry.gateway == gateway)
    }

    fn signal(&self, from: Gateway, signal: Signal, out: &mut Vec<Output>) {
        if !self.holds(from, signal.from) {
            return; // a former gateway's; the present one sends it again
        }
        let (from_peer, to, id) = (signal.from, signal.to, signal.id);
        match self.present.get(&to) {
            // Its sender's gateway holds it and sends it again when the receiver is back,
            Some(to) if to.entry.member.away => {}
            Some(to) => out.push(Output::To(to.entry.gateway, ProxyInput::Signal(signal))),
            None => {
                let was_here = self.left_for(to).is_some();
                // or has come back to this owner, who may not know all where it holds no lease.
                if was_here || (self.settled && self.frozen.is_none()) {
                    let body = ProxyInput::Undelivered { from: from_peer, to, id, was_here };
                    out.push(Output::To(from, body));
                    return;
                }
            }
        }
        if self.here != Some(from.node) {
            out.push(Output::To(from, ProxyInput::Taken { from: from_peer, to, id }));
        }
    }

    fn ack(&self, from: Gateway, ack: Ack, out: &mut Vec<Output>) {
        if self.holds(from, ack.to)
            && let Some(sender) = self.present.get(&ack.from)
        {
            out.push(Output::To(sender.entry.gateway, ProxyInput::Ack(ack)));
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
        } else if let Some(by) = revocation.by
            && let Some(present) = self.present.get(&by)
        {
            let refusal = Refusal::new(ErrorCode::Unavailable, "the registry cannot commit right now")
                .retry_after(Duration::from_secs(1));
            out.push(Output::To(present.entry.gateway, ProxyInput::Error { peer: by, refusal }));
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

    /// Removes those whose grace is over, and says who of a former owner's room did not come back.
    pub fn handle_timeout(&mut self, now: Now, out: &mut Vec<Output>) {
        if self.frozen.is_some() {
            return;
        }
        self.settle(now);
        let grace = self.policy.grace;
        let over =
            |present: &Present| present.absent_since.is_some_and(|since| now.mono.since(since) >= grace);
        let lost: Vec<PeerId> =
            self.present.iter().filter(|(_, present)| over(present)).map(|(peer, _)| *peer).collect();
        for peer in lost {
            self.remove(peer, LeaveReason::Lost, out);
        }
        self.doubt(now, out);
        self.ask(now, out);
        self.watch_over(now);
    }

    /// When [`Self::handle_timeout`] has something to do.
    #[must_use]
    pub fn poll_timeout(&self) -> Mono {
        if self.frozen.is_some() {
            return Mono::NEVER;
        }
        let wait =
            |present: &Present| if present.entry.member.away { self.policy.grace } else { self.doubted() };
        let deadline = |present: &Present| present.absent_since.map(|since| since + wait(present));
        self.present.values().filter_map(deadline).min().unwrap_or(Mono::NEVER).min(self.ask_at)
    }

    /// The attachment by which a peer is here.
    #[must_use]
    pub fn attach_of(&self, peer: PeerId) -> Option<Attach> {
        self.present.get(&peer).map(|present| present.entry.member.attach)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::id::{Generation, NodeId};
    use crate::signal::member::{Grants, Member, Profile, Seat};

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
        };
        let identity = Some(Identity::new(identity).unwrap());
        let profile = Profile { identity, name: None, metadata: None };
        let (attach, away, admitted) = (Attach(1), false, None);
        let member = Member { seat, profile, version: 0, attach, away, admitted };
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
        room.handle(NOW, GATEWAY, RoomInput::Attach { held: None }, &|_, _| false, &mut out);
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
        room.handle(NOW, GATEWAY, RoomInput::Attach { held: None }, &|_, _| false, &mut out);
        let ada = announce(&mut room, 1, "ada", &mut out);
        let bob = announce(&mut room, 2, "bob", &mut out);
        out.clear();
        // The registry had it after this owner had taken bob over.
        let revoked = |session: SessionId, _: Option<&Identity>| session == SessionId::from_random([2; 15]);
        let check = RoomInput::Check { n: room.n, digest: digest(room.entries()) };
        room.handle(NOW, GATEWAY, check, &revoked, &mut out);
        assert!(room.attach_of(bob).is_none() && room.attach_of(ada).is_some());
        let told = |o: &Output| matches!(o, Output::All(ProxyInput::Changed { change: RoomChange::Left { peer, reason: LeaveReason::Kicked }, .. }) if *peer == bob);
        assert!(out.iter().any(told), "{out:?}");
    }
}
