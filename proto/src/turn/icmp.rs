//! ICMP errors from a peer's network (RFC 8656 section 11.5).

use std::net::SocketAddr;

use rand_chacha::rand_core::Rng;

use super::api::{IcmpError, Output, RelayId};
use super::counters::Drop;
use super::server::Server;
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
        self.check_permission(now, id, peer)?;
        let allocation = self.table.get(id).ok_or(Drop::NoAllocation)?;
        let mut transaction = [0; 12];
        self.rng.fill_bytes(&mut transaction);
        let bytes = Writer::new(Class::Indication, Method::DATA, TransactionId(transaction))
            .xor_address(XOR_PEER_ADDRESS, peer)
            .icmp(error.kind, error.code, error.mtu(peer).to_be_bytes())
            .finish();
        self.outputs.push_back(Output::Send { client: allocation.client, via: allocation.via, bytes });
        Ok(())
    }
}
