//! The sockets between clients and their gateways: what is said takes a while, and they break.

use std::time::Duration;

use rand_chacha::rand_core::Rng;

use super::super::cluster::Down;
use super::{Later, Pipe, Schedule};

impl Schedule {
    /// What the cluster said, into the pipes.
    pub(super) fn down(&mut self) {
        for (socket, down) in std::mem::take(&mut self.cluster.down) {
            let wait = self.up_to(Duration::from_millis(30));
            let at = self.now() + wait;
            let Some(pipe) = self.pipes.get_mut(&socket) else { continue };
            let at = pipe.down.back().map_or(at, |(last, _)| at.max(*last));
            pipe.down.push_back((at, down));
        }
    }

    /// What has passed the pipes.
    pub(super) fn flow(&mut self) {
        let now = self.now();
        let sockets: Vec<u32> = self.pipes.keys().copied().collect();
        for socket in sockets {
            while let Some(pipe) = self.pipes.get_mut(&socket).filter(|pipe| !pipe.broken) {
                if let Some((_, text)) = pipe.up.pop_front_if(|(at, _)| *at <= now) {
                    self.note(|| format!("socket {socket} > {text}"));
                    self.cluster.text(socket, &text);
                    self.down();
                } else if let Some((_, down)) = pipe.down.pop_front_if(|(at, _)| *at <= now) {
                    self.arrive(socket, down);
                } else {
                    break;
                }
            }
        }
        self.pipes.retain(|_, pipe| !pipe.broken);
    }

    fn arrive(&mut self, socket: u32, down: Down) {
        let now = self.now();
        self.note(|| format!("socket {socket} < {down:?}"));
        let Some(client) = self.clients.iter().position(|c| c.socket == Some(socket)) else { return };
        match down {
            Down::Text(text) => {
                for answer in self.clients[client].frame(now, &text) {
                    self.say(client, answer);
                }
            }
            Down::Closed(_) => {
                self.pipes.remove(&socket);
                self.clients[client].lost(now);
            }
        }
    }

    pub(super) fn say(&mut self, client: usize, text: String) {
        let Some(socket) = self.clients[client].socket else { return };
        let wait = self.up_to(Duration::from_millis(30));
        let at = self.now() + wait;
        let Some(pipe) = self.pipes.get_mut(&socket).filter(|pipe| !pipe.broken) else { return };
        let at = pipe.up.back().map_or(at, |(last, _)| at.max(*last));
        pipe.up.push_back((at, text));
    }

    pub(super) fn connect(&mut self, client: usize) {
        let gateway = self.rng.next_u32() as usize % self.cluster.nodes.len();
        let socket = self.cluster.connect(gateway);
        self.pipes.insert(socket, Pipe::default());
        let now = self.now();
        let join = self.clients[client].join(now, socket);
        self.note(|| format!("client{client} connects to node {} by socket {socket}", gateway + 1));
        self.say(client, join);
    }

    /// The client lets go of its socket; the gateway may take long to notice.
    pub(super) fn drop_socket(&mut self, client: usize) {
        let now = self.now();
        if let Some(socket) = self.clients[client].socket {
            self.break_pipe(socket);
            self.clients[client].lost(now);
        }
    }

    pub(super) fn break_pipe(&mut self, socket: u32) {
        if let Some(pipe) = self.pipes.get_mut(&socket) {
            pipe.broken = true;
        }
        if !self.one_in(8) {
            let wait = self.up_to(Duration::from_secs(3));
            self.at(wait, Later::GatewayNotices(socket));
        } // else nobody tells the gateway: only the silence does
    }

    /// The servers' end is gone; clients notice by and by.
    pub(super) fn sockets_end(&mut self, sockets: &[u32]) {
        for socket in sockets {
            self.pipes.remove(socket);
            let wait = self.up_to(Duration::from_millis(500));
            self.at(wait, Later::ClientNotices(*socket));
        }
    }
}
