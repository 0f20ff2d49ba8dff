//! The TURN server machine: bytes become clients' requests with right and wrong credentials, data both
//! ways, answers to its questions for sockets, changes of the feed, and time. After each step what it
//! said and counts must be consistent, and at the end nothing may be left.

mod check;
mod request;
mod world;

use std::time::Duration;

use chappe_proto::mesh::uplink::{Alternate, EdgeChange, EdgeView, PeerPolicy, RelayRange, Secret};
use chappe_proto::stun::attributes;
use chappe_proto::stun::{Class, Method, TransactionId, Writer, frame};
use chappe_proto::turn::{BindError, Counters, EndReason, IcmpError, RelayId};

use crate::input::Input;
use world::{CLIENTS, World, session, tuple, user};

/// How far a step goes in time, in milliseconds: around every lifetime that there is.
const WAITS: [u64; 16] = [
    0, 1, 100, 999, 1000, 29_000, 30_000, 119_000, 120_000, 299_000, 300_000, 301_000, 599_000, 600_000,
    3_600_000, 3_601_000,
];

pub(crate) fn run(data: &[u8]) {
    play(data);
}

/// The same; what the server counted.
pub(crate) fn play(data: &[u8]) -> Counters {
    let mut input = Input(data);
    let mut world = World::new(&mut input);
    let mut steps = 0;
    while !input.is_empty() && steps < 400 {
        step(&mut world, &mut input);
        world.settle();
        world.check();
        steps += 1;
    }
    world.finish();
    world.server.counters().clone()
}

fn step(world: &mut World, input: &mut Input<'_>) {
    let client = input.below(CLIENTS);
    match input.below(20) {
        0..=7 => request::send(world, client, input),
        8 => {
            let writer = world.writer(Class::Indication, Method::SEND);
            let writer = request::attributes(world, client, writer, input);
            world.packet(client, &writer.finish());
        }
        9 => {
            let peer = request::peer(world, input);
            let payload = vec![7; usize::from(input.u8()) * 4];
            let writer = world.writer(Class::Indication, Method::SEND);
            let writer = writer.xor_address(attributes::XOR_PEER_ADDRESS, peer);
            world.packet(client, &writer.attribute(attributes::DATA, &payload).finish());
        }
        10 => channel_data(world, client, input),
        11 => {
            let count = usize::from(input.u8());
            let bytes = input.bytes(count).to_vec();
            world.packet(client, &bytes);
        }
        12 => replay(world, client, input),
        13 => {
            let (relay, peer) = (RelayId(u32::from(input.u8()) % 12), request::peer(world, input));
            world.peer(relay, peer, usize::from(input.u16()));
        }
        14 => {
            let (relay, peer) = (RelayId(u32::from(input.u8()) % 12), request::peer(world, input));
            let error = IcmpError { kind: input.u8(), code: input.u8(), mtu: input.u32() };
            world.server.handle_icmp(world.now, relay, peer, error);
        }
        15 | 16 => {
            let which = input.u8();
            let error =
                [None, None, None, Some(BindError::InUse), Some(BindError::Exhausted)][input.below(5)];
            world.bound(usize::from(which), error);
        }
        17 => world.wait(Duration::from_millis(WAITS[input.below(16)])),
        18 => world.closed(client),
        _ => feed(world, input),
    }
}

fn channel_data(world: &mut World, client: usize, input: &mut Input<'_>) {
    let number = 0x3FFE + u16::from(input.u8() % 8);
    let (length, more) = (usize::from(input.u8()), input.u8());
    let mut bytes = number.to_be_bytes().to_vec();
    bytes.extend((length as u16).to_be_bytes());
    bytes.resize(4 + length, 7);
    match more % 4 {
        0 => bytes.resize(bytes.len().next_multiple_of(4), 0xEE),
        1 => drop(bytes.pop()),
        _ => {}
    }
    world.packet(client, &bytes);
}

/// The last packet again, of another client, bent, or as a stream cuts it.
fn replay(world: &mut World, client: usize, input: &mut Input<'_>) {
    let mut bytes = world.last.clone();
    let how = input.u8();
    if how & 1 != 0 && !bytes.is_empty() {
        let at = usize::from(input.u16()) % bytes.len();
        bytes[at] ^= input.u8();
    }
    if how & 2 != 0 {
        bytes.truncate(usize::from(input.u8()));
    }
    if how & 4 != 0 {
        bytes.extend(world.last.clone());
        while let Ok(Some(length)) = frame(&bytes) {
            let rest = bytes.split_off(length);
            world.packet(client, &bytes);
            bytes = rest;
        }
    } else {
        world.packet(client, &bytes);
    }
}

/// What the registry, or its absence, may say.
fn feed(world: &mut World, input: &mut Input<'_>) {
    let now = world.now;
    let number = u64::from(input.u8() % 3);
    let change = match input.below(14) {
        0 => EdgeChange::SecretAdded { number, secret: world::secret(number) },
        1 => EdgeChange::SecretRemoved { number },
        2 => EdgeChange::Revoked {
            session: session(input.below(CLIENTS)),
            until: now.unix + Duration::from_secs(u64::from(input.u16())),
        },
        3 => EdgeChange::Fleet {
            relays: vec![RelayRange { address: "10.9.8.7".parse().unwrap(), first: 50000, last: 50009 }],
        },
        4 => EdgeChange::Fleet { relays: Vec::new() },
        5 | 6 => return world.policy(true),
        7 => return world.policy(false),
        8 => EdgeChange::Draining { draining: number == 0 },
        9 => EdgeChange::UserSet(user(number)),
        10 => EdgeChange::UserRemoved { realm: world::REALM.to_owned(), name: "ada".to_owned() },
        11 => EdgeChange::Origins {
            origins: [("https://app.example".to_owned(), "other".to_owned())]
                .into_iter()
                .take(number as usize)
                .collect(),
        },
        12 => EdgeChange::Alternates {
            alternates: [("203.0.113.9:3478"), ("[2001:db8::9]:3478")]
                .iter()
                .take(number as usize)
                .map(|address| Alternate { address: address.parse().unwrap() })
                .collect(),
        },
        _ => {
            let session = session(input.below(CLIENTS));
            return world.server.end(now, session, EndReason::Left);
        }
    };
    world.server.apply(now, &change);
}

/// All that an edge follows at its start.
fn view(policy: PeerPolicy) -> EdgeView {
    EdgeView {
        secrets: [(1, Secret(b"secret 1".to_vec()))].into(),
        peers: policy,
        users: vec![user(0)],
        ..EdgeView::default()
    }
}

/// A transaction id that no other message has.
fn transaction(number: u32) -> TransactionId {
    let mut transaction = *b"fuzz....\0\0\0\0";
    transaction[8..].copy_from_slice(&number.to_be_bytes());
    TransactionId(transaction)
}

/// A message of a client in the making.
fn begin(class: Class, method: Method, number: u32) -> Writer {
    Writer::new(class, method, transaction(number))
}

/// The client of a five-tuple.
fn client_of(five: &chappe_proto::turn::FiveTuple) -> usize {
    (0..CLIENTS).find(|index| tuple(*index) == *five).expect("a five-tuple of ours")
}
