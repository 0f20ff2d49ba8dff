use std::net::{Ipv4Addr, Ipv6Addr};

use ipnet::IpNet;
use proptest::prelude::*;

use super::*;

fn hash() -> RandomState {
    RandomState::with_seeds(1, 2, 3, 4)
}

fn gate(allow: &[&str], deny: &[&str]) -> Gate {
    let own = RelayRange { address: "203.0.113.5".parse().unwrap(), first: 49152, last: 65535 };
    let listeners = vec!["203.0.113.5:3478".parse().unwrap(), "127.0.0.1:3478".parse().unwrap()];
    let mut gate = Gate::new(vec![own], listeners, hash());
    let nets = |texts: &[&str]| texts.iter().map(|text| text.parse::<IpNet>().unwrap()).collect();
    gate.set_policy(PeerPolicy { allow: nets(allow), deny: nets(deny) });
    gate.set_fleet(&[RelayRange { address: "10.9.8.7".parse().unwrap(), first: 50000, last: 50009 }]);
    gate
}

fn verdict(gate: &Gate, ip: &str) -> Verdict {
    gate.address(ip.parse().unwrap())
}

#[test]
fn cve_2020_26262_unspecified_and_loopback() {
    let gate = gate(&[], &[]);
    for ip in ["0.0.0.0", "0.1.2.3", "127.0.0.1", "127.255.255.254", "::", "::1"] {
        assert_eq!(verdict(&gate, ip), Verdict::Denied, "{ip}");
    }
}

#[test]
fn ipv6_loopback_is_allowed_by_its_own_name() {
    assert_eq!(verdict(&gate(&["::1/128"], &[]), "::1"), Verdict::Allowed);
}

#[test]
fn cve_2026_27624_ipv4_within_ipv6() {
    let gate = gate(&[], &[]);
    for ip in [
        "::ffff:127.0.0.1",
        "::ffff:10.0.0.1",
        "::ffff:8.8.8.8",
        "::127.0.0.1",
        "::ffff:0:127.0.0.1",
        "64:ff9b::127.0.0.1",
        "64:ff9b::169.254.169.254",
        "64:ff9b:1::10.0.0.1",
        "64:ff9b:1::8.8.8.8",
        "64:ff9b:1:a00:0:100::",
        "2002:7f00:1::",
        "2002:a00:1::5",
        "2001:0:7f00:1::",
        "2001::f5ff:fffe",
    ] {
        assert_eq!(verdict(&gate, ip), Verdict::Denied, "{ip}");
    }
    assert_eq!(verdict(&gate, "64:ff9b::8.8.8.8"), Verdict::Allowed);
}

#[test]
fn an_allowance_of_ipv6_does_not_open_what_it_carries() {
    let gate = gate(&["::/0"], &[]);
    for ip in ["::ffff:127.0.0.1", "::127.0.0.1", "2002:7f00:1::", "2001:0:4136:e378::f5ff:fffe", "::"] {
        assert_eq!(verdict(&gate, ip), Verdict::Denied, "{ip}");
    }
    assert_eq!(verdict(&gate, "fd00::1"), Verdict::Allowed);
    assert_eq!(verdict(&gate, "2001:0:808:808::f7f7:f7f7"), Verdict::Allowed);
}

#[test]
fn a_denial_covers_what_an_address_carries() {
    let gate = gate(&[], &["8.8.0.0/16"]);
    for ip in ["8.8.8.8", "64:ff9b::8.8.8.8"] {
        assert_eq!(verdict(&gate, ip), Verdict::Denied, "{ip}");
    }
}

#[test]
fn every_special_purpose_range_to_its_edges() {
    let gate = gate(&[], &[]);
    for (denied, outside) in [
        ("10.255.255.255", "11.0.0.0"),
        ("100.64.0.0", "100.63.255.255"),
        ("100.127.255.255", "100.128.0.0"),
        ("169.254.169.254", "169.255.0.0"),
        ("172.16.0.0", "172.15.255.255"),
        ("172.31.255.255", "172.32.0.0"),
        ("192.0.0.8", "192.0.1.0"),
        ("192.0.2.1", "192.0.3.0"),
        ("192.168.255.255", "192.169.0.0"),
        ("198.18.0.0", "198.17.255.255"),
        ("198.19.255.255", "198.20.0.0"),
        ("198.51.100.7", "198.51.101.0"),
        ("203.0.113.9", "203.0.114.0"),
        ("224.0.0.1", "223.255.255.255"),
        ("239.255.255.250", "1.1.1.1"),
        ("240.0.0.1", "9.9.9.9"),
        ("255.255.255.255", "8.8.8.8"),
        ("100::1", "2a00::1"),
        ("2001:1ff:ffff::", "2001:200::"),
        ("2001:db8::1", "2001:db9::1"),
        ("3fff:fff::1", "3fff:1000::"),
        ("5f00::1", "2600::1"),
        ("fc00::1", "2400::1"),
        ("fdff::1", "2606:4700::1111"),
        ("fe80::1", "3ffe::1"),
        ("fec0::1", "2620:4f:7fff::1"),
        ("2620:4f:8000::1", "2620:4f:8001::1"),
        ("ff02::1", "2003::1"),
    ] {
        assert_eq!(verdict(&gate, denied), Verdict::Denied, "{denied}");
        assert_eq!(verdict(&gate, outside), Verdict::Allowed, "{outside}");
    }
}

#[test]
fn denial_wins_over_allowance() {
    let gate = gate(&["10.0.0.0/8"], &["10.1.0.0/16", "9.9.9.9/32"]);
    assert_eq!(verdict(&gate, "10.2.0.1"), Verdict::Allowed);
    assert_eq!(verdict(&gate, "10.1.0.1"), Verdict::Denied);
    assert_eq!(verdict(&gate, "9.9.9.9"), Verdict::Denied);
    assert_eq!(verdict(&gate, "9.9.9.8"), Verdict::Allowed);
}

#[test]
fn the_fleet_is_reached_on_its_relay_ports_alone() {
    for gate in [gate(&[], &[]), gate(&[], &["10.0.0.0/8", "203.0.113.0/24"])] {
        assert_eq!(verdict(&gate, "10.9.8.7"), Verdict::SomePorts);
        assert!(gate.allows("10.9.8.7:50000".parse().unwrap()));
        assert!(gate.allows("10.9.8.7:50009".parse().unwrap()));
        assert!(!gate.allows("10.9.8.7:50010".parse().unwrap()));
        assert!(!gate.allows("10.9.8.7:443".parse().unwrap()));
        assert!(!gate.allows("10.9.8.8:50000".parse().unwrap()));
        assert_eq!(verdict(&gate, "203.0.113.5"), Verdict::SomePorts, "our own relay address");
        assert!(gate.allows("203.0.113.5:50000".parse().unwrap()));
        assert!(!gate.allows("203.0.113.5:22".parse().unwrap()));
    }
}

#[test]
fn a_listener_is_no_peer_even_where_its_address_is_allowed() {
    let gate = gate(&["127.0.0.0/8", "203.0.113.0/24"], &[]);
    assert_eq!(verdict(&gate, "127.0.0.1"), Verdict::SomePorts);
    assert!(!gate.allows("127.0.0.1:3478".parse().unwrap()));
    assert!(gate.allows("127.0.0.1:3480".parse().unwrap()));
    assert!(!gate.allows("203.0.113.5:3478".parse().unwrap()));
    assert_eq!(verdict(&gate, "127.0.0.2"), Verdict::Allowed);
}

#[test]
fn a_public_listener_address_needs_an_allowance() {
    let gate = Gate::new(Vec::new(), vec!["9.9.9.9:3478".parse().unwrap()], hash());
    assert_eq!(gate.address("9.9.9.9".parse().unwrap()), Verdict::Denied);
    assert!(!gate.allows("9.9.9.9:22".parse().unwrap()));
}

proptest! {
    /// However an IPv4 address is dressed, what is denied stays denied.
    #[test]
    fn dressed_addresses_are_no_way_around(bits: u32, low: u64) {
        let gate = gate(&[], &[]);
        let v4 = Ipv4Addr::from_bits(bits);
        let wide = u128::from(bits);
        let mapped = v4.to_ipv6_mapped();
        let nat64 = Ipv6Addr::from_bits((0x0064_FF9B_u128 << 96) | wide);
        let local = Ipv6Addr::from_bits((0x0064_FF9B_0001_u128 << 80) | wide);
        let six = Ipv6Addr::from_bits((0x2002_u128 << 112) | (wide << 80) | u128::from(low));
        let teredo = Ipv6Addr::from_bits((0x2001_u128 << 112) | u128::from(!bits));
        for dressed in [mapped, Ipv6Addr::from_bits(wide), local, six, teredo] {
            prop_assert_eq!(gate.address(dressed.into()), Verdict::Denied);
        }
        if gate.address(v4.into()) != Verdict::Allowed {
            prop_assert_eq!(gate.address(nat64.into()), Verdict::Denied);
        }
    }

    /// A permission is refused exactly where no port of the address would be let through.
    #[test]
    fn address_and_port_agree(bits: u32, port: u16, fleet: bool) {
        let gate = gate(&["10.0.0.0/8"], &["10.128.0.0/9"]);
        let ip = if fleet { "10.9.8.7".parse().unwrap() } else { IpAddr::V4(Ipv4Addr::from_bits(bits)) };
        let through = gate.allows(SocketAddr::new(ip, port));
        match gate.address(ip) {
            Verdict::Denied => prop_assert!(!through),
            Verdict::Allowed => prop_assert!(through),
            Verdict::SomePorts => {}
        }
    }

    /// Prefixes are compared as numbers, not byte by byte.
    #[test]
    fn prefixes_are_numeric(bits: u32, length in 1u8..=32, probe: u32) {
        let net: IpNet = ipnet::Ipv4Net::new(Ipv4Addr::from_bits(bits), length).unwrap().trunc().into();
        let mut gate = Gate::new(Vec::new(), Vec::new(), hash());
        gate.set_policy(PeerPolicy { allow: Vec::new(), deny: vec![net] });
        let inside = (bits ^ probe) >> (32 - u32::from(length)) == 0;
        if inside {
            prop_assert_eq!(gate.address(Ipv4Addr::from_bits(probe).into()), Verdict::Denied);
        }
    }

    /// IPv6 prefixes too, of any length, denied and allowed (coturn 6c13608c compared byte by byte).
    #[test]
    fn ipv6_prefixes_are_numeric(bits: u128, length in 1u8..=128, probe: u128, near: bool) {
        let net: IpNet = ipnet::Ipv6Net::new(Ipv6Addr::from_bits(bits), length).unwrap().trunc().into();
        // Half of the probes share all bits of the prefix but its last one, or that too.
        let mask = u128::MAX.checked_shr(u32::from(length) - u32::from(near)).unwrap_or(0);
        let probe = if near { (bits & !mask) | (probe & mask) } else { probe };
        let ip = Ipv6Addr::from_bits(probe);
        let inside = (bits ^ probe) >> (128 - u32::from(length)) == 0;
        let plain = Gate::new(Vec::new(), Vec::new(), hash()).address(ip.into());
        let mut gate = Gate::new(Vec::new(), Vec::new(), hash());
        gate.set_policy(PeerPolicy { allow: Vec::new(), deny: vec![net] });
        prop_assert_eq!(gate.address(ip.into()), if inside { Verdict::Denied } else { plain });
        gate.set_policy(PeerPolicy { allow: vec![net], deny: Vec::new() });
        let carries = forms(ip.into()).iter().flatten().count() > 1;
        if inside && !carries {
            prop_assert_eq!(gate.address(ip.into()), Verdict::Allowed);
        } else if !inside {
            prop_assert_eq!(gate.address(ip.into()), plain);
        }
    }
}
