//! Handing the queued datagrams to the kernel.

use std::io;
use std::ops::Range;
use std::os::fd::RawFd;

use super::address::Name;
use super::control::Control;
use super::outbox::{IN_SCRATCH, Outbox, Piece, Refusals};
use super::{Inbox, is_earlier};

/// How often a packet is tried again after a call that told what earlier ones met.
const TRIES: u8 = 2;

impl Outbox {
    /// Sends a run of messages that leave by one socket.
    pub(super) fn send(&mut self, fd: RawFd, run: Range<usize>, inbox: &Inbox, refusals: &mut Refusals) {
        self.describe(run.clone(), inbox);
        let mut done = 0;
        let mut tries = 0;
        while done < run.len() {
            match self.call(fd, done) {
                Ok(sent) => {
                    done += sent.max(1);
                    tries = 0;
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => {
                    let message = &self.messages[run.start + done];
                    let packets = u64::try_from(message.count).unwrap_or(u64::MAX);
                    // What an earlier packet met is told here; this one was not tried.
                    if tries < TRIES && error.raw_os_error().is_some_and(is_earlier) {
                        tries += 1;
                        continue;
                    }
                    match error.raw_os_error() {
                        // The card cannot checksum (EIO), or the path is narrower than a segment (EINVAL).
                        Some(code @ (libc::EIO | libc::EINVAL)) if message.count > 1 => {
                            self.segments &= code != libc::EIO;
                            refusals.untrained += 1;
                            self.send_each(fd, run.start + done, inbox, refusals);
                        }
                        Some(libc::EAGAIN | libc::ENOBUFS | libc::ENOMEM) => refusals.full += packets,
                        Some(libc::EMSGSIZE) => {
                            refusals.too_long += packets;
                            if message.target.df {
                                self.too_long.push(message.target);
                            }
                        }
                        Some(
                            libc::ECONNREFUSED
                            | libc::EHOSTUNREACH
                            | libc::ENETUNREACH
                            | libc::EPERM
                            | libc::EACCES,
                        ) => refusals.unreachable += packets,
                        _ => refusals.other += packets,
                    }
                    done += 1;
                    tries = 0;
                }
            }
        }
    }

    /// Fills the headers, addresses and stretches of a run for the kernel.
    fn describe(&mut self, run: Range<usize>, inbox: &Inbox) {
        self.headers.clear();
        self.iovecs.clear();
        self.names.clear();
        self.controls.clear();
        for message in &self.messages[run] {
            let segment = if message.count > 1 { u16::try_from(message.segment).ok() } else { None };
            let (name, name_len) = Name::new(message.target.to);
            self.names.push(name);
            let mut control_len = 0;
            let target = &message.target;
            if segment.is_some() || target.from.is_some() || target.tos != 0 || target.df {
                let mut control = Control::empty();
                control_len = control.write(segment, target);
                self.controls.push(control);
            }
            let mut piece = self.pieces.get(message.first as usize);
            while let Some(Piece { at, len, next }) = piece.copied() {
                let bytes = stretch(inbox, &self.scratch, at, len);
                self.iovecs.push(libc::iovec { iov_base: bytes.as_ptr().cast_mut().cast(), iov_len: len });
                piece = self.pieces.get(next as usize);
            }
            self.headers.push(header(name_len, message.pieces as usize, control_len));
        }
        self.link();
    }

    /// Points the headers at what was pushed for them, now that nothing moves any more.
    fn link(&mut self) {
        let (mut iovec, mut control) = (0, 0);
        for (header, name) in self.headers.iter_mut().zip(&mut self.names) {
            header.msg_hdr.msg_name = (&raw mut *name).cast();
            let pieces = header.msg_hdr.msg_iovlen;
            header.msg_hdr.msg_iov = self.iovecs[iovec..iovec + pieces].as_mut_ptr();
            iovec += pieces;
            if header.msg_hdr.msg_controllen > 0 {
                header.msg_hdr.msg_control = (&raw mut self.controls[control]).cast();
                control += 1;
            }
        }
    }

    /// Hands the described messages from `done` on to the kernel; answers how many it took.
    fn call(&mut self, fd: RawFd, done: usize) -> io::Result<usize> {
        let headers = &mut self.headers[done..];
        if let [only] = headers {
            let header = &only.msg_hdr;
            // SAFETY: `link` has pointed the header at a name, stretches of bytes and a control message
            // that are live: in `self.names`, `self.iovecs` and `self.controls`, unchanged since, and in
            // the scratch and the inbox, which nobody writes to while they are borrowed by `flush`. The
            // kernel only reads them. One plain stretch takes the call with the least to copy.
            let sent = unsafe {
                if header.msg_iovlen == 1 && header.msg_controllen == 0 {
                    let iovec = *header.msg_iov;
                    let (name, len) = (header.msg_name.cast(), header.msg_namelen);
                    libc::sendto(fd, iovec.iov_base, iovec.iov_len, libc::MSG_DONTWAIT, name, len)
                } else {
                    libc::sendmsg(fd, header, libc::MSG_DONTWAIT)
                }
            };
            return if sent >= 0 { Ok(1) } else { Err(io::Error::last_os_error()) };
        }
        let Ok(vlen) = libc::c_uint::try_from(headers.len()) else { return Ok(0) };
        // SAFETY: as above, for `vlen` headers, which the kernel also writes `msg_len` into.
        let sent = unsafe { libc::sendmmsg(fd, headers.as_mut_ptr(), vlen, libc::MSG_DONTWAIT) };
        usize::try_from(sent).map_err(|_| io::Error::last_os_error())
    }

    /// Sends the segments of a train one by one.
    fn send_each(&self, fd: RawFd, message: usize, inbox: &Inbox, refusals: &mut Refusals) {
        let message = &self.messages[message];
        let mut bytes = Vec::with_capacity(message.total);
        let mut piece = self.pieces.get(message.first as usize);
        while let Some(Piece { at, len, next }) = piece.copied() {
            bytes.extend_from_slice(stretch(inbox, &self.scratch, at, len));
            piece = self.pieces.get(next as usize);
        }
        let mut control = Control::empty();
        let control_len = control.write(None, &message.target);
        for segment in bytes.chunks(message.segment) {
            let (mut name, name_len) = Name::new(message.target.to);
            let mut iovec =
                libc::iovec { iov_base: segment.as_ptr().cast_mut().cast(), iov_len: segment.len() };
            let mut header = header(name_len, 1, control_len).msg_hdr;
            header.msg_name = (&raw mut name).cast();
            header.msg_iov = &raw mut iovec;
            if control_len > 0 {
                header.msg_control = (&raw mut control).cast();
            }
            // SAFETY: the header points at locals that live until the call returns.
            let sent = unsafe { libc::sendmsg(fd, &raw const header, libc::MSG_DONTWAIT) };
            if sent < 0 {
                match io::Error::last_os_error().raw_os_error() {
                    Some(libc::EAGAIN | libc::ENOBUFS | libc::ENOMEM) => refusals.full += 1,
                    Some(libc::EMSGSIZE) => refusals.too_long += 1,
                    _ => refusals.other += 1,
                }
            }
        }
    }
}

/// The bytes of a [`Piece`].
fn stretch<'a>(inbox: &'a Inbox, scratch: &'a [u8], at: usize, len: usize) -> &'a [u8] {
    if at & IN_SCRATCH == 0 { inbox.at(at, len) } else { &scratch[at ^ IN_SCRATCH..][..len] }
}

/// A header that points nowhere yet.
fn header(name_len: libc::socklen_t, pieces: usize, control_len: usize) -> libc::mmsghdr {
    // SAFETY: integers and raw pointers, for all of which zero bytes are a value.
    let mut header: libc::mmsghdr = unsafe { std::mem::zeroed() };
    header.msg_hdr.msg_namelen = name_len;
    header.msg_hdr.msg_iovlen = pieces;
    header.msg_hdr.msg_controllen = control_len;
    header
}
