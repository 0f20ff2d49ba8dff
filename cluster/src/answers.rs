//! What this node answers when another asks.

use std::sync::Arc;

use chappe_proto::id::NodeId;
use chappe_proto::mesh::node::{Answer, Ask, Failure, NodeStatus};

use crate::actor::edges::Reporting;
use crate::actor::room::{ListPeers, Remove};
use crate::consensus::{Proposal, ProposeError, ReadError, Registry, Role};
use crate::node::Node;

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
        Ask::Rooms => {
            let mut rooms = Vec::new();
            for ((key, _), room) in node.rooms.all() {
                let peers = room.send(ListPeers).await.map_or(0, |peers| peers.len());
                rooms.push((key, u32::try_from(peers).unwrap_or(u32::MAX)));
            }
            Answer::Rooms(rooms)
        }
        Ask::Peers { room } => match node.room(&room) {
            Some(room) => Answer::Peers(room.send(ListPeers).await.ok()),
            None => Answer::Peers(None),
        },
        Ask::Kick { room, peer, ban } => match node.room(&room) {
            Some(room) => match room.send(Remove { peer, ban }).await {
                Ok(chappe_admin::Kicked::Done) => Answer::Done,
                Ok(chappe_admin::Kicked::NotThere) => Answer::NotThere,
                Ok(chappe_admin::Kicked::Unavailable) | Err(_) => {
                    other("the registry cannot commit right now")
                }
            },
            None => Answer::NotThere,
        },
        ask => other(format!("nothing that this release answers: {ask:?}")),
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
