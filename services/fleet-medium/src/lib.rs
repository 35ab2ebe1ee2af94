//! Disk images and the media they are written to: what `fleet-image` on a workstation and `fleet-flasher` on a board
//! share. Partition tables and the boot partition are read and changed without mounting anything.

pub mod block;
pub mod bmap;
pub mod boot_partition;
pub mod failure;
pub mod medium;
pub mod overlay;
pub mod source;
pub mod table;
pub mod target;
pub mod writing;
