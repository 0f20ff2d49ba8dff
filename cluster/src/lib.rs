//! Chappe's node: rooms and signaling sessions as actors, the registry replicated by Raft and kept
//! in sled, the mesh of QUIC links, HTTP.

pub mod actor;
mod admin;
mod answers;
pub mod clock;
pub mod consensus;
mod counts;
pub mod drain;
mod early;
mod events;
mod feed;
pub mod fetch;
mod follow;
pub mod geoip;
mod history;
pub mod hooks;
pub mod http;
mod keeper;
pub mod lease;
mod life;
pub mod logs;
pub mod mesh;
pub mod node;
pub mod probe;
mod proposals;
mod router;
mod sealing;
pub mod start;
mod starting;
mod steward;
pub mod token;
pub mod usage;

/// This build, as `chappe --version` prints it.
pub const BUILD: &str = env!("CARGO_PKG_VERSION");
