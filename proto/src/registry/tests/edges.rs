//! Edges come, drain and are removed.

use super::*;

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
