//! Where plain TURN clients go that reach an edge which is to take nobody (RFC 8489 section 10).

use super::condition::State;
use super::draw::draw_of;
use super::{Catalog, EdgeStatus, Place};
use crate::limits::ALTERNATES_MAX;
use crate::mesh::uplink::Alternate;
use crate::turn::Transport;

/// An edge whose load is above this sends nobody away to another, which may be as full.
const ROOM_AT: f64 = 0.9;

/// The listeners to which new clients of `edge` are sent while it drains or is full: at most [`ALTERNATES_MAX`] of
/// each family, of edges that are handed out and have room; the nearest first, its own region's before all, since
/// clients that came by a name or an address are near it.
///
/// A client goes on over the transport that it came by, and the answer names an address only: it must serve both UDP and
/// TCP. Browsers refuse loopback addresses.
#[must_use]
pub fn alternates(catalog: &Catalog, edge: &EdgeStatus) -> Vec<Alternate> {
    if edge.load < ROOM_AT && !matches!(edge.condition.state, State::Draining | State::Overloaded) {
        return Vec::new();
    }
    let fit = |status: &&EdgeStatus| {
        let is_other = status.edge != edge.edge;
        is_other
            && status.available
            && !status.failing
            && status.condition.takes_new()
            && status.load < ROOM_AT
    };
    let here = Place { region: Some(edge.region.clone()), coordinates: None };
    // Those of one region in another order for each edge, so that not all are sent to the same.
    let order = |status: &EdgeStatus| draw_of(&format!("{} {}", edge.edge, status.edge));
    let mut others: Vec<(f64, u64, &EdgeStatus)> = catalog
        .edges()
        .iter()
        .filter(fit)
        .map(|status| (catalog.km(&here, &status.region).unwrap_or(f64::INFINITY), order(status), status))
        .collect();
    others.sort_by(|a, b| a.0.total_cmp(&b.0).then(a.1.cmp(&b.1)));
    let mut all: Vec<Alternate> = Vec::new();
    for address in others.into_iter().flat_map(|(.., status)| addresses(status)) {
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
    use crate::id::{EdgeId, Region};
    use crate::mesh::uplink::Listener;

    fn edge(name: &str, region: &str, address: &str) -> EdgeStatus {
        let listener = |transport| Listener { transport, address: address.parse().unwrap(), hostname: None };
        let listeners = vec![listener(Transport::Udp), listener(Transport::Tcp)];
        EdgeStatus::new(EdgeId::new(name).unwrap(), Region::new(region).unwrap(), listeners)
    }

    fn of(edges: &[EdgeStatus], name: &str) -> Vec<String> {
        let mut edges = edges.to_vec();
        let edge = edges.iter_mut().find(|status| status.edge.as_str() == name).unwrap();
        edge.condition.state = State::Draining;
        let edge = edge.clone();
        let policy = r#"{"regions": {"eu": [50.0, 8.0], "uk": [51.5, 0.0], "us": [39.0, -77.5]}}"#;
        let all = alternates(&Catalog::new(edges, serde_json::from_str(policy).unwrap(), None), &edge);
        all.iter().map(|alternate| alternate.address.to_string()).collect()
    }

    #[test]
    fn the_nearest_and_never_itself_or_one_without_room() {
        let mut edges = vec![
            edge("a", "eu", "192.0.2.1:3478"),
            edge("b", "eu", "192.0.2.2:3478"),
            edge("c", "us", "192.0.2.3:3478"),
            edge("d", "us", "[2001:db8::4]:3478"),
            edge("e", "uk", "192.0.2.5:3478"),
        ];
        assert_eq!(of(&edges, "a")[..2], ["192.0.2.2:3478", "192.0.2.5:3478"]);
        edges[1].load = 0.95;
        assert_eq!(of(&edges, "a")[0], "192.0.2.5:3478");
        edges[4].failing = true;
        assert!(of(&edges, "a").contains(&"[2001:db8::4]:3478".to_owned()), "the only one of its family");
        assert_eq!(of(&edges, "a").len(), 2);
        edges[0].available = false;
        assert_eq!(of(&edges, "c"), ["[2001:db8::4]:3478"]);
    }

    #[test]
    fn an_edge_that_takes_clients_sends_nobody_away() {
        let mut edges = vec![edge("a", "eu", "192.0.2.1:3478"), edge("b", "eu", "192.0.2.2:3478")];
        let told = |edges: &[EdgeStatus]| {
            alternates(&Catalog::new(edges.to_vec(), serde_json::from_str("{}").unwrap(), None), &edges[0])
                .len()
        };
        assert_eq!(told(&edges), 0);
        edges[0].load = 0.9;
        assert_eq!(told(&edges), 1);
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
    fn no_more_of_a_family_than_one_edge_keeps_and_each_has_others() {
        let edges: Vec<_> =
            (1..=9).map(|n| edge(&format!("e{n}"), "eu", &format!("192.0.2.{n}:3478"))).collect();
        assert_eq!(of(&edges, "e1").len(), ALTERNATES_MAX);
        assert_ne!(of(&edges, "e1")[0], of(&edges, "e2")[0]);
    }
}
