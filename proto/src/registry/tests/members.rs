//! Who may join, who leaves, where shards may be, which timers run.

use std::time::Duration;

use proptest::prelude::*;
use serde::Serialize;

use super::*;
use crate::id::InvitationId;
use crate::limits::{INVITATION_TTL_MAX, INVITATIONS_MAX, SWEEP_EVERY};
use crate::mesh::uplink::Certificate;
use crate::registry::profile::{LAN, ProfileName, WAN};

fn id(n: u8) -> InvitationId {
    InvitationId::from_random([n; 15])
}

fn invite(n: u8, until: Unix) -> Command {
    Command::InvitationAdd { id: id(n), hash: Invitation::hash(&[n; 32]), region: None, edge: None, until }
}

fn join(n: u8, applicant: u8) -> Command {
    Command::NodeJoin {
        invitation: id(n),
        region: region(),
        addresses: NodeAddresses {
            mesh: vec!["192.0.2.7:7000".parse().unwrap()],
            public: vec!["https://seven".into()],
        },
        applicant: vec![applicant; 32],
    }
}

fn authority(number: u64) -> Command {
    Command::AuthorityAdd { number, certificate: vec![7; 300], key: Secret(vec![0xAB; 138]) }
}

fn refused(refusal: Refusal) -> Outcome {
    Outcome::Refused(refusal)
}

pub(super) fn some_command() -> impl Strategy<Value = Command> {
    let node = || (0u64..5).prop_map(NodeId);
    let until = || (0u64..90).prop_map(Unix::from_secs);
    let shards = || prop::collection::vec((0u16..10).prop_map(Shard), 0..5);
    let group = || prop::option::of((0u8..2).prop_map(|n| Region::new(&format!("r{n}")).unwrap()));
    let profile = || prop::sample::select(vec![ProfileName::Lan, ProfileName::Wan]);
    prop_oneof![
        node().prop_map(|node| Command::NodeLeave { node }),
        (0u8..3, until()).prop_map(|(n, until)| invite(n, until)),
        (0u8..3).prop_map(|n| Command::InvitationRemove { id: id(n) }),
        (0u8..3, 0u8..2).prop_map(|(n, applicant)| join(n, applicant)),
        (group(), shards()).prop_map(|(group, shards)| Command::GroupSet { group, shards }),
        profile().prop_map(|profile| Command::ProfileSet { profile }),
        (0u64..120).prop_map(|since| Command::ProfileSettled { since: Index(since) }),
        (2u8..7).prop_map(|wanted| Command::VotersSet { wanted }),
        (0u64..5).prop_map(authority),
        (0u64..5).prop_map(|number| Command::AuthorityRemove { number }),
    ]
}

#[test]
fn an_invitation_lets_one_node_join_and_tells_the_next_why_not() {
    let mut log = Log::with_nodes(1);
    log.does(invite(1, Unix::from_secs(100)));
    let held = log.0.invitation(&id(1)).unwrap();
    assert!(held.is_opened_by(&[1; 32]) && !held.is_opened_by(&[2; 32]) && !held.is_opened_by(&[1; 31]));
    assert_eq!(log.says(join(2, 1)), refused(Refusal::Unknown(Thing::Invitation)));
    assert_eq!(log.says(join(1, 1)), Outcome::Joined { node: NodeId(2) });
    let node = log.0.node(NodeId(2)).unwrap();
    assert_eq!((node.state, node.generation), (NodeState::Down, Generation(0)));
    assert_eq!(node.addresses.public, ["https://seven"]);
    // Its answer was lost: it asks again, and is the same.
    assert_eq!(log.says(join(1, 1)), Outcome::Joined { node: NodeId(2) });
    assert_eq!(log.says(join(1, 9)), refused(Refusal::Used { node: NodeId(2) }));
    assert_eq!(log.0.nodes().count(), 2);
    log.does(Command::NodeRemove { node: NodeId(2) });
    assert_eq!(log.says(join(1, 1)), refused(Refusal::Removed(Thing::Node)));
}

#[test]
fn an_invitation_expires_by_the_registrys_time_and_may_name_a_region() {
    let mut log = Log::default();
    log.does(Command::Note);
    let until = log.0.now() + Duration::from_secs(3);
    assert_eq!(log.says(invite(1, log.0.now())), refused(Refusal::Expired(Thing::Invitation)));
    log.does(invite(1, until));
    assert_eq!(log.says(join(1, 1)), refused(Refusal::Expired(Thing::Invitation)));
    let far = log.0.now() + INVITATION_TTL_MAX + Duration::from_secs(9);
    assert_eq!(log.says(invite(2, far)), refused(Refusal::Invalid(Thing::Lifetime)));
    let there = Region::new("there").unwrap();
    log.does(Command::InvitationAdd {
        id: id(3),
        hash: Invitation::hash(b"x"),
        region: Some(there.clone()),
        edge: None,
        until: Unix::from_secs(99),
    });
    assert_eq!(log.says(join(3, 1)), refused(Refusal::OtherRegion(there)));
    let short = Command::InvitationAdd {
        id: id(4),
        hash: Secret(vec![0; 31]),
        region: None,
        edge: None,
        until: Unix::from_secs(99),
    };
    assert_eq!(log.says(short), refused(Refusal::Invalid(Thing::Secret)));
    log.does(Command::InvitationRemove { id: id(3) });
    assert_eq!(log.says(join(3, 1)), refused(Refusal::Unknown(Thing::Invitation)));
}

#[test]
fn invitations_are_bounded_and_swept() {
    let mut state = State::default();
    let says = |state: &mut State, at: u64, command| {
        let index = Index(state.index().0 + 1);
        state.apply(index, Entry { at: Unix::from_secs(at), by: None, note: None, command })
    };
    let add = |n: usize, until: u64| {
        let mut bytes = [0; 15];
        bytes[..8].copy_from_slice(&(n as u64).to_be_bytes());
        let (id, hash) = (InvitationId::from_random(bytes), Secret(vec![0; 32]));
        Command::InvitationAdd { id, hash, region: None, edge: None, until: Unix::from_secs(until) }
    };
    for n in 0..INVITATIONS_MAX {
        assert_eq!(says(&mut state, 1, add(n, 10)), Outcome::Done);
    }
    let full = Refusal::Full { thing: Thing::Invitation, max: INVITATIONS_MAX as u64 };
    assert_eq!(says(&mut state, 9, add(INVITATIONS_MAX, 30)), refused(full));
    assert_eq!(says(&mut state, 10, add(INVITATIONS_MAX, 30)), Outcome::Done);
    assert_eq!(state.invitations().count(), 1, "the others had expired");
    while state.index().0 < 2 * SWEEP_EVERY {
        says(&mut state, 30, Command::Note);
    }
    assert_eq!(state.invitations().count(), 0);
}

#[test]
fn a_node_that_leaves_drains_and_may_be_kept() {
    let mut log = Log::with_nodes(1);
    assert_eq!(log.says(Command::NodeLeave { node: NodeId(1) }), refused(Refusal::Last(Thing::Node)));
    let mut log = Log::with_nodes(2);
    let leaves = |log: &Log| {
        let node = log.0.node(NodeId(2)).unwrap();
        (node.draining, node.leaving)
    };
    log.does(Command::NodeLeave { node: NodeId(2) });
    assert_eq!(leaves(&log), (true, true));
    log.does(Command::NodeSet { node: NodeId(2), weight: 3, draining: true });
    assert_eq!(leaves(&log), (true, true), "its weight is another matter");
    log.does(Command::NodeSet { node: NodeId(2), weight: 3, draining: false });
    assert_eq!(leaves(&log), (false, false));
    assert_eq!(log.says(Command::NodeLeave { node: NodeId(7) }), refused(Refusal::Unknown(Thing::Node)));
}

#[test]
fn a_removed_node_does_not_begin_again() {
    let mut log = Log::with_nodes(1);
    log.does(Command::NodeAdd { node: NodeId(2), region: region() });
    assert!(!log.0.was_removed(NodeId(2)) && !log.0.was_removed(NodeId(3)));
    log.does(Command::NodeRemove { node: NodeId(2) });
    assert!(log.0.was_removed(NodeId(2)));
    assert_eq!(log.says(up(NodeId(2))), refused(Refusal::Removed(Thing::Node)));
    assert_eq!(log.says(up(NodeId(3))), refused(Refusal::Unknown(Thing::Node)));
}

#[test]
fn authorities_follow_each_other_and_their_keys_are_never_shown() {
    let mut log = Log::default();
    log.does(authority(1));
    assert_eq!(log.says(Command::AuthorityRemove { number: 1 }), refused(Refusal::Last(Thing::Authority)));
    let old = log.0.clone();
    log.does(authority(2));
    let edge = EdgeId::new("e1").unwrap();
    let authorities = [(1, Certificate(vec![7; 300])), (2, Certificate(vec![7; 300]))].into();
    assert_eq!(
        State::edge_changes(&old, &log.0, &edge),
        [EdgeChange::Authorities { authorities }],
        "an edge trusts it before a node shows its certificate"
    );
    log.does(Command::AuthorityRemove { number: 1 });
    assert_eq!(log.0.authorities().newest().unwrap().0, 2);
    assert_eq!(log.0.edge_view(&edge).authorities.len(), 1);
    let none = Command::AuthorityAdd { number: 3, certificate: vec![], key: Secret(vec![1]) };
    assert_eq!(log.says(none), refused(Refusal::Invalid(Thing::Authority)));
    // 0xAB, as bytes are printed.
    log.does(invite(1, Unix::from_secs(90)));
    for shown in [format!("{:?}", log.0), format!("{:?}", authority(1))] {
        assert!(!shown.contains("171, 171") && !shown.contains("abab"));
    }
    let hash = format!("{:?}", Invitation::hash(&[1; 32]).0);
    assert!(!format!("{:?}", log.0).contains(hash.trim_matches(['[', ']'])));
}

#[test]
fn while_timers_settle_leases_are_short_and_evictions_late() {
    let mut log = Log::default();
    assert_eq!((log.0.profile(), log.0.settling()), (LAN, None));
    for (to, timers, former) in [(ProfileName::Wan, WAN, LAN), (ProfileName::Lan, LAN, WAN)] {
        log.does(Command::ProfileSet { profile: to });
        let since = log.0.index();
        assert_eq!(log.0.profile_name(), to);
        let settling = log.0.profile();
        assert_eq!((settling.lease, settling.eviction), (LAN.lease, WAN.eviction), "{to} from {former:?}");
        assert_eq!(settling.election, timers.election, "Raft's own are in force at once");
        assert_eq!(log.0.settling(), Some(since));
        log.does(Command::ProfileSet { profile: to });
        assert_eq!(log.0.settling(), Some(since), "said twice is said once");
        let stale = Command::ProfileSettled { since: Index(since.0 - 1) };
        assert_eq!(log.says(stale), refused(Refusal::NotSettling));
        log.does(Command::ProfileSettled { since });
        assert_eq!((log.0.profile(), log.0.settling()), (timers, None));
    }
}

#[test]
fn three_or_five_vote() {
    let mut log = Log::default();
    assert_eq!(log.0.wanted_voters(), 3);
    for wanted in [0, 1, 2, 4, 6, 7] {
        assert_eq!(log.says(Command::VotersSet { wanted }), refused(Refusal::Invalid(Thing::Voters)));
    }
    log.does(Command::VotersSet { wanted: 5 });
    assert_eq!(log.0.wanted_voters(), 5);
}

#[test]
fn a_group_keeps_its_shards_in_its_region_while_anyone_is_there() {
    let mut log = Log::default();
    let there = Region::new("there").unwrap();
    for (node, region) in [(1, region()), (2, region()), (3, there.clone())] {
        log.does(Command::NodeAdd { node: NodeId(node), region });
        log.does(up(NodeId(node)));
    }
    let shards: Vec<_> = (100..200).map(Shard).collect();
    log.does(Command::GroupSet { group: Some(there.clone()), shards });
    log.does(Command::Moved { moves: placement::solve(&log.0) });
    let owner = |log: &Log, shard| log.0.shard(Shard(shard)).unwrap().owner.unwrap().0;
    assert!((100..200).all(|shard| owner(&log, shard) == 3));
    assert_eq!(log.owned(3).len(), 100 + 1332, "and a third of the others");
    assert_eq!(log.0.group(Shard(100)), Some(&there));
    let node = NodeId(3);
    log.does(Command::NodeDown { node, generation: Generation(1), moves: vec![] });
    log.does(Command::Moved { moves: placement::solve(&log.0) });
    assert_eq!((log.owned(1).len(), log.owned(2).len()), (2048, 2048), "better far away than nowhere");
    let beyond = Command::GroupSet { group: None, shards: vec![Shard(SHARDS)] };
    assert_eq!(log.says(beyond), refused(Refusal::Invalid(Thing::Group)));
    log.does(Command::GroupSet { group: None, shards: vec![Shard(100)] });
    assert_eq!((log.0.group(Shard(100)), log.0.groups().count()), (None, 99));
}

/// What the release before the cluster wrote.
#[derive(Serialize)]
struct Former<'a> {
    index: Index,
    now: Unix,
    version: u32,
    cluster: &'a Option<Cluster>,
    apps: &'a BTreeMap<AppId, App>,
    keys: &'a cow::Map<KeyId, ApiKey>,
    nodes: BTreeMap<NodeId, FormerNode<'a>>,
    last_node: NodeId,
    shards: &'a Vec<ShardEntry>,
    edges: &'a BTreeMap<EdgeId, Edge>,
    turn: &'a Numbered,
    sealing: &'a Numbered,
    revocations: &'a revocations::Revocations,
    peers: &'a PeerPolicy,
    users: &'a users::Users,
    origins: &'a BTreeMap<String, String>,
    audit: &'a cow::Ring<Audit>,
    requests: &'a cow::Ring<(RequestId, Outcome)>,
}

#[derive(Serialize)]
struct FormerNode<'a> {
    region: &'a Region,
    generation: Generation,
    state: NodeState,
    weight: u16,
    draining: bool,
    addresses: &'a NodeAddresses,
    build: &'a str,
    speaks: u32,
    since: Unix,
}

fn former(node: &Node) -> FormerNode<'_> {
    let Node { region, generation, state, weight, draining, addresses, build, speaks, since, .. } = node;
    FormerNode {
        region,
        addresses,
        build,
        generation: *generation,
        state: *state,
        weight: *weight,
        draining: *draining,
        speaks: *speaks,
        since: *since,
    }
}

#[test]
fn a_snapshot_of_a_single_node_is_read() {
    let mut log = Log::with_nodes(2);
    log.does(Command::TurnSecretAdd { number: 1, secret: secret(3) });
    let mut state = log.0;
    state.turn_lives = std::sync::Arc::default(); // it did not know since when
    let bytes = crate::wire::encode(&Former {
        index: state.index,
        now: state.now,
        version: state.version,
        cluster: &state.cluster,
        apps: &state.apps,
        keys: &state.keys,
        nodes: state.nodes().map(|(id, node)| (id, former(node))).collect(),
        last_node: state.last_node,
        shards: &state.shards,
        edges: &state.edges,
        turn: &state.turn,
        sealing: &state.sealing,
        revocations: &state.revocations,
        peers: &state.peers,
        users: &state.users,
        origins: &state.origins,
        audit: &state.audit,
        requests: &state.requests,
    })
    .unwrap();
    assert_eq!(State::decode(&bytes).unwrap(), state);
}
