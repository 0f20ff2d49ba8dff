//! The nodes of `chappe dev`.

use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result};
use chappe_cluster::clock;
use chappe_cluster::consensus::FirstApp;
use chappe_cluster::geoip::GeoIp;
use chappe_cluster::mesh::identity::IdentityDir;
use chappe_cluster::mesh::join;
use chappe_cluster::start::{self, Begin, Found, Running};
use chappe_proto::id::AppId;
use chappe_proto::mesh::join::Token;
use chappe_proto::mesh::uplink::{PeerPolicy, Secret};
use chappe_proto::registry::AppPolicy;
use futures_util::future::try_join_all;

use super::https::Https;
use super::lan::Lan;
use super::layout::{self, Layout};
use super::{APP, Args, REALM};
use crate::Process;
use crate::bind;
use crate::files::Dir;

/// A node joins within this of its invitation.
const INVITED_FOR: Duration = Duration::from_secs(30);

/// What every node is made by.
pub(super) struct Plan<'a> {
    pub(super) args: &'a Args,
    pub(super) dir: &'a Dir,
    pub(super) layout: &'a Layout,
    pub(super) address: IpAddr,
    pub(super) lan: Option<&'a Lan>,
    pub(super) https: Option<&'a Https>,
    pub(super) process: &'a Process,
}

impl Plan<'_> {
    /// What the cluster begins with.
    fn found() -> Result<Begin> {
        Ok(Begin::Found(Box::new(Found {
            name: "dev".to_owned(),
            realm: REALM.to_owned(),
            app: Some(FirstApp {
                app: AppId::new(APP)?,
                name: "Development".to_owned(),
                policy: AppPolicy { anonymous: true, ..AppPolicy::default() },
            }),
        })))
    }

    /// Special-purpose addresses that relays may reach here: this machine, and the LAN where it is served.
    fn allowed(&self) -> Result<PeerPolicy> {
        let allow = match self.lan {
            Some(lan) => vec![lan.network],
            None if self.address.is_loopback() => vec!["127.0.0.0/8".parse()?, "::1/128".parse()?],
            None => vec![self.address.into()],
        };
        Ok(PeerPolicy { allow, deny: Vec::new() })
    }

    /// Where the nth node serves plain HTTP, counted from 0: the first where it is told to, the others at the
    /// next ports, or at free ones where somebody has those.
    fn http(&self, nth: usize) -> Result<Vec<TcpListener>> {
        let port = self.args.http;
        let first = if nth == 0 || port == 0 {
            bind::tcp(SocketAddr::new(self.address, port), "--http PORT")?
        } else {
            let next = port.saturating_add(u16::try_from(nth)?);
            match bind::tcp(SocketAddr::new(self.address, next), "--http PORT") {
                Ok(socket) => socket,
                Err(_) => bind::tcp(SocketAddr::new(self.address, 0), "--http PORT")?,
            }
        };
        let mut all = vec![first];
        if self.lan.is_some() {
            // This machine's own browser: loopback is a secure context without a certificate.
            let own = all.first().and_then(|socket| socket.local_addr().ok()).map_or(port, |at| at.port());
            all.push(bind::tcp(SocketAddr::new(Ipv4Addr::LOCALHOST.into(), own), "--http PORT")?);
        }
        Ok(all)
    }

    fn data(&self, nth: usize) -> Result<PathBuf> {
        self.dir.subdirectory(&format!("node-{}", nth + 1))
    }

    fn config(&self, nth: usize, begin: Begin) -> Result<start::Config> {
        // The first node shares the first edge's port of HTTPS; the others have one of their own each.
        let (https, behind) = match (nth, self.https) {
            (0, Some(https)) => (None, Some(https.behind()?)),
            (nth, Some(https)) => (Some(https.beside(nth)?), None),
            (_, None) => (None, None),
        };
        Ok(start::Config {
            dir: self.data(nth)?,
            begin,
            region: layout::region(nth)?,
            peers: if nth == 0 { Some(self.allowed()?) } else { None },
            accept_loss: self.args.accept_loss,
            http: self.http(nth)?,
            https,
            behind,
            public: Vec::new(),
            trusted_proxies: self.args.trusted_proxy.clone(),
            geoip: GeoIp::default(),
            // Webhooks of whoever develops with it are on the same machine.
            hooks_allow: vec!["127.0.0.0/8".parse()?, "::1/128".parse()?],
            workers: self.args.workers,
            mesh: bind::udp(self.layout.mesh[nth], "--data OTHER-DIRECTORY")?,
            advertise: Vec::new(),
            lan: self.https.and_then(Https::phones),
            admin_token: Secret(self.dir.secret("admin-token")?.into_bytes()),
            settings: self.process.settings.clone(),
            logs: Arc::clone(&self.process.logs),
        })
    }

    /// Starts them all: those that were there before together, since they need each other; then newcomers, one
    /// after another, so that each has the number of its directory.
    pub(super) async fn start(&self) -> Result<Vec<Running>> {
        let (mut known, mut new) = (Vec::new(), Vec::new());
        for nth in 0..self.layout.mesh.len() {
            // The first founds: what was cut short of that goes on.
            let there = nth == 0 || IdentityDir::of(&self.data(nth)?).load()?.is_some();
            if there { known.push(nth) } else { new.push(nth) }
        }
        let begin = |nth| if nth == 0 { Self::found() } else { Ok(Begin::Again) };
        let starts = known.into_iter().map(|nth| async move {
            Ok::<_, anyhow::Error>((nth, start::start(self.config(nth, begin(nth)?)?).await?))
        });
        let mut nodes = try_join_all(starts).await?;
        for nth in new {
            let (_, first) = nodes.first().context("no node")?;
            let token = invite(first, nth).await?;
            let config = self.config(nth, Begin::Join(Box::new(token)))?;
            nodes.push((nth, start::start(config).await?));
        }
        nodes.sort_by_key(|(nth, _)| *nth);
        Ok(nodes.into_iter().map(|(_, node)| node).collect())
    }
}

/// A token by which the nth node joins, counted from 0.
async fn invite(by: &Running, nth: usize) -> Result<Token> {
    let until = clock::unix() + INVITED_FOR;
    let state = by.node.registry.state();
    let (command, token) = join::invite(&state, vec![by.mesh], Some(layout::region(nth)?), None, until)?;
    by.node.proposals.propose(command, INVITED_FOR).await?.outcome.accepted()?;
    Ok(token)
}
