//! What a TURN server is told at its start.

use std::net::{IpAddr, SocketAddr};

use crate::limits;
use crate::mesh::user::is_realm;

/// What a TURN server is told at its start; everything that changes later is an
/// [`EdgeView`](crate::mesh::uplink::EdgeView).
#[derive(Debug, Clone)]
pub struct Config {
    /// The realm of the long-term credential mechanism (RFC 8489 section 9.2): what a request without
    /// credentials is challenged with. Of at most [`limits::CHALLENGE_REALM_MAX`] bytes.
    pub realm: String,
    /// Listeners that challenge with another realm, by the address that clients send to
    /// ([`FiveTuple::server`](super::FiveTuple::server)); an unspecified address stands for any of its
    /// family.
    pub listener_realms: Vec<(SocketAddr, String)>,
    /// Where relayed transport addresses come from. A family without one is answered 440.
    pub relays: Vec<RelayAddress>,
    /// The server's own listeners, bound and advertised, and the servers that it reaches itself: never a
    /// peer, whatever the policy says.
    pub listeners: Vec<SocketAddr>,
    /// How much anyone may have.
    pub quotas: Quotas,
    /// Answers RFC 3489 Binding requests, which have no magic cookie. Off: silence.
    pub classic: bool,
    /// Datagrams can be sent unfragmented. Off: DONT-FRAGMENT is answered 420 (RFC 8656 section 7.2).
    pub dont_fragment: bool,
}

impl Config {
    /// A server of this realm with these relayed addresses and the default quotas.
    #[must_use]
    pub fn new(realm: impl Into<String>, relays: Vec<RelayAddress>) -> Self {
        Self {
            realm: realm.into(),
            listener_realms: Vec::new(),
            relays,
            listeners: Vec::new(),
            quotas: Quotas::default(),
            classic: false,
            dont_fragment: true,
        }
    }

    /// Whether its realms are such that every client can be challenged with them.
    ///
    /// # Errors
    /// The first realm that is not.
    pub fn check(&self) -> Result<(), BadRealm> {
        let own = std::iter::once(&self.realm).chain(self.listener_realms.iter().map(|(_, realm)| realm));
        for realm in own {
            if realm.len() > limits::CHALLENGE_REALM_MAX {
                return Err(BadRealm::TooLong(realm.clone()));
            }
            if !is_realm(realm) {
                return Err(BadRealm::NoRealm(realm.clone()));
            }
        }
        Ok(())
    }
}

/// A realm that clients cannot be challenged with.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BadRealm {
    /// A 401 with it would be more than 2.6 times the shortest Allocate.
    #[error(
        "the realm {0:?} is longer than {max} bytes: a 401 with it would be more than 2.6 times the request",
        max = limits::CHALLENGE_REALM_MAX
    )]
    TooLong(String),
    /// Empty, or with characters that a quoted string does not have.
    #[error("the realm {0:?} is empty or has control characters, \" or \\")]
    NoRealm(String),
}

/// An address that relayed sockets are bound to, and its ports.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RelayAddress {
    /// The address to bind, one that an interface holds.
    pub bind: IpAddr,
    /// The address that clients are told: another one behind a 1:1 NAT. Of the same family.
    pub advertised: IpAddr,
    /// The lowest port.
    pub first: u16,
    /// The highest port.
    pub last: u16,
}

/// How much anyone may have.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Quotas {
    /// Allocations of the whole server; beyond it 508.
    pub allocations: u32,
    /// Allocations of one user (the session in a REST username); beyond it 486.
    pub per_user: u32,
    /// Allocations of one source: an IPv4 address or an IPv6 /64; beyond it 486.
    pub per_source: u32,
    /// Permissions of one allocation; beyond it 508.
    pub permissions: usize,
    /// Channels of one allocation; beyond it 508.
    pub channels: usize,
    /// Bits a second of one allocation, each way, headers included; beyond it packets are dropped. Zero is
    /// no limit.
    pub allocation_bandwidth: u64,
    /// Bits a second of the whole server, each way, headers included; beyond it what is above an
    /// allocation's fair share is dropped. Zero is no limit.
    pub bandwidth: u64,
    /// 401 and 438 answers that one source gets at once; beyond it silence.
    pub challenges_burst: u32,
    /// 401 and 438 answers a second that one source gets for long.
    pub challenges_per_sec: u32,
}

impl Default for Quotas {
    fn default() -> Self {
        Self {
            allocations: limits::ALLOCATIONS_MAX,
            per_user: limits::ALLOCATIONS_PER_USER,
            per_source: limits::ALLOCATIONS_PER_SOURCE,
            permissions: limits::PERMISSIONS_MAX,
            channels: limits::CHANNELS_MAX,
            allocation_bandwidth: limits::ALLOCATION_BANDWIDTH,
            bandwidth: limits::BANDWIDTH,
            challenges_burst: limits::CHALLENGES_BURST,
            challenges_per_sec: limits::CHALLENGES_PER_SEC,
        }
    }
}
