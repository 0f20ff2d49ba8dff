//! The options of `chappe node`, and what is wrong with them.

use std::fs;
use std::net::{IpAddr, SocketAddr};
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result, bail};
use chappe_proto::id::{AppId, Region};
use chappe_proto::limits;
use chappe_proto::mesh::join::Token;
use ipnet::IpNet;

use crate::acme;
use crate::settings::FIRST_START;

#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Where everything of this node is kept: its identity, the registry, secrets.
    #[arg(long, value_name = "DIRECTORY", env = "CHAPPE_DATA")]
    pub(super) data: PathBuf,
    /// Found a cluster of this name, with this node as its first.
    #[arg(help_heading = FIRST_START, long, value_name = "NAME", env = "CHAPPE_FOUND", conflicts_with_all = ["join", "join_file"])]
    pub(super) found: Option<String>,
    /// Join a cluster by the token that `chappe cluster invite` prints. Other users of this machine see it:
    /// --join-file and CHAPPE_JOIN are better.
    #[arg(
        help_heading = FIRST_START,
        long,
        value_name = "TOKEN",
        env = "CHAPPE_JOIN",
        hide_env_values = true,
        conflicts_with = "join_file"
    )]
    join: Option<String>,
    /// Join a cluster by the token in this file.
    #[arg(help_heading = FIRST_START, long, value_name = "FILE", env = "CHAPPE_JOIN_FILE")]
    join_file: Option<PathBuf>,
    /// Where the node stands, as eu-west; needed to found and to join.
    #[arg(long, value_name = "NAME", env = "CHAPPE_REGION")]
    pub(super) region: Option<Region>,
    /// Where pages, signaling and the API are served over HTTP; may be repeated.
    #[arg(
        long,
        value_name = "IP:PORT",
        env = "CHAPPE_HTTP",
        value_delimiter = ',',
        default_value = "127.0.0.1:8080"
    )]
    pub(super) http: Vec<SocketAddr>,
    /// Where they are served over HTTPS; may be repeated.
    #[arg(long, value_name = "IP:PORT", env = "CHAPPE_HTTPS", value_delimiter = ',', requires = "certified")]
    pub(super) https: Vec<SocketAddr>,
    /// The certificate chain of --https (PEM), read again when it changes.
    #[arg(long, value_name = "FILE", env = "CHAPPE_CERTIFICATE", requires_all = ["key", "https"],
          group = "certified")]
    pub(super) certificate: Option<PathBuf>,
    /// The private key of --certificate (PEM).
    #[arg(long, value_name = "FILE", env = "CHAPPE_KEY", requires = "certificate")]
    pub(super) key: Option<PathBuf>,
    /// Where other nodes and edges connect, over UDP (QUIC).
    #[arg(long, value_name = "IP:PORT", env = "CHAPPE_MESH", default_value = "127.0.0.1:7900")]
    pub(super) mesh: SocketAddr,
    /// The address by which other nodes and edges reach --mesh, where it is another one; may be repeated.
    #[arg(long, value_name = "IP:PORT", env = "CHAPPE_ADVERTISE", value_delimiter = ',')]
    advertise: Vec<SocketAddr>,
    /// What clients are told to reach this node by, as `https://a.example.net`; may be repeated. Those of
    /// --https and --http where it is left out.
    #[arg(long, value_name = "URL", env = "CHAPPE_PUBLIC", value_delimiter = ',', value_parser = origin)]
    pub(super) public: Vec<String>,
    /// Reverse proxies whose X-Forwarded-For is believed, as 10.0.0.0/8; may be repeated.
    #[arg(long, value_name = "CIDR", env = "CHAPPE_TRUSTED_PROXY", value_delimiter = ',')]
    pub(super) trusted_proxy: Vec<IpNet>,
    /// A database of where addresses are (MaxMind GeoLite2 City, or another in its format), by which clients are
    /// given edges near them; read again when it changes.
    #[arg(long, value_name = "FILE", env = "CHAPPE_GEOIP")]
    pub(super) geoip: Option<PathBuf>,
    /// Private, special-purpose or own addresses that webhooks may be at, as 10.1.0.0/16; may be repeated. No others
    /// of those are reached.
    #[arg(long, value_name = "CIDR", env = "CHAPPE_HOOKS_ALLOW", value_delimiter = ',', value_parser = network)]
    pub(super) hooks_allow: Vec<IpNet>,
    /// With --found: the app that the cluster begins with; its API key is written to api-key.json.
    #[arg(help_heading = FIRST_START, long, value_name = "ID", env = "CHAPPE_APP", default_value = "default")]
    pub(super) app: AppId,
    /// With --found: let anybody join that app's rooms, without a token.
    #[arg(help_heading = FIRST_START, long, env = "CHAPPE_ANONYMOUS")]
    pub(super) anonymous: bool,
    /// With --found: how long that app's TURN credentials last, in seconds; `chappe cluster credential-ttl` changes it.
    #[arg(help_heading = FIRST_START, long, value_name = "SECONDS", env = "CHAPPE_CREDENTIAL_TTL",
          default_value_t = limits::CREDENTIAL_TTL.as_secs(), value_parser = credential_ttl)]
    pub(super) credential_ttl: u64,
    /// With --found: the realm of the relays' long-term users. It never changes.
    #[arg(help_heading = FIRST_START, long, value_name = "NAME", env = "CHAPPE_REALM", default_value = "chappe")]
    pub(super) realm: String,
    /// How long clients have to resume on other nodes after SIGTERM or Ctrl-C, in seconds; a second signal ends
    /// it at once.
    #[arg(long, value_name = "SECONDS", env = "CHAPPE_DRAIN_WITHIN", default_value_t = 60)]
    drain_within: u64,
    /// HTTP worker threads.
    #[arg(long, value_name = "NUMBER", env = "CHAPPE_WORKERS", default_value_t = 2,
          value_parser = clap::builder::RangedU64ValueParser::<usize>::new().range(1..=256))]
    pub(super) workers: usize,
    /// Go on although the disk has lost something that was acknowledged (a cluster of one).
    #[arg(long)]
    pub(super) accept_loss: bool,
    #[command(flatten)]
    pub(super) acme: acme::Options,
}

/// Seconds that a TURN credential may last.
fn credential_ttl(text: &str) -> Result<u64, String> {
    let range = limits::CREDENTIAL_TTL_MIN.as_secs()..=limits::CREDENTIAL_TTL_MAX.as_secs();
    let seconds = text.parse().ok().filter(|seconds| range.contains(seconds));
    seconds.ok_or_else(|| format!("a number of seconds from {} to {}", range.start(), range.end()))
}

/// A network, or one address.
fn network(text: &str) -> Result<IpNet, String> {
    let one = || text.parse().map(|ip: IpAddr| IpNet::from(ip)).ok();
    text.parse()
        .ok()
        .or_else(one)
        .ok_or_else(|| format!("{text:?} is no network: 10.1.0.0/16, or one address"))
}

/// What clients reach a node by: paths are appended.
fn origin(text: &str) -> Result<String, String> {
    let rest = text.strip_prefix("https://").or_else(|| text.strip_prefix("http://"));
    match rest.map(|rest| rest.trim_end_matches('/')) {
        Some(host) if !host.is_empty() && !host.contains(['/', '?', '#', '@', ' ']) => {
            Ok(text.trim_end_matches('/').to_owned())
        }
        _ => Err(format!("{text:?} is no origin: https://HOST or https://HOST:PORT, without a path")),
    }
}

/// How a node begins.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Begin {
    /// As the first of a new cluster.
    Found { name: String, region: Region },
    /// In a cluster that is there.
    Join { token: Box<Token>, region: Region },
    /// As who it was.
    Again,
}

impl Args {
    /// How it begins; `known` is whether the directory holds a node already.
    pub(super) fn begin(&self, known: bool) -> Result<Begin> {
        if known {
            if self.found.is_some() || self.join.is_some() || self.join_file.is_some() {
                tracing::info!("the data directory holds a node already, which starts again as who it was");
            }
            return Ok(Begin::Again);
        }
        let token = match (&self.join, &self.join_file) {
            (Some(token), _) => Some(token.clone()),
            (None, Some(file)) => Some(read_token(file)?),
            (None, None) => None,
        };
        let region = || {
            let Some(region) = &self.region else {
                bail!("--region NAME is needed: where this node stands, as eu-west")
            };
            Ok(region.clone())
        };
        match (&self.found, token) {
            (Some(name), _) => Ok(Begin::Found { name: name.clone(), region: region()? }),
            (None, Some(token)) => Ok(Begin::Join { token: Box::new(token.parse()?), region: region()? }),
            (None, None) => bail!(
                "{} holds no node yet: found a cluster by --found NAME, or join one by --join-file FILE with the \
                 token that `chappe cluster invite` prints there",
                self.data.display()
            ),
        }
    }

    /// Where others reach the mesh, besides the address that it binds.
    pub(super) fn advertised(&self) -> Result<Vec<SocketAddr>> {
        if let Some(bad) = self.advertise.iter().find(|at| at.ip().is_unspecified()) {
            bail!("--advertise {bad} is no address that others could reach");
        }
        if self.advertise.is_empty() && self.mesh.ip().is_unspecified() {
            bail!(
                "--mesh {} listens on every address: say by --advertise IP:PORT which one others reach",
                self.mesh
            );
        }
        Ok(self.advertise.clone())
    }

    pub(super) const fn drain_within(&self) -> Duration {
        Duration::from_secs(self.drain_within)
    }
}

fn read_token(path: &Path) -> Result<String> {
    fs::read_to_string(path).with_context(|| {
        format!(
            "{} cannot be read; it is to hold the token that `chappe cluster invite` prints",
            path.display()
        )
    })
}

#[cfg(test)]
mod tests {
    use chappe_proto::id::{ClusterId, InvitationId};
    use chappe_proto::mesh::uplink::Secret;
    use clap::Parser;

    use super::*;

    #[derive(Debug, Parser)]
    struct Line {
        #[command(flatten)]
        args: Args,
    }

    fn args(line: &str) -> Args {
        Line::try_parse_from([&["node"], &line.split(' ').collect::<Vec<_>>()[..]].concat()).unwrap().args
    }

    fn told(line: &str) -> String {
        args(line).begin(false).unwrap_err().to_string()
    }

    #[test]
    fn a_directory_begins_by_founding_or_joining_and_then_goes_on() {
        let region = Region::new("eu").unwrap();
        let found = args("--data d --found ours --region eu");
        let name = "ours".to_owned();
        assert_eq!(found.begin(false).unwrap(), Begin::Found { name, region: region.clone() });
        assert_eq!(found.begin(true).unwrap(), Begin::Again);
        let token = Token {
            addresses: vec!["192.0.2.1:7900".parse().unwrap()],
            cluster: ClusterId::from_random([1; 15]),
            authority: vec![2; 32],
            invitation: InvitationId::from_random([3; 15]),
            secret: Secret(vec![4; 32]),
        };
        let join = args(&format!("--data d --join {token} --region eu"));
        assert_eq!(join.begin(false).unwrap(), Begin::Join { token: Box::new(token), region });
    }

    #[test]
    fn what_is_missing_is_asked_for() {
        assert!(told("--data d").contains("d holds no node yet: found a cluster by --found"));
        assert!(told("--data d --found a").contains("--region"));
        assert!(told("--data d --join chappe-join-x --region eu").contains("damaged"));
        assert!(told("--data d --join x --region eu").contains("begins with `chappe-join-`"));
        assert!(told("--data d --join-file /nowhere --region eu").contains("/nowhere cannot be read"));
        for bad in
            ["--data d --found a --join b", "--data d --https 0.0.0.0:443", "--data d --public example.org"]
        {
            assert!(
                Line::try_parse_from([&["node"], &bad.split(' ').collect::<Vec<_>>()[..]].concat()).is_err()
            );
        }
    }

    #[test]
    fn credentials_last_for_what_the_registry_takes() {
        assert_eq!(args("--data d").credential_ttl, 3600);
        assert_eq!(args("--data d --credential-ttl 10").credential_ttl, 10);
        for bad in ["3", "86401", "1h"] {
            let line = Line::try_parse_from(["node", "--data", "d", "--credential-ttl", bad]);
            assert!(line.unwrap_err().to_string().contains("from 4 to 86400"), "{bad}");
        }
    }

    #[test]
    fn others_must_be_able_to_reach_the_mesh() {
        let told = |line: &str| args(line).advertised().unwrap_err().to_string();
        assert!(told("--data d --mesh 0.0.0.0:7900").contains("--advertise IP:PORT"));
        assert!(told("--data d --mesh 0.0.0.0:7900 --advertise 0.0.0.0:7900").contains("no address"));
        let behind = args("--data d --mesh 0.0.0.0:7900 --advertise 203.0.113.7:7900,198.51.100.7:7900");
        assert_eq!(behind.advertised().unwrap().len(), 2);
    }
}
