//! `cargo fuzz run openvpn`: see `fleet_fuzz::openvpn`.

#![cfg_attr(fuzzing, no_main)]

#[cfg(fuzzing)]
libfuzzer_sys::fuzz_target!(|bytes: &[u8]| fleet_fuzz::openvpn(bytes));

#[cfg(not(fuzzing))]
fn main() {}
