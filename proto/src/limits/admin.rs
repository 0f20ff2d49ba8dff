//! The admin API and the console: operators, logins, event streams, requests of programs.

use std::time::Duration;

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
/// The longest client id, claim, or value of a claim of an OpenID provider, in bytes: groups of Entra are UUIDs, those
/// of Keycloak paths.
pub const PROVIDER_TEXT_MAX: usize = 256;
/// The longest word on its button, and the longest scope, in bytes: what a button holds.
pub const PROVIDER_LABEL_MAX: usize = 64;
/// Scopes asked for beyond `openid`: mail, profile, groups, and a few of the provider's own.
pub const PROVIDER_SCOPES_MAX: usize = 16;
/// Values of its claim that give roles: each node holds them.
pub const PROVIDER_RULES_MAX: usize = 64;
/// The longest secret of a client, in bytes: providers make them of 32 to 64.
pub const PROVIDER_SECRET_MAX: usize = 1_024;
/// The longest subject, in bytes (OpenID Connect Core 1.0 section 2).
pub const PROVIDER_SUBJECT_MAX: usize = 255;
/// Bytes of the key that seals what a browser keeps while somebody is with the provider (ChaCha20-Poly1305).
pub const PROVIDER_SEAL_BYTES: usize = 32;
/// So long somebody may take at the provider: to find the second factor.
pub const PROVIDER_ENTRY_FOR: Duration = Duration::from_secs(600);
/// A provider has answered within this; else whoever waits is told.
pub const PROVIDER_WITHIN: Duration = Duration::from_secs(10);
/// The longest answer of a provider, in bytes: a set of ten RSA keys with certificates takes some 30 KB.
pub const PROVIDER_ANSWER_MAX: usize = 128 * 1024;
/// The longest ID token, in bytes: one with 200 groups takes some 10 KB.
pub const PROVIDER_TOKEN_MAX: usize = 64 * 1024;
/// What a provider says of itself, and its keys, is asked for again after this,
pub const PROVIDER_FRESH: Duration = Duration::from_secs(3_600);
/// and for a key that is not known, or where there was no answer, this often at most: strangers can ask for it.
pub const PROVIDER_AGAIN: Duration = Duration::from_secs(30);
/// Keys of one provider that are kept: some have two for each algorithm.
pub const PROVIDER_KEYS_MAX: usize = 64;
/// Clocks may differ by this much.
pub const PROVIDER_LEEWAY: Duration = Duration::from_secs(60);
/// Those whom one source brings back from a provider in vain at once: an office behind one address,
pub const PROVIDER_TRIES_BURST: u32 = 20;
/// and one in this time for long.
pub const PROVIDER_TRIES_EVERY: Duration = Duration::from_secs(30);
/// Bytes of a hash (SHA-256) of what links, cookies and tokens hold.
pub const ACCESS_HASH_BYTES: usize = 32;

// ---------------------------------------------------------------------------- what operators see live

/// Streams of server-sent events on one node: each holds a connection and asks the cluster now and then. Some twenty
/// operators with a few pages open each.
pub const EVENT_STREAMS_MAX: usize = 256;
/// Of them, those of apps' keys: the other half is left to operators.
pub const EVENT_STREAMS_OF_APPS: usize = 128;
/// Of them, those of one operator, or of one key: a browser opens six connections to a host (HTTP/1.1), and there may be two browsers.
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
/// Of them, those that apps' keys ask for.
pub const WATCHES_OF_APPS: usize = 32;
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
/// Lines of its log that a process keeps for operators: an hour of a busy one at `info`,
pub const LINES_KEPT: usize = 5_000;
/// and their bytes: what a node or an edge can spare, whatever is said.
pub const LINES_BYTES: usize = 2 * 1024 * 1024;
/// The longest line, in bytes: what is longer says the same again.
pub const LINE_MAX: usize = 4 * 1024;
/// Lines in one answer.
pub const LINES_PAGE: usize = 500;
/// The same in bytes, and the line that goes over it.
pub const LINES_PAGE_BYTES: usize = 256 * 1024;
/// Options that a process tells operators: its command line has some fifty,
pub const SETTINGS_MAX: usize = 128;
/// and the longest value of one, in bytes: a list of a hundred addresses.
pub const SETTING_MAX: usize = 2 * 1024;
/// An open page asks a node or an edge for new lines this often: as fast as eyes follow.
pub const LINES_EVERY: Duration = Duration::from_secs(1);
/// The longest name of a part of the program whose lines are asked for, in bytes: module paths take some 50.
pub const LINE_TARGET_MAX: usize = 128;
/// A process says more than usual for at most so long: whoever has forgotten it fills no disk.
pub const LEVEL_FOR_MAX: Duration = Duration::from_secs(3_600);
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
/// Figures that a node is asked for by another in one question: 8 of 720 points of some 60 bytes are 350 KB, since what
/// nodes say to each other shares its stream with leases.
pub const HISTORY_SERIES_ASKED: usize = 8;
/// Of figures that begin alike, those that are told in one answer: twice as many as a plot shows, since what is greatest
/// on one node may not be so in the whole.
pub const HISTORY_LINES: usize = 12;
/// A live part that all readers of a page share is rendered this often: what operators watch changes by the second.
pub const RENDER_EVERY: Duration = Duration::from_secs(2);
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

/// How often a change of a part is made from what is there before whoever asks is told that others were quicker each
/// time: two who save at once come through, and so do a few.
pub const CHANGE_ATTEMPTS: u32 = 4;
/// Requests that one access token, or one of an app's keys, may make of a node at once: a server that begins, and reads
/// what there is,
pub const API_REQUESTS_BURST: u32 = 1_000;
/// and one more each so long: a hundred a second, some join tokens for each meeting of a large app. A node answers
/// thousands; this keeps one program that runs wild from taking them all.
pub const API_REQUEST_EVERY: Duration = Duration::from_millis(10);
