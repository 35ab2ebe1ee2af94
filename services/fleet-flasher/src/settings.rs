//! What the flasher is asked for: words of the kernel's command line, and lines of `flasher.txt` on its boot partition,
//! which people can write on any computer and which therefore has the last word.

use std::io;
use std::path::Path;

use fleet_base::exit::Exit;
use fleet_base::file;
use fleet_medium::failure::Failure;

/// The file on the boot partition.
const FILE: &str = "flasher.txt";
const PREFIX: &str = "fleet.flasher.";
const MAX_BYTES: u64 = 64 << 10;

/// The settings.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Settings {
    /// The device to install to; without it, the eMMC.
    pub(crate) target: Option<String>,
    /// The LED, by its name in `/sys/class/leds`.
    pub(crate) led: Option<String>,
    pub(crate) keep: Keep,
}

/// What is kept of what the device has.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Keep {
    /// `config.json` and `system-connections/`.
    #[default]
    Configuration,
    /// Nothing.
    Nothing,
}

impl Settings {
    /// Reads them.
    pub(crate) fn read(command_line: &Path, boot: &Path) -> Result<Self, Failure> {
        let words = file::read(command_line, MAX_BYTES).map_err(|error| invalid(&error.to_string()))?;
        let mut settings = Self::default();
        for word in String::from_utf8_lossy(&words).split_whitespace() {
            if let Some(word) = word.strip_prefix(PREFIX) {
                settings
                    .take(word)
                    .map_err(|why| invalid(&format!("the kernel's command line: {why}")))?;
            }
        }
        let path = boot.join(FILE);
        let text = match file::read(&path, MAX_BYTES) {
            Ok(text) => text,
            Err(file::Error::Read(_, error)) if error.kind() == io::ErrorKind::NotFound => {
                return Ok(settings);
            }
            Err(error) => return Err(invalid(&error.to_string())),
        };
        let text = String::from_utf8_lossy(&text);
        for (number, line) in (1..).zip(text.trim_start_matches('\u{feff}').lines()) {
            let line = line.split('#').next().unwrap_or_default().trim();
            if !line.is_empty() {
                settings
                    .take(line)
                    .map_err(|why| invalid(&format!("{}, line {number}: {why}", path.display())))?;
            }
        }
        Ok(settings)
    }

    /// Takes `NAME=VALUE`. A misspelt name is an error: what it was meant to say could be which medium is wiped.
    fn take(&mut self, word: &str) -> Result<(), String> {
        let (name, value) = word.split_once('=').unwrap_or((word, ""));
        let value = value.trim().trim_matches('"');
        match (name.trim(), value) {
            (name, "") => Err(format!("{name:?} has no value")),
            ("target", value) if value.starts_with("/dev/") => {
                self.target = Some(value.to_owned());
                Ok(())
            }
            ("target", value) => Err(format!("target is {value:?}; it begins with /dev/")),
            ("led", value) if !value.contains('/') => {
                self.led = Some(value.to_owned());
                Ok(())
            }
            ("led", value) => Err(format!("led is {value:?}; it is a name of /sys/class/leds")),
            ("keep", "config") => {
                self.keep = Keep::Configuration;
                Ok(())
            }
            ("keep", "nothing") => {
                self.keep = Keep::Nothing;
                Ok(())
            }
            ("keep", value) => Err(format!("keep is {value:?}; it can be config or nothing")),
            (name, _) => Err(format!("{name:?} is unknown; there are target, keep and led")),
        }
    }
}

fn invalid(sentence: &str) -> Failure {
    Failure::new(Exit::OwnConfiguration, sentence)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(command_line: &str, text: Option<&str>) -> Result<Settings, String> {
        let folder = tempfile::tempdir().unwrap();
        let words = folder.path().join("cmdline");
        std::fs::write(&words, command_line).unwrap();
        if let Some(text) = text {
            std::fs::write(folder.path().join(FILE), text).unwrap();
        }
        Settings::read(&words, folder.path()).map_err(|failure| failure.to_string())
    }

    #[test]
    fn the_file_has_the_last_word() {
        let line = "root=/dev/sda2 fleet.flasher.target=/dev/mmcblk1 fleet.flasher.keep=nothing quiet\n";
        let settings = read(
            line,
            Some("\u{feff}# ours\r\ntarget = \"/dev/nvme0n1\" # the fast one\r\n\r\n"),
        )
        .unwrap();
        assert_eq!(settings.target.as_deref(), Some("/dev/nvme0n1"));
        assert_eq!(settings.keep, Keep::Nothing);
        assert_eq!(read("quiet", None).unwrap(), Settings::default());
    }

    #[test]
    fn what_is_misspelt_is_refused() {
        for text in [
            "tagret=/dev/sda",
            "target",
            "target=sda",
            "keep=all",
            "led=a/b",
            "target=",
        ] {
            let why = read("", Some(text)).unwrap_err();
            assert!(why.contains("line 1"), "{text}: {why}");
        }
        assert!(
            read("fleet.flasher.x=1", None)
                .unwrap_err()
                .contains("command line")
        );
    }
}
