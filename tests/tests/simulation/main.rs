//! The whole cluster in one process and in virtual time: the real machines of Raft, registry, leases, rooms,
//! proxies and sessions, around them nodes as thin as the real shell, disks, a network, and clients as the
//! protocol wants them. A seed draws everything, and draws it again the same.
//!
//! `SEED=n` runs one and prints what happens; `SEEDS=n` runs so many; `SIMULATE_SECONDS=n` runs for so long on all
//! cores (`ops/simulate`).

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::print_stdout,
    clippy::cast_possible_truncation,
    clippy::disallowed_methods,
    reason = "a test fails by panic, prints what it does, and makes small numbers of its own"
)]

mod breaks;
mod client;
mod dice;
mod disk;
mod env;
mod faults;
mod invariants;
mod network;
mod node;
mod world;

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::{Duration, Instant, UNIX_EPOCH};

use breaks::Break;
use invariants::{Name, Wrong};
use world::{Sum, World};

/// Seeds of the default run.
const SEEDS: u64 = 1200;
/// Seeds within which each deliberate fault must be noticed.
const NOTICED_WITHIN: u64 = 400;
/// After so many that failed it is enough.
const FAILURES: usize = 10;

fn number(variable: &str) -> Option<u64> {
    std::env::var(variable).ok()?.parse().ok()
}

fn run(seed: u64, breaks: Option<Break>, log: bool) -> Result<Sum, Wrong> {
    let ran = catch_unwind(AssertUnwindSafe(|| World::new(seed, breaks, log).run()));
    ran.unwrap_or_else(|_| Err(Name::Runs.broken("a panic, see above".to_owned())))
}

#[test]
fn the_cluster_keeps_its_promises() {
    if let Some(seed) = number("SEED") {
        let broken = std::env::var("BREAK").ok();
        let broken = breaks::ALL.iter().map(|(broken, _)| *broken).find(|b| Some(format!("{b:?}")) == broken);
        println!("{:?}", run(seed, broken, true));
        return;
    }
    let seeds = number("SEEDS").unwrap_or(SEEDS);
    let until = number("SIMULATE_SECONDS").map(|seconds| Instant::now() + Duration::from_secs(seconds));
    // For so long, each time with other seeds: those of today.
    let first = until.map_or(0, |_| UNIX_EPOCH.elapsed().map_or(0, |since| since.as_secs()) << 20);
    let (next, failed) = (AtomicU64::new(0), AtomicUsize::new(0));
    let work = || {
        let (mut all, mut failures) = (Sum::default(), Vec::new());
        loop {
            let n = next.fetch_add(1, Ordering::Relaxed);
            let over = until.map_or(n >= seeds, |until| Instant::now() >= until);
            if over || failed.load(Ordering::Relaxed) >= FAILURES {
                return (all, failures);
            }
            match run(first + n, None, false) {
                Ok(sum) => all = all.and(sum),
                Err(wrong) => {
                    println!("SEED={}: {wrong}", first + n);
                    failures.push(first + n);
                    failed.fetch_add(1, Ordering::Relaxed);
                }
            }
        }
    };
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let (mut all, mut failures) = (Sum::default(), Vec::new());
    std::thread::scope(|scope| {
        let workers: Vec<_> = (0..cores).map(|_| scope.spawn(work)).collect();
        for worker in workers {
            let (sum, failed) = worker.join().unwrap();
            all = all.and(sum);
            failures.extend(failed);
        }
    });
    println!("{all:?}");
    assert!(
        failures.is_empty(),
        "seeds {failures:?} fail: SEED={} cargo test -p chappe-tests --test simulation the_cluster -- --nocapture",
        failures[0]
    );
    assert!(all.taken > 50 * all.seeds, "too little happens for this to prove anything");
    assert_eq!(all.repairs, 0, "rosters differed at the same change");
}

/// A test that cannot fail proves nothing: each of these is a fault of the nodes' shell, and is noticed.
#[test]
fn what_is_broken_on_purpose_is_noticed() {
    let only = std::env::var("BREAK").ok();
    let chosen = |broken: &Break| only.as_ref().is_none_or(|only| *only == format!("{broken:?}"));
    for (broken, by) in breaks::ALL.into_iter().filter(|(broken, _)| chosen(broken)) {
        let notices = |seed| {
            let wrong = run(seed, Some(broken), false).err()?;
            by.contains(&wrong.name).then_some((seed, wrong))
        };
        let Some((seed, wrong)) = (0..NOTICED_WITHIN).find_map(notices) else {
            panic!("{broken:?} goes unnoticed")
        };
        println!("{broken:?}: seed {seed}: {wrong}");
    }
}
