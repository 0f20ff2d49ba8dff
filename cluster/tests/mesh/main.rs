//! The mesh over real sockets and with real certificates.

// Clippy takes the helpers of an integration test for production code.
#![allow(clippy::unwrap_used, clippy::panic)]

mod common;
mod joins;
mod links;
mod refusals;
mod renewals;
