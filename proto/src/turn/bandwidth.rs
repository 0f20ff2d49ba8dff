//! How many bytes an allocation may have relayed, and how the server's own limit is shared.
//!
//! Each allocation has a token bucket for each way. The server as a whole has windows of a tenth of a
//! second: while they are not full nothing is held. When one fills up, or the one before was too small
//! for what was asked, every allocation is held to the same level, the highest at which all of them
//! together fit (max-min fairness): who asks for less than the level loses nothing, and who asks for
//! more gets the level.

use std::time::Duration;

use super::config::Quotas;
use super::counters::Drop;
use super::limit::Limit;
use super::server::Server;
use super::table::{AllocationId, Table};
use crate::limits::{BANDWIDTH_BURST, BANDWIDTH_WINDOW};
use crate::time::{Mono, Now};

/// Which way data goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(usize)]
pub(super) enum Way {
    ToPeer,
    ToClient,
}

/// What one allocation has had one way. Half a cache line.
#[derive(Debug, Clone, Copy)]
pub(super) struct Meter {
    /// Bytes that it may have before the clock is asked how many were gained since.
    tokens: u64,
    /// Until when the tokens have been gained, in nanoseconds since boot.
    gained: u64,
    /// The server's window that the figures below are of.
    window: u32,
    /// Bytes that passed in it.
    passed: u32,
    /// Bytes that were asked for in it.
    asked: u32,
    /// Bytes that were asked for in the one before.
    before: u32,
}

impl Meter {
    /// The bucket is full.
    pub(super) fn new(now: Mono, bandwidth: &Bandwidth) -> Self {
        Self { tokens: bandwidth.burst, gained: nanos(now), window: 0, passed: 0, asked: 0, before: 0 }
    }

    /// Whether the allocation's own limit lets `size` bytes pass. They are not taken yet.
    fn has(&mut self, now: Mono, size: u64, rate: u64, burst: u64) -> bool {
        if self.tokens >= size || rate == 0 {
            return true;
        }
        // The clock is asked only when the bucket is empty: a full one costs one comparison.
        let (now, rate) = (nanos(now), u128::from(rate));
        let gained = u128::from(now.saturating_sub(self.gained)) * rate / NANOS;
        let tokens = gained + u128::from(self.tokens);
        if tokens >= u128::from(burst) {
            (self.tokens, self.gained) = (burst, now);
        } else {
            self.tokens = low(tokens);
            // What is less than a byte stays to be gained.
            self.gained += low(gained * NANOS / rate);
        }
        // A packet longer than a whole bucket waits for a full one.
        self.tokens >= size.min(burst)
    }

    /// The figures are of window `number` from here on.
    const fn roll(&mut self, number: u32) {
        if self.window != number {
            self.before = self.asked_before(number);
            self.window = number;
            (self.passed, self.asked) = (0, 0);
        }
    }

    /// What was asked for in the window before `number`.
    const fn asked_before(&self, number: u32) -> u32 {
        if self.window == number {
            self.before
        } else if self.window.wrapping_add(1) == number {
            self.asked
        } else {
            0
        }
    }
}

/// The server's limit one way.
struct Share {
    /// The window's number.
    number: u32,
    ends: Mono,
    /// Bytes that passed in it.
    passed: u64,
    /// The level is looked at again when so many have passed.
    check: u64,
    /// Bytes of the window that one allocation may have; `u32::MAX` while nothing is held.
    level: u32,
    /// Somebody is held in this window, or it was full before its end.
    overloaded: bool,
}

/// The limits, and how much of the server's is taken.
pub(super) struct Bandwidth {
    /// Bytes a second of one allocation each way; zero is no limit.
    rate: u64,
    burst: u64,
    /// Bytes of one window of the server each way; zero is no limit.
    window: u64,
    shares: [Share; 2],
}

const NANOS: u128 = 1_000_000_000;

impl Bandwidth {
    pub(super) fn new(quotas: &Quotas) -> Self {
        // Zero is no limit: what is limited to less than a byte is not.
        let bytes = |bits: u64| bits.div_ceil(8);
        let within =
            |bits: u64, time: Duration| low((u128::from(bytes(bits)) * time.as_nanos()).div_ceil(NANOS));
        let window = within(quotas.bandwidth, BANDWIDTH_WINDOW);
        let share = || Share {
            number: 1,
            ends: Mono::default(),
            passed: 0,
            check: 0,
            level: u32::MAX,
            overloaded: false,
        };
        Self {
            rate: bytes(quotas.allocation_bandwidth),
            burst: within(quotas.allocation_bandwidth, BANDWIDTH_BURST),
            window,
            shares: [share(), share()],
        }
    }

    /// Whether `size` bytes of an allocation pass; they are counted then.
    fn admit(
        &mut self,
        now: Mono,
        table: &mut Table,
        id: AllocationId,
        way: Way,
        size: u32,
    ) -> Result<(), Drop> {
        if self.window != 0 {
            let share = &self.shares[way as usize];
            if now >= share.ends {
                self.begin_window(now, table, way);
            } else if share.passed + u64::from(size) > share.check {
                self.look_again(now, table, way);
            }
        }
        let share = &mut self.shares[way as usize];
        let meter = &mut table.get_mut(id).ok_or(Drop::NoAllocation)?.meters[way as usize];
        let bytes = u64::from(size);
        if !meter.has(now, bytes, self.rate, self.burst) {
            return Err(Drop::AllocationBandwidth);
        }
        if self.window != 0 {
            meter.roll(share.number);
            meter.asked = meter.asked.saturating_add(size);
            let full = share.passed + bytes > self.window;
            if full || meter.passed.saturating_add(size) > share.level {
                share.overloaded = true;
                return Err(Drop::Bandwidth);
            }
            meter.passed = meter.passed.saturating_add(size);
            share.passed += bytes;
        }
        meter.tokens = meter.tokens.saturating_sub(bytes);
        Ok(())
    }

    /// Begins the window of `now`, held from its start where the one before was overloaded.
    fn begin_window(&mut self, now: Mono, table: &Table, way: Way) {
        let share = &mut self.shares[way as usize];
        let next = share.ends + BANDWIDTH_WINDOW;
        // After a pause the window before is an empty one.
        let paused = now >= next;
        share.ends = if paused { now + BANDWIDTH_WINDOW } else { next };
        share.number = share.number.wrapping_add(if paused { 2 } else { 1 });
        share.passed = 0;
        share.check = self.window - self.window / 4;
        let overloaded = share.overloaded && !paused;
        let fits = self.window - self.window / 32;
        let level = if overloaded { self.level(table, way, BANDWIDTH_WINDOW, fits) } else { u32::MAX };
        self.hold(way, level);
    }

    /// The window fills up: who was not known at its start is counted in.
    fn look_again(&mut self, now: Mono, table: &Table, way: Way) {
        let last = self.window - self.window / 16;
        let share = &mut self.shares[way as usize];
        // What was left at the window's start, for those who ask for a little more than was expected of
        // them, is given out while it lasts.
        let (check, fits) =
            if share.check < last { (last, self.window - self.window / 64) } else { (u64::MAX, self.window) };
        share.check = check;
        let elapsed = BANDWIDTH_WINDOW.saturating_sub(share.ends.since(now));
        // A sixteenth at least: of less one cannot tell what the whole will be.
        let level = self.level(table, way, elapsed.max(BANDWIDTH_WINDOW / 16), fits);
        self.hold(way, level);
    }

    /// Holds every allocation to this level for the rest of the window.
    fn hold(&mut self, way: Way, level: u32) {
        let share = &mut self.shares[way as usize];
        share.level = level;
        share.overloaded = level != u32::MAX;
    }

    /// The highest level at which what all allocations are expected to ask for in this window, of which
    /// `elapsed` has passed, is `fits` bytes at most; `u32::MAX` where all of it is.
    fn level(&self, table: &Table, way: Way, elapsed: Duration, fits: u64) -> u32 {
        let number = self.shares[way as usize].number;
        let demands: Vec<(u32, u32)> = table
            .iter()
            .filter_map(|(_, allocation)| {
                let meter = &allocation.meters[way as usize];
                let now = meter.window == number;
                let (passed, asked) = if now { (meter.passed, meter.asked) } else { (0, 0) };
                let whole = u128::from(asked) * BANDWIDTH_WINDOW.as_nanos() / elapsed.as_nanos().max(1);
                let whole = u32::try_from(whole).unwrap_or(u32::MAX);
                let expected = meter.asked_before(number).max(whole).max(passed);
                (expected > 0).then_some((passed, expected))
            })
            .collect();
        // What has passed is spent; beyond that everybody has up to the level.
        let sum = |level: u32| {
            demands.iter().map(|(passed, expected)| u64::from(level.clamp(*passed, *expected))).sum::<u64>()
        };
        let fits = fits.max(sum(0));
        if sum(u32::MAX) <= fits {
            return u32::MAX;
        }
        let (mut low, mut high) = (0, u32::MAX);
        while high - low > 1 {
            let middle = low + (high - low) / 2;
            if sum(middle) <= fits {
                low = middle;
            } else {
                high = middle;
            }
        }
        low
    }
}

impl Server {
    /// Whether a payload of an allocation passes its limits; it is counted then, with the headers that it
    /// has on the peer's side.
    pub(super) fn admit(
        &mut self,
        now: Now,
        id: AllocationId,
        way: Way,
        length: usize,
        v4: bool,
    ) -> Result<(), Drop> {
        // IPv4 20, IPv6 40, UDP 8.
        let size = u32::try_from(length).unwrap_or(u32::MAX) + if v4 { 28 } else { 48 };
        let admitted = self.bandwidth.admit(now.mono, &mut self.table, id, way, size);
        match admitted {
            Err(Drop::AllocationBandwidth) => self.limited_allocation(now, Limit::AllocationBandwidth, id),
            Err(Drop::Bandwidth) => self.limited_allocation(now, Limit::Bandwidth, id),
            _ => {}
        }
        admitted
    }
}

fn nanos(now: Mono) -> u64 {
    low(now.0.as_nanos())
}

/// As far as it fits.
fn low(wide: u128) -> u64 {
    u64::try_from(wide).unwrap_or(u64::MAX)
}
