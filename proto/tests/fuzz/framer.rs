//! The framing of streams: however the bytes arrive, the same messages come of them, and no more is
//! ever kept than the longest message.

use chappe_proto::stun::{HEADER, Malformed, Message, frame};

use crate::input::Input;

/// A header and what 16 bits of length can say.
const LONGEST: usize = HEADER + 0xFFFF;

pub(crate) fn run(data: &[u8]) {
    let mut input = Input(data);
    let seed = input.u8();
    let stream = expand(input);
    let whole = cut(&stream, |_| usize::MAX);
    let bytewise = (stream.len() < 2000).then(|| cut(&stream, |_| 1));
    let pieces = cut(&stream, |turn| 1 + (usize::from(seed) * 31 + turn * 17) % 97);
    assert_eq!(whole, pieces);
    assert!(bytewise.is_none_or(|bytewise| bytewise == whole));
    // What comes through is what was there, in order.
    let (messages, end) = whole;
    let total: usize = messages.iter().map(Vec::len).sum();
    assert_eq!(messages.concat(), stream[..total]);
    if end.is_ok() {
        assert!(stream.len() - total < LONGEST);
    }
    for message in messages {
        if message[0] < 0x40 {
            let length = usize::from(u16::from_be_bytes([message[2], message[3]]));
            assert_eq!(message.len(), HEADER + length);
            let _ = Message::parse(&message);
        } else {
            assert!(message[0] < 0x80 && message.len().is_multiple_of(4));
        }
    }
}

/// Bytes as they are, or messages with a good head: half of what a stream holds must be right for the
/// rest to be looked at.
fn expand(mut input: Input<'_>) -> Vec<u8> {
    let mut stream = Vec::new();
    while !input.is_empty() && stream.len() < 3 * LONGEST {
        let what = input.u8();
        let length = usize::from(input.u8()) << (what >> 6);
        match what % 4 {
            0 => stream.extend(input.bytes(length)),
            1 => {
                stream.extend([0, 1]);
                stream.extend(u16::try_from(length / 4 * 4).unwrap().to_be_bytes());
                stream.extend([0x21, 0x12, 0xA4, 0x42]);
                stream.resize(stream.len() + 12 + length / 4 * 4, what);
            }
            2 => {
                stream.extend([0x40, what]);
                stream.extend(u16::try_from(length).unwrap().to_be_bytes());
                stream.resize(stream.len() + length.next_multiple_of(4), what);
            }
            _ => {
                // One that is as long as can be.
                stream.extend([0x40 | what & 0x3F, what, 0xFF, 0xFF]);
                stream.resize(stream.len() + 0x10000, what);
            }
        }
    }
    stream
}

/// What comes of a stream that arrives in such pieces, and whether it can be read on.
fn cut(stream: &[u8], piece: impl Fn(usize) -> usize) -> (Vec<Vec<u8>>, Result<(), Malformed>) {
    let (mut messages, mut kept, mut at, mut turn) = (Vec::new(), Vec::new(), 0, 0);
    while at < stream.len() {
        let next = at.saturating_add(piece(turn)).min(stream.len());
        kept.extend_from_slice(&stream[at..next]);
        (at, turn) = (next, turn + 1);
        let mut read = 0;
        loop {
            match frame(&kept[read..]) {
                Ok(Some(length)) => {
                    messages.push(kept[read..read + length].to_vec());
                    read += length;
                }
                Ok(None) => break,
                Err(malformed) => return (messages, Err(malformed)),
            }
        }
        kept.drain(..read);
        assert!(kept.len() < LONGEST + 4, "more is kept than a message has");
    }
    (messages, Ok(()))
}
