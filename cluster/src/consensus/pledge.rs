//! The pledge: what this member has promised, kept outside sled, which may come back older than it
//! was and look clean.
//!
//! One file of two pages. Each batch of the log is followed by a record with its counter in the page
//! that holds the older one, so that a torn write leaves the last.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::Path;

/// What is pledged: that the log had come this far.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Record {
    /// Whose log it is.
    pub(super) member: u64,
    /// Counts the batches.
    pub(super) counter: u64,
    /// The term then.
    pub(super) term: u64,
    /// The vote given in that term, 0 for none.
    pub(super) vote: u64,
}

const MAGIC: &[u8; 8] = b"chappe-1";
const LEN: usize = 8 + 4 * 8 + 4;
/// Apart, so that one torn sector or page never holds both.
const PAGE: u64 = 4096;

impl Record {
    fn encode(self) -> [u8; LEN] {
        let mut bytes = [0; LEN];
        bytes[..8].copy_from_slice(MAGIC);
        let numbers = [self.member, self.counter, self.term, self.vote];
        for (to, number) in bytes[8..40].chunks_exact_mut(8).zip(numbers) {
            to.copy_from_slice(&number.to_le_bytes());
        }
        let sum = crc32fast::hash(&bytes[..40]);
        bytes[40..].copy_from_slice(&sum.to_le_bytes());
        bytes
    }

    fn decode(bytes: [u8; LEN]) -> Option<Self> {
        let number = |at: usize| {
            let mut raw = [0; 8];
            raw.copy_from_slice(&bytes[at..at + 8]);
            u64::from_le_bytes(raw)
        };
        let mut sum = [0; 4];
        sum.copy_from_slice(&bytes[40..]);
        let fine = bytes.starts_with(MAGIC) && crc32fast::hash(&bytes[..40]) == u32::from_le_bytes(sum);
        fine.then(|| Self { member: number(8), counter: number(16), term: number(24), vote: number(32) })
    }
}

/// The open file.
pub(super) struct Pledge {
    file: File,
}

/// What a pledge file said when it was opened.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Found {
    /// There was no file.
    Nothing,
    /// The newer of its readable records.
    Record(Record),
    /// Neither record is readable.
    Damaged,
}

impl Pledge {
    /// Opens the file, or makes an empty one.
    pub(super) fn open(path: &Path) -> io::Result<(Self, Found)> {
        let existed = path.try_exists()?;
        let file = File::options().read(true).write(true).create(true).truncate(false).open(path)?;
        let pledge = Self { file };
        let records = [pledge.read(0)?, pledge.read(1)?];
        let found = match records.into_iter().flatten().max_by_key(|record| record.counter) {
            Some(record) => Found::Record(record),
            // An empty file is that of a first start that was cut short before anything was pledged.
            None if !existed || pledge.file.metadata()?.len() == 0 => Found::Nothing,
            None => Found::Damaged,
        };
        Ok((pledge, found))
    }

    fn read(&self, page: u64) -> io::Result<Option<Record>> {
        let mut bytes = [0; LEN];
        match self.file.read_exact_at(&mut bytes, page * PAGE) {
            Ok(()) => Ok(Record::decode(bytes)),
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Writes a record over the older one. Not durable before [`Self::file`] is synced.
    pub(super) fn write(&self, record: Record) -> io::Result<()> {
        self.file.write_all_at(&record.encode(), (record.counter % 2) * PAGE)
    }

    /// What to sync.
    pub(super) const fn file(&self) -> &File {
        &self.file
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record(counter: u64) -> Record {
        Record { member: 1, counter, term: counter / 10, vote: 1 }
    }

    fn found(path: &Path) -> Found {
        Pledge::open(path).unwrap().1
    }

    #[test]
    fn the_newer_record_counts_and_a_torn_one_falls_back() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("pledge");
        let (pledge, nothing) = Pledge::open(&path).unwrap();
        assert_eq!(nothing, Found::Nothing);
        for counter in 0..=7 {
            pledge.write(record(counter)).unwrap();
            assert_eq!(found(&path), Found::Record(record(counter)));
        }
        // Torn: the first half of the new record over the old.
        pledge.file.write_all_at(&record(8).encode()[..20], 0).unwrap();
        assert_eq!(found(&path), Found::Record(record(7)));
        pledge.file.write_all_at(&[0xff], PAGE + 17).unwrap();
        assert_eq!(found(&path), Found::Damaged);
    }

    #[test]
    fn every_flipped_bit_is_seen() {
        let bytes = record(5).encode();
        for bit in 0..LEN * 8 {
            let mut flipped = bytes;
            flipped[bit / 8] ^= 1 << (bit % 8);
            assert_eq!(Record::decode(flipped), None, "bit {bit}");
        }
        assert_eq!(Record::decode(bytes), Some(record(5)));
    }
}
