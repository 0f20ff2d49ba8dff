//! The framing of TCP and TLS streams.
#![no_main]
#![allow(dead_code, unreachable_pub)]

#[path = "../../../proto/tests/fuzz/framer.rs"]
mod framer;
#[path = "../../../proto/tests/fuzz/input.rs"]
mod input;

libfuzzer_sys::fuzz_target!(|data: &[u8]| framer::run(data));
