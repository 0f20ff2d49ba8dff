//! The lives of a node: one begins with each start of its process, and another where the
//! cluster took it for dead and gave its shards away, though it was only silent for long.

use std::sync::Arc;
use std::time::Duration;

use chappe_proto::id::{Generation, NodeId};
use chappe_proto::registry::{Command, NodeAddresses, NodeState, Outcome, VERSION};
use chappe_proto::time::Mono;
use futures_util::future::join_all;
use tokio::sync::watch;

use crate::actor::{proxy, session};
use crate::node::Node;
use crate::proposals::{Proposals, Unavailable};

/// One attempt to begin; then whoever watches is told what is missing.
const ATTEMPT: Duration = Duration::from_secs(3);
/// Between two attempts.
const AGAIN: Duration = Duration::from_millis(500);

/// Says that the process has begun, and waits as long as it takes until the registry has it.
///
/// # Errors
/// [`LifeError`], where it never will.
pub(crate) async fn begin(
    proposals: &Proposals,
    node: NodeId,
    addresses: &NodeAddresses,
    mut removed: watch::Receiver<bool>,
) -> Result<Generation, LifeError> {
    tokio::select! {
        begun = propose(proposals, node, addresses) => begun,
        Ok(_) = removed.wait_for(|removed| *removed) => Err(LifeError::Removed(node)),
    }
}

async fn propose(
    proposals: &Proposals,
    node: NodeId,
    addresses: &NodeAddresses,
) -> Result<Generation, LifeError> {
    loop {
        let (addresses, build) = (addresses.clone(), crate::BUILD.into());
        let up = Command::NodeUp { node, addresses, build, speaks: VERSION };
        match proposals.propose(up, ATTEMPT).await {
            Ok(applied) => match applied.outcome.accepted()? {
                Outcome::Up { generation } => return Ok(generation),
                _ => tracing::error!("the registry answers the beginning of a node with something else"),
            },
            Err(Unavailable::Stopped) => return Err(LifeError::Stopped),
            Err(missing) => {
                tracing::warn!("waiting for {}", waits_for(&missing));
                tokio::time::sleep(AGAIN).await; // some answers, as of a full disk, come at once
            }
        }
    }
}

/// What a node that begins waits for, in words.
fn waits_for(missing: &Unavailable) -> String {
    match missing {
        Unavailable::NoLeader(why) => why.replacen("no leader", "a leader", 1),
        other => format!("the cluster: {other}"),
    }
}

/// Why a node cannot begin.
#[derive(Debug, thiserror::Error)]
pub enum LifeError {
    /// It was removed, or its release is too old.
    #[error("the cluster does not take this node: {0}")]
    Refused(#[from] chappe_proto::registry::Refusal),
    /// The other nodes do not know it any more.
    #[error("node {0} was removed from the cluster")]
    Removed(NodeId),
    /// The registry has ended.
    #[error("the registry has stopped")]
    Stopped,
}

/// Begins anew whenever the cluster has taken this life for over.
///
/// # Errors
/// [`LifeError`]: the process must exit with it.
pub(crate) async fn run(
    node: Arc<Node>,
    addresses: NodeAddresses,
    removed: watch::Receiver<bool>,
) -> LifeError {
    let mut states = node.registry.watch();
    loop {
        let me = node.gateway();
        let over = states.wait_for(|state| {
            state.node(me.node).is_none_or(|held| {
                held.generation > me.generation
                    || (held.generation == me.generation && held.state == NodeState::Down)
            })
        });
        let mut told = removed.clone();
        let ended = tokio::select! {
            over = over => over.map(drop).map_err(|_| LifeError::Stopped),
            Ok(_) = told.wait_for(|removed| *removed) => Err(LifeError::Removed(node.id)),
        };
        if let Err(error) = ended {
            return error;
        }
        tracing::warn!("the cluster took this node for dead, and its clients resume: it begins anew");
        end(&node).await;
        match begin(&node.proposals, node.id, &addresses, removed.clone()).await {
            Ok(generation) => node.begin(generation),
            Err(error) => return error,
        }
    }
}

/// All that belongs to this life ends, and has ended with this: sessions first, since one that lives makes
/// itself a proxy, which would be of this life in the next. Rooms end by the epochs of their shards.
async fn end(node: &Node) {
    node.lease.set(Mono::default());
    // What has ended already gives an error.
    join_all(node.sessions.all().iter().map(|(_, session)| session.send(session::Over))).await;
    join_all(node.proxies.all().iter().map(|(_, proxy)| proxy.send(proxy::Over))).await;
}

#[cfg(test)]
mod tests {
    use chappe_admin::health::{Silent, no_leader};

    use super::*;

    #[test]
    fn a_node_that_begins_says_what_it_waits_for() {
        let silent = |node| Silent { node: NodeId(node), region: None, heard: None };
        let missing = Unavailable::NoLeader(no_leader(3, &[silent(2), silent(3)]));
        let told = waits_for(&missing);
        assert!(told.starts_with("a leader: 2 of 3 voters unreachable: node 2 "), "{told}");
        let told = waits_for(&Unavailable::Silent(NodeId(2)));
        assert_eq!(told, "the cluster: the leader, node 2, did not answer in time");
    }
}
