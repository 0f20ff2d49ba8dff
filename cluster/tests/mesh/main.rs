//! The mesh over real sockets and with real certificates.

// Clippy takes the helpers of an integration test for production code.
#![allow(clippy::unwrap_used, clippy::panic)]

mod common;
mod faults;
mod joins;
mod links;
mod neighbours;
mod raw;
mod refusals;
mod renewals;
mod wire;
