//! The proxy machine: a gateway's one representative of a room that it has sessions in. It keeps the
//! roster at the owner's change number, says how its own sessions are until the owner has it, and
//! fans one frame of the owner out to all of them. Where that owner is is in [`place`], the roster in
//! [`roster`], what it says of its own sessions in [`own`], who waits to be let in in [`lobby`], the way around the owner in
//! [`direct`].

mod direct;
mod lobby;
mod own;
mod place;
mod roster;

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use super::age::Began;
use super::code::LeaveReason;
use super::follow::{Roster, digest};
use super::frame::ServerFrame;
use super::lobby::Knock;
use super::member::{Gateway, Member};
use super::route::{DirectBody, Entry, FromRoom, FromSession, ProxyInput, RoomInput, Since, ToSession};
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
    /// Whether it has gone to another owner since, be it in the same place.
    moved: bool,
    n: Change,
    broadcasts: u64,
    roster: Roster,
    /// When the join of each in the roster was.
    began: BTreeMap<PeerId, Began>,
    left: VecDeque<(PeerId, LeaveReason)>,
    /// Those of whom an owner has said that they cannot come back, though it had never heard of them.
    unknown: VecDeque<PeerId>,
    own: BTreeMap<PeerId, Own>,
    leaving: BTreeMap<PeerId, Leaving>,
    /// The attachment that is not answered yet; none while the roster is followed.
    attaching: Option<Pending>,
    check_at: Mono,
    repairs: u64,
    custody: Custody,
    /// Who waits to be let in, as the owner last said: nobody where none of its own sessions may answer.
    lobby: Arc<Vec<Knock>>,
}

impl Proxy {
    /// Attaches `gateway`, which is this node, to the room in this shard.
    pub fn new(now: Now, gateway: Gateway, shard: Shard, epoch: Epoch, out: &mut Vec<Output>) -> Self {
        out.push(Output::Room(RoomInput::attach()));
        Self {
            gateway,
            shard,
            epoch,
            since: Since::default(),
            followed: None,
            moved: false,
            n: Change(0),
            broadcasts: 0,
            roster: Roster::new(),
            began: BTreeMap::new(),
            left: VecDeque::new(),
            unknown: VecDeque::new(),
            own: BTreeMap::new(),
            leaving: BTreeMap::new(),
            attaching: Some(Pending::new(now.mono)),
            check_at: Mono::NEVER,
            repairs: 0,
            custody: Custody::new(),
            lobby: Arc::default(),
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

    /// Those who left last, and those who cannot come back.
    pub fn left(&self) -> impl Iterator<Item = PeerId> {
        self.left.iter().map(|(peer, _)| *peer).chain(self.unknown.iter().copied())
    }

    /// Whether nothing of it is needed any more: no session is left, not even one that was lost without a word
    /// and may come back, and a new owner has been told what is known of the room.
    #[must_use]
    pub fn is_idle(&self) -> bool {
        let tells = self.followed.is_some() && self.moved;
        self.own.is_empty()
            && self.leaving.is_empty()
            && !self.roster.values().any(|entry| entry.gateway == self.gateway)
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
                self.ask(RoomInput::Broadcast { from, payload }, out);
            }
            FromSession::Kick { by, peer, ban } => self.ask(RoomInput::Kick { by, peer, ban }, out),
            FromSession::Mute { by, peer, muting } => self.ask(RoomInput::Mute { by, peer, muting }, out),
            FromSession::Judge { by, peer, verdict } => {
                self.ask(RoomInput::Judge { by, peer, verdict }, out);
            }
        }
    }

    /// What is not said again is asked of an owner that hears this gateway, or of none.
    fn ask(&self, input: RoomInput, out: &mut Vec<Output>) {
        let unheard = input.unheard().filter(|_| self.attaching.is_some());
        out.push(match unheard {
            Some((peer, refusal)) => Output::Session(peer, ToSession::Error(refusal)),
            None => Output::Room(input),
        });
    }

    /// A frame of the room's owner.
    pub fn handle_room(&mut self, now: Now, frame: FromRoom, out: &mut Vec<Output>) {
        // Whoever refuses, and when: it is not said again.
        if let ProxyInput::Error { peer, refusal } = frame.body {
            return out.push(Output::Session(peer, ToSession::Error(refusal)));
        }
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
            ProxyInput::Homed { .. } | ProxyInput::Home { .. } | ProxyInput::Error { .. } => {} // not for it
            ProxyInput::Refused { epoch } => self.learn(now, frame.shard, epoch, out),
            ProxyInput::Ask { .. } if self.attaching.is_none() => {
                self.moved = true; // it was forgotten: that is another room, though it may be in the same place
                self.attach(now, out);
            }
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
            ProxyInput::Waits { peer, position } => {
                if self.own.get(&peer).is_some_and(|own| own.pending.is_some()) {
                    out.push(Output::Session(peer, ToSession::Waiting { position }));
                }
            }
            ProxyInput::Lobby { waiting } => self.hear_lobby(waiting, out),
            ProxyInput::Knock(knock) => self.hear_knock(knock, out),
            ProxyInput::KnockGone { peer } => self.hear_knock_gone(peer, out),
            ProxyInput::Signal(signal) => out.push(Output::Session(signal.to, ToSession::Signal(signal))),
            ProxyInput::Taken { from, to, id } => self.taken(now, (from, to), id),
            ProxyInput::Ack(ack) => {
                self.custody.taken(now, (ack.from, ack.to), ack.id);
                out.push(Output::Session(ack.from, ToSession::Ack(ack)));
            }
            ProxyInput::Undelivered { from, to, id, was_here } => {
                self.custody.taken(now, (from, to), u64::MAX);
                if !was_here {
                    self.remember_unknown(to);
                }
                out.push(Output::Session(from, ToSession::Undelivered { to, id, was_here }));
            }
            ProxyInput::Broadcast { from, n, payload } => {
                if n > self.broadcasts {
                    self.broadcasts = n;
                    let text = ServerFrame::Broadcast { from, n, payload: &payload }.text();
                    out.push(Output::Sessions(ToSession::Text(text), from));
                }
            }
        }
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
            let (digest, lobby) = (digest(self.roster.values()), self.lobby_digest());
            out.push(Output::Room(RoomInput::Check { n: self.n, digest, lobby }));
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
