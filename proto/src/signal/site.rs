//! A room as one shard has it. The shard that its name leads to is its [`anchor`]: whoever
//! owns that runs the room, or says in which shard it is homed. Anywhere else the room is run by the anchor's
//! [`leave`].
//!
//! Two never let people into one room. A home does so only by its leave, which ends by itself unless it is
//! renewed; the anchor's owner sends the room elsewhere only when the home itself has asked for it, or when
//! its leave has ended. A new owner of the anchor asks every live node where the room is, as it asks for who
//! is in it. A node that holds the leave says so, whatever it says to that owner; and once it has spoken to one, it
//! takes no leave of an owner before.

mod anchor;
mod leave;

use std::collections::BTreeMap;
use std::time::Duration;

use super::member::{Gateway, Policy, Rules};
use super::room::{Output, Revocation, Revoked, Room};
use super::route::{Entry, Home, ProxyInput, RoomInput, Since};
use crate::id::{Epoch, NodeId, PeerId, Shard};
use crate::limits;
use crate::time::{Mono, Now};
use anchor::{Anchor, Known};
use leave::Leave;

/// What a site has to know at each step.
#[derive(Clone, Copy)]
pub struct View<'a> {
    /// Now.
    pub now: Now,
    /// Whether the node may admit and change in this shard ([`crate::registry::rights::Right::Full`]).
    pub full: bool,
    /// The epoch of a shard.
    pub epoch: &'a dyn Fn(Shard) -> Epoch,
    /// The live gateways.
    pub live: &'a dyn Fn() -> Vec<Gateway>,
    /// Whether a gateway's life has ended within that time.
    pub lost: &'a dyn Fn(Duration) -> bool,
    /// Who is revoked.
    pub revoked: Revoked<'a>,
    /// What is decided of the room.
    pub rules: Rules,
}

/// Where a site is, and what for.
#[derive(Debug, Clone)]
pub struct Plan {
    /// The shard and its epoch.
    pub place: (Shard, Epoch),
    /// The room's anchor.
    pub anchor: Shard,
    /// The node that it runs on.
    pub node: NodeId,
    /// The app's.
    pub policy: Policy,
    /// Whether no peer of a former owner can come back, and no leave of a former owner's can hold: the node
    /// has owned the shard for longer than any grace and any leave.
    pub settled: bool,
}

#[derive(Debug)]
enum Role {
    Anchor(Anchor),
    Home(Leave),
}

/// A room as one shard has it.
#[derive(Debug)]
pub struct Site {
    plan: Plan,
    role: Role,
    room: Option<Room>,
    /// Gateways that have come before the leave did: when, and with what they hold.
    waiting: BTreeMap<Gateway, (Mono, RoomInput)>,
    /// Whether the node had the full right at the last step.
    full: bool,
}

impl Site {
    /// Begins: it asks the live gateways, or for leave.
    pub fn new(view: View<'_>, plan: Plan) -> Self {
        let (shard, epoch) = plan.place;
        let anchor = shard == plan.anchor;
        let role = if anchor {
            Role::Anchor(Anchor::new(view.now, shard, epoch, plan.settled))
        } else {
            Role::Home(Leave::new(view.now, plan.place))
        };
        let settled = plan.settled && anchor;
        let mut site = Self { plan, role, room: None, waiting: BTreeMap::new(), full: view.full };
        let mut room = site.empty();
        if settled {
            room.set_settled();
        } else if anchor {
            expect(&mut room, view);
        }
        // A room that has nobody yet has nothing to say of it.
        room.set_frozen(view.now, site.is_bound(view), &mut Vec::new());
        site.room = Some(room);
        site
    }

    fn empty(&self) -> Room {
        let mut room = Room::new(self.plan.place.1, self.plan.policy);
        room.set_node(self.plan.node);
        room
    }

    /// Its shard, and the epoch that it runs under.
    #[must_use]
    pub const fn place(&self) -> (Shard, Epoch) {
        self.plan.place
    }

    /// The room, where it is here.
    #[must_use]
    pub const fn room(&self) -> Option<&Room> {
        self.room.as_ref()
    }

    /// Everybody in it.
    pub fn entries(&self) -> impl Iterator<Item = &Entry> {
        self.room.iter().flat_map(Room::entries)
    }

    /// The gateways that follow it.
    pub fn gateways(&self) -> impl Iterator<Item = Gateway> {
        self.room.iter().flat_map(Room::gateways)
    }

    /// Gateways whose word is kept until there is a leave.
    pub fn waiting(&self) -> impl Iterator<Item = Gateway> {
        self.waiting.keys().copied()
    }

    /// Whether nothing happens in it but the relaying of signals.
    #[must_use]
    pub fn is_frozen(&self) -> bool {
        self.room.as_ref().is_none_or(Room::is_frozen)
    }

    /// Since when the room is here, as far as that is known.
    #[must_use]
    pub fn since(&self) -> Since {
        match &self.role {
            Role::Anchor(Anchor { known: Known::Here(home), .. }) => home.since,
            Role::Anchor(_) => Since::default(),
            Role::Home(leave) => leave.since(),
        }
    }

    /// Where the room is, where this site is its anchor's and knows it to be elsewhere.
    #[must_use]
    pub const fn homed(&self) -> Option<Home> {
        match &self.role {
            Role::Anchor(Anchor { known: Known::There(home, _), .. }) => Some(*home),
            _ => None,
        }
    }

    /// The leave that it holds away from its anchor, and until when: its node says no word to the anchor's owner
    /// that keeps it back.
    #[must_use]
    pub fn leave(&self) -> Option<(Home, Mono)> {
        match &self.role {
            Role::Home(leave) if self.room.is_some() => leave.home(),
            _ => None,
        }
    }

    /// Whether it was told that the room is elsewhere: it is to be forgotten at once.
    #[must_use]
    pub const fn is_over(&self) -> bool {
        matches!(self.role, Role::Home(_)) && self.room.is_none()
    }

    /// Whether it may be forgotten.
    #[must_use]
    pub fn is_idle(&self) -> bool {
        let idle = self.room.as_ref().is_none_or(Room::is_idle);
        match &self.role {
            Role::Anchor(anchor) => idle && !anchor.is_there(),
            Role::Home(leave) => idle && !leave.is_moving() && self.waiting.is_empty(),
        }
    }

    /// Whether the room may only relay.
    fn is_bound(&self, view: View<'_>) -> bool {
        let leave = match &self.role {
            Role::Anchor(_) => true,
            Role::Home(leave) => leave.holds(view.now),
        };
        !(view.full && leave)
    }

    /// What comes before anything else: a process that stood still hears what waited for it before it hears of the
    /// end of its lease or of its leave.
    fn begin(&mut self, view: View<'_>, out: &mut Vec<Output>) {
        self.full = view.full;
        let bound = self.is_bound(view);
        if let Some(room) = &mut self.room {
            room.set_frozen(view.now, bound, out);
        }
        self.decide(view, out);
        if let Some(room) = &mut self.room {
            room.set_rules(view.rules);
        }
    }

    /// And what comes after it.
    fn end(&mut self, view: View<'_>, from: usize, out: &mut Vec<Output>) {
        self.decide(view, out);
        let bound = self.is_bound(view);
        if let Some(room) = &mut self.room {
            room.set_rules(view.rules); // it may have begun in this step
            room.set_frozen(view.now, bound, out);
            room.obey(view.now, out);
        }
        if let Role::Home(leave) = &mut self.role
            && self.room.is_some()
            && let Some(question) = leave.ask(view.now)
        {
            out.push(Output::Anchor(question));
        }
        let since = self.since();
        for output in out.iter_mut().skip(from) {
            if let Output::To(_, ProxyInput::Ask { since: said }) = output {
                *said = since;
            }
        }
    }

    /// Lets a step of the room happen.
    pub fn run(
        &mut self,
        view: View<'_>,
        out: &mut Vec<Output>,
        step: impl FnOnce(&mut Room, &mut Vec<Output>),
    ) {
        let from = out.len();
        self.begin(view, out);
        if let Some(room) = &mut self.room {
            step(room, out);
        }
        self.end(view, from, out);
    }

    /// Lets an operator do something in the room. None where it is not here.
    pub fn decide_in<T>(
        &mut self,
        view: View<'_>,
        out: &mut Vec<Output>,
        step: impl FnOnce(&mut Room, &mut Vec<Output>) -> T,
    ) -> Option<T> {
        let from = out.len();
        self.begin(view, out);
        let done = self.room.as_mut().map(|room| step(room, out));
        self.end(view, from, out);
        done
    }

    /// A frame of a gateway, or of another site's node, at this site's place. The shell drops those of
    /// generations that the registry knows to be over.
    pub fn handle(&mut self, view: View<'_>, from: Gateway, input: RoomInput, out: &mut Vec<Output>) {
        let before = out.len();
        self.begin(view, out);
        match input {
            RoomInput::AtHome { site, asked, held, to } => {
                if let Some(home) = self.asked_where(view, site, asked, (held, to), out) {
                    out.push(Output::To(from, ProxyInput::Home { site, asked, home }));
                }
            }
            RoomInput::Follows { home } => self.follows(view, from, home, out),
            input => {
                if let (Role::Anchor(anchor), RoomInput::Attach { since, .. }) = (&mut self.role, &input)
                    && *since > Since::default()
                {
                    anchor.hears_of(Home { shard: self.plan.anchor, since: *since });
                }
                if self.waits(view.now, from, &input) {
                    return self.end(view, before, out);
                }
                match &mut self.room {
                    Some(room) => room.handle(view.now, from, input, view.revoked, out),
                    None if input == RoomInput::Detach => {}
                    None => {
                        let unheard = input.unheard();
                        out.extend(
                            unheard
                                .map(|(peer, refusal)| Output::To(from, ProxyInput::Error { peer, refusal })),
                        );
                        out.extend(self.homed().map(|home| homed(view, from, home)));
                    }
                }
            }
        }
        self.end(view, before, out);
    }

    /// Keeps a gateway's word until there is a leave. False where there was one, or none is needed.
    fn waits(&mut self, now: Now, from: Gateway, input: &RoomInput) -> bool {
        match &self.role {
            Role::Home(leave) if !leave.was_held() && self.room.is_some() => {}
            _ => return false,
        }
        match input {
            RoomInput::Attach { .. } if self.waiting.len() < limits::NODES_MAX => {
                self.waiting.insert(from, (now.mono, input.clone()));
                true
            }
            RoomInput::Detach => {
                self.waiting.remove(&from);
                false
            }
            _ => false,
        }
    }

    /// Moves the room to another shard, with all who are in it. False where it cannot be moved now: it is not
    /// here, or is about to move, or its node may not change it.
    pub fn move_to(&mut self, view: View<'_>, to: Shard, out: &mut Vec<Output>) -> bool {
        let from = out.len();
        self.begin(view, out);
        let may = view.full && self.room.is_some() && to != self.plan.place.0 && to.0 < limits::SHARDS;
        let moves = match &mut self.role {
            Role::Anchor(anchor) if may && matches!(anchor.known, Known::Here(_)) => {
                anchor.move_to(view.now, to);
                self.send_away(view, out);
                true
            }
            Role::Home(leave) if may && leave.holds(view.now) => {
                leave.move_to(view.now, to);
                true
            }
            _ => false,
        };
        self.end(view, from, out);
        moves
    }

    /// A gateway's process has ended, or it is cut off for good.
    pub fn handle_gateway_lost(&mut self, view: View<'_>, lost: Gateway, out: &mut Vec<Output>) {
        self.waiting.retain(|gateway, _| !gateway.ended_with(lost));
        if let Role::Anchor(anchor) = &mut self.role {
            anchor.lose(lost);
        }
        self.run(view, out, |room, out| room.handle_gateway_lost(view.now, lost, out));
    }

    /// A kick or a ban has been committed, or could not be.
    pub fn handle_revoked(
        &mut self,
        view: View<'_>,
        revocation: &Revocation,
        committed: bool,
        out: &mut Vec<Output>,
    ) {
        let from = out.len();
        self.begin(view, out);
        match &mut self.room {
            Some(room) => room.handle_revoked(revocation, committed, out),
            // It has moved on: there the registry tells of what was committed, and nobody of what was not.
            None if committed => {}
            None => out.extend(revocation.failed(|_| None)),
        }
        self.end(view, from, out);
    }

    /// What an operator's kick or ban has to commit; none where the peer is not here.
    #[must_use]
    pub fn revocation(&self, now: Now, peer: PeerId, ban: bool) -> Option<Revocation> {
        self.room.as_ref()?.revocation(now, None, peer, ban)
    }

    /// Does what is due.
    pub fn handle_timeout(&mut self, view: View<'_>, out: &mut Vec<Output>) {
        let from = out.len();
        self.begin(view, out);
        if let Some(room) = &mut self.room {
            room.handle_timeout(view.now, out);
        }
        if let Role::Anchor(anchor) = &mut self.role
            && view.full
            && anchor.poll_timeout() <= view.now.mono
        {
            anchor.move_to(view.now, self.plan.anchor);
            self.take_in(view);
        }
        self.end(view, from, out);
    }

    /// When [`Self::handle_timeout`] has something to do.
    #[must_use]
    pub fn poll_timeout(&self, now: Now) -> Mono {
        let own = match &self.role {
            Role::Anchor(anchor) if self.full => anchor.poll_timeout(),
            Role::Home(leave) if self.room.is_some() => leave.poll_timeout(now),
            _ => Mono::NEVER,
        };
        let room = |room: &Room| room.poll_timeout().min(room.expires_at(now));
        self.room.as_ref().map_or(Mono::NEVER, room).min(own)
    }
}

/// Tells a gateway where the room is.
fn homed(view: View<'_>, to: Gateway, Home { shard, since }: Home) -> Output {
    Output::To(to, ProxyInput::Homed { shard, epoch: (view.epoch)(shard), since })
}

/// The live gateways are to say what they have of a room.
fn expect(room: &mut Room, view: View<'_>) {
    room.unsettle();
    room.expect_gateways(view.now, (view.live)());
    if !(view.lost)(room.grace() + limits::LIFE_SLACK) {
        room.set_unbroken();
    }
}

fn tell_homed(
    view: View<'_>,
    home: Home,
    room: &Room,
    waiting: impl Iterator<Item = Gateway>,
    out: &mut Vec<Output>,
) {
    let followers = room.followers().into_iter().chain(waiting);
    out.extend(followers.map(|gateway| homed(view, gateway, home)));
}
