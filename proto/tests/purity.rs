//! `proto` does no IO: it is built from nothing that could, and asks the standard library for none.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test fails by panic")]

use std::fs;
use std::path::{Path, PathBuf};

/// What `proto` may be built from: encodings, hashes, ciphers, tables and a generator that is seeded
/// from outside. A new one belongs here only if it, too, reaches no clock, socket, disk or entropy.
const DEPENDENCIES: &[&str] = &[
    "ahash",
    "bytes",
    "bytestring",
    "chacha20poly1305",
    "crc32fast",
    "data-encoding",
    "hmac",
    "ipnet",
    "md-5",
    "rand_chacha",
    "rmp-serde",
    "serde",
    "serde_bytes",
    "serde_json",
    "sha1",
    "sha2",
    "slab",
    "subtle",
    "thiserror",
];

/// What the standard library has of clocks, sockets, disks, threads, processes and hidden randomness,
/// as it would be written. `std::net` gives addresses alone.
const FORBIDDEN: &[&str] = &[
    "std::fs",
    "std::io",
    "std::env",
    "std::os",
    "std::process",
    "std::thread",
    "Instant",
    "SystemTime",
    "UNIX_EPOCH",
    "TcpStream",
    "TcpListener",
    "UdpSocket",
    "ToSocketAddrs",
    "HashMap::new()",
    "HashSet::new()",
    "HashMap::default()",
    "HashSet::default()",
    "RandomState::new()",
    "println!",
    "print!",
    "dbg!",
    "include!",
];

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// The names in one section of a manifest.
fn section(manifest: &str, header: &str) -> Vec<String> {
    let lines = manifest.lines().skip_while(|line| line.trim() != header).skip(1);
    let entries = lines.take_while(|line| !line.starts_with('[')).filter(|line| line.contains('='));
    entries.map(|line| line.split(['.', '=', ' ']).next().unwrap().to_owned()).collect()
}

fn sources(dir: &Path, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            sources(&path, found);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            found.push(path);
        }
    }
}

/// Whether a line says this word, not one that only begins or ends like it: `Instant`, not
/// `Instantiated`.
fn says(line: &str, word: &str) -> bool {
    let letter = |c: char| c.is_alphanumeric() || c == '_';
    line.match_indices(word).any(|(at, _)| {
        let before = line[..at].ends_with(letter) && word.starts_with(letter);
        let after = line[at + word.len()..].starts_with(letter) && word.ends_with(letter);
        !before && !after
    })
}

#[test]
fn it_is_built_from_nothing_that_does_io() {
    let manifest = fs::read_to_string(root().join("Cargo.toml")).unwrap();
    let dependencies = section(&manifest, "[dependencies]");
    assert!(dependencies.len() > 10, "the section is read: {dependencies:?}");
    for name in &dependencies {
        assert!(DEPENDENCIES.contains(&name.as_str()), "{name} is not known to be free of IO");
    }
    for name in DEPENDENCIES {
        assert!(dependencies.iter().any(|dependency| dependency == name), "{name} is not used any more");
    }
    // Nothing comes in by another door.
    for line in manifest.lines().filter(|line| line.starts_with('[')) {
        let known = ["[package]", "[lints]", "[dependencies]", "[dev-dependencies]"];
        assert!(known.contains(&line.trim()), "{line} in Cargo.toml");
    }
    assert!(!root().join("build.rs").exists(), "a build script may do anything");
}

/// Of those that could draw from the system's entropy if they were let.
#[test]
fn generators_are_seeded_from_outside() {
    let workspace = fs::read_to_string(root().join("../Cargo.toml")).unwrap();
    for name in ["rand_chacha", "ahash", "chacha20poly1305"] {
        let line = workspace.lines().find(|line| line.starts_with(&format!("{name} ="))).unwrap();
        assert!(line.contains("default-features = false"), "{line}");
        assert!(!line.contains("runtime-rng") && !line.contains("getrandom"), "{line}");
    }
}

#[test]
fn it_asks_the_standard_library_for_no_io() {
    let mut files = Vec::new();
    sources(&root().join("src"), &mut files);
    assert!(files.len() > 50, "the sources are found");
    let mut guilty = Vec::new();
    for path in files {
        let text = fs::read_to_string(&path).unwrap();
        for (number, line) in text.lines().enumerate() {
            let code = line.split("//").next().unwrap();
            for word in FORBIDDEN.iter().filter(|word| says(code, word)) {
                guilty.push(format!("{}:{}: {word}", path.display(), number + 1));
            }
        }
    }
    assert!(guilty.is_empty(), "{}", guilty.join("\n"));
}

/// The search finds what it is to find, and only that.
#[test]
fn the_search_is_not_blind() {
    for line in ["use std::fs;", "std::thread::spawn(f)", "let t = Instant::now();", "fn f(at: SystemTime)"] {
        assert!(FORBIDDEN.iter().any(|word| says(line, word)), "{line}");
    }
    for line in ["use std::fmt;", "struct Instantiated;", "use std::net::IpAddr;", "AHashMap::with_hasher(h)"]
    {
        assert!(!FORBIDDEN.iter().any(|word| says(line, word)), "{line}");
    }
    let manifest = "[package]\nname = \"x\"\n[dependencies]\na.workspace = true\nb-c = { path = \"\" }\n\n[lints]\nd = 1";
    assert_eq!(section(manifest, "[dependencies]"), ["a", "b-c"]);
}
