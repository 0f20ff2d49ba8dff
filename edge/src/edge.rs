//! An edge as a whole: started, asked, stopped.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread::{self, JoinHandle};

use chappe_proto::id::{Index, Region};
use chappe_proto::mesh::uplink::{EdgeHello, EdgeView, Listener, RelayRange};
use chappe_proto::turn::{self, Server, Transport};
use mio::{Poll, Waker};
use tokio::sync::watch;

use crate::command::{Command, Handle};
use crate::config::{Config, Credentials, ListenAt, Source};
use crate::driver::Driver;
use crate::health::Health;
use crate::listener::{Certificates, TcpListener, UdpListener};
use crate::probe::{self, Probed};
use crate::stats::Stats;
use crate::status::{ANSWER_WITHIN, Observer, Status, Stuck};
use crate::token::{Ready, token};
use crate::uplink::Joined;
use crate::{StartError, relay, uplink};

/// A running edge. Dropped, it stops.
#[derive(Debug)]
pub struct Edge {
    bound: Vec<(Listener, SocketAddr)>,
    hello: EdgeHello,
    driver: Handle,
    health: Arc<Health>,
    stop: watch::Sender<bool>,
    /// Why its cluster has it no more.
    removed: watch::Sender<Option<String>>,
    /// The number of the credentials in force, where it runs alone.
    alone: Option<AtomicU64>,
    threads: Vec<JoinHandle<()>>,
}

/// Why credentials are not in force.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum NotSet {
    /// The edge follows a cluster's registry.
    #[error("the edge's credentials are those of its cluster")]
    OfCluster,
    /// Its loop is stuck.
    #[error(transparent)]
    Stuck(#[from] Stuck),
}

impl Edge {
    /// Binds every listener and starts to serve.
    ///
    /// # Errors
    /// [`StartError`], which names the address, the cause and the fix. Nothing is left running then.
    pub fn start(config: Config) -> Result<Self, StartError> {
        config.check()?;
        for relay in &config.relays {
            relay::check(relay.bind).map_err(|source| StartError::Relay { address: relay.bind, source })?;
        }
        let Bound { udp, tcp, all: bound, certificates } = bind(&config)?;
        let hello = hello(&config, &bound);
        let shown = |told: &ListenAt| certificates.known(told.certificate.as_ref()?);
        let shown: Vec<_> = config.listeners.iter().map(shown).collect();
        let probed = config.listeners.iter().zip(&bound).zip(&shown);
        let probed = probed
            .map(|((told, (listener, local)), certificate)| {
                Probed::new(told, listener.clone(), *local, certificate.clone())
            })
            .collect::<Result<Vec<Probed>, _>>()
            .map_err(StartError::system("the probe of a listener"))?;
        let poll = Poll::new().map_err(StartError::system("polling"))?;
        let waker =
            Waker::new(poll.registry(), token(Ready::Commands)).map_err(StartError::system("polling"))?;
        let (driver, commands) = Handle::new(waker);
        let mut seed = [0; 32];
        getrandom::fill(&mut seed).map_err(|error| StartError::System {
            what: "random numbers",
            source: std::io::Error::other(error),
        })?;
        let turn = machine(&config, &bound);
        let view = standalone_view(&config.source, &hello);
        let server = |now| {
            let mut server = Server::new(turn, seed, now);
            if let Some(view) = &view {
                server.set_view(now, view);
            } else {
                server.count_usage();
            }
            server
        };
        let looped = Driver::new(poll, commands, server, udp, tcp).map_err(StartError::system("polling"))?;
        let (stop, stopped) = watch::channel(false);
        let removed = watch::Sender::new(None);
        let health =
            Arc::new(Health::new(hello.clone(), certificates.clone(), shown, config.quotas.bandwidth));
        let side = Side {
            uplink: match config.source {
                Source::Uplink(uplink) => Some(Joined::try_from(uplink)?),
                Source::Standalone(_) => None,
            },
            probed,
            certificates,
            region: hello.region.clone(),
            realm: config.realm,
            driver: driver.clone(),
            health: health.clone(),
            stopped,
            removed: removed.clone(),
        };
        let alone = view.map(|view| AtomicU64::new(view.index.0));
        let mut edge = Self { bound, hello, driver, health, stop, removed, alone, threads: Vec::new() };
        edge.spawn("chappe-edge", move || looped.run())?;
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .map_err(StartError::system("a runtime"))?;
        edge.spawn("chappe-uplink", move || side.run(&runtime))?;
        Ok(edge)
    }

    fn spawn(&mut self, name: &str, body: impl FnOnce() + Send + 'static) -> Result<(), StartError> {
        let thread = thread::Builder::new().name(name.to_owned()).spawn(body);
        self.threads.push(thread.map_err(StartError::system("a thread"))?);
        Ok(())
    }

    /// The listeners as clients reach them, each with the address that it is bound to, in the order of the
    /// configuration.
    #[must_use]
    pub fn listeners(&self) -> &[(Listener, SocketAddr)] {
        &self.bound
    }

    /// Puts other credentials in force on an edge that runs alone, all of them at once. The allocations
    /// of users that are gone end; those by a secret that is gone go on.
    ///
    /// # Errors
    /// [`NotSet`], and the old ones stay.
    pub fn set_credentials(&self, credentials: Credentials) -> Result<(), NotSet> {
        let number = self.alone.as_ref().ok_or(NotSet::OfCluster)?;
        let index = Index(number.fetch_add(1, Ordering::Relaxed) + 1);
        let view = Box::new(view(index, credentials, &self.hello));
        let set = self.driver.ask_blocking(ANSWER_WITHIN, |reply| Command::View(view, reply));
        set.map(drop).map_err(|_| Stuck.into())
    }

    /// How it does, in figures.
    ///
    /// # Errors
    /// [`Stuck`] when the loop does not answer within two seconds.
    pub fn stats(&self) -> Result<Stats, Stuck> {
        self.driver.ask_blocking(ANSWER_WITHIN, Command::Stats).map_err(|_| Stuck)
    }

    /// How it is, for a health page; `Display` gives a text, `Serialize` JSON.
    ///
    /// # Errors
    /// [`Stuck`] when the loop does not answer within two seconds.
    pub fn status(&self) -> Result<Status, Stuck> {
        Ok(self.health.status(&self.stats()?))
    }

    /// Asks it the same from elsewhere, as long as it runs.
    #[must_use]
    pub fn observer(&self) -> Observer {
        Observer { driver: self.driver.clone(), health: self.health.clone() }
    }

    /// Ends when operators have removed the edge from its cluster, with the reason in words: it is not to come back
    /// as who it was, and its uplinks are down.
    pub fn removed(&self) -> impl Future<Output = String> + Send + use<> {
        let mut removed = self.removed.subscribe();
        async move {
            if removed.wait_for(Option::is_some).await.is_err() {
                std::future::pending::<()>().await; // the edge itself has ended
            }
            let why = removed.borrow().clone();
            why.unwrap_or_default()
        }
    }

    /// Stops: says goodbye to the nodes, closes every socket, and waits until both threads have ended.
    pub fn stop(mut self) {
        self.end();
    }

    fn end(&mut self) {
        self.stop.send_replace(true);
        self.driver.stop();
        for thread in self.threads.drain(..) {
            // One that panicked has said so.
            let _ = thread.join();
        }
    }
}

impl Drop for Edge {
    fn drop(&mut self) {
        self.end();
    }
}

/// What the thread beside the loop's does.
struct Side {
    uplink: Option<Joined>,
    probed: Vec<Probed>,
    certificates: Certificates,
    region: Region,
    realm: String,
    driver: Handle,
    health: Arc<Health>,
    stopped: watch::Receiver<bool>,
    removed: watch::Sender<Option<String>>,
}

impl Side {
    fn run(self, runtime: &tokio::runtime::Runtime) {
        let Self { uplink, probed, certificates, region, realm, driver, health, stopped, removed } = self;
        tokio::task::LocalSet::new().block_on(runtime, async {
            let follow = certificates.follow(stopped.clone());
            let probes = probe::run(probed, driver.clone(), health.clone(), stopped.clone());
            match uplink {
                Some(joined) => {
                    let shared = uplink::Shared::new(joined, (region, realm), driver, health, removed);
                    tokio::join!(follow, probes, uplink::run(shared, stopped));
                }
                None => {
                    tokio::join!(follow, probes);
                }
            }
        });
    }
}

/// The listeners of an edge.
struct Bound {
    udp: Vec<UdpListener>,
    tcp: Vec<TcpListener>,
    all: Vec<(Listener, SocketAddr)>,
    certificates: Certificates,
}

/// Binds every listener.
fn bind(config: &Config) -> Result<Bound, StartError> {
    let (mut udp, mut tcp, mut all) = (Vec::new(), Vec::new(), Vec::new());
    let mut certificates = Certificates::default();
    for listener in &config.listeners {
        let local = match listener.transport {
            Transport::Udp | Transport::Dtls => {
                let socket = UdpListener::bind(listener, &mut certificates)?;
                let local = socket.local();
                udp.push(socket);
                local
            }
            Transport::Tcp | Transport::Tls => {
                let socket = TcpListener::bind(listener, &mut certificates)?;
                let local = socket.local();
                tcp.push(socket);
                local
            }
        };
        all.push((listener.reached(local), local));
    }
    Ok(Bound { udp, tcp, all, certificates })
}

/// What the machine is told.
fn machine(config: &Config, bound: &[(Listener, SocketAddr)]) -> turn::Config {
    let mut machine = turn::Config::new(&config.realm, config.relays.clone());
    let own = bound.iter().flat_map(|(listener, local)| [listener.address, *local]);
    machine.listeners = own.chain(config.behind()).collect();
    // A PROXY header says the advertised address, everything else the bound one.
    let realm = |(told, (listener, local)): (&ListenAt, &(Listener, SocketAddr))| {
        let realm = told.realm.clone()?;
        Some([(*local, realm.clone()), (listener.address, realm)])
    };
    machine.listener_realms = config.listeners.iter().zip(bound).filter_map(realm).flatten().collect();
    machine.classic = config.classic;
    machine.quotas = config.quotas;
    machine.dont_fragment = crate::udp::can_forbid_fragments();
    machine
}

/// Who the edge is, towards nodes.
fn hello(config: &Config, bound: &[(Listener, SocketAddr)]) -> EdgeHello {
    EdgeHello {
        edge: config.id.clone(),
        build: config.build.clone(),
        region: config.region.clone(),
        coordinates: config.coordinates,
        listeners: bound.iter().map(|(listener, _)| listener.clone()).collect(),
        relays: config
            .relays
            .iter()
            .map(|relay| RelayRange { address: relay.advertised, first: relay.first, last: relay.last })
            .collect(),
        capacity: config.quotas.allocations,
        feed: None,
        proven: vec![],
        timed: true,
    }
}

/// What is in force without a cluster: it is its own fleet.
fn standalone_view(source: &Source, hello: &EdgeHello) -> Option<EdgeView> {
    let Source::Standalone(credentials) = source else { return None };
    Some(view(Index::default(), credentials.clone(), hello))
}

/// Credentials as a view, of which a later one has a higher number.
fn view(index: Index, credentials: Credentials, hello: &EdgeHello) -> EdgeView {
    let Credentials { secrets, users, origins, peers, alternates } = credentials;
    let fleet = hello.relays.clone();
    let secrets = (1..).zip(secrets).collect();
    EdgeView { index, secrets, users, origins, peers, alternates, fleet, ..EdgeView::default() }
}
