//! The servers under test: started here, or running already.

use std::net::SocketAddr;

use anyhow::{Context, Result};

use super::Args;
use crate::bench::child::Child;
use crate::bench::files::Files;
use crate::bench::process::Process;

/// A server under test. One that was started here ends when this is dropped.
pub(super) struct Server {
    pub(super) name: String,
    /// The native protocol's URL; of the floor, what a room's name is put behind.
    pub(super) url: String,
    pub(super) process: Option<Process>,
    native: bool,
    _child: Option<Child>,
    _files: Option<Files>,
}

impl Server {
    /// Whether it speaks the native protocol; otherwise it hands over what it gets.
    pub(super) fn is_native(&self) -> bool {
        self.native
    }
}

/// Starts those that are to be started, and finds the one that runs.
pub(super) fn start(args: &Args, cpu: Option<usize>) -> Result<Vec<Server>> {
    let mut servers = Vec::new();
    let wanted = |name: &str| args.servers.iter().any(|server| server == name);
    if wanted("floor") {
        let child = Child::start_self(&["bench", "websocket-relay"], cpu)?;
        servers.push(started("floor", "", child, None).context("the bare relay")?);
    }
    if wanted("node") {
        let files = Files::new()?;
        let data = files.join("data");
        let data = data.to_str().context("a path that is no text")?;
        let child = Child::start_self(&["bench", "node", "--data", data], cpu)?;
        servers.push(started("node", "v1/signal", child, Some(files)).context("the node")?);
    }
    if let Some(url) = &args.url {
        let (process, native) = (args.pid.map(Process), true);
        servers.push(Server {
            name: url.clone(),
            url: url.clone(),
            process,
            native,
            _child: None,
            _files: None,
        });
    }
    Ok(servers)
}

fn started(name: &str, path: &str, child: Child, files: Option<Files>) -> Result<Server> {
    let at: SocketAddr = child.wait_for(|line| line.strip_prefix("Http ")?.trim().parse().ok())?;
    Ok(Server {
        name: name.to_owned(),
        url: format!("ws://{at}/{path}"),
        process: Some(Process(child.id())),
        native: !path.is_empty(),
        _child: Some(child),
        _files: files,
    })
}
