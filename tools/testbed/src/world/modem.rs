//! A mobile modem on a serial port of a guest in QEMU: what it answers to AT commands (ITU-T V.250, 3GPP TS 27.007), and
//! a data call, which leads to a second port of the guest. The operator's end of the call is a pppd(8) there, in a network
//! namespace of the guest: a host's kernel need not have PPP.

use std::io::{ErrorKind, Read, Write};
use std::net::Shutdown;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

use anyhow::{Context, Result};

use crate::qmp;
use crate::world::Modem;
use crate::world::log::Log;
use crate::world::serve::locked;

/// The folder's names of QEMU's sockets: the device's serial port, and the port that a call leads to. A port is plugged in
/// as long as somebody is connected to its socket.
pub(crate) const SOCKETS: [&str; 2] = ["modem.sock", "operator.sock"];
/// How long it takes until a modem that was plugged in is there, at most.
const TICK: Duration = Duration::from_millis(200);
/// No command line is longer.
const LONGEST_LINE: usize = 1024;

/// What is said without being asked, in the order of [`Settings::reports`].
const REPORTS: [&str; 3] = ["+CREG", "+CGREG", "+CEREG"];

/// A modem in its socket, or in the drawer.
pub(super) struct Server {
    shared: Arc<Mutex<State>>,
}

struct State {
    mode: Modem,
    /// Both ports, while it is plugged in.
    ports: Option<[UnixStream; 2]>,
    is_in_call: bool,
    /// What was sent in a call and may become a command.
    typed: Vec<u8>,
    settings: Settings,
}

/// What commands set, until it is switched off.
#[derive(Debug, Default)]
struct Settings {
    echo: bool,
    /// How much each of [`REPORTS`] says: not at all (0), the state (1), the cell too (2).
    reports: [u8; 3],
    /// The operator's name is shown as text (0) or as a number (2).
    operator_format: u8,
    /// Of the first context: its type and the access point's name, in quotes.
    context: String,
    is_unlocked: bool,
}

/// What becomes of the line.
#[derive(Debug, PartialEq, Eq)]
enum Answer {
    Text(String),
    Call,
}

impl Server {
    /// There is none until [`Server::set`] plugs one in.
    pub(super) fn start(directory: &Path) -> Result<Self> {
        let shared = Arc::new(Mutex::new(State {
            mode: Modem::Off,
            ports: None,
            is_in_call: false,
            typed: Vec::new(),
            settings: Settings::default(),
        }));
        let log = Arc::new(Log::open(directory, "modem")?);
        let (directory, state) = (directory.to_owned(), Arc::clone(&shared));
        thread::spawn(move || {
            loop {
                if locked(&state).mode != Modem::Off {
                    // QEMU may not be there yet, or not any more.
                    let _ = plugged_in(&directory, &state, &log);
                }
                thread::sleep(TICK);
            }
        });
        Ok(Self { shared })
    }

    pub(super) fn mode(&self) -> Modem {
        locked(&self.shared).mode
    }

    /// Behaves like this from now on. A call that could not have been made any more ends.
    pub(super) fn set(&self, mode: Modem) -> Result<()> {
        let mut state = locked(&self.shared);
        state.mode = mode;
        if mode == Modem::Off {
            for port in state.ports.iter().flatten() {
                // Gone already is fine.
                let _ = port.shutdown(Shutdown::Both);
            }
            return Ok(());
        }
        let mut news = String::new();
        if state.is_in_call && !matches!(mode, Modem::On | Modem::Silent) {
            state.is_in_call = false;
            news.push_str("\r\nNO CARRIER\r\n");
        }
        // Within a call the line is the call's.
        if !state.is_in_call {
            for (name, report) in REPORTS.iter().zip(state.settings.reports) {
                if report > 0 {
                    news.push_str(&format!("\r\n{name}: {}\r\n", registration(mode, report)));
                }
            }
        }
        match &mut state.ports {
            Some([serial, _]) => serial.write_all(news.as_bytes()).context("the modem is stuck"),
            None => Ok(()),
        }
    }
}

/// Connects both ports, and serves until the modem is pulled or QEMU has gone.
fn plugged_in(directory: &Path, state: &Arc<Mutex<State>>, log: &Log) -> Result<()> {
    let [serial, operator] = SOCKETS.map(|name| directory.join(name)).map(connect);
    let (mut serial, operator) = (serial?, operator?);
    {
        let mut state = locked(state);
        state.settings = Settings::default();
        state.is_in_call = false;
        state.ports = Some([serial.try_clone()?, operator.try_clone()?]);
    }
    log.line("plugged in");
    let (calls, mut from) = (Arc::clone(state), operator.try_clone()?);
    let incoming = thread::spawn(move || while carry(&mut from, &calls, 0).is_some() {});
    let mut line = Vec::new();
    while let Some(piece) = carry(&mut serial, state, 1) {
        commands(&piece, &mut line, state, log)?;
    }
    locked(state).ports = None;
    let _ = operator.shutdown(Shutdown::Both);
    let _ = incoming.join();
    log.line("pulled");
    Ok(())
}

fn connect(socket: PathBuf) -> Result<UnixStream> {
    qmp::connect(&socket)
}

/// Reads from one port, and passes it on to the other if it belongs to a call; otherwise returns it. Nothing at the end.
fn carry(from: &mut UnixStream, state: &Mutex<State>, to: usize) -> Option<Vec<u8>> {
    let mut piece = [0; 4096];
    let length = loop {
        match from.read(&mut piece) {
            Ok(0) => return None,
            Ok(length) => break length,
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(_) => return None,
        }
    };
    let piece = &piece[..length];
    let mut state = locked(state);
    if to == 1
        && state.is_in_call
        && let Some(command) = command_in(piece, &mut state.typed)
    {
        state.is_in_call = false;
        return Some(command);
    }
    if !state.is_in_call {
        return Some(if to == 1 { piece.to_vec() } else { Vec::new() });
    }
    if state.mode != Modem::Silent
        && let Some(ports) = &mut state.ports
    {
        ports[to].write_all(piece).ok()?;
    }
    Some(Vec::new())
}

/// A command, and what follows it, from somebody who ought to be in a call: he has dropped DTR before, which ends the call
/// (V.250 6.3.1, and `&D2`), but QEMU's socket does not tell. It comes byte by byte; in frames of PPP there is no such line.
fn command_in(piece: &[u8], typed: &mut Vec<u8>) -> Option<Vec<u8>> {
    for (at, byte) in piece.iter().enumerate() {
        match byte {
            b'\r' if typed.starts_with(b"AT") => {
                let mut command = std::mem::take(typed);
                command.extend(&piece[at..]);
                return Some(command);
            }
            b'A'..=b'Z' | b'0'..=b'9' | b'+' | b'=' | b'?' | b',' | b'"' | b'*' | b'#' | b'&' | b'%'
                if typed.len() < LONGEST_LINE =>
            {
                typed.push(*byte);
            }
            _ => typed.clear(),
        }
    }
    None
}

/// Takes what was typed, and answers each line that is whole.
fn commands(piece: &[u8], line: &mut Vec<u8>, state: &Mutex<State>, log: &Log) -> Result<()> {
    for byte in piece {
        if *byte != b'\r' {
            line.push(*byte);
            line.truncate(LONGEST_LINE);
            continue;
        }
        let text = String::from_utf8_lossy(&std::mem::take(line)).trim().to_owned();
        let mut state = locked(state);
        let state = &mut *state;
        let mut said = String::new();
        if state.settings.echo {
            said.push_str(&format!("{text}\r"));
        }
        let Some(body) = text.strip_prefix("AT") else {
            continue;
        };
        match answer(body, state.mode, &mut state.settings) {
            Answer::Text(text) => said.push_str(&text),
            Answer::Call => {
                state.is_in_call = true;
                said.push_str("\r\nCONNECT 115200\r\n");
            }
        }
        log.line(&format!(
            "{text} -> {}",
            said.split_whitespace().collect::<Vec<_>>().join(" ")
        ));
        if let Some([serial, _]) = &mut state.ports {
            serial.write_all(said.as_bytes())?;
        }
    }
    Ok(())
}

/// What is answered to a command without its `AT`.
fn answer(command: &str, mode: Modem, settings: &mut Settings) -> Answer {
    let ok = || Answer::Text("\r\nOK\r\n".into());
    let error = |number: u8| Answer::Text(format!("\r\n+CME ERROR: {number}\r\n"));
    let says = |text: &str| Answer::Text(format!("\r\n{text}\r\n\r\nOK\r\n"));
    let is_open = match mode {
        Modem::NoSim => false,
        Modem::Pin => settings.is_unlocked,
        _ => true,
    };
    if let Some(number) = command.strip_prefix('D') {
        let may =
            is_open && number.starts_with("*99") && matches!(mode, Modem::On | Modem::Pin | Modem::Silent);
        return if may {
            Answer::Call
        } else {
            Answer::Text("\r\nNO CARRIER\r\n".into())
        };
    }
    for (name, report) in REPORTS.iter().zip(0..) {
        let Some(rest) = command.strip_prefix(name) else {
            continue;
        };
        let report = &mut settings.reports[report];
        return match rest {
            "=?" => says(&format!("{name}: (0-2)")),
            "?" => says(&format!("{name}: {report},{}", registration(mode, *report))),
            _ => match rest.strip_prefix('=').map(str::parse) {
                Some(Ok(wanted @ 0..=2)) => {
                    *report = wanted;
                    ok()
                }
                _ => error(INVALID),
            },
        };
    }
    if let Some(pin) = command.strip_prefix("+CPIN=") {
        settings.is_unlocked = pin.trim_matches('"') == PIN;
        return if settings.is_unlocked {
            ok()
        } else {
            error(INCORRECT_PASSWORD)
        };
    }
    if let Some(format) = command.strip_prefix("+COPS=3,") {
        settings.operator_format = format.parse().unwrap_or_default();
        return ok();
    }
    if let Some(context) = command.strip_prefix("+CGDCONT=1,") {
        settings.context = context.to_owned();
        return ok();
    }
    match command {
        "E1" => {
            settings.echo = true;
            ok()
        }
        "E0" => {
            settings.echo = false;
            ok()
        }
        "+CGMI" | "+GMI" => says("Fleet OS"),
        "+CGMM" | "+GMM" => says("Testbed"),
        "+CGMR" | "+GMR" => says("1"),
        // The number that 3GPP TS 23.003 has as an example, with its check digit.
        "+CGSN" | "+GSN" => says("490154203237518"),
        "+GCAP" => says("+GCAP: +CGSM"),
        "+CPIN?" => match mode {
            Modem::NoSim => error(NO_SIM),
            _ if !is_open => says("+CPIN: SIM PIN"),
            _ => says("+CPIN: READY"),
        },
        _ if mode == Modem::NoSim && (command.starts_with("+C") && needs_sim(command)) => error(NO_SIM),
        _ if !is_open && needs_sim(command) => error(PIN_WANTED),
        // Of the network for tests, 001-01 (ITU-T E.212).
        "+CIMI" => says("001010123456789"),
        "+CFUN=?" => says("+CFUN: (0,1,4)"),
        "+CFUN?" => says("+CFUN: 1"),
        "+COPS?" => match (registration(mode, 0), settings.operator_format) {
            ("1", 2) => says("+COPS: 0,2,\"00101\",7"),
            ("1", _) => says("+COPS: 0,0,\"Testbed\",7"),
            _ => says("+COPS: 0"),
        },
        "+CSQ" => says("+CSQ: 20,99"),
        "+CGDCONT=?" => says("+CGDCONT: (1),\"IP\",,,(0),(0)"),
        "+CGDCONT?" if settings.context.is_empty() => ok(),
        "+CGDCONT?" => says(&format!("+CGDCONT: 1,{}", settings.context)),
        "+CGACT?" => says("+CGACT: 1,0"),
        "" | "V1" | "X4" | "&C1" | "&D2" | "Z" | "H" | "+CFUN=1" | "+CFUN=4" | "+CMEE=1" | "+CGATT=1" => ok(),
        _ => error(NOT_SUPPORTED),
    }
}

/// What the SIM is asked for.
fn needs_sim(command: &str) -> bool {
    ["+CIMI", "+COPS", "+CGDCONT", "+CGACT", "+CSQ", "+CNUM"]
        .iter()
        .any(|name| command.starts_with(name))
}

/// Of +CME ERROR (3GPP TS 27.007, 9.2).
const NOT_SUPPORTED: u8 = 4;
const NO_SIM: u8 = 10;
const PIN_WANTED: u8 = 11;
const INCORRECT_PASSWORD: u8 = 16;
const INVALID: u8 = 50;

/// What [`Modem::Pin`] wants to hear.
const PIN: &str = "1234";

/// The state of registration (3GPP TS 27.007, 7.2): at home, denied, or not searching; with the cell if that is wanted.
fn registration(mode: Modem, report: u8) -> &'static str {
    match (mode, report) {
        (Modem::NoSim | Modem::Off, _) => "0",
        (Modem::Denied, _) => "3",
        (Modem::Searching, _) => "2",
        (_, 2) => "1,\"0001\",\"00000001\",7",
        _ => "1",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn said(command: &str, mode: Modem, settings: &mut Settings) -> String {
        match answer(command, mode, settings) {
            Answer::Text(text) => text.trim().replace("\r\n", "|"),
            Answer::Call => "call".into(),
        }
    }

    #[test]
    fn what_is_wrong_with_the_sim_is_told() {
        let mut settings = Settings::default();
        for (mode, sim, call) in [
            (Modem::On, "+CPIN: READY||OK", "call"),
            (Modem::NoSim, "+CME ERROR: 10", "NO CARRIER"),
            (Modem::Pin, "+CPIN: SIM PIN||OK", "NO CARRIER"),
            (Modem::NoCarrier, "+CPIN: READY||OK", "NO CARRIER"),
        ] {
            assert_eq!(said("+CPIN?", mode, &mut settings), sim, "{mode}");
            assert_eq!(said("D*99***1#", mode, &mut settings), call, "{mode}");
        }
        assert_eq!(
            said("+CPIN=\"0000\"", Modem::Pin, &mut settings),
            "+CME ERROR: 16"
        );
        assert_eq!(said("+CPIN=\"1234\"", Modem::Pin, &mut settings), "OK");
        assert_eq!(said("+CPIN?", Modem::Pin, &mut settings), "+CPIN: READY||OK");
    }

    #[test]
    fn registration_is_told_as_it_was_asked_for() {
        let mut settings = Settings::default();
        assert_eq!(said("+CREG?", Modem::On, &mut settings), "+CREG: 0,1||OK");
        assert_eq!(said("+CREG=2", Modem::On, &mut settings), "OK");
        assert_eq!(
            said("+CREG?", Modem::On, &mut settings),
            "+CREG: 2,1,\"0001\",\"00000001\",7||OK"
        );
        assert_eq!(said("+CREG?", Modem::Denied, &mut settings), "+CREG: 2,3||OK");
        assert_eq!(settings.reports, [2, 0, 0]);
    }

    #[test]
    fn a_frame_is_no_command() {
        let mut typed = Vec::new();
        for frame in [&b"~\xff}#\xc0!AT~"[..], b"\r", b"A", b"~T\r"] {
            assert_eq!(command_in(frame, &mut typed), None, "{frame:?}");
        }
        assert_eq!(command_in(b"~A", &mut typed), None);
        assert_eq!(command_in(b"T+CGACT=0,1", &mut typed), None);
        assert_eq!(command_in(b"\rAT\r", &mut typed).unwrap(), b"AT+CGACT=0,1\rAT\r");
    }
}
