//! One allocation (RFC 8656 section 3.2).

use std::net::SocketAddr;
use std::sync::Arc;

use super::answer::Protection;
use super::api::{FiveTuple, RelayId, Via};
use super::bandwidth::Meter;
use super::channel::Channels;
use super::credential::User;
use super::gate::Gate;
use super::limit::Pace;
use super::permission::Permissions;
use crate::mesh::uplink::Traffic;
use crate::stun::attributes::Family;
use crate::stun::{Code, TransactionId};
use crate::time::Mono;
use crate::usage;

/// One allocation, from its accepted request on: its relayed sockets may still be asked for.
#[derive(Debug)]
pub(super) struct Allocation {
    pub(super) client: FiveTuple,
    pub(super) via: Via,
    pub(super) username: Box<str>,
    pub(super) realm: Arc<str>,
    pub(super) user: User,
    /// With the key of its username as it was at Allocate: a rotation of the secret leaves it, and so
    /// does another password of the user's.
    pub(super) protection: Protection,
    pub(super) relays: Relayed,
    /// When it began.
    pub(super) began: Mono,
    /// When it ends unless refreshed.
    pub(super) expires: Mono,
    /// Where the table's timers have it: not later than `expires`.
    pub(super) timer: Mono,
    /// Which one it is of all that this table has had: set there.
    pub(super) serial: u64,
    pub(super) permissions: Permissions,
    pub(super) channels: Channels,
    pub(super) sent: Traffic,
    pub(super) received: Traffic,
    /// Whom it counts for ([`super::usage`]), and how much of it has been counted.
    pub(super) usage: Option<u64>,
    pub(super) used: usage::Relayed,
    /// What it has of the bandwidth, to peers and to the client.
    pub(super) meters: [Meter; 2],
    /// ICMP errors that it is told.
    pub(super) icmp: Pace,
    pub(super) request: Request,
}

/// What is kept of the Allocate request, so that its retransmission gets the same answer (RFC 8656
/// section 7.2).
#[derive(Debug)]
pub(super) struct Request {
    pub(super) transaction: TransactionId,
    /// The granted lifetime in seconds.
    pub(super) lifetime: u32,
    pub(super) token: Option<Box<[u8; 8]>>,
    /// The answer ends with a FINGERPRINT, as the request did.
    pub(super) fingerprint: bool,
    /// What became of the family that was asked for besides the other.
    pub(super) missing: Option<(Family, Code)>,
    /// Relayed sockets that are still being bound.
    pub(super) pending: u8,
}

/// The relayed sockets of an allocation: one, or one of each family.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Relayed {
    v4: Option<RelayId>,
    v6: Option<RelayId>,
}

impl Relayed {
    pub(super) const fn get(&self, family: Family) -> Option<RelayId> {
        match family {
            Family::V4 => self.v4,
            Family::V6 => self.v6,
        }
    }

    pub(super) const fn set(&mut self, family: Family, relay: Option<RelayId>) {
        match family {
            Family::V4 => self.v4 = relay,
            Family::V6 => self.v6 = relay,
        }
    }

    /// Both or one, IPv4 first.
    pub(super) fn iter(&self) -> impl Iterator<Item = RelayId> + use<> {
        self.v4.into_iter().chain(self.v6)
    }
}

impl Allocation {
    /// Whether its Allocate has been answered.
    pub(super) const fn is_active(&self) -> bool {
        self.request.pending == 0
    }

    /// What it has relayed since this was asked before, and whom it counts for; nothing where that is nothing.
    pub(super) fn used(&mut self) -> Option<(u64, usage::Relayed)> {
        let now = usage::Relayed { sent: self.sent, received: self.received };
        let more = now.minus(self.used);
        self.used = now;
        Some((self.usage?, more)).filter(|(_, more)| !more.is_none())
    }

    /// Installs or refreshes the permission for a peer, and tells its channels; until when.
    pub(super) fn permit(&mut self, now: Mono, peer: SocketAddr, some_ports: bool) -> Mono {
        let until = self.permissions.install(now, peer.ip(), some_ports);
        self.channels.permit(peer.ip(), until);
        until
    }

    /// Drops permissions and channels that the gate no longer lets through.
    pub(super) fn recheck(&mut self, gate: &Gate) {
        self.permissions.recheck(gate);
        self.channels.recheck(gate);
    }

    /// Gives up one family's relayed socket and what belonged to it.
    pub(super) fn drop_family(&mut self, family: Family) {
        self.relays.set(family, None);
        self.permissions.retain(|ip| ip.is_ipv4() != (family == Family::V4));
        self.channels.retain(|ip| ip.is_ipv4() != (family == Family::V4));
    }
}

/// Adds a packet to a count.
pub(super) fn count(traffic: &mut Traffic, bytes: usize) {
    traffic.packets += 1;
    traffic.bytes += bytes as u64;
}
