//! Socket addresses as the kernel writes them.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV4, SocketAddrV6};

use super::size_of_u32;

/// Room for either family's address.
#[derive(Clone, Copy)]
#[repr(C)]
pub(super) union Name {
    family: libc::sa_family_t,
    v4: libc::sockaddr_in,
    v6: libc::sockaddr_in6,
}

#[allow(clippy::cast_possible_truncation, reason = "a two-digit constant")]
const FAMILY_V4: libc::sa_family_t = libc::AF_INET as libc::sa_family_t;
#[allow(clippy::cast_possible_truncation, reason = "a two-digit constant")]
const FAMILY_V6: libc::sa_family_t = libc::AF_INET6 as libc::sa_family_t;

impl Name {
    /// How much the kernel may write into one.
    pub(super) const CAPACITY: libc::socklen_t = size_of_u32::<Self>();

    pub(super) const fn empty() -> Self {
        // SAFETY: every field of the union is plain integers, for which zero bytes are a value.
        unsafe { std::mem::zeroed() }
    }

    /// The address and the length of its form.
    pub(super) fn new(address: SocketAddr) -> (Self, libc::socklen_t) {
        let mut name = Self::empty();
        match address {
            SocketAddr::V4(v4) => {
                name.v4 = libc::sockaddr_in {
                    sin_family: FAMILY_V4,
                    sin_port: v4.port().to_be(),
                    sin_addr: in_addr(*v4.ip()),
                    sin_zero: [0; 8],
                };
                (name, size_of_u32::<libc::sockaddr_in>())
            }
            SocketAddr::V6(v6) => {
                name.v6 = libc::sockaddr_in6 {
                    sin6_family: FAMILY_V6,
                    sin6_port: v6.port().to_be(),
                    sin6_flowinfo: 0,
                    sin6_addr: in6_addr(*v6.ip()),
                    sin6_scope_id: v6.scope_id(),
                };
                (name, size_of_u32::<libc::sockaddr_in6>())
            }
        }
    }

    /// What the kernel wrote; none when it is of another family.
    pub(super) fn read(&self) -> Option<SocketAddr> {
        // SAFETY: all fields overlap at the start, are plain integers, and the memory was initialised by
        // `empty`; so whatever the kernel wrote, each field is a value. The family says which is meant.
        unsafe {
            match self.family {
                FAMILY_V4 => {
                    let ip = Ipv4Addr::from(self.v4.sin_addr.s_addr.to_ne_bytes());
                    Some(SocketAddrV4::new(ip, u16::from_be(self.v4.sin_port)).into())
                }
                FAMILY_V6 => {
                    let ip = Ipv6Addr::from(self.v6.sin6_addr.s6_addr);
                    let port = u16::from_be(self.v6.sin6_port);
                    Some(SocketAddrV6::new(ip, port, 0, self.v6.sin6_scope_id).into())
                }
                _ => None,
            }
        }
    }
}

pub(super) fn in_addr(ip: Ipv4Addr) -> libc::in_addr {
    libc::in_addr { s_addr: u32::from_ne_bytes(ip.octets()) }
}

pub(super) fn in6_addr(ip: Ipv6Addr) -> libc::in6_addr {
    libc::in6_addr { s6_addr: ip.octets() }
}

/// The address in an `in_pktinfo`.
pub(super) fn ip_of(info: &libc::in_pktinfo) -> IpAddr {
    Ipv4Addr::from(info.ipi_addr.s_addr.to_ne_bytes()).into()
}

/// The address in an `in6_pktinfo`.
pub(super) fn ip6_of(info: &libc::in6_pktinfo) -> IpAddr {
    Ipv6Addr::from(info.ipi6_addr.s6_addr).into()
}
