//! The signaling inspector: what is shown of a call, and what never is.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panic")]

mod redaction;
mod watching;
