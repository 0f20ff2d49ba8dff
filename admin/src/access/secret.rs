//! What a link, a cookie and an access token hold: an id, and a secret of 256 random bits (OWASP ASVS 5.0, 7.2.3 asks
//! for 128).

use data_encoding::BASE64URL_NOPAD;

use crate::api::problem::Problem;

/// Bytes of the id.
const ID: usize = 15;
/// Bytes of the secret.
const SECRET: usize = 32;

/// Draws random bytes.
///
/// # Errors
/// Where the operating system has none: then nothing is safe, and nothing is done.
pub(crate) fn random<const N: usize>() -> Result<[u8; N], Problem> {
    let mut bytes = [0; N];
    getrandom::fill(&mut bytes)
        .map_err(|_| Problem::NotNow("this node's system has no randomness; ask another node".to_owned()))?;
    Ok(bytes)
}

/// An id and its secret.
#[derive(Clone)]
pub(crate) struct Bearer {
    /// What names it in the registry.
    pub(crate) id: [u8; ID],
    /// What the registry holds a hash of.
    pub(crate) secret: [u8; SECRET],
}

impl Bearer {
    /// A new one.
    ///
    /// # Errors
    /// As [`random`].
    pub(crate) fn draw() -> Result<Self, Problem> {
        Ok(Self { id: random()?, secret: random()? })
    }

    /// As it is written: 63 characters of base64url.
    pub(crate) fn text(&self) -> String {
        BASE64URL_NOPAD.encode(&[self.id.as_slice(), self.secret.as_slice()].concat())
    }

    /// Reads one.
    pub(crate) fn read(text: &str) -> Option<Self> {
        // The length first: nothing is decoded for a stranger that cannot be one.
        if text.len() != (ID + SECRET) * 8 / 6 + 1 {
            return None;
        }
        let bytes = BASE64URL_NOPAD.decode(text.as_bytes()).ok()?;
        let (id, secret) = bytes.split_at_checked(ID)?;
        Some(Self { id: id.try_into().ok()?, secret: secret.try_into().ok()? })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read_and_nothing_else() {
        let drawn = Bearer { id: [7; ID], secret: [9; SECRET] };
        let text = drawn.text();
        assert_eq!(text.len(), 63);
        let read = Bearer::read(&text).unwrap();
        assert_eq!((read.id, read.secret), (drawn.id, drawn.secret));
        for wrong in ["", &text[1..], &format!("{text}A"), &text.replace('B', "+"), &"é".repeat(31)] {
            assert!(Bearer::read(wrong).is_none(), "{wrong}");
        }
        assert_ne!(Bearer::draw().unwrap().text(), Bearer::draw().unwrap().text());
    }
}
