//! The node under test, as a process of its own: everything that a node is, without an edge, and with an
//! app whose sessions may send as fast as they can.
#![allow(clippy::print_stdout)]

use std::net::{Ipv4Addr, TcpListener, UdpSocket};
use std::path::PathBuf;
use std::sync::Arc;

use anyhow::{Context, Result};
use chappe_cluster::consensus::FirstApp;
use chappe_cluster::geoip::GeoIp;
use chappe_cluster::start::{self, Begin, Found};
use chappe_cluster::{clock, http};
use chappe_proto::id::{AppId, Region};
use chappe_proto::mesh::uplink::Secret;
use chappe_proto::registry::AppPolicy;

/// More frames a second than any load.
const FRAMES: u32 = 1_000_000;

#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Where its registry is kept.
    #[arg(long, value_name = "DIRECTORY")]
    data: PathBuf,
}

/// Runs until it is killed.
pub(in crate::bench) fn run(args: &Args) -> Result<()> {
    actix_rt::System::new().block_on(async {
        let listener = http::bind((Ipv4Addr::LOCALHOST, 0).into()).context("no free TCP port")?;
        let mut running = start::start(config(args, listener)?).await?;
        for address in &running.http {
            println!("Http {address}");
        }
        Ok(running.failed().await?)
    })
}

fn config(args: &Args, listener: TcpListener) -> Result<start::Config> {
    let policy =
        AppPolicy { anonymous: true, frames_burst: FRAMES, frames_per_sec: FRAMES, ..AppPolicy::default() };
    Ok(start::Config {
        dir: args.data.clone(),
        begin: Begin::Found(Box::new(Found {
            name: "bench".to_owned(),
            realm: "chappe".to_owned(),
            app: Some(FirstApp { app: AppId::new("bench")?, name: "Bench".to_owned(), policy }),
        })),
        region: Region::new("here")?,
        peers: None,
        accept_loss: false,
        http: vec![listener],
        https: None,
        behind: None,
        trusted_proxies: Vec::new(),
        hooks_allow: Vec::new(),
        geoip: GeoIp::default(),
        workers: 1,
        mesh: UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).context("no free UDP port on loopback")?,
        advertise: Vec::new(),
        public: Vec::new(),
        lan: None,
        admin_token: Secret(clock::random::<32>().to_vec()),
        settings: Vec::new(),
        logs: Arc::default(),
    })
}
