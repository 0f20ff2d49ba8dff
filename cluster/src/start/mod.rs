//! Puts a node together and takes it apart again.

mod config;
mod running;

use std::io;
use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;
use std::time::Duration;

use actix::Actor;
use chappe_proto::id::ClusterId;
use chappe_proto::limits;
use chappe_proto::mesh::uplink::Secret;
use chappe_proto::registry::{Command, NodeAddresses};
use ipnet::IpNet;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;

use crate::events::Events;
pub use crate::life::LifeError;
pub use config::{Begin, Config, Found, StartError};
pub use running::{Failed, Running};

use crate::actor::edges::{EdgesActor, Serve};
use crate::admin::Admin;
use crate::consensus::{self, BootstrapError, Founding, Registry, Role};
use crate::hooks::Hooks;
use crate::life;
use crate::mesh::identity::{Identity, IdentityDir};
use crate::mesh::{Mesh, join_cluster, uplink};
use crate::node::{Node, Parts};
use crate::proposals::{Proposals, Unavailable};
use crate::router::Router;
use crate::steward::Steward;
use crate::usage::Book;
use crate::{clock, drain, feed, fetch, follow, history, hooks, http, keeper, sealing, usage};
use running::Links;

/// A founding node's registry must have a leader, itself, within this of its start.
const FOUND_WITHIN: Duration = Duration::from_secs(30);
/// A change that a start brings must be committed within this.
const COMMIT_WITHIN: Duration = Duration::from_secs(10);
/// The cluster must have let a newcomer in within this.
const JOIN_WITHIN: Duration = Duration::from_secs(30);
/// A node serves clients without a lease after this: it refuses them in words then.
const LEASE_WITHIN: Duration = Duration::from_secs(5);
/// Words that wait for the keeper: renewals of every node, several times over.
const KEEPER_QUEUE: usize = 4 * limits::NODES_MAX;

/// Starts a node. Call it within an actix system, which runs its actors that are not of an HTTP
/// worker. It waits for the cluster as long as that takes, and says what it waits for.
///
/// # Errors
/// [`StartError`], each with what to do about it.
pub async fn start(config: Config) -> Result<Running, StartError> {
    let links = Links::new()?;
    let listening = Listening::of(&config)?;
    let identity = identify(&links, &config, &listening.addresses).await?;
    let (me, cluster) = (identity.node, identity.cluster);
    let mesh = {
        let _entered = links.enter();
        let dir = IdentityDir::of(&config.dir);
        Mesh::bind(crate::mesh::Config::of(identity.clone(), dir, config.mesh.try_clone()?))?
    };
    let (words, told) = mpsc::channel(KEEPER_QUEUE);
    let router = Arc::new(Router::new(words.clone()));
    let opened = open(&config, &identity, &mesh, Arc::clone(&router.events)).await;
    let (registry, ended) = or_tell_loss(opened, &links, &mesh).await?;
    router.follow(registry.clone());
    let edges = EdgesActor::default().start();
    let proposals = Proposals::new(me, registry.clone(), mesh.clone());
    let book = Arc::new(Book::default());
    let context = uplink::Context {
        usage: Arc::clone(&book),
        proposals: proposals.clone(),
        registry: registry.clone(),
        edges: edges.clone(),
        node: me,
        cluster,
    };
    mesh.run(registry.watch(), Arc::clone(&router) as Arc<dyn crate::mesh::Handler>, Some(context));
    let feeding = links.spawn(feed::follow(registry.clone(), mesh.clone(), cluster));
    let founded = found(&registry, &config, &identity).await?;
    let generation = life::begin(&proposals, me, &listening.addresses, router.removed.subscribe()).await?;
    set_peers(&config, &registry, &proposals).await?;

    let node = Node::new(Parts {
        id: me,
        registry: registry.clone(),
        proposals,
        mesh: mesh.clone(),
        edges: edges.clone(),
        usage: book,
        geoip: config.geoip.clone(),
        hooks: Hooks::new(fetch::web_roots(), config.hooks_allow.clone())?,
        settings: config.settings,
        logs: config.logs,
    });
    node.begin(generation);
    router.serve(&node);
    links.spawn(sealing::run(registry.clone()));
    let steward = Steward::new(registry, mesh, words.clone(), Arc::clone(&router.events));
    links.spawn(keeper::run(Arc::clone(&node), steward, words, told));
    edges.send(Serve(Arc::clone(&node))).await.map_err(io::Error::other)?;
    let tasks = tasks(&node, &router);
    let life = life::run(Arc::clone(&node), listening.addresses.clone(), router.removed.subscribe());
    let over = actix_rt::spawn(life);
    leased(&node).await;

    let admin = mount(&node, &router, config.admin_token, config.trusted_proxies.clone())?;
    let server = http::serve(
        Arc::clone(&node),
        http::Config {
            plain: config.http,
            secure: config.https,
            behind: config.behind,
            trusted_proxies: config.trusted_proxies,
            workers: config.workers,
            lan: config.lan,
            admin,
            on_worker: Box::new(move || router.start_here()),
        },
    )?;
    Ok(Running::new(node, listening, founded, cluster, server, links, ended, over, feeding, tasks))
}

/// The admin API, which knows where its requests come from.
fn mount(
    node: &Arc<Node>,
    router: &Router,
    token: Secret,
    trusted: Vec<IpNet>,
) -> Result<chappe_admin::Mount, StartError> {
    let (events, tls) = (Arc::clone(&router.events), fetch::tls(fetch::web_roots())?);
    let admin = Admin { node: Arc::clone(node), events, tls };
    Ok(chappe_admin::Mount::new(Arc::new(admin), token)
        .asked_by(move |request| http::source::asker(request, &trusted)))
}

/// What runs beside the actors.
fn tasks(node: &Arc<Node>, router: &Arc<Router>) -> Vec<JoinHandle<()>> {
    vec![
        actix_rt::spawn(follow::run(Arc::clone(node), Arc::clone(router))),
        actix_rt::spawn(drain::run(Arc::clone(node))),
        actix_rt::spawn(usage::run(Arc::clone(node))),
        actix_rt::spawn(hooks::run(Arc::clone(node))),
        actix_rt::spawn(history::run(Arc::clone(node))),
    ]
}

/// What peers the node's operator allows and denies is so for the cluster, where it says something.
async fn set_peers(config: &Config, registry: &Registry, proposals: &Proposals) -> Result<(), StartError> {
    if let Some(peers) = config.peers.clone().filter(|peers| registry.state().peers() != peers) {
        let applied = proposals.propose(Command::PeersSet(peers), COMMIT_WITHIN).await?;
        applied.outcome.accepted().map_err(LifeError::from)?;
    }
    Ok(())
}

/// Where a node is found.
struct Listening {
    http: Vec<SocketAddr>,
    https: Vec<SocketAddr>,
    mesh: SocketAddr,
    addresses: NodeAddresses,
}

impl Listening {
    fn of(config: &Config) -> io::Result<Self> {
        let http = local(&config.http);
        let https = config.https.as_ref().map_or_else(Vec::new, |secure| local(&secure.listeners));
        let mesh = config.mesh.local_addr()?;
        let of = |scheme: &'static str, all: &[SocketAddr]| -> Vec<String> {
            all.iter().map(|address| format!("{scheme}://{address}")).collect()
        };
        let behind = config.behind.as_ref().map(|behind| behind.urls.clone()).unwrap_or_default();
        let public = if config.public.is_empty() {
            [behind, of("https", &https), of("http", &http)].concat()
        } else {
            config.public.clone()
        };
        let at = if config.advertise.is_empty() { vec![mesh] } else { config.advertise.clone() };
        Ok(Self { http, https, mesh, addresses: NodeAddresses { mesh: at, public } })
    }
}

fn local(listeners: &[TcpListener]) -> Vec<SocketAddr> {
    listeners.iter().filter_map(|listener| listener.local_addr().ok()).collect()
}

/// Who this node is: as its directory says, or a newcomer.
async fn identify(links: &Links, config: &Config, addresses: &NodeAddresses) -> Result<Identity, StartError> {
    let dir = IdentityDir::of(&config.dir);
    if let Some(identity) = dir.load()? {
        return Ok(identity);
    }
    match &config.begin {
        Begin::Found(_) => {
            let cluster = ClusterId::from_random(clock::random());
            Ok(dir.found(cluster, config.region.clone(), clock::unix())?)
        }
        Begin::Join(token) => {
            let (token, region, addresses) = (token.clone(), config.region.clone(), addresses.clone());
            let joining = async move { join_cluster(&token, &region, &addresses, &dir, JOIN_WITHIN).await };
            let joining = links.spawn(joining);
            Ok(joining.await.map_err(io::Error::other)??)
        }
        Begin::Again => Err(StartError::Nobody { dir: config.dir.clone() }),
    }
}

async fn open(
    config: &Config,
    identity: &Identity,
    mesh: &Mesh,
    events: Arc<Events>,
) -> Result<(Registry, consensus::Ended), StartError> {
    let (dir, begun) = (config.dir.join("registry"), config.dir.join("identity/begun"));
    // A member that has forgotten how it voted may not vote again.
    if begun.exists() && !dir.join("pledge").exists() {
        return Err(StartError::RegistryGone { dir, node: identity.node });
    }
    let mut opening = consensus::Config::alone(dir, identity.node);
    opening.accept_loss = config.accept_loss;
    opening.transport = Box::new(mesh.raft());
    opening.refused = Box::new(move |from, why| events.snapshot(from, why));
    if !matches!(config.begin, Begin::Found(_)) || begun.exists() {
        opening.founders = Vec::new();
    }
    let opened = actix_web::rt::task::spawn_blocking(move || Registry::open(opening)).await;
    let opened = opened.map_err(io::Error::other)??;
    std::fs::write(begun, b"")?;
    Ok(opened)
}

/// Tells the other nodes, before the process ends, of a disk that has forgotten something.
async fn or_tell_loss<T>(opened: Result<T, StartError>, links: &Links, mesh: &Mesh) -> Result<T, StartError> {
    if let Some(loss) = opened.as_ref().err().and_then(StartError::loss) {
        let mesh = mesh.clone();
        let told = links.spawn(async move { mesh.tell_loss(loss).await }).await.unwrap_or_default();
        tracing::info!(?told, "other nodes have heard why this one does not start");
    }
    opened
}

/// Founds the cluster, where this node is to do so and has not done it: whether it did now.
async fn found(registry: &Registry, config: &Config, identity: &Identity) -> Result<bool, StartError> {
    let Begin::Found(found) = &config.begin else { return Ok(false) };
    let mut statuses = registry.watch_status();
    let member = statuses.wait_for(|status| !status.voters.is_empty() || status.wants_feed).await;
    if member.map_err(|_| Unavailable::Stopped)?.voters != [identity.node] {
        return Ok(false);
    }
    let leading = statuses.wait_for(|status| status.role == Role::Leader);
    match tokio::time::timeout(FOUND_WITHIN, leading).await {
        Ok(Ok(_)) => {}
        Ok(Err(_)) => return Err(Unavailable::Stopped.into()),
        Err(_) => return Err(StartError::NoLeader),
    }
    let founding = Founding {
        cluster: identity.cluster,
        name: found.name.clone(),
        realm: found.realm.clone(),
        region: config.region.clone(),
        app: found.app.clone(),
    };
    let founded = consensus::bootstrap(registry, &founding).await?;
    let dir = IdentityDir::of(&config.dir);
    while let Some(command) = dir.authority_to_add(&registry.state())? {
        let added = registry.propose(command).await.map_err(BootstrapError::from)?;
        added.outcome.accepted().map_err(BootstrapError::from)?;
    }
    Ok(founded)
}

/// Waits a moment for the first lease.
async fn leased(node: &Node) {
    let holds = async {
        while !node.lease.holds() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    if tokio::time::timeout(LEASE_WITHIN, holds).await.is_err() {
        tracing::warn!("no lease yet: clients are refused until the cluster's leader is heard");
    }
}
