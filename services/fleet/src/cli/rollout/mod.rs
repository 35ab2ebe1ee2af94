//! `fleet config apply FILE --hosts LIST`: one change for many devices, over ssh, from a workstation.
//!
//! In stages (one device, a few, the rest), so that a change that costs a device its connection costs one and not all.
//! [`course`] decides which device is next and is pure; [`device`] is the conversation with one; [`view`] shows it.

mod answer;
mod course;
mod device;
mod hosts;
mod live;
mod options;
mod outcome;
mod ssh;
mod summary;
mod view;

use std::io::{self, Read};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use fleet_base::exit::Exit;
use fleet_base::file;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::mpsc;
use tokio::time::MissedTickBehavior;

use crate::cli::config::patch::Patch;
use crate::cli::failure::Failure;
use course::Course;
use device::Job;
use hosts::Host;
pub(super) use options::Options;
use outcome::{Outcome, Step};
use ssh::Ssh;
use view::{Board, View};

/// More than any fleet has; a limit so that a wrong file cannot exhaust the memory.
const MAX_LIST: u64 = 16 * 1024 * 1024;

/// How often the table's times move on.
const TICK: Duration = Duration::from_secs(1);

/// What a device's task reports: its number in the list, and where it is.
type Report = (usize, Progress);

enum Progress {
    Step(Step),
    Ended(Outcome),
}

/// Runs it.
pub(super) async fn run(options: &Options, json: bool) -> Result<Exit, Failure> {
    let patch = Patch::read(&options.file)?;
    check(options, &patch)?;
    let hosts = Arc::new(read_hosts(options)?);
    let course = Course::new(hosts.len(), options.few, options.parallel);
    let mut board = Board::new(Arc::clone(&hosts));
    let mut view = View::new(json);
    view.start(&board, &course, patch.keys())?;
    let job = Arc::new(Job {
        ssh: Ssh::new(options.ssh_config.as_deref(), &options.ssh_options),
        patch,
        settle: Duration::from_secs(options.settle),
        patience: Duration::from_secs(options.patience),
    });
    let course = conduct(course, &hosts, &job, &mut board, &mut view).await?;
    view.finish(&board)?;
    summary::show(&board, &course, options, json)
}

/// Starts devices as the course says, until it is over or a person presses Ctrl-C twice.
async fn conduct(
    mut course: Course,
    hosts: &Arc<Vec<Host>>,
    job: &Arc<Job>,
    board: &mut Board,
    view: &mut View,
) -> Result<Course, Failure> {
    // Once, so that none is lost between two events.
    let mut interrupt = signal(SignalKind::interrupt())
        .map_err(|error| Failure::other(format!("cannot wait for Ctrl-C: {error}")))?;
    let (reports, mut reported) = mpsc::channel::<Report>(64);
    let mut tick = tokio::time::interval(TICK);
    tick.set_missed_tick_behavior(MissedTickBehavior::Skip);
    while !course.is_over() {
        while let Some(index) = course.next() {
            start(index, hosts, job, reports.clone());
        }
        tokio::select! {
            Some((index, progress)) = reported.recv() => match progress {
                Progress::Step(step) => {
                    board.step(index, step);
                    view.step(board, &course, index)?;
                }
                Progress::Ended(outcome) => {
                    course.ended(outcome.ending());
                    board.ended(index, outcome);
                    view.ended(board, &course, index)?;
                }
            },
            Some(()) = interrupt.recv() => {
                if course.is_interrupted() {
                    // What is under way is dropped, and its ssh ends with it.
                    break;
                }
                course.interrupt();
                view.interrupted(board, &course)?;
            }
            _ = tick.tick() => view.tick(board, &course)?,
        }
    }
    Ok(course)
}

/// Begins the conversation with a device.
fn start(index: usize, hosts: &Arc<Vec<Host>>, job: &Arc<Job>, reports: mpsc::Sender<Report>) {
    let (hosts, job) = (Arc::clone(hosts), Arc::clone(job));
    tokio::spawn(async move {
        let Some(host) = hosts.get(index) else { return };
        let teller = Teller { index, reports };
        let outcome = job.change(host, &teller).await;
        teller.tell(Progress::Ended(outcome)).await;
    });
}

/// Tells how a device is getting on.
struct Teller {
    index: usize,
    reports: mpsc::Sender<Report>,
}

impl Teller {
    async fn tell(&self, progress: Progress) {
        // Nobody listens after the second Ctrl-C.
        let _ = self.reports.send((self.index, progress)).await;
    }
}

/// Judges the patch here, as `fleet config check` does: what any device would refuse is sent to none.
fn check(options: &Options, patch: &Patch) -> Result<(), Failure> {
    let file = Path::new(&options.file).display();
    let invalid = |sentence: String| Failure::new(Exit::InvalidData, format!("{file}: {sentence}"));
    if patch.keys().is_empty() {
        return Err(invalid(
            "there is no key in it, so there is nothing to do".to_owned(),
        ));
    }
    if patch.concerns("uuid") {
        return Err(invalid(
            "uuid is the identity of one device: take it out".to_owned(),
        ));
    }
    let checked = fleet_config::check(patch.text().as_bytes());
    if checked.is_good() {
        return Ok(());
    }
    let refused = checked
        .rows
        .iter()
        .filter(|row| row.state == fleet_config::State::Refused)
        .map(|row| format!("\n  {}: {}", row.key, row.detail))
        .collect::<String>();
    Err(invalid(format!(
        "devices would refuse this, nothing was sent:{refused}"
    )))
}

/// Everyone that is to be changed, in order.
fn read_hosts(options: &Options) -> Result<Vec<Host>, Failure> {
    let invalid = |sentence: String| Failure::new(Exit::InvalidData, sentence);
    let mut hosts = Vec::new();
    for name in options.hosts.iter().flat_map(|names| names.split(',')) {
        hosts.push(Host::parse(name.trim()).map_err(|error| invalid(format!("--host: {error}")))?);
    }
    if let Some(list) = &options.list {
        let (name, bytes) = if list == "-" {
            let mut bytes = Vec::new();
            let read = io::stdin().lock().take(MAX_LIST).read_to_end(&mut bytes);
            read.map_err(|error| invalid(format!("cannot read standard input: {error}")))?;
            ("standard input".into(), bytes)
        } else {
            let bytes = file::read(Path::new(list), MAX_LIST).map_err(|error| invalid(error.to_string()))?;
            (Path::new(list).display().to_string(), bytes)
        };
        let text = String::from_utf8(bytes).map_err(|_| invalid(format!("{name}: it is not UTF-8")))?;
        hosts.extend(hosts::parse_list(&text).map_err(|error| invalid(format!("{name}: {error}")))?);
    }
    hosts::refuse_twice(&hosts).map_err(|error| invalid(error.to_string()))?;
    if hosts.is_empty() {
        return Err(invalid("the list names no host".to_owned()));
    }
    Ok(hosts)
}
