//! What the machine did, in words.

use std::net::SocketAddr;

use chappe_proto::stun::attributes::*;
use chappe_proto::stun::{Algorithm, Class, Integrity, Message, Method};
use chappe_proto::turn::{Event, FiveTuple, Forward, Output};

use crate::world::World;

fn name<'a>(world: &'a World, tuple: &FiveTuple) -> &'a str {
    let mut found = world.clients.iter().filter(|(_, client)| client.tuple == *tuple);
    let speaker = found.clone().find(|(name, _)| **name == world.speaker);
    speaker.or_else(|| found.next()).map_or("nobody", |(name, _)| name)
}

fn text(bytes: &[u8]) -> String {
    format!("{:?}", String::from_utf8_lossy(bytes))
}

/// Where a payload goes.
pub(crate) fn forward(world: &World, forward: &Forward, packet: &[u8]) -> Option<String> {
    match forward {
        Forward::None => None,
        Forward::ToPeer { relay, peer, body, df } => {
            let df = if *df { " df" } else { "" };
            Some(format!("relay {} to {peer}{df}: {}", relay.0, text(&packet[body.clone()])))
        }
        Forward::ToClient { client, head, body, pad, .. } => {
            let mut whole = head.as_slice().to_vec();
            whole.extend(&packet[body.clone()]);
            whole.resize(whole.len() + usize::from(*pad), 0);
            let to = name(world, client);
            if whole[0] & 0xC0 == 0 {
                return Some(message(world, client, &whole));
            }
            let (number, length) = (u16::from_be_bytes([whole[0], whole[1]]), usize::from(whole[3]));
            let padding = whole.len() - 4 - length;
            let data = text(&whole[4..4 + length]);
            Some(format!("{to} < ChannelData {number:#06x} {data} padding {padding}"))
        }
    }
}

/// An output; requests for sockets are shown only where they wait.
pub(crate) fn output(world: &World, output: &Output) -> Option<String> {
    Some(match output {
        Output::Send { client, bytes, .. } => match Message::parse(bytes) {
            Ok(_) => message(world, client, bytes),
            Err(_) => format!("{} < {}", name(world, client), data_encoding::HEXLOWER.encode(bytes)),
        },
        Output::BindRelay { .. } => return None,
        Output::CloseRelay(relay) => format!("close relay {}", relay.0),
        Output::CloseClient(via) => {
            let name = world.clients.iter().find(|(_, client)| client.via == *via);
            format!("close stream of {}", name.unwrap().0)
        }
        Output::Event(Event::Allocated { client, relayed, session, .. }) => {
            let session = if session.is_some() { "" } else { " without session" };
            format!("event: {} allocated {relayed}{session}", name(world, client))
        }
        Output::Event(Event::Ended { client, relayed, why, .. }) => {
            format!("event: {} ended {relayed} {why:?}", name(world, client))
        }
        Output::Event(Event::Refused { client, code }) => {
            format!("event: {} refused {code}", name(world, client))
        }
        Output::Event(Event::Limited { limit, count, user, source }) => {
            // Usernames are long and full of random letters.
            let user = if user.is_some() { " of a known user" } else { "" };
            format!("event: limit {} met {count} times, now by {source}{user}", limit.name())
        }
        other => format!("{other:?}"),
    })
}

fn method(method: Method) -> String {
    let known = match method {
        Method::BINDING => "Binding",
        Method::ALLOCATE => "Allocate",
        Method::REFRESH => "Refresh",
        Method::CREATE_PERMISSION => "CreatePermission",
        Method::CHANNEL_BIND => "ChannelBind",
        Method::DATA => "Data",
        Method(other) => return format!("method {other:#x}"),
    };
    known.to_owned()
}

/// A message to a client, its padding and transaction checked on the way.
fn message(world: &World, tuple: &FiveTuple, bytes: &[u8]) -> String {
    let to = name(world, tuple);
    let message = Message::parse(bytes).unwrap();
    let class = match message.class {
        Class::Request => "request",
        Class::Indication => "indication",
        Class::Success => "success",
        Class::Error => "error",
    };
    let mut line = format!("{to} < {} {class}", method(message.method));
    let mut padding_from = 20;
    for (kind, value) in message.attributes() {
        let body = &bytes[value.clone()];
        line += &match kind {
            ERROR_CODE => format!(" {}", message.error_code().unwrap().unwrap().0),
            UNKNOWN_ATTRIBUTES => format!(" UNKNOWN-ATTRIBUTES {:04x?}", message.unknown_attributes()),
            REALM => format!(" REALM {}", text(body)),
            NONCE => match std::str::from_utf8(body).unwrap().strip_prefix("obMatJos2") {
                Some(features) => format!(" NONCE {}", &features[..4]),
                None => " NONCE".to_owned(),
            },
            PASSWORD_ALGORITHMS => format!(" PASSWORD-ALGORITHMS {}", algorithms(&message)),
            ALTERNATE_SERVER => {
                format!(" ALTERNATE-SERVER {}", message.alternate_server().unwrap().unwrap())
            }
            LIFETIME => format!(" LIFETIME {}", message.lifetime().unwrap().unwrap()),
            DATA => format!(" DATA {}", text(body)),
            RESERVATION_TOKEN => " RESERVATION-TOKEN".to_owned(),
            ADDRESS_ERROR_CODE => {
                format!(" ADDRESS-ERROR-CODE {} {}{:02}", body[0], body[2], body[3])
            }
            ICMP => format!(" ICMP {}", data_encoding::HEXLOWER.encode(body)),
            XOR_PEER_ADDRESS | XOR_RELAYED_ADDRESS | XOR_MAPPED_ADDRESS => address(kind, body, &bytes[4..20]),
            other => format!(" {other:#06x}"),
        };
        let end = value.end.next_multiple_of(4);
        assert!(bytes[value.end..end].iter().all(|byte| *byte == 0), "padding is zero");
        padding_from = end;
    }
    assert!(padding_from <= bytes.len());
    let client = &world.clients[to];
    if let Some(integrity) = message.integrity() {
        let right = client.key.is_some_and(|key| message.verify(key.as_slice()));
        line += if right { "" } else { " wrong" };
        line += if integrity == Integrity::Sha1 { " integrity" } else { " integrity-sha256" };
    }
    if message.fingerprint {
        line += " fingerprint";
    }
    if message.class != Class::Indication && message.transaction != client.transaction {
        line += " of another transaction";
    }
    line
}

fn algorithms(message: &Message<'_>) -> String {
    let names =
        message.password_algorithms().unwrap().unwrap().into_iter().map(|algorithm| match algorithm {
            Algorithm::Md5 => "MD5",
            Algorithm::Sha256 => "SHA-256",
        });
    names.collect::<Vec<_>>().join(",")
}

/// An XOR- address, undone here by the RFC's words: port with the cookie's first half, IPv4 address
/// with the cookie, IPv6 address with the cookie and the transaction id.
fn address(kind: u16, body: &[u8], mask: &[u8]) -> String {
    let name = match kind {
        XOR_PEER_ADDRESS => "XOR-PEER-ADDRESS",
        XOR_RELAYED_ADDRESS => "XOR-RELAYED-ADDRESS",
        _ => "XOR-MAPPED-ADDRESS",
    };
    let port = u16::from_be_bytes([body[2] ^ mask[0], body[3] ^ mask[1]]);
    let ip: Vec<u8> = body[4..].iter().zip(mask).map(|(byte, mask)| byte ^ mask).collect();
    let ip = match (body[1], <[u8; 4]>::try_from(&ip[..]), <[u8; 16]>::try_from(&ip[..])) {
        (1, Ok(v4), _) => v4.into(),
        (2, _, Ok(v6)) => v6.into(),
        _ => panic!("an address of a wrong length"),
    };
    format!(" {name} {}", SocketAddr::new(ip, port))
}

/// Every allocation's figures.
pub(crate) fn allocations(world: &World) -> Vec<String> {
    let mut lines: Vec<String> = world
        .server
        .list(world.now)
        .map(|it| {
            // By username: two users may share a five-tuple.
            let owner = world.clients.iter().find(|(_, client)| client.username == it.username);
            format!(
                "{} {} sent {}/{} received {}/{} permissions {} channels {}",
                owner.map_or("nobody", |(name, _)| name),
                it.relayed,
                it.sent.packets,
                it.sent.bytes,
                it.received.packets,
                it.received.bytes,
                it.permissions,
                it.channels
            )
        })
        .collect();
    lines.sort();
    if lines.is_empty() {
        lines.push("none".to_owned());
    }
    lines
}
