//! The error queue of a socket (IP_RECVERR): ICMP errors that its datagrams met.

use std::net::SocketAddr;
use std::os::fd::{AsRawFd, BorrowedFd};

use super::address::Name;
use super::control::{self, Control};

/// One error of a socket's queue.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct SocketError {
    /// Where the datagram went that met it.
    pub(crate) to: SocketAddr,
    pub(crate) cause: Cause,
}

/// Whom an error is from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Cause {
    /// The network: ICMP or ICMPv6, by type and code, with the MTU where the error says one.
    Icmp { kind: u8, code: u8, mtu: u32 },
    /// This host: the datagram is longer than its interface takes, which is this many bytes.
    TooLong { mtu: u32 },
    /// Anything else.
    Other,
}

/// Takes the oldest error of a socket's queue; `None` when there is none.
pub(crate) fn take_error(socket: BorrowedFd<'_>) -> Option<SocketError> {
    let (mut name, mut control) = (Name::empty(), Control::empty());
    // SAFETY: integers and raw pointers, for all of which zero bytes are a value.
    let mut header: libc::msghdr = unsafe { std::mem::zeroed() };
    header.msg_name = (&raw mut name).cast();
    header.msg_namelen = Name::CAPACITY;
    header.msg_control = (&raw mut control).cast();
    header.msg_controllen = Control::CAPACITY as _;
    // SAFETY: the header points at locals that live until the call returns, and at no bytes: what the
    // datagram held is of no interest.
    let received = unsafe {
        libc::recvmsg(socket.as_raw_fd(), &raw mut header, libc::MSG_ERRQUEUE | libc::MSG_DONTWAIT)
    };
    if received < 0 {
        return None;
    }
    // SAFETY: `recvmsg` has filled the header and what it points to.
    let told = unsafe { control::read(&header) };
    // Nobody is at port 0: what cannot be read is for nobody.
    let to = name.read().unwrap_or_else(|| SocketAddr::from(([0, 0, 0, 0], 0)));
    let cause = told.error.map_or(Cause::Other, |error| match error.ee_origin {
        libc::SO_EE_ORIGIN_ICMP | libc::SO_EE_ORIGIN_ICMP6 => {
            Cause::Icmp { kind: error.ee_type, code: error.ee_code, mtu: error.ee_info }
        }
        libc::SO_EE_ORIGIN_LOCAL if i32::try_from(error.ee_errno) == Ok(libc::EMSGSIZE) => {
            Cause::TooLong { mtu: error.ee_info }
        }
        _ => Cause::Other,
    });
    Some(SocketError { to, cause })
}

/// Whether a call failed for an ICMP error of an earlier datagram, which the kernel tells on the next
/// call whatever that is (`icmp_err_convert` and `tab_unreach` in the kernel).
pub(crate) const fn is_earlier(code: i32) -> bool {
    matches!(
        code,
        libc::ECONNREFUSED
            | libc::EHOSTUNREACH
            | libc::ENETUNREACH
            | libc::EHOSTDOWN
            | libc::ENONET
            | libc::ENOPROTOOPT
            | libc::EOPNOTSUPP
            | libc::EPROTO
            | libc::EACCES
            | libc::EMSGSIZE
    )
}
