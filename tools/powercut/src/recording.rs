//! What a program did to files: recorded with strace(1), read into operations of a file system.
//!
//! Nothing that could change a file goes by unnoticed: a call that is traced, touches a recorded folder and is not
//! understood is an error.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, ensure};

use self::reader::Reader;
use crate::call::Call;

mod reader;

/// The calls that are traced: those that make, write, name or sync files, and those that change what a descriptor is.
const CALLS: &str = "open,openat,openat2,creat,close,dup,dup2,dup3,fcntl,lseek,read,\
    write,pwrite64,writev,pwritev,pwritev2,ftruncate,truncate,fallocate,copy_file_range,sendfile,splice,mmap,\
    fsync,fdatasync,sync,syncfs,sync_file_range,msync,\
    rename,renameat,renameat2,unlink,unlinkat,rmdir,mkdir,mkdirat,link,linkat,symlink,symlinkat,mknod,mknodat,\
    clone,clone3,fork,vfork,execve,io_uring_setup";

/// A file, whatever its names are. Unique in a recording.
pub type FileId = usize;

/// What was done. Paths are below the recorded folder.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Action {
    /// A new empty file.
    Create(PathBuf, FileId),
    /// Bytes at an offset.
    Write(FileId, usize, Vec<u8>),
    /// Another size: cut off, or zeros added.
    Resize(FileId, usize),
    /// fdatasync(2): the data and what is needed to read it.
    SyncData(FileId),
    /// fsync(2).
    Sync(FileId),
    /// fsync(2) of a folder.
    SyncFolder(PathBuf),
    /// sync(2), syncfs(2).
    SyncAll,
    /// rename(2), of a file or a folder.
    Rename(PathBuf, PathBuf),
    /// One more name for a file.
    Link(PathBuf, PathBuf),
    /// unlink(2), rmdir(2).
    Remove(PathBuf),
    /// mkdir(2).
    MakeFolder(PathBuf),
}

impl Action {
    /// Whether it makes something durable and does nothing else.
    #[must_use]
    pub const fn is_sync(&self) -> bool {
        matches!(
            self,
            Self::SyncData(_) | Self::Sync(_) | Self::SyncFolder(_) | Self::SyncAll
        )
    }
}

/// One step of the recorded program.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Step {
    /// An operation in the folder of this number.
    Do(usize, Action),
    /// A line that the program wrote to its standard output.
    Say(String),
}

/// Everything that a program did to some folders.
#[derive(Clone, Debug)]
pub struct Recording {
    /// The folders as they were before, with the number of each file.
    pub before: Vec<BTreeMap<PathBuf, Node>>,
    /// What the files held before.
    pub content: BTreeMap<FileId, Vec<u8>>,
    /// In order.
    pub steps: Vec<Step>,
}

/// What a name leads to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Node {
    /// A folder.
    Folder,
    /// A file.
    File(FileId),
}

impl Recording {
    /// Runs `program` under strace and records what it does to `folders` until it ends; it must end well.
    pub fn of(
        program: &Path,
        arguments: &[impl AsRef<OsStr>],
        folders: &[&Path],
        scratch: &Path,
    ) -> Result<Self> {
        let mut reader = Reader::new(folders)?;
        let log = scratch.join("strace.log");
        let output = Command::new("strace")
            // All threads; every byte of a string, as hexadecimal; no signals.
            .args(["-f", "-xx", "-s", "16777216", "-e", "signal=none", "-e"])
            .arg(format!("trace={CALLS}"))
            .arg("-o")
            .arg(&log)
            .arg(program)
            .args(arguments)
            .output()
            .context("cannot start strace: run `cargo xtask setup`")?;
        ensure!(
            output.status.success(),
            "{} failed under strace ({}): {}",
            program.display(),
            output.status,
            String::from_utf8_lossy(&output.stderr).trim()
        );
        let text = std::fs::read_to_string(&log).context("cannot read what strace wrote")?;
        for line in whole(&text)? {
            let call = Call::parse(&line)?;
            if let Some(call) = call.filter(|call| call.result >= 0) {
                reader
                    .call(&call)
                    .with_context(|| format!("cannot record {line:.200}"))?;
            }
        }
        Ok(reader.recording)
    }
}

/// The lines without the number of the thread, and calls that another thread interrupted put together again, where
/// they returned.
fn whole(text: &str) -> Result<Vec<String>> {
    let mut lines = Vec::new();
    let mut begun: BTreeMap<&str, &str> = BTreeMap::new();
    for line in text.lines() {
        let (thread, line) = line.split_once(' ').context("strace gives no thread")?;
        let line = line.trim_start();
        if let Some(start) = line.strip_suffix("<unfinished ...>") {
            begun.insert(thread, start);
        } else if let Some((_, end)) = line
            .strip_prefix("<... ")
            .and_then(|end| end.split_once("resumed>"))
        {
            let start = begun.remove(thread).context("a call returns that never began")?;
            lines.push(format!("{start}{end}"));
        } else {
            lines.push(line.to_owned());
        }
    }
    Ok(lines)
}

/// Gives everything at and below `from` the name `to`.
pub(crate) fn move_names(names: &mut BTreeMap<PathBuf, Node>, from: &Path, to: &Path) {
    let moved: Vec<PathBuf> = names
        .keys()
        .filter(|path| path.starts_with(from))
        .cloned()
        .collect();
    for path in moved {
        if let (Some(node), Ok(below)) = (names.remove(&path), path.strip_prefix(from)) {
            let target = if below.as_os_str().is_empty() {
                to.to_owned()
            } else {
                to.join(below)
            };
            names.insert(target, node);
        }
    }
}
