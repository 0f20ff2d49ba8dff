//! How an edge is: up, degraded, overloaded, draining or lost, with the reasons, from its own reports, from probes
//! of others, from silence and from what operators decided. What is measured has hysteresis: a reason begins when
//! its figure has been high for a while, and ends when it has been clearly lower for longer
//! ([`EDGE_HIGH_FOR`], [`EDGE_LOW_FOR`]).

use serde::{Deserialize, Serialize};

use super::outside::Verdict;
use super::reason::Reason;
use crate::limits::{
    CERTIFICATE_ENDS_SOON, EDGE_BANDWIDTH, EDGE_BUSY, EDGE_FILES, EDGE_FULL, EDGE_HIGH_FOR, EDGE_LAG_US,
    EDGE_LOW_FOR, EDGE_MEMORY, EDGE_RECEIVE_DROPS, Threshold,
};
use crate::mesh::uplink::{EdgeHello, Health, Traffic};
use crate::time::{Mono, Now};

/// How an edge is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum State {
    /// Everything works.
    #[default]
    Up,
    /// It serves, but something does not work, or will not work soon.
    Degraded,
    /// It serves whom it has, and takes no new clients until it has room again.
    Overloaded,
    /// It serves whom it has until they are gone, and takes no new ones.
    Draining,
    /// Nobody hears it, or it is no part of the cluster any more.
    Lost,
}

impl State {
    /// As it is written.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Up => "up",
            Self::Degraded => "degraded",
            Self::Overloaded => "overloaded",
            Self::Draining => "draining",
            Self::Lost => "lost",
        }
    }
}

/// How an edge is, and why.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Condition {
    /// How.
    pub state: State,
    /// Why it is not simply up; of a state that outweighs others, theirs too.
    #[serde(default)]
    pub reasons: Vec<Reason>,
}

impl Condition {
    /// Whether new clients may be sent there.
    #[must_use]
    pub const fn takes_new(&self) -> bool {
        matches!(self.state, State::Up | State::Degraded)
    }

    /// Whether another one differs in more than its figures.
    #[must_use]
    pub fn differs(&self, other: &Self) -> bool {
        let names = |condition: &Self| condition.reasons.iter().map(Reason::name).collect::<Vec<_>>();
        self.state != other.state || names(self) != names(other)
    }
}

/// Whether an edge is heard.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Heard {
    /// It is.
    Yes,
    /// Not here; but this node hears no other node either, so that it says nothing of the edge.
    CutOff,
    /// Not for too long.
    No,
    /// It said that it stops.
    Stopped,
}

/// What operators decided of an edge.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Decided {
    /// It serves.
    Admitted,
    /// It takes no new clients.
    Draining,
    /// It is no part of the cluster any more.
    Removed,
}

/// What an edge's own reports say besides figures that have hysteresis.
#[derive(Debug, Clone, Copy)]
pub struct Signs<'a> {
    /// What it offers.
    pub hello: &'a EdgeHello,
    /// Its last report.
    pub health: Option<&'a Health>,
    /// Whether it is heard.
    pub heard: Heard,
    /// What operators decided.
    pub decided: Decided,
    /// What probes from outside found.
    pub outside: &'a Verdict,
}

/// Figures of an edge over the time between two of its reports.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
pub struct Rates {
    /// What the relaying thread uses of a core: 0 to 1.
    pub busy: f64,
    /// What the whole process uses, in cores.
    pub cpu: f64,
    /// Bits a second from clients to peers, with the headers of IPv4 and UDP.
    pub sent: f64,
    /// Bits a second from peers to clients.
    pub received: f64,
    /// Datagrams that the kernel dropped, a second.
    pub receive_drops: f64,
    /// The same as a part of all that came.
    pub receive_drops_part: f64,
}

impl Rates {
    /// Those between two reports of one process; nothing where no time has passed between them, or one of them
    /// is of a release that does not tell the time.
    #[must_use]
    #[allow(clippy::cast_precision_loss, reason = "rates need no more than 52 bits")]
    pub fn between(before: &Health, after: &Health) -> Option<Self> {
        let millis = after.uptime_ms.checked_sub(before.uptime_ms).filter(|millis| *millis > 0)?;
        let seconds = millis as f64 / 1000.0;
        let rate = |before: u64, after: u64| after.saturating_sub(before) as f64 / seconds;
        // IPv4 20, UDP 8.
        let bits = |before: Traffic, after: Traffic| {
            8.0 * (rate(before.bytes, after.bytes) + 28.0 * rate(before.packets, after.packets))
        };
        let receive_drops = rate(before.receive_drops, after.receive_drops);
        let came = rate(before.sent.packets, after.sent.packets)
            + rate(before.received.packets, after.received.packets);
        Some(Self {
            busy: rate(before.loop_cpu_ms, after.loop_cpu_ms) / 1000.0,
            cpu: rate(before.cpu_ms, after.cpu_ms) / 1000.0,
            sent: bits(before.sent, after.sent),
            received: bits(before.received, after.received),
            receive_drops,
            receive_drops_part: receive_drops / (receive_drops + came).max(1.0),
        })
    }

    /// The busier way as a part of a limit in bits a second; zero where there is none.
    #[must_use]
    #[allow(clippy::cast_precision_loss, reason = "rates need no more than 52 bits")]
    pub fn of_bandwidth(&self, limit: u64) -> f64 {
        if limit == 0 { 0.0 } else { self.sent.max(self.received) / limit as f64 }
    }
}

/// A figure that is high, or not.
#[derive(Debug, Clone, Copy, Default)]
struct Gate {
    high: bool,
    /// Since when it says the opposite.
    otherwise: Option<Mono>,
}

impl Gate {
    fn take(&mut self, now: Mono, value: f64, threshold: Threshold) {
        let otherwise = if self.high { value < threshold.low } else { value >= threshold.high };
        if !otherwise {
            self.otherwise = None;
            return;
        }
        let since = *self.otherwise.get_or_insert(now);
        let wait = if self.high { EDGE_LOW_FOR } else { EDGE_HIGH_FOR };
        if now.since(since) >= wait {
            *self = Self { high: !self.high, otherwise: None };
        }
    }
}

/// Follows the reports of one edge.
#[derive(Debug, Clone, Default)]
pub struct Watch {
    last: Option<Health>,
    rates: Option<Rates>,
    full: Gate,
    busy: Gate,
    slow: Gate,
    drops: Gate,
    files: Gate,
    memory: Gate,
    bandwidth: Gate,
}

/// Two nodes pass on the reports of one edge: one that is older by no more than this is not a new process's.
const LATE_MS: u64 = 30_000;

/// An edge reports to each of its nodes by itself: between two reports that are nearer than this too little happens
/// to tell rates from.
const APART_MS: u64 = 500;

impl Watch {
    /// Takes a report. One that is not newer than the last by [`APART_MS`], by way of another node, is left out.
    #[allow(clippy::cast_precision_loss, reason = "parts of a whole need no more than 52 bits")]
    pub fn handle_health(&mut self, now: Mono, hello: &EdgeHello, health: &Health) {
        if let Some(last) = &self.last {
            let timed = health.uptime_ms > 0;
            let late = last.uptime_ms.checked_sub(health.uptime_ms).is_some_and(|by| by < LATE_MS);
            let soon = health.uptime_ms.checked_sub(last.uptime_ms).is_some_and(|by| by < APART_MS);
            if timed && (late || soon) {
                return;
            }
            self.rates = Rates::between(last, health);
        }
        let rates = self.rates.unwrap_or_default();
        let part = |used: f64, limit: f64| if limit > 0.0 { used / limit } else { 0.0 };
        let full = part(health.allocations.into(), hello.capacity.max(1).into());
        let memory = part(health.rss as f64, health.memory_limit.unwrap_or(0) as f64);
        self.full.take(now, full, EDGE_FULL);
        self.busy.take(now, rates.busy, EDGE_BUSY);
        self.slow.take(now, health.loop_lag_us.into(), EDGE_LAG_US);
        self.drops.take(now, rates.receive_drops_part, EDGE_RECEIVE_DROPS);
        self.files.take(now, part(health.files.into(), health.files_limit.into()), EDGE_FILES);
        self.memory.take(now, memory, EDGE_MEMORY);
        self.bandwidth.take(now, rates.of_bandwidth(health.bandwidth), EDGE_BANDWIDTH);
        self.last = Some(health.clone());
    }

    /// Figures of the last second or so, where two reports have come.
    #[must_use]
    pub const fn rates(&self) -> Option<Rates> {
        self.rates
    }

    /// How the edge is.
    #[must_use]
    pub fn condition(&self, now: Now, signs: &Signs<'_>) -> Condition {
        let mut reasons = Vec::new();
        let mut state = State::Up;
        let mut say = |reason: Vec<Reason>, of: State| {
            if !reason.is_empty() {
                state = state.max(of);
                reasons.extend(reason);
            }
        };
        say(gone(signs), State::Lost);
        if signs.heard == Heard::CutOff {
            say(vec![Reason::CutOff], State::Degraded);
        }
        let drains = signs.health.is_some_and(|health| health.draining);
        if signs.decided == Decided::Draining || drains {
            let allocations = signs.health.map_or(0, |health| health.allocations);
            say(vec![Reason::Draining { allocations }], State::Draining);
        }
        if let Some(health) = signs.health {
            say(self.load(signs.hello, health), State::Overloaded);
            say(faults(now, signs.hello, health), State::Degraded);
        }
        say(signs.outside.reasons(signs.hello), State::Degraded);
        Condition { state, reasons }
    }

    /// What it has too much of.
    fn load(&self, hello: &EdgeHello, health: &Health) -> Vec<Reason> {
        let rates = self.rates.unwrap_or_default();
        let limit = health.memory_limit.unwrap_or(0);
        let all = [
            (self.full, Reason::Full { allocations: health.allocations, capacity: hello.capacity }),
            (self.busy, Reason::Busy { percent: whole(rates.busy * 100.0) }),
            (self.slow, Reason::Slow { millis: health.loop_lag_us / 1000 }),
            (self.drops, Reason::ReceiveDrops { per_second: whole(rates.receive_drops) }),
            (self.files, Reason::Files { used: health.files, limit: health.files_limit }),
            (self.memory, Reason::Memory { used: health.rss, limit }),
            (
                self.bandwidth,
                Reason::Bandwidth { percent: whole(rates.of_bandwidth(health.bandwidth) * 100.0) },
            ),
        ];
        all.into_iter().filter(|(gate, _)| gate.high).map(|(_, reason)| reason).collect()
    }
}

/// Why it is lost, if it is.
fn gone(signs: &Signs<'_>) -> Vec<Reason> {
    let removed = (signs.decided == Decided::Removed).then_some(Reason::Removed);
    let unheard = match signs.heard {
        Heard::No => Some(Reason::Silent),
        Heard::Stopped => Some(Reason::Stopped),
        Heard::Yes | Heard::CutOff => None,
    };
    removed.into_iter().chain(unheard).collect()
}

/// What does not work, as it says itself.
fn faults(now: Now, hello: &EdgeHello, health: &Health) -> Vec<Reason> {
    let mut reasons = Vec::new();
    for listener in &health.failed_listeners {
        let place = hello.listeners.iter().position(|known| known == listener);
        let fault = place.and_then(|place| health.faults.get(&u16::try_from(place).ok()?));
        reasons.push(Reason::Listener { listener: listener.clone(), fault: fault.cloned() });
    }
    if let Some(until) = health.certificate_until {
        let left = until.0.saturating_sub(now.unix.0);
        if left < CERTIFICATE_ENDS_SOON {
            reasons.push(Reason::Certificate { hours: left.as_secs().div_ceil(3600) });
        }
    }
    reasons
}

/// As a whole number, as far as it fits.
#[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "clamped")]
fn whole(value: f64) -> u32 {
    value.round().clamp(0.0, f64::from(u32::MAX)) as u32
}

#[cfg(test)]
mod tests;
