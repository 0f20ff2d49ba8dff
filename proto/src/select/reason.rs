//! Why an edge is not simply up: each reason with what to do about it.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::mesh::probe::{Cause, Fault, Prober, Step};
use crate::mesh::uplink::{Listener, RelayRange};
use crate::turn::Transport;

/// Why an edge is not simply up. Its text says what to do.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "reason", rename_all = "snake_case")]
pub enum Reason {
    /// No node has heard it for [`EDGE_LOST_AFTER`](crate::limits::EDGE_LOST_AFTER).
    Silent,
    /// This node has not heard it, but hears no other node either.
    CutOff,
    /// It said that it stops.
    Stopped,
    /// An operator removed it.
    Removed,
    /// An operator drains it, or it drains itself.
    Draining {
        /// Allocations that are left.
        allocations: u32,
    },
    /// Nearly as many allocations as it takes.
    Full {
        /// Allocations now.
        allocations: u32,
        /// Those it takes at most.
        capacity: u32,
    },
    /// Its relaying thread has nearly no time left.
    Busy {
        /// What it uses of a core, in percent.
        percent: u32,
    },
    /// One turn of its loop takes long: packets wait for it.
    Slow {
        /// The longest turn in the last seconds, in milliseconds.
        millis: u32,
    },
    /// The kernel drops datagrams before the edge reads them.
    ReceiveDrops {
        /// So many a second.
        per_second: u32,
    },
    /// Nearly as many file descriptors as it may have.
    Files {
        /// In use.
        used: u32,
        /// At most.
        limit: u32,
    },
    /// Nearly as much memory as it may have.
    Memory {
        /// Resident bytes.
        used: u64,
        /// At most.
        limit: u64,
    },
    /// Nearly as many bits a second as it relays at most, one way.
    Bandwidth {
        /// Of the limit, in percent.
        percent: u32,
    },
    /// A certificate of a listener ends soon, or has ended.
    Certificate {
        /// Hours that are left; zero where it has ended.
        hours: u64,
    },
    /// A listener fails its edge's own probe.
    Listener {
        /// Which.
        listener: Listener,
        /// Why, where the edge tells.
        #[serde(default)]
        fault: Option<Fault>,
    },
    /// A listener is not reached from outside.
    Outside {
        /// Which.
        listener: Listener,
        /// Why, as one of them says.
        fault: Fault,
        /// Who did not reach it.
        probers: Vec<Prober>,
        /// Two agree, and nobody says otherwise.
        certain: bool,
    },
    /// Relay ports are not reached from outside.
    Relay {
        /// The ports.
        relay: RelayRange,
        /// Who did not reach one.
        probers: Vec<Prober>,
        /// Two agree, and nobody says otherwise.
        certain: bool,
    },
    /// Clients of too many networks say that ICE fails over it ([`super::quarantine`]).
    Quarantine,
}

impl Reason {
    /// What it is, without its figures: as the field `reason` has it.
    #[must_use]
    pub const fn name(&self) -> &'static str {
        match self {
            Self::Silent => "silent",
            Self::CutOff => "cut_off",
            Self::Stopped => "stopped",
            Self::Removed => "removed",
            Self::Draining { .. } => "draining",
            Self::Full { .. } => "full",
            Self::Busy { .. } => "busy",
            Self::Slow { .. } => "slow",
            Self::ReceiveDrops { .. } => "receive_drops",
            Self::Files { .. } => "files",
            Self::Memory { .. } => "memory",
            Self::Bandwidth { .. } => "bandwidth",
            Self::Certificate { .. } => "certificate",
            Self::Listener { .. } => "listener",
            Self::Outside { .. } => "outside",
            Self::Relay { .. } => "relay",
            Self::Quarantine => "quarantine",
        }
    }
}

impl Reason {
    /// Those of probes from outside.
    fn fmt_outside(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Outside { listener, fault, probers, certain } => {
                write!(f, "{} is not reached from outside{}", named(listener), said(probers, *certain))?;
                match fault.is_firewall() {
                    true => write!(f, ": {}", open(listener)),
                    false => write!(f, ": {fault}"),
                }
            }
            Self::Relay { relay, probers, certain } => write!(
                f,
                "no relay port is reached from outside{}: open UDP from anywhere to {} ports {}-{}",
                said(probers, *certain),
                relay.address,
                relay.first,
                relay.last
            ),
            _ => Ok(()),
        }
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Silent => f.write_str(
                "no node hears it: look whether it runs, and whether it reaches the nodes' mesh port over UDP",
            ),
            Self::CutOff => f.write_str(
                "not heard here, but this node hears no other node either: look at this node's network",
            ),
            Self::Stopped => f.write_str("it was stopped: start it again"),
            Self::Removed => f.write_str("an operator removed it from the cluster"),
            Self::Draining { allocations: 0 } => f.write_str("draining, and empty: it can be stopped"),
            Self::Draining { allocations: left } => write!(f, "draining, {left} allocations left"),
            Self::Full { allocations, capacity } => write!(
                f,
                "{allocations} of {capacity} allocations: add an edge in its region, or raise --capacity"
            ),
            Self::Busy { percent } => {
                write!(f, "its relaying thread uses {percent} % of a core: add an edge on another host or core")
            }
            Self::Slow { millis } => write!(
                f,
                "a turn of its loop took {millis} ms: something else uses its processor, or it is too slow"
            ),
            Self::ReceiveDrops { per_second } => write!(
                f,
                "the kernel drops {per_second} datagrams a second: raise net.core.rmem_max, or add an edge"
            ),
            Self::Files { used, limit } => {
                write!(f, "{used} of {limit} file descriptors: raise its limit (ulimit -n, LimitNOFILE=)")
            }
            Self::Memory { used, limit } => write!(
                f,
                "{} of {} MiB of memory: raise its limit, or lower --capacity",
                used >> 20,
                limit >> 20
            ),
            Self::Bandwidth { percent } => {
                write!(f, "{percent} % of its bandwidth: add an edge in its region, or raise --bandwidth")
            }
            Self::Certificate { hours: 0 } => {
                f.write_str("a listener's certificate has ended: put a new one in its place")
            }
            Self::Certificate { hours } => {
                write!(f, "a listener's certificate ends in {hours} hours: put a new one in its place")
            }
            Self::Listener { listener, fault } => {
                let listener = named(listener);
                match fault {
                    Some(fault) => write!(f, "{listener} fails the edge's own probe: {fault}"),
                    None => write!(f, "{listener} has not answered the edge's own probe yet"),
                }
            }
            Self::Outside { .. } | Self::Relay { .. } => self.fmt_outside(f),
            Self::Quarantine => f.write_str(
                "ICE fails over it for clients of many networks, who are given others for ten minutes: look whether its \
                 listeners and relay ports are reached from those networks, and its route to them",
            ),
        }
    }
}

/// A listener in words.
fn named(listener: &Listener) -> String {
    format!("{} {}", listener.transport.name(), listener.address)
}

/// The firewall rule that a listener needs.
fn open(listener: &Listener) -> String {
    let below = if listener.transport.is_stream() { Transport::Tcp } else { Transport::Udp };
    let (ip, port) = (listener.address.ip(), listener.address.port());
    format!("open {} from anywhere to {ip} port {port}", below.name())
}

/// Who says so.
fn said(probers: &[Prober], certain: bool) -> String {
    let names: Vec<String> = probers.iter().map(Prober::to_string).collect();
    let names = names.join(" and ");
    if certain {
        format!(" (tried by {names})")
    } else {
        format!(" (tried by {names}, nobody else agrees yet)")
    }
}

impl Fault {
    /// Whether a closed firewall looks like this: nothing comes back, or it is refused on the way.
    #[must_use]
    pub const fn is_firewall(&self) -> bool {
        let first = matches!(self.step, Step::Connect | Step::Binding | Step::Relay);
        first && matches!(self.cause, Cause::Silent | Cause::Unreachable | Cause::Refused)
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let step = match self.step {
            Step::Connect => "the connection",
            Step::Binding => "Binding",
            Step::Allocate => "Allocate",
            Step::Permission => "CreatePermission",
            Step::Relay => "the relayed address",
            Step::Unknown => "a step",
        };
        match (self.cause, self.code) {
            (Cause::Silent, _) if self.step == Step::Relay => {
                f.write_str("no datagram came through the relay")?;
            }
            (Cause::Silent, _) => write!(f, "no answer to {step}")?,
            (Cause::Refused, _) => write!(f, "{step} is refused: nothing listens there")?,
            (Cause::Unreachable, _) => write!(f, "no way there for {step}")?,
            (Cause::Local, _) => write!(f, "the prober itself cannot make {step}")?,
            (Cause::Certificate, _) => f.write_str("browsers refuse its certificate")?,
            (Cause::Handshake, _) => f.write_str("the TLS or DTLS handshake fails")?,
            (Cause::Garbage, _) => write!(f, "what comes back is no answer to {step}")?,
            (Cause::Code, Some(401)) => {
                write!(f, "{step} is refused with 401: compare the clocks of edge and nodes, and the realm")?;
            }
            (Cause::Code, Some(code)) => write!(f, "{step} is refused with {code}")?,
            (Cause::Code, None) | (Cause::Other, _) => write!(f, "{step} fails")?,
        }
        if self.text.is_empty() { Ok(()) } else { write!(f, " ({})", self.text) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::id::{EdgeId, NodeId};

    #[test]
    fn a_closed_firewall_is_named_with_its_fix() {
        let relay = RelayRange { address: "203.0.113.7".parse().unwrap(), first: 49152, last: 65535 };
        let probers = vec![Prober::Edge(EdgeId::new("e2").unwrap()), Prober::Node(NodeId(3))];
        let reason = Reason::Relay { relay, probers: probers.clone(), certain: true };
        assert_eq!(
            reason.to_string(),
            "no relay port is reached from outside (tried by edge e2 and node 3): open UDP from anywhere to \
             203.0.113.7 ports 49152-65535"
        );
        let address = "203.0.113.7:443".parse().unwrap();
        let listener = Listener { transport: Transport::Tls, address, hostname: None };
        let mut fault = Fault { step: Step::Connect, cause: Cause::Silent, code: None, text: String::new() };
        let of = |fault: &Fault| {
            let (listener, probers) = (listener.clone(), probers.clone());
            Reason::Outside { listener, fault: fault.clone(), probers, certain: false }.to_string()
        };
        assert!(of(&fault).ends_with(": open TCP from anywhere to 203.0.113.7 port 443"), "{}", of(&fault));
        assert!(of(&fault).contains("nobody else agrees yet"));
        fault.cause = Cause::Certificate;
        assert!(of(&fault).ends_with(": browsers refuse its certificate"), "{}", of(&fault));
    }

    #[test]
    fn the_name_is_what_is_written() {
        for reason in [Reason::Silent, Reason::Busy { percent: 90 }, Reason::Draining { allocations: 1 }] {
            assert_eq!(serde_json::to_value(&reason).unwrap()["reason"], reason.name());
        }
    }
}
