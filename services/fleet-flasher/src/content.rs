//! What is kept: `config.json` and the keyfiles in `system-connections/`. Whose they are is decided here.
//!
//! What lies on the flasher's own boot partition comes first: a person put it there for this board. What the device had
//! comes second, and fills in what is missing: the device stays as reachable as it was. The image's own comes last.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::Path;

use fleet_base::file;
use fleet_base::secret::Secret;
use fleet_config::offline::Keyfiles;
use fleet_config::{State, document};
use fleet_medium::boot_partition::{self, Content};
use fleet_medium::failure::Failure;
use fleet_medium::medium::Medium;
use fleet_medium::table::Table;

pub(crate) const CONFIG: &str = "config.json";
pub(crate) const KEYFILES: &str = "system-connections";

/// Nothing.
pub(crate) const fn none() -> Content {
    Content {
        config: None,
        keyfiles: BTreeMap::new(),
    }
}

pub(crate) fn is_none(content: &Content) -> bool {
    content.config.is_none() && content.keyfiles.is_empty()
}

/// Reads it from a folder: a mounted boot partition, or a copy of one.
pub(crate) fn read(folder: &Path) -> Result<Content, Failure> {
    let refused = |error: file::Error| Failure::invalid(error.to_string());
    let config = match file::read(&folder.join(CONFIG), document::MAX_BYTES) {
        Ok(bytes) => Some(Secret::new(bytes)),
        Err(error) if error.is_not_found() => None,
        Err(error) => return Err(refused(error)),
    };
    let folder = folder.join(KEYFILES);
    let mut keyfiles = BTreeMap::new();
    let entries = match fs::read_dir(&folder) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Content { config, keyfiles }),
        Err(error) => return Err(Failure::read(&folder, &error)),
    };
    for entry in entries {
        let entry = entry.map_err(|error| Failure::read(&folder, &error))?;
        let path = entry.path();
        let Ok(name) = entry.file_name().into_string() else {
            return Err(Failure::invalid(format!(
                "{}: its name is no text",
                path.display()
            )));
        };
        if path.is_file() {
            let bytes = file::read(&path, Keyfiles::MAX_BYTES).map_err(refused)?;
            keyfiles.insert(name, Secret::new(bytes));
        }
    }
    Ok(Content { config, keyfiles })
}

/// What there is on a medium that is to be written over.
pub(crate) enum Found {
    /// No partition table, or none any more: it is new, or an installation was begun and not ended.
    Nothing,
    /// A whole medium, and what is on its boot partition; nothing where it is none of ours.
    Whole(Content),
    /// There is something, and it cannot be read.
    Damaged(String),
}

impl Found {
    /// Looks.
    pub(crate) fn on(medium: &Medium) -> Result<Self, Failure> {
        let mut first = [0; 512];
        let read = medium.window(0, medium.size).read_at(0, &mut first);
        read.map_err(|error| Failure::read(&medium.path, &error))?;
        if first[510..] != [0x55, 0xaa] {
            return Ok(Self::Nothing);
        }
        let table = match Table::read(medium) {
            Ok(table) => table,
            Err(failure) => return Ok(Self::Damaged(failure.to_string())),
        };
        let boot = match table.boot() {
            Ok(boot) => boot,
            Err(problem) if is_ours(&table) => return Ok(Self::Damaged(problem)),
            Err(_) => return Ok(Self::Whole(none())),
        };
        let content = match boot_partition::read(medium.window(boot.start, boot.size)) {
            Ok(content) => content,
            Err(error) => return Ok(Self::Damaged(format!("its boot partition is damaged: {error}"))),
        };
        // The device itself would put such a file right from its state partition, which is about to go.
        if let Some(config) = &content.config
            && let Some(problem) = fleet_config::check(config.expose()).problem
        {
            return Ok(Self::Damaged(format!("its config.json is broken: {problem}")));
        }
        // A name is a path on the card, too.
        let is_a_path = |name: &&String| name.contains('/') || matches!(name.as_str(), "." | "..");
        if let Some(name) = content.keyfiles.keys().find(is_a_path) {
            return Ok(Self::Damaged(format!(
                "its system-connections/ has a file named {}",
                name.escape_debug()
            )));
        }
        let is_too_large = |bytes: &Secret<Vec<u8>>| {
            u64::try_from(bytes.expose().len()).is_ok_and(|length| length > Keyfiles::MAX_BYTES)
        };
        if let Some((name, _)) = content.keyfiles.iter().find(|(_, bytes)| is_too_large(bytes)) {
            return Ok(Self::Damaged(format!(
                "{} is too large for a keyfile",
                name.escape_debug()
            )));
        }
        Ok(Self::Whole(content))
    }
}

/// Whether a partition of Fleet OS is left, by its name or its label.
fn is_ours(table: &Table) -> bool {
    let is_of_us = |name: &str| name.to_ascii_lowercase().starts_with("fleet-");
    let mut partitions = table.partitions.iter();
    partitions.any(|partition| is_of_us(&partition.name) || is_of_us(partition.file_system.label()))
}

/// Refuses a `config.json` that a device would not take at all. Returns what it would refuse of it.
pub(crate) fn check(content: &Content, place: &Path) -> Result<Vec<String>, Failure> {
    let Some(config) = &content.config else {
        return Ok(Vec::new());
    };
    let checked = fleet_config::check(config.expose());
    let path = place.join(CONFIG);
    if let Some(problem) = checked.problem {
        return Err(Failure::invalid(format!(
            "{}: {problem}. Put it right, or remove it",
            path.display()
        )));
    }
    let refused = checked.rows.iter().filter(|row| row.state == State::Refused);
    let sentence = refused.map(|row| {
        format!(
            "{}: the device will refuse {}: {}",
            path.display(),
            row.key,
            row.detail
        )
    });
    Ok(sentence.collect())
}

/// What the new system gets of the flasher's own and of the device's.
pub(crate) fn merged(own: Content, device: Content) -> Content {
    // Two files of one profile are one too many; FAT does not tell capitals from small letters.
    let profile = |name: &str| Keyfiles::profile(name).to_ascii_lowercase();
    let mut keyfiles = device.keyfiles;
    keyfiles.retain(|name, _| own.keyfiles.keys().all(|own| profile(own) != profile(name)));
    keyfiles.extend(own.keyfiles);
    Content {
        config: own.config.or(device.config),
        keyfiles,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    pub(crate) fn content(config: Option<&str>, keyfiles: &[(&str, &str)]) -> Content {
        let secret = |text: &str| Secret::new(text.as_bytes().to_vec());
        Content {
            config: config.map(secret),
            keyfiles: keyfiles
                .iter()
                .map(|(name, text)| ((*name).to_owned(), secret(text)))
                .collect(),
        }
    }

    #[test]
    fn the_flashers_own_comes_first_and_the_devices_fills_in() {
        let own = content(None, &[("LAN.nmconnection", "own")]);
        let device = content(Some("device"), &[("lan", "device"), ("wifi", "device")]);
        let both = merged(own, device);
        assert_eq!(both.config, Some(Secret::new(b"device".to_vec())));
        let names: Vec<_> = both.keyfiles.keys().map(String::as_str).collect();
        assert_eq!(names, ["LAN.nmconnection", "wifi"]);
        let own = content(Some("own"), &[]);
        let device = content(Some("device"), &[]);
        assert_eq!(merged(own, device).config, Some(Secret::new(b"own".to_vec())));
    }

    #[test]
    fn a_folder_is_read() {
        let folder = tempfile::tempdir().unwrap();
        assert!(is_none(&read(folder.path()).unwrap()));
        fs::create_dir(folder.path().join(KEYFILES)).unwrap();
        fs::write(folder.path().join(KEYFILES).join("lan"), "x").unwrap();
        fs::write(folder.path().join(CONFIG), "{\"hostname\": \"a b\"}").unwrap();
        let content = read(folder.path()).unwrap();
        assert_eq!(content.keyfiles.len(), 1);
        assert_eq!(
            check(&content, folder.path()).unwrap().len(),
            1,
            "a host name has no blanks"
        );
        fs::write(folder.path().join(CONFIG), "{,}").unwrap();
        assert!(check(&read(folder.path()).unwrap(), folder.path()).is_err());
    }
}
