//! The kernels' fragments: what `merge_config.sh` would pass over or take twice, and drivers that must not be a module.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use anyhow::Context;

use super::{Outcome, files_below};

/// Looks at every fragment of the layer.
pub(super) fn check(top: &Path) -> anyhow::Result<Outcome> {
    let mut problems = Vec::new();
    let mut count = 0;
    for path in files_below(&top.join("meta-fleet"))? {
        let name = path.strip_prefix(top).unwrap_or(&path).display().to_string();
        if !name.contains("/recipes-kernel/") || !name.ends_with(".cfg") {
            continue;
        }
        count += 1;
        let text = fs::read_to_string(&path).with_context(|| format!("cannot read {name}"))?;
        problems.extend(faults(&text).into_iter().map(|fault| format!("{name}: {fault}")));
    }
    Ok(if problems.is_empty() {
        Outcome::Passed(format!("{count} fragments"))
    } else {
        Outcome::Failed(problems.join("; "))
    })
}

/// What is wrong with a fragment.
fn faults(text: &str) -> Vec<String> {
    let mut faults = Vec::new();
    let mut seen = BTreeSet::new();
    for line in text
        .lines()
        .filter(|line| !line.is_empty() && !line.starts_with('#'))
    {
        let Some((option, value)) = line
            .split_once('=')
            .filter(|(option, _)| option.starts_with("CONFIG_"))
        else {
            faults.push(format!("{line:?} sets nothing"));
            continue;
        };
        if !seen.insert(option) {
            faults.push(format!("{option} is set twice"));
        }
        // A fragment wins over the board's own, which has its watchdog built in: a hang before modules are loaded would
        // be for ever.
        if value == "m" && (option.ends_with("_WDT") || option.ends_with("_WATCHDOG")) {
            faults.push(format!("{option} is a module; a watchdog is built in"));
        }
    }
    faults
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_watchdog_is_no_module() {
        assert!(faults("# X\nCONFIG_TUN=m\nCONFIG_OMAP_WATCHDOG=y\n# CONFIG_Y is not set\n").is_empty());
        assert_eq!(faults("CONFIG_OMAP_WATCHDOG=m\n").len(), 1);
        assert_eq!(faults("CONFIG_A=y\nCONFIG_A=m\nCONFIGB=y\n").len(), 2);
    }
}
