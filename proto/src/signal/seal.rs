//! Texts that only the cluster reads and makes: XChaCha20-Poly1305 with the registry's sealing keys.

use std::collections::BTreeMap;

use chacha20poly1305::aead::{Aead, KeyInit, Payload};
use chacha20poly1305::{Key, XChaCha20Poly1305, XNonce};
use data_encoding::BASE64URL_NOPAD;
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::limits;
use crate::wire;

/// The registry's sealing keys by number: all open, the highest seals.
pub type SealingKeys = BTreeMap<u64, [u8; 32]>;

/// A kind of such texts: none is read as another.
#[derive(Debug, Clone, Copy)]
pub(super) struct Kind {
    /// What each begins with.
    pub(super) prefix: &'static str,
    /// What is sealed with it.
    pub(super) context: &'static [u8],
}

/// Why a text is no token of this cluster.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum OpenError {
    /// Not sealed with a key of this cluster, or altered.
    #[error("not a token of this cluster")]
    Unknown,
    /// Its time is over.
    #[error("the token has expired")]
    Expired,
}

impl Kind {
    /// A value's text, sealed with the newest key. `nonce` is random: never one twice. Nothing when there is no key.
    pub(super) fn seal(self, value: &impl Serialize, keys: &SealingKeys, nonce: [u8; 24]) -> Option<String> {
        let (number, key) = keys.last_key_value()?;
        let plain = wire::encode(value).ok()?;
        let payload = Payload { msg: &plain, aad: self.context };
        let sealed = XChaCha20Poly1305::new(&Key::from(*key)).encrypt(&XNonce::from(nonce), payload).ok()?;
        let mut bytes = nonce.to_vec();
        bytes.extend_from_slice(&sealed);
        Some(format!("{}{number}.{}", self.prefix, BASE64URL_NOPAD.encode(&bytes)))
    }

    /// The number of the key that a text says it is sealed with.
    pub(super) fn sealed_by(self, text: &str) -> Option<u64> {
        text.strip_prefix(self.prefix)?.split_once('.')?.0.parse().ok()
    }

    /// Reads a text back; none where it is of no key of this cluster, or altered.
    pub(super) fn open<T: DeserializeOwned>(self, text: &str, keys: &SealingKeys) -> Option<T> {
        let (number, data) = text.strip_prefix(self.prefix)?.split_once('.')?;
        let key = keys.get(&number.parse().ok()?)?;
        let bytes = BASE64URL_NOPAD.decode(data.as_bytes()).ok()?;
        let (nonce, sealed) = bytes.split_first_chunk::<24>()?;
        let payload = Payload { msg: sealed, aad: self.context };
        let plain = XChaCha20Poly1305::new(&Key::from(*key)).decrypt(&XNonce::from(*nonce), payload);
        wire::decode(&plain.ok()?, limits::TOKEN_MAX).ok()
    }
}
