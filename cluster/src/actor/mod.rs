//! The actors: thin shells around the machines of `chappe_proto::signal`. Each decodes, asks its
//! machine, and does what it says.

pub mod directory;
pub mod edges;
pub mod gateway;
pub(crate) mod orders;
pub mod proxy;
pub mod room;
pub mod session;
pub mod sites;
pub mod socket;
pub mod sources;
pub mod timer;
