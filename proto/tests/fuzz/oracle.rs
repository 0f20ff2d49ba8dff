//! Any bytes, read by our STUN codec and by an independent one, the crates `stun-types` and
//! `turn-types`: ours takes nothing that theirs refuses, and what ours alone refuses has a reason.

use chappe_proto::stun::{Class, HEADER, Message, attributes};
use stun_types::attribute::{
    AlternateServer, Attribute as _, AttributeStaticType, ErrorCode, MessageIntegrity,
    MessageIntegritySha256, Username, XorMappedAddress,
};
use stun_types::message as theirs;
use stun_types::message::MessageClass;
use turn_types::attribute::{ChannelNumber, Lifetime, XorPeerAddress};

pub(crate) fn their_class(class: Class) -> MessageClass {
    match class {
        Class::Request => MessageClass::Request,
        Class::Indication => MessageClass::Indication,
        Class::Success => MessageClass::Success,
        Class::Error => MessageClass::Error,
    }
}

pub(crate) fn their_transaction(transaction: [u8; 12]) -> theirs::TransactionId {
    let mut wide = [0; 16];
    wide[4..].copy_from_slice(&transaction);
    u128::from_be_bytes(wide).into()
}

/// The raw attributes of a message as its length fields have it, until one overruns: type, beginning,
/// end with padding.
fn walk(bytes: &[u8]) -> (Vec<(u16, usize, usize)>, bool) {
    let (mut found, mut at) = (Vec::new(), HEADER);
    while at < bytes.len() {
        let Some(head) = bytes.get(at..at + 4) else { return (found, true) };
        let kind = u16::from_be_bytes([head[0], head[1]]);
        let length = usize::from(u16::from_be_bytes([head[2], head[3]]));
        let end = (at + 4 + length).next_multiple_of(4);
        if end > bytes.len() {
            return (found, true);
        }
        found.push((kind, at, end));
        at = end;
    }
    (found, false)
}

/// Why ours refuses a message that theirs takes.
fn stricter(bytes: &[u8]) -> Option<&'static str> {
    let length = usize::from(u16::from_be_bytes([bytes[2], bytes[3]]));
    if !length.is_multiple_of(4) {
        return Some("RFC 8489 section 5: a length that is no multiple of four");
    }
    if bytes.len() != HEADER + length {
        return Some("one datagram is one message: more bytes than the length says");
    }
    let (found, overruns) = walk(bytes);
    let fingerprint = found.iter().position(|(kind, ..)| *kind == attributes::FINGERPRINT);
    if fingerprint.is_some_and(|index| index + 1 < found.len() || overruns) {
        return Some("RFC 8489 section 14.7: FINGERPRINT is the last attribute");
    }
    let integrity = found.iter().any(|(kind, ..)| {
        matches!(*kind, attributes::MESSAGE_INTEGRITY | attributes::MESSAGE_INTEGRITY_SHA256)
    });
    if integrity && (overruns || fingerprint.is_some()) {
        // They stop reading at the first attribute behind it that is out of place.
        return Some("what follows MESSAGE-INTEGRITY is ignored, but must be well-formed");
    }
    None
}

/// Both read the bytes alike, or ours is stricter for a reason.
pub(crate) fn agree(bytes: &[u8]) {
    match (Message::parse(bytes), theirs::Message::from_bytes(bytes)) {
        (Ok(mine), Ok(other)) => {
            assert_eq!(their_class(mine.class), other.class());
            assert_eq!(theirs::Method::new(mine.method.0), other.method());
            assert_eq!(their_transaction(mine.transaction.0), other.transaction_id());
            let ends = [
                MessageIntegrity::TYPE.value(),
                MessageIntegritySha256::TYPE.value(),
                attributes::FINGERPRINT,
            ];
            let protected =
                other.iter_attributes().take_while(|(_, it)| !ends.contains(&it.get_type().value()));
            let theirs: Vec<_> =
                protected.map(|(_, it)| (it.get_type().value(), it.value.to_vec())).collect();
            let ours: Vec<_> = mine.attributes().map(|(kind, range)| (kind, bytes[range].to_vec())).collect();
            assert_eq!(ours, theirs);
            values_agree(&mine, &other);
        }
        (Ok(_), Err(error)) => panic!("they refuse what we take: {error} {bytes:02x?}"),
        (Err(_), Ok(_)) => assert!(stricter(bytes).is_some(), "only we refuse: {bytes:02x?}"),
        (Err(_), Err(_)) => {}
    }
}

/// Values that both read are the same. Ours reads those of TURN that have a wrong length as wrong; so
/// do they.
fn values_agree(mine: &Message<'_>, other: &theirs::Message<'_>) {
    let transaction = other.transaction_id();
    if let (Ok(Some(mine)), Ok(other)) = (mine.lifetime(), other.attribute::<Lifetime>()) {
        assert_eq!(mine, other.seconds());
    }
    if let (Ok(Some(mine)), Ok(other)) = (mine.channel_number(), other.attribute::<ChannelNumber>()) {
        assert_eq!(mine, other.channel());
    }
    if let (Ok(Some(mine)), Ok(other)) = (mine.error_code(), other.attribute::<ErrorCode>()) {
        assert_eq!(mine.0, other.code());
    }
    if let Ok(other) = other.attribute::<XorMappedAddress>() {
        let mine = mine.xor_address(attributes::XOR_MAPPED_ADDRESS);
        assert_eq!(mine, Ok(Some(other.addr(transaction))));
    }
    for (n, mine) in mine.peers().enumerate() {
        let other = other.nth_attribute::<XorPeerAddress>(n).map(|it| it.addr(transaction));
        if let (Ok(mine), Ok(other)) = (mine, other) {
            assert_eq!(mine, other);
        }
    }
    if let (Ok(Some(mine)), Ok(other)) = (mine.username(), other.attribute::<Username>()) {
        assert_eq!(mine, other.username());
    }
    // ALTERNATE-SERVER is not ours to read; it must not trip anyone.
    let _ = other.attribute::<AlternateServer>();
}
