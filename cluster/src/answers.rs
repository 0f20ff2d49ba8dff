//! What this node answers when another asks.

use std::sync::Arc;
use std::time::Duration;

use actix::Addr;
use chappe_proto::id::{NodeId, RoomKey};
use chappe_proto::limits;
use chappe_proto::mesh::node::{Answer, Ask, Failure, NodeStatus};
use futures_util::future::join_all;

use crate::actor::edges::Reporting;
use crate::actor::room::{CountPeers, ListPeers, Remove, RoomActor, WhereIs};
use crate::consensus::{Proposal, ProposeError, ReadError, Registry, Role};
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
        Ask::Rooms => Answer::Rooms(rooms(node, None).await),
        Ask::RoomsAfter { room } => Answer::Rooms(rooms(node, Some(room)).await),
        Ask::Peers { ref room } => match find(node, room).await {
            Found::Here(room) => Answer::Peers(room.send(ListPeers).await.ok()),
            Found::There(owner) => pass_on(node, owner, ask).await,
            Found::Nowhere => Answer::Peers(None),
        },
        Ask::Kick { ref room, peer, ban } => match find(node, room).await {
            Found::There(owner) => pass_on(node, owner, ask).await,
            Found::Here(room) => match room.send(Remove { peer, ban }).await {
                Ok(chappe_admin::Kicked::Done) => Answer::Done,
                Ok(chappe_admin::Kicked::NotThere) => Answer::NotThere,
                Ok(chappe_admin::Kicked::Unavailable) | Err(_) => {
                    other("the registry cannot commit right now")
                }
            },
            Found::Nowhere => Answer::NotThere,
        },
        Ask::Usage { of, after } => node.usage.answer(&of, after.as_deref()),
        ask => other(format!("nothing that this release answers: {ask:?}")),
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

/// The first rooms behind `after`, by name, and how many are in each.
async fn rooms(node: &Node, mut after: Option<RoomKey>) -> Vec<(RoomKey, u32)> {
    let mut rooms = Vec::new();
    loop {
        let room_for = limits::ROOMS_PAGE - rooms.len();
        let page = node.rooms.page(after.as_ref(), room_for);
        let last = page.len() < room_for;
        let counts =
            page.iter().map(|(_, here)| join_all(here.iter().map(|(_, room)| room.send(CountPeers))));
        let counts = join_all(counts).await;
        after = page.last().map(|(key, _)| key.clone());
        for ((key, _), counts) in page.into_iter().zip(counts) {
            // One whose anchor alone is here is another node's to tell.
            if let Some(peers) = counts.into_iter().find_map(|count| count.ok().flatten()) {
                rooms.push((key, peers));
            }
        }
        if last || rooms.len() >= limits::ROOMS_PAGE {
            return rooms;
        }
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
