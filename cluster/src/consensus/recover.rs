//! When a quorum is lost for good: a surviving member's directory becomes a cluster of one voter.

use std::path::Path;
use std::sync::Arc;

use chappe_proto::id::{ClusterId, Index, NodeId};
use chappe_proto::registry::{Note, State};
use chappe_proto::time::Now;
use raft::eraftpb::ConfState;

use super::durable::Durable;
use super::load::ReadError;
use super::member::Member;
use super::open::{Loaded, OpenError, open_survivor};
use super::storage::Write;
use super::types::FatalError;
use crate::clock;

/// What is left in a member's directory. Of several survivors, the one whose `(last_term, last)` is the
/// highest has lost the least.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Survivor {
    /// Whose it is.
    pub member: NodeId,
    /// Its cluster, once that has begun.
    pub cluster: Option<ClusterId>,
    /// The voters that it knows of, itself among them where it votes.
    pub voters: Vec<NodeId>,
    /// Its stand-bys.
    pub learners: Vec<NodeId>,
    /// The term of its log's last entry.
    pub last_term: u64,
    /// Its log's last entry.
    pub last: Index,
    /// The last entry that it knows to be committed.
    pub committed: Index,
}

/// Why a directory can't be recovered.
#[derive(Debug, thiserror::Error)]
pub enum RecoverError {
    /// It can't be opened.
    #[error(transparent)]
    Open(#[from] OpenError),
    /// Nothing is lost: it is the only voter.
    #[error("node {0} is the only voter of its cluster: start it as it is")]
    Alone(NodeId),
    /// There is nothing to go on from.
    #[error("node {0} was no member of the registry: recover a voter, or a stand-by")]
    NoMember(NodeId),
    /// Its log can't be read by this release.
    #[error(transparent)]
    Fatal(#[from] FatalError),
    /// It can't be written.
    #[error("the recovered registry can't be written: {0}")]
    Write(String),
}

impl From<ReadError> for RecoverError {
    fn from(error: ReadError) -> Self {
        Self::Write(error.to_string())
    }
}

/// The state at the end of the log, whatever of it was committed, and the members then.
fn end_of(durable: &Durable, state: State) -> Result<(Arc<State>, ConfState), FatalError> {
    let now = Now { mono: clock::mono(), unix: state.now() };
    let mut all = durable.clone();
    all.hard.commit = all.last().0;
    let mut member = Member::new(now, 0, all, Arc::new(state))?;
    member.settle(now, &mut Vec::new())?;
    Ok((Arc::clone(member.state()), member.members().clone()))
}

fn survivor(durable: &Durable, state: &State, members: &ConfState) -> Survivor {
    let mut voters: Vec<_> = members.voters.iter().chain(&members.voters_outgoing).copied().collect();
    voters.sort_unstable();
    voters.dedup();
    Survivor {
        member: durable.member(),
        cluster: state.cluster().map(|cluster| cluster.id),
        voters: voters.into_iter().map(NodeId).collect(),
        learners: members.learners.iter().copied().map(NodeId).collect(),
        last_term: durable.last_term(),
        last: durable.last(),
        committed: Index(durable.hard.commit),
    }
}

/// What is left in a member's directory, which no process may have open.
///
/// # Errors
/// [`RecoverError`].
pub fn inspect(dir: &Path) -> Result<Survivor, RecoverError> {
    let Loaded { durable, state, .. } = open_survivor(dir, false)?;
    let (state, members) = end_of(&durable, state)?;
    Ok(survivor(&durable, &state, &members))
}

/// Makes a surviving member's directory a cluster of one voter, itself; `accept_loss` as where it is
/// opened. All of it or nothing is done.
///
/// Everything in its log counts, committed or not. **Lost is what was acknowledged by the others and had
/// not reached it**; carried out may be what was never acknowledged. The other voters are removed from
/// the registry: they must never come back, and where one of them is alive it joins anew, as a new node.
/// All other nodes stay: they get the registry anew, begin a new life, and rooms are rebuilt of what
/// gateways hold.
///
/// # Errors
/// [`RecoverError`]; then the directory is as it was.
pub fn recover(dir: &Path, accept_loss: bool) -> Result<Survivor, RecoverError> {
    let Loaded { mut disk, durable, state } = open_survivor(dir, accept_loss)?;
    let (end, members) = end_of(&durable, state)?;
    let left = survivor(&durable, &end, &members);
    let me = left.member;
    if left.voters == [me] {
        return Err(RecoverError::Alone(me));
    }
    if !left.voters.contains(&me) && !left.learners.contains(&me) {
        return Err(RecoverError::NoMember(me));
    }
    let lost: Vec<_> = left.voters.iter().copied().filter(|voter| *voter != me).collect();
    let names: Vec<_> = lost.iter().map(NodeId::to_string).collect();
    let what = format!("recovered the registry at entry {} without voters {}", left.last, names.join(", "));
    let note = Note { who: "operator".into(), what, from: format!("node {me}") };
    let mut state = (*end).clone();
    state.recover(clock::unix(), &lost, note);
    // Past every term that this member has promised anything in.
    let first = Durable::alone_with(me, &state, durable.hard.term + 1)
        .map_err(|error| RecoverError::Write(error.to_string()))?;
    let write = Write {
        snap: Some((Arc::clone(&first.snap), first.compacted)),
        reset: true,
        hard: first.hard,
        ..Write::default()
    };
    disk.commit(&write).map_err(|error| RecoverError::Write(error.to_string()))?;
    Ok(left)
}
