//! Keeps the probes going: which uplink when, what they found, and what that costs.

use std::time::Duration;

use fleet_base::pending::Pending;
use tokio::sync::mpsc;
use tokio::task::AbortHandle;

use crate::budget::Budget;
use crate::check_uri::CheckUri;
use crate::finding::{Answer, Check, Findings, Found as Known};
use crate::neighbours::News;
use crate::pace::is_metered;
use crate::probe::{self, Found, Message, Target};
use crate::schedule::Schedule;
use crate::settings::Settings;
use crate::snapshot::{Connectivity, Device, Network, Snapshot};
use crate::verdict::is_uplink;

/// Findings that may wait to be taken.
const MESSAGES: usize = 8;
/// What a check of NetworkManager's takes, there and back, headers included: names over two families, and a request.
const CHECK: u64 = 1320;

/// How long NetworkManager's check may take to be answered through a gateway that is silent, before the silence counts more
/// than the answer of before. On a network that works it is answered sooner.
const BENEFIT: Duration = Duration::from_secs(1);

/// Probes every uplink that has a gateway.
pub(crate) struct Prober {
    uplinks: Vec<Uplink>,
    /// One for each of `uplinks`, in their order.
    findings: Findings,
    settings: Settings,
    budget: Budget,
    /// NetworkManager's check is slow, because it costs something on one of them.
    is_slow: bool,
    rounds: u64,
    messages: mpsc::Sender<Message>,
}

struct Uplink {
    target: Target,
    /// What NetworkManager's check says.
    check: State,
    metered: bool,
    schedule: Schedule,
    round: Option<Round>,
    silence: Silence,
}

/// Gateways none of which answers, while NetworkManager's check was answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Silence {
    /// There is no such contradiction.
    No,
    /// Since then; NetworkManager was asked to check again.
    Since(Duration),
    /// Its check was answered after that.
    Outvoted,
}

/// A round under way. Ends when it is dropped.
struct Round {
    number: u64,
    task: AbortHandle,
    /// The bytes that were counted at its beginning: it may not come to its end.
    counted: u64,
}

impl Drop for Round {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// What NetworkManager's check says of an uplink.
#[derive(Clone, Copy, PartialEq, Eq)]
enum State {
    /// The check is off.
    Off,
    Pending,
    Failed,
    Answered,
}

impl State {
    const fn of(network: &Network, device: &Device) -> Self {
        match device.connectivity {
            _ if !network.checked => Self::Off,
            Connectivity::Full => Self::Answered,
            Connectivity::Unknown => Self::Pending,
            Connectivity::Limited | Connectivity::Portal => Self::Failed,
        }
    }
}

/// What is to be done after a message was taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Then {
    /// The verdict may be another.
    Judge,
    /// The same, and NetworkManager's check is older than what we found: it should look again.
    JudgeAndAskNetworkManager,
    /// NetworkManager's check says something else than we found: it should look again.
    AskNetworkManager,
    Nothing,
}

impl Prober {
    /// With the end to take its messages from.
    pub(crate) fn new(settings: Settings, budget: Budget) -> (Self, mpsc::Receiver<Message>) {
        let (messages, receiver) = mpsc::channel(MESSAGES);
        let prober = Self {
            uplinks: Vec::new(),
            findings: Findings::default(),
            settings,
            budget,
            is_slow: false,
            rounds: 0,
            messages,
        };
        (prober, receiver)
    }

    pub(crate) const fn findings(&self) -> &Findings {
        &self.findings
    }

    /// Takes note of what NetworkManager says now. Returns whether its check is older than what we found: it should look
    /// again.
    pub(crate) fn follow(&mut self, snapshot: &Snapshot, now: Duration) -> bool {
        self.is_slow = matches!(snapshot, Snapshot::Read(network) if is_metered(network));
        let devices: Vec<(&Network, &Device)> = match snapshot {
            // It says nothing; what was found is still what was found, of what it knew.
            Snapshot::Unreadable(_) => return false,
            Snapshot::Absent => Vec::new(),
            Snapshot::Read(network) => (network.devices.iter())
                .filter(|device| is_uplink(network, device) && device.gateway && device.address)
                .map(|device| (network, device))
                .collect(),
        };
        let is_there = |uplink: &Uplink| {
            devices
                .iter()
                .any(|(_, device)| device.interface == uplink.target.interface)
        };
        self.uplinks.retain(is_there);
        let kept = &self.uplinks;
        (self.findings.0).retain(|known| {
            kept.iter()
                .any(|uplink| uplink.target.interface == known.interface)
        });
        let mut is_older = false;
        for (network, device) in devices {
            is_older |= self.follow_uplink(network, device, now);
        }
        is_older
    }

    fn follow_uplink(&mut self, network: &Network, device: &Device, now: Duration) -> bool {
        let target = Target {
            interface: device.interface.clone(),
            gateways: device.gateways.clone(),
            // One on the device itself is no upstream, and not behind an interface.
            resolvers: (device.resolvers.iter().copied())
                .filter(|resolver| !resolver.is_loopback())
                .collect(),
            fallback: network.fallback.clone(),
            check: CheckUri::parse(&network.check_uri).filter(|_| network.checked),
        };
        let check = State::of(network, device);
        let pairs = self.uplinks.iter_mut().zip(&mut self.findings.0);
        let Some((uplink, known)) = pairs
            .into_iter()
            .find(|(uplink, _)| uplink.target.interface == target.interface)
        else {
            self.findings.0.push(Known {
                interface: target.interface.clone(),
                ..Known::default()
            });
            self.uplinks.push(Uplink {
                target,
                check,
                metered: device.metered,
                schedule: Schedule::new(now),
                round: None,
                silence: Silence::No,
            });
            return false;
        };
        uplink.metered = device.metered;
        if uplink.target.fallback != target.fallback {
            // Looked at in the next round, which is not sooner: a resolver that comes and goes has its back-off.
            uplink.target.fallback.clone_from(&target.fallback);
            known.forget_others(&uplink.target);
        }
        let mut is_older = false;
        if uplink.target != target {
            // What was asked is not what would be asked now.
            uplink.round = None;
            uplink.schedule.change(now);
            known
                .gateways
                .retain(|(gateway, _)| target.gateways.contains(gateway));
            known.forget_others(&target);
            known.check = None;
            known.misleading.clear();
            uplink.target = target;
            is_older = uplink.weigh_silence(known, now);
        }
        if uplink.check != check {
            uplink.check = check;
            known.check = None;
            known.misleading.clear();
            uplink.schedule.change(now);
            if uplink.weigh_silence(known, now) {
                // It was answered just now, whoever had asked.
                uplink.silence = Silence::Outvoted;
                is_older = false;
            }
        }
        is_older
    }

    /// NetworkManager has checked, asked at `asked`; what it found was [followed](Self::follow). Returns whether the
    /// findings have changed by that.
    pub(crate) fn checked(&mut self, asked: Duration) -> bool {
        let answered = self.answered();
        let mut changed = false;
        for (uplink, known) in self.uplinks.iter_mut().zip(&mut self.findings.0) {
            if matches!(uplink.silence, Silence::Since(since) if since <= asked) && answered == 1 {
                changed |= uplink.outvote(known);
            }
        }
        changed
    }

    /// Over how many uplinks NetworkManager's check was answered. With several it says that it has checked as soon as one
    /// of them has answered again (`device_connectivity_done`), which says nothing of the others.
    fn answered(&self) -> usize {
        let answered = |uplink: &&Uplink| uplink.check == State::Answered;
        self.uplinks.iter().filter(answered).count()
    }

    /// The kernel says of a neighbour that it has fallen silent, or answers again: a gateway of which that is news is asked.
    pub(crate) fn hear(&mut self, news: News, now: Duration) {
        for (uplink, known) in self.uplinks.iter_mut().zip(&self.findings.0) {
            // Another link may have a neighbour of the same address.
            let is_news = known.gateways.contains(&(news.neighbour, !news.answers))
                && probe::index(&uplink.target.interface) == Some(news.interface);
            if is_news && uplink.round.is_none() {
                uplink.schedule.change(now);
            }
        }
    }

    /// Whether a gateway is silent.
    pub(crate) fn is_gateway_silent(&self) -> bool {
        let mut gateways = self.findings.0.iter().flat_map(|known| &known.gateways);
        gateways.any(|(_, answers)| !answers)
    }

    /// Everything again, soon.
    pub(crate) fn again(&mut self, now: Duration) {
        for uplink in &mut self.uplinks {
            uplink.schedule.change(now);
        }
    }

    /// Takes other settings.
    pub(crate) fn set(&mut self, settings: Settings, now: Duration) {
        if self.settings != settings {
            self.settings = settings;
            self.budget.set_limit(settings.monthly_budget);
            self.again(now);
        }
    }

    /// When something is to be begun next.
    pub(crate) fn due(&self) -> Option<Duration> {
        let waiting = self.uplinks.iter().filter(|uplink| uplink.round.is_none());
        let rounds = waiting.map(|uplink| uplink.schedule.due());
        let uplinks = self.uplinks.iter().zip(&self.findings.0);
        let silences = uplinks.filter_map(|(uplink, known)| uplink.silence_counts_at(known));
        rounds.chain(silences).min()
    }

    /// Begins what is due. Returns whether the findings have changed by that.
    pub(crate) fn begin(&mut self, now: Duration) -> bool {
        let mut changed = false;
        let answered = self.answered();
        for (uplink, known) in self.uplinks.iter_mut().zip(&mut self.findings.0) {
            if uplink.silence_counts_at(known).is_some_and(|at| at <= now) {
                known.silence_counts = true;
                changed = true;
            }
            if uplink.round.is_some() || uplink.schedule.due() > now {
                continue;
            }
            let spent = uplink.metered && !self.budget.allows();
            changed |= known.budget_spent != spent;
            if spent {
                uplink.silence = Silence::No;
                *known = Known {
                    interface: known.interface.clone(),
                    budget_spent: true,
                    ..Known::default()
                };
                uplink.schedule.put_off(now + self.settings.metered_interval);
                continue;
            }
            known.budget_spent = false;
            if uplink.metered && uplink.check == State::Answered && uplink.is_settled(known) {
                // NetworkManager's check says enough, and is paid for.
                self.budget.spend(CHECK);
                uplink.schedule.end(now, true, self.settings.metered_interval);
                continue;
            }
            uplink.schedule.begin();
            self.rounds += 1;
            // Where it costs nothing we look as often as NetworkManager would; and where it does not tell whether the way is
            // open behind a gateway that is silent.
            let is_needed = self.is_slow || (answered > 1 && matches!(uplink.silence, Silence::Since(_)));
            let in_its_place = is_needed && !uplink.metered && uplink.check == State::Answered;
            let diagnose = (in_its_place || uplink.check == State::Failed) && !is_behind_proxy();
            if !diagnose {
                known.check = None;
            }
            let counted = uplink.target.least_bytes();
            if uplink.metered {
                let of_networkmanager = if uplink.check == State::Off { 0 } else { CHECK };
                self.budget.spend(counted + of_networkmanager);
            }
            let round = probe::round(
                uplink.target.clone(),
                diagnose,
                self.rounds,
                self.messages.clone(),
            );
            uplink.round = Some(Round {
                number: self.rounds,
                task: spawn(Box::pin(round)),
                counted,
            });
        }
        changed
    }

    /// Takes note of what a probe found.
    pub(crate) fn take(&mut self, message: Message, now: Duration) -> Then {
        let is_of = |uplink: &Uplink| {
            uplink
                .round
                .as_ref()
                .is_some_and(|round| round.number == message.round)
        };
        let Some(index) = self.uplinks.iter().position(is_of) else {
            // Of a round that was ended.
            return Then::Nothing;
        };
        let (Some(uplink), Some(known)) = (self.uplinks.get_mut(index), self.findings.0.get_mut(index))
        else {
            return Then::Nothing;
        };
        match message.found {
            Found::Gateway(gateway, Some(answers)) => {
                if answers && known.gateways.contains(&(gateway, false)) {
                    // Behind a silent gateway nobody answers: that says nothing of who was asked there.
                    known.resolvers.retain(|(_, answer)| *answer != Answer::Silent);
                }
                put(&mut known.gateways, gateway, answers);
                if uplink.weigh_silence(known, now) {
                    return Then::JudgeAndAskNetworkManager;
                }
            }
            // What was known before is as good as nothing new.
            Found::Gateway(_, None) => return Then::Nothing,
            Found::Resolver(resolver, answer) => put(&mut known.resolvers, resolver, answer),
            Found::Check(check, misleading) => {
                known.check = Some(check);
                known.misleading = misleading;
                if check == Check::Expected && matches!(uplink.silence, Silence::Since(_)) {
                    uplink.outvote(known);
                }
            }
            Found::End(bytes) => {
                let counted = uplink.round.take().map_or(0, |round| round.counted);
                if uplink.metered {
                    self.budget.spend(bytes.saturating_sub(counted));
                }
                let interval = self.settings.interval(uplink.metered);
                uplink.schedule.end(now, uplink.is_well(known), interval);
                return if uplink.is_doubtful(known) {
                    Then::AskNetworkManager
                } else {
                    Then::Nothing
                };
            }
        }
        Then::Judge
    }
}

impl Uplink {
    /// Whether the gateways' silence contradicts NetworkManager's check. Returns whether that is new.
    fn weigh_silence(&mut self, known: &mut Known, now: Duration) -> bool {
        let contradicts =
            self.check == State::Answered && known.gateway_fault(&self.target.gateways).is_some();
        let is_new = contradicts && self.silence == Silence::No;
        if !contradicts {
            self.silence = Silence::No;
            known.silence_counts = false;
        } else if is_new {
            self.silence = Silence::Since(now);
        }
        is_new
    }

    /// Something came through the gateway since it is silent. Returns whether its silence has counted.
    const fn outvote(&mut self, known: &mut Known) -> bool {
        self.silence = Silence::Outvoted;
        std::mem::replace(&mut known.silence_counts, false)
    }

    /// When the silence begins to count.
    fn silence_counts_at(&self, known: &Known) -> Option<Duration> {
        match self.silence {
            Silence::Since(since) if !known.silence_counts => Some(since + BENEFIT),
            _ => None,
        }
    }

    /// Whether nothing has changed since a round in which nothing was at fault.
    fn is_settled(&self, known: &Known) -> bool {
        !self.schedule.is_changed() && self.is_well(known)
    }

    /// Whether nothing is at fault, and nothing unknown.
    fn is_well(&self, known: &Known) -> bool {
        let Target {
            gateways, resolvers, ..
        } = &self.target;
        let answers = |gateway| known.gateways.contains(&(gateway, true));
        let is_answered = |resolver| {
            let mut asked = known.resolvers.iter();
            asked.any(|(asked, answer)| asked == resolver && matches!(answer, Answer::Addresses(_)))
        };
        matches!(self.check, State::Answered | State::Off)
            && !known.is_check_failed()
            && gateways.iter().copied().all(answers)
            && resolvers.iter().all(is_answered)
    }

    /// Whether we found something else than NetworkManager's check did.
    fn is_doubtful(&self, known: &Known) -> bool {
        let Target {
            gateways,
            resolvers,
            fallback,
            ..
        } = &self.target;
        match self.check {
            State::Answered => {
                let own = fallback.is_empty().then(|| known.resolver_fault(resolvers));
                known.gateway_fault(gateways).is_some() || own.flatten().is_some() || known.is_check_failed()
            }
            // Inside TLS we see nothing, so there is nothing to disagree about.
            State::Failed => {
                let tls = self.target.check.as_ref().is_some_and(|check| check.tls);
                !tls && known.check == Some(Check::Expected)
            }
            State::Off | State::Pending => false,
        }
    }
}

impl Known {
    /// Whether our own request has failed.
    fn is_check_failed(&self) -> bool {
        self.check.is_some_and(|check| check != Check::Expected)
    }

    /// Forgets the resolvers that are not asked any more.
    fn forget_others(&mut self, target: &Target) {
        (self.resolvers).retain(|(asked, _)| target.all_resolvers().any(|resolver| resolver == asked));
    }
}

/// One type of task for all: each more has code of its own in the runtime.
pub(crate) fn spawn(task: Pending<'static, ()>) -> AbortHandle {
    tokio::spawn(task).abort_handle()
}

/// Sets the value of a key.
fn put<K: PartialEq, V>(list: &mut Vec<(K, V)>, key: K, value: V) {
    list.retain(|(listed, _)| *listed != key);
    list.push((key, value));
}

/// NetworkManager's check goes through a proxy then, and says nothing about what a request of ours would meet.
fn is_behind_proxy() -> bool {
    std::env::var_os("http_proxy").is_some_and(|proxy| !proxy.is_empty())
}

#[cfg(test)]
mod tests {
    use std::net::IpAddr;
    use std::path::Path;

    use super::*;
    use crate::snapshot::{Kind, State as DeviceState};

    const GATEWAY: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(192, 0, 2, 1));

    fn snapshot(connectivity: Connectivity, metered: bool) -> Snapshot {
        Snapshot::Read(Network {
            checked: true,
            check_uri: "http://check.example/".to_owned(),
            devices: vec![Device {
                // There is no such interface: a round ends at once.
                interface: "absent0".to_owned(),
                kind: Kind::Ethernet,
                state: DeviceState::Activated,
                failure: None,
                hands_off: false,
                carrier: true,
                controller: None,
                address: true,
                gateway: true,
                gateways: vec![GATEWAY],
                resolver: true,
                resolvers: vec![GATEWAY, IpAddr::from([127, 0, 0, 1])],
                metered,
                connectivity,
            }],
            ..Network::default()
        })
    }

    fn prober(budget: u64) -> (Prober, mpsc::Receiver<Message>) {
        let settings = Settings {
            monthly_budget: budget,
            ..Settings::default()
        };
        Prober::new(settings, Budget::read(Path::new("/nonexistent/budget"), budget))
    }

    fn seconds(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    #[tokio::test]
    async fn a_round_begins_when_it_is_due_and_its_findings_count() {
        let (mut prober, mut messages) = prober(1);
        assert_eq!(prober.due(), None, "nothing is known, nothing is due");
        prober.follow(&snapshot(Connectivity::Full, false), seconds(1));
        let due = prober.due().unwrap();
        assert!(!prober.begin(seconds(1)), "too early");
        prober.begin(due);
        assert_eq!(prober.due(), None, "one round at a time");
        let end = messages.recv().await.unwrap();
        assert!(matches!(end.found, Found::End(0)));
        let round = end.round;
        let found = |round, found| Message { round, found };

        assert_eq!(
            prober.take(found(round + 1, Found::Gateway(GATEWAY, Some(false))), due),
            Then::Nothing
        );
        assert_eq!(prober.findings().of("absent0").unwrap().gateways, []);
        assert_eq!(
            prober.take(found(round, Found::Gateway(GATEWAY, Some(false))), due),
            Then::JudgeAndAskNetworkManager
        );
        assert_eq!(
            prober.findings().of("absent0").unwrap().gateways,
            [(GATEWAY, false)]
        );
        // The check is answered, and the gateway is not: NetworkManager has to look again, and so have we, soon.
        assert_eq!(prober.take(end, due), Then::AskNetworkManager);
        assert_eq!(prober.due(), Some(due + BENEFIT));
        prober.checked(due);
        assert_eq!(prober.due(), Some(due + seconds(5)));

        prober.follow(&Snapshot::Unreadable(String::new()), due);
        assert!(prober.due().is_some());
        prober.follow(&Snapshot::Absent, due);
        assert_eq!((prober.due(), prober.findings()), (None, &Findings::default()));
    }

    #[tokio::test]
    async fn silence_counts_unless_networkmanager_is_answered_after_it() {
        for (story, checked, counts) in [
            ("nothing comes of the check", None, true),
            ("a check that was asked before", Some(seconds(8)), true),
            ("a check that was asked then", Some(seconds(10)), false),
        ] {
            let (mut prober, mut messages) = prober(1);
            let online = snapshot(Connectivity::Full, false);
            prober.follow(&online, seconds(1));
            prober.begin(seconds(9));
            let round = messages.recv().await.unwrap().round;
            let found = Found::Gateway(GATEWAY, Some(false));
            prober.take(Message { round, found }, seconds(10));
            assert_eq!(prober.due(), Some(seconds(11)), "{story}");
            prober.follow(&online, seconds(11));
            if let Some(asked) = checked {
                assert!(!prober.checked(asked), "{story}: it did not count yet");
            }
            assert_eq!(prober.begin(seconds(12)), counts, "{story}");
            assert_eq!(prober.findings().of("absent0").unwrap().silence_counts, counts);
            assert_eq!(
                prober.checked(seconds(13)),
                counts,
                "{story}: late is not too late"
            );
            let found = Found::Gateway(GATEWAY, Some(true));
            prober.take(Message { round, found }, seconds(14));
            assert_eq!(prober.uplinks[0].silence, Silence::No, "{story}");
        }
    }

    /// NetworkManager 1.52 says that it has checked when the other uplink has answered.
    #[tokio::test]
    async fn another_uplinks_answer_does_not_outvote_the_silence() {
        let (mut prober, mut messages) = prober(1);
        let mut both = snapshot(Connectivity::Full, false);
        if let Snapshot::Read(network) = &mut both {
            let mut other = network.devices[0].clone();
            other.interface = "absent1".to_owned();
            network.devices.push(other);
        }
        prober.follow(&both, seconds(1));
        prober.begin(seconds(9));
        let of_first = |message: &Message| message.round == 1;
        let ends = [messages.recv().await.unwrap(), messages.recv().await.unwrap()];
        let round = ends.iter().find(|end| of_first(end)).unwrap().round;
        let silent = Found::Gateway(GATEWAY, Some(false));
        assert_eq!(
            prober.take(Message { round, found: silent }, seconds(10)),
            Then::JudgeAndAskNetworkManager
        );
        assert!(prober.begin(seconds(11)), "it counts");
        assert!(!prober.checked(seconds(12)));
        assert!(prober.findings().of("absent0").unwrap().silence_counts);
        // Our own request came through.
        let through = Found::Check(Check::Expected, Vec::new());
        prober.take(
            Message {
                round,
                found: through,
            },
            seconds(13),
        );
        assert!(!prober.findings().of("absent0").unwrap().silence_counts);
        assert_eq!(prober.uplinks[0].silence, Silence::Outvoted);
    }

    #[tokio::test]
    async fn a_check_that_is_answered_again_is_newer_than_the_silence() {
        let (mut prober, mut messages) = prober(1);
        prober.follow(&snapshot(Connectivity::Limited, false), seconds(1));
        prober.begin(seconds(9));
        let round = messages.recv().await.unwrap().round;
        let found = Found::Gateway(GATEWAY, Some(false));
        assert_eq!(prober.take(Message { round, found }, seconds(10)), Then::Judge);
        assert!(!prober.follow(&snapshot(Connectivity::Full, false), seconds(11)));
        prober.begin(seconds(20));
        assert!(!prober.findings().of("absent0").unwrap().silence_counts);
    }

    #[tokio::test]
    async fn what_the_kernel_says_of_a_gateway_is_looked_into_if_it_is_news() {
        let (mut prober, mut messages) = prober(1);
        prober.follow(&snapshot(Connectivity::Full, false), seconds(1));
        prober.begin(seconds(9));
        let end = messages.recv().await.unwrap();
        let (round, found) = (end.round, Found::Gateway(GATEWAY, Some(true)));
        prober.take(Message { round, found }, seconds(10));
        prober.take(end, seconds(10));
        let before = prober.due();
        // As the interface of the others is not there, this is loopback.
        prober.uplinks[0].target.interface = "lo".to_owned();
        let news = News {
            interface: 1,
            neighbour: GATEWAY,
            answers: false,
        };
        for no_news in [
            News {
                answers: true,
                ..news
            },
            News {
                neighbour: IpAddr::from([192, 0, 2, 9]),
                ..news
            },
            News { interface: 2, ..news },
        ] {
            prober.hear(no_news, seconds(20));
            assert_eq!(prober.due(), before, "{no_news:?}");
        }
        prober.hear(news, seconds(20));
        assert!(prober.due().unwrap() < seconds(21));
    }

    #[tokio::test]
    async fn another_outcome_of_the_check_is_looked_into_soon() {
        let (mut prober, mut messages) = prober(1);
        prober.follow(&snapshot(Connectivity::Full, false), seconds(1));
        prober.begin(seconds(9));
        let end = messages.recv().await.unwrap();
        // In the middle of the round.
        prober.follow(&snapshot(Connectivity::Limited, false), seconds(10));
        prober.take(end, seconds(11));
        assert!(prober.due().unwrap() < seconds(11));
        prober.begin(seconds(11));
        let end = messages.recv().await.unwrap();
        let (number, check) = (end.round, Found::Check(Check::Refused, Vec::new()));
        prober.take(
            Message {
                round: number,
                found: check,
            },
            seconds(11),
        );
        assert_eq!(
            prober.findings().of("absent0").unwrap().check,
            Some(Check::Refused)
        );
        prober.follow(&snapshot(Connectivity::Full, false), seconds(12));
        assert_eq!(prober.findings().of("absent0").unwrap().check, None);
    }

    #[tokio::test]
    async fn without_a_budget_a_metered_uplink_is_left_alone() {
        let (mut prober, _messages) = prober(0);
        prober.follow(&snapshot(Connectivity::Full, true), seconds(1));
        assert!(prober.begin(seconds(9)), "that is said");
        assert!(prober.findings().of("absent0").unwrap().budget_spent);
        assert_eq!(prober.due(), Some(seconds(9 + 3600)));
        prober.set(Settings::default(), seconds(20));
        prober.begin(seconds(21));
        assert!(!prober.findings().of("absent0").unwrap().budget_spent);
    }

    #[tokio::test]
    async fn a_metered_uplink_that_is_well_is_left_to_networkmanager() {
        let (mut prober, mut messages) = prober(1_000_000);
        prober.follow(&snapshot(Connectivity::Full, true), seconds(1));
        prober.begin(seconds(9));
        let end = messages.recv().await.unwrap();
        for found in [
            Found::Gateway(GATEWAY, Some(true)),
            Found::Resolver(GATEWAY, Answer::Addresses(Vec::new())),
        ] {
            let round = end.round;
            prober.take(Message { round, found }, seconds(9));
        }
        prober.take(end, seconds(10));
        let next = prober.due().unwrap();
        assert_eq!(
            next,
            seconds(10 + 3600),
            "after a change it was asked, and was well"
        );
        prober.begin(next);
        assert!(messages.try_recv().is_err(), "no round");
        assert_eq!(prober.due(), Some(next + seconds(3600)));
        prober.follow(&snapshot(Connectivity::Limited, true), next + seconds(60));
        prober.begin(next + seconds(70));
        assert!(messages.recv().await.is_some(), "after a fault there is one");
    }
}
