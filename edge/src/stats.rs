//! How an edge does, in figures.

use std::collections::BTreeMap;
use std::time::Duration;

use chappe_proto::id::Index;
use chappe_proto::time::Mono;
use chappe_proto::turn::{Counters, Drop, Limit};

use crate::udp::Refusals;

/// How an edge does, in figures. Counters count from its start.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Stats {
    /// Allocations now.
    pub allocations: u32,
    /// Streams now, over TCP and TLS.
    pub streams: u32,
    /// DTLS associations now.
    pub associations: u32,
    /// Streams and associations from which no whole message has come yet.
    pub half_open: u32,
    /// Connections passed on to web servers now.
    pub web: u32,
    /// What the TURN machine counts.
    pub turn: Counters,
    /// How often each limit was met, in the order of [`Limit::ALL`].
    pub limits: [u64; Limit::ALL.len()],
    /// What the sockets count.
    pub sockets: SocketCounters,
    /// The longest turn of the loop in the last second or two.
    pub loop_lag: Duration,
    /// CPU time of the loop's thread.
    pub loop_cpu: Duration,
    /// Datagrams that the kernel dropped because a socket's receive buffer was full. Relayed sockets are looked
    /// through a part at a time, so that what they lost is told within some seconds.
    pub receive_drops: u64,
    /// It takes no new allocations.
    pub draining: bool,
    /// The feed number in force.
    pub applied: Index,
}

/// What the sockets count, besides the TURN machine.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct SocketCounters {
    /// Packets not sent because a socket's or an interface's queue was full.
    pub full: u64,
    /// Packets not sent because the path takes no packets of that length.
    pub too_long: u64,
    /// Packets not sent because there is no way to their destination.
    pub unreachable: u64,
    /// Packets not sent for any other reason.
    pub unsendable: u64,
    /// Trains of packets that the system did not cut, and that were sent one by one instead.
    pub untrained: u64,
    /// Relayed packets that gave way to newer ones, because a stream's client reads too slowly.
    pub stream_full: u64,
    /// TCP connections turned away.
    pub refused_streams: u64,
    /// Connections closed before a whole message had come, to make room for newer ones: of their source, or
    /// of all.
    pub half_open_displaced: u64,
    /// DTLS associations turned away: too many, of all or of their source.
    pub refused_associations: u64,
    /// Connections of web clients turned away: too many, of all or of their source, or no way to the server.
    pub refused_web: u64,
    /// Errors in receiving.
    pub receive_errors: u64,
}

impl SocketCounters {
    pub(crate) fn add(&mut self, refusals: Refusals) {
        self.full += refusals.full;
        self.too_long += refusals.too_long;
        self.unreachable += refusals.unreachable;
        self.unsendable += refusals.other;
        self.untrained += refusals.untrained;
    }
}

impl Stats {
    /// How often each limit was met, those that never were left out.
    #[must_use]
    pub fn limits(&self) -> BTreeMap<String, u64> {
        let limits = Limit::ALL.iter().zip(self.limits).filter(|(_, count)| *count > 0);
        limits.map(|(limit, count)| (limit.name().to_owned(), count)).collect()
    }

    /// Dropped packets by cause, causes that never occurred left out.
    #[must_use]
    pub fn drops(&self) -> BTreeMap<String, u64> {
        let machine = Drop::ALL.iter().zip(self.turn.drops).map(|(cause, count)| (cause.name(), count));
        let sockets = [
            ("send_queue_full", self.sockets.full),
            ("too_long", self.sockets.too_long),
            ("unreachable", self.sockets.unreachable),
            ("unsendable", self.sockets.unsendable),
            ("stream_full", self.sockets.stream_full),
        ];
        machine
            .chain(sockets)
            .filter(|(_, count)| *count > 0)
            .map(|(cause, count)| (cause.to_owned(), count))
            .collect()
    }
}

/// The longest turn of the loop, over the current second and the one before.
#[derive(Default)]
pub(crate) struct Lag {
    current: Duration,
    before: Duration,
    since: Mono,
}

impl Lag {
    /// Notes a turn that lasted from `began` to `ended`.
    pub(crate) fn note(&mut self, began: Mono, ended: Mono) {
        let passed = ended.since(self.since);
        if passed >= Duration::from_secs(1) {
            self.before = if passed >= Duration::from_secs(2) { Duration::ZERO } else { self.current };
            self.current = Duration::ZERO;
            self.since = ended;
        }
        self.current = self.current.max(ended.since(began));
    }

    /// The longest of both seconds.
    pub(crate) fn longest(&self) -> Duration {
        self.current.max(self.before)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_longest_turn_is_forgotten_after_two_seconds() {
        let at = |millis| Mono(Duration::from_millis(millis));
        let mut lag = Lag::default();
        lag.note(at(5000), at(5040));
        lag.note(at(5100), at(5101));
        assert_eq!(lag.longest(), Duration::from_millis(40));
        lag.note(at(6100), at(6101));
        assert_eq!(lag.longest(), Duration::from_millis(40));
        lag.note(at(7200), at(7201));
        assert_eq!(lag.longest(), Duration::from_millis(1));
    }
}
