//! The real binary as a process, spoken to over real sockets.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::disallowed_methods,
    reason = "helpers of tests; and what is measured here is real time"
)]

mod abuse;
mod acme;
mod cluster;
mod coturn;
mod credential_life;
mod credentials;
mod dev;
mod dev_cluster;
mod differences;
mod edge;
mod edge_join;
mod edge_trust;
mod fleet;
mod history;
mod hooks;
mod import;
mod inspect;
mod issued;
mod kick;
mod lobby;
mod moves;
mod nearest;
mod network;
mod oidc;
mod operation;
mod registry;
mod rooms;
mod signal;
mod tls;
mod turn_check;
mod turn_key;
mod usage;
mod users;
