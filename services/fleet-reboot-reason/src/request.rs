//! What systemd is about to do with the device.

use fleet_base::proxy::systemd::ManagerProxy;
use zbus::Connection;

use crate::last_run::Request;

/// The end that is under way, if one is: its target has a start job. A service that is only stopped or restarted sees
/// none.
///
/// # Errors
/// systemd does not answer.
pub(crate) async fn under_way(connection: &Connection) -> zbus::Result<Option<Request>> {
    let starting = ManagerProxy::new(connection).starting().await?;
    Ok(of_jobs(&starting))
}

fn of_jobs(starting: &[String]) -> Option<Request> {
    Request::ALL.into_iter().find(|request| {
        starting
            .iter()
            .any(|unit| unit.strip_suffix(".target") == Some(request.as_str()))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_target_that_starts_is_what_was_asked_for() {
        for (units, request) in [
            (
                &["umount.target", "reboot.target", "systemd-reboot.service"][..],
                Some(Request::Reboot),
            ),
            (&["poweroff.target"], Some(Request::PowerOff)),
            (&["kexec.target"], Some(Request::Kexec)),
            (&["reboot.service", "multi-user.target", "reboot"], None),
            (&[], None),
        ] {
            let units: Vec<String> = units.iter().map(|&unit| unit.to_owned()).collect();
            assert_eq!(of_jobs(&units), request, "{units:?}");
        }
    }
}
