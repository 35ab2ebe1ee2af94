//! Writes the schema and the reference page, or checks that they are current; `cargo xtask schema` runs it.

use std::path::Path;
use std::process::ExitCode;

use anyhow::{Context, bail};
use config_reference::{PAGE, SCHEMA, page, schema};

fn main() -> anyhow::Result<ExitCode> {
    let check = match std::env::args().skip(1).collect::<Vec<_>>().as_slice() {
        [] => false,
        [option] if option == "--check" => true,
        _ => bail!("usage: config-reference [--check]"),
    };
    let top = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let mut code = ExitCode::SUCCESS;
    for (path, text) in [(SCHEMA, schema()?), (PAGE, page()?)] {
        let there = std::fs::read_to_string(top.join(path)).unwrap_or_default();
        if there == text {
            continue;
        }
        if check {
            eprintln!("{path} is out of date: run `cargo xtask schema`, and commit it");
            code = ExitCode::FAILURE;
        } else {
            std::fs::write(top.join(path), text).with_context(|| format!("cannot write {path}"))?;
            println!("wrote {path}");
        }
    }
    Ok(code)
}
