//! The PROXY protocol, version 2 (haproxy.org, `proxy-protocol.txt` 2.2): a header before the first byte of
//! a connection, by which a proxy says whose connection it carries. Read by listeners behind a load
//! balancer and by a node behind an edge's TLS listener; written by the latter.
//!
//! Whoever may write it may claim any source: it is asked for per listener, and believed from proxies that
//! the operator names.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use crate::limits::PROXY_HEADER_MAX;

/// What a header begins with (section 2.2).
pub const SIGNATURE: [u8; 12] = *b"\r\n\r\n\0\r\nQUIT\n";

/// The part of every header that says how long the rest is.
pub const FIXED: usize = 16;

const VERSION: u8 = 0x20;
const LOCAL: u8 = 0x0;
const PROXY: u8 = 0x1;
const TCP_V4: u8 = 0x11;
const TCP_V6: u8 = 0x21;
const V4_LEN: usize = 12;
const V6_LEN: usize = 36;
const UNIX_LEN: usize = 216;

/// The header of a connection of a proxy's own, as its health checks are (section 2.2).
pub const LOCAL_HEADER: [u8; FIXED] = *b"\r\n\r\n\0\r\nQUIT\n\x20\0\0\0";

/// A header.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Header {
    /// Its length, type-length-values included: the connection's own bytes begin there.
    pub len: usize,
    /// Whose connection this is. `None` where the connection is the proxy's own (`LOCAL`, a health check)
    /// or of no IP family: then the endpoints of the connection itself count (section 2.2).
    pub addresses: Option<Addresses>,
}

/// The endpoints of a proxied connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Addresses {
    /// The client.
    pub source: SocketAddr,
    /// What the client connected to.
    pub destination: SocketAddr,
}

/// Why bytes are no header. The receiver drops the connection (section 2).
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum ProxyError {
    /// Another protocol's, or version 1.
    #[error("no PROXY protocol version 2 header")]
    NotProxy,
    /// A version, command, family or protocol that version 2 does not name.
    #[error("a PROXY header of an unknown kind ({0:#04x})")]
    Unknown(u8),
    /// The addresses do not fit into what it says is its length.
    #[error("a PROXY header too short for its addresses")]
    Short,
    /// Longer than [`PROXY_HEADER_MAX`].
    #[error("a PROXY header of {0} bytes: {PROXY_HEADER_MAX} at most")]
    Long(usize),
}

/// How long the header is that `bytes` begin with; `None` where that needs more bytes. The bytes need not
/// hold all of it.
///
/// # Errors
/// [`ProxyError`] as soon as the bytes can begin no header.
pub fn header_len(bytes: &[u8]) -> Result<Option<usize>, ProxyError> {
    let seen = bytes.len().min(SIGNATURE.len());
    if bytes[..seen] != SIGNATURE[..seen] {
        return Err(ProxyError::NotProxy);
    }
    let [command, _, high, low] = match bytes.get(SIGNATURE.len()..FIXED) {
        Some(&[command, family, high, low]) => [command, family, high, low],
        _ => return Ok(None),
    };
    if command != VERSION | LOCAL && command != VERSION | PROXY {
        return Err(ProxyError::Unknown(command));
    }
    let len = FIXED + usize::from(u16::from_be_bytes([high, low]));
    if len > PROXY_HEADER_MAX { Err(ProxyError::Long(len)) } else { Ok(Some(len)) }
}

/// Reads the header that `bytes` begin with; `None` where it is not whole yet. What it adds as
/// type-length-values is passed over.
///
/// # Errors
/// [`ProxyError`]: the connection is to be dropped.
pub fn read(bytes: &[u8]) -> Result<Option<Header>, ProxyError> {
    let Some(len) = header_len(bytes)? else { return Ok(None) };
    let Some(header) = bytes.get(..len) else { return Ok(None) };
    let (kind, body) = (header[13], &header[FIXED..]);
    let (family, protocol) = (kind >> 4, kind & 0xf);
    if family > 3 || protocol > 2 {
        return Err(ProxyError::Unknown(kind));
    }
    if header[12] & 0xf == LOCAL {
        return Ok(Some(Header { len, addresses: None }));
    }
    let (host, needed) = match family {
        1 => (4, V4_LEN),
        2 => (16, V6_LEN),
        3 => (0, UNIX_LEN),
        _ => (0, 0),
    };
    let Some(body) = body.get(..needed) else { return Err(ProxyError::Short) };
    if host == 0 {
        return Ok(Some(Header { len, addresses: None }));
    }
    let endpoint = |nth: usize| {
        let ip = &body[nth * host..(nth + 1) * host];
        let port = &body[2 * host + 2 * nth..2 * host + 2 * nth + 2];
        let ip = match <[u8; 4]>::try_from(ip) {
            Ok(v4) => IpAddr::V4(Ipv4Addr::from(v4)),
            Err(_) => IpAddr::V6(<[u8; 16]>::try_from(ip).map_or(Ipv6Addr::UNSPECIFIED, Ipv6Addr::from)),
        };
        SocketAddr::new(ip, u16::from_be_bytes([port[0], port[1]]))
    };
    Ok(Some(Header { len, addresses: Some(Addresses { source: endpoint(0), destination: endpoint(1) }) }))
}

/// Appends a header for a TCP connection from `source` to `destination`. Where only one of them is IPv6 the
/// other is written as IPv4-mapped, since a header has one family.
pub fn write(source: SocketAddr, destination: SocketAddr, out: &mut Vec<u8>) {
    out.extend_from_slice(&SIGNATURE);
    out.push(VERSION | PROXY);
    match (source.ip(), destination.ip()) {
        (IpAddr::V4(from), IpAddr::V4(to)) => {
            out.extend_from_slice(&[TCP_V4, 0, 12]);
            out.extend_from_slice(&from.octets());
            out.extend_from_slice(&to.octets());
        }
        (from, to) => {
            let wide = |ip| match ip {
                IpAddr::V4(v4) => v4.to_ipv6_mapped(),
                IpAddr::V6(v6) => v6,
            };
            out.extend_from_slice(&[TCP_V6, 0, 36]);
            out.extend_from_slice(&wide(from).octets());
            out.extend_from_slice(&wide(to).octets());
        }
    }
    out.extend_from_slice(&source.port().to_be_bytes());
    out.extend_from_slice(&destination.port().to_be_bytes());
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn address(text: &str) -> SocketAddr {
        text.parse().unwrap()
    }

    fn written(source: &str, destination: &str) -> Vec<u8> {
        let mut bytes = Vec::new();
        write(address(source), address(destination), &mut bytes);
        bytes
    }

    /// As haproxy 2.x sends it with `send-proxy-v2` from 192.0.2.1:56324 to 198.51.100.7:443.
    #[test]
    fn the_bytes_of_the_specification() {
        let bytes = written("192.0.2.1:56324", "198.51.100.7:443");
        let expected = [
            0x0d, 0x0a, 0x0d, 0x0a, 0x00, 0x0d, 0x0a, 0x51, 0x55, 0x49, 0x54, 0x0a, 0x21, 0x11, 0x00, 0x0c,
            192, 0, 2, 1, 198, 51, 100, 7, 0xdc, 0x04, 0x01, 0xbb,
        ];
        assert_eq!(bytes, expected);
        let header = read(&bytes).unwrap().unwrap();
        assert_eq!(header.len, 28);
        let addresses = header.addresses.unwrap();
        assert_eq!(
            (addresses.source, addresses.destination),
            (address("192.0.2.1:56324"), address("198.51.100.7:443"))
        );
    }

    #[test]
    fn every_prefix_of_a_header_waits_for_more() {
        for bytes in
            [written("192.0.2.1:1", "198.51.100.7:443"), written("[2001:db8::1]:1", "[2001:db8::2]:443")]
        {
            for len in 0..bytes.len() {
                assert_eq!(read(&bytes[..len]), Ok(None), "{len}");
            }
            assert_eq!(read(&bytes).unwrap().unwrap().len, bytes.len());
        }
    }

    #[test]
    fn values_behind_the_addresses_are_passed_over() {
        let mut bytes = written("192.0.2.1:1", "198.51.100.7:443");
        bytes[15] += 6;
        bytes.extend_from_slice(&[0x02, 0, 3, b'a', b'.', b'b']); // PP2_TYPE_AUTHORITY
        bytes.extend_from_slice(b"GET / HTTP/1.1\r\n");
        let header = read(&bytes).unwrap().unwrap();
        assert_eq!(header.len, 34);
        assert_eq!(header.addresses.unwrap().source, address("192.0.2.1:1"));
        assert_eq!(&bytes[header.len..header.len + 3], b"GET");
    }

    #[test]
    fn a_proxys_own_connection_and_other_families_have_no_addresses() {
        let header = |command: u8, family: u8, body: &[u8]| {
            let mut bytes = SIGNATURE.to_vec();
            bytes.extend_from_slice(&[command, family, 0, u8::try_from(body.len()).unwrap()]);
            bytes.extend_from_slice(body);
            read(&bytes).map(|header| header.unwrap().addresses)
        };
        assert_eq!(header(0x20, 0x00, &[]), Ok(None));
        assert_eq!(read(&LOCAL_HEADER), Ok(Some(Header { len: FIXED, addresses: None })));
        assert_eq!(header(0x20, 0x11, &[1; 12]), Ok(None), "LOCAL: the addresses are to be ignored");
        assert_eq!(header(0x21, 0x00, &[9; 3]), Ok(None));
        assert_eq!(header(0x21, 0x31, &[0; 216]), Ok(None));
        assert_eq!(header(0x21, 0x31, &[0; 215]), Err(ProxyError::Short));
        assert_eq!(header(0x21, 0x11, &[1; 11]), Err(ProxyError::Short));
        assert_eq!(header(0x21, 0x21, &[1; 35]), Err(ProxyError::Short));
        assert_eq!(header(0x21, 0x41, &[1; 12]), Err(ProxyError::Unknown(0x41)));
        assert_eq!(header(0x21, 0x13, &[1; 12]), Err(ProxyError::Unknown(0x13)));
        assert_eq!(header(0x22, 0x11, &[1; 12]), Err(ProxyError::Unknown(0x22)));
        assert_eq!(header(0x11, 0x11, &[1; 12]), Err(ProxyError::Unknown(0x11)));
    }

    #[test]
    fn what_is_no_header_is_told_by_its_first_wrong_byte() {
        assert_eq!(read(b"G"), Err(ProxyError::NotProxy));
        assert_eq!(read(b"PROXY TCP4 1.2.3.4 5.6.7.8 1 2\r\n"), Err(ProxyError::NotProxy));
        assert_eq!(read(b"\r\n\r\n\0\r\nQUIX"), Err(ProxyError::NotProxy));
        let mut bytes = SIGNATURE.to_vec();
        bytes.extend_from_slice(&[0x21, 0x11, 0xff, 0xff]);
        assert_eq!(read(&bytes), Err(ProxyError::Long(65_551)));
    }

    proptest! {
        #[test]
        fn written_and_read_again(source: SocketAddr, destination: SocketAddr, rest: Vec<u8>) {
            let mut bytes = Vec::new();
            write(source, destination, &mut bytes);
            let len = bytes.len();
            bytes.extend(rest);
            let header = read(&bytes).unwrap().unwrap();
            prop_assert_eq!(header.len, len);
            let addresses = header.addresses.unwrap();
            let same = |a: SocketAddr, b: SocketAddr| {
                (a.ip().to_canonical(), a.port()) == (b.ip().to_canonical(), b.port())
            };
            prop_assert!(same(addresses.source, source) && same(addresses.destination, destination));
        }

        #[test]
        fn any_bytes_behind_the_signature(rest: Vec<u8>) {
            let mut bytes = SIGNATURE.to_vec();
            bytes.extend(rest);
            if let Ok(Some(header)) = read(&bytes) {
                prop_assert!(header.len >= FIXED && header.len <= bytes.len());
            }
        }
    }
}
