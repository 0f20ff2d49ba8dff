//! What every entry of the log goes through: repetition, audit, time, versions.

use super::*;
use crate::limits::AUDIT_MAX;

#[test]
fn a_request_sent_again_is_not_carried_out_again() {
    let mut log = Log::with_nodes(1);
    let by = Some(RequestId { node: NodeId(1), generation: Generation(1), n: 5 });
    let entry = Entry { at: log.0.now(), by, note: None, command: up(NodeId(1)) };
    let index = log.0.index().0;
    let first = log.0.apply(Index(index + 1), entry.clone());
    assert_eq!(first, Outcome::Up { generation: Generation(2) });
    assert_eq!(log.0.apply(Index(index + 2), entry), first);
    assert_eq!(log.0.node(NodeId(1)).unwrap().generation, Generation(2));
}

#[test]
fn a_request_that_its_sender_named_is_carried_out_once_whoever_brings_it() {
    let mut log = Log::default();
    let add = |secret_of| {
        let key = KeyId::from_random([secret_of; 15]);
        Command::KeyAdd { app: app("a"), key, secret: secret(secret_of) }
    };
    let mut brought = |n, command: Command| {
        let by = RequestId::named(&[1; 32], n, &command).ok();
        let (index, at) = (Index(log.0.index().0 + 1), log.0.now());
        (log.0.apply(index, Entry { at, by, note: None, command }), log.0.keys_of(&app("a")).count())
    };
    // What was refused is tried again.
    assert_eq!(brought(0, add(32)), (Outcome::Refused(Refusal::Unknown(Thing::App)), 0));
    let new = Command::AppAdd { app: app("a"), name: "A".into(), policy: AppPolicy::default() };
    assert_eq!(brought(1, new), (Outcome::Done, 0));
    assert_eq!(brought(0, add(32)), (Outcome::Done, 1));
    assert_eq!(brought(0, add(32)), (Outcome::Done, 1), "once");
    // Another node draws another key for the same request.
    assert_eq!(brought(0, add(33)), (Outcome::Refused(Refusal::Repeated), 1));
    assert_eq!(brought(2, add(33)), (Outcome::Done, 2), "another request");
}

#[test]
fn the_audit_log_keeps_the_last_and_tells_refusals() {
    let mut state = State::default();
    let note = |n: usize| Note { who: "op".into(), what: format!("did {n}"), from: "::1".into() };
    for n in 0..AUDIT_MAX + 3 {
        let entry = Entry { at: Unix::from_secs(1), by: None, note: Some(note(n)), command: Command::Note };
        state.apply(Index(n as u64 + 1), entry);
    }
    assert_eq!(state.audit().count(), AUDIT_MAX);
    assert_eq!(state.audit().next().unwrap().note, note(3));
    let command = Command::AppRemove { app: app("none") };
    state.apply(Index(20_000), Entry { at: Unix::from_secs(1), by: None, note: Some(note(0)), command });
    assert_eq!(state.audit().next_back().unwrap().refused, Some(Refusal::Unknown(Thing::App)));
    let long = Note { who: "x".repeat(257), ..note(0) };
    let entry = Entry { at: Unix::from_secs(1), by: None, note: Some(long), command: Command::Note };
    assert_eq!(state.apply(Index(20_001), entry), Outcome::Refused(Refusal::Invalid(Thing::Note)));
}

#[test]
fn time_never_goes_back() {
    let mut state = State::default();
    for (index, at) in [(1, 50), (2, 20), (3, 51)] {
        let entry = Entry { at: Unix::from_secs(at), by: None, note: None, command: Command::Note };
        state.apply(Index(index), entry);
        assert_eq!(state.now(), Unix::from_secs(at.max(50)));
    }
}

#[test]
fn the_version_rises_only_when_every_node_understands() {
    let mut log = Log::with_nodes(2);
    let raise = Command::VersionRaise { from: 1, to: 2 };
    assert_eq!(log.says(raise.clone()), Outcome::Refused(Refusal::TooOld { node: NodeId(1), speaks: 1 }));
    for node in [NodeId(1), NodeId(2)] {
        let addresses = NodeAddresses::default();
        log.does(Command::NodeUp { node, addresses, build: "newer".into(), speaks: 2 });
    }
    log.does(raise.clone());
    assert_eq!(log.says(raise), Outcome::Refused(Refusal::OtherVersion(2)));
    assert_eq!(log.says(up(NodeId(1))), Outcome::Refused(Refusal::TooOld { node: NodeId(1), speaks: 1 }));
    let bytes = log.0.encode().unwrap();
    assert!(
        matches!(State::decode(&bytes), Err(SnapshotError::TooNew { found: 2 })),
        "this release stays out"
    );
    // Also where it can't read the rest.
    let newer = BTreeMap::from([("version", 2)]);
    let read = State::decode(&crate::wire::encode(&newer).unwrap());
    assert!(matches!(read, Err(SnapshotError::TooNew { found: 2 })));
    let broken = BTreeMap::from([("version", 1)]);
    let read = State::decode(&crate::wire::encode(&broken).unwrap());
    assert!(matches!(read, Err(SnapshotError::Wire(_))));
}

#[test]
fn unknown_fields_are_skipped_and_unknown_commands_are_not() {
    #[derive(serde::Serialize)]
    struct Newer<T> {
        at: u64,
        command: BTreeMap<&'static str, T>,
        colour: &'static str,
    }
    #[derive(serde::Serialize)]
    struct Rename {
        name: &'static str,
        font: u8,
    }
    let rename =
        Newer { at: 1, command: [("cluster_rename", Rename { name: "x", font: 3 })].into(), colour: "red" };
    let read = Entry::decode(&crate::wire::encode(&rename).unwrap()).unwrap();
    assert_eq!(read.command, Command::ClusterRename { name: "x".into() });
    let unknown = Newer { at: 1, command: [("teleport", 1)].into(), colour: "red" };
    assert!(Entry::decode(&crate::wire::encode(&unknown).unwrap()).is_err());
}
