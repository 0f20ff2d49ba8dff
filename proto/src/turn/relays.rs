//! All relayed sockets: found by id and by relayed transport address, asked for, bound, closed.

use std::collections::VecDeque;
use std::net::{IpAddr, SocketAddr};

use ahash::{AHashMap, RandomState};
use rand_chacha::ChaCha12Rng;
use rand_chacha::rand_core::Rng;
use slab::Slab;

use super::api::{BindError, RelayId};
use super::config::RelayAddress;
use super::limit::Limit;
use super::ports::{Ports, Wanted};
use super::table::AllocationId;
use crate::limits;
use crate::stun::attributes::Family;
use crate::time::Mono;

/// A relayed socket.
struct Relay {
    /// Which of the relay addresses.
    pool: usize,
    /// Whose it is; nobody's when its allocation ended while it was being bound.
    owner: Option<AllocationId>,
    state: State,
}

enum State {
    /// Asked for.
    Binding {
        /// The ports that are held for it.
        candidates: Box<[u16]>,
        wanted: Wanted,
    },
    /// Bound to this local address.
    Bound(SocketAddr),
}

/// A relayed socket to be bound.
pub(super) struct Binding {
    pub(super) relay: RelayId,
    pub(super) family: Family,
    pub(super) ip: IpAddr,
    pub(super) ports: Vec<u16>,
}

/// What became of a relayed socket that was asked for.
pub(super) struct Bound {
    pub(super) owner: Option<AllocationId>,
    pub(super) family: Family,
    /// Whether its owner has it now.
    pub(super) kept: bool,
    /// Whether a socket was bound that nobody wants (any more).
    pub(super) close: bool,
    /// The token of the next higher port, where that was wanted.
    pub(super) token: Option<[u8; 8]>,
}

/// A port that is kept for whoever shows the token.
struct Reservation {
    pool: usize,
    port: u16,
}

/// All relayed sockets, and the ports they come from.
pub(super) struct Relays {
    relays: Slab<Relay>,
    pools: Vec<Ports>,
    reservations: AHashMap<[u8; 8], Reservation>,
    /// When reservations end, in that order.
    reserved: VecDeque<(Mono, [u8; 8])>,
}

impl Relays {
    pub(super) fn new(addresses: &[RelayAddress], hash: RandomState) -> Self {
        Self {
            relays: Slab::new(),
            pools: addresses.iter().copied().map(Ports::new).collect(),
            reservations: AHashMap::with_hasher(hash),
            reserved: VecDeque::new(),
        }
    }

    pub(super) fn supports(&self, family: Family) -> bool {
        self.pools.iter().any(|pool| pool.family() == family)
    }

    pub(super) fn owner(&self, relay: RelayId) -> Option<AllocationId> {
        self.relays.get(relay.0 as usize)?.owner
    }

    /// The relayed socket at an address, in bound or in advertised form.
    pub(super) fn at(&self, address: SocketAddr) -> Option<RelayId> {
        self.pools.iter().find_map(|pool| pool.at(address))
    }

    /// The relayed transport address as it is advertised, and as it is bound.
    pub(super) fn addresses(&self, relay: RelayId) -> Option<(SocketAddr, SocketAddr)> {
        let relay = self.relays.get(relay.0 as usize)?;
        let State::Bound(local) = relay.state else { return None };
        let advertised = self.pools.get(relay.pool)?.address().advertised;
        Some((SocketAddr::new(advertised, local.port()), local))
    }

    /// Free ports of all relay addresses.
    pub(super) fn free_ports(&mut self, now: Mono) -> usize {
        self.end_reservations(now);
        self.pools.iter_mut().map(|pool| pool.free(now)).sum()
    }

    /// Asks for a relayed socket of a family; refused when it has no port of the wanted kind left, or
    /// too many are reserved.
    pub(super) fn request(
        &mut self,
        now: Mono,
        rng: &mut ChaCha12Rng,
        family: Family,
        wanted: Wanted,
    ) -> Result<Binding, Limit> {
        self.end_reservations(now);
        if wanted == Wanted::EvenAndNext && self.reserved.len() >= limits::RESERVATIONS_MAX {
            return Err(Limit::Reservations);
        }
        let roomy = |pools: &mut Vec<Ports>| {
            let of_family = pools.iter_mut().enumerate().filter(|(_, pool)| pool.family() == family);
            of_family.map(|(index, pool)| (pool.free(now), index)).max().map(|(_, index)| index)
        };
        let index = roomy(&mut self.pools).ok_or(Limit::Ports)?;
        let pool = self.pools.get_mut(index).ok_or(Limit::Ports)?;
        let ports = pool.hold(now, rng, wanted, limits::PORT_CANDIDATES);
        (!ports.is_empty()).then(|| self.bind(index, ports, wanted)).flatten().ok_or(Limit::Ports)
    }

    /// Asks for the port that a token names.
    pub(super) fn request_reserved(&mut self, now: Mono, token: [u8; 8]) -> Option<Binding> {
        self.end_reservations(now);
        let Reservation { pool, port } = self.reservations.remove(&token)?;
        self.reserved.retain(|(_, held)| *held != token);
        self.bind(pool, vec![port], Wanted::Any)
    }

    fn bind(&mut self, pool: usize, ports: Vec<u16>, wanted: Wanted) -> Option<Binding> {
        let (ip, family) = self.pools.get(pool).map(|pool| (pool.address().bind, pool.family()))?;
        let state = State::Binding { candidates: ports.clone().into(), wanted };
        let relay = self.relays.insert(Relay { pool, owner: None, state });
        Some(Binding { relay: RelayId(u32::try_from(relay).ok()?), family, ip, ports })
    }

    pub(super) fn set_owner(&mut self, relay: RelayId, owner: AllocationId) {
        if let Some(relay) = self.relays.get_mut(relay.0 as usize) {
            relay.owner = Some(owner);
        }
    }

    /// Learns what became of a socket that was asked for; `None` when none was.
    pub(super) fn bound(
        &mut self,
        now: Mono,
        rng: &mut ChaCha12Rng,
        id: RelayId,
        result: Result<SocketAddr, BindError>,
    ) -> Option<Bound> {
        let relay = self.relays.get_mut(id.0 as usize)?;
        let State::Binding { candidates, wanted } = &relay.state else { return None };
        let (candidates, wanted, pool_index) = (candidates.clone(), *wanted, relay.pool);
        let pool = self.pools.get_mut(pool_index)?;
        let (owner, family) = (relay.owner, pool.family());
        let chosen = result.ok().filter(|local| candidates.contains(&local.port()));
        let mut token = None;
        for port in &candidates {
            let taken = chosen.is_some_and(|local| local.port() == *port);
            match result {
                Ok(_) if taken && owner.is_some() => pool.bound(*port, id),
                // Bound for nobody, or held by another process.
                Ok(_) if taken => pool.rest(now, *port),
                Err(BindError::InUse) => pool.rest(now, *port),
                _ => pool.release(*port),
            }
            if wanted == Wanted::EvenAndNext {
                if taken && owner.is_some() {
                    let mut bytes = [0; 8];
                    rng.fill_bytes(&mut bytes);
                    token = Some(bytes);
                    self.reservations.insert(bytes, Reservation { pool: pool_index, port: port + 1 });
                    self.reserved.push_back((now + limits::RESERVATION_LIFE, bytes));
                } else {
                    pool.release(port + 1);
                }
            }
        }
        let kept = chosen.filter(|_| owner.is_some());
        match kept {
            Some(local) => relay.state = State::Bound(local),
            None => drop(self.relays.try_remove(id.0 as usize)),
        }
        Some(Bound { owner, family, kept: kept.is_some(), close: kept.is_none() && result.is_ok(), token })
    }

    /// Gives a socket up. Returns whether it is to be closed now: one that is still being bound is
    /// closed when that is done.
    pub(super) fn close(&mut self, now: Mono, id: RelayId) -> bool {
        let Some(relay) = self.relays.get_mut(id.0 as usize) else { return false };
        match relay.state {
            State::Binding { .. } => {
                relay.owner = None;
                false
            }
            State::Bound(local) => {
                if let Some(pool) = self.pools.get_mut(relay.pool) {
                    pool.rest(now, local.port());
                }
                self.relays.remove(id.0 as usize);
                true
            }
        }
    }

    fn end_reservations(&mut self, now: Mono) {
        while let Some((_, token)) = self.reserved.pop_front_if(|(until, _)| *until <= now) {
            let Some(Reservation { pool, port }) = self.reservations.remove(&token) else { continue };
            if let Some(pool) = self.pools.get_mut(pool) {
                pool.release(port);
            }
        }
    }
}
