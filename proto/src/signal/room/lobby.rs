//! Who waits to be let in. A newcomer's announcement is kept here instead of being answered; its gateway repeats it, to
//! this owner and to the next, so that nothing of it has to outlive the room.

use std::collections::BTreeSet;

use super::super::age::Began;
use super::super::code::{ErrorCode, Refusal};
use super::super::frame::GoneReason;
use super::super::lobby::{Knock, Verdict, digest};
use super::super::member::{Gateway, Member};
use super::super::route::{Entry, ProxyInput};
use super::{Output, Room};
use crate::id::PeerId;
use crate::limits;
use crate::time::{Mono, Now, Unix};

/// What one who is denied is told where nobody says why.
const DENIED: &str = "you were not let in";

/// One who waits.
#[derive(Debug)]
pub(super) struct Waiter {
    entry: Entry,
    /// When its join reached its gateway,
    began: Began,
    /// and its attachment did.
    attached: Began,
    /// When its gateway spoke of it last.
    heard: Mono,
    since: Unix,
    /// When it is told that nobody has answered.
    until: Mono,
}

impl Room {
    /// Who waits to be let in, who has waited longest first.
    #[must_use]
    pub fn knocks(&self) -> Vec<Knock> {
        self.in_line().into_iter().filter_map(|peer| self.knock_of(peer)).collect()
    }

    fn knock_of(&self, peer: PeerId) -> Option<Knock> {
        let waiter = self.lobby.get(&peer)?;
        Some(Knock { peer, profile: waiter.entry.member.profile.clone(), since: waiter.since })
    }

    /// Whether somebody waits to be let in.
    #[must_use]
    pub fn has_knocks(&self) -> bool {
        !self.lobby.is_empty()
    }

    fn in_line(&self) -> Vec<PeerId> {
        let mut line: Vec<_> = self.lobby.iter().map(|(peer, waiter)| (waiter.began, *peer)).collect();
        line.sort_unstable();
        line.into_iter().map(|(_, peer)| peer).collect()
    }

    /// Whether a newcomer is to wait: not who could let others in, nor who takes its own place again.
    pub(super) fn waits(&self, member: &Member) -> bool {
        self.policy.rules.lobby
            && member.admitted.is_none()
            && !member.seat.grants.admin
            && !self.replaces(member)
    }

    /// A newcomer waits, or waits still.
    pub(super) fn keep_waiting(&mut self, now: Now, entry: Entry, attached: Began, out: &mut Vec<Output>) {
        let (gateway, peer, age) =
            (entry.gateway, entry.member.seat.peer, Began::ago_ms(now.mono, entry.age_ms));
        if let Some(refusal) = self.was_denied(now, &entry.member) {
            return out.push(Output::To(gateway, ProxyInput::NotAdmitted { peer, refusal }));
        }
        let known = self.lobby.remove(&peer);
        let is_new = known.is_none();
        if is_new && let Some(other) = self.waiting_as(&entry.member) {
            // Whoever knocks again by another socket waits once, by the later.
            let is_former = |waiter: &Waiter| age.is_before(waiter.began) == Some(true);
            if self.lobby.get(&other).is_some_and(is_former) {
                return out.push(replaced(&entry));
            }
            out.extend(self.lobby.remove(&other).map(|waiter| replaced(&waiter.entry)));
            self.tell_answerers(&ProxyInput::KnockGone { peer: other }, out);
        } else if is_new && self.lobby.len() >= limits::LOBBY_MAX {
            let refusal = Refusal::new(ErrorCode::LobbyFull, "too many wait to be let in: try later");
            return out.push(Output::To(gateway, ProxyInput::NotAdmitted { peer, refusal }));
        }
        let began = known.as_ref().map_or(age, |known| known.began.min(age));
        let waited = began.age(now.mono);
        let since = known.map_or_else(|| Unix(now.unix.0.saturating_sub(waited)), |known| known.since);
        let until = now.mono + limits::LOBBY_WAIT_MAX.saturating_sub(waited);
        self.lobby.insert(peer, Waiter { entry, began, attached, heard: now.mono, since, until });
        let before =
            self.lobby.iter().filter(|(other, waiter)| (waiter.began, **other) < (began, peer)).count();
        let position = u32::try_from(before + 1).unwrap_or(u32::MAX);
        out.push(Output::To(gateway, ProxyInput::Waits { peer, position }));
        if is_new && let Some(knock) = self.knock_of(peer) {
            out.push(Output::Knocked(knock.clone()));
            self.tell_answerers(&ProxyInput::Knock(knock), out);
        }
    }

    /// Why one who was denied a moment ago is not to wait again yet: who answers is not to be worn down.
    fn was_denied(&self, now: Now, member: &Member) -> Option<Refusal> {
        let identity = member.profile.identity.as_ref()?;
        let latest = self.denied.iter().rev().find(|(denied, _)| denied == identity);
        let (_, until) = latest.filter(|(_, until)| *until > now.mono)?;
        let message = format!("{DENIED} a moment ago: knock again after `retry_after_ms`");
        Some(Refusal::new(ErrorCode::Denied, message).retry_after(until.since(now.mono)))
    }

    /// Who waits by the same identity.
    fn waiting_as(&self, member: &Member) -> Option<PeerId> {
        let identity = member.profile.identity.as_ref()?;
        let same = |waiter: &Waiter| waiter.entry.member.profile.identity.as_ref() == Some(identity);
        self.lobby.iter().find(|(_, waiter)| same(waiter)).map(|(peer, _)| *peer)
    }

    /// Somebody who may says what becomes of one who waits.
    ///
    /// # Errors
    /// `bad_peer` where nobody of that id waits, `room_full` where it could not come in, `unavailable` where the room may
    /// not be changed now.
    pub fn judge(
        &mut self,
        now: Now,
        peer: PeerId,
        verdict: &Verdict,
        out: &mut Vec<Output>,
    ) -> Result<(), Refusal> {
        if self.frozen.is_some() {
            return Err(Refusal::new(ErrorCode::Unavailable, "the room's owner is waiting for the cluster")
                .retry_after(limits::BUSY_RETRY));
        }
        let Some(waiter) = self.lobby.get(&peer) else {
            return Err(Refusal::new(ErrorCode::BadPeer, "nobody of that id waits to be let in"));
        };
        match verdict {
            Verdict::Admit => {
                if let Some(refusal) = self.has_no_place_for(&waiter.entry.member) {
                    return Err(refusal);
                }
                self.let_in(now, peer, out);
            }
            Verdict::Deny { reason } => {
                let mut refusal = Refusal::new(ErrorCode::Denied, reason.as_deref().unwrap_or(DENIED));
                if let Some(identity) = waiter.entry.member.profile.identity.clone() {
                    refusal = refusal.retry_after(limits::KNOCK_AGAIN_AFTER);
                    if self.denied.len() >= limits::LOBBY_MAX {
                        self.denied.pop_front();
                    }
                    self.denied.push_back((identity, now.mono + limits::KNOCK_AGAIN_AFTER));
                }
                self.turn_down(peer, refusal, out);
            }
        }
        Ok(())
    }

    /// An admin in the room does.
    pub(super) fn judge_for(
        &mut self,
        now: Now,
        from: Gateway,
        (by, peer): (PeerId, PeerId),
        verdict: &Verdict,
        out: &mut Vec<Output>,
    ) {
        let judged = if self.is_admin(from, by) {
            self.judge(now, peer, verdict, out)
        } else {
            Err(Refusal::new(ErrorCode::Forbidden, "grants: `admin` is missing"))
        };
        if let Err(refusal) = judged {
            out.push(Output::To(from, ProxyInput::Error { peer: by, refusal }));
        }
    }

    fn let_in(&mut self, now: Now, peer: PeerId, out: &mut Vec<Output>) {
        let Some(Waiter { mut entry, began, attached, .. }) = self.lobby.remove(&peer) else { return };
        if let Some(withheld) = self.claim(&entry.member, began, out) {
            entry.age_ms = began.age_ms(now.mono);
            self.admit(now, entry, withheld, (began, attached), out);
        } else {
            out.push(replaced(&entry));
        }
        self.tell_answerers(&ProxyInput::KnockGone { peer }, out);
    }

    fn turn_down(&mut self, peer: PeerId, refusal: Refusal, out: &mut Vec<Output>) {
        if let Some(waiter) = self.lobby.remove(&peer) {
            out.push(Output::To(waiter.entry.gateway, ProxyInput::NotAdmitted { peer, refusal }));
            self.tell_answerers(&ProxyInput::KnockGone { peer }, out);
        }
    }

    /// It waits no more: it has come in, has gone, or is kept out.
    pub(super) fn stops_waiting(&mut self, peer: PeerId, out: &mut Vec<Output>) {
        if self.lobby.remove(&peer).is_some() {
            self.tell_answerers(&ProxyInput::KnockGone { peer }, out);
        }
    }

    /// The gateways for which this is so speak for nobody any more.
    pub(super) fn forget_waiting_at(&mut self, is_so: impl Fn(Gateway) -> bool, out: &mut Vec<Output>) {
        let gone = self.lobby.iter().filter(|(_, waiter)| is_so(waiter.entry.gateway));
        for peer in gone.map(|(peer, _)| *peer).collect::<Vec<_>>() {
            self.stops_waiting(peer, out);
        }
    }

    /// Nobody waits any more.
    pub(super) fn turn_all_down(&mut self, refusal: &Refusal, out: &mut Vec<Output>) {
        for peer in self.in_line() {
            self.turn_down(peer, refusal.clone(), out);
        }
    }

    /// Where the rules are others by now: a locked room keeps nobody waiting, and one without a lobby lets in whom it has
    /// place for.
    pub(super) fn review_lobby(&mut self, now: Now, out: &mut Vec<Output>) {
        if self.lobby.is_empty() || self.frozen.is_some() {
            return;
        }
        if self.policy.rules.locked {
            self.turn_all_down(&locked(), out);
        } else if !self.policy.rules.lobby {
            for peer in self.in_line() {
                let place = self.lobby.get(&peer).map(|waiter| self.has_no_place_for(&waiter.entry.member));
                match place {
                    Some(Some(refusal)) => self.turn_down(peer, refusal, out),
                    _ => self.let_in(now, peer, out),
                }
            }
        }
    }

    /// Ends the waits that are over, and forgets who may knock again.
    pub(super) fn check_lobby(&mut self, now: Now, out: &mut Vec<Output>) {
        self.denied.retain(|(_, until)| *until > now.mono);
        let over = |waiter: &Waiter| waiter.until <= now.mono;
        let unheard = |waiter: &Waiter| waiter.heard + limits::LOBBY_UNHEARD <= now.mono;
        let ended: Vec<PeerId> =
            self.lobby.iter().filter(|(_, it)| over(it) || unheard(it)).map(|(peer, _)| *peer).collect();
        for peer in ended {
            let refusal = Refusal::new(ErrorCode::Unanswered, "nobody has let you in");
            self.turn_down(peer, refusal, out);
        }
    }

    /// When [`Self::check_lobby`] has something to do.
    pub(super) fn lobby_ends_at(&self) -> Mono {
        let ends = self.lobby.values().map(|waiter| waiter.until.min(waiter.heard + limits::LOBBY_UNHEARD));
        let denied = self.denied.front().map(|(_, until)| *until);
        ends.chain(denied).min().unwrap_or(Mono::NEVER)
    }

    /// It could not hear for a while.
    pub(super) fn thaw_lobby(&mut self, now: Now) {
        for waiter in self.lobby.values_mut() {
            waiter.heard = now.mono;
        }
    }

    /// Tells the gateways of those who may answer what has changed.
    fn tell_answerers(&self, said: &ProxyInput, out: &mut Vec<Output>) {
        let may = |entry: &&Entry| entry.member.seat.grants.admin;
        let gateways: BTreeSet<Gateway> = self.entries().filter(may).map(|entry| entry.gateway).collect();
        out.extend(gateways.into_iter().map(|to| Output::To(to, said.clone())));
    }

    /// Tells one gateway of all who wait: one who may answer comes in or returns there, or it missed something.
    pub(super) fn tell_lobby_to(&self, to: Gateway, out: &mut Vec<Output>) {
        let may = |entry: &Entry| entry.gateway == to && entry.member.seat.grants.admin;
        if (self.policy.rules.lobby || self.has_knocks()) && self.entries().any(may) {
            out.push(Output::To(to, ProxyInput::Lobby { waiting: self.knocks() }));
        }
    }

    /// Tells it where what it has is something else. One without anybody who may answer has nothing, and one of an
    /// older build does not say what it has.
    pub(super) fn compare_lobby(&self, to: Gateway, theirs: Option<u64>, out: &mut Vec<Output>) {
        match theirs {
            None => self.tell_lobby_to(to, out),
            Some(theirs) if theirs != digest(self.lobby.keys()) => {
                out.push(Output::To(to, ProxyInput::Lobby { waiting: self.knocks() }));
            }
            Some(_) => {}
        }
    }
}

/// Another session of its identity has its place.
fn replaced(entry: &Entry) -> Output {
    let (attach, presented, reason) = (entry.member.attach, entry.presented, GoneReason::Replaced);
    let gone = ProxyInput::Gone { peer: entry.member.seat.peer, attach, presented, reason, tie: false };
    Output::To(entry.gateway, gone)
}

pub(super) fn locked() -> Refusal {
    Refusal::new(ErrorCode::Locked, "the room is locked: nobody new comes in")
}
