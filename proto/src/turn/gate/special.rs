//! What an address really is, and which addresses are nobody's peer.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// An address and every IPv4 address that it stands for: a check passes only if all of them pass.
///
/// The second is there where the first is IPv6 and carries an IPv4 address: IPv4-mapped and
/// -compatible (RFC 4291 section 2.5.5), NAT64 (RFC 6052, RFC 8215), 6to4 (RFC 3056). Teredo (RFC
/// 4380) carries two, of its server and of the client behind it.
#[must_use]
pub fn forms(ip: IpAddr) -> [Option<IpAddr>; 3] {
    let IpAddr::V6(v6) = ip else { return [Some(ip), None, None] };
    let bits = v6.to_bits();
    let at = |shift: u32| {
        let [.., a, b, c, d] = (bits >> shift).to_be_bytes();
        Some(IpAddr::V4(Ipv4Addr::new(a, b, c, d)))
    };
    let inverted = |shift: u32| match at(shift) {
        Some(IpAddr::V4(v4)) => Some(IpAddr::V4(Ipv4Addr::from_bits(!v4.to_bits()))),
        other => other,
    };
    let within = |prefix: Ipv6Addr, length: u32| (bits ^ prefix.to_bits()) >> (128 - length) == 0;
    let (second, third) = match v6.segments() {
        // Loopback is an address of its own (RFC 4291 section 2.5.3): to be allowed by its own name.
        [0, 0, 0, 0, 0, 0, 0, 1] => (None, None),
        // ::/96 holds the unspecified address too, which is in `special` itself.
        _ if within(Ipv6Addr::UNSPECIFIED, 96) => (at(0), None),
        _ if within(Ipv6Addr::new(0, 0, 0, 0, 0, 0xFFFF, 0, 0), 96) => (at(0), None),
        // IPv4-translated, RFC 2765.
        _ if within(Ipv6Addr::new(0, 0, 0, 0, 0xFFFF, 0, 0, 0), 96) => (at(0), None),
        _ if within(Ipv6Addr::new(0x64, 0xFF9B, 0, 0, 0, 0, 0, 0), 96) => (at(0), None),
        // Read as a /96, its usual length. RFC 6052's shorter ones end in zeroes, so 0.0.0.0: denied.
        _ if within(Ipv6Addr::new(0x64, 0xFF9B, 1, 0, 0, 0, 0, 0), 48) => (at(0), None),
        [0x2002, ..] => (at(80), None),
        [0x2001, 0, ..] => (at(64), inverted(0)),
        _ => (None, None),
    };
    [Some(ip), second, third]
}

/// A prefix of the IANA IPv4 Special-Purpose Address Registry (RFC 6890 and its updates), multicast
/// included. Those that the registry calls globally reachable are denied too: no peer of a call
/// lives there.
const IPV4: [(Ipv4Addr, u32); 18] = [
    (Ipv4Addr::new(0, 0, 0, 0), 8),       // this network
    (Ipv4Addr::new(10, 0, 0, 0), 8),      // private use
    (Ipv4Addr::new(100, 64, 0, 0), 10),   // shared address space (CGNAT)
    (Ipv4Addr::new(127, 0, 0, 0), 8),     // loopback
    (Ipv4Addr::new(169, 254, 0, 0), 16),  // link local; cloud metadata
    (Ipv4Addr::new(172, 16, 0, 0), 12),   // private use
    (Ipv4Addr::new(192, 0, 0, 0), 24),    // IETF protocol assignments
    (Ipv4Addr::new(192, 0, 2, 0), 24),    // documentation
    (Ipv4Addr::new(192, 31, 196, 0), 24), // AS112
    (Ipv4Addr::new(192, 52, 193, 0), 24), // AMT
    (Ipv4Addr::new(192, 88, 99, 0), 24),  // 6to4 relay anycast
    (Ipv4Addr::new(192, 168, 0, 0), 16),  // private use
    (Ipv4Addr::new(192, 175, 48, 0), 24), // AS112
    (Ipv4Addr::new(198, 18, 0, 0), 15),   // benchmarking
    (Ipv4Addr::new(198, 51, 100, 0), 24), // documentation
    (Ipv4Addr::new(203, 0, 113, 0), 24),  // documentation
    (Ipv4Addr::new(224, 0, 0, 0), 4),     // multicast
    (Ipv4Addr::new(240, 0, 0, 0), 4),     // reserved; limited broadcast
];

/// The only IPv6 prefixes where a peer can live: global unicast (RFC 4291 section 2.4, as IANA
/// assigns it) and well-known NAT64, whose IPv4 address is checked by itself. All else is special:
/// unspecified, loopback, mapped, local-use NAT64, discard-only, SRv6 SIDs, unique local, link local,
/// site local, multicast and what nobody was assigned.
const IPV6_UNICAST: [(Ipv6Addr, u32); 2] =
    [(Ipv6Addr::new(0x2000, 0, 0, 0, 0, 0, 0, 0), 3), (Ipv6Addr::new(0x64, 0xFF9B, 0, 0, 0, 0, 0, 0), 96)];
/// What of them is in the IANA IPv6 Special-Purpose Address Registry.
const IPV6_SPECIAL: [(Ipv6Addr, u32); 5] = [
    (Ipv6Addr::new(0x2001, 0, 0, 0, 0, 0, 0, 0), 23), // IETF protocol assignments; Teredo, ORCHID
    (Ipv6Addr::new(0x2001, 0xDB8, 0, 0, 0, 0, 0, 0), 32), // documentation
    (Ipv6Addr::new(0x2002, 0, 0, 0, 0, 0, 0, 0), 16), // 6to4
    (Ipv6Addr::new(0x2620, 0x4F, 0x8000, 0, 0, 0, 0, 0), 48), // AS112
    (Ipv6Addr::new(0x3FFF, 0, 0, 0, 0, 0, 0, 0), 20), // documentation
];

/// Whether one form of an address is special-purpose, hence no peer unless an operator allows it.
pub(super) fn special(ip: IpAddr) -> bool {
    match ip {
        IpAddr::V4(ip) => {
            IPV4.iter().any(|(prefix, length)| (ip.to_bits() ^ prefix.to_bits()) >> (32 - length) == 0)
        }
        IpAddr::V6(ip) => {
            let within =
                |(prefix, length): &(Ipv6Addr, u32)| (ip.to_bits() ^ prefix.to_bits()) >> (128 - length) == 0;
            !IPV6_UNICAST.iter().any(within) || IPV6_SPECIAL.iter().any(within)
        }
    }
}
