use super::*;

#[test]
fn names() {
    let longest = "a".repeat(64);
    for ok in ["56", "10-serial", "99-my_rules.v2.rules", "a", &longest] {
        assert!(stem(ok).is_ok(), "{ok:?}");
    }
    assert_eq!(stem("56.rules"), Ok("56"));
    let too_long = "a".repeat(65);
    for bad in [
        "", ".", "..", "../x", "/etc/x", ".hidden", "-x", "_x", "a/b", "a b", "a\0", "a\n", "ä", ".rules",
        &too_long,
    ] {
        assert_eq!(stem(bad), Err(Problem::Name), "{bad:?}");
    }
}

#[test]
fn rules_for_production() {
    for ok in [
        "",
        "# only a comment\n\n   \t\n",
        r#"ENV{ID_FS_LABEL_ENC}=="x", SYMLINK+="disk/test""#,
        r#"SUBSYSTEM=="tty", ATTRS{idVendor}=="0403", ATTRS{idProduct}=="6001", SYMLINK+="gps0", MODE="0666""#,
        r#"SUBSYSTEM=="tty" KERNEL=="ttyUSB[0-9]*" MODE="660" GROUP="dialout""#,
        r#"SUBSYSTEM=="tty", KERNEL=="ttyACM*|ttyS[0-3]|ttymxc1", OWNER="app""#,
        r#"SUBSYSTEM=="tty", ATTRS{idVendor}=="0403", GROUP="dialout", MODE="0660""#,
        r#"SUBSYSTEMS=="usb", SUBSYSTEM=="tty", MODE="0660""#,
        r#"SUBSYSTEM=="tty|usb", ATTRS{idProduct}=="6001", MODE="0660""#,
        r#"SUBSYSTEM=="gpio|i2c-dev|spidev", GROUP="gpio", MODE="0660""#,
        r#"SUBSYSTEM=="video4linux", KERNEL=="video[0-9]*", SYMLINK+="cam%n camera/$kernel", MODE="0666""#,
        r#"SUBSYSTEM=="tty", SYMLINK+="a%k-$number.%M:%m-$major$minor b$$%% camera/%n""#,
        r#"SYMLINK+="logger tty-gps serial/by-app/log""#,
        r#"ATTR{device/model}=="x", ATTRS{idVendor}=="1", TEST=="power/control", ENV{ID_X}="$attr{device/model}%s{size}""#,
        r#"ENV{.x}="$sysfs{a.b}/../[x""#,
        r#"SUBSYSTEM=="mem", KERNEL=="null", SYMLINK+="fifty-seven""#,
        r#"SUBSYSTEM=="mem", KERNEL=="zero", SYMLINK+="at-boot""#,
        r#"SUBSYSTEM=="mem", ENV{x}="1", TEST{9}=="y", SYMLINK+="x""#,
        "ACTION==\"add\", \\\n# in between\n\n  KERNEL==\"sd*\", \\\n  SYMLINK+=\"stick\"\n",
        "ACTION!=\"add\", GOTO=\"end\"\nSUBSYSTEM==\"usb\",TAG+=\"uaccess\",ENV{ID_MM_DEVICE_IGNORE}=\"1\"\nLABEL=\"end\"",
        r#"SUBSYSTEM=="usb", ATTR{power/control}="on", OPTIONS+="link_priority=10""#,
        r#"SUBSYSTEM=="usb", IMPORT{builtin}="usb_id", IMPORT{parent}="ID_*""#,
        r#"KERNEL=="RUN", ENV{x}="PROGRAM=\"/bin/sh\"", SYMLINK+="IMPORT{program}""#,
        "\tSUBSYSTEM == \"net\" , ENV{.mine} = \"1\"",
        r#"TEST=="x", TEST{0644}!="y", SYSCTL{kernel/hostname}=="a", CONST{arch}=="arm64", RESULT=="1""#,
        r#"SUBSYSTEM=="usb", KERNEL=="*", MODE="0666""#,
        r#"SUBSYSTEM=="net", SUBSYSTEM=="usb", MODE="0666""#,
    ] {
        assert_eq!(check(ok, false), Ok(()), "{ok}");
        assert_eq!(check(ok, true), Ok(()), "{ok}");
    }
}

#[test]
fn rules_for_development_mode_only() {
    for bad in [
        r#"RUN+="/bin/sh""#,
        r#"RUN="/bin/sh""#,
        r#"RUN:="/bin/sh""#,
        r#"RUN-="/bin/sh""#,
        r#"RUN=="/bin/sh""#,
        r#"RUN{program}+="/bin/sh""#,
        r#"RUN{builtin}+="kmod load x""#,
        "RUN  +=  \"/bin/sh\"",
        "RUN{program} \t+=\t\"/bin/sh\"",
        ",,RUN+=\"/bin/sh\"",
        "ACTION==\"add\",\\\nRUN+=\"/bin/sh\"",
        "ACTION==\"add\", RU\\\nN+=\"/bin/sh\"",
        "ACTION==\"add\", \\\n# no end\\\n\nRUN+=\"/bin/sh\"",
        "# comment \\\nRUN+=\"/bin/sh\"",
        r#"KERNEL=="a"RUN+="/bin/sh""#,
        r#"KERNEL=="a\\" RUN+="x"#,
        r#"PROGRAM=="/bin/sh""#,
        r#"PROGRAM!="/bin/sh""#,
        r#"PROGRAM="/bin/sh""#,
        r#"IMPORT{program}="/bin/sh""#,
        r#"IMPORT{program}=="/bin/sh""#,
        r#"IMPORT{file}="/etc/shadow""#,
        r#"IMPORT{builtin}="kmod load x""#,
        r#"IMPORT{builtin}=="  net_setup_link""#,
        r#"IMPORT="/bin/sh""#,
        r#"ENV{SYSTEMD_WANTS}="poweroff.target""#,
        r#"ENV{SYSTEMD_READY}="0""#,
        r#"ENV{NM_UNMANAGED}="1""#,
        r#"ENV{LD_PRELOAD}="/data/x.so""#,
        r#"ENV{ID_NET_NAME}="x""#,
        r#"ENV{ID_FS_LABEL}="fleet-data""#,
        r#"ENV{ID_RENAMING}="1""#,
        r#"ENV{PATH}="/data""#,
        r#"TAG="x""#,
        r#"TAG-="systemd""#,
        r#"SYMLINK="x""#,
        r#"SYMLINK:="x""#,
        r#"SYMLINK+="disk/fleet/fleet-data""#,
        r#"SYMLINK+="a ../../etc/x""#,
        r#"SUBSYSTEM=="net", NAME="uplink""#,
        r#"SYSCTL{kernel/core_pattern}="|/data/x""#,
        r#"ATTR{authorized}="0""#,
        r#"ATTR{[module/x]parameters/y}="1""#,
        r#"ATTR{power/control/../../x}="1""#,
        r#"OPTIONS+="static_node=snd/timer""#,
        r#"OPTIONS="db_persist""#,
        r#"SECLABEL{selinux}="x""#,
        r#"MODE="0666""#,
        r#"ACTION=="add", MODE="0666""#,
        r#"KERNEL=="*", MODE="0666""#,
        r#"KERNEL=="null", MODE="0600""#,
        r#"KERNEL=="n?ll", MODE="0600""#,
        r#"SUBSYSTEM=="block", MODE="0666""#,
        r#"SUBSYSTEM=="usb|bl[o]ck", GROUP="users""#,
        r#"SUBSYSTEM=="tty", MODE="4755""#,
        r#"KERNEL="x""#,
        // The raw disk, by a rule that does not name its subsystem.
        r#"KERNEL=="mmcblk0*", MODE="0666""#,
        r#"ATTRS{removable}=="1", MODE="0666""#,
        r#"SUBSYSTEMS=="usb", MODE="0666""#,
        r#"SUBSYSTEMS=="usb", KERNEL=="ttyUSB*", MODE="0666""#,
        r#"SUBSYSTEM!="block", MODE="0666""#,
        r#"SUBSYSTEM=="", OWNER="app""#,
        r#"SUBSYSTEM=="tty|", ATTRS{idVendor}=="1", OWNER="app""#,
        r#"SUBSYSTEM=="usb|block", OWNER="app""#,
        r#"SUBSYSTEM=="us*", OWNER="app""#,
        r#"SUBSYSTEM=="us[b]", OWNER="app""#,
        r#"SUBSYSTEM=="\u\s\b", OWNER="app""#,
        r#"SUBSYSTEM=="[!u]*", OWNER="app""#,
        r#"SUBSYSTEM=="misc", OWNER="app""#,
        r#"SUBSYSTEM=="rtc", OWNER="app""#,
        r#"SUBSYSTEM=="mem", KERNEL=="null", MODE="0600""#,
        // Terminals.
        r#"SUBSYSTEM=="tty", MODE="0666""#,
        r#"SUBSYSTEM=="tty|usb", MODE="0666""#,
        r#"SUBSYSTEM=="tty", KERNEL=="tty|ptmx|console", MODE="0000""#,
        r#"SUBSYSTEM=="tty", KERNEL=="ttyUSB*|tty", MODE="0000""#,
        r#"SUBSYSTEM=="tty", KERNEL=="tty*", MODE="0000""#,
        r#"SUBSYSTEM=="tty", KERNEL=="tty[!A-Z]*", MODE="0000""#,
        r#"SUBSYSTEM=="tty", KERNEL=="t\ty", MODE="0000""#,
        r#"SUBSYSTEM=="tty", KERNEL!="ttyUSB*", MODE="0000""#,
        r#"SUBSYSTEM=="tty", ENV{ID_VENDOR_ID}=="0403", MODE="0000""#,
        r#"SUBSYSTEM=="tty", ATTRS{idVendor}!="0403", MODE="0000""#,
        r#"SUBSYSTEM=="tty", SUBSYSTEMS=="usb|*", MODE="0000""#,
        // Links of the system, also by what udev puts in.
        r#"SYMLINK+="disk/$env{.x}/fleet-boot""#,
        r#"SYMLINK+="$env{.x}""#,
        r#"SYMLINK+="%E{.x}""#,
        r#"SYMLINK+="$attr{serial}""#,
        r#"SYMLINK+="%c""#,
        r#"SYMLINK+="di%nsk/by-label/fleet-boot""#,
        r#"SYMLINK+="disk%n/x""#,
        r#"SYMLINK+="%n/disk/by-label/x""#,
        r#"SYMLINK+="$number./disk/x""#,
        r#"SYMLINK+="disk/%k""#,
        r#"SYMLINK+="x%n{y}""#,
        r#"SYMLINK+="$$$env{.x}""#,
        r#"SYMLINK+="%""#,
        r#"SYMLINK+="disk""#,
        r#"SYMLINK+="disk/by-label/fleet-boot""#,
        r#"SYMLINK+="disk/by-label""#,
        r#"SYMLINK+="disk/fleet""#,
        r#"SYMLINK+="disk/a/b""#,
        r#"SYMLINK+="disk//x""#,
        r#"SYMLINK+="./disk/fleet/x""#,
        "SYMLINK+=\"a\tdisk/by-label/fleet-boot\"",
        r#"SYMLINK+="/dev/x""#,
        r#"SYMLINK+="a/""#,
        r#"SYMLINK+="x log""#,
        r#"SYMLINK+="log%n""#,
        r#"SYMLINK+="fd""#,
        r#"SYMLINK+="fd/3""#,
        r#"SYMLINK+="stdin""#,
        r#"SYMLINK+="stdout""#,
        r#"SYMLINK+="stderr""#,
        r#"SYMLINK+="core""#,
        r#"SYMLINK+="initctl""#,
        r#"SYMLINK+="null""#,
        r#"SYMLINK+="zero""#,
        r#"SYMLINK+="console""#,
        r#"SYMLINK+="tty""#,
        r#"SYMLINK+="root""#,
        // Reading anywhere.
        r#"ENV{ID_X}="$attr{../../../../etc/shadow}""#,
        r#"ENV{ID_X}="a%s{[module/x]y}""#,
        r#"ENV{ID_X}="$sysfs{/etc/shadow}""#,
        r#"SUBSYSTEM=="usb", OWNER="$attr{x/../y}""#,
        r#"ATTR{../../x}=="y""#,
        r#"ATTR{/etc/shadow}=="root*""#,
        r#"ATTR{.%n./x}=="y""#,
        r#"ATTRS{$kernel/x%c}=="y""#,
        r#"ATTRS{[net/eth0]address}!="y""#,
        r#"ATTRS{../x}=="y""#,
        r#"TEST=="/sys/x""#,
        r#"TEST{0644}!="a/../b""#,
        r#"TEST=="[net/eth0]x""#,
        r#"TEST=="$env{.x}""#,
        r#"SYSCTL{../../etc/shadow}=="root*""#,
    ] {
        assert!(
            matches!(
                check(bad, false),
                Err(Problem::Forbidden { .. } | Problem::Syntax { .. })
            ),
            "{bad}"
        );
    }
    // What is no error of grammar is the developer's.
    for ok in [
        r#"RUN{builtin}+="kmod load x""#,
        "ACTION==\"add\", RU\\\nN+=\"/bin/sh\"",
        r#"IMPORT{program}="/bin/sh""#,
        r#"SUBSYSTEM=="net", NAME="uplink""#,
        r#"KERNEL=="mmcblk0*", MODE="0666""#,
        r#"SYMLINK+="disk/by-state/$env{RESIN_UPDATE_STATE}""#,
        r#"TEST=="/sys/x", ATTR{../x}=="y""#,
    ] {
        assert_eq!(check(ok, true), Ok(()), "{ok}");
    }
}

#[test]
fn what_udev_would_not_understand_is_refused_in_development_mode_too() {
    for bad in [
        "run+=\"/bin/sh\"",
        "Run+=\"/bin/sh\"",
        "KERNEL",
        "KERNEL=\"",
        "KERNEL==x",
        "KERNEL==\"x",
        "KERNEL==\"x\\\"",
        "ATTR{x==\"y\"",
        "KERNEL==e\"x\"",
        "KERNEL==\"x\"; RUN+=\"y\"",
        "SYMLINK+=\"x\" \\",
        "KERNEL==\"x\"\rRUN+=\"y\"",
        "KERNEL==\"x\"\0",
        "{}==\"x\"",
    ] {
        assert!(matches!(check(bad, true), Err(Problem::Syntax { .. })), "{bad:?}");
    }
    assert_eq!(check(&"#".repeat(MAX_BYTES + 1), true), Err(Problem::Length));
    let long = format!("SYMLINK+=\"{}\"", "x".repeat(20_000));
    assert!(check(&long, true).is_err());
}

#[test]
fn names_the_line_and_the_reason() {
    let text = "# serial\n\nKERNEL==\"a\", \\\n  RUN{program}+=\"/bin/sh\"\n";
    assert_eq!(
        check(text, false).unwrap_err().to_string(),
        "line 3: RUN{program} is for developmentMode only: it runs a program as root"
    );
    assert_eq!(
        check("\nKERNEL", true).unwrap_err().to_string(),
        "line 2: an operator was expected after the key (udev(7))"
    );
}

#[test]
fn knows_what_devices_a_text_is_about() {
    let all = |text: &str| subsystems(text).map(|all| all.join(" "));
    assert_eq!(
        all(
            "SUBSYSTEM==\"tty|usb\", SYMLINK+=\"a\"\nSUBSYSTEM==\"tty\", MODE=\"0666\"\nGOTO=\"x\"\nLABEL=\"x\""
        ),
        Some("tty usb".to_owned())
    );
    assert_eq!(all(""), Some(String::new()));
    assert_eq!(all("SUBSYSTEM!=\"tty\", SYMLINK+=\"a\""), None);
    assert_eq!(all("KERNEL==\"x\", SYMLINK+=\"a\""), None);
}
