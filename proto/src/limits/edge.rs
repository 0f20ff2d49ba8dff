//! An edge's own process: sockets, connections, handshakes.

use std::time::Duration;

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

// ---------------------------------------------------------------------------- behind a proxy

/// The longest PROXY protocol header that is read: addresses and what load balancers add (haproxy's
/// TLS details with a client certificate's name stay under 300 bytes).
pub const PROXY_HEADER_MAX: usize = 1024;
/// A proxy sends the header in its first segment (`proxy-protocol.txt` section 2); this allows for some that were
/// lost.
pub const PROXY_HEADER_WITHIN: Duration = Duration::from_secs(5);

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
