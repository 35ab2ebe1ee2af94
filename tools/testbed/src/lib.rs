//! Boots the reference image under systemd-nspawn or QEMU, with a network namespace as the world around it.
//!
//! A test reads like this:
//!
//! ```no_run
//! use testbed::{Device, Http, Tier};
//!
//! # fn main() -> anyhow::Result<()> {
//! let mut device = Device::boot(Tier::Nspawn).config_text(r#"{"hostname": "alpha"}"#).start()?;
//! device.run("hostname")?.says("alpha")?;
//! device.world().http(Http::Redirect)?;
//! device.reboot()?;
//! # Ok(())
//! # }
//! ```
//!
//! Everything that a run starts lives in a process namespace of its own and ends with it, whatever happens to
//! the caller: see [`Run`].

mod agent;
mod boot;
mod cgroup;
mod device;
mod disk;
mod guest;
pub mod interrupt;
mod nspawn;
mod output;
mod qemu;
mod qmp;
mod reference;
mod run;
mod settle;
pub mod world;

pub use boot::{Boot, Tier};
pub use device::Device;
pub use guest::Streams;
pub use output::Output;
pub use qemu::SECOND_CARD;
pub use reference::Reference;
pub use run::Run;
pub use world::{ADDRESS, Dhcp, Dns, FALSE_TIME, Http, Link, Modem, SECOND_ADDRESS, Switch, Time, World};
