//! The thread that waits for the disk, so that nobody else does.

use std::fs::File;
use std::io;
use std::path::Path;
use std::sync::atomic::Ordering;
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender};
use std::time::Duration;

use super::disk::Disk;
use super::driver::Input;
use super::handle::Flags;
use super::storage::Write;

/// Which file is made durable.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Synced {
    /// sled's, with the log in it.
    Log,
    /// The pledge.
    Pledge,
}

/// The disk's own part: makes what was written to a file durable, and says what room is left.
/// Replaced in tests by what is slow, fails, or watches.
pub trait Barrier: Send + 'static {
    /// Returns when the file's data are on the disk.
    ///
    /// # Errors
    /// The system's. The process must end then: what was not synced may be lost without another
    /// error.
    fn sync(&mut self, which: Synced, file: &File) -> io::Result<()>;

    /// Bytes that are free for us on the disk of `dir`.
    ///
    /// # Errors
    /// The system's. An unanswered question is no alarm: a disk that is really gone fails the next
    /// write.
    fn free(&self, dir: &Path) -> io::Result<u64> {
        let fs = rustix::fs::statvfs(dir)?;
        Ok(fs.f_bavail.saturating_mul(fs.f_frsize))
    }
}

/// `fdatasync(2)`.
#[derive(Debug, Clone, Copy, Default)]
pub struct Fdatasync;

impl Barrier for Fdatasync {
    fn sync(&mut self, _: Synced, file: &File) -> io::Result<()> {
        file.sync_data()
    }
}

/// How often free space is asked for while nothing is written.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// Carries out one write after another, and says of each when it is durable. Ends when the driver
/// drops its end, or on the first error.
pub(super) fn run(mut disk: Disk, writes: &Receiver<Write>, inputs: &SyncSender<Input>, flags: &Flags) {
    loop {
        let write = match writes.recv_timeout(LOOK_EVERY) {
            Ok(write) => write,
            Err(RecvTimeoutError::Timeout) => {
                flags.disk_low.store(disk.is_low(), Ordering::Relaxed);
                continue;
            }
            Err(RecvTimeoutError::Disconnected) => return,
        };
        let ready = write.ready;
        let result = disk.commit(&write);
        flags.disk_low.store(disk.is_low(), Ordering::Relaxed);
        let failed = result.is_err();
        // The driver reads its inputs to its end, so this waits at most for its current turn.
        let told = inputs.send(Input::Synced(result.map(|()| ready)));
        if failed || told.is_err() {
            return;
        }
    }
}
