//! The load: flows of packets, each of which sends again when what it sent has arrived.

use std::net::{SocketAddr, UdpSocket};
use std::os::fd::AsFd;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use chappe_edge::udp::{Inbox, Outbox, Refusals, SLOTS, Target};
use mio::net::UdpSocket as Source;
use mio::{Events, Interest, Poll, Token};

/// What has not arrived after this without any arrival is counted as lost.
const PATIENCE: Duration = Duration::from_secs(1);
/// A round is given up after so much patience in a row.
const STALLS_MAX: u32 = 3;

/// A sender of the same packet, over and over.
pub(super) struct Flow {
    /// The socket that it sends from.
    pub(super) socket: usize,
    /// To whom.
    pub(super) to: SocketAddr,
    /// What; its last four bytes are the flow's number where a socket receives of several.
    pub(super) packet: Vec<u8>,
}

/// Sockets and flows, ready for rounds.
pub(super) struct Exchange {
    poll: Poll,
    sockets: Vec<Source>,
    /// Whose packets arrive at each socket: one flow's, or, where none is named, of the flow that the
    /// packet names.
    arrivals: Vec<Option<usize>>,
    flows: Vec<Flow>,
    /// Packets of a flow on their way.
    waiting: Vec<u64>,
    /// Packets that a flow sends at once.
    burst: u64,
    inbox: Inbox,
    outbox: Outbox,
}

/// What a round did.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Counts {
    pub(super) sent: u64,
    pub(super) arrived: u64,
}

impl Exchange {
    /// Of sockets, each with the flow whose packets arrive there, and flows.
    pub(super) fn new(
        sockets: Vec<(UdpSocket, Option<usize>)>,
        flows: Vec<Flow>,
        burst: u64,
    ) -> Result<Self> {
        let poll = Poll::new()?;
        let (mut sources, mut arrivals) = (Vec::new(), Vec::new());
        for (index, (socket, flow)) in sockets.into_iter().enumerate() {
            socket.set_nonblocking(true)?;
            chappe_edge::udp::enable_gro(socket.as_fd())?;
            let mut source = Source::from_std(socket);
            poll.registry().register(&mut source, Token(index), Interest::READABLE)?;
            sources.push(source);
            arrivals.push(flow);
        }
        let waiting = vec![0; flows.len()];
        let (inbox, outbox) = (Inbox::new(), Outbox::new());
        Ok(Self { poll, sockets: sources, arrivals, flows, waiting, burst, inbox, outbox })
    }

    /// Sends until `count` packets were sent and have arrived or are lost.
    pub(super) fn run(&mut self, count: u64) -> Result<Counts> {
        let mut counts = Counts::default();
        for flow in 0..self.flows.len() {
            self.launch(flow, count, &mut counts);
        }
        self.flush();
        let mut events = Events::with_capacity(1024);
        let mut stalls = 0;
        while self.waiting.iter().any(|waiting| *waiting > 0) {
            match self.poll.poll(&mut events, Some(PATIENCE)) {
                Err(error) if error.kind() == std::io::ErrorKind::Interrupted => continue,
                result => result.context("polling")?,
            }
            let ready: Vec<usize> = events.iter().map(|event| event.token().0).collect();
            let before = counts.arrived;
            for index in ready {
                while self.receive(index, count, &mut counts) == SLOTS {}
            }
            if counts.arrived > before {
                stalls = 0;
                continue;
            }
            stalls += 1;
            if stalls > STALLS_MAX {
                bail!("packets do not arrive: {} of {}", counts.arrived, counts.sent);
            }
            for flow in 0..self.flows.len() {
                self.waiting[flow] = 0;
                self.launch(flow, count, &mut counts);
            }
            self.flush();
        }
        Ok(counts)
    }

    /// Takes what has arrived at a socket, at most all slots, and lets the flows that are done go on.
    fn receive(&mut self, index: usize, count: u64, counts: &mut Counts) -> usize {
        let received = self.inbox.receive(self.sockets[index].as_fd(), SLOTS).unwrap_or(0);
        for slot in 0..received {
            let packet = self.inbox.packet(slot);
            let (mut start, len) = (0, packet.len);
            while start < len {
                let end = len.min(start + packet.segment);
                let flow = self.arrivals[index].or_else(|| named(self.inbox.bytes(slot, end)));
                start = end;
                let Some(flow) = flow.filter(|flow| *flow < self.flows.len()) else { continue };
                // One that was taken for lost is not waited for any more.
                if let Some(left) = self.waiting[flow].checked_sub(1) {
                    self.waiting[flow] = left;
                    counts.arrived += 1;
                    if left == 0 {
                        self.launch(flow, count, counts);
                    }
                }
            }
        }
        self.flush();
        self.inbox.clear();
        received
    }

    /// Queues a flow's next packets, as long as there are any to send.
    fn launch(&mut self, flow: usize, count: u64, counts: &mut Counts) {
        let burst = self.burst.min(count.saturating_sub(counts.sent));
        let Flow { socket, to, .. } = self.flows[flow];
        let Ok(name) = u32::try_from(socket) else { return };
        for _ in 0..burst {
            if self.outbox.is_full() {
                self.flush();
            }
            let target = Target::new(name, to, None);
            self.outbox.push_copy(target, &self.flows[flow].packet);
        }
        self.waiting[flow] = burst;
        counts.sent += burst;
    }

    fn flush(&mut self) {
        let sockets = &self.sockets;
        let socket = |name: u32| sockets.get(name as usize).map(AsFd::as_fd);
        // What is refused does not arrive, and is counted by that.
        self.outbox.flush(&self.inbox, socket, &mut Refusals::default());
    }
}

/// The flow that a packet names.
fn named(packet: &[u8]) -> Option<usize> {
    let (_, number) = packet.split_last_chunk::<4>()?;
    usize::try_from(u32::from_be_bytes(*number)).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_that_is_sent_arrives_and_is_counted() {
        let here = || UdpSocket::bind("127.0.0.1:0").unwrap();
        let (from, shared) = (here(), here());
        let to = shared.local_addr().unwrap();
        let flow = |number: u32| {
            let mut packet = vec![7; 100];
            packet.extend(number.to_be_bytes());
            Flow { socket: 0, to, packet }
        };
        let sockets = vec![(from, Some(0)), (shared, None)];
        let mut exchange = Exchange::new(sockets, vec![flow(0), flow(1)], 8).unwrap();
        let counts = exchange.run(1004).unwrap();
        assert_eq!((counts.sent, counts.arrived), (1004, 1004));
    }

    #[test]
    fn what_does_not_arrive_ends_a_round() {
        let nobody = UdpSocket::bind("127.0.0.1:0").unwrap();
        let flow = Flow { socket: 0, to: nobody.local_addr().unwrap(), packet: vec![1; 8] };
        let sockets = vec![(UdpSocket::bind("127.0.0.1:0").unwrap(), None)];
        assert!(Exchange::new(sockets, vec![flow], 1).unwrap().run(1_000_000).is_err());
    }
}
