//! Kernel parameters (sysctl(8)), written below `/proc/sys` and set back when they are not listed any more.

use std::fmt;
use std::io;
use std::path::Path;

use fleet_base::file;
use fleet_base::sysctl::Parameter;

use crate::memory::Memory;

/// Where the kernel has them.
pub(crate) const FOLDER: &str = "/proc/sys";
/// Its file in the helper's memory.
const THING: &str = "kernel-parameters";
/// The longest value of those on the list.
const MAX_BYTES: u64 = 64;

/// Why some are not as they should be. All others are.
#[derive(Debug)]
pub(crate) enum Error {
    /// What was there before cannot be remembered.
    Memory(file::Error),
    /// These could not be read or written: name, and why.
    Parameters(Vec<(String, io::Error)>),
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Memory(error) => error.fmt(f),
            Self::Parameters(failed) => {
                for (index, (name, error)) in failed.iter().enumerate() {
                    let joint = if index == 0 { "" } else { ", " };
                    write!(f, "{joint}{name}: {error}")?;
                }
                Ok(())
            }
        }
    }
}

impl std::error::Error for Error {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Memory(error) => Some(error),
            Self::Parameters(failed) => failed.first().map(|(_, error)| error as _),
        }
    }
}

impl From<file::Error> for Error {
    fn from(error: file::Error) -> Self {
        Self::Memory(error)
    }
}

/// Makes those that are set exactly `wanted`, below `folder`. Returns what is in force of each.
pub(crate) fn set(
    folder: &Path,
    memory: &Path,
    wanted: &[(&'static Parameter, i64)],
) -> Result<Vec<(&'static str, i64)>, Error> {
    let mut memory = Memory::of(memory, THING)?;
    let mut failed = Vec::new();
    // First back, then forth: some change with others.
    for name in memory.names() {
        if wanted.iter().any(|(parameter, _)| parameter.name == name) {
            continue;
        }
        let before = memory.before(&name).unwrap_or_default();
        match write(folder, &name, before) {
            Ok(()) => {
                log::info!("the kernel parameter {name} is {before} again");
                memory.forget(&name)?;
            }
            Err(error) => failed.push((name, error)),
        }
    }
    let mut in_force = Vec::new();
    for (parameter, value) in wanted {
        match set_one(folder, &mut memory, parameter.name, *value)? {
            Ok(value) => in_force.push((parameter.name, value)),
            Err(error) => failed.push((parameter.name.to_owned(), error)),
        }
    }
    if failed.is_empty() {
        Ok(in_force)
    } else {
        Err(Error::Parameters(failed))
    }
}

/// Sets one; the outer error is of the memory.
fn set_one(folder: &Path, memory: &mut Memory, name: &str, value: i64) -> Result<io::Result<i64>, Error> {
    let before = match read(folder, name) {
        Ok(before) => before,
        Err(error) => return Ok(Err(error)),
    };
    if before == value.to_string() {
        return Ok(Ok(value));
    }
    memory.keep(name, &before)?;
    if let Err(error) = write(folder, name, &value.to_string()) {
        // Nothing was changed, so there is nothing to take back, unless it was changed earlier.
        if memory.before(name) == Some(before.as_str()) {
            memory.forget(name)?;
        }
        return Ok(Err(error));
    }
    log::info!("the kernel parameter {name} is {value}");
    let in_force = read(folder, name).and_then(|text| {
        text.parse()
            .map_err(|_| io::Error::other(format!("it reads \"{}\"", text.escape_debug())))
    });
    Ok(in_force.and_then(|in_force: i64| match in_force == value {
        true => Ok(in_force),
        false => Err(io::Error::other(format!("the kernel keeps {in_force}"))),
    }))
}

fn path(folder: &Path, name: &str) -> std::path::PathBuf {
    folder.join(name.replace('.', "/"))
}

fn read(folder: &Path, name: &str) -> io::Result<String> {
    match file::read(&path(folder, name), MAX_BYTES) {
        Ok(bytes) => Ok(String::from_utf8_lossy(&bytes).trim().to_owned()),
        Err(file::Error::Read(_, error) | file::Error::Write(_, error)) => Err(error),
        Err(error) => Err(io::Error::other(error.to_string())),
    }
}

/// In place, in one write: that is how the kernel takes it.
fn write(folder: &Path, name: &str, value: &str) -> io::Result<()> {
    use std::io::Write;
    let mut file = std::fs::OpenOptions::new()
        .write(true)
        .truncate(true)
        .open(path(folder, name))?;
    file.write_all(format!("{value}\n").as_bytes())
}

#[cfg(test)]
mod tests {
    use fleet_base::sysctl;

    use super::*;

    struct Kernel(tempfile::TempDir);

    impl Kernel {
        fn new() -> Self {
            let folder = tempfile::tempdir().unwrap();
            for name in ["vm", "kernel", "memory"] {
                std::fs::create_dir(folder.path().join(name)).unwrap();
            }
            std::fs::write(folder.path().join("vm/swappiness"), "60\n").unwrap();
            std::fs::write(folder.path().join("kernel/panic"), "0\n").unwrap();
            Self(folder)
        }

        fn set(&self, wanted: &[(&str, i64)]) -> Result<Vec<(&'static str, i64)>, String> {
            let wanted: Vec<_> = wanted
                .iter()
                .map(|(name, value)| (sysctl::find(name).unwrap(), *value))
                .collect();
            set(self.0.path(), &self.0.path().join("memory"), &wanted).map_err(|error| error.to_string())
        }

        fn value(&self, name: &str) -> String {
            read(self.0.path(), name).unwrap()
        }
    }

    #[test]
    fn what_is_not_listed_any_more_is_set_back() {
        let kernel = Kernel::new();
        assert_eq!(
            kernel.set(&[("vm.swappiness", 10)]).unwrap(),
            [("vm.swappiness", 10)]
        );
        assert_eq!(
            kernel
                .set(&[("vm.swappiness", 20), ("kernel.panic", 5)])
                .unwrap()
                .len(),
            2
        );
        assert_eq!(kernel.value("vm.swappiness"), "20");
        kernel.set(&[("kernel.panic", 5)]).unwrap();
        assert_eq!(kernel.value("vm.swappiness"), "60");
        // The kernel's own value is out of our range, and comes back all the same.
        kernel.set(&[]).unwrap();
        assert_eq!(kernel.value("kernel.panic"), "0");
    }

    #[test]
    fn one_that_fails_costs_the_others_nothing() {
        let kernel = Kernel::new();
        let error = kernel
            .set(&[
                ("kernel.pid_max", 32_768),
                ("vm.swappiness", 10),
                ("fs.file-max", 65_536),
            ])
            .unwrap_err();
        assert!(
            error.starts_with("kernel.pid_max: No such file or directory")
                && error.contains(", fs.file-max: "),
            "{error}"
        );
        assert_eq!(kernel.value("vm.swappiness"), "10");
        kernel.set(&[]).unwrap();
        assert_eq!(kernel.value("vm.swappiness"), "60");
    }

    #[test]
    fn equal_ones_are_not_touched_nor_remembered() {
        let kernel = Kernel::new();
        kernel.set(&[("vm.swappiness", 60)]).unwrap();
        assert!(!kernel.0.path().join("memory").join(THING).exists());
    }
}
