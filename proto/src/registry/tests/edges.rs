//! Edges come, drain and are removed.

use super::*;
use crate::id::InvitationId;
use crate::registry::InvitedEdge;

#[test]
fn the_selection_is_replaced_whole_within_its_limits() {
    use crate::select::{Policy, Rule};
    let mut log = Log::default();
    let policy: Policy =
        serde_json::from_str(r#"{"regions": {"eu": [50, 8]}, "rules": [{"app": "a", "only": ["eu"]}]}"#)
            .unwrap();
    log.does(Command::SelectionSet(policy.clone()));
    let silent = Policy { rules: vec![Rule::default()], ..policy.clone() };
    assert_eq!(
        log.says(Command::SelectionSet(silent)),
        Outcome::Refused(Refusal::Invalid(Thing::SelectionRule))
    );
    assert_eq!(**log.0.selection(), policy);
    assert_eq!(*State::decode(&log.0.encode().unwrap()).unwrap().selection(), *log.0.selection());
    log.does(Command::SelectionSet(Policy::default()));
    assert_eq!(**log.0.selection(), Policy::default());
}

#[test]
fn a_removed_edge_stays_out_until_it_is_forgotten() {
    let mut log = Log::default();
    log.does(Command::EdgeUp(hello("e1", 1000)));
    let edge = EdgeId::new("e1").unwrap();
    let set = |state| Command::EdgeSet { edge: edge.clone(), state, weight: 50 };
    assert_eq!(
        log.says(Command::EdgeForget { edge: edge.clone() }),
        Outcome::Refused(Refusal::InUse(Thing::Edge))
    );
    log.does(set(EdgeState::Draining));
    log.does(Command::EdgeUp(hello("e1", 2000)));
    let held = log.0.edge(&edge).unwrap();
    assert_eq!((held.state, held.weight, held.listeners[0].address.port()), (EdgeState::Draining, 50, 2000));
    log.does(set(EdgeState::Removed));
    assert_eq!(log.says(Command::EdgeUp(hello("e1", 2000))), Outcome::Refused(Refusal::Removed(Thing::Edge)));
    assert!(log.0.fleet().is_empty());
    log.does(Command::EdgeForget { edge });
    log.does(Command::EdgeUp(hello("e1", 2000)));
    let nowhere = EdgeHello { coordinates: Some((f64::NAN, 0.0)), ..hello("e2", 1) };
    assert_eq!(log.says(Command::EdgeUp(nowhere)), Outcome::Refused(Refusal::Invalid(Thing::Coordinates)));
}

fn invite(n: u8, name: Option<&str>) -> Command {
    Command::InvitationAdd {
        id: InvitationId::from_random([n; 15]),
        hash: Invitation::hash(&[n; 32]),
        region: None,
        edge: Some(InvitedEdge { name: name.map(|name| EdgeId::new(name).unwrap()) }),
        until: Unix::from_secs(1000),
    }
}

fn join(n: u8, name: &str, applicant: u8) -> Command {
    Command::EdgeJoin {
        invitation: InvitationId::from_random([n; 15]),
        edge: EdgeId::new(name).unwrap(),
        region: region(),
        applicant: vec![applicant; 32],
    }
}

#[test]
fn an_invitation_lets_one_edge_join_and_never_a_node() {
    let mut log = Log::with_nodes(1);
    log.does(invite(1, None));
    let as_node = Command::NodeJoin {
        invitation: InvitationId::from_random([1; 15]),
        region: region(),
        addresses: NodeAddresses::default(),
        applicant: vec![1; 32],
    };
    assert_eq!(log.says(as_node), Outcome::Refused(Refusal::IsFor(Thing::Edge)));
    log.does(join(1, "e1", 1));
    // Its answer was lost: it asks again.
    log.does(join(1, "e1", 1));
    let edge = EdgeId::new("e1").unwrap();
    assert_eq!(log.says(join(1, "e2", 2)), Outcome::Refused(Refusal::UsedByEdge { edge: edge.clone() }));
    // Nor is whoever has joined given another's name.
    assert_eq!(log.says(join(1, "e2", 1)), Outcome::Refused(Refusal::UsedByEdge { edge: edge.clone() }));
    let held = log.0.edge(&edge).unwrap();
    assert!(held.listeners.is_empty() && held.state == EdgeState::Admitted);
    let joined = held.since;
    log.does(Command::Note);
    log.does(Command::EdgeUp(hello("e1", 1000)));
    let since = log.0.edge(&edge).unwrap().since;
    assert!(since > joined, "it is a newcomer from when it serves");
    log.does(Command::EdgeUp(hello("e1", 2000)));
    assert_eq!(log.0.edge(&edge).unwrap().since, since);

    let for_node = Command::InvitationAdd {
        id: InvitationId::from_random([2; 15]),
        hash: Invitation::hash(&[2; 32]),
        region: None,
        edge: None,
        until: Unix::from_secs(1000),
    };
    log.does(for_node);
    assert_eq!(log.says(join(2, "e2", 2)), Outcome::Refused(Refusal::IsFor(Thing::Node)));
    assert_eq!(log.0.edges().count(), 1);
}

#[test]
fn an_edge_takes_anothers_name_by_an_invitation_for_that_name_alone() {
    let mut log = Log::with_nodes(1);
    log.does(Command::EdgeUp(hello("e1", 1000)));
    log.does(invite(1, None));
    assert_eq!(log.says(join(1, "e1", 1)), Outcome::Refused(Refusal::Exists(Thing::Edge)));
    log.does(invite(2, Some("e1")));
    let edge = EdgeId::new("e1").unwrap();
    assert_eq!(log.says(join(2, "e2", 1)), Outcome::Refused(Refusal::IsForEdge(edge.clone())));
    log.does(join(2, "e1", 1));
    assert_eq!(log.0.edge(&edge).unwrap().listeners.len(), 1, "it is as it was");
    log.does(Command::EdgeSet { edge, state: EdgeState::Removed, weight: 1 });
    log.does(invite(3, Some("e1")));
    assert_eq!(log.says(join(3, "e1", 2)), Outcome::Refused(Refusal::Removed(Thing::Edge)));
}

#[test]
fn edges_follow_where_the_nodes_are() {
    let mut log = Log::with_nodes(2);
    let edge = EdgeId::new("e1").unwrap();
    assert!(log.0.edge_view(&edge).nodes.is_empty(), "they have not said where they are");
    let old = log.0.clone();
    let addresses = NodeAddresses { mesh: vec!["192.0.2.7:7000".parse().unwrap()], public: Vec::new() };
    log.does(Command::NodeUp { node: NodeId(2), addresses, build: "test".into(), speaks: 1 });
    let changes = State::edge_changes(&old, &log.0, &edge);
    let [EdgeChange::Nodes { nodes }] = &changes[..] else { panic!("{changes:?}") };
    assert_eq!((nodes.len(), nodes[0].node, &nodes[0].region), (1, NodeId(2), &region()));
    // That it goes down is no news: it mostly comes back.
    let old = log.0.clone();
    let generation = log.0.node(NodeId(2)).unwrap().generation;
    log.does(Command::NodeDown { node: NodeId(2), generation, moves: vec![] });
    assert_eq!(State::edge_changes(&old, &log.0, &edge), []);
}

#[test]
fn an_edge_claims_nothing_that_is_anothers() {
    let mut log = Log::default();
    log.does(Command::EdgeUp(hello("e1", 1000)));
    let e1 = EdgeId::new("e1").unwrap();
    let claimed = |thing| Outcome::Refused(Refusal::Claimed { thing, edge: e1.clone() });
    // Its relay ports are 1000 to 1009.
    assert_eq!(log.says(Command::EdgeUp(hello("e2", 1009))), claimed(Thing::RelayRange));
    let elsewhere = RelayRange { address: "192.0.2.2".parse().unwrap(), first: 1000, last: 1009 };
    let twin = EdgeHello { relays: vec![elsewhere], ..hello("e2", 1000) };
    assert_eq!(log.says(Command::EdgeUp(twin)), claimed(Thing::Listener));
    log.does(Command::EdgeUp(hello("e2", 1010)));
    log.does(Command::EdgeUp(hello("e1", 1000)));
    // While it drains they are its own, and others' once it is gone.
    log.does(Command::EdgeSet { edge: e1.clone(), state: EdgeState::Draining, weight: 1 });
    assert_eq!(log.says(Command::EdgeUp(hello("e3", 1000))), claimed(Thing::RelayRange));
    assert_eq!(log.0.fleet().len(), 2);
    log.does(Command::EdgeSet { edge: e1, state: EdgeState::Removed, weight: 1 });
    assert_eq!(log.0.fleet().len(), 1);
    log.does(Command::EdgeUp(hello("e3", 1000)));
}

fn enrol(name: &str, key: u8) -> Command {
    Command::EdgeEnrol { edge: EdgeId::new(name).unwrap(), region: region(), key: vec![key; 32] }
}

fn offer(hello: EdgeHello, key: u8) -> Command {
    Command::EdgeOffer { hello: Box::new(hello), key: vec![key; 32] }
}

#[test]
fn the_key_that_an_edge_enrolled_by_last_speaks_for_it_alone() {
    let mut log = Log::with_nodes(1);
    let edge = EdgeId::new("e1").unwrap();
    let refused = |log: &mut Log, command, refusal| assert_eq!(log.says(command), Outcome::Refused(refusal));
    refused(&mut log, offer(hello("e1", 1000), 1), Refusal::Unknown(Thing::Edge));
    log.does(invite(1, None));
    log.does(join(1, "e1", 1));
    log.does(offer(hello("e1", 1000), 1));
    refused(&mut log, offer(hello("e1", 1000), 2), Refusal::OtherKey(Thing::Edge));
    // Another machine takes its place: it is as it was, by that one's key.
    log.does(invite(2, Some("e1")));
    log.does(join(2, "e1", 2));
    assert_eq!(log.0.edge(&edge).unwrap().listeners.len(), 1);
    refused(&mut log, offer(hello("e1", 1000), 1), Refusal::OtherKey(Thing::Edge));
    log.does(offer(hello("e1", 2000), 2));
    // The first one does not come back by asking again for the answer to its join.
    refused(&mut log, join(1, "e1", 1), Refusal::OtherKey(Thing::Edge));
    log.does(join(2, "e1", 2));
    // An operator has a key certified, and it stays with what is decided, in a snapshot too.
    log.does(enrol("e1", 3));
    log.does(Command::EdgeSet { edge: edge.clone(), state: EdgeState::Draining, weight: 50 });
    log.0 = State::decode(&log.0.encode().unwrap()).unwrap();
    refused(&mut log, offer(hello("e1", 2000), 2), Refusal::OtherKey(Thing::Edge));
    log.does(offer(hello("e1", 3000), 3));
    // Removed and forgotten, no certificate of its keys lets anybody come back.
    log.does(Command::EdgeSet { edge: edge.clone(), state: EdgeState::Removed, weight: 50 });
    refused(&mut log, offer(hello("e1", 3000), 3), Refusal::Removed(Thing::Edge));
    refused(&mut log, enrol("e1", 4), Refusal::Removed(Thing::Edge));
    log.does(Command::EdgeForget { edge });
    refused(&mut log, offer(hello("e1", 3000), 3), Refusal::Unknown(Thing::Edge));
    refused(&mut log, join(2, "e1", 2), Refusal::Removed(Thing::Edge));
    log.does(enrol("e1", 4));
    let short = Command::EdgeEnrol { edge: EdgeId::new("e1").unwrap(), region: region(), key: vec![1] };
    refused(&mut log, short, Refusal::Invalid(Thing::Applicant));
}

#[test]
fn an_edge_of_an_earlier_release_keeps_the_first_key_that_comes() {
    let mut log = Log::default();
    log.does(Command::EdgeUp(hello("e1", 1000)));
    log.does(offer(hello("e1", 1000), 1));
    assert_eq!(log.says(offer(hello("e1", 1000), 2)), Outcome::Refused(Refusal::OtherKey(Thing::Edge)));
    log.does(Command::EdgeUp(hello("e1", 2000)));
    assert_eq!(log.says(offer(hello("e1", 1000), 2)), Outcome::Refused(Refusal::OtherKey(Thing::Edge)));
}

#[test]
fn an_edge_listens_where_clients_could_reach_it_and_no_node_is() {
    let mut log = Log::with_nodes(1);
    log.does(enrol("e1", 1));
    log.does(enrol("e2", 2));
    log.does(offer(hello("e1", 1000), 1));
    let at = |edge: &str, address: &str| {
        let mut hello = hello(edge, 7000);
        hello.listeners[0].address = address.parse().unwrap();
        offer(hello, 2)
    };
    for nowhere in [
        "0.0.0.0:1",
        "[::]:1",
        "169.254.169.254:80",
        "[fe80::1]:1",
        "[::ffff:169.254.1.1]:1",
        "224.0.0.1:1",
        "[ff02::1]:1",
        "255.255.255.255:1",
    ] {
        let refused = log.says(at("e2", nowhere));
        assert_eq!(refused, Outcome::Refused(Refusal::Invalid(Thing::Listener)), "{nowhere}");
    }
    let mut relays = hello("e2", 7000);
    relays.relays[0].address = "169.254.169.254".parse().unwrap();
    assert_eq!(log.says(offer(relays, 2)), Outcome::Refused(Refusal::Invalid(Thing::RelayRange)));
    // Written otherwise it is another's all the same.
    let e1 = EdgeId::new("e1").unwrap();
    let claimed = Outcome::Refused(Refusal::Claimed { thing: Thing::Listener, edge: e1 });
    assert_eq!(log.says(at("e2", "[::ffff:192.0.2.1]:1000")), claimed);
    // A node's own place, to which its edges would be sent to look.
    let addresses = NodeAddresses { mesh: vec!["192.0.2.7:7900".parse().unwrap()], public: Vec::new() };
    log.does(Command::NodeUp { node: NodeId(1), addresses, build: "test".into(), speaks: 1 });
    let own = Outcome::Refused(Refusal::Invalid(Thing::Listener));
    assert_eq!(log.says(at("e2", "[::ffff:192.0.2.7]:7900")), own);
    log.does(at("e2", "[::ffff:192.0.2.7]:3478"));
    let held = log.0.edge(&EdgeId::new("e2").unwrap()).unwrap();
    assert_eq!(held.listeners[0].address, "192.0.2.7:3478".parse().unwrap());
}
