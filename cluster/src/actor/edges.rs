//! The actor that knows the edges: who reports to this node, and how it is. It publishes what
//! sessions need to know of their node.

mod message;
mod probing;
mod publish;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use actix::{Actor, ActorContext, Addr, AsyncContext, Context, Handler, Message};
use chappe_proto::id::EdgeId;
use chappe_proto::limits;
use chappe_proto::mesh::node::{Body, Lane};
use chappe_proto::mesh::probe::Prober;
use chappe_proto::mesh::uplink::Alternate;
use chappe_proto::select::condition::Condition;
use chappe_proto::select::displaced::Displaced;
use chappe_proto::select::fleet::{Fleet, RoundTrip, Seen};
use chappe_proto::select::quarantine::IceFailures;
use chappe_proto::select::ramp::Newcomers;
use chappe_proto::select::rounds::Rounds;
use chappe_proto::select::standing::Told;
use chappe_proto::signal::frame::IceFailure;
use chappe_proto::time::Mono;
use tokio::sync::{mpsc, watch};

pub use self::message::{
    Direct, Elsewhere, IceReport, LinkEvent, LinkSays, ListEdges, RegistryChanged, Reporting, RoundTrips,
    Stop, WayTo,
};
pub use super::orders::Numbered;
use super::orders::Orders;
use crate::clock;
use crate::mesh::uplink::Asked;
use crate::node::Node;

/// What is heard of edges is published within this: many say something at once, and all of it is one change.
const PUBLISH_WITHIN: Duration = Duration::from_millis(20);
/// The silent are looked for this often.
const TICK: Duration = Duration::from_millis(250);

/// The actor. It starts before its node is complete, and is given it then.
#[derive(Default)]
pub struct EdgesActor {
    node: Option<Arc<Node>>,
    fleet: Fleet,
    told: Told,
    newcomers: Newcomers,
    failures: IceFailures,
    displaced: Displaced,
    orders: Orders,
    /// Where the new clients of each edge go while it takes none, as its present link is told.
    alternates: BTreeMap<EdgeId, watch::Sender<Option<Vec<Alternate>>>>,
    /// The ways to the edges that report here, with the numbers of their uplinks.
    asks: BTreeMap<EdgeId, (u64, mpsc::Sender<Asked>)>,
    /// Edges whose uplinks come from special-purpose addresses: such ones are probed.
    inside: BTreeSet<EdgeId>,
    /// How each edge was when the log was told last.
    conditions: BTreeMap<EdgeId, Condition>,
    /// When the other nodes are told again.
    spread_at: Mono,
    /// Probes from outside.
    rounds: Rounds,
    /// It is published shortly.
    stale: bool,
}

/// The node is complete.
#[derive(Message)]
#[rtype(result = "()")]
pub struct Serve(pub Arc<Node>);

impl EdgesActor {
    fn tick(&mut self, own: &Addr<Self>) {
        let now = clock::now();
        self.probe(now, own);
        if let Some(node) = &self.node {
            let others = node.others();
            self.fleet
                .handle_touch(now, others.is_empty() || others.iter().any(|other| node.reaches(*other)));
        }
        self.fleet.handle_timeout(now);
        self.orders.tick(now.mono);
        self.publish();
        if self.spread_at <= now.mono {
            self.spread_at = now.mono + limits::HEALTH_EVERY;
            self.spread();
        }
    }

    fn publish_soon(&mut self, ctx: &mut Context<Self>) {
        if !std::mem::replace(&mut self.stale, true) {
            ctx.run_later(PUBLISH_WITHIN, |actor, _| {
                actor.stale = false;
                actor.publish();
            });
        }
    }

    /// Tells the other nodes which edges are heard here.
    fn spread(&self) {
        let (Some(node), pieces) = (&self.node, self.fleet.pieces(clock::now())) else { return };
        for other in node.others() {
            for piece in &pieces {
                // The next one makes good what is lost.
                let _ = node.mesh.send(other, Lane::Control, Body::Edges(piece.clone()));
            }
        }
    }
}

impl Actor for EdgesActor {
    type Context = Context<Self>;

    fn started(&mut self, ctx: &mut Self::Context) {
        ctx.set_mailbox_capacity(limits::MAILBOX);
        ctx.run_interval(TICK, |actor, ctx| actor.tick(&ctx.address()));
    }
}

impl Handler<Serve> for EdgesActor {
    type Result = ();

    fn handle(&mut self, serve: Serve, _: &mut Self::Context) {
        self.node = Some(serve.0);
        self.publish();
    }
}

impl Handler<LinkSays> for EdgesActor {
    type Result = ();

    fn handle(&mut self, says: LinkSays, ctx: &mut Self::Context) {
        let (now, number, edge) = (clock::now(), says.link, says.edge);
        match says.event {
            LinkEvent::Up { hello, inside, directives, elsewhere, asks } => {
                self.asks.insert(edge.clone(), (number, asks));
                self.inside.remove(&edge);
                self.inside.extend(inside.then(|| edge.clone()));
                self.alternates.insert(edge.clone(), elsewhere);
                self.orders.up(edge, number, directives);
                self.fleet.handle_hello(now, number, *hello);
                self.publish_soon(ctx);
            }
            LinkEvent::Health { health, rtt } => {
                self.fleet.handle_health(now, number, &edge, *health);
                self.fleet.handle_rtt(number, &edge, rtt);
            }
            LinkEvent::Probed { number, edge: probed, found } => {
                self.probed(number, &probed, Prober::Edge(edge), found);
            }
            LinkEvent::Done(seq) => self.orders.done(&edge, seq),
            LinkEvent::Down { goodbye } => {
                self.orders.down(now.mono, &edge, number);
                if self.asks.get(&edge).is_some_and(|(link, _)| *link == number) {
                    self.asks.remove(&edge);
                }
                self.fleet.handle_end(number, &edge, goodbye);
                self.publish_soon(ctx);
            }
        }
    }
}

impl Handler<Direct> for EdgesActor {
    type Result = ();

    fn handle(&mut self, direct: Direct, _: &mut Self::Context) {
        self.orders.add(clock::mono(), direct.0);
    }
}

impl Handler<Elsewhere> for EdgesActor {
    type Result = ();

    fn handle(&mut self, elsewhere: Elsewhere, ctx: &mut Self::Context) {
        self.fleet.handle_reports(clock::now(), elsewhere.from, elsewhere.reports);
        self.publish_soon(ctx);
    }
}

impl Handler<IceReport> for EdgesActor {
    type Result = ();

    fn handle(&mut self, report: IceReport, _: &mut Self::Context) {
        let IceReport { edge, ip, failure } = report;
        if let Some(kind) = failure {
            tracing::debug!(%edge, ?kind, "a client's ICE failed over an edge");
        }
        let now = clock::mono();
        match failure {
            Some(IceFailure::Other) => {}                   // what it means is not known here
            _ if !self.conditions.contains_key(&edge) => {} // no edge of this cluster
            failure => self.failures.handle_report(now, &edge, ip, failure.is_none()),
        }
    }
}

impl Handler<RegistryChanged> for EdgesActor {
    type Result = ();

    fn handle(&mut self, _: RegistryChanged, ctx: &mut Self::Context) {
        self.publish_soon(ctx);
    }
}

impl Handler<Stop> for EdgesActor {
    type Result = ();

    fn handle(&mut self, _: Stop, ctx: &mut Self::Context) {
        ctx.stop();
    }
}

impl Handler<ListEdges> for EdgesActor {
    type Result = Vec<Seen>;

    fn handle(&mut self, _: ListEdges, _: &mut Self::Context) -> Self::Result {
        self.fleet.edges().into_values().collect()
    }
}

impl Handler<RoundTrips> for EdgesActor {
    type Result = Vec<RoundTrip>;

    fn handle(&mut self, _: RoundTrips, _: &mut Self::Context) -> Self::Result {
        self.fleet.round_trips(clock::mono())
    }
}

impl Handler<WayTo> for EdgesActor {
    type Result = Option<mpsc::Sender<Asked>>;

    fn handle(&mut self, to: WayTo, _: &mut Self::Context) -> Self::Result {
        self.asks.get(&to.0).map(|(_, way)| way.clone())
    }
}

impl Handler<Reporting> for EdgesActor {
    type Result = Vec<EdgeId>;

    fn handle(&mut self, _: Reporting, _: &mut Self::Context) -> Self::Result {
        let alive = self.fleet.reports(clock::now()).into_iter().filter(|report| report.alive);
        alive.map(|report| report.hello.edge).collect()
    }
}
