//! Frames on a QUIC stream: a 32-bit big-endian length, then [`wire`] bytes.

use bytes::{Buf, Bytes, BytesMut};
use chappe_proto::limits::MESH_FRAME_MAX;
use chappe_proto::wire::{self, WireError};
use quinn::{RecvStream, SendStream};
use serde::{Serialize, de::DeserializeOwned};

/// Why a stream of frames has ended.
#[derive(Debug, thiserror::Error)]
pub enum FrameError {
    /// The other side has finished, or the link broke, between or within frames.
    #[error("the stream ended: {0}")]
    Ended(#[from] quinn::ReadExactError),
    /// The link broke.
    #[error("the link broke: {0}")]
    Broke(#[from] quinn::WriteError),
    /// The link broke.
    #[error("the link broke: {0}")]
    Lost(#[from] quinn::ReadError),
    /// The stream finished within a frame.
    #[error("the stream finished within a frame")]
    Cut,
    /// Not a frame.
    #[error(transparent)]
    Wire(#[from] WireError),
}

/// Reads one frame.
///
/// # Errors
/// [`FrameError`]. Not safe to cancel: give it a task of its own.
pub async fn read<T: DeserializeOwned>(stream: &mut RecvStream) -> Result<T, FrameError> {
    read_within(stream, MESH_FRAME_MAX).await
}

/// Reads one frame of at most `max` bytes.
///
/// # Errors
/// [`FrameError`]. Not safe to cancel: give it a task of its own.
pub(crate) async fn read_within<T: DeserializeOwned>(
    stream: &mut RecvStream,
    max: usize,
) -> Result<T, FrameError> {
    let mut len = [0; 4];
    stream.read_exact(&mut len).await?;
    let len = usize::try_from(u32::from_be_bytes(len)).unwrap_or(usize::MAX);
    if len > max {
        return Err(WireError::TooLong { len, max }.into());
    }
    let mut bytes = vec![0; len];
    stream.read_exact(&mut bytes).await?;
    Ok(wire::decode(&bytes, max)?)
}

/// Writes one frame.
///
/// # Errors
/// [`FrameError`].
pub async fn write<T: Serialize>(stream: &mut SendStream, frame: &T) -> Result<(), FrameError> {
    Ok(stream.write_chunk(encode(frame)?).await?)
}

/// A frame with its length, to be written.
///
/// # Errors
/// [`WireError::TooLong`] beyond [`MESH_FRAME_MAX`].
pub fn encode<T: Serialize>(frame: &T) -> Result<Bytes, WireError> {
    framed(&wire::encode(frame)?, MESH_FRAME_MAX)
}

/// Bytes with their length, to be written.
///
/// # Errors
/// [`WireError::TooLong`] beyond `max`.
pub(crate) fn framed(body: &[u8], max: usize) -> Result<Bytes, WireError> {
    let too_long = || WireError::TooLong { len: body.len(), max };
    if body.len() > max {
        return Err(too_long());
    }
    let len = u32::try_from(body.len()).map_err(|_| too_long())?;
    let mut bytes = BytesMut::with_capacity(4 + body.len());
    bytes.extend_from_slice(&len.to_be_bytes());
    bytes.extend_from_slice(body);
    Ok(bytes.freeze())
}

/// Reads frames as they come, several from what one read brings. It holds what has come, not what a length
/// announces.
pub(crate) struct Frames {
    stream: RecvStream,
    held: BytesMut,
}

/// Bytes taken from a stream at once.
const CHUNK: usize = 64 * 1024;

impl Frames {
    pub(crate) fn new(stream: RecvStream) -> Self {
        Self { stream, held: BytesMut::new() }
    }

    /// The next frame of at most `max` bytes; none when the stream has finished. Safe to cancel.
    pub(crate) async fn next(&mut self, max: usize) -> Result<Option<Bytes>, FrameError> {
        loop {
            if let Some(head) = self.held.first_chunk::<4>() {
                let len = usize::try_from(u32::from_be_bytes(*head)).unwrap_or(usize::MAX);
                if len > max {
                    return Err(WireError::TooLong { len, max }.into());
                }
                if self.held.len() >= 4 + len {
                    self.held.advance(4);
                    return Ok(Some(self.held.split_to(len).freeze()));
                }
            }
            match self.stream.read_chunk(CHUNK, true).await? {
                Some(chunk) => self.held.extend_from_slice(&chunk.bytes),
                None if self.held.is_empty() => return Ok(None),
                None => return Err(FrameError::Cut),
            }
        }
    }

    /// Tells the other side that nothing more is read.
    pub(crate) fn stop(&mut self, code: quinn::VarInt) {
        let _ = self.stream.stop(code); // only refused once the stream is closed
    }

    /// The next frame, read as a `T`.
    pub(crate) async fn read<T: DeserializeOwned>(&mut self) -> Result<Option<T>, FrameError> {
        let Some(bytes) = self.next(MESH_FRAME_MAX).await? else { return Ok(None) };
        Ok(Some(wire::decode(&bytes, MESH_FRAME_MAX)?))
    }
}
