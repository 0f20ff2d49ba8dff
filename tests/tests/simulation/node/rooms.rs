//! The sites of rooms that a node runs (mirrors `cluster::actor::room`).

use std::cell::Cell;
use std::collections::BTreeSet;

use chappe_proto::id::{Epoch, Identity, RoomKey, SessionId, Shard};
use chappe_proto::registry::rights::Right;
use chappe_proto::registry::{NodeState, State};
use chappe_proto::signal::member::Gateway;
use chappe_proto::signal::room::Output;
use chappe_proto::signal::route::{ProxyInput, RoomChange, RoomInput, Since, ToRoom};
use chappe_proto::signal::site::{Plan, Site, View};

use super::{Node, gate};
use crate::breaks::Break;
use crate::env::Env;
use crate::invariants::Name;

/// A room in a shard.
pub(super) type At = (RoomKey, Shard);

pub(super) struct RoomSlot {
    pub(super) machine: Site,
    /// Whether the node had the full right when it last looked by a timer.
    pub(super) full: bool,
}

/// Where and when a room changed.
struct Moment {
    since: Since,
    shard: Shard,
    epoch: Epoch,
}

impl Node {
    /// What a site has to know; and whether it asked for the live gateways.
    fn view<T>(&self, env: &Env, key: &RoomKey, full: bool, step: impl FnOnce(View<'_>) -> T) -> (T, bool) {
        let now = self.now(env);
        let forgets = env.broken(Break::ForgetsRevocations);
        let revoked = |session: SessionId, identity: Option<&Identity>| {
            !forgets && gate::is_revoked(&self.state, now, key, session, identity)
        };
        let epoch = |shard| self.state.shard(shard).map(|entry| entry.epoch).unwrap_or_default();
        let asked = Cell::new(false);
        let hasty = env.broken(Break::AdmitsBeforeEveryoneAnswered);
        let live = || {
            asked.set(true);
            if hasty { Vec::new() } else { self.live_gateways().into_iter().collect() }
        };
        let forgetful = env.broken(Break::ForgetsLostLives);
        let lost = |within| !forgetful && self.state.lost_any_within(now.unix, within);
        let rules = self.state.rules(key);
        let done =
            step(View { now, full, epoch: &epoch, live: &live, lost: &lost, revoked: &revoked, rules });
        (done, asked.get())
    }

    /// The processes that the registry knows to be there, this one among them.
    fn live_gateways(&self) -> BTreeSet<Gateway> {
        let up = self.state.nodes().filter(|(_, node)| node.state == NodeState::Up);
        up.map(|(id, node)| Gateway { node: id, generation: node.generation }).chain(self.gateway).collect()
    }

    /// A room in a shard that this node owns; `of` has its app's policy.
    pub(super) fn begin_site(&mut self, env: &mut Env, at: At, of: &RoomKey, epoch: Epoch) -> bool {
        let Some(policy) = gate::policy(&self.state, of) else { return false };
        let full = self.right(env, at.1) == Right::Full;
        let (place, anchor, node) = ((at.1, epoch), at.0.anchor(), self.id);
        let settled = epoch <= Epoch(1) || env.broken(Break::AsksNobody);
        let plan = Plan { place, anchor, node, policy, settled };
        let (machine, asked) = self.view(env, &at.0, full, |view| Site::new(view, plan));
        // Not by what the machine does alone: whether it asks is what is judged.
        if asked || (epoch > Epoch(1) && at.1 == anchor) {
            env.watch.answered.began(self.id, &at.0, at.1, epoch, self.live_gateways());
        }
        self.rooms.insert(at, RoomSlot { machine, full });
        true
    }

    pub(super) fn with_site<T>(
        &mut self,
        env: &mut Env,
        at: &At,
        act: impl FnOnce(&mut Site, View<'_>, &mut Vec<Output>) -> T,
    ) -> Option<T> {
        let mut slot = self.rooms.remove(at)?;
        // Asked each time: a process that stood still hears what waited for it before its timers.
        let late = env.broken(Break::LooksAtItsLeaseByTimer);
        let full = if late { slot.full } else { self.right(env, at.1) == Right::Full };
        let waited: Vec<Gateway> = slot.machine.waiting().collect();
        let mut out = Vec::new();
        let before = (slot.machine.room().is_some(), slot.machine.since());
        let (done, asked) = self.view(env, &at.0, full, |view| act(&mut slot.machine, view, &mut out));
        let (had, since) = before;
        let taken_in = !had && slot.machine.room().is_some();
        let given = at.1 != at.0.anchor() && slot.machine.since() != since;
        if asked || taken_in || given {
            env.watch.answered.began(self.id, &at.0, at.1, slot.machine.place().1, self.live_gateways());
            // What they said before is heard now.
            waited.iter().for_each(|from| env.watch.answered.heard(self.id, &at.0, at.1, *from));
        }
        self.rooms.insert(at.clone(), slot);
        self.site_outputs(env, at, out);
        Some(done)
    }

    pub(super) fn all_sites(
        &mut self,
        env: &mut Env,
        which: impl Fn(&At) -> bool,
        act: impl Fn(&mut Site, View<'_>, &mut Vec<Output>),
    ) {
        let all: Vec<At> = self.rooms.keys().filter(|at| which(at)).cloned().collect();
        for at in all {
            self.with_site(env, &at, &act);
        }
    }

    fn site_outputs(&mut self, env: &mut Env, at: &At, outputs: Vec<Output>) {
        let (key, shard) = at;
        for output in outputs {
            let Some(slot) = self.rooms.get(at) else { return };
            let (epoch, since) = (slot.machine.place().1, slot.machine.since());
            match output {
                Output::To(to, body) => self.send_gateway(env, key, (*shard, epoch), to, body),
                Output::All(body) => {
                    if let ProxyInput::Changed { change, .. } = &body {
                        let moment = Moment { since, shard: *shard, epoch };
                        self.watch_change(env, key, &moment, change);
                    }
                    let gateways: Vec<Gateway> = slot.machine.gateways().collect();
                    for to in gateways {
                        self.send_gateway(env, key, (*shard, epoch), to, body.clone());
                    }
                }
                Output::Revoke(revocation) => self.revoke(env, at.clone(), revocation),
                Output::Anchor(body) => {
                    let anchor = key.anchor();
                    let epoch = self.state.shard(anchor).map(|entry| entry.epoch).unwrap_or_default();
                    self.send_site(env, key, (anchor, epoch), body);
                }
                Output::Knocked(_) => {} // nobody is told
                Output::End(_) => {}     // allocations on edges are not simulated
            }
        }
        if self.rooms.get(at).is_some_and(|slot| slot.machine.is_over() || slot.machine.is_idle()) {
            self.rooms.remove(at);
        }
    }

    /// To the owner of a shard.
    pub(super) fn send_site(
        &mut self,
        env: &mut Env,
        room: &RoomKey,
        place: (Shard, Epoch),
        body: RoomInput,
    ) {
        let Some(gateway) = self.gateway else { return };
        let frame = ToRoom { room: room.clone(), shard: place.0, epoch: place.1, gateway, body };
        self.hand_over(env, frame);
    }

    /// Moves a room, where it is here and can be moved now.
    pub(crate) fn move_room(&mut self, env: &mut Env, room: &RoomKey, to: Option<Shard>) {
        let to = to.unwrap_or_else(|| room.anchor());
        let here: Vec<At> = self.rooms.keys().filter(|(key, _)| key == room).cloned().collect();
        for at in here {
            if self.with_site(env, &at, |site, view, out| site.move_to(view, to, out)) == Some(true) {
                env.note(|| format!("node {} moves {room} from {} to {to}", self.id, at.1));
            }
        }
        self.settle(env);
    }

    fn watch_change(&self, env: &mut Env, key: &RoomKey, at: &Moment, change: &RoomChange) {
        let Some(me) = self.gateway else { return };
        env.note(|| format!("node {} {key} in {} at {} {change:?}", self.id, at.shard, at.epoch));
        let judgement = env.watch.owners.changed(key, (at.shard, at.epoch), at.since, me);
        env.watch.judge(Name::OneOwner.judge(judgement));
        if let RoomChange::Joined(entry) = change {
            let judgement = env.watch.revoked.joined(key, entry);
            env.watch.judge(Name::Revoked.judge(judgement));
            let peer = entry.member.seat.peer;
            let judgement = env.watch.answered.joined(self.id, key, at.shard, at.epoch, peer);
            env.watch.judge(Name::Answered.judge(judgement));
        }
    }
}

/// Whether the anchor of a room has another owner than before.
pub(super) fn anchor_moved(former: &State, now: &State, room: &RoomKey) -> bool {
    let owner = |state: &State| state.shard(room.anchor()).map(|entry| (entry.owner, entry.epoch));
    owner(former) != owner(now)
}
