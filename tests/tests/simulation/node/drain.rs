//! A node that drains sends its clients elsewhere (mirrors `cluster::drain`): each is asked once, spread over
//! half of a deadline; who is still here then is closed, and resumes.

use std::collections::BTreeSet;
use std::time::Duration;

use chappe_proto::id::PeerId;
use chappe_proto::registry::{self, Command, NodeState};
use chappe_proto::signal::member::Gateway;

use super::Node;
use crate::breaks::Break;
use crate::dice::ms;
use crate::env::{Env, index_of};
use crate::invariants::drained::WITHIN;

const STEPS: u32 = 4;

/// What a node that drains has done about it.
#[derive(Debug)]
pub(super) struct Drain {
    deadline: Duration,
    step: u32,
    next_at: Duration,
    asked: BTreeSet<PeerId>,
}

impl Drain {
    fn begin(now: Duration) -> Self {
        Self { deadline: now + WITHIN, step: 0, next_at: now, asked: BTreeSet::new() }
    }
}

impl Node {
    pub(super) fn drain_deadline(&self) -> Duration {
        self.drain.as_ref().map_or(Duration::MAX, |drain| drain.next_at)
    }

    pub(crate) fn drains(&self) -> bool {
        self.gateway.is_some() && self.state.node(self.id).is_some_and(registry::Node::drains)
    }

    /// Says that this process is about to stop, where the registry does not know that it is to own nothing.
    pub(crate) fn say_stopping(&mut self, env: &mut Env) {
        let Some(Gateway { node, generation }) = self.gateway else { return };
        if !self.drains() {
            self.operate(env, Command::NodeStopping { node, generation });
        }
    }

    /// The sessions that have a socket here.
    pub(crate) fn attached(&self) -> impl Iterator<Item = u32> {
        self.sockets.iter().filter(|(_, peer)| peer.is_some()).map(|(socket, _)| *socket)
    }

    /// Empties the node while the registry says that it drains.
    pub(super) fn keep_drained(&mut self, env: &mut Env) {
        if !self.drains() || env.broken(Break::DrainsNobody) {
            self.drain = None;
            return;
        }
        let drain = self.drain.get_or_insert_with(|| Drain::begin(env.at));
        if env.at < drain.next_at {
            return;
        }
        if env.at >= drain.deadline {
            *drain = Drain::begin(env.at + ms(1)); // whoever comes meanwhile, or comes back, goes too
            return self.close_all(env);
        }
        let here: BTreeSet<PeerId> = self.sessions.keys().copied().collect();
        drain.asked.retain(|peer| here.contains(peer));
        let fresh: Vec<PeerId> = here.difference(&drain.asked).copied().collect();
        let part = fresh.len().div_ceil(STEPS.saturating_sub(drain.step).max(1) as usize);
        let next: Vec<PeerId> = fresh.into_iter().take(part).collect();
        drain.asked.extend(&next);
        let left = drain.deadline - env.at;
        drain.step += 1;
        drain.next_at = (env.at + WITHIN / 2 / STEPS).min(drain.deadline);
        let to = self.elsewhere(env);
        for peer in next {
            self.with_session(env, peer, |session, now, _, out| session.handle_moving(now, &to, left, out));
        }
    }

    fn close_all(&mut self, env: &mut Env) {
        let peers: Vec<PeerId> = self.sessions.keys().copied().collect();
        for peer in peers {
            self.with_session(env, peer, |session, now, _, out| session.handle_shutdown(now, out));
        }
    }

    /// The nodes that clients may go to instead of this one.
    fn elsewhere(&self, env: &Env) -> Vec<String> {
        let fit = self.state.nodes().filter(|(id, held)| {
            let reached = env.net.route(self.index, index_of(*id)).is_some();
            *id != self.id && held.state == NodeState::Up && !held.drains() && reached
        });
        fit.map(|(id, _)| id.to_string()).collect()
    }
}
