//! A node that runs, and its end.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use actix_web::dev::{Server, ServerHandle};
use chappe_proto::id::{ClusterId, NodeId};
use chappe_proto::limits;
use chappe_proto::registry::NodeState;
use tokio::runtime::{EnterGuard, Runtime};
use tokio::task::JoinHandle;

use super::Listening;
use crate::actor::edges;
use crate::actor::session::Shutdown;
use crate::consensus::{self, Ended, Role};
use crate::drain::{self, Left};
use crate::life::LifeError;
use crate::node::Node;

/// What webhooks are to be told, and their endpoints take, is told within this, before a node stops.
const TELL_WITHIN: Duration = Duration::from_secs(5);
/// Another leader must be there within this, before one that stops goes on without.
const HAND_OVER_WITHIN: Duration = Duration::from_secs(3);

/// The threads of the links and the lease. A runtime may not simply be dropped within another one, as a
/// start that fails half way does.
pub(super) struct Links(Option<Runtime>);

impl Links {
    pub(super) fn new() -> io::Result<Self> {
        let mut threads = tokio::runtime::Builder::new_multi_thread();
        Ok(Self(Some(threads.worker_threads(2).thread_name("mesh").enable_all().build()?)))
    }

    pub(super) fn enter(&self) -> Option<EnterGuard<'_>> {
        self.0.as_ref().map(Runtime::enter)
    }

    pub(super) fn spawn<T: Send + 'static>(
        &self,
        task: impl Future<Output = T> + Send + 'static,
    ) -> JoinHandle<T> {
        let _entered = self.enter();
        tokio::spawn(task)
    }
}

impl Drop for Links {
    fn drop(&mut self) {
        if let Some(runtime) = self.0.take() {
            runtime.shutdown_background();
        }
    }
}

/// A running node. Dropping it does not stop it.
pub struct Running {
    /// What its parts share.
    pub node: Arc<Node>,
    /// Where plain HTTP is served.
    pub http: Vec<SocketAddr>,
    /// Where HTTPS is served.
    pub https: Vec<SocketAddr>,
    /// Where other nodes and edges connect to.
    pub mesh: SocketAddr,
    /// Whether the cluster began with this start.
    pub founded: bool,
    /// The cluster's id.
    pub cluster: ClusterId,
    server: ServerHandle,
    links: Links,
    ended: Ended,
    over: JoinHandle<LifeError>,
    feeding: JoinHandle<Result<(), consensus::FatalError>>,
    /// What follows the registry.
    tasks: Vec<JoinHandle<()>>,
}

/// Why a running node has ended by itself: the process must exit with it.
#[derive(Debug, thiserror::Error)]
pub enum Failed {
    /// Its registry has ended.
    #[error("the registry has ended; what was acknowledged is on disk: {0}")]
    Registry(#[from] consensus::FatalError),
    /// The cluster does not take it any more.
    #[error(transparent)]
    Life(#[from] LifeError),
}

impl Running {
    #[allow(clippy::too_many_arguments)]
    pub(super) fn new(
        node: Arc<Node>,
        listening: Listening,
        founded: bool,
        cluster: ClusterId,
        server: Server,
        links: Links,
        ended: Ended,
        over: JoinHandle<LifeError>,
        feeding: JoinHandle<Result<(), consensus::FatalError>>,
        tasks: Vec<JoinHandle<()>>,
    ) -> Self {
        let handle = server.handle();
        actix_rt::spawn(server);
        let Listening { http, https, mesh, .. } = listening;
        Self { node, http, https, mesh, founded, cluster, server: handle, links, ended, over, feeding, tasks }
    }

    /// Waits until the node ends by itself.
    pub async fn failed(&mut self) -> Result<(), Failed> {
        tokio::select! {
            ended = &mut self.ended => Ok(ended.unwrap_or(Ok(()))?),
            Ok(Err(error)) = &mut self.feeding => Err(error.into()),
            over = &mut self.over => Err(over.unwrap_or(LifeError::Stopped).into()),
        }
    }

    /// Empties the node before it stops: `told` hears what is left, until nothing is or
    /// `within` has passed. Its next start serves again, unless an operator has said that it drains.
    pub async fn drain(&self, within: Duration, told: impl FnMut(Left)) {
        drain::before_stop(&self.node, within, told).await;
    }

    /// Hands the leadership to another member, where this one leads and there is one.
    async fn hand_over(&self) {
        let status = self.node.registry.status();
        if status.role != Role::Leader {
            return;
        }
        let state = self.node.registry.state();
        let up = |member: &NodeId| {
            *member != self.node.id && state.node(*member).is_some_and(|node| node.state == NodeState::Up)
        };
        let fit = status.voters.iter().copied().filter(|voter| status.caught_up.contains(voter));
        let Some(to) = fit.filter(up).find(|voter| status.recent.contains(voter)) else { return };
        if let Ok(Err(error)) = tokio::time::timeout(HAND_OVER_WITHIN, self.node.registry.transfer(to)).await
        {
            tracing::info!(%error, "the leadership was not handed over: the others elect");
        }
    }

    /// Tells clients to resume elsewhere, and serves nobody any more. What carries their connections must
    /// not end before.
    pub async fn dismiss(&self) {
        for (_, session) in self.node.sessions.all() {
            // One whose mailbox is full loses its socket without a word, and resumes all the same.
            let _ = session.try_send(Shutdown);
        }
        self.server.stop(true).await; // waits for those farewells, within its own limit
    }

    /// Stops: clients are dismissed, edges and nodes told that it goes, the registry's last words made
    /// durable.
    pub async fn stop(mut self) {
        self.over.abort();
        self.dismiss().await;
        // What is told of their leaving included; an endpoint that is away is not waited for.
        let _ = tokio::time::timeout(TELL_WITHIN, self.node.hooks.quiet()).await;
        self.hand_over().await;
        self.node.mesh.stop().await;
        let _ = self.node.edges.send(edges::Stop).await; // it has ended already
        self.tasks.iter().for_each(JoinHandle::abort);
        self.node.registry.stop();
        let _ = tokio::time::timeout(limits::REGISTRY_STOP_WITHIN, &mut self.ended).await;
        drop(self.links);
    }
}
