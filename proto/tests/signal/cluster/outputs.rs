//! What the machines ask of their shells, carried out.

use chappe_proto::id::{Epoch, PeerId};
use chappe_proto::signal::member::Gateway;
use chappe_proto::signal::proxy::{self, Proxy};
use chappe_proto::signal::room::{self, Revocation, Room};
use chappe_proto::signal::route::ToSession;
use chappe_proto::signal::session::{self, Session, World};
use chappe_proto::time::Now;

use super::{Broken, Cluster, Down, Local, Registry};

impl Cluster {
    pub(crate) fn with_session(
        &mut self,
        gateway: usize,
        peer: PeerId,
        act: impl FnOnce(&mut Session, Now, &World, &mut Vec<session::Output>),
    ) {
        let mut out = Vec::new();
        if let Some((session, _)) = self.nodes[gateway].sessions.get_mut(&peer) {
            act(session, self.now, &self.world, &mut out);
        }
        self.session_outputs(gateway, peer, out);
    }

    pub(super) fn session_outputs(&mut self, gateway: usize, peer: PeerId, outputs: Vec<session::Output>) {
        for output in outputs {
            let socket = self.nodes[gateway].sessions.get(&peer).and_then(|(_, socket)| *socket);
            match output {
                session::Output::Text(text) => {
                    if let Some(socket) = socket {
                        self.down.push((socket, Down::Text(text.to_string())));
                    }
                }
                session::Output::Close(code) => {
                    if let Some(socket) = socket {
                        self.close(socket, code);
                    }
                    if let Some((_, bound)) = self.nodes[gateway].sessions.get_mut(&peer) {
                        *bound = None;
                    }
                }
                session::Output::IceReport { edge, failure: None } => {
                    self.events.push(format!("edges hear of {peer}: {edge} works"));
                }
                session::Output::IceReport { edge, failure: Some(kind) } => {
                    self.events.push(format!("edges hear of {peer}: ice {kind:?} over {edge}"));
                }
                session::Output::Proxy(input) => self.local.push_back(Local::Proxy(gateway, input)),
                session::Output::Over => {
                    self.nodes[gateway].sessions.remove(&peer);
                    if let Some(socket) = socket.and_then(|socket| self.sockets.get_mut(&socket)) {
                        socket.session = None;
                    }
                }
            }
        }
    }

    pub(super) fn proxy_outputs(&mut self, gateway: usize, outputs: Vec<proxy::Output>) {
        for output in outputs {
            let node = &self.nodes[gateway];
            match output {
                proxy::Output::Room(body) => self.send_to_room(gateway, body),
                proxy::Output::Direct(to, body) => self.send_direct(gateway, to, body),
                proxy::Output::Sessions(ToSession::Resend, None)
                    if self.broken == Some(Broken::SaysAgain) => {}
                proxy::Output::Session(peer, input) => {
                    self.local.push_back(Local::Session(gateway, peer, input));
                }
                proxy::Output::Sessions(input, except) => {
                    let peers = node.sessions.keys().filter(|peer| Some(**peer) != except);
                    self.local.extend(peers.map(|peer| Local::Session(gateway, *peer, input.clone())));
                }
                proxy::Output::Asker(..) => {} // rooms stay at their anchor
                proxy::Output::Idle => {}      // `settle` looks, once its sessions have been heard
            }
        }
    }

    pub(super) fn with_proxy(
        &mut self,
        gateway: usize,
        act: impl FnOnce(&mut Proxy, Now, &mut Vec<proxy::Output>),
    ) {
        let mut out = Vec::new();
        if let Some(proxy) = &mut self.nodes[gateway].proxy {
            act(proxy, self.now, &mut out);
        }
        self.proxy_outputs(gateway, out);
    }

    pub(super) fn former_outputs(&mut self, epoch: Epoch, outputs: Vec<room::Output>) {
        for output in outputs {
            match output {
                room::Output::To(to, body) => self.send_to_proxy(epoch, to, body),
                room::Output::All(body) => {
                    let former = self.former.iter().flat_map(|(_, room)| room.gateways());
                    for to in former.collect::<Vec<_>>() {
                        self.send_to_proxy(epoch, to, body.clone());
                    }
                }
                room::Output::Revoke(_)
                | room::Output::End(_)
                | room::Output::Knocked(_)
                | room::Output::Anchor(_) => {}
            }
        }
    }

    pub(super) fn room_outputs(&mut self, outputs: Vec<room::Output>) {
        let epoch = self.epoch;
        for output in outputs {
            match output {
                room::Output::To(to, body) => self.send_to_proxy(epoch, to, body),
                room::Output::All(body) => {
                    let gateways: Vec<Gateway> = self.owner.iter().flat_map(Room::gateways).collect();
                    for to in gateways {
                        self.send_to_proxy(epoch, to, body.clone());
                    }
                }
                room::Output::Revoke(revocation) => self.revoke(&revocation),
                room::Output::End(_) => self.events.push("allocations of a session end".to_owned()),
                room::Output::Anchor(_) => {} // a site's
                room::Output::Knocked(_) => self.events.push("somebody knocks".to_owned()),
            }
        }
        if let Some(owner) = self.owner.take_if(|room| room.is_idle()) {
            self.forget_left(owner.left().collect());
        }
    }

    fn revoke(&mut self, revocation: &Revocation) {
        let committed = self.registry == Registry::Commits;
        if committed {
            let identity = revocation.identity.clone().filter(|_| revocation.identity_until > self.now.unix);
            self.revoked.push((revocation.session, identity));
        }
        let mut out = Vec::new();
        if let Some(room) = &mut self.owner {
            room.handle_revoked(revocation, committed, &mut out);
        }
        self.room_outputs(out);
    }
}
