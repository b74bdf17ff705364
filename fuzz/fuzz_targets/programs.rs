//! Does any program that a fuzzer can think of give something else than its ops mean? The generator and the judge of
//! `tests/random_programs/`, driven by libFuzzer's bytes: `cargo +nightly fuzz run programs`.
#![no_main]

#[path = "../../tests/random_programs/choices.rs"]
mod choices;
#[path = "../../tests/random_programs/judge.rs"]
mod judge;
#[path = "../../tests/random_programs/listed.rs"]
mod listed;
#[path = "../../tests/random_programs/recorder.rs"]
mod recorder;
#[path = "../../tests/random_programs/steps.rs"]
mod steps;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| judge::judge("drawn by the fuzzer", bytes));
