//! A site's leave to run a room whose anchor is another shard: given by the anchor's owner, for a while.

use std::time::Duration;

use super::super::room::Output;
use super::super::route::{Home, RoomInput, Since};
use super::anchor::micros;
use super::{Role, Site, View, expect, tell_homed};
use crate::id::{Epoch, Shard};
use crate::limits;
use crate::time::{Mono, Now};

/// What the anchor's word changes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Answer {
    /// Nothing: it has leave as before, or the word is not to be relied on.
    Nothing,
    /// It has leave, and had none.
    Given,
    /// The room is elsewhere.
    Elsewhere(Home),
}

/// The leave.
#[derive(Debug)]
pub(super) struct Leave {
    site: (Shard, Epoch),
    /// The number of the last question. It is the time of asking as well.
    asked: u64,
    /// Answers up to this one say what was true before the site itself said something else.
    void: u64,
    held: Option<(Since, Mono)>,
    ask_at: Mono,
    to: Option<Shard>,
}

impl Leave {
    pub(super) fn new(now: Now, site: (Shard, Epoch)) -> Self {
        let asked = micros(now.mono); // what a former site of this place has asked is not answered to this one
        Self { site, asked, void: asked, held: None, ask_at: now.mono, to: None }
    }

    /// Whether it was the home at any time.
    pub(super) const fn was_held(&self) -> bool {
        self.held.is_some()
    }

    /// Whether newcomers may be let in.
    pub(super) fn holds(&self, now: Now) -> bool {
        self.to.is_none() && self.held.is_some_and(|(_, until)| now.mono < until)
    }

    /// The home that it is, and until when nobody else can be.
    pub(super) fn home(&self) -> Option<(Home, Mono)> {
        self.held.map(|(since, until)| (Home { shard: self.site.0, since }, until))
    }

    /// The same, now.
    fn home_at(&self, now: Now) -> Option<Home> {
        self.home().filter(|(_, until)| now.mono < *until).map(|(home, _)| home)
    }

    /// Where it last was told that it is the home, though that may be over.
    pub(super) fn since(&self) -> Since {
        self.held.map(|(since, _)| since).unwrap_or_default()
    }

    /// Whether it is giving up the room.
    pub(super) const fn is_moving(&self) -> bool {
        self.to.is_some()
    }

    /// The question, where it is time to ask.
    pub(super) fn ask(&mut self, now: Now) -> Option<RoomInput> {
        if self.ask_at > now.mono {
            return None;
        }
        let every = if self.holds(now) { limits::HOME_RENEWED_EVERY } else { limits::ASK_EVERY };
        self.ask_at = now.mono + every;
        self.asked = micros(now.mono).max(self.asked + 1);
        let held = self.home_at(now).map(|home| home.since);
        Some(RoomInput::AtHome { site: self.site, asked: self.asked, held, to: self.to })
    }

    /// What is on its way to it counts no more; it asks again.
    pub(super) fn void(&mut self, now: Now) {
        (self.void, self.ask_at) = (self.asked, now.mono);
    }

    /// The room is to move: from now on nobody is let in here.
    pub(super) fn move_to(&mut self, now: Now, to: Shard) {
        self.to = Some(to);
        self.void(now);
    }

    pub(super) fn answered(&mut self, now: Now, asked: u64, home: Home) -> Answer {
        if asked <= self.void || asked > self.asked {
            return Answer::Nothing;
        }
        if home.shard != self.site.0 {
            return Answer::Elsewhere(home);
        }
        let had = self.held.is_some_and(|(since, _)| since == home.since);
        // From its own time of asking: the anchor's owner counts from a later moment.
        let until = Mono(Duration::from_micros(asked)) + limits::HOME_LEAVE;
        (self.held, self.to, self.void) = (Some((home.since, until)), None, asked);
        self.ask_at = self.ask_at.max(now.mono + limits::HOME_RENEWED_EVERY);
        if had { Answer::Nothing } else { Answer::Given }
    }

    pub(super) fn poll_timeout(&self, now: Now) -> Mono {
        let end = self.held.map_or(Mono::NEVER, |(_, until)| until);
        self.ask_at.min(if end > now.mono { end } else { Mono::NEVER })
    }
}

impl Site {
    /// The anchor's owner answers, at this epoch of its shard. One before the epoch that is applied here counts no
    /// more: this node may have spoken to the owner since.
    pub fn handle_home(
        &mut self,
        view: View<'_>,
        epoch: Epoch,
        (asked, home): (u64, Home),
        out: &mut Vec<Output>,
    ) {
        if epoch < (view.epoch)(self.plan.anchor) {
            return;
        }
        let from = out.len();
        self.begin(view, out);
        if let Role::Home(leave) = &mut self.role
            && let Some(room) = &mut self.room
        {
            match leave.answered(view.now, asked, home) {
                Answer::Nothing => {}
                Answer::Given => {
                    expect(room, view);
                    let bound = !view.full || !leave.holds(view.now);
                    room.set_frozen(view.now, bound, out);
                    for (gateway, (since, mut attach)) in std::mem::take(&mut self.waiting) {
                        attach.grow_old(view.now.mono.since(since));
                        room.handle(view.now, gateway, attach, view.revoked, out);
                    }
                }
                Answer::Elsewhere(home) => {
                    tell_homed(view, home, room, self.waiting.keys().copied(), out);
                    self.room = None;
                }
            }
        }
        self.end(view, from, out);
    }

    /// The leave that was just given is given back: this node may have spoken to a new owner of the anchor before it
    /// could say that it is the home.
    pub fn give_back(&mut self, view: View<'_>, out: &mut Vec<Output>) {
        let from = out.len();
        self.begin(view, out);
        if let Role::Home(leave) = &mut self.role {
            leave.held = None;
            leave.void(view.now);
        }
        self.end(view, from, out);
    }

    /// A new owner of the anchor asks this node where the room is. True where this site has answered for it:
    /// else the node's proxy is to.
    pub fn handle_asked(&mut self, view: View<'_>, out: &mut Vec<Output>) -> bool {
        let from = out.len();
        self.begin(view, out);
        let mut answered = false;
        if let Role::Home(leave) = &mut self.role
            && self.room.is_some()
        {
            leave.void(view.now);
            if let Some((home, _)) = leave.home().filter(|(_, until)| view.now.mono < *until) {
                out.push(Output::Anchor(RoomInput::Follows { home }));
                answered = true;
            }
        }
        self.end(view, from, out);
        answered
    }

    /// The anchor has another owner: it is told of the home at once.
    pub fn handle_anchor_moved(&mut self, view: View<'_>, out: &mut Vec<Output>) {
        let from = out.len();
        self.begin(view, out);
        if let Role::Home(leave) = &mut self.role {
            leave.void(view.now);
        }
        self.end(view, from, out);
    }
}
