//! What the services share.
//!
//! Everything that talks to the outside in the same way from every service lives here once: the bus connection
//! and the proxies of other daemons, atomic files, logging, service notification, exit codes. What only one
//! service needs lives in that service.

pub mod alarm;
pub mod body;
pub mod boot_clock;
pub mod bus;
pub mod chronyd;
pub mod clock_step;
pub mod command;
pub mod dns_fallback;
pub mod exit;
pub mod file;
pub mod idle;
pub mod logging;
pub mod metered_pace;
pub mod mount_point;
pub mod object;
pub mod paths;
pub mod peer;
pub mod pending;
pub mod proxy;
pub mod runtime;
pub mod secret;
pub mod size;
pub mod sysctl;
pub mod udev_rules;
pub mod watchdog;
