//! Move tokens: by them somebody whom an operator moves gets into another room of the app, as who they are.

use serde::{Deserialize, Serialize};

use super::json::Json;
use super::member::{Seat, Withheld};
use super::seal::{Kind, OpenError, SealingKeys};
use crate::id::{Identity, RoomKey};
use crate::time::Unix;

const MOVE: Kind = Kind { prefix: "m1.", context: b"chappe move token 1" };

/// What a move token says. It is a join token that the cluster itself has sealed, as it does resume tokens: it needs no
/// API key, and lets in where the app takes no anonymous joins.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct MoveToken {
    /// The room that it opens.
    pub room: RoomKey,
    /// What its holder had: its grants, its capacity and its place are those of the new one. Peer and session are not.
    pub seat: Seat,
    /// Who it is.
    #[serde(default)]
    pub identity: Option<Identity>,
    /// The name that it showed.
    #[serde(default)]
    pub name: Option<String>,
    /// What it or its app put there.
    #[serde(default)]
    pub metadata: Option<Json>,
    /// What was taken away from it: it is there too.
    #[serde(default)]
    pub withheld: Withheld,
    /// Until when it is good.
    pub until: Unix,
}

impl MoveToken {
    /// Whether a join token is one of these, and none of an app's.
    #[must_use]
    pub fn is_one(text: &str) -> bool {
        text.starts_with(MOVE.prefix)
    }

    /// Its text, sealed with the newest key. `nonce` is random: never one twice. Nothing when there is no key.
    #[must_use]
    pub fn seal(&self, keys: &SealingKeys, nonce: [u8; 24]) -> Option<String> {
        MOVE.seal(self, keys, nonce)
    }

    /// The number of the key that a text says it is sealed with.
    #[must_use]
    pub fn sealed_by(text: &str) -> Option<u64> {
        MOVE.sealed_by(text)
    }

    /// Reads a token back.
    ///
    /// # Errors
    /// [`OpenError`]: its holder needs a token of the app.
    pub fn open(text: &str, keys: &SealingKeys, now: Unix) -> Result<Self, OpenError> {
        let token: Self = MOVE.open(text, keys).ok_or(OpenError::Unknown)?;
        if token.until <= now { Err(OpenError::Expired) } else { Ok(token) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::id::{AppId, Attach, Change, Epoch, PeerId, RoomName, SessionId};
    use crate::signal::member::Grants;
    use crate::signal::resume::ResumeToken;

    #[test]
    fn it_is_read_back_until_it_ends_and_is_no_resume_token() {
        let room = RoomKey { app: AppId::new("dev").unwrap(), room: RoomName::new("b").unwrap() };
        let seat = Seat {
            peer: PeerId::from_random([1; 15]),
            session: SessionId::from_random([2; 15]),
            grants: Grants::ANONYMOUS,
            capacity: Some(3),
            token_until: Unix::from_secs(50),
            place: None,
        };
        let withheld = Withheld { publish: true, broadcast: false, n: 1 };
        let (identity, name) = (Identity::new("ada").ok(), Some("Ada".to_owned()));
        let until = Unix::from_secs(100);
        let token = MoveToken { room, seat, identity, name, metadata: None, withheld, until };
        let keys = SealingKeys::from([(3, [1; 32])]);
        let text = token.seal(&keys, [9; 24]).unwrap();
        assert!(MoveToken::is_one(&text) && MoveToken::sealed_by(&text) == Some(3));
        assert_eq!(MoveToken::open(&text, &keys, Unix::from_secs(99)), Ok(token.clone()));
        assert_eq!(MoveToken::open(&text, &keys, until), Err(OpenError::Expired));
        let others = SealingKeys::from([(3, [2; 32])]);
        assert_eq!(MoveToken::open(&text, &others, Unix::default()), Err(OpenError::Unknown));

        // Each kind is sealed for itself: none can be made of the other by its beginning.
        let as_resume = text.replacen("m1.", "r1.", 1);
        assert_eq!(ResumeToken::open(&as_resume, &keys, Unix::default()), Err(OpenError::Unknown));
        let resume = ResumeToken {
            room: token.room,
            seat: token.seat,
            identity: token.identity,
            name: token.name,
            metadata: None,
            withheld,
            attach: Attach(1),
            issuer: 1,
            admitted: (Epoch(1), Change(1)),
            joined: Unix::default(),
            until,
        };
        let as_move = resume.seal(&keys, [9; 24]).unwrap().replacen("r1.", "m1.", 1);
        assert_eq!(MoveToken::open(&as_move, &keys, Unix::default()), Err(OpenError::Unknown));
    }
}
