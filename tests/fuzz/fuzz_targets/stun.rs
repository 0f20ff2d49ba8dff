//! The STUN parser: every getter, and beside an independent codec.
#![no_main]
#![allow(dead_code, unreachable_pub)]

#[path = "../../../proto/tests/fuzz/input.rs"]
mod input;
#[path = "../../../proto/tests/fuzz/oracle.rs"]
mod oracle;
#[path = "../../../proto/tests/fuzz/stun.rs"]
mod stun;

libfuzzer_sys::fuzz_target!(|data: &[u8]| stun::run(data));
