//! Whether a file system of its own is mounted at a folder.

use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

/// Whether something is mounted at `folder`: its device differs from that of the folder it is in.
///
/// Enough for different file systems; a bind mount within one is not seen.
///
/// # Errors
/// One of the two folders cannot be looked at.
pub fn is_one(folder: &Path) -> io::Result<bool> {
    let parent = folder.parent().unwrap_or(Path::new("/"));
    Ok(std::fs::metadata(folder)?.dev() != std::fs::metadata(parent)?.dev())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tells_a_mount_point() {
        assert!(is_one(Path::new("/proc")).unwrap());
        assert!(!is_one(Path::new("/proc/self")).unwrap());
        assert!(is_one(Path::new("/nowhere")).is_err());
    }
}
