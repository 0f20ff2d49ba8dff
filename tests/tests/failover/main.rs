//! Real nodes that are killed, cut off and filled up while people signal to each other.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::print_stderr,
    clippy::disallowed_methods,
    reason = "what does not hold here is a failed test"
)]

mod bench;
mod disk;
mod partition;
mod talk;
