//! ERROR-CODE, UNKNOWN-ATTRIBUTES and ADDRESS-ERROR-CODE (RFC 8489 sections 14.8 and 14.13,
//! RFC 8656 section 18.12).

use super::{ADDRESS_ERROR_CODE, ERROR_CODE, Family, UNKNOWN_ATTRIBUTES};
use crate::stun::error_code::Code;
use crate::stun::message::{BadAttribute, Message};
use crate::stun::writer::Writer;

/// Class and number of a code, as both attributes carry it.
fn split(code: Code) -> [u8; 2] {
    let class = u8::try_from(code.0 / 100).unwrap_or(5) & 0x07;
    let number = u8::try_from(code.0 % 100).unwrap_or(0);
    [class, number]
}

impl Message<'_> {
    /// The number of ERROR-CODE.
    ///
    /// # Errors
    /// When it is malformed.
    pub fn error_code(&self) -> Result<Option<Code>, BadAttribute> {
        let Some(value) = self.get(ERROR_CODE) else { return Ok(None) };
        match value {
            [_, _, class, number, ..] if (3..=6).contains(&(class & 0x07)) && *number < 100 => {
                Ok(Some(Code(u16::from(class & 0x07) * 100 + u16::from(*number))))
            }
            _ => Err(BadAttribute(ERROR_CODE)),
        }
    }

    /// The reason phrase of ERROR-CODE: empty where there is none, or it is not UTF-8.
    #[must_use]
    pub fn reason(&self) -> &str {
        let phrase = self.get(ERROR_CODE).and_then(|value| value.get(4..)).unwrap_or_default();
        std::str::from_utf8(phrase).unwrap_or_default()
    }

    /// The types that UNKNOWN-ATTRIBUTES names.
    #[must_use]
    pub fn unknown_attributes(&self) -> Vec<u16> {
        let value = self.get(UNKNOWN_ATTRIBUTES).unwrap_or_default();
        value.chunks_exact(2).map(|pair| u16::from_be_bytes([pair[0], pair[1]])).collect()
    }
}

impl Writer {
    /// Adds ERROR-CODE with a reason phrase, which may be empty.
    #[must_use]
    pub fn error_code(self, code: Code, reason: &str) -> Self {
        let mut value = vec![0, 0];
        value.extend(split(code));
        value.extend(reason.as_bytes());
        self.attribute(ERROR_CODE, &value)
    }

    /// Adds UNKNOWN-ATTRIBUTES.
    #[must_use]
    pub fn unknown_attributes(self, kinds: &[u16]) -> Self {
        let value: Vec<u8> = kinds.iter().flat_map(|kind| kind.to_be_bytes()).collect();
        self.attribute(UNKNOWN_ATTRIBUTES, &value)
    }

    /// Adds ADDRESS-ERROR-CODE: why the second of two relayed addresses is missing.
    #[must_use]
    pub fn address_error_code(self, family: Family, code: Code) -> Self {
        let [class, number] = split(code);
        self.attribute(ADDRESS_ERROR_CODE, &[family.number(), 0, class, number])
    }
}
