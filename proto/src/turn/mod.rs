//! The TURN server machine (RFC 8656).

mod api;
mod config;
mod counters;
mod server;

pub use api::*;
pub use config::{Config, Quotas, RelayAddress};
pub use counters::{AllocationView, Counters, Drop};
pub use server::Server;
