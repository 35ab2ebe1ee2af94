//! The interfaces of the daemons we call, as thin functions over [`Peer`](crate::peer::Peer).
//!
//! Only the methods and properties that are used, each as the daemon's own documentation has it. The crates that wrap
//! NetworkManager are unmaintained or on another release of zbus, and a second zbus costs more than these few lines.

pub mod avahi;
pub mod config;
pub mod connectivity;
pub mod helper;
pub mod hostname;
pub mod journal;
pub mod network_manager;
pub mod systemd;
pub mod timedate;
