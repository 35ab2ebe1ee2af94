//! What a power cut can leave of the configuration, found out without cutting the power ten thousand times.
//!
//! Two levels, and for each a recording of one run and every state that a cut in it could leave:
//!
//! | level | recorded | states | read by |
//! |---|---|---|---|
//! | system calls | [`recording`]: what a program did to files, with strace(1) | [`model`]: what ext4 and FAT allow | the store itself |
//! | blocks | [`write_log`]: what a machine wrote to its disk, with QEMU | [`disk`]: the disk after each write | e2fsck, then the store; three boots |
//!
//! The first has states that the second does not meet, because it also takes those that the file system of the day does
//! not produce; the second has what the model may be wrong about.

mod call;
pub mod configuration;
pub mod disk;
pub mod model;
pub mod recording;
pub mod tree;
pub mod write_log;
