//! What clients do to their sockets, and what sockets bring them.

use chappe_proto::id::PeerId;
use chappe_proto::signal::code::CloseCode;
use chappe_proto::signal::frame::ServerFrame;
use chappe_proto::signal::session::{self, Session, World};
use chappe_proto::time::Now;

use super::{Cluster, Down, Socket};

impl Cluster {
    /// A client connects to a gateway.
    pub(crate) fn connect(&mut self, gateway: usize) -> u32 {
        self.next_socket += 1;
        self.sockets.insert(self.next_socket, Socket { gateway, session: None });
        self.next_socket
    }

    pub(crate) fn is_open(&self, socket: u32) -> bool {
        self.sockets.contains_key(&socket)
    }

    /// A socket ends without a word, and its gateway notices.
    pub(crate) fn cut(&mut self, socket: u32) {
        let Some(Socket { gateway, session: Some(peer) }) = self.sockets.remove(&socket) else { return };
        let mut out = Vec::new();
        if let Some((session, bound)) = self.nodes[gateway].sessions.get_mut(&peer)
            && *bound == Some(socket)
        {
            *bound = None;
            session.handle_socket_lost(self.now, &mut out);
        }
        self.session_outputs(gateway, peer, out);
        self.settle();
    }

    /// A text frame from a client.
    pub(crate) fn text(&mut self, socket: u32, text: &str) {
        let Some(Socket { gateway, session }) = self.sockets.get(&socket) else { return };
        let (gateway, session) = (*gateway, *session);
        match session {
            Some(peer) => self.with_session(gateway, peer, |session, now, world, out| {
                session.handle_text(now, world, text, out);
            }),
            None => self.gate(socket, gateway, text),
        }
        self.settle();
    }

    /// What a shell tells a session about its socket.
    pub(crate) fn with_socket(
        &mut self,
        socket: u32,
        act: impl FnOnce(&mut Session, Now, &World, &mut Vec<session::Output>),
    ) {
        if let Some(Socket { gateway, session: Some(peer) }) = self.sockets.get(&socket) {
            let (gateway, peer) = (*gateway, *peer);
            self.with_session(gateway, peer, act);
        }
        self.settle();
    }

    /// Whose a socket is.
    pub(crate) fn peer_of(&self, socket: u32) -> Option<PeerId> {
        self.sockets.get(&socket)?.session
    }

    pub(super) fn say(&mut self, socket: u32, frame: &ServerFrame<'_>) {
        self.down.push((socket, Down::Text(frame.text().to_string())));
    }

    pub(super) fn close(&mut self, socket: u32, code: CloseCode) {
        self.sockets.remove(&socket);
        self.down.push((socket, Down::Closed(code)));
    }
}
