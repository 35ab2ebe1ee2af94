//! Looks into certificates: of authorities for `fleet-config`, of a server for `fleet-watch`.
//!
//! An executable of its own, because it is the only one that needs OpenSSL: it runs for some milliseconds when a
//! certificate is set, for as long as a server takes when a check has failed, and no resident process maps libssl.
//!
//! Without arguments, certificates (PEM, RFC 7468) are read from standard input. If OpenSSL would take each of them as the
//! anchor of a chain and not all have expired, there is a line for each on standard output, in their order: the hash of the
//! subject (openssl-rehash(1)) or the word `expired`, the begin and the end of its time (seconds since 1970), the subject.
//! Otherwise the reason is on standard error, and the exit code is 65 (sysexits(3), invalid data) or 70 (OpenSSL failed).
//!
//! `server NAME ADDRESS:PORT INTERFACE` shakes hands, and writes a word: `valid`, `untrusted` (of no authority that is known
//! here), `other-name`, `expired`, `not-yet-valid`, or `broken-off`, which says nothing of its certificate. The exit code is
//! 69 if there is no connection, with the reason on standard error.

mod authority;
mod server;

use std::io::{Read, Write};
use std::process::ExitCode;

/// More than that is not read; `fleet-config` takes 32 KiB.
const MAX: u64 = 64 * 1024;

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let judged = match arguments.as_slice() {
        [] => authorities(),
        ["server", name, address, interface] => server(name, address, interface),
        _ => Err((
            64,
            "expected nothing, or: server NAME ADDRESS:PORT INTERFACE".to_owned(),
        )),
    };
    let (code, said) = match &judged {
        Ok(lines) => (0, std::io::stdout().write_all(lines.as_bytes())),
        Err((code, reason)) => (*code, writeln!(std::io::stderr(), "{reason}")),
    };
    ExitCode::from(if said.is_err() { 74 } else { code })
}

fn authorities() -> Result<String, (u8, String)> {
    let mut pem = Vec::new();
    let read = std::io::stdin().take(MAX).read_to_end(&mut pem);
    read.map_err(|error| (70, format!("cannot read standard input: {error}")))?;
    authority::judge(&pem).map_err(|error| (error.exit_code(), error.to_string()))
}

fn server(name: &str, address: &str, interface: &str) -> Result<String, (u8, String)> {
    let address = address
        .parse()
        .map_err(|error| (64, format!("{address}: {error}")))?;
    match server::judge(name, address, interface) {
        Ok(word) => Ok(format!("{word}\n")),
        Err(error) => Err((69, format!("cannot reach {address}: {error}"))),
    }
}
