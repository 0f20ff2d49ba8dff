//! MESSAGE-INTEGRITY and MESSAGE-INTEGRITY-SHA256 (RFC 8489 sections 14.5 and 14.6): an HMAC over all
//! that comes before it.

use std::ops::Range;

use hmac::digest::KeyInit;
use hmac::{Hmac, Mac};
use sha1::Sha1;
use sha2::Sha256;
use subtle::ConstantTimeEq;

use super::message::{HEADER, Message};

/// How a message is protected.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Integrity {
    /// MESSAGE-INTEGRITY: HMAC-SHA1, 20 bytes.
    Sha1,
    /// MESSAGE-INTEGRITY-SHA256: HMAC-SHA256, 32 bytes. Cut shorter only where a usage of STUN says
    /// so (RFC 8489 section 14.6); TURN does not.
    Sha256,
}

/// Whether a MESSAGE-INTEGRITY-SHA256 may be of this length: of 16 to 32 bytes, a multiple of four
/// (RFC 8489 section 14.6).
pub(super) const fn is_sha256_length(length: usize) -> bool {
    length >= 16 && length <= 32 && length.is_multiple_of(4)
}

/// The HMAC over a message up to its integrity attribute at `at`, whose value is of `length` bytes,
/// with the header's length field as if the message ended with it.
fn mac<M: Mac + KeyInit>(bytes: &[u8], at: usize, length: usize, key: &[u8]) -> Option<M> {
    let length = u16::try_from((at + 4 + length).checked_sub(HEADER)?).ok()?;
    let mut mac = <M as KeyInit>::new_from_slice(key).ok()?;
    mac.update(bytes.get(..2)?);
    mac.update(&length.to_be_bytes());
    mac.update(bytes.get(4..at)?);
    Some(mac)
}

/// The value of MESSAGE-INTEGRITY.
pub(super) fn sha1(bytes: &[u8], at: usize, key: &[u8]) -> Option<[u8; 20]> {
    Some(mac::<Hmac<Sha1>>(bytes, at, 20, key)?.finalize().into_bytes().into())
}

/// The value of MESSAGE-INTEGRITY-SHA256, of which the first `length` bytes are sent.
pub(super) fn sha256(bytes: &[u8], at: usize, length: usize, key: &[u8]) -> Option<[u8; 32]> {
    Some(mac::<Hmac<Sha256>>(bytes, at, length, key)?.finalize().into_bytes().into())
}

impl Message<'_> {
    /// Whether it has an integrity attribute, and which counts: MESSAGE-INTEGRITY-SHA256 where there
    /// are both (RFC 8489 section 9.2.4).
    #[must_use]
    pub fn integrity(&self) -> Option<Integrity> {
        match (&self.sha256, self.sha1) {
            (Some(_), _) => Some(Integrity::Sha256),
            (None, Some(_)) => Some(Integrity::Sha1),
            (None, None) => None,
        }
    }

    /// Whether its MESSAGE-INTEGRITY-SHA256 is shorter than 32 bytes.
    #[must_use]
    pub fn is_truncated(&self) -> bool {
        self.sha256.as_ref().is_some_and(|value| value.len() < 32)
    }

    /// Whether the integrity that counts is there and of this key; compared in constant time.
    #[must_use]
    pub fn verify(&self, key: &[u8]) -> bool {
        match (&self.sha256, self.sha1) {
            (Some(value), _) => self.verify_sha256(value, key).unwrap_or(false),
            (None, Some(at)) => self.verify_sha1(at, key).unwrap_or(false),
            (None, None) => false,
        }
    }

    fn verify_sha1(&self, at: usize, key: &[u8]) -> Option<bool> {
        let value = self.bytes.get(at + 4..at + 24)?;
        Some(sha1(self.bytes, at, key)?.ct_eq(value).into())
    }

    fn verify_sha256(&self, value: &Range<usize>, key: &[u8]) -> Option<bool> {
        let sent = self.bytes.get(value.clone()).filter(|sent| is_sha256_length(sent.len()))?;
        let whole = sha256(self.bytes, value.start - 4, sent.len(), key)?;
        Some(whole[..sent.len()].ct_eq(sent).into())
    }
}
