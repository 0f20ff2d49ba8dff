//! Cases of the choice, and what holds of it whatever happens.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use super::*;
use crate::id::Region;
use crate::select::MEASURE_MAX;
use crate::select::condition::State;
use crate::select::{Coordinates, Policy, draw_of};

const EU: (f64, f64) = (50.1, 8.7);
const UK: (f64, f64) = (51.5, -0.1);
const US: (f64, f64) = (39.0, -77.5);
const AP: (f64, f64) = (1.3, 103.8);
const SA: (f64, f64) = (-23.5, -46.6);
const AU: (f64, f64) = (-33.9, 151.2);

fn id(name: &str) -> EdgeId {
    EdgeId::new(name).unwrap()
}

fn edge(name: &str, region: &str, at: (f64, f64)) -> EdgeStatus {
    let coordinates = Some(Coordinates::try_from(at).unwrap());
    EdgeStatus {
        coordinates,
        capacity: 100,
        ..EdgeStatus::new(id(name), Region::new(region).unwrap(), vec![])
    }
}

/// Two edges in each of six regions.
fn world() -> Vec<EdgeStatus> {
    let regions = [("eu", EU), ("uk", UK), ("us", US), ("ap", AP), ("sa", SA), ("au", AU)];
    let two = |(region, at): (&str, (f64, f64))| [1, 2].map(|n| edge(&format!("{region}-{n}"), region, at));
    regions.into_iter().flat_map(two).collect()
}

fn catalog(edges: Vec<EdgeStatus>) -> Catalog {
    Catalog::new(edges, Arc::default(), Some(Region::new("us").unwrap()))
}

/// A client, which says and remembers what the tests want.
#[derive(Default)]
struct Someone {
    place: Place,
    app: Option<AppId>,
    measured: Measured,
    offered: Vec<EdgeId>,
    shunned: BTreeSet<EdgeId>,
    draw: u64,
}

impl Someone {
    fn at(coordinates: (f64, f64), n: u32) -> Self {
        let coordinates = Some(Coordinates::try_from(coordinates).unwrap());
        let place = Place { region: None, coordinates };
        Self { place, draw: draw_of(&n.to_string()), ..Self::default() }
    }

    fn measures(&mut self, rtts: &[(&str, f64)]) {
        self.measured.add(NOW, rtts.iter().map(|(edge, ms)| (id(edge), *ms)));
    }

    fn client(&self) -> Client<'_> {
        Client {
            place: &self.place,
            app: self.app.as_ref(),
            draw: self.draw,
            measured: &self.measured,
            offered: &self.offered,
            shunned: &self.shunned,
        }
    }

    fn best(&self, catalog: &Catalog) -> Vec<String> {
        let choice = catalog.choose(NOW, &self.client());
        choice.best.iter().map(|best| best.edge.edge.to_string()).collect()
    }

    fn regions(&self, catalog: &Catalog) -> Vec<String> {
        let choice = catalog.choose(NOW, &self.client());
        choice.best.iter().map(|best| best.edge.region.to_string()).collect()
    }

    fn to_measure(&self, catalog: &Catalog) -> Vec<String> {
        let choice = catalog.choose(NOW, &self.client());
        choice.measure.iter().map(|edge| edge.region.to_string()).collect()
    }
}

const NOW: Mono = Mono(Duration::from_secs(1000));

/// How many of many clients at a place are given an edge of each region, and each edge, first.
fn crowd(catalog: &Catalog, at: (f64, f64)) -> (BTreeMap<String, u32>, BTreeMap<String, u32>) {
    let (mut regions, mut edges) = (BTreeMap::new(), BTreeMap::new());
    for n in 0..2000 {
        let someone = Someone::at(at, n);
        let client = someone.client();
        let choice = catalog.choose(NOW, &client);
        *regions.entry(choice.best[0].edge.region.to_string()).or_default() += 1;
        *edges.entry(choice.best[0].edge.edge.to_string()).or_default() += 1;
    }
    (regions, edges)
}

#[test]
fn the_nearest_region_and_a_second_one_that_costs_little() {
    let catalog = catalog(world());
    // Near Frankfurt: London is 640 km farther, 14 ms. Near Sydney everything else is far.
    assert_eq!(Someone::at((50.0, 9.0), 1).regions(&catalog), ["eu", "uk"]);
    assert_eq!(Someone::at((-37.8, 145.0), 1).regions(&catalog), ["au", "au"]);
    let best = Someone::at((-37.8, 145.0), 1).best(&catalog);
    assert_ne!(best[0], best[1]);
}

#[test]
fn one_of_whom_nothing_is_known_is_taken_to_be_near_the_node() {
    let all = catalog(world());
    let mut someone = Someone { draw: 5, ..Someone::default() };
    assert_eq!(someone.regions(&all)[0], "us");
    // It is asked to look around the whole globe.
    let asked = someone.to_measure(&all);
    let regions: BTreeSet<&String> = asked.iter().collect();
    assert!(asked.len() == 5 && regions.len() >= 4 && asked.iter().any(|at| at == "au"), "{asked:?}");
    someone.measures(&[("us-1", 250.0), ("au-1", 40.0), ("ap-1", 130.0), ("sa-1", 330.0)]);
    assert_eq!(someone.regions(&all)[0], "au");
    // By the node's own round trips, where coordinates say nothing.
    let mut edges = world();
    for edge in &mut edges {
        (edge.coordinates, edge.uplink_ms) =
            (None, Some(if edge.region.as_str() == "ap" { 4.0 } else { 90.0 }));
    }
    let someone = Someone { draw: 5, ..Someone::default() };
    let all = catalog(edges);
    let client = someone.client();
    assert_eq!((someone.regions(&all)[0].as_str(), all.choose(NOW, &client).best[0].by), ("ap", By::Uplink));
}

#[test]
fn what_is_measured_goes_before_the_map() {
    let catalog = catalog(world());
    let mut someone = Someone::at((50.0, 9.0), 3);
    someone.measures(&[("eu-1", 45.0), ("uk-2", 20.0), ("us-1", 110.0)]);
    assert_eq!(someone.regions(&catalog)[0], "uk");
    // An access network of 200 ms is no reason to go where nothing was measured.
    let mut someone = Someone::at((50.0, 9.0), 3);
    someone.measures(&[("eu-1", 210.0), ("uk-2", 220.0)]);
    assert_eq!(someone.regions(&catalog)[0], "eu");
}

#[test]
fn who_is_not_where_the_map_says_is_found() {
    let catalog = catalog(world());
    // Said to be in Frankfurt, and in Singapore in truth.
    let mut someone = Someone::at(EU, 3);
    assert_eq!(someone.to_measure(&catalog)[..2], ["eu", "uk"]);
    someone.measures(&[("eu-1", 160.0), ("uk-1", 175.0), ("us-1", 240.0)]);
    let asked = someone.to_measure(&catalog);
    assert!(asked.iter().any(|region| region == "ap"), "{asked:?}");
    assert!(catalog.choose(NOW, &someone.client()).unsure);
    someone.measures(&[("ap-2", 15.0), ("au-1", 100.0), ("sa-1", 340.0)]);
    assert_eq!(someone.regions(&catalog)[0], "ap");
    assert!(!catalog.choose(NOW, &someone.client()).unsure, "all others are too far to be nearer");
}

#[test]
fn the_present_edge_is_always_measured() {
    let catalog = catalog(world());
    for n in 0..50 {
        let mut someone = Someone::at(EU, n);
        someone.offered = vec![id("sa-1"), id("au-1")];
        let asked = catalog.choose(NOW, &someone.client()).measure;
        assert!(asked.len() <= MEASURE_MAX && asked.iter().any(|edge| edge.edge == id("sa-1")));
    }
}

#[test]
fn an_edge_is_kept_unless_another_is_clearly_nearer() {
    let catalog = catalog(world());
    let first = |uk: f64, eu: f64| {
        let mut someone = Someone::at(EU, 3);
        someone.offered = vec![id("eu-1")];
        someone.measures(&[("uk-1", uk), ("eu-1", eu)]);
        someone.regions(&catalog)[0].clone()
    };
    assert_eq!(first(20.0, 29.0), "eu", "under 10 ms nearer");
    assert_eq!(first(80.0, 100.0), "eu", "not under two thirds");
    assert_eq!(first(20.0, 40.0), "uk");
    // Where nothing is measured an edge that is there is kept, however far.
    let mut someone = Someone::at(EU, 3);
    someone.offered = vec![id("au-2"), id("au-1")];
    assert_eq!(someone.best(&catalog)[0], "au-2");
}

#[test]
fn an_edge_that_may_not_be_used_any_more_is_left() {
    let leave = |change: fn(&mut EdgeStatus)| {
        let mut edges = world();
        change(&mut edges[0]);
        let mut someone = Someone::at(EU, 3);
        someone.offered = vec![id("eu-1"), id("uk-1")];
        someone.best(&catalog(edges))[0] != "eu-1"
    };
    assert!(leave(|edge| edge.available = false));
    assert!(leave(|edge| edge.failing = true));
    assert!(!leave(|edge| edge.load = 1.0), "its own session is no new load");
    assert!(!leave(|edge| edge.weight = 0), "nor is it new");
    let mut someone = Someone::at(EU, 3);
    someone.offered = vec![id("eu-1"), id("uk-1")];
    someone.shunned.insert(id("eu-1"));
    assert!(!someone.best(&catalog(world())).contains(&"eu-1".to_owned()));
}

#[test]
fn rules_prefer_and_forbid() {
    let policy: Policy = serde_json::from_str(
        r#"{"rules": [
            {"region": "eu", "prefer": ["us"], "never": ["uk"]},
            {"app": "bank", "only": ["ap"]}
        ]}"#,
    )
    .unwrap();
    let catalog = Catalog::new(world(), Arc::new(policy), None);
    let mut someone = Someone::at(EU, 1);
    someone.place = catalog.place(&someone.place, None, None);
    assert_eq!(someone.regions(&catalog)[0], "us");
    someone.offered = vec![id("uk-1")];
    assert_eq!(someone.regions(&catalog)[0], "us", "a rule moves who is elsewhere");
    // Of a client of which nothing is known the node's region counts.
    let in_eu = Catalog::new(world(), Arc::clone(&catalog.policy), Some(Region::new("eu").unwrap()));
    let nowhere = Someone { offered: vec![id("uk-1")], ..Someone::default() };
    assert_eq!(nowhere.regions(&in_eu)[0], "us");
    assert!(!nowhere.to_measure(&in_eu).contains(&"uk".to_owned()));
    let mut someone = Someone::at(UK, 1);
    someone.app = Some(AppId::new("bank").unwrap());
    assert_eq!(someone.regions(&catalog), ["ap", "ap"]);
    assert!(someone.to_measure(&catalog).iter().all(|region| region == "ap"));
    let mut edges = world();
    edges.retain(|edge| edge.region.as_str() != "ap");
    let none = Catalog::new(edges, Arc::clone(&catalog.policy), None);
    assert!(someone.best(&none).is_empty(), "a rule holds whatever happens");
}

#[test]
fn a_region_that_fills_up_sends_on_a_part() {
    let at_load = |load: f64| {
        let mut edges = world();
        edges.iter_mut().take(2).for_each(|edge| edge.load = load);
        let (regions, _) = crowd(&catalog(edges), EU);
        regions.get("eu").copied().unwrap_or(0)
    };
    assert_eq!(at_load(0.79), 2000);
    let part = at_load(0.9);
    assert!((850..1150).contains(&part), "{part} of 2000 stay at half of what is left");
    assert_eq!(at_load(1.0), 0);
    // Where all are full whoever comes is given something nevertheless.
    let mut edges = world();
    edges.iter_mut().for_each(|edge| edge.load = 1.0);
    assert_eq!(Someone::at(EU, 1).best(&catalog(edges)).len(), 2);
}

#[test]
fn those_whose_region_died_are_not_more_than_others_have_room_for() {
    let mut edges = world();
    edges.iter_mut().for_each(|edge| edge.load = 0.6);
    for edge in edges.iter_mut().take(2) {
        (edge.available, edge.condition.state, edge.load) = (false, State::Lost, 0.9);
    }
    let catalog = catalog(edges).displacing(180.0);
    let mut taken = BTreeMap::new();
    for n in 0..180 {
        let mut someone = Someone::at(EU, n);
        assert_eq!(someone.regions(&catalog)[0], "uk", "who comes anew goes to the next one");
        someone.offered = vec![id("eu-1")];
        *taken.entry(someone.best(&catalog)[0].clone()).or_insert(0u32) += 1;
    }
    assert!(taken.values().all(|n| *n <= 40), "each has room for 40: {taken:?}");
    let in_uk = taken["uk-1"] + taken["uk-2"];
    assert!((42..70).contains(&in_uk), "a region is given 56 of the 80 that it has free: {taken:?}");
    let near = in_uk + taken["us-1"] + taken["us-2"] + taken["sa-1"] + taken["sa-2"];
    assert!(near > 160, "and the next ones the rest: {taken:?}");
}

#[test]
fn a_fleet_of_newcomers_is_no_reason_to_go_far() {
    let mut edges = world();
    edges.iter_mut().for_each(|edge| edge.ramp = 0.05);
    let (regions, _) = crowd(&catalog(edges.clone()), EU);
    assert_eq!(regions["eu"], 2000);
    // Those elsewhere have come some seconds sooner.
    edges.iter_mut().filter(|edge| edge.region.as_str() != "eu").for_each(|edge| edge.ramp = 0.08);
    let (regions, _) = crowd(&catalog(edges), EU);
    assert_eq!(regions["eu"], 2000);
}

#[test]
fn what_is_not_sound_is_given_only_where_nothing_else_is() {
    // A region that sends a part on, and there is no other.
    let mut edges = vec![edge("full", "eu", EU), edge("failing", "eu", EU), edge("weightless", "eu", EU)];
    (edges[0].load, edges[1].failing, edges[2].weight) = (0.95, true, 0);
    let of = |edges: &[EdgeStatus]| crowd(&catalog(edges.to_vec()), EU).1;
    assert_eq!(of(&edges), BTreeMap::from([("full".to_owned(), 2000)]));
    edges[0].available = false;
    assert_eq!(of(&edges), BTreeMap::from([("weightless".to_owned(), 2000)]));
    edges[2].available = false;
    assert_eq!(of(&edges), BTreeMap::from([("failing".to_owned(), 2000)]));
}

#[test]
fn who_moves_by_measurement_moves_to_what_is_measured() {
    let catalog = catalog(world());
    let mut someone = Someone::at(EU, 1);
    // Said to be in Europe, and not there: the map has London next.
    someone.offered = vec![id("us-1"), id("us-2")];
    someone.measures(&[("us-1", 60.0), ("sa-1", 30.0)]);
    assert_eq!(someone.regions(&catalog)[0], "sa");
    // The edge that it has answers nobody there.
    let mut someone = Someone::at(AU, 1);
    someone.offered = vec![id("us-1"), id("us-2")];
    someone.measures(&[("au-1", 20.0)]);
    assert_eq!(someone.regions(&catalog)[0], "au");
}

#[test]
fn after_a_move_the_second_edge_is_apart_again() {
    let catalog = catalog(world());
    let mut someone = Someone::at(EU, 1);
    someone.offered = vec![id("eu-1"), id("uk-1")];
    someone.measures(&[("eu-1", 40.0), ("uk-1", 20.0), ("uk-2", 20.0)]);
    let best = someone.best(&catalog);
    assert!(best[0].starts_with("uk") && best[1].starts_with("eu"), "{best:?}");
}

#[test]
fn shares_are_by_weight_capacity_and_age() {
    let share = |change: fn(&mut EdgeStatus)| {
        let mut edges = world();
        change(&mut edges[0]);
        let (_, edges) = crowd(&catalog(edges), EU);
        edges.get("eu-1").copied().unwrap_or(0)
    };
    assert!((930..1070).contains(&share(|_| ())));
    assert_eq!(share(|edge| edge.weight = 0), 0);
    // With two, both are drawn; what each has free decides.
    let light = share(|edge| edge.load = 0.5);
    assert!((150..300).contains(&light), "{light}: an eighth to one");
    let mut edges: Vec<EdgeStatus> = (0..6).map(|n| edge(&format!("e{n}"), "eu", EU)).collect();
    (edges[0].ramp, edges[1].weight, edges[2].capacity) = (0.05, 300, 300);
    let (_, given) = crowd(&catalog(edges), EU);
    assert!(given["e0"] < 60, "{given:?}");
    assert!(given["e1"] > 2 * given["e3"] - 60 && given["e2"] > 2 * given["e3"] - 60, "{given:?}");
}

#[test]
fn a_region_of_newcomers_is_given_few_at_first() {
    let mut edges = world();
    edges.iter_mut().take(2).for_each(|edge| edge.ramp = 0.25);
    let (regions, _) = crowd(&catalog(edges), EU);
    assert!((400..600).contains(&regions["eu"]), "{regions:?}");
    let alone = vec![EdgeStatus { ramp: 0.05, ..edge("e", "eu", EU) }];
    assert_eq!(Someone::at(EU, 1).best(&catalog(alone)), ["e"], "where there is nothing else all come");
}

#[test]
fn who_is_sent_on_for_a_regions_age_alone_is_told_when_it_takes_them_too() {
    let of_age = |secs: f64, load: f64| {
        let mut edges = world();
        let ramp = (0.05 + 0.95 * secs / 120.0).min(1.0);
        edges.iter_mut().take(2).for_each(|edge| (edge.ramp, edge.load) = (ramp, load));
        catalog(edges)
    };
    let mut waits = Vec::new();
    for n in 0..1000 {
        let mut someone = Someone::at(EU, n);
        someone.offered = vec![id("us-1")];
        someone.measures(&[("us-1", 90.0), ("eu-1", 5.0)]);
        let choice = of_age(0.0, 0.0).choose(NOW, &someone.client()).later;
        let Some(wait) = choice else {
            assert_eq!(someone.regions(&of_age(0.0, 0.0))[0], "eu");
            continue;
        };
        let at = |secs: f64| someone.regions(&of_age(wait.as_secs_f64() + secs, 0.0))[0].clone();
        assert_eq!((at(-0.1).as_str(), at(0.1).as_str()), ("us", "eu"), "{wait:?}");
        assert_eq!(of_age(wait.as_secs_f64() + 0.1, 0.0).choose(NOW, &someone.client()).later, None);
        assert_eq!(of_age(0.0, 1.0).choose(NOW, &someone.client()).later, None, "it is full");
        waits.push(wait);
    }
    assert!(waits.len() > 900, "{} of 1000", waits.len());
    // Not all at once, but for those for whom the region is as good as grown up.
    let soon = waits.iter().filter(|wait| wait.as_secs() < 44).count();
    assert!((300..420).contains(&soon), "{soon} of {} in the first half", waits.len());
}

#[test]
fn failing_edges_are_the_last_resort() {
    let mut edges = world();
    edges.iter_mut().take(2).for_each(|edge| edge.failing = true);
    assert_eq!(Someone::at(EU, 1).regions(&catalog(edges))[0], "uk");
    let alone = vec![EdgeStatus { failing: true, ..edge("e", "eu", EU) }];
    assert_eq!(Someone::at(EU, 1).best(&catalog(alone)), ["e"]);
}

#[test]
fn when_an_edge_goes_nobody_elses_choice_changes() {
    let before = catalog((0..5).map(|n| edge(&format!("e{n}"), "eu", EU)).collect());
    let after = catalog((1..5).map(|n| edge(&format!("e{n}"), "eu", EU)).collect());
    let mut moved = BTreeMap::new();
    for n in 0..2000 {
        let someone = Someone::at(EU, n);
        let (was, is) = (someone.best(&before)[0].clone(), someone.best(&after)[0].clone());
        if was == "e0" {
            *moved.entry(is).or_insert(0u32) += 1;
        } else if was != is {
            // Its first draw was the one that went: another took that place. Few, and all over.
            *moved.entry(is).or_insert(0u32) += 1;
        }
    }
    assert_eq!(moved.len(), 4);
    assert!(moved.values().all(|n| (80..330).contains(n)), "{moved:?}");
}

/// The most that one of fifty clients half-way between two regions is moved in an hour, where each of its
/// measurements, one a minute, is up to so much too long.
fn moves(noise_ms: f64) -> u32 {
    let catalog = catalog(world());
    let mut most = 0;
    for n in 0..50u32 {
        let mut someone = Someone::at((51.0, 3.5), n);
        let mut moves = 0;
        for minute in 0..60u32 {
            let now = NOW + Duration::from_secs(u64::from(minute) * 60);
            let noise = |about: &str| {
                let hash = draw_of(&format!("{n} {minute} {about}")) % 1000;
                f64::from(u32::try_from(hash).unwrap()) / 1000.0 * noise_ms
            };
            let rtts = ["eu-1", "uk-1", "eu-2", "uk-2"].map(|edge| (id(edge), 20.0 + noise(edge)));
            someone.measured.add(now, rtts);
            let client = someone.client();
            let choice = catalog.choose(now, &client);
            let offered: Vec<EdgeId> = choice.best.iter().map(|best| best.edge.edge.clone()).collect();
            moves += u32::from(!someone.offered.is_empty() && someone.offered[0] != offered[0]);
            someone.offered = offered;
        }
        most = most.max(moves);
    }
    most
}

#[test]
fn noise_moves_nobody_to_and_fro() {
    assert_eq!(moves(15.0), 0);
    // Twice the whole path: what is best changes no faster than five minutes' measurements pass.
    assert!(moves(40.0) < 60 / 5, "{}", moves(40.0));
}
