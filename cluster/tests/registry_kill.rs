//! `kill -9`, of a real process. Alone in its binary: a child between fork and exec holds every lock
//! of its parent, so others could not open again what they have closed.

// Clippy takes the helpers of an integration test for production code.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::print_stdout)]

#[path = "registry/common.rs"]
mod common;

use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Command as Process, Stdio};

use chappe_proto::limits::SNAPSHOT_EVERY;
use tokio::task::JoinSet;

use crate::common::{close, mark, marked, open, propose, propose_many};

const CHILD: &str = "CHAPPE_TEST_REGISTRY";

/// Not a test of its own: what [`every_acknowledged_write_survives_kill_9`] starts as a process.
#[tokio::test]
async fn child_that_proposes_until_killed() {
    let Ok(job) = std::env::var(CHILD) else { return };
    let (first, dir) = job.split_once(' ').unwrap();
    let mut next: u64 = first.parse().unwrap();
    let (registry, _ended) = open(Path::new(dir));
    let mut tasks = JoinSet::new();
    loop {
        while tasks.len() < 32 {
            let (registry, n) = (registry.clone(), next);
            tasks.spawn(async move {
                propose(&registry, mark(n)).await;
                println!("\nacked {n}");
            });
            next += 1;
        }
        tasks.join_next().await.unwrap().unwrap();
    }
}

#[tokio::test]
async fn every_acknowledged_write_survives_kill_9() {
    let dir = tempfile::tempdir().unwrap();
    let mut acked: Vec<u64> = Vec::new();
    // The fifth goes beyond a snapshot, and the kill falls near its writing.
    let kills = [1, 7, 90, 800, usize::try_from(SNAPSHOT_EVERY).unwrap() - 800, 3];
    for (round, kill_after) in kills.into_iter().enumerate() {
        let first = (round as u64 + 1) * 100_000;
        let mut child = Process::new(std::env::current_exe().unwrap())
            .args(["--exact", "child_that_proposes_until_killed", "--nocapture"])
            .env(CHILD, format!("{first} {}", dir.path().display()))
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let mut ack = || {
            lines
                .by_ref()
                .find_map(|line| line.unwrap().strip_prefix("acked ").and_then(|n| n.parse::<u64>().ok()))
        };
        acked.extend((0..kill_after).map(|_| ack().expect("the child ended by itself")));
        child.kill().unwrap();
        // What it said between the last line read and its death counts as well; but for a line that
        // the kill cut short.
        acked.extend(std::iter::from_fn(ack).filter(|n| *n >= first));
        child.wait().unwrap();

        let (registry, ended) = open(dir.path());
        let state = registry.linearizable().await.unwrap();
        let lost: Vec<_> = acked.iter().filter(|n| !marked(&state, **n)).collect();
        assert!(lost.is_empty(), "after kill {round} lost {lost:?} of {}", acked.len());
        // And it goes on.
        propose_many(&registry, first + 90_000..first + 90_010).await;
        acked.extend(first + 90_000..first + 90_010);
        close(registry, ended).await;
    }
}
