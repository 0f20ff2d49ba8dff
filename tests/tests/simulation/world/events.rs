//! What reaches a node: frames, streams and links of the mesh, its disk's word, what clients say.

use super::super::breaks::Break;
use super::super::env::{Env, Event, Packet};
use super::super::node::Node;
use super::World;

impl World {
    pub(super) fn happen(&mut self, event: Event) {
        match event {
            Event::Mesh { from, to, life, packet } => {
                if life.is_none_or(|life| life == self.env.lives[to]) {
                    self.arrive(from, to, life, packet);
                }
            }
            Event::Link(turn) => {
                if self.env.turned(turn) {
                    self.env.note(|| format!("link {} to {} up: {}", turn.here + 1, turn.there + 1, turn.up));
                    let event = Event::Link(turn);
                    if !turn.up {
                        self.streams_end(turn.here, turn.there);
                    }
                    self.at_node(turn.here, event, |node, env| node.link(env, turn.there, turn.up));
                    for host in self.hosts.iter_mut().filter(|host| !host.paused) {
                        host.act(&mut self.env, |node, env| {
                            node.follow_links(env);
                            node.settle(env);
                        });
                    }
                }
            }
            Event::Up { socket, text } => self.up(socket, text),
            Event::Cut { socket } => {
                if let Some(node) = self.gateway_of(socket) {
                    self.at_node(node, event, |node, env| node.cut(env, socket));
                }
            }
            Event::Down { socket, down } => self.down(socket, down),
            Event::Lost { socket } => self.lost(socket),
            Event::Flushed { node, life } => {
                if life == self.env.lives[node] {
                    let number = self.env.disks[node].flushed();
                    let broken = self.env.broken(Break::SkipsFsync);
                    if let Some(number) = number.filter(|_| !broken) {
                        let event = Event::Synced { node, life, number };
                        self.at_node(node, event, |node, env| node.synced(env, number));
                    }
                }
            }
            Event::Synced { node, life, number } => {
                if life == self.env.lives[node] {
                    self.at_node(node, event, |node, env| node.synced(env, number));
                }
            }
            Event::Stops { node, life } => self.stops(node, life),
            Event::Built { node, life } => {
                if life == self.env.lives[node] {
                    self.at_node(node, event, |node, env| node.built(env));
                }
            }
            Event::Fault(fault) => self.fault(fault),
        }
    }

    /// Hands something to a process; one that stands still gets it when it goes on.
    fn at_node(&mut self, node: usize, event: Event, act: impl FnOnce(&mut Node, &mut Env)) {
        let host = &mut self.hosts[node];
        if host.paused {
            self.env.hold(node, event);
        } else {
            host.act(&mut self.env, act);
        }
    }

    /// The process at a socket's other end, if it is there still.
    fn gateway_of(&self, socket: u32) -> Option<usize> {
        let pipe = self.env.sockets.get(&socket)?;
        let there = pipe.life == self.env.lives[pipe.node] && self.hosts[pipe.node].node.is_some();
        there.then_some(pipe.node)
    }

    /// A client's text reaches its gateway.
    pub(super) fn up(&mut self, socket: u32, text: String) {
        let Some(node) = self.gateway_of(socket) else { return };
        if self.hosts[node].paused {
            return self.env.hold(node, Event::Up { socket, text });
        }
        self.hosts[node].act(&mut self.env, |node, env| node.text(env, socket, &text));
    }

    fn arrive(&mut self, from: usize, to: usize, life: Option<u32>, packet: Packet) {
        let host = &mut self.hosts[to];
        if host.paused {
            return self.env.hold(to, Event::Mesh { from, to, life, packet });
        }
        match packet {
            Packet::Body(body) => host.act(&mut self.env, |node, env| node.body(env, from, *body)),
            Packet::Raft(message) => host.act(&mut self.env, |node, env| {
                let message = if env.broken(Break::AppliesByWallClock) {
                    node.restamp(env, *message)
                } else {
                    *message
                };
                node.raft(env, message);
                node.settle(env);
            }),
            Packet::Feed { stream, word } => {
                host.act(&mut self.env, |node, env| node.feed_word(env, from, stream, word));
            }
            Packet::Forward { origin, to: last, inner } if last == to => {
                self.arrive(origin, to, life, *inner);
            }
            Packet::Forward { origin, to: last, inner } => host.act(&mut self.env, |_, env| {
                // Passed on once, and only to a neighbour.
                if env.net.is_up(to, last) {
                    env.transmit(to, last, Packet::Forward { origin, to: last, inner });
                }
            }),
        }
    }
}
