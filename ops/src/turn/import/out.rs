//! A credentials file.

use std::path::Path;

use anyhow::{Context, Result};
use chappe_edge::Credentials;
use chappe_proto::mesh::uplink::Secret;
use ipnet::IpNet;

use crate::credentials::file;
use crate::files::write_private;
use crate::turn::key::{entry, quoted};

fn list(texts: impl Iterator<Item = String>) -> String {
    let quoted: Vec<_> = texts.map(|text| quoted(&text)).collect();
    format!("[{}]", quoted.join(", "))
}

fn text(credentials: &Credentials) -> String {
    let mut text =
        "# Credentials of `chappe edge --standalone --credentials`, read again when they change.\n"
            .to_owned();
    if !credentials.secrets.is_empty() {
        let secrets =
            credentials.secrets.iter().map(|Secret(bytes)| String::from_utf8_lossy(bytes).into_owned());
        text += &format!(
            "\n# Shared secrets of time-limited credentials; any of them is valid.\nsecrets = {}\n",
            list(secrets)
        );
    }
    for user in &credentials.users {
        text += &format!("\n{}", entry(user));
    }
    if !credentials.origins.is_empty() {
        text += "\n# Realms of clients by their origin; of all others it is --realm.\n[origins]\n";
        for (origin, realm) in &credentials.origins {
            text += &format!("{} = {}\n", quoted(origin), quoted(realm));
        }
    }
    let peers = &credentials.peers;
    if !peers.allow.is_empty() || !peers.deny.is_empty() {
        let nets = |nets: &[IpNet]| list(nets.iter().map(ToString::to_string));
        text += "\n# Peers that may be reached although private or special, and peers that may not; a denial wins.\n[peers]\n";
        text += &format!("allow = {}\ndeny = {}\n", nets(&peers.allow), nets(&peers.deny));
    }
    text
}

/// Writes them where only the owner reads them.
pub(super) fn write(path: &Path, credentials: &Credentials) -> Result<()> {
    let text = text(credentials);
    file::read(&text).context("what would be written cannot be read: a bug of ours")?;
    write_private(path, &text)
}

#[cfg(test)]
mod tests {
    use chappe_proto::mesh::uplink::{PeerPolicy, TurnUser};

    use super::*;

    #[test]
    fn what_is_written_is_what_is_read() {
        let credentials = Credentials {
            secrets: vec![Secret(b"no\"rth\\".to_vec())],
            users: vec![TurnUser::of_password("r", "a \"b\" ü:", "p")],
            origins: [("https://a".to_owned(), "r\u{fc}".to_owned())].into(),
            peers: PeerPolicy {
                allow: vec!["10.0.0.0/8".parse().unwrap()],
                deny: vec!["::/0".parse().unwrap()],
            },
            alternates: Vec::new(),
        };
        assert_eq!(file::read(&text(&credentials)), Ok(credentials));
        assert_eq!(file::read(&text(&Credentials::default())), Ok(Credentials::default()));
    }
}
