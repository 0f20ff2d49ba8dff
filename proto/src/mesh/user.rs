//! Long-term users: how their keys are made, and what a name and a realm may be.

use md5::{Digest, Md5};
use sha2::Sha256;

use super::uplink::{Secret, TurnUser};
use crate::limits::{CHALLENGE_REALM_MAX, TURN_NAME_MAX, TURN_REALM_MAX};

/// What is wrong with a [`TurnUser`]; each says what would be right.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum BadUser {
    /// Its name.
    #[error("a name has 1 to {TURN_NAME_MAX} bytes of UTF-8 and no control characters")]
    Name,
    /// Its realm.
    #[error("a realm has 1 to {TURN_REALM_MAX} bytes of UTF-8, without control characters, \" and \\")]
    Realm,
    /// It has no key.
    #[error("a user has a key: md5, sha256, or both")]
    NoKey,
    /// Its MD5 key.
    #[error("an MD5 key has 16 bytes: 32 hexadecimal digits")]
    Md5,
    /// Its SHA-256 key.
    #[error("a SHA-256 key has 32 bytes: 64 hexadecimal digits")]
    Sha256,
}

impl BadUser {
    /// The field that it is about.
    #[must_use]
    pub const fn field(self) -> &'static str {
        match self {
            Self::Name => "name",
            Self::Realm => "realm",
            Self::NoKey | Self::Md5 => "md5",
            Self::Sha256 => "sha256",
        }
    }
}

/// Whether a text is a realm: what a quoted string holds without escapes, fewer than 128 of them
/// (RFC 8489 section 14.9).
#[must_use]
pub fn is_realm(text: &str) -> bool {
    (1..=TURN_REALM_MAX).contains(&text.len())
        && !text.chars().any(|c| c.is_control() || c == '"' || c == '\\')
}

/// A realm that no client can be challenged with.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error(
    "an origin's realm has 1 to {CHALLENGE_REALM_MAX} bytes of UTF-8, without control characters, \" and \\"
)]
pub struct BadOriginRealm;

/// Checks the realm of an origin: one that a 401 has room for.
///
/// # Errors
/// [`BadOriginRealm`].
pub fn check_origin_realm(text: &str) -> Result<(), BadOriginRealm> {
    if is_realm(text) && text.len() <= CHALLENGE_REALM_MAX { Ok(()) } else { Err(BadOriginRealm) }
}

/// Whether a text is a user's name (RFC 8489 section 14.3).
#[must_use]
pub fn is_name(text: &str) -> bool {
    (1..=TURN_NAME_MAX).contains(&text.len()) && !text.chars().any(char::is_control)
}

impl TurnUser {
    /// A user with both keys of a password (RFC 8489 sections 18.5.1.1 and 18.5.1.2). The texts count
    /// byte by byte, as browsers and phones hash them: OpaqueString (RFC 8265) is the caller's to apply.
    #[must_use]
    pub fn of_password(realm: &str, name: &str, password: &str) -> Self {
        let text = [name, realm, password].join(":");
        Self {
            realm: realm.to_owned(),
            name: name.to_owned(),
            md5: Some(Secret(Md5::digest(text.as_bytes()).to_vec())),
            sha256: Some(Secret(Sha256::digest(text.as_bytes()).to_vec())),
        }
    }

    /// Whether it is one that a registry or a server takes.
    ///
    /// # Errors
    /// [`BadUser`], the first that is wrong.
    pub fn check(&self) -> Result<(), BadUser> {
        let is = |key: &Option<Secret>, len: usize| key.as_ref().is_none_or(|key| key.0.len() == len);
        if !is_name(&self.name) {
            return Err(BadUser::Name);
        }
        if !is_realm(&self.realm) {
            return Err(BadUser::Realm);
        }
        if self.md5.is_none() && self.sha256.is_none() {
            return Err(BadUser::NoKey);
        }
        if !is(&self.md5, 16) {
            return Err(BadUser::Md5);
        }
        if is(&self.sha256, 32) { Ok(()) } else { Err(BadUser::Sha256) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_keys_are_those_of_the_rfc_and_of_turnadmin() {
        // turnadmin -k -u a -r r -p p
        let user = TurnUser::of_password("r", "a", "p");
        let hex = |key: &Option<Secret>| data_encoding::HEXLOWER.encode(&key.as_ref().unwrap().0);
        assert_eq!(hex(&user.md5), "e7689b73e913479d2a40be88f22bca68");
        // printf a:r:p | sha256sum
        assert_eq!(hex(&user.sha256), "f79dd1defae67cfca563ce2105b092453724ca1ce80d6b16ef1800fc5307dd14");
        assert_eq!(user.check(), Ok(()));
        assert_eq!(format!("{:?}", user.md5), "Some(Secret(..))");
    }

    #[test]
    fn what_is_wrong_is_named() {
        let fine = || TurnUser::of_password("example.org", "ada", "x");
        let check = |change: &dyn Fn(&mut TurnUser)| {
            let mut user = fine();
            change(&mut user);
            user.check()
        };
        assert_eq!(check(&|user| user.name.clear()), Err(BadUser::Name));
        assert_eq!(check(&|user| user.name = "x".repeat(TURN_NAME_MAX + 1)), Err(BadUser::Name));
        assert_eq!(check(&|user| user.name = "a\nb".into()), Err(BadUser::Name));
        assert_eq!(check(&|user| user.name = "a b:ü".into()), Ok(()));
        assert_eq!(check(&|user| user.realm = "a\"b".into()), Err(BadUser::Realm));
        assert_eq!(check(&|user| user.realm = "x".repeat(TURN_REALM_MAX + 1)), Err(BadUser::Realm));
        assert_eq!(check(&|user| user.md5 = Some(Secret(vec![0; 15]))), Err(BadUser::Md5));
        assert_eq!(check(&|user| user.sha256 = Some(Secret(vec![0; 16]))), Err(BadUser::Sha256));
        assert_eq!(check(&|user| (user.md5, user.sha256) = (None, None)), Err(BadUser::NoKey));
        assert_eq!(check(&|user| user.md5 = None), Ok(()));
    }
}
