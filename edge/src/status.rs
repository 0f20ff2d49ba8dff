//! How an edge is, for its own health page and for operators beside it.

use std::sync::Arc;
use std::time::Duration;

use chappe_proto::id::{EdgeId, Index, Region};
use chappe_proto::mesh::uplink::{self, Listener};
use chappe_proto::select::condition::{Condition, Rates};
use chappe_proto::time::Unix;

use crate::command::{Command, Handle};
use crate::health::Health;
use crate::uplink::LinkState;

/// The loop answers a question within this, unless it is stuck.
pub(crate) const ANSWER_WITHIN: Duration = Duration::from_secs(2);

/// An edge that does not answer: its loop is stuck or has ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the edge's loop does not answer")]
pub struct Stuck;

/// Asks a running edge how it is; of one that has stopped it learns that.
#[derive(Debug, Clone)]
pub struct Observer {
    pub(crate) driver: Handle,
    pub(crate) health: Arc<Health>,
}

impl Observer {
    /// How it is. Within a tokio runtime.
    ///
    /// # Errors
    /// [`Stuck`] when the loop does not answer within two seconds, or has ended.
    pub async fn status(&self) -> Result<Status, Stuck> {
        match tokio::time::timeout(ANSWER_WITHIN, self.driver.ask(Command::Stats)).await {
            Ok(Ok(stats)) => Ok(self.health.status(&stats)),
            _ => Err(Stuck),
        }
    }
}

/// How an edge is, for its own health page and for operators beside it.
#[derive(Debug, Clone, PartialEq, serde::Serialize)]
pub struct Status {
    /// Its name.
    pub edge: EdgeId,
    /// Where it stands.
    pub region: Region,
    /// Its build.
    pub build: String,
    /// How it is, as far as it can tell by itself.
    pub condition: Condition,
    /// What clients reach it by.
    pub listeners: Vec<Listener>,
    /// When the certificate of each ends, in the same order, where it has one.
    pub certificates: Vec<Option<Unix>>,
    /// Its uplinks; none when it stands alone.
    pub uplinks: Vec<LinkState>,
    /// For how many milliseconds none of them has stood: it serves with what it knows. None while one stands, and
    /// of an edge that stands alone.
    pub cut_off_ms: Option<u64>,
    /// The feed number in force.
    pub applied: Index,
    /// Allocations that it takes at most.
    pub capacity: u32,
    /// TCP streams now.
    pub streams: u32,
    /// What it did a second in the last two, once it has run so long.
    pub rates: Option<Rates>,
    /// What it reports to nodes.
    #[serde(flatten)]
    pub health: uplink::Health,
}

impl std::fmt::Display for Status {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let state = self.condition.state.name();
        writeln!(f, "edge {} in {}, {}: {state}", self.edge, self.region, self.build)?;
        for reason in &self.condition.reasons {
            writeln!(f, "  {reason}")?;
        }
        for (place, listener) in (0..).zip(&self.listeners) {
            let (name, address) = (listener.transport.name(), listener.address);
            let answered = self.health.answered_us.get(usize::from(place)).copied().flatten();
            match (self.health.faults.get(&place), answered) {
                (Some(_), _) => writeln!(f, "  {name} {address}: FAILS")?,
                (None, Some(micros)) => writeln!(f, "  {name} {address}: answers in {micros} µs")?,
                (None, None) => writeln!(f, "  {name} {address}: not asked yet")?,
            }
        }
        for uplink in &self.uplinks {
            match uplink {
                LinkState::Connecting { address } => writeln!(f, "  uplink to {address}: connecting")?,
                LinkState::Up { address, node, rtt_us } => {
                    writeln!(f, "  uplink to {address}: up, node {node}, round trip {rtt_us} µs")?;
                }
                LinkState::Down { address, reason } => {
                    writeln!(f, "  uplink to {address}: down ({reason})")?;
                }
            }
        }
        if let Some(millis) = self.cut_off_ms {
            writeln!(f, "  cut off for {} s: it serves with what it knows", millis / 1000)?;
        }
        let health = &self.health;
        writeln!(
            f,
            "  {} of {} allocations, {} streams, {} packets sent, {} received",
            health.allocations, self.capacity, self.streams, health.sent.packets, health.received.packets
        )?;
        writeln!(
            f,
            "  {} of {} files, {} MiB, {} datagrams dropped by the kernel, longest turn {} µs",
            health.files,
            health.files_limit,
            health.rss >> 20,
            health.receive_drops,
            health.loop_lag_us
        )?;
        for (limit, count) in &health.limits {
            writeln!(f, "  limit {limit} met {count} times")?;
        }
        Ok(())
    }
}
