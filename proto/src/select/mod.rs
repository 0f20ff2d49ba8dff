//! Which edges for which client: [`Catalog::choose`].
//!
//! What a client is given is drawn by its own session's hash from what its node knows at the moment. So it is the
//! same whenever it is asked again, and of many clients that are told the same no two need choose alike: joins at one
//! region spread over its edges although load reports are a second old. When a large
//! region dies, all its clients choose by the reports of the moment before: each is sent as far down its own list as the
//! others fill it up ([`displaced`]).
//!
//! [`policy`] is what operators decide, [`geo`] distances, [`measured`] what a client has measured, [`catalog`]
//! the edges by region and where a client is, `distance` how far it
//! is from each, [`rank`] the choice, `candidates` what it is asked to measure, [`ramp`] newcomers, [`displaced`] those
//! whose edge was lost, [`quarantine`] edges on which
//! ICE fails, [`fleet`] what a node hears of the edges, [`condition`] how each is and [`reason`] why, [`rounds`] when it
//! is probed from outside and [`outside`] what probers found, [`ice`] what a client is handed, [`standing`] what
//! sessions are told of edges, `alternates` where plain TURN clients go.

mod alternates;
mod candidates;
pub mod catalog;
pub mod condition;
pub mod displaced;
mod distance;
pub(crate) mod draw;
pub mod fleet;
pub mod geo;
pub mod ice;
pub mod measured;
pub mod outside;
pub mod policy;
pub mod quarantine;
pub mod ramp;
pub mod rank;
pub mod reason;
pub mod rounds;
pub mod standing;

pub use alternates::alternates;
pub use catalog::{Catalog, Place};
pub use draw::draw_of;
pub use geo::Coordinates;
pub use measured::Measured;
pub use policy::{BadPolicy, Policy, Rule};
pub use rank::{By, Choice, Client, Ranked};

use self::condition::Condition;
use crate::id::{EdgeId, Region};
use crate::mesh::uplink::Listener;

/// Edges handed out to one client at most: each costs it gathering time and an
/// allocation per transport.
pub const EDGES_PER_CLIENT: usize = 2;

/// Edges that a client is asked to measure at most: two to use, and a few that could be nearer (edge lists of other
/// systems have 3 to 5).
pub const MEASURE_MAX: usize = 5;

/// A measured edge is left only for one that is this much nearer, in milliseconds, and under
/// [`NEARER_RATIO`] of its latency (Tailscale's netcheck).
pub const NEARER_MS: f64 = 10.0;
/// See [`NEARER_MS`].
pub const NEARER_RATIO: f64 = 2.0 / 3.0;

/// The weight of an edge of which nothing was decided.
pub const WEIGHT: u16 = 100;

/// An edge as far as choosing goes.
#[derive(Debug, Clone, PartialEq)]
pub struct EdgeStatus {
    /// Its name.
    pub edge: EdgeId,
    /// Where it stands.
    pub region: Region,
    /// The same on the globe, where it says so.
    pub coordinates: Option<Coordinates>,
    /// What clients can reach.
    pub listeners: Vec<Listener>,
    /// Whether it may be handed out at all: alive, admitted, not draining.
    pub available: bool,
    /// Allocations over capacity, 0 to 1; of one that is lost as it was last heard.
    pub load: f64,
    /// Allocations that it takes at most.
    pub capacity: u32,
    /// Its part of the sessions near it, relative to others'; none are given to one of 0.
    pub weight: u16,
    /// The part of its part that it is given yet: below 1 for a newcomer ([`ramp`]).
    pub ramp: f64,
    /// How it is, and why: one that is overloaded or draining takes no new clients
    /// ([`Condition::takes_new`]).
    pub condition: Condition,
    /// The round trip between it and this node, in milliseconds, where they have an uplink.
    pub uplink_ms: Option<f64>,
    /// Whether ICE fails on it ([`quarantine`]), or nobody reaches it from outside ([`outside`]): given to clients only
    /// where there is nothing else.
    pub failing: bool,
    /// Whether its TLS listeners answer [`PROBE_PATH`](crate::http::PROBE_PATH).
    pub timed: bool,
}

impl EdgeStatus {
    /// An idle one that may be handed out, of which nothing else is known.
    #[must_use]
    pub const fn new(edge: EdgeId, region: Region, listeners: Vec<Listener>) -> Self {
        Self {
            edge,
            region,
            coordinates: None,
            listeners,
            available: true,
            load: 0.0,
            capacity: 1,
            weight: WEIGHT,
            ramp: 1.0,
            condition: Condition { state: condition::State::Up, reasons: Vec::new() },
            uplink_ms: None,
            failing: false,
            timed: false,
        }
    }
}

/// Whether one of these latencies is so much less than the other that it is worth to go there.
#[must_use]
pub fn clearly_nearer(best: f64, current: f64) -> bool {
    current - best > NEARER_MS && best < current * NEARER_RATIO
}
