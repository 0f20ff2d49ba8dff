//! How the edge is: what it measures of itself, and what it tells of it.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use chappe_proto::id::{EdgeId, Index, Region};
use chappe_proto::limits::UPLINKS;
use chappe_proto::mesh::uplink::{self, Listener, Traffic};

use crate::clock;
use crate::command::{Command, Handle};
use crate::stats::Stats;
use crate::uplink::LinkState;

/// The loop is given this long to tell its figures; a report then goes out with the last ones, and with
/// this as its lag.
const TELL_WITHIN: Duration = Duration::from_millis(500);

/// How an edge is, for its own health page and for operators beside it.
#[derive(Debug, Clone, PartialEq, serde::Serialize)]
pub struct Status {
    /// Its name.
    pub edge: EdgeId,
    /// Where it stands.
    pub region: Region,
    /// Its build.
    pub build: String,
    /// What clients reach it by.
    pub listeners: Vec<Listener>,
    /// Those that do not answer a Binding request.
    pub failed_listeners: Vec<Listener>,
    /// Its uplinks; none when it stands alone.
    pub uplinks: Vec<LinkState>,
    /// The feed number in force.
    pub applied: Index,
    /// Allocations now.
    pub allocations: u32,
    /// TCP streams now.
    pub streams: u32,
    /// Payload from clients to peers.
    pub sent: Traffic,
    /// Payload from peers to clients.
    pub received: Traffic,
    /// Dropped packets by cause.
    pub drops: BTreeMap<String, u64>,
    /// How often each limit was met, those that never were left out.
    pub limits: BTreeMap<String, u64>,
    /// The longest turn of its loop in the last second or two, in microseconds.
    pub loop_lag_us: u32,
    /// CPU time of the process in milliseconds.
    pub cpu_ms: u64,
    /// Resident memory of the process in bytes.
    pub rss: u64,
}

impl std::fmt::Display for Status {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        writeln!(f, "edge {} in {}, {}", self.edge, self.region, self.build)?;
        for listener in &self.listeners {
            let fine = if self.failed_listeners.contains(listener) { "DOES NOT ANSWER" } else { "answers" };
            writeln!(f, "  {} {}: {fine}", listener.transport.name(), listener.address)?;
        }
        for uplink in &self.uplinks {
            match uplink {
                LinkState::Connecting { address } => writeln!(f, "  uplink to {address}: connecting")?,
                LinkState::Up { address, node } => writeln!(f, "  uplink to {address}: up, node {node}")?,
                LinkState::Down { address, reason } => {
                    writeln!(f, "  uplink to {address}: down ({reason})")?;
                }
            }
        }
        writeln!(
            f,
            "  {} allocations, {} streams, {} packets sent, {} received",
            self.allocations, self.streams, self.sent.packets, self.received.packets
        )?;
        for (limit, count) in &self.limits {
            writeln!(f, "  limit {limit} met {count} times")?;
        }
        Ok(())
    }
}

/// What the edge's side thread knows of its health.
#[derive(Debug, Default)]
pub(crate) struct Health {
    known: Mutex<Known>,
}

#[derive(Debug, Default)]
struct Known {
    stats: Stats,
    failed: Vec<Listener>,
    links: [Option<LinkState>; UPLINKS],
}

impl Health {
    fn known(&self) -> std::sync::MutexGuard<'_, Known> {
        // Nothing panics while it holds the lock; and what it guards is whole at every moment.
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Notes how an uplink is.
    pub(crate) fn link(&self, slot: usize, state: LinkState) {
        if let Some(link) = self.known().links.get_mut(slot) {
            *link = Some(state);
        }
    }

    /// Notes which listeners do not answer.
    pub(crate) fn failed(&self, listeners: Vec<Listener>) {
        self.known().failed = listeners;
    }

    /// Those that do not, and how the uplinks are.
    pub(crate) fn seen(&self) -> (Vec<Listener>, Vec<LinkState>) {
        let known = self.known();
        (known.failed.clone(), known.links.iter().flatten().cloned().collect())
    }

    /// The report to send.
    pub(crate) async fn report(&self, seq: u64, driver: &Handle) -> uplink::Health {
        let fresh = tokio::time::timeout(TELL_WITHIN, driver.ask(Command::Stats)).await;
        let mut known = self.known();
        match fresh {
            Ok(Ok(stats)) => known.stats = stats,
            _ => known.stats.loop_lag = known.stats.loop_lag.max(TELL_WITHIN),
        }
        let stats = &known.stats;
        uplink::Health {
            seq,
            allocations: stats.allocations,
            sent: stats.turn.sent,
            received: stats.turn.received,
            drops: stats.drops(),
            limits: stats.limits(),
            cpu_ms: cpu_ms(),
            rss: rss(),
            loop_lag_us: micros(stats.loop_lag),
            failed_listeners: known.failed.clone(),
            ..uplink::Health::default()
        }
    }
}

/// In microseconds, as far as they fit.
pub(crate) fn micros(duration: Duration) -> u32 {
    u32::try_from(duration.as_micros()).unwrap_or(u32::MAX)
}

/// CPU time of this process, user and system.
pub(crate) fn cpu_ms() -> u64 {
    u64::try_from(clock::cpu().as_millis()).unwrap_or(u64::MAX)
}

/// Resident memory of this process in bytes; zero where /proc is not to be read.
pub(crate) fn rss() -> u64 {
    let pages = std::fs::read_to_string("/proc/self/statm")
        .ok()
        .and_then(|text| text.split_whitespace().nth(1)?.parse::<u64>().ok())
        .unwrap_or(0);
    pages * u64::try_from(rustix::param::page_size()).unwrap_or(4096)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_uses_memory_and_time() {
        assert!(rss() > 100_000);
        assert!(clock::cpu() > Duration::ZERO);
    }
}
