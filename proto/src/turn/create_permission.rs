//! CreatePermission (RFC 8656 section 10.2).

use std::net::{IpAddr, SocketAddr};

use super::answer::{Answer, Refusal};
use super::authenticate::Request;
use super::credential::User;
use super::gate::Verdict;
use super::limit::Limit;
use super::server::Server;
use crate::stun::Code;
use crate::stun::attributes::Family;
use crate::time::Now;

impl Server {
    /// Answers an authenticated CreatePermission: all of its peers or none.
    pub(super) fn create_permission(&mut self, now: Now, request: &Request<'_>) -> Result<Answer, Refusal> {
        let id = self.own_allocation(request)?;
        let peers = request.message.peers().collect::<Result<Vec<SocketAddr>, _>>()?;
        if peers.is_empty() {
            return Err(Code::BAD_REQUEST.into());
        }
        let limit = self.quotas.permissions;
        if peers.len() > limit {
            self.limited_allocation(now, Limit::Permissions, id);
            return Err(Code::INSUFFICIENT_CAPACITY.into());
        }
        let allocation = self.table.get_mut(id).ok_or(Code::ALLOCATION_MISMATCH)?;
        let mut verdicts = Vec::with_capacity(peers.len());
        for peer in &peers {
            if allocation.relays.get(Family::of(*peer)).is_none() {
                return Err(Code::PEER_ADDRESS_FAMILY_MISMATCH.into());
            }
            // A probe sends to its own relayed address, from wherever it is.
            let itself = request.user == User::Probe && peer.ip() == request.from.client.ip();
            let verdict = if itself { Verdict::Allowed } else { self.gate.address(peer.ip()) };
            if verdict == Verdict::Denied {
                return Err(Code::FORBIDDEN.into());
            }
            verdicts.push((*peer, verdict == Verdict::SomePorts));
        }
        let ips: Vec<IpAddr> = peers.iter().map(SocketAddr::ip).collect();
        if allocation.permissions.count_with(now.mono, &ips) > limit {
            self.limited_allocation(now, Limit::Permissions, id);
            return Err(Code::INSUFFICIENT_CAPACITY.into());
        }
        for (peer, some_ports) in verdicts {
            allocation.permit(now.mono, peer, some_ports);
        }
        Ok(Answer::Success(request.success()))
    }
}
