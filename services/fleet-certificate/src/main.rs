//! Looks into certificates of authorities, for `fleet-config`.
//!
//! An executable of its own, because it is the only one that needs OpenSSL: it runs for some milliseconds when a
//! certificate is set, and no resident process maps libssl.
//!
//! Certificates (PEM, RFC 7468) are read from standard input. If OpenSSL would take each of them as the anchor of a chain
//! and not all have expired, there is a line for each on standard output, in their order: the hash of the subject
//! (openssl-rehash(1)) or the word `expired`, the begin and the end of its time (seconds since 1970), the subject.
//! Otherwise the reason is on standard error, and the exit code is 65 (sysexits(3), invalid data) or 70 (OpenSSL failed).

mod authority;

use std::io::{Read, Write};
use std::process::ExitCode;

/// More than that is not read; `fleet-config` takes 32 KiB.
const MAX: u64 = 64 * 1024;

fn main() -> ExitCode {
    let mut pem = Vec::new();
    let judged = std::io::stdin()
        .take(MAX)
        .read_to_end(&mut pem)
        .map_err(|error| (70, format!("cannot read standard input: {error}")))
        .and_then(|_| authority::judge(&pem).map_err(|error| (error.exit_code(), error.to_string())));
    let (code, said) = match &judged {
        Ok(lines) => (0, std::io::stdout().write_all(lines.as_bytes())),
        Err((code, reason)) => (*code, writeln!(std::io::stderr(), "{reason}")),
    };
    ExitCode::from(if said.is_err() { 74 } else { code })
}
