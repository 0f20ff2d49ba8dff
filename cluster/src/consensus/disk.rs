//! The log, hard state and snapshots in sled, and the order in which they become durable:
//! one sled batch, its flush, `fdatasync` of sled's file (which `flush` leaves out on
//! Linux), the pledge, its `fdatasync`. Whatever depends on it is sent after that.
//!
//! One tree. Keys, numbers big-endian:
//!
//! | key | value |
//! |---|---|
//! | `m` | form of this table and member id |
//! | `b` | batch counter |
//! | `h` | hard state (protobuf) |
//! | `s` | [`SnapMeta`] |
//! | `e` index part | a piece of an entry; the first begins with its length |
//! | `d` series piece | a piece of a snapshot's data |

use std::fs::File;
use std::io;
use std::path::PathBuf;

use chappe_proto::limits::{DISK_FREE_MIN, SLED_VALUE_MAX};
use chappe_proto::wire::{self, WireError};
use protobuf::{Message as _, ProtobufError};
use raft::eraftpb::{Entry, HardState};
use serde::{Deserialize, Serialize};

use super::pledge::{Pledge, Record};
use super::storage::{At, Snap, Write};
use super::sync::{Barrier, Synced};

/// Why the disk can't be used any more. The process ends with it: sled remembers an error for ever,
/// and after a failed fsync nobody knows what is on the disk.
#[derive(Debug, thiserror::Error)]
pub enum DiskError {
    /// sled's.
    #[error("the registry's database: {}", words(.0))]
    Sled(#[from] sled::Error),
    /// Of the pledge, or of a sync.
    #[error("the registry's disk: {0}")]
    Io(#[from] io::Error),
    /// Ours: what we wrote can't be encoded.
    #[error("the registry's log: {0}")]
    Encode(#[from] ProtobufError),
    /// Ours, too.
    #[error("the registry's log: {0}")]
    Wire(#[from] WireError),
}

/// The system's own words, where an error is the system's.
fn words(error: &sled::Error) -> String {
    match error {
        sled::Error::Io(error) => error.to_string(),
        error => error.to_string(),
    }
}

/// Deletions of one batch that no counter follows.
const DELETE_AT_ONCE: usize = 1_000;
/// Pieces of a snapshot in one batch.
const PIECES_AT_ONCE: usize = 256;
/// The form of the table.
pub(super) const FORM: u8 = 1;

pub(super) const META: &[u8] = b"m";
pub(super) const COUNTER: &[u8] = b"b";
pub(super) const HARD: &[u8] = b"h";
pub(super) const SNAP: &[u8] = b"s";

/// What is known of the stored snapshot.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub(super) struct SnapMeta {
    /// Names the pieces.
    pub(super) series: u64,
    pub(super) at: At,
    /// The last entry that the log does not hold.
    pub(super) compacted: At,
    /// The data's length and checksum.
    pub(super) len: u64,
    pub(super) crc: u32,
    /// `ConfState` (protobuf).
    #[serde(with = "serde_bytes_vec")]
    pub(super) members: Vec<u8>,
}

/// Bytes as bytes instead of a list of numbers.
mod serde_bytes_vec {
    use serde::{Deserialize, Deserializer, Serializer};

    pub(super) fn serialize<S: Serializer>(bytes: &[u8], to: S) -> Result<S::Ok, S::Error> {
        to.serialize_bytes(bytes)
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Vec<u8>, D::Error> {
        Ok(bytes::Bytes::deserialize(from)?.to_vec())
    }
}

/// The open database, and where its end is.
pub(super) struct Disk {
    pub(super) db: sled::Db,
    pub(super) tree: sled::Tree,
    /// sled's own file.
    pub(super) file: File,
    pub(super) pledge: Pledge,
    pub(super) dir: PathBuf,
    pub(super) member: u64,
    pub(super) counter: u64,
    /// The stored snapshot's series.
    pub(super) series: u64,
    /// The first and the last entry that are stored; first > last when none is.
    pub(super) stored: (u64, u64),
    pub(super) barrier: Box<dyn Barrier>,
    /// Held until the end: one process a directory.
    pub(super) _lock: File,
}

/// The key of a piece of an entry.
pub(super) fn entry_key(index: u64, part: u16) -> [u8; 11] {
    let mut key = [b'e'; 11];
    key[1..9].copy_from_slice(&index.to_be_bytes());
    key[9..].copy_from_slice(&part.to_be_bytes());
    key
}

/// The key of a piece of a snapshot.
pub(super) fn piece_key(series: u64, piece: u32) -> [u8; 13] {
    let mut key = [b'd'; 13];
    key[1..9].copy_from_slice(&series.to_be_bytes());
    key[9..].copy_from_slice(&piece.to_be_bytes());
    key
}

impl Disk {
    /// Makes a write durable.
    pub(super) fn commit(&mut self, write: &Write) -> Result<(), DiskError> {
        let mut batch = sled::Batch::default();
        let former = self.series;
        if let Some((snap, compacted)) = &write.snap {
            self.series += 1;
            self.write_pieces(snap)?;
            batch.insert(SNAP, self.meta(snap, *compacted)?);
        }
        if write.reset {
            // In the same batch: entries of another history never meet the new snapshot.
            self.remove_entries(&mut batch, 0..)?;
            self.stored = (u64::MAX, 0);
        }
        self.append(&mut batch, &write.entries)?;
        batch.insert(HARD, write.hard.write_to_bytes()?);
        let counter = self.counter + 1;
        batch.insert(COUNTER, &counter.to_be_bytes());
        self.tree.apply_batch(batch)?;
        self.counter = counter;
        self.flush(&write.hard)?;
        if let Some((_, compacted)) = &write.snap {
            self.sweep(former, compacted.index)?;
        }
        Ok(())
    }

    /// The batch, then the pledge: durable in this order.
    fn flush(&mut self, hard: &HardState) -> Result<(), DiskError> {
        self.db.flush()?;
        self.barrier.sync(Synced::Log, &self.file)?;
        let record = Record { member: self.member, counter: self.counter, term: hard.term, vote: hard.vote };
        self.pledge.write(record)?;
        self.barrier.sync(Synced::Pledge, self.pledge.file())?;
        Ok(())
    }

    fn append(&mut self, batch: &mut sled::Batch, entries: &[Entry]) -> Result<(), DiskError> {
        let (Some(first), Some(last)) = (entries.first(), entries.last()) else { return Ok(()) };
        if first.index <= self.stored.1 {
            self.remove_entries(batch, first.index..)?;
        }
        for entry in entries {
            let mut bytes = vec![0; 4];
            entry.write_to_vec(&mut bytes)?;
            let len = u32::try_from(bytes.len() - 4).unwrap_or(u32::MAX);
            bytes[..4].copy_from_slice(&len.to_le_bytes());
            for (part, piece) in (0_u16..).zip(bytes.chunks(SLED_VALUE_MAX)) {
                batch.insert(&entry_key(entry.index, part), piece);
            }
        }
        self.stored = (self.stored.0.min(first.index), last.index);
        Ok(())
    }

    fn remove_entries(
        &self,
        batch: &mut sled::Batch,
        indices: std::ops::RangeFrom<u64>,
    ) -> Result<(), DiskError> {
        for key in self.tree.range(entry_key(indices.start, 0)..=entry_key(u64::MAX, u16::MAX)).keys() {
            batch.remove(key?);
        }
        Ok(())
    }

    /// The snapshot's data, before anything points to it.
    fn write_pieces(&self, snap: &Snap) -> Result<(), DiskError> {
        let mut pieces = (0_u32..).zip(snap.data.chunks(SLED_VALUE_MAX)).peekable();
        while pieces.peek().is_some() {
            let mut batch = sled::Batch::default();
            for (n, piece) in pieces.by_ref().take(PIECES_AT_ONCE) {
                batch.insert(&piece_key(self.series, n), piece);
            }
            self.tree.apply_batch(batch)?;
        }
        Ok(())
    }

    fn meta(&self, snap: &Snap, compacted: At) -> Result<Vec<u8>, DiskError> {
        Ok(wire::encode(&SnapMeta {
            series: self.series,
            at: snap.at,
            compacted,
            len: snap.data.len() as u64,
            crc: crc32fast::hash(&snap.data),
            members: snap.members.write_to_bytes()?,
        })?)
    }

    /// Deletes what the durable snapshot has made useless. A crash in between leaves useless rows,
    /// which the next start deletes.
    pub(super) fn sweep(&mut self, series: u64, compacted: u64) -> Result<(), DiskError> {
        let pieces = self.tree.range(piece_key(0, 0)..=piece_key(series, u32::MAX)).keys();
        let entries = self.tree.range(entry_key(0, 0)..=entry_key(compacted, u16::MAX)).keys();
        let mut keys = pieces.chain(entries).peekable();
        while keys.peek().is_some() {
            let mut batch = sled::Batch::default();
            for key in keys.by_ref().take(DELETE_AT_ONCE) {
                batch.remove(key?);
            }
            self.tree.apply_batch(batch)?;
        }
        self.stored.0 = self.stored.0.max(compacted + 1);
        Ok(())
    }

    /// Whether less than [`DISK_FREE_MIN`] is free.
    pub(super) fn is_low(&self) -> bool {
        self.barrier.free(&self.dir).is_ok_and(|free| free < DISK_FREE_MIN)
    }
}
