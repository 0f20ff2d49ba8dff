//! Attribute types (RFC 8489 section 18.3, RFC 8656 section 18) and, in a file for each group, what
//! their values are.

pub(crate) mod address;
mod authentication;
mod error;
mod relay;

pub use relay::{EvenPort, Family};

/// Where a request came from, not XORed: only in answers to RFC 3489 clients.
pub const MAPPED_ADDRESS: u16 = 0x0001;
/// The user of the long-term mechanism.
pub const USERNAME: u16 = 0x0006;
/// HMAC-SHA1 over the message.
pub const MESSAGE_INTEGRITY: u16 = 0x0008;
/// Why a request is refused.
pub const ERROR_CODE: u16 = 0x0009;
/// Comprehension-required attributes that were not understood.
pub const UNKNOWN_ATTRIBUTES: u16 = 0x000A;
/// A channel.
pub const CHANNEL_NUMBER: u16 = 0x000C;
/// Seconds.
pub const LIFETIME: u16 = 0x000D;
/// A peer's address.
pub const XOR_PEER_ADDRESS: u16 = 0x0012;
/// A payload.
pub const DATA: u16 = 0x0013;
/// The realm of the long-term mechanism.
pub const REALM: u16 = 0x0014;
/// The nonce of the long-term mechanism.
pub const NONCE: u16 = 0x0015;
/// A relayed transport address.
pub const XOR_RELAYED_ADDRESS: u16 = 0x0016;
/// The family of the relayed address that a client asks for.
pub const REQUESTED_ADDRESS_FAMILY: u16 = 0x0017;
/// Asks for an even port.
pub const EVEN_PORT: u16 = 0x0018;
/// The transport protocol between server and peer.
pub const REQUESTED_TRANSPORT: u16 = 0x0019;
/// Asks that datagrams to peers carry the DF bit.
pub const DONT_FRAGMENT: u16 = 0x001A;
/// HMAC-SHA256 over the message.
pub const MESSAGE_INTEGRITY_SHA256: u16 = 0x001C;
/// The algorithm of the request's key.
pub const PASSWORD_ALGORITHM: u16 = 0x001D;
/// The hash of user and realm, in the place of USERNAME.
pub const USERHASH: u16 = 0x001E;
/// Where a request came from.
pub const XOR_MAPPED_ADDRESS: u16 = 0x0020;
/// Names a reserved port.
pub const RESERVATION_TOKEN: u16 = 0x0022;
/// Asks for a relayed address of a second family.
pub const ADDITIONAL_ADDRESS_FAMILY: u16 = 0x8000;
/// The same by the number that it had in a draft, and still has in coturn and its clients: read, never
/// written.
pub const ADDITIONAL_ADDRESS_FAMILY_DRAFT: u16 = 0x8032;
/// Why there is no relayed address of a second family.
pub const ADDRESS_ERROR_CODE: u16 = 0x8001;
/// The password algorithms that a server takes.
pub const PASSWORD_ALGORITHMS: u16 = 0x8002;
/// An ICMP error that a peer's network sent.
pub const ICMP: u16 = 0x8004;
/// The sender's program.
pub const SOFTWARE: u16 = 0x8022;
/// Where a client is sent by a 300.
pub const ALTERNATE_SERVER: u16 = 0x8023;
/// CRC-32 of the message.
pub const FINGERPRINT: u16 = 0x8028;
/// The web origin of the client's page (draft-ietf-tram-stun-origin).
pub const ORIGIN: u16 = 0x802F;

/// The comprehension-required attributes that this crate understands. A known one where it is not
/// expected is ignored (RFC 8489 section 6.3).
pub const KNOWN: [u16; 23] = [
    MAPPED_ADDRESS,
    USERNAME,
    MESSAGE_INTEGRITY,
    ERROR_CODE,
    UNKNOWN_ATTRIBUTES,
    CHANNEL_NUMBER,
    LIFETIME,
    XOR_PEER_ADDRESS,
    DATA,
    REALM,
    NONCE,
    XOR_RELAYED_ADDRESS,
    REQUESTED_ADDRESS_FAMILY,
    EVEN_PORT,
    REQUESTED_TRANSPORT,
    DONT_FRAGMENT,
    MESSAGE_INTEGRITY_SHA256,
    PASSWORD_ALGORITHM,
    USERHASH,
    XOR_MAPPED_ADDRESS,
    RESERVATION_TOKEN,
    ADDITIONAL_ADDRESS_FAMILY,
    ADDRESS_ERROR_CODE,
];

/// Whether a receiver that does not understand this type must not go on (RFC 8489 section 14).
#[must_use]
pub const fn is_comprehension_required(kind: u16) -> bool {
    kind < 0x8000
}
