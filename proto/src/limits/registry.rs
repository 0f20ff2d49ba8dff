//! The registry: what it holds, its log and disk; members and leases.

use std::time::Duration;

// ------------------------------------------------------------------------------------ the registry

/// The longest entry of the registry, in bytes: a `NodeDown` that moves all [`SHARDS`](super::SHARDS) is under
/// 56 KiB.
pub const ENTRY_MAX: usize = 128 * 1024;
/// The longest snapshot of the registry, in bytes: every collection below, full, is under 128 MiB.
pub const SNAPSHOT_MAX: usize = 256 * 1024 * 1024;
/// Apps of a cluster: each node holds all of them in memory.
pub const APPS_MAX: usize = 1_000;
/// API keys of one app: enough to rotate, and to tell servers apart.
pub const KEYS_PER_APP: usize = 16;
/// The fewest and the most bytes of an API key's or a TURN secret (RFC 7518 section 3.2 asks for
/// 32 for HS256).
pub const SECRET_BYTES: std::ops::RangeInclusive<usize> = 16..=128;
/// Bytes of a key that seals resume tokens (XChaCha20-Poly1305).
pub const SEALING_KEY_BYTES: usize = 32;
/// TURN secrets in force together, and likewise sealing keys: one issues, the others are being
/// forgotten.
pub const NUMBERED_SECRETS_MAX: usize = 8;
/// Origins that an app allows.
pub const ORIGINS_MAX: usize = 64;
/// The longest origin, URL or hostname in the registry, in bytes: a hostname has at most 253
/// (RFC 1035 section 2.3.4).
pub const URL_MAX: usize = 512;
/// Nodes of a cluster.
pub const NODES_MAX: usize = 256;
/// Addresses of each kind that a node announces.
pub const NODE_ADDRESSES_MAX: usize = 16;
/// Edges of a cluster, those removed and not forgotten included.
pub const EDGES_MAX: usize = 1_024;
/// Listeners of one edge: four transports on four addresses.
pub const EDGE_LISTENERS_MAX: usize = 16;
/// Relay ranges of one edge.
pub const EDGE_RELAYS_MAX: usize = 16;
/// The longest build name, in bytes.
pub const BUILD_MAX: usize = 64;
/// Sessions revoked and not expired: a kick a second for a day.
pub const REVOKED_MAX: usize = 100_000;
/// Identities kicked or banned from a room and not expired.
pub const BANNED_MAX: usize = 100_000;
/// Sessions that one revocation may name: those of one identity.
pub const REVOKE_AT_ONCE: usize = 16;
/// Prefixes that an operator allows, and likewise denies, as peers.
pub const PEER_PREFIXES_MAX: usize = 256;
/// Audit entries kept in the replicated state; older ones are on the voters' disks.
pub const AUDIT_MAX: usize = 10_000;
/// Of those, lines of apps' API keys: half, so that 5,000 are the operators' whatever the apps do.
pub const AUDIT_KEYS_MAX: usize = AUDIT_MAX / 2;
/// And lines of one app's keys: ten busy apps before one has fewer.
pub const AUDIT_APP_MAX: usize = AUDIT_KEYS_MAX / 10;
/// The longest of the three texts of an audit entry, in bytes. A line may say behind it how many had none.
pub const AUDIT_TEXT_MAX: usize = 256;
/// The longest text of what was there before, or is after, in a line of the audit log, in bytes: an app's policy
/// with a few origins. With it the log, full, is under 20 MiB.
pub const AUDIT_VALUE_MAX: usize = 512;
/// Requests whose outcome is remembered, so that one sent again is not carried out again: what a
/// cluster proposes within a few elections.
pub const REQUESTS_REMEMBERED: usize = 1_024;
/// Expired revocations are swept once in this many entries, and when their table is full.
pub const SWEEP_EVERY: u64 = 1_024;
/// Proposals, reads and messages that wait for the registry's thread; beyond it the sender is told
/// `busy`, and Raft sends its messages again.
pub const REGISTRY_QUEUE: usize = 4_096;
/// Proposals that were appended and not yet committed, in bytes together; beyond it `busy`.
pub const UNCOMMITTED_BYTES_MAX: usize = 8 * 1024 * 1024;
/// Entries that one message between members carries, in bytes together, unless one is longer.
pub const APPEND_BYTES_MAX: usize = 256 * 1024;
/// Such messages under way to one member.
pub const APPENDS_IN_FLIGHT: usize = 64;
/// A snapshot is taken when the log holds this many entries since the last.
pub const SNAPSHOT_EVERY: u64 = 4_096;
/// Or this many bytes since the last.
pub const SNAPSHOT_EVERY_BYTES: usize = 8 * 1024 * 1024;
/// Entries before the last snapshot that stay in the log, so that a member that was away for a
/// moment needs no snapshot.
pub const LOG_TRAIL: u64 = 1_024;
/// The whole log, in bytes; beyond it proposals are `busy` until a snapshot has been written.
pub const LOG_BYTES_MAX: usize = 64 * 1024 * 1024;
/// Free bytes on the disk below which proposals are refused.
pub const DISK_FREE_MIN: u64 = 64 * 1024 * 1024;
/// Bytes of one value in sled. Under 64 KiB would do, but sled 0.34 writes a leaf of up
/// to 20 values as one item, and an item over 128 KiB goes to a file that is never synced.
pub const SLED_VALUE_MAX: usize = 4 * 1024;
/// How long the certificate of a node or an edge lasts: renewed by itself long before.
pub const CERTIFICATE_TTL: Duration = Duration::from_secs(90 * 86_400);
/// A certificate is renewed when this part of its life has passed, in per cent: a month is left for
/// whatever keeps it from being renewed.
pub const CERTIFICATE_RENEW_AT: u32 = 66;
/// How long the cluster's authority lasts.
pub const AUTHORITY_TTL: Duration = Duration::from_secs(20 * 365 * 86_400);
/// A certificate is valid from this long before it was issued, for clocks that are behind.
pub const CLOCK_SKEW: Duration = Duration::from_secs(3600);

// ---------------------------------------------------------------------------------- members and leases

/// The longest certificate of the cluster's authority, in bytes of DER: one with an RSA key of 4096 bits
/// and a few names takes under 2 KiB.
pub const AUTHORITY_CERTIFICATE_MAX: usize = 4 * 1024;
/// Its private key, in bytes of PKCS #8: one of RSA with 4096 bits takes 2.4 KiB.
pub const AUTHORITY_KEY_MAX: usize = 4 * 1024;
/// Bytes of an invitation's hash (SHA-256).
pub const INVITATION_HASH_BYTES: usize = 32;
/// Invitations that are open, or were used and have not expired: one for each node, and as many lost.
pub const INVITATIONS_MAX: usize = 2 * NODES_MAX;
/// The longest that an invitation may last: a secret that lies about is worth as much as a node.
pub const INVITATION_TTL_MAX: Duration = Duration::from_secs(30 * 86_400);
/// Bytes of what names a joiner's key: a hash.
pub const APPLICANT_BYTES: std::ops::RangeInclusive<usize> = 16..=64;
/// Renewals of a lease whose grants a node waits for: six are sent in its length, and what
/// is older is worth nothing.
pub const RENEWALS_KEPT: usize = 16;
/// Members of Raft that stand by to vote.
pub const STANDBYS_MAX: usize = 2;
/// Shards that move together: their rooms admit nobody meanwhile, and their new owners ask every node for
/// them. A sixteenth of all, so that a node of a small cluster is drained in a few seconds.
pub const MOVES_AT_ONCE: usize = 256;
/// Shards move for balance alone once no node has come, gone or been silent for this long.
pub const REBALANCE_AFTER: Duration = Duration::from_secs(5);
/// A voter that is gone for this long is replaced by a stand-by: longer than a process takes to restart,
/// shorter than the time to the next failure.
pub const VOTER_LOST_AFTER: Duration = Duration::from_secs(10);
/// A change of members, or of the leader, that has shown no effect is tried again after this.
pub const MEMBERS_AGAIN: Duration = Duration::from_secs(3);
/// A proposal of the leader's own of which nothing was heard is made again after this.
pub const PROPOSE_AGAIN: Duration = Duration::from_secs(2);
