//! The files of one run: a copy of the disk with the run's configuration, the firmware's variables, an ssh key.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, bail};
use serde_json::{Value, json};

use super::qemu;
use crate::image::{self, Image};

/// The medium is larger than the image, so that the data partition is grown as on a real card.
const MEDIUM_BYTES: u64 = 4 << 30;
const FIRMWARE_VARIABLES: &str = "/usr/share/OVMF/OVMF_VARS_4M.fd";

/// Below build/run; removed when dropped. Its `lock` is held as long: the testbed removes directories there whose lock
/// nobody holds, those of killed runs (`testbed::Run`).
pub(super) struct RunDirectory {
    path: PathBuf,
    _lock: File,
}

impl RunDirectory {
    /// Fills a new directory from the image and the configuration in the file `config`.
    pub(super) fn new(image: &Image, config: &Path) -> anyhow::Result<Self> {
        let directory = Self::make(&image::checkout()?.join("build/run"))?;
        directory.make_key()?;
        directory.write_config(config)?;
        directory.copy_disk(image)?;
        fs::copy(FIRMWARE_VARIABLES, directory.variables())
            .with_context(|| format!("cannot copy {FIRMWARE_VARIABLES}"))?;
        Ok(directory)
    }

    fn make(runs: &Path) -> anyhow::Result<Self> {
        fs::create_dir_all(runs).with_context(|| format!("cannot make {}", runs.display()))?;
        // Held while the directory has no lock of its own yet.
        let gate = lock_file(&runs.join(".lock"))?;
        gate.lock()
            .with_context(|| format!("cannot lock {}", runs.display()))?;
        let path = runs.join(format!("console-{}", std::process::id()));
        fs::create_dir_all(&path).with_context(|| format!("cannot make {}", path.display()))?;
        let lock = lock_file(&path.join("lock"))?;
        lock.lock_shared()
            .with_context(|| format!("cannot lock {}", path.display()))?;
        Ok(Self { path, _lock: lock })
    }

    /// The disk of this run.
    pub(super) fn disk(&self) -> PathBuf {
        self.path.join("disk.img")
    }

    /// The firmware's variables of this run.
    pub(super) fn variables(&self) -> PathBuf {
        self.path.join("firmware.fd")
    }

    /// ssh's arguments to reach the guest, without the program's name: no question asked, nothing remembered.
    pub(super) fn ssh_arguments(&self, port: u16) -> Vec<String> {
        let key = self.key().display().to_string();
        [
            "-i",
            &key,
            "-p",
            &port.to_string(),
            "-o",
            "StrictHostKeyChecking=no",
            "-o",
            "UserKnownHostsFile=/dev/null",
        ]
        .into_iter()
        .chain(["-o", "LogLevel=ERROR", "root@127.0.0.1"])
        .map(str::to_owned)
        .collect()
    }

    /// The same for a person to copy.
    pub(super) fn ssh_command_line(&self, port: u16) -> String {
        format!("ssh {}", self.ssh_arguments(port).join(" "))
    }

    fn key(&self) -> PathBuf {
        self.path.join("key")
    }

    fn config(&self) -> PathBuf {
        self.path.join("config.json")
    }

    fn make_key(&self) -> anyhow::Result<()> {
        let mut command = Command::new("ssh-keygen");
        command
            .args(["-q", "-t", "ed25519", "-N", "", "-C", "cargo xtask run", "-f"])
            .arg(self.key());
        succeed(&mut command)
    }

    fn write_config(&self, file: &Path) -> anyhow::Result<()> {
        let text = fs::read_to_string(file).with_context(|| format!("cannot read {}", file.display()))?;
        let key =
            fs::read_to_string(self.key().with_extension("pub")).context("cannot read the run's ssh key")?;
        let text = match serde_json::from_str(&text) {
            Ok(config) => {
                let config = for_development(config, key.trim(), &format!("http://{}/", qemu::CHECK_ADDRESS));
                format!("{config:#}\n")
            }
            // A broken file is worth a run too: what does the device do with it?
            Err(error) => {
                eprintln!(
                    "run: {} is taken as it is, without a console: {error}",
                    file.display()
                );
                text
            }
        };
        fs::write(self.config(), text).context("cannot write the run's config.json")
    }

    fn copy_disk(&self, image: &Image) -> anyhow::Result<()> {
        let mut copy = Command::new("cp");
        copy.args(["--reflink=auto", "--sparse=always"])
            .arg(image.disk())
            .arg(self.disk());
        succeed(&mut copy)?;
        let file = File::options()
            .write(true)
            .open(self.disk())
            .context("cannot open the run's disk")?;
        file.set_len(MEDIUM_BYTES).context("cannot size the run's disk")?;

        let layout = image.layout();
        let boot = layout
            .partition("fleet-boot")
            .context("the image has no partition fleet-boot")?;
        let mut place = Command::new("mcopy");
        place
            .arg("-i")
            .arg(format!("{}@@{}", self.disk().display(), boot.start));
        place
            .arg("-o")
            .arg(self.config())
            .arg("::/config.json")
            .env("MTOOLS_SKIP_CHECK", "1");
        succeed(&mut place)
    }
}

impl Drop for RunDirectory {
    fn drop(&mut self) {
        if let Err(error) = fs::remove_dir_all(&self.path) {
            eprintln!("run: cannot remove {}: {error}", self.path.display());
        }
    }
}

/// The configuration with development mode, an address for the connectivity check that works without the internet,
/// and one more ssh key. What is not an object where one is needed stays as it is.
fn for_development(mut config: Value, key: &str, uri: &str) -> Value {
    let Some(top) = config.as_object_mut() else {
        return config;
    };
    top.insert("developmentMode".into(), json!(true));
    let Some(os) = top.entry("os").or_insert_with(|| json!({})).as_object_mut() else {
        return config;
    };
    if let Some(keys) = os.entry("sshKeys").or_insert_with(|| json!([])).as_array_mut() {
        keys.push(json!(key));
    }
    if let Some(network) = os.entry("network").or_insert_with(|| json!({})).as_object_mut()
        && let Some(check) = network
            .entry("connectivity")
            .or_insert_with(|| json!({}))
            .as_object_mut()
    {
        check.insert("uri".into(), json!(uri));
    }
    config
}

fn lock_file(path: &Path) -> anyhow::Result<File> {
    File::create(path).with_context(|| format!("cannot make {}", path.display()))
}

fn succeed(command: &mut Command) -> anyhow::Result<()> {
    let name = command.get_program().to_string_lossy().into_owned();
    let output = command
        .stdin(Stdio::null())
        .output()
        .with_context(|| format!("cannot run {name}"))?;
    if !output.status.success() {
        bail!(
            "{name} failed ({}): {}",
            output.status,
            String::from_utf8_lossy(&output.stderr).trim()
        );
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_configuration_gets_console_key_and_check() {
        let config = json!({"hostname": "a", "os": {"sshKeys": ["old"], "network": {"wifi": {}}}});
        assert_eq!(
            for_development(config, "new", "http://check/"),
            json!({
                "hostname": "a",
                "os": {
                    "sshKeys": ["old", "new"],
                    "network": {"wifi": {}, "connectivity": {"uri": "http://check/"}},
                },
                "developmentMode": true,
            })
        );
    }

    #[test]
    fn what_is_mistyped_stays() {
        assert_eq!(for_development(json!([]), "k", "u"), json!([]));
        let mistyped = for_development(json!({"os": "x"}), "k", "u");
        assert_eq!(mistyped, json!({"os": "x", "developmentMode": true}));
    }
}
