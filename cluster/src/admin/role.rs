//! Who votes and who stands by, as any node can tell.

use std::collections::BTreeMap;

use chappe_admin::control::MemberRole;
use chappe_proto::id::NodeId;
use chappe_proto::mesh::node::NodeStatus;

use crate::consensus::Status;

/// What a node is in Raft. One that is no member of it knows only what each says of itself.
pub(super) fn role(raft: &Status, said: &BTreeMap<NodeId, NodeStatus>, node: NodeId) -> MemberRole {
    let says = |word: &str| !raft.is_member() && said.get(&node).is_some_and(|status| status.role == word);
    if raft.leader == Some(node) {
        MemberRole::Leader
    } else if raft.voters.contains(&node) || ["follower", "candidate", "leader"].into_iter().any(says) {
        MemberRole::Voter
    } else if raft.learners.contains(&node) || says("stand-by") {
        MemberRole::StandBy
    } else {
        MemberRole::Follower
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NODES: [NodeId; 6] = [NodeId(1), NodeId(2), NodeId(3), NodeId(4), NodeId(5), NodeId(6)];

    #[test]
    fn a_node_that_is_no_member_of_raft_tells_the_same_of_it_as_members_do() {
        let raft =
            |member: u64| Status { member: NodeId(member), leader: Some(NodeId(2)), ..Status::default() };
        let member = Status { voters: NODES[..3].to_vec(), learners: NODES[3..5].to_vec(), ..raft(1) };
        let words = ["follower", "leader", "candidate", "stand-by", "stand-by", "feed"];
        let said = NODES.into_iter().zip(words);
        let said: BTreeMap<_, _> = said
            .map(|(node, role)| (node, NodeStatus { role: role.to_owned(), ..NodeStatus::default() }))
            .collect();
        let seen = |raft: &Status, said: &BTreeMap<_, _>| NODES.map(|node| role(raft, said, node));
        let truth = seen(&member, &BTreeMap::new());
        assert_eq!(truth.map(|role| role == MemberRole::Voter), [true, false, true, false, false, false]);
        assert_eq!(seen(&raft(6), &said), truth);
        // Who does not answer is nothing that is known.
        assert_eq!(seen(&raft(6), &BTreeMap::new())[0], MemberRole::Follower);
        // A member goes by what is replicated, whatever somebody says.
        let lies =
            NODES.map(|node| (node, NodeStatus { role: "follower".to_owned(), ..NodeStatus::default() }));
        assert_eq!(seen(&member, &lies.into()), truth);
    }
}
