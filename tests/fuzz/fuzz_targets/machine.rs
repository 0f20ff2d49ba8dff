//! The TURN server machine: sequences of packets, answers and time.
#![no_main]
#![allow(dead_code, unreachable_pub)]

#[path = "../../../proto/tests/fuzz/input.rs"]
mod input;
#[path = "../../../proto/tests/fuzz/machine/mod.rs"]
mod machine;

libfuzzer_sys::fuzz_target!(|data: &[u8]| machine::run(data));
