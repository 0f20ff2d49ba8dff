//! What holds after any commands: snapshots, the view of an edge, the balance of shards.

use proptest::prelude::*;

use super::*;
use crate::id::{AccessTokenId, ClusterId, LinkId, LoginId, OperatorName};
use crate::mesh::uplink::{EdgeView, TurnUser};
use crate::registry::access::{AccessChange, LinkFor, NewLogin, ProviderPlan, Role};

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

fn some_room_command() -> impl Strategy<Value = Command> {
    let room = || {
        let app = prop::sample::select(vec!["a", "b"]).prop_map(app);
        (app, 0u8..3).prop_map(|(app, n)| RoomKey { app, room: RoomName::new(&format!("r{n}")).unwrap() })
    };
    let flags = any::<(bool, bool)>();
    let policy = (prop::option::of(0u32..4), flags, prop::option::of(0u64..100), 0usize..3);
    let policy = policy.prop_map(|(capacity, (locked, lobby), expires, bytes)| RoomPolicy {
        capacity,
        locked,
        lobby,
        region: None,
        expires: expires.map(Unix::from_secs),
        metadata: crate::signal::json::Json::parse(&format!("\"{}\"", "x".repeat(bytes))).ok(),
    });
    prop_oneof![
        3 => (room(), policy).prop_map(|(room, policy)| Command::RoomSet {
            room,
            policy,
            by: "w".into(),
            since: None
        }),
        1 => room().prop_map(|room| Command::RoomRemove { room }),
    ]
}

/// Of nodes and what they own.
fn some_node_command() -> impl Strategy<Value = Command> {
    let node = || (0u64..5).prop_map(NodeId);
    let moves = || {
        let shards = prop::collection::vec(((0u16..8).prop_map(Shard), (0u64..4).prop_map(Epoch)), 0..4);
        prop::collection::vec((node(), shards).prop_map(|(to, shards)| Moves { to, shards }), 0..3)
    };
    prop_oneof![
        node().prop_map(|node| Command::NodeAdd { node, region: region() }),
        node().prop_map(up),
        (node(), (0u64..4).prop_map(Generation), moves())
            .prop_map(|(node, generation, moves)| Command::NodeDown { node, generation, moves }),
        (node(), 0u16..3, any::<bool>()).prop_map(|(node, weight, draining)| Command::NodeSet {
            node,
            weight,
            draining
        }),
        (node(), (0u64..4).prop_map(Generation))
            .prop_map(|(node, generation)| Command::NodeStopping { node, generation }),
        node().prop_map(|node| Command::NodeRemove { node }),
        moves().prop_map(|moves| Command::Moving { moves }),
        moves().prop_map(|moves| Command::Moved { moves }),
    ]
}

/// Ids out of a small space, so that commands meet what others made.
fn some_command() -> impl Strategy<Value = Command> {
    prop_oneof![8 => some_node_command(), 20 => some_other_command(), 4 => some_access().prop_map(Command::Access)]
}

fn provider() -> ProviderPlan {
    ProviderPlan {
        issuer: "https://id.example".to_owned(),
        client: "c".to_owned(),
        label: "l".to_owned(),
        console: "https://c.example".to_owned(),
        scopes: Vec::new(),
        claim: "groups".to_owned(),
        roles: BTreeMap::new(),
        everybody: Some(Role::Viewer),
        domain: None,
    }
}

/// Of operators, and how they get in.
fn some_access() -> impl Strategy<Value = AccessChange> {
    let who = || (0u8..3).prop_map(|n| OperatorName::new(&format!("o{n}")).unwrap());
    let role = || prop::sample::select(vec![Role::Viewer, Role::Operator, Role::Owner]);
    let link = || (0u8..3).prop_map(|n| LinkId::from_random([n; 15]));
    let id = || (0u8..3).prop_map(|n| LoginId::from_random([n; 15]));
    let token = || (0u8..3).prop_map(|n| AccessTokenId::from_random([n; 15]));
    let password = || Secret(b"$argon2id$".to_vec());
    let until = || (0u64..100).prop_map(Unix::from_secs);
    prop_oneof![
        (who(), role(), any::<bool>()).prop_map(|(name, role, disabled)| AccessChange::OperatorSet {
            name,
            role,
            disabled,
            since: None
        }),
        who().prop_map(|name| AccessChange::OperatorRemove { name }),
        (link(), role(), prop::option::of(who()), until()).prop_map(|(id, role, name, until)| {
            AccessChange::LinkAdd { id, hash: secret(1), of: LinkFor::New { role, name }, until, by: None }
        }),
        (link(), who()).prop_map(move |(id, name)| AccessChange::LinkUse { id, name, password: password() }),
        (id(), who(), (0u64..99).prop_map(Index)).prop_map(|(id, operator, since)| {
            let login = NewLogin { hash: secret(1), operator, from: String::new(), agent: String::new() };
            AccessChange::LoginAdd { id, login, since, replaces: None }
        }),
        id().prop_map(|id| AccessChange::LoginSeen { id }),
        (token(), role(), prop::option::of(who()), until()).prop_map(|(id, role, owner, until)| {
            AccessChange::TokenAdd { id, hash: secret(1), label: "t".into(), role, owner, until }
        }),
        (token(), any::<bool>()).prop_map(|(id, disabled)| AccessChange::TokenSet { id, disabled }),
        Just(AccessChange::ProviderSet { plan: provider(), secret: Some(secret(1)), seal: secret(32) }),
        (id(), who(), 0u8..3, role(), (0u64..99).prop_map(Index)).prop_map(
            |(id, operator, n, role, since)| {
                let login = NewLogin { hash: secret(1), operator, from: String::new(), agent: String::new() };
                AccessChange::ProviderLogin { id, login, subject: n.to_string(), role, since, replaces: None }
            }
        ),
    ]
}

#[allow(clippy::too_many_lines, reason = "a list")]
fn some_other_command() -> impl Strategy<Value = Command> {
    let apps = || prop::sample::select(vec!["a", "b", "c"]).prop_map(app);
    let key = || (0u8..6).prop_map(|n| KeyId::from_random([n; 15]));
    let edge = || prop::sample::select(vec!["e1", "e2"]).prop_map(|name| EdgeId::new(name).unwrap());
    let state = prop::sample::select(vec![EdgeState::Admitted, EdgeState::Draining, EdgeState::Removed]);
    let room = |app| RoomKey { app, room: RoomName::new("r").unwrap() };
    let who = || (0u8..3).prop_map(|n| Identity::new(&format!("i{n}")).unwrap());
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
        (edge(), 1u16..60_000).prop_map(|(edge, port)| Command::EdgeUp(hello(edge.as_str(), port))),
        (edge(), 1u16..60_000, 0u8..3).prop_map(|(edge, port, key)| Command::EdgeOffer {
            hello: Box::new(hello(edge.as_str(), port)),
            key: vec![key; 32]
        }),
        (edge(), 0u8..3).prop_map(|(edge, key)| Command::EdgeEnrol {
            edge,
            region: region(),
            key: vec![key; 32]
        }),
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
        (0u8..3).prop_map(|n| {
            let at = crate::select::Coordinates::new(f64::from(n), 0.0).unwrap();
            let regions = [(region(), at)].into_iter().take(usize::from(n)).collect();
            Command::SelectionSet(crate::select::Policy { regions, ..Default::default() })
        }),
        some_relay_users(),
        some_room_command(),
        members::some_command(),
        issued::some_command(),
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
        EdgeChange::Nodes { nodes } => view.nodes = nodes,
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
