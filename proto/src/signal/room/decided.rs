//! What operators and admins decide of a room while it runs: its rules, its end, a word to all, who may send.

use super::super::code::{ErrorCode, LeaveReason, Refusal};
use super::super::json::Json;
use super::super::member::{Gateway, Muting, Rules, Withheld};
use super::super::route::{ProxyInput, RoomChange};
use super::{Output, Room};
use crate::id::PeerId;
use crate::time::{Mono, Now};

impl Room {
    /// What the registry says of the room now.
    pub const fn set_rules(&mut self, rules: Rules) {
        self.policy.rules = rules;
    }

    /// Closes it where its time is over, and does with those who wait to be let in as its rules are now.
    pub fn obey(&mut self, now: Now, out: &mut Vec<Output>) {
        if self.expires_at(now) <= now.mono {
            self.close(now, out);
        }
        self.review_lobby(now, out);
    }

    /// When its time is over, and [`Self::obey`] closes it.
    #[must_use]
    pub fn expires_at(&self, now: Now) -> Mono {
        match self.policy.rules.expires {
            Some(expires) if self.frozen.is_none() && !(self.present.is_empty() && self.lobby.is_empty()) => {
                now.mono + expires.since(now.unix)
            }
            _ => Mono::NEVER,
        }
    }

    /// Everybody leaves, and their credentials end. Whoever joins afterwards makes it anew, where the rules allow that.
    /// False where it may not be changed now.
    pub fn close(&mut self, now: Now, out: &mut Vec<Output>) -> bool {
        if self.frozen.is_some() {
            return false;
        }
        if self.present.values().any(|present| present.entry.member.away) {
            // They are to be told when they come back, and must not find a room that knows nothing of it.
            self.closed_until = now.mono + self.policy.grace;
        }
        let all: Vec<PeerId> = self.present.keys().copied().collect();
        for peer in all {
            self.remove(peer, LeaveReason::Closed, out);
        }
        self.turn_all_down(&Refusal::new(ErrorCode::RoomClosed, "the room was closed"), out);
        true
    }

    /// An operator's word to all, in one line with the broadcasts. False where it may not be changed now.
    pub fn announce_to_all(&mut self, payload: Json, out: &mut Vec<Output>) -> bool {
        if self.frozen.is_some() {
            return false;
        }
        self.broadcasts += 1;
        out.push(Output::All(ProxyInput::Broadcast { from: None, n: self.broadcasts, payload }));
        true
    }

    /// Grants of a peer are taken away or given back. None where it is not here; false where the room may not be
    /// changed now.
    pub fn mute(&mut self, peer: PeerId, muting: Muting, out: &mut Vec<Output>) -> Option<bool> {
        let present = self.present.get(&peer)?;
        if self.frozen.is_some() {
            return Some(false);
        }
        if let Some(withheld) = present.entry.member.withheld.after(muting) {
            self.hear_withheld(peer, withheld, out);
        }
        Some(true)
    }

    /// An admin in the room does the same.
    pub(super) fn mute_for(
        &mut self,
        from: Gateway,
        by: PeerId,
        peer: PeerId,
        muting: Muting,
        out: &mut Vec<Output>,
    ) {
        let refusal = if !self.is_admin(from, by) {
            Refusal::new(ErrorCode::Forbidden, "grants: `admin` is missing")
        } else if self.mute(peer, muting, out).is_some() {
            return;
        } else {
            Refusal::new(ErrorCode::BadPeer, "no such peer in this room")
        };
        out.push(Output::To(from, ProxyInput::Error { peer: by, refusal }));
    }

    pub(super) fn is_admin(&self, from: Gateway, peer: PeerId) -> bool {
        let member = self.present.get(&peer).filter(|present| present.entry.gateway == from);
        member.is_some_and(|present| present.entry.member.seat.grants.admin)
    }

    /// Of two words on what is withheld from a present peer the later is true.
    pub(super) fn hear_withheld(&mut self, peer: PeerId, withheld: Withheld, out: &mut Vec<Output>) -> bool {
        let Some(present) = self.present.get_mut(&peer) else { return false };
        let known = &mut present.entry.member.withheld;
        if known.n >= withheld.n {
            return false;
        }
        *known = withheld;
        self.change(RoomChange::Withheld { peer, withheld }, out);
        true
    }
}
