//! Channels (RFC 8656 section 12): numbers that stand for peers.

use std::net::{IpAddr, SocketAddr};
use std::ops::RangeInclusive;

use super::gate::Gate;
use crate::limits;
use crate::time::Mono;

/// The numbers that a client may bind: those of RFC 5766 section 11, of which RFC 8656 section 12 leaves
/// the first quarter. A deliberate difference: clients of the older one live, coturn's before 4.16
/// draws them at random, and what the newer one keeps free for (RFC 7983) is never on a server's socket.
pub(super) const NUMBERS: RangeInclusive<u16> = 0x4000..=0x7FFF;

/// A channel. It knows when its peer's permission expires, so that a packet needs one search.
#[derive(Debug, Clone, Copy)]
pub(super) struct Channel {
    pub(super) peer: SocketAddr,
    pub(super) number: u16,
    expires: Mono,
    permitted_until: Mono,
}

impl Channel {
    /// Whether the permission for its peer is in force.
    pub(super) fn is_permitted(&self, now: Mono) -> bool {
        self.permitted_until > now
    }
}

/// The number belongs to another peer, or the peer to another number.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Conflict;

/// The channels of one allocation, a few, searched in order.
#[derive(Debug, Default)]
pub(super) struct Channels(Vec<Channel>);

impl Channels {
    /// The channel of a number, if it is bound.
    pub(super) fn by_number(&self, now: Mono, number: u16) -> Option<&Channel> {
        self.0.iter().find(|channel| channel.number == number && channel.expires > now)
    }

    /// The channel to a peer, if one is bound.
    pub(super) fn by_peer(&self, now: Mono, peer: SocketAddr) -> Option<&Channel> {
        self.0.iter().find(|channel| channel.peer == peer && channel.expires > now)
    }

    /// How many are bound.
    pub(super) fn count(&self, now: Mono) -> usize {
        self.0.iter().filter(|channel| channel.expires > now).count()
    }

    /// Whether a number and a peer may be bound to each other, and whether they are already.
    pub(super) fn is_bound(&self, now: Mono, number: u16, peer: SocketAddr) -> Result<bool, Conflict> {
        match (self.by_number(now, number), self.by_peer(now, peer)) {
            (None, None) => Ok(false),
            (Some(channel), Some(_)) if channel.peer == peer => Ok(true),
            _ => Err(Conflict),
        }
    }

    /// Binds a channel or refreshes it, for 600 s from now. Those that have expired make room.
    pub(super) fn bind(&mut self, now: Mono, number: u16, peer: SocketAddr, permitted_until: Mono) {
        self.0.retain(|channel| channel.expires > now && channel.number != number);
        self.0.push(Channel { peer, number, expires: now + limits::CHANNEL_LIFE, permitted_until });
    }

    /// The permission for an address was refreshed.
    pub(super) fn permit(&mut self, ip: IpAddr, until: Mono) {
        for channel in self.0.iter_mut().filter(|channel| channel.peer.ip() == ip) {
            channel.permitted_until = until;
        }
    }

    /// Drops what the gate no longer lets through.
    pub(super) fn recheck(&mut self, gate: &Gate) {
        self.0.retain(|channel| gate.allows(channel.peer));
    }

    /// Drops those of one address family.
    pub(super) fn retain(&mut self, keep: impl Fn(IpAddr) -> bool) {
        self.0.retain(|channel| keep(channel.peer.ip()));
    }
}
