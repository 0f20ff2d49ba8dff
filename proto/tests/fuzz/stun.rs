//! The STUN parser. The first byte says how the rest becomes a message: as it is, or with what a
//! fuzzer cannot guess put right (header, integrity, FINGERPRINT).

use chappe_proto::stun::{
    ClassicBinding, HEADER, Malformed, Message, TransactionId, Writer, attributes, frame, is_stun,
};

use crate::input::Input;
use crate::oracle;

const KEY: &[u8; 16] = b"sixteen bytes ok";

pub(crate) fn run(data: &[u8]) {
    let mut input = Input(data);
    let how = input.u8();
    let mut bytes = input.rest().to_vec();
    if how & 1 != 0 && bytes.len() >= HEADER {
        bytes.truncate(HEADER + (bytes.len() - HEADER) / 4 * 4);
        bytes[0] &= 0x3F;
        bytes[4..8].copy_from_slice(&0x2112_A442_u32.to_be_bytes());
        let length = u16::try_from(bytes.len() - HEADER).unwrap_or(0xFFFC);
        bytes[2..4].copy_from_slice(&length.to_be_bytes());
        if how & 0b1110 != 0
            && let Ok(message) = Message::parse(&bytes)
        {
            bytes = rewrite(&message, &bytes, how);
        }
    }
    read(&bytes);
    oracle::agree(&bytes);
}

/// The attributes that count, written again, and protected.
fn rewrite(message: &Message<'_>, bytes: &[u8], how: u8) -> Vec<u8> {
    let mut writer = Writer::new(message.class, message.method, message.transaction);
    for (kind, value) in message.attributes() {
        writer = writer.attribute(kind, &bytes[value]);
    }
    if how & 2 != 0 {
        writer = writer.integrity(KEY);
    }
    if how & 4 != 0 {
        writer = writer.integrity_sha256_cut(KEY, 16 + usize::from(how >> 4) % 5 * 4);
    }
    if how & 8 != 0 { writer.fingerprint().finish() } else { writer.finish() }
}

/// Every reader of the codec, and what must hold of what it says.
fn read(bytes: &[u8]) {
    let framed = frame(bytes);
    if let Ok(Some(length)) = framed {
        assert!((4..=bytes.len()).contains(&length));
    }
    if let Some(classic) = ClassicBinding::parse(bytes) {
        assert!(Message::parse(bytes).is_err(), "either cookie or none");
        assert_eq!(&classic.response("192.0.2.1:1".parse().unwrap())[4..20], &classic.transaction);
    }
    let Ok(message) = Message::parse(bytes) else { return };
    assert!(is_stun(bytes));
    assert_eq!(framed, Ok::<_, Malformed>(Some(bytes.len())));
    assert_eq!(message.transaction, TransactionId(bytes[8..20].try_into().unwrap()));
    for (kind, value) in message.attributes() {
        assert!(value.start <= value.end && value.end <= bytes.len());
        let _ = message.xor_address(kind);
    }
    let texts = [message.username(), message.realm(), message.nonce()];
    assert!(texts.into_iter().flatten().flatten().all(|text| text.len() <= 763));
    assert!(message.origins().all(|origin| origin.len() <= 267));
    let _ = (message.error_code(), message.channel_number(), message.lifetime(), message.user_hash());
    let _ = (message.requested_transport(), message.requested_address_family());
    let _ = (message.additional_address_family(), message.even_port(), message.reservation_token());
    let _ = (message.mapped_address(), message.unknown_attributes(), message.password_algorithm());
    let _ = (message.password_algorithms(), message.is_truncated(), message.integrity());
    let unknown = message.unknown(&attributes::KNOWN);
    assert!(unknown.len() <= 16 && unknown.iter().all(|kind| *kind < 0x8000));
    assert!(message.peers().count() <= bytes.len() / 4);
    if message.verify(KEY) {
        let mut bent = bytes.to_vec();
        bent[HEADER - 1] ^= 1;
        assert!(!Message::parse(&bent).is_ok_and(|bent| bent.verify(KEY)), "the transaction is protected");
    }
    // What counts of it reads back as it was.
    let again = rewrite(&message, bytes, 0);
    let again = (Message::parse(&again).unwrap(), again.clone());
    let mine: Vec<_> = message.attributes().map(|(kind, value)| (kind, &bytes[value])).collect();
    let theirs: Vec<_> = again.0.attributes().map(|(kind, value)| (kind, &again.1[value])).collect();
    assert_eq!(mine, theirs);
}
