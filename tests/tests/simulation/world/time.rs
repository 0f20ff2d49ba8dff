//! Time: who wants to be woken when, and everything that happens by then.

use std::time::Duration;

use super::super::dice::ms;
use super::super::env::id_of;
use super::super::invariants::{Name, Wrong};
use super::World;

/// So often something may happen at one moment.
const STILL: u32 = 10_000;

impl World {
    /// Lets time pass until `end`, or until it is `enough`, which is asked four times a second.
    pub(super) fn until(&mut self, end: Duration, enough: impl Fn(&Self) -> bool) -> Result<bool, Wrong> {
        let (mut look, mut still) = (self.env.at, 0);
        while self.env.at < end {
            if look <= self.env.at {
                look = self.env.at + ms(250);
                self.look();
                if enough(self) {
                    return Ok(true);
                }
            }
            let next = self.next().min(end).min(look).max(self.env.at);
            still = if next == self.env.at { still + 1 } else { 0 };
            if still > STILL {
                return Err(Name::Runs.broken(format!("no time passes: {}", self.who())));
            }
            self.env.at = next;
            self.step();
            self.env.watch.verdict()?;
        }
        Ok(enough(self))
    }

    /// What is looked at from time to time.
    fn look(&mut self) {
        for (index, host) in self.hosts.iter().enumerate() {
            let drained = &mut self.env.watch.drained;
            match host.node.as_ref().filter(|_| !host.paused) {
                Some(node) => {
                    let judgement = drained.looks(self.env.at, node.id, node.drains(), node.attached());
                    self.env.watch.judge(Name::Drained.judge(judgement));
                }
                None => drained.stands_still(id_of(index)),
            }
        }
    }

    fn next(&self) -> Duration {
        let mut next = self.env.next().unwrap_or(Duration::MAX);
        for host in self.hosts.iter().filter(|host| !host.paused && host.node.is_some()) {
            next = next.min(host.due);
        }
        next = next.min(self.dues.iter().copied().min().unwrap_or(Duration::MAX));
        if self.lively { next.min(self.acts.iter().copied().min().unwrap_or(Duration::MAX)) } else { next }
    }

    /// Who wants to be woken again at once.
    pub(super) fn who(&self) -> String {
        let nodes = self.hosts.iter().enumerate().filter(|(_, host)| !host.paused && host.due <= self.env.at);
        let clients = self.clients.iter().filter(|client| client.deadline() <= self.env.at);
        let nodes: Vec<_> =
            nodes.map(|(index, host)| (index + 1, host.node.as_ref().map(|n| n.who(&self.env)))).collect();
        let clients: Vec<_> = clients.map(|client| client.who.identity.to_string()).collect();
        format!("nodes {nodes:?}, {clients:?}")
    }

    fn step(&mut self) {
        while let Some(event) = self.env.pop_due() {
            self.happen(event);
        }
        let now = self.env.at;
        for host in self.hosts.iter_mut().filter(|host| !host.paused) {
            if host.due <= now {
                host.act(&mut self.env, |node, env| node.timers(env));
            }
        }
        for index in 0..self.clients.len() {
            if self.lively && self.acts[index] <= now {
                self.acts[index] = now + self.env.dice.between(ms(5), ms(250));
                self.act(index);
            }
            if self.dues[index] <= now {
                let wants = self.clients[index].tick(now);
                self.wants(index, wants);
            }
        }
    }
}
