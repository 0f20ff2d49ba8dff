//! The nonce cookie (RFC 8489 sections 9.2 and 18.1): what a nonce says of its server's abilities, so
//! that nobody between can hide them.

use data_encoding::BASE64;

/// What a nonce with security features begins with.
pub const NONCE_COOKIE: &str = "obMatJos2";

/// The STUN Security Features that a server has.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Features {
    /// Bit 0: it sent PASSWORD-ALGORITHMS.
    pub password_algorithms: bool,
    /// Bit 1: it takes USERHASH in the place of USERNAME.
    pub anonymity: bool,
}

impl Features {
    /// What a nonce says, and the rest of it; `None` without a cookie. Bits without a meaning are
    /// passed over.
    ///
    /// Bit 0 is the least significant of the 24, as RFC 8489's own test vector and its errata have it.
    #[must_use]
    pub fn read(nonce: &str) -> Option<(Self, &str)> {
        let (bits, rest) = nonce.strip_prefix(NONCE_COOKIE)?.split_at_checked(4)?;
        let mut bytes = [0; 3];
        BASE64.decode_mut(bits.as_bytes(), &mut bytes).ok()?;
        let [.., bits] = bytes;
        Some((Self { password_algorithms: bits & 1 != 0, anonymity: bits & 2 != 0 }, rest))
    }

    /// The cookie that says this: 13 characters.
    #[must_use]
    pub fn cookie(self) -> String {
        let mut cookie = String::with_capacity(32);
        cookie.push_str(NONCE_COOKIE);
        cookie.push_str(self.text());
        cookie
    }

    /// The 24 bits in base64.
    #[must_use]
    pub const fn text(self) -> &'static str {
        match (self.password_algorithms, self.anonymity) {
            (false, false) => "AAAA",
            (true, false) => "AAAB",
            (false, true) => "AAAC",
            (true, true) => "AAAD",
        }
    }

    /// The least significant byte of the 24 bits.
    #[must_use]
    pub const fn bits(self) -> u8 {
        self.password_algorithms as u8 | (self.anonymity as u8) << 1
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cookie_reads_back() {
        for (text, password_algorithms, anonymity) in [
            ("obMatJos2AAAA", false, false),
            ("obMatJos2AAAB", true, false),
            ("obMatJos2AAAC", false, true),
            ("obMatJos2AAAD", true, true),
        ] {
            let features = Features { password_algorithms, anonymity };
            assert_eq!(features.cookie(), text);
            assert_eq!(Features::read(&format!("{text}rest")), Some((features, "rest")));
        }
        for none in ["", "obMatJos2", "obMatJos2AAA", "obMatJos3AAAB", "obMatJos2AA=B", "obMatJos2AAä"] {
            assert_eq!(Features::read(none), None, "{none}");
        }
    }
}
