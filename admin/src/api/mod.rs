//! `/admin/api/v1`: a file for each kind of thing.

pub(crate) mod access_tokens;
pub(crate) mod apps;
pub(crate) mod audit;
mod backup;
pub(crate) mod cluster;
pub(crate) mod configuration;
pub(crate) mod connection;
pub(crate) mod costs;
pub(crate) mod edges;
pub(crate) mod events;
pub(crate) mod history;
pub(crate) mod hooks;
pub(crate) mod idempotency;
mod invitations;
mod keys;
mod lobby;
pub(crate) mod logins;
mod logs;
pub(crate) mod me;
mod nodes;
pub(crate) mod openapi;
pub(crate) mod operators;
pub(crate) mod page;
pub(crate) mod peer;
mod peers;
pub(crate) mod problem;
pub(crate) mod provider;
pub(crate) mod rooms;
mod selection;
pub(crate) mod signals;
mod tokens;
pub(crate) mod turn;
pub(crate) mod unchanged;
pub mod usage;
#[cfg(test)]
pub(crate) mod written;

use actix_web::dev::HttpServiceFactory;
use actix_web::middleware::from_fn;
use actix_web::web::{self, ServiceConfig};

use crate::access::gate;

/// All of it, with what holds for every operation.
pub(crate) fn scope() -> impl HttpServiceFactory {
    web::scope("/api/v1")
        .configure(routes)
        .default_service(web::to(openapi::nowhere))
        .wrap(from_fn(idempotency::once))
        .wrap(from_fn(gate::paced))
        .wrap(from_fn(problem::always))
}

fn routes(config: &mut ServiceConfig) {
    config
        .configure(rooms::routes)
        .configure(apps::routes)
        .configure(peers::routes)
        .configure(lobby::routes)
        .configure(keys::routes)
        .configure(tokens::routes)
        .configure(turn::routes)
        .configure(selection::routes)
        .configure(usage::routes)
        .configure(costs::routes)
        .configure(signals::routes)
        .configure(peer::routes)
        .configure(history::routes)
        .configure(cluster::routes)
        .configure(nodes::routes)
        .configure(invitations::routes)
        .configure(edges::routes)
        .configure(configuration::routes)
        .configure(logs::routes)
        .configure(connection::routes)
        .configure(openapi::routes)
        .configure(me::routes)
        .configure(logins::routes)
        .configure(operators::routes)
        .configure(access_tokens::routes)
        .configure(provider::routes)
        .configure(audit::routes)
        .configure(hooks::routes);
}
