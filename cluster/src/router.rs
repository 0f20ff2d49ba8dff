//! The way of frames between actors of different nodes; and of what other nodes send to the actor that it
//! is for.

use std::sync::{Arc, Mutex, OnceLock, PoisonError, Weak};
use std::time::Duration;

use actix::Addr;
use actix_rt::ArbiterHandle;
use chappe_proto::id::{Index, NodeId, RoomKey, SessionId, Shard};
use chappe_proto::limits;
use chappe_proto::mesh::node::{Answer, Ask, Body, Failure, Lane};
use chappe_proto::mesh::uplink::Directive;
use chappe_proto::registry::{Command, Outcome};
use chappe_proto::signal::member::Gateway;
use chappe_proto::signal::route::{Direct, FromRoom, Home, ProxyInput, RoomInput, Since, ToRoom};
use tokio::sync::{mpsc, watch};

use crate::actor::edges::{self, Elsewhere};
use crate::actor::proxy::{ProxyActor, ProxySpeaks, RoomSays};
use crate::actor::room::{AnchorSays, ProxySays, RoomActor};
use crate::actor::sites::Place;
use crate::clock;
use crate::consensus::{Message, Registry};
use crate::early::Early;
use crate::events::Events;
use crate::keeper::Word;
use crate::mesh::{Answering, FeedWriter, Handler, Incident, Refusal, Unsent};
use crate::node::Node;
use crate::starting::Starting;
use crate::{answers, feed, usage};

/// A newcomer's command must be committed within this.
const COMMIT_WITHIN: Duration = Duration::from_secs(5);

/// How often the registry is told what became of a snapshot, while it is too busy to hear it: beyond it it has
/// ended.
const SAID_AGAIN: u32 = 600;

/// Frames by an epoch that ended this long ago are no part of its end.
const STALE_AFTER: Duration = Duration::from_secs(10);

/// Sends a proxy's frame to a room's owner. False where it cannot be sent.
pub(crate) fn to_room(node: &Node, owner: NodeId, frame: ToRoom) -> bool {
    let lane = Lane::of(&frame.room);
    node.mesh.send(owner, lane, Body::ToRoom(frame)).is_ok()
}

/// Sends a room's frame to a gateway's proxy.
pub(crate) fn to_proxy(node: &Node, gateway: Gateway, frame: FromRoom) -> Result<(), Unsent> {
    let lane = Lane::of(&frame.room);
    node.mesh.send(gateway.node, lane, Body::FromRoom(frame))
}

/// Sends a proxy's frame to another, around the room's owner.
pub(crate) fn direct(node: &Node, gateway: Gateway, direct: Direct) {
    let lane = Lane::of(&direct.room);
    let _ = node.mesh.send(gateway.node, lane, Body::Direct(direct)); // its sender's session says it again
}

/// Ends a session's allocations on every edge, whichever node it reports to.
pub(crate) fn end(node: &Node, session: SessionId) {
    let directive = edges::Direct(Directive::End { session });
    if node.edges.try_send(directive).is_err() {
        tracing::warn!(%session, "too busy to end the session's allocations; they expire");
    }
    for other in node.others() {
        // Where it is lost and that node alone has the edge, the allocations expire.
        let _ = node.mesh.send(other, Lane::Control, Body::End { session });
    }
}

/// What is for a room that this node runs away from its anchor's shard goes there, and nothing is left; the rest
/// is for the proxy.
pub(crate) fn to_site(node: &Arc<Node>, from: NodeId, frame: FromRoom) -> Option<FromRoom> {
    match frame.body {
        ProxyInput::Home { site, .. } => {
            if let Some(room) = node.rooms.get(&frame.room, site) {
                let _ = room.try_send(AnchorSays { from, frame, others: Vec::new() }); // it asks again
            }
            None
        }
        ProxyInput::Ask { .. } if frame.shard == frame.room.anchor() => {
            let sites = node.rooms.of(&frame.room).into_iter();
            let away = sites.filter(|((shard, _), _)| *shard != frame.shard).map(|(_, room)| room);
            let away: Vec<_> = away.collect();
            if away.is_empty() {
                return Some(frame);
            }
            ask(node, from, frame, away);
            None
        }
        _ => Some(frame),
    }
}

/// Asks one after the other where the room is: sites that may run it, then the proxy.
pub(crate) fn ask(node: &Arc<Node>, from: NodeId, frame: FromRoom, mut sites: Vec<Arc<Addr<RoomActor>>>) {
    while let Some(site) = sites.pop() {
        if site.connected() {
            let _ = site.try_send(AnchorSays { from, frame, others: sites }); // it asks again
            return;
        }
    }
    if let Some(proxy) = node.proxies.get(&frame.room) {
        let _ = proxy.try_send(RoomSays(frame)); // the same
    } else {
        let (place, detach) = ((frame.shard, frame.epoch), detach(node, &frame));
        if from != node.id {
            to_room(node, from, detach);
        } else if let Some(room) = node.rooms.get(&frame.room, place) {
            let _ = room.try_send(ProxySays(detach));
        }
    }
}

/// The answer of a node without a proxy of the room.
pub(crate) fn detach(node: &Node, frame: &FromRoom) -> ToRoom {
    let (room, shard, epoch) = (frame.room.clone(), frame.shard, frame.epoch);
    let body = match home(node, &room, shard) {
        Some(home) => RoomInput::Follows { home },
        None => RoomInput::Detach,
    };
    ToRoom { room, shard, epoch, gateway: node.gateway(), body }
}

/// Where the room is at home, to be said in its anchor's shard before anything else: on this node.
pub(crate) fn home(node: &Node, room: &RoomKey, shard: Shard) -> Option<Home> {
    let anchor = shard == room.anchor();
    anchor.then(|| node.rooms.home(room, clock::mono())).flatten()
}

/// Takes what other nodes send.
pub(crate) struct Router {
    node: OnceLock<Weak<Node>>,
    registry: OnceLock<Registry>,
    keeper: mpsc::Sender<Word>,
    /// Where rooms are started.
    arbiters: Mutex<Vec<ArbiterHandle>>,
    /// Frames of an epoch that is not applied here yet.
    early: Mutex<Early>,
    /// Frames for rooms that begin.
    starting: Arc<Starting<(RoomKey, Place), ToRoom>>,
    pub(crate) events: Arc<Events>,
    /// Whether another node has said that this one was removed.
    pub(crate) removed: watch::Sender<bool>,
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Whether a frame need not wait for the registry.
fn in_time(node: &Node, frame: &ToRoom) -> bool {
    node.registry.state().shard(frame.shard).is_none_or(|entry| frame.epoch <= entry.epoch)
}

impl Router {
    /// Words for the keeper of the lease go to `keeper`.
    pub(crate) fn new(keeper: mpsc::Sender<Word>) -> Self {
        let (node, registry) = (OnceLock::new(), OnceLock::new());
        Self {
            node,
            registry,
            keeper,
            arbiters: Mutex::default(),
            early: Mutex::default(),
            starting: Arc::default(),
            events: Arc::default(),
            removed: watch::Sender::new(false),
        }
    }

    /// The registry is there, before the node is complete.
    pub(crate) fn follow(&self, registry: Registry) {
        let _ = self.registry.set(registry); // only a start calls it, once
    }

    /// The node is complete.
    pub(crate) fn serve(&self, node: &Arc<Node>) {
        let _ = self.node.set(Arc::downgrade(node)); // only a start calls it, once
    }

    /// Rooms may be started on this thread.
    pub(crate) fn start_here(&self) {
        lock(&self.arbiters).push(actix_rt::Arbiter::current());
    }

    pub(crate) fn node(&self) -> Option<Arc<Node>> {
        self.node.get().and_then(Weak::upgrade)
    }

    /// The registry has changed: what waited for it is heard, before anything that comes now.
    pub(crate) fn handle_applied(&self, node: &Arc<Node>) {
        lock(&self.early).retry(|frame| in_time(node, frame), |frame| self.deliver(node, frame));
    }

    /// A frame for a room that the sender believes to be here.
    pub(crate) fn to_room(&self, node: &Arc<Node>, frame: ToRoom) {
        let frame = {
            let mut early = lock(&self.early); // first: what is applied after it is retried after it
            let in_time = in_time(node, &frame);
            early.take(frame, in_time)
        };
        if let Some(frame) = frame {
            self.deliver(node, frame);
        }
    }

    fn deliver(&self, node: &Arc<Node>, frame: ToRoom) {
        let state = node.registry.state();
        let Some(entry) = state.shard(frame.shard) else { return };
        if frame.epoch < entry.epoch || entry.owner != Some(node.id) {
            let (gateway, epoch) = (frame.gateway, entry.epoch);
            if frame.epoch < epoch && node.owned_for(frame.shard, epoch) >= STALE_AFTER {
                self.events.stale(gateway.node, frame.shard, frame.epoch, epoch);
            }
            let error = frame.body.unheard().map(|(peer, refusal)| ProxyInput::Error { peer, refusal });
            for body in error.into_iter().chain([ProxyInput::Refused { epoch }]) {
                let refused = FromRoom { room: frame.room.clone(), shard: frame.shard, epoch, body };
                let _ = to_proxy(node, gateway, refused); // its proxy asks again
            }
            return;
        }
        let (name, shard) = ((frame.room.clone(), (frame.shard, frame.epoch)), frame.shard);
        let starts = self.starting.take(&name, frame, |frame| {
            let Some(room) = node.rooms.get(&name.0, name.1) else { return Some(frame) };
            let _ = room.try_send(ProxySays(frame)); // its proxy repeats what matters
            None
        });
        if !starts {
            return;
        }
        let (node, starting, begins) = (Arc::clone(node), Arc::clone(&self.starting), name.clone());
        let begun = self.on_worker(shard, move || {
            let room = RoomActor::of(&node, &begins.0, begins.1);
            starting.started(&begins, |frame| {
                if let Some(room) = &room {
                    let _ = room.try_send(ProxySays(frame));
                }
            });
        });
        if !begun {
            self.starting.started(&name, drop); // the node stops
        }
    }

    /// Does something where the rooms of a shard are started. False where there is no such thread any more.
    fn on_worker(&self, shard: Shard, work: impl FnOnce() + Send + 'static) -> bool {
        let arbiters = lock(&self.arbiters);
        let nth = usize::from(shard.0).checked_rem(arbiters.len());
        nth.and_then(|nth| arbiters.get(nth)).is_some_and(|arbiter| arbiter.spawn_fn(work))
    }

    /// A frame of a room's owner for this node's proxy.
    pub(crate) fn to_proxy(&self, node: &Arc<Node>, from: NodeId, frame: FromRoom) {
        let Some(frame) = to_site(node, from, frame) else { return };
        let Some(proxy) = node.proxies.get(&frame.room).filter(|proxy| proxy.connected()) else {
            if !matches!(frame.body, ProxyInput::Refused { .. }) {
                to_room(node, from, detach(node, &frame));
            }
            return;
        };
        let (room, shard, epoch) = (frame.room.clone(), frame.shard, frame.epoch);
        if proxy.try_send(RoomSays(frame)).is_err() {
            let missed = FromRoom { room, shard, epoch, body: ProxyInput::Ask { since: Since::default() } };
            self.on_worker(shard, move || catch_up(proxy, missed));
        }
    }

    /// A frame of another gateway's proxy.
    pub(crate) fn direct(node: &Node, direct: Direct) {
        if let Some(proxy) = node.proxies.get(&direct.room) {
            let _ = proxy.try_send(ProxySpeaks(direct)); // its sender's session says it again
        }
    }

    /// Hands a word to the keeper; one that is lost is said again, as leases are.
    fn keep(&self, word: Word) {
        let _ = self.keeper.try_send(word);
    }
}

impl Handler for Router {
    fn handle(&self, from: NodeId, body: Body) {
        match body {
            Body::Renew { generation, n } => return self.keep(Word::Renewal { from, generation, n }),
            Body::Grant { generation, n, index } => return self.keep(Word::Grant { generation, n, index }),
            Body::Released { shards, applied } => return self.keep(Word::Released { from, shards, applied }),
            _ => {}
        }
        let Some(node) = self.node() else { return };
        match body {
            Body::ToRoom(frame) if frame.gateway.node == from => self.to_room(&node, frame),
            Body::FromRoom(frame) => self.to_proxy(&node, from, frame),
            Body::Direct(direct) if direct.gateway.node == from => Self::direct(&node, direct),
            Body::Edges(reports) => {
                let _ = node.edges.try_send(Elsewhere { from, reports }); // the next follow in a second
            }
            Body::End { session } => {
                let _ = node.edges.try_send(edges::Direct(Directive::End { session })); // they expire
            }
            Body::Usage(said) => node.usage.hear(&said, |body| usage::tell(&node, &body)),
            Body::UsageRooms(rooms) => node.usage.hear_rooms(&rooms),
            _ => tracing::debug!(%from, "a frame that is not for a node"),
        }
    }

    fn raft(&self, _: NodeId, message: Message) {
        if let Some(registry) = self.registry.get() {
            let _ = registry.deliver(message); // Raft says again what matters
        }
    }

    fn snapshot_sent(&self, to: NodeId, arrived: bool) {
        let Some(registry) = self.registry.get().cloned() else { return };
        if registry.snapshot_sent(to, arrived).is_err() {
            // Raft sends nothing more to that member until it has heard this.
            tokio::spawn(async move {
                for _ in 0..SAID_AGAIN {
                    tokio::time::sleep(limits::CATCH_UP).await;
                    if registry.snapshot_sent(to, arrived).is_ok() {
                        return;
                    }
                }
            });
        }
    }

    fn answer(&self, from: NodeId, ask: Ask) -> Answering<Answer> {
        let (node, registry) = (self.node(), self.registry.get().cloned());
        Box::pin(answers::answer(from, node, registry, ask))
    }

    fn follow(&self, _: NodeId, after: Index, writer: FeedWriter) -> Answering<()> {
        let registry = self.registry.get().cloned();
        Box::pin(async move {
            if let Some(registry) = registry {
                feed::serve(&registry, after, writer).await;
            }
        })
    }

    fn propose(&self, command: Command) -> Answering<Result<Outcome, Failure>> {
        let node = self.node();
        Box::pin(async move {
            let node = node.ok_or_else(|| Failure::Other("the node begins".to_owned()))?;
            let proposed = node.proposals.propose(command, COMMIT_WITHIN).await;
            proposed.map(|applied| applied.outcome).map_err(|missing| Failure::Other(missing.to_string()))
        })
    }

    fn incident(&self, incident: Incident) {
        self.events.incident(&incident);
        // Who says so has shown a certificate of the cluster's authority.
        if matches!(incident.refusal, Refusal::RemovedThis(_)) {
            self.removed.send_replace(true);
        }
    }
}

/// A proxy whose mailbox was full attaches again once it is not.
fn catch_up(proxy: Arc<Addr<ProxyActor>>, missed: FromRoom) {
    actix_rt::spawn(async move {
        actix_rt::time::sleep(limits::CATCH_UP).await;
        let _ = proxy.send(RoomSays(missed)).await; // where it has ended it has nothing to catch up with
    });
}
