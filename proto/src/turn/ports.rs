//! The ports of one relay address: which are free, which are in use, which rest.

use std::collections::VecDeque;
use std::net::{IpAddr, SocketAddr};

use rand_chacha::ChaCha12Rng;
use rand_chacha::rand_core::Rng;

use super::api::RelayId;
use super::config::RelayAddress;
use crate::limits;
use crate::stun::attributes::Family;
use crate::time::Mono;

/// What a client wants of its port (RFC 8656 section 7.1).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Wanted {
    /// Any.
    Any,
    /// EVEN-PORT with R = 0.
    Even,
    /// EVEN-PORT with R = 1: an even one whose next higher neighbour is free too.
    EvenAndNext,
}

/// A port's state in the table: the id of its relayed socket, or one of these.
const FREE: u32 = u32::MAX;
/// A candidate that is being bound, reserved by a token, or at rest.
const HELD: u32 = u32::MAX - 1;

/// The ports of one relay address.
pub(super) struct Ports {
    address: RelayAddress,
    /// By port, from the lowest: [`FREE`], [`HELD`] or a relayed socket.
    table: Box<[u32]>,
    /// Free ports in no order, even ones and odd ones, so that a random one is picked in one step.
    free: [Vec<u16>; 2],
    /// Ports at rest and until when, in the order of that.
    resting: VecDeque<(Mono, u16)>,
}

impl Ports {
    pub(super) fn new(address: RelayAddress) -> Self {
        let ports = address.first..=address.last;
        let free = [0, 1].map(|odd| ports.clone().filter(|port| port % 2 == odd).collect());
        Self { address, table: vec![FREE; ports.len()].into_boxed_slice(), free, resting: VecDeque::new() }
    }

    pub(super) const fn address(&self) -> &RelayAddress {
        &self.address
    }

    pub(super) const fn family(&self) -> Family {
        if self.address.advertised.is_ipv4() { Family::V4 } else { Family::V6 }
    }

    /// The relayed socket at this address, in bound or in advertised form.
    pub(super) fn at(&self, address: SocketAddr) -> Option<RelayId> {
        let ip: IpAddr = address.ip();
        if ip != self.address.advertised && ip != self.address.bind {
            return None;
        }
        let index = address.port().checked_sub(self.address.first)?;
        self.table.get(usize::from(index)).filter(|slot| **slot < HELD).map(|slot| RelayId(*slot))
    }

    /// Free ports now: those whose rest is over count.
    pub(super) fn free(&mut self, now: Mono) -> usize {
        self.wake(now);
        self.free[0].len() + self.free[1].len()
    }

    /// Holds up to `count` random free ports of the wanted kind, and the neighbours where those are
    /// wanted.
    pub(super) fn hold(
        &mut self,
        now: Mono,
        rng: &mut ChaCha12Rng,
        wanted: Wanted,
        count: usize,
    ) -> Vec<u16> {
        self.wake(now);
        let mut held = Vec::new();
        while held.len() < count {
            let (even, odd) = (self.free[0].len(), self.free[1].len());
            let port = match wanted {
                Wanted::Any => {
                    let pick = below(rng, even + odd);
                    let (half, index) = if pick < even { (0, pick) } else { (1, pick - even) };
                    self.take(half, index)
                }
                Wanted::Even => self.take(0, below(rng, even)),
                Wanted::EvenAndNext => self.take_pair(below(rng, even)),
            };
            let Some(port) = port else { break };
            held.push(port);
        }
        held
    }

    fn take(&mut self, half: usize, index: usize) -> Option<u16> {
        let list = self.free.get_mut(half).filter(|list| index < list.len())?;
        let port = list.swap_remove(index);
        self.set(port, HELD);
        Some(port)
    }

    /// Takes the first even port from `start` on whose neighbour is free, and that one.
    fn take_pair(&mut self, start: usize) -> Option<u16> {
        let even = self.free[0].len();
        let index = (0..even).map(|step| (start + step) % even).find(|index| {
            let next = self.free[0].get(*index).and_then(|port| port.checked_add(1));
            next.is_some_and(|next| self.slot(next) == Some(FREE))
        })?;
        let port = self.take(0, index)?;
        let neighbour = self.free[1].iter().position(|odd| *odd == port + 1)?;
        self.take(1, neighbour)?;
        Some(port)
    }

    fn slot(&self, port: u16) -> Option<u32> {
        let index = port.checked_sub(self.address.first)?;
        self.table.get(usize::from(index)).copied()
    }

    fn set(&mut self, port: u16, state: u32) {
        let index = port.checked_sub(self.address.first);
        if let Some(slot) = index.and_then(|index| self.table.get_mut(usize::from(index))) {
            *slot = state;
        }
    }

    /// A held port is a relayed socket's now.
    pub(super) fn bound(&mut self, port: u16, relay: RelayId) {
        self.set(port, relay.0);
    }

    /// A held port was not needed: it is free at once.
    pub(super) fn release(&mut self, port: u16) {
        if self.slot(port) == Some(HELD) {
            self.set(port, FREE);
            self.free[usize::from(port % 2)].push(port);
        }
    }

    /// A port was in use: it rests, so that what is still under way to it reaches nobody else (RFC
    /// 8656 section 7.2: not reused for two minutes).
    pub(super) fn rest(&mut self, now: Mono, port: u16) {
        if self.slot(port).is_some_and(|slot| slot != FREE) {
            self.set(port, HELD);
            self.resting.push_back((now + limits::PORT_REST, port));
        }
    }

    fn wake(&mut self, now: Mono) {
        while let Some((_, port)) = self.resting.pop_front_if(|(until, _)| *until <= now) {
            self.release(port);
        }
    }
}

/// A number below `bound`, or zero. Its bias is under one in 2^47 for a table of ports.
fn below(rng: &mut ChaCha12Rng, bound: usize) -> usize {
    usize::try_from(rng.next_u64()).unwrap_or(0).checked_rem(bound).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use rand_chacha::rand_core::SeedableRng;

    use super::*;

    fn ports(first: u16, last: u16) -> (Ports, ChaCha12Rng) {
        let (bind, advertised) = ("10.0.0.1".parse().unwrap(), "203.0.113.5".parse().unwrap());
        (Ports::new(RelayAddress { bind, advertised, first, last }), ChaCha12Rng::from_seed([9; 32]))
    }

    const T: Mono = Mono(Duration::from_secs(1000));

    #[test]
    fn a_port_rests_two_minutes() {
        let (mut ports, mut rng) = ports(50000, 50000);
        assert_eq!(ports.hold(T, &mut rng, Wanted::Any, 4), [50000]);
        assert_eq!(ports.free(T), 0);
        ports.bound(50000, RelayId(3));
        assert_eq!(ports.at("203.0.113.5:50000".parse().unwrap()), Some(RelayId(3)));
        assert_eq!(ports.at("10.0.0.1:50000".parse().unwrap()), Some(RelayId(3)));
        assert_eq!(ports.at("10.0.0.2:50000".parse().unwrap()), None);
        ports.rest(T, 50000);
        assert_eq!(ports.at("10.0.0.1:50000".parse().unwrap()), None);
        assert_eq!(ports.free(T + Duration::from_secs(119)), 0);
        assert_eq!(ports.free(T + Duration::from_secs(120)), 1);
    }

    #[test]
    fn ports_are_of_the_wanted_kind_and_random() {
        let (mut ports, mut rng) = ports(50000, 50999);
        let any = ports.hold(T, &mut rng, Wanted::Any, 8);
        assert_eq!(any.len(), 8);
        assert!(any.windows(2).any(|pair| pair[1] < pair[0]) && any.windows(2).any(|pair| pair[1] > pair[0]));
        assert!(ports.hold(T, &mut rng, Wanted::Even, 8).iter().all(|port| port % 2 == 0));
        for port in ports.hold(T, &mut rng, Wanted::EvenAndNext, 8) {
            assert_eq!(port % 2, 0);
            ports.release(port);
            ports.release(port + 1);
        }
        any.into_iter().for_each(|port| ports.release(port));
        assert_eq!(ports.free(T), 992);
    }

    #[test]
    fn no_pair_without_a_free_neighbour() {
        let (mut ports, mut rng) = ports(50000, 50002);
        assert_eq!(ports.hold(T, &mut rng, Wanted::EvenAndNext, 4), [50000]);
        assert_eq!(ports.hold(T, &mut rng, Wanted::EvenAndNext, 4), [0; 0], "50003 is not ours");
        assert_eq!(ports.hold(T, &mut rng, Wanted::Any, 4), [50002]);
    }
}
