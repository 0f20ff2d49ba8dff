//! TLS between a socket and what is read from and written to it (RFC 8446, RFC 5246).

use std::io::{self, Read, Write};
use std::sync::Arc;

use rustls::{ServerConfig, ServerConnection};

/// Bytes of a record's plaintext at most: what one write encrypts.
const RECORD: usize = 16 * 1024;

/// One connection's TLS.
pub(crate) struct Tls {
    connection: ServerConnection,
    /// What was read from the socket and not taken yet, since what it is to be decrypted to has found no room.
    unread: Vec<u8>,
    /// It has ended: nothing more is to be read.
    ended: bool,
}

/// What reading brought.
pub(crate) struct Added {
    /// Plaintext bytes.
    pub(crate) len: usize,
    /// Whether the socket may hold more.
    pub(crate) more: bool,
}

impl Tls {
    pub(super) fn new(config: Arc<ServerConfig>) -> Result<Self, rustls::Error> {
        let mut connection = ServerConnection::new(config)?;
        // Data waits before it is encrypted, where old media can give way to new: at most one write's worth
        // lies in here (`write` begins none before the last has left).
        connection.set_buffer_limit(Some(2 * RECORD));
        Ok(Self { connection, unread: Vec::new(), ended: false })
    }

    /// Whether the handshake is done.
    pub(crate) fn is_open(&self) -> bool {
        !self.connection.is_handshaking()
    }

    /// What was agreed on by ALPN.
    pub(crate) fn alpn(&self) -> Option<&[u8]> {
        self.connection.alpn_protocol()
    }

    /// Whether something of it waits to be written.
    pub(crate) fn wants_write(&self) -> bool {
        self.connection.wants_write()
    }

    /// Reads and decrypts, `cipher` being room for what comes from the socket.
    ///
    /// # Errors
    /// `WouldBlock` where there is nothing at present, `UnexpectedEof` at the end, `InvalidData` for what is
    /// no TLS: the alert that says so waits to be written then.
    pub(crate) fn read(
        &mut self,
        socket: &mut impl Read,
        cipher: &mut [u8],
        into: &mut [u8],
    ) -> io::Result<Added> {
        let (mut len, mut drained, mut blocked) = (0, false, false);
        let more = loop {
            len += self.take(&mut into[len..]);
            if len == into.len() {
                break true;
            }
            if !self.unread.is_empty() {
                let unread = std::mem::take(&mut self.unread);
                self.decrypt(&unread)?;
                if self.unread.len() == unread.len() {
                    // All plaintext was taken: what finds no room now is a handshake message too long to keep.
                    return Err(io::ErrorKind::InvalidData.into());
                }
                continue;
            }
            // Where nothing came of what was read, its end may be all that follows.
            if self.ended || blocked || (drained && len > 0) {
                break false;
            }
            match socket.read(cipher) {
                Ok(0) => self.ended = true,
                Ok(count) => {
                    // What leaves room has emptied the socket (epoll(7)), but for its end.
                    drained = count < cipher.len();
                    self.decrypt(&cipher[..count])?;
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => blocked = true,
                Err(error) => return Err(error),
            }
        };
        match len {
            0 if self.ended => Err(io::ErrorKind::UnexpectedEof.into()),
            0 => Err(io::ErrorKind::WouldBlock.into()),
            _ => Ok(Added { len, more }),
        }
    }

    /// Takes what was decrypted, as much as there is room for.
    fn take(&mut self, into: &mut [u8]) -> usize {
        let mut len = 0;
        while len < into.len() {
            match self.connection.reader().read(&mut into[len..]) {
                Ok(0) => {
                    // close_notify.
                    self.ended = true;
                    break;
                }
                Ok(count) => len += count,
                Err(_) => break,
            }
        }
        len
    }

    /// Decrypts, and keeps what finds no room before the rest was taken.
    fn decrypt(&mut self, mut bytes: &[u8]) -> io::Result<()> {
        while !bytes.is_empty() {
            match self.connection.read_tls(&mut bytes) {
                // Behind a close_notify nothing counts.
                Ok(0) => return Ok(()),
                Ok(_) => {
                    self.connection
                        .process_new_packets()
                        .map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error))?;
                }
                Err(_) => {
                    self.unread.extend_from_slice(bytes);
                    return Ok(());
                }
            }
        }
        Ok(())
    }

    /// Encrypts and writes a part of `bytes`. Answers how much of it was taken.
    ///
    /// # Errors
    /// `WouldBlock` while what was taken before waits, and those of the socket.
    pub(crate) fn write(&mut self, socket: &mut impl Write, bytes: &[u8]) -> io::Result<usize> {
        self.flush(socket)?;
        if !self.is_open() {
            return Err(io::ErrorKind::WouldBlock.into());
        }
        let taken = self.connection.writer().write(&bytes[..bytes.len().min(RECORD)])?;
        match self.flush(socket) {
            Err(error) if error.kind() != io::ErrorKind::WouldBlock => Err(error),
            _ => Ok(taken),
        }
    }

    /// Writes what waits.
    ///
    /// # Errors
    /// `WouldBlock` when some is left, and those of the socket.
    pub(crate) fn flush(&mut self, socket: &mut impl Write) -> io::Result<()> {
        while self.connection.wants_write() {
            match self.connection.write_tls(socket) {
                Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
                Ok(_) => {}
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    /// Says that nothing follows.
    pub(crate) fn finish(&mut self, socket: &mut impl Write) -> io::Result<()> {
        self.connection.send_close_notify();
        self.flush(socket)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::CertificateFiles;
    use crate::listener::certificate::Certificates;

    fn tls() -> Tls {
        let directory = tempfile::tempdir().unwrap();
        let files =
            CertificateFiles { chain: directory.path().join("chain"), key: directory.path().join("key") };
        let made = rcgen::generate_simple_self_signed(vec!["turn.test".to_owned()]).unwrap();
        std::fs::write(&files.chain, made.cert.pem()).unwrap();
        std::fs::write(&files.key, made.signing_key.serialize_pem()).unwrap();
        let certificate = Certificates::default().get(&files, false, None).unwrap();
        Tls::new(certificate.server().unwrap()).unwrap()
    }

    /// A handshake message that says it is of `len` bytes, in records of `piece` bytes each.
    fn handshake(len: u32, piece: usize, pieces: usize) -> Vec<u8> {
        let mut message = vec![1];
        message.extend_from_slice(&len.to_be_bytes()[1..]);
        message.resize(piece * pieces, 0);
        let records = message.chunks(piece).flat_map(|part| {
            let len = u16::try_from(part.len()).unwrap().to_be_bytes();
            [&[22, 3, 1, len[0], len[1]], part].concat()
        });
        records.collect()
    }

    /// Feeds bytes until they are refused, or until there are none.
    fn fed(mut bytes: &[u8]) -> io::ErrorKind {
        let (mut tls, mut cipher, mut into) = (tls(), vec![0; 32 * 1024], vec![0; 4096]);
        loop {
            match tls.read(&mut bytes, &mut cipher, &mut into) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Err(error) => return error.kind(),
                Ok(added) => panic!("{} bytes of nothing", added.len),
            }
        }
    }

    #[test]
    fn a_handshake_message_too_long_to_keep_ends_the_connection() {
        for (piece, pieces) in [(16_384, 5), (4000, 20), (100, 700)] {
            assert_eq!(fed(&handshake(0xffff, piece, pieces)), io::ErrorKind::InvalidData, "{piece}");
        }
        assert_eq!(fed(&handshake(0xffff, 16_384, 1)), io::ErrorKind::UnexpectedEof, "not yet too long");
    }
}
