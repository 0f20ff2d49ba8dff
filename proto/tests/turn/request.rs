//! Messages of clients, from words:
//!
//! `bind` (Binding), `allocate`, `refresh`, `permit` (CreatePermission), `channel` (ChannelBind),
//! `send` (Send indication) or `method=N`, then attributes in order: `transport=17` (allocate has it
//! unless `bare`), `lifetime=N`, `even=0|1`, `token=HEX` or `token=NAME` (the last that NAME received),
//! `family=4|6`, `additional=4|6`, `peer=ADDRESS`, `number=N`, `data=TEXT`, `df`, `raw=TYPE:HEX`.
//!
//! Requests other than Binding are authenticated; `auth=none` is not, `no=username|realm|nonce` lacks
//! one, `password=TEXT`, `user=TEXT` and `nonce=TEXT` are others, `stolen=NAME` is another client's
//! nonce, `bare-nonce` is its own without the cookie. A client without a nonce fetches one silently.
//! `realm=TEXT` is another realm, `says=TEXT` one that the key is not of, `origin=TEXT` an ORIGIN, `hash` sends USERHASH, `plain` USERNAME,
//! `key=md5|sha256` names the algorithm of the key, `algorithm=HEX` and `algorithms=HEX` are values of
//! PASSWORD-ALGORITHM and PASSWORD-ALGORITHMS, none where they are `none`; `mi=sha1|sha256|both|cut`
//! is the integrity. Besides: `again` repeats the last transaction
//! id, `fingerprint`, `fingerprint=bad`, `after=TYPE:HEX` follows MESSAGE-INTEGRITY, `trailing=TYPE:HEX` FINGERPRINT, `indication`,
//! `response`.

use std::net::SocketAddr;

use chappe_proto::stun::attributes::{self, Family};
use chappe_proto::stun::{
    Algorithm, Class, Features, Key, Message, Method, TransactionId, Writer, user_hash,
};
use chappe_proto::turn::{FiveTuple, Output};

use crate::world::{World, number, value};

fn raw(writer: Writer, text: &str) -> Writer {
    let (kind, hex) = text.split_once(':').unwrap();
    let bytes = data_encoding::HEXLOWER.decode(hex.as_bytes()).unwrap();
    writer.attribute(number(kind) as u16, &bytes)
}

fn family(text: &str) -> [u8; 4] {
    let number = match text {
        "4" => Family::V4.number(),
        "6" => Family::V6.number(),
        other => number(other) as u8,
    };
    [number, 0, 0, 0]
}

fn attribute(world: &World, writer: Writer, word: &str) -> Writer {
    let (key, text) = word.split_once('=').unwrap_or((word, ""));
    match key {
        "transport" => writer.requested_transport(number(text) as u8),
        "lifetime" => writer.lifetime(number(text) as u32),
        "even" => writer.attribute(attributes::EVEN_PORT, &[(number(text) as u8) << 7]),
        "token" => match world.clients.get(text) {
            Some(client) => writer.reservation_token(client.token.unwrap()),
            None => raw(writer, &format!("0x22:{text}")),
        },
        "family" => writer.attribute(attributes::REQUESTED_ADDRESS_FAMILY, &family(text)),
        "additional" => writer.attribute(attributes::ADDITIONAL_ADDRESS_FAMILY, &family(text)),
        "peer" => writer.xor_address(attributes::XOR_PEER_ADDRESS, text.parse().unwrap()),
        "number" => writer.channel_number(number(text) as u16),
        "data" => writer.attribute(attributes::DATA, text.as_bytes()),
        "df" => writer.attribute(attributes::DONT_FRAGMENT, &[]),
        "raw" => raw(writer, text),
        "origin" => writer.attribute(attributes::ORIGIN, text.as_bytes()),
        "says" | "realm" | "bare-nonce" | "hash" | "plain" | "key" | "algorithm" | "algorithms" | "mi"
        | "auth" | "no" | "password" | "user" | "nonce" | "stolen" | "again" | "fingerprint" | "after"
        | "trailing" | "indication" | "response" | "bare" => writer,
        _ => panic!("no attribute: {word}"),
    }
}

/// Fetches a nonce without showing it.
fn login(world: &mut World, name: &str) {
    let (tuple, via) = (world.clients[name].tuple, world.clients[name].via);
    let bare = Writer::new(Class::Request, Method::ALLOCATE, TransactionId(*b"fetch nonce!")).finish();
    world.server.handle_client(world.now, &tuple, via, &bare);
    let Some(Output::Send { bytes, .. }) = world.server.poll_output() else { panic!("no challenge") };
    learn(world, &tuple, &bytes);
}

pub(crate) fn build(world: &mut World, name: &str, method: &str, words: &[&str]) -> Vec<u8> {
    let has = |word: &str| words.contains(&word);
    let (class, code) = match method {
        "bind" => (Class::Request, Method::BINDING),
        "allocate" => (Class::Request, Method::ALLOCATE),
        "refresh" => (Class::Request, Method::REFRESH),
        "permit" => (Class::Request, Method::CREATE_PERMISSION),
        "channel" => (Class::Request, Method::CHANNEL_BIND),
        "send" => (Class::Indication, Method::SEND),
        other => (Class::Request, Method(number(other.strip_prefix("method=").unwrap()) as u16)),
    };
    let class = match class {
        _ if has("indication") => Class::Indication,
        _ if has("response") => Class::Success,
        class => class,
    };
    let authenticated =
        class == Class::Request && code != Method::BINDING && value(words, "auth") != Some("none");
    if authenticated && world.clients[name].nonce.is_none() {
        login(world, name);
    }
    if !has("again") && class == Class::Request {
        world.requests += 1;
        let mut transaction = *b"transaction\0";
        transaction[8..].copy_from_slice(&world.requests.to_be_bytes());
        world.clients.get_mut(name).unwrap().transaction = TransactionId(transaction);
    }
    let mut writer = Writer::new(class, code, world.clients[name].transaction);
    if method == "allocate" && !has("bare") && value(words, "transport").is_none() {
        writer = writer.requested_transport(17);
    }
    for word in words {
        writer = attribute(world, writer, word);
    }
    if authenticated {
        writer = authenticate(world, name, writer, words);
    }
    if let Some(text) = value(words, "after") {
        writer = raw(writer, text);
    }
    if let Some(text) = value(words, "trailing") {
        return raw(writer.fingerprint(), text).finish();
    }
    match value(words, "fingerprint") {
        Some(_) => {
            let mut bytes = writer.fingerprint().finish();
            *bytes.last_mut().unwrap() ^= 1;
            bytes
        }
        None if has("fingerprint") => writer.fingerprint().finish(),
        None => writer.finish(),
    }
}

fn authenticate(world: &mut World, name: &str, mut writer: Writer, words: &[&str]) -> Writer {
    let client = &world.clients[name];
    let lacks = value(words, "no").unwrap_or_default();
    let username = value(words, "user").unwrap_or(&client.username);
    let nonce = match value(words, "stolen") {
        Some(other) => world.clients[other].nonce.as_deref(),
        None => value(words, "nonce").or(client.nonce.as_deref()),
    };
    let nonce = nonce.unwrap();
    let nonce = if words.contains(&"bare-nonce") { &nonce[nonce.len() - 16..] } else { nonce };
    let realm = value(words, "realm").unwrap_or(&client.realm);
    let features = Features::read(nonce).map(|(features, _)| features).unwrap_or_default();
    let hidden = client.rfc8489 && features.anonymity && !words.contains(&"plain");
    if words.contains(&"hash") || hidden {
        writer = writer.attribute(attributes::USERHASH, &user_hash(username, realm));
    } else if lacks != "username" {
        writer = writer.attribute(attributes::USERNAME, username.as_bytes());
    }
    if lacks != "realm" {
        let said = value(words, "says").unwrap_or(realm);
        writer = writer.attribute(attributes::REALM, said.as_bytes());
    }
    if lacks != "nonce" {
        writer = writer.attribute(attributes::NONCE, nonce.as_bytes());
    }
    // As a challenge was answered: its list echoed, and the first of it.
    let offered = client.offered.as_deref().filter(|_| client.rfc8489);
    let first = offered.map(|list| if list[1] == 2 { Algorithm::Sha256 } else { Algorithm::Md5 });
    let algorithm = match value(words, "key") {
        Some("sha256") => Algorithm::Sha256,
        Some(_) => Algorithm::Md5,
        None => first.unwrap_or(Algorithm::Md5),
    };
    let hex = |name: &str, otherwise: Option<&[u8]>| match value(words, name) {
        Some("none") => None,
        Some(hex) => Some(data_encoding::HEXLOWER.decode(hex.as_bytes()).unwrap()),
        None => otherwise.map(<[u8]>::to_vec),
    };
    let chosen = algorithm.value();
    if let Some(value) = hex("algorithm", offered.map(|_| &chosen[..])) {
        writer = writer.attribute(attributes::PASSWORD_ALGORITHM, &value);
    }
    if let Some(value) = hex("algorithms", offered) {
        writer = writer.attribute(attributes::PASSWORD_ALGORITHMS, &value);
    }
    let password = value(words, "password").unwrap_or(&client.password);
    let key = Key::derive(algorithm, username, realm, password);
    let mi = value(words, "mi").unwrap_or(if offered.is_some() { "sha256" } else { "sha1" });
    world.clients.get_mut(name).unwrap().key = Some(key);
    match mi {
        "sha1" => writer.integrity(key.as_slice()),
        "both" => writer.integrity(key.as_slice()).integrity_sha256(key.as_slice()),
        "cut" => writer.integrity_sha256_cut(key.as_slice(), 16),
        _ => writer.integrity_sha256(key.as_slice()),
    }
}

/// Remembers nonce and token of an answer.
pub(crate) fn learn(world: &mut World, tuple: &FiveTuple, bytes: &[u8]) {
    let Ok(message) = Message::parse(bytes) else { return };
    for client in world.clients.values_mut().filter(|client| client.tuple == *tuple) {
        if let Ok(Some(nonce)) = message.nonce() {
            client.nonce = Some(nonce.to_owned());
            client.offered = message.get(attributes::PASSWORD_ALGORITHMS).map(<[u8]>::to_vec);
        }
        if let Ok(Some(token)) = message.reservation_token() {
            client.token = Some(token);
        }
    }
}

/// The relayed address of an Allocate's answer.
pub(crate) fn relayed(bytes: &[u8]) -> Option<SocketAddr> {
    Message::parse(bytes).ok()?.xor_address(attributes::XOR_RELAYED_ADDRESS).unwrap()
}
