//! `fleet config history`.

use std::process::{Command, Stdio};

use fleet_base::exit::Exit;
use fleet_base::proxy::config::{ConfigProxy, HistoryRow};
use serde_json::{Value, json};

use super::failed;
use crate::cli::connection;
use crate::cli::failure::Failure;
use crate::cli::output;

/// How many keys a line names; `--json` has all.
const MOST_KEYS: usize = 5;

/// `fleet config history`: the last changes, newest first.
pub(in crate::cli) async fn show(json: bool) -> Result<Exit, Failure> {
    let connection = connection::open().await?;
    let rows = ConfigProxy::new(&connection).history().await.map_err(failed)?;
    if json {
        let rows: Value = rows.iter().map(row_json).collect();
        return output::json(&rows);
    }
    for line in lines(&rows, |us| local_time(us / 1_000_000)) {
        output::line(&line)?;
    }
    Ok(Exit::Done)
}

fn row_json((revision, time, who, how, keys): &HistoryRow) -> Value {
    json!({"revision": revision, "time_us": time, "who": who, "how": how, "keys": keys})
}

/// The table: a line of titles, then a line a change.
fn lines(rows: &[HistoryRow], time: impl Fn(u64) -> String) -> Vec<String> {
    let mut cells = vec![["REVISION", "TIME", "WHO", "HOW", "KEYS"].map(str::to_owned)];
    cells.extend(rows.iter().map(|(revision, at, who, how, keys)| {
        let time = if *at == 0 {
            "clock not set".to_owned()
        } else {
            time(*at)
        };
        let (shown, more) = keys.split_at(keys.len().min(MOST_KEYS));
        let mut shown = shown.join(" ");
        if !more.is_empty() {
            shown += &format!(" and {} more", more.len());
        }
        [revision.to_string(), time, who.clone(), how.clone(), shown]
    }));
    output::columns(&cells)
}

/// Seconds since 1970 as local time, ISO 8601; `@` and the number if there is no date(1).
///
/// By date(1): it knows the zone, which neither the standard library nor a crate of ours does.
fn local_time(seconds: u64) -> String {
    let at = format!("@{seconds}");
    let output = Command::new("date")
        .args(["-d", &at, "+%Y-%m-%dT%H:%M:%S%z"])
        .stdin(Stdio::null())
        .stderr(Stdio::null())
        .output();
    match output {
        Ok(output) if output.status.success() => {
            let text = String::from_utf8_lossy(&output.stdout);
            with_colon(text.trim())
        }
        _ => at,
    }
}

/// `+0100` at the end as `+01:00`, which is the form that goes with the colons of the time (ISO 8601, RFC 3339).
fn with_colon(time: &str) -> String {
    match time.len().checked_sub(2).and_then(|at| time.split_at_checked(at)) {
        Some((time, minutes)) => format!("{time}:{minutes}"),
        None => time.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_table_newest_first() {
        let rows = [
            (
                12,
                1_790_000_000_000_000,
                "user 1000".to_owned(),
                "patch".to_owned(),
                vec!["hostname".to_owned(), "os.sshKeys".to_owned()],
            ),
            (
                2,
                0,
                "config.json".to_owned(),
                "edit".to_owned(),
                ["a", "b", "c", "d", "e", "f", "g"].map(str::to_owned).to_vec(),
            ),
            (1, 0, "device".to_owned(), "first".to_owned(), vec![]),
        ];
        assert_eq!(
            lines(&rows, |us| format!("t{us}")),
            [
                "REVISION  TIME               WHO          HOW    KEYS",
                "12        t1790000000000000  user 1000    patch  hostname os.sshKeys",
                "2         clock not set      config.json  edit   a b c d e and 2 more",
                "1         clock not set      device       first",
            ]
        );
        assert_eq!(
            row_json(&rows[2]).to_string(),
            r#"{"revision":1,"time_us":0,"who":"device","how":"first","keys":[]}"#
        );
    }

    #[test]
    fn time_is_local_and_iso() {
        assert_eq!(
            with_colon("2026-11-22T00:22:22+0100"),
            "2026-11-22T00:22:22+01:00"
        );
        assert_eq!(with_colon("x"), "x");
        let time = local_time(1_790_000_000);
        assert!(time.starts_with("2026-09-2") && time.len() == 25, "{time}");
    }
}
