//! What the fuzz targets of tests/fuzz do, here as tests: each plays its seeds, and every input that
//! ever found something. `ops/fuzz` has libFuzzer look for more.
//!
//! Seeds and findings are lines of hexadecimal digits in `tests/fuzz/seeds/NAME.hex`; `#` begins a
//! comment.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::cast_possible_truncation,
    clippy::print_stdout,
    dead_code,
    reason = "a test fails by panic, and makes small numbers of its own"
)]

mod framer;
mod input;
mod machine;
mod oracle;
mod stun;

use std::path::Path;

use chappe_proto::turn::Drop;

/// The inputs of a target, with what each is about.
fn seeds(name: &str) -> Vec<(String, Vec<u8>)> {
    let path =
        Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/fuzz/seeds").join(name).with_extension("hex");
    let text = std::fs::read_to_string(&path).unwrap();
    let mut seeds = Vec::new();
    for (number, line) in text.lines().enumerate() {
        let (digits, comment) = line.split_once('#').unwrap_or((line, ""));
        let digits: String = digits.split_whitespace().collect();
        if !digits.is_empty() {
            let bytes = data_encoding::HEXLOWER.decode(digits.as_bytes()).unwrap();
            seeds.push((format!("{name}.hex:{}{comment}", number + 1), bytes));
        }
    }
    assert!(!seeds.is_empty(), "no seeds of {name}");
    seeds
}

/// Plays each seed, and what a fuzzer would try next.
fn play(name: &str, run: fn(&[u8])) {
    for (line, bytes) in seeds(name) {
        println!("{line}"); // shown of the line that fails
        run(&bytes);
        for cut in 0..bytes.len().min(200) {
            run(&bytes[..cut]);
            let mut bent = bytes.clone();
            bent[cut] ^= 1 << (cut % 8);
            run(&bent);
        }
    }
}

#[test]
fn stun_seeds() {
    play("stun", stun::run);
}

#[test]
fn framer_seeds() {
    play("framer", framer::run);
}

#[test]
fn machine_seeds() {
    play("machine", machine::run);
}

/// The machine's seeds reach what is behind its authentication: a fuzzer that never allocates finds
/// little.
#[test]
fn machine_seeds_reach_the_relay() {
    let (mut allocated, mut sent, mut received) = (0, 0, 0);
    let mut drops = [0; Drop::ALL.len()];
    for (line, bytes) in seeds("machine") {
        let counters = machine::play(&bytes);
        println!("{line}: {counters:?}");
        allocated += counters.allocated;
        sent += counters.sent.packets;
        received += counters.received.packets;
        drops.iter_mut().zip(counters.drops).for_each(|(all, one)| *all += one);
    }
    assert!(allocated >= 15 && sent >= 8 && received >= 5, "{allocated} {sent} {received}");
    for cause in [Drop::NoAllocation, Drop::NoChannel, Drop::NoPermission, Drop::Malformed] {
        assert!(drops[cause as usize] > 0, "none dropped as {}", cause.name());
    }
}
