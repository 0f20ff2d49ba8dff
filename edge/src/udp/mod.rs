//! Datagram system calls that no safe crate offers: many packets a call (`recvmmsg`, `sendmmsg`),
//! trains of packets kept together (UDP_GRO in, UDP_SEGMENT out), and the address of this host that
//! a packet came to (IP_PKTINFO).
//!
//! The only module of the crate with `unsafe`, and public so that `chappe bench` loads a server, and
//! measures its floor, by the same calls. Its two types own every byte that the kernel reads or writes:
//! [`Inbox`] the memory that packets arrive in, [`Outbox`] the queue of what is to be sent out of that
//! memory. What they offer is safe: a caller deals in slots and ranges.

mod address;
mod control;
mod errors;
mod inbox;
mod outbox;
mod transmit;

use inbox::HEADROOM;
pub use inbox::{Inbox, Packet, SLOTS};
pub use outbox::{Outbox, Part, Refusals, Target};

pub(crate) use errors::{Cause, is_earlier, take_error};

use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd};

/// The most bytes of payload that one send takes over IPv4 (65535 - 20 - 8); with IPv6's longer header
/// counted too, so that one figure holds for both.
pub(crate) const SEND_MAX: usize = 65_535 - 40 - 8;
/// The most segments of one send (the kernel's `UDP_MAX_SEGMENTS` before 6.9).
pub(crate) const SEGMENTS_MAX: usize = 64;
/// Segments longer than this are sent one by one: with UDP_SEGMENT none may exceed the path's MTU, which
/// on the internet is 1500 at most.
pub(crate) const SEGMENT_MAX: usize = 1500 - 40 - 8;

/// `linux/udp.h`
const UDP_SEGMENT: libc::c_int = 103;
/// `linux/udp.h`
const UDP_GRO: libc::c_int = 104;

/// Lets the kernel hand over trains of packets as one buffer.
///
/// # Errors
/// Where the kernel knows no UDP_GRO (before 5.0).
pub fn enable_gro(socket: BorrowedFd<'_>) -> io::Result<()> {
    set(socket, libc::SOL_UDP, UDP_GRO, 1)
}

/// Lets packets tell which of this host's addresses they came to: for sockets bound to the unspecified
/// address, whose replies must leave from that address.
pub(crate) fn enable_pktinfo(socket: BorrowedFd<'_>, v6: bool) -> io::Result<()> {
    if v6 {
        set(socket, libc::IPPROTO_IPV6, libc::IPV6_RECVPKTINFO, 1)
    } else {
        set(socket, libc::IPPROTO_IP, libc::IP_PKTINFO, 1)
    }
}

/// Lets packets tell their DSCP and ECN, so that they are sent on with the same (RFC 8656 section 14).
/// The kernel tells those of IPv4 only where they are not zero.
///
/// # Errors
/// What the system says where it cannot.
pub fn enable_marks(socket: BorrowedFd<'_>, v6: bool) -> io::Result<()> {
    if v6 {
        set(socket, libc::IPPROTO_IPV6, libc::IPV6_RECVTCLASS, 1)
    } else {
        set(socket, libc::IPPROTO_IP, libc::IP_RECVTOS, 1)
    }
}

/// Keeps the ICMP errors that the socket's datagrams meet, for [`take_error`]. From then on each is
/// also told once as the error of an unrelated call.
pub(crate) fn enable_errors(socket: BorrowedFd<'_>, v6: bool) -> io::Result<()> {
    if v6 {
        set(socket, libc::IPPROTO_IPV6, libc::IPV6_RECVERR, 1)
    } else {
        set(socket, libc::IPPROTO_IP, libc::IP_RECVERR, 1)
    }
}

/// Clears the DF bit of what is sent (RFC 8656 section 14), and trusts no path MTU that an ICMP error
/// claims. In IPv6 this host is the only one that fragments, so there it does.
pub(crate) fn allow_fragments(socket: BorrowedFd<'_>, v6: bool) -> io::Result<()> {
    if v6 {
        set(socket, libc::IPPROTO_IPV6, libc::IPV6_MTU_DISCOVER, libc::IPV6_PMTUDISC_DONT)
    } else {
        set(socket, libc::IPPROTO_IP, libc::IP_MTU_DISCOVER, libc::IP_PMTUDISC_OMIT)
    }
}

/// Sets the DF bit of what an IPv4 socket sends, until [`allow_fragments`]. There is no way to say so
/// of one datagram; in IPv6 there is, and it is used.
pub(crate) fn forbid_fragments(socket: BorrowedFd<'_>) -> io::Result<()> {
    set(socket, libc::IPPROTO_IP, libc::IP_MTU_DISCOVER, libc::IP_PMTUDISC_PROBE)
}

/// Whether the system can send datagrams unfragmented.
pub(crate) fn can_forbid_fragments() -> bool {
    let socket = std::net::UdpSocket::bind((std::net::Ipv4Addr::LOCALHOST, 0));
    socket.is_ok_and(|socket| forbid_fragments(socket.as_fd()).is_ok())
}

fn set(socket: BorrowedFd<'_>, level: libc::c_int, name: libc::c_int, value: libc::c_int) -> io::Result<()> {
    // SAFETY: the kernel reads `size_of::<c_int>()` bytes from a pointer to a live `c_int`.
    let done = unsafe {
        libc::setsockopt(
            socket.as_raw_fd(),
            level,
            name,
            (&raw const value).cast(),
            size_of_u32::<libc::c_int>(),
        )
    };
    if done == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

/// Datagrams that the kernel dropped because the socket's receive buffer was full, since it was made (counted in
/// 32 bits); zero before Linux 4.12.
pub(crate) fn dropped(socket: BorrowedFd<'_>) -> u32 {
    /// `linux/sock_diag.h`: SK_MEMINFO_VARS, and the place of SK_MEMINFO_DROPS.
    const VARS: usize = 9;
    const DROPS: usize = 8;
    let mut figures = [0_u32; VARS];
    let mut length = size_of_u32::<[u32; VARS]>();
    // SAFETY: the kernel writes at most `length` bytes to a live array of that length, and to `length` itself.
    let done = unsafe {
        libc::getsockopt(
            socket.as_raw_fd(),
            libc::SOL_SOCKET,
            libc::SO_MEMINFO,
            figures.as_mut_ptr().cast(),
            &raw mut length,
        )
    };
    if done == 0 { figures[DROPS] } else { 0 }
}

/// `size_of` as the kernel's `socklen_t`.
#[allow(clippy::cast_possible_truncation, reason = "only used with types of a few hundred bytes")]
const fn size_of_u32<T>() -> libc::socklen_t {
    size_of::<T>() as libc::socklen_t
}

#[cfg(test)]
mod tests;
