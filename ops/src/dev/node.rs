//! The node of `chappe dev`.

use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener, UdpSocket};

use anyhow::{Context, Result};
use chappe_cluster::consensus::FirstApp;
use chappe_cluster::http;
use chappe_cluster::start::{self, Begin, Found, Running};
use chappe_proto::id::{AppId, Region};
use chappe_proto::mesh::uplink::{PeerPolicy, Secret};
use chappe_proto::registry::AppPolicy;

use super::Args;
use super::https::Https;
use super::lan::Lan;
use crate::files::Dir;

pub(super) async fn start(
    args: &Args,
    dir: &Dir,
    address: IpAddr,
    lan: Option<&Lan>,
    https: Option<&Https>,
) -> Result<Running> {
    let data = dir.subdirectory("node-1")?;
    let admin_token = Secret(dir.secret("admin-token")?.into_bytes());
    let mut plain = vec![listen(SocketAddr::new(address, args.http), "--http")?];
    if lan.is_some() {
        // This machine's own browser: loopback is a secure context without a certificate.
        let own = plain.first().and_then(|socket| socket.local_addr().ok()).map_or(args.http, |at| at.port());
        plain.push(listen(SocketAddr::new(Ipv4Addr::LOCALHOST.into(), own), "--http")?);
    }
    let uplink = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).context("no free UDP port on loopback")?;
    let found = Found {
        name: "dev".to_owned(),
        realm: "chappe".to_owned(),
        app: Some(FirstApp {
            app: AppId::new("dev")?,
            name: "Development".to_owned(),
            policy: AppPolicy { anonymous: true, ..AppPolicy::default() },
        }),
    };
    let config = start::Config {
        dir: data,
        begin: Begin::Found(Box::new(found)),
        region: Region::new("here")?,
        peers: Some(PeerPolicy { allow: allowed(address, lan)?, deny: Vec::new() }),
        accept_loss: args.accept_loss,
        http: plain,
        https: None,
        behind: https.map(Https::behind).transpose()?,
        trusted_proxies: args.trusted_proxy.clone(),
        workers: args.workers,
        mesh: uplink,
        advertise: Vec::new(),
        public: Vec::new(),
        lan: https.and_then(Https::phones),
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

/// Binds a TCP port; the error names the option by which another is chosen.
pub(super) fn listen(address: SocketAddr, option: &str) -> Result<TcpListener> {
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
