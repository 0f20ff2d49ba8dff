//! Proposals of a node, repeated until the registry has answered or it is too late (mirrors
//! `cluster::Front`): what was answered is applied here before anybody is told.

use std::collections::BTreeMap;
use std::time::Duration;

use chappe_proto::id::{Generation, Index};
use chappe_proto::mesh::node::{Answer, Ask};
use chappe_proto::registry::{Command, Node as Node_, NodeAddresses, NodeState, Outcome, RequestId, VERSION};
use chappe_proto::signal::member::Gateway;
use chappe_proto::signal::room::Revocation;

use super::Node;
use super::rooms::At;
use crate::breaks::Break;
use crate::dice::ms;
use crate::env::Env;
use crate::invariants::Name;

/// A kick must be committed within this; else whoever asked is told to try again.
const COMMIT_WITHIN: Duration = ms(5000);
const ASK_AGAIN: Duration = ms(300);

/// What waits for an answer.
#[derive(Debug, Clone)]
enum Purpose {
    Up,
    Revoke(At, Revocation),
    Other,
}

#[derive(Debug)]
struct Pending {
    command: Command,
    purpose: Purpose,
    again_at: Duration,
    deadline: Duration,
    /// Committed, and waits to be applied here.
    answer: Option<(Index, Outcome)>,
}

#[derive(Debug)]
pub(super) struct Front {
    /// Names this process among all that ever were.
    life: Generation,
    next: u64,
    pending: BTreeMap<u64, Pending>,
}

impl Front {
    pub(super) fn new(env: &mut Env) -> Self {
        // Numbers differ between lives too: an answer to a former one may still be on its way.
        let (life, next) = (Generation(env.dice.number()), env.dice.number() >> 1);
        Self { life, next, pending: BTreeMap::new() }
    }

    pub(super) fn deadline(&self) -> Duration {
        let wakes = self.pending.values().map(|pending| pending.again_at.min(pending.deadline));
        wakes.min().unwrap_or(Duration::MAX)
    }
}

impl Node {
    fn propose(&mut self, env: &mut Env, command: Command, purpose: Purpose, within: Duration) {
        let n = self.front.next;
        self.front.next += 1;
        let deadline = env.at.saturating_add(within);
        let pending = Pending { command, purpose, again_at: env.at, deadline, answer: None };
        self.front.pending.insert(n, pending);
        self.front_timers(env);
    }

    /// This process begins.
    pub(super) fn come_up(&mut self, env: &mut Env) {
        let (addresses, build) = (NodeAddresses::default(), String::new());
        let command = Command::NodeUp { node: self.id, addresses, build, speaks: VERSION };
        self.propose(env, command, Purpose::Up, Duration::MAX);
    }

    /// Commits a kick or a ban before it is answered.
    pub(super) fn revoke(&mut self, env: &mut Env, at: At, revocation: Revocation) {
        let now = self.now(env).unix;
        let banned = revocation.identity.clone().filter(|_| revocation.identity_until > now);
        let command = Command::Revoke {
            sessions: vec![revocation.session],
            banned: banned.map(|identity| (at.0.clone(), identity)),
            until: revocation.session_until,
            banned_until: Some(revocation.identity_until),
        };
        if env.broken(Break::AnswersBeforeCommit) {
            self.told(env, &at, &revocation, true);
        }
        self.propose(env, command, Purpose::Revoke(at, revocation), COMMIT_WITHIN);
    }

    /// An operator's command, by way of this node.
    pub(crate) fn operate(&mut self, env: &mut Env, command: Command) {
        self.propose(env, command, Purpose::Other, ms(10_000));
    }

    fn told(&mut self, env: &mut Env, at: &At, revocation: &Revocation, committed: bool) {
        if committed && self.rooms.get(at).is_some_and(|slot| !slot.machine.is_frozen()) {
            env.watch.revoked.answered(&at.0, revocation);
        }
        self.with_site(env, at, |site, view, out| site.handle_revoked(view, revocation, committed, out));
    }

    /// Asks again, gives up, and tells what is applied by now.
    pub(super) fn front_timers(&mut self, env: &mut Env) {
        let numbers: Vec<u64> = self.front.pending.keys().copied().collect();
        for n in numbers {
            let Some(pending) = self.front.pending.get_mut(&n) else { continue };
            if let Some((index, outcome)) = &pending.answer {
                if *index <= self.state.index() {
                    let (outcome, purpose) = (outcome.clone(), pending.purpose.clone());
                    self.front.pending.remove(&n);
                    self.done(env, purpose, &outcome);
                }
                continue;
            }
            if pending.deadline <= env.at {
                let purpose = pending.purpose.clone();
                self.front.pending.remove(&n);
                if let Purpose::Revoke(room, revocation) = purpose {
                    self.told(env, &room, &revocation, false);
                }
            } else if pending.again_at <= env.at {
                pending.again_at = env.at + ASK_AGAIN;
                let by = RequestId { node: self.id, generation: self.front.life, n };
                let command = pending.command.clone();
                self.ask_leader(env, n, Ask::Propose { command, by, note: None });
            }
        }
    }

    /// The leader, or whoever was taken for it, has answered.
    pub(super) fn front_answered(&mut self, env: &mut Env, n: u64, answer: Answer) {
        let by = RequestId { node: self.id, generation: self.front.life, n };
        if let Answer::Applied { index, outcome } = answer
            && let Some(pending) = self.front.pending.get_mut(&n)
        {
            env.watch.durable.acknowledged(by, index);
            let answer = Some((index, outcome));
            (pending.answer, pending.again_at, pending.deadline) = (answer, Duration::MAX, Duration::MAX);
        }
        self.front_timers(env);
    }

    fn done(&mut self, env: &mut Env, purpose: Purpose, outcome: &Outcome) {
        match (purpose, outcome) {
            (Purpose::Up, Outcome::Up { generation }) => {
                let node = self.state.node(self.id);
                let alive = |n: &Node_| n.generation == *generation && n.state == NodeState::Up;
                if node.is_some_and(alive) {
                    env.note(|| format!("node {} begins generation {generation}", self.id));
                    self.begin_life(env, Gateway { node: self.id, generation: *generation });
                } else {
                    self.come_up(env); // it took so long that it is over already
                }
            }
            (Purpose::Up, _) => {
                let why = format!("node {} may not begin: {outcome:?}", self.id);
                env.watch.judge(Name::Runs.judge(Err(why)));
            }
            (Purpose::Revoke(room, revocation), outcome) => {
                let committed = !matches!(outcome, Outcome::Refused(_));
                self.told(env, &room, &revocation, committed);
            }
            _ => {}
        }
    }
}
