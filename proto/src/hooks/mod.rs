//! Webhooks: what an app's own server is told of its rooms, by HTTP requests that are signed.
//!
//! [`tap`] makes events of what a room's owner says to its gateways, [`queue`] decides which of them is sent when,
//! [`sign`] signs, [`url`] says where requests may go. What is sent and what may be lost is written for receivers in
//! `ops/WEBHOOKS.md`.

pub mod event;
pub mod queue;
pub mod record;
pub mod sign;
pub mod tap;
pub mod url;
