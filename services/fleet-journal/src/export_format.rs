//! The journal's export format (<https://systemd.io/JOURNAL_EXPORT_FORMATS/>), passed on with its secrets redacted.
//!
//! A filter between two programs, a piece at a time. A field is held whole, so that no border between two pieces hides a
//! secret; so no field may be larger than [`MAX_VALUE`]. A larger one is left out, which is said in its place: what is so
//! large is a core dump, which holds what nobody can look for.

use std::fmt;

use crate::redaction::Redaction;

/// The largest value that is passed on, in bytes.
pub const MAX_VALUE: usize = 1024 * 1024;
/// The longest name of a field that journald takes (64), and far more than that.
const MAX_NAME: usize = 1024;
/// What stands in place of a value that is too large.
const LEFT_OUT: &[u8] = b"[left out: larger than 1 MiB]";

/// Fields that journald itself makes and that no program can write into: addresses, numbers, identifiers. A number that
/// happens to be a secret's digits is none there, and without its address an entry is not one.
const MADE_BY_JOURNALD: [&str; 12] = [
    "_AUDIT_LOGINUID",
    "_AUDIT_SESSION",
    "_BOOT_ID",
    "_CAP_EFFECTIVE",
    "_GID",
    "_MACHINE_ID",
    "_PID",
    "_SOURCE_MONOTONIC_TIMESTAMP",
    "_SOURCE_REALTIME_TIMESTAMP",
    "_STREAM_ID",
    "_SYSTEMD_INVOCATION_ID",
    "_UID",
];

/// Why the input is not the export format.
#[derive(Debug, PartialEq, Eq)]
pub enum Error {
    /// At this byte of it a field has no name, or no end.
    Field(u64),
    /// It ends within a field.
    CutOff,
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Field(at) => write!(f, "byte {at} of the journal's export is not of the export format"),
            Self::CutOff => f.write_str("the journal's export is cut off"),
        }
    }
}

impl std::error::Error for Error {}

/// What was passed on.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Entries.
    pub entries: u64,
    /// Fields in which something was redacted.
    pub redacted: u64,
    /// Fields whose value is too large.
    pub left_out: u64,
}

/// Where in the format it is.
enum State {
    /// In a line: a name with its value, a name alone, or the blank line after an entry.
    Line,
    /// In a line that is too long, and the rest of it is left out.
    LongLine,
    /// Before these many bytes of the length of a value, the least significant first.
    Length(usize, u64),
    /// Before these many bytes of a value.
    Value(u64),
    /// Before these many bytes of a value that is left out.
    LargeValue(u64),
    /// Before the line break after a value.
    Break,
}

/// Reads the format and writes it again without secrets.
pub struct Filter<'r> {
    /// `None`: everything is passed on as it is.
    redaction: Option<&'r Redaction>,
    state: State,
    /// The line or value so far.
    held: Vec<u8>,
    /// The name of the field whose value is being read.
    name: Vec<u8>,
    /// Whether the entry has a field yet.
    has_field: bool,
    /// Bytes read.
    read: u64,
    counts: Counts,
}

impl<'r> Filter<'r> {
    /// Redacts, or only counts.
    #[must_use]
    pub const fn new(redaction: Option<&'r Redaction>) -> Self {
        Self {
            redaction,
            state: State::Line,
            held: Vec::new(),
            name: Vec::new(),
            has_field: false,
            read: 0,
            counts: Counts {
                entries: 0,
                redacted: 0,
                left_out: 0,
            },
        }
    }

    /// What was passed on so far.
    #[must_use]
    pub const fn counts(&self) -> Counts {
        self.counts
    }

    /// Takes the next piece, and adds to `out` what is complete.
    ///
    /// # Errors
    /// [`Error::Field`]; nothing more may be given then.
    pub fn push(&mut self, mut piece: &[u8], out: &mut Vec<u8>) -> Result<(), Error> {
        while !piece.is_empty() {
            let taken = self.step(piece, out)?;
            self.read += length(taken);
            piece = &piece[taken..];
        }
        Ok(())
    }

    /// Says that nothing more comes.
    ///
    /// # Errors
    /// [`Error::CutOff`].
    pub fn finish(mut self, out: &mut Vec<u8>) -> Result<Counts, Error> {
        if !matches!(self.state, State::Line) || !self.held.is_empty() {
            return Err(Error::CutOff);
        }
        if self.has_field {
            self.end_entry(out);
        }
        Ok(self.counts)
    }

    /// Takes some of the piece, at least one byte. Returns how much.
    fn step(&mut self, piece: &[u8], out: &mut Vec<u8>) -> Result<usize, Error> {
        match self.state {
            State::Line => {
                let end = piece.iter().position(|byte| *byte == b'\n');
                let part = &piece[..end.unwrap_or(piece.len())];
                if self.held.len() + part.len() > MAX_VALUE + MAX_NAME {
                    self.begin_long_line(part, out)?;
                    return Ok(part.len());
                }
                self.held.extend_from_slice(part);
                if end.is_none() {
                    return Ok(part.len());
                }
                self.end_line(out)?;
                Ok(part.len() + 1)
            }
            State::LongLine => match piece.iter().position(|byte| *byte == b'\n') {
                Some(end) => {
                    self.state = State::Line;
                    Ok(end + 1)
                }
                None => Ok(piece.len()),
            },
            State::Length(missing, so_far) => {
                let so_far = so_far >> 8 | u64::from(piece[0]) << 56;
                self.state = match missing {
                    1 if so_far > length(MAX_VALUE) => State::LargeValue(so_far),
                    1 if so_far == 0 => State::Break,
                    1 => State::Value(so_far),
                    _ => State::Length(missing - 1, so_far),
                };
                Ok(1)
            }
            State::Value(missing) => {
                let taken = at_most(missing, piece.len());
                self.held.extend_from_slice(&piece[..taken]);
                self.state = match missing - length(taken) {
                    0 => State::Break,
                    missing => State::Value(missing),
                };
                Ok(taken)
            }
            State::LargeValue(missing) => {
                let taken = at_most(missing, piece.len());
                self.state = match missing - length(taken) {
                    0 => {
                        self.held.extend_from_slice(LEFT_OUT);
                        self.counts.left_out += 1;
                        State::Break
                    }
                    missing => State::LargeValue(missing),
                };
                Ok(taken)
            }
            State::Break if piece[0] == b'\n' => {
                let (name, value) = (std::mem::take(&mut self.name), std::mem::take(&mut self.held));
                self.field(&name, &value, true, out);
                (self.name, self.held) = (name, value);
                self.name.clear();
                self.held.clear();
                self.state = State::Line;
                Ok(1)
            }
            State::Break => Err(self.error()),
        }
    }

    const fn error(&self) -> Error {
        Error::Field(self.read)
    }

    /// A line is whole, in `held`.
    fn end_line(&mut self, out: &mut Vec<u8>) -> Result<(), Error> {
        if self.held.is_empty() {
            if self.has_field {
                self.end_entry(out);
            }
            return Ok(());
        }
        let line = std::mem::take(&mut self.held);
        match line.iter().position(|byte| *byte == b'=') {
            Some(0) => return Err(self.error()),
            Some(end) => self.field(&line[..end], &line[end + 1..], false, out),
            None if line.len() > MAX_NAME => return Err(self.error()),
            None => {
                self.name.extend_from_slice(&line);
                self.state = State::Length(8, 0);
            }
        }
        self.held = line;
        self.held.clear();
        Ok(())
    }

    /// What is held and this part of the same line are more than is passed on.
    fn begin_long_line(&mut self, part: &[u8], out: &mut Vec<u8>) -> Result<(), Error> {
        let start = part.len().min(MAX_NAME);
        self.held.extend_from_slice(&part[..start]);
        let end = self.held.iter().position(|byte| *byte == b'=');
        let Some(end) = end.filter(|end| (1..=MAX_NAME).contains(end)) else {
            return Err(self.error());
        };
        let line = std::mem::take(&mut self.held);
        self.field(&line[..end], LEFT_OUT, false, out);
        self.counts.left_out += 1;
        self.state = State::LongLine;
        Ok(())
    }

    fn field(&mut self, name: &[u8], value: &[u8], is_binary: bool, out: &mut Vec<u8>) {
        self.has_field = true;
        let made_by_journald = name.starts_with(b"__")
            || std::str::from_utf8(name).is_ok_and(|name| MADE_BY_JOURNALD.contains(&name));
        let redaction = self.redaction.filter(|_| !made_by_journald);
        if redaction.is_some_and(|redaction| redaction.redact(name).is_some()) {
            // A name cannot be written another way.
            self.counts.redacted += 1;
            return;
        }
        let redacted = redaction.and_then(|redaction| redaction.redact(value));
        self.counts.redacted += u64::from(redacted.is_some());
        let value = redacted.as_deref().unwrap_or(value);
        out.extend_from_slice(name);
        if is_binary {
            out.push(b'\n');
            out.extend_from_slice(&length(value.len()).to_le_bytes());
        } else {
            out.push(b'=');
        }
        out.extend_from_slice(value);
        out.push(b'\n');
    }

    fn end_entry(&mut self, out: &mut Vec<u8>) {
        out.push(b'\n');
        self.has_field = false;
        self.counts.entries += 1;
    }
}

fn length(bytes: usize) -> u64 {
    u64::try_from(bytes).unwrap_or(u64::MAX)
}

/// The smaller of the two.
fn at_most(missing: u64, available: usize) -> usize {
    usize::try_from(missing).unwrap_or(usize::MAX).min(available)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn filtered(input: &[u8], piece: usize, secrets: &[&str]) -> Result<(Vec<u8>, Counts), Error> {
        let redaction = Redaction::of(secrets.iter().copied());
        let mut filter = Filter::new(Some(&redaction));
        let mut out = Vec::new();
        for piece in input.chunks(piece) {
            filter.push(piece, &mut out)?;
        }
        let counts = filter.finish(&mut out)?;
        Ok((out, counts))
    }

    fn binary(name: &str, value: &[u8]) -> Vec<u8> {
        let length = u64::try_from(value.len()).unwrap().to_le_bytes();
        [name.as_bytes(), b"\n", &length, value, b"\n"].concat()
    }

    #[test]
    fn redacts_both_kinds_of_fields_in_pieces_of_any_size() {
        let input = [
            b"__CURSOR=s=hunter2\n_BOOT_ID=hunter2\nMESSAGE=the psk is hunter2, hunter2\n".to_vec(),
            binary("MESSAGE_LONG", b"a\nhunter2\0\xff"),
            binary("EMPTY", b""),
            b"_CMDLINE=wpa_cli hunter2\nHUNTER2=x\n\n\n\nMESSAGE==\n\n".to_vec(),
        ]
        .concat();
        let output = [
            b"__CURSOR=s=hunter2\n_BOOT_ID=hunter2\nMESSAGE=the psk is [redacted], [redacted]\n".to_vec(),
            binary("MESSAGE_LONG", b"a\n[redacted]\0\xff"),
            binary("EMPTY", b""),
            b"_CMDLINE=wpa_cli [redacted]\n\nMESSAGE==\n\n".to_vec(),
        ]
        .concat();
        for piece in 1..input.len() + 1 {
            let (out, counts) = filtered(&input, piece, &["hunter2", "HUNTER2"]).unwrap();
            assert_eq!(String::from_utf8_lossy(&out), String::from_utf8_lossy(&output));
            assert_eq!(
                counts,
                Counts {
                    entries: 2,
                    redacted: 4,
                    left_out: 0
                }
            );
        }
    }

    #[test]
    fn what_is_too_large_is_left_out_and_said() {
        let large = vec![b'x'; MAX_VALUE + MAX_NAME + 10];
        let input = [
            binary("COREDUMP", &large),
            [b"MESSAGE=", large.as_slice(), b"\n"].concat(),
            binary("JUST", &large[..MAX_VALUE]),
            b"A=b\n\n".to_vec(),
        ]
        .concat();
        let (out, counts) = filtered(&input, 4096, &["secret"]).unwrap();
        let expected = [
            binary("COREDUMP", LEFT_OUT),
            [b"MESSAGE=", LEFT_OUT, b"\n"].concat(),
            binary("JUST", &large[..MAX_VALUE]),
            b"A=b\n\n".to_vec(),
        ]
        .concat();
        assert!(out == expected);
        assert_eq!((counts.entries, counts.left_out), (1, 2));
    }

    #[test]
    fn what_is_not_the_format_is_said_and_takes_no_memory() {
        for (bad, error) in [
            (&b"=x\n"[..], Error::Field(0)),
            (b"A=b", Error::CutOff),
            (b"A\n\x01\0\0", Error::CutOff),
            (b"A\n\x01\0\0\0\0\0\0\0b", Error::CutOff),
            (b"A\n\x01\0\0\0\0\0\0\0bc", Error::Field(11)),
            (b"A\n\xff\xff\xff\xff\xff\xff\xff\xffb", Error::CutOff),
            (&[b'A'; 2000], Error::CutOff),
        ] {
            assert_eq!(filtered(bad, 3, &["secret"]).unwrap_err(), error, "{bad:?}");
        }
        let nameless = vec![b'A'; MAX_VALUE * 3];
        assert!(matches!(
            filtered(&nameless, 4096, &["secret"]),
            Err(Error::Field(_))
        ));
        let hostile = [b"A\n".as_slice(), &[0xff; 8], &vec![0; 4 * MAX_VALUE]].concat();
        let redaction = Redaction::of([]);
        let mut filter = Filter::new(Some(&redaction));
        filter.push(&hostile, &mut Vec::new()).unwrap();
        assert!(filter.held.capacity() < 1024);
    }

    #[test]
    fn without_a_redaction_everything_is_passed_on() {
        let input = [b"A=b\n".to_vec(), binary("B", b"\n"), b"\n".to_vec()].concat();
        let mut filter = Filter::new(None);
        let mut out = Vec::new();
        filter.push(&input, &mut out).unwrap();
        assert_eq!(filter.finish(&mut out).unwrap().entries, 1);
        assert_eq!(out, input);
    }

    proptest! {
        /// Whatever comes, it ends, and the memory is bounded.
        #[test]
        fn never_panics(
            bytes in proptest::collection::vec(prop_oneof![any::<u8>(), Just(b'\n'), Just(b'='), Just(0)], 0..400),
            piece in 1..50_usize,
        ) {
            let _ = filtered(&bytes, piece, &["secret"]);
        }

        /// What is written is the format again: the same fields, without the secret.
        #[test]
        fn what_comes_out_goes_in(
            values in proptest::collection::vec((any::<bool>(), proptest::collection::vec(any::<u8>(), 0..40), 0..40_usize), 1..8),
            piece in 1..30_usize,
        ) {
            let secret = b"secret-7";
            let mut input = Vec::new();
            for (is_binary, mut value, at) in values {
                let at = at.min(value.len());
                value.splice(at..at, secret.iter().copied());
                if is_binary {
                    input.extend(binary("FIELD", &value));
                } else {
                    value.retain(|byte| *byte != b'\n');
                    input.extend([b"FIELD=", value.as_slice(), b"\n"].concat());
                }
            }
            input.push(b'\n');
            let (out, counts) = filtered(&input, piece, &["secret-7"]).unwrap();
            prop_assert!(!out.windows(secret.len()).any(|window| window == secret));
            prop_assert_eq!(counts.entries, 1);
            let (again, counts) = filtered(&out, 7, &["secret-7"]).unwrap();
            prop_assert_eq!(again, out);
            prop_assert_eq!(counts.redacted, 0);
        }
    }
}
