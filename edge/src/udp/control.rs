//! Control messages: what goes beside a datagram.

use std::net::IpAddr;

use super::address::{in_addr, in6_addr, ip_of, ip6_of};
use super::{Target, UDP_GRO, UDP_SEGMENT, size_of_u32};

/// Room for the control messages of one datagram: an `in6_pktinfo` (40 with its header) and three
/// integers (24 each); or an error with the address of who told it (64), and the same integers.
#[derive(Clone, Copy)]
#[repr(C, align(8))]
pub(super) struct Control([u8; 160]);

impl Control {
    /// How much the kernel may write into one.
    pub(super) const CAPACITY: usize = size_of::<Self>();

    pub(super) const fn empty() -> Self {
        Self([0; 160])
    }

    /// Writes what a datagram asks for and answers how many bytes that is; zero for a plain one.
    pub(super) fn write(&mut self, segment: Option<u16>, target: &Target) -> usize {
        let mut at = 0;
        if let Some(size) = segment {
            at = self.append(at, libc::SOL_UDP, UDP_SEGMENT, size);
        }
        let tos = libc::c_int::from(target.tos);
        if target.to.is_ipv4() {
            if tos != 0 {
                at = self.append(at, libc::IPPROTO_IP, libc::IP_TOS, tos);
            }
        } else {
            if tos != 0 {
                at = self.append(at, libc::IPPROTO_IPV6, libc::IPV6_TCLASS, tos);
            }
            if target.df {
                at = self.append::<libc::c_int>(at, libc::IPPROTO_IPV6, libc::IPV6_DONTFRAG, 1);
            }
        }
        match target.from {
            Some(IpAddr::V4(ip)) => {
                let info = libc::in_pktinfo {
                    ipi_ifindex: 0,
                    ipi_spec_dst: in_addr(ip),
                    ipi_addr: libc::in_addr { s_addr: 0 },
                };
                self.append(at, libc::IPPROTO_IP, libc::IP_PKTINFO, info)
            }
            Some(IpAddr::V6(ip)) => {
                let info = libc::in6_pktinfo { ipi6_addr: in6_addr(ip), ipi6_ifindex: 0 };
                self.append(at, libc::IPPROTO_IPV6, libc::IPV6_PKTINFO, info)
            }
            None => at,
        }
    }

    /// Appends one control message at `at` and answers where the next goes.
    fn append<T: Copy>(&mut self, at: usize, level: libc::c_int, kind: libc::c_int, value: T) -> usize {
        let size = size_of_u32::<T>();
        // SAFETY: pure arithmetic on sizes.
        let (space, len) = unsafe { (libc::CMSG_SPACE(size) as usize, libc::CMSG_LEN(size) as usize) };
        assert!(at + space <= Self::CAPACITY, "room for an address and three integers");
        // SAFETY: `at + space` bytes lie within the array (asserted). `at` is a sum of CMSG_SPACEs, which
        // are multiples of 8, and the array is aligned to 8, so the header is aligned. CMSG_DATA points
        // just behind the header, where `space` leaves room for a `T`; it is written unaligned.
        unsafe {
            let header = self.0.as_mut_ptr().add(at).cast::<libc::cmsghdr>();
            header.write(libc::cmsghdr { cmsg_len: len, cmsg_level: level, cmsg_type: kind });
            libc::CMSG_DATA(header).cast::<T>().write_unaligned(value);
        }
        at + space
    }
}

/// What the kernel told beside a received datagram.
#[derive(Default)]
pub(super) struct Told {
    /// The size of each segment but the last, where several came as one.
    pub(super) segment: Option<u16>,
    /// The address of this host that it came to.
    pub(super) local: Option<IpAddr>,
    /// Its DSCP and ECN: the whole byte of the header.
    pub(super) tos: u8,
    /// What error a datagram met, where it comes from the error queue.
    pub(super) error: Option<libc::sock_extended_err>,
}

/// Reads the control messages of a received datagram.
///
/// # Safety
/// `header` must be as `recvmmsg` left it: `msg_control` points to `msg_controllen` bytes that it wrote.
pub(super) unsafe fn read(header: &libc::msghdr) -> Told {
    let mut told = Told::default();
    // SAFETY: CMSG_FIRSTHDR and CMSG_NXTHDR stay within `msg_controllen` bytes, by the caller's promise;
    // each value is read only where its `cmsg_len` says that the whole of it is there, and unaligned.
    unsafe {
        let mut at = libc::CMSG_FIRSTHDR(header);
        while let Some(message) = at.as_ref() {
            match (message.cmsg_level, message.cmsg_type) {
                (libc::SOL_UDP, UDP_GRO) => {
                    told.segment = value::<libc::c_int>(message).and_then(|size| u16::try_from(size).ok());
                }
                (libc::IPPROTO_IP, libc::IP_PKTINFO) => {
                    told.local = value::<libc::in_pktinfo>(message).map(|info| ip_of(&info));
                }
                (libc::IPPROTO_IPV6, libc::IPV6_PKTINFO) => {
                    told.local = value::<libc::in6_pktinfo>(message).map(|info| ip6_of(&info));
                }
                (libc::IPPROTO_IP, libc::IP_TOS) => told.tos = value::<u8>(message).unwrap_or(0),
                (libc::IPPROTO_IPV6, libc::IPV6_TCLASS) => {
                    let class = value::<libc::c_int>(message).and_then(|class| u8::try_from(class).ok());
                    told.tos = class.unwrap_or(0);
                }
                (libc::IPPROTO_IP, libc::IP_RECVERR) | (libc::IPPROTO_IPV6, libc::IPV6_RECVERR) => {
                    told.error = value::<libc::sock_extended_err>(message);
                }
                _ => {}
            }
            at = libc::CMSG_NXTHDR(header, at);
        }
    }
    told
}

/// The value of a control message, where it is as long as a `T`.
///
/// # Safety
/// `message` must lie in a buffer that holds `cmsg_len` bytes from it, and `T` be plain integers.
unsafe fn value<T: Copy>(message: &libc::cmsghdr) -> Option<T> {
    // SAFETY: arithmetic on sizes; then a read of `T` bytes that `cmsg_len` covers.
    unsafe {
        (message.cmsg_len >= libc::CMSG_LEN(size_of_u32::<T>()) as usize)
            .then(|| libc::CMSG_DATA(message).cast::<T>().read_unaligned())
    }
}
