//! How frames and log entries become bytes: MessagePack maps with named fields.
//!
//! Readers skip fields that they do not know and fill absent ones by `#[serde(default)]`, so that
//! two releases understand each other.
//!
//! Frames are enums with an inner tag, whose fields serde reads from a buffer that no longer knows
//! that it came of a binary format. A type with a form of its own for binary formats (addresses, for
//! one) is therefore written as its text, by [`text`] and [`texts`].

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

/// Writes a value as its text in every format: `#[serde(with = "wire::text")]`.
pub mod text {
    use std::borrow::Cow;
    use std::fmt::Display;
    use std::str::FromStr;

    use serde::{Deserialize, Deserializer, Serializer, de};

    /// Writes the text of `value`.
    ///
    /// # Errors
    /// Those of the format.
    pub fn serialize<T: Display, S: Serializer>(value: &T, to: S) -> Result<S::Ok, S::Error> {
        to.collect_str(value)
    }

    /// Reads a value from its text.
    ///
    /// # Errors
    /// Those of the format, and when the text names no such value.
    pub fn deserialize<'de, T, D>(from: D) -> Result<T, D::Error>
    where
        T: FromStr<Err: Display>,
        D: Deserializer<'de>,
    {
        Cow::<'de, str>::deserialize(from)?.parse().map_err(de::Error::custom)
    }
}

/// Writes a list of values as their texts in every format: `#[serde(with = "wire::texts")]`.
pub mod texts {
    use std::fmt::Display;
    use std::str::FromStr;

    use serde::{Deserialize, Deserializer, Serialize, Serializer};

    #[derive(Serialize)]
    #[serde(transparent)]
    struct Write<'a, T: Display>(#[serde(with = "super::text")] &'a T);

    #[derive(Deserialize)]
    #[serde(transparent, bound(deserialize = "T: FromStr<Err: Display>"))]
    struct Read<T>(#[serde(with = "super::text")] T);

    /// Writes the texts of `values`.
    ///
    /// # Errors
    /// Those of the format.
    pub fn serialize<T: Display, S: Serializer>(values: &[T], to: S) -> Result<S::Ok, S::Error> {
        to.collect_seq(values.iter().map(Write))
    }

    /// Reads values from their texts.
    ///
    /// # Errors
    /// Those of the format, and when a text names no such value.
    pub fn deserialize<'de, T, D>(from: D) -> Result<Vec<T>, D::Error>
    where
        T: FromStr<Err: Display>,
        D: Deserializer<'de>,
    {
        Ok(Vec::<Read<T>>::deserialize(from)?.into_iter().map(|Read(value)| value).collect())
    }
}

#[cfg(test)]
mod tests {
    use crate::id::Index;
    use crate::limits::MESH_FRAME_MAX;
    use crate::mesh::uplink::Secret;
    use crate::mesh::uplink::{Down, EdgeChange, EdgeHello, EdgeView, Listener, PeerPolicy, RelayRange, Up};
    use crate::turn::Transport;

    use super::*;

    #[test]
    fn tagged_frames_with_addresses_read_back() {
        let relay = RelayRange { address: "2001:db8::1".parse().unwrap(), first: 1, last: 2 };
        let peers = PeerPolicy { allow: vec!["127.0.0.0/8".parse().unwrap()], deny: vec![] };
        let view = EdgeView {
            index: Index(1),
            secrets: [(1, Secret(vec![0, 200]))].into(),
            fleet: vec![relay.clone()],
            peers: peers.clone(),
            ..EdgeView::default()
        };
        let changes = vec![EdgeChange::Fleet { relays: vec![relay.clone()] }, EdgeChange::Peers(peers)];
        for frame in [Down::Snapshot(view), Down::Delta { index: Index(2), changes }] {
            let bytes = encode(&frame).unwrap();
            assert_eq!(decode::<Down>(&bytes, MESH_FRAME_MAX).unwrap(), frame);
        }
        let address = "127.0.0.1:3478".parse().unwrap();
        let hello = Up::Hello(EdgeHello {
            edge: crate::id::EdgeId::new("e").unwrap(),
            build: "b".to_owned(),
            region: crate::id::Region::new("r").unwrap(),
            coordinates: None,
            listeners: vec![Listener { transport: Transport::Udp, address, hostname: None }],
            relays: vec![relay],
            capacity: 1,
            feed: None,
            proven: vec![],
            timed: false,
        });
        assert_eq!(decode::<Up>(&encode(&hello).unwrap(), MESH_FRAME_MAX).unwrap(), hello);
    }

    #[test]
    fn a_frame_beyond_the_limit_is_not_read() {
        assert!(matches!(decode::<u8>(&[0; 3], 2), Err(WireError::TooLong { len: 3, max: 2 })));
    }
}
