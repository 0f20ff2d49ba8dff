//! The links between nodes: which of them stand, what gets lost, late, doubled or out of
//! order on them, and the hop around one that is cut.
//!
//! Mirrors `cluster::mesh`: a direct link where there is one, else one hop through a node that has links
//! with both, else nothing. A link dies when nothing is heard on it for [`LINK_IDLE`], and is dialled
//! again. While it lives, an orderly network keeps what a cut holds up, as QUIC's streams do.

use std::time::Duration;

use chappe_proto::limits::LINK_IDLE;

use super::dice::{Dice, ms};

/// What a wire does to frames.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Weather {
    /// Of a thousand frames, so many are lost,
    pub(crate) lost: u32,
    /// doubled,
    pub(crate) doubled: u32,
    /// or overtake those before them.
    pub(crate) overtaking: u32,
    /// Each takes as long as this,
    pub(crate) delay: Duration,
    /// and up to this much longer.
    pub(crate) jitter: Duration,
}

impl Weather {
    /// As the mesh's streams carry frames: in order, and none lost while the link lives.
    pub(crate) const fn is_orderly(&self) -> bool {
        self.lost == 0 && self.doubled == 0 && self.overtaking == 0
    }

    pub(crate) const fn fair(self) -> Self {
        Self { lost: 0, doubled: 0, overtaking: 0, ..self }
    }
}

/// One direction of the wire between two nodes.
#[derive(Debug, Clone, Default)]
struct Wire {
    /// How many faults hold it cut.
    cuts: u32,
    /// What it takes longer than the weather says.
    slow: Duration,
    /// When the last frame arrives: the next does not before.
    last: Duration,
}

/// The connection between two nodes, as one of them sees it.
#[derive(Debug, Clone, Default)]
struct Link {
    up: bool,
    /// Counts what happened to it, so that an old timer means nothing.
    turn: u32,
}

pub(crate) struct Network {
    pub(crate) weather: Weather,
    nodes: usize,
    wires: Vec<Wire>,
    links: Vec<Link>,
}

/// How a frame goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Route {
    Direct,
    Through(usize),
}

/// Something that the network wants to be told of later.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Turn {
    pub(crate) here: usize,
    pub(crate) there: usize,
    pub(crate) turn: u32,
    pub(crate) up: bool,
}

impl Network {
    pub(crate) fn new(nodes: usize, weather: Weather) -> Self {
        let (wires, links) = (vec![Wire::default(); nodes * nodes], vec![Link::default(); nodes * nodes]);
        Self { weather, nodes, wires, links }
    }

    fn wire(&mut self, from: usize, to: usize) -> &mut Wire {
        &mut self.wires[from * self.nodes + to]
    }

    pub(crate) fn is_cut(&self, from: usize, to: usize) -> bool {
        self.wires[from * self.nodes + to].cuts > 0
    }

    /// Whether `here` believes to have a link with `there`.
    pub(crate) fn is_up(&self, here: usize, there: usize) -> bool {
        self.links[here * self.nodes + there].up
    }

    /// How a frame gets from one node to another, as far as `from` knows.
    pub(crate) fn route(&self, from: usize, to: usize) -> Option<Route> {
        if self.is_up(from, to) {
            return Some(Route::Direct);
        }
        let has_both = |hop: &usize| *hop != to && self.is_up(from, *hop) && self.is_up(*hop, to);
        (0..self.nodes).find(has_both).map(Route::Through)
    }

    /// When a frame that is sent now arrives: twice where it is doubled, never where it is lost.
    pub(crate) fn arrivals(
        &mut self,
        dice: &mut Dice,
        now: Duration,
        from: usize,
        to: usize,
    ) -> (Option<Duration>, Option<Duration>) {
        let weather = self.weather;
        if dice.per_mille(weather.lost) {
            return (None, None);
        }
        let doubled = dice.per_mille(weather.doubled);
        let mut one = || {
            let overtakes = dice.per_mille(weather.overtaking);
            let takes = dice.between(weather.delay, weather.delay + weather.jitter);
            let wire = self.wire(from, to);
            let mut at = now + takes + wire.slow;
            if !overtakes {
                at = at.max(wire.last);
                wire.last = at;
            }
            at
        };
        (Some(one()), doubled.then(one))
    }

    /// When a frame arrives that is neither lost nor doubled, and overtakes none.
    pub(crate) fn arrival_in_order(
        &mut self,
        dice: &mut Dice,
        now: Duration,
        from: usize,
        to: usize,
    ) -> Duration {
        let takes = dice.between(self.weather.delay, self.weather.delay + self.weather.jitter);
        let wire = self.wire(from, to);
        wire.last = (now + takes + wire.slow).max(wire.last);
        wire.last
    }

    /// Makes a direction slower than the weather is, or no slower.
    pub(crate) fn set_slow(&mut self, from: usize, to: usize, slow: Duration) {
        self.wire(from, to).slow = slow;
    }

    /// Cuts one direction. The link dies if that lasts.
    pub(crate) fn cut(&mut self, dice: &mut Dice, from: usize, to: usize) -> Vec<(Duration, Turn)> {
        self.wire(from, to).cuts += 1;
        self.silent(dice, from, to)
    }

    /// Nothing is heard any more between two: each notices in its time.
    pub(crate) fn silent(&mut self, dice: &mut Dice, a: usize, b: usize) -> Vec<(Duration, Turn)> {
        let wait = |dice: &mut Dice| dice.between(LINK_IDLE, LINK_IDLE + ms(300));
        vec![(wait(dice), self.turn(a, b, false)), (wait(dice), self.turn(b, a, false))]
    }

    fn turn(&mut self, here: usize, there: usize, up: bool) -> Turn {
        let link = &mut self.links[here * self.nodes + there];
        link.turn += 1;
        Turn { here, there, turn: link.turn, up }
    }

    /// Ends one cut of a direction. Where nothing cuts it any more the link lives on, or is dialled again.
    pub(crate) fn mend(&mut self, dice: &mut Dice, from: usize, to: usize) -> Vec<(Duration, Turn)> {
        let wire = self.wire(from, to);
        wire.cuts = wire.cuts.saturating_sub(1);
        if self.is_cut(from, to) || self.is_cut(to, from) {
            return Vec::new();
        }
        self.dial(dice, from, to)
    }

    /// Two nodes find each other.
    pub(crate) fn dial(&mut self, dice: &mut Dice, a: usize, b: usize) -> Vec<(Duration, Turn)> {
        let alive = self.is_up(a, b) && self.is_up(b, a);
        let wait = if alive { Duration::ZERO } else { dice.between(ms(5), ms(800)) };
        let lag = if alive { Duration::ZERO } else { dice.up_to(ms(100)) };
        vec![(wait, self.turn(a, b, true)), (wait + lag, self.turn(b, a, true))]
    }

    /// A node starts anew and knows of no link.
    pub(crate) fn forget(&mut self, node: usize) {
        for other in 0..self.nodes {
            let turn = self.turn(node, other, false);
            self.links[turn.here * self.nodes + turn.there].up = false;
        }
    }

    /// What was to come about, unless something else came first. True where the link changed.
    pub(crate) fn turned(&mut self, turn: Turn) -> bool {
        let link = &mut self.links[turn.here * self.nodes + turn.there];
        if link.turn != turn.turn || link.up == turn.up {
            return false;
        }
        link.up = turn.up;
        true
    }

    pub(crate) fn nodes(&self) -> usize {
        self.nodes
    }
}
