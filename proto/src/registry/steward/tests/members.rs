//! Raft's members, nodes that leave, timers that change, and proposals that are dropped.

use super::*;
use crate::registry::NodeState;
use crate::registry::profile::{ProfileName, WAN};

fn sorted(ids: &[u64]) -> BTreeSet<NodeId> {
    ids.iter().copied().map(NodeId).collect()
}

#[test]
fn timers_settle_when_no_lease_of_the_former_ones_is_left() {
    let mut office = Office::with_nodes(3);
    office.run(T);
    office.does(Command::ProfileSet { profile: ProfileName::Wan });
    let at = office.now;
    office.run(WAN.eviction - 100 * MS);
    assert!(office.log.0.settling().is_some());
    office.run(500 * MS);
    assert!(office.log.0.settling().is_none());
    let settled = office.applied.iter().find(|(_, c, _)| matches!(c, Command::ProfileSettled { .. }));
    assert!(settled.unwrap().0 >= at + WAN.eviction);
}

#[test]
fn one_that_leaves_is_let_go_when_it_owns_nothing_and_is_no_member() {
    let mut office = Office::with_nodes(4);
    office.members.voters = sorted(&[1, 2, 4]);
    office.members.learners = sorted(&[3]);
    office.run(T);
    office.does(Command::NodeLeave { node: NodeId(4) });
    office.drains(4);
    office.run(3 * T);
    assert!(office.is_up(4), "it votes still");
    let change = Output::Members(vec![Step::Voter(NodeId(3)), Step::Remove(NodeId(4))]);
    assert!(office.asked.contains(&change), "{:?}", office.asked);
    assert!(office.last_grant(4) + 200 * MS > office.now, "and is granted its lease");
    office.members.voters = sorted(&[1, 2, 3]);
    office.members.learners = sorted(&[]);
    office.run(200 * MS);
    let last = office.last_grant(4);
    office.run(T - 300 * MS);
    assert!(office.is_up(4));
    assert_eq!(office.last_grant(4), last, "no more grants");
    office.run(T);
    assert!(office.downs()[&NodeId(4)] >= last + T);
    assert!(office.log.0.was_removed(NodeId(4)));
    assert!(office.events.contains(&Event::Removed { node: NodeId(4) }));
}

#[test]
fn one_that_is_kept_after_all_is_granted_again() {
    let mut office = Office::with_nodes(4);
    office.members.learners = sorted(&[]);
    office.run(T);
    office.does(Command::NodeLeave { node: NodeId(4) });
    office.drains(4);
    office.run(200 * MS);
    office.does(Command::NodeSet { node: NodeId(4), weight: 1, draining: false });
    office.run(2 * T);
    assert!(office.is_up(4) && office.last_grant(4) + 200 * MS > office.now);
}

#[test]
fn a_leader_that_drains_hands_over_first() {
    let mut office = Office::with_nodes(3);
    office.run(T);
    office.does(drain(1));
    assert_eq!(office.asked, [Output::Transfer { to: NodeId(2) }]);
    office.run(MEMBERS_AGAIN - 100 * MS);
    assert_eq!(office.asked.len(), 1);
    office.run(200 * MS);
    assert_eq!(office.asked.len(), 2, "it was lost");
}

#[test]
fn a_voter_gone_for_long_is_replaced_and_one_that_restarts_is_not() {
    let mut office = Office::with_nodes(5);
    office.run(T);
    office.fall_silent(3);
    office.members.recent.remove(&NodeId(3));
    office.run(VOTER_LOST_AFTER - T);
    assert!(!office.is_up(3));
    assert_eq!(office.asked, []);
    office.run(3 * T);
    assert_eq!(office.asked, [Output::Members(vec![Step::Voter(NodeId(4)), Step::Remove(NodeId(3))])]);
    assert_eq!(office.log.0.node(NodeId(3)).unwrap().state, NodeState::Down);
}

#[test]
fn what_the_member_does_not_take_is_proposed_again_in_its_turn() {
    let mut office = Office::with_nodes(3);
    office.run(T);
    office.proposals_held = Some(Vec::new());
    office.does(Command::NodeSet { node: NodeId(3), weight: 1, draining: true });
    office.run(LAN.renewal());
    // While raft hands the leadership over it drops all of them, at once.
    for round in 0..5 {
        let held = office.proposals_held.replace(Vec::new()).unwrap_or_default();
        assert!(!held.is_empty(), "round {round}");
        let mut out = Vec::new();
        for (number, _) in held {
            let (state, members) = (&office.log.0, &office.members);
            office.steward.handle_outcome(office.now, number, None, state, members, &mut out);
        }
        office.carry_out(out);
        let again = office.proposals_held.as_ref().is_some_and(|held| !held.is_empty());
        let next = office.steward.poll_timeout();
        assert!(!again && next > office.now, "round {round}: it would never rest");
        office.run(LAN.renewal());
    }
}
