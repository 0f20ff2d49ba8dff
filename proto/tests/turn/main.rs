//! Transcripts of the TURN server machine: a readable script in, the machine's outputs out, compared
//! with what the file says. Lines that begin with `>` are commands, `#` begins a comment, all else is
//! what the machine did. `REWRITE=1 cargo test -p chappe-proto --test turn` writes the files anew.
//!
//! Commands are explained in `world` and `request`. Each case has a number and the rule that it shows.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::cast_possible_truncation,
    reason = "a test fails by panic, and makes small numbers of its own"
)]

mod request;
mod show;
mod world;

use std::fmt::Write;
use std::path::Path;

/// Runs a script; returns it with the outputs of now.
fn run(script: &str) -> String {
    let mut world = None;
    let mut out = String::new();
    for line in script.lines() {
        match line.strip_prefix("> ") {
            Some(command) => {
                writeln!(out, "{line}").unwrap();
                let words: Vec<&str> = command.split_whitespace().collect();
                for line in world::command(&mut world, &words) {
                    writeln!(out, "{line}").unwrap();
                }
            }
            None if line.is_empty() || line.starts_with('#') => writeln!(out, "{line}").unwrap(),
            None => {}
        }
    }
    out
}

fn check(name: &str) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/turn").join(name).with_extension("txt");
    let expected = std::fs::read_to_string(&path).unwrap();
    let actual = run(&expected);
    if std::env::var_os("REWRITE").is_some() {
        std::fs::write(&path, actual).unwrap();
        return;
    }
    for (number, (expected, actual)) in expected.lines().zip(actual.lines()).enumerate() {
        assert_eq!(actual, expected, "{name}.txt, line {}", number + 1);
    }
    assert_eq!(actual.lines().count(), expected.lines().count(), "{name}.txt, its length");
}

macro_rules! transcripts {
    ($($name:ident)*) => { $(
        #[test]
        fn $name() {
            check(stringify!($name));
        }
    )* };
}

transcripts! {
    stun
    authentication
    algorithms
    users
    realms
    amplification
    alternate
    allocate
    families
    refresh
    permissions
    channels
    data
    relayed_peers
    credentials
    quotas
}

/// Every transcript is run.
#[test]
fn none_is_forgotten() {
    let source = include_str!("main.rs");
    for entry in std::fs::read_dir(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/turn")).unwrap() {
        let path = entry.unwrap().path();
        let stem = path.file_stem().unwrap().to_str().unwrap();
        if path.extension().is_some_and(|extension| extension == "txt") {
            assert!(source.lines().any(|line| line.trim() == stem), "{stem}.txt");
        }
    }
}
