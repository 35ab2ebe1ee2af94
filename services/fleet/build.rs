//! Links with packed relative relocations: 65 KiB less. The loader of glibc reads them since 2.36 (2022).
//!
//! And links the unwinder, which only a panic needs, from the compiler's archive where it has one: 24 KiB on the disk,
//! and no `libgcc_s.so` in each process, which is 39 KiB of memory in each of three and a library less to load at a
//! start.
//!
//! Here and not in the flags of cargo's configuration, which a distribution's own flags replace.

use std::path::Path;
use std::process::Command;

fn main() {
    println!("cargo::rerun-if-changed=../fleet/build.rs");
    println!("cargo::rerun-if-env-changed=RUSTC_LINKER");
    println!("cargo::rustc-link-arg-bins=-Wl,-z,pack-relative-relocs");
    if has_archive("libgcc_eh.a") {
        println!("cargo::rustc-link-lib=static:-bundle=gcc_eh");
    }
}

/// Whether the compiler that links has this archive: it prints the path then, and otherwise the name that was asked for.
fn has_archive(name: &str) -> bool {
    let linker = std::env::var_os("RUSTC_LINKER").unwrap_or_else(|| "cc".into());
    let output = Command::new(linker)
        .arg(format!("-print-file-name={name}"))
        .output();
    output.is_ok_and(|output| Path::new(String::from_utf8_lossy(&output.stdout).trim()).is_absolute())
}
