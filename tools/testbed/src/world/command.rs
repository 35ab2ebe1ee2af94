//! The `world` command: tells a run's world how to behave, from inside it.

use std::path::Path;
use std::process::ExitCode;

use anyhow::{Result, bail};

use crate::world::{
    Dhcp, Dns, Http, INTERFACE, Link, Modem, Modes, Switch, Time, control, init, mdns, network, relay, serve,
};

const USAGE: &str = "\
world: tells the world around a guest how to behave; to be used in `cargo xtask vm --world '…'`

  world http MODE        how every address answers on port 80
  world dns MODE [ADDRESS]
                         how every address, or this one, answers on port 53
  world dhcp MODE        whether there is a DHCP server, and what it gives
  world gateway on|off   whether the guest's gateway takes anything that comes, ARP included; the link stays up
  world second-uplink    a second cable: eth1 of a container, the second card of a machine; without DHCP
  world time MODE        how the world's own address answers NTP; off until told
  world modem MODE       the modem of a guest in QEMU that was booted with a port for one; off until told
  world link up|down     whether the guest's cable is plugged in
  world mdns NAME        the IPv4 address that NAME.local has by multicast DNS, or `none`
  world log http|dns|dhcp|modem
                         what was asked so far, a line a request
  world connect HOST PORT
                         a TCP connection on standard input and output, as ssh's ProxyCommand wants it
  world status           how it behaves now
";

/// Plays the command with the process's arguments.
pub fn main() -> ExitCode {
    let words: Vec<String> = std::env::args_os()
        .skip(1)
        .map(|word| word.to_string_lossy().into_owned())
        .collect();
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    match command(&words) {
        Ok(text) => {
            print!("{text}");
            ExitCode::SUCCESS
        }
        Err(error) => {
            eprintln!("world: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn command(words: &[&str]) -> Result<String> {
    match *words {
        // The two that the testbed itself starts.
        ["init", tier, directory] => init::main(tier.parse()?, Path::new(directory)).map(|()| String::new()),
        ["serve", tier, directory] => {
            serve::main(tier.parse()?, Path::new(directory)).map(|()| String::new())
        }
        ["http", mode] => control::ask(&format!("http {}", Http::parse(mode)?)),
        ["dns", mode] => control::ask(&format!("dns {}", Dns::parse(mode)?)),
        ["dns", mode, address] => control::ask(&format!("dns {} {address}", Dns::parse(mode)?)),
        ["dhcp", mode] => control::ask(&format!("dhcp {}", Dhcp::parse(mode)?)),
        ["gateway", mode] => network::gateway(Switch::parse(mode)?).map(|()| String::new()),
        ["second-uplink"] => network::second_uplink().map(|()| String::new()),
        ["time", mode] => control::ask(&format!("time {}", Time::parse(mode)?)),
        ["modem", mode] => control::ask(&format!("modem {}", Modem::parse(mode)?)),
        ["link", mode] => {
            network::ip(&format!("link set {INTERFACE} {}", Link::parse(mode)?))?;
            control::ask("link mirror")
        }
        ["log", what @ ("http" | "dns" | "dhcp" | "modem")] => control::ask(&format!("log {what}")),
        ["mdns", name] => mdns::ask(name),
        ["link-mirror"] => control::ask("link mirror").map(|_| String::new()),
        ["connect", host, port] => relay::connect(host, port.parse()?).map(|()| String::new()),
        ["status"] => control::ask("status"),
        ["--help" | "-h" | "help"] => Ok(help()),
        _ => bail!("`world {}` means nothing here\n{}", words.join(" "), help()),
    }
}

fn help() -> String {
    format!(
        "{USAGE}\nHTTP modes:\n{}\nDNS modes:\n{}\nDHCP modes:\n{}\ntime modes:\n{}\nmodem modes:\n{}",
        table::<Http>(),
        table::<Dns>(),
        table::<Dhcp>(),
        table::<Time>(),
        table::<Modem>()
    )
}

fn table<T: Modes>() -> String {
    T::ALL
        .iter()
        .map(|(_, word, means)| format!("  {word:<10}{means}\n"))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn help_names_every_mode() {
        let help = command(&["--help"]).unwrap();
        for word in Http::ALL
            .iter()
            .map(|(_, word, _)| word)
            .chain(Dns::ALL.iter().map(|(_, word, _)| word))
        {
            assert!(help.contains(word), "{word}");
        }
        assert!(
            command(&["http", "slow"])
                .unwrap_err()
                .to_string()
                .contains("redirect")
        );
    }
}
