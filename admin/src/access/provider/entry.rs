//! What a browser keeps while somebody is with the provider: sealed, so that nobody but the cluster reads or makes it.

use chappe_proto::id::Index;
use chappe_proto::mesh::uplink::Secret;
use chappe_proto::time::Unix;
use data_encoding::BASE64URL_NOPAD;
use ring::aead::{Aad, CHACHA20_POLY1305, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};
use serde::{Deserialize, Serialize};

use crate::access::secret::random;

const CONTEXT: &[u8] = b"chappe entry 1";
/// The longest that is opened, in bytes.
const MAX: usize = 4_096;

/// Somebody who is with the provider.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Entry {
    /// The login that they come back to: the registry lets it begin once.
    pub(super) id: [u8; 15],
    /// What the provider hands back.
    pub(super) state: String,
    /// What the ID token names.
    pub(super) nonce: String,
    /// What proves that who asked for the code has it exchanged (RFC 7636).
    pub(super) verifier: String,
    /// The page that they were going to.
    pub(super) to: String,
    /// Until when they may be back.
    pub(super) until: Unix,
    /// When the provider's settings changed last.
    pub(super) since: Index,
}

fn key(seal: &Secret) -> Option<LessSafeKey> {
    UnboundKey::new(&CHACHA20_POLY1305, &seal.0).ok().map(LessSafeKey::new)
}

impl Entry {
    pub(super) fn seal(&self, seal: &Secret) -> Option<String> {
        let nonce: [u8; NONCE_LEN] = random().ok()?;
        let mut sealed = serde_json::to_vec(self).ok()?;
        let fresh = Nonce::assume_unique_for_key(nonce);
        key(seal)?.seal_in_place_append_tag(fresh, Aad::from(CONTEXT), &mut sealed).ok()?;
        Some(BASE64URL_NOPAD.encode(&[nonce.as_slice(), &sealed].concat()))
    }

    pub(super) fn open(text: &str, seal: &Secret) -> Option<Self> {
        if text.len() > MAX {
            return None;
        }
        let bytes = BASE64URL_NOPAD.decode(text.as_bytes()).ok()?;
        let (nonce, sealed) = bytes.split_at_checked(NONCE_LEN)?;
        let (nonce, mut sealed) = (Nonce::try_assume_unique_for_key(nonce).ok()?, sealed.to_vec());
        let opened = key(seal)?.open_in_place(nonce, Aad::from(CONTEXT), &mut sealed).ok()?;
        serde_json::from_slice(opened).ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_sealed_is_opened_by_its_key_alone_and_whole() {
        let entry = Entry {
            id: [1; 15],
            state: "s".to_owned(),
            nonce: "n".to_owned(),
            verifier: "v".to_owned(),
            to: "/admin".to_owned(),
            until: Unix::from_secs(9),
            since: Index(3),
        };
        let (seal, other) = (Secret(vec![1; 32]), Secret(vec![2; 32]));
        let sealed = entry.seal(&seal).unwrap();
        assert_ne!(sealed, entry.seal(&seal).unwrap());
        assert_eq!(Entry::open(&sealed, &seal), Some(entry));
        assert_eq!(Entry::open(&sealed, &other), None);
        for wrong in ["", "A", &sealed[1..], &sealed.replace(&sealed[30..31], "_"), &"A".repeat(MAX + 4)] {
            assert_eq!(Entry::open(wrong, &seal), None);
        }
    }
}
