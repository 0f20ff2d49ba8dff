//! Frames between processes: node to node, and edge to node.

pub mod allocations;
pub mod join;
pub mod node;
pub mod probe;
pub mod uplink;
pub mod user;
