//! The numbered feed: any node serves it, and a node whose Raft is not enough follows one.

use std::sync::Arc;

use bytes::Bytes;
use chappe_proto::id::{ClusterId, Index, NodeId};
use chappe_proto::limits::{FEED_PIECE, SNAPSHOT_MAX};
use chappe_proto::mesh::node::Feed;
use chappe_proto::registry::{Entry, SnapshotError, State};
use tokio::sync::watch;

use super::published::{Encoded, Held, Published};
use super::types::{FatalError, Status};

/// What one follower is sent, in order, as a machine.
///
/// A follower that has not read what came after its last entry until that left the memory of this
/// node gets a snapshot.
#[derive(Debug)]
pub struct Feeding {
    /// The next entry.
    next: u64,
    /// A snapshot under way, and how much of it is sent.
    snapshot: Option<(Arc<Encoded>, usize)>,
    told: Option<(u64, Option<NodeId>)>,
}

/// What a feed does next.
#[derive(Debug)]
pub enum Turn {
    /// Send this.
    Frame(Feed),
    /// Encode the state, for [`Feeding::handle_encoded`].
    Encode,
    /// Until the state or the status has changed there is nothing to send.
    Wait,
    /// The feed is over.
    End,
}

impl Feeding {
    /// For a follower that has applied everything up to `after`.
    #[must_use]
    pub const fn new(after: Index) -> Self {
        Self { next: after.0.saturating_add(1), snapshot: None, told: None }
    }

    /// What is to be done next, on a node that is so.
    pub fn turn(&mut self, published: &Published, status: &Status) -> Turn {
        if let Some(piece) = self.piece() {
            return Turn::Frame(piece);
        }
        // Whoever is fed itself feeds nobody: two would keep each other's old word.
        if status.wants_feed {
            return Turn::End;
        }
        let leader = (status.term, status.leader);
        if self.told != Some(leader) {
            self.told = Some(leader);
            return Turn::Frame(Feed::Leader { term: leader.0, leader: leader.1 });
        }
        let held = published.ring().get(self.next);
        match held {
            Held::There(data) => {
                let index = Index(self.next);
                self.next += 1;
                Turn::Frame(Feed::Entry { index, data: data.to_vec() })
            }
            Held::Gone => Turn::Encode,
            Held::NotYet => Turn::Wait,
        }
    }

    /// The state is encoded.
    pub fn handle_encoded(&mut self, encoded: Arc<Encoded>) {
        self.snapshot = Some((encoded, 0));
    }

    fn piece(&mut self) -> Option<Feed> {
        let (encoded, sent) = self.snapshot.as_mut()?;
        let index = encoded.index;
        let rest = encoded.bytes.get(*sent..).unwrap_or_default();
        let piece = rest[..rest.len().min(FEED_PIECE)].to_vec();
        *sent += piece.len();
        let last = *sent >= encoded.bytes.len();
        if last {
            self.snapshot = None;
            self.next = index.0 + 1;
        }
        Some(Feed::Snapshot { index, piece, last })
    }
}

/// What one follower is sent, in order.
pub struct FeedReader {
    published: Arc<Published>,
    states: watch::Receiver<Arc<State>>,
    status: watch::Receiver<Status>,
    feeding: Feeding,
}

impl FeedReader {
    pub(super) fn new(published: Arc<Published>, status: watch::Receiver<Status>, after: Index) -> Self {
        let states = published.watch();
        Self { published, states, status, feeding: Feeding::new(after) }
    }

    /// The next frame; waits for one. None once the registry has ended, or where this node should follow
    /// a feed itself ([`Status::wants_feed`]): ask another. Cancel safe.
    pub async fn next(&mut self) -> Option<Feed> {
        loop {
            self.states.mark_unchanged();
            let turn = self.feeding.turn(&self.published, &self.status.borrow_and_update());
            match turn {
                Turn::Frame(frame) => return Some(frame),
                Turn::Encode => {
                    let encoded = self.encode().await?;
                    self.feeding.handle_encoded(encoded);
                }
                Turn::Wait => {
                    tokio::select! {
                        changed = self.states.changed() => changed.ok()?,
                        changed = self.status.changed() => changed.ok()?,
                    }
                }
                Turn::End => return None,
            }
        }
    }

    /// The state's bytes: those that another feed sends, where the ring goes on from them.
    async fn encode(&self) -> Option<Arc<Encoded>> {
        let mut shared = self.published.encoded.lock().await;
        if let Some(encoded) = shared.upgrade()
            && self.published.ring().get(encoded.index.0 + 1) != Held::Gone
            && encoded.index.0 >= self.feeding.next
        {
            return Some(encoded);
        }
        let state = self.published.state();
        let encoded = tokio::task::spawn_blocking(move || Encoded::of(&state)).await.ok()?;
        match encoded {
            Ok(encoded) => {
                let encoded = Arc::new(encoded);
                *shared = Arc::downgrade(&encoded);
                Some(encoded)
            }
            Err(error) => {
                tracing::error!(%error, "no feed of the registry");
                None
            }
        }
    }
}

/// Why a feed can't be followed any further. Follow another node's, or this one's anew.
#[derive(Debug, thiserror::Error)]
pub enum FeedError {
    /// Entries are missing.
    #[error("the feed jumps to entry {found}, after {after}")]
    Gap {
        /// The last entry that is here.
        after: Index,
        /// What came.
        found: Index,
    },
    /// Something came between the pieces of a snapshot, or they are too many.
    #[error("the feed's snapshot is cut short")]
    CutShort,
    /// Its bytes are no state.
    #[error("the feed's snapshot is damaged: {0}")]
    Damaged(String),
    /// It is another cluster's.
    #[error("the feed is of another cluster")]
    Foreign,
    /// A frame that only a follower sends.
    #[error("the feed's sender follows")]
    NoFeed,
    /// This release can't go on, from whichever node. The process must exit with it.
    #[error(transparent)]
    Fatal(#[from] FatalError),
}

/// A snapshot that has come to its end.
#[derive(Debug)]
pub struct Whole {
    /// Of which entry.
    pub index: Index,
    /// Bytes of [`State::encode`].
    pub bytes: Vec<u8>,
}

/// The follower's side of a feed: it fills the node's state wherever that is ahead of its Raft's.
pub struct Follower {
    published: Arc<Published>,
    cluster: ClusterId,
    state: Arc<State>,
    snapshot: Option<(Index, Vec<u8>)>,
}

impl Drop for Follower {
    fn drop(&mut self) {
        // Nobody says who leads any more.
        self.published.set_leader(None);
    }
}

impl Follower {
    /// On a node that shows this.
    #[must_use]
    pub fn new(published: Arc<Published>, cluster: ClusterId) -> Self {
        let state = published.state();
        Self { published, cluster, state, snapshot: None }
    }

    /// What is to be said first.
    #[must_use]
    pub fn opening(&mut self) -> Feed {
        self.snapshot = None;
        Feed::Follow { after: self.published.state().index() }
    }

    /// A frame has come.
    ///
    /// # Errors
    /// [`FeedError`]: end the feed.
    pub async fn handle(&mut self, frame: Feed) -> Result<(), FeedError> {
        let Some(Whole { index, bytes }) = self.take(frame)? else { return Ok(()) };
        let decoded = tokio::task::spawn_blocking(move || State::decode(&bytes)).await;
        let decoded = decoded.map_err(|error| FeedError::Damaged(error.to_string()))?;
        self.handle_decoded(index, decoded)
    }

    /// A frame has come. Where it ends a snapshot, that is to be decoded, for [`Self::handle_decoded`].
    ///
    /// # Errors
    /// [`FeedError`]: end the feed.
    pub fn take(&mut self, frame: Feed) -> Result<Option<Whole>, FeedError> {
        if self.snapshot.is_some() && !matches!(frame, Feed::Snapshot { .. }) {
            return Err(FeedError::CutShort);
        }
        match frame {
            Feed::Follow { .. } => return Err(FeedError::NoFeed),
            Feed::Leader { term, leader } => self.published.set_leader(Some((term, leader))),
            Feed::Snapshot { index, piece, last } => return self.piece(index, piece, last),
            Feed::Entry { index, data } => self.entry(index, data.into())?,
        }
        Ok(None)
    }

    fn piece(&mut self, index: Index, piece: Vec<u8>, last: bool) -> Result<Option<Whole>, FeedError> {
        let (of, bytes) = self.snapshot.get_or_insert_with(|| (index, Vec::new()));
        if *of != index || bytes.len() + piece.len() > SNAPSHOT_MAX {
            return Err(FeedError::CutShort);
        }
        bytes.extend(piece);
        if !last {
            return Ok(None);
        }
        Ok(self.snapshot.take().map(|(index, bytes)| Whole { index, bytes }))
    }

    /// The snapshot at `index` is decoded.
    ///
    /// # Errors
    /// [`FeedError`]: end the feed.
    pub fn handle_decoded(
        &mut self,
        index: Index,
        decoded: Result<State, SnapshotError>,
    ) -> Result<(), FeedError> {
        let state = match decoded {
            Ok(state) => state,
            Err(error @ SnapshotError::TooNew { .. }) => {
                return Err(FatalError::Snapshot(error.to_string()).into());
            }
            Err(error) => return Err(FeedError::Damaged(error.to_string())),
        };
        if state.cluster().is_some_and(|cluster| cluster.id != self.cluster) {
            return Err(FeedError::Foreign);
        }
        if state.index() != index {
            return Err(FeedError::Damaged(format!("it is of entry {}, not {index}", state.index())));
        }
        self.state = Arc::new(state);
        self.published.installed(&self.state);
        Ok(())
    }

    fn entry(&mut self, index: Index, data: Bytes) -> Result<(), FeedError> {
        // The node's own Raft may be ahead meanwhile.
        let shown = self.published.state();
        if shown.index() > self.state.index() {
            self.state = shown;
        }
        let after = self.state.index();
        if index <= after {
            return Ok(());
        }
        if index.0 != after.0 + 1 {
            return Err(FeedError::Gap { after, found: index });
        }
        if data.is_empty() {
            Arc::make_mut(&mut self.state).pass(index);
        } else {
            let entry = Entry::decode(&data)
                .map_err(|error| FatalError::Entry { index: index.0, why: error.to_string() })?;
            Arc::make_mut(&mut self.state).apply(index, entry);
        }
        self.published.applied(&self.state, vec![(index, data)]);
        Ok(())
    }
}
