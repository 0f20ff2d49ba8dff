//! Datagrams in.

use std::io;
use std::os::fd::AsFd;

use chappe_proto::limits::SOCKET_BURST;
use chappe_proto::time::Now;
use chappe_proto::turn::{FiveTuple, RelayId, Transport, Via};

use super::{Drained, Driver};
use crate::listener::udp_via;
use crate::udp::{SLOTS, is_earlier};

impl Driver {
    /// Takes a part of what a UDP listener has.
    pub(super) fn udp_ready(&mut self, now: Now, index: usize) -> Drained {
        let mut left = SOCKET_BURST;
        while left > 0 {
            let first = self.free_slot();
            let Some(listener) = self.udp.get(index) else { return Drained::Yes };
            let asked = left.min(SLOTS - first);
            let count = match self.inbox.receive(listener.as_fd(), asked) {
                Ok(count) => count,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Drained::Yes,
                Err(_) => {
                    self.counters.receive_errors += 1;
                    left -= 1;
                    continue;
                }
            };
            self.received += u64::from(count > 0);
            for slot in first..first + count {
                let packet = self.inbox.packet(slot);
                let Some(listener) = self.udp.get(index) else { return Drained::Yes };
                let server = listener.server(packet.local);
                if listener.certificate().is_some() {
                    let client = FiveTuple { transport: Transport::Dtls, client: packet.from, server };
                    self.each_segment(slot, |driver, slot, start, end| {
                        driver.dtls_datagram(now, index, &client, slot, start, end);
                    });
                    continue;
                }
                let client = FiveTuple { transport: Transport::Udp, client: packet.from, server };
                self.each_segment(slot, |driver, slot, start, end| {
                    driver.client_message(now, &client, udp_via(index), slot, start, end);
                });
            }
            if count < asked {
                return Drained::Yes;
            }
            left -= count;
        }
        Drained::No
    }

    /// Takes a part of what a relayed socket has.
    pub(super) fn relay_ready(&mut self, now: Now, index: u32) -> Drained {
        let mut left = SOCKET_BURST;
        while left > 0 {
            let first = self.free_slot();
            let Some(socket) = self.relays.get(index) else { return Drained::Yes };
            let asked = left.min(SLOTS - first);
            let count = match self.inbox.receive(socket, asked) {
                Ok(count) => count,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Drained::Yes,
                Err(error) => {
                    // What a packet of this socket met is told here, and no packet is lost for it.
                    if error.raw_os_error().is_some_and(is_earlier) {
                        self.relay_errors(now, index);
                    } else {
                        self.counters.receive_errors += 1;
                    }
                    left -= 1;
                    continue;
                }
            };
            self.received += u64::from(count > 0);
            for slot in first..first + count {
                let from = self.inbox.packet(slot).from;
                self.each_segment(slot, |driver, slot, start, end| {
                    let payload = &driver.inbox.bytes(slot, end)[start..];
                    let forward = driver.server.handle_peer(now, RelayId(index), from, payload);
                    driver.forward(forward, slot, start, end);
                    driver.outputs(now);
                });
            }
            if count < asked {
                return Drained::Yes;
            }
            left -= count;
        }
        Drained::No
    }

    /// The next free slot, after making room if there is none.
    pub(super) fn free_slot(&mut self) -> usize {
        if self.inbox.free() == 0 {
            self.send();
        }
        SLOTS - self.inbox.free()
    }

    /// Calls `take` for each segment of what is in `slot`.
    fn each_segment(&mut self, slot: usize, mut take: impl FnMut(&mut Self, usize, usize, usize)) {
        let packet = self.inbox.packet(slot);
        // Nobody sends from port 0: this is what an unreadable packet looks like.
        if packet.from.port() == 0 {
            self.counters.receive_errors += 1;
            return;
        }
        let mut start = 0;
        loop {
            let end = packet.len.min(start + packet.segment);
            take(self, slot, start, end);
            start = end;
            if start >= packet.len {
                return;
            }
        }
    }

    /// Handles one message of a client, which lies in a slot.
    pub(super) fn client_message(
        &mut self,
        now: Now,
        client: &FiveTuple,
        via: Via,
        slot: usize,
        start: usize,
        end: usize,
    ) {
        let message = &self.inbox.bytes(slot, end)[start..];
        let forward = self.server.handle_client(now, client, via, message);
        self.forward(forward, slot, start, end);
        self.outputs(now);
    }
}
