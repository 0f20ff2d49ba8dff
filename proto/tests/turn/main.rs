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

/// Every conformance case from 1 to 60 has a row in README.md, and each file that it names tells of the
/// case.
#[test]
fn every_case_has_its_proof() {
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/turn");
    let table = std::fs::read_to_string(dir.join("README.md")).unwrap();
    let rows: Vec<Vec<&str>> =
        table.lines().map(|line| line.split('|').map(str::trim).collect::<Vec<_>>()).collect();
    for case in 1..=60_u32 {
        let row = rows.iter().find(|row| row.get(1).is_some_and(|first| *first == case.to_string()));
        let row = row.unwrap_or_else(|| panic!("no row for case {case}"));
        let files: Vec<&str> = row[3].split('`').skip(1).step_by(2).filter(|it| it.contains('.')).collect();
        assert!(!files.is_empty(), "case {case} is proved nowhere");
        for file in files {
            let transcript = file.ends_with(".txt");
            let path = if transcript { dir.join(file) } else { dir.join("../../..").join(file) };
            let text = std::fs::read_to_string(&path).unwrap_or_else(|_| panic!("case {case}: no {file}"));
            assert!(!transcript || tells(&text, case), "case {case} is not in {file}");
        }
    }
}

/// Whether a transcript names a case: `Case 34`, `case 34`, `Cases 23 to 25`.
fn tells(text: &str, case: u32) -> bool {
    let comments = text.lines().filter(|line| line.starts_with('#'));
    comments.flat_map(|line| line.match_indices("ase").map(move |(at, _)| &line[at + 3..])).any(|rest| {
        let words: Vec<&str> = rest.trim_start_matches('s').split_whitespace().collect();
        let number = |at: usize| words.get(at)?.trim_end_matches([',', '.', ';', ':']).parse::<u32>().ok();
        match (number(0), words.get(1), number(2)) {
            (Some(first), Some(&"to"), Some(last)) => (first..=last).contains(&case),
            (Some(first), Some(&"and"), Some(last)) => first == case || last == case,
            (first, ..) => first == Some(case),
        }
    })
}
