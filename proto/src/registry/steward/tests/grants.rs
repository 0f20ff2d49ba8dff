//! Who is granted its lease, and who is not.

use super::*;

#[test]
fn a_grant_waits_for_a_read_that_began_after_its_renewal() {
    let mut office = Office::with_nodes(3);
    office.reads_held = Some(vec![]);
    office.renew(NodeId(2));
    // While that one is read, another renews: the read that is under way is not for it.
    office.renew(NodeId(3));
    assert!(office.grants.is_empty());
    assert_eq!(office.reads_held.as_ref().unwrap().len(), 1);
    let first = office.reads_held.take().unwrap()[0];
    office.reads_held = Some(vec![]);
    office.read(first);
    assert_eq!(office.grants.iter().map(|(to, _)| to.0).collect::<Vec<_>>(), [2]);
    office.complete_reads();
    assert_eq!(office.grants.iter().map(|(to, _)| to.0).collect::<Vec<_>>(), [2, 3]);
}

#[test]
fn a_read_that_fails_grants_nothing_and_is_begun_again() {
    let mut office = Office::with_nodes(3);
    office.reads_held = Some(vec![]);
    office.renew(NodeId(2));
    let number = office.reads_held.take().unwrap()[0];
    let mut out = Vec::new();
    office.steward.handle_read(office.now, number, None, &mut out);
    office.carry_out(out);
    assert!(office.grants.is_empty());
    office.read(number);
    assert!(office.grants.is_empty(), "its time is over");
    office.timeout();
    assert_eq!(office.grants.len(), 1);
    // And one that is lost.
    office.reads_held = Some(vec![]);
    office.renew(NodeId(2));
    office.reads_held = None;
    office.now = office.now + LAN.lease / 2;
    office.timeout();
    assert_eq!(office.grants.len(), 2);
}

#[test]
fn a_life_that_the_registry_does_not_know_is_granted_nothing() {
    let mut office = Office::with_nodes(3);
    let mut out = Vec::new();
    for generation in [0, 2] {
        office.steward.handle_renewal(office.now, NodeId(2), Generation(generation), 1, &mut out);
    }
    office.steward.handle_renewal(office.now, NodeId(9), Generation(1), 1, &mut out);
    assert_eq!(out, []);
    // It began again while its renewal was read.
    office.reads_held = Some(vec![]);
    office.renew(NodeId(2));
    office.does(up(NodeId(2)));
    office.complete_reads();
    assert!(office.grants.is_empty());
}

#[test]
fn no_grant_while_a_removal_is_proposed_and_not_applied() {
    let mut office = Office::with_nodes(3);
    office.run(500 * MS);
    office.fall_silent(3);
    office.proposals_held = Some(vec![]);
    office.run(T + 200 * MS);
    assert!(matches!(office.proposals_held.as_deref(), Some([(_, Command::NodeDown { .. })])));
    // It was only slow.
    let before = office.last_grant(3);
    office.renewing.insert(NodeId(3));
    office.run(300 * MS);
    assert_eq!(office.last_grant(3), before);
    assert!(office.last_grant(2) > before, "of the others nothing is withheld");
    // However long that takes.
    office.run(PROPOSE_AGAIN * 2);
    assert_eq!(office.last_grant(3), before);
    office.apply_held();
    office.run(300 * MS);
    assert_eq!(office.last_grant(3), before, "it is gone, and begins again first");
    assert!(!office.is_up(3));
    office.does(up(NodeId(3)));
    office.run(100 * MS);
    assert!(office.last_grant(3) > before);
}

#[test]
fn a_read_begun_before_a_removal_was_proposed_grants_nothing_after_it() {
    for applied in [false, true] {
        let mut office = Office::with_nodes(3);
        office.run(500 * MS);
        office.fall_silent(3);
        office.run(400 * MS);
        let before = office.last_grant(3);
        // Its last renewal is read for long.
        office.reads_held = Some(vec![]);
        office.renew(NodeId(3));
        office.proposals_held = Some(vec![]);
        office.run(T - 200 * MS);
        assert!(matches!(office.proposals_held.as_deref(), Some([(_, Command::NodeDown { .. })])));
        if applied {
            office.apply_held();
        }
        office.complete_reads();
        office.timeout();
        assert_eq!(office.last_grant(3), before);
    }
}

#[test]
fn a_removal_that_is_refused_or_was_dropped_withholds_nothing_any_more() {
    for dropped in [false, true] {
        let mut office = Office::with_nodes(3);
        office.run(500 * MS);
        office.fall_silent(3);
        office.proposals_held = Some(vec![]);
        office.run(T + 100 * MS);
        let (number, _) = office.proposals_held.take().unwrap().remove(0);
        office.renewing.insert(NodeId(3));
        office.renew(NodeId(3));
        let refused = Outcome::Refused(crate::registry::Refusal::OtherVersion(1));
        let mut out = Vec::new();
        let outcome = (!dropped).then_some(&refused);
        let (state, members) = (&office.log.0, &office.members);
        office.steward.handle_outcome(office.now, number, outcome, state, members, &mut out);
        office.carry_out(out);
        let before = office.now;
        office.run(200 * MS);
        assert!(office.last_grant(3) > before);
        assert!(office.is_up(3));
    }
}
