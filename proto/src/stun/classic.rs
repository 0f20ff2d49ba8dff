//! Binding as RFC 3489 had it: no magic cookie, a transaction id of 16 bytes, MAPPED-ADDRESS
//! (RFC 8489 section 11).

use std::net::SocketAddr;

use super::attributes::{MAPPED_ADDRESS, address};
use super::message::{HEADER, MAGIC_COOKIE};

/// A Binding request without a magic cookie.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ClassicBinding {
    /// What its response echoes.
    pub transaction: [u8; 16],
}

impl ClassicBinding {
    /// Reads a datagram; `None` when it is anything else.
    #[must_use]
    pub fn parse(bytes: &[u8]) -> Option<Self> {
        let header: &[u8; HEADER] = bytes.first_chunk()?;
        let [0x00, 0x01, l1, l0, transaction @ ..] = *header else { return None };
        let length = usize::from(u16::from_be_bytes([l1, l0]));
        let whole = bytes.len() == HEADER + length && length.is_multiple_of(4);
        (whole && transaction[..4] != MAGIC_COOKIE.to_be_bytes()).then_some(Self { transaction })
    }

    /// The success response for a client seen at `client`.
    #[must_use]
    pub fn response(&self, client: SocketAddr) -> Vec<u8> {
        let (value, length) = address::plain(client);
        let mut bytes = vec![0x01, 0x01, 0, length + 4];
        bytes.extend(self.transaction);
        bytes.extend(MAPPED_ADDRESS.to_be_bytes());
        bytes.extend([0, length]);
        bytes.extend(&value[..usize::from(length)]);
        bytes
    }
}
