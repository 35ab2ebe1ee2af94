//! The LED: a heartbeat while it works, steady when it is done, fast blinking when it failed. By the kernel's own triggers
//! (leds-class, `Documentation/leds`), so that nothing of ours has to run for it. A board without one is no failure.

use std::fs;
use std::path::{Path, PathBuf};

const LEDS: &str = "/sys/class/leds";
/// Those of Raspberry Pi (before and after Linux 5.16) and BeagleBone, in this order.
const KNOWN: [&str; 4] = [
    "ACT",
    "led0",
    "beaglebone:green:usr0",
    "beaglebone:green:heartbeat",
];
/// By the function in its name (`include/dt-bindings/leds/common.h`).
const FUNCTIONS: [&str; 4] = ["status", "activity", "heartbeat", "power"];

/// What is shown.
#[derive(Clone, Copy)]
pub(crate) enum Pattern {
    Working,
    Done,
    Failed,
}

/// The LED of the board, if it has one.
pub(crate) struct Led(Option<PathBuf>);

impl Led {
    /// The one that is named; else one that is known; else one whose name says that it is for this.
    pub(crate) fn find(named: Option<&str>) -> Self {
        Self::among(Path::new(LEDS), named)
    }

    fn among(leds: &Path, named: Option<&str>) -> Self {
        let mut names: Vec<String> = fs::read_dir(leds)
            .into_iter()
            .flatten()
            .flatten()
            .filter_map(|entry| entry.file_name().into_string().ok())
            .collect();
        names.sort();
        let found = match named {
            Some(named) => names.iter().find(|name| *name == named),
            None => {
                let known = KNOWN
                    .iter()
                    .find_map(|known| names.iter().find(|name| name == known));
                // device:colour:function, where the last may have a number: green:status-0.
                let function = |name: &str| name.rsplit(':').next().unwrap_or_default().to_owned();
                known.or_else(|| {
                    FUNCTIONS
                        .iter()
                        .find_map(|wanted| names.iter().find(|name| function(name).starts_with(wanted)))
                })
            }
        };
        Self(found.map(|name| leds.join(name)))
    }

    /// Shows it, as far as the kernel has the trigger.
    pub(crate) fn show(&self, pattern: Pattern) {
        let Some(folder) = &self.0 else { return };
        let set = |name: &str, value: &str| fs::write(folder.join(name), value).is_ok();
        match pattern {
            Pattern::Working => {
                // A kernel without this one may still have the timer.
                let _ = set("trigger", "heartbeat") || blink(&set, "500");
            }
            Pattern::Done => {
                let _ = set("trigger", "none");
                let brightest =
                    fs::read_to_string(folder.join("max_brightness")).unwrap_or_else(|_| "1".to_owned());
                let _ = set("brightness", brightest.trim());
            }
            Pattern::Failed => {
                let _ = blink(&set, "100");
            }
        }
    }
}

/// The two files are there when the trigger is.
fn blink(set: &impl Fn(&str, &str) -> bool, milliseconds: &str) -> bool {
    set("trigger", "timer") && set("delay_on", milliseconds) && set("delay_off", milliseconds)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_boards_own_is_found() {
        let leds = tempfile::tempdir().unwrap();
        for name in ["input3::capslock", "green:status-1", "mmc0::", "ACT"] {
            fs::create_dir(leds.path().join(name)).unwrap();
        }
        let found = |named| Led::among(leds.path(), named).0;
        assert_eq!(found(None), Some(leds.path().join("ACT")));
        assert_eq!(found(Some("mmc0::")), Some(leds.path().join("mmc0::")));
        assert_eq!(found(Some("none")), None);
        fs::remove_dir(leds.path().join("ACT")).unwrap();
        assert_eq!(found(None), Some(leds.path().join("green:status-1")));
        fs::remove_dir(leds.path().join("green:status-1")).unwrap();
        assert_eq!(found(None), None, "a keyboard's is not the board's");
        Led(None).show(Pattern::Failed);
    }
}
