//! The console under `/admin`: pages rendered from what the cluster's trait answers, kept alive by server-sent events.
//! What changes something is the API's: the pages' forms call it.

mod allocations;
mod apps;
mod asked;
mod assets;
mod audit;
mod configuration;
mod connection;
mod costs;
mod edges;
mod entry;
mod explorer;
mod frame;
mod hooks;
mod logs;
mod matrix;
mod nodes;
mod operators;
mod overview;
mod person;
mod plot;
mod plots;
mod provider;
mod room;
mod rooms;
mod search;
mod settings;
mod shards;
mod shared;
mod signals;
#[cfg(test)]
mod tests;
mod turn;
mod view;
mod visitor;
mod words;

use actix_web::web::{self, ServiceConfig};

use view::show;

pub(crate) use plots::Drawn;
pub(crate) use shared::Shared;
pub use words::fingerprint;
pub(crate) use words::iso;

pub(crate) fn routes(config: &mut ServiceConfig) {
    config
        .route("", web::get().to(show::<overview::Overview>))
        .route("/nodes", web::get().to(show::<nodes::Nodes>))
        .route("/nodes/{node}", web::get().to(show::<nodes::Node>))
        .route("/edges", web::get().to(show::<edges::Edges>))
        .route("/edges/{edge}", web::get().to(show::<edges::Edge>))
        .route("/audit", web::get().to(show::<audit::AuditLog>))
        .route("/operators", web::get().to(show::<operators::Operators>))
        .route("/shards", web::get().to(show::<shards::Shards>))
        .route("/costs", web::get().to(show::<costs::Costs>))
        .route("/settings", web::get().to(show::<settings::Settings>))
        .route("/configuration", web::get().to(show::<configuration::Configuration>))
        .route("/logs", web::get().to(show::<logs::Logs>))
        .route("/test", web::get().to(show::<connection::Connection>))
        .route("/api", web::get().to(show::<explorer::Explorer>))
        .route("/rooms", web::get().to(show::<rooms::Rooms>))
        .route("/apps", web::get().to(show::<apps::Apps>))
        .route("/apps/{app}", web::get().to(show::<apps::App>))
        .route("/apps/{app}/rooms/{room}", web::get().to(show::<room::Room>))
        .route("/apps/{app}/rooms/{room}/peers/{peer}", web::get().to(show::<person::Person>))
        .route("/apps/{app}/rooms/{room}/signals", web::get().to(show::<signals::Signals>))
        .route("/turn", web::get().to(show::<turn::Credentials>))
        .route("/turn/credentials/{id}", web::get().to(show::<turn::Credential>))
        .route("/turn/secrets", web::get().to(show::<turn::Secrets>))
        .route("/turn/users", web::get().to(show::<turn::Users>))
        .route("/allocations", web::get().to(show::<allocations::Allocations>))
        .route("/webhooks", web::get().to(show::<hooks::Webhooks>))
        .route("/webhooks/{app}/{webhook}", web::get().to(show::<hooks::OneHook>))
        .route("/search", web::get().to(search::found))
        .route("/login", web::get().to(entry::login))
        .route("/login/provider", web::get().to(provider::go))
        .route("/login/callback", web::get().to(provider::back))
        .route("/link/{token}", web::get().to(entry::link))
        .configure(assets::routes);
}
