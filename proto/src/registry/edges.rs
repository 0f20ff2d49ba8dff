//! Edges: what they offer, and what operators decide of them.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::{Outcome, Refusal, State, Thing};
use crate::id::{EdgeId, Region};
use crate::limits::{APPLICANT_BYTES, BUILD_MAX, EDGE_LISTENERS_MAX, EDGE_RELAYS_MAX, EDGES_MAX, URL_MAX};
use crate::mesh::uplink::{EdgeHello, Listener, RelayRange};
use crate::time::Unix;

/// An edge of the cluster.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Edge {
    /// Where it stands.
    pub region: Region,
    /// Latitude and longitude in degrees, where known.
    #[serde(default)]
    pub coordinates: Option<(f64, f64)>,
    /// What clients can reach.
    pub listeners: Vec<Listener>,
    /// Where relayed addresses come from.
    pub relays: Vec<RelayRange>,
    /// Allocations it takes at most.
    pub capacity: u32,
    /// Its build, as `chappe --version` prints it.
    pub build: String,
    /// Whether it is given to clients.
    pub state: EdgeState,
    /// Its part of the sessions near it, relative to others'.
    pub weight: u16,
    /// When it was first seen: a newcomer's load is ramped up.
    pub since: Unix,
    /// SHA-256 of its public key (SubjectPublicKeyInfo in DER): no certificate of another key speaks for it. Empty
    /// where an earlier release wrote it; then that of the first one that comes is kept.
    #[serde(default, with = "serde_bytes")]
    pub key: Vec<u8>,
}

impl Edge {
    /// One that offers nothing yet.
    const fn fresh(region: Region, since: Unix, key: Vec<u8>) -> Self {
        Self {
            region,
            coordinates: None,
            listeners: Vec::new(),
            relays: Vec::new(),
            capacity: 0,
            build: String::new(),
            state: EdgeState::Admitted,
            weight: WEIGHT,
            since,
            key,
        }
    }

    /// Whether the holder of this key speaks for it.
    #[must_use]
    pub fn is_of(&self, key: &[u8]) -> bool {
        self.key.is_empty() || self.key == key
    }
}

/// How an edge comes to its place.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Enrolment {
    /// By a name that none has yet.
    New,
    /// By the name of one that may be there, whose place it takes.
    Named,
    /// It has joined by its invitation before, and did not hear the answer.
    Again,
}

/// What an operator has decided of an edge.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum EdgeState {
    /// Given to clients.
    Admitted,
    /// Takes no new allocations.
    Draining,
    /// Refused, until an operator admits it again or forgets it.
    Removed,
}

/// The weight of an edge of which nothing was decided.
const WEIGHT: u16 = 100;

fn check(hello: &EdgeHello) -> Result<(), Refusal> {
    if hello.build.len() > BUILD_MAX {
        return Err(Refusal::Invalid(Thing::Build));
    }
    if hello.listeners.len() > EDGE_LISTENERS_MAX {
        return Err(Refusal::Full { thing: Thing::Listener, max: EDGE_LISTENERS_MAX as u64 });
    }
    if hello.relays.len() > EDGE_RELAYS_MAX {
        return Err(Refusal::Full { thing: Thing::RelayRange, max: EDGE_RELAYS_MAX as u64 });
    }
    if hello.relays.iter().any(|range| range.first > range.last) {
        return Err(Refusal::Invalid(Thing::RelayRange));
    }
    let host = |name: &String| {
        !name.is_empty()
            && name.len() <= URL_MAX
            && name.bytes().all(|b| b.is_ascii_alphanumeric() || b"-.".contains(&b))
    };
    if hello.listeners.iter().filter_map(|l| l.hostname.as_ref()).any(|name| !host(name)) {
        return Err(Refusal::Invalid(Thing::Listener));
    }
    let listens = hello.listeners.iter().map(|listener| listener.address.ip());
    if !listens.clone().all(could_be_reached) {
        return Err(Refusal::Invalid(Thing::Listener));
    }
    if !hello.relays.iter().all(|range| could_be_reached(range.address)) {
        return Err(Refusal::Invalid(Thing::RelayRange));
    }
    // Written so that a NaN is refused.
    let on_earth = |(lat, lon): (f64, f64)| lat.abs() <= 90.0 && lon.abs() <= 180.0;
    if !hello.coordinates.is_none_or(on_earth) {
        return Err(Refusal::Invalid(Thing::Coordinates));
    }
    Ok(())
}

/// Whether an address could be a host's that clients reach; loopback is a development cluster's.
fn could_be_reached(ip: IpAddr) -> bool {
    let link_local = match ip.to_canonical() {
        IpAddr::V4(ip) => ip.is_link_local() || ip.is_broadcast(),
        IpAddr::V6(ip) => ip.is_unicast_link_local(),
    };
    !link_local && !ip.to_canonical().is_unspecified() && !ip.to_canonical().is_multicast()
}

/// The hello with IPv4 addresses as such, not as IPv6 has them (RFC 4291 section 2.5.5.2): each has one form.
fn canonical(mut hello: EdgeHello) -> EdgeHello {
    for listener in &mut hello.listeners {
        listener.address.set_ip(listener.address.ip().to_canonical());
    }
    for range in &mut hello.relays {
        range.address = range.address.to_canonical();
    }
    hello
}

/// Whether two edges say that they relay from the same address and port. Those of loopback are each machine's own.
fn overlap(one: &RelayRange, other: &RelayRange) -> bool {
    one.address.to_canonical() == other.address.to_canonical()
        && !one.address.to_canonical().is_loopback()
        && one.first <= other.last
        && other.first <= one.last
}

fn canonical_at(address: SocketAddr) -> SocketAddr {
    SocketAddr::new(address.ip().to_canonical(), address.port())
}

/// Whether two edges say that they listen at the same place; TLS is over TCP, and DTLS over UDP.
fn same_place(one: &Listener, other: &Listener) -> bool {
    canonical_at(one.address) == canonical_at(other.address)
        && !one.address.ip().to_canonical().is_loopback()
        && one.transport.is_stream() == other.transport.is_stream()
}

impl State {
    /// Nobody takes what is another's: clients and the fleet's gates go by it. What a lost or draining edge has
    /// stays its own until it is removed.
    fn unclaimed(&self, hello: &EdgeHello) -> Result<(), Refusal> {
        let others =
            self.edges.iter().filter(|(edge, held)| **edge != hello.edge && held.state != EdgeState::Removed);
        for (edge, held) in others {
            let relays = hello.relays.iter().any(|own| held.relays.iter().any(|its| overlap(own, its)));
            let listens =
                hello.listeners.iter().any(|own| held.listeners.iter().any(|its| same_place(own, its)));
            let thing = match (relays, listens) {
                (true, _) => Thing::RelayRange,
                (_, true) => Thing::Listener,
                _ => continue,
            };
            return Err(Refusal::Claimed { thing, edge: edge.clone() });
        }
        Ok(())
    }

    /// An edge, removed ones included.
    #[must_use]
    pub fn edge(&self, edge: &EdgeId) -> Option<&Edge> {
        self.edges.get(edge)
    }

    /// All edges by name, removed ones included.
    pub fn edges(&self) -> impl Iterator<Item = (&EdgeId, &Edge)> {
        self.edges.iter()
    }

    pub(super) fn edge_up(&mut self, hello: EdgeHello) -> Result<Outcome, Refusal> {
        check(&hello)?;
        let held = self.edges.get(&hello.edge);
        if held.is_some_and(|edge| edge.state == EdgeState::Removed) {
            return Err(Refusal::Removed(Thing::Edge));
        }
        if held.is_none() && self.edges.len() >= EDGES_MAX {
            return Err(Refusal::Full { thing: Thing::Edge, max: EDGES_MAX as u64 });
        }
        let key = held.map(|edge| edge.key.clone()).unwrap_or_default();
        self.edge_offers(hello, key)
    }

    /// An edge that has enrolled says what it offers, by a certificate of this key.
    pub(super) fn edge_offer(&mut self, hello: EdgeHello, key: Vec<u8>) -> Result<Outcome, Refusal> {
        check(&hello)?;
        let held = self.edges.get(&hello.edge).ok_or(Refusal::Unknown(Thing::Edge))?;
        if held.state == EdgeState::Removed {
            return Err(Refusal::Removed(Thing::Edge));
        }
        if !held.is_of(&key) {
            return Err(Refusal::OtherKey(Thing::Edge));
        }
        let hello = canonical(hello);
        if hello.listeners.iter().any(|listener| self.is_nodes(listener)) {
            return Err(Refusal::Invalid(Thing::Listener));
        }
        self.edge_offers(hello, key)
    }

    /// Whether a listener is at a place where a node listens for the others: it would have them probed.
    fn is_nodes(&self, listener: &Listener) -> bool {
        let at = canonical_at(listener.address);
        let mesh = self.nodes.values().flat_map(|node| &node.addresses.mesh);
        !at.ip().is_loopback() && mesh.into_iter().any(|mesh| canonical_at(*mesh) == at)
    }

    fn edge_offers(&mut self, hello: EdgeHello, key: Vec<u8>) -> Result<Outcome, Refusal> {
        self.unclaimed(&hello)?;
        let held = self.edges.get(&hello.edge);
        let edge = Edge {
            key,
            region: hello.region,
            coordinates: hello.coordinates,
            listeners: hello.listeners,
            relays: hello.relays,
            capacity: hello.capacity,
            build: hello.build,
            state: held.map_or(EdgeState::Admitted, |edge| edge.state),
            weight: held.map_or(WEIGHT, |edge| edge.weight),
            // One that only joined had no load to ramp up yet.
            since: held.filter(|edge| !edge.listeners.is_empty()).map_or(self.now, |edge| edge.since),
        };
        if held != Some(&edge) {
            Arc::make_mut(&mut self.edges).insert(hello.edge, edge);
        }
        Ok(Outcome::Done)
    }

    /// An edge joins: what it offers is not known yet. From now on it is the holder of this key.
    pub(super) fn edge_enrol(
        &mut self,
        edge: &EdgeId,
        region: Region,
        key: Vec<u8>,
        how: Enrolment,
    ) -> Result<Outcome, Refusal> {
        if !APPLICANT_BYTES.contains(&key.len()) {
            return Err(Refusal::Invalid(Thing::Applicant));
        }
        match self.edges.get(edge) {
            Some(held) if held.state == EdgeState::Removed => return Err(Refusal::Removed(Thing::Edge)),
            Some(_) if how == Enrolment::New => return Err(Refusal::Exists(Thing::Edge)),
            // Another one has come since.
            Some(held) if how == Enrolment::Again && !held.is_of(&key) => {
                return Err(Refusal::OtherKey(Thing::Edge));
            }
            // And was forgotten since.
            None if how == Enrolment::Again => return Err(Refusal::Removed(Thing::Edge)),
            None if self.edges.len() >= EDGES_MAX => {
                return Err(Refusal::Full { thing: Thing::Edge, max: EDGES_MAX as u64 });
            }
            _ => {}
        }
        let since = self.now;
        let edges = Arc::make_mut(&mut self.edges);
        match edges.get_mut(edge) {
            Some(held) => held.key = key,
            None => drop(edges.insert(edge.clone(), Edge::fresh(region, since, key))),
        }
        Ok(Outcome::Done)
    }

    pub(super) fn edge_set(
        &mut self,
        edge: &EdgeId,
        state: EdgeState,
        weight: u16,
    ) -> Result<Outcome, Refusal> {
        let held = Arc::make_mut(&mut self.edges).get_mut(edge).ok_or(Refusal::Unknown(Thing::Edge))?;
        (held.state, held.weight) = (state, weight);
        Ok(Outcome::Done)
    }

    pub(super) fn edge_forget(&mut self, edge: &EdgeId) -> Result<Outcome, Refusal> {
        match self.edges.get(edge).map(|edge| edge.state) {
            None => Err(Refusal::Unknown(Thing::Edge)),
            Some(EdgeState::Removed) => {
                Arc::make_mut(&mut self.edges).remove(edge);
                Ok(Outcome::Done)
            }
            Some(_) => Err(Refusal::InUse(Thing::Edge)),
        }
    }
}
