//! The way to change and to read the registry, whichever node leads (commands reach the leader
//! by the cluster's own request, so that it stamps them).

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use chappe_admin::health::{Silent, no_leader};
use chappe_proto::id::{Generation, NodeId};
use chappe_proto::mesh::node::{Answer, Ask, Failure};
use chappe_proto::registry::{RequestId, State};
use chappe_proto::time::Mono;

use crate::clock;
use crate::consensus::{Applied, Proposal, ProposeError, ReadError, Registry};
use crate::mesh::Mesh;

/// Between two attempts while nobody leads, unless something changes before.
const AGAIN: Duration = Duration::from_millis(50);
/// One attempt waits this long for the leader's answer: it may be gone without anybody knowing yet.
const ATTEMPT: Duration = Duration::from_secs(2);

/// Why the registry did not do, or say, what it was asked in time.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Unavailable {
    /// Nobody leads, as far as this node sees.
    #[error("{0}")]
    NoLeader(String),
    /// There is a leader, and it did not answer.
    #[error("the leader, node {0}, did not answer in time")]
    Silent(NodeId),
    /// The leader's disk is nearly full.
    #[error("less than 64 MB are free on the disk of the leader, node {0}")]
    DiskLow(NodeId),
    /// The command is longer than an entry may be.
    #[error("the command is longer than an entry may be")]
    TooLong,
    /// This node's registry has ended.
    #[error("the registry has stopped")]
    Stopped,
}

/// A handle; clones are the same.
#[derive(Clone)]
pub struct Proposals(Arc<Inner>);

struct Inner {
    node: NodeId,
    registry: Registry,
    mesh: Mesh,
    /// Counts requests: random at first, since this process may ask before it knows its generation.
    next: AtomicU64,
    series: Generation,
}

/// What one attempt came to.
enum Attempt<T> {
    Done(T),
    /// Again, perhaps of another.
    Again(Unavailable),
    /// Again, of the one that leads as the one asked knows.
    Of(NodeId),
    Never(Unavailable),
}

impl Proposals {
    /// For `node`.
    #[must_use]
    pub fn new(node: NodeId, registry: Registry, mesh: Mesh) -> Self {
        let series = Generation(u64::from_be_bytes(clock::random()));
        Self(Arc::new(Inner { node, registry, mesh, next: AtomicU64::new(0), series }))
    }

    /// Commits a command once, and waits until it is applied here.
    ///
    /// # Errors
    /// [`Unavailable`] after `within` at the latest: then it may still be carried out, once.
    pub async fn propose(
        &self,
        proposal: impl Into<Proposal>,
        within: Duration,
    ) -> Result<Applied, Unavailable> {
        let mut proposal = proposal.into();
        let n = self.0.next.fetch_add(1, Ordering::Relaxed);
        let by = *proposal.by.get_or_insert(RequestId { node: self.0.node, generation: self.0.series, n });
        let deadline = clock::mono() + within;
        let applied = self.repeat(deadline, |leader, left| self.attempt(leader, left, &proposal, by)).await?;
        self.applied(applied.index.0, deadline).await.map(|_| applied)
    }

    /// The state with all in it that was committed anywhere before the call.
    ///
    /// # Errors
    /// [`Unavailable`] after `within` at the latest.
    pub async fn linearizable(&self, within: Duration) -> Result<Arc<State>, Unavailable> {
        let deadline = clock::mono() + within;
        let index = self.repeat(deadline, |leader, left| self.read(leader, left)).await?;
        self.applied(index, deadline).await
    }

    /// Waits until this node has applied an index.
    async fn applied(&self, index: u64, deadline: Mono) -> Result<Arc<State>, Unavailable> {
        let mut states = self.0.registry.watch();
        let waiting = states.wait_for(|state| state.index().0 >= index);
        match tokio::time::timeout(deadline.until(clock::mono()), waiting).await {
            Ok(Ok(state)) => Ok(Arc::clone(&state)),
            Ok(Err(_)) => Err(Unavailable::Stopped),
            Err(_) => Err(self.nobody()),
        }
    }

    /// Asks whoever leads until there is an answer.
    async fn repeat<T, F: Future<Output = Attempt<T>>>(
        &self,
        deadline: Mono,
        ask: impl Fn(NodeId, Duration) -> F,
    ) -> Result<T, Unavailable> {
        let mut statuses = self.0.registry.watch_status();
        let mut named = None;
        for turn in 0_usize.. {
            let leader = statuses.borrow_and_update().leader;
            let left = deadline.until(clock::mono());
            // One that is no member of Raft yet hears of no leader by itself, and asks anybody.
            let any = || self.0.mesh.links().borrow().any(turn);
            let why = match named.take().or(leader).or_else(any) {
                None => self.nobody(),
                Some(leader) => match ask(leader, left.min(ATTEMPT)).await {
                    Attempt::Done(answer) => return Ok(answer),
                    Attempt::Never(why) => return Err(why),
                    Attempt::Again(why) => why,
                    Attempt::Of(other) => {
                        named = Some(other);
                        self.nobody()
                    }
                },
            };
            let left = deadline.until(clock::mono());
            if left.is_zero() {
                return Err(why);
            }
            // Another leader is news; so is a while.
            let news = tokio::time::timeout(left.min(AGAIN), statuses.changed()).await;
            if matches!(news, Ok(Err(_))) {
                return Err(Unavailable::Stopped);
            }
        }
        Err(Unavailable::Stopped)
    }

    async fn attempt(
        &self,
        leader: NodeId,
        left: Duration,
        proposal: &Proposal,
        by: RequestId,
    ) -> Attempt<Applied> {
        if leader == self.0.node {
            let proposed = tokio::time::timeout(left, self.0.registry.propose(proposal.clone())).await;
            return match proposed {
                Ok(Ok(applied)) => Attempt::Done(applied),
                Ok(Err(ProposeError::TooLong)) => Attempt::Never(Unavailable::TooLong),
                Ok(Err(ProposeError::Stopped)) => Attempt::Never(Unavailable::Stopped),
                Ok(Err(ProposeError::DiskLow)) => Attempt::Never(Unavailable::DiskLow(leader)),
                Ok(Err(_)) => Attempt::Again(self.nobody()),
                Err(_) => Attempt::Again(Unavailable::Silent(leader)),
            };
        }
        let (command, note) = (proposal.command.clone(), proposal.note.clone());
        match self.0.mesh.request(leader, Ask::Propose { command, by, note }, left).await {
            Ok(Answer::Applied { index, outcome }) => Attempt::Done(Applied { index, outcome }),
            Ok(Answer::Failed(Failure::NotLeader { leader: Some(other) })) => Attempt::Of(other),
            Ok(Answer::Failed(Failure::TooLong)) => Attempt::Never(Unavailable::TooLong),
            Ok(Answer::Failed(Failure::DiskLow)) => Attempt::Never(Unavailable::DiskLow(leader)),
            Ok(_) | Err(_) => Attempt::Again(Unavailable::Silent(leader)),
        }
    }

    async fn read(&self, leader: NodeId, left: Duration) -> Attempt<u64> {
        if leader == self.0.node {
            return match tokio::time::timeout(left, self.0.registry.read_index()).await {
                Ok(Ok(index)) => Attempt::Done(index.0),
                Ok(Err(ReadError::Stopped)) => Attempt::Never(Unavailable::Stopped),
                Ok(Err(_)) | Err(_) => Attempt::Again(self.nobody()),
            };
        }
        match self.0.mesh.request(leader, Ask::Read, left).await {
            Ok(Answer::Read { index }) => Attempt::Done(index.0),
            Ok(Answer::Failed(Failure::NotLeader { leader: Some(other) })) => Attempt::Of(other),
            Ok(_) | Err(_) => Attempt::Again(Unavailable::Silent(leader)),
        }
    }

    /// Why nobody leads, in words for an operator.
    fn nobody(&self) -> Unavailable {
        let voters = self.0.registry.status().voters;
        let links = Arc::clone(&self.0.mesh.links().borrow());
        let reached = |voter: &NodeId| *voter == self.0.node || links.reaches(*voter);
        let unreachable: Vec<&NodeId> = voters.iter().filter(|voter| !reached(voter)).collect();
        let state = self.0.registry.state();
        let silent = |voter: &&NodeId| Silent {
            node: **voter,
            region: state.node(**voter).map(|node| node.region.clone()),
            heard: links.lost(**voter).map(|at| clock::mono().since(at)),
        };
        let silent: Vec<_> = unreachable.iter().map(silent).collect();
        Unavailable::NoLeader(no_leader(voters.len(), &silent))
    }
}
