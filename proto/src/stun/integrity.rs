//! MESSAGE-INTEGRITY (RFC 8489 section 14.5): HMAC-SHA1 over all that comes before it.

use hmac::{Hmac, KeyInit, Mac};
use md5::{Digest, Md5};
use sha1::Sha1;
use subtle::ConstantTimeEq;

use super::message::{HEADER, Message};

/// The key of the long-term credential mechanism with MD5 (RFC 8489 section 9.2.2, where the
/// request names no other algorithm). Never printed.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Key(pub [u8; 16]);

impl Key {
    /// `MD5(username ":" realm ":" password)`. The texts count byte by byte: names of the REST form
    /// are ASCII, which OpaqueString leaves as it is.
    #[must_use]
    pub fn long_term(username: &str, realm: &str, password: &str) -> Self {
        let mut md5 = Md5::new();
        for part in [username, ":", realm, ":", password] {
            md5.update(part.as_bytes());
        }
        Self(md5.finalize().into())
    }
}

impl std::fmt::Debug for Key {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Key(..)")
    }
}

/// The HMAC over a message up to its MESSAGE-INTEGRITY at `at`, with the header's length field as
/// if the message ended with it.
pub(super) fn of(bytes: &[u8], at: usize, key: &[u8]) -> Option<[u8; 20]> {
    let length = u16::try_from((at + 24).checked_sub(HEADER)?).ok()?;
    let mut mac = Hmac::<Sha1>::new_from_slice(key).ok()?;
    mac.update(bytes.get(..2)?);
    mac.update(&length.to_be_bytes());
    mac.update(bytes.get(4..at)?);
    Some(mac.finalize().into_bytes().into())
}

impl Message<'_> {
    /// Whether its MESSAGE-INTEGRITY is there and of this key; compared in constant time.
    #[must_use]
    pub fn verify(&self, key: &[u8]) -> bool {
        let Some(at) = self.integrity else { return false };
        let Some(value) = self.bytes.get(at + 4..at + 24) else { return false };
        of(self.bytes, at, key).is_some_and(|expected| expected.ct_eq(value).into())
    }
}
