//! The room machine: the one truth about who is in a room, on its owner. Who comes in, stays and
//! returns is in [`admission`], who is sent away in [`removal`], what passes between peers in [`relay`], what a new
//! owner learns of the former one's room in [`adoption`], what it may still do without a lease in [`frozen`], what
//! operators and admins decide of it in [`decided`], who waits to be let in in [`lobby`].

mod admission;
mod adoption;
mod decided;
mod frozen;
mod lobby;
mod relay;
mod removal;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::ops::Bound;
use std::time::Duration;

use super::age::Began;
use super::code::LeaveReason;
use super::follow::digest;
use super::lobby::Knock;
use super::member::{Gateway, Policy};
use super::route::{Entry, ProxyInput, RoomChange, RoomInput, Since};
use crate::id::{Attach, Change, Epoch, Identity, NodeId, PeerId, SessionId};
use crate::limits;
use crate::time::{Mono, Now, Unix};
use frozen::Frozen;
use lobby::Waiter;

/// What a room asks of its shell.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Output {
    /// Tell one gateway.
    To(Gateway, ProxyInput),
    /// Tell every attached gateway.
    All(ProxyInput),
    /// Commit this revocation to the registry, then answer by [`Room::handle_revoked`].
    Revoke(Revocation),
    /// A peer has left of its own will or was moved, or its room was closed: its session's allocations are to end on every edge.
    End(SessionId),
    /// Somebody has begun to wait to be let in.
    Knocked(Knock),
    /// Send to the owner of the room's anchor. A [site](super::site::Site) says it, a room never does.
    Anchor(RoomInput),
}

/// A kick or a ban to be committed before it is answered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Revocation {
    /// Who asked, and by which gateway; none where an operator did.
    pub by: Option<(PeerId, Gateway)>,
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
    /// Whoever may come back is known to a gateway that lives.
    unbroken: bool,
    /// Live gateways that have not attached to this owner yet, and when to ask them again.
    expected: BTreeSet<Gateway>,
    ask_at: Mono,
    /// Gateways that have said what they hold of a former owner's room.
    heard: BTreeSet<Gateway>,
    /// The node that it runs on: that node's own gateway needs no word of custody.
    here: Option<NodeId>,
    frozen: Option<Box<Frozen>>,
    /// It was closed while some were away: until when they may come back to hear it.
    closed_until: Mono,
    /// Newcomers who wait until somebody lets them in.
    lobby: BTreeMap<PeerId, Waiter>,
    /// Who was denied, and when it may knock again, the earliest first: the last [`limits::LOBBY_MAX`] of them.
    denied: VecDeque<(Identity, Mono)>,
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
            unbroken: false,
            expected: BTreeSet::new(),
            ask_at: Mono::NEVER,
            heard: BTreeSet::new(),
            here: None,
            frozen: None,
            closed_until: Mono::NEVER,
            lobby: BTreeMap::new(),
            denied: VecDeque::new(),
        }
    }

    /// The node that it runs on: signals of that node's own gateway cannot be lost between, so that it is
    /// not told [`ProxyInput::Taken`].
    pub const fn set_node(&mut self, node: NodeId) {
        self.here = Some(node);
    }

    /// How long it waits for those who are away.
    #[must_use]
    pub const fn grace(&self) -> Duration {
        self.policy.grace
    }

    /// The epoch that it runs under.
    #[must_use]
    pub const fn epoch(&self) -> Epoch {
        self.epoch
    }

    /// Whether nobody is in it and no gateway follows it: it may be forgotten.
    #[must_use]
    pub fn is_idle(&self) -> bool {
        let knocks = self.frozen.as_ref().is_some_and(|frozen| frozen.knocks());
        let tells = self.closed_until < Mono::NEVER || !self.denied.is_empty();
        self.present.is_empty() && self.gateways.is_empty() && self.expected.is_empty() && !knocks && !tells
    }

    /// Whether no gateway is waited for: newcomers are let in.
    #[must_use]
    pub fn is_open(&self) -> bool {
        self.expected.is_empty()
    }

    /// How many are in it.
    #[must_use]
    pub fn len(&self) -> usize {
        self.present.len()
    }

    /// Whether nobody is.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.present.is_empty()
    }

    /// The number of the last broadcast.
    #[must_use]
    pub const fn broadcasts(&self) -> u64 {
        self.broadcasts
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

    /// Those, and the ones that would follow it once it may be changed again.
    pub(super) fn followers(&self) -> BTreeSet<Gateway> {
        let knocked = self.frozen.iter().flat_map(|frozen| frozen.knocked());
        self.gateways.iter().copied().chain(knocked).collect()
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
            if let Some((peer, refusal)) = input.unheard() {
                out.push(Output::To(from, ProxyInput::Error { peer, refusal }));
            }
            out.push(Output::To(from, ProxyInput::Ask { since: Since::default() }));
            return;
        }
        if self.frozen.is_some() {
            return self.handle_frozen(now, from, input, out);
        }
        self.settle(now);
        match input {
            RoomInput::Attach { held, .. } => self.attach(now, from, held.map(|held| *held), revoked, out),
            RoomInput::Detach => self.detach(now, from, out),
            RoomInput::Check { n, digest: theirs, lobby } => {
                self.expel(revoked, out);
                let differs = n != self.n || theirs != digest(self.entries());
                if differs {
                    self.here(now, from, out); // with the lobby, where anybody waits
                }
                if !differs || !self.has_knocks() {
                    self.compare_lobby(from, lobby, out);
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
                    self.stops_waiting(peer, out);
                    self.here(now, from, out); // a repetition, or it has come back by another gateway since
                }
            }
            RoomInput::Signal(signal) => self.signal(from, signal, out),
            RoomInput::Ack(ack) => self.ack(from, ack, out),
            RoomInput::Broadcast { from: peer, payload } => self.broadcast(from, peer, payload, out),
            RoomInput::Kick { by, peer, ban } => self.kick(now, from, by, peer, ban, out),
            RoomInput::Mute { by, peer, muting } => self.mute_for(from, by, peer, muting, out),
            RoomInput::Judge { by, peer, verdict } => self.judge_for(now, from, (by, peer), &verdict, out),
            RoomInput::Follows { .. } | RoomInput::AtHome { .. } => {} // the site's
        }
    }

    /// All of the room, for a gateway that follows it.
    fn here(&self, now: Now, to: Gateway, out: &mut Vec<Output>) {
        if self.has_knocks() {
            self.tell_lobby_to(to, out); // before its admins are welcomed by what follows
        }
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
        self.forget_waiting_at(|gateway| gateway == from, out);
        let waited = self.expected.remove(&from);
        self.open(now, waited, out);
    }

    /// A gateway's process has ended, or it is cut off for good: the peers there are away.
    pub fn handle_gateway_lost(&mut self, now: Now, lost: Gateway, out: &mut Vec<Output>) {
        if self.lost_while_frozen(lost) {
            return;
        }
        self.gateways.retain(|gateway| !gateway.ended_with(lost));
        self.turn_away(now, |present| present.entry.gateway.ended_with(lost), out);
        self.forget_waiting_at(|gateway| gateway.ended_with(lost), out);
        let waited = self.expected.len();
        self.expected.retain(|gateway| !gateway.ended_with(lost));
        let waited = if self.expected.len() < waited {
            // Nobody knows who was there, and they have a grace from now on.
            (self.unbroken, self.settling_since) = (false, Some(now.mono));
            true
        } else {
            false
        };
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
        if matches!(reason, LeaveReason::Left | LeaveReason::Closed | LeaveReason::Moved) {
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

    fn holds(&self, gateway: Gateway, peer: PeerId) -> bool {
        self.present.get(&peer).is_some_and(|present| present.entry.gateway == gateway)
    }

    /// Removes those whose grace is over, and says who of a former owner's room did not come back.
    pub fn handle_timeout(&mut self, now: Now, out: &mut Vec<Output>) {
        if self.frozen.is_some() {
            return;
        }
        self.settle(now);
        if self.closed_until <= now.mono {
            self.closed_until = Mono::NEVER;
        }
        // One who is missed may be back at a live gateway that has not been heard yet.
        let grace = if self.is_open() { self.policy.grace } else { Duration::MAX };
        let over =
            |present: &Present| present.absent_since.is_some_and(|since| now.mono.since(since) >= grace);
        let lost: Vec<PeerId> =
            self.present.iter().filter(|(_, present)| over(present)).map(|(peer, _)| *peer).collect();
        for peer in lost {
            self.remove(peer, LeaveReason::Lost, out);
        }
        self.doubt(now, out);
        self.check_lobby(now, out);
        self.ask(now, out);
        self.watch_over(now);
    }

    /// When [`Self::handle_timeout`] has something to do.
    #[must_use]
    pub fn poll_timeout(&self) -> Mono {
        if self.frozen.is_some() {
            return Mono::NEVER;
        }
        let wait = |present: &Present| match present.entry.member.away {
            false => Some(self.doubted()),
            true => self.is_open().then_some(self.policy.grace),
        };
        let deadline = |present: &Present| Some(present.absent_since? + wait(present)?);
        let deadline = self.present.values().filter_map(deadline).min().unwrap_or(Mono::NEVER);
        deadline.min(self.ask_at).min(self.closed_until).min(self.lobby_ends_at())
    }

    /// The attachment by which a peer is here.
    #[must_use]
    pub fn attach_of(&self, peer: PeerId) -> Option<Attach> {
        self.present.get(&peer).map(|present| present.entry.member.attach)
    }
}
