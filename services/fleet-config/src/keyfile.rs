//! NetworkManager keyfiles on the boot partition (`system-connections/`).
//!
//! People write them as NetworkManager has them (nm-settings-keyfile(5)); NetworkManager wants them owned by root
//! with mode 600, which FAT cannot give, so the helper places copies. Here they are only looked at enough to refuse
//! what is none.

use std::collections::BTreeMap;
use std::fmt;
use std::io;
use std::path::Path;

use fleet_base::file;
use fleet_base::secret::Secret;
use nix::errno::Errno;

/// The largest keyfile, in bytes.
pub(crate) const MAX_BYTES: u64 = 64 * 1024;
/// The most keyfiles.
pub(crate) const MAX_FILES: usize = 64;

/// Why a keyfile is refused. Never carries content: keyfiles hold passwords.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Refusal {
    /// The name is not one that becomes a file name without surprise.
    Name,
    /// Another file has this name already, with or without `.nmconnection`.
    Twice,
    /// It could not be read, and why.
    Read(String),
    /// It is not text.
    NotText,
    /// It has no `[connection]` section.
    NoConnection,
    /// There are too many.
    TooMany,
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Name => f.write_str(
                "the name of a keyfile begins with a letter or digit, goes on with letters, digits, blanks and . _ -, \
                 and has at most 64 characters without .nmconnection",
            ),
            Self::Twice => f.write_str("another keyfile has the same name; rename one of them"),
            Self::Read(error) => f.write_str(error),
            Self::NotText => f.write_str("it is not UTF-8 text; write it again"),
            Self::NoConnection => {
                f.write_str("it is no keyfile: it has no [connection] section (nm-settings-keyfile(5))")
            }
            Self::TooMany => write!(f, "there are more than {MAX_FILES} keyfiles; remove some"),
        }
    }
}

impl std::error::Error for Refusal {}

/// A keyfile: its file name, the same without `.nmconnection`, and its bytes.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct Keyfile {
    pub(crate) file: String,
    pub(crate) name: String,
    pub(crate) bytes: Secret<Vec<u8>>,
}

impl Keyfile {
    /// Checks what a file holds.
    pub(crate) fn new(file: &str, bytes: Vec<u8>) -> Result<Self, Refusal> {
        let name = stem(file);
        let inner = |byte: u8| byte.is_ascii_alphanumeric() || b" ._-".contains(&byte);
        let named = name
            .bytes()
            .next()
            .is_some_and(|first| first.is_ascii_alphanumeric())
            && name.len() <= 64
            && name.bytes().all(inner);
        if !named {
            return Err(Refusal::Name);
        }
        let text = std::str::from_utf8(&bytes).map_err(|_| Refusal::NotText)?;
        if text.contains('\0') {
            return Err(Refusal::NotText);
        }
        if !text.lines().any(|line| line.trim() == "[connection]") {
            return Err(Refusal::NoConnection);
        }
        Ok(Self {
            file: file.to_owned(),
            name: name.to_owned(),
            bytes: Secret::new(bytes),
        })
    }
}

/// The name of a profile's file without its ending.
pub(crate) fn stem(file: &str) -> &str {
    file.strip_suffix(".nmconnection").unwrap_or(file)
}

/// A folder of keyfiles.
#[derive(Clone, Default, PartialEq, Eq)]
pub(crate) struct Folder {
    /// Those that are good, by name.
    pub(crate) good: BTreeMap<String, Keyfile>,
    /// Those that are refused: file name and reason, by name.
    pub(crate) refused: BTreeMap<String, Refusal>,
}

impl Folder {
    /// Reads a folder.
    ///
    /// # Errors
    /// The folder itself cannot be read; not being there is [`io::ErrorKind::NotFound`].
    pub(crate) fn read(path: &Path) -> io::Result<Self> {
        let mut folder = Self::default();
        if path.symlink_metadata()?.is_symlink() {
            return Err(io::Error::other("it is a link, not a folder"));
        }
        for name in file::names(path)? {
            // A name that is not UTF-8 cannot be shown as it is, and is refused below by its lossy form.
            let shown = name.to_string_lossy().into_owned();
            if is_left_over(&shown) {
                continue;
            }
            let read = file::read_no_follow(&path.join(&name), MAX_BYTES);
            folder.add(shown, read.map_err(|error| Refusal::Read(reason(&error))));
        }
        Ok(folder)
    }

    /// Judges one more file.
    pub(crate) fn add(&mut self, file: String, read: Result<Vec<u8>, Refusal>) {
        let keyfile = read
            .and_then(|bytes| Keyfile::new(&file, bytes))
            .and_then(|keyfile| match self.good.contains_key(&keyfile.name) {
                true => Err(Refusal::Twice),
                false if self.good.len() >= MAX_FILES => Err(Refusal::TooMany),
                false => Ok(keyfile),
            });
        match keyfile {
            Ok(keyfile) => drop(self.good.insert(keyfile.name.clone(), keyfile)),
            Err(refusal) => drop(self.refused.insert(file, refusal)),
        }
    }

    /// Takes the place of each refused keyfile by the good one of the same name that was there before.
    ///
    /// A keyfile that was damaged while it was written must not cost the device its network. The refusals stay.
    pub(crate) fn keep_from(&mut self, before: &Self) {
        for name in self.refused.keys().map(|file| stem(file)) {
            if let Some(keyfile) = before.good.get(name)
                && self.good.len() < MAX_FILES
            {
                self.good
                    .entry(name.to_owned())
                    .or_insert_with(|| keyfile.clone());
            }
        }
    }
}

/// What editors and operating systems leave behind, and the sample that balenaOS ships as `….ignore`.
pub(crate) fn is_left_over(name: &str) -> bool {
    let endings = ["~", ".ignore", ".bak", ".swp", ".tmp", ".new"];
    name.starts_with('.') || endings.iter().any(|ending| name.ends_with(ending))
}

/// The reason without the path, which the key names already.
fn reason(error: &file::Error) -> String {
    match error {
        file::Error::Read(_, error) if error.raw_os_error() == Some(Errno::ELOOP as i32) => {
            "it is a link; only files are read".to_owned()
        }
        file::Error::Read(_, error) | file::Error::Write(_, error) => format!("it cannot be read: {error}"),
        file::Error::TooLarge(_, limit) => too_large(*limit),
    }
}

/// The reason for a file that was not read to its end.
pub(crate) fn too_large(limit: u64) -> String {
    format!("it is larger than {} KiB", limit / 1024)
}

#[cfg(test)]
mod tests {
    use super::*;

    const GOOD: &str = "[connection]\nid=office\ntype=wifi\n[wifi-security]\npsk=hunter2hunter2\n";

    #[test]
    fn takes_keyfiles_and_refuses_the_rest() {
        let folder = tempfile::tempdir().unwrap();
        let write = |name: &str, bytes: &[u8]| std::fs::write(folder.path().join(name), bytes).unwrap();
        write("office", GOOD.as_bytes());
        write("office.nmconnection", GOOD.as_bytes());
        write("guest net.nmconnection", GOOD.as_bytes());
        write("resin-sample.ignore", b"x");
        write(".hidden", b"x");
        write("empty", b"");
        write("binary", b"[connection]\n\xff");
        write("torn", b"[connection]\n\0\0\0");
        write("large", &vec![b'#'; 65 * 1024]);
        write("-x", GOOD.as_bytes());
        std::fs::create_dir(folder.path().join("folder")).unwrap();
        std::os::unix::fs::symlink(folder.path().join("office"), folder.path().join("link")).unwrap();
        let read = Folder::read(folder.path()).unwrap();
        assert_eq!(read.good.keys().collect::<Vec<_>>(), ["guest net", "office"]);
        let refused: Vec<_> = read.refused.keys().map(String::as_str).collect();
        assert_eq!(
            refused,
            [
                "-x",
                "binary",
                "empty",
                "folder",
                "large",
                "link",
                "office.nmconnection",
                "torn"
            ]
        );
        assert_eq!(read.refused["office.nmconnection"], Refusal::Twice);
        assert_eq!(read.refused["large"].to_string(), "it is larger than 64 KiB");
        assert_eq!(
            read.refused["link"].to_string(),
            "it is a link; only files are read"
        );
    }

    #[test]
    fn a_damaged_keyfile_leaves_the_good_one() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("office.nmconnection");
        std::fs::write(&path, GOOD).unwrap();
        std::fs::write(folder.path().join("removed"), GOOD).unwrap();
        let before = Folder::read(folder.path()).unwrap();
        std::fs::write(&path, "").unwrap();
        std::fs::remove_file(folder.path().join("removed")).unwrap();
        let mut now = Folder::read(folder.path()).unwrap();
        now.keep_from(&before);
        assert_eq!(now.good.keys().collect::<Vec<_>>(), ["office"]);
        assert_eq!(now.refused.len(), 1);
    }

    #[test]
    fn there_is_a_limit() {
        let folder = tempfile::tempdir().unwrap();
        for number in 0..=MAX_FILES {
            std::fs::write(folder.path().join(format!("net{number:03}")), GOOD).unwrap();
        }
        let read = Folder::read(folder.path()).unwrap();
        assert_eq!((read.good.len(), read.refused.len()), (MAX_FILES, 1));
    }
}
