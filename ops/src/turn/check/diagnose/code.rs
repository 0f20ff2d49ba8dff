//! Why a request is refused, by the number of its error response.

use chappe_proto::stun::{Code, Method};

use super::super::certificate::span;
use super::super::fault::Refusal;
use super::{Context, Diagnosis, of};

/// An error code.
pub(super) fn refused(refusal: &Refusal, context: &Context<'_>) -> Diagnosis {
    let Refusal { method, code, .. } = refusal;
    match *code {
        Code::TRY_ALTERNATE => of(
            "The server sends its clients to another one (ALTERNATE-SERVER), which was followed once already, \
             or names none.",
            "Give the URL of the server in the end, and see that servers do not send clients to each other.",
        ),
        Code::BAD_REQUEST => of(
            "The server finds the request malformed.",
            "A server that does not know RFC 5766 (an old STUN server), or a proxy that changes messages.",
        ),
        Code::UNAUTHENTICATED => unauthenticated(context),
        Code::FORBIDDEN => forbidden(*method, context),
        Code::UNKNOWN_ATTRIBUTE => of(
            "The server does not know an attribute that every TURN client sends.",
            "It is a STUN server, not TURN, or a very old one.",
        ),
        Code::ALLOCATION_MISMATCH => of(
            "The server has no allocation for this five-tuple, or an older one: the client's port changed on the \
             way, or requests reach different servers.",
            "A load balancer must send one client's packets to one server, by source address and port; a NAT on \
             the way must keep its mappings.",
        ),
        Code::STALE_NONCE => of(
            "The server rejects each nonce that it just gave.",
            "Several servers behind one address do not share their nonces: balance by source address and port.",
        ),
        Code::ADDRESS_FAMILY_NOT_SUPPORTED => of(
            "The server has no relay address of this family.",
            "Give it one: --relay-ip with Chappe, relay-ip with coturn.",
        ),
        Code::WRONG_CREDENTIALS => of(
            "The allocation was made under another username.",
            "Use one credential for the life of an allocation.",
        ),
        Code::UNSUPPORTED_TRANSPORT_PROTOCOL => {
            of("The server relays no UDP, which is what WebRTC needs.", "coturn: remove no-udp-relay.")
        }
        Code::PEER_ADDRESS_FAMILY_MISMATCH => {
            of("The peer's family is not the relayed address's.", "Ask for a relay of the peer's family.")
        }
        Code::ALLOCATION_QUOTA_REACHED => of(
            "This user, or this source address, has as many allocations as it may. A page that is closed without \
             a goodbye holds its own for up to ten minutes.",
            "Wait, or raise the quota: --user-quota and --source-quota with Chappe, user-quota and total-quota \
             with coturn. A browser makes several at once: one for each URL and component.",
        ),
        Code::INSUFFICIENT_CAPACITY => of(
            "The server has no relay port left, cannot bind its relay address, or is being drained.",
            "Widen --min-port to --max-port (min-port, max-port), raise --capacity or the limit of open files, \
             see that --relay-ip is an address of the machine, or use another server while this one drains.",
        ),
        Code(500..600) => of("The server has a fault of its own.", "Look into its log, and try again."),
        _ => of("The server refuses the request.", "Look into its log."),
    }
}

fn unauthenticated(context: &Context<'_>) -> Diagnosis {
    let Some(username) = context.username else {
        return of("The server wants credentials.", "Give --user and --password-file, or --secret-file.");
    };
    let now = context.now.secs();
    match rest_expiry(username) {
        Some(expiry) if expiry < now => of(
            format!("The username says that it expired {} ago ({}).", span(now - expiry), utc(expiry)),
            "Get a fresh credential. If it is fresh, the clock of the machine that made it, or of this one, is \
             wrong.",
        ),
        Some(expiry) if context.made => of(
            format!(
                "The server does not accept a credential made of this secret, valid until {}.",
                utc(expiry)
            ),
            "Compare the secret with the server's (--secret-file, static-auth-secret; no quotes around it, no \
             line break within). Or the server wants users and passwords, or its clock is ahead.",
        ),
        Some(expiry) => of(
            format!(
                "The password does not fit, although the username is valid until {} by this machine's clock.",
                utc(expiry)
            ),
            "The password must be base64(HMAC-SHA1(secret, username)) with the secret of this very server; or \
             the server's clock is ahead, or its realm (a server with users) is another one.",
        ),
        None => of(
            "The server knows no such user, or the password is another one.",
            "Check both. A key that `turnadmin -k` made holds only for the realm it was made with. If the server \
             has a shared secret (use-auth-secret), it takes no plain users: give --secret-file.",
        ),
    }
}

fn forbidden(method: Method, context: &Context<'_>) -> Diagnosis {
    let peer = method == Method::CREATE_PERMISSION || method == Method::CHANNEL_BIND;
    let denied =
        "The server denies the peer: its own relayed address, by which two relayed people reach each other.";
    match peer {
        true if context.server.ip().is_loopback() => of(
            denied,
            "It is on loopback, which servers do not relay to unless they are told: --allow-peer 127.0.0.0/8 with \
             Chappe, allow-loopback-peers with coturn.",
        ),
        true => of(
            denied,
            "If the relayed address is private, the server is behind NAT and does not know its public one: \
             --advertise with Chappe, external-ip with coturn. Else some denied-peer-ip covers it.",
        ),
        false => of(
            "The server refuses this client by its own rules.",
            "It may allow certain source addresses or origins only: look into its configuration and log.",
        ),
    }
}

/// The expiry of a username by the REST convention, in seconds of Unix time: what stands before the
/// first colon, or all of it.
fn rest_expiry(username: &str) -> Option<u64> {
    let (expiry, _) = username.split_once(':').unwrap_or((username, ""));
    // Nine digits were 2001: what is shorter is a name that happens to be a number.
    if expiry.len() < 9 { None } else { expiry.parse().ok() }
}

/// A moment as `2026-01-31 23:59 UTC`.
fn utc(secs: u64) -> String {
    // Howard Hinnant's civil_from_days, for days since 1970 only.
    let days = secs / 86_400 + 719_468;
    let (era, day_of_era) = (days / 146_097, days % 146_097);
    let year = (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year + year / 4 - year / 100);
    let shifted = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * shifted + 2) / 5 + 1;
    let month = if shifted < 10 { shifted + 3 } else { shifted - 9 };
    let year = era * 400 + year + u64::from(month <= 2);
    format!("{year}-{month:02}-{day:02} {:02}:{:02} UTC", secs % 86_400 / 3600, secs % 3600 / 60)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn moments_are_written_in_utc() {
        for (secs, text) in [
            (0, "1970-01-01 00:00 UTC"),
            (951_782_400, "2000-02-29 00:00 UTC"),
            (1_767_225_599, "2025-12-31 23:59 UTC"),
            (4_107_542_400, "2100-03-01 00:00 UTC"),
        ] {
            assert_eq!(utc(secs), text);
        }
    }
}
