//! The configuration manager: `config.json` on the boot partition, and what the device makes of it.
//!
//! A setting goes one way: bytes → [`document::Document`] (strict) → [`config::Config`] (valid by construction) →
//! `Wanted` (with the product's [`defaults`]) → `Plan` (pure) → execution → [`report`]. The service is the only
//! writer of the configuration; `docs/config.md` is the guide, `docs/config-reference.md` the keys.

#[cfg(test)]
mod arbitrary;
pub mod authorized_keys;
mod boot_folder;
mod certificate;
pub mod config;
mod copies;
mod dbus;
pub mod defaults;
mod dispatcher;
pub mod document;
mod effect;
mod execute;
mod finding;
pub mod journal_limits;
mod journal_settings;
pub mod key;
mod keyfile;
mod merge;
pub mod offline;
mod places;
mod plan;
mod render;
pub mod report;
mod request;
mod retry;
pub mod secrets;
mod service;
pub mod store;
mod strict;
mod trial;
mod trust_store;
pub mod value;
mod wall_clock;
mod wanted;

pub use report::{Checked, KeyRow, State, check};
pub use service::main;
pub use strict::{Place, SyntaxError};
