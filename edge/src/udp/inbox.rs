//! The memory that packets arrive in, and the call that fills it.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::os::fd::{AsRawFd, BorrowedFd};
use std::ptr::NonNull;

use super::address::Name;
use super::control::{self, Control};

/// Buffers of one turn of the loop: each takes a datagram, a train of them, or a part of a stream.
pub const SLOTS: usize = 64;
/// Bytes of a buffer: the longest STUN message (20 + 65535) with its padding, and more than the longest
/// train that the kernel makes (65535).
const SLOT: usize = 65_536 + 64;
/// Free bytes before each buffer, so that a header can be put before a packet where it lies: the longest
/// is a Data indication's (48 bytes).
pub(crate) const HEADROOM: usize = 64;
/// From one buffer to the next. Not a multiple of a page, so that the starts of buffers, which every
/// packet touches, do not fall on the same few cache lines' sets.
const STRIDE: usize = HEADROOM + SLOT + 17 * 64;

/// A received datagram, or a train of them from one sender that the kernel kept together.
#[derive(Clone, Copy, Debug)]
pub struct Packet {
    /// Who sent it.
    pub from: SocketAddr,
    /// The address of this host that it came to, where the socket was asked to tell.
    pub local: Option<IpAddr>,
    /// Its length in bytes.
    pub len: usize,
    /// The length of each segment but the last, which may be shorter; `len` when it is no train.
    pub segment: usize,
    /// Its DSCP and ECN (the IPv4 TOS, the IPv6 traffic class), where the socket was asked to tell.
    pub tos: u8,
}

/// What `recvmmsg` reads and writes besides the packets themselves.
struct Ring {
    headers: [libc::mmsghdr; SLOTS],
    iovecs: [libc::iovec; SLOTS],
    names: [Name; SLOTS],
    controls: [Control; SLOTS],
}

/// [`SLOTS`] buffers and the headers that describe them to the kernel.
pub struct Inbox {
    /// Both blocks come from `Box::into_raw` and are only reached through these pointers until `drop`:
    /// the headers hold pointers into them, which a reference to the whole would invalidate.
    ring: NonNull<Ring>,
    arena: NonNull<[u8]>,
    packets: Vec<Packet>,
    used: usize,
}

impl Default for Inbox {
    fn default() -> Self {
        Self::new()
    }
}

impl Inbox {
    /// All buffers free.
    #[must_use]
    pub fn new() -> Self {
        // Zeroed memory that no one has touched costs no page until a packet arrives in it.
        let arena = NonNull::from(Box::leak(vec![0; STRIDE * SLOTS].into_boxed_slice()));
        // SAFETY: integers and raw pointers, for all of which zero bytes are a value.
        let ring = NonNull::from(Box::leak(Box::new(unsafe { std::mem::zeroed::<Ring>() })));
        for slot in 0..SLOTS {
            // SAFETY: `ring` is live and only reached from here; the addresses of its fields are taken
            // without making references, and the buffer lies within the arena.
            unsafe {
                let ring = ring.as_ptr();
                let iovec = &raw mut (*ring).iovecs[slot];
                (*iovec).iov_base = arena.cast::<u8>().as_ptr().add(STRIDE * slot + HEADROOM).cast();
                (*iovec).iov_len = SLOT;
                let header = &raw mut (*ring).headers[slot].msg_hdr;
                (*header).msg_iov = iovec;
                (*header).msg_iovlen = 1;
                (*header).msg_name = (&raw mut (*ring).names[slot]).cast();
                (*header).msg_namelen = Name::CAPACITY;
                (*header).msg_control = (&raw mut (*ring).controls[slot]).cast();
                (*header).msg_controllen = Control::CAPACITY;
            }
        }
        Self { ring, arena, packets: Vec::with_capacity(SLOTS), used: 0 }
    }

    /// Buffers that are still free.
    #[must_use]
    pub fn free(&self) -> usize {
        SLOTS - self.used
    }

    /// Frees all buffers. What was queued from them must have been sent.
    pub fn clear(&mut self) {
        self.packets.clear();
        self.used = 0;
    }

    /// Receives at most `max` packets into free buffers; the first of them is slot `SLOTS - free()` before
    /// the call. Fewer than asked for means that the socket has no more.
    ///
    /// # Errors
    /// `WouldBlock` when there are none, and what the socket reports.
    pub fn receive(&mut self, socket: BorrowedFd<'_>, max: usize) -> io::Result<usize> {
        let count = max.min(self.free());
        let Ok(vlen) = libc::c_uint::try_from(count) else { return Ok(0) };
        // SAFETY: `headers[used..used + count]` exist, and each describes a name, a control buffer and a
        // packet buffer of its own, all live and referred to by nobody: slices of the arena borrow
        // `self`, which is borrowed mutably here.
        let received = unsafe {
            let headers = (&raw mut (*self.ring.as_ptr()).headers).cast::<libc::mmsghdr>().add(self.used);
            libc::recvmmsg(socket.as_raw_fd(), headers, vlen, libc::MSG_DONTWAIT, std::ptr::null_mut())
        };
        let Ok(received) = usize::try_from(received) else { return Err(io::Error::last_os_error()) };
        for slot in self.used..self.used + received {
            let packet = self.take(slot);
            self.packets.push(packet);
        }
        self.used += received;
        Ok(received)
    }

    /// Reads what the kernel said of a packet, and readies the header for the next one.
    fn take(&mut self, slot: usize) -> Packet {
        // SAFETY: `recvmmsg` has filled this header and what it points to; no other reference to the ring
        // is live.
        unsafe {
            let ring = self.ring.as_ptr();
            let header = &mut (*ring).headers[slot];
            let told = control::read(&header.msg_hdr);
            let from = (*ring).names[slot].read();
            header.msg_hdr.msg_namelen = Name::CAPACITY;
            header.msg_hdr.msg_controllen = Control::CAPACITY;
            let len = header.msg_len as usize;
            // What was cut short is nothing that can be relayed.
            let whole = header.msg_hdr.msg_flags & libc::MSG_TRUNC == 0;
            let (from, len) = match from {
                Some(from) if whole => (from, len),
                _ => (SocketAddr::from(([0, 0, 0, 0], 0)), 0),
            };
            let segment = match told.segment {
                Some(size) if size > 0 => usize::from(size).min(len),
                _ => len,
            };
            Packet { from, local: told.local, len, segment, tos: told.tos }
        }
    }

    /// Fills a free buffer with `before` and what `read` adds behind it: for streams. Answers the slot
    /// and how many bytes `read` says that it added.
    ///
    /// # Errors
    /// Those of `read`; the buffer stays free then.
    pub fn fill(
        &mut self,
        before: &[u8],
        read: impl FnOnce(&mut [u8]) -> io::Result<usize>,
    ) -> io::Result<(usize, usize)> {
        let slot = self.used;
        if slot == SLOTS || before.len() > SLOT {
            return Err(io::ErrorKind::OutOfMemory.into());
        }
        let buffer = self.bytes_mut(STRIDE * slot + HEADROOM, SLOT);
        buffer[..before.len()].copy_from_slice(before);
        let added = read(&mut buffer[before.len()..])?.min(SLOT - before.len());
        let len = before.len() + added;
        self.packets.push(Packet {
            from: SocketAddr::from(([0, 0, 0, 0], 0)),
            local: None,
            len,
            segment: len,
            tos: 0,
        });
        self.used += 1;
        Ok((slot, added))
    }

    /// What arrived in `slot`.
    #[must_use]
    pub fn packet(&self, slot: usize) -> Packet {
        self.packets[slot]
    }

    /// The DSCP and ECN of what arrived in `slot`.
    pub(crate) fn tos(&self, slot: usize) -> u8 {
        self.packets[slot].tos
    }

    /// Writes `bytes` over what arrived in `slot`, from `at` on: what was decrypted takes the place of what it
    /// was decrypted from.
    pub(crate) fn replace(&mut self, slot: usize, at: usize, bytes: &[u8]) {
        assert!(slot < SLOTS && at <= SLOT && bytes.len() <= SLOT - at);
        self.bytes_mut(Self::position(slot, at), bytes.len()).copy_from_slice(bytes);
    }

    /// The first `len` bytes of `slot`.
    #[must_use]
    pub fn bytes(&self, slot: usize, len: usize) -> &[u8] {
        assert!(slot < SLOTS && len <= SLOT);
        self.at(STRIDE * slot + HEADROOM, len)
    }

    /// Where byte `offset` of `slot` lies in the arena.
    pub(super) fn position(slot: usize, offset: usize) -> usize {
        STRIDE * slot + HEADROOM + offset
    }

    /// `len` bytes of the arena from `position`.
    pub(super) fn at(&self, position: usize, len: usize) -> &[u8] {
        assert!(position <= self.arena.len() && len <= self.arena.len() - position);
        // SAFETY: within the arena (asserted), which is initialised and lives as long as `self`; nobody
        // writes to it while `self` is borrowed.
        unsafe { std::slice::from_raw_parts(self.arena.cast::<u8>().as_ptr().add(position), len) }
    }

    /// The same to write to.
    pub(super) fn bytes_mut(&mut self, position: usize, len: usize) -> &mut [u8] {
        assert!(position <= self.arena.len() && len <= self.arena.len() - position);
        // SAFETY: as in `at`; `self` is borrowed mutably.
        unsafe { std::slice::from_raw_parts_mut(self.arena.cast::<u8>().as_ptr().add(position), len) }
    }
}

// SAFETY: it owns the two blocks that it points to, as a `Box` would, and nothing of it is bound to a
// thread.
unsafe impl Send for Inbox {}

impl Drop for Inbox {
    fn drop(&mut self) {
        // SAFETY: both came from `Box::leak` in `new` and nobody refers to them any more.
        unsafe {
            drop(Box::from_raw(self.ring.as_ptr()));
            drop(Box::from_raw(self.arena.as_ptr()));
        }
    }
}
