//! Whether the relay is a door into its operator's network.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use chappe_proto::stun::Code;

use super::super::fault::{Fault, Refusal};
use super::super::report::Step;
use super::super::run::Check;
use super::allocate::Allocation;
use super::relay::permit;

const NAME: &str = "Private peers";
/// The discard port, if anything were ever sent.
const PORT: u16 = 9;
/// A private network, the server itself, a cloud's metadata.
const PEERS_V4: [IpAddr; 3] = [
    IpAddr::V4(Ipv4Addr::new(10, 0, 0, 1)),
    IpAddr::V4(Ipv4Addr::LOCALHOST),
    IpAddr::V4(Ipv4Addr::new(169, 254, 169, 254)),
];
/// The server itself, and the same written another way.
const PEERS_V6: [IpAddr; 2] =
    [IpAddr::V6(Ipv6Addr::LOCALHOST), IpAddr::V6(Ipv4Addr::LOCALHOST.to_ipv6_mapped())];

/// Asks for permissions for peers that no client should have.
pub(in super::super) async fn run(check: &mut Check<'_>, first: &mut Allocation, other: Option<Allocation>) {
    check.begin(NAME);
    let mut asked = Vec::new();
    let mut open = Vec::new();
    let mut failed = None;
    let mut second = other;
    for allocation in [Some(first), second.as_mut()].into_iter().flatten() {
        // Both families are asked for on both: that the other one is refused must not depend on luck.
        for ip in PEERS_V4.into_iter().chain(PEERS_V6) {
            let peer = SocketAddr::new(ip, PORT);
            match permit(&mut allocation.talk, peer).await {
                Ok(_) => open.push(peer),
                Err(Fault::Code(Refusal { code, .. })) => asked.push((ip, code)),
                Err(fault) => {
                    failed = Some(fault);
                    break;
                }
            }
        }
    }
    if let Some(other) = second {
        other.release().await;
    }
    if let Some(fault) = failed {
        return check.fail(NAME, &fault);
    }
    open.sort();
    open.dedup();
    // A server that is on loopback itself, for development, may have its own like as peers.
    let excused =
        |peer: &SocketAddr| check.server.ip().is_loopback() && peer.ip().to_canonical().is_loopback();
    let (own, open): (Vec<_>, Vec<_>) = open.into_iter().partition(excused);
    let refused = asked.iter().filter(|(_, code)| *code == Code::FORBIDDEN).count();
    let facts = |step: Step| {
        let texts: Vec<_> = own.iter().chain(&open).map(|peer| peer.ip().to_string()).collect();
        step.fact("allowed", texts).fact("refused", asked.len())
    };
    let step = if open.is_empty() {
        let also = if own.is_empty() { "" } else { "; loopback is allowed, where the server is itself" };
        Step::ok(NAME, format!("refused ({refused} × 403){also}"))
    } else {
        let fault = Fault::OpenPeers(open.clone());
        Step::warning(NAME, fault.to_string(), check.diagnose(&fault))
    };
    check.put(facts(step));
}
