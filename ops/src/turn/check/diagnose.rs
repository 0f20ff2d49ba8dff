//! Why something failed, and what probably mends it: the one table of it.

use std::net::{IpAddr, SocketAddr};

use chappe_proto::stun::{Code, Method};
use chappe_proto::time::Unix;
use chappe_proto::turn::Transport;
use serde::Serialize;

use super::certificate::{CertificateFault, span};
use super::fault::{Fault, Refusal, method_name};

/// Why, in the protocol's terms, and the likely fix in plain words.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(super) struct Diagnosis {
    pub(super) why: String,
    pub(super) fix: String,
}

/// What a diagnosis depends on besides the fault.
#[derive(Debug, Clone, Copy)]
pub(super) struct Context<'a> {
    /// The server, as it was reached.
    pub(super) server: SocketAddr,
    pub(super) transport: Transport,
    /// The name that allocations are asked for with.
    pub(super) username: Option<&'a str>,
    /// The password was made here of a shared secret.
    pub(super) made: bool,
    pub(super) now: Unix,
}

/// The relay ports that RFC 8656 section 7.2 recommends.
const RELAY_PORTS: &str = "49152-65535";

fn of(why: impl Into<String>, fix: impl Into<String>) -> Diagnosis {
    Diagnosis { why: why.into(), fix: fix.into() }
}

/// Diagnoses a fault.
pub(super) fn diagnose(fault: &Fault, context: &Context<'_>) -> Diagnosis {
    let Context { server, .. } = context;
    match fault {
        Fault::UnknownName(name) => unknown_name(name),
        Fault::Resolver(_) => of(
            "The name server of this machine did not answer: this says nothing about the relay.",
            "Try again, or give the server's address in place of its name.",
        ),
        Fault::NoRoute => no_route(*server),
        Fault::Refused | Fault::NoConnection(_) | Fault::Silent(..) => unreached(fault, context),
        Fault::NoBinding => of(
            "The server answers TURN requests and no Binding (coturn: no-stun).",
            "Relaying needs none; without it browsers learn their public address elsewhere or not at all.",
        ),
        Fault::HandshakeSilent(_) | Fault::HandshakeClosed | Fault::NotTls | Fault::Handshake(_) => {
            handshake(fault, context)
        }
        Fault::Certificate(fault) => certificate(fault),
        Fault::Closed => of(
            "The server, or something between, closed the connection.",
            "Look into the server's log. A firewall or proxy that inspects traffic closes what is not HTTP; a \
             load balancer in front must pass TCP through, not speak HTTP.",
        ),
        Fault::NotStun => of(
            format!("What answers at {server} speaks another protocol than STUN."),
            "Check the port: a web server or TLS may be there. For TLS the URL begins with turns:.",
        ),
        Fault::BadIntegrity(method) => of(
            format!(
                "{} succeeded, with a MESSAGE-INTEGRITY of another password (RFC 8489 section 9.2.5): \
                 browsers ignore such an answer.",
                method_name(*method)
            ),
            "Another server may be answering: several behind one address with different secrets, or a proxy \
             that rewrites addresses in STUN messages (turn off the router's SIP or STUN helper).",
        ),
        Fault::Incomplete(_) => of(
            "A success response lacks an address that its RFC demands.",
            "The server's implementation is at fault: upgrade it.",
        ),
        Fault::Code(refusal) => refused(refusal, context),
        Fault::UnreachableRelay(relayed) => unreachable_relay(*relayed, context),
        Fault::RelaySilent { .. } | Fault::LargeLost { .. } | Fault::Loss { .. } => relay(fault),
        Fault::OpenRelay => of(
            "The server demands no credentials: anybody on the Internet relays through it, at your cost and \
             in your name.",
            "Turn the long-term credential mechanism on. coturn: remove no-auth; lt-cred-mech with \
             use-auth-secret and static-auth-secret.",
        ),
        Fault::OpenPeers(_) => of(
            "Clients may send to these addresses through the relay: to services of the server itself and of \
             the network behind it, and in a cloud to its metadata, which hands out keys.",
            "Deny them as peers. Chappe does unless --allow-peer says otherwise; coturn: denied-peer-ip for \
             10.0.0.0-10.255.255.255, 169.254.0.0-169.254.255.255, 127.0.0.0-127.255.255.255, ::1 and so on.",
        ),
        Fault::StillThere => of(
            "After a Refresh with a lifetime of 0 there is no allocation, and what is asked of it is to be answered \
             437 (RFC 8656 section 7.2).",
            "The ports of calls that end may stay taken until they expire: look for a newer version of the server.",
        ),
        Fault::Io(error) => {
            of(format!("The operating system says: {error}."), "Look into it on this machine.")
        }
    }
}

fn unknown_name(name: &str) -> Diagnosis {
    of(
        format!("DNS has no address (neither A nor AAAA) for {name}."),
        "Check its spelling. A record that was just made may take as long to be seen as the zone's negative \
         answers live (minutes to an hour).",
    )
}

fn no_route(server: SocketAddr) -> Diagnosis {
    if server.is_ipv6() {
        of(
            "This machine has no IPv6: whether the server answers over it cannot be told from here.",
            "Try from a network with IPv6. Clients that have both choose what works.",
        )
    } else {
        of("This machine has no route to the server.", "Check this machine's own network.")
    }
}

/// Nothing came back.
fn unreached(fault: &Fault, context: &Context<'_>) -> Diagnosis {
    let Context { server, transport, .. } = context;
    let (port, loopback) = (server.port(), server.ip().is_loopback());
    let stream = transport.is_stream();
    let (protocol, list) = if stream { ("TCP", "ss -ltnp") } else { ("UDP", "ss -lunp") };
    match fault {
        Fault::Refused if stream => of(
            format!("TCP port {port} of {} was reached, and nothing listens there.", server.ip()),
            format!(
                "Start the server, or have it listen on this address and port ({list} on the server shows what \
                 does). In a container the port must be published."
            ),
        ),
        Fault::Refused => of(
            format!("ICMP says that UDP port {port} of {} is closed: nothing listens there.", server.ip()),
            format!(
                "Start the server, or have it listen on this address and port ({list} on the server shows what \
                 does). In a container the port must be published with /udp."
            ),
        ),
        Fault::Silent(method, _) if *method != Method::BINDING && *method != Method::ALLOCATE => of(
            format!("The server answered before, and not this {}.", method_name(*method)),
            "It may have stopped, or the path loses packets: run this again.",
        ),
        Fault::Silent(..) if stream => of(
            "The connection is open and a STUN request on it is not answered.",
            "What listens there is no STUN server, or TLS is wanted: then the URL begins with turns:.",
        ),
        _ if loopback => of(
            format!("{server} does not answer over {protocol}."),
            format!("See whether the server runs and listens there: {list}."),
        ),
        _ => of(
            format!(
                "{server} does not answer over {protocol}: what is sent is dropped on the way, or there."
            ),
            format!(
                "Open {protocol} port {port} in the server's firewall and at its provider (security group), and \
                 see that the server listens on this address ({list}).{}",
                if stream {
                    ""
                } else {
                    " Or this network drops UDP: then ?transport=tcp, or turns: on port 443, works from here."
                }
            ),
        ),
    }
}

fn handshake(fault: &Fault, context: &Context<'_>) -> Diagnosis {
    let port = context.server.port();
    let name = context.transport.name();
    match fault {
        Fault::HandshakeSilent(_) if context.transport == Transport::Dtls => of(
            "A DTLS ClientHello is not answered.",
            format!(
                "Open UDP port {port} at the server and its provider, and see that DTLS is on: coturn listens \
                 for it on tls-listening-port where there is a certificate, unless no-dtls is set."
            ),
        ),
        Fault::HandshakeSilent(_) => of(
            "TCP connects and a TLS ClientHello is not answered.",
            "A plain STUN server waits for STUN: use turn: with ?transport=tcp, or the port that speaks TLS \
             (5349, 443). A load balancer in front may have no server behind it.",
        ),
        Fault::HandshakeClosed => of(
            format!(
                "The server closes the connection at a ClientHello: port {port} speaks no TLS, or knows no \
                     certificate for this name."
            ),
            "If plain TURN is on that port use turn: with ?transport=tcp; else give the server a certificate, and \
             the URL the port that speaks TLS (5349, 443).",
        ),
        Fault::NotTls => of(
            format!("What answers on port {port} is no {name}."),
            "Plain TURN is on that port: use turn:, or give the server a certificate and the URL the port that \
             speaks TLS (5349, 443).",
        ),
        _ if context.transport == Transport::Dtls => of(
            "The DTLS handshake was given up.",
            "This check knows ECDSA certificates only over DTLS: with one of RSA browsers may still come through. \
             Else look into the server's log.",
        ),
        _ => of(
            format!("The {name} handshake was given up."),
            "The server may have no certificate for this name, or offer no version that browsers speak (TLS 1.2 \
             and 1.3): look into its log and its cert, pkey and cipher-list settings.",
        ),
    }
}

fn certificate(fault: &CertificateFault) -> Diagnosis {
    let why = "Browsers refuse this certificate without a word: candidates of this server just never come.";
    let fix = match fault {
        CertificateFault::Expired { .. } => {
            "Renew it, and have the server read it again: coturn needs SIGUSR2 or a restart after a renewal \
             (certbot's --deploy-hook)."
        }
        CertificateFault::NotYet { .. } => "Set the clock of this machine or of the one that issued it.",
        CertificateFault::OtherNames { wanted, .. } => {
            let address = wanted.parse::<IpAddr>().is_ok();
            return of(
                why,
                if address {
                    "Use the server's name in the URL: certificates are seldom of addresses.".to_owned()
                } else {
                    format!("Get a certificate that names {wanted}, or use the name that it has in the URL.")
                },
            );
        }
        CertificateFault::SelfSigned => {
            "Get one of a public CA (Let's Encrypt). For a private CA: --ca FILE here, and its root installed on \
             every client. --insecure goes on without."
        }
        CertificateFault::Lone { .. } => {
            "Give the server the whole chain: fullchain.pem, not cert.pem. If the CA is your own: --ca FILE."
        }
        CertificateFault::UnknownIssuer { .. } => {
            "Get one of a public CA (Let's Encrypt); if the CA is your own: --ca FILE. See that the chain's parts \
             belong together."
        }
        CertificateFault::Unreadable | CertificateFault::Other(_) => {
            "Look at it: openssl s_client -connect HOST:PORT -showcerts."
        }
    };
    of(why, fix)
}

/// An error code.
fn refused(refusal: &Refusal, context: &Context<'_>) -> Diagnosis {
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

fn unreachable_relay(relayed: SocketAddr, context: &Context<'_>) -> Diagnosis {
    let what = if relayed.ip().is_unspecified() { "unspecified" } else { "private" };
    of(
        format!(
            "The relayed address {} is {what} while the server is reached by {}: nobody else can send to it.",
            relayed.ip(),
            context.server.ip()
        ),
        "The server is behind NAT and does not know its public address: --advertise IP with Chappe, \
         external-ip=PUBLIC/PRIVATE with coturn.",
    )
}

/// What was relayed did not come.
fn relay(fault: &Fault) -> Diagnosis {
    match fault {
        Fault::RelaySilent { relayed } => of(
            format!("Allocations succeed, and nothing that is sent to {relayed} comes back from the server."),
            format!(
                "Open the relay ports for UDP, from everywhere: {RELAY_PORTS} unless the server is told others \
                 (--min-port, --max-port), in its firewall and at its provider. Behind NAT all of them must be \
                 forwarded too."
            ),
        ),
        Fault::LargeLost { bytes } => of(
            format!(
                "Packets of 100 bytes come through and those of {bytes} do not: an MTU on the way is too small."
            ),
            "A tunnel or VPN (WireGuard, PPPoE, a container's overlay) with a small MTU, and ICMP \"packet too \
             big\" filtered: allow ICMP, or set the MTU of the interface right. Video suffers, audio does not.",
        ),
        _ => of(
            "The path to the server, or the server, loses packets.",
            "Run it again, and from another network, to tell which. On the server: a CPU that is full, a send \
             buffer that overflows (netstat -su), a bandwidth limit (max-bps).",
        ),
    }
}

/// The expiry of a username by the REST convention, in seconds of Unix time: what stands before the
/// first colon, or all of it.
pub(super) fn rest_expiry(username: &str) -> Option<u64> {
    let (expiry, _) = username.split_once(':').unwrap_or((username, ""));
    // Nine digits were 2001: what is shorter is a name that happens to be a number.
    if expiry.len() < 9 { None } else { expiry.parse().ok() }
}

/// A moment as `2026-01-31 23:59 UTC`.
pub(super) fn utc(secs: u64) -> String {
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
    use std::time::Duration;

    use super::*;

    const NOW: Unix = Unix(Duration::from_secs(1_767_225_600)); // 2026-01-01 00:00

    fn context(transport: Transport) -> Context<'static> {
        let server = "198.51.100.7:3478".parse().unwrap();
        Context { server, transport, username: Some("alice"), made: false, now: NOW }
    }

    fn code(method: Method, code: Code) -> Fault {
        Fault::Code(Refusal { method, code, reason: String::new(), alternate: None, domain: None })
    }

    #[test]
    fn silence_has_its_own_fix_for_each_transport() {
        let silent = Fault::Silent(Method::BINDING, Duration::from_secs(4));
        let fix = diagnose(&silent, &context(Transport::Udp)).fix;
        assert!(fix.contains("UDP port 3478") && fix.contains("provider") && fix.contains("transport=tcp"));
        let refused = diagnose(&Fault::Refused, &context(Transport::Tcp));
        assert!(refused.why.contains("nothing listens") && refused.fix.contains("ss -ltnp"), "{refused:?}");
        let refused = diagnose(&Fault::Refused, &context(Transport::Udp));
        assert!(refused.why.contains("ICMP") && refused.fix.contains("ss -lunp"), "{refused:?}");
        let dropped = diagnose(&Fault::NoConnection(Duration::from_secs(4)), &context(Transport::Tls));
        assert!(dropped.fix.contains("TCP port 3478"), "{dropped:?}");
        let local = Context { server: "127.0.0.1:3478".parse().unwrap(), ..context(Transport::Udp) };
        assert!(!diagnose(&silent, &local).fix.contains("provider"), "no provider on loopback");
        let hello = Fault::HandshakeSilent(Duration::from_secs(4));
        assert!(diagnose(&hello, &context(Transport::Dtls)).fix.contains("UDP port 3478"));
        assert!(diagnose(&hello, &context(Transport::Tls)).why.contains("TCP connects"));
    }

    #[test]
    fn a_401_is_told_apart_by_the_username() {
        let unauthenticated = code(Method::ALLOCATE, Code::UNAUTHENTICATED);
        let with = |username, made| {
            diagnose(&unauthenticated, &Context { username, made, ..context(Transport::Udp) })
        };
        let expired = with(Some("1767139200:alice"), false);
        assert!(expired.why.contains("24 hours ago (2025-12-31 00:00 UTC)"), "{expired:?}");
        assert!(expired.fix.contains("clock"));
        assert!(with(Some("1767229200:alice"), true).fix.contains("static-auth-secret"));
        assert!(with(Some("1767229200:alice"), false).fix.contains("HMAC-SHA1"));
        assert!(with(Some("alice"), false).fix.contains("turnadmin -k"));
        assert!(with(Some("12345"), false).fix.contains("turnadmin -k"), "a number is a name too");
        assert!(with(None, false).fix.contains("--secret-file"));
    }

    #[test]
    fn each_code_has_a_diagnosis_of_its_own() {
        let codes = [300, 400, 401, 403, 420, 437, 438, 440, 441, 442, 443, 486, 500, 508, 699];
        let mut seen = Vec::new();
        for number in codes {
            let diagnosis = diagnose(&code(Method::ALLOCATE, Code(number)), &context(Transport::Udp));
            assert!(!seen.contains(&diagnosis), "{number}: {diagnosis:?}");
            seen.push(diagnosis);
        }
        let quota = &seen[11];
        assert!(quota.fix.contains("user-quota"), "{quota:?}");
        assert!(seen[13].fix.contains("--max-port"), "508");
        let peer = diagnose(&code(Method::CREATE_PERMISSION, Code::FORBIDDEN), &context(Transport::Udp));
        assert!(peer.fix.contains("--advertise") && peer.fix.contains("external-ip"), "{peer:?}");
        let local = Context { server: "127.0.0.1:3478".parse().unwrap(), ..context(Transport::Udp) };
        let peer = diagnose(&code(Method::CREATE_PERMISSION, Code::FORBIDDEN), &local);
        assert!(peer.fix.contains("allow-loopback-peers") && !peer.fix.contains("NAT"), "{peer:?}");
    }

    #[test]
    fn certificates_and_relays() {
        let of = |fault| diagnose(&fault, &context(Transport::Tls)).fix;
        let names = |wanted: &str| {
            let (wanted, names) = (wanted.to_owned(), vec!["b.org".to_owned()]);
            of(Fault::Certificate(CertificateFault::OtherNames { wanted, names }))
        };
        assert!(names("a.org").contains("names a.org"));
        assert!(names("192.0.2.1").contains("server's name"));
        let lone = CertificateFault::Lone { issuer: "R3".to_owned() };
        assert!(of(Fault::Certificate(lone)).contains("fullchain.pem"));
        assert!(of(Fault::Certificate(CertificateFault::SelfSigned)).contains("--ca"));
        assert!(of(Fault::Certificate(CertificateFault::Expired { ago: 1 })).contains("Renew"));
        let relayed: SocketAddr = "198.51.100.7:50000".parse().unwrap();
        assert!(of(Fault::RelaySilent { relayed }).contains("49152-65535"));
        assert!(of(Fault::LargeLost { bytes: 1200 }).contains("MTU"));
        assert!(of(Fault::UnreachableRelay("10.0.0.5:50000".parse().unwrap())).contains("external-ip"));
        assert!(of(Fault::OpenPeers(vec![relayed])).contains("denied-peer-ip"));
    }

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
