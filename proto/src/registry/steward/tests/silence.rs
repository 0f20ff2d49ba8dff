//! Who is gone, and when.

use super::*;

#[test]
fn a_silent_node_is_gone_no_sooner_than_t_after_its_last_grant_was_sent() {
    let mut office = Office::with_nodes(3);
    office.run(3 * T);
    let owned = office.log.owned(3).len();
    office.fall_silent(3);
    let last = office.last_grant(3);
    office.run(2 * T);
    let at = office.downs()[&NodeId(3)];
    assert!(at >= last + T, "{:?} after its last grant", at.since(last));
    assert!(at < last + T + 150 * MS, "and not much later: {:?}", at.since(last));
    assert!(office.log.owned(3).is_empty() && owned > 0);
    assert_eq!(office.log.owned(1).len() + office.log.owned(2).len(), 4096, "its shards went with it");
    assert!(matches!(office.events[..], [Event::Evicted { node: NodeId(3), shards, .. }] if shards == owned));
    assert_eq!(office.downs().len(), 1);
}

#[test]
fn the_last_grant_counts_although_its_read_took_long() {
    let mut office = Office::with_nodes(3);
    office.run(T);
    office.reads_held = Some(vec![]);
    office.run(100 * MS);
    office.fall_silent(3);
    office.run(150 * MS);
    let number = office.reads_held.take().unwrap()[0];
    office.read(number);
    let last = office.last_grant(3);
    assert_eq!(last, office.now);
    office.run(2 * T);
    assert!(office.downs()[&NodeId(3)] >= last + T);
}

#[test]
fn a_new_leader_counts_t_from_its_own_beginning() {
    let mut office = Office::with_nodes(3);
    let began = office.now;
    office.fall_silent(3);
    office.run(T - 10 * MS);
    assert!(office.is_up(3), "whom the leader before it granted may hold a lease still");
    office.run(150 * MS);
    assert!(office.downs()[&NodeId(3)] >= began + T);
}

#[test]
fn a_node_that_began_again_has_t_from_then() {
    let mut office = Office::with_nodes(3);
    office.run(T);
    office.fall_silent(3);
    office.run(T / 2);
    office.does(up(NodeId(3)));
    let began = office.now;
    office.run(2 * T);
    assert!(office.downs()[&NodeId(3)] >= began + T);
}

#[test]
fn the_leaders_own_node_obeys_the_same_rule() {
    let mut office = Office::with_nodes(3);
    office.run(T);
    office.fall_silent(1);
    office.run(2 * T);
    assert!(!office.is_up(1), "its member leads, but its rooms do nothing");
    assert!(office.log.owned(1).is_empty());
}

#[test]
fn when_over_a_third_fall_silent_together_one_more_t_passes_behind_a_read() {
    let mut office = Office::with_nodes(5);
    office.run(T);
    office.fall_silent(4);
    office.run(100 * MS);
    office.fall_silent(5);
    let last = office.last_grant(4);
    office.run(T);
    let wait = |event: &Event| matches!(event, Event::MassSilence { silent, of: 5 } if silent.len() == 2);
    assert!(office.events.iter().any(wait), "{:?}", office.events);
    office.run(T + 300 * MS);
    let downs = office.downs();
    assert!(downs[&NodeId(4)] >= last + 2 * T && downs[&NodeId(5)] >= last + 2 * T);
    assert!(downs[&NodeId(5)] < last + 2 * T + 300 * MS);
    assert_eq!(office.events.iter().filter(|event| wait(event)).count(), 1, "once");
    assert_eq!(office.log.owned(1).len() + office.log.owned(2).len() + office.log.owned(3).len(), 4096);
}

#[test]
fn the_one_more_t_begins_when_its_read_completes() {
    let mut office = Office::with_nodes(5);
    office.run(T);
    office.fall_silent(4);
    office.fall_silent(5);
    office.run(T / 2);
    office.reads_held = Some(vec![]);
    office.run(2 * T);
    assert!(office.downs().is_empty(), "without the read it does not begin");
    let completed = office.now;
    office.complete_reads();
    office.timeout();
    office.run(2 * T);
    assert!(office.downs()[&NodeId(4)] >= completed + T);
}

#[test]
fn a_read_that_fails_begins_no_wait() {
    let mut office = Office::with_nodes(5);
    office.run(T);
    office.fall_silent(4);
    office.fall_silent(5);
    office.run(T / 2);
    office.reads_held = Some(vec![]);
    // Each is answered by nothing: somebody else leads by now, perhaps.
    for _ in 0..30 {
        office.run(100 * MS);
        for number in office.reads_held.replace(vec![]).unwrap() {
            let mut out = Vec::new();
            office.steward.handle_read(office.now, number, None, &mut out);
            office.carry_out(out);
        }
    }
    assert!(office.downs().is_empty());
    let completed = office.now;
    office.complete_reads();
    office.run(2 * T);
    assert!(office.downs()[&NodeId(4)] >= completed + T);
}

#[test]
fn those_who_come_back_meanwhile_stay() {
    let mut office = Office::with_nodes(5);
    office.run(T);
    office.fall_silent(4);
    office.fall_silent(5);
    office.run(T + T / 2);
    office.renewing.extend([NodeId(4), NodeId(5)]);
    office.run(3 * T);
    assert!(office.downs().is_empty());
    // And what they had does not count for the next time.
    office.fall_silent(4);
    office.fall_silent(5);
    let last = office.last_grant(4);
    office.run(3 * T);
    assert!(office.downs()[&NodeId(4)] >= last + 2 * T);
}

#[test]
fn two_of_many_nodes_are_no_mass() {
    let mut office = Office::with_nodes(6);
    office.run(T);
    office.fall_silent(5);
    office.fall_silent(6);
    let last = office.last_grant(6);
    office.run(T + 200 * MS);
    assert!(office.downs()[&NodeId(6)] < last + T + 150 * MS);
}

#[test]
fn a_leader_that_stood_still_waits_one_more_t_behind_a_read() {
    let mut office = Office::with_nodes(3);
    office.run(3 * T);
    // SIGSTOP: meanwhile all renew, and none of it is handled before the clock is looked at.
    office.now = office.now + Duration::from_secs(30);
    let woke = office.now;
    office.timeout();
    assert!(office.events.iter().any(|event| matches!(event, Event::StoodStill { .. })));
    office.run(T - 10 * MS);
    assert!(office.downs().is_empty());
    office.run(3 * T);
    assert!(office.downs().is_empty(), "they were never silent");
    // One that died with it.
    office.now = office.now + Duration::from_secs(30);
    office.fall_silent(3);
    let again = office.now;
    office.timeout();
    office.run(2 * T);
    assert!(again > woke && office.downs()[&NodeId(3)] >= again + T);
}

#[test]
fn a_leader_that_nodes_are_heard_by_but_that_cannot_read_evicts_nobody() {
    let mut office = Office::with_nodes(3);
    office.run(T);
    office.reads_held = Some(vec![]);
    office.run(5 * T);
    assert!(office.proposals_held.is_none() && office.downs().is_empty());
}

#[test]
fn a_node_whose_shards_nobody_can_take_keeps_them() {
    let mut log = Log::with_nodes(2);
    log.does(Command::NodeSet { node: NodeId(1), weight: 0, draining: false });
    let mut office = Office::of(log);
    office.run(10 * T);
    // All moved to 2, since a witness owns none.
    office.released(1, office.log.0.index());
    office.run(60 * T);
    assert_eq!(office.log.owned(2).len(), 4096);
    office.fall_silent(2);
    office.run(5 * T);
    assert!(office.is_up(2) && office.downs().is_empty());
    let told = office.events.iter().filter(|e| matches!(e, Event::NobodyLeft { node: NodeId(2) })).count();
    assert_eq!(told, 1);
    // The moment somebody comes.
    office.does(Command::NodeAdd { node: NodeId(3), region: region() });
    office.renewing.insert(NodeId(3));
    office.does(up(NodeId(3)));
    office.run(300 * MS);
    assert!(!office.is_up(2));
    assert_eq!(office.log.owned(3).len(), 4096);
}

#[test]
fn a_node_that_drains_takes_what_nobody_else_can() {
    let mut log = Log::with_nodes(2);
    log.does(Command::NodeSet { node: NodeId(1), weight: 1, draining: true });
    let mut office = Office::of(log);
    office.fall_silent(2);
    office.run(2 * T);
    assert!(!office.is_up(2));
    assert_eq!(office.log.owned(1).len(), 4096);
    assert_eq!(office.moving(), 0, "and there they stay");
}
