//! Frames on a QUIC stream: a 32-bit big-endian length, then [`wire`] bytes.

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
    /// Not a frame.
    #[error(transparent)]
    Wire(#[from] WireError),
}

/// Reads one frame.
///
/// # Errors
/// [`FrameError`]. Not safe to cancel: give it a task of its own.
pub async fn read<T: DeserializeOwned>(stream: &mut RecvStream) -> Result<T, FrameError> {
    let mut len = [0; 4];
    stream.read_exact(&mut len).await?;
    let len = usize::try_from(u32::from_be_bytes(len)).unwrap_or(usize::MAX);
    if len > MESH_FRAME_MAX {
        return Err(WireError::TooLong { len, max: MESH_FRAME_MAX }.into());
    }
    let mut bytes = vec![0; len];
    stream.read_exact(&mut bytes).await?;
    Ok(wire::decode(&bytes, MESH_FRAME_MAX)?)
}

/// Writes one frame.
///
/// # Errors
/// [`FrameError`].
pub async fn write<T: Serialize>(stream: &mut SendStream, frame: &T) -> Result<(), FrameError> {
    let body = wire::encode(frame)?;
    let len =
        u32::try_from(body.len()).map_err(|_| WireError::TooLong { len: body.len(), max: MESH_FRAME_MAX })?;
    let mut bytes = len.to_be_bytes().to_vec();
    bytes.extend_from_slice(&body);
    Ok(stream.write_all(&bytes).await?)
}
