//! What reaches clients, and what they do.

use super::super::client::{Fact, Want};
use super::super::dice::ms;
use super::super::env::{Down, Event};
use super::super::invariants::Name;
use super::World;

impl World {
    pub(super) fn down(&mut self, socket: u32, down: Down) {
        let Some(pipe) = self.env.sockets.get(&socket) else { return };
        if !pipe.client_open
            || pipe.black && down != Down::Closed(chappe_proto::signal::code::CloseCode::Left)
        {
            return;
        }
        let (client, now) = (pipe.client, self.env.at);
        self.env.note(|| format!("client{client} socket {socket} < {down:?}"));
        match down {
            Down::Text(text) => {
                let wants = self.clients[client].frame(now, socket, &text);
                self.wants(client, wants);
            }
            Down::Closed(_) => self.lost(socket),
        }
    }

    pub(super) fn lost(&mut self, socket: u32) {
        let Some(pipe) = self.env.sockets.get_mut(&socket).filter(|pipe| pipe.client_open) else { return };
        let client = pipe.client;
        (pipe.client_open, pipe.black) = (false, true);
        self.clients[client].lost(self.env.at, socket);
        self.wants(client, Vec::new());
    }

    pub(super) fn wants(&mut self, index: usize, wants: Vec<Want>) {
        for want in wants {
            match want {
                Want::Say(socket, text) => {
                    self.env.note(|| format!("client{index} socket {socket} > {text}"));
                    self.env.up(socket, text);
                }
                Want::Close(socket) => self.env.client_closes(socket),
                Want::Connect => self.connect(index),
            }
        }
        for fact in std::mem::take(&mut self.clients[index].facts) {
            self.env.note(|| format!("client{index} {fact:?}"));
            let judgement = self.env.watch.signals.hear(&fact);
            self.env.watch.judge(Name::Signals.judge(judgement));
            if let Fact::Rebuilt(peer) = fact {
                let mut nodes = self.hosts.iter().filter_map(|host| host.node.as_ref());
                if !nodes.any(|node| node.knows_left(peer)) {
                    self.env.watch.signals.rebuilt(peer);
                }
            }
            if let Fact::Gone { socket, grace } = fact {
                let since = self.env.away_since(index, socket);
                let who = self.clients[index].who.identity.as_str();
                let judgement = self.env.watch.rebuilt.gone(self.env.at, since, grace, who);
                self.env.watch.judge(Name::Rebuilt.judge(judgement));
            }
            let judgement = self.env.watch.apart.hear(&self.clients[index], &fact);
            self.env.watch.judge(Name::Apart.judge(judgement));
        }
        self.dues[index] = self.clients[index].deadline();
    }

    fn connect(&mut self, index: usize) {
        let told = self.clients[index].elsewhere();
        let node = self.env.dice.pick(&told).unwrap_or_else(|| self.env.dice.below(self.hosts.len()));
        let gateway = self.hosts[node].node.as_ref().and_then(|node| node.gateway);
        let socket = self.env.connect(index, node, gateway);
        let want = self.clients[index].connected(self.env.at, socket);
        self.env.note(|| format!("client{index} connects to node {} by socket {socket}", node + 1));
        if self.hosts[node].node.is_none() {
            let wait = self.env.dice.up_to(ms(50));
            self.env.later(wait, Event::Lost { socket });
            self.wants(index, Vec::new());
        } else {
            self.wants(index, vec![want]);
        }
    }

    /// A client does what people do.
    pub(super) fn act(&mut self, index: usize) {
        let others = self.clients[index].others();
        let room = self.clients[index].who.room.to_string();
        match self.env.dice.below(40) {
            0..30 => {
                if let Some(to) = self.env.dice.pick(&others) {
                    self.clients[index].signal(to);
                }
            }
            30 => {
                for _ in 0..12 {
                    if let Some(to) = self.env.dice.pick(&others) {
                        self.clients[index].signal(to);
                    }
                }
            }
            31 if !self.clients[index].who.admin => {
                let text = format!(r#"{{"type":"broadcast","payload":"{room}"}}"#);
                let wants = self.clients[index].say(&text).into_iter().collect();
                self.wants(index, wants);
            }
            32 => {
                let wants =
                    self.clients[index].say(r#"{"type":"update","metadata":1}"#).into_iter().collect();
                self.wants(index, wants);
            }
            _ => {}
        }
        let wants = self.clients[index].tick(self.env.at);
        self.wants(index, wants);
    }
}
