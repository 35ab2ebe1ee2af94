//! `cargo xtask vm`: boots the reference image, runs commands in it and in the world around it, in the order in
//! which they were given, and leaves nothing behind.

use std::collections::BTreeMap;
use std::io::Write;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use clap::{Arg, ArgAction, ArgMatches, Command, FromArgMatches};
use testbed::{Device, Streams, Tier, interrupt};

use crate::image::{self, Need};
use crate::setup;

/// Its arguments.
#[derive(clap::Args)]
pub struct Arguments {
    /// What to boot in: nspawn (systemd-nspawn: seconds) or qemu (a whole machine, emulated: a minute).
    #[arg(long, default_value = "nspawn")]
    tier: Tier,
    /// The device's config.json; reference/config.json if there is none here or in --boot.
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// A folder whose content goes on the boot partition too.
    #[arg(long, value_name = "DIR")]
    boot: Option<PathBuf>,
    /// How long the guest may take from its start, and from each later one, until it has settled
    /// [default: 60 in nspawn, 300 in qemu].
    #[arg(long, value_name = "SECONDS")]
    timeout: Option<u64>,
    #[command(flatten)]
    steps: Steps,
}

/// What to do once the guest has settled, in the order of the command line.
struct Steps(Vec<Step>);

#[derive(Debug, Clone, PartialEq, Eq)]
enum Step {
    Exec(String),
    World(String),
    Reboot,
    Cut,
}

/// Boots and does the steps; the exit code is the first that was not 0.
pub fn main(arguments: &Arguments) -> anyhow::Result<ExitCode> {
    let tier = arguments.tier;
    setup::ensure(match tier {
        Tier::Nspawn => &[setup::NSPAWN],
        Tier::Qemu => &[setup::NSPAWN, setup::QEMU],
    })?;
    // Held to the end: nobody rebuilds the image under a running guest.
    let _image = image::ensure(match tier {
        Tier::Nspawn => Need::Root,
        Tier::Qemu => Need::Disk,
    })?;
    interrupt::handle()?;

    let mut boot = Device::boot(tier);
    if let Some(file) = &arguments.config {
        boot = boot.config(file);
    }
    if let Some(folder) = &arguments.boot {
        boot = boot.boot_folder(folder);
    }
    if let Some(seconds) = arguments.timeout {
        boot = boot.timeout(Duration::from_secs(seconds));
    }
    say(&format!("booting in {tier}"));
    let mut device = boot.power_on()?;
    settled(device.settle()?);

    let mut first = 0;
    for step in &arguments.steps.0 {
        let code = perform(&mut device, step)?;
        if first == 0 {
            first = code;
        }
    }
    drop(device);
    // A code above 255 does not exist; should it ever come, it is not 0.
    Ok(ExitCode::from(u8::try_from(first).unwrap_or(u8::MAX)))
}

fn perform(device: &mut Device, step: &Step) -> anyhow::Result<i32> {
    match step {
        Step::Exec(command) => device.stream(command, Streams::inherited()?),
        Step::World(command) => device.world().stream(command, Streams::inherited()?),
        Step::Reboot => {
            say("rebooting");
            settled(device.reboot()?);
            Ok(0)
        }
        Step::Cut => {
            say("cutting the power");
            settled(device.cut()?);
            Ok(0)
        }
    }
}

fn settled(after: Duration) {
    say(&format!("settled after {:.1} s", after.as_secs_f64()));
}

/// One line of progress. Whoever closed standard error does not want it.
fn say(text: &str) {
    let _ = writeln!(std::io::stderr(), "vm: {text}");
}

/// clap's derive keeps the order within one option only, so these are put in order by their places on the command
/// line.
impl FromArgMatches for Steps {
    fn from_arg_matches(matches: &ArgMatches) -> Result<Self, clap::Error> {
        let mut steps = BTreeMap::new();
        for (name, step) in [("exec", Step::Exec as fn(String) -> Step), ("world", Step::World)] {
            let places = matches.indices_of(name).into_iter().flatten();
            let commands = matches.get_many::<String>(name).into_iter().flatten();
            steps.extend(places.zip(commands.cloned().map(step)));
        }
        for (name, step) in [("reboot", Step::Reboot), ("cut", Step::Cut)] {
            // An option that was not given has a place of its own; its values are told by their number.
            let times = matches.get_many::<bool>(name).map_or(0, Iterator::count);
            let places = matches.indices_of(name).into_iter().flatten().take(times);
            steps.extend(places.map(|place| (place, step.clone())));
        }
        Ok(Self(steps.into_values().collect()))
    }

    fn update_from_arg_matches(&mut self, matches: &ArgMatches) -> Result<(), clap::Error> {
        *self = Self::from_arg_matches(matches)?;
        Ok(())
    }
}

impl clap::Args for Steps {
    fn augment_args(command: Command) -> Command {
        let commands = |name, help| {
            Arg::new(name)
                .long(name)
                .value_name("CMD")
                .help(help)
                .action(ArgAction::Append)
                .num_args(1)
        };
        let flag = |name, help| {
            Arg::new(name)
                .long(name)
                .help(help)
                .action(ArgAction::Append)
                .num_args(0)
                .value_parser(clap::value_parser!(bool))
                .default_missing_value("true")
        };
        command
            .arg(commands(
                "exec",
                "Runs CMD in the guest, as root, with sh -c; may be given often",
            ))
            .arg(commands(
                "world",
                "Runs CMD on the host in the world's network namespace, with sh -c; may be given often. \
                 `world --help` there says how to make the world misbehave",
            ))
            .arg(flag(
                "reboot",
                "Reboots the guest in order and waits until it has settled; may be given often",
            ))
            .arg(flag(
                "cut",
                "Cuts the guest's power, boots it again and waits until it has settled; may be given often",
            ))
    }

    fn augment_args_for_update(command: Command) -> Command {
        Self::augment_args(command)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn steps(words: &[&str]) -> Vec<Step> {
        let command = <Steps as clap::Args>::augment_args(Command::new("vm").no_binary_name(true));
        let matches = command.try_get_matches_from(words).unwrap();
        Steps::from_arg_matches(&matches).unwrap().0
    }

    #[test]
    fn steps_keep_their_order_among_each_other() {
        let words = [
            "--cut", "--exec", "a", "--world", "b", "--reboot", "--exec=c", "--reboot", "--cut",
        ];
        let exec = |text: &str| Step::Exec(text.into());
        let world = |text: &str| Step::World(text.into());
        let wanted = [
            Step::Cut,
            exec("a"),
            world("b"),
            Step::Reboot,
            exec("c"),
            Step::Reboot,
            Step::Cut,
        ];
        assert_eq!(steps(&words), wanted);
        assert_eq!(
            steps(&["--world", "x -y", "--exec", ""]),
            [world("x -y"), exec("")]
        );
        assert_eq!(steps(&[]), []);
    }
}
