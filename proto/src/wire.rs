//! How frames and log entries become bytes: MessagePack maps with named fields.
//!
//! Readers skip fields that they do not know and fill absent ones by `#[serde(default)]`, so that
//! two releases understand each other (CLUSTER.md 1 and 9).

use serde::{Serialize, de::DeserializeOwned};

/// Why bytes are not the frame they were read as.
#[derive(Debug, thiserror::Error)]
pub enum WireError {
    /// Longer than the reader's limit; nothing of it was read.
    #[error("frame of {len} bytes, at most {max} allowed")]
    TooLong {
        /// Its length in bytes.
        len: usize,
        /// The reader's limit in bytes.
        max: usize,
    },
    /// Not MessagePack, or not of the expected form (a newer release's variant, for one).
    #[error("malformed frame: {0}")]
    Malformed(#[from] rmp_serde::decode::Error),
    /// A value that cannot be written: a bug of ours.
    #[error("unwritable frame: {0}")]
    Unwritable(#[from] rmp_serde::encode::Error),
}

/// The bytes of `value`.
///
/// # Errors
/// [`WireError::Unwritable`] when its type has no MessagePack form.
pub fn encode<T: Serialize>(value: &T) -> Result<Vec<u8>, WireError> {
    Ok(rmp_serde::to_vec_named(value)?)
}

/// Reads a value from at most `max` bytes.
///
/// # Errors
/// [`WireError::TooLong`] and [`WireError::Malformed`].
pub fn decode<T: DeserializeOwned>(bytes: &[u8], max: usize) -> Result<T, WireError> {
    if bytes.len() > max {
        return Err(WireError::TooLong { len: bytes.len(), max });
    }
    Ok(rmp_serde::from_slice(bytes)?)
}
