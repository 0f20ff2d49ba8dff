//! The TURN server machine (RFC 8656).

mod api;

pub use api::*;
