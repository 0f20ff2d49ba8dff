//! A directory that belongs to one process, and private files in it.

use std::fs::{self, DirBuilder, File, OpenOptions, TryLockError};
use std::io::{Read, Seek, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use data_encoding::BASE64URL_NOPAD;

/// A shorter secret is none of ours.
const SECRET_MIN: usize = 32;

/// A directory, held until this is dropped or the process ends.
#[derive(Debug)]
pub(crate) struct Dir {
    path: PathBuf,
    _lock: File,
}

impl Dir {
    /// Makes the directory where it is missing, readable by its owner only, and takes it. `elsewhere` is how
    /// a second process is started in another one.
    pub(crate) fn take(path: &Path, elsewhere: &str) -> Result<Self> {
        let advice = || format!("{} cannot be written; give another directory by --data", path.display());
        DirBuilder::new().recursive(true).mode(0o700).create(path).with_context(advice)?;
        let lock = path.join("lock");
        let mut file = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .open(&lock)
            .with_context(advice)?;
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                let mut pid = String::new();
                file.read_to_string(&mut pid)?;
                let pid = pid.trim();
                bail!(
                    "another chappe runs in {} (process {pid}). Stop it (kill {pid}), or start this one \
                     elsewhere: {elsewhere}",
                    path.display(),
                );
            }
            Err(TryLockError::Error(error)) => return Err(error).with_context(advice),
        }
        file.set_len(0)?;
        file.rewind()?;
        writeln!(file, "{}", std::process::id())?;
        Ok(Self { path: path.to_owned(), _lock: file })
    }

    /// A path in it.
    pub(crate) fn join(&self, name: &str) -> PathBuf {
        self.path.join(name)
    }

    /// A directory in it.
    pub(crate) fn subdirectory(&self, name: &str) -> Result<PathBuf> {
        let path = self.join(name);
        DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(&path)
            .with_context(|| format!("{} cannot be made", path.display()))?;
        Ok(path)
    }

    /// A secret text that is made once and kept in a file that only its owner reads.
    pub(crate) fn secret(&self, name: &str) -> Result<String> {
        let path = self.join(name);
        match fs::read_to_string(&path) {
            Ok(text) if text.trim().len() >= SECRET_MIN => Ok(text.trim().to_owned()),
            Ok(_) => bail!("{} is cut short: remove it, and another is made", path.display()),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
                let text = BASE64URL_NOPAD.encode(&chappe_cluster::clock::random::<32>());
                write_private(&path, &format!("{text}\n"))?;
                Ok(text)
            }
            Err(error) => Err(error).with_context(|| format!("{} cannot be read", path.display())),
        }
    }
}

/// Writes a file that only its owner reads.
pub(crate) fn write_private(path: &Path, text: &str) -> Result<()> {
    write(path, text, 0o600)
}

/// Writes a file with these permissions from its first byte on.
pub(crate) fn write(path: &Path, text: &str, mode: u32) -> Result<()> {
    let put = || {
        let mut options = OpenOptions::new();
        let fresh = path.with_extension("new");
        let mut file = options.write(true).create(true).truncate(true).mode(mode).open(&fresh)?;
        file.write_all(text.as_bytes())?;
        file.sync_all()?;
        fs::rename(&fresh, path) // whole or not at all
    };
    put().with_context(|| format!("{} cannot be written", path.display()))
}
