//! What other threads ask for.

use std::os::fd::AsFd;

use chappe_proto::id::Index;
use chappe_proto::mesh::uplink::Directive;
use chappe_proto::time::Now;
use chappe_proto::turn::EndReason;

use super::{Drained, Driver};
use crate::command::Command;
use crate::stats::Stats;
use crate::{clock, udp};

impl Driver {
    /// Carries out what other threads ask for.
    pub(super) fn commands_ready(&mut self, now: Now) -> Drained {
        while let Ok(command) = self.commands.try_recv() {
            match command {
                Command::View(view, reply) => {
                    // Of two uplinks one may lag; what is in force never goes back.
                    if view.index > self.applied || self.applied == Index::default() {
                        self.server.set_view(now, &view);
                        self.applied = view.index;
                    }
                    self.outputs(now);
                    reply(self.applied);
                }
                Command::Changes(index, changes, reply) => {
                    if index > self.applied {
                        for change in &changes {
                            self.server.apply(now, change);
                        }
                        self.applied = index;
                    }
                    self.outputs(now);
                    reply(self.applied);
                }
                Command::Alternates(alternates, reply) => {
                    self.server.set_standby(&alternates);
                    reply(());
                }
                Command::Directive(directive, reply) => {
                    if let Directive::End { session } = directive {
                        self.server.end(now, session, EndReason::Left);
                    }
                    self.outputs(now);
                    reply(());
                }
                Command::Stats(reply) => reply(self.stats()),
                Command::ProbeCredential(reply) => reply(self.server.probe_credential(now)),
                Command::ReadUsage(reply) => reply(self.server.read_usage()),
                Command::OfferUsage(reply) => reply(self.server.offer_usage(now)),
                Command::UsageTaken(number, reply) => {
                    self.server.usage_taken(number);
                    reply(());
                }
                Command::Allocations { filter, from, limit, reply } => {
                    reply(self.server.page(now, &filter, from, limit));
                }
                Command::Close(number, reply) => {
                    let closed = self.server.close(now, number);
                    self.outputs(now);
                    reply(closed);
                }
                Command::CloseSome { filter, from, reply } => {
                    let closed = self.server.close_some(now, &filter, from);
                    self.outputs(now);
                    reply(closed);
                }
                Command::Stop => self.stopping = true,
            }
        }
        Drained::Yes
    }

    fn stats(&mut self) -> Stats {
        let listeners: u64 = self.udp.iter().map(|listener| u64::from(udp::dropped(listener.as_fd()))).sum();
        let relays = self.relays.dropped();
        Stats {
            allocations: u32::try_from(self.server.allocations()).unwrap_or(u32::MAX),
            streams: u32::try_from(self.streams.len()).unwrap_or(u32::MAX),
            associations: u32::try_from(self.associations.len()).unwrap_or(u32::MAX),
            half_open: u32::try_from(self.streams.half_open() + self.associations.half_open())
                .unwrap_or(u32::MAX),
            web: u32::try_from(self.pipes.len()).unwrap_or(u32::MAX),
            turn: self.server.counters().clone(),
            limits: self.limits(),
            sockets: self.counters,
            loop_lag: self.lag.longest(),
            loop_cpu: clock::thread_cpu(),
            receive_drops: listeners + relays,
            draining: self.server.is_draining(),
            applied: self.applied,
        }
    }
}
