//! Backups of the registry: one file with all that the cluster agrees on, secrets included.
//!
//! | bytes | what |
//! |---|---|
//! | 14 | `chappe-backup-` |
//! | 2 | the form, big-endian: 1 |
//! | 4 | the header's length, big-endian |
//! | … | the header: [`BackupInfo`], as frames are written |
//! | … | the state's bytes, as in a snapshot |
//! | 32 | SHA-256 of all before |

use std::fs::{self, File};
use std::io::{self, Write as _};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use chappe_proto::id::{ClusterId, Index, NodeId};
use chappe_proto::limits::SNAPSHOT_MAX;
use chappe_proto::registry::{Note, SnapshotError, State};
use chappe_proto::time::Unix;
use chappe_proto::wire::{self, WireError};
use ring::digest::{SHA256, SHA256_OUTPUT_LEN, digest};
use rustix::fs::{CWD, RenameFlags, renameat_with};
use serde::{Deserialize, Serialize};

use super::durable::Durable;
use super::open::{OpenError, create};
use super::{ReadError, Registry};
use crate::clock;

const MAGIC: &[u8; 14] = b"chappe-backup-";
const FORM: u16 = 1;
const HEADER_MAX: usize = 64 * 1024;
/// Magic, form, length of the header.
const FIXED: usize = MAGIC.len() + 2 + 4;
const FILE_MAX: u64 = (FIXED + HEADER_MAX + SNAPSHOT_MAX + SHA256_OUTPUT_LEN) as u64;

/// What a backup says of itself.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct BackupInfo {
    /// Whose it is.
    pub cluster: ClusterId,
    /// What operators call that cluster.
    pub name: String,
    /// The last entry in it.
    pub index: Index,
    /// The registry's time then.
    pub at: Unix,
    /// The cluster version: what a release must understand to read it.
    pub version: u32,
    /// The state's length in bytes.
    pub len: u64,
}

/// Why there is no backup, or why a file is none that can be read.
#[derive(Debug, thiserror::Error)]
pub enum BackupError {
    /// The file can't be read or written.
    #[error("{path}: {source}")]
    File {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// Nothing is ever written over.
    #[error("{0} exists already")]
    Exists(PathBuf),
    /// Another kind of file.
    #[error("not a backup of a Chappe cluster")]
    NotABackup,
    /// It ends too early: it was not copied to its end.
    #[error("the backup is cut short: {found} bytes, where {expected} belong")]
    CutShort {
        /// How long it is.
        found: u64,
        /// How long it should be.
        expected: u64,
    },
    /// Its checksum or its contents are wrong.
    #[error("the backup is damaged: {0}")]
    Damaged(String),
    /// It was written by a newer release.
    #[error("the backup was written by a newer release: {0}")]
    TooNew(String),
    /// It is another cluster's than was asked for.
    #[error("the backup is of cluster {found}, not of {asked}")]
    Foreign {
        /// Whose it is.
        found: ClusterId,
        /// Whose was asked for.
        asked: ClusterId,
    },
    /// There is nothing to keep.
    #[error("the cluster has not begun")]
    NotBegun,
    /// The registry can't be read.
    #[error(transparent)]
    Read(#[from] ReadError),
    /// Ours: a state that can't be written.
    #[error(transparent)]
    Wire(#[from] WireError),
    /// The new directory can't be made.
    #[error(transparent)]
    Open(#[from] OpenError),
}

/// The bytes of a backup of `state`. They hold every secret of the cluster.
///
/// # Errors
/// [`BackupError::NotBegun`] and [`BackupError::Wire`].
pub fn encode(state: &State) -> Result<Vec<u8>, BackupError> {
    let cluster = state.cluster().ok_or(BackupError::NotBegun)?;
    let data = state.encode()?;
    let header = wire::encode(&BackupInfo {
        cluster: cluster.id,
        name: cluster.name.clone(),
        index: state.index(),
        at: state.now(),
        version: state.version(),
        len: data.len() as u64,
    })?;
    let mut bytes = Vec::with_capacity(FIXED + header.len() + data.len() + SHA256_OUTPUT_LEN);
    bytes.extend(MAGIC);
    bytes.extend(FORM.to_be_bytes());
    bytes.extend(u32::try_from(header.len()).unwrap_or(u32::MAX).to_be_bytes());
    bytes.extend(header);
    bytes.extend(data);
    let sum = digest(&SHA256, &bytes);
    bytes.extend(sum.as_ref());
    Ok(bytes)
}

/// What a backup holds.
///
/// # Errors
/// [`BackupError`], by what is wrong with it.
pub fn decode(bytes: &[u8]) -> Result<(BackupInfo, State), BackupError> {
    let rest = bytes.strip_prefix(MAGIC).ok_or(BackupError::NotABackup)?;
    let found = bytes.len() as u64;
    let short = |expected: usize| BackupError::CutShort { found, expected: expected as u64 };
    let (form, rest) = rest.split_first_chunk().ok_or_else(|| short(FIXED))?;
    let form = u16::from_be_bytes(*form);
    if form != FORM {
        return Err(BackupError::TooNew(format!("its form is {form}, this release reads {FORM}")));
    }
    let (len, rest) = rest.split_first_chunk().ok_or_else(|| short(FIXED))?;
    let len = u32::from_be_bytes(*len) as usize;
    if len > HEADER_MAX {
        return Err(BackupError::Damaged("its header is too long".into()));
    }
    let (header, rest) = rest.split_at_checked(len).ok_or_else(|| short(FIXED + len))?;
    let damaged = |error: &dyn std::fmt::Display| BackupError::Damaged(error.to_string());
    let info: BackupInfo = wire::decode(header, HEADER_MAX).map_err(|error| damaged(&error))?;
    let expected = (FIXED + len + SHA256_OUTPUT_LEN) as u64 + info.len;
    if found < expected {
        return Err(BackupError::CutShort { found, expected });
    }
    let data_len = rest.len().saturating_sub(SHA256_OUTPUT_LEN);
    let sum = digest(&SHA256, &bytes[..bytes.len() - SHA256_OUTPUT_LEN]);
    if found > expected || sum.as_ref() != &rest[data_len..] {
        return Err(BackupError::Damaged("its checksum is wrong".into()));
    }
    let state = State::decode(&rest[..data_len]).map_err(|error| match error {
        SnapshotError::TooNew { .. } => BackupError::TooNew(error.to_string()),
        _ => damaged(&error),
    })?;
    let same = state.cluster().is_some_and(|cluster| cluster.id == info.cluster);
    if !same || state.index() != info.index {
        return Err(BackupError::Damaged("its header is another one's".into()));
    }
    Ok((info, state))
}

/// Reads the backup in a file.
///
/// # Errors
/// [`BackupError`].
pub fn read(path: &Path) -> Result<(BackupInfo, State), BackupError> {
    let file = |source| BackupError::File { path: path.into(), source };
    // Another kind of file may be longer than memory.
    let len = fs::metadata(path).map_err(file)?.len();
    if len > FILE_MAX {
        return Err(BackupError::NotABackup);
    }
    decode(&fs::read(path).map_err(file)?)
}

/// Writes a file whole or not at all, for its owner alone, over no other one. Waits for the disk.
///
/// # Errors
/// [`BackupError::File`] and [`BackupError::Exists`].
pub fn save(path: &Path, bytes: &[u8]) -> Result<(), BackupError> {
    if path.try_exists().is_ok_and(|exists| exists) {
        return Err(BackupError::Exists(path.into()));
    }
    let dir = path.parent().filter(|dir| !dir.as_os_str().is_empty()).unwrap_or_else(|| Path::new("."));
    let fresh = dir.join(format!(".chappe-backup-{:016x}", u64::from_ne_bytes(clock::random())));
    let write = || {
        let mut file = File::options().write(true).create_new(true).mode(0o600).open(&fresh)?;
        file.write_all(bytes)?;
        file.sync_all()?;
        renameat_with(CWD, &fresh, CWD, path, RenameFlags::NOREPLACE)?;
        File::open(dir)?.sync_all()
    };
    write().map_err(|source: io::Error| {
        // Where it was renamed, there is none of that name.
        let _ = fs::remove_file(&fresh);
        match source.kind() {
            io::ErrorKind::AlreadyExists => BackupError::Exists(path.into()),
            _ => BackupError::File { path: path.into(), source },
        }
    })
}

/// A cluster that begins with a backup.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Restored {
    /// What it was begun with.
    pub from: BackupInfo,
    /// The new cluster's id.
    pub cluster: ClusterId,
    /// Its only member. `bootstrap` adds it as a node.
    pub member: NodeId,
}

/// Makes a directory of the registry from the backup in a file: a new cluster of one, which goes on with
/// the apps, keys, users, secrets, revocations and settings of the former one. `of` names the former
/// cluster, where only its backup will do. Waits for the disk.
///
/// It has an id and a history of its own. Clients notice nothing: their tokens and their rooms' names are
/// as good as before, and their sessions resume. But every node and every edge must join anew, whatever
/// is left of the former cluster must be stopped, and what was changed after the backup is gone: who was
/// banned since then may return.
///
/// # Errors
/// [`BackupError`]; then there is no such directory.
pub fn restore(file: &Path, dir: &Path, of: Option<ClusterId>) -> Result<Restored, BackupError> {
    let (from, mut state) = read(file)?;
    if let Some(asked) = of.filter(|asked| *asked != from.cluster) {
        return Err(BackupError::Foreign { found: from.cluster, asked });
    }
    let empty = |dir: &Path| fs::read_dir(dir).is_ok_and(|mut files| files.next().is_none());
    if dir.try_exists().is_ok_and(|exists| exists) && !empty(dir) {
        return Err(BackupError::Exists(dir.into()));
    }
    let cluster = ClusterId::from_random(clock::random());
    let what = format!("restored the registry of cluster {} as of entry {}", from.cluster, from.index);
    let note = Note { who: "operator".into(), what, from: "this machine".into() };
    state.restore(clock::unix(), cluster, note);
    let member = state.next_node();
    create(dir, &Durable::alone_with(member, &state, 1)?)?;
    Ok(Restored { from, cluster, member })
}

impl Registry {
    /// Writes a backup with all in it that was committed before the call, whole or not at all, to a new
    /// file that its owner alone may read. On a member of Raft; elsewhere [`encode`] the state.
    ///
    /// # Errors
    /// [`BackupError`].
    pub async fn backup(&self, path: impl Into<PathBuf>) -> Result<BackupInfo, BackupError> {
        let (state, path): (Arc<State>, PathBuf) = (self.linearizable().await?, path.into());
        let saving = tokio::task::spawn_blocking(move || {
            let bytes = encode(&state)?;
            let (info, _) = decode(&bytes)?;
            save(&path, &bytes).map(|()| info)
        });
        saving.await.unwrap_or_else(|error| Err(BackupError::Damaged(error.to_string())))
    }
}
