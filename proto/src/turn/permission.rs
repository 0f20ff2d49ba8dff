//! Permissions (RFC 8656 section 9): IP addresses that an allocation exchanges data with.

use std::net::IpAddr;

use super::gate::{Gate, Verdict};
use crate::limits;
use crate::time::Mono;

/// A permission.
#[derive(Debug, Clone, Copy)]
pub(super) struct Permission {
    pub(super) ip: IpAddr,
    /// The gate is to be asked about the port of each datagram.
    pub(super) some_ports: bool,
    pub(super) expires: Mono,
}

/// The permissions of one allocation, a few, searched in order.
#[derive(Debug, Default)]
pub(super) struct Permissions(Vec<Permission>);

impl Permissions {
    /// The permission for an address, if it is in force.
    pub(super) fn find(&self, now: Mono, ip: IpAddr) -> Option<&Permission> {
        self.0.iter().find(|permission| permission.ip == ip && permission.expires > now)
    }

    /// How many are in force.
    pub(super) fn count(&self, now: Mono) -> usize {
        self.0.iter().filter(|permission| permission.expires > now).count()
    }

    /// How many there would be with these addresses too, of which none counts twice.
    pub(super) fn count_with(&self, now: Mono, ips: &[IpAddr]) -> usize {
        let fresh = ips.iter().enumerate().filter(|(index, ip)| {
            self.find(now, **ip).is_none() && !ips.iter().take(*index).any(|earlier| earlier == *ip)
        });
        self.count(now) + fresh.count()
    }

    /// Installs a permission or refreshes it, for 300 s from now; returns when it expires. Those that
    /// have expired make room.
    pub(super) fn install(&mut self, now: Mono, ip: IpAddr, some_ports: bool) -> Mono {
        let expires = now + limits::PERMISSION_LIFE;
        self.0.retain(|permission| permission.expires > now && permission.ip != ip);
        self.0.push(Permission { ip, some_ports, expires });
        expires
    }

    /// Drops what the gate no longer lets through.
    pub(super) fn recheck(&mut self, gate: &Gate) {
        self.0.retain_mut(|permission| {
            let verdict = gate.address(permission.ip);
            permission.some_ports = verdict == Verdict::SomePorts;
            verdict != Verdict::Denied
        });
    }

    /// Drops those of one address family.
    pub(super) fn retain(&mut self, keep: impl Fn(IpAddr) -> bool) {
        self.0.retain(|permission| keep(permission.ip));
    }
}
