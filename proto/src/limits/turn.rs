//! TURN: credentials, allocations, what is relayed; and what operators see of them.

use std::time::Duration;

use super::*;

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
/// Connection tests that somebody may begin at once: one of each edge of a large cluster, or of a room full of people
/// behind one operator.
pub const CONNECTION_TESTS_BURST: u32 = 20;
/// And one more each so long. With [`CONNECTION_TEST_TTL`] nobody holds more than twice [`CONNECTION_TESTS_BURST`]
/// credentials of tests.
pub const CONNECTION_TESTS_EVERY: Duration = Duration::from_secs(15);
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

// ------------------------------------------------------------------- allocations, for operators

/// Places of allocations that an edge's loop looks at in one turn for who lists or closes them: some 100 µs, as
/// [`USAGE_TURN`].
pub const ALLOCATIONS_TURN: u32 = 4096;
/// Allocations in one answer of an edge: a line each, with the longest name under a kilobyte.
pub const ALLOCATIONS_PAGE: usize = 256;
/// Edges are asked for one session's allocations twice, this far apart, to see what goes over them now: as long as a
/// person waits for a page, and longer than a silent voice's packets are apart.
pub const PATH_LOOKS_APART: Duration = Duration::from_secs(1);
/// Payload a second by which allocations of one session at an edge are said to carry media: 12 kbit/s, less than any
/// voice with what surrounds it, and more than the checks by which ICE keeps a few paths ready.
pub const PATH_MEDIA_BYTES: u64 = 1_500;
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
    assert!(ALLOCATIONS_PER_USER as usize <= ALLOCATIONS_PAGE); // one answer has all of a session's
    assert!(ALLOCATION_SESSIONS_MAX * 32 + 1024 < CONTROL_FRAME_MAX);
    assert!(CREDENTIAL_TTL_MAX.as_secs() <= ISSUED_TTL_MAX.as_secs());
    assert!(ISSUED_MAX * 10 <= REVOKED_MAX && ISSUED_PER_APP < ISSUED_MAX);
    assert!(ISSUED_LABEL_MAX <= AUDIT_TEXT_MAX / 2);
};
