//! STUN (RFC 8489): messages, attributes, integrity, and the framing of streams that carry them.
//!
//! [`Message`] reads a message in place, [`Writer`] makes one. Each group of attributes has a file
//! of its own in `attributes`, with what it adds to both.

pub mod attributes;
mod classic;
mod error_code;
mod fingerprint;
mod frame;
mod integrity;
mod key;
mod message;
mod nonce_cookie;
mod writer;

#[cfg(test)]
mod rfc5769;
#[cfg(test)]
mod rfc8489;

pub use classic::ClassicBinding;
pub use error_code::Code;
pub use frame::{Malformed, frame, is_stun};
pub use integrity::Integrity;
pub use key::{Algorithm, Key, user_hash};
pub use message::{BadAttribute, Class, HEADER, MAGIC_COOKIE, Message, Method, TransactionId};
pub use nonce_cookie::{Features, NONCE_COOKIE};
pub use writer::Writer;
