//! The peer gate: the one place that says whom a client may exchange data with. CreatePermission,
//! ChannelBind, Send and inbound data all ask it (RFC 8656 section 21.4).

mod special;
#[cfg(test)]
mod tests;

use std::net::{IpAddr, SocketAddr};

use ahash::{AHashMap, RandomState};

use crate::mesh::uplink::{NodeAt, PeerPolicy, RelayRange};
pub use special::forms;
use special::special;

/// What the gate says of an IP address, before a port is known.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Verdict {
    /// No permission.
    Denied,
    /// A permission, but the port of each datagram is to be asked about: [`Gate::allows`].
    SomePorts,
    /// A permission for every port.
    Allowed,
}

/// The peer gate.
#[derive(Debug)]
pub(super) struct Gate {
    policy: PeerPolicy,
    /// Relay ports of the fleet and of this server, by address.
    fleet: AHashMap<IpAddr, Vec<(u16, u16)>>,
    /// This server's own relay ranges, in bound and in advertised form.
    own: Vec<RelayRange>,
    /// This server's listeners: never a peer, so that no packet is led in a circle.
    listeners: Vec<SocketAddr>,
    /// Where the cluster's nodes are: never a peer either, whatever range an edge claims.
    nodes: Vec<SocketAddr>,
}

impl Gate {
    pub(super) fn new(own: Vec<RelayRange>, listeners: Vec<SocketAddr>, hash: RandomState) -> Self {
        let fleet = AHashMap::with_hasher(hash);
        let mut gate = Self { policy: PeerPolicy::default(), fleet, own, listeners, nodes: Vec::new() };
        gate.set_fleet(&[]);
        gate
    }

    pub(super) fn set_policy(&mut self, policy: PeerPolicy) {
        self.policy = policy;
    }

    pub(super) fn set_nodes(&mut self, nodes: &[NodeAt]) {
        self.nodes = nodes.iter().flat_map(|node| node.addresses.iter().copied()).collect();
    }

    /// What is never a peer.
    fn never(&self) -> impl Iterator<Item = &SocketAddr> {
        self.listeners.iter().chain(&self.nodes)
    }

    pub(super) fn set_fleet(&mut self, relays: &[RelayRange]) {
        self.fleet.clear();
        for range in relays.iter().chain(&self.own).filter(|range| !range.address.is_unspecified()) {
            self.fleet.entry(range.address).or_default().push((range.first, range.last));
        }
    }

    /// Whether a permission may be had for this address.
    pub(super) fn address(&self, ip: IpAddr) -> Verdict {
        let allowed = self.every_port(ip);
        let fleet = self.fleet.contains_key(&ip);
        match (allowed, fleet) {
            (true, _) if self.never().any(|listener| covers(*listener, ip)) => Verdict::SomePorts,
            (true, _) => Verdict::Allowed,
            (false, true) => Verdict::SomePorts,
            (false, false) => Verdict::Denied,
        }
    }

    /// Whether data may go to this peer or come from it.
    pub(super) fn allows(&self, peer: SocketAddr) -> bool {
        let listens = |listener: &SocketAddr| listener.port() == peer.port() && covers(*listener, peer.ip());
        if self.never().any(listens) {
            return false;
        }
        // Two relayed people reach each other through a fleet's relay ports whatever the policy says.
        let ports = self.fleet.get(&peer.ip()).map_or(&[][..], Vec::as_slice);
        let relayed = ports.iter().any(|(first, last)| (*first..=*last).contains(&peer.port()));
        relayed || self.every_port(peer.ip())
    }

    /// Whether the policy allows every port of an address: each form of it, where a denial wins over
    /// an allowance, and special-purpose addresses and the fleet's own need an allowance.
    fn every_port(&self, ip: IpAddr) -> bool {
        forms(ip).into_iter().flatten().all(|form| {
            let matches = |nets: &[ipnet::IpNet]| nets.iter().any(|net| net.contains(&form));
            let guarded = special(form) || self.fleet.contains_key(&form) || self.is_own(form);
            !matches(&self.policy.deny) && (!guarded || matches(&self.policy.allow))
        })
    }

    /// Whether a listener or a node is at this address.
    fn is_own(&self, ip: IpAddr) -> bool {
        self.never().any(|listener| listener.ip() == ip)
    }
}

/// Whether an address, or an IPv4 address within it, is special-purpose: nobody's on the Internet.
#[must_use]
pub fn is_special(ip: IpAddr) -> bool {
    forms(ip).into_iter().flatten().any(special)
}

/// Whether a listener may be what is reached at `ip`: an unspecified one listens everywhere, but only
/// this host's addresses are affected and they are unknown here, so that loopback stands for them.
fn covers(listener: SocketAddr, ip: IpAddr) -> bool {
    listener.ip() == ip || (listener.ip().is_unspecified() && ip.is_loopback())
}
