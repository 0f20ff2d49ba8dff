//! Into a cluster, by the admin API of one of its nodes.
#![allow(clippy::print_stderr)]

use std::collections::BTreeMap;
use std::io::IsTerminal;

use anyhow::{Result, bail};
use chappe_edge::Credentials;
use chappe_proto::mesh::uplink::{PeerPolicy, Secret, TurnUser};
use serde_json::{Value, json};

use super::found::count;
use crate::api::{Api, segment};
use crate::turn::key::hex;

/// Progress is said once in so many users.
const SAID_EVERY: usize = 500;

/// Asks for a change: why it was refused, if it was.
fn change(node: &mut Api, method: &str, path: &str, body: &Value) -> Result<Option<String>> {
    let (status, answer) = node.ask(method, &format!("/turn{path}"), body)?;
    let host = node.host();
    let detail = answer["detail"].as_str().unwrap_or("no reason given").to_owned();
    match status {
        204 => Ok(None),
        400 | 409 => Ok(Some(detail)),
        401 => bail!("{host}: {detail}"),
        404 => bail!("{host} has no such API: a node of this release is asked for"),
        status => bail!("{host} answers {status}: {detail}. Run it again: what was sent stays"),
    }
}

fn user_path(user: &TurnUser) -> String {
    format!("/realms/{}/users/{}", segment(&user.realm), segment(&user.name))
}

fn keys(user: &TurnUser) -> Value {
    let mut keys = json!({});
    for (name, key) in [("md5", &user.md5), ("sha256", &user.sha256)] {
        if key.is_some() {
            keys[name] = hex(key).into();
        }
    }
    keys
}

/// Sends everything, and says what of it is in force.
pub(super) fn all(node: &mut Api, credentials: &Credentials) -> Result<String> {
    let mut sent = Sent::default();
    for Secret(secret) in &credentials.secrets {
        let body = json!({ "secret": String::from_utf8_lossy(secret) });
        sent.note("shared secret", change(node, "POST", "/secrets", &body)?);
    }
    let users = &credentials.users;
    for (n, user) in users.iter().enumerate() {
        if n % SAID_EVERY == 0 && n > 0 {
            let end = if std::io::stderr().is_terminal() { "\r" } else { "\n" };
            eprint!("{n} of {}{end}", count(users.len(), "user"));
        }
        let refused = change(node, "PUT", &user_path(user), &keys(user))?;
        sent.note("user", refused.map(|why| format!("{:?} of {:?}: {why}", user.name, user.realm)));
    }
    if !credentials.origins.is_empty() {
        let mut origins: BTreeMap<String, String> =
            serde_json::from_value(node.call("GET", "/turn/origins", &Value::Null)?)?;
        origins.extend(credentials.origins.clone());
        let refused = change(node, "PUT", "/origins", &json!(origins))?;
        sent.several("origin", credentials.origins.len(), refused);
    }
    let PeerPolicy { allow, deny } = &credentials.peers;
    if !allow.is_empty() || !deny.is_empty() {
        let mut peers: PeerPolicy = serde_json::from_value(node.call("GET", "/turn/peers", &Value::Null)?)?;
        for (held, more) in [(&mut peers.allow, allow), (&mut peers.deny, deny)] {
            held.extend(more);
            held.sort();
            held.dedup();
        }
        let refused = change(node, "PUT", "/peers", &json!(peers))?;
        sent.several("prefix", allow.len() + deny.len(), refused);
    }
    sent.summary()
}

/// What of it is in force.
#[derive(Default)]
struct Sent {
    taken: Vec<(&'static str, usize)>,
    refused: Vec<String>,
}

impl Sent {
    fn note(&mut self, thing: &'static str, refused: Option<String>) {
        self.several(thing, 1, refused);
    }

    fn several(&mut self, thing: &'static str, n: usize, refused: Option<String>) {
        match refused {
            Some(why) => self.refused.push(format!("{}: {why}", count(n, thing))),
            None => match self.taken.iter_mut().find(|(held, _)| *held == thing) {
                Some((_, held)) => *held += n,
                None => self.taken.push((thing, n)),
            },
        }
    }

    fn summary(self) -> Result<String> {
        let taken: Vec<_> = self.taken.iter().map(|(thing, n)| count(*n, thing)).collect();
        let taken = if taken.is_empty() { "nothing".to_owned() } else { taken.join(", ") };
        if self.refused.is_empty() {
            return Ok(taken);
        }
        let shown = self.refused.iter().take(20).map(|why| format!("\n  {why}")).collect::<String>();
        bail!("{taken} sent; the cluster refused {}:{shown}", self.refused.len())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_of_users() {
        let user = TurnUser::of_password("r/s", "a b%ü:", "p");
        assert_eq!(user_path(&user), "/realms/r%2Fs/users/a%20b%25%C3%BC%3A");
    }
}
