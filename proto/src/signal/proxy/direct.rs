//! Around an owner that does not answer: which signals it has not taken custody of, and the
//! straight way from gateway to gateway.
//!
//! No signal is copied here: the sender's session holds each until it is acknowledged, and says all of them
//! again, in order, once the owner is suspected. So nothing that goes straight overtakes what came before it.

use std::collections::BTreeMap;

use super::super::member::Gateway;
use super::super::route::{Ack, DirectBody, RoomInput, Signal, ToSession};
use super::{Output, Proxy};
use crate::id::PeerId;
use crate::limits;
use crate::time::{Mono, Now};

/// From whom and to whom.
type Pair = (PeerId, PeerId);

#[derive(Debug)]
struct Untaken {
    /// The last id that was sent.
    last: u64,
    /// When the first of them was, or when the owner last took one.
    since: Mono,
}

/// What the owner has not taken, and what came around it.
#[derive(Debug)]
pub(super) struct Custody {
    /// The owner is this very node: nothing is lost between.
    local: bool,
    link_up: bool,
    /// Signals and acknowledgements go straight as well as to the owner, until it takes one again.
    suspected: bool,
    untaken: BTreeMap<Pair, Untaken>,
    /// No later than the first of `untaken` is overdue.
    due_at: Mono,
    /// When sessions may next be asked to say everything again.
    again_at: Mono,
    /// The last signal of each pair that came straight: its acknowledgement goes back so.
    came: BTreeMap<Pair, u64>,
}

impl Custody {
    pub(super) const fn new() -> Self {
        Self {
            local: false,
            link_up: true,
            suspected: false,
            untaken: BTreeMap::new(),
            due_at: Mono::NEVER,
            again_at: Mono(std::time::Duration::ZERO),
            came: BTreeMap::new(),
        }
    }

    /// Another owner has answered.
    pub(super) fn begin_anew(&mut self) {
        self.untaken.clear();
        (self.suspected, self.due_at) = (!self.link_up && !self.local, Mono::NEVER);
    }

    /// The owner, or the receiver's client, has it; or it will never arrive.
    pub(super) fn taken(&mut self, now: Now, pair: Pair, id: u64) {
        let Some(untaken) = self.untaken.get_mut(&pair) else { return };
        if untaken.last <= id {
            self.untaken.remove(&pair);
        } else {
            untaken.since = now.mono;
        }
    }

    /// A peer has no session at this gateway any more.
    pub(super) fn forget_session(&mut self, peer: PeerId) {
        self.untaken.retain(|(from, _), _| *from != peer);
        self.came.retain(|(_, to), _| *to != peer);
    }

    /// A peer is gone for good.
    pub(super) fn forget_peer(&mut self, peer: PeerId) {
        let others = |(from, to): &Pair| *from != peer && *to != peer;
        self.untaken.retain(|pair, _| others(pair));
        self.came.retain(|pair, _| others(pair));
    }

    pub(super) fn poll_timeout(&self) -> Mono {
        if self.suspected { Mono::NEVER } else { self.due_at }
    }
}

impl Proxy {
    /// The room's owner is this very node, or is not any more: where it is, no signal waits for its custody.
    /// To be said before [`Self::handle_moved`]. A new owner of which a frame tells first counts as another
    /// node until this is said again.
    pub fn set_local(&mut self, local: bool) {
        if self.custody.local != local {
            self.custody.local = local;
            self.custody.begin_anew();
        }
    }

    /// The link to the owner's node is up or down, as far as this node knows. While it is down directed
    /// signals go straight to their receivers' gateways.
    pub fn handle_link(&mut self, now: Now, up: bool, out: &mut Vec<Output>) {
        if std::mem::replace(&mut self.custody.link_up, up) == up || self.custody.local {
            return;
        }
        if up {
            self.say_again(now, out);
        } else {
            self.suspect(now, out);
        }
    }

    /// What another gateway says around the owner: taken where this roster has the one who speaks at that
    /// gateway, present.
    pub fn handle_direct(&mut self, now: Now, from: Gateway, body: DirectBody, out: &mut Vec<Output>) {
        match body {
            DirectBody::Signal(signal) => {
                let sender = self.roster.get(&signal.from);
                let known = sender.is_some_and(|entry| entry.gateway == from && !entry.member.away);
                if known && self.own.contains_key(&signal.to) {
                    let pair = (signal.from, signal.to);
                    if from != self.gateway
                        && (self.custody.came.contains_key(&pair)
                            || self.custody.came.len() < limits::DIRECT_PAIRS_MAX)
                    {
                        let came = self.custody.came.entry(pair).or_default();
                        *came = signal.id.max(*came);
                    }
                    out.push(Output::Session(signal.to, ToSession::Signal(signal)));
                }
            }
            // What a client has taken it has taken, even where it is away by now.
            DirectBody::Ack(ack) => {
                let known = self.roster.get(&ack.to).is_some_and(|entry| entry.gateway == from);
                if known && self.own.contains_key(&ack.from) {
                    self.custody.taken(now, (ack.from, ack.to), ack.id);
                    out.push(Output::Session(ack.from, ToSession::Ack(ack)));
                }
            }
        }
    }

    /// A signal of a session here. What is said `again` was lost beyond an owner that took it, perhaps: it
    /// goes straight too.
    pub(super) fn signal(&mut self, now: Now, signal: Signal, again: bool, out: &mut Vec<Output>) {
        if self.custody.local {
            return out.push(Output::Room(RoomInput::Signal(signal)));
        }
        self.watch(now, &signal);
        if (self.custody.suspected || again)
            && let Some(to) = self.roster.get(&signal.to).filter(|to| !to.member.away)
        {
            self.straight(now, to.gateway, DirectBody::Signal(signal.clone()), out);
        }
        out.push(Output::Room(RoomInput::Signal(signal)));
    }

    pub(super) fn ack(&mut self, now: Now, ack: Ack, out: &mut Vec<Output>) {
        let pair = (ack.from, ack.to);
        let came = self.custody.came.get(&pair).copied();
        if came.is_some_and(|last| last <= ack.id) {
            self.custody.came.remove(&pair);
        }
        if (came.is_some() || self.custody.suspected)
            && let Some(sender) = self.roster.get(&ack.from)
        {
            self.straight(now, sender.gateway, DirectBody::Ack(ack), out);
        }
        out.push(Output::Room(RoomInput::Ack(ack)));
    }

    fn straight(&mut self, now: Now, to: Gateway, body: DirectBody, out: &mut Vec<Output>) {
        if to == self.gateway {
            self.handle_direct(now, to, body, out);
        } else {
            out.push(Output::Direct(to, body));
        }
    }

    /// Remembers that the owner has to take this.
    fn watch(&mut self, now: Now, signal: &Signal) {
        let (pair, custody) = ((signal.from, signal.to), &mut self.custody);
        if let Some(untaken) = custody.untaken.get_mut(&pair) {
            untaken.last = untaken.last.max(signal.id);
            if custody.suspected {
                untaken.since = now.mono;
            }
        } else if custody.untaken.len() < limits::DIRECT_PAIRS_MAX {
            custody.untaken.insert(pair, Untaken { last: signal.id, since: now.mono });
        } else {
            return; // its session says it again
        }
        custody.due_at = custody.due_at.min(now.mono + limits::CUSTODY_WITHIN);
    }

    /// The owner has taken signals of a pair up to this one: it is alive, and hears this gateway.
    pub(super) fn taken(&mut self, now: Now, pair: Pair, id: u64) {
        self.custody.taken(now, pair, id);
        if self.custody.suspected && self.custody.link_up {
            self.custody.suspected = false;
            self.custody.due_at = now.mono + limits::CUSTODY_WITHIN;
        }
    }

    /// From now on signals go straight, all that are unacknowledged first.
    pub(super) fn suspect(&mut self, now: Now, out: &mut Vec<Output>) {
        if !self.custody.local && self.followed.is_some() && !self.custody.suspected {
            self.custody.suspected = true;
            self.custody.again_at = now.mono + limits::SUSPECT_EVERY;
            out.push(Output::Sessions(ToSession::Resend, None));
        }
    }

    /// Looks whether the owner lets signals wait.
    pub(super) fn check_custody(&mut self, now: Now, out: &mut Vec<Output>) {
        if self.custody.poll_timeout() > now.mono {
            return;
        }
        let first = self.custody.untaken.values().map(|untaken| untaken.since).min();
        self.custody.due_at = first.map_or(Mono::NEVER, |since| since + limits::CUSTODY_WITHIN);
        if self.custody.due_at <= now.mono {
            // Those that its sessions say again are watched anew.
            self.custody.untaken.values_mut().for_each(|untaken| untaken.since = now.mono);
            self.custody.due_at = now.mono + limits::CUSTODY_WITHIN;
            if self.custody.again_at <= now.mono {
                self.suspect(now, out);
            } else {
                self.custody.suspected = true; // alive and slow: not to be buried under repetitions
            }
        }
    }
}
