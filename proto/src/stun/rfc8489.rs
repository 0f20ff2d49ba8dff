//! The test vector of RFC 8489 appendix B.1, as erratum 6268 corrects it, and what that RFC says of
//! MESSAGE-INTEGRITY-SHA256.

use data_encoding::HEXLOWER;

use super::attributes::{NONCE, REALM, USERHASH};
use super::*;

const REQUEST: &[&str] = &[
    "000100902112a44278ad3433c6ad72c029da412e",
    "001e00204a3cf38fef6992bda952c6780417da0f2481941556",
    "9e60b205c46e41407f1704",
    "001500296f624d61744a6f7332414141",
    "43662f2f3439396b39353464364f4c33346f4c394653547679363473",
    "41000000",
    "0014000b6578616d706c652e6f726700",
    "001d000400020000",
    "001c0020b5c7bf005b6c52a21c51c5e892f81924136296cb927c43149309278cc6518e65",
];

const USERNAME: &str = "マトリックス";

#[test]
fn appendix_b_1_both_ways() {
    let bytes = HEXLOWER.decode(REQUEST.concat().as_bytes()).unwrap();
    let message = Message::parse(&bytes).unwrap();
    let nonce = "obMatJos2AAACf//499k954d6OL34oL9FSTvy64sA";
    assert_eq!(message.user_hash(), Ok(Some(user_hash(USERNAME, "example.org"))));
    assert_eq!((message.realm(), message.nonce()), (Ok(Some("example.org")), Ok(Some(nonce))));
    let features = Features { password_algorithms: false, anonymity: true };
    assert_eq!(Features::read(nonce), Some((features, "f//499k954d6OL34oL9FSTvy64sA")));
    assert_eq!(message.password_algorithm(), Ok(Some(Algorithm::Sha256)));
    assert_eq!(message.integrity(), Some(Integrity::Sha256));
    let key = Key::derive(Algorithm::Sha256, USERNAME, "example.org", "TheMatrIX");
    assert!(message.verify(key.as_slice()) && !message.is_truncated());
    assert!(!message.verify(Key::long_term(USERNAME, "example.org", "TheMatrIX").as_slice()));
    let written = Writer::new(Class::Request, Method::BINDING, message.transaction)
        .attribute(USERHASH, &user_hash(USERNAME, "example.org"))
        .attribute(NONCE, nonce.as_bytes())
        .attribute(REALM, b"example.org")
        .password_algorithm(Algorithm::Sha256)
        .integrity_sha256(key.as_slice())
        .finish();
    assert_eq!(written, bytes);
}

fn message() -> Writer {
    Writer::new(Class::Request, Method::BINDING, TransactionId([7; 12])).attribute(REALM, b"realm")
}

#[test]
fn a_shorter_hmac_is_read_in_its_range_of_lengths() {
    for length in (0..=40).chain([64]) {
        let bytes = message().integrity_sha256_cut(b"key", length).finish();
        let read = Message::parse(&bytes).unwrap();
        let allowed = [16, 20, 24, 28, 32].contains(&length);
        assert_eq!(read.verify(b"key"), allowed, "{length}");
        assert!(!read.verify(b"other"));
        assert_eq!(read.is_truncated(), allowed && length < 32);
    }
    // The same HMAC, cut to what is too short.
    let whole = message().integrity_sha256(b"key").finish();
    let value = &whole[whole.len() - 32..];
    let bytes = message().attribute(attributes::MESSAGE_INTEGRITY_SHA256, &value[..12]).finish();
    assert!(!Message::parse(&bytes).unwrap().verify(b"key"));
}

#[test]
fn of_both_the_sha256_one_counts() {
    let both = message().integrity(b"key").integrity_sha256(b"key").fingerprint().finish();
    let read = Message::parse(&both).unwrap();
    assert_eq!((read.integrity(), read.fingerprint), (Some(Integrity::Sha256), true));
    assert!(read.verify(b"key"));
    let bytes = message().integrity(b"key").integrity_sha256(b"other").finish();
    assert!(!Message::parse(&bytes).unwrap().verify(b"key"), "MESSAGE-INTEGRITY does not help it");
    // A MESSAGE-INTEGRITY after it, and anything between, is ignored.
    let bytes = message().integrity_sha256(b"key").lifetime(1).integrity(b"key").finish();
    let read = Message::parse(&bytes).unwrap();
    assert!(read.verify(b"key") && read.lifetime() == Ok(None));
    let bytes = message().integrity(b"key").lifetime(1).integrity_sha256(b"key").finish();
    let read = Message::parse(&bytes).unwrap();
    assert!(read.verify(b"key") && read.lifetime() == Ok(None));
}

#[test]
fn lists_of_password_algorithms() {
    let read = |value: &[u8]| {
        let bytes = message().attribute(attributes::PASSWORD_ALGORITHMS, value).finish();
        Message::parse(&bytes).unwrap().password_algorithms()
    };
    let bad = Err(BadAttribute(attributes::PASSWORD_ALGORITHMS));
    assert_eq!(read(&[0, 2, 0, 0, 0, 1, 0, 0]), Ok(Some(vec![Algorithm::Sha256, Algorithm::Md5])));
    assert_eq!(read(&[0, 9, 0, 3, 1, 2, 3, 0, 0, 1, 0, 0]), Ok(Some(vec![Algorithm::Md5])), "unknown");
    assert_eq!(read(&[]), Ok(Some(Vec::new())));
    assert_eq!(read(&[0, 2, 0, 0, 0, 1]), bad);
    assert_eq!(read(&[0, 2, 0, 4, 0, 1]), bad);
    let one = |value: &[u8]| {
        let bytes = message().attribute(attributes::PASSWORD_ALGORITHM, value).finish();
        Message::parse(&bytes).unwrap().password_algorithm()
    };
    let bad = Err(BadAttribute(attributes::PASSWORD_ALGORITHM));
    assert_eq!(one(&[0, 1, 0, 0]), Ok(Some(Algorithm::Md5)));
    assert_eq!((one(&[0, 3, 0, 0]), one(&[0, 1])), (bad, bad));
    assert_eq!(one(&[0, 1, 0, 0, 0, 2, 0, 0]), bad);
}

#[test]
fn a_username_is_read_up_to_763_bytes() {
    let read = |length| {
        let bytes = message().attribute(attributes::USERNAME, &vec![b'a'; length]).finish();
        Message::parse(&bytes).unwrap().username().map(|name| name.map(str::len))
    };
    assert_eq!(read(763), Ok(Some(763)));
    assert_eq!(read(764), Err(BadAttribute(attributes::USERNAME)));
}
