//! Webhooks.

use std::time::Duration;

use super::*;

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
/// Bodies that wait on one node for all webhooks, in bytes. Each app holds as many as are free at most: one alone half.
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
/// Of them, those that apps' keys ask for.
pub const HOOK_TESTS_OF_APPS: usize = 6;
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
