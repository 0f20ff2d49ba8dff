//! Probes of edges from outside: by other edges, else by this node.

use actix::{Addr, Handler, Message};
use chappe_proto::id::EdgeId;
use chappe_proto::limits;
use chappe_proto::mesh::probe::{Found, Probe, Prober};
use chappe_proto::mesh::uplink::{Directive, Secret};
use chappe_proto::select::rounds::Order;
use chappe_proto::time::Now;
use chappe_proto::turn;

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
            let expiry = now.unix + limits::PROBE_CREDENTIAL_TTL;
            let username = format!("{}:{}", expiry.secs(), turn::PROBE_USER);
            let probe = Probe {
                number,
                edge,
                listeners: hello.listeners.clone(),
                relays: hello.relays.clone(),
                password: Secret(turn::password(&secret, &username).into_bytes()),
                username,
            };
            match prober {
                Prober::Edge(by) => self.orders.once(&by, Directive::Probe(probe)),
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
