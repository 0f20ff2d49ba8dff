//! The actor that knows the edges: who reports to this node, and how it is. It publishes what
//! sessions need to know of their node.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use actix::{Actor, ActorContext, Addr, AsyncContext, Context, Handler, Message};
use chappe_proto::id::{EdgeId, NodeId};
use chappe_proto::limits;
use chappe_proto::mesh::node::{Body, EdgeReport, Lane};
use chappe_proto::mesh::probe::{Found, Probe, Prober};
use chappe_proto::mesh::uplink::{Alternate, Directive, EdgeHello, Health, Secret};
use chappe_proto::registry::{EdgeState, State};
use chappe_proto::select::condition::{Condition, Decided};
use chappe_proto::select::fleet::{Fleet, Seen};
use chappe_proto::select::quarantine::IceFailures;
use chappe_proto::select::ramp::Newcomers;
use chappe_proto::select::rounds::{Order, Rounds};
use chappe_proto::select::{Catalog, EdgeStatus, alternates};
use chappe_proto::signal::frame::IceFailure;
use chappe_proto::signal::session::World;
use chappe_proto::time::{Mono, Now};
use chappe_proto::turn;
use tokio::sync::{mpsc, watch};

pub use super::orders::Numbered;
use super::orders::Orders;
use super::session::EdgesChanged;
use crate::node::Node;
use crate::{clock, probe};

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
        /// The same for where new clients go while the edge takes none.
        elsewhere: watch::Sender<Vec<Alternate>>,
    },
    /// A directive has been carried out.
    Done(u64),
    /// A report.
    Health {
        /// What it says.
        health: Box<Health>,
        /// The round-trip time of the uplink.
        rtt: Duration,
    },
    /// It has probed another edge.
    Probed {
        /// The probe's number.
        number: u64,
        /// The edge that was probed.
        edge: EdgeId,
        /// What it found.
        found: Vec<Found>,
    },
    /// The uplink has ended; `goodbye` where the edge said so.
    Down {
        /// Whether the edge stops.
        goodbye: bool,
    },
}

/// A directive for every edge.
#[derive(Debug, Clone, Message)]
#[rtype(result = "()")]
pub struct Direct(pub Directive);

/// What another node hears of its edges.
#[derive(Debug, Message)]
#[rtype(result = "()")]
pub struct Elsewhere {
    /// Who says it.
    pub from: NodeId,
    /// All of it.
    pub reports: Vec<EdgeReport>,
}

/// How an edge did for a client that it was handed to.
#[derive(Debug, Message)]
#[rtype(result = "()")]
pub struct IceReport {
    /// Which.
    pub edge: EdgeId,
    /// The client's address.
    pub ip: IpAddr,
    /// How ICE failed over it; nothing where the client has measured it.
    pub failure: Option<IceFailure>,
}

/// The registry changed.
#[derive(Debug, Message)]
#[rtype(result = "()")]
pub struct RegistryChanged;

/// The node has stopped.
#[derive(Debug, Message)]
#[rtype(result = "()")]
pub struct Stop;

/// All edges as they were last heard.
#[derive(Debug, Message)]
#[rtype(result = "Vec<Seen>")]
pub struct ListEdges;

/// The edges that report here and are alive.
#[derive(Debug, Message)]
#[rtype(result = "Vec<EdgeId>")]
pub struct Reporting;

/// How an edge stands towards the sessions.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Standing {
    /// It is handed out.
    Up,
    /// It serves those who are there, and is to be emptied.
    Draining,
    /// It cannot be used.
    Lost,
}

/// The actor. It starts before its node is complete, and is given it then.
#[derive(Default)]
pub struct EdgesActor {
    node: Option<Arc<Node>>,
    fleet: Fleet,
    /// How each edge stood when sessions were told last.
    told: BTreeMap<EdgeId, Standing>,
    newcomers: Newcomers,
    failures: IceFailures,
    orders: Orders,
    /// Where the new clients of each edge go while it takes none, as its present link is told.
    alternates: BTreeMap<EdgeId, watch::Sender<Vec<Alternate>>>,
    /// How each edge was when the log was told last.
    conditions: BTreeMap<EdgeId, Condition>,
    /// When the other nodes are told again.
    spread_at: Mono,
    /// Probes from outside.
    rounds: Rounds,
}

/// The node is complete.
#[derive(Message)]
#[rtype(result = "()")]
pub struct Serve(pub Arc<Node>);

impl EdgesActor {
    /// Publishes what sessions need to know, and tells them which edges came and went.
    fn publish(&mut self) {
        let Some(node) = &self.node else { return };
        let state = node.registry.state();
        self.fleet.forget(|edge| state.edge(edge).is_some_and(|edge| edge.state != EdgeState::Removed));
        let decided = |edge: &EdgeId| match state.edge(edge).map(|edge| edge.state) {
            Some(EdgeState::Admitted) => Decided::Admitted,
            Some(EdgeState::Draining) => Decided::Draining,
            Some(EdgeState::Removed) | None => Decided::Removed,
        };
        let mut edges = self.fleet.statuses(clock::now(), decided);
        for status in &mut edges {
            status.weight = state.edge(&status.edge).map_or(status.weight, |edge| edge.weight);
        }
        self.newcomers.mark(clock::mono(), &mut edges);
        self.failures.mark(clock::mono(), &mut edges);
        for status in &edges {
            tell(self.conditions.get(&status.edge), status);
        }
        self.conditions =
            edges.iter().map(|status| (status.edge.clone(), status.condition.clone())).collect();
        let own = state.node(node.id).map(|node| node.region.clone());
        let now = self.standing(&state, &edges);
        let draining = now.iter().filter(|(_, stands)| **stands == Standing::Draining);
        node.publish(World {
            sealing: Arc::new(Node::sealing_keys(&state)),
            secret: state.turn_secrets().newest().map(|(_, secret)| secret.clone()),
            edges: Catalog::new(edges.clone(), Arc::clone(state.selection()), own),
            draining: draining.map(|(edge, _)| edge.clone()).take(limits::DRAINING_TOLD).collect(),
            nodes: node.urls(&state),
        });
        self.alternates.retain(|_, told| !told.is_closed());
        for (edge, told) in &self.alternates {
            let others = alternates(&edges, edge);
            told.send_if_modified(|told| {
                let changed = *told != others;
                *told = others;
                changed
            });
        }
        let news = self.news(now, node.sessions.len());
        if news.is_empty() {
            return;
        }
        self.spread_at = Mono::default();
        let Some(node) = &self.node else { return };
        for (_, session) in node.sessions.all() {
            for changed in &news {
                // One whose mailbox is full asks for `ice` itself when its path fails.
                let _ = session.try_send(changed.clone());
            }
        }
    }

    /// What so many sessions are to be told, now that edges stand like this.
    fn news(&mut self, now: BTreeMap<EdgeId, Standing>, sessions: usize) -> Vec<EdgesChanged> {
        let before = std::mem::replace(&mut self.told, now);
        let mut news = Vec::new();
        for (edge, stands) in &self.told {
            let stood = before.get(edge).copied().unwrap_or(Standing::Lost);
            match (stood, *stands) {
                (stood, stands) if stood == stands => continue,
                (_, Standing::Up) => {
                    tracing::info!(%edge, "edge is up");
                    news.push(EdgesChanged::Up);
                }
                (_, Standing::Lost) => {
                    tracing::warn!(%edge, "edge is lost");
                    news.push(EdgesChanged::Lost(edge.clone()));
                }
                (_, Standing::Draining) => {
                    tracing::info!(%edge, "edge drains");
                    news.push(EdgesChanged::Draining(edge.clone(), spread(sessions)));
                }
            }
        }
        // One that is gone from the registry was removed.
        let removed =
            before.iter().filter(|(edge, stood)| **stood != Standing::Lost && !self.told.contains_key(*edge));
        news.extend(removed.map(|(edge, _)| EdgesChanged::Lost(edge.clone())));
        news
    }

    /// How each edge stands: what is observed, and what operators have decided.
    fn standing(&self, state: &State, edges: &[EdgeStatus]) -> BTreeMap<EdgeId, Standing> {
        let all = self.fleet.edges().into_iter();
        let stands = |(edge, seen): (EdgeId, Seen)| {
            let drains = state.edge(&edge).is_some_and(|held| held.state == EdgeState::Draining);
            let up = || edges.iter().any(|status| status.edge == edge && status.available);
            let stands = match seen.alive {
                true if drains => Standing::Draining,
                true if up() => Standing::Up,
                _ => Standing::Lost,
            };
            (edge, stands)
        };
        all.map(stands).collect()
    }

    /// Has edges probed from outside that are due.
    fn probe(&mut self, now: Now, own: &Addr<Self>) {
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
    fn probed(&mut self, number: u64, edge: &EdgeId, by: Prober, found: Vec<Found>) {
        let now = clock::now();
        if !self.rounds.handle_probed(number, edge, &by) {
            return;
        }
        self.fleet.handle_found(now, by, edge, found);
        if self.fleet.verdict(edge).is_open() {
            self.rounds.hasten(now.mono, edge);
        }
        self.publish();
    }

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

/// Over how long so many sessions are sent away from an edge.
fn spread(sessions: usize) -> Duration {
    let seconds = sessions as u64 / u64::from(limits::DRAIN_SESSIONS_PER_SEC);
    Duration::from_secs(seconds).clamp(*limits::DRAIN_SPREAD.start(), *limits::DRAIN_SPREAD.end())
}

/// Says in the log how an edge is, where that is not as it was, with what to do about it.
fn tell(was: Option<&Condition>, status: &EdgeStatus) {
    let (is, edge) = (&status.condition, &status.edge);
    if was.is_some_and(|was| !was.differs(is)) || (was.is_none() && is.reasons.is_empty()) {
        return;
    }
    let state = is.state.name();
    tracing::info!(%edge, state, "edge's condition");
    for reason in &is.reasons {
        tracing::warn!(%edge, state, %reason, "edge");
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

    fn handle(&mut self, says: LinkSays, _: &mut Self::Context) {
        let (now, number, edge) = (clock::now(), says.link, says.edge);
        match says.event {
            LinkEvent::Up { hello, directives, elsewhere } => {
                self.alternates.insert(edge.clone(), elsewhere);
                self.orders.up(edge, number, directives, hello.feed.is_none());
                self.fleet.handle_hello(now, number, *hello);
                self.publish();
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
                self.fleet.handle_end(number, &edge, goodbye);
                self.publish();
            }
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

impl Handler<Direct> for EdgesActor {
    type Result = ();

    fn handle(&mut self, direct: Direct, _: &mut Self::Context) {
        self.orders.add(clock::mono(), direct.0);
    }
}

impl Handler<Elsewhere> for EdgesActor {
    type Result = ();

    fn handle(&mut self, elsewhere: Elsewhere, _: &mut Self::Context) {
        self.fleet.handle_reports(clock::now(), elsewhere.from, elsewhere.reports);
        self.publish();
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
            Some(IceFailure::Other) => {} // what it means is not known here
            failure => self.failures.handle_report(now, &edge, ip, failure.is_none()),
        }
    }
}

impl Handler<RegistryChanged> for EdgesActor {
    type Result = ();

    fn handle(&mut self, _: RegistryChanged, _: &mut Self::Context) {
        self.publish();
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

impl Handler<Reporting> for EdgesActor {
    type Result = Vec<EdgeId>;

    fn handle(&mut self, _: Reporting, _: &mut Self::Context) -> Self::Result {
        let alive = self.fleet.reports(clock::now()).into_iter().filter(|report| report.alive);
        alive.map(|report| report.hello.edge).collect()
    }
}
