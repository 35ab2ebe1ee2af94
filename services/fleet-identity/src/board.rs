//! Which board this is, to tell a card that was copied: the identity on it belongs to another device.
//!
//! Evidence, not proof: a serial number where the board has one, the addresses of its Ethernet devices as far as they are
//! there by now (this is before udev loads drivers). A board that shows neither keeps its identity, and so does one of
//! which one kind is as it was: an exchanged network card is no other device.

use std::collections::BTreeSet;
use std::fmt;
use std::fs;
use std::io::Read;
use std::path::Path;

/// What tells boards apart, as far as it is known.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Evidence {
    /// The serial number, one line.
    serial: Option<String>,
    /// The permanent Ethernet addresses, `aa:bb:cc:dd:ee:ff`.
    macs: BTreeSet<String>,
}

/// The most addresses that are recorded. The record is read up to 4 KiB.
const MOST_MACS: usize = 64;

/// What vendors leave in the field, in lower case.
const JUNK: [&str; 10] = [
    "",
    "0",
    "none",
    "n/a",
    "default string",
    "not applicable",
    "not specified",
    "system serial number",
    "to be filled by o.e.m.",
    "unknown",
];

impl Evidence {
    /// Reads what [`fmt::Display`] writes: a line `serial TEXT` and lines `mac ADDRESS`, in any order. Other lines are
    /// skipped: a newer release may know more. A release that knew one address wrote one, and reads the first.
    #[must_use]
    pub fn parse(text: &str) -> Self {
        let values = |kind: &'static str| {
            text.lines()
                .filter_map(move |line| line.strip_prefix(kind)?.strip_prefix(' '))
        };
        Self {
            serial: values("serial").next().and_then(sound),
            macs: values("mac").filter_map(sound).take(MOST_MACS).collect(),
        }
    }

    /// What this board shows, below `root` (`/` on a device): the device tree's serial number
    /// (Devicetree Specification, `serial-number`) or that of DMI (SMBIOS type 1), and the address of each Ethernet
    /// device that is neither virtual nor on USB nor wireless, and did not get its address at random
    /// (`addr_assign_type`, Documentation/ABI/testing/sysfs-class-net).
    #[must_use]
    pub fn gather(root: &Path) -> Self {
        let serial = [
            "proc/device-tree/serial-number",
            "sys/class/dmi/id/product_serial",
        ]
        .iter()
        .find_map(|file| sound(&line(&root.join(file))?));
        let devices = fs::read_dir(root.join("sys/class/net"))
            .into_iter()
            .flatten()
            .flatten();
        let macs: BTreeSet<String> = devices
            .filter_map(|device| permanent_address(&device.path()))
            .collect();
        Self {
            serial,
            macs: macs.into_iter().take(MOST_MACS).collect(),
        }
    }

    /// Whether `now` is another board: a kind that both know differs, and none is equal. The addresses differ if none of
    /// them is in both. A serial number that changed does not decide while no address is there to compare with those
    /// that were recorded: their drivers may not be loaded yet.
    #[must_use]
    pub fn is_contradicted_by(&self, now: &Self) -> bool {
        let serial = self.serial.as_ref().zip(now.serial.as_ref());
        if serial.is_some_and(|(then, now)| then == now) || !self.macs.is_disjoint(&now.macs) {
            return false;
        }
        match (self.macs.is_empty(), now.macs.is_empty()) {
            (false, false) => true,
            (false, true) => false,
            (true, _) => serial.is_some(),
        }
    }

    /// What is to be recorded when `now` is seen: of another board that alone; of this one what was ever seen of it.
    /// What may be either changes nothing.
    #[must_use]
    pub fn updated(&self, now: &Self) -> Self {
        if self.is_contradicted_by(now) {
            return now.clone();
        }
        let is_undecided = !self.macs.is_empty() && now.macs.is_empty() && self.serial != now.serial;
        if is_undecided {
            return self.clone();
        }
        let gone = self.macs.difference(&now.macs);
        Self {
            serial: now.serial.as_ref().or(self.serial.as_ref()).cloned(),
            macs: now.macs.iter().chain(gone).take(MOST_MACS).cloned().collect(),
        }
    }
}

impl fmt::Display for Evidence {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(serial) = &self.serial {
            writeln!(f, "serial {serial}")?;
        }
        self.macs.iter().try_for_each(|mac| writeln!(f, "mac {mac}"))
    }
}

/// The first line of a small file. The device tree's strings end with a NUL.
fn line(path: &Path) -> Option<String> {
    let mut bytes = Vec::new();
    fs::File::open(path)
        .ok()?
        .take(256)
        .read_to_end(&mut bytes)
        .ok()?;
    let text = String::from_utf8_lossy(&bytes);
    text.split(['\0', '\n']).next().map(|line| line.trim().to_owned())
}

/// A value that says something.
fn sound(value: &str) -> Option<String> {
    let value = value.trim();
    let is_junk = JUNK.contains(&value.to_ascii_lowercase().as_str())
        || value.bytes().all(|byte| byte == b'0')
        || value.chars().any(char::is_control);
    (!is_junk).then(|| value.to_owned())
}

fn permanent_address(device: &Path) -> Option<String> {
    const ETHERNET: &str = "1";
    const PERMANENT: &str = "0";
    let is = |file: &str, value: &str| line(&device.join(file)).is_some_and(|line| line == value);
    let hardware = fs::canonicalize(device.join("device")).ok()?;
    let is_on_usb = hardware
        .iter()
        .any(|step| step.to_string_lossy().starts_with("usb"));
    let is_wireless = ["wireless", "phy80211"]
        .iter()
        .any(|name| device.join(name).exists());
    if is_on_usb || is_wireless || !is("type", ETHERNET) || !is("addr_assign_type", PERMANENT) {
        return None;
    }
    line(&device.join("address")).filter(|address| address.len() == 17 && address != "00:00:00:00:00:00")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn another_board_is_told_by_what_both_show() {
        let cases = [
            // then, now, another board
            ("", "", false),
            ("", "serial 1a\nmac 02", false),
            ("serial 1a", "", false),
            ("serial 1a", "mac 02", false),
            ("serial 1a", "serial 1a", false),
            ("serial 1a", "serial 2b", true),
            ("mac 02", "mac 03", true),
            ("serial 1a\nmac 02", "serial 1a\nmac 03", false),
            ("serial 1a\nmac 02", "serial 2b\nmac 02", false),
            ("serial 1a\nmac 02", "serial 2b\nmac 03", true),
            // A driver is not loaded yet.
            ("serial 1a\nmac 02", "serial 2b", false),
            ("serial 1a\nmac 02", "", false),
            ("serial 1a", "serial 2b\nmac 02", true),
            ("serial 1a\nmac 02", "mac 03", true),
            // Two of them, and one is found later.
            ("mac 02\nmac 03", "mac 03", false),
            ("mac 03", "mac 02\nmac 03", false),
            ("mac 02\nmac 03", "mac 04\nmac 05", true),
            ("serial 1a\nmac 02\nmac 03", "serial 2b\nmac 03", false),
            ("serial None", "serial 2b", false),
            ("serial 1a", "serial To be filled by O.E.M.", false),
        ];
        for (then, now, other) in cases {
            let (then, now) = (Evidence::parse(then), Evidence::parse(now));
            assert_eq!(then.is_contradicted_by(&now), other, "{then:?} {now:?}");
        }
    }

    #[test]
    fn is_read_as_it_is_written() {
        let text = "serial 10000000abcdef01\nmac 02:00:00:00:00:01\n";
        assert_eq!(Evidence::parse(text).to_string(), text);
        let then = Evidence::parse("serial 1a\nnew thing\n");
        assert_eq!(
            then.updated(&Evidence::parse("mac 02\n")).to_string(),
            "serial 1a\nmac 02\n"
        );
    }

    #[test]
    fn what_is_recorded_grows_on_the_same_board() {
        let cases = [
            // then, now, recorded
            ("mac 03\n", "mac 02\nmac 03\n", "mac 02\nmac 03\n"),
            ("mac 02\nmac 03\n", "mac 03\n", "mac 02\nmac 03\n"),
            ("mac 02\n", "", "mac 02\n"),
            (
                "serial 1a\nmac 02\n",
                "serial 1a\nmac 03\n",
                "serial 1a\nmac 02\nmac 03\n",
            ),
            (
                "serial 1a\nmac 02\n",
                "serial 2b\nmac 02\n",
                "serial 2b\nmac 02\n",
            ),
            // It may be either.
            ("serial 1a\nmac 02\n", "serial 2b\n", "serial 1a\nmac 02\n"),
            ("mac 02\n", "serial 2b\n", "mac 02\n"),
            // Another board: nothing of the one before stays.
            ("serial 1a\nmac 02\n", "mac 03\n", "mac 03\n"),
            (
                "serial 1a\nmac 02\n",
                "serial 2b\nmac 03\n",
                "serial 2b\nmac 03\n",
            ),
        ];
        for (then, now, recorded) in cases {
            let updated = Evidence::parse(then).updated(&Evidence::parse(now));
            assert_eq!(updated.to_string(), recorded, "{then:?} {now:?}");
        }
        let many = |from: u32| -> String {
            (from..from + 60)
                .map(|number| format!("mac 02:00:00:00:00:{number}\n"))
                .collect()
        };
        let now = Evidence::parse(&many(140));
        let updated = Evidence::parse(&many(100)).updated(&now);
        assert_eq!(updated.macs.len(), MOST_MACS);
        assert!(updated.macs.is_superset(&now.macs));
    }

    fn write(root: &Path, file: &str, text: &str) {
        let path = root.join(file);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }

    fn network_device(root: &Path, name: &str, bus: &str, assigned: &str, address: &str) {
        let hardware = root.join(format!("sys/devices/{bus}/{name}"));
        fs::create_dir_all(&hardware).unwrap();
        let device = format!("sys/class/net/{name}");
        write(root, &format!("{device}/type"), "1\n");
        write(root, &format!("{device}/addr_assign_type"), assigned);
        write(root, &format!("{device}/address"), &format!("{address}\n"));
        std::os::unix::fs::symlink(hardware, root.join(device).join("device")).unwrap();
    }

    #[test]
    fn gathers_what_is_permanent() {
        let folder = tempfile::tempdir().unwrap();
        let root = folder.path();
        assert_eq!(Evidence::gather(root), Evidence::default());
        write(root, "sys/class/dmi/id/product_serial", "Default string\n");
        assert_eq!(Evidence::gather(root), Evidence::default());
        write(root, "proc/device-tree/serial-number", "10000000abcdef01\0");
        network_device(root, "eth1", "pci0000:00", "0\n", "02:00:00:00:00:03");
        network_device(root, "eth0", "pci0000:00", "0\n", "02:00:00:00:00:02");
        network_device(root, "eth2", "pci0000:00/usb1", "0\n", "02:00:00:00:00:01");
        network_device(root, "eth3", "pci0000:00", "1\n", "02:00:00:00:00:00");
        write(root, "sys/class/net/veth0/type", "1\n");
        let found = Evidence::gather(root).to_string();
        assert_eq!(
            found,
            "serial 10000000abcdef01\nmac 02:00:00:00:00:02\nmac 02:00:00:00:00:03\n"
        );
    }
}
