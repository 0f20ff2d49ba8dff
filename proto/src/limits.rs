//! Every limit of Chappe, each with its reason, related to each other by assertions that the
//! compiler checks. A limit that is not here does not exist.

use std::time::Duration;

// ---------------------------------------------------------------------------------------- shards

/// Room buckets of a cluster, fixed at bootstrap: enough that a hundred nodes share them within a
/// few per cent, few enough that the whole table is one small message.
pub const SHARDS: u16 = 4096;

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

// ----------------------------------------------------------------------------------------- rooms

/// Peers of a room where neither the token nor the room's policy says another number.
pub const ROOM_CAPACITY: usize = 16;
/// The most that either may say.
pub const ROOM_CAPACITY_MAX: usize = 10_000;
/// Rooms of a cluster of which something is decided beforehand: every node holds all of them.
pub const ROOM_POLICIES_MAX: usize = 50_000;
/// Bytes that all of them take in the registry: 50,000 with names and metadata of 200 bytes. Who keeps more with a room
/// keeps fewer rooms.
pub const ROOM_POLICIES_BYTES: usize = 16 * 1024 * 1024;
/// Rooms of one app of which something is decided: a fifth, so that one tenant leaves the others theirs.
pub const ROOM_POLICIES_PER_APP: usize = ROOM_POLICIES_MAX / 5;
/// And bytes that they take: a quarter.
pub const ROOM_POLICIES_BYTES_PER_APP: usize = ROOM_POLICIES_BYTES / 4;
/// Bytes that one takes beside its names and its metadata: the fields' names, a region, and numbers.
pub const ROOM_POLICY_BYTES: usize = 128;
/// The furthest that a room's expiry may lie ahead: what is to stay for longer has none.
pub const ROOM_EXPIRES_MAX: Duration = Duration::from_secs(366 * 86_400);
/// An expired room keeps people out for this long, as long as a token for it may well last; then it is forgotten.
pub const ROOM_EXPIRED_KEPT: Duration = Duration::from_secs(86_400);
/// Rooms in one page of the list that operators are shown.
pub const ROOMS_LISTED: usize = 200;
/// Rooms that nodes are asked for one page at most, to find those that a filter lets through: beyond it the page is
/// shorter, and its cursor goes on from there.
pub const ROOMS_LOOKED_AT: usize = 16 * ROOMS_LISTED;
/// How long a join token that an operator signs lets people in, unless said otherwise.
pub const TOKEN_TTL: Duration = Duration::from_secs(3600);
/// And at most: who is to come for longer is given another.
pub const TOKEN_TTL_MAX: Duration = Duration::from_secs(30 * 86_400);
/// Rooms that one node runs.
pub const ROOMS_MAX: usize = 200_000;
/// Sessions that one node holds.
pub const SESSIONS_MAX: usize = 100_000;
/// Messages waiting in an actor's mailbox before a sender is told that it is full.
pub const MAILBOX: usize = 512;

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

// ------------------------------------------------------------------------------------ credentials

/// How long a TURN credential lasts, unless the app says otherwise: checked at Allocate only.
pub const CREDENTIAL_TTL: Duration = Duration::from_secs(3600);
/// The shortest that an app may ask for: a fresh one is on its way when three quarters of it have passed.
pub const CREDENTIAL_TTL_MIN: Duration = Duration::from_secs(4);
/// The longest that an app may ask for: so long a kick's revocation is remembered by every edge.
pub const CREDENTIAL_TTL_MAX: Duration = RESUME_TTL;
/// Fresh `ice_servers` are sent when this part of a credential's life has passed, in per cent.
pub const CREDENTIAL_REFRESH_AT: u32 = 75;
/// How long the credential of a connection test lasts: longer than testing [`CONNECTION_TEST_EDGES`] takes where
/// nothing answers, and so short that nobody needs to revoke it.
pub const CONNECTION_TEST_TTL: Duration = Duration::from_secs(300);
/// Edges that one connection test tries: each takes a browser some seconds, and somebody waits for the end.
pub const CONNECTION_TEST_EDGES: usize = 32;
/// URLs of each of them that it tries: STUN and three transports on both families, and one more.
pub const CONNECTION_TEST_URLS: usize = 8;
/// Nodes whose signaling one connection test tries.
pub const CONNECTION_TEST_NODES: usize = 32;
/// URLs of each of them that it tries.
pub const CONNECTION_TEST_NODE_URLS: usize = 3;

// ------------------------------------------------------------------------------------------ TURN

/// TURN URLs of one edge that one credential is handed out with.
pub const URLS_PER_EDGE: u32 = 3;
/// Allocations of one user: one for each URL and each other peer of a room, four times over for
/// interfaces and for ICE restarts that overlap.
#[expect(clippy::cast_possible_truncation, reason = "a room's capacity is far below 2^32")]
pub const ALLOCATIONS_PER_USER: u32 = 4 * (ROOM_CAPACITY as u32 - 1) * URLS_PER_EDGE;
/// Allocations of one source address: a whole room behind one NAT, each at its own limit.
#[expect(clippy::cast_possible_truncation, reason = "a room's capacity is far below 2^32")]
pub const ALLOCATIONS_PER_SOURCE: u32 = ROOM_CAPACITY as u32 * ALLOCATIONS_PER_USER;
/// A user, or a source, may have so many times its allocations if those count too that ended within
/// [`PORT_REST`]: their ports rest, so that whoever allocates and deletes over and over would have all of
/// them without ever holding more than its share. A call restarts ICE on each of its networks a few times.
pub const ALLOCATIONS_CHURN: u32 = 4;
/// Allocations of one edge, unless its operator says otherwise: the dynamic ports of four relay
/// addresses.
pub const ALLOCATIONS_MAX: u32 = 4 * 16_384;
/// Permissions of one allocation. A browser asks one for each address among the other side's
/// candidates: a dozen, and as many again for each ICE restart.
pub const PERMISSIONS_MAX: usize = 128;
/// Channels of one allocation. A browser binds one for each candidate pair that carries data.
pub const CHANNELS_MAX: usize = 64;
/// An allocation's lifetime where the client asks none, and the shortest (RFC 8656 section 3.2).
pub const LIFETIME: Duration = Duration::from_secs(600);
/// The longest lifetime that is granted (RFC 8656 section 3.2 recommends an hour).
pub const LIFETIME_MAX: Duration = Duration::from_secs(3600);
/// How long a permission lasts (RFC 8656 section 9).
pub const PERMISSION_LIFE: Duration = Duration::from_secs(300);
/// How long a channel lasts (RFC 8656 section 12).
pub const CHANNEL_LIFE: Duration = Duration::from_secs(600);
/// How long a nonce is accepted: RFC 8656 section 5 wants it changed at least once an hour.
pub const NONCE_LIFE: Duration = Duration::from_secs(3600);
/// How long a relayed port is not used again (RFC 8656 section 7.2).
pub const PORT_REST: Duration = Duration::from_secs(120);
/// How long a port is kept for a RESERVATION-TOKEN (RFC 8656 section 7.2).
pub const RESERVATION_LIFE: Duration = Duration::from_secs(30);
/// Ports that are kept for tokens at once; beyond it 508. An EVEN-PORT with R = 1 is a pair of RTP
/// and RTCP ports, which no browser asks for.
pub const RESERVATIONS_MAX: usize = 1024;
/// Ports offered to the shell for one relayed socket: another process on the host may hold some.
pub const PORT_CANDIDATES: usize = 4;
/// Buckets that count unauthenticated answers by source, 8 bytes each: with fewer, spoofed sources
/// that empty all of them would be cheaper than the link they need to come in on.
pub const CHALLENGE_BUCKETS: usize = 65_536;
/// The most that an answer to an unknown sender may be of its request, in tenths, IP and UDP headers
/// counted: what a spoofed request makes of itself for its victim.
pub const AMPLIFICATION_TENTHS: usize = 26;
/// The longest realm of an edge's own, in bytes: a 401 to the shortest Allocate, one of 28 bytes with
/// REQUESTED-TRANSPORT alone over IPv4, may have 117; header (20), ERROR-CODE (8), NONCE (20) and
/// REALM's head (4) leave 64 in the form of RFC 5389. Up to 36 bytes the form of RFC 8489 fits too,
/// with a cookie (13, padded to 16) and PASSWORD-ALGORITHMS (12).
pub const CHALLENGE_REALM_MAX: usize = 64;
/// 401 and 438 answers to one source at once: what they amplify is bounded by it.
pub const CHALLENGES_BURST: u32 = 400;
/// 401 and 438 answers to one source for long, a second: a room behind one NAT that joins at once
/// takes one for each allocation.
pub const CHALLENGES_PER_SEC: u32 = 100;
/// Binding answers that one source gets over UDP for each 401 that it could have: they amplify 1.35
/// times at most, and each browser behind a NAT asks for one every ten seconds.
pub const BINDINGS_PER_CHALLENGE: u32 = 10;

// ------------------------------------------------------------------------------------ the registry

/// The longest entry of the registry, in bytes: a `NodeDown` that moves all [`SHARDS`] is under
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

// ------------------------------------------------------------------------------------- the edge

/// TCP streams of one edge: below its file descriptors, of which each allocation takes one too.
pub const STREAMS_MAX: usize = 16_384;
/// TCP streams from one source address: a room at capacity behind one NAT, each client with one for
/// every other peer and an ICE restart under way.
pub const STREAMS_PER_SOURCE: u32 = 1024;
/// A stream's first message, and the rest of one that was begun, must come within this.
pub const STREAM_MESSAGE_WITHIN: Duration = Duration::from_secs(10);
/// A stream without an allocation is closed when it is silent for this long.
pub const STREAM_IDLE: Duration = Duration::from_secs(60);
/// A stream whose client acknowledges nothing for this long is dead (TCP_USER_TIMEOUT).
pub const STREAM_UNACKED_FOR: Duration = Duration::from_secs(30);
/// Relayed bytes that wait for a stream to take them; then the oldest are dropped. A quarter of a
/// second at 8 Mbit/s: what waits longer is of no use to a call.
pub const STREAM_MEDIA_BYTES: usize = 256 * 1024;
/// STUN messages that may wait beyond that; then the stream is closed.
pub const STREAM_CONTROL_BYTES: usize = 64 * 1024;
/// Datagrams, or trains of them, taken from one socket before the next one has its turn.
pub const SOCKET_BURST: usize = 32;
/// Reads, or accepted streams, of one TCP socket before the next one has its turn.
pub const STREAM_BURST: usize = 8;
/// Orders that wait for an edge's loop.
pub const EDGE_COMMANDS: usize = 64;
/// Nodes that an edge holds an uplink to, where it knows so many.
pub const UPLINKS: usize = 2;
/// How often an edge asks each of its listeners a Binding request, and how long it waits for the answer.
pub const PROBE_EVERY: Duration = Duration::from_secs(2);
/// See [`PROBE_EVERY`].
pub const PROBE_WITHIN: Duration = Duration::from_secs(1);

// ------------------------------------------------------------------------- the edge's connections

/// Connections over TCP, TLS and, counted apart, DTLS from which no whole message has come, at once. One of
/// TLS takes some 20 KiB: 40 MiB together.
pub const HALF_OPEN_MAX: usize = 2048;
/// Of them, those of one source (an IPv4 address, or an IPv6 /64): a room behind one NAT that joins at once.
pub const HALF_OPEN_PER_SOURCE: usize = 256;
/// TLS handshakes that begin at once, and, counted apart, of DTLS: what restarts together connects together.
pub const HANDSHAKES_BURST: u32 = 2000;
/// The same for long, a second. One with an ECDSA key takes 0.13 ms of the loop that relays media (measured
/// with `openssl s_time`): an eighth of it at most.
pub const HANDSHAKES_PER_SEC: u32 = 1000;
/// Of them, those of one source at once: a room at capacity behind one NAT, each of its clients with a
/// connection for every other one, twice.
pub const HANDSHAKES_BURST_PER_SOURCE: u32 = 512;
/// The same for long, a second.
pub const HANDSHAKES_PER_SEC_PER_SOURCE: u32 = 50;
/// Buckets that count them by source, 8 bytes each.
pub const HANDSHAKE_BUCKETS: usize = 8_192;
/// How often a ClientHello whose server name decides is looked at before it is whole: it comes in two or
/// three segments.
pub const HELLO_LOOKS: u8 = 32;
/// Connections passed on to web servers, at once: each takes two file descriptors.
pub const WEB_MAX: usize = 4096;
/// Of them, those of one source: an office behind one NAT, six connections a browser.
pub const WEB_PER_SOURCE: u32 = 512;
/// A web server must take a connection within this.
pub const WEB_CONNECT_WITHIN: Duration = Duration::from_secs(5);
/// A web connection whose one side has ended is closed when nothing comes from the other for this long.
pub const WEB_HALF_CLOSED_FOR: Duration = Duration::from_secs(60);
/// A web connection whose receiver takes nothing for this long is dead (TCP_USER_TIMEOUT): longer than a
/// browser's tab sleeps between two reads.
pub const WEB_UNACKED_FOR: Duration = Duration::from_secs(120);
/// A silent web connection is asked whether it lives after this long (TCP keepalive), four times 15 s apart.
pub const WEB_KEEP_ALIVE: Duration = Duration::from_secs(60);
/// DTLS associations at once.
pub const DTLS_MAX: usize = 16_384;
/// Of them, those of one source.
pub const DTLS_PER_SOURCE: u32 = 1024;
/// Datagrams of one DTLS flight that wait in an association.
pub const DTLS_QUEUE: usize = 32;
/// The key of the cookies that a DTLS ClientHello must echo changes this often; the one before counts too.
pub const DTLS_COOKIE_LIFE: Duration = Duration::from_secs(60);

// ---------------------------------------------------------------------------- rooms over many nodes

/// A proxy compares its roster with the owner's this often.
pub const ROSTER_CHECK_EVERY: Duration = Duration::from_secs(5);
/// A new owner shows a peer that only others spoke of as away after this: its own gateway says
/// within a fraction of it that it is there.
pub const ADOPTED_WITHIN: Duration = Duration::from_secs(2);
/// A new owner asks gateways that have not answered again after this.
pub const ASK_EVERY: Duration = Duration::from_millis(250);
/// A room that is homed away from its anchor's shard lets people in for so long after it asked the anchor's
/// owner whether it may: long beside any failover, short beside how long a room lasts.
pub const HOME_LEAVE: Duration = Duration::from_secs(60);
/// And asks again this often.
pub const HOME_RENEWED_EVERY: Duration = Duration::from_secs(20);
/// An anchor's owner takes a home that has said nothing for so long for gone: its leave ended before.
pub const HOME_FORGOTTEN: Duration = Duration::from_secs(120);
/// A room moves to the region of most of its people once they have been the most for so long: people come to
/// a call within seconds of each other.
pub const HOME_AFTER: Duration = Duration::from_secs(5);
/// And up to so much later, each room at its own time: the rooms of a region that is back do not move at once.
pub const HOME_SPREAD: Duration = Duration::from_secs(5);
/// A room that was moved stays there at least for so long, whoever comes and goes.
pub const HOME_AGAIN: Duration = Duration::from_secs(20);
/// Shards of each region for rooms that are homed there: enough to share them evenly among a region's nodes, few
/// beside [`SHARDS`].
pub const HOME_SHARDS: usize = 64;
/// The same of all regions together, about: the rest of the shards may be anywhere.
pub const HOME_SHARDS_ALL: usize = 2048;
/// Gateways that seem to follow an empty room are asked this often whether they do.
pub const ASK_EMPTY_EVERY: Duration = Duration::from_secs(2);
/// Peers that owner and proxies remember after they left: a late signal to one is told `gone`, and
/// none of them comes back by an older list.
pub const LEFT_REMEMBERED: usize = 256;
/// Sessions that have ended and whose room has not heard it yet, of one proxy. Beyond it the room
/// is told that they are away instead.
pub const LEAVING_MAX: usize = 1024;
/// A client that waits for its welcome is told after this that the room has no owner.
pub const WELCOME_WITHIN: Duration = Duration::from_secs(5);

/// Events of the cluster that a node remembers for its operators.
pub const EVENTS_KEPT: usize = 1_000;
/// A gateway without a lease sends its clients elsewhere after this.
pub const LEASELESS_FOR: Duration = Duration::from_secs(3);
/// Over this they are spread.
pub const LEASELESS_SPREAD: Duration = Duration::from_secs(10);
/// Over this clients of a node that drains are spread.
pub const DRAIN_WITHIN: Duration = Duration::from_secs(30);
/// Frames that wait on a node for the epoch that they name: those of the moment between two nodes' applying
/// of one entry.
pub const EARLY_FRAMES: usize = 4_096;
/// A proxy that missed a frame, its mailbox being full, is told all of the room again after this.
pub const CATCH_UP: Duration = Duration::from_millis(100);
/// Addresses of nodes that a client is told of.
pub const NODES_TOLD: usize = 32;

/// A node that stops waits this long for the registry to make its last words durable.
pub const REGISTRY_STOP_WITHIN: Duration = Duration::from_secs(5);

// ---------------------------------------------------------------------------- behind a proxy

/// The longest PROXY protocol header that is read: addresses and what load balancers add (haproxy's
/// TLS details with a client certificate's name stay under 300 bytes).
pub const PROXY_HEADER_MAX: usize = 1024;
/// A proxy sends the header in its first segment (`proxy-protocol.txt` section 2); this allows for some that were
/// lost.
pub const PROXY_HEADER_WITHIN: Duration = Duration::from_secs(5);

// ------------------------------------------------------------------------------- long-term users

/// The longest name of a long-term user, in bytes (RFC 8489 section 14.3: fewer than 509).
pub const TURN_NAME_MAX: usize = 508;
/// The longest realm, in bytes (RFC 8489 section 14.9: fewer than 128 characters).
pub const TURN_REALM_MAX: usize = 127;
/// Long-term users of a cluster: every edge holds all of them.
pub const TURN_USERS_MAX: usize = 20_000;
/// Bytes that all of them take in an edge's view: 16,000 users with both keys and names and realms
/// of 20 bytes. A name that is longer takes the place of others.
pub const TURN_USERS_BYTES: usize = 2 * 1024 * 1024;
/// Bytes that one user takes there beside its name and its realm: both keys and the fields' names.
pub const TURN_USER_BYTES: usize = 88;
/// The longest file of credentials of an edge that runs alone, in bytes: 300,000 users.
pub const CREDENTIALS_FILE_MAX: u64 = 64 * 1024 * 1024;
/// Origins that have a realm of their own: all of them are one entry.
pub const TURN_ORIGINS_MAX: usize = 128;

// ------------------------------------------------------------------------------- data of the relay

/// Bits a second that one allocation may have relayed each way, headers included: several streams of
/// ultra-high definition at once, or a file as fast as most links take it.
pub const ALLOCATION_BANDWIDTH: u64 = 50_000_000;
/// What it may have at once after a pause, as time at its bandwidth: the first pictures of all of a
/// camera's layers, and a probe of the link. No second carries more than twice the bandwidth so.
pub const BANDWIDTH_BURST: Duration = Duration::from_millis(500);
/// Bits a second that one edge relays each way, headers included, unless its operator says otherwise:
/// the network card of a usual server. What exceeds it would be dropped by the card, whoever's it is.
pub const BANDWIDTH: u64 = 10_000_000_000;
/// The least that either may be set to, but for none at all: one window must hold a packet of 1500 bytes, or
/// none of that length would ever pass.
pub const BANDWIDTH_MIN: u64 = 128_000;
/// Over this the bandwidth of an edge is shared: short enough that who is cut feels it within a round
/// trip or two, long enough for a sound packet of everybody (20 ms each) and a picture (33 ms).
pub const BANDWIDTH_WINDOW: Duration = Duration::from_millis(100);
/// ICMP errors that one client is told at once: one for each candidate pair of an ICE check.
pub const ICMP_ERRORS_BURST: u32 = 32;
/// And one each this long: a peer's network cannot make an edge flood its client.
pub const ICMP_ERROR_EVERY: Duration = Duration::from_millis(100);
/// ICMP errors taken from one relayed socket before the next socket has its turn.
pub const ICMP_BURST: usize = 16;
/// A limit that is met again and again is told this often, with how often it was met.
pub const LIMIT_TOLD_EVERY: Duration = Duration::from_secs(10);

// ------------------------------------------------------------------------------------------- operators

/// Operators of a cluster: each node holds all of them in memory.
pub const OPERATORS_MAX: usize = 1_000;
/// The longest hash of a password, as a PHC string: argon2id with 16 bytes of salt and 32 of hash takes 97.
pub const PASSWORD_HASH_MAX: usize = 256;
/// The shortest password, in characters (OWASP ASVS 5.0, 6.2.1),
pub const PASSWORD_MIN: usize = 8;
/// what is advised (likewise),
pub const PASSWORD_ADVISED: usize = 15;
/// and the longest: 64 must be taken (ASVS 5.0, 6.2.9), and more than this is no password but a load.
pub const PASSWORD_MAX: usize = 128;
/// One-time links that nobody has used yet: whoever invites a thousand waits for some to come.
pub const LINKS_MAX: usize = 1_000;
/// How long a link is good unless said otherwise: until the next working day.
pub const LINK_TTL: Duration = Duration::from_secs(86_400);
/// The longest that it may be: it is worth as much as a password.
pub const LINK_TTL_MAX: Duration = Duration::from_secs(7 * 86_400);
/// Logins of one operator: a few browsers and machines. The one seen longest ago ends when one more comes.
pub const LOGINS_PER_OPERATOR: usize = 16;
/// A login ends when it was not used for this long (ASVS 5.0, 7.3.1),
pub const LOGIN_IDLE: Duration = Duration::from_secs(3_600);
/// and this long after it began in any case (ASVS 5.0, 7.3.2): a working day.
pub const LOGIN_FOR: Duration = Duration::from_secs(12 * 3_600);
/// That a login is used is written into the registry this often at most: an entry for each of a thousand
/// operators is under two a second.
pub const LOGIN_SEEN_EVERY: Duration = Duration::from_secs(600);
/// The longest `User-Agent` that is kept of a login, in bytes: what names browser and system is in front.
pub const LOGIN_AGENT_MAX: usize = 128;
/// The longest text of a login's address, in bytes: IPv6 takes 45.
pub const LOGIN_FROM_MAX: usize = 64;
/// A browser from which somebody has logged in is known for so long after.
pub const DEVICE_COOKIE_FOR: Duration = Duration::from_secs(180 * 86_400);
/// Wrong passwords of one source at one account at once: more than a person tries who knows it,
pub const GUESSES_BURST: u32 = 5;
/// and one in this time for long: 480 a day, which finds no password of eight characters.
pub const GUESSES_EVERY: Duration = Duration::from_secs(180);
/// Those of one source at whatever accounts at once: an office behind one address,
pub const GUESSES_SOURCE_BURST: u32 = 30;
/// and one in this time for long.
pub const GUESSES_SOURCE_EVERY: Duration = Duration::from_secs(30);
/// Those at one account of all who are not known there at once,
pub const GUESSES_ACCOUNT_BURST: u32 = 30;
/// and one in this time for long.
pub const GUESSES_ACCOUNT_EVERY: Duration = Duration::from_secs(10);
/// So far ahead they may queue: a browser waits that long and longer for an answer.
pub const GUESSES_ACCOUNT_QUEUE: Duration = Duration::from_secs(10);
/// Those of a browser that is known there at once: as many as a person tries who half knows it,
pub const GUESSES_DEVICE_BURST: u32 = 10;
/// and one in this time for long.
pub const GUESSES_DEVICE_EVERY: Duration = Duration::from_secs(60);
/// Sources, accounts, pairs of them, and browsers that are counted, of each: under 2 MB together.
pub const GUESSES_TABLE_MAX: usize = 4_096;
/// Passwords of strangers that are hashed at once on a node: each takes a core for 50 ms, and 46 MiB.
pub const HASHES_OF_STRANGERS: usize = 2;
/// Those of browsers that are known, and new ones.
pub const HASHES_OF_KNOWN: usize = 2;
/// Strangers that wait for it: two seconds' worth, and more are told to come again.
pub const HASHES_WAITING: usize = 64;
/// Access tokens for programs, of all operators.
pub const ACCESS_TOKENS_MAX: usize = 1_000;
/// The longest label of one, in bytes.
pub const ACCESS_TOKEN_LABEL_MAX: usize = 128;
/// How long one is good unless said otherwise,
pub const ACCESS_TOKEN_TTL: Duration = Duration::from_secs(90 * 86_400);
/// and at most: what nobody renews within a year nobody remembers.
pub const ACCESS_TOKEN_TTL_MAX: Duration = Duration::from_secs(366 * 86_400);
/// Bytes of a hash (SHA-256) of what links, cookies and tokens hold.
pub const ACCESS_HASH_BYTES: usize = 32;

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
/// The longest message of Raft but a snapshot, in bytes: entries up to [`APPEND_BYTES_MAX`] and what goes
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

// ----------------------------------------------------------------------------- the health of edges

/// Bytes of what a failed probe tells in words.
pub const PROBE_TEXT_MAX: usize = 160;
/// A figure of an edge that is high from one value on, and low again below another, so that one that sways about
/// a single value does not sway the edge.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Threshold {
    /// From here on it is high.
    pub high: f64,
    /// Below this it is low again.
    pub low: f64,
}
/// A figure is high when it has been for this long: longer than a burst of joins, a few reports.
pub const EDGE_HIGH_FOR: Duration = Duration::from_secs(4);
/// And low again when it has been for this long: clients that were kept away must not come back as one herd at the
/// first quiet second.
pub const EDGE_LOW_FOR: Duration = Duration::from_secs(15);
/// Allocations as a part of the capacity: what is left is for those who are on their way, and for who moves here
/// from an edge that dies.
pub const EDGE_FULL: Threshold = Threshold { high: 0.9, low: 0.8 };
/// What the relaying thread uses of its core: above it packets begin to wait for each other.
pub const EDGE_BUSY: Threshold = Threshold { high: 0.85, low: 0.7 };
/// The longest turn of the loop in microseconds: beyond it a jitter buffer of usual length runs empty.
pub const EDGE_LAG_US: Threshold = Threshold { high: 100_000.0, low: 30_000.0 };
/// Datagrams that the kernel drops, as a part of those that come: one in a hundred is seen in a video.
pub const EDGE_RECEIVE_DROPS: Threshold = Threshold { high: 0.01, low: 0.001 };
/// File descriptors as a part of their limit: an allocation takes one.
pub const EDGE_FILES: Threshold = Threshold { high: 0.9, low: 0.8 };
/// Memory as a part of its limit, at which the process is killed.
pub const EDGE_MEMORY: Threshold = Threshold { high: 0.9, low: 0.8 };
/// Bits a second as a part of the limit, at which allocations are held to their fair share.
pub const EDGE_BANDWIDTH: Threshold = Threshold { high: 0.9, low: 0.75 };
/// A certificate that ends within this is said to: three days are a weekend and a day.
pub const CERTIFICATE_ENDS_SOON: Duration = Duration::from_secs(3 * 86_400);
/// An edge is probed from outside this often by each node that it reports to, or after
/// [`OUTSIDE_AGAIN`] where only one prober has found a fault.
pub const OUTSIDE_EVERY: Duration = Duration::from_secs(30);
/// See [`OUTSIDE_EVERY`].
pub const OUTSIDE_AGAIN: Duration = Duration::from_secs(2);
/// What a prober found is believed for this long: with two probers in turns each comes again in half of it.
pub const OUTSIDE_FRESH: Duration = Duration::from_secs(150);
/// A probe of one listener is given up after this: a Binding, an Allocate with its challenge and a permission,
/// each of which may be lost once (500 ms), and the datagram.
pub const PROBE_OUTSIDE_WITHIN: Duration = Duration::from_secs(4);
/// Probes of other edges that one edge or node makes at once; more are turned away.
pub const PROBES_AT_ONCE: usize = 8;
/// Listeners that one probe asks at most.
pub const PROBE_LISTENERS_MAX: usize = 32;
/// Of them so many at once.
pub const PROBE_LISTENERS_AT_ONCE: usize = 8;
/// The answer of a prober is waited for so long: every listener may be silent, and the uplinks take their time.
pub const PROBE_ANSWER_WITHIN: Duration = Duration::from_secs(20);
/// The credential of a probe is good for this long.
pub const PROBE_CREDENTIAL_TTL: Duration = Duration::from_secs(120);
/// An edge makes an allocation on each of its own listeners this often.
pub const PROBE_ALLOCATE_EVERY: Duration = Duration::from_secs(30);
/// Allocations of probes that an edge has at once.
pub const PROBE_ALLOCATIONS_MAX: usize = 64;
/// An edge with fewer free relay ports gives none to a probe: they are for people, and a port rests after its use.
pub const PROBE_PORTS_FREE: usize = 256;

// ------------------------------------------------------------- what sessions say of edges, and drains

/// ICE failures a second that one session may report, and at once: one for each edge and way to fail that it
/// was handed.
pub const ICE_FAILURES_PER_SEC: u32 = 1;
/// See [`ICE_FAILURES_PER_SEC`].
pub const ICE_FAILURES_BURST: u32 = 8;
/// Edges of which a session remembers that its client was handed them.
pub const EDGES_HANDED: usize = 16;
/// Edges under drain that clients are told of.
pub const DRAINING_TOLD: usize = 16;
/// Sessions a second that one node sends away from an edge that drains: each restarts ICE for each of its
/// connections, and its others answer.
pub const DRAIN_SESSIONS_PER_SEC: u32 = 50;
/// The least time over which they are spread, and the most.
pub const DRAIN_SPREAD: std::ops::RangeInclusive<Duration> =
    Duration::from_secs(2)..=Duration::from_secs(600);
/// Once there is an edge again, sessions that have none are told within this: each at a time of its own, so that not all
/// of them allocate at once there.
pub const EDGE_UP_WITHIN: Duration = Duration::from_secs(2);
/// Sessions that have one are asked to measure again this long after another edge came up: what comes back after an
/// outage comes within the first of it, and who measures then does not do so in the same moment as all others.
pub const EDGE_UP_MEASURE: std::ops::RangeInclusive<Duration> =
    Duration::from_secs(10)..=Duration::from_secs(60);

// --------------------------------------------------------------------------- where else clients are sent

/// Listeners of each family that an edge may send new clients to: enough that those of one that drains or is full
/// do not all meet at its nearest neighbour.
pub const ALTERNATES_MAX: usize = 4;
/// Clients of one source that an edge that is full sends elsewhere at once, and a second for long. Beyond it they
/// get the 508 that is true here: so two edges that are both full do not hand somebody to and fro.
pub const REDIRECTS_BURST: u32 = 16;
/// See [`REDIRECTS_BURST`].
pub const REDIRECTS_PER_SEC: u32 = 1;

// ---------------------------------------------------------------------------- what operators see live

/// Streams of server-sent events on one node: each holds a connection and asks the cluster now and then. Some twenty
/// operators with a few pages open each.
pub const EVENT_STREAMS_MAX: usize = 256;
/// Of them, those of one operator: a browser opens six connections to a host (HTTP/1.1), and there may be two browsers.
pub const EVENT_STREAMS_PER_OPERATOR: usize = 12;
/// Events of one stream that wait for its client: whoever finds them waits too.
pub const EVENT_QUEUE: usize = 16;
/// A stream that has nothing to say says so after this: a proxy between closes what is silent for 60 s (nginx), and a
/// client that has gone is noticed by what cannot be written.
pub const EVENT_TOLD_EVERY: Duration = Duration::from_secs(15);
/// A stream ends after this and its client comes back, as one who must be allowed anew.
pub const EVENT_STREAM_FOR: Duration = Duration::from_secs(5 * 60);
/// A browser comes back after this.
pub const EVENT_RETRY: Duration = Duration::from_secs(2);
/// A room is watched for so long after the last question: a page asks twice a second, and survives a move of the room.
pub const WATCH_FOR: Duration = Duration::from_secs(10);
/// Rooms that are watched on one node at a time: what more are asked for is refused.
pub const WATCHES_MAX: usize = 64;
/// What a watch holds: of a room of ten, in which everybody offers to everybody, all of its beginning.
pub const WATCH_ENTRIES: usize = 2_000;
/// The same in bytes: some hundred offers of six cameras; 256 MB on a node whose watches are all full.
pub const WATCH_BYTES: usize = 4 * 1024 * 1024;
/// Pairs of peers of which a watch knows the last signal. What more of them say again is shown again.
pub const WATCH_PAIRS_MAX: usize = 16 * 1024;
/// What passed, in one answer.
pub const SIGNALS_PAGE: usize = 500;
/// The same in bytes, and the one that goes over it.
pub const SIGNALS_PAGE_BYTES: usize = 512 * 1024;
/// An open page asks for what passed this often: as fast as eyes follow, and long before a watch ends.
pub const SIGNALS_EVERY: Duration = Duration::from_millis(500);
/// A node samples its figures this often.
pub const HISTORY_EVERY: Duration = Duration::from_secs(10);
/// Of each figure: steps of so many seconds, so many of them. An hour, six hours, two days.
pub const HISTORY_LEVELS: [(u64, usize); 3] = [(10, 360), (60, 360), (300, 576)];
/// Figures of a node: 52 KB each, 27 MB in all.
pub const HISTORY_SERIES_MAX: usize = 512;
/// Apps and edges that have figures of their own: those that relay most; the others are one more.
pub const HISTORY_TOP: usize = 50;
/// Points in one answer: as many as are seen on a wide page.
pub const HISTORY_POINTS_MAX: usize = 720;
/// What a client calls itself (`User-Agent`), in bytes: browsers' are some 150.
pub const AGENT_MAX: usize = 256;
/// Media sections of an SDP that are shown: a call of six cameras has twelve.
pub const SHOWN_MEDIA_MAX: usize = 32;
/// Codecs of a section: Chromium offers some fifteen for video.
pub const SHOWN_CODECS_MAX: usize = 32;
/// Candidates of a section.
pub const SHOWN_CANDIDATES_MAX: usize = 32;
/// Names in a payload of an app's own kind, and candidates in one payload.
pub const SHOWN_KEYS_MAX: usize = 32;
/// Bytes of a text that is looked for.
pub const SHOWN_TEXT_MAX: usize = 256;
/// The longest id of an event: a browser says it in a header.
pub const EVENT_ID_MAX: usize = 64;

// ---------------------------------------------------------------------------- what programs ask for

/// Items of a page of a list unless asked otherwise: a screen or two.
pub const PAGE_ITEMS: usize = 100;
/// And at most: an item takes a few kilobytes at most, so that a page is some megabytes.
pub const PAGE_ITEMS_MAX: usize = 1000;
/// The longest cursor, in characters: the longest key is an app, a room and a time, in JSON and base64.
pub const PAGE_CURSOR_MAX: usize = 512;
/// An answer is kept so long for the repeats of its idempotency key: longer than a program or a queue tries again.
pub const IDEMPOTENCY_FOR: Duration = Duration::from_secs(24 * 3600);
/// One that holds a secret that is told once: longer than a client that lost its connection takes to try again.
pub const IDEMPOTENCY_SECRET_FOR: Duration = Duration::from_secs(10 * 60);
/// The longest idempotency key, in bytes: a UUID takes 36.
pub const IDEMPOTENCY_KEY_MAX: usize = 128;
/// Keys that a node remembers.
pub const IDEMPOTENCY_KEYS_MAX: usize = 4096;
/// Of them, those of one who asks: nobody drives out the others' by making many.
pub const IDEMPOTENCY_KEYS_PER_OPERATOR: usize = 1024;
/// The longest answer that is kept, in bytes; 16 MB in all keys. One that is longer is made anew for a repeat.
pub const IDEMPOTENCY_ANSWER_MAX: usize = 4096;

// ------------------------------------------------------------------------------------------- usage

/// An edge says what its users have relayed this often.
pub const USAGE_EVERY: Duration = Duration::from_secs(5);
/// Users of one such frame: 64 bytes of counts and a name each.
pub const USAGE_FRAME: usize = 512;
/// Allocations whose counts are read in one turn of an edge's loop: some 100 µs.
pub const USAGE_TURN: usize = 4096;
/// Users that an edge counts for at a time, those included that have gone and whose last count no node has taken.
pub const USAGE_USERS_MAX: usize = 2 * ALLOCATIONS_MAX as usize;
/// A series of counts ends after this, once all of it is taken; the next one begins at nothing. One of which a part
/// was said and never answered is said again for as long once more, then that part is believed to have been heard.
pub const USAGE_SERIES_FOR: Duration = Duration::from_secs(5 * 60);
/// A node remembers a series for this long after it was heard first: beyond the last word on it, however late. A
/// user that has relayed nothing for this long is forgotten; its room has what it relayed.
pub const USAGE_KEPT: Duration = Duration::from_secs(15 * 60);
/// Users whose usage a node remembers one by one: those of the whole cluster that relay. What more of them relay
/// is counted for their rooms where these are known.
pub const USAGE_SESSIONS_MAX: usize = 2 * SESSIONS_MAX;
/// Series that a node remembers, 100 bytes each: some four of a user on one edge, and few users relay for so long.
/// What a further one says is not counted.
pub const USAGE_SERIES_MAX: usize = 2 * USAGE_SESSIONS_MAX;
/// Rooms whose usage a node remembers, those that have ended included.
pub const USAGE_ROOMS_MAX: usize = 100_000;
/// A node says of a session of its own that relays which room it is in, again after this: for nodes that are new.
pub const USAGE_ROOM_TOLD_EVERY: Duration = Duration::from_secs(60);
/// Bytes of one frame of usage between nodes: it shares its stream with leases.
pub const USAGE_BYTES: usize = 16 * 1024;
/// Names and figures in one answer about usage.
pub const USAGE_PAGE: usize = 1024;

// Certificates by ACME (RFC 8555).

/// Names of one certificate: as many as Let's Encrypt takes.
pub const ACME_NAMES_MAX: usize = 100;
/// Bytes of an answer of an authority. The longest is a chain with that many names.
pub const ACME_ANSWER_MAX: usize = 256 * 1024;
/// Each address of an authority has this long for a connection: the next one is tried then.
pub const ACME_CONNECT_WITHIN: Duration = Duration::from_secs(5);
/// An authority answers a request within this, connection and handshake included.
pub const ACME_REQUEST_WITHIN: Duration = Duration::from_secs(30);
/// It validates all names, and issues, within this each: it looks from several places, and queues.
pub const ACME_ISSUED_WITHIN: Duration = Duration::from_secs(180);
/// The pause after a first failure; each further one doubles it. Let's Encrypt lets five validations of a name
/// fail in an hour: 0, 2, 6, 14 and 30 minutes are five.
pub const ACME_RETRY_FIRST: Duration = Duration::from_secs(120);
/// The longest pause: what an operator mends is noticed within a day's shift.
pub const ACME_RETRY_MAX: Duration = Duration::from_secs(6 * 3600);
/// An authority is asked this often when it wants a certificate renewed (RFC 9773 section 4.3.2: it may say so
/// itself, and is asked no more often than each minute and no more rarely than each day).
pub const ACME_INFO_EVERY: Duration = Duration::from_secs(6 * 3600);
/// A request for a challenge's answer is complete within this.
pub const ACME_CHALLENGE_WITHIN: Duration = Duration::from_secs(5);
/// Bytes of such a request: a line and a few headers.
pub const ACME_CHALLENGE_MAX: usize = 4096;
/// Such requests at once: an authority asks from a handful of places for each name.
pub const ACME_CHALLENGES_MAX: usize = 64;

// ------------------------------------------------------------------------------------ selection

/// Edges whose measurements a session keeps: a few rounds of what it is asked to measure.
pub const MEASURED_EDGES_MAX: usize = 32;
/// Measurements of one edge that are kept: the least, and those that are less than all after them.
pub const MEASURED_KEPT: usize = 8;
/// Networks whose word on ICE through an edge a node keeps, over all edges: 4 MB.
pub const ICE_VOICES_MAX: usize = 65_536;
/// Edges over which a session's own ICE failed that are remembered.
pub const SHUNNED_MAX: usize = 8;
/// How often a session is asked to measure more before its credentials are renewed: where nobody knows where it
/// is, once all over the globe, and then twice around what was nearest.
pub const MEASURE_ROUNDS: u32 = 3;
/// Regions whose coordinates operators may set.
pub const SELECT_REGIONS_MAX: usize = 256;
/// Networks that operators may place.
pub const SELECT_NETWORKS_MAX: usize = 512;
/// Rules about edges for clients.
pub const SELECT_RULES_MAX: usize = 64;
/// Regions that one rule may name.
pub const RULE_REGIONS_MAX: usize = 64;
/// Regions that all rules together may name: the policy is one entry of the registry.
pub const SELECT_RULES_REGIONS_MAX: usize = 256;
/// Questions for the nearest edges that one source address may ask a second, IPv6 by /64: an office behind one
/// address asks once for each of its people, not again and again.
pub const NEAREST_PER_SEC: u32 = 10;
/// And at once.
pub const NEAREST_BURST: u32 = 100;

// --------------------------------------------------------------------- timing fetches of an edge

/// Bytes of the head of an HTTP request that an edge reads: a browser's fetch without cookies has under 1 KB.
pub const HTTP_HEAD_MAX: usize = 4096;
/// Requests of one connection that an edge answers: a measurement takes two. The connection itself ends
/// [`STREAM_MESSAGE_WITHIN`] after it began, and counts as one from which no whole message has come.
pub const HTTP_REQUESTS_MAX: u32 = 16;
/// Requests of one source that an edge answers at once: an office behind one NAT, each of its people with two.
pub const HTTP_BURST_PER_SOURCE: u32 = 512;
/// The same for long, a second: each takes a few microseconds of the loop that relays media.
pub const HTTP_PER_SEC_PER_SOURCE: u32 = 50;

// ------------------------------------------------------------------------------ an edge's health page

/// Connections to it at once: an operator or two, a load balancer, Prometheus.
pub const HEALTH_CONNECTIONS_MAX: usize = 64;
/// The head of a request is complete within this, and a connection without one is closed after it.
pub const HEALTH_REQUEST_WITHIN: Duration = Duration::from_secs(5);

// ------------------------------------------------------------------- allocations, for operators

/// Places of allocations that an edge's loop looks at in one turn for who lists or closes them: some 100 µs, as
/// [`USAGE_TURN`].
pub const ALLOCATIONS_TURN: u32 = 4096;
/// Allocations in one answer of an edge: a line each, with the longest name under a kilobyte.
pub const ALLOCATIONS_PAGE: usize = 256;
/// Sessions that one question for allocations may name: those of a large room.
pub const ALLOCATION_SESSIONS_MAX: usize = 1024;
/// Questions of nodes that an edge works at, at a time, and that a node has under way with one edge: operators are
/// few, and each asks again when it is told that there are more.
pub const EDGE_ASKS: usize = 4;
/// An edge must have answered within this: it asks its loop a few times, which relays meanwhile.
pub const EDGE_ASK_WITHIN: Duration = Duration::from_secs(1);

// ------------------------------------------------------------------------------- issued credentials

/// The longest life of a credential that an operator or an app's server issues. Whoever holds it relays at the
/// operator's cost, so it is no key for ever: a device that needs one for longer is given the next one. Every edge
/// remembers the revocation of one for so long.
pub const ISSUED_TTL_MAX: Duration = Duration::from_secs(30 * 86_400);
/// Issued credentials that are kept until they expire, the revoked ones too: their revocations are a tenth of
/// [`REVOKED_MAX`] at most.
pub const ISSUED_MAX: usize = 10_000;
/// Of them those of one app: no app takes the place of the others.
pub const ISSUED_PER_APP: usize = 2_000;
/// The longest label of one, in bytes of UTF-8.
pub const ISSUED_LABEL_MAX: usize = 128;
/// Edges that one may name for its URLs.
pub const ISSUED_EDGES_MAX: usize = 16;
/// Edges whose URLs one is given at most: browsers slow down with more than a few servers.
pub const ISSUED_SERVERS_MAX: usize = 8;
/// The shortest overlap of two shared secrets that may be asked for without force: what sessions were handed out
/// by the old one lasts so long.
pub const SECRET_OVERLAP: Duration = CREDENTIAL_TTL_MAX;

const _: () = {
    assert!(ALLOCATIONS_PAGE * (TURN_NAME_MAX + TURN_REALM_MAX + 512) < UPLINK_FRAME_MAX);
    assert!(ALLOCATION_SESSIONS_MAX * 32 + 1024 < CONTROL_FRAME_MAX);
    assert!(CREDENTIAL_TTL_MAX.as_secs() <= ISSUED_TTL_MAX.as_secs());
    assert!(ISSUED_MAX * 10 <= REVOKED_MAX && ISSUED_PER_APP < ISSUED_MAX);
    assert!(ISSUED_LABEL_MAX <= AUDIT_TEXT_MAX / 2);
};
// -------------------------------------------------------------------------------------- webhooks

/// Webhooks of one app: a handful of servers, with a test and a production form of each.
pub const HOOKS_PER_APP: usize = 16;
/// Webhooks of a cluster: each node holds all of them, and what lately happened to each.
pub const HOOKS_MAX: usize = 1_000;
/// The longest URL of a webhook, in bytes: some receivers have their own key in it.
pub const HOOK_URL_MAX: usize = 1024;
/// The longest label of a webhook, in bytes.
pub const HOOK_LABEL_MAX: usize = 128;
/// The fewest and the most bytes of a webhook's secret, as Standard Webhooks 1.0 has it.
pub const HOOK_SECRET_BYTES: std::ops::RangeInclusive<usize> = 24..=64;
/// Secrets of a webhook that sign at a time: the new one and the one before.
pub const HOOK_SECRETS: usize = 2;
/// The first wait between two attempts: that of Standard Webhooks 1.0. It doubles up to [`HOOK_RETRY_MAX`].
pub const HOOK_RETRY_FIRST: Duration = Duration::from_secs(5);
/// The longest wait between two attempts: an endpoint that is back has missed no more than an hour.
pub const HOOK_RETRY_MAX: Duration = Duration::from_secs(3600);
/// An event that was not taken for this long is given up: whoever was away for a day asks who is there.
pub const HOOK_RETRY_FOR: Duration = Duration::from_secs(24 * 3600);
/// So many attempts in a row that failed, of whichever rooms, and the endpoint is taken to be away: one request at
/// a time is sent until one is taken.
pub const HOOK_FAILING_AFTER: u32 = 3;
/// The longest wait between two such requests. Shorter than [`HOOK_RETRY_MAX`], since one event that an endpoint
/// cannot take must not keep the others away for an hour.
pub const HOOK_PROBE_MAX: Duration = Duration::from_secs(300);
/// A request, from the name's resolution to the end of what is read of the answer.
pub const HOOK_WITHIN: Duration = Duration::from_secs(10);
/// Requests of one webhook at a time, each of another room.
pub const HOOK_IN_FLIGHT: usize = 8;
/// Requests of a node at a time.
pub const HOOKS_IN_FLIGHT: usize = 64;
/// Events that wait for one webhook on one node: twenty minutes of a busy app.
pub const HOOK_QUEUE_MAX: usize = 10_000;
/// Their bodies, in bytes.
pub const HOOK_QUEUE_BYTES: usize = 16 * 1024 * 1024;
/// Bodies that wait on one node for all webhooks, in bytes.
pub const HOOKS_QUEUE_BYTES: usize = 64 * 1024 * 1024;
/// Deliveries of one webhook that are remembered on one node when they are over.
pub const HOOK_LOG_MAX: usize = 100;
/// Their bodies, in bytes: of [`HOOKS_MAX`] webhooks together no more than waits.
pub const HOOK_LOG_BYTES: usize = 64 * 1024;
/// Attempts that are remembered of a delivery: the last ones.
pub const HOOK_ATTEMPTS_KEPT: usize = 8;
/// Bytes of an answer that are read, and kept to be looked at.
pub const HOOK_ANSWER_MAX: usize = 256;
/// Bytes of the words on an attempt that came to no answer.
pub const HOOK_FAULT_MAX: usize = 256;
/// Deliveries in one answer about them.
pub const HOOK_PAGE: usize = 100;
/// Tests of webhooks that one node makes at a time.
pub const HOOK_TESTS_MAX: usize = 8;
/// Addresses of an endpoint's name that are tried.
pub const HOOK_ADDRESSES_MAX: usize = 4;

const _: () = {
    assert!(HOOK_LOG_BYTES * HOOKS_MAX <= HOOKS_QUEUE_BYTES && HOOK_QUEUE_BYTES < HOOKS_QUEUE_BYTES);
    assert!(HOOKS_PER_APP <= HOOKS_MAX && HOOK_IN_FLIGHT < HOOKS_IN_FLIGHT && HOOK_FAILING_AFTER > 0);
    assert!(HOOK_RETRY_FIRST.as_secs() < HOOK_PROBE_MAX.as_secs());
    assert!(HOOK_PROBE_MAX.as_secs() < HOOK_RETRY_MAX.as_secs());
    assert!(HOOK_RETRY_MAX.as_secs() < HOOK_RETRY_FOR.as_secs());
    assert!(HOOK_WITHIN.as_secs() > 0 && HOOK_PAGE <= HOOK_LOG_MAX);
    // The body of an event holds a name and metadata, and ids; its delivery the words on attempts.
    assert!(
        HOOK_PAGE
            * (METADATA_MAX
                + NAME_MAX
                + 1024
                + HOOK_ATTEMPTS_KEPT * (HOOK_ANSWER_MAX * 3 + HOOK_FAULT_MAX + 64))
            < MESH_FRAME_MAX
    );
    assert!(HOOK_URL_MAX + HOOK_LABEL_MAX + 4096 < ENTRY_MAX);
};

const _: () = {
    // The longest name and four counts of nine bytes.
    assert!(USAGE_FRAME * (TURN_NAME_MAX + 128) < UPLINK_FRAME_MAX && UPLINK_FRAME_MAX <= MESH_FRAME_MAX);
    assert!(USAGE_PAGE * (TURN_NAME_MAX + 128) < MESH_FRAME_MAX && USAGE_BYTES < CONTROL_FRAME_MAX);
    // No word on a series comes so late that it has been forgotten.
    assert!(2 * USAGE_SERIES_FOR.as_secs() + 60 < USAGE_KEPT.as_secs());
    assert!(CREDENTIAL_TTL_MIN.as_secs() < CREDENTIAL_TTL.as_secs());
    assert!(CREDENTIAL_TTL.as_secs() <= CREDENTIAL_TTL_MAX.as_secs());
    assert!(
        SELECT_NETWORKS_MAX * 128 + SELECT_REGIONS_MAX * 96 + SELECT_RULES_REGIONS_MAX * 68
            < ENTRY_MAX - 8192
    );
    // A room's name, and its app's, are written in at most 256 bytes.
    assert!(ROOMS_PAGE * 256 < MESH_FRAME_MAX && EDGE_REPORTS_BYTES < CONTROL_FRAME_MAX);
    assert!(FEED_PIECE < MESH_FRAME_MAX && ENTRY_MAX <= FEED_BYTES_MAX);
    // A node that joins, or an authority, is one entry.
    assert!(AUTHORITY_CERTIFICATE_MAX + AUTHORITY_KEY_MAX + 4096 < ENTRY_MAX);
    assert!(NODE_ADDRESSES_MAX * (URL_MAX + 64) + 4096 < ENTRY_MAX);
    assert!(CLOCK_SKEW.as_secs() < INVITATION_TTL_MAX.as_secs());
    assert!(PAYLOAD_MAX < CLIENT_FRAME_MAX);
    // A mark is written in at most 40 bytes, beside a resume token.
    assert!(MARKS_MAX * 40 + METADATA_MAX < CLIENT_FRAME_MAX);
    // A revocation is written in at most 48.
    assert!(REVOKED_MAX * 48 < MESH_FRAME_MAX);
    // And with the fleet's relay ranges, users, origins, prefixes of peers, secrets and authorities the
    // whole view of an edge is one frame.
    assert!(
        REVOKED_MAX * 48
            + EDGES_MAX * EDGE_RELAYS_MAX * 68
            + TURN_USERS_BYTES
            + TURN_ORIGINS_MAX * (URL_MAX + TURN_REALM_MAX + 8)
            + 2 * PEER_PREFIXES_MAX * 64
            + NUMBERED_SECRETS_MAX * (*SECRET_BYTES.end() + AUTHORITY_CERTIFICATE_MAX + 32)
            + 4096
            < MESH_FRAME_MAX
    );
    assert!(METADATA_MAX + NAME_MAX < CLIENT_FRAME_MAX);
    assert!(CLIENT_FRAME_MAX < SOCKET_QUEUE_BYTES);
    assert!(UNACKED_BYTES_MAX <= SOCKET_QUEUE_BYTES);
    assert!(UNACKED_MAX <= SOCKET_QUEUE_FRAMES);
    assert!(PING_EVERY.as_millis() * 2 < SILENT_AFTER.as_millis());
    assert!(GRACE.as_millis() <= GRACE_MAX.as_millis());
    // A shard that is held for a grace has no leave of its former owner's left; clocks may differ by a part.
    assert!(2 * HOME_RENEWED_EVERY.as_millis() < HOME_LEAVE.as_millis());
    assert!(2 * HOME_LEAVE.as_millis() <= HOME_FORGOTTEN.as_millis());
    assert!(2 * HOME_LEAVE.as_millis() <= GRACE_MAX.as_millis());
    assert!(GRACE_MAX.as_millis() < RESUME_TTL.as_millis());
    assert!(ROOM_CAPACITY <= ROOM_CAPACITY_MAX);
    // A room's policy is one entry; a page of rooms is asked for with one more.
    assert!(METADATA_MAX + AUDIT_TEXT_MAX + 2048 < ENTRY_MAX && ROOMS_LISTED < ROOMS_PAGE);
    assert!(HEALTH_EVERY.as_millis() * 3 <= EDGE_LOST_AFTER.as_millis());
    assert!(CREDENTIAL_REFRESH_AT < 100);
    assert!(ALLOCATIONS_PER_USER < ALLOCATIONS_PER_SOURCE);
    assert!(ALLOCATIONS_PER_SOURCE < ALLOCATIONS_MAX);
    assert!(CHANNELS_MAX <= PERMISSIONS_MAX);
    assert!(ADOPTED_WITHIN.as_millis() < GRACE.as_millis());
    // A resume token holds name and metadata, in base64, with less than a kilobyte besides.
    assert!(METADATA_MAX + NAME_MAX + 1024 < TOKEN_MAX / 4 * 3);
    assert!(CUSTODY_WITHIN.as_millis() < SUSPECT_EVERY.as_millis());
    assert!(SUSPECT_EVERY.as_millis() < RESEND_AFTER.as_millis());
    assert!(WELCOME_WITHIN.as_millis() < JOIN_WITHIN.as_millis());
    assert!(LIFETIME.as_secs() <= LIFETIME_MAX.as_secs());
    assert!(PERMISSION_LIFE.as_secs() <= CHANNEL_LIFE.as_secs());
    assert!(NONCE_LIFE.as_secs() <= 3600);
    assert!(RESERVATION_LIFE.as_secs() >= 30 && PORT_REST.as_secs() >= 120);
    assert!(SHARDS as usize * 13 + 1024 < ENTRY_MAX);
    assert!(ENTRY_MAX < MESH_FRAME_MAX);
    assert!(TURN_ORIGINS_MAX * (URL_MAX + TURN_REALM_MAX + 8) + 1024 < ENTRY_MAX);
    assert!(SLED_VALUE_MAX * 20 + 4096 < 128 * 1024 - 20);
    assert!(ENTRY_MAX <= APPEND_BYTES_MAX && APPEND_BYTES_MAX <= UNCOMMITTED_BYTES_MAX);
    assert!(LOG_TRAIL < SNAPSHOT_EVERY);
    assert!(CERTIFICATE_RENEW_AT < 100);
    assert!(
        CLOCK_SKEW.as_secs() < CERTIFICATE_TTL.as_secs()
            && CERTIFICATE_TTL.as_secs() < AUTHORITY_TTL.as_secs()
    );
    assert!(2 * SNAPSHOT_EVERY_BYTES + UNCOMMITTED_BYTES_MAX <= LOG_BYTES_MAX);
    assert!(KEYS_PER_APP >= 2 && NUMBERED_SECRETS_MAX >= 2);
    // As many sealing keys as are in force at once, and one.
    assert!(
        (RESUME_TTL.as_secs() + SEALING_KEY_REST.as_secs()) / SEALING_KEY_FOR.as_secs() + 3
            <= NUMBERED_SECRETS_MAX as u64
    );

    // The longest packet passes a full bucket.
    assert!(ALLOCATION_BANDWIDTH as u128 / 8 * BANDWIDTH_BURST.as_millis() / 1000 > 2 * 65_536);
    assert!(ALLOCATION_BANDWIDTH < BANDWIDTH);
    assert!(BANDWIDTH_MIN as u128 / 8 * BANDWIDTH_WINDOW.as_millis() / 1000 >= 1500);
    assert!(STREAM_MEDIA_BYTES > 65_536 + 64);
    assert!(HTTP_REQUESTS_MAX < HTTP_BURST_PER_SOURCE && HTTP_HEAD_MAX < STREAM_CONTROL_BYTES);
    assert!(HANDSHAKES_BURST_PER_SOURCE < HANDSHAKES_BURST && HANDSHAKES_PER_SEC < HANDSHAKES_BURST);
    assert!(HALF_OPEN_PER_SOURCE < HALF_OPEN_MAX && HALF_OPEN_MAX < STREAMS_MAX && HALF_OPEN_MAX < DTLS_MAX);
    assert!(HALF_OPEN_PER_SOURCE < STREAMS_PER_SOURCE as usize && WEB_PER_SOURCE as usize <= WEB_MAX);
    assert!(PROBE_WITHIN.as_millis() < PROBE_EVERY.as_millis());
    assert!(EDGE_LISTENERS_MAX <= PROBE_LISTENERS_MAX);
    assert!(
        PROBE_OUTSIDE_WITHIN.as_millis() * PROBE_LISTENERS_MAX.div_ceil(PROBE_LISTENERS_AT_ONCE) as u128
            + EDGE_LOST_AFTER.as_millis()
            < PROBE_ANSWER_WITHIN.as_millis()
    );
    assert!(PROBE_ANSWER_WITHIN.as_millis() < OUTSIDE_EVERY.as_millis());
    // What a prober found of one listener takes less than a kilobyte, and a user's figures.
    assert!(PROBE_LISTENERS_MAX * (URL_MAX + PROBE_TEXT_MAX + 512) < UPLINK_FRAME_MAX);
    assert!(4 * OUTSIDE_EVERY.as_millis() < OUTSIDE_FRESH.as_millis());
    assert!(EDGE_HIGH_FOR.as_millis() < EDGE_LOW_FOR.as_millis());
    // A header for UNIX sockets, the longest without additions.
    assert!(PROXY_HEADER_MAX >= 16 + 216);
    assert!(
        EVENT_STREAMS_PER_OPERATOR < EVENT_STREAMS_MAX && EVENT_RETRY.as_secs() < EVENT_TOLD_EVERY.as_secs()
    );
    assert!(EVENT_TOLD_EVERY.as_secs() * 4 <= 60 && EVENT_TOLD_EVERY.as_secs() < EVENT_STREAM_FOR.as_secs());
    assert!(PAGE_ITEMS <= PAGE_ITEMS_MAX && IDEMPOTENCY_KEYS_PER_OPERATOR < IDEMPOTENCY_KEYS_MAX);
    assert!(IDEMPOTENCY_SECRET_FOR.as_secs() < IDEMPOTENCY_FOR.as_secs());
    assert!(WATCH_FOR.as_millis() >= 10 * SIGNALS_EVERY.as_millis() && SIGNALS_PAGE <= WATCH_ENTRIES);
    assert!(SIGNALS_PAGE_BYTES + CLIENT_FRAME_MAX < MESH_FRAME_MAX && PAYLOAD_MAX < WATCH_BYTES);
    assert!(HISTORY_LEVELS[0].0 == HISTORY_EVERY.as_secs() && HISTORY_LEVELS[2].1 <= HISTORY_POINTS_MAX);
    assert!(NODE_LINK_KEEP_ALIVE.as_millis() * 4 <= NODE_LINK_IDLE.as_millis());
    assert!(NODE_LINK_IDLE.as_millis() < LINK_IDLE.as_millis());
    assert!(LINK_STREAM_WINDOW as u64 * LINK_STREAMS as u64 <= LINK_WINDOW as u64);
    assert!(2 * APPEND_BYTES_MAX <= RAFT_MESSAGE_MAX && RAFT_MESSAGE_MAX < MESH_FRAME_MAX);
    assert!(STRANGERS_UNHEARD < STRANGERS_MAX);
    assert!(NODE_ADDRESSES_MAX * (URL_MAX + 64) + 8192 < JOIN_REQUEST_MAX);
    assert!(JOIN_REQUEST_MAX < STRANGER_WINDOW as usize);
    assert!(ENTRY_MAX + 4096 < MESH_FRAME_MAX && CONTROL_FRAME_MAX < MESH_FRAME_MAX);
    assert!(ACME_RETRY_FIRST.as_secs() < ACME_RETRY_MAX.as_secs() && ACME_NAMES_MAX * 1024 < ACME_ANSWER_MAX);
};
