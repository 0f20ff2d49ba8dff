mod members;
mod rights;
mod voters;

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr};
use std::time::Duration;

use proptest::prelude::*;

use super::*;
use crate::id::{
    AppId, ClusterId, EdgeId, Epoch, Generation, Identity, Index, KeyId, NodeId, Region, RoomKey, RoomName,
    SessionId, Shard,
};
use crate::limits::{AUDIT_MAX, REVOKED_MAX, SHARDS};
use crate::mesh::uplink::{
    EdgeChange, EdgeHello, EdgeView, Listener, PeerPolicy, RelayRange, Secret, TurnUser,
};
use crate::time::Unix;
use crate::turn::Transport;

/// A registry that is fed one command a second.
#[derive(Default)]
pub(super) struct Log(pub(super) State);

impl Log {
    pub(super) fn says(&mut self, command: Command) -> Outcome {
        let (index, at) = (Index(self.0.index().0 + 1), Unix::from_secs(self.0.now().secs() + 1));
        self.0.apply(index, Entry { at, by: None, note: None, command })
    }

    pub(super) fn does(&mut self, command: Command) {
        let outcome = self.says(command);
        assert!(!matches!(outcome, Outcome::Refused(_)), "{outcome:?}");
    }

    pub(super) fn with_nodes(n: u64) -> Self {
        let mut log = Self::default();
        for node in (1..=n).map(NodeId) {
            log.does(Command::NodeAdd { node, region: region() });
            log.does(up(node));
        }
        log.does(Command::Moved { moves: placement::solve(&log.0) });
        log
    }

    pub(super) fn owned(&self, node: u64) -> Vec<(Shard, Epoch)> {
        let own = self.0.shards().filter(|(_, shard)| shard.owner == Some(NodeId(node)));
        own.map(|(id, shard)| (id, shard.epoch)).collect()
    }
}

pub(super) fn region() -> Region {
    Region::new("here").unwrap()
}

pub(super) fn up(node: NodeId) -> Command {
    Command::NodeUp { node, addresses: NodeAddresses::default(), build: "test".into(), speaks: 1 }
}

fn app(name: &str) -> AppId {
    AppId::new(name).unwrap()
}

fn session(n: u8) -> SessionId {
    SessionId::from_random([n; 15])
}

fn secret(n: u8) -> Secret {
    Secret(vec![n; 32])
}

fn hello(edge: &str, port: u16) -> EdgeHello {
    let address = IpAddr::V4(Ipv4Addr::new(192, 0, 2, 1));
    EdgeHello {
        edge: EdgeId::new(edge).unwrap(),
        build: "test".into(),
        region: region(),
        coordinates: Some((52.5, 13.4)),
        listeners: vec![Listener {
            transport: Transport::Udp,
            address: (address, port).into(),
            hostname: None,
        }],
        relays: vec![RelayRange { address, first: port, last: port + 9 }],
        capacity: 100,
        feed: None,
    }
}

#[test]
fn a_start_raises_generation_and_the_epochs_of_what_is_owned() {
    let mut log = Log::with_nodes(2);
    let (mine, others) = (log.owned(1), log.owned(2));
    assert_eq!((mine.len(), others.len()), (2048, 2048));
    assert_eq!(log.says(up(NodeId(1))), Outcome::Up { generation: Generation(2) });
    assert!(log.owned(1).iter().zip(&mine).all(|(now, before)| now.1.0 == before.1.0 + 1));
    assert_eq!(log.owned(2), others);
}

#[test]
fn a_node_that_is_gone_loses_its_shards_at_the_next_epoch() {
    let mut log = Log::with_nodes(2);
    let down = |log: &Log, generation| Command::NodeDown {
        node: NodeId(2),
        generation,
        moves: vec![Moves { to: NodeId(1), shards: log.owned(2) }],
    };
    // Computed before it began again: nothing of it holds any more.
    let stale = down(&log, Generation(1));
    log.does(up(NodeId(2)));
    assert_eq!(log.says(stale), Outcome::Refused(Refusal::OtherGeneration(Generation(2))));
    let command = down(&log, Generation(2));
    assert!(
        Entry { at: Unix(Duration::MAX), by: None, note: None, command: command.clone() }.encode().is_ok()
    );
    log.does(command);
    assert_eq!(log.owned(1).len(), 4096);
    assert_eq!(log.0.node(NodeId(2)).unwrap().state, NodeState::Down);
    log.does(Command::NodeRemove { node: NodeId(2) });
    let again = Command::NodeAdd { node: NodeId(2), region: region() };
    assert!(matches!(log.says(again), Outcome::Refused(Refusal::NotNext { next: 3, .. })), "no id is reused");
}

#[test]
fn a_life_that_ended_is_known_for_a_while() {
    let mut log = Log::with_nodes(3);
    let lately = |log: &Log| log.0.lost_any_within(log.0.now(), Duration::from_secs(10));
    assert!(!lately(&log), "a first life ends none");
    log.does(up(NodeId(1)));
    assert!(lately(&log));
    for _ in 0..9 {
        log.does(Command::Note);
    }
    assert!(lately(&log));
    log.does(Command::Note);
    assert!(!lately(&log));
    let down = |log: &Log, node, generation| Command::NodeDown {
        node: NodeId(node),
        generation: Generation(generation),
        moves: vec![Moves { to: NodeId(1), shards: log.owned(node) }],
    };
    log.does(down(&log, 2, 1));
    assert!(lately(&log));
    // An operator removes what is dead at once.
    log.does(Command::NodeRemove { node: NodeId(2) });
    assert!(lately(&log), "its clients are still on their way back");
    log.does(Command::NodeAdd { node: NodeId(4), region: region() });
    log.does(Command::NodeRemove { node: NodeId(4) });
    for _ in 0..7 {
        log.does(Command::Note);
    }
    assert!(!lately(&log), "one that never began had nobody");
}

#[test]
fn an_owner_that_is_up_is_asked_before_its_shards_move() {
    let mut log = Log::with_nodes(2);
    let (shard, epoch) = log.owned(1)[0];
    let moves = |to, epoch| vec![Moves { to: NodeId(to), shards: vec![(shard, epoch)] }];
    let refused = Outcome::Refused(Refusal::ShardMoved { shard, epoch });
    assert_eq!(log.says(Command::Moved { moves: moves(2, epoch) }), refused);
    assert_eq!(log.says(Command::Moving { moves: moves(2, Epoch(77)) }), refused);
    log.does(Command::Moving { moves: moves(2, epoch) });
    let held = *log.0.shard(shard).unwrap();
    assert_eq!((held.moving, held.since), (Some(NodeId(2)), log.0.index()));
    // Called off, then done after all.
    log.does(Command::Moving { moves: moves(1, epoch) });
    assert_eq!(log.says(Command::Moved { moves: moves(2, epoch) }), refused);
    log.does(Command::Moving { moves: moves(2, epoch) });
    log.does(Command::Moved { moves: moves(2, epoch) });
    let moved = ShardEntry { owner: Some(NodeId(2)), epoch: Epoch(epoch.0 + 1), ..ShardEntry::default() };
    assert_eq!(log.0.shard(shard), Some(&moved));
}

#[test]
fn a_move_that_is_wrong_in_one_shard_moves_none() {
    let mut log = Log::with_nodes(1);
    log.does(Command::NodeAdd { node: NodeId(2), region: region() });
    log.does(up(NodeId(2)));
    let before = log.0.clone();
    for bad in [(Shard(1), Epoch(1)), (Shard(SHARDS), Epoch(0)), (Shard(0), Epoch(1))] {
        let shards = vec![(Shard(0), Epoch(1)), bad, (Shard(2), Epoch(0))];
        let command = Command::Moving { moves: vec![Moves { to: NodeId(2), shards }] };
        assert!(matches!(log.says(command), Outcome::Refused(Refusal::ShardMoved { .. })), "{bad:?}");
        assert_eq!(log.0.shards, before.shards);
    }
}

#[test]
fn numbered_secrets_grow_and_the_newest_stays() {
    let mut log = Log::default();
    let add = |number| Command::TurnSecretAdd { number, secret: secret(7) };
    log.does(add(1));
    let not_next = Refusal::NotNext { thing: Thing::TurnSecret, next: 2 };
    assert_eq!(log.says(add(1)), Outcome::Refused(not_next));
    assert_eq!(
        log.says(Command::TurnSecretRemove { number: 1 }),
        Outcome::Refused(Refusal::Last(Thing::TurnSecret))
    );
    log.does(add(2));
    log.does(Command::TurnSecretRemove { number: 1 });
    assert_eq!(log.0.turn_secrets().newest().unwrap().0, 2);
    assert_eq!(log.0.turn_secrets().next(), 3);
    for number in 3..=9 {
        log.does(add(number));
    }
    assert!(matches!(log.says(add(10)), Outcome::Refused(Refusal::Full { max: 8, .. })));
    let short = Command::SealingKeyAdd { number: 1, key: Secret(vec![0; 31]) };
    assert_eq!(log.says(short), Outcome::Refused(Refusal::Invalid(Thing::Secret)));
}

#[test]
fn an_app_takes_its_keys_with_it() {
    let mut log = Log::default();
    let key = |n| KeyId::from_random([n; 15]);
    let add = |n| Command::KeyAdd { app: app("dev"), key: key(n), secret: secret(n) };
    assert_eq!(log.says(add(1)), Outcome::Refused(Refusal::Unknown(Thing::App)));
    log.does(Command::AppAdd { app: app("dev"), name: "Dev".into(), policy: AppPolicy::default() });
    for n in 0..16 {
        log.does(add(n));
    }
    assert!(matches!(log.says(add(16)), Outcome::Refused(Refusal::Full { max: 16, .. })));
    log.does(Command::KeySet { key: key(3), disabled: true });
    assert!(log.0.key(&key(3)).unwrap().disabled);
    log.does(Command::AppRemove { app: app("dev") });
    assert!(log.0.key(&key(3)).is_none());
}

#[test]
fn policies_out_of_range_are_refused() {
    let mut log = Log::default();
    let mut refuses = |policy, thing| {
        let command = Command::AppAdd { app: app("dev"), name: "Dev".into(), policy };
        assert_eq!(log.says(command), Outcome::Refused(Refusal::Invalid(thing)));
    };
    let fine = AppPolicy::default;
    refuses(AppPolicy { grace_ms: 300_001, ..fine() }, Thing::Grace);
    refuses(AppPolicy { capacity: 0, ..fine() }, Thing::Capacity);
    for origin in ["example.com", "https://", "https://a/b", "https://A", "https://a b", "://a"] {
        refuses(AppPolicy { origins: vec![origin.into()], ..fine() }, Thing::Origin);
    }
    let policy =
        AppPolicy { origins: vec!["https://meet.example.com:8443".into(), "http://[::1]".into()], ..fine() };
    log.does(Command::AppAdd { app: app("dev"), name: "Dev".into(), policy });
}

#[test]
fn revocations_expire_by_the_registrys_time_and_the_latest_counts() {
    let mut log = Log::default();
    let room = RoomKey { app: app("dev"), room: RoomName::new("tower").unwrap() };
    let who = Identity::new("claude").unwrap();
    let kick = |until| Command::Revoke {
        sessions: vec![session(1)],
        banned: Some((room.clone(), who.clone())),
        until: Unix::from_secs(until),
        banned_until: None,
    };
    log.does(kick(100));
    log.does(kick(50));
    let at = Unix::from_secs;
    assert_eq!(log.0.revoked(&session(1), at(99)), Some(at(100)));
    assert_eq!(log.0.revoked(&session(1), at(100)), None);
    assert_eq!(log.0.banned(&room, &who, at(99)), Some(at(100)));
    log.does(Command::Revoke {
        sessions: vec![session(1)],
        banned: Some((room.clone(), who.clone())),
        until: at(20),
        banned_until: Some(at(900)),
    });
    assert_eq!(log.0.revoked(&session(1), at(99)), Some(at(100)), "the two have their own ends");
    assert_eq!(log.0.banned(&room, &who, at(899)), Some(at(900)));
    log.does(Command::Pardon { room: room.clone(), identity: who.clone() });
    assert_eq!(log.0.banned(&room, &who, at(1)), None);
    assert!(log.0.revoked(&session(1), at(1)).is_some(), "a pardon revives no credential");
}

#[test]
fn a_full_table_of_revocations_is_swept_then_refuses() {
    let mut state = State::default();
    let mut index = 0_u64;
    let mut revoke = |state: &mut State, n: u32, at: u64, until: u64| {
        let mut id = [0; 15];
        id[..4].copy_from_slice(&n.to_be_bytes());
        let sessions = vec![SessionId::from_random(id)];
        let until = Unix::from_secs(until);
        let command = Command::Revoke { sessions, banned: None, until, banned_until: None };
        index += 1;
        state.apply(Index(index), Entry { at: Unix::from_secs(at), by: None, note: None, command })
    };
    let max = u32::try_from(REVOKED_MAX).unwrap();
    for n in 0..max {
        assert_eq!(revoke(&mut state, n, 1, 100), Outcome::Done);
    }
    let full = Refusal::Full { thing: Thing::Revocation, max: u64::from(max) };
    assert_eq!(revoke(&mut state, max, 99, 200), Outcome::Refused(full));
    assert_eq!(revoke(&mut state, max, 100, 200), Outcome::Done);
    assert_eq!(state.revocations.sessions.len(), 1);
}

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

// ------------------------------------------------------------------------------------ properties

fn turn_user(realm: &str, n: u8, password: u8) -> TurnUser {
    let user = TurnUser::of_password(realm, &format!("u{n}"), &password.to_string());
    if n == 3 { TurnUser { sha256: None, ..user } } else { user }
}

fn some_relay_users() -> impl Strategy<Value = Command> {
    let realm = || prop::sample::select(vec!["", "r", "s"]);
    prop_oneof![
        (realm(), 0u8..4, 0u8..3)
            .prop_map(|(realm, n, password)| turn_user(realm, n, password))
            .prop_map(Command::TurnUserSet),
        (realm(), 0u8..4).prop_map(|(realm, n)| {
            let TurnUser { realm, name, .. } = turn_user(realm, n, 0);
            Command::TurnUserRemove { realm, name }
        }),
        prop::collection::vec((0u8..3, realm()), 0..3).prop_map(|some| Command::TurnOriginsSet {
            origins: some.into_iter().map(|(n, r)| (format!("https://o{n}"), r.to_owned())).collect()
        }),
    ]
}

/// Ids out of a small space, so that commands meet what others made.
fn some_command() -> impl Strategy<Value = Command> {
    let node = || (0u64..5).prop_map(NodeId);
    let apps = || prop::sample::select(vec!["a", "b", "c"]).prop_map(app);
    let key = || (0u8..6).prop_map(|n| KeyId::from_random([n; 15]));
    let edge = || prop::sample::select(vec!["e1", "e2"]).prop_map(|name| EdgeId::new(name).unwrap());
    let state = prop::sample::select(vec![EdgeState::Admitted, EdgeState::Draining, EdgeState::Removed]);
    let room = |app| RoomKey { app, room: RoomName::new("r").unwrap() };
    let who = || (0u8..3).prop_map(|n| Identity::new(&format!("i{n}")).unwrap());
    let moves = || {
        let shards = prop::collection::vec(((0u16..8).prop_map(Shard), (0u64..4).prop_map(Epoch)), 0..4);
        prop::collection::vec((node(), shards).prop_map(|(to, shards)| Moves { to, shards }), 0..3)
    };
    prop_oneof![
        Just(Command::Note),
        Just(Command::ClusterBegin {
            id: ClusterId::from_random([1; 15]),
            name: "c".into(),
            realm: "chappe".into()
        }),
        (0u32..3, 0u32..3).prop_map(|(from, to)| Command::VersionRaise { from, to }),
        (apps(), 0u64..400_000).prop_map(|(app, grace_ms)| {
            let policy = AppPolicy { grace_ms, ..AppPolicy::default() };
            Command::AppAdd { app, name: "n".into(), policy }
        }),
        apps().prop_map(|app| Command::AppRemove { app }),
        (apps(), key()).prop_map(|(app, key)| Command::KeyAdd { app, key, secret: secret(1) }),
        (key(), any::<bool>()).prop_map(|(key, disabled)| Command::KeySet { key, disabled }),
        key().prop_map(|key| Command::KeyRemove { key }),
        node().prop_map(|node| Command::NodeAdd { node, region: region() }),
        node().prop_map(up),
        (node(), (0u64..4).prop_map(Generation), moves())
            .prop_map(|(node, generation, moves)| Command::NodeDown { node, generation, moves }),
        (node(), 0u16..3, any::<bool>()).prop_map(|(node, weight, draining)| Command::NodeSet {
            node,
            weight,
            draining
        }),
        node().prop_map(|node| Command::NodeRemove { node }),
        moves().prop_map(|moves| Command::Moving { moves }),
        moves().prop_map(|moves| Command::Moved { moves }),
        (edge(), 1u16..60_000).prop_map(|(edge, port)| Command::EdgeUp(hello(edge.as_str(), port))),
        (edge(), state, any::<u16>()).prop_map(|(edge, state, weight)| Command::EdgeSet {
            edge,
            state,
            weight
        }),
        edge().prop_map(|edge| Command::EdgeForget { edge }),
        (0u64..5).prop_map(|number| Command::TurnSecretAdd { number, secret: secret(2) }),
        (0u64..5).prop_map(|number| Command::TurnSecretRemove { number }),
        (0u64..5).prop_map(|number| Command::SealingKeyAdd { number, key: secret(3) }),
        (0u64..5).prop_map(|number| Command::SealingKeyRemove { number }),
        (
            prop::collection::vec((0u8..6).prop_map(session), 0..4),
            prop::option::of((apps(), who())),
            0u64..100,
            prop::option::of((0u64..100).prop_map(Unix::from_secs))
        )
            .prop_map(move |(sessions, banned, until, banned_until)| Command::Revoke {
                sessions,
                banned: banned.map(|(app, who)| (room(app), who)),
                until: Unix::from_secs(until),
                banned_until,
            }),
        (apps(), who()).prop_map(move |(app, identity)| Command::Pardon { room: room(app), identity }),
        prop::collection::vec(any::<u8>(), 0..3).prop_map(|nets| {
            let net = |n| ipnet::IpNet::new(IpAddr::V4(Ipv4Addr::new(10, n, 0, 0)), 16).unwrap();
            Command::PeersSet(PeerPolicy { allow: nets.into_iter().map(net).collect(), deny: vec![] })
        }),
        some_relay_users(),
        members::some_command(),
    ]
}

fn some_entry() -> impl Strategy<Value = Entry> {
    let by = prop::option::of((0u64..20).prop_map(|n| RequestId {
        node: NodeId(1),
        generation: Generation(1),
        n,
    }));
    let note = prop::option::of(Just(Note { who: "w".into(), what: "x".into(), from: "f".into() }));
    (0u64..60, by, note, some_command()).prop_map(|(at, by, note, command)| Entry {
        at: Unix::from_secs(at),
        by,
        note,
        command,
    })
}

/// Applies from the index after `state`'s; each entry by way of its bytes, as a node reads it.
fn replay(state: &mut State, entries: &[Entry]) {
    for entry in entries {
        let read = Entry::decode(&entry.encode().unwrap()).unwrap();
        assert_eq!(read, *entry);
        state.apply(Index(state.index().0 + 1), read);
    }
}

/// What an edge makes of a change.
fn follow(view: &mut EdgeView, change: EdgeChange) {
    match change {
        EdgeChange::SecretAdded { number, secret } => drop(view.secrets.insert(number, secret)),
        EdgeChange::SecretRemoved { number } => drop(view.secrets.remove(&number)),
        EdgeChange::Revoked { session, until } => drop(view.revoked.insert(session, until)),
        EdgeChange::Fleet { relays } => view.fleet = relays,
        EdgeChange::Peers(peers) => view.peers = peers,
        EdgeChange::Draining { draining } => view.draining = draining,
        EdgeChange::UserSet(user) => {
            view.users.retain(|held| (&held.realm, &held.name) != (&user.realm, &user.name));
            view.users.push(user);
            view.users.sort_by(|a, b| (&a.realm, &a.name).cmp(&(&b.realm, &b.name)));
        }
        EdgeChange::UserRemoved { realm, name } => {
            view.users.retain(|held| (&held.realm, &held.name) != (&realm, &name));
        }
        EdgeChange::Origins { origins } => view.origins = origins,
        EdgeChange::Alternates { alternates } => view.alternates = alternates,
        EdgeChange::Authorities { authorities } => view.authorities = authorities,
        EdgeChange::Unknown => panic!("the registry says only what it knows"),
    }
}

proptest! {
    #[test]
    fn a_snapshot_and_the_rest_of_the_log_are_the_whole_log(
        entries in prop::collection::vec(some_entry(), 0..120),
        cut in any::<prop::sample::Index>(),
    ) {
        let mut whole = State::default();
        replay(&mut whole, &entries);
        // Versions beyond this release's are not read back: that is the point of them.
        prop_assume!(whole.version() <= VERSION);
        let (head, tail) = entries.split_at(cut.index(entries.len() + 1));
        let mut first = State::default();
        replay(&mut first, head);
        let mut resumed = State::decode(&first.encode().unwrap()).unwrap();
        prop_assert_eq!(resumed.encode().unwrap(), first.encode().unwrap());
        replay(&mut resumed, tail);
        prop_assert_eq!(resumed.encode().unwrap(), whole.encode().unwrap());
        prop_assert_eq!(resumed, whole);
    }

    #[test]
    fn an_edge_that_follows_the_changes_has_the_view(
        entries in prop::collection::vec(some_entry(), 0..80),
        strides in prop::collection::vec(1usize..9, 80),
    ) {
        let edge = EdgeId::new("e1").unwrap();
        let mut state = State::default();
        let mut view = state.edge_view(&edge);
        let mut rest = entries.as_slice();
        for stride in strides {
            let (some, others) = rest.split_at(stride.min(rest.len()));
            rest = others;
            let old = state.clone();
            replay(&mut state, some);
            for change in State::edge_changes(&old, &state, &edge) {
                follow(&mut view, change);
            }
            view.index = state.index();
            view.revoked.retain(|_, until| *until > state.now());
            prop_assert_eq!(&view, &state.edge_view(&edge));
        }
    }

    #[test]
    fn solve_balances_with_the_fewest_moves_and_then_rests(
        rounds in prop::collection::vec((1u64..7, 0u16..5, any::<bool>(), any::<bool>()), 1..12),
        groups in prop::collection::vec((0u16..4096, 0u16..2000, 0usize..3), 0..4),
    ) {
        let mut log = Log::with_nodes(1);
        // Two regions where nodes stand in turn, and one where none does.
        let place = |n: u64| Region::new(["here", "there"][usize::try_from(n % 2).unwrap()]).unwrap();
        let regions = [place(0), place(1), Region::new("nowhere").unwrap()];
        for (first, length, at) in groups {
            let shards = (first..(first + length).min(SHARDS)).map(Shard).collect();
            log.does(Command::GroupSet { group: Some(regions[at].clone()), shards });
        }
        for (node, weight, draining, down) in rounds {
            let node = NodeId(node);
            while log.0.next_node() <= node {
                let next = log.0.next_node();
                log.does(Command::NodeAdd { node: next, region: place(next.0) });
            }
            log.does(Command::NodeSet { node, weight, draining });
            if down {
                let generation = log.0.node(node).unwrap().generation;
                log.does(Command::NodeDown { node, generation, moves: vec![] });
            } else {
                log.does(up(node));
            }
            let before: Vec<_> = log.0.shards().map(|(_, shard)| shard.owner).collect();
            let moves = placement::solve(&log.0);
            let eligible: BTreeMap<_, _> = log
                .0
                .nodes()
                .filter(|(_, n)| n.state == NodeState::Up && !n.drains() && n.weight > 0)
                .map(|(id, n)| (id, u64::from(n.weight)))
                .collect();
            if eligible.is_empty() {
                prop_assert!(moves.is_empty());
                continue;
            }
            // From those who are up it is planned; from the others at once.
            for Moves { to, shards } in moves {
                for (shard, epoch) in shards {
                    let moves = vec![Moves { to, shards: vec![(shard, epoch)] }];
                    let owner = log.0.shard(shard).unwrap().owner;
                    if owner.is_some_and(|owner| log.0.node(owner).unwrap().state == NodeState::Up) {
                        log.does(Command::Moving { moves: moves.clone() });
                    }
                    log.does(Command::Moved { moves });
                }
            }
            // Each group for itself.
            let mut shards: BTreeMap<_, Vec<_>> = BTreeMap::new();
            for ((shard, now), then) in log.0.shards().zip(&before) {
                shards.entry(log.0.group(shard)).or_default().push((*then, now.owner));
            }
            for (group, shards) in shards {
                let there = |node| group.is_none_or(|group| log.0.node(node).unwrap().region == *group);
                let some = eligible.keys().any(|node| there(*node));
                let fit: BTreeMap<_, _> =
                    eligible.iter().filter(|(node, _)| !some || there(**node)).collect();
                let (sum, total) = (fit.values().copied().sum::<u64>(), shards.len() as u64);
                let mut least = 0;
                for (node, weight) in fit {
                    let had = shards.iter().filter(|(then, _)| then == &Some(*node)).count() as u64;
                    let has = shards.iter().filter(|(_, now)| now == &Some(*node)).count() as u64;
                    prop_assert!(has * sum + sum > total * weight && has * sum < total * weight + sum);
                    // It gave none away that it could have kept, and took none that it gave.
                    least += has.saturating_sub(had);
                }
                let moved = shards.iter().filter(|(then, now)| then != now).count() as u64;
                prop_assert_eq!(moved, least);
            }
            prop_assert!(placement::solve(&log.0).is_empty(), "idempotent");
        }
    }
}
