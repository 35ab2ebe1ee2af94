//! `fleet config apply FILE --hosts LIST`: from the host, with its own ssh, to several devices.

use std::fs;
use std::io::{BufRead, BufReader, Lines};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdout, Command, Output, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use serde_json::Value;
use testbed::{Device, Link, Tier};

/// The devices, in the order of the list.
const NAMES: [&str; 3] = ["alpha", "beta", "gamma"];

/// A workstation with some devices in reach of its ssh.
struct Workstation {
    folder: PathBuf,
    program: PathBuf,
    devices: Vec<Device>,
}

impl Workstation {
    fn set_up(test: &str) -> Result<Self> {
        let folder = std::env::temp_dir().join(format!("fleet-rollout-{test}-{}", std::process::id()));
        fs::create_dir_all(&folder)?;
        let status = Command::new("ssh-keygen")
            .args(["-q", "-t", "ed25519", "-N", "", "-f"])
            .arg(folder.join("key"))
            .status()?;
        ensure!(status.success());
        let key = fs::read_to_string(folder.join("key.pub"))?;
        let mut ssh_config = format!(
            "StrictHostKeyChecking no\nUserKnownHostsFile /dev/null\nIdentitiesOnly yes\nIdentityFile {}\n",
            folder.join("key").display()
        );
        let mut devices = Vec::new();
        for name in NAMES {
            let config = format!(
                r#"{{"hostname": "{name}", "os": {{"sshKeys": ["{}"], "network": {{"connectivity":
                   {{"uri": "http://check.example/", "interval": 60}}}}}}}}"#,
                key.trim()
            );
            let mut device = Device::boot(Tier::Nspawn).config_text(config).start()?;
            let address = device
                .run("nmcli -g IP4.ADDRESS device show | grep -v ^127 | head -1 | cut -d/ -f1")?
                .text();
            ssh_config += &format!(
                "Host {name}\n  HostName {address}\n  ProxyCommand {}\n",
                device.world().proxy_command()
            );
            devices.push(device);
        }
        fs::write(folder.join("ssh_config"), ssh_config)?;
        fs::write(folder.join("hosts"), NAMES.join("\n"))?;
        Ok(Self {
            folder,
            program: program()?,
            devices,
        })
    }

    /// Rolls a patch out, as JSON lines.
    fn roll_out(&self, patch: &str) -> Result<Rollout> {
        self.roll_out_to("hosts", patch)
    }

    fn roll_out_to(&self, list: &str, patch: &str) -> Result<Rollout> {
        let output = self
            .command(list, patch, ["--settle", "2", "--few", "1"])?
            .output();
        Rollout::of(&output.context("cannot run fleet")?)
    }

    fn command(&self, list: &str, patch: &str, options: [&str; 4]) -> Result<Command> {
        let file = self.folder.join("patch.json");
        fs::write(&file, patch)?;
        let mut command = Command::new(&self.program);
        command
            .args(["config", "apply"])
            .arg(&file)
            .arg("--hosts")
            .arg(self.folder.join(list))
            .args(["--patience", "9", "--json"])
            .args(options)
            .args(["--ssh-option", "ConnectTimeout=4", "--ssh-config"])
            .arg(self.folder.join("ssh_config"))
            .env_clear()
            .env("PATH", std::env::var_os("PATH").unwrap_or_default());
        Ok(command)
    }

    fn revision(&mut self, index: usize) -> Result<String> {
        self.run(
            index,
            "fleet config show --json | sed -n 's/^  \"revision\": \\([0-9]*\\),/\\1/p'",
        )
    }

    fn run(&mut self, index: usize, command: &str) -> Result<String> {
        let device = self.devices.get_mut(index).context("no such device")?;
        Ok(device.run(command)?.text())
    }
}

impl Drop for Workstation {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.folder);
    }
}

/// What a rollout said.
struct Rollout {
    exit: Option<i32>,
    events: Vec<Value>,
    stderr: String,
}

impl Rollout {
    fn of(output: &Output) -> Result<Self> {
        let events = String::from_utf8_lossy(&output.stdout)
            .lines()
            .map(|line| serde_json::from_str(line).with_context(|| line.to_owned()))
            .collect::<Result<_>>()?;
        Ok(Self {
            exit: output.status.code(),
            events,
            stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
        })
    }

    /// The exit code, the result, and how each device ended.
    fn came_to(&self, exit: i32, result: &str, ends: [&str; 3]) -> Result<&Value> {
        let summary = self.events.last().context("no event")?;
        let states: Vec<&str> = summary["devices"]
            .as_array()
            .into_iter()
            .flatten()
            .filter_map(|device| device["state"].as_str())
            .collect();
        ensure!(
            self.exit == Some(exit) && summary["result"] == result && states == ends,
            "expected {exit}, {result}, {ends:?}; exit code {:?}\n{:#?}\n{}",
            self.exit,
            self.events,
            self.stderr
        );
        Ok(summary)
    }

    /// The steps of all devices, in order: `alpha asking`.
    fn steps(&self) -> Vec<String> {
        let of_device = self.events.iter().filter(|event| event["event"] == "device");
        let text = |event: &Value, name: &str| event[name].as_str().unwrap_or_default().to_owned();
        of_device
            .map(|event| format!("{} {}", text(event, "host"), text(event, "state")))
            .collect()
    }
}

/// A rollout that runs at a terminal, in a process group of its own as a shell makes it.
struct UnderWay {
    child: Child,
    lines: Lines<BufReader<ChildStdout>>,
    said: Vec<String>,
}

impl UnderWay {
    fn start(mut command: Command) -> Result<Self> {
        let mut child = command
            .process_group(0)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .context("cannot run fleet")?;
        let stdout = child.stdout.take().context("no output")?;
        Ok(Self {
            child,
            lines: BufReader::new(stdout).lines(),
            said: Vec::new(),
        })
    }

    /// Waits until it has said all of these, in any order, each as a part of a line of its own.
    fn says(&mut self, parts: &[&[&str]]) -> Result<()> {
        let has = |line: &String, part: &&[&str]| part.iter().all(|word| line.contains(word));
        let mut missing: Vec<_> = parts.to_vec();
        while !missing.is_empty() {
            let line = self.lines.next();
            let line = line.with_context(|| format!("it ended after {:#?}", self.said))??;
            missing.retain(|part| !has(&line, part));
            self.said.push(line);
        }
        Ok(())
    }

    /// Ctrl-C: the terminal sends it to the whole group.
    fn interrupt(&self) -> Result<()> {
        let group = nix::unistd::Pid::from_raw(self.child.id().try_into()?);
        Ok(nix::sys::signal::killpg(group, nix::sys::signal::Signal::SIGINT)?)
    }

    fn end(mut self) -> Result<Rollout> {
        for line in self.lines.by_ref() {
            self.said.push(line?);
        }
        let output = self.child.wait_with_output()?;
        Rollout::of(&Output {
            stdout: self.said.join("\n").into_bytes(),
            ..output
        })
    }
}

/// `fleet` as a workstation has it. The one in the image is built without this.
fn program() -> Result<PathBuf> {
    let top = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let status = Command::new(cargo)
        .args([
            "build",
            "--quiet",
            "--locked",
            "--package",
            "fleet",
            "--manifest-path",
        ])
        .arg(top.join("Cargo.toml"))
        .arg("--target-dir")
        .arg(top.join("target"))
        .env_remove("CARGO_MANIFEST_DIR")
        .env_remove("CARGO_TARGET_DIR")
        .status()
        .context("cannot start cargo")?;
    ensure!(status.success(), "fleet does not build");
    Ok(top.join("target/debug/fleet"))
}

#[test]
fn changes_one_then_a_few_then_the_rest_and_nothing_the_second_time() -> Result<()> {
    let mut here = Workstation::set_up("stages")?;
    let patch = r#"{"ntpServers": "192.0.2.7", "os": {"network": {"wifi": {"randomMacAddressScan": true}}}}"#;
    let rollout = here.roll_out(patch)?;
    let summary = rollout.came_to(0, "complete", ["done"; 3])?;
    ensure!(summary["go_on"].is_null() && summary["counts"]["done"] == 3);
    let wanted: Vec<String> = NAMES
        .iter()
        .flat_map(|name| ["asking", "sending", "settling", "done"].map(|state| format!("{name} {state}")))
        .collect();
    ensure!(rollout.steps() == wanted, "{:#?}", rollout.steps());
    for (index, name) in NAMES.iter().enumerate() {
        ensure!(here.run(index, "fleet config get ntpServers")? == "\"192.0.2.7\"");
        // What the patch does not name stays each device's own.
        ensure!(here.run(index, "uname -n")? == *name);
        here.devices[index]
            .run("chronyc -n sources")?
            .mentions("192.0.2.7")?;
    }

    let revision = here.revision(0)?;
    here.roll_out(patch)?.came_to(0, "complete", ["unchanged"; 3])?;
    ensure!(
        here.revision(0)? == revision,
        "what changes nothing makes no revision"
    );

    // A device's own fleet does not do this, and says where.
    here.devices[0]
        .run("fleet config apply /dev/null --hosts x")?
        .exits(2)?
        .complains("workstation")?;
    Ok(())
}

#[test]
fn ctrl_c_lets_end_what_is_under_way_and_starts_nothing_new() -> Result<()> {
    let mut here = Workstation::set_up("interrupted")?;
    let patch = r#"{"ntpServers": "192.0.2.7"}"#;
    let untouched = here.revision(2)?;
    let mut rollout = UnderWay::start(here.command("hosts", patch, ["--settle", "4", "--few", "1"])?)?;
    rollout.says(&[&["beta", "settling"]])?;
    rollout.interrupt()?;
    let rollout = rollout.end()?;
    let summary = rollout.came_to(1, "interrupted", ["done", "done", "not-started"])?;
    ensure!(rollout.events.iter().any(|event| event["event"] == "interrupted"));
    ensure!(summary["counts"]["done"] == 2 && summary["counts"]["not-started"] == 1);
    let go_on = summary["go_on"].as_str().unwrap_or_default();
    ensure!(go_on.contains("--few 1") && go_on.contains("--hosts"), "{go_on}");
    // What it says is so.
    for index in [0, 1] {
        ensure!(here.run(index, "fleet config get ntpServers")? == "\"192.0.2.7\"");
    }
    ensure!(here.revision(2)? == untouched);

    here.roll_out(patch)?
        .came_to(0, "complete", ["unchanged", "unchanged", "done"])?;
    ensure!(here.run(2, "fleet config get ntpServers")? == "\"192.0.2.7\"");
    Ok(())
}

#[test]
fn a_second_ctrl_c_ends_at_once_and_says_what_it_left() -> Result<()> {
    let mut here = Workstation::set_up("twice")?;
    let patch = r#"{"ntpServers": "192.0.2.7"}"#;
    let mut rollout = UnderWay::start(here.command("hosts", patch, ["--settle", "20", "--few", "2"])?)?;
    // Two are under way, with the change made and not yet looked at again.
    rollout.says(&[&["beta", "settling"], &["gamma", "settling"]])?;
    rollout.interrupt()?;
    rollout.says(&[&["\"interrupted\""]])?;
    let since = Instant::now();
    rollout.interrupt()?;
    let rollout = rollout.end()?;
    ensure!(
        since.elapsed() < Duration::from_secs(15),
        "it waited for the devices"
    );
    let summary = rollout.came_to(1, "interrupted", ["done", "settling", "settling"])?;
    for index in [1, 2] {
        // The revisions that it names are the devices' own.
        let said = &summary["devices"][index];
        let now: u64 = here.revision(index)?.parse()?;
        ensure!(said["revision"] == now, "{said}, and it is at {now}");
        ensure!(said["revision_before"] != said["revision"], "{said}");
    }
    // No device is asked any more.
    let ssh = format!("pgrep -f '^ssh .*{}'", here.folder.display());
    let left = Command::new("sh").args(["-c", &ssh]).output()?;
    ensure!(
        left.stdout.is_empty(),
        "{}",
        String::from_utf8_lossy(&left.stdout)
    );

    here.roll_out(patch)?.came_to(0, "complete", ["unchanged"; 3])?;
    Ok(())
}

#[test]
fn stops_at_the_first_device_that_cannot_apply_it() -> Result<()> {
    let mut here = Workstation::set_up("stops")?;
    let untouched = here.revision(2)?;

    // The second device takes the name, and cannot give it to itself.
    here.run(1, "systemctl mask --runtime --now fleet-helper")?;
    let rollout = here.roll_out(r#"{"hostname": "omega"}"#)?;
    let summary = rollout.came_to(1, "stopped", ["done", "not-applied", "not-started"])?;
    let detail = summary["devices"][1]["detail"].as_str().unwrap_or_default();
    ensure!(detail.starts_with("hostname: "), "{detail}");
    let go_on = summary["go_on"].as_str().unwrap_or_default();
    ensure!(go_on.contains("--few 1") && go_on.contains("--hosts"), "{go_on}");
    ensure!(here.run(0, "uname -n")? == "omega");
    ensure!(here.run(2, "uname -n")? == "gamma" && here.revision(2)? == untouched);

    // The same again, when the cause is gone.
    here.run(1, "systemctl unmask --runtime fleet-helper && fleet config apply")?;
    here.roll_out(r#"{"hostname": "omega"}"#)?
        .came_to(0, "complete", ["unchanged", "unchanged", "done"])?;

    // What every device would refuse is sent to none.
    let rollout = here.roll_out(r#"{"hostname": "not_valid"}"#)?;
    ensure!(rollout.exit == Some(65) && rollout.events.is_empty());
    ensure!(rollout.stderr.contains("nothing was sent"), "{}", rollout.stderr);
    Ok(())
}

#[test]
fn a_change_that_costs_the_connection_costs_one_device() -> Result<()> {
    let mut here = Workstation::set_up("lost")?;

    // Reachable, and reaching less far: the check of the connection is answered by nobody.
    let uri = r#"{"os": {"network": {"connectivity": {"uri": "http://check.example:81/"}}}}"#;
    let rollout = here.roll_out(uri)?;
    let summary = rollout.came_to(1, "stopped", ["degraded", "not-started", "not-started"])?;
    let detail = summary["devices"][0]["detail"].as_str().unwrap_or_default();
    ensure!(detail.contains("was internet before"), "{detail}");
    let before = summary["devices"][0]["revision_before"].clone();
    here.run(0, &format!("fleet config revert {before}"))?;
    here.devices[0].soon(
        Duration::from_secs(20),
        "fleet connectivity --json | jq -r .level",
        "internet",
    )?;

    // One that is away is skipped, and the others are changed.
    here.devices[1].world().link(Link::Down)?;
    let rollout = here.roll_out(r#"{"ntpServers": "192.0.2.8"}"#)?;
    rollout.came_to(69, "incomplete", ["done", "unreachable", "done"])?;
    // But not if it is the first.
    fs::write(here.folder.join("other"), "beta\nalpha\ngamma\n")?;
    let rollout = here.roll_out_to("other", r#"{"ntpServers": "192.0.2.9"}"#)?;
    rollout.came_to(
        69,
        "first-unreachable",
        ["unreachable", "not-started", "not-started"],
    )?;
    here.devices[1].world().link(Link::Up)?;

    // Nobody may log in any more: one device is lost, and no other.
    let rollout = here.roll_out(r#"{"os": {"sshKeys": []}}"#)?;
    let summary = rollout.came_to(1, "stopped", ["lost", "not-started", "not-started"])?;
    let detail = summary["devices"][0]["detail"].as_str().unwrap_or_default();
    ensure!(detail.contains("Permission denied"), "{detail}");
    Ok(())
}
