//! `cargo xtask setup`: the host tools that the other commands need, installed with apt where they are missing.
//!
//! Looks for files, not packages: where everything is there it returns at once and touches no network.

mod apt;
pub mod sources;

use std::path::Path;
use std::process::Command;

use anyhow::{Context, bail};

/// Its arguments.
#[derive(clap::Args)]
pub struct Arguments {
    /// Only says what is missing.
    #[arg(long, conflicts_with = "fuzz")]
    check: bool,
    /// Also cargo-fuzz, for `cargo xtask fuzz` (some minutes).
    #[arg(long)]
    fuzz: bool,
}

/// Something a command needs on the host: found by a file, installed by a Debian package.
pub struct Tool {
    /// An executable's name, or an absolute path.
    pub file: &'static str,
    /// The Debian package that has it.
    pub package: &'static str,
}

const fn tool(file: &'static str, package: &'static str) -> Tool {
    Tool { file, package }
}

/// What `cargo xtask image` needs.
pub const IMAGE: &[Tool] = &[
    tool("mmdebstrap", "mmdebstrap"),
    tool(
        "/usr/share/keyrings/debian-archive-keyring.gpg",
        "debian-archive-keyring",
    ),
    tool("sgdisk", "gdisk"),
    tool("mcopy", "mtools"),
    tool("mkfs.vfat", "dosfstools"),
    tool("setpriv", "util-linux"),
    tool("tar", "tar"),
    tool("make", "make"),
    // fleet-certificate links the system's OpenSSL.
    tool("/usr/include/openssl/ssl.h", "libssl-dev"),
    tool("pkg-config", "pkg-config"),
];

/// What booting the image under systemd-nspawn needs, with a network namespace as the world around it.
pub const NSPAWN: &[Tool] = &[
    tool("systemd-nspawn", "systemd-container"),
    tool("ip", "iproute2"),
    tool("tc", "iproute2"),
    tool("iptables", "iptables"),
    tool("dnsmasq", "dnsmasq-base"),
    tool("nsenter", "util-linux"),
];

/// What booting the image in QEMU needs.
pub const QEMU: &[Tool] = &[
    tool("qemu-system-x86_64", "qemu-system-x86"),
    tool("qemu-img", "qemu-utils"),
    tool("/usr/share/OVMF/OVMF_CODE_4M.fd", "ovmf"),
    tool("mcopy", "mtools"),
    tool("ssh", "openssh-client"),
    tool("e2fsck", "e2fsprogs"),
    tool("debugfs", "e2fsprogs"),
    tool("fsck.vfat", "dosfstools"),
    // The boards' loader, and what makes and changes its environment.
    tool("qemu-system-aarch64", "qemu-system-arm"),
    tool("/usr/lib/u-boot/qemu_arm64/u-boot.bin", "u-boot-qemu"),
    tool("mkimage", "u-boot-tools"),
    tool("mkenvimage", "u-boot-tools"),
    tool("fw_setenv", "libubootenv-tool"),
    tool("sgdisk", "gdisk"),
    tool("/usr/sbin/sfdisk", "fdisk"),
];

/// What `cargo xtask arm` needs beside it.
pub const ARM: &[Tool] = &[tool("bwrap", "bubblewrap")];

/// What the checks of `cargo xtask test` need beside the image.
pub const CHECKS: &[Tool] = &[
    tool("git", "git"),
    tool("shellcheck", "shellcheck"),
    tool("dbus-daemon", "dbus-daemon"),
    tool("strace", "strace"),
    tool("ssh", "openssh-client"),
    // The small images of the tests of fleet-image.
    tool("sgdisk", "gdisk"),
    tool("mcopy", "mtools"),
    tool("mkfs.vfat", "dosfstools"),
    tool("mkfs.ext4", "e2fsprogs"),
    tool("losetup", "mount"),
    tool("gzip", "gzip"),
    tool("zstd", "zstd"),
    tool("strip", "binutils"),
];

/// Installs what is missing, or says what to do.
pub fn main(arguments: &Arguments) -> anyhow::Result<()> {
    let groups = [IMAGE, NSPAWN, QEMU, CHECKS];
    if arguments.check {
        let missing = missing(&groups);
        if missing.is_empty() {
            println!("nothing is missing");
            return Ok(());
        }
        bail!("missing: {}; run `cargo xtask setup`", missing.join(" "));
    }
    ensure(&groups)?;
    if arguments.fuzz {
        let status = Command::new("cargo")
            .args(["install", "--locked", "cargo-fuzz@0.13.2"])
            .status()
            .context("cannot run cargo")?;
        if !status.success() {
            bail!("cargo-fuzz cannot be installed: see above");
        }
    }
    Ok(())
}

/// Installs the packages of the tools that are not there. As another user than root: an error with the command.
pub fn ensure(groups: &[&[Tool]]) -> anyhow::Result<()> {
    if cfg!(not(target_arch = "x86_64")) {
        bail!(
            "the reference image is built and booted on x86_64 only; this machine is {}",
            std::env::consts::ARCH
        );
    }
    let packages = missing(groups);
    if packages.is_empty() {
        return Ok(());
    }
    if !Path::new("/usr/bin/apt-get").exists() {
        bail!(
            "install these with this machine's own package manager (Debian's names): {}",
            packages.join(" ")
        );
    }
    if !nix::unistd::geteuid().is_root() {
        bail!(
            "some tools are missing; install them with `sudo apt-get install --no-install-recommends {}`, or run `cargo xtask setup` as root",
            packages.join(" ")
        );
    }
    apt::install(&packages).context("cannot install what is missing")?;
    let still = missing(groups);
    if !still.is_empty() {
        bail!(
            "apt-get installed {}, and what belongs to it is still not there",
            still.join(" ")
        );
    }
    Ok(())
}

/// The packages of the tools that are not there, each once.
fn missing(groups: &[&[Tool]]) -> Vec<&'static str> {
    let mut packages = Vec::new();
    for tool in groups.iter().copied().flatten() {
        if !is_there(tool.file) && !packages.contains(&tool.package) {
            packages.push(tool.package);
        }
    }
    packages
}

/// Whether an executable is in the usual directories (an ordinary user's `PATH` has no sbin), or a path exists.
fn is_there(file: &str) -> bool {
    if file.starts_with('/') {
        return Path::new(file).exists();
    }
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path)
        .chain(["/usr/local/sbin", "/usr/sbin", "/sbin", "/usr/bin"].map(Into::into))
        .any(|directory| directory.join(file).is_file())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_missing_package_is_named_once() {
        let tools = [
            tool("no-such-program-1", "one"),
            tool("no-such-program-2", "one"),
            tool("sh", "dash"),
        ];
        assert_eq!(missing(&[&tools, &tools]), ["one"]);
    }

    #[test]
    fn programs_of_sbin_are_found_without_sbin_in_path() {
        assert!(is_there("sh"));
        assert!(!is_there("/no/such/file"));
    }
}
