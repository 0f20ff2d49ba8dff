//! Random schedules: clients that behave, several gateways, a room's owner on a node of its own or of one of
//! them; frames between them lost, doubled, delayed and overtaken, sockets cut and black-holed, sessions
//! forgotten, gateways and owners restarted, owners without a lease, links cut one way or both, pages
//! reloaded. `referee` says what must hold all the time, `world` what must hold once
//! it is calm.
//!
//! `SEEDS=n` runs more of them (`FROM=n` begins there), `SEED=n` one of them, saying everything that happens.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::print_stdout,
    clippy::cast_possible_truncation,
    dead_code,
    reason = "a test fails by panic, and makes small numbers of its own; what two tests share neither uses whole"
)]

#[path = "signal/client.rs"]
mod client;
#[path = "signal/cluster/mod.rs"]
mod cluster;
#[path = "signal/referee.rs"]
mod referee;
#[path = "signal/world/mod.rs"]
mod world;

use world::{Breakage, Schedule, Sum};

const SEEDS: u64 = 1000;
/// Failures that are shown at once.
const SHOWN: usize = 10;

fn number(variable: &str) -> Option<u64> {
    std::env::var(variable).ok()?.parse().ok()
}

#[test]
fn signals_arrive_once_and_in_order_through_everything() {
    if let Some(seed) = number("SEED") {
        let ran = std::panic::catch_unwind(|| Schedule::new(seed, None, true).run());
        println!("{ran:?}");
    }
    let from = number("FROM").unwrap_or(0);
    let seeds = number("SEED").map_or(from..from + number("SEEDS").unwrap_or(SEEDS), |seed| seed..seed + 1);
    let (mut all, mut failed, count) = (Sum::default(), Vec::new(), seeds.end - seeds.start);
    for seed in seeds {
        let ran = std::panic::catch_unwind(|| Schedule::new(seed, None, false).run());
        match ran.unwrap_or_else(|_| Err("panicked".to_owned())) {
            Ok(sum) => all.add(sum),
            Err(why) => failed.push(format!("SEED={seed}: {why}")),
        }
        if failed.len() >= SHOWN {
            break;
        }
    }
    assert!(failed.is_empty(), "{}", failed.join("\n"));
    println!("{count} schedules: {all:?}");
    assert!(all.taken > 10 * count, "too little happens for this to prove anything");
    assert!(all.risen * 100 <= count, "the schedules lose all that knew too often");
    assert_eq!(all.repairs, 0, "rosters differed at the same change");
}

#[test]
fn who_is_present_goes_on_talking_while_the_owner_cannot_be_reached() {
    let seeds = number("SEED").map_or(0..number("SEEDS").unwrap_or(SEEDS) / 5, |seed| seed..seed + 1);
    for seed in seeds {
        let ran = Schedule::new(seed, None, number("SEED").is_some()).outage();
        assert!(ran.is_ok(), "SEED={seed}: {ran:?}");
    }
}

/// A test that cannot fail proves nothing.
#[test]
fn what_is_broken_on_purpose_is_noticed() {
    use client::Breakage::{ForgetsHeld, IgnoresMarks};
    use cluster::Broken::{Freezes, SaysAgain, StraightAcks, StraightSignals};
    let freezes = Breakage::Rule(Freezes);
    let of_all =
        [Breakage::Client(IgnoresMarks), Breakage::Client(ForgetsHeld), Breakage::DropsResends, freezes];
    for breakage in of_all {
        let noticed = (0..SEEDS).any(|seed| Schedule::new(seed, Some(breakage), false).run().is_err());
        assert!(noticed, "{breakage:?} goes unnoticed");
    }
    for breakage in [StraightSignals, StraightAcks, SaysAgain].map(Breakage::Rule) {
        let noticed = (0..SEEDS).any(|seed| Schedule::new(seed, Some(breakage), false).outage().is_err());
        assert!(noticed, "{breakage:?} goes unnoticed");
    }
}
