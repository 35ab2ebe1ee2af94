//! System calls, one after the other, read into operations of a file system.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail, ensure};

use super::{Action, FileId, Node, Recording, Step, move_names};
use crate::call::{Call, bytes};
use crate::tree::{Entry, Tree};

/// What a descriptor leads to.
#[derive(Clone, Debug)]
enum Descriptor {
    File {
        folder: usize,
        file: FileId,
        position: usize,
        appends: bool,
        /// What is written through it is durable when the call returns.
        is_synced: bool,
    },
    Folder(usize, PathBuf),
    Stdout,
}

/// The namespace and the descriptors of the recorded program as they are after the calls so far.
pub(super) struct Reader {
    tops: Vec<PathBuf>,
    /// The names as they are now.
    names: Vec<BTreeMap<PathBuf, Node>>,
    sizes: BTreeMap<FileId, usize>,
    descriptors: BTreeMap<i64, Descriptor>,
    said: Vec<u8>,
    pub(super) recording: Recording,
}

impl Reader {
    pub(super) fn new(folders: &[&Path]) -> Result<Self> {
        let mut names = Vec::new();
        let mut content = BTreeMap::new();
        for folder in folders {
            let tree = Tree::read(folder).with_context(|| format!("cannot read {}", folder.display()))?;
            let mut top = BTreeMap::new();
            for (path, entry) in tree.0 {
                let node = match entry {
                    Entry::Folder => Node::Folder,
                    Entry::File(bytes) => {
                        let file = content.len();
                        content.insert(file, bytes);
                        Node::File(file)
                    }
                };
                top.insert(path, node);
            }
            names.push(top);
        }
        Ok(Self {
            tops: folders.iter().map(|folder| (*folder).to_owned()).collect(),
            sizes: content.iter().map(|(file, bytes)| (*file, bytes.len())).collect(),
            descriptors: BTreeMap::from([(1, Descriptor::Stdout)]),
            said: Vec::new(),
            recording: Recording {
                before: names.clone(),
                content,
                steps: Vec::new(),
            },
            names,
        })
    }

    /// The recorded folder that a path is in, and the path below it.
    fn place(&self, directory: Option<&str>, path: &str) -> Option<(usize, PathBuf)> {
        let path = Path::new(path);
        if path.is_relative()
            && let Some(Descriptor::Folder(folder, above)) =
                directory.and_then(|number| self.descriptors.get(&number.parse().ok()?))
        {
            return Some((*folder, above.join(path)));
        }
        let find = |(folder, top): (usize, &PathBuf)| Some((folder, path.strip_prefix(top).ok()?.to_owned()));
        self.tops.iter().enumerate().find_map(find)
    }

    fn file_at(&self, folder: usize, path: &Path) -> Option<FileId> {
        match self.names[folder].get(path) {
            Some(Node::File(file)) => Some(*file),
            _ => None,
        }
    }

    fn push(&mut self, folder: usize, action: Action) {
        self.recording.steps.push(Step::Do(folder, action));
    }

    pub(super) fn call(&mut self, call: &Call) -> Result<()> {
        match call.name {
            "open" => self.open(call, None, &call.path(0)?, call.argument(1)?),
            "openat" => self.open(call, Some(call.argument(0)?), &call.path(1)?, call.argument(2)?),
            "openat2" => self.open(call, Some(call.argument(0)?), &call.path(1)?, call.argument(2)?),
            "creat" => self.open(call, None, &call.path(0)?, "O_WRONLY|O_CREAT|O_TRUNC"),
            "close" => {
                self.descriptors.remove(&call.number(0)?);
                Ok(())
            }
            "dup" | "dup2" | "dup3" => self.duplicate(call),
            "fcntl" if call.argument(1)?.starts_with("F_DUPFD") => self.duplicate(call),
            "lseek" | "read" => self.seek(call),
            "write" | "writev" | "pwrite64" | "pwritev" | "pwritev2" => self.write(call),
            "ftruncate" => match self.descriptors.get(&call.number(0)?) {
                Some(Descriptor::File { folder, file, .. }) => {
                    let (folder, file) = (*folder, *file);
                    let size = usize::try_from(call.number(1)?)?;
                    self.resize(folder, file, size);
                    Ok(())
                }
                _ => Ok(()),
            },
            "fsync" | "fdatasync" => {
                match self.descriptors.get(&call.number(0)?).cloned() {
                    Some(Descriptor::File { folder, file, .. }) if call.name == "fsync" => {
                        self.push(folder, Action::Sync(file));
                    }
                    Some(Descriptor::File { folder, file, .. }) => self.push(folder, Action::SyncData(file)),
                    Some(Descriptor::Folder(folder, path)) => self.push(folder, Action::SyncFolder(path)),
                    Some(Descriptor::Stdout) | None => {}
                }
                Ok(())
            }
            "sync" => {
                (0..self.tops.len()).for_each(|folder| self.push(folder, Action::SyncAll));
                Ok(())
            }
            "syncfs" => {
                if let Some(Descriptor::File { folder, .. } | Descriptor::Folder(folder, _)) =
                    self.descriptors.get(&call.number(0)?)
                {
                    let folder = *folder;
                    self.push(folder, Action::SyncAll);
                }
                Ok(())
            }
            "rename" | "link" => self.two_names(call, (None, 0), (None, 1)),
            "renameat" | "renameat2" | "linkat" => {
                self.two_names(call, (Some(call.argument(0)?), 1), (Some(call.argument(2)?), 3))
            }
            "unlink" | "rmdir" => self.remove(None, &call.path(0)?),
            "unlinkat" => self.remove(Some(call.argument(0)?), &call.path(1)?),
            "mkdir" => self.make_folder(None, &call.path(0)?),
            "mkdirat" => self.make_folder(Some(call.argument(0)?), &call.path(1)?),
            _ => self.other(call),
        }
    }

    /// A call that says nothing of interest, unless it has to do with a recorded file.
    fn other(&self, call: &Call) -> Result<()> {
        let is_ours = call.arguments.iter().any(|argument| {
            let file = argument
                .parse()
                .ok()
                .and_then(|number| self.descriptors.get(&number));
            let path = bytes(argument).ok().and_then(|path| String::from_utf8(path).ok());
            matches!(file, Some(Descriptor::File { .. }))
                || path.is_some_and(|path| !path.is_empty() && self.place(None, &path).is_some())
        });
        let is_harmless = match call.name {
            // Descriptors are known by number, whatever flags they get; a mapping that is private changes no file.
            "fcntl" | "execve" | "clone" | "clone3" | "fork" | "vfork" => true,
            "mmap" => call.arguments.iter().any(|flags| flags.contains("MAP_PRIVATE")),
            "io_uring_setup" => false,
            _ => !is_ours,
        };
        ensure!(
            is_harmless,
            "the model of the file system does not know {}",
            call.name
        );
        Ok(())
    }

    fn open(&mut self, call: &Call, directory: Option<&str>, path: &str, flags: &str) -> Result<()> {
        let Some((folder, path)) = self.place(directory, path) else {
            self.descriptors.remove(&call.result);
            return Ok(());
        };
        let has = |flag: &str| flags.split(['|', '{', '}', ',', '=']).any(|word| word == flag);
        ensure!(
            !has("O_TMPFILE"),
            "the model of the file system does not know O_TMPFILE"
        );
        let is_folder = path.as_os_str().is_empty() || self.names[folder].get(&path) == Some(&Node::Folder);
        let descriptor = if is_folder {
            Descriptor::Folder(folder, path)
        } else {
            let file = match self.file_at(folder, &path) {
                Some(file) => {
                    if has("O_TRUNC") && self.sizes.get(&file) != Some(&0) {
                        self.resize(folder, file, 0);
                    }
                    file
                }
                None => {
                    ensure!(has("O_CREAT"), "{} is not known", path.display());
                    let file = self.sizes.len();
                    self.sizes.insert(file, 0);
                    self.names[folder].insert(path.clone(), Node::File(file));
                    self.push(folder, Action::Create(path, file));
                    file
                }
            };
            Descriptor::File {
                folder,
                file,
                position: 0,
                appends: has("O_APPEND"),
                is_synced: has("O_SYNC") || has("O_DSYNC"),
            }
        };
        self.descriptors.insert(call.result, descriptor);
        Ok(())
    }

    /// The copy is taken for a descriptor with a position of its own, which is right until both are written through.
    fn duplicate(&mut self, call: &Call) -> Result<()> {
        match self.descriptors.get(&call.number(0)?).cloned() {
            Some(Descriptor::File { .. }) => {
                bail!("a duplicated descriptor of a recorded file is not modelled")
            }
            Some(descriptor) => self.descriptors.insert(call.result, descriptor),
            None => self.descriptors.remove(&call.result),
        };
        Ok(())
    }

    fn seek(&mut self, call: &Call) -> Result<()> {
        if let Some(Descriptor::File { position, .. }) = self.descriptors.get_mut(&call.number(0)?) {
            let result = usize::try_from(call.result)?;
            *position = if call.name == "lseek" {
                result
            } else {
                *position + result
            };
        }
        Ok(())
    }

    fn write(&mut self, call: &Call) -> Result<()> {
        let number = call.number(0)?;
        let mut data = bytes(call.argument(1)?)?;
        data.truncate(usize::try_from(call.result)?);
        match self.descriptors.get_mut(&number) {
            Some(Descriptor::Stdout) => {
                self.said.extend(data);
                while let Some(end) = self.said.iter().position(|byte| *byte == b'\n') {
                    let line: Vec<u8> = self.said.drain(..=end).collect();
                    let line = String::from_utf8(line)?.trim_end().to_owned();
                    self.recording.steps.push(Step::Say(line));
                }
            }
            Some(Descriptor::File {
                folder,
                file,
                position,
                appends,
                is_synced,
            }) => {
                let size = self.sizes.get(file).copied().unwrap_or_default();
                let is_placed = call.name.starts_with('p');
                let offset = match call.name {
                    "pwrite64" | "pwritev" | "pwritev2" => usize::try_from(call.number(3)?)?,
                    _ if *appends => size,
                    _ => *position,
                };
                let end = offset + data.len();
                if !is_placed {
                    *position = end;
                }
                let (folder, file, is_synced) = (*folder, *file, *is_synced);
                self.sizes.insert(file, size.max(end));
                self.push(folder, Action::Write(file, offset, data));
                if is_synced {
                    self.push(folder, Action::SyncData(file));
                }
            }
            Some(Descriptor::Folder(..)) | None => {}
        }
        Ok(())
    }

    fn resize(&mut self, folder: usize, file: FileId, size: usize) {
        self.sizes.insert(file, size);
        self.push(folder, Action::Resize(file, size));
    }

    fn two_names(
        &mut self,
        call: &Call,
        (from_directory, from): (Option<&str>, usize),
        (to_directory, to): (Option<&str>, usize),
    ) -> Result<()> {
        let from = self.place(from_directory, &call.path(from)?);
        let to = self.place(to_directory, &call.path(to)?);
        let ((folder, from), (other, to)) = match (from, to) {
            (Some(from), Some(to)) => (from, to),
            (None, None) => return Ok(()),
            _ => bail!("a file comes from outside, or goes there"),
        };
        ensure!(folder == other, "a file cannot change the file system");
        if call.name.starts_with("link") {
            let node = self.names[folder].get(&from).copied().context("no such file")?;
            self.names[folder].insert(to.clone(), node);
            self.push(folder, Action::Link(from, to));
        } else {
            move_names(&mut self.names[folder], &from, &to);
            self.push(folder, Action::Rename(from, to));
        }
        Ok(())
    }

    fn remove(&mut self, directory: Option<&str>, path: &str) -> Result<()> {
        if let Some((folder, path)) = self.place(directory, path) {
            self.names[folder].remove(&path);
            self.push(folder, Action::Remove(path));
        }
        Ok(())
    }

    fn make_folder(&mut self, directory: Option<&str>, path: &str) -> Result<()> {
        if let Some((folder, path)) = self.place(directory, path) {
            self.names[folder].insert(path.clone(), Node::Folder);
            self.push(folder, Action::MakeFolder(path));
        }
        Ok(())
    }
}
