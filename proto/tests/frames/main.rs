//! Frames between processes as earlier releases wrote them are read as what they mean.
//!
//! `wire-1.hex` has the bytes of every frame of wire form 1 as they were first written. Of a frame that gains
//! a field, the sample gets the value that the field has by default, and the line stays; another sample has
//! the field. What is new is added with `CHAPPE_RECORD_FRAMES=1 cargo test -p chappe-proto --test frames`,
//! which writes the lines that are missing and changes none.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panic")]

mod route;
mod samples;

use std::collections::BTreeMap;
use std::path::PathBuf;

use chappe_proto::id::Index;
use chappe_proto::limits::MESH_FRAME_MAX;
use chappe_proto::mesh::allocations::{EdgeAnswer, EdgeAsk};
use chappe_proto::mesh::uplink::{Directive, Down, EdgeChange, Up};
use chappe_proto::wire;
use data_encoding::HEXLOWER;
use serde::Serialize;
use serde::de::DeserializeOwned;

/// Frames with their names.
#[derive(Default)]
pub(crate) struct Samples(Vec<Sample>);

type Reads = dyn Fn(&[u8]) -> Result<bool, String>;

struct Sample {
    name: String,
    /// As this release writes it.
    bytes: Vec<u8>,
    /// Whether bytes read as the sample.
    reads: Box<Reads>,
}

impl Samples {
    pub(crate) fn add<T>(&mut self, name: impl Into<String>, value: T)
    where
        T: Serialize + DeserializeOwned + PartialEq + 'static,
    {
        let bytes = wire::encode(&value).unwrap();
        let reads = move |bytes: &[u8]| match wire::decode::<T>(bytes, MESH_FRAME_MAX) {
            Ok(read) => Ok(read == value),
            Err(error) => Err(error.to_string()),
        };
        self.0.push(Sample { name: name.into(), bytes, reads: Box::new(reads) });
    }
}

fn path() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/frames/wire-1.hex")
}

fn recorded() -> BTreeMap<String, Vec<u8>> {
    let text = std::fs::read_to_string(path()).unwrap_or_default();
    let line = |line: &str| {
        let (name, hex) = line.split_once(' ').unwrap();
        (name.to_owned(), HEXLOWER.decode(hex.as_bytes()).unwrap())
    };
    text.lines().map(line).collect()
}

fn all() -> Samples {
    let mut all = Samples::default();
    samples::add(&mut all);
    route::add(&mut all);
    all
}

#[test]
fn every_frame_reads_as_it_was_first_written() {
    let mut recorded = recorded();
    if std::env::var_os("CHAPPE_RECORD_FRAMES").is_some() {
        for sample in all().0 {
            recorded.entry(sample.name).or_insert(sample.bytes);
        }
        let line = |(name, bytes): (&String, &Vec<u8>)| format!("{name} {}\n", HEXLOWER.encode(bytes));
        std::fs::write(path(), recorded.iter().map(line).collect::<String>()).unwrap();
    }
    for sample in &all().0 {
        let Some(bytes) = recorded.remove(&sample.name) else {
            panic!("{} is not recorded: see this file's head", sample.name)
        };
        assert_eq!((sample.reads)(&bytes), Ok(true), "{}", sample.name);
    }
    assert!(recorded.is_empty(), "recorded and sampled no more: {:?}", recorded.keys());
}

#[test]
fn every_frame_reads_back_and_with_what_a_newer_release_adds() {
    for sample in &all().0 {
        assert_eq!((sample.reads)(&sample.bytes), Ok(true), "{}", sample.name);
        // A map with few entries (fixmap) gets one that is not known yet.
        let Some((head @ 0x80..=0x8e, rest)) = sample.bytes.split_first() else { continue };
        if sample.is_a_variant() {
            continue;
        }
        let newer = [&[head + 1, 0xa3, b'n', b'e', b'w', 0x92, 1, 2][..], rest].concat();
        assert_eq!((sample.reads)(&newer), Ok(true), "{} with a field more", sample.name);
    }
}

impl Sample {
    /// Written as a map of one variant's name, which takes no second entry.
    fn is_a_variant(&self) -> bool {
        let plain = ["opening.", "parcel.", "up.", "down."].iter().any(|plain| self.name.starts_with(plain));
        !plain && !["join", "join.edge"].contains(&self.name.as_str()) && self.name != "health"
    }
}

/// What a newer release says on an uplink: skipped, by the node as by the edge, and nothing around it.
#[test]
fn what_is_new_on_an_uplink_is_skipped() {
    #[derive(Serialize)]
    #[serde(tag = "t", rename_all = "snake_case")]
    enum Newer {
        Novelty { body: Vec<u8>, more: BTreeMap<String, u8> },
        Delta { index: u64, changes: Vec<NewerChange> },
        Directive { seq: u64, body: NewerDirective },
        Ask { number: u64, body: NewerAsk },
        Answer { number: u64, body: NewerAsk },
    }
    #[derive(Serialize)]
    #[serde(tag = "a", rename_all = "snake_case")]
    enum NewerAsk {
        Novelty { after: Option<u64>, of: Vec<String> },
    }
    #[derive(Serialize)]
    #[serde(tag = "c", rename_all = "snake_case")]
    enum NewerChange {
        Novelty { of: (u8, String) },
        Draining { draining: bool },
    }
    #[derive(Serialize)]
    #[serde(tag = "d", rename_all = "snake_case")]
    enum NewerDirective {
        Novelty { to: Option<u64> },
    }
    fn read<T: DeserializeOwned>(newer: &Newer) -> T {
        wire::decode(&wire::encode(newer).unwrap(), MESH_FRAME_MAX).unwrap()
    }
    let novelty = Newer::Novelty { body: vec![0, 200], more: BTreeMap::from([("a".into(), 1)]) };
    assert_eq!((read::<Up>(&novelty), read::<Down>(&novelty)), (Up::Unknown, Down::Unknown));
    let changes =
        vec![NewerChange::Novelty { of: (1, "a".into()) }, NewerChange::Draining { draining: true }];
    let delta = Down::Delta {
        index: Index(8),
        changes: vec![EdgeChange::Unknown, EdgeChange::Draining { draining: true }],
    };
    assert_eq!(read::<Down>(&Newer::Delta { index: 8, changes }), delta);
    let directive = Newer::Directive { seq: 3, body: NewerDirective::Novelty { to: None } };
    assert_eq!(read::<Down>(&directive), Down::Directive { seq: 3, body: Directive::Unknown });
    let novelty = || NewerAsk::Novelty { after: Some(1 << 40), of: vec!["a".into()] };
    let ask = Newer::Ask { number: 4, body: novelty() };
    assert_eq!(read::<Down>(&ask), Down::Ask { number: 4, body: EdgeAsk::Unknown });
    let answer = Newer::Answer { number: 4, body: novelty() };
    assert_eq!(read::<Up>(&answer), Up::Answer { number: 4, body: EdgeAnswer::Unknown });
}

/// Whatever is cut off or changed of a frame, reading it ends in a value or in an error.
#[test]
fn no_bent_frame_panics() {
    for sample in &all().0 {
        for cut in 0..sample.bytes.len() {
            assert_ne!((sample.reads)(&sample.bytes[..cut]), Ok(true), "{} cut at {cut}", sample.name);
            let mut bent = sample.bytes.clone();
            for flip in [0x01, 0x10, 0x80, 0xff] {
                bent[cut] = sample.bytes[cut] ^ flip;
                let _ = (sample.reads)(&bent); // a text may be another text
            }
        }
    }
}

#[test]
fn samples_have_names_of_their_own() {
    let names: Vec<_> = all().0.into_iter().map(|sample| sample.name).collect();
    let mut unique = names.clone();
    unique.sort_unstable();
    unique.dedup();
    assert_eq!(unique.len(), names.len());
}
