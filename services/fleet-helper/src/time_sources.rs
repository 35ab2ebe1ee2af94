//! chrony's time sources: read again, and what it has then.

use std::time::Duration;

use fleet_base::command::{self, Error};

/// How long chronyc may take: it asks chronyd over a local socket.
const LIMIT: Duration = Duration::from_secs(5);

/// What chronyc prints for a source that chronyd took for another address between its two questions, which source and
/// which name: a server's name was resolved just then.
const MOVED: &str = "?";

/// How often a list with a moved source is read again. Each name of a list is resolved once, so the second is good.
const READINGS_AGAIN: usize = 5;

/// Makes chronyd read its source files again. Returns the names that it has then, as they were written, each once.
pub(crate) async fn reload() -> Result<Vec<String>, Error> {
    let mut reply = chronyc(&["-m", "reload sources", "sources -a"]).await?;
    for _ in 0..READINGS_AGAIN {
        if !names(&reply).iter().any(|name| name == MOVED) {
            break;
        }
        reply = chronyc(&["-m", "sources -a"]).await?;
    }
    Ok(names(&reply))
}

/// What chronyc answers: -N with names as written, -a with those that no address is known of yet (chronyc(1)).
async fn chronyc(commands: &[&str]) -> Result<String, Error> {
    let arguments = [&["-c", "-N"], commands].concat();
    command::ask("chronyc", &arguments, b"", LIMIT).await
}

/// From `MODE,STATE,NAME,…` (chronyc(1), "sources", with -c). A pool has a line for each of its servers.
fn names(reply: &str) -> Vec<String> {
    let mut names: Vec<String> = Vec::new();
    for line in reply.lines() {
        if let Some(name) = line.split(',').nth(2)
            && names.iter().all(|known| known != name)
        {
            names.push(name.to_owned());
        }
    }
    names
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_source_is_named_once() {
        let reply = "200 OK\n\
                     ^,?,192.0.2.7,0,6,0,4294967295,0.000000000,0.000000000,0.000000000\n\
                     ^,*,pool.ntp.org,2,6,377,14,0.000012,0.000013,0.000100\n\
                     ^,?,pool.ntp.org,0,6,0,4294967295,0.000000000,0.000000000,0.000000000\n";
        assert_eq!(names(reply), ["192.0.2.7", "pool.ntp.org"]);
        assert_eq!(names("200 OK\n"), [""; 0]);
    }
}
