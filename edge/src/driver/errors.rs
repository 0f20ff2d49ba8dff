//! What datagrams to peers met: ICMP errors, and those that are too long to go unfragmented.

use chappe_proto::limits::ICMP_BURST;
use chappe_proto::time::Now;
use chappe_proto::turn::{IcmpError, RelayId};

use super::Driver;
use crate::udp::{Cause, Target, take_error};

impl Driver {
    /// Takes a part of the errors that a relayed socket's packets met. Where there are more, the kernel
    /// says so again: taking one rings for the next.
    pub(super) fn relay_errors(&mut self, now: Now, index: u32) {
        for _ in 0..ICMP_BURST {
            let Some(error) = self.relays.get(index).and_then(take_error) else { return };
            match error.cause {
                Cause::Icmp { kind, code, mtu } => {
                    let error_data = IcmpError { kind, code, mtu };
                    self.server.handle_icmp(now, RelayId(index), error.to, error_data);
                    self.outputs(now);
                }
                // The kernel does not tell the port.
                Cause::TooLong { mtu } => {
                    let met = |target: &Target| target.socket == index && target.to.ip() == error.to.ip();
                    if let Some(at) = self.too_long.iter().position(met) {
                        let target = self.too_long.swap_remove(at);
                        self.too_long(now, target, mtu);
                    }
                }
                Cause::Other => {}
            }
        }
    }

    /// Tells clients of packets that were too long to go unfragmented, as a router on the way would.
    pub(super) fn tell_too_long(&mut self, now: Now) {
        while let Some(target) = self.too_long.last().copied() {
            let before = self.too_long.len();
            self.relay_errors(now, target.socket);
            if self.too_long.len() == before {
                // Its MTU is not told any more.
                self.too_long.pop();
                self.too_long(now, target, 0);
            }
        }
    }

    fn too_long(&mut self, now: Now, target: Target, mtu: u32) {
        // ICMP "fragmentation needed", ICMPv6 "packet too big".
        let (kind, code) = if target.to.is_ipv4() { (3, 4) } else { (2, 0) };
        self.server.handle_icmp(now, RelayId(target.socket), target.to, IcmpError { kind, code, mtu });
        self.outputs(now);
    }
}
