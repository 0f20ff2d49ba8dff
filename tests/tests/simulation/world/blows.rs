//! What faults do to nodes, links and clients, and how all is whole again.

use std::time::Duration;

use chappe_proto::registry::Command;

use super::super::client::{self, Client};
use super::super::dice::ms;
use super::super::env::{Event, id_of};
use super::super::faults::Fault;
use super::super::node::Node;
use super::World;

/// A process that is to stop looks so often whether the registry knows.
const SAY_STOPPING_EVERY: Duration = ms(1000);

impl World {
    pub(super) fn fault(&mut self, fault: Fault) {
        self.env.note(|| format!("--- {fault:?}"));
        match fault {
            Fault::Crash(node) => self.crash(node),
            Fault::Start(node) => self.start(node),
            Fault::Pause(node) => self.pause(node),
            Fault::Resume(node) => self.resume(node),
            Fault::Cut(from, to) => self.env.cut(from, to),
            Fault::Mend(from, to) => {
                let dials = self.is_awake(from) && self.is_awake(to);
                self.env.mend(from, to, dials);
            }
            Fault::Slow(from, to, millis) => self.env.net.set_slow(from, to, ms(millis.into())),
            Fault::Disk(node, millis) => self.env.disks[node].slow = ms(millis.into()),
            Fault::Clock(node, millis) => {
                self.env.watch.rebuilt.clock(ms(millis.into()));
                self.hosts[node].clocks.late = ms(millis.into());
                self.hosts[node].act(&mut self.env, |node, _| node.set_late(ms(millis.into())));
            }
            Fault::Drain(node) => {
                self.operate(Command::NodeSet { node: id_of(node), weight: 1, draining: true });
            }
            Fault::Undrain(node) => {
                self.operate(Command::NodeSet { node: id_of(node), weight: 1, draining: false });
            }
            Fault::Stop(node) => {
                self.hosts[node].stopping |= self.hosts[node].node.is_some();
                self.env.later(Duration::ZERO, Event::Stops { node, life: self.env.lives[node] });
            }
            Fault::Kick(client, ban) => self.kick(client, ban),
            Fault::Move(client, to) => {
                let room = self.clients[client].who.room.clone();
                for host in self.hosts.iter_mut().filter(|host| !host.paused) {
                    host.act(&mut self.env, |node, env| {
                        node.move_room(env, &room, to);
                    });
                }
            }
            Fault::BlackHole(client) => {
                if let Some(socket) = self.clients[client].socket {
                    self.env.black_hole(socket);
                }
            }
            Fault::Drop(client) => {
                if let Some(socket) = self.clients[client].socket {
                    self.env.client_closes(socket);
                    let now = self.env.at;
                    self.clients[client].lost(now, socket);
                    self.wants(client, Vec::new());
                }
            }
            Fault::Reload(client) => {
                if self.clients[client].state != client::State::Done {
                    let wants = self.clients[client].reload(self.env.at);
                    self.wants(client, wants);
                }
            }
            Fault::Leave(client) => {
                let wants = self.clients[client].leave();
                self.wants(client, wants);
            }
        }
    }

    fn is_awake(&self, node: usize) -> bool {
        self.hosts[node].node.is_some() && !self.hosts[node].paused
    }

    fn crash(&mut self, node: usize) {
        if self.hosts[node].node.take().is_none() {
            return;
        }
        (self.hosts[node].paused, self.hosts[node].stopping) = (false, false);
        self.env.lives[node] += 1;
        self.env.forget_held(node);
        let env = &mut self.env;
        env.disks[node].crash(&mut env.dice);
        env.process_gone(node);
        self.fall_silent(node);
    }

    fn fall_silent(&mut self, node: usize) {
        for other in (0..self.hosts.len()).filter(|other| *other != node) {
            let turns = self.env.net.silent(&mut self.env.dice, node, other);
            self.env.turns(turns);
        }
    }

    fn be_heard(&mut self, node: usize) {
        for other in 0..self.hosts.len() {
            let cut = self.env.net.is_cut(node, other) || self.env.net.is_cut(other, node);
            if other != node && self.is_awake(other) && !cut {
                let turns = self.env.net.dial(&mut self.env.dice, node, other);
                self.env.turns(turns);
            }
        }
    }

    /// A link is one connection: with it all streams end, on both sides.
    pub(super) fn streams_end(&mut self, a: usize, b: usize) {
        for (here, there) in [(a, b), (b, a)] {
            if let Some(node) = &mut self.hosts[here].node {
                node.feeds_end(&self.env, there);
            }
        }
    }

    fn start(&mut self, node: usize) {
        if self.hosts[node].node.is_some() {
            return;
        }
        for other in 0..self.hosts.len() {
            self.streams_end(node, other);
        }
        self.env.net.forget(node);
        let clocks = self.hosts[node].clocks;
        self.hosts[node].node = Some(Node::new(&mut self.env, node, clocks));
        self.hosts[node].due = self.env.at;
        self.be_heard(node);
    }

    fn pause(&mut self, node: usize) {
        if self.hosts[node].node.is_some() && !self.hosts[node].paused {
            self.hosts[node].paused = true;
            self.fall_silent(node);
        }
    }

    fn resume(&mut self, node: usize) {
        if self.hosts[node].paused {
            self.hosts[node].paused = false;
            self.be_heard(node);
            self.env.release_held(node);
        }
    }

    /// A process that is to stop says so, until it ends: another life of it may have begun meanwhile.
    pub(super) fn stops(&mut self, node: usize, life: u32) {
        if life != self.env.lives[node] {
            return;
        }
        if !self.hosts[node].paused {
            self.hosts[node].act(&mut self.env, |node, env| {
                node.say_stopping(env);
                node.settle(env);
            });
        }
        self.env.later(SAY_STOPPING_EVERY, Event::Stops { node, life });
    }

    fn operate(&mut self, command: Command) {
        let awake: Vec<usize> = (0..self.hosts.len()).filter(|node| self.is_awake(*node)).collect();
        if let Some(node) = self.env.dice.pick(&awake) {
            self.hosts[node].act(&mut self.env, |node, env| {
                node.operate(env, command);
                node.settle(env);
            });
        }
    }

    fn kick(&mut self, client: usize, ban: bool) {
        let room = self.clients[client].who.room.clone();
        let fit = |c: &Client| c.who.admin && c.is_live() && c.who.room == room;
        let Some(admin) = self.clients.iter().position(fit) else { return };
        let others = self.clients[admin].others();
        if let Some(peer) = self.env.dice.pick(&others) {
            let text = format!(r#"{{"type":"kick","peer":"{peer}","ban":{ban}}}"#);
            let wants = self.clients[admin].say(&text).into_iter().collect();
            self.wants(admin, wants);
        }
    }

    /// The storm is over: everything runs, nothing is cut, slow or set back.
    pub(super) fn heal(&mut self) {
        self.env.note(|| "--- calm".to_owned());
        self.env.forget_faults();
        self.env.net.weather = self.env.net.weather.fair();
        let nodes = self.hosts.len();
        for node in 0..nodes {
            self.env.disks[node].slow = ms(4);
            self.resume(node);
            if self.hosts[node].stopping {
                self.crash(node);
            }
            self.start(node);
            self.operate(Command::NodeSet { node: id_of(node), weight: 1, draining: false });
        }
        for (from, to) in (0..nodes).flat_map(|from| (0..nodes).map(move |to| (from, to))) {
            self.env.net.set_slow(from, to, Duration::ZERO);
            while self.env.net.is_cut(from, to) {
                self.env.mend(from, to, true);
            }
        }
    }
}
