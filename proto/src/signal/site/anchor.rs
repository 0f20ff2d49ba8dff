//! What the owner of a room's anchor knows of where the room is, and says of it.

use std::collections::BTreeSet;

use super::super::member::Gateway;
use super::super::room::{Output, Room};
use super::super::route::{Home, RoomInput, Since};
use super::{Role, Site, View, expect, homed, tell_homed};
use crate::id::{Epoch, Shard};
use crate::limits;
use crate::time::{Mono, Now};

/// Where the room is.
#[derive(Debug, Clone, Copy)]
pub(super) enum Known {
    /// Not known yet: gateways are being asked. The latest home that is known of.
    Asking(Option<Home>),
    /// Here.
    Here(Home),
    /// There, and when its site last said so.
    There(Home, Mono),
}

/// The anchor's knowledge.
#[derive(Debug)]
pub(super) struct Anchor {
    shard: Shard,
    epoch: Epoch,
    last: u64,
    /// The last question that its home asked. Earlier ones are late.
    question: Option<(Shard, Epoch, u64)>,
    /// Gateways that said, while it was not known where the room is, that they follow it elsewhere: they have not
    /// said what they hold of it.
    elsewhere: BTreeSet<Gateway>,
    pub(super) known: Known,
}

impl Anchor {
    /// Nothing is known; or, where nobody can know better, the room is here.
    pub(super) fn new(now: Now, shard: Shard, epoch: Epoch, settled: bool) -> Self {
        let (question, elsewhere, known) = (None, BTreeSet::new(), Known::Asking(None));
        let mut anchor = Self { shard, epoch, last: 0, question, elsewhere, known };
        if settled {
            anchor.known = Known::Here(anchor.newly(now, shard));
        }
        anchor
    }

    /// A home that is later than all before it.
    fn newly(&mut self, now: Now, shard: Shard) -> Home {
        self.last = micros(now.mono).max(self.last + 1);
        Home { shard, since: Since(self.epoch, self.last) }
    }

    /// Where it is, once that is known.
    pub(super) const fn home(&self) -> Option<Home> {
        match self.known {
            Known::Asking(_) => None,
            Known::Here(home) | Known::There(home, _) => Some(home),
        }
    }

    pub(super) const fn is_there(&self) -> bool {
        matches!(self.known, Known::There(..))
    }

    /// Somebody knows of this home: evidence, as long as others may know a later one.
    pub(super) fn hears_of(&mut self, theirs: Home) {
        if let Known::Asking(latest) = &mut self.known
            && latest.is_none_or(|latest| latest.since < theirs.since)
        {
            *latest = Some(theirs);
        }
    }

    /// Everybody has answered. True where the room turns out to be elsewhere.
    pub(super) fn decide(&mut self, now: Now) -> bool {
        let Known::Asking(latest) = self.known else { return false };
        match latest.filter(|home| home.shard != self.shard) {
            Some(home) => self.known = Known::There(home, now.mono),
            // Newer than whatever was said before: who follows it elsewhere is to come.
            None => self.known = Known::Here(self.newly(now, self.shard)),
        }
        self.is_there()
    }

    /// The site in that shard says that it has leave since then: whoever gave it knew.
    pub(super) fn holds(&mut self, now: Now, shard: Shard, since: Since) {
        if self.home().is_none_or(|home| home.since <= since) && shard != self.shard {
            self.known = Known::There(Home { shard, since }, now.mono);
        }
    }

    /// Whether that is no late question of its home.
    fn is_new(&self, shard: Shard, epoch: Epoch, asked: u64) -> bool {
        self.question.is_none_or(|(of, last, n)| of != shard || (last, n) < (epoch, asked))
    }

    /// A gateway's process has ended.
    pub(super) fn lose(&mut self, lost: Gateway) {
        self.elsewhere.retain(|gateway| !gateway.ended_with(lost));
    }

    /// The site in that shard speaks.
    pub(super) fn hears(&mut self, now: Now, shard: Shard) {
        if let Known::There(home, at) = &mut self.known
            && home.shard == shard
        {
            *at = now.mono;
        }
    }

    /// The room moves. Here it has to ask first who is in it.
    pub(super) fn move_to(&mut self, now: Now, to: Shard) -> Home {
        let home = self.newly(now, to);
        self.known = if to == self.shard { Known::Asking(Some(home)) } else { Known::There(home, now.mono) };
        home
    }

    /// When a site that says nothing more holds no leave any more, for certain.
    pub(super) fn poll_timeout(&self) -> Mono {
        match self.known {
            Known::There(_, at) => at + limits::HOME_FORGOTTEN,
            _ => Mono::NEVER,
        }
    }
}

/// A point on the clock as a number.
pub(super) fn micros(at: Mono) -> u64 {
    u64::try_from(at.0.as_micros()).unwrap_or(u64::MAX)
}

impl Site {
    /// A new owner of the anchor knows where the room is once everybody has said so.
    pub(super) fn decide(&mut self, view: View<'_>, out: &mut Vec<Output>) {
        let Role::Anchor(anchor) = &mut self.role else { return };
        let open = self.room.as_ref().is_some_and(Room::is_open);
        if !view.full || !open || anchor.home().is_some() {
            return;
        }
        let there = anchor.decide(view.now);
        let elsewhere = std::mem::take(&mut anchor.elsewhere);
        if there {
            self.send_away(view, out);
        } else if let Some(room) = self.room.as_mut().filter(|_| !elsewhere.is_empty()) {
            room.expect_gateways(view.now, elsewhere); // with what they hold: now it can be said that it is here
        }
    }

    /// The room is not here: whoever follows it is told where it is.
    pub(super) fn send_away(&mut self, view: View<'_>, out: &mut Vec<Output>) {
        let home = match &self.role {
            Role::Anchor(anchor) => anchor.home(),
            Role::Home(_) => None,
        };
        if let (Some(home), Some(room)) = (home, self.room.take()) {
            tell_homed(view, home, &room, self.waiting(), out);
        }
    }

    /// A gateway says that it follows the room elsewhere.
    pub(super) fn follows(&mut self, view: View<'_>, from: Gateway, theirs: Home, out: &mut Vec<Output>) {
        if let Role::Anchor(anchor) = &mut self.role {
            anchor.hears_of(theirs);
            match anchor.home() {
                None => {
                    anchor.elsewhere.insert(from);
                }
                Some(home) if home.since > theirs.since => out.push(homed(view, from, home)),
                Some(_) => {}
            }
        } else if theirs.since > self.since() {
            return; // where it goes it is sent back, and comes with what it holds
        }
        if let Some(room) = &mut self.room {
            room.handle(view.now, from, RoomInput::Detach, view.revoked, out);
        }
    }

    /// A site elsewhere asks whether the room is there. No answer where this one may not, or cannot, say.
    pub(super) fn asked_where(
        &mut self,
        view: View<'_>,
        (shard, epoch): (Shard, Epoch),
        asked: u64,
        (held, to): (Option<Since>, Option<Shard>),
        out: &mut Vec<Output>,
    ) -> Option<Home> {
        let Role::Anchor(anchor) = &mut self.role else { return None };
        if !view.full || !anchor.is_new(shard, epoch, asked) {
            return None;
        }
        match held {
            // An owner before may have heard its wish already: others may know better.
            Some(since) if to.is_some() => anchor.hears_of(Home { shard, since }),
            Some(since) => anchor.holds(view.now, shard, since),
            None => {}
        }
        anchor.hears(view.now, shard);
        let mut home = anchor.home()?;
        if home.shard == shard {
            anchor.question = Some((shard, epoch, asked));
        }
        if let Some(to) = to.filter(|to| to.0 < limits::SHARDS && *to != shard)
            && held == Some(home.since)
            && home.shard == shard
        {
            home = anchor.move_to(view.now, to);
        }
        if self.room.is_some() && home.shard != self.plan.anchor {
            self.send_away(view, out);
        } else if self.room.is_none() && home.shard == self.plan.anchor {
            self.take_in(view);
        }
        Some(home)
    }

    /// The room is here from now on: as after another owner, everybody is asked for what they hold of it.
    pub(super) fn take_in(&mut self, view: View<'_>) {
        let mut room = self.empty();
        expect(&mut room, view);
        self.room = Some(room);
    }
}
