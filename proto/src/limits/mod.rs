//! Every limit of Chappe, each with its reason, related to each other by assertions that the
//! compiler checks. A limit that is not here does not exist.

mod acme;
mod admin;
mod client;
mod edge;
mod fleet;
mod hooks;
mod mesh;
mod registry;
mod related;
mod rooms;
mod turn;

pub use acme::*;
pub use admin::*;
pub use client::*;
pub use edge::*;
pub use fleet::*;
pub use hooks::*;
pub use mesh::*;
pub use registry::*;
pub use rooms::*;
pub use turn::*;
