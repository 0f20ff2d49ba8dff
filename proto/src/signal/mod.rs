//! Signaling: what clients and servers say, and the three machines between two clients.
//!
//! A frame goes session → [`proxy`] → [`room`] → proxy → session. The session and its proxy live
//! on the gateway, the node that holds the socket; the room lives on its owner. Where both are one
//! node the same frames take the same path without the network.

pub mod age;
pub mod bucket;
pub mod code;
pub mod connection;
pub mod follow;
pub mod frame;
pub mod json;
pub mod lobby;
pub mod member;
pub mod moved;
pub mod near;
pub mod outbox;
pub mod proxy;
pub mod resume;
pub mod room;
pub mod route;
pub mod seal;
pub mod session;
pub mod site;
pub mod token;
