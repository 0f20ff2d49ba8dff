//! The proxy machine: a gateway's one representative of a room that it has sessions in. It keeps the
//! roster at the owner's change number, says how its own sessions are until the owner has it, and
//! fans one frame of the owner out to all of them. What it says of its own sessions is in [`own`], the way
//! around the owner in [`direct`].

mod direct;
mod own;

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use super::age::Began;
use super::code::LeaveReason;
use super::follow::{Roster, apply, change_frame, differences, digest};
use super::frame::ServerFrame;
use super::member::{Gateway, Member};
use super::route::{
    ChangeNews, DirectBody, Entry, FromRoom, FromSession, Held, Home, ProxyInput, RoomChange, RoomInput,
    Since, ToSession,
};
use crate::id::{Attach, Change, Epoch, PeerId, Shard};
use crate::limits;
use crate::time::{Mono, Now};
use direct::Custody;

/// What has not been answered is said again after this; it doubles up to [`REPEAT_MAX`].
const REPEAT_AFTER: Duration = Duration::from_millis(500);
/// See [`REPEAT_AFTER`].
const REPEAT_MAX: Duration = Duration::from_secs(8);

/// What a proxy asks of its shell.
#[derive(Debug, Clone)]
pub enum Output {
    /// Send to the room's owner, with the present shard and epoch.
    Room(RoomInput),
    /// Send to the owner of this shard, at this epoch: it asked, and the room is elsewhere.
    Asker((Shard, Epoch), RoomInput),
    /// Send to this gateway's proxy of the room, around the owner. Lost where it has none.
    Direct(Gateway, DirectBody),
    /// Hand to one session.
    Session(PeerId, ToSession),
    /// Hand to every session of this gateway, except one.
    Sessions(ToSession, Option<PeerId>),
    /// No session is left and nothing waits for an answer: it may be forgotten, once the room has
    /// been told [`RoomInput::Detach`].
    Idle,
}

/// Something that is said again until it is answered.
#[derive(Debug, Clone, Copy)]
struct Pending {
    at: Mono,
    wait: Duration,
}

impl Pending {
    fn new(now: Mono) -> Self {
        Self { at: now + REPEAT_AFTER, wait: REPEAT_AFTER }
    }

    /// Whether it is time to say it again; the next time is later.
    fn is_due(&mut self, now: Mono) -> bool {
        if self.at > now {
            return false;
        }
        self.wait = (self.wait * 2).min(REPEAT_MAX);
        self.at = now + self.wait;
        true
    }
}

#[derive(Debug)]
struct Own {
    member: Member,
    marks: BTreeMap<PeerId, u64>,
    presented: Attach,
    /// When its join was, and its present attachment's.
    began: Began,
    attached: Began,
    pending: Option<Pending>,
}

#[derive(Debug)]
struct Leaving {
    reason: LeaveReason,
    pending: Pending,
}

/// A gateway's representative of one room.
#[derive(Debug)]
pub struct Proxy {
    gateway: Gateway,
    shard: Shard,
    epoch: Epoch,
    /// Since when the room is there, as far as it was told.
    since: Since,
    /// Where the room was whose roster this is.
    followed: Option<(Shard, Epoch)>,
    n: Change,
    broadcasts: u64,
    roster: Roster,
    /// When the join of each in the roster was.
    began: BTreeMap<PeerId, Began>,
    left: VecDeque<(PeerId, LeaveReason)>,
    own: BTreeMap<PeerId, Own>,
    leaving: BTreeMap<PeerId, Leaving>,
    /// The attachment that is not answered yet; none while the roster is followed.
    attaching: Option<Pending>,
    check_at: Mono,
    repairs: u64,
    custody: Custody,
}

impl Proxy {
    /// Attaches `gateway`, which is this node, to the room in this shard.
    pub fn new(now: Now, gateway: Gateway, shard: Shard, epoch: Epoch, out: &mut Vec<Output>) -> Self {
        out.push(Output::Room(RoomInput::Attach { held: None, since: Since::default() }));
        Self {
            gateway,
            shard,
            epoch,
            since: Since::default(),
            followed: None,
            n: Change(0),
            broadcasts: 0,
            roster: Roster::new(),
            began: BTreeMap::new(),
            left: VecDeque::new(),
            own: BTreeMap::new(),
            leaving: BTreeMap::new(),
            attaching: Some(Pending::new(now.mono)),
            check_at: Mono::NEVER,
            repairs: 0,
            custody: Custody::new(),
        }
    }

    /// Where the room is, as far as it knows.
    #[must_use]
    pub const fn place(&self) -> (Shard, Epoch) {
        (self.shard, self.epoch)
    }

    /// Everybody in the room, as the owner last said.
    pub fn roster(&self) -> impl Iterator<Item = &Entry> {
        self.roster.values()
    }

    /// Those who left last.
    pub fn left(&self) -> impl Iterator<Item = PeerId> {
        self.left.iter().map(|(peer, _)| *peer)
    }

    /// Whether nothing of it is needed any more: no session is left, and a new owner has been told what is
    /// known of the room.
    #[must_use]
    pub fn is_idle(&self) -> bool {
        let tells = self.followed.is_some_and(|place| place != self.place());
        self.own.is_empty()
            && self.leaving.is_empty()
            && !(tells && (!self.left.is_empty() || !self.roster.is_empty()))
    }

    /// How many sessions of this gateway are in the room, or on their way into it.
    #[must_use]
    pub fn sessions(&self) -> usize {
        self.own.len()
    }

    /// How often the roster differed from the owner's at the same change number: a fault, mended.
    #[must_use]
    pub const fn repairs(&self) -> u64 {
        self.repairs
    }

    /// What one of its sessions says.
    pub fn handle_session(&mut self, now: Now, input: FromSession, out: &mut Vec<Output>) {
        match input {
            FromSession::Announce { member, marks, presented, age } => {
                let (began, attached) = (Began::ago(now.mono, age), Began::ago(now.mono, Duration::ZERO));
                let pending = Some(Pending::new(now.mono));
                self.announced(now, Own { member, marks, presented, began, attached, pending }, out);
            }
            FromSession::Leave { peer, reason } => {
                self.disconnect(peer);
                if self.leaving.len() >= limits::LEAVING_MAX {
                    self.leaving.pop_first();
                }
                self.leaving.insert(peer, Leaving { reason, pending: Pending::new(now.mono) });
                if self.attaching.is_none() {
                    out.push(Output::Room(RoomInput::Leave { peer, reason }));
                }
            }
            // What is lost here while there is no owner, its sender's outbox sends again.
            FromSession::Signal(signal) => self.signal(now, signal, false, out),
            FromSession::Again(signal) => self.signal(now, signal, true, out),
            FromSession::Ack(ack) => self.ack(now, ack, out),
            FromSession::Broadcast { from, payload } => {
                out.push(Output::Room(RoomInput::Broadcast { from, payload }));
            }
            FromSession::Kick { by, peer, ban } => out.push(Output::Room(RoomInput::Kick { by, peer, ban })),
        }
    }

    /// The registry moved the room's shard, or its owner started anew: attach there.
    pub fn handle_moved(&mut self, now: Now, shard: Shard, epoch: Epoch, out: &mut Vec<Output>) {
        if shard == self.shard && epoch <= self.epoch {
            return;
        }
        (self.shard, self.epoch) = (shard, epoch);
        self.suspect(now, out); // until the new owner has answered
        self.attach(now, out);
    }

    /// The same, heard from another node before the registry said so here.
    fn learn(&mut self, now: Now, shard: Shard, epoch: Epoch, out: &mut Vec<Output>) {
        if shard != self.shard || epoch > self.epoch {
            self.set_local(false);
        }
        self.handle_moved(now, shard, epoch, out);
    }

    fn attach(&mut self, now: Now, out: &mut Vec<Output>) {
        self.attaching = Some(Pending::new(now.mono));
        out.push(Output::Room(RoomInput::Attach { held: self.held(now), since: self.since }));
    }

    /// For a new owner, what is held of the former one's room, and who has come back meanwhile.
    fn held(&self, now: Now) -> Option<Box<Held>> {
        let returns = self.returns(now);
        if self.followed == Some(self.place()) || (self.followed.is_none() && returns.is_empty()) {
            return None;
        }
        let stays = |entry: &&Entry| !self.leaving.contains_key(&entry.member.seat.peer);
        let leaving = self.leaving.iter().map(|(peer, leaving)| (*peer, leaving.reason));
        Some(Box::new(Held {
            roster: self.roster.values().filter(stays).map(|entry| self.aged(now, entry)).collect(),
            left: self.left.iter().copied().chain(leaving).collect(),
            broadcasts: self.broadcasts,
            returns,
        }))
    }

    /// An entry of the roster, as old as it is by now.
    fn aged(&self, now: Now, entry: &Entry) -> Entry {
        let began = self.began.get(&entry.member.seat.peer);
        Entry { age_ms: began.map_or(0, |began| began.age_ms(now.mono)), ..entry.clone() }
    }

    /// What is said of where the room is (CLUSTER.md 10). True where that is all of the frame.
    fn handle_home(&mut self, now: Now, frame: &FromRoom, out: &mut Vec<Output>) -> bool {
        let (here, place) = (frame.shard == self.shard, (frame.shard, frame.epoch));
        match frame.body {
            ProxyInput::Homed { shard, epoch, since } => {
                // Who has the room knows where it goes; of others the later word counts.
                if since > self.since || (here && frame.epoch >= self.epoch) {
                    self.since = since;
                    self.learn(now, shard, epoch, out);
                }
                true
            }
            ProxyInput::Ask { since } if !here => {
                if since > self.since {
                    self.since = since;
                    self.learn(now, frame.shard, frame.epoch, out);
                } else {
                    let home = Home { shard: self.shard, since: self.since };
                    out.push(Output::Asker(place, RoomInput::Follows { home }));
                }
                true
            }
            _ => false,
        }
    }

    /// A frame of the room's owner.
    pub fn handle_room(&mut self, now: Now, frame: FromRoom, out: &mut Vec<Output>) {
        if self.handle_home(now, &frame, out) || frame.shard != self.shard || frame.epoch < self.epoch {
            return; // a former owner's
        }
        if frame.epoch > self.epoch {
            self.learn(now, frame.shard, frame.epoch, out);
            if !matches!(frame.body, ProxyInput::Signal(_) | ProxyInput::Ack(_)) {
                return; // it comes again, once attached
            }
        }
        match frame.body {
            ProxyInput::Homed { .. } | ProxyInput::Home { .. } => {} // for its site
            ProxyInput::Refused { epoch } => self.learn(now, frame.shard, epoch, out),
            ProxyInput::Ask { .. } if self.attaching.is_none() => self.attach(now, out), // it was forgotten
            ProxyInput::Ask { .. } => {}
            ProxyInput::Here { n, roster, left, broadcasts } => {
                self.here(now, n, roster, &left, broadcasts, out);
            }
            ProxyInput::Changed { n, broadcasts, change } => self.changed(now, n, broadcasts, change, out),
            ProxyInput::NotAdmitted { peer, refusal } => {
                if self.own.get(&peer).is_some_and(|own| own.pending.is_some()) {
                    self.disconnect(peer);
                    out.push(Output::Session(peer, ToSession::NotAdmitted(refusal)));
                    self.tell_idle(out);
                }
            }
            ProxyInput::Gone { peer, attach, presented, reason, tie } => {
                let same = |own: &Own| own.member.attach == attach && own.presented == presented;
                if self.own.get(&peer).is_some_and(same) {
                    self.disconnect(peer);
                    let over = if tie { ToSession::Elsewhere { tie } } else { ToSession::Gone(reason) };
                    out.push(Output::Session(peer, over));
                    self.tell_idle(out);
                }
            }
            ProxyInput::Signal(signal) => out.push(Output::Session(signal.to, ToSession::Signal(signal))),
            ProxyInput::Taken { from, to, id } => self.taken(now, (from, to), id),
            ProxyInput::Ack(ack) => {
                self.custody.taken(now, (ack.from, ack.to), ack.id);
                out.push(Output::Session(ack.from, ToSession::Ack(ack)));
            }
            ProxyInput::Undelivered { from, to, id, was_here } => {
                self.custody.taken(now, (from, to), u64::MAX);
                out.push(Output::Session(from, ToSession::Undelivered { to, id, was_here }));
            }
            ProxyInput::Broadcast { from, n, payload } => {
                if n > self.broadcasts {
                    self.broadcasts = n;
                    let text = ServerFrame::Broadcast { from, n, payload: &payload }.text();
                    out.push(Output::Sessions(ToSession::Text(text), Some(from)));
                }
            }
            ProxyInput::Error { peer, refusal } => {
                out.push(Output::Session(peer, ToSession::Error(refusal)));
            }
        }
    }

    /// All of the room: what differs from the roster held so far is told as changes, and what the
    /// owner does not know of this gateway's sessions is said again.
    fn here(
        &mut self,
        now: Now,
        n: Change,
        entries: Vec<Entry>,
        left: &[(PeerId, LeaveReason)],
        broadcasts: u64,
        out: &mut Vec<Output>,
    ) {
        let same_owner = self.followed == Some(self.place());
        if same_owner && n < self.n {
            return; // overtaken by the changes that followed it
        }
        let roster: Roster = entries.into_iter().map(|e| (e.member.seat.peer, e)).collect();
        let changes = differences(&self.roster, &roster, left, self.gateway);
        if same_owner && n == self.n && !changes.is_empty() {
            self.repairs += 1;
        }
        (self.n, self.broadcasts) = (n, self.broadcasts.max(broadcasts));
        (self.attaching, self.followed) = (None, Some(self.place()));
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
        let began = |(peer, entry): (&PeerId, &Entry)| (*peer, Began::ago_ms(now.mono, entry.age_ms));
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

    fn changed(&mut self, now: Now, n: Change, broadcasts: u64, change: RoomChange, out: &mut Vec<Output>) {
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
    fn forget(&mut self, peer: PeerId, reason: LeaveReason) {
        self.own.remove(&peer);
        self.leaving.remove(&peer);
        self.began.remove(&peer);
        self.custody.forget_peer(peer);
        self.remember_left(peer, reason);
    }

    fn remember_left(&mut self, peer: PeerId, reason: LeaveReason) {
        if self.left.iter().any(|(left, _)| *left == peer) {
            return;
        }
        if self.left.len() >= limits::LEFT_REMEMBERED {
            self.left.pop_front();
        }
        self.left.push_back((peer, reason));
    }

    /// Tells every session of one change.
    fn follow(&self, change: RoomChange, out: &mut Vec<Output>) {
        let hidden = match &change {
            RoomChange::Joined(entry) => entry.member.seat.grants.hidden,
            // Of one that clients have never seen they need not hear that it left.
            other => self.roster.get(&other.peer()).is_none_or(|entry| entry.member.seat.grants.hidden),
        };
        let text = (!hidden).then(|| change_frame(&change).text());
        out.push(Output::Sessions(ToSession::Changed(Arc::new(ChangeNews { change, text })), None));
    }

    fn tell_idle(&self, out: &mut Vec<Output>) {
        if self.is_idle() {
            out.push(Output::Idle);
        }
    }

    /// Says again what was not answered, and compares rosters.
    pub fn handle_timeout(&mut self, now: Now, out: &mut Vec<Output>) {
        self.check_custody(now, out);
        if let Some(attaching) = &mut self.attaching {
            if attaching.is_due(now.mono) {
                out.push(Output::Room(RoomInput::Attach { held: self.held(now), since: self.since }));
            }
            return;
        }
        let mut due = Vec::new();
        for (peer, own) in &mut self.own {
            if own.pending.as_mut().is_some_and(|pending| pending.is_due(now.mono)) {
                due.push(*peer);
            }
        }
        for peer in due {
            self.announce(now, peer, out);
        }
        for (peer, leaving) in &mut self.leaving {
            if leaving.pending.is_due(now.mono) {
                out.push(Output::Room(RoomInput::Leave { peer: *peer, reason: leaving.reason }));
            }
        }
        if self.check_at <= now.mono {
            self.check_at = now.mono + limits::ROSTER_CHECK_EVERY;
            out.push(Output::Room(RoomInput::Check { n: self.n, digest: digest(self.roster.values()) }));
            self.disown_all(now, out);
        }
    }

    /// The owner's node can be reached again: what waits does not wait for its turn.
    fn say_again(&mut self, now: Now, out: &mut Vec<Output>) {
        let at_once = Pending { at: now.mono, wait: REPEAT_AFTER / 2 };
        let own = self.own.values_mut().filter_map(|own| own.pending.as_mut());
        let leaving = self.leaving.values_mut().map(|leaving| &mut leaving.pending);
        for pending in own.chain(leaving).chain(&mut self.attaching) {
            *pending = at_once;
        }
        self.check_at = self.check_at.min(now.mono);
        self.handle_timeout(now, out);
        out.push(Output::Sessions(ToSession::Resend, None));
    }

    /// When [`Self::handle_timeout`] has something to do.
    #[must_use]
    pub fn poll_timeout(&self) -> Mono {
        let custody = self.custody.poll_timeout();
        if let Some(attaching) = self.attaching {
            return custody.min(attaching.at);
        }
        let own = self.own.values().filter_map(|own| own.pending).map(|pending| pending.at);
        let leaving = self.leaving.values().map(|leaving| leaving.pending.at);
        own.chain(leaving).min().unwrap_or(Mono::NEVER).min(self.check_at).min(custody)
    }

    /// The attachment that a session of this gateway announced last.
    #[must_use]
    pub fn attach_of(&self, peer: PeerId) -> Option<Attach> {
        self.own.get(&peer).map(|own| own.member.attach)
    }
}
