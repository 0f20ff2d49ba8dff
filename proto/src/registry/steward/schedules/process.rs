//! What one node does with its mail, its log and its time.

use super::*;
use crate::registry::tests::up;

impl Sim {
    pub(super) fn take_mail(&mut self, id: NodeId) {
        while let Some(mail) = self.process(id).inbox.pop_front() {
            let (clock, broken) = (self.clock(), self.broken);
            let now = self.now;
            let process = self.process(id);
            let mut out = Vec::new();
            match mail {
                Mail::Said(_, Body::Grant { generation, n, index }) => {
                    if let Some(lease) = &mut process.lease {
                        let before = lease.until();
                        lease.handle_grant(generation, n, index);
                        if broken == Break::FromArrival && lease.until() > before {
                            process.arrival = now + process.state.profile().lease;
                        }
                    }
                }
                Mail::Said(from, Body::Renew { generation, n }) => {
                    if let Some((_, Some(steward))) = &mut process.steward {
                        let removed = steward.is_leaving(from);
                        steward.handle_renewal(clock, from, generation, n, &mut out);
                        if removed && broken == Break::GrantsRemoved {
                            let index = process.state.index();
                            out.push(Output::Grant { to: from, generation, n, index });
                        }
                    }
                }
                Mail::Said(from, Body::Released { shards, applied }) => {
                    if let Some((_, Some(steward))) = &mut process.steward {
                        steward.handle_released(clock, from, &shards, applied, &process.state, &mut out);
                    }
                }
                Mail::Read { term, number, index } => {
                    if let Some((held, Some(steward))) = &mut process.steward
                        && *held == term
                    {
                        steward.handle_read(clock, number, index, &mut out);
                    }
                }
                Mail::Said(..) | Mail::Append { .. } | Mail::Answered { .. } => unreachable!(),
            }
            self.carry_out(id, out);
        }
    }

    fn carry_out(&mut self, id: NodeId, out: Vec<Output>) {
        let Some(term) = self.process(id).steward.as_ref().map(|(term, _)| *term) else { return };
        for output in out {
            match output {
                Output::Read { number } if self.broken == Break::GrantsUnread => {
                    let index = Some(self.process(id).state.index());
                    self.post(id, Duration::ZERO, Mail::Read { term, number, index });
                }
                Output::Read { number } => {
                    let (delay, index) = (self.delay(), Index(self.log.len() as u64));
                    self.post(id, delay, Mail::Answered { term, number, index });
                }
                Output::Grant { to, generation, n, index } => {
                    self.send(id, to, Body::Grant { generation, n, index });
                }
                Output::Propose { number, command, .. } => {
                    // Its log may be slow.
                    let slow = !self.calm && self.dice.one_in(4);
                    let delay = if slow { self.dice.ms(1500) } else { self.delay() };
                    self.post(id, delay, Mail::Append { term, number: Some(number), by: None, command });
                }
                Output::Members(_) | Output::Transfer { .. } | Output::Tell(_) => {}
            }
        }
    }

    /// Applies what is committed, unless it is late.
    pub(super) fn catch_up(&mut self, id: NodeId) {
        let (now, calm) = (self.now, self.calm);
        let late = !calm && self.dice.one_in(4);
        let unapplied = self.broken == Break::CountsUnapplied;
        if late || (!calm && self.process(id).stalled > now) {
            return;
        }
        let from = usize::try_from(self.process(id).state.index().0).unwrap();
        for at in from..self.log.len() {
            let entry = self.log[at].clone();
            let index = Index(at as u64 + 1);
            let (begins, clock) = (self.begins, self.clock());
            let process = self.process(id);
            let by = entry.by;
            let outcome = process.state.apply(index, entry);
            let mut out = Vec::new();
            if let Outcome::Up { generation } = outcome
                && by == Some(RequestId { node: id, generation: Generation(0), n: process.starts })
            {
                process.lease = Some(Lease::new(now, generation, process.state.profile()));
                process.arrival = Mono::default();
            }
            if let Some(lease) = &mut process.lease {
                lease.handle_applied(if unapplied { Index(u64::MAX) } else { index });
                lease.set_profile(now, process.state.profile());
            }
            if let Some((_, steward)) = &mut process.steward {
                match steward {
                    Some(steward) => {
                        let (state, members) = (&process.state, Self::members());
                        let proposed = process.proposals.remove(&index.0);
                        if let Some(number) = proposed {
                            steward.handle_outcome(clock, number, Some(&outcome), state, &members, &mut out);
                        } else {
                            steward.handle_state(clock, state, &members, &mut out);
                        }
                    }
                    // The first entry of its own term is applied.
                    None if index.0 >= begins => {
                        *steward = Some(Steward::begin(clock, id, &process.state));
                    }
                    None => {}
                }
            }
            self.carry_out(id, out);
        }
        // One that has led hears of the next leader by what it applies.
        let term = self.term;
        let process = self.process(id);
        if process.steward.as_ref().is_some_and(|(held, _)| *held < term) {
            process.steward = None;
            process.proposals.clear();
        }
    }

    pub(super) fn time_passes(&mut self, id: NodeId) {
        let (now, clock, broken, leader) = (self.now, self.clock(), self.broken, self.leader);
        let stale = self.processes.iter().find(|p| p.id != leader && p.steward.is_some()).map(|p| p.id);
        let to = stale.filter(|_| self.dice.one_in(3)).unwrap_or(leader);
        let process = self.process(id);
        let mut out = Vec::new();
        if let Some((_, Some(steward))) = &mut process.steward
            && steward.poll_timeout() <= clock
        {
            steward.handle_timeout(clock, &process.state, &Self::members(), &mut out);
        }
        let up_here = |lease: &Lease| {
            process.state.node(id).is_some_and(|node| {
                node.generation == lease.generation() && node.state == crate::registry::NodeState::Up
            })
        };
        // Evicted: it begins a new life.
        if process.lease.as_ref().is_some_and(|lease| !up_here(lease)) {
            process.lease = None;
            process.starts += 1;
            process.asked = None;
        }
        let mut start = None;
        let mut said = Vec::new();
        match &mut process.lease {
            None if process.asked.is_none_or(|at| now.since(at) > Duration::from_secs(1)) => {
                process.asked = Some(now);
                start = Some(RequestId { node: id, generation: Generation(0), n: process.starts });
            }
            None => {}
            Some(lease) => said.extend(lease.handle_timeout(now)),
        }
        if process.lease.is_some() && now.since(process.releases) >= Duration::from_millis(100) {
            process.releases = now;
            let moving = process.state.shards().filter(|(_, shard)| shard.moving.is_some());
            let moving = moving.filter(|(_, shard)| shard.owner == Some(id));
            let shards: Vec<_> = moving.map(|(shard, entry)| (shard, entry.epoch)).collect();
            if !shards.is_empty() {
                said.push(Body::Released { shards, applied: process.state.index() });
            }
        }
        if broken == Break::ReleasesUnasked
            && let Some((_, Some(steward))) = &mut process.steward
        {
            let moving = process.state.shards().filter(|(_, shard)| shard.moving.is_some());
            let all: Vec<_> = moving.map(|(shard, entry)| (entry.owner, shard, entry.epoch)).collect();
            for (owner, shard, epoch) in all {
                let (from, index) = (owner.unwrap_or_default(), process.state.index());
                let shards = [(shard, epoch)];
                steward.handle_released(clock, from, &shards, index, &process.state, &mut out);
            }
        }
        self.carry_out(id, out);
        for body in said {
            self.send(id, to, body);
        }
        if let Some(by) = start {
            self.ask(Some(by), up(id));
        }
    }
}
