//! Emptying a node without anybody noticing: the leader moves its shards away, and its
//! clients resume elsewhere before their sockets close. An operator's wish, which can be taken back, or the
//! first part of a stop.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use actix::Addr;
use chappe_proto::id::SessionId;
use chappe_proto::limits;
use chappe_proto::registry::{self, Command, NodeState, State};
use chappe_proto::time::Mono;

use crate::actor::session::{Moving, SessionActor, Shutdown, Staying};
use crate::clock;
use crate::node::{Node, told};
use crate::proposals::Unavailable;

/// Sessions are asked to move in so many steps.
const STEPS: u32 = 20;
/// The registry must have the word that it drains within this.
const COMMIT_WITHIN: Duration = Duration::from_secs(5);
/// How often it is looked whether they have.
const LOOK_EVERY: Duration = Duration::from_millis(100);

/// What is still here.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Left {
    /// Sessions.
    pub sessions: usize,
    /// Shards that it owns.
    pub shards: usize,
}

impl Left {
    /// What is still on a node.
    #[must_use]
    pub fn on(node: &Node) -> Self {
        let state = node.registry.state();
        let shards = state.shards().filter(|(_, shard)| shard.owner == Some(node.id)).count();
        Self { sessions: node.sessions.len(), shards }
    }

    /// Whether nothing is.
    #[must_use]
    pub const fn is_nothing(&self) -> bool {
        self.sessions == 0 && self.shards == 0
    }
}

/// Empties the node whenever the registry says that it drains, and stops where it no longer does.
pub(crate) async fn run(node: Arc<Node>) {
    let mut states = node.registry.watch();
    let drains = |state: &Arc<State>| state.node(node.id).is_some_and(registry::Node::drains);
    loop {
        if states.wait_for(drains).await.is_err() {
            return;
        }
        tracing::info!("draining");
        let emptying = async {
            loop {
                clients(&node, limits::DRAIN_WITHIN).await; // whoever comes meanwhile, or comes back, goes too
            }
        };
        let stays = tokio::select! {
            () = emptying => return,
            stays = states.wait_for(|state| !drains(state)) => stays.is_ok(),
        };
        if !stays {
            return;
        }
        tracing::info!("no longer draining");
        keep_all(&node);
    }
}

/// Who has been asked to go.
#[derive(Debug, Default)]
struct Asked(HashSet<SessionId>);

impl Asked {
    /// Whom to ask now, of those who are here, so that within `steps` all are asked: each once, however long it
    /// takes to go.
    fn next(&mut self, here: &[SessionId], steps: u32) -> HashSet<SessionId> {
        let present: HashSet<_> = here.iter().copied().collect();
        self.0.retain(|session| present.contains(session));
        let fresh: Vec<_> = here.iter().copied().filter(|session| !self.0.contains(session)).collect();
        let part = fresh.len().div_ceil(usize::try_from(steps.max(1)).unwrap_or(1));
        let now: HashSet<_> = fresh.into_iter().take(part).collect();
        self.0.extend(&now);
        now
    }
}

/// Asks all clients to resume elsewhere, spread over half of `within`; newcomers are asked as well.
/// Those that are still here at its end are closed with a code that resumes.
async fn clients(node: &Arc<Node>, within: Duration) {
    let deadline = clock::mono() + within;
    let mut asked = Asked::default();
    for step in 0.. {
        let all = node.sessions.all();
        if deadline <= clock::mono() {
            for (_, session) in all {
                let _ = session.try_send(Shutdown); // one whose mailbox is full is slow, and is closed for it
            }
            return;
        }
        let here: Vec<_> = all.iter().map(|(id, _)| *id).collect();
        let next = asked.next(&here, STEPS.saturating_sub(step));
        if !next.is_empty() {
            let (to, left) = (elsewhere(node), deadline.until(clock::mono()));
            for (_, session) in all.iter().filter(|(id, _)| next.contains(id)) {
                ask(session, &to, left);
            }
        }
        actix_rt::time::sleep(within / 2 / STEPS).await;
    }
}

/// Empties the node before its process stops, and says what is left as it goes. The registry forgets with the
/// next start that it stopped; an operator's own word stays.
pub(crate) async fn before_stop(node: &Arc<Node>, within: Duration, mut told: impl FnMut(Left)) {
    let deadline = clock::mono() + within;
    loop {
        if node.others().is_empty() {
            return; // nobody would take anything
        }
        // Another life may begin meanwhile, and an operator may take his word back.
        if !node.registry.state().node(node.id).is_some_and(registry::Node::drains)
            && let Err(error) = say_stopping(node, deadline).await
        {
            tracing::warn!(%error, "stopping without draining first");
            return;
        }
        let left = Left::on(node);
        told(left);
        if left.is_nothing() || clock::mono() >= deadline {
            return;
        }
        actix_rt::time::sleep(LOOK_EVERY).await;
    }
}

async fn say_stopping(node: &Node, deadline: Mono) -> Result<(), Unavailable> {
    let me = node.gateway();
    let command = Command::NodeStopping { node: me.node, generation: me.generation };
    let applied = node.proposals.propose(command, deadline.until(clock::mono()).min(COMMIT_WITHIN)).await?;
    if let Err(refusal) = applied.outcome.accepted() {
        tracing::info!(%refusal, "not yet said that this node stops"); // its next life has begun: again
    }
    Ok(())
}

/// Asks all clients to resume elsewhere; each takes its time within `within`.
pub(crate) fn ask_all(node: &Node, to: &Arc<[String]>, within: Duration) {
    for (_, session) in node.sessions.all() {
        ask(&session, to, within);
    }
}

/// Nobody is to go any more, unless the node drains or holds no lease: whoever comes back is not told so.
pub(crate) fn keep_all(node: &Node) {
    if !node.lease.holds() || node.registry.state().node(node.id).is_none_or(registry::Node::drains) {
        return;
    }
    for (_, session) in node.sessions.all() {
        let _ = session.try_send(Staying); // one that misses it is sent away once more, as it may be
    }
}

fn ask(session: &Arc<Addr<SessionActor>>, to: &Arc<[String]>, within: Duration) {
    // Where its mailbox is full it is closed at the end, and resumes all the same.
    let _ = session.try_send(Moving { to: Arc::clone(to), within });
}

/// The nodes that clients may go to instead of this one.
pub(crate) fn elsewhere(node: &Node) -> Arc<[String]> {
    let state = node.registry.state();
    let fit = state.nodes().filter(|(id, held)| {
        *id != node.id && held.state == NodeState::Up && !held.drains() && node.reaches(*id)
    });
    fit.flat_map(|(_, held)| told(&held.addresses)).take(limits::NODES_TOLD).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_client_is_asked_once_and_newcomers_too() {
        let mut here: Vec<_> = (0..10).map(|n| SessionId::from_random([n; 15])).collect();
        let (mut asked, mut all) = (Asked::default(), HashSet::new());
        // None of them goes yet: clients take their time.
        for steps in (1..=5).rev() {
            let next = asked.next(&here, steps);
            assert_eq!(next.len(), 2);
            all.extend(next);
        }
        assert_eq!(all.len(), 10);
        assert!(asked.next(&here, 0).is_empty());
        here.push(SessionId::from_random([10; 15]));
        assert_eq!(asked.next(&here, 0), HashSet::from([here[10]]));
        // Those who have gone are forgotten; one that is back is asked again.
        assert!(asked.next(&here[1..], 0).is_empty());
        assert_eq!(asked.0.len(), 10);
        assert_eq!(asked.next(&here, 0), HashSet::from([here[0]]));
    }
}
