//! Keys of the long-term credential mechanism (RFC 8489 sections 9.2.2 and 18.5.1), and the hash that
//! stands for a user's name.

use md5::{Digest, Md5};
use sha2::Sha256;

/// A password algorithm (RFC 8489 section 18.5): how a password becomes a [`Key`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Algorithm {
    /// 0x0001: what is meant where none is named.
    Md5,
    /// 0x0002.
    Sha256,
}

impl Algorithm {
    /// Its number on the wire.
    #[must_use]
    pub const fn number(self) -> u16 {
        match self {
            Self::Md5 => 0x0001,
            Self::Sha256 => 0x0002,
        }
    }

    /// The algorithm of a number, if it is one of these two.
    #[must_use]
    pub const fn of(number: u16) -> Option<Self> {
        match number {
            0x0001 => Some(Self::Md5),
            0x0002 => Some(Self::Sha256),
            _ => None,
        }
    }
}

/// A key of the long-term credential mechanism. Never printed.
#[derive(Clone, Copy)]
pub enum Key {
    /// `MD5(username ":" realm ":" password)`.
    Md5([u8; 16]),
    /// `SHA-256(username ":" realm ":" password)`.
    Sha256([u8; 32]),
}

impl Key {
    /// The MD5 key, as RFC 5389 had it. The texts count byte by byte: names of the REST form are
    /// ASCII, which OpaqueString leaves as it is.
    #[must_use]
    pub fn long_term(username: &str, realm: &str, password: &str) -> Self {
        Self::derive(Algorithm::Md5, username, realm, password)
    }

    /// The key by an algorithm; the texts count byte by byte.
    #[must_use]
    pub fn derive(algorithm: Algorithm, username: &str, realm: &str, password: &str) -> Self {
        let parts = [username, ":", realm, ":", password];
        match algorithm {
            Algorithm::Md5 => Self::Md5(hash::<Md5>(&parts).into()),
            Algorithm::Sha256 => Self::Sha256(hash::<Sha256>(&parts).into()),
        }
    }

    /// A stored key: `None` where it is not of its algorithm's length.
    #[must_use]
    pub fn stored(algorithm: Algorithm, bytes: &[u8]) -> Option<Self> {
        match algorithm {
            Algorithm::Md5 => bytes.try_into().ok().map(Self::Md5),
            Algorithm::Sha256 => bytes.try_into().ok().map(Self::Sha256),
        }
    }

    /// The algorithm that made it.
    #[must_use]
    pub const fn algorithm(&self) -> Algorithm {
        match self {
            Self::Md5(_) => Algorithm::Md5,
            Self::Sha256(_) => Algorithm::Sha256,
        }
    }

    /// Its bytes: 16 or 32.
    #[must_use]
    pub const fn as_slice(&self) -> &[u8] {
        match self {
            Self::Md5(bytes) => bytes,
            Self::Sha256(bytes) => bytes,
        }
    }
}

impl std::fmt::Debug for Key {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Key(..)")
    }
}

/// The value of USERHASH: `SHA-256(username ":" realm)` (RFC 8489 section 14.4).
#[must_use]
pub fn user_hash(username: &str, realm: &str) -> [u8; 32] {
    hash::<Sha256>(&[username, ":", realm]).into()
}

fn hash<D: Digest>(parts: &[&str]) -> md5::digest::Output<D> {
    let mut hash = D::new();
    for part in parts {
        hash.update(part.as_bytes());
    }
    hash.finalize()
}

#[cfg(test)]
mod tests {
    use data_encoding::HEXLOWER;

    use super::*;

    #[test]
    fn keys_of_both_algorithms() {
        // RFC 8489 section 9.2.2's own example, and the same by sha256sum.
        let md5 = Key::long_term("user", "realm", "pass");
        assert_eq!(HEXLOWER.encode(md5.as_slice()), "8493fbc53ba582fb4c044c456bdc40eb");
        let sha256 = Key::derive(Algorithm::Sha256, "user", "realm", "pass");
        assert_eq!(
            HEXLOWER.encode(sha256.as_slice()),
            "07e934117abd40836e7c6329b54731b2b2d2a5f9a71f544922d75e0730d8251b"
        );
        assert_eq!((md5.algorithm(), sha256.algorithm()), (Algorithm::Md5, Algorithm::Sha256));
        assert!(Key::stored(Algorithm::Md5, &[0; 32]).is_none());
        assert!(Key::stored(Algorithm::Sha256, &[0; 32]).is_some());
        assert_eq!(format!("{md5:?}"), "Key(..)");
    }
}
