//! Signatures of Standard Webhooks 1.0 (standardwebhooks.com): HMAC-SHA256 over id, time and body.

use std::fmt::Write as _;

use data_encoding::BASE64;
use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;

use crate::mesh::uplink::Secret;

/// What a secret begins with, as text.
pub const SECRET_PREFIX: &str = "whsec_";

/// A secret as its receiver is told it, once.
#[must_use]
pub fn secret_text(secret: &Secret) -> String {
    format!("{SECRET_PREFIX}{}", BASE64.encode(&secret.0))
}

/// The value of `webhook-signature`: one signature of each secret, the newest first, parted by spaces. `secs` is the
/// attempt's time, that of `webhook-timestamp`.
#[must_use]
pub fn signatures(secrets: &[Secret], id: &str, secs: u64, body: &str) -> String {
    let mut all = String::new();
    for secret in secrets.iter().rev() {
        let Ok(mut mac) = Hmac::<Sha256>::new_from_slice(&secret.0) else { continue }; // of any length
        for part in [id, ".", &secs.to_string(), ".", body] {
            mac.update(part.as_bytes());
        }
        let space = if all.is_empty() { "" } else { " " };
        let _ = write!(all, "{space}v1,{}", BASE64.encode(&mac.finalize().into_bytes())); // into a string
    }
    all
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The example that the libraries of Standard Webhooks are tested by.
    #[test]
    fn signs_as_the_standard_does() {
        let text = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";
        let key = Secret(BASE64.decode(text.strip_prefix(SECRET_PREFIX).unwrap().as_bytes()).unwrap());
        assert_eq!(secret_text(&key), text);
        let (id, secs, body) = ("msg_p5jXN8AQM9LWM0D4loKWxJek", 1_614_265_330, r#"{"test": 2432232314}"#);
        let one = "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=";
        assert_eq!(signatures(std::slice::from_ref(&key), id, secs, body), one);

        let both = signatures(&[key, Secret(vec![7; 32])], id, secs, body);
        let (new, old) = both.split_once(' ').unwrap();
        assert!(new.starts_with("v1,") && new != one && old == one, "the newest first: {both}");
    }
}
