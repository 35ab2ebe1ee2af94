//! What a rule may do on a device in production.
//!
//! Two promises: no rule makes anybody root, and none takes the device off the network or keeps it from booting.
//! Matching is free. Of what changes something, what is listed here is allowed, and everything else is refused with its
//! reason.

use super::Problem;
use super::grammar::{Assignment, Operator, Token};

/// Programs of udev's own that only read the device: `IMPORT{builtin}`. Not among them: `kmod` loads any module,
/// `net_setup_link` renames interfaces, `keyboard`, `uaccess`, `btrfs` and `dissect_image` write to devices.
const BUILTINS: &[&str] = &[
    "blkid",
    "hwdb",
    "input_id",
    "net_driver",
    "net_id",
    "path_id",
    "usb_id",
];

/// Attributes that are tuned on real devices and switch nothing off but themselves. Every other one is refused: among
/// them are `authorized`, which takes a USB network adapter away, and paths out of the device (`[module/…]`, `../`).
const ATTRIBUTES: &[&str] = &[
    "brightness",
    "latency_timer",
    "power/autosuspend",
    "power/autosuspend_delay_ms",
    "power/control",
    "power/level",
    "power/wakeup",
    "queue/read_ahead_kb",
    "queue/scheduler",
    "trigger",
];

/// Options of the event or of the link only. `static_node=` sets permissions of a node whatever device the rule is
/// about, `db_persist` keeps properties over the switch of the root.
const OPTIONS: &[&str] = &[
    "dump",
    "link_priority=",
    "log_level=",
    "nowatch",
    "string_escape=",
    "watch",
];

/// Device nodes without which nothing runs as another user than root, and those that are memory.
const SYSTEM_NODES: &[&str] = &[
    "console", "full", "kmem", "kmsg", "mem", "null", "port", "ptmx", "random", "tty", "urandom", "zero",
];

const RUNS: &str = "it runs a program as root";

pub(super) fn check(line: usize, tokens: &[Token]) -> Result<(), Problem> {
    tokens.iter().try_for_each(|token| match refused(token, tokens) {
        Some(why) => Err(Problem::Forbidden {
            line,
            key: token.name(),
            why,
        }),
        None => Ok(()),
    })
}

/// Why a token is refused.
fn refused(token: &Token, rule: &[Token]) -> Option<&'static str> {
    let attribute = token.attribute.as_deref().unwrap_or("");
    // These act while they are matched: the operator makes no difference.
    match token.key.as_str() {
        "PROGRAM" | "RUN" => return Some(RUNS),
        "IMPORT" => return import(attribute, &token.value),
        _ => {}
    }
    let Operator::Assign(how) = token.operator else {
        return None;
    };
    match token.key.as_str() {
        "LABEL" | "GOTO" => None,
        "SYMLINK" if how != Assignment::Add => Some("it removes links that the system needs; use +="),
        "SYMLINK" => symlink(&token.value),
        "TAG" if how != Assignment::Add => Some("it removes tags by which systemd knows its devices; use +="),
        "TAG" => None,
        "ENV" => property(attribute),
        "ATTR" if ATTRIBUTES.contains(&attribute) => None,
        "ATTR" => Some("only attributes of power saving, I/O queues and lamps are written (docs/config.md)"),
        "OPTIONS" if OPTIONS.iter().any(|option| is_option(&token.value, option)) => None,
        "OPTIONS" => Some("it reaches other devices or outlives the event"),
        "OWNER" | "GROUP" | "MODE" => permission(token, rule),
        "NAME" => Some("a connection profile that names the interface would no longer hold"),
        "SYSCTL" => Some("it changes any kernel parameter; use os.sysctl"),
        "SECLABEL" => Some("it changes what the security module allows"),
        // Keys that udev only matches: it ignores the line.
        _ => Some("this key can only be matched (== or !=)"),
    }
}

fn import(kind: &str, value: &str) -> Option<&'static str> {
    let name = value.split_ascii_whitespace().next().unwrap_or("");
    match kind {
        "cmdline" | "db" | "parent" => None,
        "builtin" if BUILTINS.contains(&name) => None,
        "builtin" => Some("this builtin changes devices or loads modules"),
        "file" => Some("it reads any file as root, into a database that everybody may read"),
        _ => Some(RUNS),
    }
}

/// `disk/fleet/` are the partitions that the device mounts; `..` leaves the folder that a name seems to be in.
fn symlink(value: &str) -> Option<&'static str> {
    let mut parts = value.split(['/', ' ']);
    if parts.clone().any(|part| part == "..") {
        return Some("a link leads out of its folder");
    }
    parts
        .any(|part| part == "fleet")
        .then_some("the links in disk/fleet/ are the partitions that the device mounts")
}

/// Properties are the environment of the programs that the system's own rules run, and what systemd and
/// NetworkManager decide by.
fn property(name: &str) -> Option<&'static str> {
    let begins = |prefixes: &[&str]| prefixes.iter().any(|prefix| name.starts_with(prefix));
    let own = name.starts_with('.') || name.bytes().any(|byte| byte.is_ascii_lowercase());
    if begins(&["SYSTEMD_", "ID_PROCESSING", "ID_RENAMING"]) {
        Some("it makes systemd start, stop or forget units")
    } else if begins(&["NM_", "ID_NET_"]) {
        Some("it takes an interface away from NetworkManager, or renames it")
    } else if begins(&["ID_FS_", "ID_PART_"]) {
        Some("the device finds its own partitions by it")
    } else if own || begins(&["ID_", "LIBINPUT_"]) {
        None
    } else {
        Some(
            "properties that may be set begin with ID_, LIBINPUT_ or a dot, or have a lower-case letter: others are the \
             environment of programs",
        )
    }
}

fn is_option(value: &str, option: &str) -> bool {
    if option.ends_with('=') {
        value.starts_with(option)
    } else {
        value == option
    }
}

/// Who may use a device node: of devices that the rule names, and not of those that everything rests on.
fn permission(token: &Token, rule: &[Token]) -> Option<&'static str> {
    if token.key == "MODE" && !is_mode(&token.value) {
        return Some("a mode is three or four octal digits up to 0777");
    }
    let matches = |key: &'static str| {
        rule.iter()
            .filter(move |token| token.key == key && token.operator == Operator::Match)
            .flat_map(|token| token.value.split('|'))
    };
    let named = rule.iter().any(|token| {
        token.operator == Operator::Match
            && token.key != "ACTION"
            && !["", "*"].contains(&token.value.as_str())
    });
    if !named {
        return Some("the rule does not say of which devices: add a match such as SUBSYSTEM==\"tty\"");
    }
    let mut subsystems = matches("SUBSYSTEM").chain(matches("SUBSYSTEMS")).peekable();
    let system = if subsystems.peek().is_some() {
        subsystems.any(|pattern| {
            ["block", "mem"]
                .iter()
                .any(|name| covers(pattern.as_bytes(), name.as_bytes()))
        })
    } else {
        matches("KERNEL").any(|pattern| {
            SYSTEM_NODES
                .iter()
                .any(|node| covers(pattern.as_bytes(), node.as_bytes()))
        })
    };
    system.then_some("memory, disks and the devices that every program needs keep their permissions")
}

fn is_mode(value: &str) -> bool {
    let digits = value
        .strip_prefix('0')
        .filter(|rest| rest.len() == 3)
        .unwrap_or(value);
    digits.len() == 3 && digits.bytes().all(|byte| (b'0'..=b'7').contains(&byte))
}

/// Whether a pattern of fnmatch(3) may match a name: a class in brackets counts as any character.
fn covers(pattern: &[u8], name: &[u8]) -> bool {
    match (pattern.split_first(), name.split_first()) {
        (None, None) => true,
        (Some((b'*', rest)), _) => covers(rest, name) || (!name.is_empty() && covers(pattern, &name[1..])),
        (Some((b'[', rest)), Some((_, name))) => {
            let end = rest
                .iter()
                .position(|byte| *byte == b']')
                .map_or(rest.len(), |end| end + 1);
            covers(&rest[end..], name)
        }
        (Some((b'?', rest)), Some((_, name))) => covers(rest, name),
        (Some((wanted, rest)), Some((found, name))) => wanted == found && covers(rest, name),
        _ => false,
    }
}
