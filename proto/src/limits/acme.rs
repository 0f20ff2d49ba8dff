//! Certificates by ACME (RFC 8555).

use std::time::Duration;

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
