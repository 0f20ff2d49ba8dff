//! A disk that is really full: a small tmpfs, in a mount namespace of the test's own. Alone in its
//! binary, as whatever starts processes is: see `registry_kill.rs`.

// Clippy takes the helpers of an integration test for production code.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::print_stdout)]

#[path = "registry/common.rs"]
mod common;

use std::fs::File;
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::process::Command as Process;

use chappe_cluster::consensus::{Barrier, Config, Fdatasync, ProposeError, Registry, Synced};

use crate::common::{alone, close, mark, marked, open, propose_many};

/// Where the tmpfs is mounted, in the child.
const MOUNTED: &str = "CHAPPE_TEST_FULL";

/// Runs a test of this file with a tmpfs of so many MiB; gives its place there.
fn on_a_small_disk(test: &str, mib: u32) -> Option<PathBuf> {
    if let Some(dir) = std::env::var_os(MOUNTED) {
        return Some(dir.into());
    }
    let dir = tempfile::tempdir().unwrap();
    let script = format!(
        "mount -t tmpfs -o size={mib}m tmpfs \"$CHAPPE_TEST_FULL\" && exec \"$0\" --exact \"$1\" --nocapture"
    );
    let status = Process::new("unshare")
        .args(["--map-root-user", "--mount", "sh", "-c", &script])
        .arg(std::env::current_exe().unwrap())
        .arg(test)
        .env(MOUNTED, dir.path())
        .status();
    assert!(status.unwrap().success(), "on a disk of its own (unshare, mount)");
    None
}

/// Takes all of the disk but so many bytes.
fn fill(path: &Path, leave: u64) {
    let mut file = File::options().create(true).append(true).open(path).unwrap();
    let piece = vec![7; 64 * 1024];
    let free = || {
        let fs = rustix::fs::statvfs(path).unwrap();
        fs.f_bavail * fs.f_frsize
    };
    while free() > leave {
        match file.write_all(&piece) {
            Ok(()) => {}
            Err(error) if error.kind() == io::ErrorKind::StorageFull => return,
            Err(error) => panic!("{error}"),
        }
    }
}

async fn low(registry: &Registry, low: bool) {
    registry.watch_status().wait_for(|status| status.disk_low == low).await.unwrap();
}

#[tokio::test]
async fn a_disk_that_fills_up_is_noticed_before_and_told_after() {
    let test = "a_disk_that_fills_up_is_noticed_before_and_told_after";
    let Some(disk) = on_a_small_disk(test, 96) else { return };
    let (dir, filler) = (disk.join("registry"), disk.join("filler"));
    let (registry, ended) = open(&dir);
    propose_many(&registry, 0..100).await;

    // Before: refused, with room for what must be written still.
    fill(&filler, 48 * 1024 * 1024);
    low(&registry, true).await;
    assert_eq!(registry.propose(mark(100)).await, Err(ProposeError::DiskLow));
    assert!(registry.linearizable().await.is_ok());
    std::fs::remove_file(&filler).unwrap();
    low(&registry, false).await;
    propose_many(&registry, 100..200).await;

    close(registry, ended).await;

    let mut acked: Vec<u64> = (0..200).collect();
    for (n, leave) in (1_u64..).zip([0, 100_000, 600_000, 2_000_000]) {
        sudden(&dir, &filler, leave, n * 1_000_000, &mut acked).await;
    }
}

/// Between two looks at the free space there is none left.
async fn sudden(dir: &Path, filler: &Path, leave: u64, first: u64, acked: &mut Vec<u64>) {
    let blind = || Config { barrier: Box::new(Blind), ..alone(dir) };
    let (registry, ended) = Registry::open(blind()).unwrap();
    registry.linearizable().await.unwrap();
    fill(filler, leave);
    // What is not durable is not acknowledged, and the reason is told.
    for n in first.. {
        match registry.propose(mark(n)).await {
            Ok(_) => acked.push(n),
            Err(error) => {
                assert_eq!(error, ProposeError::Stopped);
                break;
            }
        }
    }
    let error = ended.await.unwrap().unwrap_err().to_string();
    assert!(error.contains("No space left on device"), "{error}");

    // It doesn't start while the disk is full, and says why.
    fill(filler, 0);
    let error = match Registry::open(blind()) {
        Ok((_registry, ended)) => ended.await.unwrap().unwrap_err().to_string(),
        Err(error) => error.to_string(),
    };
    assert!(error.contains("No space left on device"), "{error}");

    // With room again, all that was acknowledged is there.
    std::fs::remove_file(filler).unwrap();
    let (registry, ended) = open(dir);
    let state = registry.linearizable().await.unwrap();
    let lost: Vec<_> = acked.iter().filter(|n| !marked(&state, **n)).collect();
    assert!(lost.is_empty(), "lost {lost:?}");
    propose_many(&registry, first + 500_000..first + 500_010).await;
    close(registry, ended).await;
}

/// A disk whose alarm comes too late.
struct Blind;

impl Barrier for Blind {
    fn sync(&mut self, which: Synced, file: &File) -> io::Result<()> {
        Fdatasync.sync(which, file)
    }

    fn free(&self, _: &Path) -> io::Result<u64> {
        Ok(u64::MAX)
    }
}
