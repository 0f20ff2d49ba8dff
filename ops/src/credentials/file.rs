//! The form of a credentials file. What is wrong with one is told by line, never with what stands
//! there: it may be a secret.

use std::collections::{BTreeMap, HashSet};
use std::net::SocketAddr;
use std::ops::Range;

use chappe_edge::Credentials;
use chappe_proto::mesh::uplink::{Alternate, PeerPolicy, Secret, TurnUser};
use chappe_proto::mesh::user::{BadUser, check_origin_realm};
use data_encoding::HEXLOWER_PERMISSIVE;
use ipnet::IpNet;
use toml::Spanned;
use toml::de::{DeString, DeTable, DeValue};

/// What is wrong with a file, and what would be right.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("line {line}: {problem}")]
pub(crate) struct Bad {
    line: usize,
    problem: String,
}

type Value<'a> = Spanned<DeValue<'a>>;

/// A file's text, for the lines of what stands in it.
struct Text<'a>(&'a str);

impl Text<'_> {
    fn bad<T>(&self, span: &Range<usize>, problem: impl Into<String>) -> Result<T, Bad> {
        let before = &self.0.as_bytes()[..span.start.min(self.0.len())];
        let line = 1 + before.iter().filter(|byte| **byte == b'\n').count();
        Err(Bad { line, problem: problem.into() })
    }

    fn string<'a>(&self, name: &str, value: &'a Value<'_>) -> Result<&'a str, Bad> {
        match value.get_ref().as_str() {
            Some(text) => Ok(text),
            None => self.bad(&value.span(), format!("{name} is a text: {name} = \"...\"")),
        }
    }

    fn table<'a, 'b>(&self, name: &str, value: &'a Value<'b>) -> Result<&'a DeTable<'b>, Bad> {
        match value.get_ref().as_table() {
            Some(table) => Ok(table),
            None => self.bad(&value.span(), format!("{name} is a table: [{name}]")),
        }
    }

    fn strings(&self, name: &str, value: &Value<'_>) -> Result<Vec<(Range<usize>, String)>, Bad> {
        let Some(list) = value.get_ref().as_array() else {
            return self.bad(&value.span(), format!("{name} is a list of texts: {name} = [\"...\"]"));
        };
        list.iter().map(|item| Ok((item.span(), self.string(name, item)?.to_owned()))).collect()
    }

    fn unknown<T>(&self, key: &Spanned<DeString<'_>>, known: &str) -> Result<T, Bad> {
        self.bad(&key.span(), format!("`{}` means nothing here: known are {known}", key.get_ref()))
    }

    fn secrets(&self, value: &Value<'_>) -> Result<Vec<Secret>, Bad> {
        let read = |(span, text): (Range<usize>, String)| {
            if text.is_empty() {
                return self.bad(&span, "an empty secret: make one by `openssl rand -hex 32`");
            }
            Ok(Secret(text.into_bytes()))
        };
        self.strings("secrets", value)?.into_iter().map(read).collect()
    }

    fn users(&self, value: &Value<'_>) -> Result<Vec<TurnUser>, Bad> {
        let Some(list) = value.get_ref().as_array() else {
            return self.bad(&value.span(), "each user begins with [[user]], in double brackets");
        };
        let mut named = HashSet::new();
        let mut users = Vec::new();
        for item in list {
            let user = self.user(item)?;
            if !named.insert((user.realm.clone(), user.name.clone())) {
                let problem = format!("the user {:?} of {:?} for the second time", user.name, user.realm);
                return self.bad(&item.span(), problem);
            }
            users.push(user);
        }
        Ok(users)
    }

    fn user(&self, item: &Value<'_>) -> Result<TurnUser, Bad> {
        let mut user = TurnUser { realm: String::new(), name: String::new(), md5: None, sha256: None };
        let mut spans = BTreeMap::new();
        for (key, value) in self.table("user", item)? {
            spans.insert(key.get_ref().to_string(), value.span());
            match &**key.get_ref() {
                "realm" => user.realm = self.string("realm", value)?.to_owned(),
                "name" => user.name = self.string("name", value)?.to_owned(),
                "md5" => user.md5 = Some(self.key("md5", value, BadUser::Md5)?),
                "sha256" => user.sha256 = Some(self.key("sha256", value, BadUser::Sha256)?),
                "password" => {
                    return self.bad(
                        &key.span(),
                        "no passwords are kept: write the user's keys, as `chappe turn key --toml` prints them",
                    );
                }
                _ => return self.unknown(key, "realm, name, md5, sha256"),
            }
        }
        match user.check() {
            Ok(()) => Ok(user),
            Err(bad) => {
                let span = spans.get(bad.field()).cloned().unwrap_or_else(|| item.span());
                self.bad(&span, format!("{}: {bad}", bad.field()))
            }
        }
    }

    fn key(&self, name: &str, value: &Value<'_>, bad: BadUser) -> Result<Secret, Bad> {
        let text = self.string(name, value)?;
        let digits = text.strip_prefix("0x").unwrap_or(text);
        match HEXLOWER_PERMISSIVE.decode(digits.as_bytes()) {
            Ok(bytes) => Ok(Secret(bytes)),
            Err(_) => self.bad(&value.span(), format!("{name}: {bad}")),
        }
    }

    fn origins(&self, value: &Value<'_>) -> Result<BTreeMap<String, String>, Bad> {
        let mut origins = BTreeMap::new();
        for (key, value) in self.table("origins", value)? {
            let realm = self.string("realm", value)?;
            if let Err(bad) = check_origin_realm(realm) {
                return self.bad(&value.span(), bad.to_string());
            }
            origins.insert(key.get_ref().to_string(), realm.to_owned());
        }
        Ok(origins)
    }

    fn alternates(&self, value: &Value<'_>) -> Result<Vec<Alternate>, Bad> {
        let mut alternates: Vec<Alternate> = Vec::new();
        for (span, text) in self.strings("alternates", value)? {
            let Ok(address) = text.parse::<SocketAddr>() else {
                return self
                    .bad(&span, format!("{text:?} is no IP:PORT: clients are told addresses, not names"));
            };
            if alternates.iter().any(|held| held.address.is_ipv4() == address.is_ipv4()) {
                return self.bad(&span, "one address of each family: clients are sent to one");
            }
            alternates.push(Alternate { address });
        }
        Ok(alternates)
    }

    fn peers(&self, value: &Value<'_>) -> Result<PeerPolicy, Bad> {
        let mut peers = PeerPolicy::default();
        for (key, value) in self.table("peers", value)? {
            let into = match &**key.get_ref() {
                "allow" => &mut peers.allow,
                "deny" => &mut peers.deny,
                _ => return self.unknown(key, "allow, deny"),
            };
            for (span, text) in self.strings(key.get_ref(), value)? {
                match text.parse::<IpNet>() {
                    Ok(net) => into.push(net),
                    Err(_) => return self.bad(&span, format!("{text:?} is no prefix: 10.0.0.0/8 is one")),
                }
            }
        }
        Ok(peers)
    }
}

/// Reads a file.
pub(crate) fn read(text: &str) -> Result<Credentials, Bad> {
    let file = Text(text);
    let table = match DeTable::parse(text) {
        Ok(table) => table,
        Err(error) => {
            return file.bad(&error.span().unwrap_or(0..0), format!("not TOML: {}", error.message()));
        }
    };
    let mut credentials = Credentials::default();
    for (key, value) in table.get_ref() {
        match &**key.get_ref() {
            "secrets" => credentials.secrets = file.secrets(value)?,
            "user" => credentials.users = file.users(value)?,
            "alternates" => credentials.alternates = file.alternates(value)?,
            "origins" => credentials.origins = file.origins(value)?,
            "peers" => credentials.peers = file.peers(value)?,
            _ => return file.unknown(key, "secrets, alternates, [[user]], [origins], [peers]"),
        }
    }
    credentials.users.sort_by(|a, b| (&a.realm, &a.name).cmp(&(&b.realm, &b.name)));
    Ok(credentials)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::turn::key::entry;

    #[test]
    fn a_whole_file() {
        let ada = TurnUser::of_password("example.org", "ada \"the first\"", "p");
        let ben = TurnUser { sha256: None, ..TurnUser::of_password("example.org", "ben", "q") };
        let text = format!(
            "secrets = [\"one\", \"two\"]\n{}\n{}\n[origins]\n\"https://meet.example.org\" = \"example.org\"\n\
             [peers]\nallow = [\"10.0.0.0/8\"]\ndeny = [\"10.1.0.0/16\", \"2001:db8::/32\"]\n",
            entry(&ben),
            entry(&ada)
        );
        let read = read(&text).unwrap();
        assert_eq!(read.secrets, [Secret(b"one".to_vec()), Secret(b"two".to_vec())]);
        assert_eq!(read.users, [ada, ben], "sorted");
        assert_eq!(read.origins["https://meet.example.org"], "example.org");
        assert_eq!((read.peers.allow.len(), read.peers.deny.len()), (1, 2));
        assert_eq!(super::read(""), Ok(Credentials::default()));
    }

    #[test]
    fn what_is_wrong_is_told_by_line_and_no_secret_is_repeated() {
        let user = |rest: &str| format!("\n[[user]]\nrealm = \"r\"\nname = \"a\"\n{rest}\n");
        for (text, line, problem) in [
            ("secrets = \"hush\"".to_owned(), 1, "list of texts"),
            ("secrets = [\n\"hush\",\n\"\"]".into(), 3, "openssl rand"),
            ("secrets = [\"hush\"".into(), 1, "not TOML"),
            ("secrets = hush".into(), 1, "not TOML"),
            ("\nsecret = [\"hush\"]".into(), 2, "`secret` means nothing here: known are secrets"),
            ("secrets = [\"hush\"]\nsecrets = [\"hush\"]".into(), 2, "duplicate key"),
            ("[user]\nname = \"a\"".into(), 1, "[[user]]"),
            (user(""), 2, "md5: a user has a key"),
            (user("md5 = \"0x12hush\""), 5, "md5: an MD5 key has 16 bytes"),
            (user("sha256 = \"1234\""), 5, "sha256: a SHA-256 key has 32 bytes"),
            (user("password = \"hush\""), 5, "chappe turn key --toml"),
            (user("md5 = 5"), 5, "md5 is a text"),
            (
                user(&format!("md5 = \"{0:032}\"\n{1}md5 = \"{0:032}\"", 7, user(""))),
                7,
                "for the second time",
            ),
            ("[origins]\n\"https://a\" = \"\"".into(), 2, "realm has 1 to 64"),
            ("[peers]\nallow = [\"10.0.0.0/33\"]".into(), 2, "no prefix"),
            ("alternates = [\"turn.example.org\"]".into(), 1, "no IP:PORT"),
            ("alternates = [\"192.0.2.1:1\",\n\"192.0.2.2:1\"]".into(), 2, "one address of each family"),
        ] {
            let bad = read(&text).unwrap_err().to_string();
            assert!(bad.starts_with(&format!("line {line}: ")) && bad.contains(problem), "{text}\n{bad}");
            assert!(!bad.contains("hush"), "{bad}");
        }
    }
}
