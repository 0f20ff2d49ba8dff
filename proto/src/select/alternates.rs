//! Where plain TURN clients go that reach an edge which is to take nobody (RFC 8489 section 10).

use super::EdgeStatus;
use crate::id::EdgeId;
use crate::limits::ALTERNATES_MAX;
use crate::mesh::uplink::Alternate;
use crate::turn::Transport;

/// An edge whose load is above this sends nobody away to another, which may be as full.
const ROOM_AT: f64 = 0.9;

/// The listeners to which new clients of `edge` are sent while it drains or is full: at most [`ALTERNATES_MAX`] of
/// each family, of edges that are handed out and have room; of its own region where there is one, since clients
/// that came by a name or an address are near it.
///
/// A client goes on over the transport that it came by, and the answer names an address only: it must serve both UDP and
/// TCP. Browsers refuse loopback addresses.
#[must_use]
pub fn alternates(edges: &[EdgeStatus], edge: &EdgeId) -> Vec<Alternate> {
    let own = edges.iter().find(|status| status.edge == *edge).map(|status| &status.region);
    let fit = |status: &&EdgeStatus| {
        status.edge != *edge && status.available && status.condition.takes_new() && status.load < ROOM_AT
    };
    let near = |status: &&EdgeStatus| own == Some(&status.region);
    let any_near = edges.iter().filter(fit).any(|status| near(&status));
    let others = edges.iter().filter(fit).filter(|status| near(status) || !any_near);
    let mut all: Vec<Alternate> = Vec::new();
    for address in others.flat_map(addresses) {
        let family = all.iter().filter(|held| held.address.is_ipv4() == address.is_ipv4());
        if family.count() < ALTERNATES_MAX {
            all.push(Alternate { address });
        }
    }
    all
}

/// The addresses of an edge that serve both UDP and TCP.
fn addresses(status: &EdgeStatus) -> impl Iterator<Item = std::net::SocketAddr> {
    let serves = |transport, address| {
        status.listeners.iter().any(|it| it.transport == transport && it.address == address)
    };
    let udp = status.listeners.iter().filter(|it| it.transport == Transport::Udp).map(|it| it.address);
    udp.filter(move |address| !address.ip().is_loopback() && serves(Transport::Tcp, *address))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::id::Region;
    use crate::mesh::uplink::Listener;

    fn edge(name: &str, region: &str, address: &str) -> EdgeStatus {
        let listener = |transport| Listener { transport, address: address.parse().unwrap(), hostname: None };
        let listeners = vec![listener(Transport::Udp), listener(Transport::Tcp)];
        EdgeStatus::new(EdgeId::new(name).unwrap(), Region::new(region).unwrap(), listeners)
    }

    fn of(edges: &[EdgeStatus], name: &str) -> Vec<String> {
        let all = alternates(edges, &EdgeId::new(name).unwrap());
        all.iter().map(|alternate| alternate.address.to_string()).collect()
    }

    #[test]
    fn its_region_else_anywhere_and_never_itself_or_one_without_room() {
        let mut edges = vec![
            edge("a", "eu", "192.0.2.1:3478"),
            edge("b", "eu", "192.0.2.2:3478"),
            edge("c", "us", "192.0.2.3:3478"),
            edge("d", "us", "[2001:db8::4]:3478"),
        ];
        assert_eq!(of(&edges, "a"), ["192.0.2.2:3478"]);
        edges[1].load = 0.95;
        assert_eq!(of(&edges, "a"), ["192.0.2.3:3478", "[2001:db8::4]:3478"]);
        edges[0].available = false;
        assert_eq!(of(&edges, "b"), ["192.0.2.3:3478", "[2001:db8::4]:3478"]);
        assert_eq!(of(&edges, "c"), ["[2001:db8::4]:3478"]);
    }

    #[test]
    fn an_address_must_serve_both_transports_and_be_no_loopback() {
        let mut edges = vec![edge("a", "eu", "192.0.2.1:3478"), edge("b", "eu", "127.0.0.1:3478")];
        assert_eq!(of(&edges, "a"), Vec::<String>::new());
        edges[1] = edge("b", "eu", "192.0.2.2:3478");
        edges[1].listeners.pop();
        assert_eq!(of(&edges, "a"), Vec::<String>::new());
    }

    #[test]
    fn no_more_of_a_family_than_one_edge_keeps() {
        let edges: Vec<_> =
            (1..=9).map(|n| edge(&format!("e{n}"), "eu", &format!("192.0.2.{n}:3478"))).collect();
        assert_eq!(of(&edges, "e1").len(), ALTERNATES_MAX);
    }
}
