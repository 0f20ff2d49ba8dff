//! The actor that knows the edges: who reports to this node, and how it is. It publishes what
//! sessions need to know of their node.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use actix::{Actor, AsyncContext, Context, Handler, Message};
use chappe_proto::id::EdgeId;
use chappe_proto::limits;
use chappe_proto::mesh::uplink::{Directive, EdgeHello, Health};
use chappe_proto::registry::EdgeState;
use chappe_proto::select::fleet::{Fleet, FleetEvent, Seen};
use chappe_proto::signal::session::World;
use tokio::sync::mpsc;

use super::session::EdgesChanged;
use crate::clock;
use crate::node::Node;

/// The silent are looked for this often.
const TICK: Duration = Duration::from_millis(250);

/// An uplink's task tells of its edge.
#[derive(Debug, Message)]
#[rtype(result = "()")]
pub struct LinkSays {
    /// Which uplink.
    pub link: u64,
    /// Its edge, by its certificate.
    pub edge: EdgeId,
    /// What.
    pub event: LinkEvent,
}

/// What happens on an uplink.
#[derive(Debug)]
pub enum LinkEvent {
    /// The edge has registered; directives go there.
    Up {
        /// What it offers.
        hello: Box<EdgeHello>,
        /// The way to its uplink's task.
        directives: mpsc::Sender<Numbered>,
    },
    /// A directive has been carried out.
    Done(u64),
    /// A report.
    Health(Box<Health>),
    /// The uplink has ended; `goodbye` where the edge said so.
    Down {
        /// Whether the edge stops.
        goodbye: bool,
    },
}

/// A directive and its number.
pub type Numbered = (u64, Directive);

/// A directive for every edge.
#[derive(Debug, Clone, Message)]
#[rtype(result = "()")]
pub struct Direct(pub Directive);

/// The registry changed.
#[derive(Debug, Message)]
#[rtype(result = "()")]
pub struct RegistryChanged;

/// All edges as they were last heard.
#[derive(Debug, Message)]
#[rtype(result = "Vec<Seen>")]
pub struct ListEdges;

/// The directives of one edge, kept until it has carried them out.
#[derive(Default)]
struct Orders {
    link: Option<(u64, mpsc::Sender<Numbered>)>,
    last: u64,
    pending: VecDeque<Numbered>,
}

impl Orders {
    fn send(&self, order: &Numbered) {
        if let Some((_, way)) = &self.link {
            // A full or broken way: all that is pending goes out again over the next uplink.
            let _ = way.try_send(order.clone());
        }
    }

    fn add(&mut self, edge: &EdgeId, directive: Directive) {
        self.last += 1;
        if self.pending.len() == limits::DIRECTIVES_MAX {
            tracing::warn!(%edge, "too many directives wait for this edge; the oldest is dropped");
            self.pending.pop_front();
        }
        self.pending.push_back((self.last, directive));
        if let Some(order) = self.pending.back() {
            self.send(order);
        }
    }
}

/// The actor. It starts before its node is complete, and is given it then.
#[derive(Default)]
pub struct EdgesActor {
    node: Option<Arc<Node>>,
    fleet: Fleet,
    orders: HashMap<EdgeId, Orders>,
}

/// The node is complete.
#[derive(Message)]
#[rtype(result = "()")]
pub struct Serve(pub Arc<Node>);

impl EdgesActor {
    fn tell(&self, events: Vec<FleetEvent>) {
        if events.is_empty() {
            return;
        }
        self.publish();
        for event in events {
            let lost = match event {
                FleetEvent::Up(edge) => {
                    tracing::info!(%edge, "edge is up");
                    None
                }
                FleetEvent::Lost(edge) => {
                    tracing::warn!(%edge, "edge is lost");
                    Some(edge)
                }
            };
            let Some(node) = &self.node else { return };
            for (_, session) in node.sessions.all() {
                // One whose mailbox is full asks for `ice` itself when its path fails.
                let _ = session.try_send(EdgesChanged { lost: lost.clone() });
            }
        }
    }

    fn publish(&self) {
        let Some(node) = &self.node else { return };
        let state = node.registry.state();
        let admitted = |edge: &EdgeId| state.edge(edge).is_some_and(|edge| edge.state == EdgeState::Admitted);
        node.publish(World {
            sealing: Arc::new(Node::sealing_keys(&state)),
            secret: state.turn_secrets().newest().map(|(_, secret)| secret.clone()),
            edges: self.fleet.statuses(admitted),
            nodes: Vec::new(),
        });
    }
}

impl Actor for EdgesActor {
    type Context = Context<Self>;

    fn started(&mut self, ctx: &mut Self::Context) {
        ctx.set_mailbox_capacity(limits::MAILBOX);
        ctx.run_interval(TICK, |actor, _| {
            let mut events = Vec::new();
            let now = clock::now();
            if actor.fleet.poll_timeout() <= now.mono {
                actor.fleet.handle_timeout(now, &mut events);
            }
            actor.tell(events);
        });
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

    fn handle(&mut self, says: LinkSays, _: &mut Self::Context) {
        let (now, number, edge) = (clock::now(), says.link, says.edge);
        let mut events = Vec::new();
        match says.event {
            LinkEvent::Up { hello, directives } => {
                let orders = self.orders.entry(edge).or_default();
                orders.link = Some((number, directives));
                for order in &orders.pending {
                    orders.send(order);
                }
                self.fleet.handle_hello(now, number, *hello, &mut events);
                self.publish(); // what it offers may differ from before
            }
            LinkEvent::Health(health) => {
                self.fleet.handle_health(now, number, &edge, *health, &mut events);
            }
            LinkEvent::Done(seq) => {
                if let Some(orders) = self.orders.get_mut(&edge) {
                    orders.pending.retain(|(pending, _)| *pending != seq);
                }
            }
            LinkEvent::Down { goodbye } => {
                if let Some(orders) = self.orders.get_mut(&edge) {
                    orders.link.take_if(|(link, _)| *link == number);
                }
                self.fleet.handle_end(number, &edge, goodbye, &mut events);
            }
        }
        self.tell(events);
    }
}

impl Handler<Direct> for EdgesActor {
    type Result = ();

    fn handle(&mut self, direct: Direct, _: &mut Self::Context) {
        for (edge, orders) in &mut self.orders {
            orders.add(edge, direct.0.clone());
        }
    }
}

impl Handler<RegistryChanged> for EdgesActor {
    type Result = ();

    fn handle(&mut self, _: RegistryChanged, _: &mut Self::Context) {
        self.publish();
    }
}

impl Handler<ListEdges> for EdgesActor {
    type Result = Vec<Seen>;

    fn handle(&mut self, _: ListEdges, _: &mut Self::Context) -> Self::Result {
        self.fleet.edges().map(|(_, seen)| seen.clone()).collect()
    }
}
