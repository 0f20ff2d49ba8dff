//! Raft's messages between nodes: short ones on a lane, each snapshot on a stream of its own.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use bytes::{BufMut, Bytes, BytesMut};
use chappe_proto::id::NodeId;
use chappe_proto::limits::{RAFT_MESSAGE_MAX, SNAPSHOT_MAX, SNAPSHOT_PIECE};
use chappe_proto::mesh::node::Lane;
use protobuf::Message as _;
use quinn::{SendStream, VarInt};
use raft::eraftpb::{Message, MessageType};

use super::frame::{FrameError, Frames, framed};
use super::handle::{Inner, Mesh};
use super::lanes::{opening, priority};
use super::link::Link;
use crate::consensus::{Transport, Unsent};

/// The ids of sender and receiver before each message.
const HEAD: usize = 16;

/// The code with which a snapshot's stream is stopped that cannot be passed on.
const NO_WAY: VarInt = VarInt::from_u32(2);

/// Raft's transport over a mesh.
#[derive(Clone)]
pub struct RaftLane(Arc<Inner>);

impl Mesh {
    /// What the registry sends its messages by.
    #[must_use]
    pub fn raft(&self) -> RaftLane {
        RaftLane(Arc::clone(&self.0))
    }
}

impl Transport for RaftLane {
    fn send(&mut self, message: Message) -> Result<(), Unsent> {
        let to = NodeId(message.to);
        if message.get_msg_type() == MessageType::MsgSnapshot {
            return self.send_snapshot(to, message);
        }
        let frame = frame_of(&message).ok_or(Unsent)?;
        self.0.pass(to, Lane::Raft, frame).map_err(|_| Unsent)
    }
}

fn frame_of(message: &Message) -> Option<Bytes> {
    let mut bytes = Vec::with_capacity(HEAD + 128);
    bytes.put_u64(message.from);
    bytes.put_u64(message.to);
    message.write_to_vec(&mut bytes).ok()?;
    framed(&bytes, RAFT_MESSAGE_MAX).ok()
}

impl RaftLane {
    fn send_snapshot(&self, to: NodeId, mut message: Message) -> Result<(), Unsent> {
        let link = Arc::clone(self.0.table.now().towards(to).ok_or(Unsent)?);
        let data = std::mem::take(&mut message.mut_snapshot().data);
        let head = frame_of(&message).ok_or(Unsent)?;
        let mesh = Arc::clone(&self.0);
        self.0.runtime.spawn(async move {
            let sent = write_snapshot(&mesh, &link, head, data).await;
            if let Err(error) = &sent {
                tracing::info!(node = %to, %error, "a snapshot of the registry did not arrive");
            }
            if let Some(running) = mesh.running() {
                running.handler.snapshot_sent(to, sent.is_ok());
            }
        });
        Ok(())
    }
}

/// A stream for a snapshot whose first frame is this.
async fn begin(mesh: &Inner, link: &Link, head: Bytes) -> Result<SendStream, FrameError> {
    let mut stream = link.connection.open_uni().await.map_err(quinn::WriteError::from)?;
    let _ = stream.set_priority(priority(Lane::Snapshot)); // only refused once the stream is closed
    stream.write_all_chunks(&mut [opening(Lane::Snapshot, &mesh.hello())?, head]).await?;
    Ok(stream)
}

/// Waits until the other side has all of a stream.
async fn end(mut stream: SendStream) -> Result<(), FrameError> {
    stream.finish().map_err(|_| FrameError::Cut)?;
    match stream.stopped().await {
        Ok(None) => Ok(()),
        _ => Err(FrameError::Cut),
    }
}

/// Writes a snapshot and waits until the other side has all of it.
async fn write_snapshot(mesh: &Inner, link: &Link, head: Bytes, data: Bytes) -> Result<(), FrameError> {
    let mut stream = begin(mesh, link, head).await?;
    for piece in data.chunks(SNAPSHOT_PIECE) {
        stream.write_chunk(framed(piece, SNAPSHOT_PIECE)?).await?;
    }
    end(stream).await
}

/// Reads messages until the stream or the link ends.
pub(crate) async fn messages(mesh: &Inner, link: &Link, mut frames: Frames) -> Result<(), FrameError> {
    while let Some(bytes) = frames.next(RAFT_MESSAGE_MAX).await? {
        match Head::of(&bytes) {
            Some(head) if head.to == mesh.node => match head.message() {
                Some(message) => deliver(mesh, message),
                None => drop(mesh.skipped.fetch_add(1, Ordering::Relaxed)),
            },
            Some(head) if head.from == link.peer && mesh.hand_on(head.to, Lane::Raft, &bytes).is_ok() => {}
            _ => drop(mesh.skipped.fetch_add(1, Ordering::Relaxed)),
        }
        tokio::task::consume_budget().await;
    }
    Ok(())
}

/// Reads one snapshot: one of each link at a time.
pub(crate) async fn snapshot(mesh: &Inner, link: &Link, mut frames: Frames) -> Result<(), FrameError> {
    let Ok(_one) = link.snapshots.acquire().await else { return Ok(()) };
    let Some(bytes) = frames.next(RAFT_MESSAGE_MAX).await? else { return Ok(()) };
    let Some(head) = Head::of(&bytes) else { return Ok(()) };
    if head.to != mesh.node {
        if head.from == link.peer && pass_on(mesh, head.to, &bytes, &mut frames).await.is_ok() {
            return Ok(());
        }
        // Its sender learns that it did not arrive, if it has not written all of it yet.
        frames.stop(NO_WAY);
        mesh.skipped.fetch_add(1, Ordering::Relaxed);
        return Ok(());
    }
    let Some(mut message) = head.message() else {
        mesh.skipped.fetch_add(1, Ordering::Relaxed);
        return Ok(());
    };
    let mut data = BytesMut::new();
    while let Some(piece) = frames.next(SNAPSHOT_PIECE).await? {
        if data.len() + piece.len() > SNAPSHOT_MAX {
            return Err(FrameError::Cut);
        }
        data.extend_from_slice(&piece);
    }
    message.mut_snapshot().data = data.freeze();
    deliver(mesh, message);
    Ok(())
}

/// Passes a snapshot on piece by piece, and holds nothing of it. Its sender believes it arrived when it has
/// come here; should it be lost behind, Raft finds its receiver where it was and sends another.
async fn pass_on(mesh: &Inner, to: NodeId, head: &[u8], frames: &mut Frames) -> Result<(), FrameError> {
    let link = Arc::clone(mesh.table.now().link(to).ok_or(FrameError::Cut)?);
    let mut stream = begin(mesh, &link, framed(head, RAFT_MESSAGE_MAX)?).await?;
    while let Some(piece) = frames.next(SNAPSHOT_PIECE).await? {
        stream.write_chunk(framed(&piece, SNAPSHOT_PIECE)?).await?;
    }
    end(stream).await
}

fn deliver(mesh: &Inner, message: Message) {
    if let Some(running) = mesh.running() {
        running.handler.raft(NodeId(message.from), message);
    }
}

/// A frame as it came.
struct Head<'a> {
    from: NodeId,
    to: NodeId,
    rest: &'a [u8],
}

impl<'a> Head<'a> {
    fn of(bytes: &'a [u8]) -> Option<Self> {
        let (from, rest) = bytes.split_first_chunk::<8>()?;
        let (to, rest) = rest.split_first_chunk::<8>()?;
        Some(Self { from: NodeId(u64::from_be_bytes(*from)), to: NodeId(u64::from_be_bytes(*to)), rest })
    }

    /// The message, if it is one and says the same of sender and receiver.
    fn message(&self) -> Option<Message> {
        if !is_flat(self.rest, &MESSAGE) {
            return None;
        }
        let message = Message::parse_from_bytes(self.rest).ok()?;
        (message.from == self.from.0 && message.to == self.to.0).then_some(message)
    }
}

/// Fields of a type of Raft's messages that are messages themselves.
struct Nested(&'static [(u64, Self)]);

/// `eraftpb.Message`: entries (7), and snapshot (9) with metadata (2) with members (1).
const MESSAGE: Nested = Nested(&[(7, Nested(&[])), (9, Nested(&[(2, Nested(&[(1, Nested(&[]))]))]))]);

/// Whether no group is among a message's fields: protobuf 2 skips an unknown one by a recursion as deep as
/// the groups are (RUSTSEC-2024-0437), and Raft has none.
fn is_flat(mut bytes: &[u8], nested: &Nested) -> bool {
    while !bytes.is_empty() {
        let Some(tag) = varint(&mut bytes) else { return false };
        let len = match tag & 7 {
            0 => match varint(&mut bytes) {
                Some(_) => 0,
                None => return false,
            },
            1 => 8,
            2 => match varint(&mut bytes).and_then(|len| usize::try_from(len).ok()) {
                Some(len) => len,
                None => return false,
            },
            5 => 4,
            _ => return false,
        };
        let Some((field, rest)) = bytes.split_at_checked(len) else { return false };
        let within = nested.0.iter().find(|(number, _)| tag >> 3 == *number && tag & 7 == 2);
        if within.is_some_and(|(_, within)| !is_flat(field, within)) {
            return false;
        }
        bytes = rest;
    }
    true
}

/// A base-128 varint.
fn varint(bytes: &mut &[u8]) -> Option<u64> {
    let mut value = 0;
    for shift in (0..64).step_by(7) {
        let (byte, rest) = bytes.split_first()?;
        *bytes = rest;
        value |= u64::from(byte & 0x7f) << shift;
        if byte & 0x80 == 0 {
            return Some(value);
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use raft::eraftpb::{Entry, Snapshot};

    use super::*;

    fn message() -> Message {
        let mut message = Message { from: 1, to: 2, term: 300, commit: u64::MAX, ..Message::default() };
        message.set_msg_type(MessageType::MsgAppend);
        let entry = Entry { index: 7, data: vec![0x0b; 50].into(), ..Entry::default() };
        message.set_entries(vec![entry.clone(), entry].into());
        let mut snapshot = Snapshot::default();
        snapshot.mut_metadata().index = 9;
        snapshot.mut_metadata().mut_conf_state().voters = vec![1, 2, 3];
        message.set_snapshot(snapshot);
        message
    }

    #[test]
    fn a_message_reads_back() {
        let frame = frame_of(&message()).unwrap();
        assert_eq!(Head::of(&frame[4..]).unwrap().message(), Some(message()));
    }

    #[test]
    fn one_that_names_another_sender_is_none() {
        let mut frame = frame_of(&message()).unwrap()[4..].to_vec();
        frame[7] = 3;
        assert!(Head::of(&frame).unwrap().message().is_none());
        assert!(Head::of(&frame[..15]).is_none());
    }

    #[test]
    fn no_bent_message_panics() {
        let frame = frame_of(&message()).unwrap()[4..].to_vec();
        for at in 0..frame.len() {
            assert!(Head::of(&frame[..at]).and_then(|head| head.message()) != Some(message()), "cut at {at}");
            let mut bent = frame.clone();
            for flip in 1..=255 {
                bent[at] = frame[at] ^ flip;
                let _ = Head::of(&bent).and_then(|head| head.message()); // another number is another message
            }
        }
    }

    #[test]
    fn groups_are_refused_wherever_they_are() {
        let plain = message().write_to_bytes().unwrap();
        assert!(is_flat(&plain, &MESSAGE));
        // Field 20, wire type 3: a group begins, over and over.
        let bomb = [0xa3, 0x01].repeat(100_000);
        assert!(!is_flat(&[plain.clone(), bomb.clone()].concat(), &MESSAGE));
        let within = |path: &[u8]| {
            path.iter().rev().fold(bomb.clone(), |inner, field| {
                let mut bytes = vec![field << 3 | 2];
                let mut len = inner.len();
                while len > 0x7f {
                    bytes.push(u8::try_from(len & 0x7f).unwrap() | 0x80);
                    len >>= 7;
                }
                bytes.push(u8::try_from(len).unwrap());
                [bytes, inner].concat()
            })
        };
        for path in [&[7][..], &[9], &[9, 2], &[9, 2, 1]] {
            assert!(!is_flat(&within(path), &MESSAGE), "{path:?}");
        }
        // Bytes are bytes, whatever is in them.
        assert!(is_flat(&within(&[12]), &MESSAGE));
        assert!(!is_flat(&plain[..plain.len() - 1], &MESSAGE), "cut short");
    }
}
