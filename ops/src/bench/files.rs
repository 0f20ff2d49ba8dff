//! Files of a server, for as long as it runs.

use std::fs::{self, DirBuilder};
use std::os::unix::fs::DirBuilderExt;
use std::path::PathBuf;

use anyhow::Result;
use data_encoding::HEXLOWER;

/// A new directory that only its owner reads, removed when this is dropped.
pub(super) struct Files(PathBuf);

impl Files {
    /// Makes it, where the system keeps such things.
    pub(super) fn new() -> Result<Self> {
        let name = format!("chappe-bench-{}", HEXLOWER.encode(&chappe_cluster::clock::random::<8>()));
        let path = std::env::temp_dir().join(name);
        DirBuilder::new().mode(0o700).create(&path)?;
        Ok(Self(path))
    }

    /// A path in it.
    pub(super) fn join(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }
}

impl Drop for Files {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0); // the system clears up what is left
    }
}
