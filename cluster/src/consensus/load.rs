//! Reading the log from sled into memory, checking each row; and the first rows of a new directory.

use std::collections::VecDeque;
use std::fs::{self, File};
use std::io;
use std::path::Path;
use std::sync::Arc;

use chappe_proto::id::{Index, NodeId};
use chappe_proto::limits::SNAPSHOT_MAX;
use chappe_proto::registry::State;
use chappe_proto::wire::{self, WireError};
use protobuf::Message as _;
use raft::eraftpb::{ConfState, Entry, EntryType, HardState};

use super::disk::{Disk, DiskError, FORM, HARD, META, SNAP, SnapMeta, entry_key, piece_key};
use super::open::OpenError;
use super::pledge::Record;
use super::storage::{At, Snap, Write};

/// What the database holds.
pub(super) struct Stored {
    pub(super) snap: Snap,
    pub(super) compacted: At,
    pub(super) entries: VecDeque<Entry>,
    pub(super) hard: HardState,
}

impl Stored {
    /// Whether `member` is the only voter, and no change of members is under way.
    pub(super) fn alone(&self, member: u64) -> bool {
        let members = &self.snap.members;
        let changing = |entry: &Entry| {
            entry.index > self.snap.at.index && entry.get_entry_type() != EntryType::EntryNormal
        };
        members.voters == [member] && members.voters_outgoing.is_empty() && !self.entries.iter().any(changing)
    }
}

pub(super) fn read(tree: &sled::Tree, key: &[u8]) -> Result<Option<sled::IVec>, String> {
    tree.get(key).map_err(|error| error.to_string())
}

pub(super) fn read_all(
    disk: &mut Disk,
    member: NodeId,
    damaged: &impl Fn(String) -> OpenError,
) -> Result<Stored, OpenError> {
    let need = |key: &'static [u8]| {
        read(&disk.tree, key)
            .and_then(|value| value.ok_or_else(|| format!("no row {:?}", key.escape_ascii().to_string())))
            .map_err(damaged)
    };
    let form = need(META)?;
    match form.split_first() {
        Some((&FORM, id)) if id == member.0.to_be_bytes() => {}
        Some((&FORM, id)) => {
            let found = id.try_into().map(u64::from_be_bytes).map_err(|_| damaged("member id".into()))?;
            return Err(OpenError::OtherMember {
                dir: disk.dir.clone(),
                found: NodeId(found),
                asked: member,
            });
        }
        Some((form, _)) => {
            return Err(OpenError::TooNew {
                dir: disk.dir.clone(),
                what: format!("its tables have form {form}"),
            });
        }
        None => return Err(damaged("empty row \"m\"".into())),
    }
    let hard = HardState::parse_from_bytes(&need(HARD)?).map_err(|error| damaged(error.to_string()))?;
    let meta = need(SNAP)?;
    let mut stored =
        read_log(disk, &meta, hard).map_err(|error| damaged(format!("the registry's log: {error}")))?;
    // The commit index is written with the next batch only; a snapshot is of what was committed.
    stored.hard.commit = stored.hard.commit.max(stored.snap.at.index);
    Ok(stored)
}

#[derive(Debug, thiserror::Error)]
pub(super) enum ReadError {
    #[error(transparent)]
    Disk(#[from] DiskError),
    #[error(transparent)]
    Sled(#[from] sled::Error),
    #[error(transparent)]
    Protobuf(#[from] protobuf::ProtobufError),
    #[error(transparent)]
    Wire(#[from] WireError),
    #[error("the snapshot has {found} of {expected} bytes, or other ones")]
    Snapshot { found: usize, expected: u64 },
    #[error("entry {0} is missing or incomplete")]
    Entry(u64),
    #[error("it ends at entry {last}, before entry {commit}, which was committed")]
    Short { last: u64, commit: u64 },
}

fn read_log(disk: &mut Disk, meta: &[u8], hard: HardState) -> Result<Stored, ReadError> {
    let meta: SnapMeta = wire::decode(meta, 64 * 1024)?;
    disk.series = meta.series;
    let mut data = Vec::new();
    let pieces = piece_key(meta.series, 0)..=piece_key(meta.series, u32::MAX);
    for piece in disk.tree.range(pieces).values() {
        data.extend_from_slice(&piece?);
        if data.len() > SNAPSHOT_MAX {
            break;
        }
    }
    if data.len() as u64 != meta.len || crc32fast::hash(&data) != meta.crc {
        return Err(ReadError::Snapshot { found: data.len(), expected: meta.len });
    }
    let members = ConfState::parse_from_bytes(&meta.members)?;
    disk.sweep(meta.series.saturating_sub(1), meta.compacted.index)?;
    let mut entries: VecDeque<Entry> = VecDeque::new();
    let mut rows = disk.tree.range(entry_key(0, 0)..=entry_key(u64::MAX, u16::MAX));
    while let Some(row) = rows.next() {
        let index = entries.back().map_or(meta.compacted.index, |entry| entry.index) + 1;
        let (key, first) = row?;
        if key != entry_key(index, 0) || first.len() < 4 {
            return Err(ReadError::Entry(index));
        }
        let len = u32::from_le_bytes([first[0], first[1], first[2], first[3]]) as usize;
        let mut bytes = first[4..].to_vec();
        for part in 1..=u16::MAX {
            if bytes.len() >= len {
                break;
            }
            let (key, piece) = rows.next().ok_or(ReadError::Entry(index))??;
            if key != entry_key(index, part) {
                return Err(ReadError::Entry(index));
            }
            bytes.extend_from_slice(&piece);
        }
        let entry = Entry::parse_from_bytes(&bytes)?;
        if bytes.len() != len || entry.index != index {
            return Err(ReadError::Entry(index));
        }
        entries.push_back(entry);
    }
    let last = entries.back().map_or(meta.compacted.index, |entry| entry.index);
    if last < hard.commit || last < meta.at.index {
        return Err(ReadError::Short { last, commit: hard.commit.max(meta.at.index) });
    }
    disk.stored = (meta.compacted.index + 1, last);
    Ok(Stored { snap: Snap { at: meta.at, members, data }, compacted: meta.compacted, entries, hard })
}

/// The first write of a directory: the member's name, and the cluster's first state.
///
/// Founders begin with a snapshot at index 1 that names them, so that whoever joins later gets it
/// and knows them; a log from the start would not say who they are.
pub(super) fn found_cluster(
    disk: &mut Disk,
    member: NodeId,
    founders: &[NodeId],
    promised: Option<Record>,
) -> Result<Stored, ReadError> {
    let founding = !founders.is_empty();
    let at = if founding { At { index: 1, term: 1 } } else { At::default() };
    let mut state = State::default();
    state.pass(Index(at.index));
    let voters = founders.iter().map(|node| node.0).collect();
    let members = ConfState { voters, ..ConfState::default() };
    let snap = Arc::new(Snap { at, members, data: state.encode()? });
    let mut hard = HardState { term: at.term, commit: at.index, ..HardState::default() };
    if let Some(promise) = promised {
        hard.term = hard.term.max(promise.term);
        hard.vote = promise.vote;
        disk.counter = disk.counter.max(promise.counter);
    }
    let mut meta = vec![FORM];
    meta.extend(member.0.to_be_bytes());
    disk.tree.insert(META, meta)?;
    let write = Write { snap: Some((Arc::clone(&snap), at)), hard: hard.clone(), ..Write::default() };
    disk.commit(&write)?;
    sync_names(&disk.dir).map_err(DiskError::from)?;
    let snap = Snap { at, members: snap.members.clone(), data: snap.data.clone() };
    Ok(Stored { snap, compacted: at, entries: VecDeque::new(), hard })
}

/// Files exist after a power cut only when their directories are synced.
fn sync_names(dir: &Path) -> io::Result<()> {
    for file in fs::read_dir(dir.join("db"))? {
        let path = file?.path();
        if path.is_file() {
            File::open(path)?.sync_all()?;
        }
    }
    File::open(dir.join("db"))?.sync_all()?;
    File::open(dir)?.sync_all()?;
    dir.parent()
        .filter(|parent| !parent.as_os_str().is_empty())
        .map_or(Ok(()), |parent| File::open(parent)?.sync_all())
}

#[cfg(test)]
mod tests {
    use super::super::open::{Config, Loaded, open};
    use super::*;
    use raft::Storage as _;

    fn entry(index: u64, term: u64) -> Entry {
        let len = usize::try_from(index * 997 % 9_000).unwrap();
        Entry { index, term, data: vec![u8::try_from(index).unwrap(); len].into(), ..Entry::default() }
    }

    fn entries(indices: std::ops::RangeInclusive<u64>, term: u64) -> Write {
        let hard = HardState { term, commit: 1, ..HardState::default() };
        Write { entries: indices.map(|index| entry(index, term)).collect(), hard, ..Write::default() }
    }

    fn load(dir: &Path) -> Loaded {
        open(&mut Config::alone(dir, NodeId(1))).unwrap()
    }

    /// Index and term of what is stored, and that it is what was written.
    fn stored(loaded: &Loaded) -> Vec<(u64, u64)> {
        let (first, last) = (loaded.log.first_index().unwrap(), loaded.log.last_index().unwrap());
        let any = raft::GetEntriesContext::empty(false);
        let read = loaded.log.entries(first, last + 1, None, any).unwrap();
        for read in &read {
            assert_eq!(*read, entry(read.index, read.term));
        }
        read.into_iter().map(|entry| (entry.index, entry.term)).collect()
    }

    #[test]
    fn what_a_later_write_voids_does_not_come_back() {
        let dir = tempfile::tempdir().unwrap();
        let mut loaded = load(dir.path());
        loaded.disk.commit(&entries(2..=9, 2)).unwrap();
        loaded.disk.commit(&entries(5..=6, 3)).unwrap();
        drop(loaded);
        let loaded = load(dir.path());
        assert_eq!(stored(&loaded), [(2, 2), (3, 2), (4, 2), (5, 3), (6, 3)]);
        assert_eq!(loaded.log.initial_state().unwrap().hard_state.term, 3);
    }

    #[test]
    fn anothers_snapshot_leaves_nothing_of_the_log_before() {
        let dir = tempfile::tempdir().unwrap();
        let mut loaded = load(dir.path());
        loaded.disk.commit(&entries(2..=9, 2)).unwrap();
        let (at, data) = (At { index: 7, term: 5 }, State::default().encode().unwrap());
        let members = ConfState { voters: vec![1, 2], ..ConfState::default() };
        let snap = Some((Arc::new(Snap { at, members: members.clone(), data }), at));
        // The snapshot ends within the old log, whose entries 8 and 9 are of another history.
        loaded.disk.commit(&Write { snap, reset: true, ..entries(8..=8, 5) }).unwrap();
        drop(loaded);
        let loaded = load(dir.path());
        assert_eq!(stored(&loaded), [(8, 5)]);
        assert_eq!(loaded.log.term(7), Ok(5));
        assert_eq!(*loaded.log.members(), members);
        assert_eq!(loaded.log.initial_state().unwrap().hard_state.commit, 7);
    }

    #[test]
    fn a_log_with_a_hole_is_damaged() {
        for key in [&entry_key(4, 0)[..], &entry_key(5, 1), SNAP, HARD, &piece_key(1, 2)] {
            let dir = tempfile::tempdir().unwrap();
            let mut loaded = load(dir.path());
            loaded.disk.commit(&entries(2..=9, 2)).unwrap();
            assert!(loaded.disk.tree.remove(key).unwrap().is_some(), "{}", key.escape_ascii());
            loaded.disk.db.flush().unwrap();
            drop(loaded);
            let error = open(&mut Config::alone(dir.path(), NodeId(1))).err().unwrap();
            assert!(matches!(error, OpenError::Damaged { .. }), "{}: {error}", key.escape_ascii());
        }
    }
}
