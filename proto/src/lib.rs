//! Chappe's deterministic machines and the types that cross its wires.
//!
//! Nothing in this crate opens a socket, reads a clock, touches a disk, starts a thread or draws a
//! random number: its dependencies prove it, and `tests/purity.rs` keeps it so. A machine takes
//! [`time::Now`] and bytes (or frames), takes its seed at construction, and returns what is to be
//! done as data. The shells in `edge` and `cluster` do it.

pub mod history;
pub mod hooks;
pub mod http;
pub mod id;
pub mod inspect;
pub mod limits;
pub mod logs;
pub mod mesh;
pub mod proxy_protocol;
pub mod registry;
pub mod select;
pub mod settings;
pub mod signal;
pub mod stun;
pub mod time;
pub mod turn;
pub mod usage;
pub mod wire;
