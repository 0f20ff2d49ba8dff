//! Stateless nonces (RFC 8489 section 9.2): when one was issued, in which form, and an HMAC over that
//! and the client's address, so that it is good for its source alone and nothing is kept for it.

use std::net::{IpAddr, SocketAddr};

use data_encoding::BASE64URL_NOPAD;
use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;
use subtle::ConstantTimeEq;

use crate::limits;
use crate::stun::{Algorithm, Features};
use crate::time::{Mono, Now};

/// Bytes of time and of HMAC in a nonce: twelve together, sixteen characters on the wire. A guess
/// succeeds once in 2^72.
const TIME: usize = 3;
const MAC: usize = 9;
/// Seconds are counted in 22 bits, above which are two of [`Offer`].
const SECONDS: u32 = 0x3F_FFFF;

/// The PASSWORD-ALGORITHMS that went with a nonce.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Offer {
    /// None, nor a nonce cookie: RFC 5389.
    Nothing,
    /// SHA-256, then MD5.
    Both,
    /// MD5 alone.
    Md5,
    /// SHA-256 alone.
    Sha256,
}

impl Offer {
    const ALL: [Self; 4] = [Self::Nothing, Self::Both, Self::Md5, Self::Sha256];

    /// The list itself, the preferred first.
    pub(super) const fn algorithms(self) -> &'static [Algorithm] {
        match self {
            Self::Nothing => &[],
            Self::Both => &[Algorithm::Sha256, Algorithm::Md5],
            Self::Md5 => &[Algorithm::Md5],
            Self::Sha256 => &[Algorithm::Sha256],
        }
    }

    /// Whether this is the value of the PASSWORD-ALGORITHMS that was sent.
    pub(super) fn is(self, value: &[u8]) -> bool {
        let sent = self.algorithms().iter().flat_map(|algorithm| algorithm.value());
        sent.eq(value.iter().copied())
    }
}

/// What a challenge said besides its realm.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Form {
    pub(super) offer: Offer,
    /// The "Username anonymity" bit.
    pub(super) anonymity: bool,
}

impl Form {
    /// RFC 5389's: no cookie and no list.
    pub(super) const CLASSIC: Self = Self { offer: Offer::Nothing, anonymity: false };

    /// The length of its nonce.
    const fn nonce(self) -> usize {
        match self.offer {
            Offer::Nothing => 16,
            Offer::Both | Offer::Md5 | Offer::Sha256 => 13 + 16,
        }
    }

    /// What NONCE and PASSWORD-ALGORITHMS take of a message.
    pub(super) const fn length(self) -> usize {
        let list = match self.offer.algorithms().len() {
            0 => 0,
            count => 4 + 4 * count,
        };
        4 + self.nonce().next_multiple_of(4) + list
    }

    const fn features(self) -> Features {
        Features { password_algorithms: !matches!(self.offer, Offer::Nothing), anonymity: self.anonymity }
    }
}

/// Issues nonces and knows them again.
pub(super) struct Nonces {
    mac: Hmac<Sha256>,
}

impl Nonces {
    /// With a key that was drawn for this server's life: a restart makes every nonce stale.
    pub(super) fn new(key: [u8; 64]) -> Self {
        Self { mac: Hmac::new(&key.into()) }
    }

    /// A nonce for this client: 16 characters, after the 13 of a cookie where the form has one.
    pub(super) fn issue(&self, now: Now, client: SocketAddr, form: Form) -> String {
        let mut bytes = [0; TIME + MAC];
        let head = head(now.mono, form.offer);
        bytes[..TIME].copy_from_slice(&head);
        bytes[TIME..].copy_from_slice(&self.mac(head, form, client));
        let cookie = form.offer != Offer::Nothing;
        let mut nonce = if cookie { form.features().cookie() } else { String::new() };
        BASE64URL_NOPAD.encode_append(&bytes, &mut nonce);
        nonce
    }

    /// In which form this nonce was issued to this client, if it was within the last hour. The HMAC is
    /// over the form: a cookie that was added, altered or cut off makes another nonce of it.
    pub(super) fn accepts(&self, now: Now, client: SocketAddr, nonce: &str) -> Option<Form> {
        let (features, rest) = Features::read(nonce).unwrap_or((Features::default(), nonce));
        let mut bytes = [0; TIME + MAC];
        if rest.len() != BASE64URL_NOPAD.encode_len(bytes.len())
            || BASE64URL_NOPAD.decode_mut(rest.as_bytes(), &mut bytes).is_err()
        {
            return None;
        }
        let [a, b, c, mac @ ..] = bytes;
        let form = Form { offer: *Offer::ALL.get(usize::from(a >> 6))?, anonymity: features.anonymity };
        let genuine: bool = self.mac([a, b, c], form, client).ct_eq(&mac).into();
        // A genuine one from before the seconds wrapped is 48 days old, and good for its source again.
        let issued = u32::from_be_bytes([0, a, b, c]) & SECONDS;
        let age = coarse(now.mono).wrapping_sub(issued) & SECONDS;
        let fresh = u64::from(age) <= limits::NONCE_LIFE.as_secs();
        // Bits that have no meaning yet are not over the HMAC, but none was sent.
        let cookie = &nonce[..nonce.len() - rest.len()];
        let intact = match form.offer {
            Offer::Nothing => cookie.is_empty(),
            _ => cookie.ends_with(form.features().text()),
        };
        (genuine && fresh && intact).then_some(form)
    }

    fn mac(&self, head: [u8; TIME], form: Form, client: SocketAddr) -> [u8; MAC] {
        let mut mac = self.mac.clone();
        mac.update(&head);
        mac.update(&[form.features().bits()]);
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

/// Seconds since boot, in 22 bits.
fn coarse(mono: Mono) -> u32 {
    u32::try_from(mono.0.as_secs() & u64::from(SECONDS)).unwrap_or(0)
}

/// When, and what was offered.
fn head(mono: Mono, offer: Offer) -> [u8; TIME] {
    let code = match offer {
        Offer::Nothing => 0,
        Offer::Both => 1,
        Offer::Md5 => 2,
        Offer::Sha256 => 3,
    };
    let [.., a, b, c] = (coarse(mono) | code << 22).to_be_bytes();
    [a, b, c]
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::time::Unix;

    const FORMS: [Form; 4] = [
        Form::CLASSIC,
        Form { offer: Offer::Both, anonymity: false },
        Form { offer: Offer::Md5, anonymity: true },
        Form { offer: Offer::Sha256, anonymity: true },
    ];

    #[test]
    fn a_nonce_is_good_for_its_source_and_for_an_hour() {
        let nonces = Nonces::new([7; 64]);
        let now = Now { mono: Mono(Duration::from_secs(0x3F_FFF0)), unix: Unix::default() };
        let client: SocketAddr = "192.0.2.1:5000".parse().unwrap();
        for form in FORMS {
            let nonce = nonces.issue(now, client, form);
            assert_eq!(nonce.len(), form.nonce());
            assert_eq!(nonces.accepts(now, client, &nonce), Some(form));
            let after = |secs| nonces.accepts(now.after(Duration::from_secs(secs)), client, &nonce);
            assert_eq!((after(3600), after(3601)), (Some(form), None));
            for other in ["192.0.2.1:5001", "192.0.2.2:5000", "[::ffff:192.0.2.1]:5000"] {
                assert_eq!(nonces.accepts(now, other.parse().unwrap(), &nonce), None, "{other}");
            }
            assert_eq!(Nonces::new([8; 64]).accepts(now, client, &nonce), None, "another server's");
            for bent in ["", "x", &nonce[1..], &format!("{nonce}A"), &nonce.to_lowercase(), "ÄÄÄÄÄÄÄÄ"]
            {
                assert_eq!(nonces.accepts(now, client, bent), None, "{bent}");
            }
        }
    }

    #[test]
    fn no_form_is_made_into_another() {
        let nonces = Nonces::new([7; 64]);
        let now = Now { mono: Mono(Duration::from_secs(1000)), unix: Unix::default() };
        let client: SocketAddr = "192.0.2.1:5000".parse().unwrap();
        for form in FORMS {
            let nonce = nonces.issue(now, client, form);
            let rest = &nonce[nonce.len() - 16..];
            for cookie in
                ["", "obMatJos2AAAA", "obMatJos2AAAB", "obMatJos2AAAC", "obMatJos2AAAD", "obMatJos2gAAB"]
            {
                let made = format!("{cookie}{rest}");
                let accepted = nonces.accepts(now, client, &made);
                assert_eq!(accepted, (made == nonce).then_some(form), "{made} of {form:?}");
            }
        }
    }
}
