//! Chappe's node: rooms and signaling sessions as actors, the registry replicated by Raft and kept
//! in sled, the mesh of QUIC links, HTTP.

pub mod actor;
mod admin;
pub mod clock;
pub mod consensus;
pub mod http;
pub mod mesh;
pub mod node;
pub mod start;
pub mod token;

/// This build, as `chappe --version` prints it.
pub const BUILD: &str = env!("CARGO_PKG_VERSION");
