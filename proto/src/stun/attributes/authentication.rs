//! USERNAME, REALM and NONCE (RFC 8489 sections 14.3, 14.9 and 14.10).

use super::{NONCE, REALM, USERNAME};
use crate::stun::message::{BadAttribute, Message};

/// The longest USERNAME, in bytes (RFC 8489 section 14.3; RFC 5389 had 512).
const USERNAME_MAX: usize = 512;
/// The longest REALM and NONCE, in bytes (RFC 8489 sections 14.9 and 14.10).
const QUOTED_MAX: usize = 763;

impl<'a> Message<'a> {
    fn text(&self, kind: u16, max: usize) -> Result<Option<&'a str>, BadAttribute> {
        let Some(value) = self.get(kind) else { return Ok(None) };
        let text = std::str::from_utf8(value).map_err(|_| BadAttribute(kind))?;
        if text.len() > max { Err(BadAttribute(kind)) } else { Ok(Some(text)) }
    }

    /// USERNAME.
    ///
    /// # Errors
    /// When it is longer than 512 bytes or not UTF-8, as for the two that follow.
    pub fn username(&self) -> Result<Option<&'a str>, BadAttribute> {
        self.text(USERNAME, USERNAME_MAX)
    }

    /// REALM.
    ///
    /// # Errors
    /// When it is longer than 763 bytes or not UTF-8.
    pub fn realm(&self) -> Result<Option<&'a str>, BadAttribute> {
        self.text(REALM, QUOTED_MAX)
    }

    /// NONCE.
    ///
    /// # Errors
    /// When it is longer than 763 bytes or not UTF-8.
    pub fn nonce(&self) -> Result<Option<&'a str>, BadAttribute> {
        self.text(NONCE, QUOTED_MAX)
    }
}
