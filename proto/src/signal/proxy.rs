//! The proxy machine: a gateway's one representative of a room that it has sessions in. It keeps the
//! roster at the owner's change number, says how its own sessions are until the owner has it, and
//! fans one frame of the owner out to all of them.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use super::code::LeaveReason;
use super::frame::{PeerChange, PeerView, ServerFrame};
use super::member::Member;
use super::route::{ChangeNews, Entry, FromRoom, FromSession, ProxyInput, RoomChange, RoomInput, ToSession};
use crate::id::{Attach, Change, Epoch, PeerId, Shard};
use crate::time::{Mono, Now};

/// What has not been answered is said again after this; it doubles up to [`REPEAT_MAX`].
const REPEAT_AFTER: Duration = Duration::from_millis(500);
/// See [`REPEAT_AFTER`].
const REPEAT_MAX: Duration = Duration::from_secs(8);

/// What a proxy asks of its shell.
#[derive(Debug, Clone)]
pub enum Output {
    /// Send to the room's owner, with the present shard and epoch.
    Room(RoomInput),
    /// Hand to one session.
    Session(PeerId, ToSession),
    /// Hand to every session of this gateway, except one.
    Sessions(ToSession, Option<PeerId>),
    /// No session is left and nothing waits for an answer: it may be forgotten.
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

    fn again(&mut self, now: Mono) {
        self.wait = (self.wait * 2).min(REPEAT_MAX);
        self.at = now + self.wait;
    }
}

struct Own {
    member: Member,
    marks: BTreeMap<PeerId, u64>,
    pending: Option<Pending>,
}

struct Leaving {
    reason: LeaveReason,
    pending: Pending,
}

/// A gateway's representative of one room.
pub struct Proxy {
    shard: Shard,
    epoch: Epoch,
    n: Change,
    broadcasts: u64,
    roster: BTreeMap<PeerId, Entry>,
    own: BTreeMap<PeerId, Own>,
    leaving: BTreeMap<PeerId, Leaving>,
    /// The attachment that is not answered yet; none while the roster is followed.
    attaching: Option<Pending>,
}

impl Proxy {
    /// Attaches to the room in this shard.
    pub fn new(now: Now, shard: Shard, epoch: Epoch, out: &mut Vec<Output>) -> Self {
        out.push(Output::Room(RoomInput::Attach));
        Self {
            shard,
            epoch,
            n: Change(0),
            broadcasts: 0,
            roster: BTreeMap::new(),
            own: BTreeMap::new(),
            leaving: BTreeMap::new(),
            attaching: Some(Pending::new(now.mono)),
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

    /// Whether nothing of it is needed any more.
    #[must_use]
    pub fn is_idle(&self) -> bool {
        self.own.is_empty() && self.leaving.is_empty()
    }

    /// What one of its sessions says.
    pub fn handle_session(&mut self, now: Now, input: FromSession, out: &mut Vec<Output>) {
        match input {
            FromSession::Announce { member, marks } => {
                let peer = member.seat.peer;
                self.own.insert(peer, Own { member, marks, pending: Some(Pending::new(now.mono)) });
                if self.attaching.is_none() {
                    self.announce(peer, out);
                }
            }
            FromSession::Leave { peer, reason } => {
                self.own.remove(&peer);
                self.leaving.insert(peer, Leaving { reason, pending: Pending::new(now.mono) });
                if self.attaching.is_none() {
                    out.push(Output::Room(RoomInput::Leave { peer, reason }));
                }
            }
            // What is lost here while there is no owner, its sender's outbox sends again.
            FromSession::Signal(signal) => out.push(Output::Room(RoomInput::Signal(signal))),
            FromSession::Ack(ack) => out.push(Output::Room(RoomInput::Ack(ack))),
            FromSession::Broadcast { from, payload } => {
                out.push(Output::Room(RoomInput::Broadcast { from, payload }));
            }
            FromSession::Kick { by, peer, ban } => out.push(Output::Room(RoomInput::Kick { by, peer, ban })),
        }
    }

    /// A session's actor is gone without a word: it leaves.
    pub fn handle_session_lost(&mut self, now: Now, peer: PeerId, out: &mut Vec<Output>) {
        if self.own.contains_key(&peer) {
            self.handle_session(now, FromSession::Leave { peer, reason: LeaveReason::Lost }, out);
        }
    }

    /// The registry moved the room's shard, or its owner started anew: attach there.
    pub fn handle_moved(&mut self, now: Now, shard: Shard, epoch: Epoch, out: &mut Vec<Output>) {
        if (shard, epoch) == (self.shard, self.epoch) {
            return;
        }
        (self.shard, self.epoch) = (shard, epoch);
        self.attach(now, out);
    }

    fn attach(&mut self, now: Now, out: &mut Vec<Output>) {
        self.attaching = Some(Pending::new(now.mono));
        out.push(Output::Room(RoomInput::Attach));
    }

    /// A frame of the room's owner.
    pub fn handle_room(&mut self, now: Now, frame: FromRoom, out: &mut Vec<Output>) {
        if frame.epoch < self.epoch && frame.shard == self.shard {
            return; // a former owner's
        }
        match frame.body {
            ProxyInput::Here { n, roster, broadcasts } => {
                self.here(now, frame.epoch, n, roster, broadcasts, out)
            }
            ProxyInput::Homed { shard } => self.handle_moved(now, shard, frame.epoch, out),
            ProxyInput::Refused { epoch } => self.handle_moved(now, frame.shard, epoch.max(self.epoch), out),
            ProxyInput::Changed { n, broadcasts, change } => self.changed(now, n, broadcasts, change, out),
            ProxyInput::NotAdmitted { peer, refusal } => {
                if self.own.remove(&peer).is_some() {
                    out.push(Output::Session(peer, ToSession::NotAdmitted(refusal)));
                    self.tell_idle(out);
                }
            }
            ProxyInput::Signal(signal) => out.push(Output::Session(signal.to, ToSession::Signal(signal))),
            ProxyInput::Ack(ack) => out.push(Output::Session(ack.from, ToSession::Ack(ack))),
            ProxyInput::Undelivered { from, to, id, was_here } => {
                out.push(Output::Session(from, ToSession::Undelivered { to, id, was_here }));
            }
            ProxyInput::Broadcast { from, n, payload } => {
                self.broadcasts = n;
                let text = ServerFrame::Broadcast { from, n, payload: &payload }.text();
                out.push(Output::Sessions(ToSession::Text(text), Some(from)));
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
        epoch: Epoch,
        n: Change,
        roster: Vec<Entry>,
        broadcasts: u64,
        out: &mut Vec<Output>,
    ) {
        let new_owner = epoch != self.epoch;
        (self.epoch, self.n, self.broadcasts, self.attaching) = (epoch, n, broadcasts, None);
        let fresh: BTreeMap<PeerId, Entry> = roster.into_iter().map(|e| (e.member.seat.peer, e)).collect();
        for change in differences(&self.roster, &fresh) {
            self.follow(change, out);
        }
        self.roster = fresh;
        let waiting: Vec<PeerId> = self.own.keys().copied().collect();
        for peer in waiting {
            if !self.answer(peer, out) {
                self.announce(peer, out);
            }
        }
        let gone: Vec<PeerId> = self.leaving.keys().copied().collect();
        for peer in gone {
            match (self.roster.contains_key(&peer), self.leaving.get(&peer)) {
                (true, Some(leaving)) => {
                    let reason = leaving.reason;
                    out.push(Output::Room(RoomInput::Leave { peer, reason }));
                }
                _ => {
                    self.leaving.remove(&peer);
                }
            }
        }
        if new_owner {
            out.push(Output::Sessions(ToSession::Resend, None));
        }
        let _ = now;
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
        (self.n, self.broadcasts) = (n, broadcasts);
        let peer = change.peer();
        self.follow(change.clone(), out);
        apply(&mut self.roster, change);
        if !self.roster.contains_key(&peer) {
            self.leaving.remove(&peer);
            self.own.remove(&peer);
            self.tell_idle(out);
        }
        self.answer(peer, out);
    }

    /// Tells every session of one change.
    fn follow(&self, change: RoomChange, out: &mut Vec<Output>) {
        let hidden = match &change {
            RoomChange::Joined(entry) => entry.member.seat.grants.hidden,
            other => self.roster.get(&other.peer()).is_some_and(|entry| entry.member.seat.grants.hidden),
        };
        let text = (!hidden).then(|| change_frame(&change).text());
        out.push(Output::Sessions(ToSession::Changed(Arc::new(ChangeNews { change, text })), None));
    }

    /// Whether the owner has one of this gateway's sessions as it is now; if it waited to hear so, it
    /// is told.
    fn answer(&mut self, peer: PeerId, out: &mut Vec<Output>) -> bool {
        let (Some(own), Some(entry)) = (self.own.get_mut(&peer), self.roster.get(&peer)) else {
            return false;
        };
        let known = &entry.member;
        let as_announced = known.attach == own.member.attach
            && known.away == own.member.away
            && known.version >= own.member.version;
        if !as_announced {
            return false;
        }
        own.marks.clear();
        if own.pending.take().is_some() && !own.member.away {
            let at = known.admitted.unwrap_or((self.epoch, self.n));
            own.member.admitted = Some(at);
            let seen = |entry: &&Entry| entry.member.seat.peer != peer && !entry.member.seat.grants.hidden;
            let others = self.roster.values().filter(seen).map(|entry| entry.member.clone()).collect();
            let (attach, broadcasts) = (own.member.attach, self.broadcasts);
            out.push(Output::Session(peer, ToSession::Admitted { attach, at, others, broadcasts }));
        }
        true
    }

    fn announce(&self, peer: PeerId, out: &mut Vec<Output>) {
        if let Some(own) = self.own.get(&peer) {
            let (member, marks) = (own.member.clone(), own.marks.clone());
            out.push(Output::Room(RoomInput::Announce { member, marks }));
        }
    }

    fn tell_idle(&self, out: &mut Vec<Output>) {
        if self.is_idle() {
            out.push(Output::Idle);
        }
    }

    /// Says again what was not answered.
    pub fn handle_timeout(&mut self, now: Now, out: &mut Vec<Output>) {
        if let Some(attaching) = &mut self.attaching {
            if attaching.at <= now.mono {
                attaching.again(now.mono);
                out.push(Output::Room(RoomInput::Attach));
            }
            return;
        }
        let mut due = Vec::new();
        for (peer, own) in &mut self.own {
            if let Some(pending) = own.pending.as_mut().filter(|pending| pending.at <= now.mono) {
                pending.again(now.mono);
                due.push(*peer);
            }
        }
        for peer in due {
            self.announce(peer, out);
        }
        for (peer, leaving) in &mut self.leaving {
            if leaving.pending.at <= now.mono {
                leaving.pending.again(now.mono);
                out.push(Output::Room(RoomInput::Leave { peer: *peer, reason: leaving.reason }));
            }
        }
    }

    /// When [`Self::handle_timeout`] has something to do.
    #[must_use]
    pub fn poll_timeout(&self) -> Mono {
        if let Some(attaching) = self.attaching {
            return attaching.at;
        }
        let own = self.own.values().filter_map(|own| own.pending).map(|pending| pending.at);
        let leaving = self.leaving.values().map(|leaving| leaving.pending.at);
        own.chain(leaving).min().unwrap_or(Mono::NEVER)
    }

    /// The attachment that a session of this gateway announced last.
    #[must_use]
    pub fn attach_of(&self, peer: PeerId) -> Option<Attach> {
        self.own.get(&peer).map(|own| own.member.attach)
    }
}

/// The changes that lead from one roster to another.
fn differences(old: &BTreeMap<PeerId, Entry>, new: &BTreeMap<PeerId, Entry>) -> Vec<RoomChange> {
    let mut changes: Vec<RoomChange> = old
        .keys()
        .filter(|peer| !new.contains_key(peer))
        .map(|peer| RoomChange::Left { peer: *peer, reason: LeaveReason::Left })
        .collect();
    for (peer, entry) in new {
        let (now, peer) = (&entry.member, *peer);
        let Some(before) = old.get(&peer) else {
            changes.push(RoomChange::Joined(entry.clone()));
            continue;
        };
        let (attach, moved) = (now.attach, before.member.attach != now.attach);
        if now.away && (!before.member.away || moved) {
            changes.push(RoomChange::Away { peer, attach });
        } else if !now.away && (before.member.away || moved) {
            let gateway = entry.gateway;
            changes.push(RoomChange::Back { peer, attach, gateway, marks: BTreeMap::new() });
        }
        if before.member.version != now.version {
            let (profile, version) = (now.profile.clone(), now.version);
            changes.push(RoomChange::Updated { peer, profile, version });
        }
    }
    changes
}

fn apply(roster: &mut BTreeMap<PeerId, Entry>, change: RoomChange) {
    match change {
        RoomChange::Joined(entry) => {
            roster.insert(entry.member.seat.peer, entry);
        }
        RoomChange::Left { peer, .. } => {
            roster.remove(&peer);
        }
        RoomChange::Away { peer, attach } => {
            if let Some(entry) = roster.get_mut(&peer) {
                (entry.member.away, entry.member.attach) = (true, attach);
            }
        }
        RoomChange::Back { peer, attach, gateway, .. } => {
            if let Some(entry) = roster.get_mut(&peer) {
                (entry.member.away, entry.member.attach, entry.gateway) = (false, attach, gateway);
            }
        }
        RoomChange::Updated { peer, profile, version } => {
            if let Some(entry) = roster.get_mut(&peer) {
                (entry.member.profile, entry.member.version) = (profile, version);
            }
        }
    }
}

fn change_frame(change: &RoomChange) -> ServerFrame<'_> {
    let updated = |peer, change| ServerFrame::PeerUpdated { peer, change, name: None, metadata: None };
    match change {
        RoomChange::Joined(entry) => ServerFrame::PeerJoined(PeerView::from(&entry.member)),
        RoomChange::Left { peer, reason } => ServerFrame::PeerLeft { peer: *peer, reason: *reason },
        RoomChange::Away { peer, .. } => updated(*peer, PeerChange::Away),
        RoomChange::Back { peer, .. } => updated(*peer, PeerChange::Back),
        RoomChange::Updated { peer, profile, .. } => ServerFrame::PeerUpdated {
            peer: *peer,
            change: PeerChange::Metadata,
            name: profile.name.as_deref(),
            metadata: profile.metadata.as_ref(),
        },
    }
}
