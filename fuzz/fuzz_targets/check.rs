//! `cargo fuzz run check`: see `fleet_fuzz::check`.

#![cfg_attr(fuzzing, no_main)]

#[cfg(fuzzing)]
libfuzzer_sys::fuzz_target!(|bytes: &[u8]| fleet_fuzz::check(bytes));

#[cfg(not(fuzzing))]
fn main() {}
