//! Stateless nonces (RFC 8489 section 9.2): when one was issued and an HMAC over that and the client's
//! address, so that it is good for its source alone and nothing is kept for it.

use std::net::{IpAddr, SocketAddr};

use data_encoding::BASE64URL_NOPAD;
use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;
use subtle::ConstantTimeEq;

use crate::limits;
use crate::time::{Mono, Now};

/// Bytes of time and of HMAC in a nonce: twelve together, sixteen characters on the wire. A guess
/// succeeds once in 2^72.
const TIME: usize = 3;
const MAC: usize = 9;

/// Issues nonces and knows them again.
pub(super) struct Nonces {
    mac: Hmac<Sha256>,
}

impl Nonces {
    /// With a key that was drawn for this server's life: a restart makes every nonce stale.
    pub(super) fn new(key: [u8; 64]) -> Self {
        Self { mac: Hmac::new(&key.into()) }
    }

    /// A nonce for this client.
    pub(super) fn issue(&self, now: Now, client: SocketAddr) -> String {
        let mut bytes = [0; TIME + MAC];
        let [.., a, b, c] = coarse(now.mono).to_be_bytes();
        bytes[..TIME].copy_from_slice(&[a, b, c]);
        let mac = self.mac([a, b, c], client);
        bytes[TIME..].copy_from_slice(&mac);
        BASE64URL_NOPAD.encode(&bytes)
    }

    /// Whether this is a nonce that was issued to this client within the last hour.
    pub(super) fn accepts(&self, now: Now, client: SocketAddr, nonce: &str) -> bool {
        let mut bytes = [0; TIME + MAC];
        if nonce.len() != BASE64URL_NOPAD.encode_len(bytes.len())
            || BASE64URL_NOPAD.decode_mut(nonce.as_bytes(), &mut bytes).is_err()
        {
            return false;
        }
        let [a, b, c, mac @ ..] = bytes;
        let genuine: bool = self.mac([a, b, c], client).ct_eq(&mac).into();
        // Counted in 24 bits: a genuine one from before they wrapped is 194 days old.
        let age = coarse(now.mono).wrapping_sub(u32::from_be_bytes([0, a, b, c])) & 0xFF_FFFF;
        genuine && u64::from(age) <= limits::NONCE_LIFE.as_secs()
    }

    fn mac(&self, time: [u8; TIME], client: SocketAddr) -> [u8; MAC] {
        let mut mac = self.mac.clone();
        mac.update(&time);
        match client.ip() {
            IpAddr::V4(ip) => mac.update(&ip.octets()),
            IpAddr::V6(ip) => mac.update(&ip.octets()),
        }
        mac.update(&client.port().to_be_bytes());
        let mut short = [0; MAC];
        short.copy_from_slice(&mac.finalize().into_bytes()[..MAC]);
        short
    }
}

/// Seconds since boot, in 24 bits.
fn coarse(mono: Mono) -> u32 {
    u32::try_from(mono.0.as_secs() & 0xFF_FFFF).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::time::Unix;

    #[test]
    fn a_nonce_is_good_for_its_source_and_for_an_hour() {
        let nonces = Nonces::new([7; 64]);
        let now = Now { mono: Mono(Duration::from_secs(0xFF_FFF0)), unix: Unix::default() };
        let client: SocketAddr = "192.0.2.1:5000".parse().unwrap();
        let nonce = nonces.issue(now, client);
        assert_eq!(nonce.len(), 16);
        assert!(nonces.accepts(now, client, &nonce));
        assert!(nonces.accepts(now.after(Duration::from_secs(3600)), client, &nonce));
        assert!(!nonces.accepts(now.after(Duration::from_secs(3601)), client, &nonce));
        for other in ["192.0.2.1:5001", "192.0.2.2:5000", "[::ffff:192.0.2.1]:5000"] {
            assert!(!nonces.accepts(now, other.parse().unwrap(), &nonce), "{other}");
        }
        assert!(!Nonces::new([8; 64]).accepts(now, client, &nonce), "another server's");
        for bent in ["", "x", &nonce[1..], &format!("{nonce}A"), &nonce.to_lowercase(), "ÄÄÄÄÄÄÄÄ"] {
            assert!(!nonces.accepts(now, client, bent), "{bent}");
        }
    }
}
