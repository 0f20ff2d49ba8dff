//! All allocations: found by five-tuple, by user, by when they end.

use std::collections::BTreeSet;
use std::net::IpAddr;

use ahash::{AHashMap, RandomState};
use slab::Slab;

use super::allocation::Allocation;
use super::api::FiveTuple;
use super::credential::User;
use super::source_rates::source;
use crate::limits::{ALLOCATIONS_MAX, PROBE_ALLOCATIONS_MAX};
use crate::time::Mono;

/// An allocation's place in the table, good until it ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct AllocationId(u32);

impl AllocationId {
    const fn index(self) -> usize {
        self.0 as usize
    }
}

/// All allocations.
pub(super) struct Table {
    allocations: Slab<Allocation>,
    clients: AHashMap<FiveTuple, AllocationId>,
    users: AHashMap<User, Vec<AllocationId>>,
    sources: AHashMap<IpAddr, u32>,
    /// One entry an allocation, at its [`Allocation::timer`]: moved only when it comes up, so that a
    /// refresh costs nothing.
    timers: BTreeSet<(Mono, AllocationId)>,
    /// That of the next allocation.
    serial: u64,
}

/// Bits of an allocation's number that are its place; the others are its serial number.
const PLACE_BITS: u32 = 24;
const _: () = assert!(ALLOCATIONS_MAX as usize + PROBE_ALLOCATIONS_MAX < 1 << PLACE_BITS);

impl Table {
    /// With a keyed hash for its maps, since clients choose what is put into them.
    pub(super) fn new(hash: RandomState) -> Self {
        Self {
            allocations: Slab::new(),
            clients: AHashMap::with_hasher(hash.clone()),
            users: AHashMap::with_hasher(hash.clone()),
            // Another process begins elsewhere: a number of a former life is nobody's, most likely.
            serial: hash.hash_one("serial") >> PLACE_BITS,
            sources: AHashMap::with_hasher(hash),
            timers: BTreeSet::new(),
        }
    }

    pub(super) fn len(&self) -> usize {
        self.allocations.len()
    }

    pub(super) fn of_client(&self, client: &FiveTuple) -> Option<AllocationId> {
        self.clients.get(client).copied()
    }

    pub(super) fn get(&self, id: AllocationId) -> Option<&Allocation> {
        self.allocations.get(id.index())
    }

    pub(super) fn get_mut(&mut self, id: AllocationId) -> Option<&mut Allocation> {
        self.allocations.get_mut(id.index())
    }

    /// Places of allocations: an upper bound of [`Self::at_mut`].
    pub(super) fn slots(&self) -> usize {
        self.allocations.capacity()
    }

    /// The allocation at a place, where there is one.
    pub(super) fn at_mut(&mut self, place: usize) -> Option<&mut Allocation> {
        self.allocations.get_mut(place)
    }

    /// The id of a place, whether an allocation is there or not; none behind the last place.
    pub(super) fn id_at(&self, place: u32) -> Option<AllocationId> {
        ((place as usize) < self.slots()).then_some(AllocationId(place))
    }

    /// What an allocation is called outside: its place and its serial number, so that no other one gets it.
    pub(super) fn number(&self, id: AllocationId) -> u64 {
        let serial = self.get(id).map_or(0, |allocation| allocation.serial);
        (serial << PLACE_BITS) | u64::from(id.0)
    }

    /// The allocation that is called so.
    pub(super) fn numbered(&self, number: u64) -> Option<AllocationId> {
        let place = number & ((1 << PLACE_BITS) - 1);
        let id = AllocationId(u32::try_from(place).ok()?);
        self.get(id).filter(|_| self.number(id) == number).map(|_| id)
    }

    /// Those of a user.
    pub(super) fn of_user(&self, user: &User) -> &[AllocationId] {
        self.users.get(user).map_or(&[], Vec::as_slice)
    }

    /// How many a source has.
    pub(super) fn of_source(&self, ip: IpAddr) -> u32 {
        self.sources.get(&source(ip)).copied().unwrap_or(0)
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = (AllocationId, &Allocation)> {
        self.allocations.iter().map(|(index, allocation)| (id(index), allocation))
    }

    pub(super) fn iter_mut(&mut self) -> impl Iterator<Item = &mut Allocation> {
        self.allocations.iter_mut().map(|(_, allocation)| allocation)
    }

    /// Adds an allocation; its five-tuple must have none.
    pub(super) fn insert(&mut self, mut allocation: Allocation) -> AllocationId {
        let (client, user) = (allocation.client, allocation.user.clone());
        allocation.timer = allocation.expires;
        let timer = allocation.timer;
        allocation.serial = self.serial;
        self.serial = (self.serial + 1) & (u64::MAX >> PLACE_BITS);
        let id = id(self.allocations.insert(allocation));
        self.clients.insert(client, id);
        self.users.entry(user).or_default().push(id);
        *self.sources.entry(source(client.client.ip())).or_default() += 1;
        self.timers.insert((timer, id));
        id
    }

    /// Takes an allocation out.
    pub(super) fn remove(&mut self, id: AllocationId) -> Option<Allocation> {
        let allocation = self.allocations.try_remove(id.index())?;
        self.clients.remove(&allocation.client);
        self.timers.remove(&(allocation.timer, id));
        if let Some(ids) = self.users.get_mut(&allocation.user) {
            ids.retain(|held| *held != id);
            if ids.is_empty() {
                self.users.remove(&allocation.user);
            }
        }
        let source = source(allocation.client.client.ip());
        if let Some(count) = self.sources.get_mut(&source) {
            *count -= 1;
            if *count == 0 {
                self.sources.remove(&source);
            }
        }
        Some(allocation)
    }

    /// Says that an allocation ends at another time than before.
    pub(super) fn set_expiry(&mut self, id: AllocationId, expires: Mono) {
        let Some(allocation) = self.allocations.get_mut(id.index()) else { return };
        allocation.expires = expires;
        if expires < allocation.timer {
            self.timers.remove(&(allocation.timer, id));
            allocation.timer = expires;
            self.timers.insert((expires, id));
        }
    }

    /// When something is due.
    pub(super) fn next_timer(&self) -> Option<Mono> {
        self.timers.first().map(|(at, _)| *at)
    }

    /// An allocation that has expired.
    pub(super) fn expired(&mut self, now: Mono) -> Option<AllocationId> {
        while let Some((at, id)) = self.timers.first().copied().filter(|(at, _)| *at <= now) {
            let allocation = self.allocations.get_mut(id.index())?;
            if allocation.expires <= now {
                return Some(id);
            }
            self.timers.remove(&(at, id));
            allocation.timer = allocation.expires;
            self.timers.insert((allocation.timer, id));
        }
        None
    }
}

/// A slab's index as an id: far below 2^32, since the table's size has a limit.
#[expect(clippy::cast_possible_truncation, reason = "limited by `limits::ALLOCATIONS_MAX`")]
const fn id(index: usize) -> AllocationId {
    AllocationId(index as u32)
}
