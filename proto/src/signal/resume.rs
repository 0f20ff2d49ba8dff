//! Resume tokens: what a client brings back after its socket was lost, sealed so that only the
//! cluster reads it.

use std::collections::BTreeMap;

use chacha20poly1305::aead::{Aead, KeyInit, Payload};
use chacha20poly1305::{Key, XChaCha20Poly1305, XNonce};
use data_encoding::BASE64URL_NOPAD;
use serde::{Deserialize, Serialize};

use super::json::Json;
use super::member::{Seat, Withheld};
use crate::id::{Attach, Change, Epoch, Identity, RoomKey};
use crate::limits;
use crate::time::Unix;
use crate::wire;

const CONTEXT: &[u8] = b"chappe resume token 1";

/// The registry's sealing keys by number: all open, the highest seals.
pub type SealingKeys = BTreeMap<u64, [u8; 32]>;

/// By which of a session's tokens its client comes back.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Presented {
    /// The attachment that it was issued with; 0 for a fresh join.
    pub attach: Attach,
    /// Who issued it.
    pub issuer: u64,
    /// When the session's join was.
    pub joined: Unix,
}

/// What a resume token says.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ResumeToken {
    /// The room.
    pub room: RoomKey,
    /// The peer, its session and its grants.
    pub seat: Seat,
    /// Who it is.
    #[serde(default)]
    pub identity: Option<Identity>,
    /// The name that it shows.
    #[serde(default)]
    pub name: Option<String>,
    /// What its app put there.
    #[serde(default)]
    pub metadata: Option<Json>,
    /// What was taken away from it.
    #[serde(default)]
    pub withheld: Withheld,
    /// The attachment that it was issued with.
    pub attach: Attach,
    /// The session's life on one gateway that issued it, a random number: after a lost welcome two
    /// gateways may issue the same attachment.
    #[serde(default)]
    pub issuer: u64,
    /// When the peer was let in.
    pub admitted: (Epoch, Change),
    /// When its join reached its gateway.
    #[serde(default)]
    pub joined: Unix,
    /// Until when it is good.
    pub until: Unix,
}

/// Why a text is no resume token of this cluster.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum OpenError {
    /// Not sealed with a key of this cluster, or altered.
    #[error("not a resume token of this cluster")]
    Unknown,
    /// Its time is over.
    #[error("the resume token has expired")]
    Expired,
}

impl ResumeToken {
    /// Which one it is.
    #[must_use]
    pub const fn presented(&self) -> Presented {
        Presented { attach: self.attach, issuer: self.issuer, joined: self.joined }
    }

    /// Its text, sealed with the newest key (XChaCha20-Poly1305). `nonce` is random: never one twice.
    /// Nothing when there is no key.
    #[must_use]
    pub fn seal(&self, keys: &SealingKeys, nonce: [u8; 24]) -> Option<String> {
        let (number, key) = keys.last_key_value()?;
        let plain = wire::encode(self).ok()?;
        let payload = Payload { msg: &plain, aad: CONTEXT };
        let sealed = XChaCha20Poly1305::new(&Key::from(*key)).encrypt(&XNonce::from(nonce), payload).ok()?;
        let mut bytes = nonce.to_vec();
        bytes.extend_from_slice(&sealed);
        Some(format!("r1.{number}.{}", BASE64URL_NOPAD.encode(&bytes)))
    }

    /// The number of the key that a text says it is sealed with.
    #[must_use]
    pub fn sealed_by(text: &str) -> Option<u64> {
        text.strip_prefix("r1.")?.split_once('.')?.0.parse().ok()
    }

    /// Reads a token back.
    ///
    /// # Errors
    /// [`OpenError`]: whoever holds such a text joins afresh.
    pub fn open(text: &str, keys: &SealingKeys, now: Unix) -> Result<Self, OpenError> {
        let open = || {
            let (number, data) = text.strip_prefix("r1.")?.split_once('.')?;
            let key = keys.get(&number.parse().ok()?)?;
            let bytes = BASE64URL_NOPAD.decode(data.as_bytes()).ok()?;
            let (nonce, sealed) = bytes.split_first_chunk::<24>()?;
            let payload = Payload { msg: sealed, aad: CONTEXT };
            let plain = XChaCha20Poly1305::new(&Key::from(*key)).decrypt(&XNonce::from(*nonce), payload);
            wire::decode::<Self>(&plain.ok()?, limits::TOKEN_MAX).ok()
        };
        let token = open().ok_or(OpenError::Unknown)?;
        if token.until <= now { Err(OpenError::Expired) } else { Ok(token) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::id::{AppId, PeerId, RoomName, SessionId};
    use crate::signal::member::Grants;

    fn token() -> ResumeToken {
        ResumeToken {
            room: RoomKey { app: AppId::new("dev").unwrap(), room: RoomName::new("r").unwrap() },
            seat: Seat {
                peer: PeerId::from_random([1; 15]),
                session: SessionId::from_random([2; 15]),
                grants: Grants::ANONYMOUS,
                capacity: None,
                token_until: Unix::from_secs(50),
                place: None,
            },
            identity: None,
            name: Some("Claude".to_owned()),
            metadata: Some(Json::parse(r#"{"tower": 1}"#).unwrap()),
            withheld: Withheld { publish: true, broadcast: false, n: 1 },
            attach: Attach(3),
            issuer: 7,
            admitted: (Epoch(1), Change(9)),
            joined: Unix::from_secs(10),
            until: Unix::from_secs(100),
        }
    }

    #[test]
    fn opens_with_an_older_key_and_not_with_another() {
        let old = SealingKeys::from([(1, [1; 32])]);
        let text = token().seal(&old, [9; 24]).unwrap();
        let both = SealingKeys::from([(1, [1; 32]), (2, [2; 32])]);
        let now = Unix::from_secs(99);
        assert_eq!(ResumeToken::open(&text, &both, now), Ok(token()));
        let other = SealingKeys::from([(1, [3; 32])]);
        assert_eq!(ResumeToken::open(&text, &other, now), Err(OpenError::Unknown));
        assert_eq!(ResumeToken::sealed_by(&text), Some(1));
        assert_eq!(ResumeToken::open(&text, &both, Unix::from_secs(100)), Err(OpenError::Expired));
    }

    #[test]
    fn any_change_is_noticed() {
        let keys = SealingKeys::from([(1, [1; 32])]);
        let text = token().seal(&keys, [9; 24]).unwrap();
        for at in 5..text.len() {
            let mut bytes = text.clone().into_bytes();
            bytes[at] = if bytes[at] == b'A' { b'B' } else { b'A' };
            let text = String::from_utf8(bytes).unwrap();
            assert!(ResumeToken::open(&text, &keys, Unix::default()).is_err(), "{at}");
        }
        for junk in ["", "r1.", "r1.1.", "r1.1.AAAA", "r2.1.AAAA", "r1.x.AAAA"] {
            assert!(ResumeToken::open(junk, &keys, Unix::default()).is_err());
        }
    }
}
