//! Frames on a stream: a 32-bit big-endian length and the bytes of a value.

use chappe_proto::limits::MESH_FRAME_MAX;
use chappe_proto::mesh::uplink::{Down, Up};
use chappe_proto::wire;

use super::link::LinkError;

/// Reads one frame.
pub(super) async fn read(stream: &mut quinn::RecvStream) -> Result<Down, LinkError> {
    let mut length = [0; 4];
    stream.read_exact(&mut length).await?;
    let len = usize::try_from(u32::from_be_bytes(length)).unwrap_or(usize::MAX);
    if len > MESH_FRAME_MAX {
        return Err(wire::WireError::TooLong { len, max: MESH_FRAME_MAX }.into());
    }
    let mut bytes = vec![0; len];
    stream.read_exact(&mut bytes).await?;
    Ok(wire::decode(&bytes, MESH_FRAME_MAX)?)
}

/// Writes one frame.
pub(super) async fn write(stream: &mut quinn::SendStream, frame: &Up) -> Result<(), LinkError> {
    let bytes = wire::encode(frame)?;
    let len = u32::try_from(bytes.len()).ok().filter(|_| bytes.len() <= MESH_FRAME_MAX);
    let Some(len) = len else {
        return Err(wire::WireError::TooLong { len: bytes.len(), max: MESH_FRAME_MAX }.into());
    };
    stream.write_all(&len.to_be_bytes()).await?;
    Ok(stream.write_all(&bytes).await?)
}
