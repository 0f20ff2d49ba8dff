//! Where a proxy's room is: it attaches there, with what it holds of the room as it was elsewhere.

use super::super::code::LeaveReason;
use super::super::route::{Entry, FromRoom, Held, Home, ProxyInput, RoomInput};
use super::{Output, Pending, Proxy};
use crate::id::{Epoch, Shard};
use crate::time::Now;

impl Proxy {
    /// The registry moved the room's shard, or its owner started anew: attach there.
    pub fn handle_moved(&mut self, now: Now, shard: Shard, epoch: Epoch, out: &mut Vec<Output>) {
        if shard == self.shard && epoch <= self.epoch {
            return;
        }
        (self.shard, self.epoch, self.moved) = (shard, epoch, true);
        self.suspect(now, out); // until the new owner has answered
        self.attach(now, out);
    }

    /// The same, heard from another node before the registry said so here.
    pub(super) fn learn(&mut self, now: Now, shard: Shard, epoch: Epoch, out: &mut Vec<Output>) {
        if shard != self.shard || epoch > self.epoch {
            self.set_local(false);
        }
        self.handle_moved(now, shard, epoch, out);
    }

    pub(super) fn attach(&mut self, now: Now, out: &mut Vec<Output>) {
        self.attaching = Some(Pending::new(now.mono));
        out.push(Output::Room(RoomInput::Attach { held: self.held(now), since: self.since }));
    }

    /// For a new owner, what is held of the former one's room, and who has come back meanwhile.
    pub(super) fn held(&self, now: Now) -> Option<Box<Held>> {
        let returns = self.returns(now);
        if (self.followed.is_some() && !self.moved) || (self.followed.is_none() && returns.is_empty()) {
            return None;
        }
        let stays = |entry: &&Entry| !self.leaving.contains_key(&entry.member.seat.peer);
        let unknown = self.unknown.iter().map(|peer| (*peer, LeaveReason::Lost));
        let leaving = self.leaving.iter().map(|(peer, leaving)| (*peer, leaving.reason));
        Some(Box::new(Held {
            roster: self.roster.values().filter(stays).map(|entry| self.aged(now, entry)).collect(),
            left: self.left.iter().copied().chain(leaving).chain(unknown).collect(),
            broadcasts: self.broadcasts,
            returns,
        }))
    }

    /// An entry of the roster, as old as it is by now.
    pub(super) fn aged(&self, now: Now, entry: &Entry) -> Entry {
        let peer = &entry.member.seat.peer;
        let own = self.own.get(peer).map(|own| own.began);
        let began = own.into_iter().chain(self.began.get(peer).copied()).min();
        Entry { age_ms: began.map_or(0, |began| began.age_ms(now.mono)), ..entry.clone() }
    }

    /// What is said of where the room is. True where that is all of the frame.
    pub(super) fn handle_home(&mut self, now: Now, frame: &FromRoom, out: &mut Vec<Output>) -> bool {
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
}
