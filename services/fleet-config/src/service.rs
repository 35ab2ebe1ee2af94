//! The service: one loop that owns everything, and does one thing at a time.
//!
//! Edits of the boot partition, requests from the bus and restarts of NetworkManager all end in the same apply:
//! what is wanted, the plan against what is known, its execution, the report.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use fleet_base::bus::{self, sentence};
use fleet_base::exit::Exit;
use fleet_base::file::{self, Durability};
use fleet_base::idle::Activity;
use fleet_base::proxy::{connectivity, network_manager};
use fleet_base::watchdog::{self, Watchdog};
use fleet_base::{boot_clock, object};
use futures_util::StreamExt;
use serde::Serialize;
use tokio::sync::mpsc;
use zbus::Connection;
use zbus::connection::Builder;

use crate::boot_folder::BootFolder;
use crate::config::{self, Config, Proxy};
use crate::copies::{Boot, Copies};
use crate::dbus::{Face, Published, Question, Request};
use crate::defaults::Defaults;
use crate::dispatcher;
use crate::effect::{Effect, Effects};
use crate::execute::{Board, Device, timezone_in_force};
use crate::keyfile::Folder;
use crate::places::Places;
use crate::plan::{Action, Known, Plan};
use crate::render::File;
use crate::report::Situation;
use crate::request;
use crate::retry::Retry;
use crate::store::Store;
use crate::trial::{self, Trial};
use crate::value::{Hostname, Parameters};
use crate::wanted::{PROFILE, Vpn, Wanted};

const DOCUMENT: &str = "config.json";
const KEYFILES: &str = "system-connections";
const DISPATCHER: &str = "dispatcher.d";
const REPORT: &str = "report.json";
/// Beside the store.
const TRIAL: &str = "vpn-trial";

/// Runs the service until it is stopped.
#[must_use]
pub fn main() -> Exit {
    fleet_base::runtime::run("fleet-config", async {
        match run(Places::device(), bus::system()).await {
            Ok(never) => match never {},
            Err(Ended { exit, reason }) => {
                log::error!("{reason}");
                exit
            }
        }
    })
}

/// Why the service ends by itself; systemd starts it again.
#[derive(Debug)]
pub(crate) struct Ended {
    exit: Exit,
    reason: String,
}

impl Ended {
    fn io(what: &str, error: &io::Error) -> Self {
        Self {
            exit: Exit::Failure,
            reason: format!("{what}: {error}"),
        }
    }
}

impl From<zbus::Error> for Ended {
    fn from(error: zbus::Error) -> Self {
        Self {
            exit: Exit::Unavailable,
            reason: format!("the system bus is not usable: {}", sentence(&error)),
        }
    }
}

/// The service on this bus. Never ends well: it runs until it is stopped from outside.
pub(crate) async fn run(places: Places, bus: Builder<'static>) -> Result<std::convert::Infallible, Ended> {
    // Before the first read, so that no edit falls between.
    let mut boot_folder = BootFolder::watch(&places.boot, DOCUMENT, &[KEYFILES, DISPATCHER])
        .map_err(|error| Ended::io("cannot watch the boot partition", &error))?;
    let (requests, mut requested) = mpsc::channel(16);
    let face = Arc::new(Face::new(requests));
    let connection = bus::open(bus).await?;
    object::serve(&connection, Arc::clone(&face) as _, &Activity::default()).await?;
    let rule = bus::owner_changed(network_manager::NAME)?;
    let mut owners = bus::subscribe(&connection, rule).await?;
    let network_manager_runs = bus::name_owner(&connection, network_manager::NAME)
        .await?
        .is_some();

    let mut watchdog = Watchdog::from_environment();
    if let Some(keeper) = places.journal_keeper.clone() {
        // Beside the loop: what an edit waits for is not to be waited for by the journal.
        let (connection, beat) = (connection.clone(), watchdog.beat());
        tokio::spawn(async move { keeper.keep(&connection, &beat).await });
    }
    let mut service = Service::open(&places, connection.clone(), face, network_manager_runs)?;
    guarded(service.start(), &mut watchdog, &connection).await?;

    loop {
        let occasion = tokio::select! {
            edited = boot_folder.edited() => {
                edited.map_err(|error| Ended::io("cannot watch the boot partition", &error))?;
                Occasion::Edited
            }
            Some(request) = requested.recv() => Occasion::Requested(request),
            Some(changed) = owners.next() => Occasion::NetworkManager(bus::has_owner(&changed?)),
            () = service.retry.due() => Occasion::Retry,
            () = service.trial.due() => Occasion::Trial,
            () = service.copies.stays() => Occasion::Edited,
            () = watchdog.feed() => continue,
            () = connection.closed() => return Err(bus_is_gone()),
        };
        guarded(service.handle(occasion), &mut watchdog, &connection).await?;
    }
}

fn bus_is_gone() -> Ended {
    Ended {
        exit: Exit::Unavailable,
        reason: "the system bus closed the connection; starting again".to_owned(),
    }
}

/// Does a piece of work. Each call in it has a time limit of its own, so the watchdog is fed beside it.
async fn guarded(
    work: impl Future<Output = ()>,
    watchdog: &mut Watchdog,
    connection: &Connection,
) -> Result<(), Ended> {
    let mut work = std::pin::pin!(work);
    loop {
        tokio::select! {
            () = &mut work => return Ok(()),
            () = watchdog.feed() => {}
            () = connection.closed() => return Err(bus_is_gone()),
        }
    }
}

/// What makes the loop do something.
enum Occasion {
    /// The boot partition was edited.
    Edited,
    /// A client asks.
    Requested(Request),
    /// NetworkManager came (true) or went.
    NetworkManager(bool),
    /// Something failed a while ago.
    Retry,
    /// The time of a VPN's trial is over.
    Trial,
}

/// Everything the service has.
struct Service {
    copies: Copies,
    defaults: Defaults,
    /// What was wrong with the product's defaults.
    defaults_problem: Option<String>,
    device: Device,
    known: Known,
    effects: Effects,
    face: Arc<Face>,
    report: PathBuf,
    /// Scripts on the boot partition.
    dispatcher: PathBuf,
    retry: Retry,
    trial: Trial,
}

impl Service {
    fn open(
        places: &Places,
        connection: Connection,
        face: Arc<Face>,
        network_manager_runs: bool,
    ) -> Result<Self, Ended> {
        let (defaults, errors) = Defaults::load(&places.defaults);
        for error in &errors {
            log::error!("product defaults: {error}");
        }
        let boot = Boot {
            document: places.boot.join(DOCUMENT),
            keyfiles: places.boot.join(KEYFILES),
            board: places.board.clone(),
            certificates_are_judged: true,
        };
        let copies = Copies::open(Store::at(places.state.clone()), boot)
            .map_err(|error| Ended::io("cannot make an identity", &error))?;
        face.begin(Published {
            revision: copies.revision(),
            problem: copies.problem(),
            uuid: copies.identity().to_string(),
            ..Published::default()
        });
        // As it was when this process began: the unit's sandbox (ProtectHostname=) hides later changes, and after a
        // start nobody but this service changes it.
        let hostname = nix::unistd::gethostname()
            .ok()
            .and_then(|name| name.into_string().ok());
        let hostname = hostname.and_then(|name| Hostname::try_from(name.as_str()).ok());
        let timezone = timezone_in_force(&places.run);
        let mut known = Known {
            hostname: hostname.clone(),
            persistent_logging: places.journal_is_volatile().then_some(false),
            timezone: timezone.clone(),
            parameters: places.is_untouched("kernel-parameters").then(Parameters::default),
            watchdog: places.is_untouched("watchdog").then(config::Watchdog::default),
            proxy: matches!(places.run.join(File::Proxy.path()).try_exists(), Ok(false)).then(Proxy::default),
            ..Known::default()
        };
        let board = Board::at(places);
        board.look(&mut known);
        Ok(Self {
            copies,
            defaults,
            defaults_problem: errors.first().map(|error| format!("product defaults: {error}")),
            device: Device {
                connection,
                folder: places.run.clone(),
                network_manager_runs,
                board,
            },
            known,
            effects: Effects {
                hostname_in_force: hostname,
                timezone_in_force: timezone,
                ..Effects::default()
            },
            face,
            report: places.run.join(REPORT),
            dispatcher: places.boot.join(DISPATCHER),
            retry: Retry::default(),
            trial: Trial::open(places.state.join(TRIAL)),
        })
    }

    /// The first apply. systemd hears that the service is ready as soon as everything is in place that
    /// NetworkManager reads at its start; what remains may wait for units that are still starting.
    async fn start(&mut self) {
        self.judge().await;
        let keyfiles = self.copies.keyfiles();
        let config = Config::read(self.copies.accepted());
        let Some((early, late)) = self.plan(&config, &keyfiles).map(Plan::split) else {
            return;
        };
        self.device
            .execute(early, &mut self.known, &mut self.effects)
            .await;
        watchdog::ready("the configuration is in place");
        self.device
            .execute(late, &mut self.known, &mut self.effects)
            .await;
        self.follow_vpn();
        self.publish(&config, &keyfiles).await;
    }

    async fn handle(&mut self, occasion: Occasion) {
        match occasion {
            Occasion::Edited => {
                self.copies.import();
                self.judge().await;
                self.apply().await;
            }
            Occasion::NetworkManager(runs) => {
                self.device.network_manager_runs = runs;
                self.known.network = None;
                if runs {
                    // It has read its files by itself; being told again costs it nothing, and says what it made of
                    // them.
                    self.known.keyfiles = None;
                }
                self.apply().await;
            }
            Occasion::Retry => {
                self.copies.store_again();
                self.judge().await;
                self.apply().await;
            }
            Occasion::Trial => {
                let reach = connectivity::read(&self.device.connection).await.ok();
                match self.trial.judge(reach.as_ref()) {
                    Ok(trial::Finding::Proved) => {
                        self.effects.vpn = Effect::Done;
                        log::info!("the VPN has passed its trial");
                    }
                    Ok(trial::Finding::Rejected) => {
                        log::warn!("the VPN has not passed its trial; the one from before comes back");
                    }
                    Ok(trial::Finding::Later) => {}
                    Err(error) => log::warn!("what the trial of the VPN found is not kept: {error}"),
                }
                self.apply().await;
            }
            Occasion::Requested(request) => self.answer(request).await,
        }
    }

    /// Before the VPN is changed: keeps the one that works, so that it can come back.
    async fn begin_trial(&mut self, next: &Vpn) {
        let is_put_back = self.trial.judged(self.vpn_of_the_file()).1.is_some();
        if is_put_back || !(self.trial.is_change(next) || self.trial.is_running()) {
            return;
        }
        let reach = connectivity::read(&self.device.connection).await;
        let was_online = reach.is_ok_and(|reach| matches!(reach.status.as_str(), "online" | "vpn-only"));
        if let Err(error) = self.trial.begin(next, was_online) {
            log::warn!("the VPN from before is not kept over a power cut: {error}");
        }
    }

    fn vpn_of_the_file(&self) -> Vpn {
        Vpn::new(&Config::read(self.copies.accepted()).vpn, self.copies.identity())
    }

    fn forget_trial(&mut self) {
        if let Err(error) = self.trial.end() {
            log::warn!("the trial of the VPN is not forgotten: {error}");
        }
    }

    /// After the plan was carried out: what came of the VPN.
    fn follow_vpn(&mut self) {
        if let Some(vpn) = &self.known.vpn {
            self.trial.set_in_force(vpn.clone());
        }
        if !self.trial.is_running() && !self.trial.has_found() {
            return;
        }
        let effect = match self.trial.judged(self.vpn_of_the_file()) {
            (_, Some(reason)) => Effect::Failed(reason),
            _ if self.trial.is_running() => Effect::Waiting(trial::ON_TRIAL),
            // What did not pass is not asked for any more.
            _ if self.trial.has_found() => {
                self.forget_trial();
                if let Effect::Failed(_) = self.effects.vpn
                    && self.known.vpn.is_some()
                {
                    self.effects.vpn = Effect::Done;
                }
                return;
            }
            _ => return,
        };
        if matches!(self.effects.vpn, Effect::Done | Effect::Waiting(_)) {
            self.effects.vpn = effect;
        }
    }

    async fn answer(&mut self, request: Request) {
        let answer = match request.what {
            Question::Get(key) => request::get(self.copies.accepted(), &key).map(|json| Some(json.into())),
            Question::Check(text) => {
                request::check(&text, self.copies.identity()).map(|rows| Some(rows.into()))
            }
            Question::History => Ok(Some(request::history(&self.copies).into())),
            Question::Change(change, who) => {
                // An edit that is under way comes first, or it would be lost under ours.
                self.copies.import();
                self.judge().await;
                let mut done = request::change(&mut self.copies, &change, &who);
                if self.judge().await {
                    done = request::change(&mut self.copies, &change, &who);
                }
                self.apply().await;
                done.map(|revision| Some(revision.into()))
            }
            Question::Apply => {
                // Asked for by name: nothing is taken for granted.
                self.copies.doubt_judgements();
                self.copies.import();
                self.judge().await;
                self.known = Known::default();
                if self.trial.has_found() {
                    self.forget_trial();
                }
                self.apply().await;
                Ok(None)
            }
        };
        // Who asked may be gone.
        let _ = request.answer.send(answer);
    }

    /// Has the certificates judged that an edit or a change waits for. Returns whether there were any.
    async fn judge(&mut self) -> bool {
        let mut any = false;
        // Two at most: those of the file and those of a change. More come with another edit, which is noticed.
        for _ in 0..3 {
            let Some(unjudged) = self.copies.unjudged() else {
                break;
            };
            let refused = self.device.refuses(&unjudged).await;
            self.copies.judged(unjudged.certificates, refused);
            any = true;
        }
        any
    }

    /// Makes the device what is wanted.
    async fn apply(&mut self) {
        let keyfiles = self.copies.keyfiles();
        self.device.board.doubt(&mut self.known, &self.effects);
        let config = Config::read(self.copies.accepted());
        let Some(plan) = self.plan(&config, &keyfiles) else {
            return;
        };
        log::debug!("{} actions are planned", plan.actions.len());
        for action in &plan.actions {
            if let Action::SetVpn(next) = action {
                self.begin_trial(&next.clone()).await;
            }
        }
        self.device
            .execute(plan, &mut self.known, &mut self.effects)
            .await;
        self.follow_vpn();
        self.publish(&config, &keyfiles).await;
    }

    fn wanted(&self, config: &Config, keyfiles: &Folder) -> Option<Wanted> {
        let keyfiles = keyfiles.good.values().cloned().collect();
        let wanted = Wanted::new(config.clone(), &self.defaults, self.copies.identity(), keyfiles)?;
        let (vpn, _) = self.trial.judged(wanted.vpn.clone());
        // A profile that NetworkManager has stays until the next one is whole.
        let keyfile = match &vpn {
            Vpn::Incomplete(_) => self
                .known
                .keyfiles
                .iter()
                .flatten()
                .find(|keyfile| keyfile.name == PROFILE),
            _ => None,
        };
        let keyfile = keyfile.cloned();
        let mut wanted = wanted.with_vpn(vpn);
        wanted.keyfiles.extend(keyfile);
        Some(wanted)
    }

    fn plan(&self, config: &Config, keyfiles: &Folder) -> Option<Plan> {
        let wanted = self.wanted(config, keyfiles)?;
        Some(Plan::between(&wanted, &self.known, |file| {
            let bytes = file::read(&self.device.folder.join(file.path()), u64::from(u32::MAX)).ok()?;
            String::from_utf8(bytes).ok()
        }))
    }

    /// Says what became of it: on the bus, in the report's file, to systemd.
    async fn publish(&mut self, config: &Config, keyfiles: &Folder) {
        self.retry
            .set(self.effects.any_failed() || self.copies.is_unstored());
        let Some(wanted) = self.wanted(config, keyfiles) else {
            return;
        };
        let mut rows = Situation {
            findings: self.copies.findings(),
            accepted: self.copies.accepted(),
            config,
            wanted: &wanted,
            effects: &self.effects,
            identity: self.copies.identity(),
            keyfiles,
            unstored: self.copies.unstored_ssh_keys(),
        }
        .report();
        rows.extend(dispatcher::rows(&self.dispatcher));
        let problems = [
            self.copies.problem(),
            self.defaults_problem.clone().unwrap_or_default(),
        ];
        let problems: Vec<&str> = problems
            .iter()
            .map(String::as_str)
            .filter(|problem| !problem.is_empty())
            .collect();
        let now = Published {
            revision: self.copies.revision(),
            problem: problems.join("; "),
            keys: rows.into_iter().map(Into::into).collect(),
            hostname: wanted.hostname.to_string(),
            uuid: self.copies.identity().to_string(),
            applied_at: boot_clock::now_us(),
        };
        let refused = now
            .keys
            .iter()
            .filter(|(_, state, ..)| state == "refused")
            .count();
        watchdog::status(&match (now.problem.as_str(), refused) {
            ("", 0) => format!("revision {} is applied", now.revision),
            ("", refused) => format!("revision {} is applied, {refused} keys are refused", now.revision),
            (problem, _) => problem.to_owned(),
        });
        write_report(&self.report, &now);
        if let Err(error) = self.face.publish(&self.device.connection, now).await {
            log::warn!("the report is not announced on the bus: {}", sentence(&error));
        }
    }
}

/// The report for programs without D-Bus.
#[derive(Serialize)]
struct ReportFile<'a> {
    revision: u64,
    problem: &'a str,
    hostname: &'a str,
    uuid: &'a str,
    applied_at_boottime_us: u64,
    keys: Vec<ReportedKey<'a>>,
}

/// One key in it.
#[derive(Serialize)]
struct ReportedKey<'a> {
    key: &'a str,
    state: &'a str,
    value: &'a str,
    detail: &'a str,
}

/// Writes the report. That it cannot be written costs nothing else.
fn write_report(path: &Path, now: &Published) {
    let keys = now.keys.iter().map(|(key, state, value, detail)| ReportedKey {
        key,
        state,
        value,
        detail,
    });
    let report = ReportFile {
        revision: now.revision,
        problem: &now.problem,
        hostname: &now.hostname,
        uuid: &now.uuid,
        applied_at_boottime_us: now.applied_at,
        keys: keys.collect(),
    };
    // It holds the time, so it is never what is there already.
    let written = serde_json::to_vec(&report)
        .map_err(|error| error.to_string())
        .and_then(|text| {
            file::replace(path, &text, 0o644, Durability::Volatile).map_err(|error| error.to_string())
        });
    if let Err(error) = written {
        log::warn!("the report is not written: {error}");
    }
}

#[cfg(test)]
mod tests;
