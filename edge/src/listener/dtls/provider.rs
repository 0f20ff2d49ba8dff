//! The cryptography of dimpl, but for its cookies: those are ours.

use std::cell::Cell;

use dimpl::CryptoError;
use dimpl::crypto::rust_crypto::default_provider;
use dimpl::crypto::{CryptoProvider, HashAlgorithm, HmacProvider};

use super::front::COOKIE;

thread_local! {
    /// The random of the ClientHello that is being admitted, and the cookie that it echoes.
    static ADMITTED: Cell<Option<([u8; 32], [u8; COOKIE])>> = const { Cell::new(None) };
}

/// dimpl asks for a cookie as HMAC-SHA256 of the client's random, under a key of each association. A client
/// is told its cookie before it has one, and what it signs includes that cookie; so it is given to dimpl as
/// its own while a ClientHello is admitted whose cookie was judged already.
#[derive(Debug)]
struct Hmac;

impl HmacProvider for Hmac {
    fn hmac_sha256(&self, key: &[u8], data: &[u8]) -> Result<[u8; 32], CryptoError> {
        match ADMITTED.get() {
            Some((random, cookie)) if data == random => Ok(cookie),
            _ => default_provider().hmac_provider.hmac_sha256(key, data),
        }
    }

    fn hmac(
        &self,
        hash: HashAlgorithm,
        key: &[u8],
        data: &[u8],
        out: &mut [u8],
    ) -> Result<usize, CryptoError> {
        default_provider().hmac_provider.hmac(hash, key, data, out)
    }
}

/// What dimpl is configured with.
pub(super) fn provider() -> CryptoProvider {
    CryptoProvider { hmac_provider: &Hmac, ..default_provider() }
}

/// Does `admit` while `cookie` counts as the one of the ClientHello with that random.
pub(super) fn admitting<T>(random: [u8; 32], cookie: [u8; COOKIE], admit: impl FnOnce() -> T) -> T {
    ADMITTED.set(Some((random, cookie)));
    let done = admit();
    ADMITTED.set(None);
    done
}
