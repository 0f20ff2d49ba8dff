//! What a new owner learns of the former one's room from the gateways that attach.

use std::collections::BTreeMap;
use std::time::Duration;

use super::super::age::Began;
use super::super::code::LeaveReason;
use super::super::member::Gateway;
use super::super::route::{Entry, Held, ProxyInput, Returned, RoomChange, Since};
use super::{Output, Present, Revoked, Room};
use crate::limits;
use crate::time::{Mono, Now};

impl Room {
    /// The room had a former owner: nobody new is let in until each of these live gateways, this
    /// node's own included, has attached or detached, or is lost. They are asked by
    /// [`Self::handle_timeout`].
    pub fn expect_gateways(&mut self, now: Now, live: impl IntoIterator<Item = Gateway>) {
        self.expected.extend(live);
        self.ask_at = now.mono;
    }

    pub(super) fn ask(&mut self, now: Now, out: &mut Vec<Output>) {
        if self.ask_at > now.mono {
            return;
        }
        let asked = if self.expected.is_empty() { &self.gateways } else { &self.expected };
        out.extend(
            asked.iter().map(|gateway| Output::To(*gateway, ProxyInput::Ask { since: Since::default() })),
        );
        self.ask_at = Mono::NEVER; // until it is watched over again
    }

    /// Sees to it that those are asked whose word is missing: gateways that have not attached yet, and,
    /// where nobody is here, those that seem to follow the room (a `detach` may have been lost).
    pub(super) fn watch_over(&mut self, now: Now) {
        let every = if !self.expected.is_empty() {
            limits::ASK_EVERY
        } else if self.present.is_empty() && self.lobby.is_empty() && !self.gateways.is_empty() {
            limits::ASK_EMPTY_EVERY
        } else {
            self.ask_at = Mono::NEVER;
            return;
        };
        self.ask_at = self.ask_at.min(now.mono + every);
    }

    /// No peer of a former owner can come back any more: this node has owned the shard for longer
    /// than any grace. Otherwise a room waits for a grace from its first frame on before it calls a
    /// peer unknown.
    pub const fn set_settled(&mut self) {
        self.settled = true;
    }

    /// The room had a former owner, and no gateway's life has ended within a grace before this one began, nor
    /// is to end unheard: so once every live gateway has said what it has (see [`Self::expect_gateways`]), nobody
    /// is left who may come back.
    pub const fn set_unbroken(&mut self) {
        self.unbroken = true;
    }

    /// The room was elsewhere for a while, or may have been: who may come back is not known any more.
    pub(in super::super) fn unsettle(&mut self) {
        (self.settled, self.unbroken, self.settling_since) = (false, false, None);
        self.heard.clear();
        self.forget_detached();
    }

    pub(super) fn settle(&mut self, now: Now) {
        let since = *self.settling_since.get_or_insert(now.mono);
        // A live gateway that cannot be reached may hold peers of which nobody else knows.
        let heard_all = self.expected.is_empty();
        self.settled |= heard_all && (self.unbroken || now.mono.since(since) >= self.policy.grace);
    }

    pub(super) fn attach(
        &mut self,
        now: Now,
        from: Gateway,
        held: Option<Held>,
        revoked: Revoked<'_>,
        out: &mut Vec<Output>,
    ) {
        if from.generation.0 > 0 {
            let mut before = from;
            before.generation.0 -= 1;
            self.handle_gateway_lost(now, before, out); // it started anew and holds nothing of that life
        }
        if let Some(mut held) = held {
            self.broadcasts = self.broadcasts.max(held.broadcasts);
            let returns = std::mem::take(&mut held.returns);
            self.hear_ages(now, &held.roster);
            // One that holds nothing of it yet may hear of it from a former owner still.
            let holds = !(held.roster.is_empty() && held.left.is_empty());
            if holds && self.heard.insert(from) && !self.settled {
                self.adopt(now, held, revoked, out);
            }
            for Returned { member, presented, age_ms, attached_ms } in returns {
                let entry = Entry { gateway: from, member, presented, age_ms };
                let attached = Began::ago_ms(now.mono, attached_ms);
                self.announce(now, entry, attached, BTreeMap::new(), revoked, out);
            }
        }
        for present in self.present.values_mut() {
            if present.entry.gateway == from && !present.entry.member.away {
                present.absent_since = None; // if it has no socket there, its proxy says so next
            }
        }
        self.gateways.insert(from);
        self.here(now, from, out);
        let waited = self.expected.remove(&from);
        self.open(now, waited, out);
    }

    /// What was on its way for long, as to a process that stood still, says less than its age: of several words the
    /// earliest is the best.
    fn hear_ages(&mut self, now: Now, roster: &[Entry]) {
        for entry in roster {
            if let Some(present) = self.present.get_mut(&entry.member.seat.peer) {
                present.began = present.began.min(Began::ago_ms(now.mono, entry.age_ms));
            }
        }
    }

    fn adopt(&mut self, now: Now, held: Held, revoked: Revoked<'_>, out: &mut Vec<Output>) {
        for (peer, reason) in held.left {
            if self.present.contains_key(&peer) {
                self.remove(peer, reason, out);
            } else if self.left_for(peer).is_none() {
                self.remember_left(peer, reason);
            }
        }
        for entry in held.roster {
            let (peer, member) = (entry.member.seat.peer, &entry.member);
            if self.left_for(peer).is_some() || revoked(member.seat.session, member.profile.identity.as_ref())
            {
                continue;
            }
            let known = self.present.get(&peer).map(|present| present.entry.member.attach);
            if known.is_none() {
                self.adopt_one(now, entry, out);
            } else if known >= Some(member.attach) {
                self.hear_withheld(peer, member.withheld, out);
            } else {
                self.take(now, entry, None, BTreeMap::new(), out);
                if let Some(present) = self.present.get_mut(&peer) {
                    present.absent_since = Some(now.mono);
                }
            }
        }
    }

    fn adopt_one(&mut self, now: Now, mut entry: Entry, out: &mut Vec<Output>) {
        let began = Began::ago_ms(now.mono, entry.age_ms);
        let Some(withheld) = self.claim(&entry.member, began, out) else {
            self.remember_left(entry.member.seat.peer, LeaveReason::Replaced);
            return;
        };
        entry.member.withheld = withheld;
        let (attached, absent_since) = (None, Some(now.mono));
        let present = Present { entry: entry.clone(), began, attached, absent_since };
        self.present.insert(entry.member.seat.peer, present);
        self.change(RoomChange::Joined(entry), out);
    }

    /// Once nobody is waited for, newcomers who were kept waiting are heard.
    pub(super) fn open(&mut self, now: Now, waited: bool, out: &mut Vec<Output>) {
        if waited && self.expected.is_empty() {
            for gateway in &self.gateways {
                self.here(now, *gateway, out);
            }
        }
    }

    /// How long one that others spoke of is shown as present.
    pub(super) fn doubted(&self) -> Duration {
        limits::ADOPTED_WITHIN.min(self.policy.grace)
    }

    pub(super) fn doubt(&mut self, now: Now, out: &mut Vec<Output>) {
        let wait = self.doubted();
        let doubted =
            |present: &Present| present.absent_since.is_some_and(|since| now.mono.since(since) >= wait);
        self.turn_away(now, doubted, out);
    }
}
