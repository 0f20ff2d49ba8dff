//! What the end-to-end tests share: processes of the real binary, clients of its protocols.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::disallowed_methods,
    missing_docs,
    reason = "a library of tests: what does not hold here is a failed test"
)]

pub mod client;
pub mod http;
pub mod process;
pub mod turn;
