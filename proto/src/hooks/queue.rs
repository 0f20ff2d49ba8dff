//! Which event is sent when.
//!
//! Events of one room go to a webhook one after another, each when the one before was taken or given up; rooms do not
//! wait for each other. What was not taken is tried again, later each time. An endpoint that takes nothing is asked by
//! one request at a time until it takes one. The shell sends what [`Output::Send`] says, and says what came of it by
//! [`Queue::handle_result`], once for each.

mod line;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::ops::Bound;
use std::time::Duration;

use super::event::Event;
use super::record::{Answered, Delivery, DeliveryPage, DeliveryState, Wanted};
use crate::id::{AppId, EventId, HookId};
use crate::limits::{
    HOOK_PAGE, HOOK_PROBE_MAX, HOOK_RETRY_FIRST, HOOK_RETRY_MAX, HOOKS_IN_FLIGHT, HOOKS_QUEUE_BYTES,
};
use crate::select::draw;
use crate::time::{Mono, Now};
use line::Line;

/// What the queue asks of its shell.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Output {
    /// Send this, and say what came of it.
    Send {
        /// Whose webhook.
        app: AppId,
        /// Which.
        hook: HookId,
        /// What.
        event: Event,
    },
    /// The endpoint says that it is gone: commit that nothing more is sent there.
    Gone {
        /// Whose webhook.
        app: AppId,
        /// Which.
        hook: HookId,
    },
}

/// How a webhook is, to the registry.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Standing {
    /// It is sent to.
    On,
    /// It is there, and nothing is sent.
    Off,
    /// It is not there.
    Removed,
}

/// What became of a wish to send again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Resent {
    /// It is sent as soon as those before it are.
    Done,
    /// No such delivery is remembered.
    Unknown,
    /// Too many wait.
    Full,
}

/// The waits of repeated attempts, each another part longer or shorter.
#[derive(Debug)]
struct Waits {
    seed: u64,
    drawn: u64,
}

impl Waits {
    /// The wait after so many failures, counted from 0.
    fn after(&mut self, failures: u32, max: Duration) -> Duration {
        self.drawn = self.drawn.wrapping_add(1);
        let wait = HOOK_RETRY_FIRST.saturating_mul(1_u32.checked_shl(failures).unwrap_or(u32::MAX)).min(max);
        wait.mul_f64(0.75 + draw::unit(self.seed, self.drawn) / 2.0).min(max)
    }

    fn of_attempt(&mut self, failures: u32) -> Duration {
        self.after(failures, HOOK_RETRY_MAX)
    }

    fn of_probe(&mut self, failures: u32) -> Duration {
        self.after(failures, HOOK_PROBE_MAX)
    }
}

/// All that one node has to tell.
#[derive(Debug)]
pub struct Queue {
    lines: BTreeMap<HookId, Line>,
    waits: Waits,
    /// Requests under way, those of webhooks included that are not there any more.
    sending: usize,
    /// Bytes that wait.
    bytes: usize,
    /// The webhook that was served last: the next one's turn is first.
    last: HookId,
}

impl Queue {
    /// An empty one. `seed` draws the waits.
    #[must_use]
    pub const fn new(seed: u64) -> Self {
        let (waits, last) = (Waits { seed, drawn: 0 }, HookId::from_random([0; 15]));
        Self { lines: BTreeMap::new(), waits, sending: 0, bytes: 0, last }
    }

    /// A webhook is to be told of an event. False where there is no room for it: it is dropped, and counted.
    pub fn push(&mut self, now: Now, app: &AppId, hook: HookId, event: &Event) -> bool {
        let bytes = event.body.len();
        let fits = bytes <= self.room_for(app);
        let line = self.lines.entry(hook).or_insert_with(|| Line::new(app.clone()));
        if line.knows(event.id) {
            return true;
        }
        if !fits || !line.has_room_for(bytes) {
            line.drop_one();
            return false;
        }
        self.bytes += bytes;
        line.push(now, event.clone());
        true
    }

    /// Bytes that an app may add: it holds as many as are free at most. So one app alone takes half of the queue, two
    /// take a third each, and however many have webhooks that take nothing, there is as much left for another.
    fn room_for(&self, app: &AppId) -> usize {
        let free = HOOKS_QUEUE_BYTES.saturating_sub(self.bytes);
        // What all hold together bounds what one does.
        let own = if self.bytes * 2 <= free {
            self.bytes
        } else {
            self.lines.values().filter(|line| line.app == *app).map(Line::bytes).sum()
        };
        free.saturating_sub(own) / 2
    }

    /// What is to be sent now. Webhooks take turns.
    pub fn poll(&mut self, now: Now, out: &mut Vec<Output>) {
        let after = self.lines.range((Bound::Excluded(self.last), Bound::Unbounded));
        let turns = after.chain(self.lines.range(..=self.last)).filter(|(_, line)| line.waits());
        let turns: Vec<HookId> = turns.map(|(hook, _)| *hook).collect();
        for hook in turns {
            let Some(line) = self.lines.get_mut(&hook) else { continue };
            let before = line.bytes();
            while self.sending < HOOKS_IN_FLIGHT
                && let Some(event) = line.next(now)
            {
                self.sending += 1;
                self.last = hook;
                out.push(Output::Send { app: line.app.clone(), hook, event });
            }
            self.bytes -= before - line.bytes(); // of what was too old
        }
    }

    /// When [`Self::poll`] has something to say, unless something comes before.
    #[must_use]
    pub fn poll_timeout(&self) -> Mono {
        if self.sending >= HOOKS_IN_FLIGHT {
            return Mono::NEVER; // until one has ended
        }
        self.lines.values().map(Line::poll_timeout).min().unwrap_or(Mono::NEVER)
    }

    /// What came of a request.
    pub fn handle_result(
        &mut self,
        now: Now,
        hook: HookId,
        event: EventId,
        answered: &Answered,
        out: &mut Vec<Output>,
    ) {
        self.sending = self.sending.saturating_sub(1);
        let Some(line) = self.lines.get_mut(&hook) else { return };
        let before = line.bytes();
        if line.handle_result(now, event, answered, &mut self.waits) {
            out.push(Output::Gone { app: line.app.clone(), hook });
        }
        self.bytes -= before - line.bytes();
    }

    /// The registry has changed: what waits for webhooks that are off or gone is dropped.
    pub fn keep(&mut self, standing: impl Fn(&AppId, HookId) -> Standing) {
        let bytes = &mut self.bytes;
        self.lines.retain(|hook, line| {
            let before = line.bytes();
            let standing = standing(&line.app, *hook);
            line.set_off(standing != Standing::On);
            let kept = if standing == Standing::Removed { 0 } else { line.bytes() };
            *bytes -= before - kept;
            standing != Standing::Removed
        });
    }

    /// A webhook is another one: what failed is tried at once.
    pub fn renew(&mut self, hook: HookId) {
        if let Some(line) = self.lines.get_mut(&hook) {
            line.renew();
        }
    }

    /// Sends an event again that was taken or given up; one that waits is tried at once.
    pub fn resend(&mut self, now: Now, hook: HookId, event: EventId) -> Resent {
        let room = self.lines.get(&hook).map_or(0, |line| self.room_for(&line.app));
        let Some(line) = self.lines.get_mut(&hook) else { return Resent::Unknown };
        let before = line.bytes();
        let resent = line.resend(now, event, room);
        self.bytes += line.bytes() - before;
        resent
    }

    /// What is remembered of a webhook's deliveries, the newest first.
    #[must_use]
    pub fn deliveries(&self, hook: HookId, wanted: &Wanted) -> DeliveryPage {
        let Some(line) = self.lines.get(&hook) else { return DeliveryPage::default() };
        let mut found: Vec<_> = line.records().filter(|record| record.is_wanted(wanted)).collect();
        found.sort_unstable_by_key(|record| std::cmp::Reverse(record.order()));
        let deliveries = found.into_iter().take(HOOK_PAGE).map(super::record::Record::told).collect();
        DeliveryPage { deliveries, counts: line.counts() }
    }

    /// One of them.
    #[must_use]
    pub fn delivery(&self, hook: HookId, event: EventId) -> Option<Delivery> {
        Some(self.lines.get(&hook)?.record(event)?.told())
    }

    /// Whether nothing waits.
    #[must_use]
    pub fn is_idle(&self) -> bool {
        self.sending == 0 && !self.lines.values().any(Line::waits)
    }

    /// Whether nothing is under way, and nothing can be sent now.
    #[must_use]
    pub fn is_quiet(&self, now: Now) -> bool {
        self.sending == 0 && self.poll_timeout() > now.mono
    }
}

impl DeliveryState {
    /// Of an answer of 200 to 299, and of 410; none where it is tried again.
    pub(super) const fn of_status(status: Option<u16>) -> Option<Self> {
        match status {
            Some(200..=299) => Some(Self::Delivered),
            Some(410) => Some(Self::Gone),
            _ => None,
        }
    }
}
