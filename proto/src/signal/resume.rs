//! Resume tokens: what a client brings back after its socket was lost, sealed so that only the
//! cluster reads it.

use serde::{Deserialize, Serialize};

use super::json::Json;
use super::member::{Seat, Withheld};
use super::seal::Kind;
use crate::id::{Attach, Change, Epoch, Identity, RoomKey};
use crate::time::Unix;

pub use super::seal::{OpenError, SealingKeys};

const RESUME: Kind = Kind { prefix: "r1.", context: b"chappe resume token 1" };

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
        RESUME.seal(self, keys, nonce)
    }

    /// The number of the key that a text says it is sealed with.
    #[must_use]
    pub fn sealed_by(text: &str) -> Option<u64> {
        RESUME.sealed_by(text)
    }

    /// Reads a token back.
    ///
    /// # Errors
    /// [`OpenError`]: whoever holds such a text joins afresh.
    pub fn open(text: &str, keys: &SealingKeys, now: Unix) -> Result<Self, OpenError> {
        let token: Self = RESUME.open(text, keys).ok_or(OpenError::Unknown)?;
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
