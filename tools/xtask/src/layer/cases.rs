//! The cases for testimage in `meta-fleet/lib/oeqa`: whether testimage finds them and everything that they import, and
//! what they say of the reference image, which is a Fleet OS as any other to them.

use std::fs;
use std::path::Path;
use std::process::Command;

use anyhow::{Context, ensure};
use testbed::{Device, Tier};

use super::bitbake::BitBake;
use super::{Outcome, output};
use crate::image::{self, Need};
use crate::setup::{self, Tool};

/// The program that loads and runs them.
const PROGRAM: &str = include_str!("oeqa_cases.py");

/// How testimage looks whether the machine is there.
const TOOLS: &[Tool] = &[Tool {
    file: "ping",
    package: "iputils-ping",
}];

/// Loads them, and runs them in systemd-nspawn where that can be had.
pub(super) fn check(bitbake: &BitBake, top: &Path) -> anyhow::Result<Outcome> {
    let program = top.join("build/layer/oeqa_cases.py");
    fs::write(&program, PROGRAM).with_context(|| format!("cannot write {}", program.display()))?;
    let mut load = bitbake.python();
    load.arg(&program)
        .arg(bitbake.checkout())
        .arg(top.join("meta-fleet"));
    let (success, text) = output(&mut load)?;
    if !success {
        return Ok(Outcome::Failed(format!("\n{text}")));
    }
    if !nix::unistd::geteuid().is_root() {
        return Ok(Outcome::Passed(format!("{text}; running them needs root")));
    }
    run(&load, top)
}

/// Runs them in the reference image, by ssh as testimage does.
fn run(load: &Command, top: &Path) -> anyhow::Result<Outcome> {
    setup::ensure(&[setup::NSPAWN, TOOLS])?;
    // Held to the end: nobody rebuilds the image under a running guest.
    let _image = image::ensure(Need::Root)?;
    let key = top.join("build/layer/oeqa_key");
    for path in [&key, &key.with_extension("pub")] {
        if path.exists() {
            fs::remove_file(path).with_context(|| format!("cannot remove {}", path.display()))?;
        }
    }
    let mut keygen = Command::new("ssh-keygen");
    keygen.args(["-q", "-t", "ed25519", "-N", "", "-f"]).arg(&key);
    let (success, text) = output(&mut keygen)?;
    ensure!(success, "ssh-keygen: {text}");
    let public = fs::read_to_string(key.with_extension("pub")).context("cannot read the key")?;

    let config = serde_json::json!({"hostname": "oeqa", "os": {"sshKeys": [public.trim()]}});
    let mut device = Device::boot(Tier::Nspawn)
        .config_text(config.to_string())
        .start()?;
    let address = device
        .run("nmcli -g IP4.ADDRESS device show | grep -v ^127 | head -1 | cut -d/ -f1")?
        .text();
    let words: Vec<String> = std::iter::once(load.get_program())
        .chain(load.get_args())
        .map(|word| format!("'{}'", word.display()))
        .collect();
    let command = format!("{} {address} '{}' 2>&1", words.join(" "), key.display());
    let said = device.world().run(&command)?;
    Ok(match said.succeeds() {
        Ok(said) => Outcome::Passed(format!("{} in the reference image", said.text().trim())),
        Err(error) => Outcome::Failed(format!("{error:#}")),
    })
}
