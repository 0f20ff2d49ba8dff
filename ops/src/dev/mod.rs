//! `chappe dev`: a node, an edge and the call page in one process, for trying things out and for
//! developing an app against.

mod banner;
mod lan;
mod lan_ca;

use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener, UdpSocket};
use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use chappe_cluster::consensus::{FirstApp, Founding};
use chappe_cluster::http::tls::Files;
use chappe_cluster::mesh::pki::{Holder, server_name};
use chappe_cluster::start::{self, Running};
use chappe_cluster::{clock, http};
use chappe_edge::{Edge, ListenAt, Source, StartError, Tls, Uplink};
use chappe_proto::id::{AppId, EdgeId, NodeId, Region};
use chappe_proto::mesh::uplink::{PeerPolicy, Secret};
use chappe_proto::registry::AppPolicy;
use chappe_proto::turn::{Quotas, RelayAddress, Transport};

use crate::files::{self, Dir};
use crate::token::ApiKey;
use lan::Lan;

/// The edge must have registered within this of its start.
const EDGE_WITHIN: Duration = Duration::from_secs(10);
/// Allocations of the development edge at most.
const CAPACITY: u32 = 4096;

#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Serve phones on this network too: HTTPS by a CA of its own, and relays on the LAN address.
    #[arg(long)]
    lan: bool,
    /// The LAN address to serve, where there are several.
    #[arg(long, value_name = "IP", requires = "lan")]
    lan_ip: Option<IpAddr>,
    /// The port of the web page and of signaling; 0 takes a free one.
    #[arg(long, value_name = "PORT", default_value_t = 8080)]
    http: u16,
    /// The port of HTTPS, with --lan or --certificate; 0 takes a free one.
    #[arg(long, value_name = "PORT", default_value_t = 8443)]
    https: u16,
    /// Serve HTTPS too, with the certificate chain of this file (PEM); read again when it changes.
    #[arg(long, value_name = "FILE", requires = "key", conflicts_with = "lan")]
    certificate: Option<PathBuf>,
    /// The private key of --certificate (PEM).
    #[arg(long, value_name = "FILE", requires = "certificate")]
    key: Option<PathBuf>,
    /// Reverse proxies whose X-Forwarded-For is believed, as 10.0.0.0/8; may be repeated.
    #[arg(long, value_name = "CIDR")]
    trusted_proxy: Vec<ipnet::IpNet>,
    /// The port of STUN and TURN, over UDP and TCP; 0 takes free ones.
    #[arg(long, value_name = "PORT", default_value_t = 3478)]
    turn: u16,
    /// An address to listen on instead of loopback; then its peers are allowed too.
    #[arg(long, value_name = "IP", conflicts_with = "lan")]
    bind: Option<IpAddr>,
    /// The lowest relay port.
    #[arg(long, value_name = "PORT", default_value_t = 49152)]
    relay_min_port: u16,
    /// The highest relay port.
    #[arg(long, value_name = "PORT", default_value_t = 65535)]
    relay_max_port: u16,
    /// Where everything is kept: the registry, secrets, certificates.
    #[arg(long, value_name = "DIRECTORY", default_value = ".chappe-dev")]
    data: PathBuf,
    /// HTTP worker threads.
    #[arg(long, value_name = "NUMBER", default_value_t = 2)]
    workers: usize,
    /// Go on although the disk has lost something that was acknowledged.
    #[arg(long)]
    accept_loss: bool,
}

pub(crate) fn run(args: Args) -> Result<()> {
    actix_rt::System::new().block_on(serve(args))
}

async fn serve(args: Args) -> Result<()> {
    let dir = Dir::take(&args.data)?;
    let lan = if args.lan { Some(Lan::find(args.lan_ip)?) } else { None };
    let address =
        lan.as_ref().map_or(args.bind.unwrap_or(IpAddr::V4(Ipv4Addr::LOCALHOST)), |lan| lan.address);
    let mut node = start_node(&args, &dir, address, lan.as_ref()).await?;
    let edge = start_edge(&args, address, &node)?;
    wait_for_edge(&node).await?;
    keep_api_key(&dir, &node)?;
    // Before the banner: whoever has read it may stop us.
    let stop = stop_signal()?;
    banner::print(&node, &edge, &dir, lan.as_ref());

    let stopped = tokio::select! {
        () = stop => Ok(()),
        failed = node.failed() => match failed {
            Ok(()) => Ok(()),
            Err(error) => Err(error).context("the registry has ended; what was acknowledged is on disk"),
        },
    };
    banner::stopping();
    // Its uplink says goodbye while the node still listens.
    let _ = tokio::task::spawn_blocking(move || edge.stop()).await;
    node.stop().await;
    stopped
}

async fn start_node(args: &Args, dir: &Dir, address: IpAddr, lan: Option<&Lan>) -> Result<Running> {
    let registry = dir.subdirectory("registry")?;
    let authority = dir.subdirectory("cluster-ca")?;
    let admin_token = Secret(dir.secret("admin-token")?.into_bytes());
    let mut plain = vec![listen(SocketAddr::new(address, args.http), "--http")?];
    let mut https = None;
    let mut phones = None;
    if let (Some(certificates), Some(key)) = (args.certificate.clone(), args.key.clone()) {
        let listener = listen(SocketAddr::new(address, args.https), "--https")?;
        let tls = http::tls::follow(Files { certificates, key })?;
        https = Some(http::Secure { listeners: vec![listener], tls });
    }
    if let Some(lan) = lan {
        let files = lan.certificate(dir)?;
        let listener = listen(SocketAddr::new(address, args.https), "--https")?;
        let url = format!("https://{}/", listener.local_addr()?);
        phones = Some(http::Lan { ca_pem: files.ca_pem, url });
        https = Some(http::Secure { listeners: vec![listener], tls: http::tls::follow(files.files)? });
        // This machine's own browser: loopback is a secure context without a certificate.
        let own = plain.first().and_then(|socket| socket.local_addr().ok()).map_or(args.http, |at| at.port());
        plain.push(listen(SocketAddr::new(Ipv4Addr::LOCALHOST.into(), own), "--http")?);
    }
    let uplink = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).context("no free UDP port on loopback")?;
    let founding = Founding {
        name: "dev".to_owned(),
        realm: "chappe".to_owned(),
        region: Region::new("here")?,
        app: Some(FirstApp {
            app: AppId::new("dev")?,
            name: "Development".to_owned(),
            policy: AppPolicy { anonymous: true, ..AppPolicy::default() },
        }),
    };
    let config = start::Config {
        dir: registry,
        node: NodeId(1),
        founding,
        peers: PeerPolicy { allow: allowed(address, lan)?, deny: Vec::new() },
        accept_loss: args.accept_loss,
        http: plain,
        https,
        behind: None,
        trusted_proxies: args.trusted_proxy.clone(),
        workers: args.workers,
        uplink,
        authority,
        lan: phones,
        admin_token,
    };
    Ok(start::start(config).await?)
}

/// Special-purpose addresses that relays may reach here: this machine, and the LAN where it is served.
fn allowed(address: IpAddr, lan: Option<&Lan>) -> Result<Vec<ipnet::IpNet>> {
    Ok(match lan {
        Some(lan) => vec![lan.network],
        None if address.is_loopback() => vec!["127.0.0.0/8".parse()?, "::1/128".parse()?],
        None => vec![address.into()],
    })
}

fn listen(address: SocketAddr, option: &str) -> Result<TcpListener> {
    http::bind(address).map_err(|error| match error.kind() {
        std::io::ErrorKind::AddrInUse => anyhow::anyhow!(
            "TCP port {} of {} is in use: stop what uses it (`ss -ltnp` tells), or choose another by {option} \
             PORT (0 takes a free one)",
            address.port(),
            address.ip(),
        ),
        std::io::ErrorKind::PermissionDenied => {
            anyhow::anyhow!("TCP port {} needs privileges: choose one above 1023 by {option} PORT", address.port())
        }
        _ => anyhow::anyhow!("{address} cannot be listened on: {error}: choose another by {option} PORT"),
    })
}

fn start_edge(args: &Args, address: IpAddr, node: &Running) -> Result<Edge> {
    let id = EdgeId::new("dev-edge")?;
    let identity = node.authority.issue(&Holder::Edge(id.clone()), clock::unix())?;
    let tls = Tls { certificates: identity.chain(), roots: vec![identity.authority], key: identity.key };
    let name = server_name(&node.cluster, None)?.to_str().into_owned();
    let at = SocketAddr::new(address, args.turn);
    let config = chappe_edge::Config {
        id,
        build: env!("CARGO_PKG_VERSION").to_owned(),
        region: Region::new("here")?,
        coordinates: None,
        listeners: vec![ListenAt::new(Transport::Udp, at), ListenAt::new(Transport::Tcp, at)],
        relays: vec![RelayAddress {
            bind: address,
            advertised: address,
            first: args.relay_min_port,
            last: args.relay_max_port,
        }],
        realm: "chappe".to_owned(),
        quotas: Quotas { allocations: CAPACITY, ..Quotas::default() },
        source: Source::Uplink(Uplink { nodes: vec![chappe_edge::Node { address: node.uplink, name }], tls }),
    };
    Edge::start(config).map_err(|error| match error {
        StartError::Listener { .. } => {
            anyhow::anyhow!("{error}: --turn PORT (0 takes a free one)")
        }
        error => error.into(),
    })
}

async fn wait_for_edge(node: &Running) -> Result<()> {
    let up = async {
        while !node.node.world().edges.iter().any(|edge| edge.available) {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    if tokio::time::timeout(EDGE_WITHIN, up).await.is_err() {
        bail!("the edge did not register within {} s; --log debug tells why", EDGE_WITHIN.as_secs());
    }
    Ok(())
}

/// Leaves the app's API key where `chappe token` and the app's developer find it.
fn keep_api_key(dir: &Dir, node: &Running) -> Result<()> {
    let state = node.node.registry.state();
    let app = AppId::new("dev")?;
    let Some((key, api_key)) = state.keys_of(&app).find(|(_, key)| !key.disabled) else { return Ok(()) };
    let secret = String::from_utf8_lossy(&api_key.secret.0).into_owned();
    let text = serde_json::to_string_pretty(&ApiKey { key: key.to_string(), secret, app: app.to_string() })?;
    files::write_private(&dir.join("api-key.json"), &text)
}

/// Resolves at Ctrl-C or SIGTERM, which end nothing by themselves from this call on.
pub(crate) fn stop_signal() -> Result<impl Future<Output = ()>> {
    use tokio::signal::unix::{SignalKind, signal};
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut terminate = signal(SignalKind::terminate())?;
    Ok(async move {
        tokio::select! {
            _ = interrupt.recv() => {}
            _ = terminate.recv() => {}
        }
    })
}
