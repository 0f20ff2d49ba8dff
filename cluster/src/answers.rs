//! What this node answers when another asks.

use std::sync::Arc;
use std::time::Duration;

use actix::Addr;
use chappe_proto::history::{Sampled, Wanted};
use chappe_proto::hooks::queue::Resent;
use chappe_proto::id::{EdgeId, Epoch, NodeId, RoomKey, RoomName, SessionId};
use chappe_proto::limits;
use chappe_proto::mesh::allocations::{EdgeAnswer, EdgeAsk};
use chappe_proto::mesh::node::{Answer, Ask, Failure, NodeStatus};
use chappe_proto::signal::room::Room;
use tokio::sync::mpsc::error::TrySendError;
use tokio::sync::oneshot;
use tokio::time::timeout;

use crate::actor::edges::{Reporting, WayTo};
use crate::actor::room::{
    Decide, Decided, ListPeers, Remove, RoomActor, See, Signals, Unwatched, WhereIs, WouldAdmit,
};
use crate::actor::session::{Details, Move};
use crate::actor::sites::Meant;
use crate::clock;
use crate::consensus::{Proposal, ProposeError, ReadError, Registry, Role};
use crate::mesh::uplink::Asked;
use crate::node::Node;

/// What is asked of a room's home must be answered within this: less than whoever asked waits.
const PASSED_ON_WITHIN: Duration = Duration::from_secs(2);

fn other(why: impl std::fmt::Display) -> Answer {
    Answer::Failed(Failure::Other(why.to_string()))
}

/// Answers a question. Those of the registry are answered before the node is complete.
pub(crate) async fn answer(
    from: NodeId,
    node: Option<Arc<Node>>,
    registry: Option<Registry>,
    ask: Ask,
) -> Answer {
    let Some(registry) = registry else { return other("the node begins") };
    match ask {
        Ask::Propose { by, .. } if by.node != from => other("a request of another node's"),
        Ask::Propose { command, by, note } => {
            propose(&registry, Proposal { command, by: Some(by), note }).await
        }
        Ask::Read => match registry.read_index().await {
            Ok(index) => Answer::Read { index },
            Err(ReadError::NoLeader) => not_leader(&registry),
            Err(ReadError::Busy) => Answer::Failed(Failure::Busy),
            Err(error @ ReadError::Stopped) => other(error),
        },
        Ask::Transfer { to } => match registry.transfer(to).await {
            Ok(()) => Answer::Done,
            Err(error) => other(error),
        },
        ask => match node {
            Some(node) => of_node(&node, ask).await,
            None => other("the node begins"),
        },
    }
}

fn not_leader(registry: &Registry) -> Answer {
    Answer::Failed(Failure::NotLeader { leader: registry.status().leader })
}

async fn propose(registry: &Registry, proposal: Proposal) -> Answer {
    match registry.propose(proposal).await {
        Ok(applied) => Answer::Applied { index: applied.index, outcome: applied.outcome },
        Err(ProposeError::NoLeader { leader }) => Answer::Failed(Failure::NotLeader { leader }),
        Err(ProposeError::Busy) => Answer::Failed(Failure::Busy),
        Err(ProposeError::DiskLow) => Answer::Failed(Failure::DiskLow),
        Err(ProposeError::TooLong) => Answer::Failed(Failure::TooLong),
        Err(ProposeError::Replaced | ProposeError::Unknown) => Answer::Failed(Failure::Lost),
        Err(error @ (ProposeError::Stopped | ProposeError::Members(_))) => other(error),
    }
}

async fn of_node(node: &Arc<Node>, ask: Ask) -> Answer {
    match ask {
        Ask::Status => Answer::Status(status(node).await),
        Ask::Rooms => Answer::Rooms(node.rooms.page(&Meant::default(), None, limits::ROOMS_PAGE)),
        Ask::RoomsAfter { room } => {
            Answer::Rooms(node.rooms.page(&Meant::default(), Some(&room), limits::ROOMS_PAGE))
        }
        Ask::RoomsLike { app, text, after, limit } => {
            let limit = usize::try_from(limit).unwrap_or(usize::MAX).min(limits::ROOMS_PAGE);
            let meant = Meant { app, text: text.map(|text| text.to_lowercase()) };
            Answer::Rooms(node.rooms.page(&meant, after.as_ref(), limit))
        }
        Ask::RoomsNamed { rooms } => {
            let here = rooms.into_iter().take(limits::ROOMS_PAGE);
            Answer::Rooms(here.filter_map(|room| Some((room.clone(), node.rooms.counted(&room)?))).collect())
        }
        Ask::RoomCounts => Answer::RoomCounts(node.rooms.counts()),
        Ask::Room { ref room } => match find(node, room).await {
            Found::Here(room) => Answer::Room(room.send(See).await.ok().flatten()),
            Found::There(owner) => pass_on(node, owner, ask).await,
            Found::Nowhere => Answer::Room(None),
        },
        Ask::Close { ref room } => decide(node, &room.clone(), Decide::Close, ask).await,
        Ask::Tell { ref room, ref payload } => {
            decide(node, &room.clone(), Decide::Tell(payload.clone()), ask).await
        }
        Ask::Mute { ref room, peer, muting } => {
            decide(node, &room.clone(), Decide::Mute(peer, muting), ask).await
        }
        Ask::Judge { ref room, peer, ref verdict } => {
            decide(node, &room.clone(), Decide::Judge(peer, verdict.clone()), ask).await
        }
        Ask::Peers { ref room } => match find(node, room).await {
            Found::Here(room) => Answer::Peers(room.send(ListPeers).await.ok()),
            Found::There(owner) => pass_on(node, owner, ask).await,
            Found::Nowhere => Answer::Peers(None),
        },
        Ask::Kick { ref room, peer, ban } => kick(node, &room.clone(), Remove { peer, ban }, ask).await,
        Ask::Watch { ref room, .. } => watch(node, &room.clone(), ask).await,
        Ask::Session { session, plain } => details(node, &session, plain).await,
        Ask::Move { session, to } => moved(node, &session, to).await,
        Ask::Admits { ref room, .. } => admits(node, &room.clone(), ask).await,
        Ask::Usage { of, after } => node.usage.answer(&of, after.as_deref()),
        Ask::History(wanted) => Answer::History(sampled(node, &wanted)),
        Ask::Edge { edge, ask } => of_edge(node, edge, ask).await,
        Ask::Deliveries { hook, wanted } => Answer::Deliveries(node.hooks.deliveries(hook, &wanted)),
        Ask::Resend { hook, event } => match node.hooks.resend(hook, event) {
            Resent::Done => Answer::Done,
            Resent::Unknown => Answer::NotThere,
            Resent::Full => Answer::Failed(Failure::Busy),
        },
        ask => of_process(node, ask),
    }
}

/// Somebody is to be out of a room that may run here.
async fn kick(node: &Arc<Node>, room: &RoomKey, remove: Remove, ask: Ask) -> Answer {
    match find(node, room).await {
        Found::There(owner) => pass_on(node, owner, ask).await,
        Found::Here(room) => match room.send(remove).await {
            Ok(chappe_admin::Kicked::Done) => Answer::Done,
            Ok(chappe_admin::Kicked::NotThere) => Answer::NotThere,
            Ok(chappe_admin::Kicked::Unavailable) | Err(_) => other("the registry cannot commit right now"),
        },
        Found::Nowhere => Answer::NotThere,
    }
}

/// Answers what is asked of its process.
fn of_process(node: &Node, ask: Ask) -> Answer {
    match ask {
        Ask::Settings => Answer::Settings(node.settings.clone()),
        Ask::Logs(wanted) => Answer::Logs(node.logs.page(&wanted)),
        Ask::LogLevel { level, secs } => {
            node.logs.set_level(level, Duration::from_secs(secs.into()));
            Answer::Done
        }
        ask => other(format!("nothing that this release answers: {ask:?}")),
    }
}

/// What this node has sampled.
fn sampled(node: &Node, wanted: &Wanted) -> Sampled {
    let state = node.registry.state();
    let is_there = |edge: &str| {
        let edge = EdgeId::new(edge).ok().and_then(|edge| state.edge(&edge));
        edge.is_some_and(|edge| wanted.region.as_ref() == Some(&edge.region))
    };
    node.history.with(|history| history.sampled(wanted, is_there))
}

/// Asks an edge that reports here.
async fn of_edge(node: &Node, edge: EdgeId, ask: EdgeAsk) -> Answer {
    let Ok(Some(way)) = node.edges.send(WayTo(edge)).await else { return Answer::NotThere };
    let (reply, answered) = oneshot::channel();
    match way.try_send(Asked { ask, reply }) {
        Ok(()) => {}
        Err(TrySendError::Full(_)) => return Answer::Edge(EdgeAnswer::Busy),
        Err(TrySendError::Closed(_)) => return Answer::NotThere,
    }
    match timeout(limits::EDGE_ASK_WITHIN, answered).await {
        Ok(Ok(answer)) => Answer::Edge(answer),
        Ok(Err(_)) => Answer::NotThere, // its uplink has ended
        Err(_) => other("the edge does not answer in time"),
    }
}

/// An operator does something in a room, here or where it is homed.
async fn decide(node: &Arc<Node>, room: &RoomKey, decide: Decide, ask: Ask) -> Answer {
    match find(node, room).await {
        Found::There(owner) => pass_on(node, owner, ask).await,
        Found::Here(room) => match room.send(decide).await {
            Ok(Decided::Done) => Answer::Done,
            Ok(Decided::NotThere) => Answer::NotThere,
            Ok(Decided::Refused(refusal)) => Answer::Refused(refusal),
            Ok(Decided::NotNow) | Err(_) => other("the room's owner is waiting for the cluster"),
        },
        Found::Nowhere => Answer::NotThere,
    }
}

/// How a session is whose gateway this node is.
async fn details(node: &Node, session: &SessionId, plain: bool) -> Answer {
    let Some(session) = node.sessions.get(session) else { return Answer::NotThere };
    session.send(Details { plain }).await.ok().flatten().map_or(Answer::NotThere, Answer::Session)
}

/// Sends a client of this gateway to another room.
async fn moved(node: &Node, session: &SessionId, to: RoomName) -> Answer {
    let Some(session) = node.sessions.get(session) else { return Answer::NotThere };
    match session.send(Move(to)).await {
        Ok(true) => Answer::Done,
        Ok(false) | Err(_) => Answer::NotThere,
    }
}

/// Whether a room would let somebody in, here or where it is homed; one in which nobody is, as the first.
async fn admits(node: &Arc<Node>, room: &RoomKey, ask: Ask) -> Answer {
    let found = find(node, room).await;
    let Ask::Admits { member, .. } = ask else { return Answer::NotThere };
    match found {
        Found::There(owner) => pass_on(node, owner, Ask::Admits { room: room.clone(), member }).await,
        Found::Here(room) => Answer::Admits(room.send(WouldAdmit(member)).await.ok().flatten()),
        Found::Nowhere => match Node::policy(&node.registry.state(), room) {
            Some(policy) => {
                Answer::Admits(Room::new(Epoch::default(), policy).would_refuse(clock::now(), &member))
            }
            None => Answer::NotThere,
        },
    }
}

/// What passed in a room, here or where it is homed.
async fn watch(node: &Arc<Node>, room: &RoomKey, ask: Ask) -> Answer {
    match find(node, room).await {
        Found::There(owner) => pass_on(node, owner, ask).await,
        Found::Here(room) => watched(&room, ask).await,
        Found::Nowhere => Answer::NotThere,
    }
}

/// What passed in a room that is here.
async fn watched(room: &Addr<RoomActor>, ask: Ask) -> Answer {
    let Ask::Watch { after, filter, limit, plain, by_app, .. } = ask else { return Answer::NotThere };
    let limit = usize::try_from(limit).unwrap_or(usize::MAX);
    match room.send(Signals { after, filter, limit, plain, by_app }).await {
        Ok(Ok(page)) => Answer::Watched(page),
        Ok(Err(Unwatched::Full)) => Answer::Failed(Failure::Busy),
        Ok(Err(Unwatched::NotHere)) | Err(_) => Answer::NotThere,
    }
}

/// A room.
enum Found {
    Here(Arc<Addr<RoomActor>>),
    /// Its anchor is here, and says that this node runs it.
    There(NodeId),
    Nowhere,
}

async fn find(node: &Arc<Node>, key: &RoomKey) -> Found {
    let mut found = Found::Nowhere;
    for (_, room) in node.rooms.of(key) {
        match room.send(WhereIs).await {
            Ok(None) => return Found::Here(room),
            Ok(Some(shard)) => {
                let owner = node.registry.state().shard(shard).and_then(|entry| entry.owner);
                let owner = owner.filter(|owner| *owner != node.id); // else it runs here, or not at all
                found = owner.map_or(Found::Nowhere, Found::There);
            }
            Err(_) => {} // it has just ended
        }
    }
    found
}

/// Of one that is homed elsewhere: its anchor's owner asks there, and nobody asks any further.
async fn pass_on(node: &Arc<Node>, owner: NodeId, ask: Ask) -> Answer {
    match node.mesh.request(owner, ask, PASSED_ON_WITHIN).await {
        Ok(answer) => answer,
        Err(error) => other(error),
    }
}

/// How this node is.
pub(crate) async fn status(node: &Arc<Node>) -> NodeStatus {
    let status = node.registry.status();
    let count = |many: usize| u32::try_from(many).unwrap_or(u32::MAX);
    let role = match status.role {
        Role::Leader => "leader",
        Role::Candidate => "candidate",
        Role::Follower if status.voters.contains(&node.id) => "follower",
        Role::Follower if status.learners.contains(&node.id) => "stand-by",
        Role::Follower => "feed",
    };
    let links = Arc::clone(&node.mesh.links().borrow());
    let reaches = links.nodes();
    let round_trip =
        |to: &NodeId| links.rtt(*to).map_or(0, |rtt| u64::try_from(rtt.as_micros()).unwrap_or(0));
    let others = node.others().into_iter();
    NodeStatus {
        generation: node.gateway().generation,
        sessions: count(node.sessions.len()),
        foreign: 0,
        rooms: count(node.rooms.len()),
        lease: node.lease.holds(),
        applied: node.registry.state().index(),
        role: role.to_owned(),
        leader: status.leader,
        term: status.term,
        round_trips: reaches.iter().map(round_trip).collect(),
        reaches,
        through: others.filter_map(|to| Some((to, links.through(to)?))).collect(),
        disk_low: status.disk_low,
        certificate_until: node.mesh.certificate_until(),
        edges: node.edges.send(Reporting).await.unwrap_or_default(),
    }
}
