//! Time-limited credentials by the REST convention (draft-uberti-behave-turn-rest): the username is
//! `expiry:user`, the password `base64(HMAC-SHA1(secret, username))`. Several secrets may be in force
//! at once, while one is being replaced.

use std::sync::Arc;

use ahash::{AHashMap, RandomState};
use data_encoding::BASE64;
use hmac::{Hmac, KeyInit, Mac};
use sha1::Sha1;

use crate::id::SessionId;
use crate::limits::PROBE_CREDENTIAL_TTL;
use crate::mesh::uplink::Secret;
use crate::stun::{Algorithm, Key, Message};
use crate::time::Unix;

/// The user of probes: an edge's own, and those that its nodes have made from outside. It counts in nobody's
/// quota and no figure of use, and what it may have is little.
pub const PROBE_USER: &str = "chappe-probe";

/// Whom a username names: quotas and revocations go by it.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) enum User {
    /// A signaling session.
    Session(SessionId),
    /// A probe: [`PROBE_USER`].
    Probe,
    /// Any other name of the REST form; the whole username where it is an expiry and no more. Its
    /// credential is good in every realm, hence counts once.
    Name(Arc<str>),
    /// A long-term user.
    LongTerm {
        /// Its realm.
        realm: Arc<str>,
        /// Its name.
        name: Arc<str>,
    },
}

impl User {
    pub(super) fn long_term(realm: &str, name: &str) -> Self {
        Self::LongTerm { realm: realm.into(), name: name.into() }
    }

    pub(super) const fn session(&self) -> Option<SessionId> {
        match self {
            Self::Session(session) => Some(*session),
            Self::Probe | Self::Name(_) | Self::LongTerm { .. } => None,
        }
    }
}

/// A username, read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Username {
    /// From when on no new allocation is made by it.
    pub(super) expiry: Unix,
    /// Whom it names.
    pub(super) user: User,
}

/// The longest expiry in seconds that is read: beyond the year 30,000,000 and within every clock.
const EXPIRY_MAX: u64 = 1 << 50;

impl Username {
    /// Reads `expiry:user` or `expiry`; anything else is nobody.
    pub(super) fn parse(text: &str) -> Option<Self> {
        let (expiry, user) = text.split_once(':').unwrap_or((text, ""));
        let digits = !expiry.is_empty() && expiry.bytes().all(|byte| byte.is_ascii_digit());
        let secs: u64 = expiry.parse().ok().filter(|secs| digits && *secs <= EXPIRY_MAX)?;
        let user = match user.parse() {
            Ok(session) => User::Session(session),
            Err(_) if user == PROBE_USER => User::Probe,
            Err(_) if user.is_empty() => User::Name(text.into()),
            Err(_) => User::Name(user.into()),
        };
        Some(Self { expiry: Unix::from_secs(secs), user })
    }
}

/// The password of a REST username under a secret.
#[must_use]
pub fn password(secret: &Secret, username: &str) -> String {
    // HMAC takes a key of any length.
    Hmac::<Sha1>::new_from_slice(&secret.0).map_or_else(|_| String::new(), |mac| derive(mac, username))
}

fn derive(mut mac: Hmac<Sha1>, username: &str) -> String {
    mac.update(username.as_bytes());
    BASE64.encode(&mac.finalize().into_bytes())
}

/// The secrets in force and the sessions whose credentials are dead.
pub(super) struct Credentials {
    /// By number, the newest last.
    secrets: Vec<(u64, Hmac<Sha1>)>,
    revoked: AHashMap<SessionId, Unix>,
}

impl Credentials {
    pub(super) fn new(hash: RandomState) -> Self {
        Self { secrets: Vec::new(), revoked: AHashMap::with_hasher(hash) }
    }

    /// Whether usernames of the REST form can authenticate.
    pub(super) const fn has_secrets(&self) -> bool {
        !self.secrets.is_empty()
    }

    /// A username of probes that is good for a while, and its password; none where there is no secret.
    pub(super) fn probe(&self, now: Unix) -> Option<(String, String)> {
        let (_, secret) = self.secrets.last()?;
        let expiry = now + PROBE_CREDENTIAL_TTL;
        let username = format!("{}:{PROBE_USER}", expiry.secs());
        let password = derive(secret.clone(), &username);
        Some((username, password))
    }

    pub(super) fn clear(&mut self) {
        self.secrets.clear();
        self.revoked.clear();
    }

    pub(super) fn add_secret(&mut self, number: u64, secret: &Secret) {
        self.remove_secret(number);
        if let Ok(mac) = Hmac::new_from_slice(&secret.0) {
            self.secrets.push((number, mac));
            self.secrets.sort_by_key(|(number, _)| *number);
        }
    }

    pub(super) fn remove_secret(&mut self, number: u64) {
        self.secrets.retain(|(held, _)| *held != number);
    }

    /// Revokes a session. Entries whose time has passed are forgotten before the table would grow: an
    /// expired username makes no allocation anyway.
    pub(super) fn revoke(&mut self, now: Unix, session: SessionId, until: Unix) {
        if self.revoked.len() == self.revoked.capacity() {
            self.revoked.retain(|_, until| *until > now);
        }
        self.revoked.insert(session, until);
    }

    pub(super) fn is_revoked(&self, user: &User) -> bool {
        user.session().is_some_and(|session| self.revoked.contains_key(&session))
    }

    /// The key by which this message's integrity is right, of the newest secret first. A secret is in
    /// force in every realm, and its passwords give a key by either algorithm.
    pub(super) fn verify(
        &self,
        algorithm: Algorithm,
        username: &str,
        realm: &str,
        message: &Message<'_>,
    ) -> Option<Key> {
        self.secrets.iter().rev().find_map(|(_, secret)| {
            let key = Key::derive(algorithm, username, realm, &derive(secret.clone(), username));
            message.verify(key.as_slice()).then_some(key)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn usernames_of_the_rest_form() {
        let session = SessionId::from_random([3; 15]);
        let read = |text: &str| Username::parse(text);
        let of = |expiry, user| Some(Username { expiry: Unix::from_secs(expiry), user });
        assert_eq!(read(&format!("1700000000:{session}")), of(1_700_000_000, User::Session(session)));
        assert_eq!(read("1700000000:ninefingers"), of(1_700_000_000, User::Name("ninefingers".into())));
        assert_eq!(read("1700000000:chappe-probe"), of(1_700_000_000, User::Probe));
        assert_eq!(read("17:a:b"), of(17, User::Name("a:b".into())));
        assert_eq!(read("1700000000"), of(1_700_000_000, User::Name("1700000000".into())));
        for bad in ["", ":", "alice", "alice:17", "+17:alice", "-1:alice", "17x:a", "99999999999999999999:a"]
        {
            assert_eq!(read(bad), None, "{bad}");
        }
    }

    #[test]
    fn the_password_is_what_coturn_and_openssl_make() {
        // printf 1433895918:ninefingers | openssl dgst -sha1 -hmac north -binary | base64
        let secret = Secret(b"north".to_vec());
        assert_eq!(password(&secret, "1433895918:ninefingers"), "jy8hTxmOO7UtEKXqSkSlvakPVYA=");
    }
}
