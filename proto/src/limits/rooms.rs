//! Rooms and their shards, over many nodes.

use std::time::Duration;

// ---------------------------------------------------------------------------------------- shards

/// Room buckets of a cluster, fixed at bootstrap: enough that a hundred nodes share them within a
/// few per cent, few enough that the whole table is one small message.
pub const SHARDS: u16 = 4096;

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
/// Sessions that one node holds; fewer, where its process may not have [`SESSION_FILES`] open for each.
pub const SESSIONS_MAX: usize = 100_000;
/// File descriptors of a session: its socket, and the duplicate by which the socket is shut down from outside.
pub const SESSION_FILES: usize = 2;
/// File descriptors that a node keeps for everything else: its disk, other nodes, edges, and operators, who must get in
/// however many clients are there; half of them for sockets on which nobody has joined. Half of what a process has that may
/// open fewer than twice as many.
pub const NODE_FILES: usize = 2048;
/// Messages waiting in an actor's mailbox before a sender is told that it is full.
pub const MAILBOX: usize = 512;

/// People who wait to be let into one room: those who may answer are told of all of them at once, with their metadata.
pub const LOBBY_MAX: usize = 100;
/// Who waits for longer is told that nobody has answered: time enough for whoever comes an hour early.
pub const LOBBY_WAIT_MAX: Duration = Duration::from_secs(3600);
/// One of whom its gateway says nothing for so long waits no more: it says so every 8 s at least.
pub const LOBBY_UNHEARD: Duration = Duration::from_secs(30);
/// Whoever was denied may knock again after this: soon enough for a change of mind, seldom enough to leave those in peace
/// who answer.
pub const KNOCK_AGAIN_AFTER: Duration = Duration::from_secs(30);
/// What somebody who is not let in is told, in bytes: a sentence or two.
pub const DENY_REASON_MAX: usize = 256;

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
