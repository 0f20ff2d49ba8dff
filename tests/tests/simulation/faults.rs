//! What breaks, drawn from the seed before it begins: every kind of fault in some seeds, most of them in
//! few, so that each has its own weather.

use std::time::Duration;

use chappe_proto::id::Shard;
use chappe_proto::limits;

use super::dice::{Dice, ms};

/// Something that breaks or is mended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fault {
    /// A process ends at once; what its disk had not flushed is lost.
    Crash(usize),
    /// It is started again.
    Start(usize),
    /// A process is stopped, as by SIGSTOP,
    Pause(usize),
    /// and goes on.
    Resume(usize),
    /// Nothing passes in one direction,
    Cut(usize, usize),
    /// until this.
    Mend(usize, usize),
    /// A direction takes longer, in milliseconds.
    Slow(usize, usize, u32),
    /// A disk's flushes take up to so many milliseconds.
    Disk(usize, u32),
    /// A wall clock is set: so many milliseconds late.
    Clock(usize, u32),
    /// An operator drains a node,
    Drain(usize),
    /// or calls it off.
    Undrain(usize),
    /// A process is to stop, and empties itself first.
    Stop(usize),
    /// An admin of this client's room kicks somebody, or bans.
    Kick(usize, bool),
    /// The network swallows a client's socket, and nobody is told.
    BlackHole(usize),
    /// The room of this client moves to a shard, or back to its anchor.
    Move(usize, Option<Shard>),
    /// A client's socket ends.
    Drop(usize),
    /// A person reloads the page.
    Reload(usize),
    /// Somebody leaves for good.
    Leave(usize),
}

/// Kinds of faults, any of which a seed may have.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Crashes,
    Pauses,
    Partitions,
    SlowLinks,
    SlowDisks,
    Clocks,
    Drains,
    Stops,
    Kicks,
    LostSockets,
    Reloads,
    Leaves,
    Moves,
}

const KINDS: [Kind; 13] = [
    Kind::Crashes,
    Kind::Pauses,
    Kind::Partitions,
    Kind::SlowLinks,
    Kind::SlowDisks,
    Kind::Clocks,
    Kind::Drains,
    Kind::Stops,
    Kind::Kicks,
    Kind::LostSockets,
    Kind::Reloads,
    Kind::Leaves,
    Kind::Moves,
];

/// All that happens to so many nodes and clients within `storm`, from `begin` on: of the kinds that are
/// `wanted`, or of some.
pub(crate) fn schedule(
    dice: &mut Dice,
    (nodes, clients): (usize, usize),
    (begin, storm): (Duration, Duration),
    wanted: &[Kind],
) -> Vec<(Duration, Fault)> {
    let mut kinds: Vec<Kind> = KINDS.into_iter().filter(|_| dice.one_in(2)).collect();
    if kinds.is_empty() {
        kinds.push(KINDS[dice.below(KINDS.len())]);
    }
    if !wanted.is_empty() {
        kinds = wanted.to_vec();
    }
    let pace = dice.between(ms(150), ms(1500));
    let (mut faults, mut at) = (Vec::new(), begin);
    loop {
        at += dice.up_to(2 * pace);
        if at >= begin + storm {
            return faults;
        }
        let kind = kinds[dice.below(kinds.len())];
        for (wait, fault) in one(dice, kind, (nodes, clients)) {
            faults.push((at + wait, fault));
        }
    }
}

fn one(dice: &mut Dice, kind: Kind, (nodes, clients): (usize, usize)) -> Vec<(Duration, Fault)> {
    let (node, client) = (dice.below(nodes), dice.below(clients));
    let now = Duration::ZERO;
    match kind {
        Kind::Crashes => {
            let down = if dice.one_in(3) { ms(100) } else { dice.up_to(ms(5000)) };
            vec![(now, Fault::Crash(node)), (down, Fault::Start(node))]
        }
        Kind::Pauses => {
            let stopped = if dice.one_in(3) { dice.up_to(ms(8000)) } else { dice.up_to(ms(1800)) };
            vec![(now, Fault::Pause(node)), (stopped, Fault::Resume(node))]
        }
        Kind::Partitions => partition(dice, nodes),
        Kind::SlowLinks => {
            let other = (node + 1 + dice.below(nodes - 1)) % nodes;
            let (lasts, slow) = (dice.up_to(ms(3000)), 5 + dice.below(400) as u32);
            vec![(now, Fault::Slow(node, other, slow)), (lasts, Fault::Slow(node, other, 0))]
        }
        Kind::SlowDisks => {
            let (lasts, slow) = (dice.up_to(ms(2000)), 50 + dice.below(450) as u32);
            vec![(now, Fault::Disk(node, slow)), (lasts, Fault::Disk(node, 4))]
        }
        Kind::Clocks => vec![(now, Fault::Clock(node, dice.below(30_000) as u32))],
        Kind::Drains => {
            let lasts = dice.up_to(ms(6000));
            vec![(now, Fault::Drain(node)), (lasts, Fault::Undrain(node))]
        }
        Kind::Stops => stop(dice, node),
        Kind::Kicks => {
            // Whoever is to answer it may die just before, or just after.
            let mut faults = vec![(now, Fault::Kick(client, dice.one_in(2)))];
            if dice.one_in(3) {
                let (at, down) = (dice.up_to(ms(120)), dice.up_to(ms(3000)));
                faults.extend([(at, Fault::Crash(node)), (at + down, Fault::Start(node))]);
            }
            faults
        }
        Kind::LostSockets => {
            vec![(now, if dice.one_in(3) { Fault::BlackHole(client) } else { Fault::Drop(client) })]
        }
        Kind::Moves => moves(dice, node, client),
        Kind::Reloads => vec![(now, Fault::Reload(client))],
        Kind::Leaves => vec![(now, if dice.one_in(4) { Fault::Leave(client) } else { Fault::Drop(client) })],
    }
}

/// A process that is to stop says so, and ends a little later.
fn stop(dice: &mut Dice, node: usize) -> Vec<(Duration, Fault)> {
    let (mut lasts, down) = (dice.up_to(ms(3000)), dice.up_to(ms(2000)));
    let mut faults = vec![(Duration::ZERO, Fault::Stop(node))];
    // It is found gone in the middle of it, and what it said was of another life.
    if dice.one_in(3) {
        let (at, stopped) = (dice.up_to(lasts), dice.between(ms(1200), ms(3000)));
        faults.extend([(at, Fault::Pause(node)), (at + stopped, Fault::Resume(node))]);
        lasts += stopped;
    }
    faults.extend([(lasts, Fault::Crash(node)), (lasts + down, Fault::Start(node))]);
    faults
}

/// A room moves, perhaps just when something befalls a node.
fn moves(dice: &mut Dice, node: usize, client: usize) -> Vec<(Duration, Fault)> {
    let to = (!dice.one_in(4)).then(|| Shard(dice.below(limits::SHARDS.into()) as u16));
    let mut faults = vec![(Duration::ZERO, Fault::Move(client, to))];
    // Away and back, at once or after a while.
    if dice.one_in(2) {
        let back = if dice.one_in(2) { dice.up_to(ms(600)) } else { dice.up_to(ms(4000)) };
        faults.push((back, Fault::Move(client, None)));
    }
    let at = dice.up_to(ms(60));
    match dice.below(6) {
        0 | 1 => {
            let down = dice.up_to(ms(3000));
            faults.extend([(at, Fault::Crash(node)), (at + down, Fault::Start(node))]);
        }
        2 => {
            let stopped = dice.up_to(ms(900));
            faults.extend([(at, Fault::Pause(node)), (at + stopped, Fault::Resume(node))]);
        }
        3 => {
            let lasts = dice.up_to(ms(3000));
            faults.extend([(at, Fault::Drain(node)), (at + lasts, Fault::Undrain(node))]);
        }
        _ => {}
    }
    faults
}

/// Whole, one-way, or of one link alone.
fn partition(dice: &mut Dice, nodes: usize) -> Vec<(Duration, Fault)> {
    let lasts = if dice.one_in(3) { dice.up_to(ms(8000)) } else { dice.up_to(ms(3000)) };
    let side: Vec<usize> = (0..nodes).filter(|_| dice.one_in(3)).collect();
    let (one_way, one_link, inward) = (dice.one_in(3), dice.one_in(3), dice.one_in(2));
    let mut pairs = Vec::new();
    if one_link || side.is_empty() || side.len() == nodes {
        let from = dice.below(nodes);
        pairs.push((from, (from + 1 + dice.below(nodes - 1)) % nodes));
    } else {
        let others = (0..nodes).filter(|node| !side.contains(node));
        pairs.extend(others.flat_map(|other| side.iter().map(move |node| (*node, other))));
    }
    let mut faults = Vec::new();
    for (a, b) in pairs {
        if !one_way || inward {
            faults.extend([(Duration::ZERO, Fault::Cut(a, b)), (lasts, Fault::Mend(a, b))]);
        }
        if !one_way || !inward {
            faults.extend([(Duration::ZERO, Fault::Cut(b, a)), (lasts, Fault::Mend(b, a))]);
        }
    }
    faults
}
