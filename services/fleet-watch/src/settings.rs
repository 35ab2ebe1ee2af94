//! What the configuration says of the probes and of repairs: a file of `fleet-config`'s, read again whenever it has applied something.

use std::path::Path;
use std::time::Duration;

use fleet_base::file;

use crate::repair::Allowed;

/// Far more than the file has.
const MAX_BYTES: u64 = 4096;

/// How often is probed, and what it may cost; and what may be repaired.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Settings {
    /// Between two rounds, while nothing changes and nothing is at fault.
    pub(crate) interval: Duration,
    /// The same on an uplink that is paid by volume.
    pub(crate) metered_interval: Duration,
    /// Bytes in a month, on all uplinks together that are paid by volume.
    pub(crate) monthly_budget: u64,
    pub(crate) repair: Allowed,
}

impl Default for Settings {
    /// For a file that is missing. The product's defaults are in `fleet.toml`.
    fn default() -> Self {
        Self {
            interval: Duration::from_secs(300),
            metered_interval: Duration::from_secs(3600),
            monthly_budget: 1_200_000,
            repair: Allowed {
                repair: true,
                after: Duration::from_secs(180),
                reboot: false,
            },
        }
    }
}

impl Settings {
    /// Reads the file. What is missing or damaged in it is the default.
    pub(crate) fn read(path: &Path) -> Self {
        let text = file::read(path, MAX_BYTES).unwrap_or_default();
        Self::parse(&String::from_utf8_lossy(&text))
    }

    fn parse(text: &str) -> Self {
        let mut settings = Self::default();
        for (name, number) in text.lines().filter_map(|line| line.split_once('=')) {
            let Ok(number) = number.parse::<u64>() else {
                continue;
            };
            match name {
                "interval" => settings.interval = Duration::from_secs(number.max(1)),
                "metered_interval" => settings.metered_interval = Duration::from_secs(number.max(1)),
                "monthly_budget" => settings.monthly_budget = number,
                "repair" => settings.repair.repair = number > 0,
                "repair_after" => settings.repair.after = Duration::from_secs(number.max(1)),
                "repair_reboot" => settings.repair.reboot = number == 1,
                _ => {}
            }
        }
        settings
    }

    /// Between two rounds on an uplink.
    pub(crate) const fn interval(&self, metered: bool) -> Duration {
        if metered {
            self.metered_interval
        } else {
            self.interval
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_damaged_is_the_default() {
        let settings = Settings::parse(
            "# comment\ninterval=60\nmetered_interval=many\nmonthly_budget=7\nrepair_after=60\nrepair_reboot=yes\nother=1\n",
        );
        assert_eq!(settings.interval(false), Duration::from_secs(60));
        assert_eq!(settings.interval(true), Duration::from_secs(3600));
        assert_eq!(settings.monthly_budget, 7);
        assert_eq!(settings.repair.after, Duration::from_secs(60));
        assert!(settings.repair.repair && !settings.repair.reboot);
    }
}
