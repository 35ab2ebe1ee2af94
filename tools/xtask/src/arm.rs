//! `cargo xtask arm`: the executables for the boards' processors, cross-built in a root of Debian packages of its own; and
//! the tests that need nothing but a processor, under emulation (qemu-user).
//!
//! It proves that the code builds and computes the same there, with other sizes of pointers. The image's own executables
//! are BitBake's.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};

use anyhow::Context;

use crate::debian;
use crate::image::checkout;
use crate::setup;
use crate::step::{Steps, tethered};

/// The first Debian release whose Rust is new enough, with its standard library for all of these.
const SUITE: &str = "forky";
/// What is in the root beside what each architecture needs.
const PACKAGES: &[&str] = &[
    "cargo",
    "gcc",
    "libc6-dev",
    "qemu-user",
    "rustc",
    // What tests start.
    "dbus-daemon",
    "openssh-client",
    "openssl",
];
/// A finished root has it: what it was made of.
const READY: &str = "ready";
/// What is installed on a device.
pub const EXECUTABLES: [&str; 3] = ["fleet-services", "fleet", "fleet-certificate"];
/// What is on a flasher's medium only.
const FLASHER: &str = "fleet-flasher";

/// Everything that is built.
fn executables() -> impl Iterator<Item = &'static str> {
    EXECUTABLES.into_iter().chain([FLASHER])
}

/// What `cargo xtask arm` is asked for.
#[derive(clap::Args)]
pub struct Arguments {
    /// Only builds, and shows the sizes.
    #[arg(long)]
    no_test: bool,
}

/// A processor.
struct Architecture {
    /// As people call it.
    name: &'static str,
    /// Debian's name.
    debian: &'static str,
    /// rustc's name.
    target: &'static str,
    /// GNU's name, of the compiler and the folder of libraries.
    triplet: &'static str,
    emulator: &'static str,
}

const ARCHITECTURES: [Architecture; 2] = [
    Architecture {
        name: "aarch64",
        debian: "arm64",
        target: "aarch64-unknown-linux-gnu",
        triplet: "aarch64-linux-gnu",
        emulator: "qemu-aarch64",
    },
    Architecture {
        name: "armv7hf",
        debian: "armhf",
        target: "armv7-unknown-linux-gnueabihf",
        triplet: "arm-linux-gnueabihf",
        emulator: "qemu-arm",
    },
];

/// Builds, measures and tests.
pub fn main(arguments: &Arguments) -> anyhow::Result<ExitCode> {
    let workshop = Workshop::new()?;
    setup::ensure(&[setup::IMAGE, setup::ARM])?;
    workshop.root()?;
    workshop.vendor()?;
    for architecture in &ARCHITECTURES {
        workshop
            .steps
            .say(&format!("{}: cargo build --release (minutes)", architecture.name));
        let packages = executables().flat_map(|name| ["--package", name]);
        let mut command = workshop.cargo(architecture, "build");
        command
            .args(["--release", "--no-default-features"])
            .args(packages);
        workshop.steps.run("build", &command)?;
    }
    for (name, size) in sizes(&workshop.output) {
        println!("{name:<31} {size} bytes");
    }
    if arguments.no_test {
        return Ok(ExitCode::SUCCESS);
    }
    let mut code = ExitCode::SUCCESS;
    for architecture in &ARCHITECTURES {
        workshop.steps.say(&format!("{}: tests", architecture.name));
        let mut command = workshop.cargo(architecture, "test");
        command.args(["--workspace", "--lib", "--bins", "--no-fail-fast"]);
        if !tethered(&command).status().context("cannot run cargo")?.success() {
            code = ExitCode::FAILURE;
        }
    }
    Ok(code)
}

/// What was built last, by processor and name, in bytes; nothing if nothing was.
pub fn sizes(output: &Path) -> Vec<(String, u64)> {
    let mut sizes = Vec::new();
    for architecture in &ARCHITECTURES {
        for name in executables() {
            let path = output
                .join("target")
                .join(architecture.target)
                .join("release")
                .join(name);
            if let Ok(data) = fs::metadata(path) {
                sizes.push((format!("{} {name}", architecture.name), data.len()));
            }
        }
    }
    sizes
}

/// Where all of it is, below the checkout.
pub const OUTPUT: &str = "build/arm";

struct Workshop {
    checkout: PathBuf,
    output: PathBuf,
    steps: Steps,
}

impl Workshop {
    fn new() -> anyhow::Result<Self> {
        let checkout = checkout()?;
        let output = checkout.join(OUTPUT);
        fs::create_dir_all(output.join("target"))
            .with_context(|| format!("cannot make {}", output.display()))?;
        Ok(Self {
            steps: Steps::new("arm", output.join("log")),
            checkout,
            output,
        })
    }

    /// Makes the root of packages, once.
    fn root(&self) -> anyhow::Result<()> {
        let root = self.output.join("root");
        let mut packages: Vec<String> = PACKAGES.iter().map(ToString::to_string).collect();
        let mut architectures = "amd64".to_owned();
        for Architecture { debian, triplet, .. } in &ARCHITECTURES {
            architectures += &format!(",{debian}");
            packages.push(format!("gcc-{triplet}"));
            for library in ["libc6-dev", "libssl-dev", "libstd-rust-dev"] {
                packages.push(format!("{library}:{debian}"));
            }
        }
        let packages = packages.join(",");
        if fs::read_to_string(root.join(READY)).is_ok_and(|made_of| made_of == packages) {
            return Ok(());
        }
        self.steps
            .say("a root of Debian packages, with compilers for both");
        if root.exists() {
            fs::remove_dir_all(&root).with_context(|| format!("cannot remove {}", root.display()))?;
        }
        let mut command = Command::new("mmdebstrap");
        command.args(["--variant=apt", "--mode=root"]);
        command.arg(format!("--architectures={architectures}"));
        command.arg(format!("--keyring={}", debian::KEYRING));
        command.arg("--aptopt=APT::Install-Recommends \"false\"");
        for option in debian::host_options()? {
            command.arg(format!("--aptopt={option}"));
        }
        command.arg(format!("--include={packages}"));
        command.arg(SUITE).arg(&root);
        // One that is still being made has no updates yet.
        command.args(debian::mirrors(SUITE)?.into_iter().take(1));
        self.steps.clear("root");
        self.steps.run("root", &command)?;
        fs::write(root.join(READY), packages).context("cannot finish the root")
    }

    /// Brings the crates' sources, which the root, without a network, cannot.
    fn vendor(&self) -> anyhow::Result<()> {
        let vendor = self.output.join("vendor");
        let mut command = Command::new("cargo");
        command.args([
            "vendor",
            "--locked",
            "--quiet",
            "--versioned-dirs",
            "--manifest-path",
        ]);
        command.arg(self.checkout.join("Cargo.toml")).arg(&vendor);
        self.steps.clear("vendor");
        self.steps.run("vendor", &command)
    }

    /// cargo inside the root: the checkout is read only there, and what is built stays below build/arm.
    fn cargo(&self, architecture: &Architecture, what: &str) -> Command {
        let Architecture {
            target,
            triplet,
            emulator,
            ..
        } = architecture;
        let variable = target.to_ascii_uppercase().replace('-', "_");
        let mut command = Command::new("bwrap");
        command.args(["--unshare-all", "--die-with-parent", "--clearenv"]);
        let root = self.output.join("root");
        command.arg("--bind").arg(&root).arg("/");
        command.args([
            "--dev", "/dev", "--proc", "/proc", "--tmpfs", "/tmp", "--tmpfs", "/mnt",
        ]);
        command.arg("--ro-bind").arg(&self.checkout).arg("/mnt/fleet");
        command
            .arg("--ro-bind")
            .arg(self.output.join("vendor"))
            .arg("/mnt/vendor");
        command
            .arg("--bind")
            .arg(self.output.join("target"))
            .arg("/mnt/target");
        command.args(["--chdir", "/mnt/fleet"]);
        for (name, value) in [
            ("PATH".to_owned(), "/usr/sbin:/usr/bin".to_owned()),
            ("CARGO_HOME".to_owned(), "/tmp/cargo".to_owned()),
            ("CARGO_TARGET_DIR".to_owned(), "/mnt/target".to_owned()),
            (
                format!("CARGO_TARGET_{variable}_LINKER"),
                format!("{triplet}-gcc"),
            ),
            (format!("CARGO_TARGET_{variable}_RUNNER"), (*emulator).to_owned()),
            (
                format!("{variable}_OPENSSL_LIB_DIR"),
                format!("/usr/lib/{triplet}"),
            ),
            (
                format!("{variable}_OPENSSL_INCLUDE_DIR"),
                "/usr/include".to_owned(),
            ),
        ] {
            command.arg("--setenv").arg(name).arg(value);
        }
        command.args(["--", "cargo", what, "--locked", "--offline", "--target", target]);
        command.args(["--config", "source.crates-io.replace-with=\"vendor\""]);
        command.args(["--config", "source.vendor.directory=\"/mnt/vendor\""]);
        command
    }
}
