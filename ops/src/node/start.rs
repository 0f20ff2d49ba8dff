//! From options to a running node.

use anyhow::{Result, bail};
use chappe_cluster::consensus::{FirstApp, Founding};
use chappe_cluster::http;
use chappe_cluster::start::{self, Running};
use chappe_proto::id::{NodeId, Region};
use chappe_proto::mesh::uplink::{PeerPolicy, Secret};
use chappe_proto::registry::AppPolicy;

use super::Args;
use super::options::Begin;
use crate::bind;
use crate::files::Dir;

/// Whether a directory holds a node already.
pub(super) fn is_known(dir: &Dir) -> bool {
    dir.join("registry").exists()
}

/// What a new cluster begins with.
fn founding(args: &Args, name: &str, region: Region) -> Founding {
    let policy = AppPolicy { anonymous: args.anonymous, ..AppPolicy::default() };
    Founding {
        name: name.to_owned(),
        realm: args.realm.clone(),
        region,
        app: Some(FirstApp { app: args.app.clone(), name: args.app.to_string(), policy }),
    }
}

/// HTTPS that the node serves itself. Within a tokio runtime.
fn https(args: &Args) -> Result<Option<http::Secure>> {
    let (Some(certificates), Some(key)) = (&args.certificate, &args.key) else { return Ok(None) };
    let listeners = args.https.iter().map(|at| bind::tcp(*at, "--https IP:PORT")).collect::<Result<_>>()?;
    let files = http::tls::Files { certificates: certificates.clone(), key: key.clone() };
    Ok(Some(http::Secure { listeners, tls: http::tls::follow(files)? }))
}

/// Starts it.
pub(super) async fn node(args: &Args, dir: &Dir, begin: &Begin) -> Result<Running> {
    args.advertised()?;
    let founding = match begin {
        Begin::Found { name, region } => founding(args, name, region.clone()),
        Begin::Join { .. } => bail!("this build runs clusters of one node"),
        Begin::Again => founding(args, "cluster", Region::new("here")?),
    };
    let plain = args.http.iter().map(|at| bind::tcp(*at, "--http IP:PORT")).collect::<Result<_>>()?;
    let config = start::Config {
        dir: dir.subdirectory("registry")?,
        node: NodeId(1),
        founding,
        peers: PeerPolicy::default(),
        accept_loss: args.accept_loss,
        http: plain,
        https: https(args)?,
        behind: None,
        trusted_proxies: args.trusted_proxy.clone(),
        workers: args.workers,
        uplink: bind::udp(args.mesh, "--mesh IP:PORT")?,
        authority: dir.subdirectory("cluster-ca")?,
        lan: None,
        admin_token: Secret(dir.secret("admin-token")?.into_bytes()),
    };
    Ok(start::start(config).await?)
}
