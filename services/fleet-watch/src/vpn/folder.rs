//! Notices when something changes in a few folders (inotify(7)). Nothing is polled.

use std::io;
use std::os::fd::{AsFd, AsRawFd, RawFd};

use nix::errno::Errno;
use nix::sys::inotify::{AddWatchFlags, InitFlags, Inotify};
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

/// Registers the file descriptor with the runtime.
#[expect(
    deprecated,
    reason = "the successor is unsafe; the watcher owns its descriptor and keeps it open"
)]
fn async_fd(inner: Watcher) -> io::Result<AsyncFd<Watcher>> {
    AsyncFd::with_interest(inner, Interest::READABLE)
}

/// Folders that are watched.
pub(super) struct Folders(AsyncFd<Watcher>);

/// inotify, as tokio wants it.
struct Watcher(Inotify);

impl AsRawFd for Watcher {
    fn as_raw_fd(&self) -> RawFd {
        self.0.as_fd().as_raw_fd()
    }
}

impl Folders {
    const FLAGS: AddWatchFlags = AddWatchFlags::IN_CREATE
        .union(AddWatchFlags::IN_DELETE)
        .union(AddWatchFlags::IN_MOVED_TO);

    /// Watches these folders.
    pub(super) fn watch(folders: &[&str]) -> io::Result<Self> {
        let inotify = Inotify::init(InitFlags::IN_NONBLOCK | InitFlags::IN_CLOEXEC)?;
        for folder in folders {
            inotify.add_watch(*folder, Self::FLAGS)?;
        }
        async_fd(Watcher(inotify)).map(Self)
    }

    /// Waits until something was made, replaced or removed, and returns the names. Cancel-safe.
    pub(super) async fn changed(&self) -> io::Result<Vec<String>> {
        loop {
            let mut ready = self.0.readable().await?;
            let mut names = Vec::new();
            loop {
                match self.0.get_ref().0.read_events() {
                    Ok(events) => names.extend(
                        (events.into_iter())
                            .map(|event| event.name.unwrap_or_default().to_string_lossy().into_owned()),
                    ),
                    Err(Errno::EAGAIN) => break,
                    Err(error) => return Err(error.into()),
                }
            }
            ready.clear_ready();
            if !names.is_empty() {
                return Ok(names);
            }
        }
    }
}
