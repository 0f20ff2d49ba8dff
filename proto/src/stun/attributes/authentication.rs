//! USERNAME, USERHASH, REALM, NONCE, PASSWORD-ALGORITHM and PASSWORD-ALGORITHMS (RFC 8489 sections
//! 14.3, 14.4 and 14.9 to 14.12), and ORIGIN (draft-ietf-tram-stun-origin).

use super::{NONCE, ORIGIN, PASSWORD_ALGORITHM, PASSWORD_ALGORITHMS, REALM, USERHASH, USERNAME};
use crate::stun::key::Algorithm;
use crate::stun::message::{BadAttribute, Message};
use crate::stun::writer::Writer;

/// The longest USERNAME, REALM and NONCE that are read, in bytes (RFC 8489 sections 14.3, 14.9 and
/// 14.10). A user's name is shorter: [`TURN_NAME_MAX`](crate::limits::TURN_NAME_MAX).
const QUOTED_MAX: usize = 763;
/// The longest ORIGIN, in bytes: a scheme, a hostname of 253 and a port.
const ORIGIN_MAX: usize = 267;

impl<'a> Message<'a> {
    fn text(&self, kind: u16, max: usize) -> Result<Option<&'a str>, BadAttribute> {
        let Some(value) = self.get(kind) else { return Ok(None) };
        let text = std::str::from_utf8(value).map_err(|_| BadAttribute(kind))?;
        if text.len() > max { Err(BadAttribute(kind)) } else { Ok(Some(text)) }
    }

    /// USERNAME.
    ///
    /// # Errors
    /// When it is longer than 763 bytes or not UTF-8, as for REALM and NONCE.
    pub fn username(&self) -> Result<Option<&'a str>, BadAttribute> {
        self.text(USERNAME, QUOTED_MAX)
    }

    /// USERHASH.
    ///
    /// # Errors
    /// When it is not of 32 bytes.
    pub fn user_hash(&self) -> Result<Option<[u8; 32]>, BadAttribute> {
        self.fixed(USERHASH)
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

    /// Every ORIGIN: the web origins that the client's page is of, one for each frame around it. Those
    /// that are longer than 267 bytes or not UTF-8 are left out.
    pub fn origins(&self) -> impl Iterator<Item = &'a str> {
        let values = self.attributes().filter(|(kind, _)| *kind == ORIGIN);
        let texts = values.filter_map(|(_, value)| std::str::from_utf8(self.bytes.get(value)?).ok());
        texts.filter(|text| text.len() <= ORIGIN_MAX)
    }

    /// PASSWORD-ALGORITHM: the algorithm of the request's key.
    ///
    /// # Errors
    /// When it is malformed or of an algorithm that is none of [`Algorithm`].
    pub fn password_algorithm(&self) -> Result<Option<Algorithm>, BadAttribute> {
        let bad = BadAttribute(PASSWORD_ALGORITHM);
        let Some(value) = self.get(PASSWORD_ALGORITHM) else { return Ok(None) };
        match entries(value).and_then(|mut entries| Some((entries.next()?, entries.next()))) {
            Some((number, None)) => Algorithm::of(number).map(Some).ok_or(bad),
            _ => Err(bad),
        }
    }

    /// PASSWORD-ALGORITHMS: what the server takes, the preferred first; those that are none of
    /// [`Algorithm`] are left out.
    ///
    /// # Errors
    /// When it is malformed.
    pub fn password_algorithms(&self) -> Result<Option<Vec<Algorithm>>, BadAttribute> {
        let Some(value) = self.get(PASSWORD_ALGORITHMS) else { return Ok(None) };
        let numbers = entries(value).ok_or(BadAttribute(PASSWORD_ALGORITHMS))?;
        Ok(Some(numbers.filter_map(Algorithm::of).collect()))
    }
}

/// The numbers of a list of algorithms: each is a number, the length of its parameters, and these,
/// padded to four bytes. `None` where one overruns the value.
fn entries(value: &[u8]) -> Option<impl Iterator<Item = u16>> {
    let step = |value: &mut &[u8]| {
        let [n1, n0, l1, l0, rest @ ..] = *value else { return None };
        let length = usize::from(u16::from_be_bytes([*l1, *l0])).next_multiple_of(4);
        *value = rest.get(length..)?;
        Some(u16::from_be_bytes([*n1, *n0]))
    };
    let mut rest = value;
    while step(&mut rest).is_some() {}
    let mut value = value;
    rest.is_empty().then(|| std::iter::from_fn(move || step(&mut value)))
}

impl Algorithm {
    /// The value of PASSWORD-ALGORITHM, and an entry of PASSWORD-ALGORITHMS: it has no parameters.
    #[must_use]
    pub const fn value(self) -> [u8; 4] {
        let [high, low] = self.number().to_be_bytes();
        [high, low, 0, 0]
    }
}

impl Writer {
    /// Adds PASSWORD-ALGORITHM.
    #[must_use]
    pub fn password_algorithm(self, algorithm: Algorithm) -> Self {
        self.attribute(PASSWORD_ALGORITHM, &algorithm.value())
    }

    /// Adds PASSWORD-ALGORITHMS, the preferred first.
    #[must_use]
    pub fn password_algorithms(self, algorithms: &[Algorithm]) -> Self {
        let value: Vec<u8> = algorithms.iter().flat_map(|algorithm| algorithm.value()).collect();
        self.attribute(PASSWORD_ALGORITHMS, &value)
    }
}
