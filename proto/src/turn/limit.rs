//! The limits that a server keeps, as operators see them: how often each was met, and what to do.

use std::net::IpAddr;
use std::time::Duration;

use super::api::{Event, Output};
use super::server::Server;
use super::table::AllocationId;
use crate::limits;
use crate::time::{Mono, Now};

/// A limit that was met. The last ones are the shell's, which owns the streams.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(usize)]
pub enum Limit {
    /// Allocations of the whole server: 508.
    Allocations,
    /// Allocations of one user: 486.
    AllocationsPerUser,
    /// Allocations of one source: 486.
    AllocationsPerSource,
    /// Permissions of one allocation: 508.
    Permissions,
    /// Channels of one allocation: 508.
    Channels,
    /// Relay ports: 508.
    Ports,
    /// Ports kept for RESERVATION-TOKENs: 508.
    Reservations,
    /// Bytes a second of one allocation, one way: dropped.
    AllocationBandwidth,
    /// Bytes a second of the whole server, one way: what is above an allocation's fair share is dropped.
    Bandwidth,
    /// 401 and 438 answers to one source: silence.
    Challenges,
    /// Binding answers to one source over UDP: silence.
    Bindings,
    /// ICMP errors told to one client: dropped.
    IcmpErrors,
    /// Streams of the whole server, and, each counted apart, DTLS associations and connections passed on to
    /// web servers: closed, or not begun.
    Streams,
    /// The same of one source.
    StreamsPerSource,
    /// Streams and DTLS associations from which no whole message has come: the oldest is closed.
    HalfOpen,
    /// TLS and, counted apart, DTLS handshakes a second, of the whole server or of one source: closed, or not
    /// begun.
    Handshakes,
    /// Bytes that wait for one client's stream: the oldest relayed data is dropped.
    StreamBuffer,
    /// HTTP requests of one source: 429, and closed.
    HttpRequests,
}

impl Limit {
    /// All of them, in the order of [`LimitLog::totals`].
    pub const ALL: [Self; 18] = [
        Self::Allocations,
        Self::AllocationsPerUser,
        Self::AllocationsPerSource,
        Self::Permissions,
        Self::Channels,
        Self::Ports,
        Self::Reservations,
        Self::AllocationBandwidth,
        Self::Bandwidth,
        Self::Challenges,
        Self::Bindings,
        Self::IcmpErrors,
        Self::Streams,
        Self::StreamsPerSource,
        Self::HalfOpen,
        Self::Handshakes,
        Self::StreamBuffer,
        Self::HttpRequests,
    ];

    /// Its name in figures.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Allocations => "allocations",
            Self::AllocationsPerUser => "allocations_per_user",
            Self::AllocationsPerSource => "allocations_per_source",
            Self::Permissions => "permissions",
            Self::Channels => "channels",
            Self::Ports => "ports",
            Self::Reservations => "reservations",
            Self::AllocationBandwidth => "allocation_bandwidth",
            Self::Bandwidth => "bandwidth",
            Self::Challenges => "challenges",
            Self::Bindings => "bindings",
            Self::IcmpErrors => "icmp_errors",
            Self::Streams => "streams",
            Self::StreamsPerSource => "streams_per_source",
            Self::HalfOpen => "half_open",
            Self::Handshakes => "handshakes",
            Self::StreamBuffer => "stream_buffer",
            Self::HttpRequests => "http_requests",
        }
    }

    /// What an operator does about it, where it hits the honest.
    #[must_use]
    pub const fn fix(self) -> &'static str {
        match self {
            Self::Allocations => "raise --capacity, or add an edge",
            Self::AllocationsPerUser => "raise --user-quota if its calls are that large; else a client leaks",
            Self::AllocationsPerSource => "raise --source-quota if many people share the address",
            Self::Permissions | Self::Channels => "a client asks for more peers than a browser does",
            Self::Ports => "widen --min-port to --max-port, or add a --relay-ip",
            Self::Reservations => "a client asks for EVEN-PORT pairs and does not use them",
            Self::AllocationBandwidth => "raise --allocation-bandwidth if one call may use that much",
            Self::Bandwidth => "add an edge, or raise --bandwidth if the link is wider",
            Self::Challenges | Self::Bindings => {
                "raise --challenge-rate if many people share the address; else it is attacked or spoofed"
            }
            Self::IcmpErrors => "nothing: a peer's network refuses what its client sends",
            Self::Streams => "add an edge: every stream takes a file descriptor",
            Self::StreamsPerSource => "many people share the address, or it is an attack",
            Self::HttpRequests => "nothing: measurements of many people behind one address, or an attack",
            Self::Handshakes => {
                "many people share the address (a load balancer? see --proxy-protocol-from), or it is an attack"
            }
            Self::HalfOpen => "handshakes begin and do not end: a scan, or an attack",
            Self::StreamBuffer => "nothing: a client reads slower than its peers send",
        }
    }
}

/// How often each limit was met, and which of it has been told: once in [`limits::LIMIT_TOLD_EVERY`]
/// each, so that whoever meets a limit again and again does not fill the logs.
#[derive(Debug, Clone, Default)]
pub struct LimitLog {
    totals: [u64; Limit::ALL.len()],
    told: [u64; Limit::ALL.len()],
    next: [Mono; Limit::ALL.len()],
}

impl LimitLog {
    /// Counts one; answers how many there were since the last that was told, where it is time to tell.
    pub fn note(&mut self, now: Mono, limit: Limit) -> Option<u64> {
        self.note_many(now, limit, 1)
    }

    /// Counts several.
    pub fn note_many(&mut self, now: Mono, limit: Limit, count: u64) -> Option<u64> {
        let at = limit as usize;
        self.totals[at] += count;
        if now < self.next[at] {
            return None;
        }
        self.next[at] = now + limits::LIMIT_TOLD_EVERY;
        let untold = self.totals[at] - self.told[at];
        self.told[at] = self.totals[at];
        Some(untold)
    }

    /// How often each was met, in the order of [`Limit::ALL`].
    #[must_use]
    pub const fn totals(&self) -> &[u64; Limit::ALL.len()] {
        &self.totals
    }
}

impl Server {
    /// Counts a limit that was met, and tells of it where that is due.
    pub(super) fn limited(&mut self, now: Now, limit: Limit, user: Option<&str>, source: IpAddr) {
        if let Some(count) = self.limits.note(now.mono, limit) {
            let event = Event::Limited { limit, count, user: user.map(str::to_owned), source };
            self.outputs.push_back(Output::Event(event));
        }
    }

    /// The same of an allocation.
    pub(super) fn limited_allocation(&mut self, now: Now, limit: Limit, id: AllocationId) {
        let Some(count) = self.limits.note(now.mono, limit) else { return };
        let Some(allocation) = self.table.get(id) else { return };
        let (user, source) = (Some(allocation.username.to_string()), allocation.client.client.ip());
        self.outputs.push_back(Output::Event(Event::Limited { limit, count, user, source }));
    }
}

/// Lets a few things pass at once, and for long one each `every` (a virtual schedule: no count is kept).
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Pace {
    /// When all that has passed would have passed at the pace.
    until: Mono,
}

impl Pace {
    /// Whether one more passes now.
    pub(super) fn take(&mut self, now: Mono, every: Duration, burst: u32) -> bool {
        let until = self.until.max(now) + every;
        let passes = until.since(now) <= every * burst;
        if passes {
            self.until = until;
        }
        passes
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const T: Mono = Mono(Duration::from_secs(1000));

    #[test]
    fn a_limit_is_told_at_once_and_then_every_ten_seconds_with_its_count() {
        let mut log = LimitLog::default();
        assert_eq!(log.note(T, Limit::Ports), Some(1));
        for n in 0..100 {
            assert_eq!(log.note(T + Duration::from_millis(n * 99), Limit::Ports), None);
        }
        assert_eq!(log.note(T, Limit::Channels), Some(1), "each by itself");
        assert_eq!(log.note(T + Duration::from_secs(10), Limit::Ports), Some(101));
        assert_eq!(log.totals()[Limit::Ports as usize], 102);
    }

    #[test]
    fn limits_are_in_the_order_of_their_numbers_and_have_names_of_their_own() {
        for (index, limit) in Limit::ALL.into_iter().enumerate() {
            assert_eq!(limit as usize, index);
        }
        let names: std::collections::BTreeSet<_> = Limit::ALL.map(Limit::name).into();
        assert_eq!(names.len(), Limit::ALL.len());
    }

    #[test]
    fn a_pace_lets_a_burst_through_and_then_one_at_a_time() {
        let (mut pace, every) = (Pace::default(), Duration::from_millis(100));
        assert_eq!((0..50).filter(|_| pace.take(T, every, 8)).count(), 8);
        assert!(!pace.take(T + Duration::from_millis(99), every, 8));
        let later = T + Duration::from_secs(1);
        assert_eq!((0..50).filter(|_| pace.take(later, every, 8)).count(), 8);
    }
}
