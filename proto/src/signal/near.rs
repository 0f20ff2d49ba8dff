//! In which region a room is homed: where most of its people are.
//!
//! A signal between two people goes by way of the room's owner, so all that are sent take the least time where
//! the sum of the people's distances to it is least. With regions as the only measure of distance, that is
//! the region of most of them.

use std::collections::BTreeMap;

use crate::id::Region;
use crate::limits::{HOME_AFTER, HOME_AGAIN, HOME_SPREAD};
use crate::time::Mono;

/// Watches where the people of one room are, and says when it should move. Begun anew wherever the room runs.
#[derive(Debug)]
pub struct Near {
    /// Its part of [`HOME_SPREAD`]: the rooms of a region that is back do not all move at once.
    wait: std::time::Duration,
    /// It stays here until then.
    rest: Mono,
    /// Nobody but its creator has been in it yet.
    fresh: bool,
    wish: Option<(Region, Mono)>,
}

impl Near {
    /// The room begins to run here. `fresh` says that it begins at all: it was not moved here, and had no owner
    /// before. `seed` is any number of the room's.
    #[must_use]
    pub fn new(now: Mono, fresh: bool, seed: u64) -> Self {
        let spread = u64::try_from(HOME_SPREAD.as_millis()).unwrap_or(u64::MAX).max(1);
        let wait = std::time::Duration::from_millis(seed % spread);
        Self { wait, rest: if fresh { now } else { now + HOME_AGAIN }, fresh, wish: None }
    }

    /// Its people are in these regions, one entry each, and its owner is `here`: where it should be instead, if
    /// that is due. Whoever moves it says so by [`Self::tried`].
    ///
    /// Nobody notices a move while the creator is alone. Else the wish has to last for [`HOME_AFTER`], and the room to
    /// have been here for [`HOME_AGAIN`]: whoever reloads a page leaves the other alone for a moment.
    pub fn observe<'a>(
        &mut self,
        now: Mono,
        here: &Region,
        people: impl Iterator<Item = &'a Region>,
    ) -> Option<Region> {
        let mut counts: BTreeMap<&Region, usize> = BTreeMap::new();
        for region in people {
            *counts.entry(region).or_default() += 1;
        }
        let of_here = counts.get(here).copied().unwrap_or_default();
        let all: usize = counts.values().sum();
        self.fresh &= all <= 1;
        // Of regions with as many, the first by name: a room does not go to and fro between them.
        let best = counts.into_iter().rev().max_by_key(|(_, count)| *count);
        let Some((best, _)) = best.filter(|(_, count)| *count > of_here) else {
            self.wish = None;
            return None;
        };
        let since = match &self.wish {
            Some((wish, since)) if wish == best => *since,
            _ => now,
        };
        self.wish = Some((best.clone(), since));
        let due = if self.fresh { self.rest } else { self.due(since) };
        (now >= due).then(|| best.clone())
    }

    fn due(&self, since: Mono) -> Mono {
        (since + HOME_AFTER + self.wait).max(self.rest)
    }

    /// It could not be moved now, or is on its way: asked again after a while.
    pub fn tried(&mut self, now: Mono) {
        self.rest = self.rest.max(now + HOME_AFTER + self.wait);
    }

    /// When [`Self::observe`] may say something although nobody comes or goes.
    #[must_use]
    pub fn poll_timeout(&self) -> Mono {
        self.wish.as_ref().map_or(Mono::NEVER, |(_, since)| self.due(*since))
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn region(name: &str) -> Region {
        Region::new(name).unwrap()
    }

    struct Watched {
        near: Near,
        now: Mono,
        here: Region,
    }

    impl Watched {
        fn at(here: &str, fresh: bool) -> Self {
            let now = Mono(Duration::from_secs(1000));
            Self { near: Near::new(now, fresh, 1), now, here: region(here) }
        }

        fn sees(&mut self, people: &[&str]) -> Option<String> {
            let people: Vec<Region> = people.iter().map(|name| region(name)).collect();
            self.near.observe(self.now, &self.here, people.iter()).map(|region| region.to_string())
        }

        fn later(&mut self, by: Duration) {
            self.now = self.now + by;
        }
    }

    #[test]
    fn a_room_goes_to_its_creator_at_once() {
        let mut room = Watched::at("east", true);
        assert_eq!(room.sees(&[]), None);
        assert_eq!(room.sees(&["east"]), None);
        assert_eq!(room.sees(&["west"]).as_deref(), Some("west"));
    }

    #[test]
    fn and_to_where_most_are_once_that_has_lasted() {
        let mut room = Watched::at("east", true);
        assert_eq!(room.sees(&["east", "west", "west"]), None);
        assert_eq!(room.near.poll_timeout(), room.now + HOME_AFTER + Duration::from_millis(1));
        room.later(HOME_AFTER);
        assert_eq!(room.sees(&["east", "west", "west"]), None, "its own part of the spread");
        room.later(HOME_SPREAD);
        assert_eq!(room.sees(&["east", "west", "west"]).as_deref(), Some("west"));
        room.near.tried(room.now);
        assert_eq!(room.sees(&["east", "west", "west"]), None, "it is on its way");
        room.later(HOME_AFTER + HOME_SPREAD);
        assert_eq!(room.sees(&["east", "west", "west"]).as_deref(), Some("west"), "it was not");
    }

    #[test]
    fn who_is_alone_for_a_moment_moves_nothing() {
        let mut room = Watched::at("east", true);
        assert_eq!(room.sees(&["east"]), None);
        assert_eq!(room.sees(&["east", "west"]), None);
        assert_eq!(room.sees(&["west"]), None, "the other one reloads the page");
        room.later(HOME_AFTER / 2);
        assert_eq!(room.sees(&["east", "west"]), None);
        room.later(HOME_AFTER + HOME_SPREAD);
        assert_eq!(room.sees(&["west"]), None, "and again");
        room.later(HOME_AFTER + HOME_SPREAD);
        assert_eq!(room.sees(&["west"]).as_deref(), Some("west"), "it has left for good");
    }

    #[test]
    fn a_wish_that_passes_moves_nobody() {
        let mut room = Watched::at("east", true);
        assert_eq!(room.sees(&["east", "west", "west"]), None);
        room.later(HOME_AFTER);
        assert_eq!(room.sees(&["east", "west"]), None, "as many here");
        assert_eq!(room.near.poll_timeout(), Mono::NEVER);
        room.later(HOME_AFTER);
        assert_eq!(room.sees(&["east", "west", "west"]), None, "it begins anew");
        room.later(HOME_AFTER / 2);
        assert_eq!(room.sees(&["east", "north", "north"]), None, "another one");
        room.later(HOME_AFTER / 2 + HOME_SPREAD);
        assert_eq!(room.sees(&["east", "north", "north", "west", "west"]).as_deref(), Some("north"));
    }

    #[test]
    fn what_was_moved_here_stays_for_a_while() {
        let mut room = Watched::at("east", false);
        assert_eq!(room.sees(&["west"]), None);
        room.later(HOME_AFTER + HOME_SPREAD);
        assert_eq!(room.sees(&["west", "west"]), None);
        room.later(HOME_AGAIN);
        assert_eq!(room.sees(&["west", "west"]).as_deref(), Some("west"));
    }
}
