//! Transcripts of the signaling machines: a readable script in, every frame that clients are sent out,
//! compared with what the file says. Lines that begin with `>` are commands, `#` begins a comment, all
//! else is what clients saw. `REWRITE=1 cargo test -p chappe-proto --test signal_script` writes the
//! files anew. Commands are explained in `script`.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::print_stdout,
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    dead_code,
    reason = "a test fails by panic, and makes small numbers of its own; what two tests share neither uses whole"
)]

#[path = "signal/cluster/mod.rs"]
mod cluster;
#[path = "signal/script.rs"]
mod script;

use std::fmt::Write;
use std::path::Path;

/// Runs a script; returns it with what clients see now.
fn run(text: &str) -> String {
    let mut script = None;
    let mut out = String::new();
    for line in text.lines() {
        match line.strip_prefix("> ") {
            Some(command) => {
                writeln!(out, "{line}").unwrap();
                if let Some(words) = command.strip_prefix("cluster") {
                    script = Some(script::Script::new(&words.split_whitespace().collect::<Vec<_>>()));
                    continue;
                }
                for line in script.as_mut().expect("first a cluster").command(command) {
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
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/signal").join(name).with_extension("txt");
    let expected = std::fs::read_to_string(&path).unwrap();
    let actual = run(&expected);
    if ["REWRITE", "UPDATE"].iter().any(|word| std::env::var_os(word).is_some()) {
        std::fs::write(&path, actual).unwrap();
        return;
    }
    for (number, (expected, actual)) in expected.lines().zip(actual.lines()).enumerate() {
        assert_eq!(actual, expected, "{name}.txt, line {}", number + 1);
    }
    assert_eq!(actual.lines().count(), expected.lines().count(), "{name}.txt, its length");
}

macro_rules! transcripts {
    ($($name:ident)*) => {
        $(
            #[test]
            fn $name() {
                check(stringify!($name));
            }
        )*
        const ALL: &[&str] = &[$(stringify!($name)),*];
    };
}

transcripts! {
    join
    signals
    broadcasts
    members
    away
    limits
    ice
    owners
    direct
    frozen
    moving
    decided
    moved
    lobby
}

/// Every transcript is run.
#[test]
fn none_is_forgotten() {
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/signal");
    let names = std::fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().path());
    for path in names.filter(|path| path.extension().is_some_and(|ext| ext == "txt")) {
        assert!(ALL.contains(&path.file_stem().unwrap().to_str().unwrap()), "{}", path.display());
    }
}
