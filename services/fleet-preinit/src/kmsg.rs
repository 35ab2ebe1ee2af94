//! Messages to the kernel's log: nothing else is there yet, and journald picks them up from it.

use std::fs::OpenOptions;
use std::io::Write;

/// Syslog priority 6: a change of state.
pub(crate) fn info(message: &str) {
    record(6, message);
}

/// Syslog priority 4: something is not as it should be.
pub(crate) fn warn(message: &str) {
    record(4, message);
}

fn record(priority: u8, message: &str) {
    let line = format!("<{priority}>fleet-preinit: {}\n", message.replace('\n', " "));
    // One write is one record (Documentation/ABI/testing/dev-kmsg). A container has none: standard error is its console.
    let written = OpenOptions::new()
        .write(true)
        .open("/dev/kmsg")
        .and_then(|mut kmsg| kmsg.write_all(line.as_bytes()));
    if written.is_err() {
        eprint!("{}", &line[3..]);
    }
}
