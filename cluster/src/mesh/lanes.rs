//! What waits to be written to a link: a bounded queue and a writing task for each lane.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use bytes::Bytes;
use chappe_proto::limits::{LANE_BATCH, LANE_BYTES, LANE_FRAMES};
use chappe_proto::mesh::node::{Hello, Lane, Opening, ROOM_LANES};
use quinn::{Connection, SendStream};
use tokio::sync::mpsc;
use tokio::task::JoinSet;

use super::frame::{self, FrameError};

/// The lanes that have a queue: control, Raft, and rooms.
const LANES: usize = 2 + ROOM_LANES as usize;

/// The sending ends of a link's queues.
pub(crate) struct Lanes([Queue; LANES]);

struct Queue {
    frames: mpsc::Sender<Bytes>,
    waiting: Arc<AtomicUsize>,
}

/// What a lane's task writes.
struct Writer {
    lane: Lane,
    frames: mpsc::Receiver<Bytes>,
    waiting: Arc<AtomicUsize>,
}

/// A lane has no room for a frame.
pub(crate) struct Full;

fn slot(lane: Lane) -> Option<usize> {
    match lane {
        Lane::Control => Some(0),
        Lane::Raft => Some(1),
        Lane::Rooms(n) if n < ROOM_LANES => Some(2 + usize::from(n)),
        Lane::Rooms(_) | Lane::Feed | Lane::Snapshot => None,
    }
}

/// How soon a stream's bytes go, before those of lower priority on the same link.
pub(crate) const fn priority(lane: Lane) -> i32 {
    match lane {
        Lane::Control | Lane::Raft => 1,
        Lane::Rooms(_) => 0,
        Lane::Feed | Lane::Snapshot => -1,
    }
}

/// The opening of a stream with its length, to be written.
pub(crate) fn opening(lane: Lane, hello: &Hello) -> Result<Bytes, FrameError> {
    Ok(frame::encode(&Opening { lane, hello: hello.clone() })?)
}

impl Lanes {
    /// Opens the control lane of a connection with this side's hello; queues, and their tasks among `tasks`.
    pub(crate) async fn open(
        connection: &Connection,
        hello: &Hello,
        tasks: &mut JoinSet<Result<(), FrameError>>,
    ) -> Result<Self, FrameError> {
        let lanes = [Lane::Control, Lane::Raft].into_iter().chain((0..ROOM_LANES).map(Lane::Rooms));
        let mut queues = Vec::with_capacity(LANES);
        let mut control = Some(begin(connection, Lane::Control, &opening(Lane::Control, hello)?).await?);
        for lane in lanes {
            let (frames, queue) = mpsc::channel(LANE_FRAMES);
            let waiting = Arc::new(AtomicUsize::new(0));
            let writer = Writer { lane, frames: queue, waiting: Arc::clone(&waiting) };
            let stream = if lane == Lane::Control { control.take() } else { None };
            tasks.spawn(writer.run(connection.clone(), opening(lane, hello)?, stream));
            queues.push(Queue { frames, waiting });
        }
        // As many as there are lanes, by the iterator above.
        queues.try_into().map(Self).map_err(|_| FrameError::Cut)
    }

    /// Takes a frame without waiting.
    pub(crate) fn send(&self, lane: Lane, frame: Bytes) -> Result<(), Full> {
        let queue = slot(lane).and_then(|slot| self.0.get(slot)).ok_or(Full)?;
        let len = frame.len();
        let before = queue.waiting.fetch_add(len, Ordering::Relaxed);
        // One frame passes however long it is.
        if (before > 0 && before + len > LANE_BYTES) || queue.frames.try_send(frame).is_err() {
            queue.waiting.fetch_sub(len, Ordering::Relaxed);
            return Err(Full);
        }
        Ok(())
    }
}

/// Opens a stream of this side's.
async fn begin(connection: &Connection, lane: Lane, opening: &Bytes) -> Result<SendStream, FrameError> {
    let mut stream = connection.open_uni().await.map_err(quinn::WriteError::from)?;
    let _ = stream.set_priority(priority(lane)); // only refused once the stream is closed
    stream.write_chunk(opening.clone()).await?;
    Ok(stream)
}

impl Writer {
    /// Writes what comes until the link is gone; all that waits at once.
    async fn run(
        mut self,
        connection: Connection,
        opening: Bytes,
        mut stream: Option<SendStream>,
    ) -> Result<(), FrameError> {
        let mut batch = Vec::with_capacity(LANE_BATCH);
        while self.frames.recv_many(&mut batch, LANE_BATCH).await > 0 {
            let bytes = batch.iter().map(Bytes::len).sum::<usize>();
            let stream = match &mut stream {
                Some(stream) => stream,
                None => stream.insert(begin(&connection, self.lane, &opening).await?),
            };
            stream.write_all_chunks(&mut batch).await?;
            self.waiting.fetch_sub(bytes, Ordering::Relaxed);
            batch.clear();
        }
        Ok(())
    }
}
