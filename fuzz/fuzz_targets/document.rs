//! `cargo fuzz run document`: see `fleet_fuzz::document`.

#![cfg_attr(fuzzing, no_main)]

#[cfg(fuzzing)]
libfuzzer_sys::fuzz_target!(|bytes: &[u8]| fleet_fuzz::document(bytes));

#[cfg(not(fuzzing))]
fn main() {}
