//! Realms and their long-term users: whose challenge a request gets, and whose key it must have.

use std::net::SocketAddr;
use std::sync::Arc;

use ahash::{AHashMap, RandomState};

use super::nonce::{Form, Offer};
use crate::mesh::uplink::TurnUser;
use crate::stun::{Algorithm, Key, user_hash};

/// The keys of a user, of which one may be missing.
#[derive(Debug, Clone, Copy)]
pub(super) struct Keys {
    md5: Option<Key>,
    sha256: Option<Key>,
}

impl Keys {
    pub(super) const fn get(&self, algorithm: Algorithm) -> Option<Key> {
        match algorithm {
            Algorithm::Md5 => self.md5,
            Algorithm::Sha256 => self.sha256,
        }
    }
}

/// The long-term users of one realm.
pub(super) struct Users {
    names: AHashMap<Arc<str>, Keys>,
    hashes: AHashMap<[u8; 32], Arc<str>>,
    /// How many have no MD5 key, and how many no SHA-256 key.
    without_md5: usize,
    without_sha256: usize,
}

impl Users {
    fn new(hash: &RandomState) -> Self {
        let (names, hashes) = (AHashMap::with_hasher(hash.clone()), AHashMap::with_hasher(hash.clone()));
        Self { names, hashes, without_md5: 0, without_sha256: 0 }
    }

    /// The user of a name.
    pub(super) fn of_name(&self, name: &str) -> Option<(&Arc<str>, &Keys)> {
        self.names.get_key_value(name)
    }

    /// The user of a USERHASH.
    pub(super) fn of_hash(&self, hash: &[u8; 32]) -> Option<(&Arc<str>, &Keys)> {
        self.names.get_key_value(self.hashes.get(hash)?)
    }

    fn insert(&mut self, realm: &str, name: &str, keys: Keys) {
        self.remove(realm, name);
        self.without_md5 += usize::from(keys.md5.is_none());
        self.without_sha256 += usize::from(keys.sha256.is_none());
        let name: Arc<str> = name.into();
        self.hashes.insert(user_hash(&name, realm), name.clone());
        self.names.insert(name, keys);
    }

    fn remove(&mut self, realm: &str, name: &str) {
        let Some(keys) = self.names.remove(name) else { return };
        self.hashes.remove(&user_hash(name, realm));
        self.without_md5 -= usize::from(keys.md5.is_none());
        self.without_sha256 -= usize::from(keys.sha256.is_none());
    }

    /// What every user has a key for. A client takes the first algorithm of the list that it knows,
    /// before the server knows its name: with SHA-256 in the list, users that came with their MD5 key
    /// alone (`turnadmin`'s) could not log in. Where no algorithm is everyone's, both are offered.
    const fn offer(&self) -> Offer {
        match (self.without_md5, self.without_sha256) {
            (0, 1..) => Offer::Md5,
            (1.., 0) => Offer::Sha256,
            _ => Offer::Both,
        }
    }
}

/// All realms.
pub(super) struct Realms {
    own: Arc<str>,
    listeners: Vec<(SocketAddr, Arc<str>)>,
    origins: AHashMap<String, Arc<str>>,
    realms: AHashMap<Arc<str>, Users>,
    hash: RandomState,
}

impl Realms {
    pub(super) fn new(own: &str, listeners: &[(SocketAddr, String)], hash: RandomState) -> Self {
        let mut realms = Self {
            own: own.into(),
            listeners: listeners.iter().map(|(at, realm)| (*at, realm.as_str().into())).collect(),
            origins: AHashMap::with_hasher(hash.clone()),
            realms: AHashMap::with_hasher(hash.clone()),
            hash,
        };
        realms.settle();
        realms
    }

    /// A realm that is one here, and its users.
    pub(super) fn get(&self, realm: &str) -> Option<(&Arc<str>, &Users)> {
        self.realms.get_key_value(realm)
    }

    /// The realm that a request of unknown sender is challenged with: that of the
    /// first of its origins that has one, its listener's, or
    /// the server's own. Nothing is remembered of it.
    pub(super) fn default<'a>(
        &self,
        server: SocketAddr,
        origins: impl IntoIterator<Item = &'a str>,
    ) -> &Arc<str> {
        let of_origin = || origins.into_iter().find_map(|origin| self.origins.get(&canonical(origin)));
        let origin = if self.origins.is_empty() { None } else { of_origin() };
        let of_listener = || {
            let is = |listener: &SocketAddr| {
                let any = listener.ip().is_unspecified() && listener.is_ipv4() == server.is_ipv4();
                *listener == server || (any && listener.port() == server.port())
            };
            self.listeners.iter().find(|(listener, _)| is(listener)).map(|(_, realm)| realm)
        };
        origin.or_else(of_listener).unwrap_or(&self.own)
    }

    /// What a challenge with this realm says besides. A name can be told by its hash where all names
    /// are in a table; a REST name is in none.
    pub(super) fn form(&self, realm: &str, rest: bool) -> Form {
        match self.realms.get(realm) {
            Some(users) => Form { offer: users.offer(), anonymity: !rest && !users.names.is_empty() },
            None => Form { offer: Offer::Both, anonymity: false },
        }
    }

    /// Whether there is a user.
    pub(super) fn has(&self, realm: &str, name: &str) -> bool {
        self.realms.get(realm).is_some_and(|users| users.names.contains_key(name))
    }

    /// Adds a user or replaces its keys. One that no registry would take is passed over.
    pub(super) fn set_user(&mut self, user: &TurnUser) {
        if user.check().is_err() {
            return;
        }
        let key = |algorithm, key: &Option<crate::mesh::uplink::Secret>| {
            key.as_ref().and_then(|key| Key::stored(algorithm, &key.0))
        };
        let keys = Keys { md5: key(Algorithm::Md5, &user.md5), sha256: key(Algorithm::Sha256, &user.sha256) };
        let users = self.realms.entry(user.realm.as_str().into()).or_insert_with(|| Users::new(&self.hash));
        users.insert(&user.realm, &user.name, keys);
    }

    pub(super) fn remove_user(&mut self, realm: &str, name: &str) {
        if let Some(users) = self.realms.get_mut(realm) {
            users.remove(realm, name);
            if users.names.is_empty() {
                self.settle();
            }
        }
    }

    /// Forgets all users.
    pub(super) fn clear_users(&mut self) {
        self.realms.clear();
        self.settle();
    }

    pub(super) fn set_origins<'a>(&mut self, origins: impl IntoIterator<Item = (&'a String, &'a String)>) {
        self.origins.clear();
        let read = |(origin, realm): (&String, &String)| (canonical(origin), realm.as_str().into());
        self.origins.extend(origins.into_iter().map(read));
        self.settle();
    }

    /// Keeps the realms that are named here or have users.
    fn settle(&mut self) {
        let named = || {
            let listeners = self.listeners.iter().map(|(_, realm)| realm);
            std::iter::once(&self.own).chain(listeners).chain(self.origins.values())
        };
        self.realms.retain(|realm, users| !users.names.is_empty() || named().any(|named| named == realm));
        for realm in named() {
            if !self.realms.contains_key(realm) {
                self.realms.insert(realm.clone(), Users::new(&self.hash));
            }
        }
    }
}

/// An origin as origins are compared (RFC 6454 section 4): scheme, host and port in lower case, without
/// the scheme's own port and what follows.
fn canonical(origin: &str) -> String {
    let lower = origin.trim().to_ascii_lowercase();
    let Some((scheme, rest)) = lower.split_once("://") else { return lower };
    let authority = rest.split(['/', '?', '#']).next().unwrap_or_default();
    let port = match scheme {
        "http" => ":80",
        "https" => ":443",
        _ => "",
    };
    format!("{scheme}://{}", authority.strip_suffix(port).unwrap_or(authority))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::mesh::uplink::Secret;

    fn user(name: &str, md5: bool, sha256: bool) -> TurnUser {
        let mut user = TurnUser::of_password("r", name, "x");
        let keep = |key: &mut Option<Secret>, keep: bool| *key = key.take().filter(|_| keep);
        keep(&mut user.md5, md5);
        keep(&mut user.sha256, sha256);
        user
    }

    #[test]
    fn origins_are_compared_as_origins() {
        for (origin, expected) in [
            ("https://Example.org", "https://example.org"),
            ("https://example.org:443/", "https://example.org"),
            ("https://example.org:4430", "https://example.org:4430"),
            ("http://example.org:80/path?x#y", "http://example.org"),
            ("http://[2001:db8::1]:80", "http://[2001:db8::1]"),
            ("example.org", "example.org"),
        ] {
            assert_eq!(canonical(origin), expected);
        }
    }

    #[test]
    fn what_all_users_have_is_offered() {
        let mut realms = Realms::new("own", &[], RandomState::with_seeds(1, 2, 3, 4));
        let offer = |realms: &Realms| realms.form("r", false).offer;
        assert_eq!(offer(&realms), Offer::Both);
        realms.set_user(&user("a", true, true));
        assert_eq!(offer(&realms), Offer::Both);
        realms.set_user(&user("b", true, false));
        assert_eq!(offer(&realms), Offer::Md5);
        realms.set_user(&user("c", false, true));
        assert_eq!(offer(&realms), Offer::Both, "nothing is everyone's");
        realms.remove_user("r", "b");
        assert_eq!(offer(&realms), Offer::Sha256);
        realms.set_user(&user("c", true, true));
        assert_eq!(offer(&realms), Offer::Both);
    }

    #[test]
    fn a_realm_is_one_while_it_is_named_or_has_users() {
        let listener = "192.0.2.1:3478".parse().unwrap();
        let any = "0.0.0.0:3479".parse().unwrap();
        let listeners = [(listener, "at".to_owned()), (any, "any".to_owned())];
        let mut realms = Realms::new("own", &listeners, RandomState::with_seeds(1, 2, 3, 4));
        assert!(realms.get("own").is_some() && realms.get("at").is_some() && realms.get("r").is_none());
        assert_eq!(&**realms.default(listener, None), "at");
        assert_eq!(&**realms.default("192.0.2.9:3479".parse().unwrap(), None), "any");
        assert_eq!(&**realms.default("[2001:db8::1]:3479".parse().unwrap(), None), "own");
        realms.set_user(&user("a", true, true));
        assert!(realms.has("r", "a") && realms.get("r").is_some());
        assert!(realms.form("r", false).anonymity && !realms.form("r", true).anonymity);
        assert!(!realms.form("own", false).anonymity);
        let origins = [("https://r.example".to_owned(), "r".to_owned())];
        realms.set_origins(origins.iter().map(|(origin, realm)| (origin, realm)));
        realms.remove_user("r", "a");
        assert!(realms.get("r").is_some(), "an origin's");
        assert_eq!(&**realms.default(listener, Some("HTTPS://r.example:443")), "r");
        realms.set_origins([]);
        assert!(realms.get("r").is_none());
    }
}
