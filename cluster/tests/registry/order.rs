//! What is durable when, and what a sync that fails does.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{SyncSender, sync_channel};

use chappe_cluster::consensus::{Barrier, Config, Fdatasync, ProposeError, Registry, Synced};
use chappe_proto::limits::DISK_FREE_MIN;

use crate::common::{alone, close, mark, marked, propose};
use crate::until;

/// The counters in the pledge's two pages, whatever their checksums.
pub(crate) fn pledged(dir: &Path) -> [u64; 2] {
    let file = File::open(dir.join("pledge")).unwrap();
    [0, 4096].map(|page| {
        let mut raw = [0; 8];
        file.read_exact_at(&mut raw, page + 16).map_or(0, |()| u64::from_le_bytes(raw))
    })
}

/// Tells what is synced, and which counter has been pledged by then.
struct Watching {
    dir: PathBuf,
    seen: SyncSender<(Synced, u64)>,
}

impl Barrier for Watching {
    fn sync(&mut self, which: Synced, file: &File) -> io::Result<()> {
        Fdatasync.sync(which, file)?;
        let [first, second] = pledged(&self.dir);
        self.seen.send((which, first.max(second))).map_err(io::Error::other)
    }
}

#[tokio::test]
async fn the_log_is_durable_before_it_is_pledged_and_both_before_an_answer() {
    let dir = tempfile::tempdir().unwrap();
    let (seen, order) = sync_channel(1_000);
    let barrier = Box::new(Watching { dir: dir.path().into(), seen });
    let (registry, ended) = Registry::open(Config { barrier, ..alone(dir.path()) }).unwrap();
    let mut writes = 0;
    for n in 0..20 {
        propose(&registry, mark(n)).await;
        let before = writes;
        // At the answer both syncs of its write are done, in their order.
        let mut seen = order.try_iter().peekable();
        while seen.peek().is_some() {
            assert_eq!(seen.next(), Some((Synced::Log, writes)));
            assert_eq!(seen.next(), Some((Synced::Pledge, writes + 1)));
            writes += 1;
        }
        assert!(writes > before, "no answer without a write");
    }
    close(registry, ended).await;
}

/// The founding's syncs succeed; the next does not.
struct Failing(u32);

impl Barrier for Failing {
    fn sync(&mut self, _: Synced, _: &File) -> io::Result<()> {
        self.0 += 1;
        if self.0 > 2 { Err(io::Error::other("the disk is on fire")) } else { Ok(()) }
    }
}

#[tokio::test]
async fn a_failed_sync_ends_the_registry_with_its_reason() {
    let dir = tempfile::tempdir().unwrap();
    let (registry, ended) =
        Registry::open(Config { barrier: Box::new(Failing(0)), ..alone(dir.path()) }).unwrap();
    let error = ended.await.unwrap().unwrap_err();
    assert!(error.to_string().contains("the disk is on fire"), "{error}");
    assert_eq!(registry.propose(mark(1)).await, Err(ProposeError::Stopped));
}

/// A disk that is nearly full until it is told otherwise.
struct Full(Arc<AtomicU64>);

impl Barrier for Full {
    fn sync(&mut self, which: Synced, file: &File) -> io::Result<()> {
        Fdatasync.sync(which, file)
    }

    fn free(&self, _: &Path) -> io::Result<u64> {
        Ok(self.0.load(Ordering::Relaxed))
    }
}

#[tokio::test]
async fn a_nearly_full_disk_refuses_commands_and_still_answers_reads() {
    let dir = tempfile::tempdir().unwrap();
    let free = Arc::new(AtomicU64::new(DISK_FREE_MIN - 1));
    let barrier = Box::new(Full(Arc::clone(&free)));
    let (registry, ended) = Registry::open(Config { barrier, ..alone(dir.path()) }).unwrap();
    let read = registry.linearizable().await.unwrap();
    assert_eq!(registry.propose(mark(1)).await, Err(ProposeError::DiskLow));
    assert!(registry.status().disk_low && !marked(&read, 1));
    // Room is made: it is noticed without a write.
    free.store(DISK_FREE_MIN, Ordering::Relaxed);
    until(registry.watch_status(), |status| !status.disk_low).await;
    propose(&registry, mark(1)).await;
    close(registry, ended).await;
}
