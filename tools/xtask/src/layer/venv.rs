//! kas and oelint-adv at pinned versions, in a Python environment of their own below `build/`.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::Context;

use crate::setup::{self, Tool};
use crate::step::Steps;

/// What Debian needs for `python3 -m venv`.
const PYTHON: &[Tool] = &[
    Tool {
        file: "python3",
        package: "python3",
    },
    Tool {
        file: "/usr/share/doc/python3-venv",
        package: "python3-venv",
    },
];

/// An environment with everything that tools/layer-requirements.txt names.
pub(super) struct Venv {
    /// Its `bin`.
    pub(super) bin: PathBuf,
}

impl Venv {
    /// Makes the environment, where it is not there or the requirements have changed.
    pub(super) fn ensure(steps: &Steps, top: &Path) -> anyhow::Result<Self> {
        let directory = top.join("build/layer/venv");
        let venv = Self {
            bin: directory.join("bin"),
        };
        let requirements = top.join("tools/layer-requirements.txt");
        let wanted =
            fs::read(&requirements).with_context(|| format!("cannot read {}", requirements.display()))?;
        // Written last: an environment without it is half made.
        let stamp = directory.join("requirements.txt");
        if fs::read(&stamp).is_ok_and(|there| there == wanted) {
            return Ok(venv);
        }

        steps.say("installing kas and oelint-adv");
        let mut create = Command::new("python3");
        create.args(["-m", "venv", "--clear"]).arg(&directory);
        if steps.run("layer-venv", &create).is_err() {
            setup::ensure(&[PYTHON])?;
            steps.run("layer-venv", &create)?;
        }
        let mut install = venv.command("python");
        install
            .args(["-m", "pip", "install", "--quiet", "--no-deps", "--requirement"])
            .arg(&requirements);
        steps.run("layer-venv", &install)?;
        fs::write(&stamp, wanted).with_context(|| format!("cannot write {}", stamp.display()))?;
        Ok(venv)
    }

    /// A command for one of its programs.
    pub(super) fn command(&self, program: &str) -> Command {
        Command::new(self.bin.join(program))
    }
}
