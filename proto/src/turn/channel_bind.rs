//! ChannelBind (RFC 8656 section 12.2).

use super::answer::{Answer, Refusal};
use super::authenticate::Request;
use super::channel;
use super::gate::Verdict;
use super::limit::Limit;
use super::server::Server;
use crate::stun::Code;
use crate::stun::attributes::{Family, XOR_PEER_ADDRESS};
use crate::time::Now;

impl Server {
    /// Answers an authenticated ChannelBind: binds the channel or refreshes it, and the permission.
    pub(super) fn channel_bind(&mut self, now: Now, request: &Request<'_>) -> Result<Answer, Refusal> {
        let id = self.own_allocation(request)?;
        let number = request.message.channel_number()?;
        let peer = request.message.xor_address(XOR_PEER_ADDRESS)?;
        let (Some(number), Some(peer)) = (number, peer) else {
            return Err(Code::BAD_REQUEST.into());
        };
        if !channel::NUMBERS.contains(&number) {
            return Err(Code::BAD_REQUEST.into());
        }
        let allocation = self.table.get_mut(id).ok_or(Code::ALLOCATION_MISMATCH)?;
        let bound = allocation.channels.is_bound(now.mono, number, peer);
        let bound = bound.map_err(|channel::Conflict| Code::BAD_REQUEST)?;
        if allocation.relays.get(Family::of(peer)).is_none() {
            return Err(Code::PEER_ADDRESS_FAMILY_MISMATCH.into());
        }
        if !self.gate.allows(peer) {
            return Err(Code::FORBIDDEN.into());
        }
        if !bound && allocation.channels.count(now.mono) >= self.quotas.channels {
            self.limited_allocation(now, Limit::Channels, id);
            return Err(Code::INSUFFICIENT_CAPACITY.into());
        }
        if allocation.permissions.count_with(now.mono, &[peer.ip()]) > self.quotas.permissions {
            self.limited_allocation(now, Limit::Permissions, id);
            return Err(Code::INSUFFICIENT_CAPACITY.into());
        }
        let some_ports = self.gate.address(peer.ip()) == Verdict::SomePorts;
        let until = allocation.permit(now.mono, peer, some_ports);
        allocation.channels.bind(now.mono, number, peer, until);
        Ok(Answer::Success(request.success()))
    }
}
