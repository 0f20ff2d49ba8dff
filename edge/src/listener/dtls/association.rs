//! One client's DTLS: dimpl, asked and listened to.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::{Duration, Instant};

use chappe_proto::limits::{DTLS_QUEUE, STREAM_MESSAGE_WITHIN};
use chappe_proto::time::Mono;
use dimpl::crypto::Dtls12CipherSuite;
use dimpl::{Config, Dtls, DtlsCertificate, Output};

use super::front::{COOKIE, ClientHello};
use super::provider::{admitting, provider};
use crate::listener::certificate::Certificate;

/// The longest datagram of a handshake: what IPv6 carries anywhere (1280 - 40 - 8), as Chromium assumes.
const MTU: usize = 1200;
/// Nothing that is due later than this is due at all: dimpl has no word for "never".
const HORIZON: Duration = Duration::from_secs(300);

/// What came of asking dimpl.
#[derive(Default)]
pub(crate) struct Effects {
    packets: Pieces,
    data: Pieces,
    /// The client has said that it ends.
    pub(crate) ended: bool,
}

/// Pieces of bytes, one behind the other.
#[derive(Default)]
struct Pieces {
    bytes: Vec<u8>,
    ends: Vec<usize>,
}

impl Pieces {
    fn push(&mut self, piece: &[u8]) {
        self.bytes.extend_from_slice(piece);
        self.ends.push(self.bytes.len());
    }

    fn iter(&self) -> impl Iterator<Item = &[u8]> {
        let starts = std::iter::once(0).chain(self.ends.iter().copied());
        starts.zip(&self.ends).map(|(start, end)| &self.bytes[start..*end])
    }

    fn clear(&mut self) {
        self.bytes.clear();
        self.ends.clear();
    }
}

impl Effects {
    /// A datagram for the client.
    pub(super) fn packet(&mut self, packet: &[u8]) {
        self.packets.push(packet);
    }

    /// Datagrams for the client.
    pub(crate) fn packets(&self) -> impl Iterator<Item = &[u8]> {
        self.packets.iter()
    }

    /// Messages of the client.
    pub(crate) fn data(&self) -> impl Iterator<Item = &[u8]> {
        self.data.iter()
    }

    pub(super) fn has_data(&self) -> bool {
        !self.data.ends.is_empty()
    }

    pub(crate) fn clear(&mut self) {
        self.packets.clear();
        self.data.clear();
        self.ended = false;
    }
}

/// An association that can go on no more.
#[derive(Debug)]
pub(super) struct Dead;

/// dimpl counts time as the standard library does, this crate otherwise.
#[derive(Clone, Copy)]
pub(crate) struct Epoch {
    pub(crate) mono: Mono,
    pub(crate) instant: Instant,
}

impl Epoch {
    fn instant(self, now: Mono) -> Instant {
        self.instant + now.since(self.mono)
    }

    fn mono(self, at: Instant) -> Mono {
        self.mono + at.saturating_duration_since(self.instant)
    }
}

/// One client's DTLS.
pub(super) struct Session {
    dtls: Dtls,
    epoch: Epoch,
    /// When it was last told the time.
    now: Mono,
    /// When dimpl wants to be asked again.
    pub(super) due: Mono,
}

/// What associations are configured with, or why dimpl refuses it.
pub(crate) fn config() -> Result<Arc<Config>, dimpl::Error> {
    let config = Config::builder()
        .with_crypto_provider(provider())
        // dimpl draws the nonces of AES-GCM at random, 64 bits of them, which long calls would see twice
        // (as CVE-2026-26014); with ChaCha20-Poly1305 they count.
        .dtls12_cipher_suites(&[Dtls12CipherSuite::ECDHE_ECDSA_CHACHA20_POLY1305_SHA256])
        .require_client_certificate(false)
        .handshake_timeout(STREAM_MESSAGE_WITHIN)
        .max_queue_rx(DTLS_QUEUE)
        .max_queue_tx(DTLS_QUEUE)
        .mtu(MTU)
        .build()?;
    Ok(Arc::new(config))
}

/// dimpl forbids unsafe code but not assertions: what fails one ends its own association and no other's.
fn guard<T>(ask: impl FnOnce() -> Result<T, dimpl::Error>) -> Result<T, Dead> {
    match catch_unwind(AssertUnwindSafe(ask)) {
        Ok(Ok(done)) => Ok(done),
        Ok(Err(error)) => {
            tracing::debug!(%error, "a DTLS association ends");
            Err(Dead)
        }
        Err(_) => {
            tracing::error!("a DTLS association failed an assertion; it is closed");
            Err(Dead)
        }
    }
}

impl Session {
    /// One that awaits its client's ClientHello.
    pub(super) fn new(
        config: &Arc<Config>,
        certificate: &Certificate,
        epoch: Epoch,
        now: Mono,
    ) -> Result<Self, Dead> {
        // None while an authority has not given the first one.
        let Some(current) = certificate.current() else { return Err(Dead) };
        let Some(leaf) = current.certified.cert.first() else { return Err(Dead) };
        let identity =
            DtlsCertificate { certificate: leaf.to_vec(), private_key: current.key.secret_der().to_vec() };
        let at = epoch.instant(now);
        let dtls = guard(|| Ok(Dtls::new_12(config.clone(), identity, at)))?;
        Ok(Self { dtls, epoch, now, due: Mono::NEVER })
    }

    /// Takes the ClientHello that echoes `cookie`, and goes on from there.
    pub(super) fn admit(
        &mut self,
        now: Mono,
        hello: &ClientHello<'_>,
        cookie: [u8; COOKIE],
        scratch: &mut [u8],
        effects: &mut Effects,
    ) -> Result<(), Dead> {
        // The exchange that the client had already, so that dimpl stands where the client does. What it
        // answers the client has had from us.
        admitting(hello.random, cookie, || {
            for round in 0..hello.round {
                self.receive(now, &hello.before(round), scratch, &mut Effects::default())?;
            }
            self.receive(now, hello.bytes, scratch, effects)
        })
    }

    /// Takes a datagram.
    pub(super) fn receive(
        &mut self,
        now: Mono,
        datagram: &[u8],
        scratch: &mut [u8],
        effects: &mut Effects,
    ) -> Result<(), Dead> {
        self.now = now;
        let at = self.epoch.instant(now);
        guard(|| {
            self.dtls.handle_timeout(at)?;
            self.dtls.handle_packet(datagram)
        })?;
        self.poll(scratch, effects)
    }

    /// Does what is due.
    pub(super) fn handle_timeout(
        &mut self,
        now: Mono,
        scratch: &mut [u8],
        effects: &mut Effects,
    ) -> Result<(), Dead> {
        self.now = now;
        let at = self.epoch.instant(now);
        guard(|| self.dtls.handle_timeout(at))?;
        self.poll(scratch, effects)
    }

    /// Encrypts a message.
    pub(super) fn send(
        &mut self,
        message: &[u8],
        scratch: &mut [u8],
        effects: &mut Effects,
    ) -> Result<(), Dead> {
        guard(|| self.dtls.send_application_data(message))?;
        self.poll(scratch, effects)
    }

    /// Says that nothing follows.
    pub(super) fn close(&mut self, scratch: &mut [u8], effects: &mut Effects) {
        if guard(|| self.dtls.close()).is_ok() {
            let _ = self.poll(scratch, effects);
        }
    }

    fn poll(&mut self, scratch: &mut [u8], effects: &mut Effects) -> Result<(), Dead> {
        let due = guard(|| {
            loop {
                match self.dtls.poll_output(scratch) {
                    Output::Packet(packet) => effects.packet(packet),
                    Output::ApplicationData(data) => effects.data.push(data),
                    Output::Timeout(due) => return Ok(Some(due)),
                    Output::CloseNotify => {
                        // Answered in kind (RFC 5246 section 7.2.1).
                        effects.ended = true;
                        self.dtls.close()?;
                    }
                    // Longer than any datagram: not ours.
                    Output::BufferTooSmall { .. } => return Ok(None),
                    _ => {}
                }
            }
        })?;
        let due = self.epoch.mono(due.ok_or(Dead)?);
        self.due = if due.since(self.now) > HORIZON { Mono::NEVER } else { due };
        Ok(())
    }
}
