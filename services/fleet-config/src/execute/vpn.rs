//! The VPN: OpenVPN by its unit, WireGuard by NetworkManager.
//!
//! OpenVPN's files are written here, for this service alone; the unit reads them as credentials (systemd.exec(5)). The
//! profile of WireGuard is one of the keyfiles that the helper places (`SetKeyfiles`); what is left is to have a changed
//! one activated. What lies in the folder also tells fleet-watch which VPN there shall be.

use std::path::Path;

use fleet_base::file::{self, Durability};
use fleet_base::paths::{OPENVPN_CONFIG, WIREGUARD_KEEPALIVE, WIREGUARD_PROFILE};
use fleet_base::proxy::helper::HelperProxy;
use fleet_base::proxy::network_manager::NetworkManagerProxy;
use fleet_base::proxy::systemd::{ManagerProxy, OPENVPN};

use super::{Device, NETWORK_MANAGER_READS_LATER, helper_error, make_folder, peer};
use crate::effect::Effect;
use crate::plan::Known;
use crate::wanted::{PROFILE_UUID, Vpn};

const LOGIN: &str = "login";

/// Whether a VPN was set up since the device started.
pub(super) fn is_set_up(folder: &Path) -> bool {
    [OPENVPN_CONFIG, WIREGUARD_PROFILE]
        .iter()
        .any(|name| !matches!(folder.join(name).try_exists(), Ok(false)))
}

/// Of each peer of a profile, in seconds; 0 is none.
fn keepalives(profile: &str) -> impl Iterator<Item = u64> {
    profile
        .lines()
        .filter_map(|line| line.strip_prefix("persistent-keepalive=")?.parse().ok())
}

impl Device {
    pub(super) async fn set_vpn(&self, vpn: Vpn, known: &mut Known) -> Result<Effect, String> {
        let folder = &self.board.vpn;
        let failed = |error: file::Error| error.to_string();
        let write = |name: &str, text: &str| {
            file::write(&folder.join(name), text.as_bytes(), 0o600, Durability::Volatile).map_err(failed)
        };
        let remove = |name: &str| file::remove(&folder.join(name), Durability::Volatile).map_err(failed);
        if let Vpn::Incomplete(why) = &vpn {
            return Err((*why).to_owned());
        }
        make_folder(&folder.join(LOGIN)).map_err(failed)?;
        let helper = HelperProxy::new(&self.connection);
        if !matches!(vpn, Vpn::WireGuard(_)) {
            remove(WIREGUARD_PROFILE)?;
            remove(WIREGUARD_KEEPALIVE)?;
        }
        let state = ManagerProxy::new(&self.connection).active_state(OPENVPN).await;
        let runs = state.is_ok_and(|state| state != "inactive" && state != "failed");
        if !matches!(vpn, Vpn::OpenVpn { .. }) {
            // The files first: to fleet-watch they say that there shall be a VPN.
            let removed = remove(OPENVPN_CONFIG)? | remove(LOGIN)?;
            if runs || removed {
                helper.set_openvpn(false, false).await.map_err(helper_error)?;
            }
        }
        let effect = match &vpn {
            Vpn::None | Vpn::Incomplete(_) => Effect::Done,
            Vpn::OpenVpn { config, login } => {
                let changed = write(LOGIN, login.expose())? | write(OPENVPN_CONFIG, config.expose())?;
                if changed || !runs {
                    helper.set_openvpn(true, runs).await.map_err(helper_error)?;
                }
                Effect::Done
            }
            Vpn::WireGuard(profile) => {
                let changed = write(WIREGUARD_PROFILE, profile.expose())?;
                let least = keepalives(profile.expose()).min().unwrap_or_default();
                file::write(
                    &folder.join(WIREGUARD_KEEPALIVE),
                    format!("{least}\n").as_bytes(),
                    0o644,
                    Durability::Volatile,
                )
                .map_err(failed)?;
                if !self.network_manager_runs {
                    Effect::Waiting(NETWORK_MANAGER_READS_LATER)
                } else {
                    if changed {
                        // A profile that is active goes on as it was until it is activated anew.
                        NetworkManagerProxy::new(&self.connection)
                            .activate(PROFILE_UUID)
                            .await
                            .map_err(|error| peer("NetworkManager", &error))?;
                    }
                    Effect::Done
                }
            }
        };
        known.vpn = Some(vpn);
        Ok(effect)
    }
}
