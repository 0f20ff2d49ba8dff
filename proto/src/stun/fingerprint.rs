//! FINGERPRINT (RFC 8489 section 14.7): a CRC that tells STUN from what shares its port.

use super::message::HEADER;

/// What the CRC is XORed with, so that an application's own CRC-32 is not mistaken for it.
const XOR: u32 = 0x5354_554E;

/// The value of a FINGERPRINT whose attribute begins at the end of `before`; the header's length
/// field must count it already.
pub(super) fn of(before: &[u8]) -> [u8; 4] {
    (crc32fast::hash(before) ^ XOR).to_be_bytes()
}

/// Whether the FINGERPRINT that begins at `at` is of four bytes and correct.
pub(super) fn matches(bytes: &[u8], at: usize) -> bool {
    let whole = at >= HEADER && bytes.len() == at + 8;
    whole && bytes[at + 4..] == of(&bytes[..at])
}
