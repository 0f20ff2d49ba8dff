//! Many clients all over the globe: how far from the best each ends up, and what becomes of those whose region dies.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use chappe_proto::id::{EdgeId, Region};
use chappe_proto::select::condition::State;
use chappe_proto::select::{Catalog, Client, EdgeStatus, Measured, Place, Policy, ramp};
use chappe_proto::time::Mono;

use super::cities::{CLIENTS, REGIONS};
use super::net::{Dice, Net, Person, coordinates};

/// Edges of a region.
const EDGES: usize = 3;
/// Where nodes are, near one of which a client of which nothing else is known is taken to be.
const NODES: [usize; 5] = [0, 17, 32, 11, 35];
/// Of a hundred clients so many are of unknown place (no database, or not in it), and so many are somewhere else than
/// the database says (corporate networks, VPNs, address blocks that were sold).
const UNKNOWN: f64 = 0.10;
const MISPLACED: f64 = 0.05;
/// What regions are sized for: so many times what their own clients take.
const HEADROOM: f64 = 1.6;
/// How often a client measures before it is done: what `MEASURE_ROUNDS` allows.
const ROUNDS: u32 = 3;

const NOW: Mono = Mono(Duration::from_secs(1000));

/// What several figures are, in milliseconds.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Extra {
    pub(super) median: f64,
    pub(super) p90: f64,
    pub(super) p99: f64,
    pub(super) mean: f64,
}

impl Extra {
    fn of(mut all: Vec<f64>) -> Self {
        all.sort_by(f64::total_cmp);
        let at = |percent: usize| all.get(all.len() * percent / 100).copied().unwrap_or(0.0);
        #[expect(clippy::cast_precision_loss, reason = "counts are far below 2^52")]
        let mean = all.iter().sum::<f64>() / all.len().max(1) as f64;
        Self { median: at(50), p90: at(90), p99: at(99), mean }
    }
}

/// What came of it.
#[derive(Debug, Default)]
pub(super) struct Outcome {
    /// Milliseconds over the best: by what is known before anything is measured,
    pub(super) guessed: Extra,
    /// the same of those whose place is known, unknown, and wrong,
    pub(super) by_place: [Extra; 3],
    /// after the first measurements,
    pub(super) once: Extra,
    /// after the last.
    pub(super) settled: Extra,
    pub(super) settled_by_place: [Extra; 3],
    /// Edges measured by each client, in the mean.
    pub(super) probes: f64,
    /// Clients that were moved by what they measured, of all.
    pub(super) moved: f64,
    /// Clients that moved more than once.
    pub(super) again: f64,
    /// The death of a region.
    pub(super) death: Death,
}

/// What the death of a region comes to.
#[derive(Debug, Default)]
pub(super) struct Death {
    pub(super) region: &'static str,
    /// Clients of it.
    pub(super) struck: usize,
    /// Of those, clients who had an edge of another region in hand.
    pub(super) in_hand: f64,
    /// Milliseconds over the best that is left.
    pub(super) extra: Extra,
    /// Regions that took them: how many took more than a hundredth.
    pub(super) takers: usize,
    /// The largest part of them that one region took.
    pub(super) largest: f64,
    /// The highest load of an edge then.
    pub(super) load: f64,
    /// Once it is back: its part of its own newcomers at once, after a minute, after two.
    pub(super) back: [f64; 3],
    /// Of those who went, the part that has come back once each has measured again.
    pub(super) returned: f64,
}

struct Someone {
    person: Person,
    knows: usize,
    node: usize,
    place: Place,
    draw: u64,
    measured: Measured,
    offered: Vec<EdgeId>,
    region: usize,
}

/// A fleet of [`EDGES`] edges in each region.
struct Fleet {
    edges: Vec<EdgeStatus>,
    places: BTreeMap<EdgeId, usize>,
    used: Vec<f64>,
    /// Allocations on edges that were lost a moment ago.
    lost: f64,
    catalogs: Vec<Catalog>,
}

impl Fleet {
    fn new() -> Option<Self> {
        let mut edges = Vec::new();
        for region in &REGIONS {
            for nth in 0..EDGES {
                let (name, at) = (EdgeId::new(&format!("{}-{nth}", region.0)).ok()?, coordinates(region));
                let status = EdgeStatus::new(name, Region::new(region.0).ok()?, Vec::new());
                edges.push(EdgeStatus { coordinates: at, ..status });
            }
        }
        let places = edges.iter().enumerate().map(|(nth, edge)| (edge.edge.clone(), nth)).collect();
        let mut fleet = Self { used: vec![0.0; edges.len()], edges, places, lost: 0.0, catalogs: Vec::new() };
        fleet.publish();
        Some(fleet)
    }

    /// What nodes are told of the loads from now on.
    fn publish(&mut self) {
        for (edge, used) in self.edges.iter_mut().zip(&self.used) {
            edge.load = used / f64::from(edge.capacity.max(1));
        }
        let catalog = |node: usize| {
            let own = REGIONS.get(node).and_then(|region| Region::new(region.0).ok());
            Catalog::new(self.edges.clone(), Arc::new(Policy::default()), own).displacing(self.lost)
        };
        self.catalogs = NODES.into_iter().map(catalog).collect();
    }

    fn edge(&self, edge: &EdgeId) -> Option<usize> {
        self.places.get(edge).copied()
    }
}

impl Someone {
    fn new(net: &Net, dice: &mut Dice, n: usize) -> Option<Self> {
        let person = net.person(dice)?;
        let luck = dice.unit();
        let (knows, coordinates) = if luck < UNKNOWN {
            (1, None)
        } else if luck < UNKNOWN + MISPLACED {
            (2, CLIENTS.get(dice.below(CLIENTS.len())).and_then(coordinates))
        } else {
            (0, Some(person.at))
        };
        let node = (0..NODES.len()).min_by(|a, b| {
            let ms = |nth: &usize| net.ms(&person, NODES.get(*nth).copied().unwrap_or(0));
            ms(a).total_cmp(&ms(b))
        })?;
        let draw = chappe_proto::select::draw_of(&format!("client {n}"));
        let place = Place { region: None, coordinates };
        Some(Self {
            person,
            knows,
            node,
            place,
            draw,
            measured: Measured::default(),
            offered: Vec::new(),
            region: 0,
        })
    }

    /// Asks its node; what it is to measure, and whether that could change anything.
    fn choose(&mut self, fleet: &Fleet, now: Mono) -> Option<(Vec<usize>, bool)> {
        let none = BTreeSet::new();
        let client = Client {
            place: &self.place,
            app: None,
            draw: self.draw,
            measured: &self.measured,
            offered: &self.offered,
            shunned: &none,
        };
        let choice = fleet.catalogs.get(self.node)?.choose(now, &client);
        let offered: Vec<EdgeId> = choice.best.iter().map(|best| best.edge.edge.clone()).collect();
        let measure = choice.measure.iter().filter_map(|edge| fleet.edge(&edge.edge)).collect();
        let unsure = choice.unsure;
        self.region = fleet.edge(offered.first()?)? / EDGES;
        self.offered = offered;
        Some((measure, unsure))
    }

    fn measure(&mut self, net: &Net, dice: &mut Dice, fleet: &Fleet, edges: &[usize], now: Mono) {
        let there = edges.iter().filter_map(|nth| Some((nth / EDGES, fleet.edges.get(*nth)?)));
        let rtts: Vec<_> = there
            .map(|(region, edge)| (edge.edge.clone(), net.measured(&self.person, region, dice)))
            .collect();
        self.measured.add(now, rtts);
    }
}

/// Runs `count` clients, `batch` of which come between two reports of the loads.
pub(super) fn run(count: usize, batch: usize) -> Option<Outcome> {
    let (net, mut dice, mut fleet) = (Net::new(), Dice::new("crowd"), Fleet::new()?);
    size(&net, &mut fleet, count)?;
    let (mut guessed, mut once, mut settled) = (Vec::new(), Vec::new(), Vec::new());
    let (mut probes, mut moved, mut again) = (0usize, 0usize, 0usize);
    let mut people = Vec::with_capacity(count);
    for n in 0..count {
        if n % batch.max(1) == 0 {
            fleet.publish();
        }
        let mut someone = Someone::new(&net, &mut dice, n)?;
        let best = net.best(&someone.person, |_| true);
        let (mut measure, _) = someone.choose(&fleet, NOW)?;
        guessed.push((someone.knows, net.ms(&someone.person, someone.region) - best));
        let mut moves = 0;
        for round in 0..ROUNDS {
            someone.measure(&net, &mut dice, &fleet, &measure, NOW);
            probes += measure.len();
            let before = someone.region;
            let (next, unsure) = someone.choose(&fleet, NOW)?;
            moves += u32::from(before != someone.region);
            if round == 0 {
                once.push((someone.knows, net.ms(&someone.person, someone.region) - best));
            }
            // What it has measured it knows.
            measure = next
                .into_iter()
                .filter(|nth| {
                    fleet.edges.get(*nth).is_some_and(|edge| someone.measured.of(NOW, &edge.edge).is_none())
                })
                .collect();
            if before == someone.region && !unsure || measure.is_empty() {
                break;
            }
        }
        (moved, again) = (moved + usize::from(moves > 0), again + usize::from(moves > 1));
        settled.push((someone.knows, net.ms(&someone.person, someone.region) - best));
        let nth = someone.offered.first().and_then(|edge| fleet.edge(edge))?;
        *fleet.used.get_mut(nth)? += 1.0;
        people.push(someone);
    }
    fleet.publish();
    let part = |many: usize| ratio(many, count);
    let of = |all: &[(usize, f64)]| Extra::of(all.iter().map(|(_, ms)| *ms).collect());
    let of_place = |all: &[(usize, f64)]| {
        [0, 1, 2]
            .map(|knows| Extra::of(all.iter().filter(|(of, _)| *of == knows).map(|(_, ms)| *ms).collect()))
    };
    Some(Outcome {
        by_place: of_place(&guessed),
        settled_by_place: of_place(&settled),
        guessed: of(&guessed),
        once: of(&once),
        settled: of(&settled),
        probes: part(probes),
        moved: part(moved),
        again: part(again),
        death: death(&net, &mut dice, &mut fleet, &mut people)?,
    })
}

fn ratio(many: usize, of: usize) -> f64 {
    #[expect(clippy::cast_precision_loss, reason = "counts are far below 2^52")]
    let part = many as f64 / of.max(1) as f64;
    part
}

/// Gives each region room for its own clients and for some others.
fn size(net: &Net, fleet: &mut Fleet, count: usize) -> Option<()> {
    let mut dice = Dice::new("sample");
    let (sample, mut own) = (20_000, vec![1.0; REGIONS.len()]);
    for _ in 0..sample {
        let person = net.person(&mut dice)?;
        let nearest =
            (0..REGIONS.len()).min_by(|a, b| net.ms(&person, *a).total_cmp(&net.ms(&person, *b)))?;
        *own.get_mut(nearest)? += 1.0;
    }
    for (nth, edge) in fleet.edges.iter_mut().enumerate() {
        let part = own.get(nth / EDGES)? / f64::from(sample);
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, clippy::cast_precision_loss)]
        let capacity = (HEADROOM * part * count as f64 / EDGES as f64).ceil() as u32;
        edge.capacity = capacity.max(20);
    }
    fleet.publish();
    Some(())
}

/// The region with the most clients dies: they are told at once, before any load report comes.
fn death(net: &Net, dice: &mut Dice, fleet: &mut Fleet, people: &mut [Someone]) -> Option<Death> {
    let mut held = vec![0usize; REGIONS.len()];
    for someone in people.iter() {
        *held.get_mut(someone.region)? += 1;
    }
    let dead = (0..REGIONS.len()).max_by_key(|region| held.get(*region))?;
    let range = dead * EDGES..(dead + 1) * EDGES;
    for edge in fleet.edges.get_mut(range.clone())? {
        (edge.available, edge.condition.state) = (false, State::Lost);
    }
    fleet.lost = fleet.used.get(range.clone())?.iter().sum();
    fleet.publish();
    fleet.used.get_mut(range.clone())?.fill(0.0);
    fleet.lost = 0.0;
    let (mut extra, mut takers, mut in_hand) = (Vec::new(), vec![0usize; REGIONS.len()], 0);
    let mut struck: Vec<&mut Someone> = people.iter_mut().filter(|someone| someone.region == dead).collect();
    for someone in &mut struck {
        let second = someone.offered.get(1).and_then(|edge| fleet.edge(edge));
        in_hand += usize::from(second.is_some_and(|nth| nth / EDGES != dead));
        someone.choose(fleet, NOW)?;
        extra.push(
            net.ms(&someone.person, someone.region) - net.best(&someone.person, |region| region != dead),
        );
        *takers.get_mut(someone.region)? += 1;
        let nth = someone.offered.first().and_then(|edge| fleet.edge(edge))?;
        *fleet.used.get_mut(nth)? += 1.0;
    }
    fleet.publish();
    let load = fleet.edges.iter().map(|edge| edge.load).fold(0.0, f64::max);
    // It comes back, and newcomers with it.
    let mut back = [0.0; 3];
    for (part, secs) in back.iter_mut().zip([0.0, 60.0, 120.0]) {
        let age = secs / ramp::RAMP.as_secs_f64();
        for edge in fleet.edges.get_mut(range.clone())? {
            edge.condition.state = State::Up;
            (edge.available, edge.ramp) = (true, (ramp::RAMP_FROM + (1.0 - ramp::RAMP_FROM) * age).min(1.0));
        }
        fleet.publish();
        let mut came = 0;
        for (n, someone) in struck.iter().enumerate() {
            let draw = chappe_proto::select::draw_of(&format!("newcomer {n} at {secs}"));
            let place = Place { region: None, coordinates: Some(someone.person.at) };
            let measured = someone.measured.clone();
            let mut fresh = Someone { draw, place, measured, offered: Vec::new(), ..**someone };
            fresh.choose(fleet, NOW)?;
            came += usize::from(fresh.region == dead);
        }
        *part = ratio(came, struck.len());
    }
    // Those who went measure again with their next credential.
    let (later, mut returned) = (NOW + Duration::from_secs(2700), 0);
    for someone in &mut struck {
        let (measure, _) = someone.choose(fleet, later)?;
        someone.measure(net, dice, fleet, &measure, later);
        someone.choose(fleet, later)?;
        returned += usize::from(someone.region == dead);
    }
    Some(Death {
        region: REGIONS.get(dead)?.0,
        struck: struck.len(),
        in_hand: ratio(in_hand, struck.len()),
        extra: Extra::of(extra),
        takers: takers.iter().filter(|took| ratio(**took, struck.len()) > 0.01).count(),
        largest: takers.iter().map(|took| ratio(*took, struck.len())).fold(0.0, f64::max),
        load,
        back,
        returned: ratio(returned, struck.len()),
    })
}
