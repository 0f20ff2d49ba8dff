//! How a client authenticates: what a challenge taught (RFC 8489 section 9.2.5).

use crate::stun::attributes::{NONCE, PASSWORD_ALGORITHMS, REALM, USERHASH, USERNAME};
use crate::stun::{Algorithm, Features, Integrity, Key, Message, Writer, user_hash};

/// What a client chooses.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Options {
    /// Takes the PASSWORD-ALGORITHMS that a server offers, and hence MESSAGE-INTEGRITY-SHA256. Without
    /// it the client is one of RFC 5389, which echoes nothing of the kind.
    pub algorithms: bool,
    /// Sends USERHASH in the place of USERNAME to a server that says it takes it.
    pub anonymity: bool,
    /// The ORIGIN that each request carries.
    pub origin: Option<String>,
}

impl Default for Options {
    fn default() -> Self {
        Self { algorithms: true, anonymity: true, origin: None }
    }
}

/// How a client's requests are authenticated.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Authentication {
    /// The algorithm of the key.
    pub algorithm: Algorithm,
    /// The integrity attribute.
    pub integrity: Integrity,
    /// The name goes as USERHASH.
    pub anonymous: bool,
}

/// What a challenge taught.
pub(super) struct Login {
    realm: String,
    nonce: String,
    /// The value of PASSWORD-ALGORITHMS, echoed as it was sent.
    offered: Option<Vec<u8>>,
    hash: Option<[u8; 32]>,
    key: Key,
}

impl Login {
    /// Takes a 401 or 438; `None` where the RFC forbids to go on, or there is nothing to go on with.
    pub(super) fn learn(
        message: &Message<'_>,
        username: &str,
        password: &str,
        options: &Options,
    ) -> Option<Self> {
        let (realm, nonce) = (message.realm().ok()??, message.nonce().ok()??);
        let features = Features::read(nonce).map(|(features, _)| features).unwrap_or_default();
        let hash = (options.anonymity && features.anonymity).then(|| user_hash(username, realm));
        let mut algorithm = Algorithm::Md5;
        let mut offered = None;
        if options.algorithms {
            let list = message.password_algorithms().ok()?;
            // The nonce says that there was a list, and somebody has taken it out.
            if features.password_algorithms && list.is_none() {
                return None;
            }
            if let Some(list) = list {
                algorithm = *list.first()?;
                offered = message.get(PASSWORD_ALGORITHMS).map(<[u8]>::to_vec);
            }
        }
        let key = Key::derive(algorithm, username, realm, password);
        Some(Self { realm: realm.to_owned(), nonce: nonce.to_owned(), offered, hash, key })
    }

    pub(super) fn realm(&self) -> &str {
        &self.realm
    }

    pub(super) const fn authentication(&self) -> Authentication {
        let integrity = if self.offered.is_some() { Integrity::Sha256 } else { Integrity::Sha1 };
        Authentication { algorithm: self.key.algorithm(), integrity, anonymous: self.hash.is_some() }
    }

    /// Adds credentials and integrity to a request.
    pub(super) fn sign(&self, writer: Writer, username: &str) -> Writer {
        let writer = match &self.hash {
            Some(hash) => writer.attribute(USERHASH, hash),
            None => writer.attribute(USERNAME, username.as_bytes()),
        };
        let mut writer =
            writer.attribute(REALM, self.realm.as_bytes()).attribute(NONCE, self.nonce.as_bytes());
        if let Some(offered) = &self.offered {
            writer = writer.attribute(PASSWORD_ALGORITHMS, offered).password_algorithm(self.key.algorithm());
        }
        writer.protect(self.authentication().integrity, self.key.as_slice())
    }

    /// Whether a response is of the server that shares the password.
    pub(super) fn verify(&self, message: &Message<'_>) -> bool {
        message.verify(self.key.as_slice())
    }
}
