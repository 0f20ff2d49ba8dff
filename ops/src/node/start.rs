//! From options to a running node.

use std::net::SocketAddr;
use std::sync::Arc;

use anyhow::{Context, Result, bail};
use chappe_cluster::consensus::FirstApp;
use chappe_cluster::geoip::GeoIp;
use chappe_cluster::http;
use chappe_cluster::mesh::identity::IdentityDir;
use chappe_cluster::start::{self, Running};
use chappe_proto::id::Region;
use chappe_proto::mesh::uplink::Secret;
use chappe_proto::registry::AppPolicy;

use super::Args;
use super::options::Begin;
use crate::files::Dir;
use crate::{Process, acme, bind, settings};

/// In the data directory, where it was made of a backup.
pub(crate) const RESTORED: &str = "restored";

/// Whether a directory holds a node already.
pub(super) fn is_known(dir: &Dir) -> bool {
    // One whose founding was cut short has its authority still, and founds again; so does one that was made of
    // a backup, which needs no name.
    dir.join("identity/node.json").exists() && (!is_founding(dir) || dir.join(RESTORED).exists())
}

/// Whether its registry has not got its authority yet.
fn is_founding(dir: &Dir) -> bool {
    dir.join("identity/authority.pem").exists()
}

/// How the node comes into its cluster, and where it stands.
fn begin(args: &Args, dir: &Dir, begin: &Begin) -> Result<(start::Begin, Region)> {
    Ok(match begin {
        Begin::Found { name, region } => {
            let policy = AppPolicy {
                anonymous: args.anonymous,
                credential_ttl_ms: args.credential_ttl.saturating_mul(1000),
                ..AppPolicy::default()
            };
            let found = start::Found {
                name: name.clone(),
                realm: args.realm.clone(),
                app: Some(FirstApp { app: args.app.clone(), name: args.app.to_string(), policy }),
            };
            (start::Begin::Found(Box::new(found)), region.clone())
        }
        Begin::Join { token, region } => (start::Begin::Join(token.clone()), region.clone()),
        Begin::Again => {
            let identity = IdentityDir::of(&dir.join("")).load()?.context("the node's identity is gone")?;
            // A cluster that is there already: nothing of this is new to it but its authority.
            let found = start::Found { name: "restored".to_owned(), realm: args.realm.clone(), app: None };
            let begin =
                if is_founding(dir) { start::Begin::Found(Box::new(found)) } else { start::Begin::Again };
            (begin, identity.region)
        }
    })
}

/// HTTPS that the node serves itself, by the operator's certificate or one that an authority gives. Within a
/// tokio runtime.
fn https(args: &Args, awaited: Option<&acme::Awaited>) -> Result<Option<http::Secure>> {
    let (tls, acme) = match (&args.certificate, &args.key, awaited) {
        (Some(certificates), Some(key), _) => {
            let files = http::tls::Files { certificates: certificates.clone(), key: key.clone() };
            (http::tls::follow(files)?, None)
        }
        (.., Some(awaited)) => {
            let files = http::tls::Files { certificates: awaited.file(), key: awaited.file() };
            let answers = awaited.answers();
            (http::tls::await_certificate(files, answers.clone())?, Some(answers as Arc<dyn http::Acme>))
        }
        _ => return Ok(None),
    };
    let listeners = args.https.iter().map(|at| bind::tcp(*at, "--https IP:PORT")).collect::<Result<_>>()?;
    Ok(Some(http::Secure { listeners, tls, acme }))
}

/// What an authority is to give, where it is asked.
fn awaited(args: &Args, dir: &Dir) -> Result<Option<acme::Awaited>> {
    if !args.acme.hostnames.is_empty() && args.https.is_empty() {
        bail!("--acme-hostname is for --https: give it too, as --https 0.0.0.0:443");
    }
    let port = |all: &[SocketAddr]| all.iter().map(SocketAddr::port).collect();
    let ports = acme::Ports { http: port(&args.http), tls: port(&args.https) };
    args.acme.prepare(&dir.join("acme"), &ports)
}

/// Starts it.
pub(super) async fn node(
    args: &Args,
    dir: &Dir,
    begin: &Begin,
    process: &Process,
) -> Result<(Running, Option<acme::Running>)> {
    let awaited = awaited(args, dir)?;
    let advertise = args.advertised()?;
    let mut settings = process.settings.clone();
    let known = *begin == Begin::Again;
    let (begin, region) = self::begin(args, dir, begin)?;
    if known {
        settings::kept(&mut settings, "region", region.as_str());
    }
    let plain = args.http.iter().map(|at| bind::tcp(*at, "--http IP:PORT")).collect::<Result<_>>()?;
    let config = start::Config {
        dir: dir.join(""),
        begin,
        region,
        peers: None,
        accept_loss: args.accept_loss,
        http: plain,
        https: https(args, awaited.as_ref())?,
        behind: None,
        public: args.public.clone(),
        trusted_proxies: args.trusted_proxy.clone(),
        geoip: args.geoip.clone().map(GeoIp::follow).transpose()?.unwrap_or_default(),
        hooks_allow: args.hooks_allow.clone(),
        workers: args.workers,
        mesh: bind::udp(args.mesh, "--mesh IP:PORT")?,
        advertise,
        lan: None,
        admin_token: Secret(dir.secret("admin-token")?.into_bytes()),
        settings,
        logs: Arc::clone(&process.logs),
    };
    let node = start::start(config).await?;
    Ok((node, awaited.map(acme::Awaited::run).transpose()?))
}
