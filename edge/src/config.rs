//! What an edge is told at its start.

use std::net::SocketAddr;

use chappe_proto::id::{EdgeId, Region};
use chappe_proto::mesh::uplink::{Listener, PeerPolicy, Secret};
use chappe_proto::turn::{Quotas, RelayAddress, Transport};

use crate::StartError;
use crate::uplink::Uplink;

/// What an edge is told at its start.
#[derive(Debug)]
pub struct Config {
    /// Its name: the one in its certificate.
    pub id: EdgeId,
    /// The build of the program around it, as `chappe --version` prints it.
    pub build: String,
    /// Where it stands.
    pub region: Region,
    /// Latitude and longitude in degrees, where known.
    pub coordinates: Option<(f64, f64)>,
    /// What clients reach it by; at least one.
    pub listeners: Vec<ListenAt>,
    /// Where relayed addresses come from; at least one.
    pub relays: Vec<RelayAddress>,
    /// The realm of the long-term credential mechanism (RFC 8489 section 9.2).
    pub realm: String,
    /// How much anyone may have; `allocations` is also the capacity that nodes are told.
    pub quotas: Quotas,
    /// Where credentials and policy come from.
    pub source: Source,
}

/// A listener.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ListenAt {
    /// Over what.
    pub transport: Transport,
    /// The address to bind. Port 0 takes a free one.
    pub bind: SocketAddr,
    /// The address that clients reach it by, where it is another one. Port 0 stands for the bound port.
    pub advertised: Option<SocketAddr>,
    /// A hostname to put into URLs instead of the address.
    pub hostname: Option<String>,
}

impl ListenAt {
    /// A listener that clients reach by the address that it binds.
    #[must_use]
    pub const fn new(transport: Transport, bind: SocketAddr) -> Self {
        Self { transport, bind, advertised: None, hostname: None }
    }

    /// As clients reach it, once it is bound to `local`.
    pub(crate) fn reached(&self, local: SocketAddr) -> Listener {
        let mut address = self.advertised.unwrap_or(local);
        if address.port() == 0 {
            address.set_port(local.port());
        }
        Listener { transport: self.transport, address, hostname: self.hostname.clone() }
    }
}

/// Where credentials and policy come from.
#[derive(Debug)]
pub enum Source {
    /// A cluster's nodes, by its registry's feed.
    Uplink(Uplink),
    /// The command line, for good.
    Standalone {
        /// Shared secrets of TURN REST credentials; any of them authenticates.
        secrets: Vec<Secret>,
        /// Peers allowed and denied beyond the built-in list.
        peers: PeerPolicy,
    },
}

impl Config {
    /// What can be told wrong without asking the system.
    pub(crate) fn check(&self) -> Result<(), StartError> {
        if self.listeners.is_empty() {
            return Err(StartError::Missing("listener"));
        }
        if self.relays.is_empty() {
            return Err(StartError::Missing("address for relayed sockets"));
        }
        for relay in &self.relays {
            let RelayAddress { bind, advertised, first, last } = *relay;
            let problem = if advertised.is_unspecified() {
                "clients cannot reach an unspecified address: say which they reach (--relay-ip, or --advertise)"
            } else if bind.is_ipv4() != advertised.is_ipv4() {
                "the two addresses are of different families"
            } else if first > last {
                "the range of ports is empty"
            } else {
                continue;
            };
            return Err(StartError::Range { bind, advertised, first, last, problem });
        }
        let told = |listener: &&ListenAt| {
            let reached = listener.advertised.unwrap_or(listener.bind);
            matches!(self.source, Source::Uplink(_)) && reached.ip().is_unspecified()
        };
        match self.listeners.iter().find(told) {
            Some(listener) => Err(StartError::Unadvertised(listener.bind)),
            None => Ok(()),
        }
    }
}
