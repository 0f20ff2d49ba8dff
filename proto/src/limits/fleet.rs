//! The fleet of edges: health, probes, selection, usage.

use std::time::Duration;

use super::*;

// ----------------------------------------------------------------------------- the health of edges

/// Bytes of what a failed probe tells in words.
pub const PROBE_TEXT_MAX: usize = 160;
/// A figure of an edge that is high from one value on, and low again below another, so that one that sways about
/// a single value does not sway the edge.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Threshold {
    /// From here on it is high.
    pub high: f64,
    /// Below this it is low again.
    pub low: f64,
}
/// A figure is high when it has been for this long: longer than a burst of joins, a few reports.
pub const EDGE_HIGH_FOR: Duration = Duration::from_secs(4);
/// And low again when it has been for this long: clients that were kept away must not come back as one herd at the
/// first quiet second.
pub const EDGE_LOW_FOR: Duration = Duration::from_secs(15);
/// Allocations as a part of the capacity: what is left is for those who are on their way, and for who moves here
/// from an edge that dies.
pub const EDGE_FULL: Threshold = Threshold { high: 0.9, low: 0.8 };
/// What the relaying thread uses of its core: above it packets begin to wait for each other.
pub const EDGE_BUSY: Threshold = Threshold { high: 0.85, low: 0.7 };
/// The longest turn of the loop in microseconds: beyond it a jitter buffer of usual length runs empty.
pub const EDGE_LAG_US: Threshold = Threshold { high: 100_000.0, low: 30_000.0 };
/// Datagrams that the kernel drops, as a part of those that come: one in a hundred is seen in a video.
pub const EDGE_RECEIVE_DROPS: Threshold = Threshold { high: 0.01, low: 0.001 };
/// File descriptors as a part of their limit: an allocation takes one.
pub const EDGE_FILES: Threshold = Threshold { high: 0.9, low: 0.8 };
/// Memory as a part of its limit, at which the process is killed.
pub const EDGE_MEMORY: Threshold = Threshold { high: 0.9, low: 0.8 };
/// Bits a second as a part of the limit, at which allocations are held to their fair share.
pub const EDGE_BANDWIDTH: Threshold = Threshold { high: 0.9, low: 0.75 };
/// A certificate that ends within this is said to: three days are a weekend and a day.
pub const CERTIFICATE_ENDS_SOON: Duration = Duration::from_secs(3 * 86_400);
/// An edge is probed from outside this often by each node that it reports to, or after
/// [`OUTSIDE_AGAIN`] where only one prober has found a fault.
pub const OUTSIDE_EVERY: Duration = Duration::from_secs(30);
/// See [`OUTSIDE_EVERY`].
pub const OUTSIDE_AGAIN: Duration = Duration::from_secs(2);
/// What a prober found is believed for this long: with two probers in turns each comes again in half of it.
pub const OUTSIDE_FRESH: Duration = Duration::from_secs(150);
/// Probes of one edge by another whose median is their round trip: one that was lost on the way and sent again, or met
/// a busy moment, is outvoted.
pub const ROUND_TRIPS_KEPT: usize = 5;
/// A round trip is shown for so long after its last probe: with twenty probers in turns, each comes again in half of it.
pub const ROUND_TRIP_FRESH: Duration = Duration::from_secs(1_200);
/// A probe of one listener is given up after this: a Binding, an Allocate with its challenge and a permission,
/// each of which may be lost once (500 ms), and the datagram.
pub const PROBE_OUTSIDE_WITHIN: Duration = Duration::from_secs(4);
/// Probes of other edges that one edge or node makes at once; more are turned away.
pub const PROBES_AT_ONCE: usize = 8;
/// Listeners that one probe asks at most.
pub const PROBE_LISTENERS_MAX: usize = 32;
/// Of them so many at once.
pub const PROBE_LISTENERS_AT_ONCE: usize = 8;
/// The answer of a prober is waited for so long: every listener may be silent, and the uplinks take their time.
pub const PROBE_ANSWER_WITHIN: Duration = Duration::from_secs(20);
/// The credential of a probe is good for this long.
pub const PROBE_CREDENTIAL_TTL: Duration = Duration::from_secs(120);
/// An edge makes an allocation on each of its own listeners this often.
pub const PROBE_ALLOCATE_EVERY: Duration = Duration::from_secs(30);
/// Allocations of probes that an edge has at once.
pub const PROBE_ALLOCATIONS_MAX: usize = 64;
/// An edge with fewer free relay ports gives none to a probe: they are for people, and a port rests after its use.
pub const PROBE_PORTS_FREE: usize = 256;

// ------------------------------------------------------------- what sessions say of edges, and drains

/// ICE failures a second that one session may report, and at once: one for each edge and way to fail that it
/// was handed.
pub const ICE_FAILURES_PER_SEC: u32 = 1;
/// See [`ICE_FAILURES_PER_SEC`].
pub const ICE_FAILURES_BURST: u32 = 8;
/// Edges of which a session remembers that its client was handed them.
pub const EDGES_HANDED: usize = 16;
/// Edges under drain that clients are told of.
pub const DRAINING_TOLD: usize = 16;
/// Sessions a second that one node sends away from an edge that drains: each restarts ICE for each of its
/// connections, and its others answer.
pub const DRAIN_SESSIONS_PER_SEC: u32 = 50;
/// The least time over which they are spread, and the most.
pub const DRAIN_SPREAD: std::ops::RangeInclusive<Duration> =
    Duration::from_secs(2)..=Duration::from_secs(600);
/// Once there is an edge again, sessions that have none are told within this: each at a time of its own, so that not all
/// of them allocate at once there.
pub const EDGE_UP_WITHIN: Duration = Duration::from_secs(2);
/// Sessions that have one are asked to measure again this long after another edge came up: what comes back after an
/// outage comes within the first of it, and who measures then does not do so in the same moment as all others.
pub const EDGE_UP_MEASURE: std::ops::RangeInclusive<Duration> =
    Duration::from_secs(10)..=Duration::from_secs(60);

// --------------------------------------------------------------------------- where else clients are sent

/// Listeners of each family that an edge may send new clients to: enough that those of one that drains or is full
/// do not all meet at its nearest neighbour.
pub const ALTERNATES_MAX: usize = 4;
/// Clients of one source that an edge that is full sends elsewhere at once, and a second for long. Beyond it they
/// get the 508 that is true here: so two edges that are both full do not hand somebody to and fro.
pub const REDIRECTS_BURST: u32 = 16;
/// See [`REDIRECTS_BURST`].
pub const REDIRECTS_PER_SEC: u32 = 1;

// ------------------------------------------------------------------------------------------- usage

/// An edge says what its users have relayed this often.
pub const USAGE_EVERY: Duration = Duration::from_secs(5);
/// Users of one such frame: 64 bytes of counts and a name each.
pub const USAGE_FRAME: usize = 512;
/// Allocations whose counts are read in one turn of an edge's loop: some 100 µs.
pub const USAGE_TURN: usize = 4096;
/// Users that an edge counts for at a time, those included that have gone and whose last count no node has taken.
pub const USAGE_USERS_MAX: usize = 2 * ALLOCATIONS_MAX as usize;
/// A series of counts ends after this, once all of it is taken; the next one begins at nothing. One of which a part
/// was said and never answered is said again for as long once more, then that part is believed to have been heard.
pub const USAGE_SERIES_FOR: Duration = Duration::from_secs(5 * 60);
/// A node remembers a series for this long after it was heard first: beyond the last word on it, however late. A
/// user that has relayed nothing for this long is forgotten; its room has what it relayed.
pub const USAGE_KEPT: Duration = Duration::from_secs(15 * 60);
/// Users whose usage a node remembers one by one: those of the whole cluster that relay. What more of them relay
/// is counted for their rooms where these are known.
pub const USAGE_SESSIONS_MAX: usize = 2 * SESSIONS_MAX;
/// Series that a node remembers, 100 bytes each: some four of a user on one edge, and few users relay for so long.
/// What a further one says is not counted.
pub const USAGE_SERIES_MAX: usize = 2 * USAGE_SESSIONS_MAX;
/// Rooms whose usage a node remembers, those that have ended included.
pub const USAGE_ROOMS_MAX: usize = 100_000;
/// A node says of a session of its own that relays which room it is in, again after this: for nodes that are new.
pub const USAGE_ROOM_TOLD_EVERY: Duration = Duration::from_secs(60);
/// Bytes of one frame of usage between nodes: it shares its stream with leases.
pub const USAGE_BYTES: usize = 16 * 1024;
/// Names and figures in one answer about usage.
pub const USAGE_PAGE: usize = 1024;
/// Regions by which one figure of usage is told apart; what edges of more regions relay is in the figure alone.
pub const USAGE_REGIONS_MAX: usize = 64;
/// Regions that have a price of their own: 20 KB of one entry.
pub const PRICES_MAX: usize = SELECT_REGIONS_MAX;
/// The highest price of 10⁹ bytes, in millionths: a million of any currency is no price of traffic.
pub const PRICE_MAX: u64 = 1_000_000_000_000;
/// The longest name of a currency, in bytes.
pub const CURRENCY_MAX: usize = 16;

// ------------------------------------------------------------------------------------ selection

/// Edges whose measurements a session keeps: a few rounds of what it is asked to measure.
pub const MEASURED_EDGES_MAX: usize = 32;
/// Measurements of one edge that are kept: the least, and those that are less than all after them.
pub const MEASURED_KEPT: usize = 8;
/// Networks whose word on ICE through an edge a node keeps, over all edges: 4 MB.
pub const ICE_VOICES_MAX: usize = 65_536;
/// Edges over which a session's own ICE failed that are remembered.
pub const SHUNNED_MAX: usize = 8;
/// How often a session is asked to measure more before its credentials are renewed: where nobody knows where it
/// is, once all over the globe, and then twice around what was nearest.
pub const MEASURE_ROUNDS: u32 = 3;
/// Regions whose coordinates operators may set.
pub const SELECT_REGIONS_MAX: usize = 256;
/// Networks that operators may place.
pub const SELECT_NETWORKS_MAX: usize = 512;
/// Rules about edges for clients.
pub const SELECT_RULES_MAX: usize = 64;
/// Regions that one rule may name.
pub const RULE_REGIONS_MAX: usize = 64;
/// Regions that all rules together may name: the policy is one entry of the registry.
pub const SELECT_RULES_REGIONS_MAX: usize = 256;
/// Questions for the nearest edges that one source address may ask a second, IPv6 by /64: an office behind one
/// address asks once for each of its people, not again and again.
pub const NEAREST_PER_SEC: u32 = 10;
/// And at once.
pub const NEAREST_BURST: u32 = 100;
