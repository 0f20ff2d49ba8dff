//! Time: who wants to be woken when, and everything that happens by then.

use std::cmp::Reverse;
use std::time::Duration;

use chappe_proto::id::PeerId;
use chappe_proto::signal::proxy::Proxy;
use chappe_proto::signal::route::{FromSession, RoomInput, Signal};
use chappe_proto::signal::session::Session;
use chappe_proto::time::Mono;

use super::{Cluster, Local, Node, mono};

impl Cluster {
    /// Everything that happens without time passing.
    pub(crate) fn settle(&mut self) {
        loop {
            if let Some(local) = self.local.pop_front() {
                match local {
                    Local::Proxy(_, FromSession::Signal(signal) | FromSession::Again(signal))
                        if self.was_sent(&signal) => {}
                    Local::Proxy(gateway, input) => {
                        self.with_proxy(gateway, |proxy, now, out| proxy.handle_session(now, input, out));
                    }
                    Local::Session(gateway, peer, input) => {
                        self.with_session(gateway, peer, |session, now, world, out| {
                            session.handle_proxy(now, world, input, out);
                        });
                    }
                }
                continue;
            }
            let due = self.wire.peek().is_some_and(|Reverse((at, _))| *at <= mono(self.now.mono));
            if due {
                let mail = self.wire.pop().and_then(|Reverse((_, seq))| self.mail.remove(&seq));
                mail.into_iter().for_each(|mail| self.arrive(mail));
            } else if !self.sweep() {
                return;
            }
        }
    }

    /// With `drops_resends`: whether a session said this before.
    fn was_sent(&mut self, signal: &Signal) -> bool {
        self.drops_resends && !self.seen.insert((signal.from, signal.to, signal.id))
    }

    /// Forgets a proxy that nobody needs.
    fn sweep(&mut self) -> bool {
        let idle = |node: &Node| node.sessions.is_empty() && node.proxy.as_ref().is_some_and(Proxy::is_idle);
        let Some(gateway) = self.nodes.iter().position(idle) else { return false };
        self.send_to_room(gateway, RoomInput::Detach);
        let proxy = self.nodes[gateway].proxy.take();
        self.forget_left(proxy.iter().flat_map(Proxy::left).collect());
        true
    }

    /// When something happens next.
    pub(crate) fn next(&self) -> Duration {
        let mut next = Duration::MAX;
        if let Some(Reverse((at, _))) = self.wire.peek() {
            next = *at;
        }
        for node in &self.nodes {
            for (session, _) in node.sessions.values() {
                next = next.min(mono(session.poll_timeout()));
            }
            if let Some(proxy) = &node.proxy {
                next = next.min(mono(proxy.poll_timeout()));
            }
        }
        if let Some((_, room)) = &self.former {
            next = next.min(mono(room.poll_timeout()));
        }
        self.owner.as_ref().map_or(next, |room| next.min(mono(room.poll_timeout())))
    }

    /// Who wants to be woken now.
    fn who(&self) -> String {
        let due = |at: Mono| at <= self.now.mono;
        for node in &self.nodes {
            for (peer, (session, _)) in &node.sessions {
                if due(session.poll_timeout()) {
                    return format!("the session of {peer}");
                }
            }
            if node.proxy.as_ref().is_some_and(|proxy| due(proxy.poll_timeout())) {
                return format!("the proxy of {:?}", node.gateway);
            }
        }
        let room = self.owner.as_ref().is_some_and(|room| due(room.poll_timeout()));
        if room { "the room".to_owned() } else { "the wire".to_owned() }
    }

    /// Lets time pass.
    pub(crate) fn advance(&mut self, step: Duration) {
        let end = mono(self.now.mono) + step;
        self.settle();
        loop {
            let next = self.next();
            if next > end {
                break;
            }
            self.now = self.now.after(next.saturating_sub(mono(self.now.mono)));
            self.timeouts();
            self.settle();
            // The last gateway that a room waited for may make due at once what was held up till then.
            if self.next() <= mono(self.now.mono) {
                self.timeouts();
                self.settle();
            }
            assert!(
                self.next() > mono(self.now.mono),
                "a machine wants to be woken again at once: {}",
                self.who()
            );
        }
        self.now = self.now.after(end - mono(self.now.mono));
    }

    fn timeouts(&mut self) {
        let now = self.now;
        for gateway in 0..self.nodes.len() {
            let due = |(peer, (session, _)): (&PeerId, &(Session, Option<u32>))| {
                (session.poll_timeout() <= now.mono).then_some(*peer)
            };
            let due: Vec<PeerId> = self.nodes[gateway].sessions.iter().filter_map(due).collect();
            for peer in due {
                self.with_session(gateway, peer, |session, now, world, out| {
                    session.handle_timeout(now, world, out);
                });
            }
            if self.nodes[gateway].proxy.as_ref().is_some_and(|proxy| proxy.poll_timeout() <= now.mono) {
                self.with_proxy(gateway, |proxy, now, out| proxy.handle_timeout(now, out));
            }
        }
        if let Some(room) = self.owner.as_mut().filter(|room| room.poll_timeout() <= now.mono) {
            let mut out = Vec::new();
            room.handle_timeout(now, &mut out);
            self.room_outputs(out);
        }
        if let Some((epoch, room)) = self.former.as_mut().filter(|(_, room)| room.poll_timeout() <= now.mono)
        {
            let (epoch, mut out) = (*epoch, Vec::new());
            room.handle_timeout(now, &mut out);
            self.former_outputs(epoch, out);
        }
    }
}
