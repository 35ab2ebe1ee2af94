//! Images of which any place can be read: packed ones are unpacked first, into a file without a name.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use fleet_base::exit::Exit;
use fleet_medium::failure::Failure;
use fleet_medium::medium::{Access, Medium};
use fleet_medium::source::Source;
use fleet_medium::writing::Follow;

/// What is unpacked at once. Of zeros only the place is kept.
const CHUNK: usize = 1 << 16;

/// An image that is read.
pub struct Image {
    /// The raw image, by the name that was given.
    pub medium: Medium,
    pub is_packed: bool,
}

impl Image {
    /// Opens it. Unpacking is followed.
    pub fn open(path: &Path, follow: &mut dyn Follow) -> Result<Self, Failure> {
        let mut source = Source::open(path)?;
        let is_packed = source.size.is_none();
        let medium = match is_packed {
            true => Medium::unpacked(path, unpack(&mut source, follow)?)?,
            false => Medium::open(path, Access::Read)?,
        };
        Ok(Self { medium, is_packed })
    }
}

fn unpack(source: &mut Source, follow: &mut dyn Follow) -> Result<File, Failure> {
    // For large files, and not in memory as /tmp may be (file-hierarchy(7)).
    let folder = std::env::var_os("TMPDIR").map_or_else(|| PathBuf::from("/var/tmp"), PathBuf::from);
    let failed = |error: &io::Error| {
        Failure::new(
            Exit::CannotWrite,
            format!(
                "the image cannot be unpacked in {}: {error}. Set TMPDIR to a folder with room for it",
                folder.display()
            ),
        )
    };
    let file = tempfile::tempfile_in(&folder).map_err(|error| failed(&error))?;
    let mut chunk = vec![0; CHUNK];
    let mut size = 0;
    loop {
        let read = source.read(&mut chunk)?;
        let bytes = &chunk[..read];
        if bytes.iter().any(|&byte| byte != 0) {
            file.write_all_at(bytes, size).map_err(|error| failed(&error))?;
        }
        size += u64::try_from(read).unwrap_or_default();
        follow.add(read)?;
        if read < CHUNK {
            break;
        }
    }
    file.set_len(size).map_err(|error| failed(&error))?;
    Ok(file)
}
