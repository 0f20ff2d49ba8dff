//! The node: rooms and signaling sessions as actors, the Raft registry, the mesh.

pub mod clock;
pub mod consensus;
pub mod mesh;
