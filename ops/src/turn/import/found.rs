//! What was found, and what became of it.

use std::collections::BTreeMap;
use std::fmt;

use chappe_edge::Credentials;
use chappe_proto::mesh::uplink::{PeerPolicy, Secret, TurnUser};
use chappe_proto::mesh::user::check_origin_realm;
use chappe_proto::registry::is_origin;
use data_encoding::HEXLOWER_PERMISSIVE;

use super::ranges::{Range, denied};

/// Names that are listed with a reason; of more only the number is said.
const LISTED: usize = 8;

/// What was found of coturn's.
#[derive(Debug, Default)]
pub(super) struct Found {
    /// By realm and name; what is read later replaces what was read before.
    users: BTreeMap<(String, String), TurnUser>,
    secrets: Vec<Secret>,
    origins: BTreeMap<String, String>,
    allowed: Vec<Range>,
    denied: Vec<Range>,
    skipped: BTreeMap<String, Vec<String>>,
    /// What to know about options, in words.
    pub(super) told: Vec<String>,
    /// The one realm that is asked for.
    pub(super) only: Option<String>,
}

/// A user's key as coturn holds it.
pub(super) enum Credential<'a> {
    /// A password.
    Password(&'a str),
    /// A key in hexadecimal digits.
    Key(&'a str),
}

impl Found {
    /// Leaves something out, and says why.
    pub(super) fn skip(&mut self, what: impl Into<String>, why: impl Into<String>) {
        self.skipped.entry(why.into()).or_default().push(what.into());
    }

    fn is_asked(&self, realm: &str) -> bool {
        self.only.as_ref().is_none_or(|only| only == realm)
    }

    pub(super) fn user(&mut self, realm: &str, name: &str, credential: &Credential<'_>) {
        let what = format!("user {name:?}");
        if !self.is_asked(realm) {
            return self.skip(format!("{what} of {realm:?}"), "of another realm than --realm asks for");
        }
        let keyless = TurnUser { realm: realm.to_owned(), name: name.to_owned(), md5: None, sha256: None };
        let user = match credential {
            Credential::Password("") => return self.skip(what, "an empty password"),
            Credential::Password(password) => TurnUser::of_password(realm, name, password),
            Credential::Key(text) if text.starts_with('$') => {
                return self.skip(what, "a password hash ($...$), of which no key of RFC 8489 can be made");
            }
            Credential::Key(text) => match HEXLOWER_PERMISSIVE.decode(text.as_bytes()) {
                Ok(key) if key.len() == 16 => TurnUser { md5: Some(Secret(key)), ..keyless },
                Ok(key) if key.len() == 32 => TurnUser { sha256: Some(Secret(key)), ..keyless },
                _ => return self.skip(what, "a key that is not 32 (MD5) or 64 (SHA-256) hexadecimal digits"),
            },
        };
        match user.check() {
            Ok(()) => drop(self.users.insert((user.realm.clone(), user.name.clone()), user)),
            Err(bad) => self.skip(what, bad.to_string()),
        }
    }

    /// A shared secret; of every realm where it names none.
    pub(super) fn secret(&mut self, realm: &str, secret: &str) {
        if !realm.is_empty() && !self.is_asked(realm) {
            return self.skip(format!("a secret of {realm:?}"), "of another realm than --realm asks for");
        }
        let secret = Secret(secret.as_bytes().to_vec());
        if secret.0.is_empty() {
            return self.skip("a secret", "it is empty");
        }
        if !self.secrets.contains(&secret) {
            self.secrets.push(secret);
        }
    }

    pub(super) fn origin(&mut self, origin: &str, realm: &str) {
        let mut normal = origin.trim().trim_end_matches('/').to_ascii_lowercase();
        // `turnadmin` writes the port where the scheme has said it (RFC 6454 section 6.2 does not).
        for (scheme, port) in [("https://", ":443"), ("http://", ":80")] {
            if normal.starts_with(scheme) && normal.ends_with(port) {
                normal.truncate(normal.len() - port.len());
            }
        }
        let what = format!("origin {origin:?}");
        if !self.is_asked(realm) {
            self.skip(what, "of another realm than --realm asks for");
        } else if !is_origin(&normal) {
            self.skip(what, "not a web origin, as https://meet.example.org is one");
        } else if let Err(bad) = check_origin_realm(realm) {
            self.skip(what, bad.to_string());
        } else {
            self.origins.insert(normal, realm.to_owned());
        }
    }

    /// A range of peers that are allowed, or denied. A range of one realm counts for all here, so it is
    /// taken where that closes, and left out where it would open.
    pub(super) fn peers(&mut self, allowed: bool, realm: &str, text: &str) {
        let what = format!("peers {}", text.escape_debug());
        let Some(range) = Range::parse(text) else {
            return self.skip(what, "neither an address nor a range of them");
        };
        if allowed && !realm.is_empty() {
            self.skip(
                what,
                format!("allowed in the realm {realm:?} alone; here a peer is allowed in all or none"),
            );
        } else if allowed {
            self.allowed.push(range);
        } else {
            self.denied.push(range);
        }
    }

    /// What is put in force.
    pub(super) fn credentials(&self) -> Credentials {
        let prefixes = |ranges: &[Range]| ranges.iter().flat_map(|range| range.prefixes()).collect();
        Credentials {
            secrets: self.secrets.clone(),
            users: self.users.values().cloned().collect(),
            origins: self.origins.clone(),
            peers: PeerPolicy {
                allow: prefixes(&self.allowed),
                deny: prefixes(&denied(&self.denied, &self.allowed)),
            },
            alternates: Vec::new(),
        }
    }
}

/// A number of things, as `1 user` and `2 users`.
pub(super) fn count(n: usize, thing: &str) -> String {
    match thing {
        _ if n == 1 => format!("1 {thing}"),
        "prefix" => format!("{n} prefixes"),
        _ => format!("{n} {thing}s"),
    }
}

/// The summary, for people.
impl fmt::Display for Found {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let credentials = self.credentials();
        let mut realms = BTreeMap::<&str, (usize, usize)>::new();
        for user in self.users.values() {
            let (all, only) = realms.entry(&user.realm).or_default();
            *all += 1;
            *only += usize::from(user.sha256.is_none());
        }
        for (realm, (all, only)) in realms {
            let md5 = if only > 0 { format!(" ({only} with an MD5 key only)") } else { String::new() };
            writeln!(f, "found    {} of {realm}{md5}", count(all, "user"))?;
        }
        for (n, thing, of) in [
            (credentials.secrets.len(), "shared secret", "of REST credentials"),
            (credentials.origins.len(), "origin", "with a realm of its own"),
            (credentials.peers.allow.len(), "prefix", "of allowed peers"),
            (credentials.peers.deny.len(), "prefix", "of denied peers"),
        ] {
            if n > 0 {
                writeln!(f, "found    {} {of}", count(n, thing))?;
            }
        }
        for (why, what) in &self.skipped {
            let listed = what.iter().take(LISTED).cloned().collect::<Vec<_>>().join(", ");
            let more = what.len().checked_sub(LISTED).filter(|more| *more > 0);
            let more = more.map_or_else(String::new, |more| format!(" and {more} more"));
            writeln!(f, "skipped  {listed}{more}: {why}")?;
        }
        for told in &self.told {
            writeln!(f, "note     {told}")?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_no_good_is_skipped_with_its_reason() {
        let mut found = Found::default();
        found.user("r", "hash", &Credential::Key("$5$79a3$81df"));
        found.user("r", "short", &Credential::Key("1234"));
        found.user("r", "empty", &Credential::Password(""));
        found.user("", "nowhere", &Credential::Password("x"));
        found.user("r", "sha", &Credential::Key(&"ab".repeat(32)));
        found.user("r", "ada", &Credential::Password("x"));
        found.user("r", "ben", &Credential::Key("0123456789abcdef0123456789ABCDEF"));
        found.origin("https://Meet.Example.org/", "r");
        found.origin("meet.example.org", "r");
        found.peers(true, "", "192.168.1.5");
        found.peers(true, "q", "192.168.1.6");
        found.peers(false, "q", "10.0.0.0-10.0.0.1");
        found.peers(false, "", "x");
        found.secret("", "hush");
        found.secret("q", "hush");
        let text = found.to_string();
        for line in [
            "found    3 users of r (1 with an MD5 key only)",
            "found    1 shared secret of REST credentials",
            "found    1 origin with a realm of its own",
            "found    1 prefix of allowed peers",
            "found    1 prefix of denied peers",
            "skipped  user \"hash\": a password hash ($...$), of which no key of RFC 8489 can be made",
            "skipped  user \"short\": a key that is not 32 (MD5) or 64 (SHA-256) hexadecimal digits",
            "skipped  user \"empty\": an empty password",
            "skipped  origin \"meet.example.org\": not a web origin, as https://meet.example.org is one",
            "skipped  peers 192.168.1.6: allowed in the realm \"q\" alone; here a peer is allowed in all or none",
            "skipped  peers x: neither an address nor a range of them",
        ] {
            assert!(text.contains(&format!("{line}\n")), "no {line:?} in\n{text}");
        }
        assert!(text.contains("skipped  user \"nowhere\": a realm has 1 to 127"), "{text}");
        assert!(!text.contains("hush"), "{text}");
        let credentials = found.credentials();
        assert_eq!(credentials.users[0], TurnUser::of_password("r", "ada", "x"));
        assert_eq!(credentials.origins.keys().collect::<Vec<_>>(), ["https://meet.example.org"]);
    }
}
