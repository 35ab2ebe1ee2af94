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
    let hostnamed = HostnameProxy::new(connection);
    let asked = |error| failed("cannot set the host name", &sentence(&error));
    if hostnamed.hostname().await.map_err(asked)? == name.as_str() {
        return announce(connection, &name).await;
    }
    hostnamed
        .set_hostname(name.as_str(), false)
        .await
        .map_err(asked)?;
    // hostnamed takes a transient name, and ignores it, while there is a static one.
    let in_force = hostnamed.hostname().await.map_err(asked)?;
    if in_force != name.as_str() {
        return Err(failed(
            "cannot set the host name",
            &format!("{in_force} stays in force: remove the static name in /etc/hostname"),
        ));
    }
    log::info!("the host name is {}", name.as_str());
    announce(connection, &name).await
}

/// Tells the mDNS responder, which reads the host name only at its start. Where it does not run there is nobody to tell.
async fn announce(connection: &Connection, name: &HostName) -> bus::Result<()> {
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
    let announced = responder.host_name().await.map_err(asked)?;
    // With a number after it while somebody else on the link has the name.
    let number = announced
        .strip_prefix(label)
        .and_then(|rest| rest.strip_prefix('-'));
    if announced == label || number.is_some_and(|number| number.parse::<u16>().is_ok()) {
        return Ok(());
    }
    responder.set_host_name(label).await.map_err(asked)
}
