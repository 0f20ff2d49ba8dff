//! Clients: frames, the delivery of signals, sessions and their sockets.

use std::time::Duration;

use super::*;

// ------------------------------------------------------------------------------- frames of clients

/// The longest text frame of a signaling client, in bytes. An SDP of six cameras with all codecs is
/// under 40 KiB.
pub const CLIENT_FRAME_MAX: usize = 64 * 1024;
/// The longest `payload` of one signal or broadcast, in bytes of JSON.
pub const PAYLOAD_MAX: usize = 56 * 1024;
/// The longest `metadata` of a peer, in bytes of JSON: it is kept for every peer and sent to all.
pub const METADATA_MAX: usize = 4 * 1024;
/// The longest display name, in bytes.
pub const NAME_MAX: usize = 256;
/// The longest `kind` of a signal, in bytes.
pub const KIND_MAX: usize = 64;
/// The longest connection id, in bytes: SDKs use 16 hexadecimal digits.
pub const CONNECTION_MAX: usize = 64;
/// The longest token (JWT or resume), in bytes.
pub const TOKEN_MAX: usize = 8 * 1024;
/// Marks that a `resume` may carry: one for each sender met within the grace.
pub const MARKS_MAX: usize = 1_500;

/// Edges that one `probes` frame may name: the SDK measures the first few.
pub const PROBES_MAX: usize = 16;
/// Connections that one `connections` frame may tell of, and a session keeps: more than a browser bears in one call.
pub const CONNECTIONS_MAX: usize = 64;

// -------------------------------------------------------------------------------------- delivery

/// Directed signals unacknowledged per sender and receiver: an offer, its answer and
/// the trickled candidates of several rounds.
pub const UNACKED_MAX: usize = 64;
/// Their payloads together, in bytes.
pub const UNACKED_BYTES_MAX: usize = 256 * 1024;
/// Payloads that one session may have unacknowledged, to all receivers together, in bytes.
pub const SESSION_UNACKED_BYTES_MAX: usize = 4 * 1024 * 1024;
/// Receivers that one session counts its signals to: everybody in the largest room.
pub const OUTBOXES_MAX: usize = ROOM_CAPACITY_MAX;
/// Senders that one session counts the signals of.
pub const INBOXES_MAX: usize = ROOM_CAPACITY_MAX;
/// A gateway sends again what has not been acknowledged for this long; it doubles up to
/// [`RESEND_MAX`] while nothing is.
pub const RESEND_AFTER: Duration = Duration::from_millis(1500);
/// See [`RESEND_AFTER`].
pub const RESEND_MAX: Duration = Duration::from_secs(12);
/// An owner that has not taken custody of a directed signal within this is suspected, and signals go around
/// it: well over a round trip between regions, and half of what an owner's death may cost.
pub const CUSTODY_WITHIN: Duration = Duration::from_millis(250);
/// Sessions are asked no more often than this to say everything again for an owner that is slow to take it.
pub const SUSPECT_EVERY: Duration = Duration::from_millis(500);
/// Pairs of sender and receiver whose signals a proxy watches on their way to the owner, and likewise
/// those that came around it. What is beyond waits for its session to say it again.
pub const DIRECT_PAIRS_MAX: usize = 4096;
/// What is left at least of a grace (or all of it, where that is less) when an owner has its lease again:
/// gateways say again within this who came back meanwhile.
pub const THAWED_GRACE: Duration = Duration::from_secs(10);
/// After being told `busy`, a client waits this long before it offers the signal again.
pub const BUSY_RETRY: Duration = Duration::from_millis(250);

// -------------------------------------------------------------------------------------- sessions

/// How long a session outlives its socket, unless the app says otherwise.
pub const GRACE: Duration = Duration::from_secs(30);
/// The longest grace that an app may ask for.
pub const GRACE_MAX: Duration = Duration::from_secs(300);
/// A fresh socket must send its `join` within this.
pub const JOIN_WITHIN: Duration = Duration::from_secs(10);
/// The server asks after this long without a frame from the client.
pub const PING_EVERY: Duration = Duration::from_secs(10);
/// A socket that answers nothing for this long is shut down: the session turns `away`.
pub const SILENT_AFTER: Duration = Duration::from_secs(25);
/// Bytes enqueued for one socket and not yet taken by it. Beyond it the socket is closed with a
/// code that resumes; what it missed is resent from the senders' side.
pub const SOCKET_QUEUE_BYTES: usize = 512 * 1024;
/// Frames enqueued for one socket and not yet taken by it.
pub const SOCKET_QUEUE_FRAMES: usize = 256;
/// Frames a client may send in a burst.
pub const FRAMES_BURST: u32 = 200;
/// Frames a second that a client may send for long: ICE of a six-person mesh needs under 50.
pub const FRAMES_PER_SEC: u32 = 100;
/// A client over its rate is told to wait this long at least: then several frames pass at once.
pub const RATE_RETRY: Duration = Duration::from_millis(250);
/// A client that goes on after this many refusals in a row is closed.
pub const RATE_STRIKES: u32 = 200;
/// How long a resume token is good without a socket: its session's grace, and the time in which a
/// cluster elects and rebuilds.
pub const RESUME_TTL: Duration = Duration::from_secs(24 * 3600);
/// A client that was told that it is moved to another room goes there by itself; one that stays is sent away after
/// this: longer than clients take to notice that their socket is dead, and to come back to hear it.
pub const MOVED_WITHIN: Duration = Duration::from_secs(10);
/// The token by which it gets in there is good for this long at least, whenever the one that it had ends.
pub const MOVE_TOKEN_MIN: Duration = Duration::from_secs(600);
/// Joins a source address may make in a burst, and a second for long.
pub const JOINS_BURST: u32 = 60;
/// Resumes a source address may make in a burst: a whole office whose network was gone.
pub const RESUMES_BURST: u32 = 600;
/// And a second for long.
pub const RESUMES_PER_SEC: u32 = 100;
/// Clients that are told to wait are told up to this much more, each another part of it.
pub const RETRY_JITTER: Duration = Duration::from_millis(500);
/// Source addresses whose joins are counted at a time.
pub const JOIN_SOURCES_MAX: usize = 65_536;
/// See [`JOINS_BURST`].
pub const JOINS_PER_SEC: u32 = 10;

// ---------------------------------------------------------------------------- acknowledgements

/// Signals of a session's present socket whose acknowledgements do not count against its rate: all that
/// sixteen senders may leave unacknowledged.
pub const ACKS_DUE_MAX: u32 = 1024;
/// Peers that a proxy remembers to have been called unknown: as many as a room that was lost whole may have people,
/// and too few for one who makes them up to push out those who left.
pub const UNKNOWN_REMEMBERED: usize = 32;

// ------------------------------------------------------------------------------------ lives ended

/// What the wall clocks of two nodes may differ by before a node that ended a grace ago is taken for one that
/// ended longer ago.
pub const LIFE_SLACK: Duration = Duration::from_secs(10);
