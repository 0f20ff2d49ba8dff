//! The admin API and the console. They know the cluster only through [`Cluster`], the trait
//! that it defines: what cannot be said there cannot be done here.

#![allow(unused_qualifications, reason = "what utoipa's macros make of parameters")]

mod access;
mod api;
pub mod asked;
pub mod cluster;
mod console;
mod headers;
pub mod history;
#[cfg(test)]
mod memory;
pub mod pool;
mod schema;

use std::sync::Arc;

use actix_web::HttpRequest;
use actix_web::middleware::from_fn;
use actix_web::web::{self, ServiceConfig};
use chappe_proto::mesh::uplink::Secret;

use access::gate::Gate;

pub use access::Asker;
pub use api::apps::Shown as ShownApp;
pub use api::cluster::{ClusterReport, Owners};
pub use api::operators::{NewLink, ShownOperator};
pub use api::provider::{RolesByValue, ShownProvider, TestedProvider};
pub use api::usage::{self, UsageReport};
pub use cluster::{
    Answer, Apps, AuditLog, Changed, Cluster, Control, Edge, Kicked, Operators, Overview, Peer, Registry,
    Rooms, Unavailable, apps, connection, control, elsewhere, health, history as past, hooks, inspect,
    operation, path, peers, rooms, turn,
};

pub use console::fingerprint;

/// The admin API and the console, ready to be put into a server.
#[derive(Clone)]
pub struct Mount {
    cluster: Arc<dyn Cluster>,
    token: Arc<Secret>,
    /// The streams of events that are open, of all threads.
    pub(crate) streams: Arc<api::events::Streams>,
    gate: Arc<Gate>,
    /// What all readers of a page share, of all threads.
    pub(crate) shared: Arc<console::Shared>,
    /// The plots of the first page, as they were drawn last.
    pub(crate) drawn: Arc<console::Drawn>,
    /// The idempotency keys that are known, of all threads.
    pub(crate) keys: Arc<api::idempotency::Keys>,
}

impl Mount {
    /// Of a cluster; whoever holds `token` owns it.
    #[must_use]
    pub fn new(cluster: Arc<dyn Cluster>, token: Secret) -> Self {
        Self {
            cluster,
            token: Arc::new(token),
            streams: Arc::default(),
            gate: Arc::default(),
            shared: Arc::default(),
            drawn: Arc::default(),
            keys: Arc::default(),
        }
    }

    /// Where requests come from is found out by `ask`: of a server that stands behind proxies, or speaks TLS.
    #[must_use]
    pub fn asked_by(mut self, ask: impl Fn(&HttpRequest) -> Asker + Send + Sync + 'static) -> Self {
        self.gate = Arc::new(Gate::asking(Arc::new(ask)));
        self
    }

    /// Adds the routes under `/admin`: the API's under `/admin/api/v1`, and the console's.
    pub fn configure(&self, config: &mut ServiceConfig) {
        let scope = web::scope("/admin").app_data(web::Data::new(self.clone()));
        let gate = Arc::clone(&self.gate);
        let guarded = from_fn(move |request, next| headers::always(Arc::clone(&gate), request, next));
        config.service(scope.service(api::scope()).configure(console::routes).wrap(guarded));
    }
}
