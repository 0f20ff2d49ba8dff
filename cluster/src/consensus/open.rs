//! Opening the registry's directory: the lock, the pledge against the database, the log into
//! memory.

use std::fs::{self, DirBuilder, File, TryLockError};
use std::io;
use std::os::unix::fs::DirBuilderExt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::time::Duration;

use chappe_proto::id::NodeId;
use chappe_proto::registry::{SnapshotError, State};
use tokio::sync::oneshot;

use super::disk::{COUNTER, Disk, DiskError};
use super::durable::Durable;
use super::load::{begin, found_cluster, member_of, read, read_all};
use super::pledge::{Found, Pledge, Record};
use super::storage::Write;
use super::sync::{Barrier, Fdatasync};
use super::types::{Alone, FatalError, OnRefused, Transport};
use crate::clock;

/// How a registry is opened.
pub struct Config {
    /// Where it lives: made if it is not there; one process at a time.
    pub dir: PathBuf,
    /// This member. A directory belongs to one for ever.
    pub member: NodeId,
    /// The first voters of a new cluster, this one among them; the same on each. Empty where this
    /// member joins one that exists. Read only when the directory is new.
    pub founders: Vec<NodeId>,
    /// The operator has been told what the disk has lost, and goes on without it.
    pub accept_loss: bool,
    /// Takes messages to the other members.
    pub transport: Box<dyn Transport>,
    /// Makes files durable.
    pub barrier: Box<dyn Barrier>,
    /// Hears of each snapshot of a member's that is refused, and why. It is logged already.
    pub refused: OnRefused,
}

impl Config {
    /// A cluster of one, in `dir`.
    #[must_use]
    pub fn alone(dir: impl Into<PathBuf>, member: NodeId) -> Self {
        Self {
            dir: dir.into(),
            member,
            founders: vec![member],
            accept_loss: false,
            transport: Box::new(Alone),
            barrier: Box::new(Fdatasync),
            refused: Box::new(|_, _| ()),
        }
    }
}

/// Says how the registry's threads ended: an error is the reason with which the process must exit.
pub type Ended = oneshot::Receiver<Result<(), FatalError>>;

/// Why a registry can't be opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// Another process has it open.
    #[error("{dir} is in use by another chappe process: stop that one, or choose another directory")]
    InUse {
        /// The directory.
        dir: PathBuf,
    },
    /// It can't be made or written.
    #[error("{dir} can't be written: {source}")]
    Unwritable {
        /// The directory.
        dir: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// What is in it is not a registry that can be read.
    #[error("the registry in {dir} is damaged: {what}. Restore the directory from a backup, or move it away")]
    Damaged {
        /// The directory.
        dir: PathBuf,
        /// What was found.
        what: String,
    },
    /// It was written by a newer release.
    #[error("the registry in {dir} was written by a newer release: {what}")]
    TooNew {
        /// The directory.
        dir: PathBuf,
        /// What was found.
        what: String,
    },
    /// It is another member's.
    #[error("{dir} belongs to node {found}, not to node {asked}")]
    OtherMember {
        /// The directory.
        dir: PathBuf,
        /// Whose it is.
        found: NodeId,
        /// Who asked.
        asked: NodeId,
    },
    /// The database is older than what this member has promised: writes that were durable are gone.
    /// It must not vote.
    #[error(
        "the registry in {dir} has lost data: the disk kept {found} of {pledged} batches. {}",
        if *.alone {
            "Restore what is missing, or start once with --accept-loss to go on without it"
        } else {
            "This member may not vote any more: remove it from the cluster and let it join again as a new one"
        }
    )]
    Regressed {
        /// The directory.
        dir: PathBuf,
        /// The batches that the database holds.
        found: u64,
        /// The batches that were acknowledged; unknown (`u64::MAX`) when the pledge is damaged.
        pledged: u64,
        /// Whether this member is the only voter, so that `accept_loss` may be said.
        alone: bool,
    },
    /// The pledge is gone or unreadable, so nobody knows whether the database is what it was.
    #[error(
        "{dir}/pledge is missing or damaged, so lost data would not be noticed. {}",
        if *.alone {
            "Restore it, or start once with --accept-loss"
        } else {
            "This member may not vote any more: remove it from the cluster and let it join again as a new one"
        }
    )]
    NoPledge {
        /// The directory.
        dir: PathBuf,
        /// Whether this member is the only voter, so that `accept_loss` may be said.
        alone: bool,
    },
    /// The system refused a thread.
    #[error("no thread for the registry: {0}")]
    Thread(io::Error),
}

/// What was on the disk.
pub(super) struct Loaded {
    pub(super) disk: Disk,
    pub(super) durable: Durable,
    pub(super) state: State,
}

/// Opens the directory, making it if it is new. Waits for the disk.
pub(super) fn open(config: &mut Config) -> Result<Loaded, OpenError> {
    let dir = config.dir.clone();
    calmly(&dir, || load(config))
}

/// sled panics on some kinds of damage.
fn calmly<T>(dir: &Path, open: impl FnOnce() -> Result<T, OpenError>) -> Result<T, OpenError> {
    let damaged = |_| OpenError::Damaged { dir: dir.into(), what: "the database can't be read".into() };
    catch_unwind(AssertUnwindSafe(open)).unwrap_or_else(|panic| Err(damaged(panic)))
}

fn damaged(dir: &Path, what: &(impl ToString + ?Sized)) -> OpenError {
    OpenError::Damaged { dir: dir.into(), what: what.to_string() }
}

fn load(config: &mut Config) -> Result<Loaded, OpenError> {
    let barrier = std::mem::replace(&mut config.barrier, Box::new(Fdatasync));
    let (mut disk, found) = open_disk(&config.dir, barrier)?;
    disk.member = config.member.0;
    let stored = if disk.counter > 0 { Some(read_all(&mut disk, config.member)?) } else { None };
    let alone = stored.as_ref().map_or(config.founders == [config.member], Durable::alone);
    let promised = judge(&disk, &found, config.accept_loss, alone)?;
    match stored {
        Some(stored) => finish(disk, stored, promised),
        None => {
            let stored = found_cluster(&mut disk, config.member, &config.founders, promised)
                .map_err(|error| damaged(&config.dir, &error))?;
            finish(disk, stored, None)
        }
    }
}

/// Opens the directory of whichever member was in it, with or without its quorum.
pub(super) fn open_survivor(dir: &Path, accept_loss: bool) -> Result<Loaded, OpenError> {
    calmly(dir, || {
        if !dir.join("db").is_dir() {
            return Err(damaged(dir, "there is none"));
        }
        let (mut disk, found) = open_disk(dir, Box::new(Fdatasync))?;
        let member = member_of(&disk)?;
        disk.member = member.0;
        let stored = read_all(&mut disk, member)?;
        let promised = judge(&disk, &found, accept_loss, true)?;
        finish(disk, stored, promised)
    })
}

/// Makes a directory with the contents of a member's disk: all of it or, after an error, none.
pub(super) fn create(dir: &Path, first: &Durable) -> Result<(), OpenError> {
    let unwritable = |source| OpenError::Unwritable { dir: dir.into(), source };
    let mut name = dir.as_os_str().to_owned();
    name.push(format!(".new-{:016x}", u64::from_ne_bytes(clock::random())));
    let fresh = PathBuf::from(name);
    let write = || {
        let (mut disk, _) = open_disk(&fresh, Box::new(Fdatasync))?;
        disk.member = first.member;
        begin(&mut disk, first).map_err(|error| unwritable(io::Error::other(error.to_string())))?;
        drop(disk);
        fs::rename(&fresh, dir).map_err(unwritable)?;
        let parent = dir.parent().filter(|parent| !parent.as_os_str().is_empty());
        File::open(parent.unwrap_or_else(|| Path::new(".")))
            .and_then(|parent| parent.sync_all())
            .map_err(unwritable)
    };
    calmly(dir, write).inspect_err(|_| {
        // Where it was renamed, there is none of that name.
        let _ = fs::remove_dir_all(&fresh);
    })
}

fn open_disk(dir: &Path, barrier: Box<dyn Barrier>) -> Result<(Disk, Found), OpenError> {
    let unwritable = |source| OpenError::Unwritable { dir: dir.into(), source };
    // The registry holds every secret of the cluster.
    DirBuilder::new().recursive(true).mode(0o700).create(dir).map_err(unwritable)?;
    let lock = lock(dir)?;
    let (pledge, found) = Pledge::open(&dir.join("pledge")).map_err(unwritable)?;
    let (db, tree) = open_sled(dir)?;
    let file = File::open(dir.join("db/db")).map_err(unwritable)?;
    let counter = match read(&tree, COUNTER).map_err(|what| damaged(dir, &what))? {
        None => 0,
        Some(bytes) => u64::from_be_bytes(bytes.as_ref().try_into().map_err(|_| damaged(dir, "counter"))?),
    };
    let disk = Disk {
        db,
        tree,
        file,
        pledge,
        dir: dir.into(),
        member: 0,
        counter,
        series: 0,
        stored: (u64::MAX, 0),
        barrier,
        _lock: lock,
    };
    Ok((disk, found))
}

fn finish(mut disk: Disk, mut durable: Durable, promised: Option<Record>) -> Result<Loaded, OpenError> {
    if let Some(promise) = promised {
        accept(&mut disk, &mut durable, promise).map_err(|error| damaged(&disk.dir, &error))?;
    }
    let state = durable.state().map_err(|error| match error {
        SnapshotError::TooNew { .. } => OpenError::TooNew { dir: disk.dir.clone(), what: error.to_string() },
        _ => damaged(&disk.dir, &error),
    })?;
    Ok(Loaded { disk, durable, state })
}

fn lock(dir: &Path) -> Result<File, OpenError> {
    let unwritable = |source| OpenError::Unwritable { dir: dir.into(), source };
    let path = dir.join("lock");
    let file = File::options().write(true).create(true).truncate(false).open(path).map_err(unwritable)?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => Err(OpenError::InUse { dir: dir.into() }),
        Err(TryLockError::Error(source)) => Err(unwritable(source)),
    }
}

/// sled's own threads may outlive its handle by a moment, and hold its lock; our lock is ours already.
const RELEASED_WITHIN: Duration = Duration::from_secs(2);
const TRY_AGAIN: Duration = Duration::from_millis(10);

fn open_sled(dir: &Path) -> Result<(sled::Db, sled::Tree), OpenError> {
    let path = dir.join("db");
    sweep(&path).map_err(|source| OpenError::Unwritable { dir: dir.into(), source })?;
    let deadline = clock::mono() + RELEASED_WITHIN;
    loop {
        // Our thread flushes; sled's own would only add load.
        let config = sled::Config::new().path(&path).flush_every_ms(None).cache_capacity(16 * 1024 * 1024);
        match config.open().and_then(|db| db.open_tree("raft").map(|tree| (db, tree))) {
            Ok(both) => return Ok(both),
            Err(sled::Error::Io(source)) if source.to_string().contains("could not acquire lock") => {
                if clock::mono() > deadline {
                    return Err(OpenError::InUse { dir: dir.into() });
                }
                // No event tells of it: sled's lock ends with its last writer thread.
                std::thread::park_timeout(TRY_AGAIN);
            }
            Err(sled::Error::Io(source)) if source.kind() != io::ErrorKind::InvalidData => {
                return Err(OpenError::Unwritable { dir: dir.into(), source });
            }
            Err(error) => return Err(OpenError::Damaged { dir: dir.into(), what: error.to_string() }),
        }
    }
}

/// Deletes what an opening that was killed, or had no room, has left: sled 0.34 would take its unfinished
/// `snap.….generating` for the latest of its own snapshots, and find the database damaged.
fn sweep(db: &Path) -> io::Result<()> {
    let files = match fs::read_dir(db) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        files => files?,
    };
    for file in files {
        let file = file?;
        let name = file.file_name();
        let unfinished = name.to_str().is_some_and(|name| {
            name.starts_with("snap.") && Path::new(name).extension().is_some_and(|end| end == "generating")
        });
        if unfinished {
            fs::remove_file(file.path())?;
        }
    }
    Ok(())
}

/// Compares the database with the pledge. Gives the promise that the member goes on under, when it
/// goes on in spite of it.
fn judge(disk: &Disk, found: &Found, accept_loss: bool, alone: bool) -> Result<Option<Record>, OpenError> {
    let dir = || disk.dir.clone();
    let (member, counter, may) = (disk.member, disk.counter, accept_loss && alone);
    match *found {
        Found::Record(record) if record.member != member => {
            Err(OpenError::OtherMember { dir: dir(), found: NodeId(record.member), asked: NodeId(member) })
        }
        Found::Record(record) if counter < record.counter => {
            let (found, pledged) = (counter, record.counter);
            if may {
                Ok(Some(record))
            } else {
                Err(OpenError::Regressed { dir: dir(), found, pledged, alone })
            }
        }
        Found::Record(_) => Ok(None),
        // Nothing was ever acknowledged: a first start, or one that was cut short.
        Found::Nothing if counter <= 1 => Ok(None),
        Found::Nothing | Found::Damaged if may => Ok(Some(Record { member, counter, term: 0, vote: 0 })),
        Found::Nothing | Found::Damaged => Err(OpenError::NoPledge { dir: dir(), alone }),
    }
}

/// Goes on with an older database: never again in a term in which the lost one may have voted.
fn accept(disk: &mut Disk, stored: &mut Durable, promise: Record) -> Result<(), DiskError> {
    if promise.term > stored.hard.term {
        (stored.hard.term, stored.hard.vote) = (promise.term, promise.vote);
    }
    // Past every counter that was ever given out, also the one of a batch without its pledge.
    disk.counter = disk.counter.max(promise.counter) + 1;
    disk.commit(&Write { hard: stored.hard.clone(), ..Write::default() })
}
