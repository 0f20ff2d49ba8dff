//! One step of time: the cluster goes on, what was due happens, clients do what they do.

use std::time::Duration;

use rand_chacha::rand_core::Rng;

use super::super::client::{ANSWER_WITHIN, State};
use super::{Later, Schedule};

impl Schedule {
    pub(super) fn step(&mut self, step: Duration) -> Result<(), String> {
        self.cluster.advance(step);
        self.happen();
        self.down();
        self.flow();
        let now = self.now();
        for index in 0..self.clients.len() {
            self.clients[index].tick(now);
            match self.clients[index].state {
                State::Offline { again_at } if again_at <= now => self.connect(index),
                State::Joining { since } if now.saturating_sub(since) > ANSWER_WITHIN => {
                    self.drop_socket(index);
                }
                _ => {}
            }
            for text in self.clients[index].pump(now) {
                self.say(index, text);
            }
            for fact in std::mem::take(&mut self.clients[index].facts) {
                self.note(|| format!("client{index} {fact:?}"));
                self.time(&fact);
                self.referee.hear(&fact)?;
            }
        }
        Ok(())
    }

    /// What was due by now.
    fn happen(&mut self) {
        let now = self.now();
        let due: Vec<Later> =
            self.later.iter().filter(|(at, _)| *at <= now).map(|(_, later)| *later).collect();
        self.later.retain(|(at, _)| *at > now);
        for later in due {
            self.note(|| format!("{later:?}"));
            match later {
                Later::GatewayNotices(socket) => self.cluster.cut(socket),
                Later::ClientNotices(socket) => {
                    if let Some(client) = self.clients.iter().position(|c| c.socket == Some(socket)) {
                        self.clients[client].lost(now);
                    }
                }
                Later::GatewayLost(node) => self.cluster.tell_gateway_lost(node),
                // Another only where the one before has ended or lost its lease.
                Later::NewOwner if self.cluster.owner_up && !self.cluster.frozen => {}
                Later::NewOwner => {
                    let at = self.rng.next_u32() as usize % (2 * self.cluster.nodes.len());
                    self.cluster.owner_at = (at < self.cluster.nodes.len()).then_some(at);
                    self.cluster.new_owner(true);
                    let wait = self.up_to(Duration::from_secs(4));
                    self.at(wait, Later::FormerHears);
                    for node in 0..self.cluster.nodes.len() {
                        let wait = self.up_to(Duration::from_millis(800));
                        self.at(wait, Later::Hears(node));
                    }
                }
                Later::Hears(node) => self.cluster.tell_moved(node),
                Later::Thaws if self.cluster.frozen => self.cluster.freeze_owner(false),
                Later::Thaws => {}
                Later::FormerHears => self.cluster.end_former(),
                Later::LinkNoticed(node) => self.cluster.tell_link(node, false),
                Later::LinkHeals(node) => self.heal(node),
                Later::Together(a, b) => {
                    self.cluster.apart.remove(&(a, b));
                }
                Later::JoinsAgain(client) => {
                    if self.clients[client].state == State::Done {
                        self.clients[client].reload(now);
                    }
                }
            }
        }
        self.down();
    }
}
