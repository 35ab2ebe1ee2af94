//! The host name: the transient one, and the one that is answered for by mDNS.

use fleet_base::bus::{self, sentence};
use fleet_base::proxy::avahi::{self, AvahiProxy};
use fleet_base::proxy::hostname::HostnameProxy;
use zbus::Connection;

use crate::argument::HostName;
use crate::service::failed;

/// Sets the transient host name (RFC 1123), unless it is in force already.
pub(crate) async fn set(connection: &Connection, name: &str) -> bus::Result<()> {
    let name = HostName::try_from(name)?;
    let place = "cannot set the host name";
    if in_force()? == name.as_str() {
        return announce(connection, &name, false).await;
    }
    HostnameProxy::new(connection)
        .set_hostname(name.as_str(), false)
        .await
        .map_err(|error| failed(place, &sentence(&error)))?;
    // hostnamed takes a transient name, and ignores it, while there is a static one.
    let in_force = in_force()?;
    if in_force != name.as_str() {
        return Err(failed(
            place,
            &format!("{in_force} stays in force: remove the static name in /etc/hostname"),
        ));
    }
    log::info!("the host name is {}", name.as_str());
    announce(connection, &name, true).await
}

/// The name that the kernel has, which hostnamed sets before it answers: the helper is in no name space of its own for it
/// (`ProtectHostname=no`).
fn in_force() -> bus::Result<String> {
    let name = nix::unistd::gethostname().map_err(|error| failed("cannot read the host name", &error))?;
    Ok(name.to_string_lossy().into_owned())
}

/// Tells the mDNS responder, which reads the host name only at its start. Where it does not run there is nobody to tell. One
/// that was told of this name before is asked first what it made of it.
async fn announce(connection: &Connection, name: &HostName, is_new: bool) -> bus::Result<()> {
    let asked = |error| failed("cannot announce the host name by mDNS", &sentence(&error));
    if bus::name_owner(connection, avahi::NAME)
        .await
        .map_err(asked)?
        .is_none()
    {
        return Ok(());
    }
    let responder = AvahiProxy::new(connection);
    // mDNS names are one label below .local (RFC 6762 section 3).
    let label = name.as_str().split('.').next().unwrap_or_default();
    if !is_new {
        let announced = responder.host_name().await.map_err(asked)?;
        // With a number after it while somebody else on the link has the name.
        let number = announced
            .strip_prefix(label)
            .and_then(|rest| rest.strip_prefix('-'));
        if announced == label || number.is_some_and(|number| number.parse::<u16>().is_ok()) {
            return Ok(());
        }
    }
    responder.set_host_name(label).await.map_err(asked)
}
