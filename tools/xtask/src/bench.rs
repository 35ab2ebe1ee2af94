//! `cargo xtask bench`: what our services cost, measured on the running reference image.
//!
//! A table for people, `build/bench.json` for programs. Figures depend on the machine; what can be compared between
//! runs is the ratio to the baseline of the same run: dbus-daemon, a small daemon in C that every such system has, for
//! memory; NetworkManager, which notices the same changes, for wake-ups; bash and jq for processor time.

use std::fs;
use std::process::ExitCode;

use anyhow::Context;
use serde_json::{Map, Value};
use testbed::interrupt;

use crate::image::{self, Need};
use crate::setup;

mod apply;
mod connectivity;
mod example;
mod flash;
mod idle;
mod journal;
mod services;

/// What `cargo xtask bench` is asked for.
#[derive(clap::Args)]
pub struct Arguments {
    /// How long to count wake-ups of the idle services, and what an idle journal writes.
    #[arg(long, value_name = "SECONDS", default_value_t = 120)]
    idle: u64,
    /// How long to count what an idle device writes to each partition; 3600 is the hour that is published.
    #[arg(long, value_name = "SECONDS", default_value_t = 120)]
    rest: u64,
    /// How often to repeat each timed action.
    #[arg(long, value_name = "N", default_value_t = 10)]
    repeat: usize,
    /// How many changes of the network are watched; 10000 is what is published.
    #[arg(long, value_name = "N", default_value_t = 100)]
    transitions: u32,
    /// Measures this part only, into build/bench-PART.json; may be given often [default: all].
    #[arg(long, value_name = "PART")]
    only: Vec<Part>,
}

/// What can be measured by itself.
#[derive(Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum Part {
    /// Memory, wake-ups, exposure, size.
    Services,
    /// An edit of config.json: processor time, latency, bytes to the flash.
    Apply,
    /// A change of the network: latency, memory over many of them, bytes of the probes.
    Connectivity,
    /// A journal on flash: bytes.
    Journal,
    /// A device at rest: bytes to each partition.
    Idle,
}

impl Part {
    const ALL: [Self; 5] = [
        Self::Services,
        Self::Apply,
        Self::Connectivity,
        Self::Journal,
        Self::Idle,
    ];

    const fn name(self) -> &'static str {
        match self {
            Self::Services => "services",
            Self::Apply => "apply",
            Self::Connectivity => "connectivity",
            Self::Journal => "journal",
            Self::Idle => "idle",
        }
    }
}

/// What was measured of a part.
enum Measured {
    Services(services::Services),
    Apply(apply::Apply),
    Connectivity(connectivity::Connectivity),
    Journal(journal::Journal),
    Idle(idle::Idle),
}

impl Measured {
    fn print(&self) {
        match self {
            Self::Services(services) => services.print(),
            Self::Apply(apply) => apply.print(),
            Self::Connectivity(connectivity) => connectivity.print(),
            Self::Journal(journal) => journal.print(),
            Self::Idle(idle) => idle.print(),
        }
    }

    fn json(&self) -> Value {
        match self {
            Self::Services(services) => services.json(),
            Self::Apply(apply) => apply.json(),
            Self::Connectivity(connectivity) => connectivity.json(),
            Self::Journal(journal) => journal.json(),
            Self::Idle(idle) => idle.json(),
        }
    }
}

/// Measures, prints the tables and writes the JSON.
pub fn main(arguments: &Arguments) -> anyhow::Result<ExitCode> {
    setup::ensure(&[setup::NSPAWN, setup::QEMU])?;
    let image = image::ensure(Need::Disk)?;
    interrupt::handle()?;
    let Arguments {
        idle,
        rest,
        repeat,
        transitions,
        ..
    } = *arguments;
    let wanted = |part: &Part| arguments.only.is_empty() || arguments.only.contains(part);
    let checkout = image::checkout()?;

    let mut measured = Vec::new();
    for part in Part::ALL.into_iter().filter(wanted) {
        let figures = match part {
            Part::Services => {
                Measured::Services(services::measure(&image.directory.join("root"), repeat, idle)?)
            }
            Part::Apply => Measured::Apply(apply::measure(&checkout, repeat)?),
            Part::Connectivity => {
                Measured::Connectivity(connectivity::measure(&checkout, transitions, rest)?)
            }
            Part::Journal => Measured::Journal(journal::measure(idle)?),
            Part::Idle => Measured::Idle(idle::measure(&checkout, rest)?),
        };
        measured.push((part.name(), figures));
    }
    for (_, figures) in &measured {
        figures.print();
    }

    // A part does not take the place of the whole.
    let parts = measured
        .iter()
        .map(|(name, _)| *name)
        .collect::<Vec<_>>()
        .join("-");
    let file = match arguments.only.is_empty() {
        true => "build/bench.json".to_owned(),
        false => format!("build/bench-{parts}.json"),
    };
    let value: Map<String, Value> = measured
        .iter()
        .map(|(name, figures)| ((*name).to_owned(), figures.json()))
        .collect();
    let path = checkout.join(file);
    fs::write(&path, format!("{:#}\n", Value::from(value)))
        .with_context(|| format!("cannot write {}", path.display()))?;
    eprintln!("bench: wrote {}", path.display());
    Ok(ExitCode::SUCCESS)
}

/// Two decimals, without floating point.
fn ratio(value: u64, baseline: u64) -> String {
    let hundredths = value * 100 / baseline.max(1);
    format!("{}.{:02}", hundredths / 100, hundredths % 100)
}

/// The middle one.
fn median(mut times: Vec<u64>) -> anyhow::Result<u64> {
    times.sort_unstable();
    times
        .get(times.len() / 2)
        .copied()
        .context("nothing was measured")
}
