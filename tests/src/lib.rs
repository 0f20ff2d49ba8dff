//! What the end-to-end tests share: processes of the real binary, clients of its protocols.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::print_stderr,
    clippy::disallowed_methods,
    missing_docs,
    reason = "a library of tests: what does not hold here is a failed test"
)]

pub mod acme;
pub mod axe;
pub mod chromium;
pub mod client;
pub mod cluster;
pub mod console;
pub mod fleet;
pub mod forwarder;
pub mod http;
pub mod lan_server;
pub mod netns;
pub mod nodes;
pub mod oidc;
pub mod page;
pub mod process;
pub mod sockets;
pub mod turn;
pub mod wan;
pub mod webhooks;
