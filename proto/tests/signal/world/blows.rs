//! What the storm does to clients, gateways, the owner and the links between them.

use std::time::Duration;

use chappe_proto::signal::member::Muting;
use rand_chacha::rand_core::Rng;

use super::super::client::State;
use super::{Later, Schedule};

impl Schedule {
    /// Something random happens, or nothing.
    pub(super) fn blow(&mut self) {
        let client = self.rng.next_u32() as usize % self.clients.len();
        match self.rng.next_u32() % 1000 {
            0..200 => self.signals(client, 1),
            200..210 => self.signals(client, 12),
            210..220 => self.say_live(client, r#"{"type":"broadcast","payload":1}"#),
            220..225 => self.say_live(client, r#"{"type":"update","metadata":1}"#),
            225..230 => self.mute(client),
            300..312 => {
                self.note(|| format!("client{client} loses its socket"));
                self.drop_socket(client);
            }
            312..315 => self.dies_unnoticed(client),
            320..322 => self.reload(client),
            322..324 => self.leave(client),
            330..333 => self.forget(client),
            340..342 => self.restart_gateway(),
            350..352 => self.restart_owner(),
            352..355 => self.freeze_owner(),
            360..364 => self.cut_link(),
            364..366 => self.part(),
            _ => {}
        }
    }

    pub(super) fn signals(&mut self, client: usize, many: usize) {
        for _ in 0..many {
            let others = self.clients[client].others();
            if let Some(to) = self.pick(&others) {
                self.clients[client].signal(to);
            }
        }
    }

    fn say_live(&mut self, client: usize, text: &str) {
        if self.clients[client].state == State::Live {
            self.say(client, text.to_owned());
        }
    }

    /// An operator takes grants of somebody away, or gives them back.
    fn mute(&mut self, client: usize) {
        let Some(peer) = self.clients[client].peer else { return };
        let grants = self.rng.next_u32();
        let muting = Muting { publish: grants & 1 > 0, broadcast: grants & 2 > 0, on: grants & 4 > 0 };
        self.note(|| format!("{muting:?} of client{client}"));
        self.cluster.decide(|room, out| room.mute(peer, muting, out));
    }

    /// The network swallows the socket; the client notices late.
    fn dies_unnoticed(&mut self, client: usize) {
        if let Some(socket) = self.clients[client].socket {
            self.note(|| format!("socket {socket} is black-holed"));
            self.break_pipe(socket);
            let wait = self.up_to(Duration::from_secs(5));
            self.at(wait, Later::ClientNotices(socket));
        }
    }

    pub(super) fn reload(&mut self, client: usize) {
        self.note(|| format!("client{client} reloads"));
        self.drop_socket(client);
        let now = self.now();
        self.clients[client].reload(now);
    }

    fn leave(&mut self, client: usize) {
        if self.clients[client].state == State::Live {
            self.note(|| format!("client{client} leaves"));
            self.say(client, r#"{"type":"leave"}"#.to_owned());
            if self.one_in(2) {
                let wait = self.up_to(Duration::from_secs(5));
                self.at(wait, Later::JoinsAgain(client));
            }
        }
    }

    fn forget(&mut self, client: usize) {
        let Some(peer) = self.clients[client].peer else { return };
        for node in 0..self.cluster.nodes.len() {
            if self.cluster.nodes[node].sessions.contains_key(&peer) {
                self.note(|| format!("node {} forgets client{client}", node + 1));
                let socket = self.clients[client].socket;
                self.cluster.forget_session(node, peer);
                if let Some(socket) = socket.filter(|socket| !self.cluster.is_open(*socket)) {
                    self.sockets_end(&[socket]);
                }
            }
        }
    }

    fn restart_gateway(&mut self) {
        let node = self.rng.next_u32() as usize % self.cluster.nodes.len();
        self.end_gateway(node);
    }

    fn end_gateway(&mut self, node: usize) {
        self.note(|| format!("node {} restarts", node + 1));
        self.cluster.restart_gateway(node);
        if !self.cluster.owner_up {
            let wait = self.up_to(Duration::from_secs(2));
            self.at(wait, Later::NewOwner);
        }
        let ended: Vec<u32> =
            self.pipes.keys().filter(|socket| !self.cluster.is_open(**socket)).copied().collect();
        self.sockets_end(&ended);
        let wait = self.up_to(Duration::from_secs(1));
        self.at(wait, Later::GatewayLost(node));
    }

    /// Its lease ends; it gets another, or the room another owner of which it does not hear.
    pub(super) fn freeze_owner(&mut self) {
        let settled = !self.later.iter().any(|(_, later)| matches!(later, Later::Hears(_)));
        if self.cluster.owner_up && !self.cluster.frozen && settled {
            self.note(|| "the owner freezes".to_owned());
            self.cluster.freeze_owner(true);
            let (wait, next) = (self.up_to(Duration::from_secs(5)), self.one_in(2));
            self.at(wait, if next { Later::NewOwner } else { Later::Thaws });
        }
    }

    /// A gateway and the owner do not hear each other, or one of them does not. It may be noticed.
    fn cut_link(&mut self) {
        let node = self.rng.next_u32() as usize % self.cluster.nodes.len();
        let which = self.rng.next_u32() % 3;
        self.note(|| format!("the link of node {} is cut ({which})", node + 1));
        let link = &mut self.cluster.nodes[node];
        (link.deaf, link.mute) = (which != 1, which != 2);
        let noticed = self.up_to(Duration::from_millis(2500));
        if !self.one_in(4) {
            self.at(noticed, Later::LinkNoticed(node));
        }
        let healed = self.up_to(Duration::from_secs(4));
        self.at(noticed + healed, Later::LinkHeals(node));
    }

    pub(super) fn heal(&mut self, node: usize) {
        let link = &mut self.cluster.nodes[node];
        (link.deaf, link.mute) = (false, false);
        self.later.retain(|(_, later)| *later != Later::LinkNoticed(node));
        self.cluster.tell_link(node, true);
    }

    /// Two gateways do not hear each other.
    fn part(&mut self) {
        let nodes = self.cluster.nodes.len();
        let (a, b) = (self.rng.next_u32() as usize % nodes, self.rng.next_u32() as usize % nodes);
        if a != b {
            self.cluster.apart.insert((a.min(b), a.max(b)));
            let wait = self.up_to(Duration::from_secs(4));
            self.at(wait, Later::Together(a.min(b), a.max(b)));
        }
    }

    fn restart_owner(&mut self) {
        if self.cluster.owner_up && !self.later.iter().any(|(_, later)| matches!(later, Later::Hears(_))) {
            self.note(|| "the owner ends".to_owned());
            if let Some(node) = self.cluster.owner_at {
                return self.end_gateway(node); // which is the same process
            }
            self.cluster.stop_owner();
            let wait = self.up_to(Duration::from_secs(2));
            self.at(wait, Later::NewOwner);
        }
    }
}
