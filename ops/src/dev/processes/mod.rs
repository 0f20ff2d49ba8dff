//! `chappe dev --processes`: each node and each edge is a process of its own, so that one can be killed by
//! hand and watched.

mod child;

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result};
use chappe_cluster::clock;
use chappe_proto::time::Mono;
use futures_util::future::{join_all, select_all};
use serde_json::{Value, json};

use self::child::{Child, Recipe};
use super::banner::{self, Shown, ShownEdge, ShownNode};
use super::layout::{self, Layout};
use super::{APP, Args, owner};
use crate::api::Api;
use crate::edge::identity::Identity;
use crate::files::{self, Dir};
use crate::signals::Signals;

/// A child is there within this of its start.
const READY_WITHIN: Duration = Duration::from_secs(30);
/// One that has ended is started again after this: long enough to watch the others take over.
const AGAIN_AFTER: Duration = Duration::from_secs(15);
/// A child stops within this, or is killed.
const STOP_WITHIN: Duration = Duration::from_secs(5);
/// What every child says last when it is there.
const READY: &str = "stops it.";

/// What the children are made by.
struct Plan<'a> {
    args: &'a Args,
    log: &'a str,
    dir: &'a Dir,
    layout: &'a Layout,
}

impl Plan<'_> {
    fn recipe(&self, name: String, mut args: Vec<String>) -> Recipe {
        args.extend(["--log".to_owned(), self.log.to_owned()]);
        Recipe { name, args, secrets: Vec::new() }
    }

    fn node_dir(&self, nth: usize) -> Result<PathBuf> {
        self.dir.subdirectory(&format!("node-{}", nth + 1))
    }

    fn node(&self, nth: usize) -> Result<Recipe> {
        let http = if self.args.http == 0 { 0 } else { self.args.http.saturating_add(u16::try_from(nth)?) };
        let mut args = words(&["node", "--app", APP, "--data"]);
        args.push(text(&self.node_dir(nth)?)?);
        args.extend(words(&["--region", &layout::region(nth)?.to_string()]));
        args.extend(words(&["--http", &SocketAddr::new(LOOPBACK, http).to_string()]));
        args.extend(words(&["--mesh", &self.layout.mesh[nth].to_string()]));
        args.extend(words(&["--workers", &self.args.workers.to_string()]));
        args.extend(words(&["--hooks-allow", "127.0.0.0/8,::1/128"]));
        if nth == 0 {
            args.extend(words(&["--found", "dev", "--anonymous"]));
        }
        Ok(self.recipe(format!("node-{}", nth + 1), args))
    }

    fn edge(&self, nth: usize, identity: &Path) -> Result<Recipe> {
        let turn = if self.args.turn == 0 { 0 } else { self.args.turn.saturating_add(u16::try_from(nth)?) };
        let (first, last) = self.args.relay_ports(nth, self.layout.edges)?;
        let mut args = words(&["edge", "--identity"]);
        args.push(text(identity)?);
        args.extend(words(&["--region", &layout::region(nth)?.to_string()]));
        args.extend(words(&["--listen", &SocketAddr::new(LOOPBACK, turn).to_string()]));
        args.extend(words(&["--min-port", &first.to_string(), "--max-port", &last.to_string()]));
        Ok(self.recipe(format!("edge-{}", nth + 1), args))
    }
}

const LOOPBACK: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);

fn words(all: &[&str]) -> Vec<String> {
    all.iter().map(|word| (*word).to_owned()).collect()
}

fn text(path: &Path) -> Result<String> {
    Ok(path.to_str().context("the data directory's path is no text")?.to_owned())
}

pub(super) async fn run(args: &Args, log: &str, dir: &Dir, layout: &Layout) -> Result<()> {
    let mut signals = Signals::new()?;
    let plan = Plan { args, log, dir, layout };
    let mut children = Vec::new();
    let started = tokio::select! {
        started = start(&plan, &mut children) => started,
        () = signals.next() => Ok(None),
    };
    let watched = match started {
        Ok(Some(shown)) => {
            let owner = owner::link(dir, &shown, None).await;
            banner::print(&shown, dir, None, owner.as_deref());
            watch(&mut children, &mut signals).await
        }
        Ok(None) => Ok(()),
        Err(error) => Err(error),
    };
    banner::stopping();
    join_all(children.iter().map(|child| child.stop(STOP_WITHIN))).await;
    watched
}

/// Starts everything, and says what there is.
async fn start(plan: &Plan<'_>, children: &mut Vec<Child>) -> Result<Option<Shown>> {
    let token = plan.dir.secret("admin-token")?;
    let founded = !plan.node_dir(0)?.join("identity/node.json").exists();
    for nth in 0..plan.layout.mesh.len() {
        // The same one opens every node.
        files::write_private(&plan.node_dir(nth)?.join("admin-token"), &format!("{token}\n"))?;
    }
    let mut nodes = Vec::new();
    let mut api = None;
    for nth in 0..plan.layout.mesh.len() {
        let mut recipe = plan.node(nth)?;
        if !plan.node_dir(nth)?.join("identity/node.json").exists() && nth > 0 {
            // Those before are there.
            ready(children, &mut nodes, nth).await?;
            let api = opened(&mut api, &nodes, &token)?;
            let wish = json!({ "region": layout::region(nth)? });
            let made = api.call("POST", "/cluster/invitations", &wish)?;
            recipe.secrets.push(("CHAPPE_JOIN", made["token"].as_str().unwrap_or_default().to_owned()));
        }
        children.push(Child::start(recipe)?);
    }
    ready(children, &mut nodes, plan.layout.mesh.len()).await?;
    let api = opened(&mut api, &nodes, &token)?;
    if founded {
        let loopback = json!({ "allow": ["127.0.0.0/8", "::1/128"], "deny": [] });
        api.call("PUT", "/turn/peers", &loopback)?;
    }
    let edges = edges(plan, children, api).await?;
    let key = std::fs::read_to_string(plan.node_dir(0)?.join("api-key.json"))?;
    files::write_private(&plan.dir.join("api-key.json"), &key)?;
    let cluster = api.call("GET", "/cluster", &Value::Null)?;
    for node in &mut nodes {
        node.leads = cluster["leader"] == json!(node.node);
    }
    Ok(Some(Shown { nodes, edges, founded }))
}

/// Waits for the nodes that were started, up to the `upto`th.
async fn ready(children: &mut [Child], nodes: &mut Vec<ShownNode>, upto: usize) -> Result<()> {
    for (nth, child) in children.iter_mut().enumerate().take(upto).skip(nodes.len()) {
        let said = child.said(READY, READY_WITHIN).await?;
        let http: Vec<SocketAddr> =
            said.lines().filter_map(|line| line.strip_prefix("http ")?.trim().parse().ok()).collect();
        // Where it was, it is again.
        if let Some(at) = child.recipe.args.iter().position(|arg| arg == "--http")
            && let (Some(arg), Some(bound)) = (child.recipe.args.get_mut(at + 1), http.first())
        {
            *arg = bound.to_string();
        }
        let node = chappe_proto::id::NodeId(nth as u64 + 1);
        let region = layout::region(nth)?;
        nodes.push(ShownNode { node, region, http, leads: false, pid: Some(child.pid()) });
    }
    Ok(())
}

/// The API of the first node.
fn opened<'a>(api: &'a mut Option<Api>, nodes: &[ShownNode], token: &str) -> Result<&'a mut Api> {
    if api.is_none() {
        let http = nodes.first().and_then(|node| node.http.first()).context("node 1 serves no HTTP")?;
        *api = Some(Api::new(&format!("http://{http}"), token, Path::new(""))?);
    }
    api.as_mut().context("node 1 serves no HTTP")
}

async fn edges(plan: &Plan<'_>, children: &mut Vec<Child>, api: &mut Api) -> Result<Vec<ShownEdge>> {
    let before = children.len();
    for nth in 0..usize::from(plan.layout.edges) {
        let dir = plan.dir.subdirectory(&format!("edge-{}", nth + 1))?;
        // A new certificate each time, with the addresses that the nodes have now.
        let _ = std::fs::remove_file(dir.join("edge.json"));
        Identity::enrol(api, &layout::edge(nth)?, &dir)?;
        children.push(Child::start(plan.edge(nth, &dir)?)?);
    }
    let mut shown = Vec::new();
    for (nth, child) in children[before..].iter_mut().enumerate() {
        let said = child.said(READY, READY_WITHIN).await?;
        let urls = said.lines().filter_map(|line| {
            let (transport, rest) = line.split_once(' ')?;
            let (bound, _) = rest.split_once(',')?;
            Some((format!("turn:{bound}?transport={}", transport.to_lowercase()), ""))
        });
        let region = layout::region(nth)?;
        shown.push(ShownEdge { region, urls: urls.collect(), pid: Some(child.pid()) });
    }
    Ok(shown)
}

/// Starts again what ends, until this process is to stop.
async fn watch(children: &mut [Child], signals: &mut Signals) -> Result<()> {
    let mut due: Vec<(Mono, usize)> = Vec::new();
    loop {
        let runs = |nth: &usize| !due.iter().any(|(_, ended)| ended == nth);
        let running = children.iter().enumerate().filter(|(nth, _)| runs(nth));
        let ends: Vec<_> = running
            .map(|(nth, child)| {
                let ended = child.ended();
                Box::pin(async move { (nth, ended.await) })
            })
            .collect();
        let next = due.first().map(|(at, _)| at.until(clock::mono()));
        let ended =
            async { if ends.is_empty() { std::future::pending().await } else { select_all(ends).await.0 } };
        let wake = async {
            match next {
                Some(left) => tokio::time::sleep(left).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            () = signals.next() => return Ok(()),
            (nth, how) = ended => {
                let child = &children[nth];
                banner::ended(&child.recipe.name, child.pid(), &how, AGAIN_AFTER);
                due.push((clock::mono() + AGAIN_AFTER, nth));
            }
            () = wake => {
                let (_, nth) = due.remove(0);
                let again = Child::start(children[nth].recipe.clone())?;
                banner::back(&again.recipe.name, again.pid());
                children[nth] = again;
            }
        }
    }
}
