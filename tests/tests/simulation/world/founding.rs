//! What a cluster begins with: its registry, its disks, its weather.

use std::sync::Arc;
use std::time::Duration;

use chappe_cluster::consensus::member::Durable;
use chappe_proto::id::{ClusterId, Index, KeyId, NodeId, Region, RoomKey};
use chappe_proto::mesh::uplink::Secret;
use chappe_proto::registry::placement::solve;
use chappe_proto::registry::profile::ProfileName;
use chappe_proto::registry::{AppPolicy, Command, Entry, NodeAddresses, State, VERSION};
use chappe_proto::time::Unix;

use super::super::dice::{Dice, ms};
use super::super::disk::Disk;
use super::super::env::id_of;
use super::super::network::Weather;
use super::super::node::BEGAN;

pub(super) fn weather(dice: &mut Dice, wan: bool) -> Weather {
    let delay = if wan { dice.between(ms(20), ms(60)) } else { Duration::from_micros(300) };
    let jitter = if wan { ms(20) } else { dice.between(ms(1), ms(15)) };
    // Half of the seeds have what the mesh has: streams.
    if dice.one_in(2) {
        return Weather { lost: 0, doubled: 0, overtaking: 0, delay, jitter };
    }
    let part = |dice: &mut Dice| dice.below(30) as u32;
    Weather { lost: part(dice), doubled: part(dice), overtaking: part(dice), delay, jitter }
}

/// The registry that a cluster begins with: what its operators set up before.
pub(super) fn founded(dice: &mut Dice, nodes: usize, wan: bool, rooms: &[(RoomKey, KeyId)]) -> State {
    let mut state = State::default();
    let policy = AppPolicy {
        grace_ms: 3000 + dice.below(3000) as u64,
        anonymous: false,
        capacity: 16,
        frames_burst: if dice.one_in(4) { 30 } else { 200 },
        frames_per_sec: if dice.one_in(4) { 20 } else { 100 },
        ..AppPolicy::default()
    };
    let secret = Secret(dice.bytes::<32>().to_vec());
    let mut commands = vec![
        Command::ClusterBegin {
            id: ClusterId::from_random(dice.bytes()),
            name: "simulation".into(),
            realm: "simulation".into(),
        },
        Command::ProfileSet { profile: if wan { ProfileName::Wan } else { ProfileName::Lan } },
        Command::SealingKeyAdd { number: 1, key: secret.clone() },
        Command::VotersSet { wanted: if nodes > 3 && dice.one_in(2) { 5 } else { 3 } },
    ];
    for (room, key) in rooms {
        let (app, policy) = (room.app.clone(), policy.clone());
        commands.push(Command::AppAdd { app: app.clone(), name: app.to_string(), policy });
        commands.push(Command::KeyAdd { app, key: *key, secret: secret.clone() });
    }
    for node in 0..nodes {
        let region = Region::new(if node % 2 == 0 { "west" } else { "east" }).unwrap();
        let node = id_of(node);
        commands.push(Command::NodeAdd { node, region });
        let (addresses, build) = (NodeAddresses::default(), String::new());
        commands.push(Command::NodeUp { node, addresses, build, speaks: VERSION });
    }
    let apply = |state: &mut State, command| {
        let at = Unix::from_secs(BEGAN);
        state.apply(Index(1), Entry { at, by: None, note: None, command });
    };
    for command in commands {
        apply(&mut state, command);
    }
    let moves = solve(&state);
    apply(&mut state, Command::Moved { moves });
    state
}

/// Of so many nodes, the first being members of Raft.
pub(super) fn disks(state: &Arc<State>, members: usize, nodes: usize) -> Vec<Disk> {
    let founders: Vec<NodeId> = (0..members).map(id_of).collect();
    let durables = Durable::found_on(&founders, state).unwrap();
    let of_others = (members..nodes).map(|node| Disk::empty(id_of(node)));
    durables.into_iter().map(|durable| Disk::new(durable, Arc::clone(state))).chain(of_others).collect()
}
