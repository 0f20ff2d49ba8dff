//! What passes the room, while an operator watches it.

use actix::{Context, Handler, Message};
use chappe_admin::pool::Place;
use chappe_proto::inspect::{Filter, SignalsPage, Tap};
use chappe_proto::signal::member::Gateway;
use chappe_proto::signal::room::{Output, Room};
use chappe_proto::signal::route::RoomInput;
use chappe_proto::signal::site::Site;
use chappe_proto::time::{Mono, Now};

use super::RoomActor;
use crate::clock;

/// A watch of this room, and what its machine is just told.
pub(super) struct Watched {
    tap: Tap,
    told: Option<(Gateway, RoomInput)>,
    _place: Place,
}

/// What has passed the room? The watch begins with the first question.
#[derive(Message)]
#[rtype(result = "Result<SignalsPage, Unwatched>")]
pub struct Signals {
    /// The last number that is known, 0 for none.
    pub after: u64,
    /// Which.
    pub filter: Filter,
    /// As many at most.
    pub limit: usize,
    /// Whether all is shown.
    pub plain: bool,
    /// Whether a key of its app asks.
    pub by_app: bool,
}

/// Why a room is not watched.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unwatched {
    /// It is not here any more.
    NotHere,
    /// As many are watched on this node as may be.
    Full,
}

impl RoomActor {
    /// The machine is about to be told this. One branch where nobody watches, as [`Self::see`] is.
    pub(super) fn hear(&mut self, from: Gateway, input: &RoomInput) {
        if let Some(watched) = &mut self.watched {
            watched.told = Some((from, input.clone()));
        }
    }

    /// The machine has answered.
    pub(super) fn see(&mut self, now: Now, site: &Site, out: &[Output]) {
        if let Some(watched) = &mut self.watched {
            if watched.tap.until() <= now.mono {
                self.watched = None;
                return;
            }
            let told = watched.told.take();
            let waits =
                |from, signal: &_| site.room().is_some_and(|room: &Room| room.waits_for(from, signal));
            watched.tap.handle(now, told.as_ref(), out, waits);
        }
    }

    /// When the watch ends.
    pub(super) fn watched_until(&self) -> Mono {
        self.watched.as_ref().map_or(Mono::NEVER, |watched| watched.tap.until())
    }
}

impl Handler<Signals> for RoomActor {
    type Result = Result<SignalsPage, Unwatched>;

    fn handle(&mut self, asked: Signals, ctx: &mut Context<Self>) -> Self::Result {
        if self.machine.as_ref().is_none_or(|machine| machine.room().is_none()) {
            self.watched = None;
            return Err(Unwatched::NotHere);
        }
        let now = clock::now();
        let watched = match self.watched.take().filter(|watched| now.mono < watched.tap.until()) {
            Some(watched) => watched,
            None => {
                let place =
                    self.node.watches.take(asked.by_app.then_some(&self.key.app)).ok_or(Unwatched::Full)?;
                Box::new(Watched { tap: Tap::new(now, clock::random()), told: None, _place: place })
            }
        };
        let watched = self.watched.insert(watched);
        let page = watched.tap.page(now, asked.after, &asked.filter, asked.limit, asked.plain);
        let until = watched.tap.until();
        self.timer.arm(until, ctx, Self::fire);
        Ok(page)
    }
}
