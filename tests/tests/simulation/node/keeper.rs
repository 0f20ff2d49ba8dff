//! The lease of this node, and the leader's duties where it leads (mirrors `cluster::keeper`).

use std::time::Duration;

use chappe_cluster::consensus::{Proposal, conf_change};
use chappe_proto::id::{Index, Shard};
use chappe_proto::mesh::node::{Ask, Body};
use chappe_proto::registry::lease::Lease;
use chappe_proto::registry::rights::{self, Right};
use chappe_proto::registry::steward::{self, Steward};
use chappe_proto::registry::voters::Members;
use chappe_proto::registry::{Outcome, ShardEntry, State};
use chappe_proto::signal::member::Gateway;
use chappe_proto::time::Mono;

use super::Node;
use super::registry::Waiting;
use crate::breaks::Break;
use crate::dice::ms;
use crate::env::{Env, index_of};

/// A gateway that has had no lease for so long sends its clients elsewhere.
const SEND_AWAY_AFTER: Duration = ms(3000);
const SEND_AWAY_WITHIN: Duration = ms(1000);
/// Released shards are said again until they have moved.
const RELEASE_AGAIN: Duration = ms(200);

pub(super) struct Keeper {
    pub(super) lease: Option<Lease>,
    held: bool,
    send_away_at: Duration,
    release_at: Duration,
}

impl Keeper {
    pub(super) const fn new() -> Self {
        Self { lease: None, held: false, send_away_at: Duration::MAX, release_at: Duration::MAX }
    }
}

impl Node {
    /// A life begins: it has no lease yet.
    pub(super) fn begin_life(&mut self, env: &Env, gateway: Gateway) {
        self.gateway = Some(gateway);
        let profile = self.state.profile();
        let mut lease = Lease::new(self.now(env).mono, gateway.generation, profile);
        lease.handle_applied(self.state.index());
        self.keeper = Keeper { lease: Some(lease), release_at: env.at, ..Keeper::new() };
    }

    pub(super) fn has_lease(&self, env: &Env) -> bool {
        let Some(lease) = &self.keeper.lease else { return false };
        let now = self.now(env).mono;
        if env.broken(Break::LeaseOutlivesEviction) && lease.until() > Mono::default() {
            return now < lease.until() + ms(60_000);
        }
        lease.holds(now)
    }

    pub(super) fn right(&self, env: &Env, shard: Shard) -> Right {
        let Some(me) = self.gateway else { return Right::None };
        rights::right(&self.state, self.id, me.generation, self.has_lease(env), shard)
    }

    pub(super) fn keeper_deadline(&self, env_now: Mono) -> Duration {
        let lease = self.keeper.lease.as_ref().map_or(Mono::NEVER, |lease| lease.poll_timeout(env_now));
        let steward = self.registry.steward.as_ref().map_or(Mono::NEVER, Steward::poll_timeout);
        self.true_time(lease.min(steward)).min(self.keeper.send_away_at).min(self.keeper.release_at)
    }

    pub(super) fn keeper_state(&self, now: Mono) -> String {
        let l = self
            .keeper
            .lease
            .as_ref()
            .map(|l| (self.true_time(l.poll_timeout(now)), self.true_time(l.until())));
        let st = self.registry.steward.as_ref().map(|s| self.true_time(s.poll_timeout()));
        format!("{l:?} {st:?} {:?} {:?} {:?}", self.keeper.send_away_at, self.keeper.release_at, self.gateway)
    }

    /// Renews the lease, sends clients away where it has been gone for long, says what is released, does
    /// what a leader has to.
    pub(super) fn keep(&mut self, env: &mut Env) {
        let now = self.now(env).mono;
        let renewal = self.keeper.lease.as_mut().and_then(|lease| lease.handle_timeout(now));
        if let Some(renewal) = renewal {
            self.tell_leader(env, renewal);
        }
        let held = self.has_lease(env);
        if held != self.keeper.held {
            env.note(|| format!("node {} {} its lease", self.id, if held { "has" } else { "loses" }));
            self.keeper.held = held;
            self.keeper.send_away_at = if held { Duration::MAX } else { env.at + SEND_AWAY_AFTER };
            self.keep_rights(env);
        }
        if self.keeper.send_away_at <= env.at {
            self.keeper.send_away_at = Duration::MAX;
            let peers: Vec<_> = self.sessions.keys().copied().collect();
            for peer in peers {
                self.with_session(env, peer, |session, now, _, out| {
                    session.handle_moving(now, &[], SEND_AWAY_WITHIN, out);
                });
            }
        }
        if self.keeper.release_at <= env.at {
            self.release(env);
        }
        let act = |s: &mut Steward, now, state: &State, members: &Members, out: &mut Vec<_>| {
            s.handle_timeout(now, state, members, out);
        };
        let now = self.now(env).mono;
        if self.registry.steward.as_ref().is_some_and(|steward| steward.poll_timeout() <= now) {
            self.in_office(env, true, act);
        }
    }

    /// Says which shards it has stopped admitting in.
    pub(super) fn release(&mut self, env: &mut Env) {
        let leaving =
            |(_, entry): &(Shard, &ShardEntry)| entry.owner == Some(self.id) && entry.moving.is_some();
        let shards: Vec<_> = self.state.shards().filter(leaving).map(|(s, entry)| (s, entry.epoch)).collect();
        if shards.is_empty() || self.gateway.is_none() {
            self.keeper.release_at = Duration::MAX;
            return;
        }
        self.keeper.release_at = env.at + RELEASE_AGAIN;
        let applied = self.state.index();
        self.tell_leader(env, Body::Released { shards, applied });
    }

    fn tell_leader(&mut self, env: &mut Env, body: Body) {
        let Some(leader) = self.leader(env) else { return };
        if leader == self.id {
            self.keeping(env, self.index, body);
        } else {
            env.send(self.index, index_of(leader), body);
        }
    }

    /// What is said about leases.
    pub(super) fn keeping(&mut self, env: &mut Env, from: usize, body: Body) {
        let node = crate::env::id_of(from);
        match body {
            Body::Renew { generation, n } => self.in_office(env, false, |steward, now, _, _, out| {
                steward.handle_renewal(now, node, generation, n, out);
            }),
            Body::Grant { generation, n, index } => {
                if let Some(lease) = &mut self.keeper.lease {
                    lease.handle_grant(generation, n, index);
                }
                self.keep(env);
            }
            Body::Released { shards, applied } => {
                self.in_office(env, false, |steward, now, state, _, out| {
                    steward.handle_released(now, node, &shards, applied, state, out);
                });
            }
            _ => {}
        }
    }

    pub(super) fn steward_reads(&mut self, env: &mut Env, number: u64, index: Option<Index>) {
        self.in_office(env, false, |steward, now, _, _, out| steward.handle_read(now, number, index, out));
    }

    pub(super) fn steward_hears(&mut self, env: &mut Env, number: u64, outcome: Option<&Outcome>) {
        let act = |steward: &mut Steward, now, state: &State, members: &Members, out: &mut Vec<_>| {
            steward.handle_outcome(now, number, outcome, state, members, out);
        };
        self.in_office(env, true, act);
    }

    /// The registry has changed, or its members.
    pub(super) fn steward_follows(&mut self, env: &mut Env) {
        let act = |steward: &mut Steward, now, state: &State, members: &Members, out: &mut Vec<_>| {
            steward.handle_state(now, state, members, out);
        };
        self.in_office(env, true, act);
    }

    /// Takes office once the first entry of its own term is applied, and leaves it with the leadership.
    pub(super) fn keep_office(&mut self, env: &mut Env) {
        let leads = self.registry.member.leads();
        if leads != self.registry.elected.map(|(term, _)| term) {
            // Its own term's first entry is in the log when it is elected.
            self.registry.elected = leads.map(|term| (term, self.status(env).last));
            self.registry.steward = None;
        }
        let Some((term, first)) = self.registry.elected else { return };
        if self.registry.steward.is_none() && self.state.index().0 >= first {
            env.note(|| format!("node {} leads in term {term}", self.id));
            self.registry.steward = Some(Steward::begin(self.now(env).mono, self.id, &self.state));
            self.steward_follows(env);
        }
    }

    /// Where this member leads; `of_members` where what is done looks at Raft's members.
    fn in_office(
        &mut self,
        env: &mut Env,
        of_members: bool,
        act: impl FnOnce(&mut Steward, Mono, &State, &Members, &mut Vec<steward::Output>),
    ) {
        let (now, mut out) = (self.now(env).mono, Vec::new());
        let Some(steward) = &mut self.registry.steward else { return };
        let members =
            if of_members { self.registry.member.status(now).members() } else { Members::default() };
        act(steward, now, &self.state, &members, &mut out);
        for output in out {
            self.steward_says(env, output);
        }
    }

    fn steward_says(&mut self, env: &mut Env, output: steward::Output) {
        let now = self.now(env);
        match output {
            steward::Output::Read { number } => {
                let ticket = self.registry.ticket(Waiting::Read(number));
                self.registry.member.handle_read(now, ticket, false);
            }
            steward::Output::Grant { to, generation, n, index } => {
                let body = Body::Grant { generation, n, index };
                if to == self.id {
                    self.keeping(env, self.index, body);
                } else {
                    env.send(self.index, index_of(to), body);
                }
                return;
            }
            steward::Output::Propose { number, command, note } => {
                let ticket = self.registry.ticket(Waiting::Proposed(number));
                self.registry.member.handle_propose(now, ticket, Proposal { command, by: None, note });
            }
            steward::Output::Members(steps) => {
                let ticket = self.registry.ticket(Waiting::Nobody);
                self.registry.member.handle_change(ticket, &conf_change(&steps));
            }
            steward::Output::Transfer { to } => {
                let ticket = self.registry.ticket(Waiting::Nobody);
                self.registry.member.handle_transfer(ticket, to);
            }
            steward::Output::Tell(event) => {
                env.note(|| format!("node {} tells {event:?}", self.id));
                return;
            }
        }
        self.pump(env);
    }

    /// A question for the leader, wherever it is. False where none is known.
    pub(super) fn ask_leader(&mut self, env: &mut Env, id: u64, ask: Ask) -> bool {
        let Some(leader) = self.leader(env) else { return false };
        if leader == self.id {
            self.asked(env, self.index, id, ask);
            return true;
        }
        env.send(self.index, index_of(leader), Body::Request { id, ask })
    }
}
