//! What operators are told of the cluster, in words.

use chappe_proto::id::NodeId;
use chappe_proto::registry::Event;
use chappe_proto::registry::voters::Step;

#[test]
fn steps_of_one_change_are_told_apart() {
    let steps = vec![Step::Voter(NodeId(2)), Step::Learner(NodeId(3)), Step::Remove(NodeId(1))];
    let told = "members of Raft change: node 2 votes; node 3 stands by; node 1 goes";
    assert_eq!(Event::Members(steps).to_string(), told);
}
