//! The registry's shell: one thread that owns the Raft node, one that owns the disk.
//!
//! [`Registry`] is the handle that everything else uses: the locally applied state without a lock's
//! wait, proposals, linearizable reads. What is decided is decided by a machine, [`member`], which a
//! simulation drives as well; `driver` is its thread, and only `disk` and `open` touch sled and the
//! pledge.
//!
//! Every node has a directory and a machine, which idles while it is in no configuration of Raft. Such
//! a node follows the feed of another ([`Registry::follow`]), which fills the same state; `published`
//! says why either may take over from the other at any time.

pub mod backup;
mod bootstrap;
mod disk;
mod driver;
mod durable;
mod feed;
mod handle;
mod load;
mod log;
pub mod member;
mod office;
mod open;
mod pledge;
mod published;
mod reads;
mod ready;
mod recover;
mod status;
mod storage;
mod sync;
mod timer;
mod types;

pub use bootstrap::{BootstrapError, FirstApp, Founding, bootstrap};
pub use disk::DiskError;
pub use feed::{FeedError, FeedReader, Feeding, Follower, Turn, Whole};
pub use handle::Registry;
pub use open::{Config, Ended, OpenError};
pub use published::{Encoded, Published};
pub use raft::eraftpb::Message;
pub use recover::{RecoverError, Survivor, inspect, recover};
pub use status::conf_change;
pub use sync::{Barrier, Fdatasync, Synced};
pub use types::{
    Alone, Applied, FatalError, OnRefused, Proposal, ProposeError, ReadError, Role, Status, TransferError,
    Transport, Unsent,
};
