//! The test vectors of RFC 5769. It pads with spaces, so that only the fourth, which pads with
//! zeroes, can be written again byte by byte.

use std::net::SocketAddr;

use data_encoding::HEXLOWER_PERMISSIVE;

use super::attributes::{NONCE, REALM, SOFTWARE, USERNAME, XOR_MAPPED_ADDRESS};
use super::*;

const REQUEST: &[&str] = &[
    "000100582112a442b7e7a701bc34d686fa87dfae",
    "802200105354554e207465737420636c69656e74",
    "002400046e0001ff",
    "80290008932ff9b151263b36",
    "000600096576746a3a68367659202020",
    "000800149aeaa70cbfd8cb56781ef2b5b2d3f249c1b571a2",
    "80280004e57a3bcf",
];
const IPV4_RESPONSE: &[&str] = &[
    "0101003c2112a442b7e7a701bc34d686fa87dfae",
    "8022000b7465737420766563746f7220",
    "002000080001a147e112a643",
    "000800142b91f599fd9e90c38c7489f92af9ba53f06be7d7",
    "80280004c07d4c96",
];
const IPV6_RESPONSE: &[&str] = &[
    "010100482112a442b7e7a701bc34d686fa87dfae",
    "8022000b7465737420766563746f7220",
    "002000140002a1470113a9faa5d3f179bc25f4b5bed2b9d9",
    "00080014a382954e4be67bf11784c97c8292c275bfe3ed41",
    "80280004c8fb0b4c",
];
const LONG_TERM: &[&str] = &[
    "000100602112a44278ad3433c6ad72c029da412e",
    "00060012e3839ee38388e383aae38383e382afe382b90000",
    "0015001c662f2f3439396b39353464364f4c33346f4c39465354767936347341",
    "0014000b6578616d706c652e6f726700",
    "00080014f67024656dd64a3e02b8e0712e85c9a28ca89666",
];
const SHORT_TERM: &[u8] = b"VOkJxbRl1RmTxUk/WvJxBt";

fn bytes(lines: &[&str]) -> Vec<u8> {
    HEXLOWER_PERMISSIVE.decode(lines.concat().replace(' ', "").as_bytes()).unwrap()
}

#[test]
fn request_2_1() {
    let bytes = bytes(REQUEST);
    let message = Message::parse(&bytes).unwrap();
    assert_eq!((message.class, message.method), (Class::Request, Method::BINDING));
    assert!(message.fingerprint);
    assert!(message.verify(SHORT_TERM));
    assert!(!message.verify(b"another"));
    assert_eq!(message.username(), Ok(Some("evtj:h6vY")));
    assert_eq!(message.get(SOFTWARE), Some(&b"STUN test client"[..]));
    assert_eq!(message.unknown(&attributes::KNOWN), [0x0024], "PRIORITY is required and ICE's");
}

#[test]
fn ipv4_response_2_2() {
    let bytes = bytes(IPV4_RESPONSE);
    let message = Message::parse(&bytes).unwrap();
    assert_eq!((message.class, message.method), (Class::Success, Method::BINDING));
    assert!(message.fingerprint && message.verify(SHORT_TERM));
    let mapped: SocketAddr = "192.0.2.1:32853".parse().unwrap();
    assert_eq!(message.xor_address(XOR_MAPPED_ADDRESS), Ok(Some(mapped)));
}

#[test]
fn ipv6_response_2_3() {
    let bytes = bytes(IPV6_RESPONSE);
    let message = Message::parse(&bytes).unwrap();
    assert!(message.fingerprint && message.verify(SHORT_TERM));
    let mapped: SocketAddr = "[2001:db8:1234:5678:11:2233:4455:6677]:32853".parse().unwrap();
    assert_eq!(message.xor_address(XOR_MAPPED_ADDRESS), Ok(Some(mapped)));
}

#[test]
fn long_term_2_4_both_ways() {
    let bytes = bytes(LONG_TERM);
    let message = Message::parse(&bytes).unwrap();
    assert!(!message.fingerprint);
    let (username, realm) = ("マトリックス", "example.org");
    let nonce = "f//499k954d6OL34oL9FSTvy64sA";
    let key = Key::long_term(username, realm, "TheMatrIX");
    assert_eq!(message.username(), Ok(Some(username)));
    assert_eq!(message.realm(), Ok(Some(realm)));
    assert_eq!(message.nonce(), Ok(Some(nonce)));
    assert!(message.verify(key.as_slice()));
    let written = Writer::new(Class::Request, Method::BINDING, message.transaction)
        .attribute(USERNAME, username.as_bytes())
        .attribute(NONCE, nonce.as_bytes())
        .attribute(REALM, realm.as_bytes())
        .integrity(key.as_slice())
        .finish();
    assert_eq!(written, bytes);
}

#[test]
fn every_flipped_bit_is_noticed() {
    for vector in [REQUEST, IPV4_RESPONSE, IPV6_RESPONSE] {
        let whole = bytes(vector);
        for at in 0..whole.len() * 8 {
            let mut bent = whole.clone();
            bent[at / 8] ^= 1 << (at % 8);
            let taken =
                Message::parse(&bent).is_ok_and(|message| message.fingerprint && message.verify(SHORT_TERM));
            assert!(!taken, "bit {at}");
        }
    }
}
