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
mod oracle;
mod stun;

use std::path::Path;

fn play(name: &str, run: fn(&[u8])) {
    let path =
        Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/fuzz/seeds").join(name).with_extension("hex");
    let text = std::fs::read_to_string(&path).unwrap();
    let mut played = 0;
    for (number, line) in text.lines().enumerate() {
        let digits: String = line.split('#').next().unwrap().split_whitespace().collect();
        if digits.is_empty() {
            continue;
        }
        let bytes = data_encoding::HEXLOWER.decode(digits.as_bytes()).unwrap();
        println!("{name}.hex:{}", number + 1); // shown of the line that fails
        run(&bytes);
        // And what a fuzzer would try next.
        for cut in 0..bytes.len().min(200) {
            run(&bytes[..cut]);
            let mut bent = bytes.clone();
            bent[cut] ^= 1 << (cut % 8);
            run(&bent);
        }
        played += 1;
    }
    assert!(played > 0, "no seeds of {name}");
}

#[test]
fn stun_seeds() {
    play("stun", stun::run);
}

#[test]
fn framer_seeds() {
    play("framer", framer::run);
}
