//! The kernel parameters that a configuration may set, each with its range.
//!
//! One list for the service that checks a configuration and for the helper that writes it. Ranges are narrower than the
//! kernel's where its documentation (Documentation/admin-guide/sysctl/{vm,kernel,fs}.rst) says that a value can take
//! the system down: with none of these can a device be lost. `net.*` is missing, because the helper's network namespace
//! is its own, and because what the network does is NetworkManager's.

/// A kernel parameter.
#[derive(Debug)]
pub struct Parameter {
    /// Its name, with dots.
    pub name: &'static str,
    /// The smallest value that is taken.
    pub min: i64,
    /// The largest value that is taken.
    pub max: i64,
}

/// All of them.
pub const TABLE: &[Parameter] = &[
    // Pending asynchronous requests, all processes together.
    parameter("fs.aio-max-nr", 65_536, 1_048_576),
    // Too few open files keep every service from starting.
    parameter("fs.file-max", 65_536, 2_147_483_647),
    parameter("fs.inotify.max_queued_events", 16_384, 1_048_576),
    // systemd and every service of ours watch something.
    parameter("fs.inotify.max_user_instances", 128, 8_192),
    // About 1 KiB of kernel memory each, taken only when used.
    parameter("fs.inotify.max_user_watches", 8_192, 1_048_576),
    // Seconds until the reboot after a panic; 0 would stay there for ever.
    parameter("kernel.panic", 1, 300),
    parameter("kernel.panic_on_oops", 0, 1),
    // A 32-bit kernel takes at most 32768 and answers so.
    parameter("kernel.pid_max", 32_768, 4_194_304),
    parameter("kernel.printk_ratelimit", 0, 3_600),
    parameter("kernel.printk_ratelimit_burst", 1, 10_000),
    // Percent of the available memory. 0 and very little make every write wait for the card. Not dirty_bytes: each sets the
    // other to 0, so that what was there before could not be restored.
    parameter("vm.dirty_background_ratio", 1, 50),
    parameter("vm.dirty_ratio", 5, 80),
    // Hundredths of a second. 0 would never write by itself, and what is not written goes with the power.
    parameter("vm.dirty_expire_centisecs", 100, 360_000),
    parameter("vm.dirty_writeback_centisecs", 100, 60_000),
    parameter("vm.max_map_count", 65_530, 1_048_576),
    // KiB. Below 1024 the system is "subtly broken", very high ones "OOM your machine instantly"; 64 MiB is an eighth of
    // the smallest board's memory.
    parameter("vm.min_free_kbytes", 1_024, 65_536),
    parameter("vm.oom_kill_allocating_task", 0, 1),
    // 2 refuses memory to services that need it.
    parameter("vm.overcommit_memory", 0, 1),
    parameter("vm.page-cluster", 0, 8),
    parameter("vm.swappiness", 0, 200),
    // 0 never gives these caches back, until memory is exhausted.
    parameter("vm.vfs_cache_pressure", 10, 1_000),
];

const fn parameter(name: &'static str, min: i64, max: i64) -> Parameter {
    Parameter { name, min, max }
}

/// The parameter of this name.
#[must_use]
pub fn find(name: &str) -> Option<&'static Parameter> {
    TABLE.iter().find(|parameter| parameter.name == name)
}

impl Parameter {
    /// Whether a value is in the range.
    #[must_use]
    pub fn takes(&self, value: i64) -> bool {
        (self.min..=self.max).contains(&value)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_paths_below_proc_sys_and_ranges_are_some() {
        for parameter in TABLE {
            let good = |byte: u8| byte.is_ascii_lowercase() || b"._-".contains(&byte);
            assert!(parameter.name.bytes().all(good), "{}", parameter.name);
            assert!(!parameter.name.starts_with("net."), "{}", parameter.name);
            assert!(parameter.min < parameter.max, "{}", parameter.name);
            assert_eq!(
                TABLE.iter().filter(|other| other.name == parameter.name).count(),
                1
            );
        }
    }

    #[test]
    fn the_reference_page_has_this_list() {
        let page = include_str!("../../../docs/config.md");
        for Parameter { name, min, max } in TABLE {
            let row = format!("| `{name}` | {min} | {max} |");
            assert!(page.contains(&row), "docs/config.md lacks {row}");
        }
    }

    #[test]
    fn what_loses_a_device_is_not_taken() {
        for (name, value) in [
            ("vm.min_free_kbytes", 0),
            ("vm.min_free_kbytes", 1_000_000),
            ("kernel.panic", 0),
            ("vm.overcommit_memory", 2),
            ("vm.vfs_cache_pressure", 0),
            ("vm.dirty_writeback_centisecs", 0),
            ("fs.file-max", 10),
            ("kernel.pid_max", 301),
        ] {
            assert!(!find(name).unwrap().takes(value), "{name} {value}");
        }
        for name in [
            "kernel.core_pattern",
            "kernel.modprobe",
            "vm.panic_on_oom",
            "net.ipv4.ip_forward",
            "vm.dirty_bytes",
        ] {
            assert!(find(name).is_none(), "{name}");
        }
    }
}
