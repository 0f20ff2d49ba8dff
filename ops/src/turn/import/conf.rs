//! `turnserver.conf`.

use super::found::{Credential, Found};
use super::options;

/// An option as it stands: `name=value`, `name value`, or `name`, quoted or not, as coturn reads it.
fn option(line: &str) -> Option<(&str, &str)> {
    let line = line.trim();
    if line.is_empty() || line.starts_with('#') {
        return None;
    }
    let end = line.find(['=', ' ', '\t']).unwrap_or(line.len());
    let (name, rest) = line.split_at(end);
    let value = rest.trim_start_matches(['=', ' ', '\t']);
    let unquoted = value.strip_prefix('"').map(|value| value.strip_suffix('"').unwrap_or(value));
    Some((name, unquoted.unwrap_or(value)))
}

/// The realm of a configuration file: the last one, as coturn takes it.
pub(super) fn realm(text: &str) -> Option<&str> {
    let realms = text.lines().filter_map(option).filter(|(name, _)| *name == "realm");
    realms.map(|(_, value)| value).rfind(|value| !value.is_empty())
}

/// Reads a configuration file; its users are of `realm`.
pub(super) fn read(text: &str, realm: Option<&str>, found: &mut Found) {
    let (mut no_auth, mut has_peers) = (false, false);
    for (name, value) in text.lines().filter_map(option) {
        match name {
            "realm" => {}
            "user" => match (value.split_once(':'), realm) {
                (None, _) => found.skip(format!("user {value:?}"), "neither a password nor a key behind it"),
                (Some((name, _)), None) => {
                    found.skip(format!("user {name:?}"), "the file has no realm=: give it by --realm");
                }
                (Some((name, rest)), Some(realm)) => {
                    let key = rest.strip_prefix("0x");
                    found.user(realm, name, &key.map_or(Credential::Password(rest), Credential::Key));
                }
            },
            "static-auth-secret" => found.secret("", value),
            "allowed-peer-ip" => found.peers(true, "", value),
            "denied-peer-ip" => found.peers(false, "", value),
            name => {
                if let Some(told) = options::about(name, value)
                    && !found.told.contains(&told)
                {
                    found.told.push(told);
                }
            }
        }
        no_auth |= name == "no-auth";
        has_peers |= name == "allowed-peer-ip";
    }
    if !has_peers && !no_auth {
        found.told.push(
            "peers: coturn relays to private addresses unless told otherwise; here they are denied unless \
             allowed ([peers] allow, --allow-peer)"
                .to_owned(),
        );
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn options_are_read_as_coturn_reads_them() {
        assert_eq!(option("# realm=x"), None);
        assert_eq!(option("   "), None);
        assert_eq!(option("realm=x"), Some(("realm", "x")));
        assert_eq!(option(" realm = \"x y\" "), Some(("realm", "x y")));
        assert_eq!(option("realm\tx"), Some(("realm", "x")));
        assert_eq!(option("lt-cred-mech"), Some(("lt-cred-mech", "")));
        assert_eq!(option("user=a:b=c"), Some(("user", "a:b=c")));
        assert_eq!(realm("realm=a\nrealm=b\n"), Some("b"));
        assert_eq!(realm("#realm=a\n"), None);
    }

    #[test]
    fn a_whole_file() {
        let text = "realm=example.org\nuser=ada:pass:word\nuser=ben:0xe7689b73e913479d2a40be88f22bca68\n\
                    user=nobody\nuser=cut:0x12\nuse-auth-secret\nstatic-auth-secret=north\n\
                    static-auth-secret=north\nallowed-peer-ip=10.0.0.9\ndenied-peer-ip=10.0.0.8-10.0.0.11\n\
                    no-tls\nfrobnicate=7\nmax-bps=1000\n";
        let mut found = Found::default();
        read(text, realm(text), &mut found);
        let credentials = found.credentials();
        let names: Vec<_> = credentials.users.iter().map(|user| &*user.name).collect();
        assert_eq!(names, ["ada", "ben"]);
        assert_eq!(
            credentials.users[0],
            chappe_proto::mesh::uplink::TurnUser::of_password("example.org", "ada", "pass:word")
        );
        assert_eq!(credentials.users[1].sha256, None);
        assert_eq!(credentials.secrets.len(), 1);
        let texts = |nets: &[ipnet::IpNet]| nets.iter().map(ToString::to_string).collect::<Vec<_>>();
        assert_eq!(texts(&credentials.peers.allow), ["10.0.0.9/32"]);
        assert_eq!(texts(&credentials.peers.deny), ["10.0.0.8/32", "10.0.0.10/31"]);
        let text = found.to_string();
        assert!(text.contains("skipped  user \"nobody\": neither a password nor a key"), "{text}");
        assert!(text.contains("note     frobnicate: not known here"), "{text}");
        assert!(text.contains("note     max-bps: "), "{text}");
    }
}
