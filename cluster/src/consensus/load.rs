//! Reading the log from sled into memory, checking each row; and the first rows of a new directory.

use std::collections::VecDeque;
use std::fs::{self, File};
use std::io;
use std::path::Path;
use std::sync::Arc;

use chappe_proto::id::NodeId;
use chappe_proto::limits::SNAPSHOT_MAX;
use chappe_proto::wire::{self, WireError};
use protobuf::Message as _;
use raft::eraftpb::{ConfState, Entry, HardState};

use super::disk::{Disk, DiskError, FORM, HARD, META, SNAP, SnapMeta, entry_key, piece_key};
use super::durable::Durable;
use super::open::OpenError;
use super::pledge::Record;
use super::storage::{Snap, Write};

pub(super) fn read(tree: &sled::Tree, key: &[u8]) -> Result<Option<sled::IVec>, String> {
    tree.get(key).map_err(|error| error.to_string())
}

fn damaged(disk: &Disk, what: &(impl ToString + ?Sized)) -> OpenError {
    OpenError::Damaged { dir: disk.dir.clone(), what: what.to_string() }
}

fn need(disk: &Disk, key: &'static [u8]) -> Result<sled::IVec, OpenError> {
    read(&disk.tree, key)
        .and_then(|value| value.ok_or_else(|| format!("no row {:?}", key.escape_ascii().to_string())))
        .map_err(|what| damaged(disk, &what))
}

/// Whose directory it is.
pub(super) fn member_of(disk: &Disk) -> Result<NodeId, OpenError> {
    match need(disk, META)?.split_first() {
        Some((&FORM, id)) => match id.try_into() {
            Ok(id) => Ok(NodeId(u64::from_be_bytes(id))),
            Err(_) => Err(damaged(disk, "member id")),
        },
        Some((form, _)) => {
            Err(OpenError::TooNew { dir: disk.dir.clone(), what: format!("its tables have form {form}") })
        }
        None => Err(damaged(disk, "empty row \"m\"")),
    }
}

/// What the database holds.
pub(super) fn read_all(disk: &mut Disk, member: NodeId) -> Result<Durable, OpenError> {
    let found = member_of(disk)?;
    if found != member {
        return Err(OpenError::OtherMember { dir: disk.dir.clone(), found, asked: member });
    }
    let hard = HardState::parse_from_bytes(&need(disk, HARD)?).map_err(|error| damaged(disk, &error))?;
    let meta = need(disk, SNAP)?;
    let mut stored = read_log(disk, &meta, hard)
        .map_err(|error| damaged(disk, &format!("the registry's log: {error}")))?;
    stored.raise_commit();
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

fn read_log(disk: &mut Disk, meta: &[u8], hard: HardState) -> Result<Durable, ReadError> {
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
    let snap = Arc::new(Snap { at: meta.at, members, data: data.into() });
    Ok(Durable { member: disk.member, snap, compacted: meta.compacted, entries, hard })
}

/// The first write of a directory: the member's name, and the cluster's first state.
pub(super) fn found_cluster(
    disk: &mut Disk,
    member: NodeId,
    founders: &[NodeId],
    promised: Option<Record>,
) -> Result<Durable, ReadError> {
    let mut first = Durable::found(member, founders)?;
    if let Some(promise) = promised {
        first.hard.term = first.hard.term.max(promise.term);
        first.hard.vote = promise.vote;
        disk.counter = disk.counter.max(promise.counter);
    }
    begin(disk, &first)?;
    Ok(first)
}

/// Writes the first contents of a directory, without a log.
pub(super) fn begin(disk: &mut Disk, first: &Durable) -> Result<(), ReadError> {
    let mut meta = vec![FORM];
    meta.extend(first.member.to_be_bytes());
    disk.tree.insert(META, meta)?;
    let snap = Some((Arc::clone(&first.snap), first.compacted));
    disk.commit(&Write { snap, hard: first.hard.clone(), ..Write::default() })?;
    sync_names(&disk.dir).map_err(DiskError::from)?;
    Ok(())
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
    use chappe_proto::registry::State;

    use super::super::open::{Config, Loaded, open};
    use super::super::storage::At;
    use super::*;

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
    fn stored(durable: &Durable) -> Vec<(u64, u64)> {
        for read in &durable.entries {
            assert_eq!(*read, entry(read.index, read.term));
        }
        durable.entries.iter().map(|entry| (entry.index, entry.term)).collect()
    }

    /// Carries out writes on the disk and in memory, which come to the same.
    fn write(dir: &Path, writes: Vec<Write>) -> Durable {
        let mut loaded = load(dir);
        for write in writes {
            loaded.disk.commit(&write).unwrap();
            loaded.durable.write(&write);
        }
        let Loaded { disk, durable: kept, .. } = loaded;
        drop(disk);
        let read = load(dir).durable;
        assert_eq!((&read.entries, &read.hard, read.compacted), (&kept.entries, &kept.hard, kept.compacted));
        assert_eq!((read.snap.at, &read.snap.data), (kept.snap.at, &kept.snap.data));
        assert_eq!(read.snap.members, kept.snap.members);
        read
    }

    #[test]
    fn what_a_later_write_voids_does_not_come_back() {
        let dir = tempfile::tempdir().unwrap();
        let read = write(dir.path(), vec![entries(2..=9, 2), entries(5..=6, 3)]);
        assert_eq!(stored(&read), [(2, 2), (3, 2), (4, 2), (5, 3), (6, 3)]);
        assert_eq!(read.hard.term, 3);
    }

    #[test]
    fn anothers_snapshot_leaves_nothing_of_the_log_before() {
        let dir = tempfile::tempdir().unwrap();
        let (at, data) = (At { index: 7, term: 5 }, State::default().encode().unwrap().into());
        let members = ConfState { voters: vec![1, 2], ..ConfState::default() };
        let snap = Some((Arc::new(Snap { at, members: members.clone(), data }), at));
        // The snapshot ends within the old log, whose entries 8 and 9 are of another history.
        let writes = vec![entries(2..=9, 2), Write { snap, reset: true, ..entries(8..=8, 5) }];
        let read = write(dir.path(), writes);
        assert_eq!(stored(&read), [(8, 5)]);
        assert_eq!((read.compacted, &read.snap.members, read.hard.commit), (at, &members, 7));
    }

    #[test]
    fn our_own_snapshot_leaves_what_it_does_not_compact() {
        let dir = tempfile::tempdir().unwrap();
        let (at, data) = (At { index: 7, term: 2 }, State::default().encode().unwrap().into());
        let members = ConfState { voters: vec![1], ..ConfState::default() };
        let snap = Some((Arc::new(Snap { at, members, data }), At { index: 4, term: 2 }));
        let read = write(dir.path(), vec![entries(2..=9, 2), Write { snap, ..entries(10..=10, 2) }]);
        assert_eq!(stored(&read), (5..=10).map(|index| (index, 2)).collect::<Vec<_>>());
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
