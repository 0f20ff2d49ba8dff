//! How limits of different kinds relate: what fits into what, and what comes before what.

use super::*;

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
    // A connection is written in at most 96.
    assert!(CONNECTIONS_MAX * 96 < CLIENT_FRAME_MAX);
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
    assert!(LOBBY_MAX * (METADATA_MAX + NAME_MAX + 256) < MESH_FRAME_MAX);
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
    // Who is away when it is moved is given a token when it is back.
    assert!(MOVED_WITHIN.as_millis() < GRACE.as_millis());
    assert!(MOVED_WITHIN.as_millis() < MOVE_TOKEN_MIN.as_millis());
    assert!(MOVE_TOKEN_MIN.as_millis() < RESUME_TTL.as_millis());
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
    assert!(LINES_PAGE <= LINES_KEPT && LINES_PAGE_BYTES + 2 * LINE_MAX < UPLINK_FRAME_MAX);
    assert!(LINES_PAGE_BYTES < LINES_BYTES && LINE_MAX < LINES_PAGE_BYTES);
    // A setting's name, default and variable take a quarter of a kilobyte each at most.
    assert!(SETTINGS_MAX * (SETTING_MAX + 768) < UPLINK_FRAME_MAX);
    assert!(ROUND_TRIP_FRESH.as_millis() >= OUTSIDE_FRESH.as_millis());
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
