//! Making a STUN message.

use super::attributes::{FINGERPRINT, MESSAGE_INTEGRITY, MESSAGE_INTEGRITY_SHA256};
use super::message::{Class, HEADER, MAGIC_COOKIE, Method, TransactionId, message_type};
use super::{Integrity, fingerprint, integrity};

/// A message in the making. Attributes are written in the order of the calls.
#[derive(Debug, Clone)]
pub struct Writer {
    bytes: Vec<u8>,
    pub(super) transaction: TransactionId,
}

impl Writer {
    /// A message without attributes.
    #[must_use]
    pub fn new(class: Class, method: Method, transaction: TransactionId) -> Self {
        let mut bytes = Vec::with_capacity(128);
        bytes.extend(message_type(class, method).to_be_bytes());
        bytes.extend([0; 2]);
        bytes.extend(MAGIC_COOKIE.to_be_bytes());
        bytes.extend(transaction.0);
        Self { bytes, transaction }
    }

    /// Adds an attribute, padded with zero bytes to four (RFC 8489 section 14). Of a value beyond
    /// 65,535 bytes the rest is left out.
    #[must_use]
    pub fn attribute(mut self, kind: u16, value: &[u8]) -> Self {
        let length = u16::try_from(value.len()).unwrap_or(u16::MAX);
        self.bytes.extend(kind.to_be_bytes());
        self.bytes.extend(length.to_be_bytes());
        self.bytes.extend(&value[..usize::from(length)]);
        self.bytes.resize(self.bytes.len().next_multiple_of(4), 0);
        self
    }

    /// Adds MESSAGE-INTEGRITY over all that was added before.
    #[must_use]
    pub fn integrity(self, key: &[u8]) -> Self {
        match integrity::sha1(&self.bytes, self.bytes.len(), key) {
            Some(mac) => self.attribute(MESSAGE_INTEGRITY, &mac),
            None => self,
        }
    }

    /// Adds MESSAGE-INTEGRITY-SHA256 over all that was added before: after MESSAGE-INTEGRITY, where
    /// there are both.
    #[must_use]
    pub fn integrity_sha256(self, key: &[u8]) -> Self {
        self.integrity_sha256_cut(key, 32)
    }

    /// The same, of which only `length` bytes are sent: 16 to 32 and a multiple of four, else nothing
    /// is added. Not for TURN (RFC 8489 section 14.6).
    #[must_use]
    pub fn integrity_sha256_cut(self, key: &[u8], length: usize) -> Self {
        let allowed = integrity::is_sha256_length(length);
        match integrity::sha256(&self.bytes, self.bytes.len(), length, key).filter(|_| allowed) {
            Some(mac) => self.attribute(MESSAGE_INTEGRITY_SHA256, &mac[..length]),
            None => self,
        }
    }

    /// Adds either.
    #[must_use]
    pub fn protect(self, integrity: Integrity, key: &[u8]) -> Self {
        match integrity {
            Integrity::Sha1 => self.integrity(key),
            Integrity::Sha256 => self.integrity_sha256(key),
        }
    }

    /// The length in bytes of what was written so far, header included.
    #[must_use]
    pub const fn size(&self) -> usize {
        self.bytes.len()
    }

    /// Adds FINGERPRINT, after which nothing may be added.
    #[must_use]
    pub fn fingerprint(mut self) -> Self {
        self.set_length(8);
        let crc = fingerprint::of(&self.bytes);
        self.attribute(FINGERPRINT, &crc)
    }

    /// The message.
    #[must_use]
    pub fn finish(mut self) -> Vec<u8> {
        self.set_length(0);
        self.bytes
    }

    fn set_length(&mut self, more: usize) {
        let length = u16::try_from(self.bytes.len() - HEADER + more).unwrap_or(u16::MAX);
        self.bytes[2..4].copy_from_slice(&length.to_be_bytes());
    }
}
