//! The TURN server machine.

use std::net::SocketAddr;

use super::api::{BindError, EndReason, FiveTuple, Forward, Output, RelayId, Via};
use super::config::Config;
use super::counters::{AllocationView, Counters};
use crate::id::SessionId;
use crate::mesh::uplink::{EdgeChange, EdgeView};
use crate::time::{Mono, Now};

/// A TURN server (RFC 8656) without its sockets.
pub struct Server {
    counters: Counters,
}

impl Server {
    /// A server without secrets: it refuses every Allocate until [`Self::set_view`]. `seed` is random.
    #[must_use]
    pub fn new(_config: Config, _seed: [u8; 32], _now: Now) -> Self {
        Self { counters: Counters::default() }
    }

    /// Takes one datagram, or one framed message of a stream ([`crate::stun::frame`]).
    pub fn handle_client(&mut self, _now: Now, _from: &FiveTuple, _via: Via, _packet: &[u8]) -> Forward {
        Forward::None
    }

    /// Takes one datagram that arrived on a relayed socket.
    pub fn handle_peer(&mut self, _now: Now, _relay: RelayId, _peer: SocketAddr, _payload: &[u8]) -> Forward {
        Forward::None
    }

    /// Takes the answer to an [`Output::BindRelay`]: the local address that was bound.
    pub fn handle_bound(&mut self, _now: Now, _relay: RelayId, _result: Result<SocketAddr, BindError>) {}

    /// Learns that a client's stream has closed.
    pub fn handle_closed(&mut self, _now: Now, _client: &FiveTuple) {}

    /// Does what is due; to be called when [`Self::poll_timeout`] has come.
    pub fn handle_timeout(&mut self, _now: Now) {}

    /// When [`Self::handle_timeout`] is due next.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<Mono> {
        None
    }

    /// What is to be done, in order; to be asked until `None` after each input.
    pub fn poll_output(&mut self) -> Option<Output> {
        None
    }

    /// Takes the whole of what the edge follows of the registry.
    pub fn set_view(&mut self, _now: Now, _view: &EdgeView) {}

    /// Takes one change of it.
    pub fn apply(&mut self, _now: Now, _change: &EdgeChange) {}

    /// Ends a session's allocations.
    pub fn end(&mut self, _now: Now, _session: SessionId, _why: EndReason) {}

    /// Allocations now.
    #[must_use]
    pub fn allocations(&self) -> usize {
        0
    }

    /// Totals since the server began.
    #[must_use]
    pub fn counters(&self) -> &Counters {
        &self.counters
    }

    /// Every allocation, in no order.
    pub fn list(&self) -> impl Iterator<Item = AllocationView<'_>> {
        std::iter::empty()
    }
}
