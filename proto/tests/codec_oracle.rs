//! The STUN codec held against an independent one, the crates `stun-types` and `turn-types`: what
//! either writes the other reads to the same values, with the same integrity, and whatever the bytes
//! are, ours takes nothing that theirs refuses. What ours refuses alone is named, with its reason.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::cast_possible_truncation,
    clippy::cognitive_complexity,
    clippy::too_many_lines,
    reason = "a test fails by panic, makes small numbers of its own, and has an arm for each attribute"
)]

#[path = "fuzz/oracle.rs"]
mod oracle;

use std::net::{IpAddr, SocketAddr};

use chappe_proto::stun::attributes::{self, EvenPort, Family};
use chappe_proto::stun::{
    Algorithm, Class, Code, HEADER, Integrity, Key, Message, Method, TransactionId, Writer, user_hash,
};
use oracle::{agree, their_class, their_transaction};
use proptest::prelude::*;
use stun_types::AddressFamily;
use stun_types::attribute::{
    Attribute as _, AttributeFromRaw, AttributeStaticType, ErrorCode, Nonce, PasswordAlgorithm,
    PasswordAlgorithmValue, PasswordAlgorithms, RawAttribute, Realm, Software, UnknownAttributes, Userhash,
    Username, XorMappedAddress,
};
use stun_types::message as theirs;
use stun_types::message::{
    IntegrityAlgorithm, LongTermKeyCredentials, MessageIntegrityCredentials, MessageType, MessageWrite,
    MessageWriteExt, MessageWriteVec,
};
use turn_types::attribute::{
    AdditionalAddressFamily, AddressErrorCode, ChannelNumber, Data, DontFragment, EvenPort as TheirEvenPort,
    Icmp, Lifetime, RequestedAddressFamily, RequestedTransport, ReservationToken, XorPeerAddress,
    XorRelayedAddress,
};

// ---------------------------------------------------------------------------------- what is written

/// An attribute of either codec.
#[derive(Debug, Clone)]
enum Attribute {
    Username(String),
    Realm(String),
    Nonce(String),
    UserHash(String, String),
    Algorithm(bool),
    Algorithms(Vec<bool>),
    Software(String),
    ErrorCode(u16, String),
    Unknown(Vec<u16>),
    XorMapped(SocketAddr),
    XorPeer(SocketAddr),
    XorRelayed(SocketAddr),
    ChannelNumber(u16),
    Lifetime(u32),
    Transport(u8),
    Data(Vec<u8>),
    EvenPort(bool),
    Token([u8; 8]),
    Family(bool),
    /// Of IPv6, the only family that it may name (RFC 8656 section 18.11).
    Additional,
    FamilyError(bool, u16),
    DontFragment,
    /// One that neither knows.
    Other(u16, Vec<u8>),
}

fn address() -> impl Strategy<Value = SocketAddr> {
    let v4 = any::<[u8; 4]>().prop_map(IpAddr::from);
    let v6 = any::<[u8; 16]>().prop_map(IpAddr::from);
    (prop_oneof![v4, v6], any::<u16>()).prop_map(|(ip, port)| SocketAddr::new(ip, port))
}

fn words() -> impl Strategy<Value = String> {
    "[ -~äß😀]{1,60}"
}

fn attribute() -> impl Strategy<Value = Attribute> {
    let bytes = || prop::collection::vec(any::<u8>(), 0..60);
    prop_oneof![
        words().prop_map(Attribute::Username),
        words().prop_map(Attribute::Realm),
        words().prop_map(Attribute::Nonce),
        (words(), words()).prop_map(|(user, realm)| Attribute::UserHash(user, realm)),
        any::<bool>().prop_map(Attribute::Algorithm),
        prop::collection::vec(any::<bool>(), 1..3).prop_map(Attribute::Algorithms),
        words().prop_map(Attribute::Software),
        (300u16..700, words()).prop_map(|(code, reason)| Attribute::ErrorCode(code, reason)),
        prop::collection::vec(any::<u16>(), 1..8).prop_map(Attribute::Unknown),
        address().prop_map(Attribute::XorMapped),
        address().prop_map(Attribute::XorPeer),
        address().prop_map(Attribute::XorRelayed),
        any::<u16>().prop_map(Attribute::ChannelNumber),
        any::<u32>().prop_map(Attribute::Lifetime),
        any::<u8>().prop_map(Attribute::Transport),
        bytes().prop_map(Attribute::Data),
        any::<bool>().prop_map(Attribute::EvenPort),
        any::<[u8; 8]>().prop_map(Attribute::Token),
        any::<bool>().prop_map(Attribute::Family),
        Just(Attribute::Additional),
        (any::<bool>(), 300u16..700).prop_map(|(v6, code)| Attribute::FamilyError(v6, code)),
        Just(Attribute::DontFragment),
        (0x4000u16..0x8000, bytes()).prop_map(|(kind, value)| Attribute::Other(kind, value)),
    ]
}

/// What a message is made of. Each attribute at most once, but for peers and unknown ones.
#[derive(Debug, Clone)]
struct Plan {
    class: Class,
    method: u16,
    transaction: [u8; 12],
    attributes: Vec<Attribute>,
    /// Username, realm, password.
    credentials: Option<(String, String, String)>,
    /// MESSAGE-INTEGRITY with a key by MD5, MESSAGE-INTEGRITY-SHA256 with one by SHA-256, or both.
    integrity: Vec<Integrity>,
    fingerprint: bool,
}

fn plan() -> impl Strategy<Value = Plan> {
    let class =
        prop_oneof![Just(Class::Request), Just(Class::Indication), Just(Class::Success), Just(Class::Error)];
    let credentials = prop::option::of((words(), words(), words()));
    let attributes = prop::collection::vec(attribute(), 0..10);
    let integrity = prop_oneof![
        Just(vec![Integrity::Sha1]),
        Just(vec![Integrity::Sha256]),
        Just(vec![Integrity::Sha1, Integrity::Sha256])
    ];
    (class, 0u16..0x1000, any::<[u8; 12]>(), attributes, credentials, integrity, any::<bool>()).prop_map(
        |(class, method, transaction, mut attributes, credentials, integrity, fingerprint)| {
            let mut seen = Vec::new();
            attributes.retain(|attribute| {
                let kind = std::mem::discriminant(attribute);
                let again = seen.contains(&kind);
                seen.push(kind);
                !again || matches!(attribute, Attribute::XorPeer(_) | Attribute::Other(..))
            });
            Plan { class, method, transaction, attributes, credentials, integrity, fingerprint }
        },
    )
}

// ------------------------------------------------------------------------------------------- by us

fn family(v6: bool) -> Family {
    if v6 { Family::V6 } else { Family::V4 }
}

fn algorithm(sha256: bool) -> Algorithm {
    if sha256 { Algorithm::Sha256 } else { Algorithm::Md5 }
}

fn key(integrity: Integrity, (username, realm, password): &(String, String, String)) -> Key {
    Key::derive(algorithm(integrity == Integrity::Sha256), username, realm, password)
}

fn ours(plan: &Plan) -> Vec<u8> {
    let mut writer = Writer::new(plan.class, Method(plan.method), TransactionId(plan.transaction));
    for attribute in &plan.attributes {
        writer = match attribute {
            Attribute::Username(text) => writer.attribute(attributes::USERNAME, text.as_bytes()),
            Attribute::Realm(text) => writer.attribute(attributes::REALM, text.as_bytes()),
            Attribute::Nonce(text) => writer.attribute(attributes::NONCE, text.as_bytes()),
            Attribute::UserHash(user, realm) => {
                writer.attribute(attributes::USERHASH, &user_hash(user, realm))
            }
            Attribute::Algorithm(sha256) => writer.password_algorithm(algorithm(*sha256)),
            Attribute::Algorithms(list) => {
                let list: Vec<_> = list.iter().map(|sha256| algorithm(*sha256)).collect();
                writer.password_algorithms(&list)
            }
            Attribute::Software(text) => writer.attribute(attributes::SOFTWARE, text.as_bytes()),
            Attribute::ErrorCode(code, reason) => writer.error_code(Code(*code), reason),
            Attribute::Unknown(kinds) => writer.unknown_attributes(kinds),
            Attribute::XorMapped(address) => writer.xor_address(attributes::XOR_MAPPED_ADDRESS, *address),
            Attribute::XorPeer(address) => writer.xor_address(attributes::XOR_PEER_ADDRESS, *address),
            Attribute::XorRelayed(address) => writer.xor_address(attributes::XOR_RELAYED_ADDRESS, *address),
            Attribute::ChannelNumber(number) => writer.channel_number(*number),
            Attribute::Lifetime(seconds) => writer.lifetime(*seconds),
            Attribute::Transport(protocol) => writer.requested_transport(*protocol),
            Attribute::Data(bytes) => writer.attribute(attributes::DATA, bytes),
            Attribute::EvenPort(reserve) => writer.even_port(EvenPort { reserve: *reserve }),
            Attribute::Token(token) => writer.reservation_token(*token),
            Attribute::Family(v6) => writer.family(attributes::REQUESTED_ADDRESS_FAMILY, family(*v6)),
            Attribute::Additional => writer.family(attributes::ADDITIONAL_ADDRESS_FAMILY, Family::V6),
            Attribute::FamilyError(v6, code) => writer.address_error_code(family(*v6), Code(*code)),
            Attribute::DontFragment => writer.attribute(attributes::DONT_FRAGMENT, &[]),
            Attribute::Other(kind, value) => writer.attribute(*kind, value),
        };
    }
    for integrity in plan.integrity.iter().filter(|_| plan.credentials.is_some()) {
        let key = key(*integrity, plan.credentials.as_ref().unwrap());
        writer = writer.protect(*integrity, key.as_slice());
    }
    if plan.fingerprint { writer.fingerprint().finish() } else { writer.finish() }
}

/// Our reading of a message says what the plan says.
fn ours_reads(plan: &Plan, bytes: &[u8]) {
    let message = Message::parse(bytes).unwrap();
    assert_eq!((message.class, message.method), (plan.class, Method(plan.method)));
    assert_eq!(message.transaction, TransactionId(plan.transaction));
    assert_eq!(message.fingerprint, plan.fingerprint);
    let mut peers = message.peers();
    for attribute in &plan.attributes {
        match attribute {
            Attribute::Username(text) => assert_eq!(message.username(), Ok(Some(&**text))),
            Attribute::Realm(text) => assert_eq!(message.realm(), Ok(Some(&**text))),
            Attribute::Nonce(text) => assert_eq!(message.nonce(), Ok(Some(&**text))),
            Attribute::UserHash(user, realm) => {
                assert_eq!(message.user_hash(), Ok(Some(user_hash(user, realm))));
            }
            Attribute::Algorithm(sha256) => {
                assert_eq!(message.password_algorithm(), Ok(Some(algorithm(*sha256))));
            }
            Attribute::Algorithms(list) => {
                let list: Vec<_> = list.iter().map(|sha256| algorithm(*sha256)).collect();
                assert_eq!(message.password_algorithms(), Ok(Some(list)));
            }
            Attribute::Software(text) => {
                assert_eq!(message.get(attributes::SOFTWARE), Some(text.as_bytes()));
            }
            Attribute::ErrorCode(code, _) => assert_eq!(message.error_code(), Ok(Some(Code(*code)))),
            Attribute::Unknown(kinds) => assert_eq!(&message.unknown_attributes(), kinds),
            Attribute::XorMapped(address) => {
                assert_eq!(message.xor_address(attributes::XOR_MAPPED_ADDRESS), Ok(Some(*address)));
            }
            Attribute::XorPeer(address) => assert_eq!(peers.next(), Some(Ok(*address))),
            Attribute::XorRelayed(address) => {
                assert_eq!(message.xor_address(attributes::XOR_RELAYED_ADDRESS), Ok(Some(*address)));
            }
            Attribute::ChannelNumber(number) => assert_eq!(message.channel_number(), Ok(Some(*number))),
            Attribute::Lifetime(seconds) => assert_eq!(message.lifetime(), Ok(Some(*seconds))),
            Attribute::Transport(protocol) => {
                assert_eq!(message.requested_transport(), Ok(Some(*protocol)));
            }
            Attribute::Data(bytes) => assert_eq!(message.get(attributes::DATA), Some(&bytes[..])),
            Attribute::EvenPort(reserve) => {
                assert_eq!(message.even_port(), Ok(Some(EvenPort { reserve: *reserve })));
            }
            Attribute::Token(token) => assert_eq!(message.reservation_token(), Ok(Some(*token))),
            Attribute::Family(v6) => {
                assert_eq!(message.requested_address_family(), Ok(Some(Ok(family(*v6)))));
            }
            Attribute::Additional => {
                assert_eq!(message.additional_address_family(), Ok(Some(Ok(Family::V6))));
            }
            Attribute::FamilyError(v6, code) => {
                let value = message.get(attributes::ADDRESS_ERROR_CODE).unwrap();
                let (class, number) = ((code / 100) as u8, (code % 100) as u8);
                assert_eq!((value[0], value[2] & 7, value[3]), (1 + u8::from(*v6), class, number));
            }
            Attribute::DontFragment => {
                assert_eq!(message.get(attributes::DONT_FRAGMENT), Some(&[][..]));
            }
            Attribute::Other(kind, value) => {
                let found = message.attributes().any(|(k, range)| k == *kind && bytes[range] == value[..]);
                assert!(found, "{kind:#06x}");
            }
        }
    }
    assert_eq!(message.attributes().count(), plan.attributes.len());
    // Of both MESSAGE-INTEGRITY-SHA256 counts (RFC 8489 section 9.2.4).
    let expected = plan.credentials.as_ref().and(plan.integrity.last().copied());
    assert_eq!(message.integrity(), expected);
    if let (Some(integrity), Some((username, realm, password))) = (expected, &plan.credentials) {
        let good = (username.clone(), realm.clone(), password.clone());
        let bad = (username.clone(), realm.clone(), format!("{password}!"));
        assert!(message.verify(key(integrity, &good).as_slice()));
        assert!(!message.verify(key(integrity, &bad).as_slice()));
    }
}

// ----------------------------------------------------------------------------------------- by them

fn their_family(v6: bool) -> AddressFamily {
    if v6 { AddressFamily::IPV6 } else { AddressFamily::IPV4 }
}

fn their_credentials(username: &str, realm: &str, password: &str) -> MessageIntegrityCredentials {
    LongTermKeyCredentials::new(username.to_owned(), password.to_owned(), realm.to_owned()).into()
}

fn their_algorithm(sha256: bool) -> PasswordAlgorithmValue {
    if sha256 { PasswordAlgorithmValue::SHA256 } else { PasswordAlgorithmValue::MD5 }
}

fn their_integrity(integrity: Integrity) -> IntegrityAlgorithm {
    match integrity {
        Integrity::Sha1 => IntegrityAlgorithm::Sha1,
        Integrity::Sha256 => IntegrityAlgorithm::Sha256,
    }
}

fn by_them(plan: &Plan) -> Vec<u8> {
    let transaction = their_transaction(plan.transaction);
    let kind = MessageType::from_class_method(their_class(plan.class), theirs::Method::new(plan.method));
    let mut writer = theirs::Message::builder(kind, transaction, MessageWriteVec::new());
    for attribute in &plan.attributes {
        match attribute {
            Attribute::Username(text) => writer.add_attribute(&Username::new(text).unwrap()),
            Attribute::Realm(text) => writer.add_attribute(&Realm::new(text).unwrap()),
            Attribute::Nonce(text) => writer.add_attribute(&Nonce::new(text).unwrap()),
            Attribute::UserHash(user, realm) => {
                writer.add_attribute(&Userhash::new(Userhash::compute(user, realm)))
            }
            Attribute::Algorithm(sha256) => {
                writer.add_attribute(&PasswordAlgorithm::new(their_algorithm(*sha256)))
            }
            Attribute::Algorithms(list) => {
                let list: Vec<_> = list.iter().map(|sha256| their_algorithm(*sha256)).collect();
                writer.add_attribute(&PasswordAlgorithms::new(&list))
            }
            Attribute::Software(text) => writer.add_attribute(&Software::new(text).unwrap()),
            Attribute::ErrorCode(code, reason) => {
                writer.add_attribute(&ErrorCode::new(*code, reason).unwrap())
            }
            Attribute::Unknown(kinds) => {
                let kinds: Vec<_> = kinds.iter().map(|kind| (*kind).into()).collect();
                writer.add_attribute(&UnknownAttributes::new(&kinds))
            }
            Attribute::XorMapped(address) => {
                writer.add_attribute(&XorMappedAddress::new(*address, transaction))
            }
            Attribute::XorPeer(address) => writer.add_attribute(&XorPeerAddress::new(*address, transaction)),
            Attribute::XorRelayed(address) => {
                writer.add_attribute(&XorRelayedAddress::new(*address, transaction))
            }
            Attribute::ChannelNumber(number) => writer.add_attribute(&ChannelNumber::new(*number)),
            Attribute::Lifetime(seconds) => writer.add_attribute(&Lifetime::new(*seconds)),
            Attribute::Transport(protocol) => writer.add_attribute(&RequestedTransport::new(*protocol)),
            Attribute::Data(bytes) => writer.add_attribute(&Data::new(bytes)),
            Attribute::EvenPort(reserve) => writer.add_attribute(&TheirEvenPort::new(*reserve)),
            Attribute::Token(token) => {
                writer.add_attribute(&ReservationToken::new(u64::from_be_bytes(*token)))
            }
            Attribute::Family(v6) => writer.add_attribute(&RequestedAddressFamily::new(their_family(*v6))),
            Attribute::Additional => writer.add_attribute(&AdditionalAddressFamily::new(AddressFamily::IPV6)),
            Attribute::FamilyError(v6, code) => {
                let code = ErrorCode::new(*code, "").unwrap();
                writer.add_attribute(&AddressErrorCode::new(their_family(*v6), code))
            }
            Attribute::DontFragment => writer.add_attribute(&DontFragment::new()),
            Attribute::Other(kind, value) => writer.add_attribute(&RawAttribute::new((*kind).into(), value)),
        }
        .unwrap();
    }
    if let Some((username, realm, password)) = &plan.credentials {
        let credentials = their_credentials(username, realm, password);
        for integrity in &plan.integrity {
            writer.add_message_integrity(&credentials, their_integrity(*integrity)).unwrap();
        }
    }
    if plan.fingerprint {
        writer.add_fingerprint().unwrap();
    }
    writer.finish()
}

fn get<'a, A: AttributeFromRaw<'a> + AttributeStaticType>(message: &'a theirs::Message<'a>) -> A {
    message.attribute::<A>().unwrap()
}

/// Their reading of a message says what the plan says.
fn they_read(plan: &Plan, bytes: &[u8]) {
    let message = theirs::Message::from_bytes(bytes).unwrap();
    let transaction = their_transaction(plan.transaction);
    assert_eq!(message.class(), their_class(plan.class));
    assert_eq!(message.method(), theirs::Method::new(plan.method));
    assert_eq!(message.transaction_id(), transaction);
    let mut peers = 0;
    for attribute in &plan.attributes {
        match attribute {
            Attribute::Username(text) => assert_eq!(get::<Username>(&message).username(), text),
            Attribute::Realm(text) => assert_eq!(get::<Realm>(&message).realm(), text),
            Attribute::Nonce(text) => assert_eq!(get::<Nonce>(&message).nonce(), text),
            Attribute::UserHash(user, realm) => {
                assert_eq!(*get::<Userhash>(&message).hash(), Userhash::compute(user, realm));
            }
            Attribute::Algorithm(sha256) => {
                assert_eq!(get::<PasswordAlgorithm>(&message).algorithm(), their_algorithm(*sha256));
            }
            Attribute::Algorithms(list) => {
                let list: Vec<_> = list.iter().map(|sha256| their_algorithm(*sha256)).collect();
                assert_eq!(get::<PasswordAlgorithms>(&message).algorithms(), list);
            }
            Attribute::Software(text) => assert_eq!(get::<Software>(&message).software(), text),
            Attribute::ErrorCode(code, reason) => {
                let read = get::<ErrorCode>(&message);
                assert_eq!((read.code(), read.reason()), (*code, &**reason));
            }
            Attribute::Unknown(kinds) => {
                let read = get::<UnknownAttributes>(&message);
                assert!(kinds.iter().all(|kind| read.has_attribute((*kind).into())));
            }
            Attribute::XorMapped(address) => {
                assert_eq!(get::<XorMappedAddress>(&message).addr(transaction), *address);
            }
            Attribute::XorPeer(address) => {
                let read = message.nth_attribute::<XorPeerAddress>(peers).unwrap();
                assert_eq!(read.addr(transaction), *address);
                peers += 1;
            }
            Attribute::XorRelayed(address) => {
                assert_eq!(get::<XorRelayedAddress>(&message).addr(transaction), *address);
            }
            Attribute::ChannelNumber(number) => {
                assert_eq!(get::<ChannelNumber>(&message).channel(), *number);
            }
            Attribute::Lifetime(seconds) => assert_eq!(get::<Lifetime>(&message).seconds(), *seconds),
            Attribute::Transport(protocol) => {
                assert_eq!(get::<RequestedTransport>(&message).protocol(), *protocol);
            }
            Attribute::Data(bytes) => assert_eq!(get::<Data<'_>>(&message).data(), bytes),
            Attribute::EvenPort(reserve) => {
                assert_eq!(get::<TheirEvenPort>(&message).requested(), *reserve);
            }
            Attribute::Token(token) => {
                assert_eq!(get::<ReservationToken>(&message).token(), u64::from_be_bytes(*token));
            }
            Attribute::Family(v6) => {
                assert_eq!(get::<RequestedAddressFamily>(&message).family(), their_family(*v6));
            }
            Attribute::Additional => {
                assert_eq!(get::<AdditionalAddressFamily>(&message).family(), AddressFamily::IPV6);
            }
            Attribute::FamilyError(v6, code) => {
                let read = get::<AddressErrorCode>(&message);
                assert_eq!((read.family(), read.error().code()), (their_family(*v6), *code));
            }
            Attribute::DontFragment => {
                get::<DontFragment>(&message);
            }
            Attribute::Other(kind, value) => {
                let mut all = message.iter_attributes();
                assert!(all.any(|(_, it)| it.get_type() == (*kind).into() && *it.value == value[..]));
            }
        }
    }
    if let Some((username, realm, password)) = &plan.credentials {
        let good = their_credentials(username, realm, password);
        let counts = their_integrity(*plan.integrity.last().unwrap());
        assert_eq!(message.validate_integrity(&good).unwrap(), counts);
        let bad = their_credentials(username, realm, &format!("{password}!"));
        assert!(message.validate_integrity(&bad).is_err());
    }
}

proptest! {
    #[test]
    fn what_we_write_they_read(plan in plan()) {
        they_read(&plan, &ours(&plan));
    }

    #[test]
    fn what_they_write_we_read(plan in plan()) {
        ours_reads(&plan, &by_them(&plan));
    }

    /// The one attribute that the two write differently. RFC 8656 figure 11 gives ICMP's type 7 bits and
    /// its code 9, and so do we; `turn-types` gives each a byte. A type of an error is below 128, and a
    /// code is below 256: nothing is lost.
    #[test]
    fn icmp_is_as_the_figure_has_it(kind in 0u8..128, code: u8, data: u32) {
        let writer = Writer::new(Class::Indication, Method::DATA, TransactionId([7; 12]));
        let bytes = writer.icmp(kind, code, data.to_be_bytes()).finish();
        let message = theirs::Message::from_bytes(&bytes).unwrap();
        let packed = (u16::from(kind) << 9 | u16::from(code)).to_be_bytes();
        let read = get::<Icmp>(&message);
        prop_assert_eq!((read.icmp_type(), read.code(), read.data()), (packed[0], packed[1], data));
        prop_assert_eq!(packed[0] >> 1, kind);
    }

    /// Padding and reserved bits are zero in both.
    #[test]
    fn both_write_the_same_bytes(plan in plan()) {
        prop_assert_eq!(ours(&plan), by_them(&plan));
    }
}

// ---------------------------------------------------------------------------------------- any bytes

proptest! {
    #![proptest_config(ProptestConfig { cases: 2000, ..ProptestConfig::default() })]

    #[test]
    fn any_bytes_are_read_alike(
        head in prop_oneof![Just(vec![]), any::<u16>().prop_map(|it| (it & 0x3FFF).to_be_bytes().to_vec())],
        body in prop::collection::vec(any::<u8>(), 0..120),
    ) {
        let mut bytes = head;
        if !bytes.is_empty() {
            bytes.extend((body.len() as u16).to_be_bytes());
            bytes.extend(0x2112_A442_u32.to_be_bytes());
            bytes.extend([9; 12]);
        }
        bytes.extend(body);
        agree(&bytes);
    }

    /// Good messages with bytes bent, taken away or put behind.
    #[test]
    fn bent_messages_are_read_alike(
        plan in plan(),
        edits in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..4),
        cut in 0usize..8,
        behind in prop::collection::vec(any::<u8>(), 0..12),
        mend: bool,
    ) {
        let mut bytes = ours(&plan);
        bytes.truncate(bytes.len().saturating_sub(cut));
        bytes.extend(behind);
        for (at, with) in edits {
            let at = at.index(bytes.len().max(1));
            if let Some(byte) = bytes.get_mut(at) {
                *byte = with;
            }
        }
        if mend && bytes.len() >= HEADER {
            let length = (bytes.len() - HEADER) as u16;
            bytes[2..4].copy_from_slice(&length.to_be_bytes());
        }
        agree(&bytes);
        // A bent message that still has its integrity is accepted by both or by none.
        if let (Ok(mine), Ok(other), Some(credentials)) =
            (Message::parse(&bytes), theirs::Message::from_bytes(&bytes), &plan.credentials)
        {
            let key = |integrity| key(integrity, credentials);
            let verified = mine.integrity().is_some_and(|it| mine.verify(key(it).as_slice()));
            let (username, realm, password) = credentials;
            let verdict = other.validate_integrity(&their_credentials(username, realm, password));
            prop_assert_eq!(verified, verdict.is_ok(), "{:02x?}", bytes);
        }
    }
}
