//! Telling STUN from ChannelData, and cutting a stream into either.

use super::message::{HEADER, MAGIC_COOKIE};

/// Bytes that can be no message of this protocol: a stream that holds them is to be closed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("neither a STUN message nor ChannelData")]
pub struct Malformed;

/// Whether a packet may be a STUN message rather than ChannelData: its first two bits are zero
/// (RFC 8489 section 5, RFC 8656 section 12).
#[must_use]
pub fn is_stun(packet: &[u8]) -> bool {
    packet.first().is_some_and(|byte| byte & 0xC0 == 0)
}

/// The length of the message that a stream's unread bytes begin with, padding included, or `None`
/// while too few bytes are there to tell or the message is incomplete (RFC 8656 section 12.5: over a
/// stream ChannelData is padded to four bytes, which its length field does not count).
///
/// The longest is 65,555 bytes: a 20-byte STUN header and what a 16-bit length can say.
///
/// # Errors
/// [`Malformed`] when the bytes can begin neither; the stream cannot be read on.
pub fn frame(bytes: &[u8]) -> Result<Option<usize>, Malformed> {
    let Some(&first) = bytes.first() else { return Ok(None) };
    let stun = match first {
        0x00..0x40 => true,
        0x40..0x80 => false,
        _ => return Err(Malformed),
    };
    let Some(&[high, low]) = bytes.get(2..4) else { return Ok(None) };
    let length = usize::from(u16::from_be_bytes([high, low]));
    // RFC 3489 had no magic cookie, but no streams either.
    let cookie = bytes.get(4..8);
    if stun
        && (!length.is_multiple_of(4) || cookie.is_some_and(|cookie| cookie != MAGIC_COOKIE.to_be_bytes()))
    {
        return Err(Malformed);
    }
    let whole = if stun { HEADER + length } else { (4 + length).next_multiple_of(4) };
    Ok((bytes.len() >= whole).then_some(whole))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stream_may_hold_several_and_partial_messages() {
        let mut stream = vec![0x40, 0x01, 0x00, 0x05, 1, 2, 3, 4, 5, 0, 0, 0];
        stream.extend([0x00, 0x01, 0x00, 0x00, 0x21, 0x12, 0xA4, 0x42]);
        assert_eq!(frame(&stream), Ok(Some(12)));
        assert_eq!(frame(&stream[..11]), Ok(None));
        assert_eq!(frame(&stream[12..]), Ok(None));
        stream.extend([0; 12]);
        assert_eq!(frame(&stream[12..]), Ok(Some(20)));
        assert_eq!(frame(&[]), Ok(None));
        assert_eq!(frame(b"\x00\x01\x00\x00\x21\x12\xA4"), Ok(None));
        assert_eq!(frame(b"\x00\x01\x00\x00\x21\x12\xA4\x43"), Err(Malformed), "no magic cookie");
    }

    #[test]
    fn what_begins_no_message_ends_the_stream() {
        for bytes in [&b"\x80\x00\x00\x00"[..], b"\x16\x03\x01\x02", b"\x00\x01\x00\x03"] {
            assert_eq!(frame(bytes), Err(Malformed), "{bytes:?}");
        }
    }
}
