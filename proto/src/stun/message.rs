//! Reading a STUN message in place (RFC 8489 sections 5 and 14).

use std::ops::Range;

use super::attributes::{
    FINGERPRINT, MESSAGE_INTEGRITY, MESSAGE_INTEGRITY_SHA256, is_comprehension_required,
};
use super::fingerprint;
use super::frame::Malformed;

/// The length of a header in bytes.
pub const HEADER: usize = 20;
/// The value of bytes 4 to 7 of each message.
pub const MAGIC_COOKIE: u32 = 0x2112_A442;

/// What a message is of its method.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Class {
    /// Asks for an answer.
    Request,
    /// Asks for none.
    Indication,
    /// The answer: done.
    Success,
    /// The answer: refused.
    Error,
}

/// What a message is about: 12 bits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Method(pub u16);

impl Method {
    /// RFC 8489 section 18.2.
    pub const BINDING: Self = Self(0x001);
    /// RFC 8656 section 17, as all that follow.
    pub const ALLOCATE: Self = Self(0x003);
    /// Prolongs or deletes an allocation.
    pub const REFRESH: Self = Self(0x004);
    /// Data from a client: an indication only.
    pub const SEND: Self = Self(0x006);
    /// Data for a client: an indication only.
    pub const DATA: Self = Self(0x007);
    /// Installs or refreshes permissions.
    pub const CREATE_PERMISSION: Self = Self(0x008);
    /// Binds a channel or refreshes it.
    pub const CHANNEL_BIND: Self = Self(0x009);
}

/// What pairs a response with its request; random in every request and indication.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct TransactionId(pub [u8; 12]);

impl std::fmt::Debug for TransactionId {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&data_encoding::HEXLOWER.encode(&self.0))
    }
}

/// The message type field of a method and class (RFC 8489 figure 3).
pub(super) const fn message_type(class: Class, method: Method) -> u16 {
    let m = method.0;
    let bits = (m & 0x00F) | ((m & 0x070) << 1) | ((m & 0xF80) << 2);
    bits | match class {
        Class::Request => 0x000,
        Class::Indication => 0x010,
        Class::Success => 0x100,
        Class::Error => 0x110,
    }
}

const fn class_of(kind: u16) -> Class {
    match kind & 0x110 {
        0x000 => Class::Request,
        0x010 => Class::Indication,
        0x100 => Class::Success,
        _ => Class::Error,
    }
}

const fn method_of(kind: u16) -> Method {
    Method((kind & 0x00F) | ((kind & 0x0E0) >> 1) | ((kind & 0x3E00) >> 2))
}

/// An attribute whose value is not of its form: a 400 of the request that carries it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("malformed attribute {0:#06x}")]
pub struct BadAttribute(pub u16);

/// A well-formed message, read in place.
///
/// Of its attributes only those before the first MESSAGE-INTEGRITY or MESSAGE-INTEGRITY-SHA256 are
/// seen: what comes after is to be ignored, except for a MESSAGE-INTEGRITY-SHA256 after a
/// MESSAGE-INTEGRITY (RFC 8489 sections 14.5 and 14.6).
#[derive(Debug, Clone)]
pub struct Message<'a> {
    /// Its class.
    pub class: Class,
    /// Its method.
    pub method: Method,
    /// Its transaction id.
    pub transaction: TransactionId,
    /// Whether it ends with a (correct) FINGERPRINT.
    pub fingerprint: bool,
    pub(super) bytes: &'a [u8],
    /// Where the attributes that count end.
    end: usize,
    /// Where MESSAGE-INTEGRITY begins.
    pub(super) sha1: Option<usize>,
    /// Where the value of MESSAGE-INTEGRITY-SHA256 is.
    pub(super) sha256: Option<Range<usize>>,
}

impl<'a> Message<'a> {
    /// Reads a whole message, of which `bytes` must hold nothing more and nothing less.
    ///
    /// # Errors
    /// [`Malformed`] where RFC 8489 section 6.3 has it dropped without an answer: the first two bits,
    /// the magic cookie, the length, an attribute that overruns, a wrong FINGERPRINT, or anything
    /// after FINGERPRINT.
    pub fn parse(bytes: &'a [u8]) -> Result<Self, Malformed> {
        let header: &[u8; HEADER] = bytes.first_chunk().ok_or(Malformed)?;
        let [k1, k0, l1, l0, c3, c2, c1, c0, transaction @ ..] = *header;
        let kind = u16::from_be_bytes([k1, k0]);
        let length = usize::from(u16::from_be_bytes([l1, l0]));
        let cookie = u32::from_be_bytes([c3, c2, c1, c0]);
        let aligned = length.is_multiple_of(4) && bytes.len() == HEADER + length;
        if kind & 0xC000 != 0 || cookie != MAGIC_COOKIE || !aligned {
            return Err(Malformed);
        }
        let mut message = Self {
            class: class_of(kind),
            method: method_of(kind),
            transaction: TransactionId(transaction),
            fingerprint: false,
            bytes,
            end: bytes.len(),
            sha1: None,
            sha256: None,
        };
        let mut at = HEADER;
        while at < bytes.len() {
            let (kind, value) = attribute(bytes, at).ok_or(Malformed)?;
            match kind {
                FINGERPRINT => {
                    let last = value.end == bytes.len();
                    if !last || !fingerprint::matches(bytes, at) {
                        return Err(Malformed);
                    }
                    message.fingerprint = true;
                    message.end = message.end.min(at);
                }
                // The first of each counts, and MESSAGE-INTEGRITY only before the other.
                MESSAGE_INTEGRITY if message.end == bytes.len() => {
                    message.end = at;
                    message.sha1 = (value.len() == 20).then_some(at);
                }
                MESSAGE_INTEGRITY_SHA256 if message.sha256.is_none() => {
                    message.end = message.end.min(at);
                    message.sha256 = Some(value.clone());
                }
                _ => {}
            }
            at = value.end.next_multiple_of(4);
        }
        Ok(message)
    }

    /// Every attribute that counts, in order: its type and where in the message its value is.
    pub fn attributes(&self) -> impl Iterator<Item = (u16, Range<usize>)> {
        let mut at = HEADER;
        std::iter::from_fn(move || {
            let (kind, value) = attribute(&self.bytes[..self.end], at)?;
            at = value.end.next_multiple_of(4);
            Some((kind, value))
        })
    }

    /// Where the value of the first attribute of this type is; later ones of the same type are
    /// ignored (RFC 8489 section 14).
    #[must_use]
    pub fn range(&self, kind: u16) -> Option<Range<usize>> {
        self.attributes().find(|(found, _)| *found == kind).map(|(_, value)| value)
    }

    /// The value of the first attribute of this type.
    #[must_use]
    pub fn get(&self, kind: u16) -> Option<&'a [u8]> {
        self.bytes.get(self.range(kind)?)
    }

    /// The value of the first attribute of this type, of a fixed length.
    pub(super) fn fixed<const N: usize>(&self, kind: u16) -> Result<Option<[u8; N]>, BadAttribute> {
        self.get(kind).map(|value| value.try_into().map_err(|_| BadAttribute(kind))).transpose()
    }

    /// Its length in bytes, header included.
    #[must_use]
    pub const fn size(&self) -> usize {
        self.bytes.len()
    }

    /// Comprehension-required attributes that are not in `known`: what a 420 names (RFC 8489 section
    /// 6.3.1). The first sixteen, each once.
    #[must_use]
    pub fn unknown(&self, known: &[u16]) -> Vec<u16> {
        let mut unknown = Vec::new();
        for (kind, _) in self.attributes() {
            let understood = !is_comprehension_required(kind) || known.contains(&kind);
            if !understood && unknown.len() < 16 && !unknown.contains(&kind) {
                unknown.push(kind);
            }
        }
        unknown
    }
}

/// The attribute at an offset, unless it overruns the bytes, padding included.
fn attribute(bytes: &[u8], at: usize) -> Option<(u16, Range<usize>)> {
    let head: [u8; 4] = bytes.get(at..at + 4)?.try_into().ok()?;
    let kind = u16::from_be_bytes([head[0], head[1]]);
    let length = usize::from(u16::from_be_bytes([head[2], head[3]]));
    let value = at + 4..at + 4 + length;
    (value.end.next_multiple_of(4) <= bytes.len()).then_some((kind, value))
}
