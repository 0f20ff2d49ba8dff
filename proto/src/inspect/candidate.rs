//! ICE candidates, without what tells where somebody is.

use std::net::IpAddr;

use serde_json::{Map, Value, json};

use super::redact::Hidden;

/// The transports of candidates (RFC 8839 section 5.1; `ssltcp` is an old Chromium's).
const TRANSPORTS: [&str; 3] = ["udp", "tcp", "ssltcp"];
/// The types (RFC 8839 section 5.1).
const TYPES: [&str; 4] = ["host", "srflx", "prflx", "relay"];
/// What a TCP candidate does (RFC 6544 section 4.5).
const TCP_TYPES: [&str; 3] = ["active", "passive", "so"];

/// The word as it is known, or `other`.
pub(super) fn known(word: &str, words: &[&'static str]) -> &'static str {
    words.iter().find(|known| known.eq_ignore_ascii_case(word)).copied().unwrap_or("other")
}

/// The network of an address: /24 of IPv4, /48 of IPv6. Of a name only what kind it is.
pub(super) fn masked(address: &str) -> String {
    match address.parse::<IpAddr>().map(|ip| ip.to_canonical()) {
        Ok(IpAddr::V4(ip)) => {
            let [a, b, c, _] = ip.octets();
            format!("{a}.{b}.{c}.0/24")
        }
        Ok(IpAddr::V6(ip)) => {
            let [a, b, c, ..] = ip.segments();
            format!("{a:x}:{b:x}:{c:x}::/48")
        }
        Err(_) if address.to_ascii_lowercase().ends_with(".local") => "mdns".to_owned(),
        Err(_) => "name".to_owned(),
    }
}

/// A candidate's line, with or without `a=`: its type, transport, component, network, and whose `ufrag` it is.
/// An empty one is the end of candidates.
pub(super) fn shown(line: &str, hidden: &Hidden<'_>) -> Value {
    let line = line.trim();
    let line = line.strip_prefix("a=").unwrap_or(line);
    let Some(rest) = line.strip_prefix("candidate:") else {
        return if line.is_empty() { json!("end") } else { json!("other") };
    };
    let mut words = rest.split_ascii_whitespace();
    let mut next = || words.next().unwrap_or_default();
    let (_foundation, component, transport, _priority, address, _port) =
        (next(), next(), next(), next(), next(), next());
    let mut told = Map::new();
    told.insert("transport".into(), known(transport, &TRANSPORTS).into());
    told.insert("network".into(), masked(address).into());
    if let Ok(component @ 1..=2) = component.parse::<u8>() {
        told.insert("component".into(), component.into());
    }
    let rest: Vec<&str> = words.collect();
    for pair in rest.chunks_exact(2) {
        match *pair {
            ["typ", word] => told.insert("type".into(), known(word, &TYPES).into()),
            ["tcptype", word] => told.insert("tcptype".into(), known(word, &TCP_TYPES).into()),
            ["ufrag", word] => told.insert("ufrag".into(), hidden.hash(word).into()),
            _ => None,
        };
    }
    Value::Object(told)
}
