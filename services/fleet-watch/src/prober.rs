//! Keeps the probes going: which uplink when, what they found, and what that costs.

use std::time::Duration;

use tokio::sync::mpsc;
use tokio::task::AbortHandle;

use crate::budget::Budget;
use crate::check_uri::CheckUri;
use crate::finding::{Answer, Check, Findings, Found as Known};
use crate::probe::{self, Found, Message, Target};
use crate::schedule::Schedule;
use crate::settings::Settings;
use crate::snapshot::{Connectivity, Device, Network, Snapshot};
use crate::verdict::is_uplink;

/// Findings that may wait to be taken.
const MESSAGES: usize = 8;

/// Probes every uplink that has a gateway.
pub(crate) struct Prober {
    uplinks: Vec<Uplink>,
    /// One for each of `uplinks`, in their order.
    findings: Findings,
    settings: Settings,
    budget: Budget,
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
}

/// A round under way. Ends when it is dropped.
struct Round {
    number: u64,
    task: AbortHandle,
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
            rounds: 0,
            messages,
        };
        (prober, receiver)
    }

    pub(crate) const fn findings(&self) -> &Findings {
        &self.findings
    }

    /// Takes note of what NetworkManager says now.
    pub(crate) fn follow(&mut self, snapshot: &Snapshot, now: Duration) {
        let devices: Vec<(&Network, &Device)> = match snapshot {
            // It says nothing; what was found is still what was found, of what it knew.
            Snapshot::Unreadable(_) => return,
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
        for (network, device) in devices {
            self.follow_uplink(network, device, now);
        }
    }

    fn follow_uplink(&mut self, network: &Network, device: &Device, now: Duration) {
        let target = Target {
            interface: device.interface.clone(),
            gateways: device.gateways.clone(),
            resolvers: device.resolvers.clone(),
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
            });
            return;
        };
        uplink.metered = device.metered;
        if uplink.target != target {
            // What was asked is not what would be asked now.
            uplink.round = None;
            uplink.schedule.change(now);
            known
                .gateways
                .retain(|(gateway, _)| target.gateways.contains(gateway));
            known
                .resolvers
                .retain(|(resolver, _)| target.resolvers.contains(resolver));
            known.check = None;
            known.misleading.clear();
            uplink.target = target;
        }
        if uplink.check != check {
            uplink.check = check;
            known.check = None;
            known.misleading.clear();
            uplink.schedule.change(now);
        }
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
        waiting.map(|uplink| uplink.schedule.due()).min()
    }

    /// Begins what is due. Returns whether the findings have changed by that.
    pub(crate) fn begin(&mut self, now: Duration) -> bool {
        let mut changed = false;
        for (uplink, known) in self.uplinks.iter_mut().zip(&mut self.findings.0) {
            if uplink.round.is_some() || uplink.schedule.due() > now {
                continue;
            }
            let spent = uplink.metered && !self.budget.allows();
            changed |= known.budget_spent != spent;
            if spent {
                *known = Known {
                    interface: known.interface.clone(),
                    budget_spent: true,
                    ..Known::default()
                };
                uplink.schedule.put_off(now + self.settings.metered_interval);
                continue;
            }
            known.budget_spent = false;
            uplink.schedule.begin();
            self.rounds += 1;
            let diagnose = uplink.check == State::Failed && !is_behind_proxy();
            let round = probe::round(
                uplink.target.clone(),
                diagnose,
                self.rounds,
                self.messages.clone(),
            );
            uplink.round = Some(Round {
                number: self.rounds,
                task: tokio::spawn(round).abort_handle(),
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
            Found::Gateway(gateway, Some(answers)) => put(&mut known.gateways, gateway, answers),
            // What was known before is as good as nothing new.
            Found::Gateway(_, None) => return Then::Nothing,
            Found::Resolver(resolver, answer) => put(&mut known.resolvers, resolver, answer),
            Found::Check(check, misleading) => {
                known.check = (uplink.check == State::Failed).then_some(check);
                known.misleading = misleading;
            }
            Found::End(bytes) => {
                uplink.round = None;
                if uplink.metered {
                    self.budget.spend(bytes);
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
            && gateways.iter().copied().all(answers)
            && resolvers.iter().all(is_answered)
    }

    /// Whether we found something else than NetworkManager's check did.
    fn is_doubtful(&self, known: &Known) -> bool {
        let Target {
            gateways, resolvers, ..
        } = &self.target;
        match self.check {
            State::Answered => {
                known.gateway_fault(gateways).is_some() || known.resolver_fault(resolvers).is_some()
            }
            State::Failed => known.check == Some(Check::Expected),
            State::Off | State::Pending => false,
        }
    }
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
