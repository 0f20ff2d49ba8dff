//! What the tests of the registry share.

use std::ops::Range;
use std::path::Path;

use chappe_cluster::consensus::{Config, Ended, ProposeError, Registry};
use chappe_proto::id::{NodeId, SessionId};
use chappe_proto::registry::{Command, Outcome, State};
use chappe_proto::time::Unix;
use tokio::task::JoinSet;

pub(crate) const LATER: Unix = Unix::from_secs(10_000_000_000);

pub(crate) fn session(n: u64) -> SessionId {
    let mut bytes = [0; 15];
    bytes[..8].copy_from_slice(&n.to_be_bytes());
    SessionId::from_random(bytes)
}

/// A command whose effect can be asked for by `n`.
pub(crate) fn mark(n: u64) -> Command {
    Command::Revoke { sessions: vec![session(n)], banned: None, until: LATER, banned_until: None }
}

pub(crate) fn marked(state: &State, n: u64) -> bool {
    state.revoked(&session(n), state.now()).is_some()
}

pub(crate) fn alone(dir: &Path) -> Config {
    Config::alone(dir, NodeId(1))
}

pub(crate) fn open(dir: &Path) -> (Registry, Ended) {
    Registry::open(alone(dir)).unwrap()
}

pub(crate) async fn close(registry: Registry, ended: Ended) {
    registry.stop();
    ended.await.unwrap().unwrap();
}

/// Proposes until it is taken.
pub(crate) async fn propose(registry: &Registry, command: Command) {
    loop {
        match registry.propose(command.clone()).await {
            Ok(applied) => return assert_eq!(applied.outcome, Outcome::Done),
            // A read is answered when there is a leader; this member, where it is the only one.
            Err(ProposeError::NoLeader { .. }) => drop(registry.linearizable().await),
            Err(ProposeError::Busy) => tokio::task::yield_now().await,
            Err(error) => panic!("{error}"),
        }
    }
}

/// Proposes marks, many at a time.
pub(crate) async fn propose_many(registry: &Registry, marks: Range<u64>) {
    let mut tasks = JoinSet::new();
    for n in marks {
        if tasks.len() >= 256 {
            tasks.join_next().await.unwrap().unwrap();
        }
        let registry = registry.clone();
        tasks.spawn(async move { propose(&registry, mark(n)).await });
    }
    while let Some(done) = tasks.join_next().await {
        done.unwrap();
    }
}
