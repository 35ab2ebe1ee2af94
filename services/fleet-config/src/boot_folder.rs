//! Notices when somebody edits the boot partition.
//!
//! inotify(7) on the folder and on the folders in it that count; the folder above tells when the folder itself is
//! replaced, and `/proc/self/mountinfo` (proc(5), POLLPRI on a change) when a file system is mounted over it or
//! taken away, of which inotify says nothing. Nothing is polled: while nobody edits, nothing wakes up.

use std::ffi::OsStr;
use std::fs::File;
use std::io;
use std::os::fd::{AsFd, AsRawFd, RawFd};
use std::path::{Path, PathBuf};
use std::time::Duration;

use nix::errno::Errno;
use nix::sys::inotify::{AddWatchFlags, InitFlags, Inotify, InotifyEvent, WatchDescriptor};
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;
use tokio::time::{Instant, timeout_at};

/// An edit is over when nothing happened for this long, and nobody has the document open who wrote into it: editors and
/// copying take several steps, and a copy over a bad line waits in its middle.
pub(crate) const QUIET: Duration = Duration::from_millis(250);
/// An edit that does not end is read as it is after this long.
const PATIENCE: Duration = Duration::from_secs(5);

/// What is watched.
pub(crate) struct BootFolder {
    inotify: AsyncFd<Watcher>,
    mounts: Option<AsyncFd<File>>,
    paths: Vec<Watched>,
    /// Its name, and whether somebody wrote into it who has not closed it.
    document: (Box<OsStr>, bool),
    /// While an edit is under way: when it is read as it is.
    patience: Option<Instant>,
}

/// inotify, as tokio wants it.
struct Watcher(Inotify);

impl AsRawFd for Watcher {
    fn as_raw_fd(&self) -> RawFd {
        self.0.as_fd().as_raw_fd()
    }
}

/// A folder, and the names in it that count; none: every name.
struct Watched {
    path: PathBuf,
    names: Vec<Box<OsStr>>,
    descriptor: Option<WatchDescriptor>,
}

impl Watched {
    fn new(path: &Path, names: &[&str]) -> Self {
        let names = names.iter().map(|name| OsStr::new(name).into()).collect();
        Self {
            path: path.to_owned(),
            names,
            descriptor: None,
        }
    }
}

impl BootFolder {
    const FLAGS: AddWatchFlags = AddWatchFlags::IN_CLOSE_WRITE
        .union(AddWatchFlags::IN_MODIFY)
        .union(AddWatchFlags::IN_CREATE)
        .union(AddWatchFlags::IN_DELETE)
        .union(AddWatchFlags::IN_MOVED_FROM)
        .union(AddWatchFlags::IN_MOVED_TO)
        .union(AddWatchFlags::IN_MOVE_SELF)
        .union(AddWatchFlags::IN_ONLYDIR);

    /// Of a file's content.
    const CONTENT: AddWatchFlags = AddWatchFlags::IN_MODIFY.union(AddWatchFlags::IN_CLOSE_WRITE);

    /// Watches a folder that may not be there yet, for changes of `document` and of what is in `folders`, all names in
    /// it. Must be called inside a tokio runtime.
    ///
    /// # Errors
    /// The kernel gives no inotify instance.
    pub(crate) fn watch(folder: &Path, document: &str, folders: &[&str]) -> io::Result<Self> {
        let inotify = Inotify::init(InitFlags::IN_NONBLOCK | InitFlags::IN_CLOEXEC)?;
        let mounts = File::open("/proc/self/mountinfo")
            .and_then(|file| async_fd(file, Interest::PRIORITY))
            .inspect_err(|error| log::warn!("mounting the boot partition goes unnoticed: {error}"))
            .ok();
        let above = folder.parent().unwrap_or(folder);
        let name = folder.file_name().and_then(OsStr::to_str).unwrap_or_default();
        let mut paths = vec![
            Watched::new(folder, &[&[document], folders].concat()),
            Watched::new(above, &[name]),
        ];
        paths.extend(folders.iter().map(|inner| Watched::new(&folder.join(inner), &[])));
        let mut watch = Self {
            inotify: async_fd(Watcher(inotify), Interest::READABLE)?,
            mounts,
            paths,
            document: (OsStr::new(document).into(), false),
            patience: None,
        };
        watch.renew();
        Ok(watch)
    }

    /// Waits until somebody edited, and the edit is over.
    ///
    /// Cancel-safe: an edit that was noticed is remembered until it was returned.
    pub(crate) async fn edited(&mut self) -> io::Result<()> {
        let patience = match self.patience {
            Some(patience) => patience,
            None => {
                while !self.event().await? {}
                *self.patience.insert(Instant::now() + PATIENCE)
            }
        };
        let mut quiet = Instant::now() + QUIET;
        loop {
            let until = if self.document.1 {
                patience
            } else {
                quiet.min(patience)
            };
            let Ok(counts) = timeout_at(until, self.event()).await else {
                break;
            };
            if counts? {
                quiet = Instant::now() + QUIET;
            }
            if Instant::now() >= patience {
                break;
            }
        }
        self.patience = None;
        Ok(())
    }

    /// Waits for events. Returns whether one of them counts.
    async fn event(&mut self) -> io::Result<bool> {
        let events = tokio::select! {
            ready = self.inotify.readable() => {
                let mut ready = ready?;
                let mut events = Vec::new();
                loop {
                    match self.inotify.get_ref().0.read_events() {
                        Ok(more) => events.extend(more),
                        Err(Errno::EAGAIN) => break,
                        Err(error) => return Err(error.into()),
                    }
                }
                ready.clear_ready();
                Some(events)
            }
            changed = mounted(self.mounts.as_ref()) => { changed?; None }
        };
        // A folder that was replaced or mounted over is another one under the same name. What is written into a file of
        // it leaves it where it is.
        let is_content = |event: &InotifyEvent| Self::CONTENT.contains(event.mask);
        let only_content = events
            .as_ref()
            .is_some_and(|events| events.iter().all(is_content));
        let replaced = !only_content && self.renew();
        let events = events.unwrap_or_default();
        for event in &events {
            self.note_writer(event);
        }
        Ok(replaced || events.iter().any(|event| self.counts(event)))
    }

    /// Takes note of who has the document open. Whatever else becomes of it, it is another file then, or none.
    fn note_writer(&mut self, event: &InotifyEvent) {
        let (document, is_open) = &mut self.document;
        let folder = self.paths.first().and_then(|folder| folder.descriptor);
        if folder == Some(event.wd) && event.name.as_deref() == Some(&**document) {
            *is_open = event.mask.contains(AddWatchFlags::IN_MODIFY);
        }
    }

    fn counts(&self, event: &InotifyEvent) -> bool {
        if event.mask.contains(AddWatchFlags::IN_Q_OVERFLOW) {
            return true;
        }
        let Some(watched) = self
            .paths
            .iter()
            .find(|watched| watched.descriptor == Some(event.wd))
        else {
            return false;
        };
        match &event.name {
            Some(name) => watched.names.is_empty() || watched.names.iter().any(|counts| **counts == **name),
            None => false,
        }
    }

    /// Watches what is under each path now. Returns whether that is something else than before for a path that
    /// counts.
    fn renew(&mut self) -> bool {
        let mut replaced = false;
        let inotify = &self.inotify.get_ref().0;
        for watched in &mut self.paths {
            let now = inotify.add_watch(&watched.path, Self::FLAGS).ok();
            if now != watched.descriptor {
                if let Some(old) = watched.descriptor {
                    // It may be gone already, which is as good.
                    let _ = inotify.rm_watch(old);
                }
                watched.descriptor = now;
                replaced = true;
            }
        }
        replaced
    }
}

/// Registers a file descriptor with the runtime.
#[expect(
    deprecated,
    reason = "the successor is unsafe; both types here own their descriptor and keep it open"
)]
fn async_fd<T: AsRawFd>(inner: T, interest: Interest) -> io::Result<AsyncFd<T>> {
    AsyncFd::with_interest(inner, interest)
}

/// Waits until a file system is mounted or taken away.
async fn mounted(mounts: Option<&AsyncFd<File>>) -> io::Result<()> {
    match mounts {
        Some(mounts) => {
            mounts.ready(Interest::PRIORITY).await?.clear_ready();
            Ok(())
        }
        None => std::future::pending().await,
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    async fn is_edited(folder: &mut BootFolder) -> bool {
        tokio::time::timeout(Duration::from_secs(2), folder.edited())
            .await
            .is_ok_and(|edited| edited.is_ok())
    }

    async fn is_left_alone(folder: &mut BootFolder) -> bool {
        tokio::time::timeout(Duration::from_millis(100), folder.edited())
            .await
            .is_err()
    }

    #[tokio::test]
    async fn follows_edits_and_a_folder_that_comes_late() {
        let root = tempfile::tempdir().unwrap();
        let boot = root.path().join("boot");
        let mut folder = BootFolder::watch(&boot, "config.json", &["system-connections"]).unwrap();
        assert!(is_left_alone(&mut folder).await);

        std::fs::create_dir(&boot).unwrap();
        assert!(is_edited(&mut folder).await, "the folder came");
        std::fs::write(boot.join("config.json"), "{}").unwrap();
        assert!(is_edited(&mut folder).await, "the document came");
        std::fs::write(boot.join("kernel.img"), "x").unwrap();
        assert!(is_left_alone(&mut folder).await, "of no interest");

        std::fs::create_dir(boot.join("system-connections")).unwrap();
        assert!(is_edited(&mut folder).await, "the keyfiles' folder came");
        std::fs::write(boot.join("system-connections/office"), "x").unwrap();
        assert!(is_edited(&mut folder).await, "a keyfile came");
        std::fs::remove_file(boot.join("system-connections/office")).unwrap();
        assert!(is_edited(&mut folder).await, "a keyfile went");

        std::fs::rename(&boot, root.path().join("old")).unwrap();
        std::fs::create_dir(&boot).unwrap();
        assert!(is_edited(&mut folder).await, "another folder in its place");
        std::fs::write(root.path().join("old/config.json"), "{}").unwrap();
        assert!(is_left_alone(&mut folder).await, "the old folder does not count");
        std::fs::write(boot.join("config.json.tmp"), "{}").unwrap();
        std::fs::rename(boot.join("config.json.tmp"), boot.join("config.json")).unwrap();
        assert!(is_edited(&mut folder).await, "a document moved there");
    }

    #[tokio::test]
    async fn an_edit_outlives_an_interruption() {
        let root = tempfile::tempdir().unwrap();
        let mut folder = BootFolder::watch(root.path(), "config.json", &["system-connections"]).unwrap();
        std::fs::write(root.path().join("config.json"), "{}").unwrap();
        assert!(is_left_alone(&mut folder).await, "noticed, and not over yet");
        assert!(is_edited(&mut folder).await);
    }

    #[tokio::test]
    async fn an_edit_is_not_over_while_its_writer_waits() {
        let root = tempfile::tempdir().unwrap();
        let mut folder = BootFolder::watch(root.path(), "config.json", &[]).unwrap();
        let path = root.path().join("config.json");
        let writer = tokio::spawn(async move {
            let mut file = File::create(&path).unwrap();
            for half in ["{\"hostname\":", "\"a\"}"] {
                file.write_all(half.as_bytes()).unwrap();
                tokio::time::sleep(QUIET * 2).await;
            }
        });
        assert!(is_edited(&mut folder).await);
        assert!(writer.is_finished(), "the edit was not over");
        assert!(is_left_alone(&mut folder).await);
    }

    #[tokio::test]
    async fn many_steps_are_one_edit() {
        let root = tempfile::tempdir().unwrap();
        let mut folder = BootFolder::watch(root.path(), "config.json", &["system-connections"]).unwrap();
        let path = root.path().join("config.json");
        let writer = tokio::spawn(async move {
            for step in 0..10 {
                std::fs::write(&path, step.to_string()).unwrap();
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        });
        assert!(is_edited(&mut folder).await);
        assert!(writer.is_finished(), "the edit was not over");
        assert!(is_left_alone(&mut folder).await);
    }
}
