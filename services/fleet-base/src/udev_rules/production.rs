//! What a rule may do on a device in production.
//!
//! Two promises: no rule makes anybody root, and none takes the device off the network or keeps it from booting.
//! Matching is free, as long as it reads the device only. Of what changes something, what is listed here is allowed, and
//! everything else is refused with its reason.

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

/// Subsystems whose device nodes a rule may give to somebody. Not among them: `block` and `mem`, which are the whole
/// system, `misc` and `vc`, and `rtc`, its clock. `net` has no nodes.
const GIVEN: &[&str] = &[
    "drm",
    "gpio",
    "graphics",
    "hidraw",
    "i2c-dev",
    "iio",
    "input",
    "leds",
    "media",
    "pwm",
    "sound",
    "spidev",
    "tty",
    "usb",
    "usbmisc",
    "video4linux",
];

/// What the kernel names of serial ports begin with: that of a terminal goes on with a digit, or is `tty`, `console` or
/// `ptmx`.
const SERIAL: &[&str] = &[
    "rfcomm", "ttyACM", "ttyAMA", "ttyAML", "ttyGS", "ttyHS", "ttyLP", "ttyMSM", "ttyO", "ttyPS", "ttyS",
    "ttyTHS", "ttyUL", "ttyUSB", "ttymxc",
];

/// Links in `/dev`, and folders of them, that are others' or take the place of a node that every program needs.
const TAKEN: &[&str] = &[
    "block", "bus", "char", "console", "core", "fd", "fleet", "full", "initctl", "kmem", "kmsg", "log",
    "mapper", "mem", "null", "port", "ptmx", "pts", "random", "root", "shm", "stderr", "stdin", "stdout",
    "tty", "urandom", "zero",
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
    if let Some(why) = reads(token, attribute) {
        return Some(why);
    }
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

/// Every match reads, and so does what a value puts in: only attributes of the device itself, and of its parents.
fn reads(token: &Token, attribute: &str) -> Option<&'static str> {
    const WHY: &str = "it reads outside of the device: no .., and no / or [ at the beginning";
    let outside = |name: &str| name.contains("..") || name.trim_start().starts_with(['/', '[']);
    let name = match token.key.as_str() {
        "ATTR" | "ATTRS" | "SYSCTL" => attribute,
        "TEST" => token.value.as_str(),
        _ => "",
    };
    let Some(expanded) = expanded(name) else {
        return Some("in a name, only $kernel, $number, $major and $minor (%k %n %M %m) are put in");
    };
    let put_in = ["$attr{", "$sysfs{", "%s{"]
        .iter()
        .flat_map(|start| token.value.split(start).skip(1))
        .any(|name| outside(name.split('}').next().unwrap_or(name)));
    (outside(name) || outside(&expanded) || put_in).then_some(WHY)
}

/// A text as udev makes it before it uses it, with `0` where it puts in a number or the kernel's name of the device, and
/// nothing for the number in that name: there may be none. `None` if it puts in anything else, which may be any text.
fn expanded(text: &str) -> Option<String> {
    const SUBSTITUTIONS: &[&str] = &["$kernel", "$major", "$minor", "$number", "%M", "%k", "%m", "%n"];
    const MAY_BE_EMPTY: &[&str] = &["$number", "%n"];
    let mut all = String::new();
    let mut rest = text;
    while let Some(at) = rest.find(['$', '%']) {
        let (before, after) = rest.split_at(at);
        all.push_str(before);
        if after.starts_with("$$") || after.starts_with("%%") {
            all.push_str(&after[..1]);
            rest = &after[2..];
        } else {
            let name = SUBSTITUTIONS.iter().find(|name| after.starts_with(**name))?;
            if !MAY_BE_EMPTY.contains(name) {
                all.push('0');
            }
            rest = &after[name.len()..];
            // udev takes what is in braces for an argument, whatever is before them.
            if rest.starts_with('{') {
                return None;
            }
        }
    }
    all.push_str(rest);
    Some(all)
}

/// A link of a rule must take the place of none that the system opens. In `disk/` are the links by which it finds its
/// partitions, each in a folder (`by-label/`, `fleet/`): a rule may add a plain name beside those.
fn symlink(value: &str) -> Option<&'static str> {
    let Some(expanded) = expanded(value) else {
        return Some(
            "of what udev puts in, a link may have $kernel, $number, $major and $minor (%k %n %M %m) only",
        );
    };
    // udev makes its links of the words.
    let literal = value == expanded;
    value
        .split_ascii_whitespace()
        .chain(
            expanded
                .split_ascii_whitespace()
                // Without a number, `camera/%n` is a folder, and udev makes no link.
                .map(|link| link.strip_suffix('/').unwrap_or(link)),
        )
        .find_map(|link| {
            let parts: Vec<&str> = link.split('/').collect();
            if parts.iter().any(|part| ["", ".", ".."].contains(part)) {
                return Some("a link is a path below /dev without a slash at its ends, . and ..");
            }
            match parts.as_slice() {
                ["disk", name] if literal && *name != "fleet" && !name.starts_with("by-") => None,
                ["disk", ..] => {
                    Some("by the links in disk/ the device finds its partitions; disk/NAME is free")
                }
                [first, ..] if TAKEN.contains(first) => {
                    Some("the system has this link or device node itself")
                }
                _ => None,
            }
        })
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

/// Who may use a device node: of devices that the rule itself names by their subsystem, so that it is none of those that
/// everything rests on. Those of the subsystem `tty` are terminals too: the rule says that it is about serial ports.
fn permission(token: &Token, rule: &[Token]) -> Option<&'static str> {
    if token.key == "MODE" && !is_mode(&token.value) {
        return Some("a mode is three or four octal digits up to 0777");
    }
    // All matches of a rule must hold: one that says it is enough.
    let says = |key: &'static str, good: &dyn Fn(&str) -> bool| {
        rule.iter().any(|token| {
            token.key == key && token.operator == Operator::Match && token.value.split('|').all(good)
        })
    };
    if !says("SUBSYSTEM", &|name| GIVEN.contains(&name)) {
        return Some(
            "the rule must match SUBSYSTEM== (in the same line, in plain words) with subsystems whose devices are given \
             away (docs/config.md)",
        );
    }
    // What a device is given by rules, as ENV{ID_VENDOR_ID}, says nothing.
    let of_usb = rule.iter().any(|token| {
        token.key == "ATTRS"
            && token.operator == Operator::Match
            && ["idVendor", "idProduct"].contains(&token.attribute.as_deref().unwrap_or(""))
    });
    let serial = of_usb
        || says("SUBSYSTEM", &|name| name != "tty" && GIVEN.contains(&name))
        || says("SUBSYSTEMS", &|name| ["usb", "usb-serial"].contains(&name))
        || says("KERNEL", &|name| {
            SERIAL.iter().any(|start| name.starts_with(start))
        });
    (!serial).then_some(
        "terminals keep their permissions: match serial ports, by KERNEL==\"ttyUSB*\" and its like, ATTRS{idVendor} or \
         SUBSYSTEMS==\"usb\"",
    )
}

fn is_mode(value: &str) -> bool {
    let digits = value
        .strip_prefix('0')
        .filter(|rest| rest.len() == 3)
        .unwrap_or(value);
    digits.len() == 3 && digits.bytes().all(|byte| (b'0'..=b'7').contains(&byte))
}
