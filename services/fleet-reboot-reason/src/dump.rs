//! The kernel's last lines as pstore has them: pieces of a log, each with a line on what they are a piece of.
//!
//! The backends differ in the size of a piece and in how its file is named: `dmesg-efi_pstore-…` is 1 KiB or so,
//! compressed; `dmesg-ramoops-…` is a whole log. Common to all are the number at the name's end and the piece's first
//! line, `Panic#1 Part2` (fs/pstore/platform.c of the kernel): part 1 is the newest.

/// The kernel's word for a panic (`kmsg_dump_reason_str`).
const PANIC: &str = "Panic";

/// A log that the kernel left at one event.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Dump {
    /// The kernel's word for the event: `Panic`, `Oops`, `Emergency`, `Shutdown`.
    pub(crate) event: String,
    /// How many events there had been in that run, this one included.
    count: u32,
    /// Its lines, the newest last.
    pub(crate) lines: Vec<String>,
}

/// One file.
struct Piece {
    event: String,
    count: u32,
    part: u32,
    lines: Vec<String>,
}

impl Dump {
    /// The dumps in these files of pstore (name and content), the newest last where the names tell. Other kinds of files,
    /// and what is not a piece of a log, are left out.
    pub(crate) fn all(mut files: Vec<(String, Vec<u8>)>) -> Vec<Self> {
        // Backwards, the oldest part of a dump comes first, whatever the backend.
        files.sort_by(|(one, _), (other, _)| order(other).cmp(&order(one)));
        let mut dumps: Vec<Self> = Vec::new();
        let mut last_part = 0;
        for (name, content) in files {
            if !name.starts_with("dmesg-") || name.ends_with(".enc.z") {
                continue;
            }
            let Some(piece) = Piece::read(&content) else {
                continue;
            };
            match dumps.last_mut() {
                Some(dump) if dump.goes_on_with(&piece, last_part) => dump.lines.extend(piece.lines),
                _ => dumps.push(Self {
                    event: piece.event,
                    count: piece.count,
                    lines: piece.lines,
                }),
            }
            last_part = piece.part;
        }
        dumps.reverse();
        dumps
    }

    fn goes_on_with(&self, piece: &Piece, last_part: u32) -> bool {
        (self.event.as_str(), self.count) == (piece.event.as_str(), piece.count) && piece.part < last_part
    }

    /// Whether the kernel panicked.
    pub(crate) fn is_panic(&self) -> bool {
        self.event == PANIC
    }

    /// Why it panicked, in its own words, without the time; a general one if it did not get as far as to say so.
    pub(crate) fn word(&self) -> &str {
        let said = self.lines.iter().rev().find_map(|line| {
            let start = line.find("Kernel panic - ")?;
            line.get(start..)
        });
        said.unwrap_or("the kernel panicked")
    }
}

impl Piece {
    fn read(content: &[u8]) -> Option<Self> {
        let text = String::from_utf8_lossy(content);
        let (first, rest) = text.split_once('\n')?;
        let (event, numbers) = first.split_once('#')?;
        let (count, part) = numbers.split_once(" Part")?;
        if event.is_empty() || !event.bytes().all(|byte| byte.is_ascii_alphabetic()) {
            return None;
        }
        Some(Self {
            event: event.to_owned(),
            count: count.parse().ok()?,
            part: part.parse().ok()?,
            lines: rest.lines().map(plain).filter(|line| !line.is_empty()).collect(),
        })
    }
}

/// A name by its text and the number at its end.
fn order(name: &str) -> (&str, u64) {
    let text = name.trim_end_matches(|character: char| character.is_ascii_digit());
    let number = name.get(text.len()..).and_then(|digits| digits.parse().ok());
    (text, number.unwrap_or(u64::MAX))
}

/// A line of the kernel's log as text: without its priority (`<4>`), and without what would make the journal take it for
/// bytes.
fn plain(line: &str) -> String {
    /// More than the kernel puts in a line (`PRINTKRB_RECORD_MAX`).
    const LONGEST: usize = 1024;
    let line = match line.strip_prefix('<').and_then(|rest| rest.split_once('>')) {
        Some((priority, text)) if priority.bytes().all(|byte| byte.is_ascii_digit()) => text,
        _ => line,
    };
    let plain = line
        .chars()
        .map(|character| if character.is_control() { ' ' } else { character });
    plain.take(LONGEST).collect::<String>().trim_end().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn files(files: &[(&str, &str)]) -> Vec<(String, Vec<u8>)> {
        let owned = |(name, content): &(&str, &str)| ((*name).to_owned(), content.as_bytes().to_vec());
        files.iter().map(owned).collect()
    }

    fn events(dumps: &[Dump]) -> Vec<(&str, usize)> {
        dumps
            .iter()
            .map(|dump| (dump.event.as_str(), dump.lines.len()))
            .collect()
    }

    #[test]
    fn the_pieces_of_efi_variables_become_one_log() {
        let dumps = Dump::all(files(&[
            (
                "dmesg-efi_pstore-176412345601001",
                "Panic#1 Part1\n<0>[    9.1] Kernel panic - not syncing: sysrq triggered crash\n<4>[    9.2] CPU: 0\n",
            ),
            (
                "dmesg-efi_pstore-176412345602001",
                "Panic#1 Part2\n<6>[    9.0] sysrq: Trigger a crash\n",
            ),
            (
                "dmesg-efi_pstore-176412345610001",
                "Panic#1 Part10\n<6>[    1.0] first\n",
            ),
            (
                "dmesg-efi_pstore-176412345603001",
                "Panic#1 Part3\n<6>[    8.0] third\n",
            ),
        ]));
        assert_eq!(events(&dumps), [("Panic", 5)]);
        assert_eq!(
            dumps[0].lines,
            [
                "[    1.0] first",
                "[    8.0] third",
                "[    9.0] sysrq: Trigger a crash",
                "[    9.1] Kernel panic - not syncing: sysrq triggered crash",
                "[    9.2] CPU: 0",
            ]
        );
        assert_eq!(
            dumps[0].word(),
            "Kernel panic - not syncing: sysrq triggered crash"
        );
    }

    #[test]
    fn two_events_are_two_logs() {
        // Two in one run, and one in another run with the same count.
        let dumps = Dump::all(files(&[
            ("dmesg-efi_pstore-100000000001001", "Oops#1 Part1\na\n"),
            ("dmesg-efi_pstore-100000000001002", "Panic#2 Part1\nb\n"),
            ("dmesg-efi_pstore-100000900001002", "Panic#2 Part1\nc\n"),
            ("dmesg-efi_pstore-100000900002002", "Panic#2 Part2\nd\n"),
        ]));
        assert_eq!(events(&dumps), [("Oops", 1), ("Panic", 1), ("Panic", 2)]);
        assert!(!dumps[0].is_panic() && dumps[1].is_panic());
        assert_eq!(dumps[1].word(), "the kernel panicked");
    }

    #[test]
    fn ramoops_has_a_zone_a_log() {
        let dumps = Dump::all(files(&[
            ("dmesg-ramoops-2", "Panic#1 Part1\nlast\n"),
            ("dmesg-ramoops-10", "Panic#1 Part2\nfirst\n"),
            ("console-ramoops-0", "Panic#1 Part1\nnot a dump\n"),
        ]));
        assert_eq!(dumps[0].lines, ["first", "last"]);
        assert_eq!(dumps.len(), 1);
    }

    #[test]
    fn what_is_no_log_is_left_out() {
        let none: [Dump; 0] = [];
        assert_eq!(
            Dump::all(files(&[
                ("dmesg-efi_pstore-1", ""),
                ("dmesg-efi_pstore-2", "Panic#1 Part1"),
                ("dmesg-efi_pstore-3", "Panic#x Part1\na\n"),
                ("dmesg-efi_pstore-4", "#1 Part1\na\n"),
                ("dmesg-efi_pstore-5", "Panic\n#1 Part1\n"),
                ("dmesg-efi_pstore-6.enc.z", "Panic#1 Part1\na\n"),
                ("pmsg-ramoops-0", "Panic#1 Part1\na\n"),
            ])),
            none
        );
        let mut hostile = b"Panic#1 Part1\n<4>a\x1b[31m\x00b\xff\xfe\n<x>c\n<>\n".to_vec();
        hostile.extend(vec![b'y'; 100_000]);
        let dumps = Dump::all(vec![("dmesg-x".to_owned(), hostile)]);
        assert_eq!(dumps[0].lines[0], "a [31m b\u{fffd}\u{fffd}");
        assert_eq!(dumps[0].lines[1], "<x>c");
        assert_eq!(dumps[0].lines.last().unwrap().len(), 1024);
    }
}
