//! Why something failed, and what probably mends it: the one table of it, error codes in `code`.

mod code;

use std::net::{IpAddr, SocketAddr};

use chappe_proto::time::Unix;
use chappe_proto::turn::Transport;
use serde::Serialize;

use super::certificate::CertificateFault;
use super::fault::{Fault, method_name};

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
    /// It has answered something before.
    pub(super) answered: bool,
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
        Fault::Filtered => of(
            "This machine's own firewall refuses what is sent to the server: this says nothing about the relay.",
            "Allow it (nft list ruleset shows what is dropped), or try from another machine.",
        ),
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
        Fault::Code(refusal) => code::refused(refusal, context),
        Fault::UnreachableRelay(relayed) => unreachable_relay(*relayed, context),
        Fault::RelayClosed { .. }
        | Fault::RelayMute { .. }
        | Fault::RelaySilent { .. }
        | Fault::LargeLost { .. }
        | Fault::Loss { .. } => relay(fault),
        Fault::OpenRelay | Fault::OpenPeers(_) => open(fault),
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
        Fault::Silent(method, _) if context.answered => of(
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

/// Doors that should be shut.
fn open(fault: &Fault) -> Diagnosis {
    match fault {
        Fault::OpenRelay => of(
            "The server demands no credentials: anybody on the Internet relays through it, at your cost and \
             in your name.",
            "Turn the long-term credential mechanism on. coturn: remove no-auth; lt-cred-mech with \
             use-auth-secret and static-auth-secret.",
        ),
        _ => of(
            "Clients may send to these addresses through the relay: to services of the server itself and of \
             the network behind it, and in a cloud to its metadata, which hands out keys.",
            "Deny them as peers. Chappe does unless --allow-peer says otherwise; coturn: denied-peer-ip for \
             10.0.0.0-10.255.255.255, 169.254.0.0-169.254.255.255, 127.0.0.0-127.255.255.255, ::1 and so on.",
        ),
    }
}

/// Relay ports that are not open.
fn closed(why: &str) -> Diagnosis {
    of(
        why,
        format!(
            "Open the relay ports for UDP, from everywhere: {RELAY_PORTS} unless the server is told others \
             (--min-port, --max-port; min-port, max-port), in its firewall and at its provider. Behind NAT all of \
             them must be forwarded too."
        ),
    )
}

/// What was relayed did not come.
fn relay(fault: &Fault) -> Diagnosis {
    match fault {
        Fault::RelayClosed { relayed } => closed(&format!(
            "Allocations succeed, and what is sent to {relayed} from this machine does not come to its client."
        )),
        Fault::RelayMute { peer } => of(
            format!(
                "This machine's packets come through the relay, and what the relay sends to {peer} does not."
            ),
            format!(
                "Let the server send UDP from its relay ports ({RELAY_PORTS}) to anywhere: its firewall or its \
                 provider filters what goes out. A firewall before this machine would do the same."
            ),
        ),
        Fault::RelaySilent { relayed } => closed(&format!(
            "Allocations succeed, and nothing that is sent to {relayed} comes back from the server."
        )),
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

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use chappe_proto::stun::{Code, Method};

    use super::super::fault::Refusal;
    use super::*;

    const NOW: Unix = Unix(Duration::from_secs(1_767_225_600)); // 2026-01-01 00:00

    fn context(transport: Transport) -> Context<'static> {
        let server = "198.51.100.7:3478".parse().unwrap();
        Context { server, transport, answered: false, username: Some("alice"), made: false, now: NOW }
    }

    fn code(method: Method, code: Code) -> Fault {
        Fault::Code(Refusal { method, code, reason: String::new(), alternate: None, domain: None })
    }

    #[test]
    fn silence_has_its_own_fix_for_each_transport() {
        let silent = Fault::Silent(Method::BINDING, Duration::from_secs(4));
        let fix = diagnose(&silent, &context(Transport::Udp)).fix;
        assert!(fix.contains("UDP port 3478") && fix.contains("provider") && fix.contains("transport=tcp"));
        let before = Context { answered: true, ..context(Transport::Udp) };
        assert!(diagnose(&silent, &before).why.contains("answered before"));
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
        assert!(of(Fault::RelayClosed { relayed }).contains("firewall"));
        assert!(of(Fault::RelayMute { peer: relayed }).contains("goes out"));
        assert!(of(Fault::LargeLost { bytes: 1200 }).contains("MTU"));
        assert!(of(Fault::UnreachableRelay("10.0.0.5:50000".parse().unwrap())).contains("external-ip"));
        assert!(of(Fault::OpenPeers(vec![relayed])).contains("denied-peer-ip"));
    }
}
