//! Refresh (RFC 8656 section 8.2).

use super::allocate::lifetime;
use super::answer::{Answer, Refusal};
use super::api::{EndReason, Output};
use super::authenticate::Request;
use super::server::Server;
use crate::stun::Code;
use crate::time::Now;

impl Server {
    /// Answers an authenticated Refresh.
    pub(super) fn refresh(&mut self, now: Now, request: &Request<'_>) -> Result<Answer, Refusal> {
        let id = self.own_allocation(request)?;
        let wish = request.message.lifetime()?;
        let family = request.message.requested_address_family()?;
        let allocation = self.table.get_mut(id).ok_or(Code::ALLOCATION_MISMATCH)?;
        // A family that the allocation has no relayed address of: 443.
        let family =
            family.map(|family| family.ok().filter(|family| allocation.relays.get(*family).is_some()));
        if family == Some(None) {
            return Err(Code::PEER_ADDRESS_FAMILY_MISMATCH.into());
        }
        if wish != Some(0) {
            let granted = lifetime(wish);
            self.table.set_expiry(id, now.mono + std::time::Duration::from_secs(granted.into()));
            return Ok(Answer::Success(request.success().lifetime(granted)));
        }
        // Lifetime 0 deletes the allocation, or the named one of its two relayed addresses.
        match family.flatten() {
            Some(family) if allocation.relays.iter().count() > 1 => {
                let relay = allocation.relays.get(family);
                allocation.drop_family(family);
                if let Some(relay) = relay.filter(|relay| self.relays.close(now.mono, *relay)) {
                    self.outputs.push_back(Output::CloseRelay(relay));
                }
            }
            _ => self.end_allocation(now, id, EndReason::Deleted),
        }
        Ok(Answer::Success(request.success().lifetime(0)))
    }
}
