//! What tells one device from another: the board, 128-bit identifiers and ssh host keys.
//!
//! An identity is made once, on the device itself, and is never lost: it is written durably before it is used, and
//! what a power cut left behind half-made is recognised and replaced.

pub mod board;
pub mod host_keys;
pub mod id;
