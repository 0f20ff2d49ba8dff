//! Requests of clients: attributes as chosen, credentials right, wrong or half.

use std::net::{IpAddr, SocketAddr};

use chappe_proto::stun::attributes::{self, EvenPort};
use chappe_proto::stun::{Algorithm, Class, Integrity, Key, Method, Writer, user_hash};

use super::world::{CLIENTS, World, credentials};
use crate::input::Input;

const METHODS: [Method; 8] = [
    Method::ALLOCATE,
    Method::ALLOCATE,
    Method::REFRESH,
    Method::CREATE_PERMISSION,
    Method::CREATE_PERMISSION,
    Method::CHANNEL_BIND,
    Method::BINDING,
    Method(0x0A),
];
const LIFETIMES: [u32; 6] = [0, 1, 600, 1200, 3600, u32::MAX];

/// Peers that mean something here, or any.
pub(crate) fn peer(world: &World, input: &mut Input<'_>) -> SocketAddr {
    let (which, low) = (input.u8(), input.u8());
    let port = 50000 + u16::from(low % 8);
    let text = match which % 16 {
        0..=3 => return SocketAddr::new([198, 51, 100, low % 4].into(), 9),
        4 | 5 => return SocketAddr::new([203, 0, 113, 5].into(), port),
        6 => return SocketAddr::new([10, 0, 0, 5].into(), port),
        7 => return SocketAddr::new("2001:db8::5".parse().unwrap(), port),
        8 => "[2001:db8:1::7]:9",
        9 => return SocketAddr::new([10, 9, 8, 7].into(), port),
        10 => "203.0.113.5:3478",
        11 => "127.0.0.1:9",
        12 => "[::ffff:127.0.0.1]:9",
        13 => "[64:ff9b::808:808]:9",
        14 => {
            return world
                .open
                .values()
                .nth(usize::from(low) % 4)
                .copied()
                .unwrap_or(([8, 8, 8, 8], 9).into());
        }
        _ => {
            let mut bytes = [0; 16];
            let given = input.bytes(16);
            bytes[..given.len()].copy_from_slice(given);
            let ip = IpAddr::from(bytes);
            return SocketAddr::new(ip, u16::from(low));
        }
    };
    text.parse().unwrap()
}

/// Some attributes; peers are noted as asked for.
pub(crate) fn attributes(
    world: &mut World,
    client: usize,
    mut writer: Writer,
    input: &mut Input<'_>,
) -> Writer {
    for _ in 0..input.below(5) {
        writer = match input.below(14) {
            0 => writer.lifetime(LIFETIMES[input.below(6)]),
            1 => writer.even_port(EvenPort { reserve: input.u8() & 1 != 0 }),
            2 => {
                let token = world.clients[input.below(CLIENTS)].token.unwrap_or_default();
                writer.reservation_token(token)
            }
            3 => writer.attribute(attributes::REQUESTED_ADDRESS_FAMILY, &[input.u8() % 4, 0, 0, 0]),
            4 => writer.attribute(attributes::ADDITIONAL_ADDRESS_FAMILY, &[input.u8() % 4, 0, 0, 0]),
            5..=7 => writer.xor_address(attributes::XOR_PEER_ADDRESS, peer(world, input)),
            8 => writer.channel_number(0x3FFE + u16::from(input.u8() % 8)),
            9 => writer.attribute(attributes::DATA, &vec![7; usize::from(input.u8())]),
            10 => writer.attribute(attributes::DONT_FRAGMENT, &[]),
            11 => writer.requested_transport([17, 6, 0, 255][input.below(4)]),
            12 => writer.attribute(attributes::ORIGIN, b"https://app.example"),
            _ => {
                let (kind, length) = (input.u16(), usize::from(input.u8() % 64));
                let bytes = input.bytes(length);
                writer.attribute(kind, bytes)
            }
        };
    }
    let _ = client;
    writer
}

/// A request; a client without a nonce, or with one that is stale, gets one and tries again.
pub(crate) fn send(world: &mut World, client: usize, input: &mut Input<'_>) {
    let method = METHODS[input.below(METHODS.len())];
    let (usual, auth, key) = (input.u8(), input.u8(), input.u8());
    let start = Input(input.rest());
    for _ in 0..2 {
        let mut input = Input(start.rest());
        let mut writer = world.writer(Class::Request, method);
        if usual & 1 == 0 && method == Method::ALLOCATE {
            writer = writer.requested_transport(17);
        }
        if usual & 2 == 0 && method == Method::CHANNEL_BIND {
            writer = writer.channel_number(0x4000 + u16::from(usual >> 4 & 3));
        }
        let writer = attributes(world, client, writer, &mut input);
        let bytes = protect(world, client, writer, method, auth, key);
        let before = world.clients[client].nonce.clone();
        world.packet(client, &bytes);
        if world.clients[client].nonce == before || auth % 10 > 4 {
            break;
        }
    }
    // What this request was made of is not read again.
    let mut skipped = Input(start.rest());
    let writer = super::begin(Class::Request, method, 0);
    let _ = attributes(world, client, writer, &mut skipped);
    *input = Input(&start.rest()[start.rest().len() - skipped.rest().len()..]);
}

fn protect(world: &World, client: usize, writer: Writer, method: Method, auth: u8, how: u8) -> Vec<u8> {
    let (name, password) = credentials(client);
    let it = &world.clients[client];
    let auth = auth % 10;
    if auth == 5 || method == Method::BINDING {
        return if how & 1 == 0 { writer.finish() } else { writer.fingerprint().finish() };
    }
    let password = if auth == 6 { "guess" } else { &password };
    let nonce = match auth {
        7 => &world.clients[(client + 1) % CLIENTS].nonce,
        9 => "obMatJos2AAAnonsense",
        _ => &it.nonce,
    };
    let lacks = if auth == 8 { how % 3 } else { 3 };
    let mut writer = writer;
    let hashed = how & 8 != 0;
    if lacks != 0 {
        writer = if hashed {
            writer.attribute(attributes::USERHASH, &user_hash(&name, &it.realm))
        } else {
            writer.attribute(attributes::USERNAME, name.as_bytes())
        };
    }
    if lacks != 1 {
        writer = writer.attribute(attributes::REALM, it.realm.as_bytes());
    }
    if lacks != 2 {
        writer = writer.attribute(attributes::NONCE, nonce.as_bytes());
    }
    let algorithm = if how & 1 != 0 { Algorithm::Sha256 } else { Algorithm::Md5 };
    // The list as it was offered, or bent, or none; the choice, or none.
    match (how >> 4 & 3, &it.algorithms) {
        (0 | 1, Some(list)) => writer = writer.attribute(attributes::PASSWORD_ALGORITHMS, list),
        (2, _) => writer = writer.password_algorithms(&[Algorithm::Md5]),
        _ => {}
    }
    if how & 4 == 0 && it.algorithms.is_some() {
        writer = writer.password_algorithm(algorithm);
    }
    let algorithm = if it.algorithms.is_some() { algorithm } else { Algorithm::Md5 };
    let key = Key::derive(algorithm, &name, &it.realm, password);
    let writer = match how >> 6 {
        0 => writer.protect(if how & 2 != 0 { Integrity::Sha256 } else { Integrity::Sha1 }, key.as_slice()),
        1 => writer.integrity(key.as_slice()).integrity_sha256(key.as_slice()),
        2 => writer.integrity_sha256_cut(key.as_slice(), 16),
        _ => writer.protect(Integrity::Sha1, key.as_slice()).fingerprint(),
    };
    writer.finish()
}
