//! How a member is, for whoever watches.

use chappe_proto::id::NodeId;
use chappe_proto::limits::LOG_TRAIL;
use chappe_proto::registry::voters::{Members, Step};
use chappe_proto::time::Mono;
use raft::eraftpb::{ConfChangeSingle, ConfChangeType, ConfChangeV2};
use raft::{ProgressState, StateRole};

use super::member::Member;
use super::types::{Role, Status};

impl Status {
    /// Whether it votes or stands by: whoever does neither knows nothing of who does.
    #[must_use]
    pub fn is_member(&self) -> bool {
        [&self.voters, &self.learners, &self.outgoing].iter().any(|ids| ids.contains(&self.member))
    }

    /// Raft's members, as who plans their changes sees them.
    #[must_use]
    pub fn members(&self) -> Members {
        let set = |ids: &[NodeId]| ids.iter().copied().collect();
        Members {
            voters: set(&self.voters),
            learners: set(&self.learners),
            outgoing: set(&self.outgoing),
            caught_up: set(&self.caught_up),
            recent: set(&self.recent),
        }
    }
}

/// The change of Raft's members that carries out a plan's steps: several at once are a joint change, which
/// Raft leaves by itself.
#[must_use]
pub fn conf_change(steps: &[Step]) -> ConfChangeV2 {
    let mut change = ConfChangeV2::default();
    for step in steps {
        let (kind, node) = match step {
            Step::Voter(node) => (ConfChangeType::AddNode, node),
            Step::Learner(node) => (ConfChangeType::AddLearnerNode, node),
            Step::Remove(node) => (ConfChangeType::RemoveNode, node),
        };
        let mut single = ConfChangeSingle::default();
        single.set_change_type(kind);
        single.node_id = node.0;
        change.mut_changes().push(single);
    }
    change
}

impl Member {
    /// How this member is.
    #[must_use]
    pub fn status(&self, now: Mono) -> Status {
        let raft = &self.node.raft;
        let role = match raft.state {
            StateRole::Follower => Role::Follower,
            StateRole::Candidate | StateRole::PreCandidate => Role::Candidate,
            StateRole::Leader => Role::Leader,
        };
        let ids = |ids: &[u64]| {
            let mut ids: Vec<_> = ids.iter().copied().map(NodeId).collect();
            ids.sort_unstable();
            ids
        };
        let members = raft.store().members();
        let (caught_up, recent) = if role == Role::Leader {
            (self.caught_up(), self.recent(now))
        } else {
            (Vec::new(), Vec::new())
        };
        Status {
            member: NodeId(self.id),
            role,
            term: raft.term,
            in_office: role == Role::Leader && raft.apply_to_current_term(),
            leader: self.leader().filter(|_| !self.wants_feed(now)),
            committed: raft.raft_log.committed,
            applied: self.state.index().0,
            last: raft.raft_log.last_index(),
            snapshot: raft.store().snap().at.index,
            log_bytes: raft.store().bytes(),
            voters: ids(&members.voters),
            learners: ids(&members.learners),
            outgoing: ids(&members.voters_outgoing),
            caught_up,
            recent,
            wants_feed: self.wants_feed(now),
            writes: self.writes,
            disk_low: self.disk_low,
        }
    }

    /// Whether the node needs another's feed: it is no member, or has heard of no leader for long.
    #[must_use]
    pub fn wants_feed(&self, now: Mono) -> bool {
        !self.is_member() || now.since(self.led) > 2 * self.timer.profile().election.1
    }

    pub(super) fn caught_up(&self) -> Vec<NodeId> {
        let committed = self.node.raft.raft_log.committed;
        let near = |progress: &raft::Progress| {
            progress.state == ProgressState::Replicate && progress.matched + LOG_TRAIL >= committed
        };
        let all = self.node.raft.prs().iter();
        let mut ids: Vec<_> = all
            .filter(|(id, progress)| **id == self.id || near(progress))
            .map(|(id, _)| NodeId(*id))
            .collect();
        ids.sort_unstable();
        ids
    }

    pub(super) fn recent(&self, now: Mono) -> Vec<NodeId> {
        let within = self.timer.profile().election.1;
        let heard = |id: &u64| self.heard.get(id).is_some_and(|at| now.since(*at) <= within);
        let all = self.node.raft.prs().iter();
        let mut ids: Vec<_> =
            all.filter(|(id, _)| **id == self.id || heard(id)).map(|(id, _)| NodeId(*id)).collect();
        ids.sort_unstable();
        ids
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::time::Duration;

    use chappe_proto::registry::State;
    use chappe_proto::time::{Now, Unix};
    use raft::eraftpb::{Message, MessageType};

    use super::super::member::Durable;
    use super::*;

    /// A member with these voters, so long after its leader's only heartbeat.
    fn led(id: NodeId, founders: &[NodeId], millis: u64) -> Status {
        let durable = Durable::found(id, founders).unwrap();
        let now = Now { mono: Mono::default(), unix: Unix::default() };
        let mut member = Member::new(now, 7, durable, Arc::new(State::default())).unwrap();
        let mut heartbeat = Message { to: id.0, from: 1, term: 5, ..Message::default() };
        heartbeat.set_msg_type(MessageType::MsgHeartbeat);
        member.handle_message(now, heartbeat).unwrap();
        member.handle_timeout(now);
        member.status(Mono(Duration::from_millis(millis)))
    }

    #[test]
    fn who_is_no_member_is_led_by_nobody_and_wants_a_feed() {
        let founders = [NodeId(1), NodeId(2), NodeId(3)];
        let member = led(NodeId(3), &founders, 100);
        assert_eq!((member.leader, member.wants_feed), (Some(NodeId(1)), false));
        let removed = led(NodeId(3), &founders[..2], 100);
        assert_eq!((removed.term, removed.leader, removed.wants_feed), (5, None, true));
        // Perhaps it was removed, and could not hear of it.
        let silent = led(NodeId(3), &founders, 10_000);
        assert_eq!((silent.leader, silent.wants_feed), (None, true));
    }
}
