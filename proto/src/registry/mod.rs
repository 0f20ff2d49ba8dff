//! The registry: the state that every node agrees on, replicated by Raft.
//!
//! [`State::apply`] is arithmetic: it compares and sets, and uses no clock but the
//! time that the leader stamped into the entry, no randomness and no order of a hash map. So the same
//! entries give the same state, byte for byte, on every node and in every release.
//!
//! Two releases agree by the **cluster version**. Readers skip fields that they do not know, but a
//! command or field that changes what apply does may be proposed only when the registry's version
//! allows it, and that is raised (`Command::VersionRaise`) only when every node has said by `NodeUp`
//! that it understands the new one. An entry that cannot be read nevertheless is not skipped: the
//! node that meets it stops, since going on would make its state another one.

pub mod access;
mod apps;
mod audit;
mod authorities;
mod cluster;
mod command;
pub mod cow;
mod edges;
mod events;
mod feed;
mod groups;
mod history;
mod hooks;
mod invitations;
mod issued;
pub mod lease;
mod nodes;
mod outcome;
pub mod placement;
mod prices;
pub mod profile;
mod revocations;
pub mod rights;
mod rooms;
pub mod sealing;
mod secrets;
mod settings;
mod shards;
mod state;
pub mod steward;
mod subject;
#[cfg(test)]
mod tests;
mod users;
pub mod voters;

pub use apps::{ApiKey, App, AppPolicy, is_origin};
pub use audit::{Audit, Broken, Chain, Note, verify};
pub use authorities::Authority;
pub use cluster::Cluster;
pub use command::{Command, Entry, RequestId};
pub use edges::{Edge, EdgeState};
pub use events::Event;
pub use hooks::{Hook, HookPlan};
pub use invitations::{Invitation, InvitedEdge, Joiner, Used};
pub use issued::{Issued, SecretLife, is_label};
pub use nodes::{Node, NodeAddresses, NodeState};
pub use outcome::{Outcome, Refusal, Thing};
pub use prices::{BadMoney, Cost, Money, PRICED_BYTES, Prices};
pub use revocations::Banned;
pub use rooms::{MadeRoom, RoomPolicy};
pub use secrets::Numbered;
pub use shards::{Moves, ShardEntry};
pub use state::{SnapshotError, State};

/// The newest cluster version that this release understands.
pub const VERSION: u32 = 1;
