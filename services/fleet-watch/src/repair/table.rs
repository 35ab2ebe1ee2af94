//! Which step can help against which fault. `docs/connectivity.md`, "Repairs", has the table with the reasons for it.

use Step::{Bounce, Reactivate, Reboot, RestartNetworkManager, RestartVpn};

use crate::ladder::{Reason, Step};
use crate::snapshot::Kind;

/// What is at fault.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Thing {
    Cable,
    Wifi,
    Modem,
    /// A bridge, bond, VLAN: it stands on others, and is made by its profile.
    Stacked,
    OpenVpn,
    WireGuard,
    /// Not one uplink, but all that is there of a network.
    System,
}

impl Thing {
    pub(crate) const fn of(kind: Kind) -> Self {
        match kind {
            Kind::Ethernet | Kind::Veth => Self::Cable,
            Kind::Wifi => Self::Wifi,
            Kind::Modem => Self::Modem,
            Kind::Bridge | Kind::Stacked => Self::Stacked,
        }
    }
}

/// The steps against a fault, in the order in which they are tried; none for one that nothing on the device can repair.
///
/// No default: who adds a reason decides about it here.
pub(crate) const fn steps(reason: Reason, thing: Thing) -> &'static [Step] {
    match reason {
        Reason::NetworkManagerDown => &[RestartNetworkManager, RestartNetworkManager, Reboot],
        Reason::NoDevice => &[RestartNetworkManager, Reboot],
        // Firmware, driver or supplicant: a Wi-Fi device without any network in reach is not that.
        Reason::NoCarrier if matches!(thing, Thing::Wifi) => &[Bounce, RestartNetworkManager, Reboot],
        Reason::Inactive if matches!(thing, Thing::Stacked) => &[Reactivate, RestartNetworkManager],
        Reason::Inactive => &[Reactivate, Bounce, RestartNetworkManager],
        Reason::Connecting
        | Reason::NetworkNotFound
        | Reason::NotRegistered
        | Reason::NoBearer
        | Reason::NoLease
        | Reason::NoAddress
        | Reason::NoGateway
            if !matches!(thing, Thing::Stacked) =>
        {
            &[Reactivate, Bounce]
        }
        Reason::Connecting
        | Reason::NetworkNotFound
        | Reason::NotRegistered
        | Reason::NoBearer
        | Reason::NoLease
        | Reason::NoAddress
        | Reason::NoGateway
        | Reason::NeedAuth
        | Reason::GatewaySilent
        | Reason::NoResolver => &[Reactivate],
        // A modem's bearer can be dead while it calls itself connected, and there is no gateway to ask.
        Reason::ResolverSilent | Reason::NoInternet | Reason::CheckTimeout | Reason::Unreachable
            if matches!(thing, Thing::Modem) =>
        {
            &[Reactivate]
        }
        Reason::VpnDown | Reason::VpnSilent => &[RestartVpn],
        // Its server's name is looked up when it is activated, and never again; OpenVPN does that at every attempt.
        Reason::VpnUnreachable if matches!(thing, Thing::WireGuard) => &[RestartVpn],
        // Each activation gives the SIM the profile's PIN again, and the third wrong one locks it.
        Reason::NoSim | Reason::SimLocked => &[],
        Reason::None
        | Reason::Unmanaged
        | Reason::RadioOff
        | Reason::NoCarrier
        | Reason::DuplicateAddress
        | Reason::ResolverSilent
        | Reason::ResolverFailing
        | Reason::ResolverLying
        | Reason::NotChecked
        | Reason::Checking
        | Reason::Portal
        | Reason::NoInternet
        | Reason::NameUnknown
        | Reason::Unreachable
        | Reason::CheckRefused
        | Reason::CheckTimeout
        | Reason::CheckReset
        | Reason::ClockWrong
        | Reason::TlsIntercepted
        | Reason::ServerFault
        | Reason::VpnConnecting
        | Reason::VpnUnreachable
        | Reason::VpnAuthFailed
        | Reason::VpnCertificate => &[],
    }
}

/// How often a step may be taken, on all uplinks together: in an hour, and in a day.
pub(crate) const fn bounds(step: Step) -> (usize, usize) {
    match step {
        Reactivate => (6, 24),
        Bounce => (3, 12),
        RestartVpn => (3, 12),
        RestartNetworkManager => (2, 6),
        Reboot => (1, 2),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const THINGS: [Thing; 7] = [
        Thing::Cable,
        Thing::Wifi,
        Thing::Modem,
        Thing::Stacked,
        Thing::OpenVpn,
        Thing::WireGuard,
        Thing::System,
    ];

    /// The faults that cannot be anywhere but in the device.
    const OWN: [(Reason, Option<Thing>); 3] = [
        (Reason::NetworkManagerDown, None),
        (Reason::NoDevice, None),
        (Reason::NoCarrier, Some(Thing::Wifi)),
    ];

    #[test]
    fn no_fault_that_can_be_upstream_leads_to_a_reboot() {
        for reason in Reason::ALL {
            for thing in THINGS {
                let is_own = OWN
                    .iter()
                    .any(|(own, of)| own == reason && of.is_none_or(|of| of == thing));
                let steps = steps(*reason, thing);
                assert_eq!(steps.contains(&Reboot), is_own, "{reason:?} of {thing:?}");
                assert!(steps.is_sorted(), "{reason:?}: the gentlest first");
            }
        }
    }

    #[test]
    fn what_is_upstream_is_left_alone() {
        for reason in [
            Reason::Portal,
            Reason::TlsIntercepted,
            Reason::ServerFault,
            Reason::ResolverFailing,
            Reason::ResolverLying,
            Reason::NameUnknown,
            Reason::CheckRefused,
            Reason::CheckReset,
            Reason::ClockWrong,
            Reason::VpnAuthFailed,
            Reason::VpnCertificate,
            Reason::DuplicateAddress,
            Reason::Unmanaged,
            Reason::RadioOff,
            Reason::NoSim,
            Reason::SimLocked,
        ] {
            for thing in THINGS {
                assert_eq!(steps(reason, thing), [], "{reason:?} of {thing:?}");
            }
        }
        for reason in [
            Reason::ResolverSilent,
            Reason::NoInternet,
            Reason::CheckTimeout,
            Reason::Unreachable,
        ] {
            for thing in THINGS {
                let is_modem = thing == Thing::Modem;
                assert_eq!(
                    !steps(reason, thing).is_empty(),
                    is_modem,
                    "{reason:?} of {thing:?}"
                );
            }
        }
        assert_eq!(steps(Reason::NoCarrier, Thing::Cable), []);
        assert_eq!(steps(Reason::NoCarrier, Thing::Modem), []);
        assert_eq!(steps(Reason::VpnUnreachable, Thing::OpenVpn), []);
        assert_eq!(steps(Reason::GatewaySilent, Thing::Cable), [Reactivate]);
    }

    #[test]
    fn the_table_and_the_bounds_are_the_documented_ones() {
        let document = include_str!("../../../../docs/connectivity.md");
        let (_, section) = document.split_once("\n## Repairs\n").unwrap();
        let section = section.split("\n## ").next().unwrap();
        for reason in Reason::ALL {
            assert!(
                section.contains(&format!("`{}`", reason.as_str())),
                "no word about `{}`",
                reason.as_str()
            );
        }
        for step in Step::ALL {
            let (hour, day) = bounds(*step);
            let row = section
                .lines()
                .find(|line| line.starts_with(&format!("| `{}` |", step.as_str())))
                .unwrap();
            assert!(row.ends_with(&format!("| {hour} | {day} |")), "{row}");
        }
    }
}
