//! What is to be repaired next: from the verdict, how long it has held, and the steps that were taken. Pure.

use std::time::Duration;

use super::record::{Record, Time};
use super::table::{Thing, steps};
use crate::ladder::{Level, Outcome, Reason, Status, Step};
use crate::snapshot::{Kind, Snapshot, Trouble, VpnState};
use crate::verdict::Verdict;
use crate::vpn;

/// A program that is no uplink, and what there is none of, as subjects of a step.
pub(crate) const NETWORK_MANAGER: &str = "NetworkManager";
const DEVICE: &str = "device";

/// How long something must be well before it counts as that.
const WELL: Duration = Duration::from_secs(5);
/// How long a fault must hold, at most, whose repair makes room for an uplink that was seen to work: nothing is lost by it.
const ROOM: Duration = Duration::from_secs(10);
/// How long a fault must hold, at least, that reads *connecting*: NetworkManager gives a lease 45 s, and an attempt that is
/// broken off before never says why it fails.
const CONNECTS: Duration = Duration::from_secs(60);
/// The longest pause between two steps for the same thing.
const LONGEST_PAUSE: Duration = Duration::from_secs(3600);
/// What a trial of a configuration takes, and more: so long after a change of it, and after the start, nothing is done that
/// could decide the trial.
const TRIAL: Duration = Duration::from_secs(180);

/// How something is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Health {
    /// Well, or what is at fault is not on the device.
    Well,
    /// Nobody knows yet.
    Unclear,
    Ill(Reason, &'static [Step]),
}

/// Something that may need repair.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Subject {
    pub(crate) name: String,
    pub(crate) health: Health,
    is_vpn: bool,
    /// It leads nowhere and is in the way of an uplink that was seen to work.
    is_in_the_way: bool,
}

impl Subject {
    /// How long to wait before the next step for it, after so many in vain.
    fn pause(&self, after: Duration, in_vain: u32) -> Duration {
        let after = match self.health {
            _ if self.is_in_the_way && in_vain == 0 => after.min(ROOM),
            Health::Ill(Reason::Connecting, _) => after.max(CONNECTS),
            _ => after,
        };
        pause(after, in_vain)
    }
}

/// What is known at an instant.
#[derive(Debug)]
pub(crate) struct View {
    /// The uplink that carries the traffic is well.
    carries: bool,
    /// Some uplink leads somewhere: to a gateway, if not to the internet.
    leads: bool,
    /// Some uplink has a link, and so somebody at its other end.
    linked: bool,
    subjects: Vec<Subject>,
}

/// What the configuration allows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Allowed {
    /// Anything at all.
    pub(crate) repair: bool,
    /// How long a fault must hold before the first step.
    pub(crate) after: Duration,
    pub(crate) reboot: bool,
}

/// What to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Next {
    Idle,
    /// Nothing before this instant; for this.
    At(Duration, String),
    Take(Step, String, Reason),
    /// Everything that could help this was tried as often as it may be, until then.
    Spent(Duration, String),
}

impl View {
    pub(crate) fn new(
        snapshot: &Snapshot,
        verdict: &Verdict,
        had_uplink: bool,
        wireguard: bool,
        record: &Record,
    ) -> Self {
        let carries = verdict.level >= Level::Internet
            || verdict.status == Status::VpnOnly
            || verdict.reason == Reason::NotChecked;
        let system = |name: &str, is_ill: bool| Subject {
            name: name.to_owned(),
            health: if is_ill {
                health(verdict.reason, Thing::System)
            } else {
                Health::Well
            },
            is_vpn: false,
            is_in_the_way: false,
        };
        let mut subjects = vec![system(
            NETWORK_MANAGER,
            verdict.reason == Reason::NetworkManagerDown,
        )];
        if let Snapshot::Read(network) = snapshot {
            subjects.push(system(DEVICE, verdict.reason == Reason::NoDevice && had_uplink));
            let is_other_wronged = |interface: &String| {
                let mut others = verdict.uplinks.iter();
                others.any(|other| other.interface != *interface && other.is_wronged)
            };
            for uplink in &verdict.uplinks {
                let device = (network.devices.iter()).find(|device| device.interface == uplink.interface);
                let kind = device.map_or(Kind::Ethernet, |device| device.kind);
                // Names are looked up through the uplink with the default route, for the checks of the others as well: while
                // it leads nowhere, these fail, and NetworkManager prefers none of them. Without it for a moment their checks
                // are answered, and it comes back behind them.
                let is_in_the_way = uplink.interface == verdict.interface
                    && is_other_wronged(&uplink.interface)
                    && Thing::of(kind) != Thing::Stacked;
                let health = match uplink.reason {
                    // Somebody wants it so.
                    _ if device.is_some_and(|device| device.hands_off) => Health::Well,
                    // A bounce that was broken off in its middle, which nobody else ends.
                    Reason::Unmanaged if was_bounced(record, &uplink.interface) => {
                        Health::Ill(Reason::Unmanaged, &[Step::Bounce])
                    }
                    reason if is_in_the_way => Health::Ill(reason, &[Step::Bounce]),
                    reason => health(reason, Thing::of(kind)),
                };
                subjects.push(Subject {
                    name: uplink.interface.clone(),
                    health,
                    is_vpn: false,
                    is_in_the_way,
                });
            }
            let own = network.vpns.iter().find(|vpn| vpn.name == vpn::NAME);
            subjects.extend(own.map(|own| Subject {
                name: vpn::NAME.to_owned(),
                health: match (own.state, own.trouble) {
                    _ if !carries => Health::Unclear,
                    (VpnState::Up, _) => Health::Well,
                    (VpnState::Connecting, None) => Health::Unclear,
                    (_, trouble) => health(vpn_reason(trouble), vpn_thing(wireguard)),
                },
                is_vpn: true,
                is_in_the_way: false,
            }));
        }
        Self {
            carries,
            leads: verdict
                .uplinks
                .iter()
                .any(|uplink| uplink.level >= Level::Gateway),
            linked: verdict.uplinks.iter().any(|uplink| uplink.level > Level::None),
            subjects,
        }
    }
}

fn health(reason: Reason, thing: Thing) -> Health {
    match steps(reason, thing) {
        [] if reason == Reason::Checking => Health::Unclear,
        [] => Health::Well,
        steps => Health::Ill(reason, steps),
    }
}

const fn vpn_reason(trouble: Option<Trouble>) -> Reason {
    match trouble {
        None => Reason::VpnDown,
        Some(Trouble::Silent) => Reason::VpnSilent,
        Some(Trouble::Unreachable) => Reason::VpnUnreachable,
        Some(Trouble::Refused) => Reason::VpnAuthFailed,
        Some(Trouble::ServerCertificate | Trouble::OwnCertificate | Trouble::Handshake) => {
            Reason::VpnCertificate
        }
    }
}

const fn vpn_thing(wireguard: bool) -> Thing {
    if wireguard {
        Thing::WireGuard
    } else {
        Thing::OpenVpn
    }
}

fn was_bounced(record: &Record, interface: &str) -> bool {
    record.last(interface).is_some_and(|last| {
        last.step == Step::Bounce && matches!(last.outcome, Outcome::Begun | Outcome::Failed)
    })
}

/// How it goes with one subject. Times are those of [`fleet_base::boot_clock`].
#[derive(Debug)]
struct Course {
    name: String,
    /// Since when it is well, or ill, without having been the other meanwhile.
    ill: Option<Duration>,
    well: Option<Duration>,
    /// Steps in a row that did not repair it, and when the last of them ended.
    in_vain: u32,
    last: Duration,
}

/// All courses, and since when they may be acted on.
#[derive(Debug, Default)]
pub(crate) struct Courses {
    all: Vec<Course>,
    /// Whether the traffic is carried, and since when.
    carries: Option<(bool, Duration)>,
    /// When the configuration was changed last.
    changed: Duration,
}

impl Courses {
    /// Takes note of how everything is. Returns what has become of steps, by subject.
    pub(crate) fn follow(
        &mut self,
        view: &View,
        record: &mut Record,
        after: Duration,
        now: Duration,
        time: Time,
    ) -> Vec<(String, Outcome)> {
        if self.carries.is_none_or(|(carries, _)| carries != view.carries) {
            self.carries = Some((view.carries, now));
        }
        let mut known = Vec::new();
        for subject in &view.subjects {
            let course = match self.all.iter().position(|course| course.name == subject.name) {
                Some(index) => &mut self.all[index],
                None => {
                    self.all.push(Course {
                        name: subject.name.clone(),
                        ill: None,
                        well: None,
                        in_vain: record.in_vain(&subject.name, time),
                        last: now,
                    });
                    let last = self.all.len() - 1;
                    &mut self.all[last]
                }
            };
            match subject.health {
                Health::Unclear => course.well = None,
                Health::Well => {
                    let since = *course.well.get_or_insert(now);
                    if now < since + WELL {
                        continue;
                    }
                    course.ill = None;
                    course.in_vain = 0;
                    if let Some(entry) = record.open(&subject.name) {
                        entry.outcome = Outcome::Repaired;
                        known.push((subject.name.clone(), Outcome::Repaired));
                    }
                }
                Health::Ill(..) => {
                    course.well = None;
                    course.ill.get_or_insert(now);
                    if now >= course.last + subject.pause(after, course.in_vain)
                        && let Some(entry) = record.open(&subject.name)
                    {
                        entry.outcome = Outcome::NoEffect;
                        known.push((subject.name.clone(), Outcome::NoEffect));
                    }
                }
            }
        }
        // One that is gone is done with, unless it was what a step was for.
        self.all.retain(|course| {
            course.in_vain > 0 || view.subjects.iter().any(|subject| subject.name == course.name)
        });
        known
    }

    /// A step for this was begun, or has ended.
    pub(crate) fn note(&mut self, name: &str, begins: bool, now: Duration) {
        if let Some(course) = self.all.iter_mut().find(|course| course.name == name) {
            course.last = now;
            course.in_vain += u32::from(begins);
        }
    }

    /// The configuration was changed.
    pub(crate) fn note_change(&mut self, now: Duration) {
        self.changed = now;
    }

    /// When something that is well counts as that.
    pub(crate) fn settles(&self, now: Duration) -> Option<Duration> {
        let waiting = (self.all.iter()).filter(|course| course.ill.is_some() || course.in_vain > 0);
        waiting
            .filter_map(|course| Some(course.well? + WELL))
            .filter(|at| *at > now)
            .min()
    }

    /// What to do now.
    pub(crate) fn next(
        &self,
        view: &View,
        record: &Record,
        allowed: Allowed,
        now: Duration,
        time: Time,
    ) -> Next {
        let mut best: Option<(u32, Next)> = None;
        let mut at: Option<(Duration, &str)> = None;
        let mut spent: Option<(Duration, &str)> = None;
        let carried = self.carries.map_or(now, |(_, since)| since);
        for subject in &view.subjects {
            let Health::Ill(reason, steps) = subject.health else {
                continue;
            };
            // What carries the traffic is not to be disturbed; and a tunnel needs it.
            if !allowed.repair || subject.is_vpn != view.carries {
                continue;
            }
            let Some(course) = self.all.iter().find(|course| course.name == subject.name) else {
                continue;
            };
            // The first waits for the fault to hold, each other one for what the last has done.
            let begin = course.ill.unwrap_or(now).max(carried);
            let begin = if course.in_vain > 0 {
                begin.max(course.last)
            } else {
                begin
            };
            let mut due = begin + subject.pause(allowed.after, course.in_vain);
            let quiet_until = self.changed + TRIAL;
            if subject.is_vpn && self.changed > Duration::ZERO {
                due = due.max(quiet_until);
            }
            let name = subject.name.as_str();
            if due > now {
                soonest(&mut at, due, name);
                continue;
            }
            let (before, from) = steps.split_at(course.in_vain as usize % steps.len());
            let mut until: Option<(Duration, &str)> = None;
            let mut found = None;
            for step in from.iter().chain(before) {
                match step {
                    Step::RestartNetworkManager if view.leads => continue,
                    Step::Reboot if !allowed.reboot || view.linked || view.leads => continue,
                    // Time to look at what was given, and for somebody to get in.
                    Step::Reboot if now < quiet_until.max(3 * allowed.after) => {
                        soonest(&mut until, quiet_until.max(3 * allowed.after), name);
                        continue;
                    }
                    _ => {}
                }
                match record.seconds_until(*step, time) {
                    0 => {
                        found = Some(*step);
                        break;
                    }
                    seconds => soonest(&mut until, now + Duration::from_secs(seconds), name),
                }
            }
            match (found, until) {
                (Some(step), _) => {
                    if best.as_ref().is_none_or(|(tries, _)| course.in_vain < *tries) {
                        best = Some((course.in_vain, Next::Take(step, name.to_owned(), reason)));
                    }
                }
                (None, Some((until, name))) => soonest(&mut spent, until, name),
                (None, None) => {}
            }
        }
        match (best, at, spent) {
            (Some((_, take)), ..) => take,
            (None, Some((at, name)), _) => Next::At(at, name.to_owned()),
            (None, None, Some((until, name))) => Next::Spent(until, name.to_owned()),
            (None, None, None) => Next::Idle,
        }
    }
}

/// How long to wait before the next step: the fault's own time first, then twice as long each time.
fn pause(after: Duration, in_vain: u32) -> Duration {
    let doubled = 2_u32
        .checked_pow(in_vain)
        .and_then(|times| after.checked_mul(times));
    doubled.unwrap_or(LONGEST_PAUSE).min(LONGEST_PAUSE.max(after))
}

fn soonest<'n>(place: &mut Option<(Duration, &'n str)>, at: Duration, name: &'n str) {
    if place.is_none_or(|(earlier, _)| at < earlier) {
        *place = Some((at, name));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::finding::Findings;
    use crate::verdict::{Uplink, judge};

    const AFTER: u64 = 180;
    const WALL: u64 = 1_800_000_000;

    fn seconds(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    const fn time(ran: u64) -> Time {
        Time { wall: WALL, ran }
    }

    const ALL: Allowed = Allowed {
        repair: true,
        after: Duration::from_secs(AFTER),
        reboot: true,
    };

    /// A device on its bench: what it sees, and what it has done.
    struct Bench {
        _folder: tempfile::TempDir,
        record: Record,
        courses: Courses,
        now: u64,
    }

    impl Bench {
        fn new() -> Self {
            let folder = tempfile::tempdir().unwrap();
            let record = Record::read(&folder.path().join("repairs"), seconds(1000));
            Self {
                _folder: folder,
                record,
                courses: Courses::default(),
                now: 1000,
            }
        }

        /// What there is to do after this was seen for so long.
        fn see(&mut self, view: &View, for_seconds: u64) -> Next {
            for at in [self.now, self.now + for_seconds] {
                self.courses
                    .follow(view, &mut self.record, ALL.after, seconds(at), time(at));
            }
            self.now += for_seconds;
            self.courses
                .next(view, &self.record, ALL, seconds(self.now), time(self.now))
        }

        /// Takes what there is to take, without any effect, for so long. Returns the steps, and when each was taken.
        fn suffer(&mut self, view: &View, allowed: Allowed, for_seconds: u64) -> Vec<(u64, Step)> {
            let begin = self.now;
            let mut taken = Vec::new();
            while self.now < begin + for_seconds {
                let (now, time) = (seconds(self.now), time(self.now));
                self.courses
                    .follow(view, &mut self.record, allowed.after, now, time);
                match self.courses.next(view, &self.record, allowed, now, time) {
                    Next::Take(step, subject, reason) => {
                        self.record.begin(step, &subject, reason.as_str(), time).unwrap();
                        self.courses.note(&subject, true, now);
                        taken.push((self.now - begin, step));
                    }
                    Next::At(at, _) | Next::Spent(at, _) => {
                        assert!(at > now, "it would spin");
                        self.now = at.as_secs().max(self.now + 1);
                        continue;
                    }
                    Next::Idle => break,
                }
                self.now += 1;
            }
            taken
        }
    }

    fn uplink(interface: &str, level: Level, reason: Reason) -> Uplink {
        Uplink {
            interface: interface.to_owned(),
            level,
            reason,
            explanation: String::new(),
            problems: Vec::new(),
            is_wronged: false,
        }
    }

    /// Uplinks on cables, the first is the one whose level is the device's.
    fn view(uplinks: &[(&str, Level, Reason)]) -> View {
        let uplinks: Vec<Uplink> = uplinks
            .iter()
            .map(|(of, level, reason)| uplink(of, *level, *reason))
            .collect();
        let network = crate::snapshot::Network::default();
        let (level, reason) = uplinks.first().map_or((Level::None, Reason::NoDevice), |first| {
            (first.level, first.reason)
        });
        let verdict = Verdict {
            level,
            reason,
            status: Status::Offline,
            explanation: String::new(),
            interface: String::new(),
            uplinks,
            vpns: Vec::new(),
            fallback: Vec::new(),
        };
        let record = Record::read(std::path::Path::new("/nonexistent"), seconds(0));
        View::new(&Snapshot::Read(network), &verdict, true, false, &record)
    }

    fn down() -> View {
        let verdict = judge(&Snapshot::Absent, &Findings::default());
        let record = Record::read(std::path::Path::new("/nonexistent"), seconds(0));
        View::new(&Snapshot::Absent, &verdict, true, false, &record)
    }

    const NO_LEASE: (&str, Level, Reason) = ("eth0", Level::Carrier, Reason::NoLease);
    const WELL_UPLINK: (&str, Level, Reason) = ("eth1", Level::Internet, Reason::None);

    #[test]
    fn a_fault_must_hold_and_each_step_waits_twice_as_long() {
        let mut bench = Bench::new();
        let taken = bench.suffer(&view(&[NO_LEASE]), ALL, 6 * 3600);
        let first: Vec<_> = taken.iter().take(6).copied().collect();
        let (reactivate, bounce) = (Step::Reactivate, Step::Bounce);
        assert_eq!(
            first,
            [
                (180, reactivate),
                (540, bounce),
                (1260, reactivate),
                (2700, bounce),
                (5580, reactivate),
                (9180, bounce),
            ]
        );
        assert!(
            taken.windows(2).skip(4).all(|two| two[1].0 - two[0].0 == 3600),
            "{taken:?}"
        );
    }

    #[test]
    fn a_fault_that_goes_is_forgotten_and_one_that_flaps_is_one() {
        let mut bench = Bench::new();
        let (ill, well) = (
            view(&[NO_LEASE]),
            view(&[("eth0", Level::Internet, Reason::None)]),
        );
        assert!(matches!(bench.see(&ill, 100), Next::At(..)));
        assert_eq!(bench.see(&well, 10), Next::Idle);
        assert!(
            matches!(bench.see(&ill, 100), Next::At(..)),
            "it counts from its beginning"
        );
        let other = view(&[("eth0", Level::None, Reason::Inactive)]);
        assert!(matches!(bench.see(&other, 79), Next::At(..)));
        assert!(matches!(
            bench.see(&other, 1),
            Next::Take(Step::Reactivate, _, Reason::Inactive)
        ));
    }

    #[test]
    fn a_default_route_that_leads_nowhere_makes_room_for_one_that_works() {
        let silent = uplink("eth0", Level::Gateway, Reason::ResolverSilent);
        let mut wronged = uplink("wwan0", Level::Dns, Reason::NoInternet);
        let device = |interface: &str, kind: &str| {
            let text = format!(r#"{{"interface": "{interface}", "kind": "{kind}", "state": "activated"}}"#);
            serde_json::from_str(&text).unwrap()
        };
        let view = |first: &str, kind: &str, wronged: &Uplink| {
            let verdict = Verdict {
                level: Level::Gateway,
                reason: Reason::ResolverSilent,
                status: Status::Offline,
                explanation: String::new(),
                interface: first.to_owned(),
                uplinks: vec![silent.clone(), wronged.clone()],
                vpns: Vec::new(),
                fallback: Vec::new(),
            };
            let network = crate::snapshot::Network {
                devices: vec![device("eth0", kind), device("wwan0", "modem")],
                ..Default::default()
            };
            let record = Record::read(std::path::Path::new("/nonexistent"), seconds(0));
            View::new(&Snapshot::Read(network), &verdict, true, false, &record)
        };
        // Nothing is known of the other but that its check has failed.
        assert!(!matches!(
            Bench::new().see(&view("eth0", "ethernet", &wronged), AFTER),
            Next::Take(Step::Bounce, ..)
        ));
        wronged.is_wronged = true;
        let mut bench = Bench::new();
        assert!(matches!(
            bench.see(&view("eth0", "ethernet", &wronged), 9),
            Next::At(..)
        ));
        let Next::Take(Step::Bounce, subject, Reason::ResolverSilent) =
            bench.see(&view("eth0", "ethernet", &wronged), 1)
        else {
            panic!("nothing is done")
        };
        assert_eq!(subject, "eth0");
        for (first, kind) in [("wwan0", "ethernet"), ("eth0", "bridge")] {
            let next = Bench::new().see(&view(first, kind, &wronged), AFTER);
            assert!(
                !matches!(next, Next::Take(Step::Bounce, ..)),
                "{first} {kind}: {next:?}"
            );
        }
    }

    #[test]
    fn an_attempt_is_not_broken_off_before_it_can_fail() {
        let hasty = Allowed {
            after: seconds(10),
            ..ALL
        };
        let first = |level, reason| {
            let view = view(&[("eth0", level, reason)]);
            Bench::new().suffer(&view, hasty, 200).first().map(|(at, _)| *at)
        };
        assert_eq!(first(Level::Carrier, Reason::Connecting), Some(60));
        assert_eq!(first(Level::Carrier, Reason::NoLease), Some(10));
    }

    #[test]
    fn what_carries_the_traffic_is_not_disturbed() {
        let mut bench = Bench::new();
        assert_eq!(bench.see(&view(&[WELL_UPLINK, NO_LEASE]), 100_000), Next::Idle);
        // The other one fails, too, and that must hold as well.
        let both = view(&[("eth1", Level::Dns, Reason::Portal), NO_LEASE]);
        assert!(matches!(bench.see(&both, AFTER - 1), Next::At(..)));
        let Next::Take(Step::Reactivate, subject, _) = bench.see(&both, 1) else {
            panic!("nothing is done")
        };
        assert_eq!(subject, "eth0");
        // NetworkManager is everybody's.
        let inactive = ("eth0", Level::Carrier, Reason::Inactive);
        let mut bench = Bench::new();
        let taken = bench.suffer(
            &view(&[("eth1", Level::Dns, Reason::Portal), inactive]),
            ALL,
            86_400,
        );
        assert!(taken.iter().all(|(_, step)| *step <= Step::Bounce), "{taken:?}");
        let taken = Bench::new().suffer(&view(&[inactive]), ALL, 86_400);
        assert!(taken.iter().any(|(_, step)| *step == Step::RestartNetworkManager));
        assert!(taken.iter().all(|(_, step)| *step < Step::Reboot), "{taken:?}");
    }

    #[test]
    fn no_fault_upstream_is_rebooted_for_however_long_it_lasts() {
        for reason in Reason::ALL {
            for level in Level::ALL {
                let view = view(&[("eth0", *level, *reason)]);
                let taken = Bench::new().suffer(&view, ALL, 86_400);
                let reboots = taken.iter().filter(|(_, step)| *step == Step::Reboot).count();
                // Those two have no uplink in a real verdict, and no link.
                let own = matches!(reason, Reason::NetworkManagerDown | Reason::NoDevice);
                assert!(
                    reboots == 0 || (own && *level == Level::None),
                    "{level:?} {reason:?}: {taken:?}"
                );
            }
        }
    }

    #[test]
    fn a_reboot_is_last_allowed_bounded_and_never_beside_a_link() {
        let (day, last) = (86_400, |taken: &[(u64, Step)]| {
            taken.iter().filter(|(_, step)| *step == Step::Reboot).count()
        });
        let taken = Bench::new().suffer(&down(), ALL, day);
        assert_eq!(taken[2].1, Step::Reboot, "{taken:?}");
        assert_eq!(last(&taken), 2, "{taken:?}");
        let none = Allowed { reboot: false, ..ALL };
        assert_eq!(last(&Bench::new().suffer(&down(), none, day)), 0);
        let off = Allowed { repair: false, ..ALL };
        assert_eq!(Bench::new().suffer(&down(), off, day), []);
        // No uplink at all, after there was one.
        let taken = Bench::new().suffer(&view(&[]), ALL, day);
        assert_eq!(taken[1].1, Step::Reboot, "{taken:?}");
        // Not just after a change of the configuration.
        let mut bench = Bench::new();
        bench.courses.note_change(seconds(bench.now + 1200));
        let taken = bench.suffer(&down(), ALL, day);
        let first = taken.iter().find(|(_, step)| *step == Step::Reboot).unwrap();
        assert!(first.0 >= 1200 + TRIAL.as_secs(), "{taken:?}");
    }

    #[test]
    fn spent_is_said_and_is_over_when_the_oldest_is_out_of_its_bound() {
        let mut bench = Bench::new();
        let none = Allowed { reboot: false, ..ALL };
        let taken = bench.suffer(&down(), none, 3000);
        assert_eq!(taken.len(), 2, "{taken:?}");
        let next = bench
            .courses
            .next(&down(), &bench.record, none, seconds(4000), time(4000));
        let Next::Spent(until, subject) = next else {
            panic!("{next:?}")
        };
        assert_eq!(subject, NETWORK_MANAGER);
        // An hour after the first of the two, which was 180 s after the fault.
        assert!((1000 + 3780..1000 + 3790).contains(&until.as_secs()), "{until:?}");
    }

    #[test]
    fn an_outcome_is_known_when_it_lasts() {
        let mut bench = Bench::new();
        let (ill, well) = (
            view(&[NO_LEASE]),
            view(&[("eth0", Level::Internet, Reason::None)]),
        );
        assert_eq!(bench.suffer(&ill, ALL, 181).len(), 1);
        let outcome = |bench: &mut Bench, view: &View, after: u64| {
            bench.now += after;
            let now = seconds(bench.now);
            bench
                .courses
                .follow(view, &mut bench.record, ALL.after, now, time(bench.now))
        };
        assert_eq!(outcome(&mut bench, &well, 1), []);
        assert!(bench.courses.settles(seconds(bench.now)).is_some());
        assert_eq!(
            outcome(&mut bench, &well, 5),
            [("eth0".to_owned(), Outcome::Repaired)]
        );
        assert_eq!(outcome(&mut bench, &well, 5), [], "once");

        let mut bench = Bench::new();
        bench.suffer(&ill, ALL, 181);
        assert_eq!(outcome(&mut bench, &ill, 300), []);
        assert_eq!(
            outcome(&mut bench, &ill, 60),
            [("eth0".to_owned(), Outcome::NoEffect)]
        );
    }
}
