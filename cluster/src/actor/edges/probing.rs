//! Probes of edges from outside: by other edges, else by this node.

use std::net::IpAddr;

use actix::{Addr, Handler, Message};
use chappe_proto::id::EdgeId;
use chappe_proto::limits;
use chappe_proto::mesh::probe::{Found, Probe, Prober};
use chappe_proto::mesh::uplink::{Directive, EdgeHello, Listener, RelayRange, Secret};
use chappe_proto::select::rounds::Order;
use chappe_proto::time::Now;
use chappe_proto::turn::{self, is_special};

use super::EdgesActor;
use crate::{clock, probe};

impl EdgesActor {
    /// Has edges probed from outside that are due.
    pub(super) fn probe(&mut self, now: Now, own: &Addr<Self>) {
        let Some(node) = &self.node else { return };
        let secret = node.registry.state().turn_secrets().newest().map(|(_, secret)| secret.clone());
        let Some(secret) = secret else { return };
        for Order { number, edge, prober } in self.rounds.poll(now.mono, node.id, &self.fleet.candidates()) {
            let Some(hello) = self.fleet.hello(&edge) else { continue };
            let (listeners, relays) = probed(hello, self.inside.contains(&edge));
            if listeners.is_empty() {
                self.rounds.handle_unasked(number, &edge, None);
                continue;
            }
            let expiry = now.unix + limits::PROBE_CREDENTIAL_TTL;
            let username = format!("{}:{}", expiry.secs(), turn::PROBE_USER);
            let probe = Probe {
                number,
                edge: edge.clone(),
                listeners,
                relays,
                password: Secret(turn::password(&secret, &username).into_bytes()),
                username,
            };
            match prober {
                Prober::Edge(by) => {
                    if !self.orders.once(&by, Directive::Probe(probe)) {
                        self.rounds.handle_unasked(number, &edge, Some(now.mono));
                    }
                }
                Prober::Node(_) => {
                    let own = own.clone();
                    actix::spawn(async move {
                        let (number, edge) = (probe.number, probe.edge.clone());
                        let found = probe::run(probe).await;
                        let _ = own.try_send(Probed { number, edge, found }); // as one that never came
                    });
                }
            }
        }
    }

    /// A prober has answered.
    pub(super) fn probed(&mut self, number: u64, edge: &EdgeId, by: Prober, found: Vec<Found>) {
        let now = clock::now();
        if !self.rounds.handle_probed(number, edge, &by) {
            return;
        }
        self.fleet.handle_found(now, by, edge, found);
        if self.fleet.verdict(edge).is_open() {
            self.rounds.hasten(now.mono, edge);
        }
    }
}

/// What of an edge is probed from outside. An edge says what its addresses are: by those that are nobody's on the
/// Internet it could have others look into the networks that they stand in, so these are asked only of a neighbour,
/// whose uplink comes from such an address itself.
fn probed(hello: &EdgeHello, inside: bool) -> (Vec<Listener>, Vec<RelayRange>) {
    let asked = |ip: IpAddr| inside || !is_special(ip);
    let listeners = hello.listeners.iter().filter(|listener| asked(listener.address.ip()));
    let relays = hello.relays.iter().filter(|range| asked(range.address));
    (listeners.cloned().collect(), relays.cloned().collect())
}

/// What this node itself found of an edge.
#[derive(Message)]
#[rtype(result = "()")]
struct Probed {
    number: u64,
    edge: EdgeId,
    found: Vec<Found>,
}

impl Handler<Probed> for EdgesActor {
    type Result = ();

    fn handle(&mut self, probed: Probed, _: &mut Self::Context) {
        if let Some(node) = &self.node {
            let by = Prober::Node(node.id);
            self.probed(probed.number, &probed.edge, by, probed.found);
        }
    }
}

#[cfg(test)]
mod tests {
    use chappe_proto::id::Region;
    use chappe_proto::turn::Transport;

    use super::*;

    #[test]
    fn nobody_has_others_look_into_the_networks_that_they_stand_in() {
        let listener = |address: &str| Listener {
            transport: Transport::Tcp,
            address: address.parse().unwrap(),
            hostname: None,
        };
        let range = |address: &str| RelayRange { address: address.parse().unwrap(), first: 1, last: 9 };
        let hello = EdgeHello {
            edge: EdgeId::new("e").unwrap(),
            build: String::new(),
            region: Region::new("eu").unwrap(),
            coordinates: None,
            listeners: [
                "8.8.8.8:443",
                "10.0.0.5:22",
                "[::ffff:192.168.0.1]:80",
                "[fd00::1]:80",
                "127.0.0.1:80",
            ]
            .map(listener)
            .into(),
            relays: ["8.8.8.8", "10.0.0.5"].map(range).into(),
            capacity: 1,
            feed: None,
            proven: Vec::new(),
            timed: false,
        };
        let (listeners, relays) = probed(&hello, false);
        assert_eq!((listeners, relays), (hello.listeners[..1].to_vec(), hello.relays[..1].to_vec()));
        // In a LAN they are its neighbours'.
        assert_eq!(probed(&hello, true), (hello.listeners, hello.relays));
    }
}
