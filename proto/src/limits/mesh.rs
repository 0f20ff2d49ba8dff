//! Links between nodes and to edges, and the registry's feed.

use std::time::Duration;

// --------------------------------------------------------------------------------------- the mesh

/// The longest frame between nodes, or between an edge and a node, in bytes: a room's roster at
/// capacity with metadata goes in pieces below it.
pub const MESH_FRAME_MAX: usize = 8 * 1024 * 1024;
/// The longest health report of an edge, in bytes: a datagram.
pub const HEALTH_MAX: usize = 64 * 1024;
/// Directives that a node keeps for its edges: an edge that is away for longer than they reach has let go of what
/// they would end, or soon will.
pub const DIRECTIVES_MAX: usize = 16_384;
/// A node keeps directives, and how far an edge without a link to it is, for this long: the longest lifetime of an allocation
/// (RFC 8656 section 3.2 allows an hour), after which what they would end has ended.
pub const DIRECTIVES_KEPT: Duration = Duration::from_secs(3600);
/// Uplinks that one node accepts.
pub const UPLINKS_MAX: usize = 1024;
/// An edge must have said hello within this.
pub const UPLINK_HELLO_WITHIN: Duration = Duration::from_secs(5);
/// A frame of what an edge says has so many bytes at most: the longest tells what its users have relayed.
pub const UPLINK_FRAME_MAX: usize = 512 * 1024;
/// A QUIC link on which nothing was heard for this long is dead.
pub const LINK_IDLE: Duration = Duration::from_millis(2500);
/// Something is said on a link this often at least.
pub const LINK_KEEP_ALIVE: Duration = Duration::from_millis(700);
/// An edge says how it is this often.
pub const HEALTH_EVERY: Duration = Duration::from_secs(1);
/// An edge not heard for this long is lost.
pub const EDGE_LOST_AFTER: Duration = Duration::from_secs(3);

// ------------------------------------------------------------------------------- the registry's feed

/// A leader whose disk is nearly full hands the leadership over no more often than this: the next one's disk
/// may be no better.
pub const HANDOVER_EVERY: Duration = Duration::from_secs(30);
/// How far the index, generations and epochs go on where the registry's history breaks off: more than
/// any node can have seen of what is missing (a thousand entries a second for eleven days).
pub const HISTORY_GAP: u64 = 1_000_000_000;
/// The same for nodes' ids.
pub const HISTORY_NODES: u64 = 1_000;
/// The same for sealing keys' numbers, one a day.
pub const HISTORY_SEALING_KEYS: u64 = 1_000;

/// A key seals resume tokens for this long; then the next one does.
pub const SEALING_KEY_FOR: Duration = Duration::from_secs(24 * 3600);
/// It opens them for this long beyond the last one's end: a gateway that is cut off seals on with the key that it
/// knows.
pub const SEALING_KEY_REST: Duration = Duration::from_secs(3600);
/// Whether a key is due is looked at this often.
pub const SEALING_LOOK_EVERY: Duration = Duration::from_secs(60);

/// Entries that a node remembers for those that follow its feed: one that was away for longer gets the
/// whole registry.
pub const FEED_ENTRIES_MAX: usize = 4_096;
/// Bytes of all of them.
pub const FEED_BYTES_MAX: usize = 8 * 1024 * 1024;
/// A piece of the registry in one frame of the feed, in bytes.
pub const FEED_PIECE: usize = 256 * 1024;

// ------------------------------------------------------------------------- links between nodes

/// A link between nodes on which nothing was heard for this long is dead: sooner than any lease ends in its
/// wake, and four keep-alives.
pub const NODE_LINK_IDLE: Duration = Duration::from_millis(1000);
/// Something is said on such a link this often at least.
pub const NODE_LINK_KEEP_ALIVE: Duration = Duration::from_millis(250);
/// Whether anything was heard is looked at this often.
pub const NODE_LINK_LOOK: Duration = Duration::from_millis(125);
/// A first guess at the round trip to a node: what is lost of a handshake is sent again after three of it.
pub const LINK_FIRST_RTT: Duration = Duration::from_millis(50);
/// Bytes that one stream of a link may have under way unread, in each direction.
pub const LINK_STREAM_WINDOW: u32 = 1024 * 1024;
/// Bytes that all of them together may: below the sum, one that is not read would block the others.
pub const LINK_WINDOW: u32 = 32 * 1024 * 1024;
/// Bytes that the socket of the mesh holds each way, where the system allows so many: a burst of all links.
pub const MESH_SOCKET_BYTES: usize = 4 * 1024 * 1024;
/// Bytes that a connection may have under way before its certificate has been looked at.
pub const STRANGER_WINDOW: u32 = 128 * 1024;
/// Streams that the other side of a link may have open: one for each lane, and snapshots.
pub const LINK_STREAMS: u8 = 24;
/// Connections whose certificate has not been looked at yet.
pub const STRANGERS_MAX: usize = 256;
/// When so many of them wait, new ones must show first that they are heard at their address.
pub const STRANGERS_UNHEARD: usize = 64;
/// A connection must have been set up, and a node must have said hello, within this.
pub const LINK_HELLO_WITHIN: Duration = Duration::from_secs(3);
/// A node without a link to another dials it again after this, and twice as long each time,
pub const DIAL_RETRY: Duration = Duration::from_millis(50);
/// up to this. A node that begins anew is linked at once nevertheless: it dials by itself.
pub const DIAL_RETRY_MAX: Duration = Duration::from_secs(1);
/// A node with several addresses is dialled at the next one when one has not answered for this long.
pub const DIAL_NEXT: Duration = Duration::from_millis(150);
/// While an attempt has no answer, another begins after this: a node that is back, or reachable again, is
/// found within it.
pub const DIAL_AGAIN: Duration = Duration::from_millis(300);
/// Attempts to reach one node, at one address or several, that may be under way when another begins.
pub const DIALS_AT_ONCE: usize = 4;
/// A node that does not start because its disk has forgotten something tells the others within this, or ends
/// without.
pub const LOSS_TOLD_WITHIN: Duration = Duration::from_secs(3);
/// Frames that wait for one lane of a link; beyond it the sender is told so, and what is lost is sent again.
pub const LANE_FRAMES: usize = 4096;
/// Their bytes: a new owner is sent the rosters of the largest rooms at once.
pub const LANE_BYTES: usize = 2 * MESH_FRAME_MAX;
/// Frames that are written to a link at once.
pub const LANE_BATCH: usize = 64;
/// Questions to other nodes that wait for an answer.
pub const REQUESTS_PENDING: usize = 4096;
/// Questions of one node that are being answered; beyond it `busy`.
pub const ASKS_AT_ONCE: usize = 512;
/// A question or an answer above this length goes on one of the rooms' lanes: leases don't wait behind it.
pub const CONTROL_FRAME_MAX: usize = 64 * 1024;
/// The longest message of Raft but a snapshot, in bytes: entries up to [`APPEND_BYTES_MAX`](super::APPEND_BYTES_MAX) and what goes
/// with them.
pub const RAFT_MESSAGE_MAX: usize = 1024 * 1024;
/// Snapshots and feeds are written in pieces of this many bytes.
pub const SNAPSHOT_PIECE: usize = 256 * 1024;
/// While a former authority is trusted, its certificates are looked for this often.
pub const AUTHORITY_LOOK_EVERY: Duration = Duration::from_secs(10);
/// A former authority is trusted for this long at least: for who was certified by it a moment ago, and has
/// not been seen yet.
pub const AUTHORITY_REST: Duration = Duration::from_secs(3600);
/// The longest join token and what is asked with it, in bytes.
pub const JOIN_TOKEN_MAX: usize = 4 * 1024;
/// The longest request to join, in bytes: addresses of each kind, a public key.
pub const JOIN_REQUEST_MAX: usize = 32 * 1024;
/// Joins under way at one node.
pub const JOINS_AT_ONCE: usize = 16;
/// Attempts to join of one source address at once: a rack that starts together,
pub const JOIN_ATTEMPTS_BURST: u32 = 20;
/// and a second for long. A secret of 256 bits is not guessed; this keeps guessing cheap for the node.
pub const JOIN_ATTEMPTS_PER_SEC: u32 = 1;
/// A node that has not heard of an invitation yet waits so long for it: it was made on another one.
pub const INVITATION_WITHIN: Duration = Duration::from_secs(1);
/// A join must be through within this; it may take an election.
pub const JOIN_REQUEST_WITHIN: Duration = Duration::from_secs(20);
/// Feeds that one node writes to one follower: the second replaces the first.
pub const FEEDS_PER_NODE: usize = 2;
/// Rooms in one answer to who asks a node for all of them: less than a megabyte.
pub const ROOMS_PAGE: usize = 4096;
/// Bytes of what one frame says of edges: leases go on the same lane, and wait behind it for no longer than a
/// few packets take.
pub const EDGE_REPORTS_BYTES: usize = 16 * 1024;
