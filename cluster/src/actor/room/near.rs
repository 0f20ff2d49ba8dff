//! A room goes where its people are, or where it was decided that it is to be.

use std::time::Duration;

use actix::Context;
use chappe_proto::id::{Change, Region};
use chappe_proto::registry::State;
use chappe_proto::registry::placement::is_eligible;
use chappe_proto::signal::near::Near;
use chappe_proto::signal::room::Room;
use chappe_proto::signal::route::Entry;
use chappe_proto::signal::site::Site;
use chappe_proto::time::Mono;

use super::RoomActor;
use crate::clock;

/// After a look at where the people are there is none for as many times this.
const LOOK_AFTER: Duration = Duration::from_millis(1);

/// Where this room should be.
pub(super) struct Watch {
    near: Near,
    /// The change up to which its people were looked at.
    seen: Option<Change>,
    /// The next look is not before: each costs by the people there are.
    look_at: Mono,
    /// The room is not here.
    away: bool,
}

impl Watch {
    /// A room begins to run here; `fresh` where it begins at all.
    pub(super) fn new(fresh: bool) -> Self {
        let (now, seed) = (clock::mono(), u64::from_be_bytes(clock::random()));
        Self { near: Near::new(now, fresh, seed), seen: None, look_at: now, away: false }
    }
}

impl RoomActor {
    /// Moves the room nearer to its people, where that is due. The answer is when to ask again although nothing
    /// happens.
    pub(super) fn go_near(&mut self, state: &State, ctx: &mut Context<Self>) -> Mono {
        let room = self.machine.as_ref().and_then(Site::room);
        match room {
            None => self.watch.away = true,
            Some(_) if self.watch.away => self.watch = Watch::new(false),
            Some(_) => {}
        }
        let room = room.filter(|room| !room.is_frozen());
        let (Some(room), Some(here)) = (room, state.node(self.node.id).map(|node| &node.region)) else {
            return Mono::NEVER; // with the next change of either
        };
        let (now, last, watch) = (clock::mono(), room.last_change(), &mut self.watch);
        let due = if watch.seen == Some(last) { watch.near.poll_timeout() } else { now };
        if now < due.max(watch.look_at) {
            return due.max(watch.look_at);
        }
        let mut count = 0;
        let decided = state.made_room(&self.key).and_then(|made| made.policy.region.as_ref());
        let decided = decided.filter(|region| can_run(state, region));
        let people = people(room, state).map(|region| decided.unwrap_or(region));
        let wish = watch.near.observe(now, here, people.inspect(|_| count += 1));
        (watch.seen, watch.look_at) = (Some(last), now + LOOK_AFTER * count);
        if let Some(region) = wish {
            watch.near.tried(now);
            if let Some(to) = state.home(&self.key, &region)
                && self.run(ctx, |machine, view, out| machine.move_to(view, to, out)) == Some(true)
            {
                tracing::debug!(room = %self.key, %region, %to, "moves to where its people are");
            }
        }
        self.watch.near.poll_timeout().max(self.watch.look_at)
    }
}

/// Whether a node of a region can run rooms.
fn can_run(state: &State, region: &Region) -> bool {
    state.nodes().any(|(_, node)| node.region == *region && is_eligible(node))
}

/// Where each of a room's people is: where its token says, if a node there can run rooms; else where its gateway
/// is, if that can be said of it.
fn people<'a>(room: &'a Room, state: &'a State) -> impl Iterator<Item = &'a Region> {
    let known = |region: &&Region| can_run(state, region);
    let gateway = |entry: &Entry| state.node(entry.gateway.node).map(|node| &node.region);
    room.entries().filter_map(move |entry| {
        entry.member.seat.region().filter(known).or_else(|| gateway(entry).filter(known))
    })
}
