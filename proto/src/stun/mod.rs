//! STUN (RFC 8489): messages, attributes, integrity, and the framing of streams that carry them.

mod frame;

pub use frame::{Malformed, frame, is_stun};
