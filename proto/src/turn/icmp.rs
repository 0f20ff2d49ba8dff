//! ICMP errors from a peer's network (RFC 8656 section 11.5).

use std::net::SocketAddr;

use rand_chacha::rand_core::Rng;

use super::api::{IcmpError, Output, RelayId};
use super::counters::Drop;
use super::limit::Limit;
use super::server::Server;
use crate::limits;
use crate::stun::attributes::XOR_PEER_ADDRESS;
use crate::stun::{Class, Method, TransactionId, Writer};
use crate::time::Now;

impl Server {
    /// Tells a client of an ICMP error for a peer that it has a permission for.
    pub(super) fn icmp_error(
        &mut self,
        now: Now,
        relay: RelayId,
        peer: SocketAddr,
        error: IcmpError,
    ) -> Result<(), Drop> {
        let id = self.relays.owner(relay).ok_or(Drop::NoAllocation)?;
        // Destination unreachable and time exceeded, and of IPv6 packet too big.
        let told = if peer.is_ipv4() { [3, 11, 11] } else { [1, 2, 3] };
        if !told.contains(&error.kind) {
            return Err(Drop::Unexpected);
        }
        self.check_permission(now, id, peer)?;
        let allocation = self.table.get_mut(id).ok_or(Drop::NoAllocation)?;
        if !allocation.icmp.take(now.mono, limits::ICMP_ERROR_EVERY, limits::ICMP_ERRORS_BURST) {
            self.limited_allocation(now, Limit::IcmpErrors, id);
            return Err(Drop::RateLimited);
        }
        let (client, via) = (allocation.client, allocation.via);
        let mut transaction = [0; 12];
        self.rng.fill_bytes(&mut transaction);
        let bytes = Writer::new(Class::Indication, Method::DATA, TransactionId(transaction))
            .xor_address(XOR_PEER_ADDRESS, peer)
            .icmp(error.kind, error.code, error.mtu(peer).to_be_bytes())
            .finish();
        self.outputs.push_back(Output::Send { client, via, bytes });
        Ok(())
    }
}
