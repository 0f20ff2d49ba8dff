//! Links between nodes, and from edges.

pub mod pki;
